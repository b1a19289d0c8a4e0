//! One batch of which the user gets the records, bit by bit if it has more than a poll may give: it is
//! decompressed once, and each record is checked once, when it is handed out.
//!
//! It knows neither partitions nor transactions.

use std::sync::Arc;

use super::completed::Cause;
use crate::consumer::records::BatchRecords;
use crate::consumer::subscription::Position;
use crate::record::{BatchHeader, RecordBatch, RecordError, Records};

/// A rule that holds between records, not within one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("offset {offset} follows offset {previous} in one batch")]
struct OffsetOrder {
    previous: i64,
    offset: i64,
}

/// A limit that is the configuration's, which whoever decompresses does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}; raise receive.message.max.bytes")]
struct TooLarge(RecordError);

pub(super) fn cause(error: RecordError) -> Cause {
    match error {
        RecordError::DecompressedTooLarge { .. } => Arc::new(TooLarge(error)),
        error => Arc::new(error),
    }
}

/// How much a poll may still hand out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// Of records, as long as they are; one batch may be more.
    pub(crate) bytes: usize,
    /// `max.poll.records`.
    pub(crate) records: usize,
}

impl Room {
    /// Whether there is any.
    pub(crate) fn is_left(self) -> bool {
        self.bytes > 0 && self.records > 0
    }
}

/// A batch that is being handed out.
#[derive(Debug)]
pub(super) struct OpenBatch {
    header: BatchHeader,
    /// Those that were not looked at yet.
    left: Records,
    /// The offset of the last one that was.
    previous: Option<i64>,
}

impl OpenBatch {
    /// Decompresses a batch, into at most `limit` bytes.
    pub(super) fn open(batch: &RecordBatch, limit: usize) -> Result<Self, Cause> {
        let left = batch.records(limit).map_err(cause)?;
        Ok(Self { header: batch.header().clone(), left, previous: None })
    }

    pub(super) fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// How many bytes of records are left.
    pub(super) fn len(&self) -> usize {
        self.left.payload().len()
    }

    /// Whether all of it was handed out.
    pub(super) fn is_done(&self) -> bool {
        self.left.count() == 0 && self.left.payload().is_empty()
    }

    /// The position behind what was handed out.
    pub(super) fn position(&self) -> Position {
        let last = self.previous.filter(|_| !self.is_done());
        let last = last.unwrap_or(self.header.last_offset());
        // The header was checked to leave room for it.
        Position::new(last.saturating_add(1), self.header.partition_leader_epoch)
    }

    /// Takes out what the user gets next, of the records from offset `from` on; `None` if there are no
    /// more. All that is decoded counts against the `room`.
    ///
    /// It is decoded here although users decode it again: only so does an error leave the position
    /// where it is, and iterating not fail. Both together take less time than one copy.
    pub(super) fn cut(
        &mut self,
        from: i64,
        room: &mut Room,
    ) -> Result<Option<BatchRecords>, Cause> {
        let mut decoded = 0;
        let mut count = 0;
        let mut previous = self.previous;
        let mut records = self.left.iter();
        while count < room.records
            && let Some(record) = records.next()
        {
            let record = record.map_err(cause)?;
            for header in record.headers {
                header.map_err(cause)?;
            }
            let offset = record.offset;
            if let Some(previous) = previous.filter(|previous| *previous >= offset) {
                return Err(Arc::new(OffsetOrder { previous, offset }));
            }
            previous = Some(offset);
            decoded += 1;
            count += usize::from(offset >= from);
        }
        let bytes = self.left.payload().len() - records.rest().len();
        self.previous = previous;
        let records = self.left.split_to(decoded, bytes);
        room.bytes = room.bytes.saturating_sub(bytes);
        room.records = room.records.saturating_sub(count);
        Ok((count > 0).then(|| BatchRecords {
            records,
            from,
            count,
            timestamp_type: self.header.attributes.timestamp_type(),
            leader_epoch: self.header.partition_leader_epoch,
        }))
    }
}
