//! What a user is told of a record that was written, and what is kept of a record until then: the rest is its batch's.

use std::sync::Arc;

/// Where an acknowledged record is, and what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordMetadata {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    /// -1 if it is not known.
    pub(super) offset: i64,
    pub(super) timestamp: i64,
    pub(super) facts: RecordFacts,
}

impl RecordMetadata {
    /// The topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The partition.
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// The record's offset in its partition; `None` when the broker did not say: with `acks=0`, and when a retry met
    /// its own first attempt so late that the broker had forgotten the offset.
    pub fn offset(&self) -> Option<i64> {
        (self.offset >= 0).then_some(self.offset)
    }

    /// The record's timestamp in milliseconds since 1970-01-01T00:00Z: the producer's, or the broker's if the topic
    /// has `message.timestamp.type=LogAppendTime`.
    pub fn timestamp(&self) -> i64 {
        self.timestamp
    }

    /// Bytes of the key; `None` without one.
    pub fn serialized_key_size(&self) -> Option<usize> {
        usize::try_from(self.facts.key_size).ok()
    }

    /// Bytes of the value; `None` without one.
    pub fn serialized_value_size(&self) -> Option<usize> {
        usize::try_from(self.facts.value_size).ok()
    }
}

/// What the metadata of a record needs beside its batch's end. A size of -1 is null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordFacts {
    pub(crate) index: u32,
    pub(crate) key_size: i32,
    pub(crate) value_size: i32,
    pub(crate) timestamp: i64,
}

impl RecordFacts {
    #[inline]
    pub(crate) fn new(
        index: u32,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Self {
        let size = |bytes: Option<&[u8]>| {
            bytes.map_or(-1, |bytes| i32::try_from(bytes.len()).unwrap_or(i32::MAX))
        };
        Self { index, key_size: size(key), value_size: size(value), timestamp }
    }
}
