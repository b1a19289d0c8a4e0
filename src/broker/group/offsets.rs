//! The committed offsets of a group. They do not expire, and outlive everything but their topic and their group.

use std::collections::BTreeMap;

use crate::error::ErrorCode;

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

/// By topic, then by partition.
#[derive(Debug, Default)]
pub(crate) struct Offsets {
    by_topic: BTreeMap<String, BTreeMap<i32, CommittedOffset>>,
}

impl Offsets {
    pub(crate) fn store(&mut self, topic: &str, partition: i32, committed: CommittedOffset) {
        self.by_topic.entry(topic.to_owned()).or_default().insert(partition, committed);
    }

    pub(crate) fn get(&self, topic: &str, partition: i32) -> Option<&CommittedOffset> {
        self.by_topic.get(topic)?.get(&partition)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &BTreeMap<i32, CommittedOffset>)> {
        self.by_topic.iter().map(|(topic, offsets)| (topic.as_str(), offsets))
    }

    pub(super) fn forget_topic(&mut self, topic: &str) {
        self.by_topic.remove(topic);
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
}
