//! What a partition remembers of each idempotent producer, and the verdict on its next batch (KIP-98, KIP-360).
//!
//! Kafka keeps the last five batches per producer id and partition; so does this. It knows sequences and epochs only:
//! whether a batch is well formed, fits or may be written is decided elsewhere, and nothing here is changed by a
//! batch until [`ProducerStates::record`] is told that it was appended.
//!
//! | the batch                                              | verdict                          |
//! |--------------------------------------------------------|----------------------------------|
//! | epoch below the known one                              | [`Refused::InvalidEpoch`]        |
//! | same epoch, exactly the range of one of the last five  | [`Verdict::Duplicate`]           |
//! | same epoch, starts after the last sequence             | [`Verdict::Append`]              |
//! | same epoch, ends at or before the last sequence        | [`Refused::Duplicate`]           |
//! | same epoch, anything else: a gap, or half of it known  | [`Refused::OutOfOrder`]          |
//! | higher epoch, starts at 0                              | [`Verdict::Append`]              |
//! | higher epoch, starts elsewhere                         | [`Refused::OutOfOrder`]          |
//! | producer unknown, any epoch and sequence               | [`Verdict::Append`]              |

use std::collections::{HashMap, VecDeque};

use crate::types::ProducerIdentity;

/// `ProducerStateEntry.NUM_BATCHES_TO_RETAIN`.
const BATCHES_KEPT: usize = 5;

/// A batch as its producer numbered it. `sequence` is the one of its first record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sequenced {
    pub(crate) producer: ProducerIdentity,
    pub(crate) sequence: i32,
    pub(crate) count: i32,
}

impl Sequenced {
    /// The sequence of the last record; after `i32::MAX` comes 0.
    fn last(&self) -> i32 {
        self.sequence.wrapping_add(self.count.max(1) - 1) & i32::MAX
    }
}

/// A batch that was appended before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Appended {
    pub(crate) base_offset: i64,
    pub(crate) timestamp: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Append,
    /// One of the last five: answer with where it is.
    Duplicate(Appended),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    InvalidEpoch,
    OutOfOrder,
    /// Known to be written, but where is forgotten.
    Duplicate,
}

#[derive(Debug, Clone, Copy)]
struct KnownBatch {
    first: i32,
    last: i32,
    appended: Appended,
}

#[derive(Debug)]
struct ProducerState {
    epoch: i16,
    /// Never empty; oldest first.
    batches: VecDeque<KnownBatch>,
}

/// The producers of one partition.
#[derive(Debug, Default)]
pub(crate) struct ProducerStates {
    by_id: HashMap<i64, ProducerState>,
}

impl ProducerStates {
    /// Judges a batch; the table is in the module's docs.
    pub(crate) fn check(&self, batch: &Sequenced) -> Result<Verdict, Refused> {
        let Some(known) = self.by_id.get(&batch.producer.id) else { return Ok(Verdict::Append) };
        if batch.producer.epoch < known.epoch {
            return Err(Refused::InvalidEpoch);
        }
        if batch.producer.epoch > known.epoch {
            return if batch.sequence == 0 {
                Ok(Verdict::Append)
            } else {
                Err(Refused::OutOfOrder)
            };
        }
        let same = |b: &&KnownBatch| b.first == batch.sequence && b.last == batch.last();
        if let Some(duplicate) = known.batches.iter().find(same) {
            return Ok(Verdict::Duplicate(duplicate.appended));
        }
        let Some(newest) = known.batches.back() else { return Ok(Verdict::Append) };
        if batch.sequence == newest.last.wrapping_add(1) & i32::MAX {
            return Ok(Verdict::Append);
        }
        // Distances are taken on the circle of 2^31 sequences: less than half of it back is the past.
        let behind = newest.last.wrapping_sub(batch.last()) & i32::MAX;
        let half = i32::MAX / 2;
        let first_behind = newest.last.wrapping_sub(batch.sequence) & i32::MAX;
        if behind < half && first_behind < half {
            Err(Refused::Duplicate)
        } else {
            Err(Refused::OutOfOrder)
        }
    }

    /// Remembers a batch that was appended.
    pub(crate) fn record(&mut self, batch: &Sequenced, appended: Appended) {
        let epoch = batch.producer.epoch;
        let state = self.by_id.entry(batch.producer.id).or_insert_with(|| ProducerState {
            epoch,
            batches: VecDeque::with_capacity(BATCHES_KEPT),
        });
        if state.epoch != epoch {
            state.epoch = epoch;
            state.batches.clear();
        }
        if state.batches.len() == BATCHES_KEPT {
            state.batches.pop_front();
        }
        state.batches.push_back(KnownBatch { first: batch.sequence, last: batch.last(), appended });
    }

    /// Forgets all producers, as after `producer.id.expiration.ms`.
    pub(crate) fn forget(&mut self) {
        self.by_id.clear();
    }
}

#[cfg(test)]
#[path = "producer_state/tests.rs"]
mod tests;
