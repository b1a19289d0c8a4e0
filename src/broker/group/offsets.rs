//! The committed offsets of a group. They do not expire, and outlive everything but their topic and their group.
//!
//! Those of a transaction that is open stand aside. They count when it is committed, unless what was written later counts
//! already (`OffsetMetadataManager`); until then readers who want what is stable are told so.

use std::collections::BTreeMap;

use crate::error::ErrorCode;
use crate::types::TopicPartition;

/// `offset.metadata.max.bytes`, which Kafka counts in the characters of Java.
const MAX_METADATA: usize = 4096;

/// A position that a group has committed for a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommittedOffset {
    /// The offset of the next record to read.
    pub offset: i64,
    /// The leader epoch of the last record that was read, if the client told it (KIP-320).
    pub leader_epoch: Option<i32>,
    /// What the client stored with it; most store nothing.
    pub metadata: String,
}

impl CommittedOffset {
    pub(crate) fn new(
        offset: i64,
        leader_epoch: i32,
        metadata: Option<String>,
    ) -> Result<Self, ErrorCode> {
        let metadata = metadata.unwrap_or_default();
        if metadata.encode_utf16().count() > MAX_METADATA {
            return Err(ErrorCode::OFFSET_METADATA_TOO_LARGE);
        }
        let leader_epoch = Some(leader_epoch).filter(|epoch| *epoch >= 0);
        Ok(Self { offset, leader_epoch, metadata })
    }
}

/// An offset in its place in the order of all that were written.
#[derive(Debug)]
struct Pending {
    order: u64,
    committed: CommittedOffset,
}

/// By topic, then by partition.
#[derive(Debug, Default)]
pub(crate) struct Offsets {
    by_topic: BTreeMap<String, BTreeMap<i32, CommittedOffset>>,
    /// In which place each of those was written.
    orders: BTreeMap<TopicPartition, u64>,
    /// Those of open transactions, by producer id.
    pending: BTreeMap<i64, BTreeMap<TopicPartition, Pending>>,
    written: u64,
}

impl Offsets {
    pub(crate) fn store(&mut self, topic: &str, partition: i32, committed: CommittedOffset) {
        let order = self.next_order();
        self.count(TopicPartition::new(topic, partition), Pending { order, committed });
    }

    /// Stores an offset as part of a producer's transaction.
    pub(super) fn store_pending(
        &mut self,
        producer_id: i64,
        to: TopicPartition,
        committed: CommittedOffset,
    ) {
        let order = self.next_order();
        self.pending.entry(producer_id).or_default().insert(to, Pending { order, committed });
    }

    /// A producer's transaction has ended.
    pub(super) fn end_transaction(&mut self, producer_id: i64, committed: bool) {
        let pending = self.pending.remove(&producer_id).unwrap_or_default();
        for (to, pending) in pending.into_iter().filter(|_| committed) {
            if self.orders.get(&to).is_none_or(|&order| order < pending.order) {
                self.count(to, pending);
            }
        }
    }

    fn next_order(&mut self) -> u64 {
        self.written += 1;
        self.written
    }

    fn count(&mut self, to: TopicPartition, Pending { order, committed }: Pending) {
        let of_topic = self.by_topic.entry(to.topic.clone()).or_default();
        of_topic.insert(to.partition, committed);
        self.orders.insert(to, order);
    }

    /// Whether an open transaction may change the offset of a partition.
    pub(crate) fn is_unstable(&self, topic: &str, partition: i32) -> bool {
        let concerns = |to: &TopicPartition| to.topic == topic && to.partition == partition;
        self.pending.values().any(|pending| pending.keys().any(concerns))
    }

    pub(crate) fn get(&self, topic: &str, partition: i32) -> Option<&CommittedOffset> {
        self.by_topic.get(topic)?.get(&partition)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &BTreeMap<i32, CommittedOffset>)> {
        self.by_topic.iter().map(|(topic, offsets)| (topic.as_str(), offsets))
    }

    pub(super) fn forget(&mut self, topic: &str, partition: i32) {
        if let Some(offsets) = self.by_topic.get_mut(topic) {
            offsets.remove(&partition);
            self.orders.remove(&TopicPartition::new(topic, partition));
        }
    }

    pub(super) fn forget_topic(&mut self, topic: &str) {
        self.by_topic.remove(topic);
        self.orders.retain(|to, _| to.topic != topic);
        for pending in self.pending.values_mut() {
            pending.retain(|to, _| to.topic != topic);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_bounded_in_characters_of_java() {
        let commit = |metadata: String| CommittedOffset::new(5, -1, Some(metadata));
        assert!(commit("ä".repeat(4096)).is_ok());
        assert_eq!(commit("ä".repeat(4097)), Err(ErrorCode::OFFSET_METADATA_TOO_LARGE));
        assert_eq!(commit("𝄞".repeat(2049)), Err(ErrorCode::OFFSET_METADATA_TOO_LARGE));
    }

    #[test]
    fn the_last_commit_counts_and_a_topic_takes_its_offsets_along() {
        let mut offsets = Offsets::default();
        for offset in [7, 3] {
            offsets.store("t", 0, CommittedOffset::new(offset, 2, None).unwrap());
        }
        let told = offsets.get("t", 0).unwrap();
        assert_eq!((told.offset, told.leader_epoch, told.metadata.as_str()), (3, Some(2), ""));
        assert_eq!(offsets.get("t", 1), None);
        offsets.forget_topic("t");
        assert_eq!(offsets.iter().count(), 0);
    }

    #[test]
    fn offsets_of_a_transaction_count_when_it_is_committed_and_nothing_later_does() {
        let commit = |offset| CommittedOffset::new(offset, -1, None).unwrap();
        let to = |partition| TopicPartition::new("t", partition);
        let mut offsets = Offsets::default();
        offsets.store("t", 0, commit(1));
        offsets.store_pending(7, to(0), commit(2));
        offsets.store_pending(7, to(1), commit(3));
        offsets.store_pending(8, to(1), commit(4));
        offsets.store("t", 0, commit(5));
        let told = |offsets: &Offsets, p| offsets.get("t", p).map(|committed| committed.offset);
        assert_eq!((told(&offsets, 0), told(&offsets, 1)), (Some(5), None));
        assert!(offsets.is_unstable("t", 0) && offsets.is_unstable("t", 1));
        assert!(!offsets.is_unstable("t", 2) && !offsets.is_unstable("u", 0));
        offsets.end_transaction(8, true);
        assert_eq!(told(&offsets, 1), Some(4));
        assert!(offsets.is_unstable("t", 1), "the other is open");
        offsets.end_transaction(7, true);
        assert_eq!((told(&offsets, 0), told(&offsets, 1)), (Some(5), Some(4)), "both are later");
        assert!(!offsets.is_unstable("t", 0));
        offsets.store_pending(7, to(0), commit(6));
        offsets.end_transaction(7, false);
        offsets.end_transaction(7, true);
        assert_eq!(told(&offsets, 0), Some(5), "an abort discards");
        offsets.store_pending(7, to(0), commit(6));
        offsets.forget_topic("t");
        offsets.end_transaction(7, true);
        assert_eq!(told(&offsets, 0), None);
    }
}
