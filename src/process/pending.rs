//! A batch on its way through a transaction: where it lies in its partitions, and how far it came.

use std::collections::BTreeMap;

use crate::consumer::{ConsumerHandle, Records};
use crate::types::{OffsetAndMetadata, TopicPartition};

/// What is not committed, as far as is known.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) records: u64,
    /// For each partition where it begins, and the offset to be committed.
    pub(super) offsets: BTreeMap<TopicPartition, (i64, OffsetAndMetadata)>,
    pub(super) stage: Stage,
}

/// How far a batch came. Noted before each step is begun, so that it is right wherever a future is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// No transaction has begun, as far as is known.
    Polled,
    /// It is to be aborted, if it is not committed below.
    Open,
    /// Only the outcome tells.
    Committing,
    Aborted,
}

impl Pending {
    pub(super) fn new(records: &Records, consumer: &ConsumerHandle) -> Self {
        let positions = consumer.positions();
        let offsets = records.partitions().filter_map(|records| {
            let (partition, next) = (records.partition(), records.next_offset());
            let first = records.iter().next()?.offset;
            // With the epoch of the last record; unless the position was moved meanwhile.
            let position = positions.get(partition).filter(|position| position.offset == next);
            let next = position.cloned().unwrap_or_else(|| OffsetAndMetadata::new(next));
            Some((partition.clone(), (first, next)))
        });
        Self {
            records: u64::try_from(records.len()).unwrap_or(u64::MAX),
            offsets: offsets.collect(),
            stage: Stage::Polled,
        }
    }

    pub(super) fn next(&self) -> impl Iterator<Item = (TopicPartition, OffsetAndMetadata)> {
        self.offsets.iter().map(|(partition, (_, next))| (partition.clone(), next.clone()))
    }
}
