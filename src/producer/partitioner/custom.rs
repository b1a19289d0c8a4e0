//! Partitioners that users write. Called once for each record that names no partition; a panic in one is caught, so that
//! it costs the record and nothing else.

use std::any::Any;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::SendError;
use crate::producer::partitioner::partition_for_key;
use crate::producer::record::ProducerRecord;

/// Chooses the partition of each record that does not name one itself; see
/// [`ProducerBuilder::partitioner`](crate::ProducerBuilder::partitioner).
///
/// ```
/// use milena::{Partitioner, ProducerRecord, TopicPartitions};
///
/// /// Partition 0 is for the records of one customer, the others share the rest.
/// #[derive(Debug)]
/// struct OwnPartition(&'static str);
///
/// impl Partitioner for OwnPartition {
///     fn partition(&self, record: &ProducerRecord<'_>, topic: &TopicPartitions<'_>) -> i32 {
///         match (record.key_bytes(), topic.count()) {
///             (Some(key), _) if key == self.0.as_bytes() => 0,
///             (_, 1) => 0,
///             (key, count) => 1 + topic.for_key(key.unwrap_or_default()) % (count as i32 - 1),
///         }
///     }
/// }
/// ```
pub trait Partitioner: Debug + Send + Sync + 'static {
    /// The partition, from 0 to `topic.count() - 1`; the send of any other fails with
    /// [`SendError::InvalidPartition`](crate::SendError).
    ///
    /// It is called once per record, by the thread that sends, so it should not block. If it panics, the send fails with
    /// [`SendError::PartitionerPanicked`](crate::SendError), and the producer goes on.
    fn partition(&self, record: &ProducerRecord<'_>, topic: &TopicPartitions<'_>) -> i32;
}

/// What a [`Partitioner`] is told of the record's topic.
#[derive(Debug, Clone, Copy)]
pub struct TopicPartitions<'a> {
    count: usize,
    available: &'a [i32],
}

impl<'a> TopicPartitions<'a> {
    pub(super) fn new(count: usize, available: &'a [i32]) -> Self {
        Self { count, available }
    }

    /// How many partitions the topic has, which is at least one. They are numbered from 0.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The partitions that have a leader, in ascending order. Records for others wait until they have one. It may be
    /// empty.
    pub fn available(&self) -> &'a [i32] {
        self.available
    }

    /// The partition that the default partitioner, and the Java client's, gives to records with this key.
    pub fn for_key(&self, key: &[u8]) -> i32 {
        partition_for_key(key, self.count)
    }
}

/// Asks the partitioner.
pub(super) fn ask(
    partitioner: &dyn Partitioner,
    record: &ProducerRecord<'_>,
    topic: &TopicPartitions<'_>,
) -> Result<i32, SendError> {
    // What it left half done is its own: nothing of the producer's is lent to it to be changed.
    let asked = catch_unwind(AssertUnwindSafe(|| partitioner.partition(record, topic)));
    asked.map_err(|panic| SendError::PartitionerPanicked {
        topic: record.topic.to_owned(),
        message: message(&*panic),
    })
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").to_owned()
}
