//! Appends records to a growing batch, in wire form. It decides nothing about when a batch is full
//! or which partition it belongs to, and it does not write the header: see `sealed.rs`.
//!
//! This is the hottest code of the producer: one copy per record, no allocation while the buffer
//! has room. A record begins with its own length, so its numbers are first gathered on the stack;
//! with them its size is known, the room can be checked, and all goes to the buffer.

use bytes::{BufMut, BytesMut};

use super::compress::Codec;
use super::error::RecordError;
use super::header::HEADER_LEN;
use super::sealed::SealedBatch;
use super::varint::{self, MAX_VARINT_LEN, MAX_VARLONG_LEN, Scratch};
use crate::types::Header;

/// The largest batch that the format can describe, in bytes.
pub const MAX_BATCH_LEN: usize = i32::MAX as usize;

/// A record's numbers before its value: length, attributes, timestamp and offset deltas, key and
/// value length. 31 bytes at most, of which a record has the value's here only when no key comes
/// between.
const PREFIX_LEN: usize = 1 + 4 * MAX_VARINT_LEN + MAX_VARLONG_LEN + 1;

/// A batch that is being filled.
///
/// Offsets are relative (the first record is number 0), timestamps are relative to the first
/// record's.
#[derive(Debug)]
pub struct BatchBuilder {
    /// Room for the header, then the records.
    buf: BytesMut,
    count: i32,
    base_timestamp: i64,
    max_timestamp: i64,
}

/// Where a record went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The record's number in its batch, from 0.
    pub index: i32,
    /// The bytes that it takes in the batch, before compression.
    pub size: usize,
}

/// The batch has no room for the record; nothing was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the batch would grow to {needed} bytes, and {limit} are allowed")]
pub struct Full {
    /// How large the batch would be with the record, in bytes.
    pub needed: usize,
    /// How large it may be.
    pub limit: usize,
}

impl BatchBuilder {
    /// Starts a batch in `buf`, whose contents are dropped and whose capacity is kept.
    pub fn new(mut buf: BytesMut) -> Self {
        buf.clear();
        buf.put_bytes(0, HEADER_LEN);
        Self { buf, count: 0, base_timestamp: -1, max_timestamp: -1 }
    }

    /// Appends a record, growing the buffer as needed.
    ///
    /// # Errors
    /// [`Full`] if the batch would be larger than [`MAX_BATCH_LEN`].
    #[inline]
    pub fn append(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) -> Result<Appended, Full> {
        self.append_within(MAX_BATCH_LEN, timestamp, key, value, headers)
    }

    /// Appends a record if the batch, header included and before compression, then has at most
    /// `limit` bytes. The size is computed once, for the check and for the record. `timestamp` is
    /// in milliseconds since the epoch.
    ///
    /// # Errors
    /// [`Full`] if there is no room; nothing was written then.
    #[inline]
    pub fn append_within(
        &mut self,
        limit: usize,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) -> Result<Appended, Full> {
        let base_timestamp = if self.count == 0 { timestamp } else { self.base_timestamp };
        let mut prefix = Scratch::<PREFIX_LEN>::starting_at(MAX_VARINT_LEN);
        prefix.byte(0); // attributes: none are in use
        prefix.varint(varint::zigzag(timestamp.wrapping_sub(base_timestamp)));
        prefix.varint(varint::zigzag(i64::from(self.count)));
        prefix.varint(nullable_len(key));
        let key = key.unwrap_or_default();
        let value_len = nullable_len(value);
        let value = value.unwrap_or_default();

        // Most records have no key: their value's length then goes with the numbers before it.
        let after_key = if key.is_empty() {
            prefix.varint(value_len);
            0
        } else {
            varint::size(value_len)
        };
        let body = (prefix.end() - MAX_VARINT_LEN + after_key)
            .saturating_add(key.len())
            .saturating_add(value.len())
            .saturating_add(headers_size(headers));
        let body_len = varint::zigzag_len(body);
        let size = body.saturating_add(varint::size(body_len));
        let limit = limit.min(MAX_BATCH_LEN);
        let needed = self.buf.len().saturating_add(size);
        if needed > limit {
            return Err(Full { needed, limit });
        }

        self.buf.reserve(size);
        self.buf.extend_from_slice(prefix.prepend(MAX_VARINT_LEN, body_len));
        if !key.is_empty() {
            self.buf.extend_from_slice(key);
            put_varint(&mut self.buf, value_len);
        }
        self.buf.extend_from_slice(value);
        put_headers(&mut self.buf, headers);

        let index = self.count;
        self.base_timestamp = base_timestamp;
        self.max_timestamp = if index == 0 { timestamp } else { self.max_timestamp.max(timestamp) };
        self.count += 1;
        Ok(Appended { index, size })
    }

    /// Exactly the bytes that appending this record would add.
    pub fn record_size(
        &self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) -> usize {
        let base_timestamp = if self.count == 0 { timestamp } else { self.base_timestamp };
        let delta = varint::zigzag(timestamp.wrapping_sub(base_timestamp));
        let body = (1 + varint::size(delta) + varint::size(varint::zigzag(i64::from(self.count))))
            .saturating_add(nullable_size(key))
            .saturating_add(nullable_size(value))
            .saturating_add(headers_size(headers));
        body.saturating_add(varint::size(varint::zigzag_len(body)))
    }

    /// The batch's bytes so far, header included, before compression.
    #[inline]
    pub fn len(&self) -> usize {
        self.buf.len()
    }

    /// Whether no record was appended yet.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many records were appended.
    #[inline]
    pub fn count(&self) -> i32 {
        self.count
    }

    /// The first record's timestamp; -1 before it.
    #[inline]
    pub fn base_timestamp(&self) -> i64 {
        self.base_timestamp
    }

    /// The largest timestamp; -1 before the first record.
    #[inline]
    pub fn max_timestamp(&self) -> i64 {
        self.max_timestamp
    }

    /// Ends the batch and compresses its records. It then needs a stamp before it can be sent.
    ///
    /// # Errors
    /// If the batch is empty, if the codec is not built in or fails, or if the compressed batch is
    /// too large.
    pub fn seal(self, codec: Codec) -> Result<SealedBatch, RecordError> {
        SealedBatch::new(self, codec)
    }

    /// Moves the records to a buffer of their size, and gives the larger one.
    pub fn compact(&mut self) -> BytesMut {
        let exact = BytesMut::from(&self.buf[..]);
        std::mem::replace(&mut self.buf, exact)
    }

    /// Gives the buffer back without making a batch of it.
    pub fn into_buffer(self) -> BytesMut {
        self.buf
    }
}

/// A batch with this one record takes at most so many bytes, header included, whatever the
/// timestamp and before compression.
pub fn size_upper_bound(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[Header<'_>]) -> usize {
    (HEADER_LEN + 1 + MAX_VARINT_LEN + MAX_VARLONG_LEN + MAX_VARINT_LEN)
        .saturating_add(nullable_size(key))
        .saturating_add(nullable_size(value))
        .saturating_add(headers_size(headers))
}

#[inline]
fn nullable_len(bytes: Option<&[u8]>) -> u64 {
    bytes.map_or(varint::NULL, |bytes| varint::zigzag_len(bytes.len()))
}

#[inline]
fn nullable_size(bytes: Option<&[u8]>) -> usize {
    varint::size(nullable_len(bytes)) + bytes.map_or(0, <[u8]>::len)
}

#[inline]
fn headers_size(headers: &[Header<'_>]) -> usize {
    if headers.is_empty() {
        return 1;
    }
    headers.iter().fold(varint::size(varint::zigzag_len(headers.len())), |sum, header| {
        sum.saturating_add(nullable_size(Some(header.key.as_bytes())))
            .saturating_add(nullable_size(header.value))
    })
}

#[inline]
fn put_varint(buf: &mut BytesMut, zigzagged: u64) {
    if zigzagged < 0x80 {
        buf.extend_from_slice(&[zigzagged as u8]);
        return;
    }
    let mut bytes = Scratch::<MAX_VARINT_LEN>::starting_at(0);
    bytes.varint(zigzagged);
    buf.extend_from_slice(bytes.written());
}

#[inline]
fn put_headers(buf: &mut BytesMut, headers: &[Header<'_>]) {
    if headers.is_empty() {
        buf.extend_from_slice(&[0]);
        return;
    }
    put_varint(buf, varint::zigzag_len(headers.len()));
    for header in headers {
        put_varint(buf, varint::zigzag_len(header.key.len()));
        buf.extend_from_slice(header.key.as_bytes());
        put_varint(buf, nullable_len(header.value));
        buf.extend_from_slice(header.value.unwrap_or_default());
    }
}

/// What sealing needs of the builder.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) buf: BytesMut,
    pub(super) count: i32,
    pub(super) base_timestamp: i64,
    pub(super) max_timestamp: i64,
}

impl From<BatchBuilder> for Parts {
    fn from(builder: BatchBuilder) -> Self {
        let BatchBuilder { buf, count, base_timestamp, max_timestamp } = builder;
        Self { buf, count, base_timestamp, max_timestamp }
    }
}
