//! What a user hands over: a record that borrows its bytes, since they are copied once, into the batch.

use crate::types::Header;

/// A record to send. It borrows all of its parts.
///
/// ```
/// use milena::{Header, ProducerRecord};
///
/// let headers = [Header::new("trace", b"17")];
/// let record = ProducerRecord::new("orders", "paid").key("customer-42").headers(&headers);
/// # let _ = record;
/// ```
#[derive(Debug, Clone, Copy)]
pub struct ProducerRecord<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: Option<i32>,
    pub(crate) timestamp: Option<i64>,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: &'a [Header<'a>],
}

impl<'a> ProducerRecord<'a> {
    /// A record with a value, no key and no headers, whose partition the partitioner chooses.
    pub fn new<V: AsRef<[u8]> + ?Sized>(topic: &'a str, value: &'a V) -> Self {
        Self { value: Some(value.as_ref()), ..Self::tombstone(topic) }
    }

    /// A record without a value: in a compacted topic it deletes what its key stood for.
    pub fn tombstone(topic: &'a str) -> Self {
        Self { topic, partition: None, timestamp: None, key: None, value: None, headers: &[] }
    }

    /// The key: records of the same key go to the same partition.
    #[must_use]
    pub fn key<K: AsRef<[u8]> + ?Sized>(mut self, key: &'a K) -> Self {
        self.key = Some(key.as_ref());
        self
    }

    /// The topic's name.
    pub fn topic(&self) -> &'a str {
        self.topic
    }

    /// The key as it was given.
    pub fn key_bytes(&self) -> Option<&'a [u8]> {
        self.key
    }

    /// The value as it was given; `None` for a tombstone.
    pub fn value_bytes(&self) -> Option<&'a [u8]> {
        self.value
    }

    /// The partition, past the partitioner, numbered from 0. One that the topic does not have yet is waited for, at most
    /// `max.block.ms`.
    #[must_use]
    pub fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// Milliseconds since 1970-01-01T00:00Z, not negative; the time of the send if it is not given, which for a record
    /// that joins a batch may be a tick of the system's clock (1 to 10 ms) early. A topic with
    /// `message.timestamp.type=LogAppendTime` replaces it.
    #[must_use]
    pub fn timestamp(mut self, timestamp: i64) -> Self {
        self.timestamp = Some(timestamp);
        self
    }

    /// The headers, in order; names may repeat.
    #[must_use]
    pub fn headers(mut self, headers: &'a [Header<'a>]) -> Self {
        self.headers = headers;
        self
    }
}
