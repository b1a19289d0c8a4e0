//! The bytes that one answer brought for one partition: surveyed when they come, checked and cut
//! into batches when they are handed out.
//!
//! It knows neither requests nor leaders. It moves a position over what it hands out and over what
//! no user sees (control batches, emptied batches, gaps), and never past what it cannot read.

use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;

use crate::consumer::records::BatchRecords;
use crate::consumer::subscription::Position;
use crate::record::{Batches, RecordBatch, RecordError, batches};

/// How batches are checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Checks {
    /// `check.crcs`.
    pub(crate) crcs: bool,
    /// The most bytes that the records of one batch may have when decompressed.
    pub(crate) max_decompressed: usize,
}

/// What is wrong with a batch.
pub(crate) type Cause = Arc<dyn Error + Send + Sync>;

/// A batch that cannot be read.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) first: i64,
    pub(crate) last: Option<i64>,
    pub(crate) cause: Cause,
}

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

/// What some bytes hold, as far as the headers of their batches tell.
#[derive(Debug)]
pub(crate) enum Survey {
    /// Whole batches up to before `next`, and perhaps one that cannot be read after them.
    Batches { next: Position, clean: bool },
    /// No offset from the one asked for on.
    Nothing,
    /// A batch that is cut off, and none before it.
    CutOff(Problem),
}

/// Looks through the headers of the batches that were asked for from offset `from`.
pub(crate) fn survey(bytes: &Bytes, from: Position) -> Survey {
    let mut found = batches(bytes.clone());
    let mut next = from;
    let mut any = false;
    for batch in found.by_ref() {
        match batch {
            Ok(batch) => next = later(next, &batch),
            Err(_) => return Survey::Batches { next, clean: false },
        }
        any = true;
    }
    if next.offset > from.offset {
        Survey::Batches { next, clean: true }
    } else if any || bytes.is_empty() {
        Survey::Nothing
    } else {
        let cause = Arc::new(RecordError::Truncated { part: "first batch" });
        Survey::CutOff(Problem { first: from.offset, last: None, cause })
    }
}

/// The position after a batch, unless it lies before the one there is.
fn later(position: Position, batch: &RecordBatch) -> Position {
    let header = batch.header();
    // The header was checked to leave room for it.
    let next = header.last_offset().saturating_add(1);
    if next <= position.offset {
        return position;
    }
    Position::new(next, header.partition_leader_epoch)
}

/// Checks batches and takes them out, until they end, or until `budget` bytes of records are used
/// up, or until one cannot be read. The position moves along.
pub(crate) fn take_batches(
    source: &mut Batches,
    position: &mut Position,
    budget: &mut usize,
    checks: Checks,
) -> (Vec<BatchRecords>, Option<Problem>) {
    let mut taken = Vec::new();
    while *budget > 0 {
        let batch = match source.next() {
            None => break,
            Some(Ok(batch)) => batch,
            Some(Err(error)) => {
                let cause = Arc::new(error);
                return (taken, Some(Problem { first: position.offset, last: None, cause }));
            }
        };
        let next = later(*position, &batch);
        if next == *position {
            continue;
        }
        match check(&batch, position.offset, checks) {
            Ok(checked) => {
                *budget = budget.saturating_sub(checked.decoded);
                taken.extend(checked.records);
                *position = next;
            }
            Err(cause) => {
                let header = batch.header();
                let last = Some(header.last_offset());
                return (taken, Some(Problem { first: header.base_offset, last, cause }));
            }
        }
    }
    (taken, None)
}

/// A batch that can be read.
struct Checked {
    /// How many bytes of records it has, for the user or not.
    decoded: usize,
    /// `None` if it has nothing for the user.
    records: Option<BatchRecords>,
}

/// Checks and decodes a whole batch, of which the user gets what is there from `from` on.
///
/// All of it is decoded here although users decode it again: only so does an error leave the
/// position where it is, and iterating not fail. Both together take less time than one copy.
fn check(batch: &RecordBatch, from: i64, checks: Checks) -> Result<Checked, Cause> {
    fn cause(error: RecordError) -> Cause {
        match error {
            RecordError::DecompressedTooLarge { .. } => Arc::new(TooLarge(error)),
            error => Arc::new(error),
        }
    }
    if checks.crcs {
        batch.verify_crc().map_err(cause)?;
    }
    let header = batch.header();
    if header.attributes.is_control() {
        return Ok(Checked { decoded: 0, records: None });
    }
    let records = batch.records(checks.max_decompressed).map_err(cause)?;
    let mut previous = None;
    let mut count = 0;
    for record in &records {
        let record = record.map_err(cause)?;
        for header in record.headers {
            header.map_err(cause)?;
        }
        let offset = record.offset;
        if let Some(previous) = previous.filter(|previous| *previous >= offset) {
            return Err(Arc::new(OffsetOrder { previous, offset }));
        }
        previous = Some(offset);
        count += usize::from(offset >= from);
    }
    let decoded = records.payload().len();
    let records = (count > 0).then(|| BatchRecords {
        records,
        from,
        count,
        timestamp_type: header.attributes.timestamp_type(),
        leader_epoch: header.partition_leader_epoch,
    });
    Ok(Checked { decoded, records })
}
