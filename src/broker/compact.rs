//! Compaction of one partition's log on command, as Kafka's `Cleaner` does it: of each key the last record stays, and
//! offsets stay what they are, so that gaps and empty batches are left.
//!
//! | batch                                                      | what becomes of it                          |
//! |------------------------------------------------------------|---------------------------------------------|
//! | the newest of the log, or from the last stable offset on   | stays, and does not count for the keys      |
//! | a marker                                                   | stays                                       |
//! | of an aborted transaction                                  | loses all records                           |
//! | any other                                                  | loses records without key, and those whose key comes again |
//! | lost all records                                           | goes, but stays empty if it is its producer's last, for the sequence's sake |
//!
//! Tombstones stay: `delete.retention.ms` is never over.

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};

use super::log::{Log, LoggedBatch};
use super::producer_state::ProducerStates;
use super::stable::{Aborted, Stability};
use crate::record::{self, Attributes, BatchHeader, RecordError};
use crate::types::Compression;

/// What one batch may decompress to.
const MAX_DECOMPRESSED: usize = 256 * 1024 * 1024;

/// What becomes of a batch.
#[derive(Debug)]
pub(crate) enum Kept {
    AsIs,
    /// In these bytes, with the same offsets.
    Rewritten {
        bytes: Bytes,
        max_timestamp: i64,
    },
    Gone,
}

/// Compacts what is before `stable`, the last stable offset.
///
/// # Errors
/// If a batch cannot be read or written because its codec is not built in; nothing is changed then.
pub(crate) fn compact(
    log: &mut Log,
    stability: &Stability,
    producers: &ProducerStates,
    stable: i64,
) -> Result<(), RecordError> {
    let newest = log.batches().last().map_or(0, |batch| batch.base_offset);
    let cleanable = |batch: &LoggedBatch| batch.last_offset < stable.min(newest);
    let mut latest = HashMap::new();
    for batch in log.batches().filter(|batch| cleanable(batch)) {
        if let Some(header) = batch.header()
            && !header.attributes.is_control()
            && !is_aborted(batch, &header, stability)
        {
            for_each(batch, |key, offset, _| {
                if let Some(key) = key {
                    latest.insert(Bytes::copy_from_slice(key), offset);
                }
            })?;
        }
    }
    let mut kept = Vec::new();
    for batch in log.batches() {
        kept.push(match batch.header() {
            Some(header) if cleanable(batch) && !header.attributes.is_control() => {
                let aborted = is_aborted(batch, &header, stability);
                let last = producers.newest_of(header.producer.id) == Some(batch.base_offset);
                let keep = |key: Option<&[u8]>, offset| {
                    !aborted && key.is_some_and(|key| latest.get(key) == Some(&offset))
                };
                clean(batch, header, last, keep)?
            }
            _ => Kept::AsIs,
        });
    }
    log.rewrite(kept);
    Ok(())
}

fn is_aborted(batch: &LoggedBatch, header: &BatchHeader, stability: &Stability) -> bool {
    let of_producer = |aborted: &Aborted| aborted.producer_id == header.producer.id;
    header.attributes.is_transactional()
        && stability.aborted_in(batch.base_offset, batch.last_offset + 1).any(of_producer)
}

/// Gives key, offset and bytes of each record.
fn for_each(
    batch: &LoggedBatch,
    mut visit: impl FnMut(Option<&[u8]>, i64, (i64, &[u8])),
) -> Result<(), RecordError> {
    for parsed in record::batches(batch.to_bytes()) {
        let records = parsed?.records(MAX_DECOMPRESSED)?;
        let payload = records.payload();
        let mut iter = records.iter();
        let mut from = 0;
        while let Some(record) = iter.next() {
            let record = record?;
            let to = payload.len() - iter.rest().len();
            let bytes = payload.get(from..to).unwrap_or_default();
            visit(record.key, record.offset, (record.timestamp, bytes));
            from = to;
        }
    }
    Ok(())
}

fn clean(
    batch: &LoggedBatch,
    header: BatchHeader,
    is_last_of_producer: bool,
    keep: impl Fn(Option<&[u8]>, i64) -> bool,
) -> Result<Kept, RecordError> {
    let (mut count, mut of, mut max_timestamp) = (0, 0, -1);
    let mut records = BytesMut::new();
    for_each(batch, |key, offset, (timestamp, bytes)| {
        of += 1;
        if keep(key, offset) {
            count += 1;
            max_timestamp = max_timestamp.max(timestamp);
            records.extend_from_slice(bytes);
        }
    })?;
    let header = match count {
        0 if !is_last_of_producer => return Ok(Kept::Gone),
        0 => {
            max_timestamp = header.max_timestamp;
            let plain = Attributes::new(Compression::None);
            let attributes = plain.transactional(header.attributes.is_transactional());
            BatchHeader { attributes, base_timestamp: max_timestamp, count, ..header }
        }
        all if all == of => return Ok(Kept::AsIs),
        _ => BatchHeader { max_timestamp, count, ..header },
    };
    Ok(Kept::Rewritten { bytes: record::assemble(&header, &records)?, max_timestamp })
}

#[cfg(test)]
#[path = "compact/tests.rs"]
mod tests;
