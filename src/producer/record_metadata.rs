//! What a user is told of a record that was written, and what is kept of a record until then: the rest is its batch's.

use std::fmt;
use std::sync::Arc;

/// What the records of a batch have in common.
pub(crate) trait Place: Send + Sync {
    fn topic(&self) -> &str;
    fn partition(&self) -> i32;
}

/// Where an acknowledged record is, and what was written.
#[derive(Clone)]
#[non_exhaustive]
pub struct RecordMetadata {
    /// Of the batch: handed on by the record's delivery rather than copied.
    place: Arc<dyn Place>,
    /// -1 if it is not known.
    offset: i64,
    timestamp: i64,
    key_size: i32,
    value_size: i32,
}

impl RecordMetadata {
    #[inline]
    pub(super) fn new(
        place: Arc<dyn Place>,
        offset: i64,
        timestamp: i64,
        facts: RecordFacts,
    ) -> Self {
        let RecordFacts { key_size, value_size, .. } = facts;
        Self { place, offset, timestamp, key_size, value_size }
    }

    /// The topic.
    pub fn topic(&self) -> &str {
        self.place.topic()
    }

    /// The partition.
    pub fn partition(&self) -> i32 {
        self.place.partition()
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
        usize::try_from(self.key_size).ok()
    }

    /// Bytes of the value; `None` without one.
    pub fn serialized_value_size(&self) -> Option<usize> {
        usize::try_from(self.value_size).ok()
    }
}

impl PartialEq for RecordMetadata {
    fn eq(&self, other: &Self) -> bool {
        let parts =
            |of: &Self| (of.partition(), of.offset, of.timestamp, of.key_size, of.value_size);
        parts(self) == parts(other) && self.topic() == other.topic()
    }
}

impl Eq for RecordMetadata {}

impl fmt::Debug for RecordMetadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordMetadata")
            .field("topic", &self.topic())
            .field("partition", &self.partition())
            .field("offset", &self.offset())
            .field("timestamp", &self.timestamp)
            .field("serialized_key_size", &self.serialized_key_size())
            .field("serialized_value_size", &self.serialized_value_size())
            .finish()
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
