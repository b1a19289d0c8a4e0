//! What a partition remembers of each idempotent producer, and the verdict on its next batch (KIP-98, KIP-360) or
//! on the marker that ends its transaction.
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
//! | only a marker known of this epoch: as a higher epoch   |                                  |
//! | would be appended, not transactional inside of one     | [`Refused::NotTransactional`]    |
//! | a marker below the known epoch                         | [`Refused::InvalidEpoch`]        |
//! | a marker of an older coordinator                       | [`Refused::CoordinatorFenced`]   |

use std::collections::{HashMap, VecDeque};

use crate::error::ErrorCode;
use crate::types::ProducerIdentity;

/// `ProducerStateEntry.NUM_BATCHES_TO_RETAIN`.
const BATCHES_KEPT: usize = 5;

/// A batch as its producer numbered it. `sequence` is the one of its first record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sequenced {
    pub(crate) producer: ProducerIdentity,
    pub(crate) sequence: i32,
    pub(crate) count: i32,
    pub(crate) transactional: bool,
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
    /// The producer has a transaction open here, and this is not part of it.
    NotTransactional,
    /// A later coordinator has written a marker.
    CoordinatorFenced,
}

impl From<Refused> for ErrorCode {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::InvalidEpoch => Self::INVALID_PRODUCER_EPOCH,
            Refused::OutOfOrder => Self::OUT_OF_ORDER_SEQUENCE_NUMBER,
            Refused::Duplicate => Self::DUPLICATE_SEQUENCE_NUMBER,
            Refused::NotTransactional => Self::INVALID_TXN_STATE,
            Refused::CoordinatorFenced => Self::TRANSACTION_COORDINATOR_FENCED,
        }
    }
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
    /// Of the last marker; -1 before the first.
    coordinator_epoch: i32,
    /// Oldest first; empty if of this epoch there was but a marker.
    batches: VecDeque<KnownBatch>,
    /// The first offset of the transaction that is open.
    open: Option<i64>,
    /// The greatest of the last batch, or that of the marker after it.
    last_timestamp: i64,
}

/// What is told of a producer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    pub(crate) producer: ProducerIdentity,
    pub(crate) last_sequence: Option<i32>,
    pub(crate) last_timestamp: i64,
    pub(crate) coordinator_epoch: i32,
    /// The first offset of the transaction that is open.
    pub(crate) open: Option<i64>,
}

/// The producers of one partition.
#[derive(Debug, Default)]
pub(crate) struct ProducerStates {
    by_id: HashMap<i64, ProducerState>,
    /// Of producers whose transaction has not begun here: the epoch, and the lowest sequence that asked for it.
    waiting: HashMap<i64, (i16, i32)>,
}

impl ProducerStates {
    /// Judges a batch; the table is in the module's docs.
    pub(crate) fn check(&self, batch: &Sequenced) -> Result<Verdict, Refused> {
        let verdict = self.check_sequence(batch)?;
        if verdict == Verdict::Append
            && !batch.transactional
            && self.open_at(batch.producer.id).is_some()
        {
            return Err(Refused::NotTransactional);
        }
        Ok(verdict)
    }

    fn check_sequence(&self, batch: &Sequenced) -> Result<Verdict, Refused> {
        let Some(known) = self.by_id.get(&batch.producer.id) else { return Ok(Verdict::Append) };
        if batch.producer.epoch < known.epoch {
            return Err(Refused::InvalidEpoch);
        }
        let newest = match known.batches.back() {
            Some(newest) if batch.producer.epoch == known.epoch => newest,
            _ if batch.sequence == 0 => return Ok(Verdict::Append),
            _ => return Err(Refused::OutOfOrder),
        };
        let same = |b: &&KnownBatch| b.first == batch.sequence && b.last == batch.last();
        if let Some(duplicate) = known.batches.iter().find(same) {
            return Ok(Verdict::Duplicate(duplicate.appended));
        }
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

    /// A batch asks to be the first of a transaction here. Gives whether it may be: one that asked before it and was
    /// refused, with a lower sequence, must not be overtaken where nothing else is known (`VerificationStateEntry`).
    pub(crate) fn ask(&mut self, batch: &Sequenced) -> Result<(), Refused> {
        let ProducerIdentity { id, epoch } = batch.producer;
        let lowest = self.waiting.entry(id).or_insert((epoch, batch.sequence));
        if epoch > lowest.0 || epoch == lowest.0 && batch.sequence < lowest.1 {
            *lowest = (epoch, batch.sequence);
        }
        if batch.sequence > lowest.1 { Err(Refused::OutOfOrder) } else { Ok(()) }
    }

    /// Remembers a batch that was appended, and says whether it is the first of a transaction.
    pub(crate) fn record(
        &mut self,
        batch: &Sequenced,
        appended: Appended,
        max_timestamp: i64,
    ) -> bool {
        let state = self.in_epoch(batch.producer);
        state.last_timestamp = max_timestamp;
        if state.batches.len() == BATCHES_KEPT {
            state.batches.pop_front();
        }
        state.batches.push_back(KnownBatch { first: batch.sequence, last: batch.last(), appended });
        let begins = batch.transactional && state.open.is_none();
        if begins {
            state.open = Some(appended.base_offset);
            self.waiting.remove(&batch.producer.id);
        }
        begins
    }

    /// The producer's entry, brought to its epoch: what an older one wrote is forgotten.
    fn in_epoch(&mut self, producer: ProducerIdentity) -> &mut ProducerState {
        let epoch = producer.epoch;
        let state = self.by_id.entry(producer.id).or_insert_with(|| ProducerState {
            epoch,
            coordinator_epoch: -1,
            batches: VecDeque::with_capacity(BATCHES_KEPT),
            open: None,
            last_timestamp: -1,
        });
        if state.epoch != epoch {
            state.epoch = epoch;
            state.batches.clear();
        }
        state
    }

    /// All producers, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Known> {
        self.by_id.iter().map(|(&id, state)| Known {
            producer: ProducerIdentity { id, epoch: state.epoch },
            last_sequence: state.batches.back().map(|batch| batch.last),
            last_timestamp: state.last_timestamp,
            coordinator_epoch: state.coordinator_epoch,
            open: state.open,
        })
    }

    /// Whether anything is known of the producer.
    pub(crate) fn knows(&self, producer_id: i64) -> bool {
        self.by_id.contains_key(&producer_id)
    }

    /// The first offset of the transaction that the producer has open here.
    pub(crate) fn open_at(&self, producer_id: i64) -> Option<i64> {
        self.by_id.get(&producer_id)?.open
    }

    /// Where the last batch of the producer begins.
    pub(crate) fn newest_of(&self, producer_id: i64) -> Option<i64> {
        Some(self.by_id.get(&producer_id)?.batches.back()?.appended.base_offset)
    }

    /// Whether the producer, in this epoch, has a transaction open here.
    pub(crate) fn is_open(&self, producer: ProducerIdentity) -> bool {
        let known = self.by_id.get(&producer.id);
        known.is_some_and(|known| known.open.is_some() && known.epoch == producer.epoch)
    }

    /// Judges a marker by the epochs of its producer and of the coordinator that sends it.
    pub(crate) fn check_marker(
        &self,
        producer: ProducerIdentity,
        coordinator_epoch: i32,
    ) -> Result<(), Refused> {
        match self.by_id.get(&producer.id) {
            Some(known) if producer.epoch < known.epoch => Err(Refused::InvalidEpoch),
            Some(known) if coordinator_epoch < known.coordinator_epoch => {
                Err(Refused::CoordinatorFenced)
            }
            _ => Ok(()),
        }
    }

    /// Remembers a marker that was appended, and gives the first offset of the transaction that it ended, if there was
    /// one.
    pub(crate) fn end(
        &mut self,
        producer: ProducerIdentity,
        coordinator_epoch: i32,
        timestamp: i64,
    ) -> Option<i64> {
        self.waiting.remove(&producer.id);
        let state = self.in_epoch(producer);
        state.last_timestamp = timestamp;
        state.coordinator_epoch = coordinator_epoch;
        state.open.take()
    }

    /// Forgets all producers without an open transaction, as after `producer.id.expiration.ms`.
    pub(crate) fn forget(&mut self) {
        self.by_id.retain(|_, state| state.open.is_some());
    }
}

#[cfg(test)]
#[path = "producer_state/tests.rs"]
mod tests;
