//! Whether the bytes that a producer sent are a batch that Kafka would take, by `ProduceRequest.validateRecords`,
//! `UnifiedLog.analyzeAndValidateRecords` and `LogValidator`.
//!
//! It needs the topic's settings and the time, no state. Sequences, leadership and replicas are judged elsewhere.

use bytes::{Bytes, BytesMut};

use super::log::NewBatch;
use super::partition::ValidBatch;
use super::producer_state::Sequenced;
use super::topic_config::TopicConfig;
use crate::error::ErrorCode;
use crate::record::{self, Record, RecordBatch, RecordError};
use crate::types::{Compression, TimestampType};

/// The most that a batch may decompress to: far above what any producer sends, far below what hurts.
const MAX_DECOMPRESSED: usize = 256 * 1024 * 1024;
/// From this version of Produce on, zstd is known to whoever reads what is written.
const ZSTD_FROM: i16 = 7;

/// By what a batch is judged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules<'a> {
    pub(crate) config: &'a TopicConfig,
    /// The version of the Produce request.
    pub(crate) version: i16,
    /// The broker's time, in milliseconds since the epoch.
    pub(crate) now: i64,
    /// Whether to look at each record, decompressing if need be.
    pub(crate) records: bool,
    /// Whether the request names a transactional id, without which no transactional batch may come.
    pub(crate) transactional: bool,
}

/// Why a batch is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rejected {
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
    /// Records at fault, by their index in the batch.
    pub(crate) records: Vec<(i32, String)>,
}

impl Rejected {
    fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), records: Vec::new() }
    }

    fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::INVALID_RECORD, message)
    }
}

impl From<ErrorCode> for Rejected {
    fn from(code: ErrorCode) -> Self {
        Self::new(code, code.description())
    }
}

/// Judges the records of one partition in a Produce request.
pub(crate) fn validate(records: Option<Bytes>, rules: Rules<'_>) -> Result<ValidBatch, Rejected> {
    let batch = only_batch(records.unwrap_or_default())?;
    check_batch(&batch, rules)?;
    let header = batch.header();
    let mut max_timestamp = header.max_timestamp;
    if rules.records {
        max_timestamp = check_records(&batch, rules)?.unwrap_or(max_timestamp);
    }
    let sequenced = (header.producer.id >= 0).then_some(Sequenced {
        producer: header.producer,
        sequence: header.base_sequence,
        count: header.count,
        transactional: header.attributes.is_transactional(),
    });
    let mut log_append_time = -1;
    let mut bytes = batch.bytes().clone();
    if rules.config.timestamp_type == TimestampType::LogAppendTime {
        (log_append_time, max_timestamp) = (rules.now, rules.now);
        let mut own = BytesMut::from(&bytes[..]);
        record::set_log_append_time(&mut own, rules.now).map_err(corrupt)?;
        bytes = own.freeze();
    } else if max_timestamp != header.max_timestamp {
        // Kafka corrects the header of a batch whose records say otherwise.
        let mut own = BytesMut::from(&bytes[..]);
        record::BatchHeader { max_timestamp, ..header.clone() }.write(&mut own).map_err(corrupt)?;
        bytes = own.freeze();
    }
    let batch = NewBatch { bytes, count: header.count, max_timestamp };
    Ok(ValidBatch { batch, sequenced, log_append_time })
}

fn corrupt(error: RecordError) -> Rejected {
    Rejected::new(ErrorCode::CORRUPT_MESSAGE, error.to_string())
}

/// Since version 3 a partition's records are exactly one batch of magic 2. Bytes behind it that are no whole batch are
/// cut off, as in Kafka.
fn only_batch(records: Bytes) -> Result<RecordBatch, Rejected> {
    let mut batches = record::batches(records);
    let batch = match batches.next() {
        Some(Ok(batch)) => batch,
        Some(Err(RecordError::OldMagic { .. })) => {
            let why =
                "Produce requests are only allowed to contain record batches with magic version 2";
            return Err(Rejected::invalid(why));
        }
        // Its own fields contradict each other, but its bytes are a batch.
        Some(Err(error @ RecordError::HeaderField { field, .. })) if field != "batchLength" => {
            return Err(Rejected::invalid(error.to_string()));
        }
        Some(Err(error)) => return Err(corrupt(error)),
        None => {
            let why = "Produce requests must have at least one record batch per partition";
            return Err(Rejected::invalid(why));
        }
    };
    match batches.next() {
        Some(Ok(_)) => {
            let why = "Produce requests are only allowed to contain exactly one record batch per partition";
            Err(Rejected::invalid(why))
        }
        Some(Err(error)) => Err(corrupt(error)),
        None => Ok(batch),
    }
}

/// The checks that need no look at the records, in Kafka's order.
fn check_batch(batch: &RecordBatch, rules: Rules<'_>) -> Result<(), Rejected> {
    let header = batch.header();
    if header.attributes.is_transactional() && !rules.transactional {
        return Err(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED.into());
    }
    let size = batch.bytes().len();
    let max = rules.config.max_message_bytes;
    if rules.version < ZSTD_FROM && header.attributes.compression() == Ok(Compression::Zstd) {
        let why =
            "Produce requests with version below 7 are not allowed to use ZStandard compression";
        return Err(Rejected::new(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE, why));
    }
    if header.base_offset != 0 {
        let why = format!(
            "The baseOffset of the record batch should be 0, but it is {}",
            header.base_offset
        );
        return Err(Rejected::invalid(why));
    }
    if size > max {
        let why = format!(
            "The record batch size is {size} bytes, which exceeds the maximum configured value of {max}."
        );
        return Err(Rejected::new(ErrorCode::MESSAGE_TOO_LARGE, why));
    }
    batch.verify_crc().map_err(corrupt)?;
    header.attributes.compression().map_err(corrupt)?;
    if header.count <= 0 || header.last_offset_delta != header.count - 1 {
        let why = format!(
            "Inconsistent last offset delta {} and count of records {}",
            header.last_offset_delta, header.count
        );
        return Err(Rejected::invalid(why));
    }
    if header.attributes.is_control() {
        return Err(Rejected::invalid("Clients are not allowed to write control records"));
    }
    if header.attributes.is_transactional() && header.producer.id < 0 {
        return Err(Rejected::invalid("Transactional records must have a producer id"));
    }
    if header.producer.id >= 0 && header.base_sequence < 0 {
        let why = format!(
            "Invalid sequence number {} in record batch with producerId {}",
            header.base_sequence, header.producer.id
        );
        return Err(Rejected::invalid(why));
    }
    Ok(())
}

/// Looks at each record and gives the greatest timestamp; `None` if this build lacks the codec, so that they pass
/// unseen.
fn check_records(batch: &RecordBatch, rules: Rules<'_>) -> Result<Option<i64>, Rejected> {
    let records = match batch.records(MAX_DECOMPRESSED) {
        Ok(records) => records,
        Err(RecordError::CodecDisabled { .. }) => return Ok(None),
        Err(error @ RecordError::Count { .. }) => return Err(Rejected::invalid(error.to_string())),
        Err(error) => return Err(corrupt(error)),
    };
    let mut max_timestamp = -1;
    let mut faults: Vec<(i32, Fault)> = Vec::new();
    for (index, record) in (0..).zip(&records) {
        let record = record.map_err(|error| Rejected::invalid(error.to_string()))?;
        if record.offset != i64::from(index) {
            let why = format!("Record {index} of the batch has the offset delta {}", record.offset);
            return Err(Rejected::invalid(why));
        }
        max_timestamp = max_timestamp.max(record.timestamp);
        if let Some(fault) = fault_of(&record, rules) {
            faults.push((index, fault));
        }
    }
    match faults.first() {
        None => Ok(Some(max_timestamp)),
        Some(_) => Err(reject_records(&faults)),
    }
}

/// What is wrong with a record that is well formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    NoKey,
    Timestamp(i64),
}

fn fault_of(record: &Record<'_>, rules: Rules<'_>) -> Option<Fault> {
    let Rules { config, now, .. } = rules;
    if config.compacted && record.key.is_none() {
        return Some(Fault::NoKey);
    }
    if config.timestamp_type == TimestampType::LogAppendTime || record.timestamp == -1 {
        return None;
    }
    let early = now.saturating_sub(record.timestamp) > config.timestamp_before_max_ms;
    let late = record.timestamp.saturating_sub(now) > config.timestamp_after_max_ms;
    (early || late).then_some(Fault::Timestamp(record.timestamp))
}

/// One bad record refuses the batch; the answer names them all (KIP-467).
fn reject_records(faults: &[(i32, Fault)]) -> Rejected {
    let text = |&(index, fault): &(i32, Fault)| match fault {
        Fault::NoKey => (index, "Compacted topic cannot accept message without key".to_owned()),
        Fault::Timestamp(at) => (index, format!("Timestamp {at} of message is out of range")),
    };
    let timestamps_only = faults.iter().all(|(_, fault)| matches!(fault, Fault::Timestamp(_)));
    let (code, message) = if timestamps_only {
        let why = "One or more records have been rejected due to invalid timestamp";
        (ErrorCode::INVALID_TIMESTAMP, why.to_owned())
    } else {
        let count = faults.len();
        let why =
            format!("One or more records have been rejected due to {count} record errors in total");
        (ErrorCode::INVALID_RECORD, why)
    };
    Rejected { code, message, records: faults.iter().map(text).collect() }
}

#[cfg(test)]
#[path = "validate/tests.rs"]
mod tests;
