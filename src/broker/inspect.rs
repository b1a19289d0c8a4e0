//! What is in a log, in a form for tests to look at.

use bytes::Bytes;

use super::log::LoggedBatch;
use crate::record::{self, BatchHeader, RecordError};
use crate::types::{ProducerIdentity, RecordHeader, TimestampType};

/// What a batch may decompress to when it is looked at.
const MAX_DECOMPRESSED: usize = 256 * 1024 * 1024;

/// A batch in the log of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredBatch {
    /// The offset of its first record.
    pub base_offset: i64,
    /// The offset of its last record.
    pub last_offset: i64,
    /// The leader epoch in which it was appended.
    pub leader_epoch: i32,
    /// Who wrote it; [`ProducerIdentity::NONE`] if its producer is not idempotent.
    pub producer: ProducerIdentity,
    /// The sequence number of its first record, or -1.
    pub base_sequence: i32,
    /// Whether it belongs to a transaction.
    pub transactional: bool,
    /// Whether it holds a marker that ends a transaction, and no records for users.
    pub control: bool,
    /// The batch as a consumer gets it.
    pub bytes: Bytes,
}

/// A record in the log of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredRecord {
    /// Its offset.
    pub offset: i64,
    /// Its time, in milliseconds since the epoch.
    pub timestamp: i64,
    /// What its time means.
    pub timestamp_type: TimestampType,
    /// Its key; `None` is Kafka's null.
    pub key: Option<Bytes>,
    /// Its value; `None` is Kafka's null.
    pub value: Option<Bytes>,
    /// Its headers, in order.
    pub headers: Vec<(String, Option<Bytes>)>,
}

/// Shows a batch. It was validated when it was appended, so its header is sound.
pub(crate) fn batch(logged: &LoggedBatch) -> Option<StoredBatch> {
    let bytes = logged.to_bytes();
    let header = BatchHeader::parse(&bytes).ok()?;
    Some(StoredBatch {
        base_offset: logged.base_offset,
        last_offset: logged.last_offset,
        leader_epoch: logged.leader_epoch,
        producer: header.producer,
        base_sequence: header.base_sequence,
        transactional: header.attributes.is_transactional(),
        control: header.attributes.is_control(),
        bytes,
    })
}

/// Decodes the records of a batch.
pub(crate) fn records(batch: &StoredBatch) -> Result<Vec<StoredRecord>, RecordError> {
    let mut stored = Vec::new();
    for parsed in record::batches(batch.bytes.clone()) {
        let parsed = parsed?;
        let timestamp_type = parsed.header().attributes.timestamp_type();
        for record in &parsed.records(MAX_DECOMPRESSED)? {
            let record = record?;
            let owned = |bytes: Option<&[u8]>| bytes.map(Bytes::copy_from_slice);
            let header =
                |header: RecordHeader<'_>| (header.key().into_owned(), owned(header.value));
            stored.push(StoredRecord {
                offset: record.offset,
                timestamp: record.timestamp,
                timestamp_type,
                key: owned(record.key),
                value: owned(record.value),
                headers: record.headers.map(|h| h.map(header)).collect::<Result<_, _>>()?,
            });
        }
    }
    Ok(stored)
}
