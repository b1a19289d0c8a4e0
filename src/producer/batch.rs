//! One batch of one partition: its bytes, its records' end, and what it has been through. It knows no sequence rule
//! and no broker.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::error::{Cause, DeliveryError, DeliveryErrorKind, History, Persistence};
use crate::producer::callbacks::{Callback, Callbacks};
use crate::producer::delivery::{Completion, End, Outcome};
use crate::producer::memory::Reservation;
use crate::producer::record::ProducerRecord;
use crate::producer::record_metadata::RecordFacts;
use crate::record::{BatchBuilder, Codec, RecordError, SealedBatch, batches};
use crate::time::Instant;
use crate::types::{Header, ProducerIdentity, RecordHeader, TopicPartition};

/// A batch from its first record to its end. Dropping it gives its memory back.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) id: u64,
    pub(crate) created: Instant,
    /// How often it was sent.
    pub(crate) attempts: u32,
    /// The last thing that went wrong with it.
    pub(crate) last_error: Option<Cause>,
    body: Body,
    /// Whether its first record left no room for another.
    full: bool,
    /// Whether the sender was told that it is.
    told: bool,
    /// Bytes of its records, before compression, at most.
    limit: usize,
    count: u32,
    /// Bytes of the largest record; of a split batch's parts, of the largest before the split.
    largest: u32,
    end: Option<End>,
    completion: Arc<Completion>,
    reservation: Option<Reservation>,
}

#[derive(Debug)]
enum Body {
    Open(BatchBuilder),
    /// Its builder is with the caller who compresses it.
    Sealing,
    Sealed(SealedBatch),
    /// It could not be compressed.
    Broken(RecordError),
}

/// What came of an append. It is small, so that it comes back in registers: this is the hot path.
#[derive(Debug)]
pub(crate) enum Append {
    Taken(Taken),
    /// The last batch has no room, or there is none: a new one is needed.
    NeedsBatch,
    /// No record may enter any more.
    Closed,
}

/// Where a record went, and the bytes that it takes there.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) completion: Arc<Completion>,
    pub(crate) index: u32,
    pub(crate) size: u32,
}

impl Batch {
    pub(crate) fn new(
        id: u64,
        created: Instant,
        completion: Completion,
        reservation: Reservation,
        limit: usize,
    ) -> Self {
        let completion = Arc::new(completion);
        let end =
            End::Whole { completion: Arc::clone(&completion), callbacks: Callbacks::default() };
        Self {
            id,
            created,
            attempts: 0,
            last_error: None,
            body: Body::Open(BatchBuilder::new(reservation.buffer())),
            limit: limit.min(reservation.bytes()),
            full: false,
            told: false,
            count: 0,
            largest: 0,
            end: Some(end),
            completion,
            reservation: Some(reservation),
        }
    }

    /// Appends the record if the batch is open and stays within its limit; a first record always fits. The callback
    /// is taken only when the record is.
    #[inline]
    pub(crate) fn append(
        &mut self,
        record: &ProducerRecord<'_>,
        timestamp: i64,
        callback: &mut Option<impl Callback>,
    ) -> Append {
        let Body::Open(builder) = &mut self.body else { return Append::NeedsBatch };
        // A record that is larger than a batch gets one of its own.
        let first = builder.is_empty();
        let within = if first { usize::MAX } else { self.limit };
        let Ok(appended) =
            builder.append_within(within, timestamp, record.key, record.value, record.headers)
        else {
            return Append::NeedsBatch;
        };
        if first {
            self.full = builder.len() >= self.limit;
        }
        let index = appended.index.unsigned_abs();
        self.count = index + 1;
        if let Some(callback) = callback.take()
            && let Some(End::Whole { callbacks, .. }) = &mut self.end
        {
            callbacks.push(RecordFacts::new(index, timestamp, record.key, record.value), callback);
        }
        let size = u32::try_from(appended.size).unwrap_or(u32::MAX);
        self.largest = self.largest.max(size);
        Append::Taken(Taken { completion: Arc::clone(&self.completion), index, size })
    }

    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// Bytes of its largest record, before compression.
    pub(crate) fn largest_record(&self) -> u32 {
        self.largest
    }

    /// The part of its records' bytes that compression left.
    pub(crate) fn compression_ratio(&self) -> f64 {
        match &self.body {
            Body::Sealed(sealed) => sealed.compression_ratio(),
            Body::Open(_) | Body::Sealing | Body::Broken(_) => 1.0,
        }
    }

    pub(crate) fn completion(&self) -> &Arc<Completion> {
        &self.completion
    }

    /// Whether no further record will enter.
    /// It has refused a record; whether that is news.
    pub(crate) fn set_full(&mut self) -> bool {
        self.full = true;
        !std::mem::replace(&mut self.told, true)
    }

    /// Gives back the memory that it does not use, if that is half or more, at the price of a copy: for when others wait
    /// for it.
    pub(crate) fn compact(&mut self) {
        if let (Body::Open(builder), Some(room)) = (&mut self.body, &mut self.reservation)
            && builder.len() <= room.bytes() / 2
        {
            let spare = builder.compact();
            room.shrink(builder.len(), spare);
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.full || !matches!(self.body, Body::Open(_))
    }

    /// Whether a caller is compressing it.
    pub(crate) fn is_being_sealed(&self) -> bool {
        matches!(self.body, Body::Sealing)
    }

    /// Takes the records out to be sealed, after which no record can be appended.
    pub(crate) fn start_sealing(&mut self) -> Option<BatchBuilder> {
        match std::mem::replace(&mut self.body, Body::Sealing) {
            Body::Open(builder) => Some(builder),
            other => {
                self.body = other;
                None
            }
        }
    }

    /// Puts the sealed records back, or what went wrong with them.
    pub(crate) fn finish_sealing(&mut self, sealed: Result<SealedBatch, RecordError>) {
        self.body = match sealed {
            Ok(mut sealed) => {
                if let (Some(spare), Some(room)) = (sealed.take_spare(), &mut self.reservation) {
                    room.shrink(sealed.len(), spare);
                }
                Body::Sealed(sealed)
            }
            Err(error) => Body::Broken(error),
        };
    }

    /// Seals it if it is open. The error is that of this sealing, or of an earlier one.
    pub(crate) fn seal(&mut self, codec: Codec) -> Result<(), RecordError> {
        if let Some(builder) = self.start_sealing() {
            self.finish_sealing(builder.seal(codec));
        }
        match &self.body {
            Body::Broken(error) => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// Its bytes before and after compression, once it is sealed.
    pub(crate) fn compressed(&self) -> Option<(usize, usize)> {
        match &self.body {
            Body::Sealed(sealed) => Some((sealed.uncompressed_len(), sealed.len())),
            Body::Open(_) | Body::Sealing | Body::Broken(_) => None,
        }
    }

    /// Bytes that it takes of a request; before compression, if it is not sealed.
    pub(crate) fn size(&self) -> usize {
        match &self.body {
            Body::Open(builder) => builder.len(),
            Body::Sealing | Body::Broken(_) => 0,
            Body::Sealed(sealed) => sealed.len(),
        }
    }

    /// Writes the header, under which the bytes leave and to which each retry keeps.
    pub(crate) fn stamp(
        &mut self,
        identity: ProducerIdentity,
        base_sequence: i32,
        transactional: bool,
    ) {
        if let Body::Sealed(sealed) = &mut self.body {
            sealed.stamp(identity, base_sequence, transactional);
        }
    }

    /// The stamped bytes.
    pub(crate) fn bytes(&self) -> Option<Bytes> {
        match &self.body {
            Body::Sealed(sealed) => Some(sealed.bytes()),
            Body::Open(_) | Body::Sealing | Body::Broken(_) => None,
        }
    }

    /// Whether its records' wait has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.end.is_none()
    }

    /// Ends its records' wait; only the first call counts, and says so. Memory stays held until the batch is dropped.
    pub(crate) fn complete(&mut self, outcome: Outcome) -> bool {
        let end = self.end.take();
        end.map(|mut end| end.tell(outcome)).is_some()
    }

    /// Makes two batches of it, each with half of the records; `next_id` is for the second. Both begin anew to count
    /// attempts; the second shares memory, age and the last error. `None`, and unchanged, if it cannot be split or its records cannot be read.
    pub(crate) fn split(&mut self, codec: Codec, next_id: u64) -> Option<Self> {
        let Body::Sealed(sealed) = &self.body else { return None };
        let at = self.count / 2;
        if at == 0 || self.has_ended() {
            return None;
        }
        let limit = sealed.uncompressed_len();
        let (before, after) = halves(sealed.bytes(), limit, at, codec).ok()?;
        let (end, next_end) = self.end.take()?.split(at);
        let room = self.reservation.as_mut().map(|room| room.split(after.len()));
        let next = Self {
            id: next_id,
            created: self.created,
            attempts: 0,
            last_error: self.last_error.clone(),
            body: Body::Sealed(after),
            limit: 0,
            full: true,
            told: true,
            count: self.count - at,
            largest: self.largest,
            end: Some(next_end),
            completion: Arc::clone(&self.completion),
            reservation: room,
        };
        (self.body, self.count, self.end) = (Body::Sealed(before), at, Some(end));
        self.attempts = 0;
        Some(next)
    }

    /// Ends its records' wait with an error.
    pub(crate) fn fail(
        &mut self,
        topic_partition: TopicPartition,
        kind: DeliveryErrorKind,
        persistence: Persistence,
        now: Instant,
    ) -> bool {
        let error = self.error(topic_partition, kind, persistence, now);
        self.complete(Outcome::Failed(error))
    }

    /// The error with which its records' wait is to end.
    pub(crate) fn error(
        &self,
        topic_partition: TopicPartition,
        kind: DeliveryErrorKind,
        persistence: Persistence,
        now: Instant,
    ) -> DeliveryError {
        let history = History {
            attempts: self.attempts,
            elapsed: now.saturating_duration_since(self.created),
            last: self.last_error.clone(),
        };
        DeliveryError::new(topic_partition, kind, persistence, history)
    }
}

/// The records of a batch in two: those before `at`, and the rest.
fn halves(
    bytes: Bytes,
    limit: usize,
    at: u32,
    codec: Codec,
) -> Result<(SealedBatch, SealedBatch), RecordError> {
    let empty = RecordError::Truncated { part: "batch" };
    let batch = batches(bytes).next().ok_or(empty)??;
    let records = batch.records(limit)?;
    let mut parts = [BatchBuilder::new(BytesMut::new()), BatchBuilder::new(BytesMut::new())];
    let [before, after] = &mut parts;
    for (index, record) in (0_i32..).zip(&records) {
        let record = record?;
        let headers =
            record.headers.map(|header| as_written(header?)).collect::<Result<Vec<_>, _>>()?;
        let part = if index.unsigned_abs() < at { &mut *before } else { &mut *after };
        part.append(record.timestamp, record.key, record.value, &headers)
            .map_err(|full| RecordError::BatchSize { count: index, bytes: full.needed })?;
    }
    let [before, after] = parts;
    Ok((before.seal(codec)?, after.seal(codec)?))
}

/// A header as the producer was given it.
fn as_written(header: RecordHeader<'_>) -> Result<Header<'_>, RecordError> {
    let key = std::str::from_utf8(header.key_bytes).map_err(|_| RecordError::HeaderName)?;
    Ok(Header { key, value: header.value })
}

/// Whoever drops it: its records are told, and its memory is given back.
impl Drop for Batch {
    fn drop(&mut self) {
        if self.count > 0 && !self.has_ended() {
            let name = self.completion.topic_partition();
            let written = if self.attempts == 0 {
                Persistence::NotWritten
            } else {
                Persistence::MaybeWritten
            };
            // A batch has no clock: that it ended so says more than when.
            self.fail(name, DeliveryErrorKind::Closed, written, self.created);
        }
        let buffer = match std::mem::replace(&mut self.body, Body::Sealing) {
            Body::Open(builder) => Some(builder.into_buffer()),
            Body::Sealing | Body::Broken(_) => None,
            Body::Sealed(sealed) => sealed.into_buffer(),
        };
        if let Some(reservation) = self.reservation.take() {
            reservation.release(buffer);
        }
    }
}
