//! A batch whose records are final: compressed once, stamped with its producer's identity as often
//! as needed. It does not know whether its bytes were sent; that a batch which may have left never
//! gets another stamp is the caller's rule.

use bytes::{Bytes, BytesMut};

use super::MAX_BATCH_LEN;
use super::compress::{self, Codec};
use super::encode::{BatchBuilder, Parts};
use super::error::RecordError;
use super::header::{Attributes, BatchHeader, HEADER_LEN};
use crate::types::{Compression, ProducerIdentity};

/// The base sequence of a batch that has none.
const NO_SEQUENCE: i32 = -1;
/// The leader epoch that a producer writes.
const NO_LEADER_EPOCH: i32 = -1;

/// A batch that takes no more records.
#[derive(Debug)]
pub struct SealedBatch {
    /// The whole batch. Only the header's place is ever written to, and only while nobody else
    /// holds the bytes.
    bytes: Bytes,
    /// The buffer that held the records before compression, until it is taken back.
    spare: Option<BytesMut>,
    /// All but the identity and sequence, which come with the stamp.
    header: BatchHeader,
    uncompressed_len: usize,
}

impl SealedBatch {
    pub(super) fn new(builder: BatchBuilder, codec: Codec) -> Result<Self, RecordError> {
        let Parts { mut buf, count, base_timestamp, max_timestamp } = builder.into();
        if count == 0 {
            return Err(RecordError::BatchSize { count, bytes: buf.len() });
        }
        let uncompressed_len = buf.len();
        let mut spare = None;
        if codec.compression() != Compression::None {
            let mut compressed = BytesMut::zeroed(HEADER_LEN);
            compress::compress(codec, buf.get(HEADER_LEN..).unwrap_or_default(), &mut compressed)?;
            // Codecs need room for the worst case. The batch may stay for long: it keeps what it
            // uses, and the larger buffer is free for the next batch.
            let exact = BytesMut::from(&compressed[..]);
            spare = Some(std::mem::replace(&mut buf, exact));
        }
        if buf.len() > MAX_BATCH_LEN {
            return Err(RecordError::BatchSize { count, bytes: buf.len() });
        }
        let header = BatchHeader {
            base_offset: 0,
            batch_length: 0, // this and the CRC are filled in by `BatchHeader::write`
            partition_leader_epoch: NO_LEADER_EPOCH,
            crc: 0,
            attributes: Attributes::new(codec.compression()),
            last_offset_delta: count - 1,
            base_timestamp,
            max_timestamp,
            producer: ProducerIdentity::NONE,
            base_sequence: NO_SEQUENCE,
            count,
        };
        Ok(Self { bytes: buf.freeze(), spare, header, uncompressed_len })
    }

    /// Writes the header with this identity, and the CRC last. A batch without identity takes
    /// [`ProducerIdentity::NONE`] and -1. Bytes that were handed out keep what they were: the batch
    /// is copied then.
    pub fn stamp(&mut self, producer: ProducerIdentity, base_sequence: i32, transactional: bool) {
        let attributes = self.header.attributes.transactional(transactional);
        self.write_header(BatchHeader {
            attributes,
            producer,
            base_sequence,
            ..self.header.clone()
        });
    }

    /// As [`SealedBatch::stamp`], for a batch of control records, which are part of a transaction
    /// and of no sequence.
    pub(super) fn stamp_control(&mut self, producer: ProducerIdentity) {
        let attributes = self.header.attributes.transactional(true).control(true);
        let base_sequence = NO_SEQUENCE;
        self.write_header(BatchHeader {
            attributes,
            producer,
            base_sequence,
            ..self.header.clone()
        });
    }

    fn write_header(&mut self, header: BatchHeader) {
        let mut buf = match std::mem::take(&mut self.bytes).try_into_mut() {
            Ok(buf) => buf,
            Err(shared) => BytesMut::from(&shared[..]),
        };
        // `new` made sure that the size is one that a header can say.
        let written = header.write(&mut buf);
        debug_assert_eq!(written, Ok(()));
        self.header = header;
        self.bytes = buf.freeze();
    }

    /// The whole batch as it goes on the wire; sharing, not copying. Before the first stamp its
    /// header is blank.
    pub fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }

    /// The batch's length on the wire, header included.
    #[allow(clippy::len_without_is_empty)] // a sealed batch holds at least one record
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// What the batch's length was before compression, header included.
    pub fn uncompressed_len(&self) -> usize {
        self.uncompressed_len
    }

    /// The length of its records, compressed, as a part of what it was before; the header does not
    /// count.
    pub fn compression_ratio(&self) -> f64 {
        let records = |len: usize| len.saturating_sub(HEADER_LEN) as f64;
        records(self.len()) / records(self.uncompressed_len)
    }

    /// How many records the batch holds; at least one.
    pub fn count(&self) -> i32 {
        self.header.count
    }

    /// How its records are compressed.
    pub fn compression(&self) -> Compression {
        self.header.attributes.compression().unwrap_or_default()
    }

    /// The first record's timestamp.
    pub fn base_timestamp(&self) -> i64 {
        self.header.base_timestamp
    }

    /// The largest timestamp of its records.
    pub fn max_timestamp(&self) -> i64 {
        self.header.max_timestamp
    }

    /// The identity of the last stamp; [`ProducerIdentity::NONE`] before it.
    pub fn producer(&self) -> ProducerIdentity {
        self.header.producer
    }

    /// The base sequence of the last stamp; -1 before it.
    pub fn base_sequence(&self) -> i32 {
        self.header.base_sequence
    }

    /// The buffer that compression left over, empty, if it was not taken yet.
    pub fn take_spare(&mut self) -> Option<BytesMut> {
        let mut spare = self.spare.take()?;
        spare.clear();
        Some(spare)
    }

    /// Gives the batch's buffer back, empty, if nobody else holds its bytes any more.
    pub fn into_buffer(self) -> Option<BytesMut> {
        let mut buf = self.bytes.try_into_mut().ok()?;
        buf.clear();
        Some(buf)
    }
}
