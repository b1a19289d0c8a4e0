//! The bytes that one answer brought for one partition: surveyed when they come, checked and cut
//! into batches when they are handed out.
//!
//! It knows neither requests nor leaders. It moves a position over what it hands out and over what
//! no user sees (control batches, emptied batches, gaps), and never past what it cannot read.

use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;

use super::isolation::Aborted;
use super::opened::{OpenBatch, Room, cause};
use crate::consumer::records::BatchRecords;
use crate::consumer::subscription::Position;
use crate::record::{BatchHeader, Batches, RecordBatch, RecordError, batches};

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

/// What one answer brought for one partition, less what was handed out of it.
#[derive(Debug)]
pub(crate) struct Completed {
    /// The batch that was begun.
    open: Option<OpenBatch>,
    /// Those behind it.
    source: Batches,
    /// With `isolation.level=read_committed`.
    aborted: Option<Aborted>,
}

impl Completed {
    pub(super) fn new(bytes: Bytes, aborted: Option<Aborted>) -> Self {
        Self { open: None, source: batches(bytes), aborted }
    }

    /// How many bytes it has.
    pub(super) fn len(&self) -> usize {
        self.source.rest().len() + self.open.as_ref().map_or(0, OpenBatch::len)
    }

    /// Whether there is nothing left. An incomplete batch at the end is nothing: it is no more than
    /// the broker's way to cut its answers.
    pub(super) fn is_done(&self) -> bool {
        self.open.is_none() && self.source.clone().next().is_none()
    }

    /// Lets go of the memory that it shares with other parts of its answer.
    pub(super) fn copy_out(&mut self) {
        self.source = batches(Bytes::copy_from_slice(self.source.rest()));
    }

    /// Where in memory it lies.
    #[cfg(test)]
    pub(super) fn starts_at(&self) -> *const u8 {
        self.source.rest().as_ptr()
    }

    /// Checks records and takes them out, until they end, or the `room` is used up, or some cannot
    /// be read. The position moves along.
    pub(crate) fn take(
        &mut self,
        position: &mut Position,
        room: &mut Room,
        checks: Checks,
    ) -> (Vec<BatchRecords>, Option<Problem>) {
        let mut taken = Vec::new();
        while room.is_left() {
            let mut batch = match self.open.take() {
                Some(batch) => batch,
                None => match self.open_next(position, checks) {
                    Ok(Some(batch)) => batch,
                    Ok(None) => break,
                    Err(problem) => return (taken, Some(problem)),
                },
            };
            match batch.cut(position.offset, room) {
                Ok(records) => taken.extend(records),
                Err(cause) => return (taken, Some(problem(batch.header(), cause))),
            }
            *position = batch.position();
            if !batch.is_done() {
                self.open = Some(batch);
            }
        }
        (taken, None)
    }

    /// Opens the next batch that has something for the user. The position moves over those that do
    /// not: markers, and what was aborted.
    fn open_next(
        &mut self,
        position: &mut Position,
        checks: Checks,
    ) -> Result<Option<OpenBatch>, Problem> {
        for batch in self.source.by_ref() {
            let batch = batch.map_err(|error| {
                let cause = Arc::new(error);
                Problem { first: position.offset, last: None, cause }
            })?;
            let next = later(*position, &batch);
            if next == *position {
                continue;
            }
            let header = batch.header();
            let wrong = |cause| problem(header, cause);
            if checks.crcs {
                batch.verify_crc().map_err(|error| wrong(cause(error)))?;
            }
            let is_aborted = match &mut self.aborted {
                Some(aborted) => aborted
                    .covers(&batch, checks.max_decompressed)
                    .map_err(|error| wrong(cause(error)))?,
                None => false,
            };
            if is_aborted || header.attributes.is_control() {
                *position = next;
                continue;
            }
            return OpenBatch::open(&batch, checks.max_decompressed).map(Some).map_err(wrong);
        }
        Ok(None)
    }
}

fn problem(header: &BatchHeader, cause: Cause) -> Problem {
    Problem { first: header.base_offset, last: Some(header.last_offset()), cause }
}
