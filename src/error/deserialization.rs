//! A key or a value that could not be read: which, of what record, and why. Knows no deserializer.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::types::{RecordPart, TimestampType, TopicPartition};

/// A deserializer failed on a record (Java's `RecordDeserializationException`, KIP-334).
///
/// The records after it can be read all the same: go on iterating. Whoever gives the rest of a poll
/// up instead goes on past this record by seeking to [`next_offset`](Self::next_offset) of its
/// [partition](Self::topic_partition).
///
/// [`source`](Error::source) is the deserializer's own error. The bytes are not part of the error,
/// since they may be secret.
#[derive(Debug, Clone)]
pub struct RecordDeserializationError(Arc<Failed>);

#[derive(Debug)]
struct Failed {
    at: RecordAt,
    part: RecordPart,
    len: Option<usize>,
    cause: Box<dyn Error + Send + Sync>,
}

/// Which record it is.
#[derive(Debug, Clone)]
pub(crate) struct RecordAt {
    pub(crate) partition: TopicPartition,
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) timestamp_type: TimestampType,
}

impl RecordDeserializationError {
    /// `len` is that of the bytes, `None` for null.
    pub(crate) fn new(
        at: RecordAt,
        part: RecordPart,
        len: Option<usize>,
        cause: Box<dyn Error + Send + Sync>,
    ) -> Self {
        Self(Arc::new(Failed { at, part, len, cause }))
    }

    /// The partition that the record is from.
    pub fn topic_partition(&self) -> &TopicPartition {
        &self.0.at.partition
    }

    /// The record's offset.
    pub fn offset(&self) -> i64 {
        self.0.at.offset
    }

    /// The offset to seek to, to go on past the record.
    pub fn next_offset(&self) -> i64 {
        self.0.at.offset.saturating_add(1)
    }

    /// The record's timestamp, in milliseconds since 1970-01-01T00:00Z; -1 if it has none.
    pub fn timestamp(&self) -> i64 {
        self.0.at.timestamp
    }

    /// Who set the timestamp.
    pub fn timestamp_type(&self) -> TimestampType {
        self.0.at.timestamp_type
    }

    /// Which part of the record could not be read.
    pub fn part(&self) -> RecordPart {
        self.0.part
    }

    /// How many bytes that part has; `None` if it is null.
    pub fn serialized_size(&self) -> Option<usize> {
        self.0.len
    }
}

impl fmt::Display for RecordDeserializationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failed { at: RecordAt { partition, offset, .. }, part, len, cause } = &*self.0;
        write!(
            f,
            "cannot deserialize the {part} of the record of {partition} at offset {offset}, "
        )?;
        match len {
            Some(len) => write!(f, "{len} bytes long: {cause}; ")?,
            None => write!(f, "which is null: {cause}; ")?,
        }
        write!(f, "to leave it out, go on iterating, or seek to {}", self.next_offset())
    }
}

impl Error for RecordDeserializationError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0.cause)
    }
}
