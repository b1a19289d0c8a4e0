//! The 61 bytes before a batch's records: read, write, and patch in place. It does not look at the
//! records, beyond the checksum over them.
//!
//! ```text
//!  0 base offset            i64     23 last offset delta  i32     61 records
//!  8 batch length (from 12) i32     27 base timestamp     i64
//! 12 partition leader epoch i32     35 max timestamp      i64
//! 16 magic = 2              i8      43 producer id        i64
//! 17 CRC-32C (from 21)      u32     51 producer epoch     i16
//! 21 attributes             i16     53 base sequence      i32
//!                                   57 record count       i32
//! ```

use bytes::{Buf, BufMut};

use super::compress;
use super::error::RecordError;
use crate::types::{Compression, ProducerIdentity, TimestampType};

/// The bytes of a batch before its records.
pub const HEADER_LEN: usize = 61;
/// The bytes that the batch length does not count: base offset and the length itself.
pub(super) const LENGTH_OVERHEAD: usize = 12;
/// How far one must read to know a batch's magic; versions 0 and 1 have it in the same place.
pub(super) const MAGIC_END: usize = 17;
pub(super) const MAGIC: i8 = 2;
/// Where the bytes that the CRC covers begin.
pub(super) const CRC_START: usize = 21;

const MAGIC_AT: usize = 16;
const BASE_OFFSET: std::ops::Range<usize> = 0..8;
const LENGTH: std::ops::Range<usize> = 8..12;
const LEADER_EPOCH: std::ops::Range<usize> = 12..16;
const CRC: std::ops::Range<usize> = 17..CRC_START;
const ATTRIBUTES: std::ops::Range<usize> = CRC_START..23;
const MAX_TIMESTAMP: std::ops::Range<usize> = 35..43;

/// The attributes of a batch: compression and four flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Attributes(pub i16);

impl Attributes {
    const COMPRESSION_MASK: i16 = 0b111;
    const LOG_APPEND_TIME: i16 = 1 << 3;
    const TRANSACTIONAL: i16 = 1 << 4;
    const CONTROL: i16 = 1 << 5;
    const DELETE_HORIZON: i16 = 1 << 6;

    /// The attributes of a batch of ordinary records with create time.
    pub fn new(compression: Compression) -> Self {
        Self(i16::from(compress::id(compression)))
    }

    /// How the records are compressed.
    ///
    /// # Errors
    /// [`RecordError::UnknownCompression`] if the bits are none of Kafka's codecs.
    pub fn compression(self) -> Result<Compression, RecordError> {
        compress::from_id((self.0 & Self::COMPRESSION_MASK) as u8)
    }

    /// What the records' timestamps mean.
    pub fn timestamp_type(self) -> TimestampType {
        if self.0 & Self::LOG_APPEND_TIME == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    /// Whether the batch belongs to a transaction.
    pub fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    /// Whether the batch holds control records, which users do not see.
    pub fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }

    /// Whether compaction put a delete horizon in the place of the base timestamp (KIP-534).
    /// Records' timestamps are relative to it all the same.
    pub fn has_delete_horizon(self) -> bool {
        self.0 & Self::DELETE_HORIZON != 0
    }

    /// The same with the transactional flag on or off.
    #[must_use]
    pub fn transactional(self, on: bool) -> Self {
        self.with(Self::TRANSACTIONAL, on)
    }

    /// The same with the control flag on or off.
    #[must_use]
    pub fn control(self, on: bool) -> Self {
        self.with(Self::CONTROL, on)
    }

    fn with(self, flag: i16, on: bool) -> Self {
        Self(if on { self.0 | flag } else { self.0 & !flag })
    }
}

/// A batch's header, field by field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchHeader {
    /// The offset of the batch's first record; 0 until the broker assigns it.
    pub base_offset: i64,
    /// The batch's bytes after this field.
    pub batch_length: i32,
    /// The leader epoch under which the broker appended the batch; -1 from a producer.
    pub partition_leader_epoch: i32,
    /// CRC-32C over all bytes from the attributes on.
    pub crc: u32,
    /// Compression, timestamp type and flags.
    pub attributes: Attributes,
    /// The last record's offset, less the base offset. Compaction keeps it.
    pub last_offset_delta: i32,
    /// What records' timestamp deltas are relative to, in milliseconds since the epoch.
    pub base_timestamp: i64,
    /// The largest timestamp, or that of the append, in milliseconds since the epoch.
    pub max_timestamp: i64,
    /// Who wrote the batch.
    pub producer: ProducerIdentity,
    /// The sequence number of the first record; -1 if its producer is not idempotent.
    pub base_sequence: i32,
    /// How many records the batch holds; compaction may leave fewer than offsets, or none.
    pub count: i32,
}

impl BatchHeader {
    /// Reads the header at the front of `bytes`, and checks each field that later arithmetic relies
    /// on.
    ///
    /// # Errors
    /// If `bytes` is shorter than [`HEADER_LEN`], if the magic is not 2, or if a length, count or
    /// offset is out of range. The CRC is not checked here.
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        check_magic(bytes)?;
        let Some(fixed) = bytes.first_chunk::<HEADER_LEN>() else {
            return Err(RecordError::Truncated { part: "batch header" });
        };
        let mut buf = &fixed[..];
        let base_offset = buf.get_i64();
        let batch_length = buf.get_i32();
        let partition_leader_epoch = buf.get_i32();
        buf.advance(1);
        let header = Self {
            base_offset,
            batch_length,
            partition_leader_epoch,
            crc: buf.get_u32(),
            attributes: Attributes(buf.get_i16()),
            last_offset_delta: buf.get_i32(),
            base_timestamp: buf.get_i64(),
            max_timestamp: buf.get_i64(),
            producer: ProducerIdentity { id: buf.get_i64(), epoch: buf.get_i16() },
            base_sequence: buf.get_i32(),
            count: buf.get_i32(),
        };
        header.check()?;
        Ok(header)
    }

    fn check(&self) -> Result<(), RecordError> {
        let field = |field, value| Err(RecordError::HeaderField { field, value });
        if self.batch_length < (HEADER_LEN - LENGTH_OVERHEAD) as i32 {
            return field("batchLength", i64::from(self.batch_length));
        }
        if self.count < 0 {
            return field("records count", i64::from(self.count));
        }
        if self.last_offset_delta < 0 {
            return field("lastOffsetDelta", i64::from(self.last_offset_delta));
        }
        // The offset after the last one must exist too, since readers go on from there.
        let room = i64::MAX - i64::from(self.last_offset_delta) - 1;
        if !(0..=room).contains(&self.base_offset) {
            return field("baseOffset", self.base_offset);
        }
        Ok(())
    }

    /// The offset of the batch's last record, counting those that compaction removed.
    pub fn last_offset(&self) -> i64 {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta))
    }

    /// The whole batch's length in bytes, header included.
    pub fn size(&self) -> usize {
        usize::try_from(self.batch_length).unwrap_or(0).saturating_add(LENGTH_OVERHEAD)
    }

    /// The sequence number of the last record, wrapping to 0 after `i32::MAX` as Kafka does; -1 if
    /// there is none.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return -1;
        }
        let sum = i64::from(self.base_sequence) + i64::from(self.last_offset_delta);
        // Both are non-negative numbers of 31 bits; masking is the remainder by 2^31.
        (sum & i64::from(i32::MAX)) as i32
    }

    /// Writes the header over the front of `batch`, the whole batch, with its own CRC in place of
    /// `self.crc` and its own length in place of `self.batch_length`.
    ///
    /// # Errors
    /// If `batch` is shorter than a header or longer than the format can say.
    pub fn write(&self, batch: &mut [u8]) -> Result<(), RecordError> {
        let bytes = batch.len();
        let too_large = RecordError::BatchSize { count: self.count, bytes };
        let batch_length = bytes
            .checked_sub(LENGTH_OVERHEAD)
            .and_then(|length| i32::try_from(length).ok())
            .ok_or(too_large)?;
        let Some(fixed) = batch.first_chunk_mut::<HEADER_LEN>() else {
            return Err(RecordError::Truncated { part: "batch header" });
        };
        let mut buf = &mut fixed[..];
        buf.put_i64(self.base_offset);
        buf.put_i32(batch_length);
        buf.put_i32(self.partition_leader_epoch);
        buf.put_i8(MAGIC);
        buf.put_u32(0);
        buf.put_i16(self.attributes.0);
        buf.put_i32(self.last_offset_delta);
        buf.put_i64(self.base_timestamp);
        buf.put_i64(self.max_timestamp);
        buf.put_i64(self.producer.id);
        buf.put_i16(self.producer.epoch);
        buf.put_i32(self.base_sequence);
        buf.put_i32(self.count);
        seal_crc(batch)
    }
}

/// Checks the magic of the batch at the front of `bytes`, whatever its format.
pub(super) fn check_magic(bytes: &[u8]) -> Result<(), RecordError> {
    match bytes.get(MAGIC_AT).map(|&byte| byte as i8) {
        Some(MAGIC) => Ok(()),
        Some(magic @ 0..MAGIC) => Err(RecordError::OldMagic { magic }),
        Some(magic) => Err(RecordError::UnknownMagic { magic }),
        None => Err(RecordError::Truncated { part: "batch header" }),
    }
}

/// The batch length field of the batch at the front of `bytes`, unchecked.
pub(super) fn batch_length(bytes: &[u8]) -> Option<i32> {
    bytes.get(LENGTH)?.try_into().ok().map(i32::from_be_bytes)
}

/// The CRC that the header of `batch`, one whole batch, should have.
pub(super) fn compute_crc(batch: &[u8]) -> u32 {
    crc32c::crc32c(batch.get(CRC_START..).unwrap_or_default())
}

fn seal_crc(batch: &mut [u8]) -> Result<(), RecordError> {
    let crc = compute_crc(batch);
    patch(batch, CRC, &crc.to_be_bytes())
}

fn patch(batch: &mut [u8], range: std::ops::Range<usize>, value: &[u8]) -> Result<(), RecordError> {
    match batch.get_mut(range) {
        Some(field) if field.len() == value.len() => {
            field.copy_from_slice(value);
            Ok(())
        }
        _ => Err(RecordError::Truncated { part: "batch header" }),
    }
}

/// Gives the batch at the front of `batch` its place in the log. The CRC does not cover it.
///
/// # Errors
/// If there are not enough bytes for the field.
pub fn set_base_offset(batch: &mut [u8], base_offset: i64) -> Result<(), RecordError> {
    patch(batch, BASE_OFFSET, &base_offset.to_be_bytes())
}

/// Sets the leader epoch of the batch at the front of `batch`. The CRC does not cover it.
///
/// # Errors
/// If there are not enough bytes for the field.
pub fn set_leader_epoch(batch: &mut [u8], epoch: i32) -> Result<(), RecordError> {
    patch(batch, LEADER_EPOCH, &epoch.to_be_bytes())
}

/// Gives all records of `batch`, which is exactly one batch, the time of the append
/// (`message.timestamp.type` is `LogAppendTime`), in milliseconds since the epoch, and renews its
/// CRC.
///
/// # Errors
/// If the bytes are not one whole batch.
pub fn set_log_append_time(batch: &mut [u8], timestamp: i64) -> Result<(), RecordError> {
    let header = BatchHeader::parse(batch)?;
    if header.size() != batch.len() {
        return Err(RecordError::HeaderField {
            field: "batchLength",
            value: i64::from(header.batch_length),
        });
    }
    let attributes = header.attributes.0 | Attributes::LOG_APPEND_TIME;
    patch(batch, ATTRIBUTES, &attributes.to_be_bytes())?;
    patch(batch, MAX_TIMESTAMP, &timestamp.to_be_bytes())?;
    seal_crc(batch)
}
