//! Reads batches and their records from bytes of others. It decides what is a batch and what is
//! corrupt; it does not know which records a reader wants (aborted transactions, control records,
//! positions).
//!
//! Every length and count is checked against the bytes that are there before it is used, each step
//! forward takes at least one byte, and nothing is allocated but the output of decompression, which
//! has a ceiling.

use bytes::Bytes;

use super::compress;
use super::error::RecordError;
use super::header::{self, BatchHeader, HEADER_LEN, LENGTH_OVERHEAD, MAGIC_END};
use super::varint::Cursor;
use crate::types::{Compression, RecordHeader, TimestampType};

/// The smallest record: seven numbers of one byte each.
const MIN_RECORD_LEN: usize = 7;
/// The smallest header of a record: two lengths of one byte each.
const MIN_HEADER_LEN: usize = 2;
/// The smallest that the length field of a batch can be, and of a message of version 0.
const MIN_LENGTH: i32 = (HEADER_LEN - LENGTH_OVERHEAD) as i32;
const MIN_OLD_LENGTH: i32 = 14;

/// Cuts bytes, such as a fetched partition's, into batches. An incomplete batch at the end ends the
/// iteration, since brokers cut their answers by size; the first error ends it too.
pub fn batches(bytes: Bytes) -> Batches {
    Batches { rest: bytes }
}

/// The batches of some bytes; see [`batches`].
#[derive(Debug, Clone)]
pub struct Batches {
    rest: Bytes,
}

impl Batches {
    /// The bytes not yet given out: after the end, those of an incomplete batch.
    pub fn rest(&self) -> &Bytes {
        &self.rest
    }

    fn cut(&mut self) -> Result<Option<RecordBatch>, RecordError> {
        if self.rest.len() < MAGIC_END {
            return Ok(None);
        }
        let length = header::batch_length(&self.rest).unwrap_or(0);
        // What is too short for any version has no magic worth believing.
        if length >= MIN_OLD_LENGTH {
            header::check_magic(&self.rest)?;
        }
        if length < MIN_LENGTH {
            return Err(RecordError::HeaderField {
                field: "batchLength",
                value: i64::from(length),
            });
        }
        let size = usize::try_from(length).unwrap_or(0).saturating_add(LENGTH_OVERHEAD);
        if self.rest.len() < size {
            return Ok(None);
        }
        let batch = self.rest.split_to(size);
        Ok(Some(RecordBatch { header: BatchHeader::parse(&batch)?, bytes: batch }))
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.cut().transpose();
        if let Some(Err(_)) = next {
            self.rest.clear();
        }
        next
    }
}

impl std::iter::FusedIterator for Batches {}

/// One whole batch. Its header's fields are in range; its CRC and records are not checked yet.
#[derive(Debug, Clone)]
pub struct RecordBatch {
    header: BatchHeader,
    bytes: Bytes,
}

impl RecordBatch {
    /// Its header.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// Its bytes, header included.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Checks the bytes against the CRC of the header (`check.crcs`).
    ///
    /// # Errors
    /// [`RecordError::Crc`] if they do not match.
    pub fn verify_crc(&self) -> Result<(), RecordError> {
        let (stored, computed) = (self.header.crc, header::compute_crc(&self.bytes));
        if stored == computed { Ok(()) } else { Err(RecordError::Crc { stored, computed }) }
    }

    /// The batch's records: a share of its bytes, or if they are compressed, at most `limit`
    /// decompressed bytes.
    ///
    /// # Errors
    /// If the codec is unknown, not built in, or finds the bytes corrupt; if there are more than
    /// `limit` of them; if the record count is more than the bytes can hold.
    pub fn records(&self, limit: usize) -> Result<Records, RecordError> {
        let payload = match self.header.attributes.compression()? {
            Compression::None => self.bytes.slice(HEADER_LEN..),
            codec => {
                let compressed = self.bytes.get(HEADER_LEN..).unwrap_or_default();
                compress::decompress(codec, compressed, limit)?
            }
        };
        let count = usize::try_from(self.header.count).unwrap_or(usize::MAX);
        if count > payload.len() / MIN_RECORD_LEN {
            return Err(RecordError::Count {
                part: "records",
                count: self.header.count,
                bytes: payload.len(),
            });
        }
        let log_append_time = match self.header.attributes.timestamp_type() {
            TimestampType::CreateTime => None,
            TimestampType::LogAppendTime => Some(self.header.max_timestamp),
        };
        Ok(Records {
            payload,
            count,
            frame: Frame {
                base_offset: self.header.base_offset,
                last_offset_delta: self.header.last_offset_delta,
                base_timestamp: self.header.base_timestamp,
                log_append_time,
            },
        })
    }
}

/// What a record's own numbers are relative to.
#[derive(Debug, Clone, Copy)]
struct Frame {
    base_offset: i64,
    last_offset_delta: i32,
    base_timestamp: i64,
    log_append_time: Option<i64>,
}

/// The records of a batch, decompressed if need be, decoded as they are iterated over.
#[derive(Debug, Clone)]
pub struct Records {
    payload: Bytes,
    count: usize,
    frame: Frame,
}

impl Records {
    /// How many records there should be.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The records' bytes, uncompressed.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// Decodes the records, one by one, borrowing their bytes.
    pub fn iter(&self) -> RecordIter<'_> {
        RecordIter { rest: &self.payload, left: self.count, frame: self.frame }
    }

    /// Cuts off the first `count` records, which must take up `len` bytes.
    #[must_use]
    pub fn split_to(&mut self, count: usize, len: usize) -> Self {
        let count = count.min(self.count);
        self.count -= count;
        let payload = self.payload.split_to(len.min(self.payload.len()));
        Self { payload, count, frame: self.frame }
    }

    /// A part of the payload, such as a record's value, as bytes of its own that share the
    /// payload's memory. Bytes from elsewhere are copied.
    pub fn share(&self, part: &[u8]) -> Bytes {
        let start = (part.as_ptr() as usize).wrapping_sub(self.payload.as_ptr() as usize);
        match start.checked_add(part.len()) {
            Some(end) if end <= self.payload.len() => self.payload.slice(start..end),
            _ => Bytes::copy_from_slice(part),
        }
    }
}

impl<'a> IntoIterator for &'a Records {
    type Item = Result<Record<'a>, RecordError>;
    type IntoIter = RecordIter<'a>;

    fn into_iter(self) -> RecordIter<'a> {
        self.iter()
    }
}

/// A record, borrowed from its batch.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Its offset in the partition.
    pub offset: i64,
    /// Its timestamp in milliseconds since the epoch; what it means is in the batch's attributes.
    pub timestamp: i64,
    /// Its key; `None` is Kafka's null.
    pub key: Option<&'a [u8]>,
    /// Its value; `None` is Kafka's null.
    pub value: Option<&'a [u8]>,
    /// Its headers, in order.
    pub headers: Headers<'a>,
}

/// Decodes records one by one; see [`Records::iter`]. The first error ends it.
#[derive(Debug, Clone)]
pub struct RecordIter<'a> {
    rest: &'a [u8],
    left: usize,
    frame: Frame,
}

impl<'a> RecordIter<'a> {
    /// The bytes of the records not yet given out.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    fn decode(&mut self) -> Result<Record<'a>, RecordError> {
        let mut outer = Cursor::new(self.rest);
        let len = outer.len("record's length")?;
        let mut body = Cursor::new(outer.bytes(len, "record")?);
        self.rest = outer.rest();

        body.byte("record's attributes")?;
        let timestamp_delta = body.varlong("record's timestamp delta")?;
        let offset_delta = body.varint("record's offset delta")?;
        let key = body.nullable_bytes("record's key")?;
        let value = body.nullable_bytes("record's value")?;
        let headers = Headers::new(body)?;

        let Frame { base_offset, last_offset_delta, base_timestamp, log_append_time } = self.frame;
        if !(0..=last_offset_delta).contains(&offset_delta) {
            return Err(RecordError::OffsetDelta { delta: offset_delta, last: last_offset_delta });
        }
        Ok(Record {
            offset: base_offset + i64::from(offset_delta),
            timestamp: log_append_time
                .unwrap_or_else(|| base_timestamp.wrapping_add(timestamp_delta)),
            key,
            value,
            headers,
        })
    }
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<Record<'a>, RecordError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            let bytes = std::mem::take(&mut self.rest).len();
            return (bytes > 0)
                .then_some(Err(RecordError::TrailingBytes { part: "last record", bytes }));
        }
        self.left -= 1;
        let record = self.decode();
        if record.is_err() {
            self.rest = &[];
            self.left = 0;
        }
        Some(record)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // An error may end it early, and bytes left over add one.
        (0, self.left.checked_add(1))
    }
}

impl std::iter::FusedIterator for RecordIter<'_> {}

/// A record's headers, decoded as they are iterated over; the first error ends it.
#[derive(Debug, Clone, Copy)]
pub struct Headers<'a> {
    rest: Cursor<'a>,
    left: usize,
}

impl<'a> Headers<'a> {
    #[inline]
    fn new(mut body: Cursor<'a>) -> Result<Self, RecordError> {
        let left = body.len("record's header count")?;
        let bytes = body.rest().len();
        if left == 0 && bytes > 0 {
            return Err(RecordError::TrailingBytes { part: "record's end", bytes });
        }
        if left > bytes / MIN_HEADER_LEN {
            let count = i32::try_from(left).unwrap_or(i32::MAX);
            return Err(RecordError::Count { part: "record headers", count, bytes });
        }
        Ok(Self { rest: body, left })
    }

    /// How many headers are left.
    pub fn remaining(&self) -> usize {
        self.left
    }

    fn decode(&mut self) -> Result<RecordHeader<'a>, RecordError> {
        let len = self.rest.len("record header's name")?;
        let key_bytes = self.rest.bytes(len, "record header's name")?;
        let value = self.rest.nullable_bytes("record header's value")?;
        self.left -= 1;
        let bytes = self.rest.rest().len();
        if self.left == 0 && bytes > 0 {
            return Err(RecordError::TrailingBytes { part: "last record header", bytes });
        }
        Ok(RecordHeader { key_bytes, value })
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Result<RecordHeader<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let header = self.decode();
        if header.is_err() {
            self.left = 0;
        }
        Some(header)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.left))
    }
}

impl std::iter::FusedIterator for Headers<'_> {}
