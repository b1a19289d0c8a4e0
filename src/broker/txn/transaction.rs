//! One transactional id as its coordinator sees it: who its producer is, how its transaction stands, and the answer to
//! each request (`TransactionMetadata`, `TransactionCoordinator`; KIP-98, KIP-360, KIP-890). It knows neither logs nor
//! nodes: who writes the markers tells it by [`Transaction::paid`].
//!
//! ```text
//!               add                  end, fence, time-out                all markers are written
//! Empty, Complete* ──► Ongoing ─────────────────────────► Prepare* ─────────────────────────────► Complete*
//!       ▲   └─────── end(abort) with version 2 ──────────────▲                                       │
//!       └──────────────────────────── init ──────────────────────────────────────────────────────────┘
//! ```
//!
//! | request \ state     | Empty            | Ongoing            | Prepare*                   | Complete*               |
//! |---------------------|------------------|--------------------|----------------------------|-------------------------|
//! | init                | next epoch       | fence, CONCURRENT  | CONCURRENT                 | next epoch              |
//! | add                 | Ongoing          | Ongoing            | CONCURRENT                 | Ongoing                 |
//! | verify              | not added        | added?             | CONCURRENT                 | not added               |
//! | end, version 1      | INVALID_STATE    | Prepare*           | CONCURRENT                 | done if the same end    |
//! | end, version 2      | abort: Prepare   | Prepare*           | CONCURRENT                 | abort: Prepare          |
//! | the same, epoch - 1 | FENCED           | FENCED             | CONCURRENT                 | done if the same end    |
//!
//! With version 2 the epoch rises with each end, so that an end in the present epoch is a new one and a retry of the last
//! end is known by the epoch before. What the table leaves out is `INVALID_TXN_STATE`.

use std::collections::BTreeSet;
use std::fmt;

use super::Fresh;
use super::inspect::TransactionState;
use crate::error::ErrorCode;
use crate::types::{ProducerIdentity, TopicPartition};

/// `RecordBatch.NO_PRODUCER_EPOCH`
const NO_EPOCH: i16 = -1;

/// `TransactionMetadata.isEpochExhausted`: the last epoch is kept for fencing.
fn is_exhausted(epoch: i16) -> bool {
    epoch >= i16::MAX - 1
}

/// What becomes part of a transaction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Parts {
    pub(crate) partitions: BTreeSet<TopicPartition>,
    /// Groups whose offsets are committed.
    pub(crate) groups: BTreeSet<String>,
}

impl Parts {
    pub(crate) fn partition(partition: TopicPartition) -> Self {
        Self { partitions: [partition].into(), ..Self::default() }
    }

    pub(crate) fn group(group: &str) -> Self {
        Self { groups: [group.to_owned()].into(), ..Self::default() }
    }

    fn len(&self) -> usize {
        self.partitions.len() + self.groups.len()
    }

    fn contains(&self, other: &Self) -> bool {
        other.partitions.is_subset(&self.partitions) && other.groups.is_subset(&self.groups)
    }

    fn extend(&mut self, other: Self) {
        self.partitions.extend(other.partitions);
        self.groups.extend(other.groups);
    }
}

/// Who is to be the producer (InitProducerId).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Init {
    pub(crate) timeout_ms: i32,
    /// Who the client believes to be (KIP-360).
    pub(crate) expected: Option<ProducerIdentity>,
}

/// How a transaction is to end (EndTxn).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ending {
    pub(crate) producer: ProducerIdentity,
    pub(crate) committed: bool,
    /// Whether by transaction version 2.
    pub(crate) bumps: bool,
}

/// See the module.
#[derive(Clone)]
pub(crate) struct Transaction {
    pub(crate) producer: ProducerIdentity,
    pub(crate) state: TransactionState,
    /// While `Prepare*`, those that have no marker yet.
    pub(crate) parts: Parts,
    pub(crate) timeout_ms: i32,
    /// When the transaction began, in milliseconds since the epoch; -1 before the first.
    pub(crate) started_ms: i64,
    /// When it ended, as far as it did.
    pub(crate) ended_ms: i64,
    /// The producer id before the last change.
    previous_id: i64,
    /// The producer id that comes with `Complete*`, since the epochs of this one are used up.
    next_id: Option<i64>,
    /// The epoch in which a retry of the last request may come; -1 if in none.
    last_epoch: i16,
}

impl Transaction {
    /// Of an id that nobody has used: it has no epoch yet.
    pub(super) fn new(producer_id: i64) -> Self {
        Self {
            producer: ProducerIdentity { id: producer_id, epoch: NO_EPOCH },
            state: TransactionState::Empty,
            parts: Parts::default(),
            timeout_ms: 0,
            started_ms: -1,
            ended_ms: -1,
            previous_id: -1,
            next_id: None,
            last_epoch: NO_EPOCH,
        }
    }

    pub(super) fn is_ending(&self) -> bool {
        matches!(self.state, TransactionState::PrepareCommit | TransactionState::PrepareAbort)
    }

    // ---- InitProducerId ---------------------------------------------------------------------------------------------

    /// Gives the producer that is to go on. A transaction that is open is aborted first, by `bumps` or not; the client
    /// is told to come again.
    pub(super) fn init(
        &mut self,
        Init { timeout_ms, expected }: Init,
        bumps: bool,
        fresh: &mut Fresh,
        now: i64,
    ) -> Result<ProducerIdentity, ErrorCode> {
        if expected.is_some_and(|expected| !self.may_be(expected)) {
            return Err(ErrorCode::PRODUCER_FENCED);
        }
        match self.state {
            TransactionState::PrepareCommit | TransactionState::PrepareAbort => {
                return Err(ErrorCode::CONCURRENT_TRANSACTIONS);
            }
            TransactionState::Ongoing => {
                self.fence(bumps, fresh, now);
                return Err(ErrorCode::CONCURRENT_TRANSACTIONS);
            }
            TransactionState::Empty
            | TransactionState::CompleteCommit
            | TransactionState::CompleteAbort => {}
        }
        let epoch = self.producer.epoch;
        let knows = |expected: ProducerIdentity| expected.epoch == epoch;
        let (producer, last_epoch) = if is_exhausted(epoch) && expected.is_none_or(knows) {
            let last_epoch = expected.map_or(NO_EPOCH, |_| epoch);
            (ProducerIdentity { id: fresh.producer_id(), epoch: 0 }, last_epoch)
        } else {
            let (epoch, last_epoch) = self.next_epoch(expected, fresh)?;
            (ProducerIdentity { epoch, ..self.producer }, last_epoch)
        };
        self.previous_id = self.producer.id;
        (self.producer, self.last_epoch) = (producer, last_epoch);
        self.timeout_ms = timeout_ms;
        self.state = TransactionState::Empty;
        (self.started_ms, self.next_id) = (-1, None);
        Ok(producer)
    }

    /// Whether a client may be the one that it believes to be. Its epoch is looked at when it is to rise.
    fn may_be(&self, expected: ProducerIdentity) -> bool {
        self.producer.epoch == NO_EPOCH
            || expected.id == self.producer.id
            || expected.id == self.previous_id && is_exhausted(expected.epoch)
    }

    /// The next epoch, and the one in which a retry may come.
    fn next_epoch(
        &self,
        expected: Option<ProducerIdentity>,
        fresh: &Fresh,
    ) -> Result<(i16, i16), ErrorCode> {
        let epoch = self.producer.epoch;
        let next = if epoch == NO_EPOCH { fresh.first_epoch } else { epoch.saturating_add(1) };
        match expected {
            None => Ok((next, NO_EPOCH)),
            Some(_) if epoch == NO_EPOCH => Ok((next, epoch)),
            Some(expected) if expected.epoch == epoch => Ok((next, epoch)),
            // It asks again: nobody else has begun meanwhile, or the last epoch would be none.
            Some(expected) if expected.epoch == self.last_epoch => Ok((epoch, self.last_epoch)),
            Some(_) => Err(ErrorCode::PRODUCER_FENCED),
        }
    }

    // ---- partitions and groups --------------------------------------------------------------------------------------

    fn check_producer(&self, producer: ProducerIdentity) -> Result<(), ErrorCode> {
        if producer.id != self.producer.id {
            Err(ErrorCode::INVALID_PRODUCER_ID_MAPPING)
        } else if producer.epoch != self.producer.epoch {
            Err(ErrorCode::PRODUCER_FENCED)
        } else if self.is_ending() {
            Err(ErrorCode::CONCURRENT_TRANSACTIONS)
        } else {
            Ok(())
        }
    }

    /// Makes partitions and groups part of the transaction; the first ones begin it.
    pub(super) fn add(
        &mut self,
        producer: ProducerIdentity,
        parts: Parts,
        now: i64,
    ) -> Result<(), ErrorCode> {
        self.check_producer(producer)?;
        if self.state != TransactionState::Ongoing {
            self.state = TransactionState::Ongoing;
            self.started_ms = now;
        }
        self.previous_id = self.producer.id;
        self.parts.extend(parts);
        Ok(())
    }

    /// Whether partitions and groups are part of the transaction.
    pub(super) fn verify(
        &self,
        producer: ProducerIdentity,
        parts: &Parts,
    ) -> Result<(), ErrorCode> {
        self.check_producer(producer)?;
        if self.parts.contains(parts) { Ok(()) } else { Err(ErrorCode::TRANSACTION_ABORTABLE) }
    }

    // ---- the end ----------------------------------------------------------------------------------------------------

    /// Begins to end the transaction, and gives who the producer is from then on.
    pub(super) fn end(
        &mut self,
        ending: Ending,
        fresh: &mut Fresh,
        now: i64,
    ) -> Result<ProducerIdentity, ErrorCode> {
        let Ending { producer, committed, bumps } = ending;
        let is_retry = bumps && self.is_retry(producer);
        if producer.id != self.producer.id && !is_retry {
            return Err(ErrorCode::INVALID_PRODUCER_ID_MAPPING);
        }
        // As long as markers are being written nobody is told more (KAFKA-18464).
        if self.is_ending() {
            return Err(ErrorCode::CONCURRENT_TRANSACTIONS);
        }
        let is_present = producer.epoch == self.producer.epoch;
        let same_end = match self.state {
            TransactionState::CompleteCommit => Some(committed),
            TransactionState::CompleteAbort => Some(!committed),
            _ => None,
        };
        let (same_end, was_ended) = (same_end == Some(true), same_end.is_some());
        if !(is_present || is_retry && was_ended) {
            return Err(ErrorCode::PRODUCER_FENCED);
        }
        match self.state {
            TransactionState::Ongoing => {}
            _ if same_end && (is_retry || !bumps) => return Ok(self.producer),
            // With version 2 even what never began may be aborted.
            _ if bumps && !committed && !is_retry => self.started_ms = now,
            _ => return Err(ErrorCode::INVALID_TXN_STATE),
        }
        let next_id = (bumps && is_exhausted(self.producer.epoch)).then(|| fresh.producer_id());
        self.prepare(committed, bumps, next_id, now);
        Ok(self.after_markers())
    }

    /// Whether a client asks again for the last end, whose answer it may not have.
    fn is_retry(&self, producer: ProducerIdentity) -> bool {
        let bumped = producer.id == self.producer.id
            && producer.epoch.checked_add(1) == Some(self.producer.epoch);
        let rotated = producer.id == self.previous_id
            && producer.epoch == i16::MAX - 1
            && self.producer.epoch == 0;
        bumped || rotated
    }

    fn prepare(&mut self, committed: bool, bumps: bool, next_id: Option<i64>, now: i64) {
        if bumps {
            self.last_epoch = self.producer.epoch;
            self.producer.epoch = self.producer.epoch.saturating_add(1);
        }
        self.previous_id = self.producer.id;
        self.next_id = next_id;
        self.ended_ms = now;
        self.state = if committed {
            TransactionState::PrepareCommit
        } else {
            TransactionState::PrepareAbort
        };
    }

    /// Aborts the transaction that is open, in an epoch that its producer has not been told. With version 2 it may still
    /// ask for it, as for the answer to its own end; with version 1 it is fenced.
    pub(super) fn fence(&mut self, bumps: bool, fresh: &mut Fresh, now: i64) {
        let next_id = (bumps && is_exhausted(self.producer.epoch)).then(|| fresh.producer_id());
        if !bumps {
            self.producer.epoch = self.producer.epoch.saturating_add(1);
            self.last_epoch = NO_EPOCH;
        }
        self.prepare(false, bumps, next_id, now);
    }

    /// Who the producer is when all markers are written.
    fn after_markers(&self) -> ProducerIdentity {
        self.next_id.map_or(self.producer, |id| ProducerIdentity { id, epoch: 0 })
    }

    /// The markers of these are written, or are owed no more. The last ones complete the end. Gives whether anything
    /// changed.
    pub(super) fn paid(&mut self, parts: &Parts) -> bool {
        if !self.is_ending() {
            return false;
        }
        let before = self.parts.len();
        self.parts.partitions.retain(|partition| !parts.partitions.contains(partition));
        self.parts.groups.retain(|group| !parts.groups.contains(group));
        if self.parts.len() > 0 {
            return self.parts.len() < before;
        }
        self.state = match self.state {
            TransactionState::PrepareCommit => TransactionState::CompleteCommit,
            TransactionState::PrepareAbort => TransactionState::CompleteAbort,
            other => other,
        };
        self.previous_id = self.producer.id;
        self.producer = self.after_markers();
        self.next_id = None;
        true
    }

    /// When the transaction that is open has taken too long.
    pub(super) fn times_out_ms(&self) -> Option<i64> {
        let ongoing = self.state == TransactionState::Ongoing;
        ongoing.then(|| self.started_ms.saturating_add(self.timeout_ms.into()))
    }
}

/// `Ongoing 7:3 (last 2) [t-0, t-1] {g}`
impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ProducerIdentity { id, epoch } = self.producer;
        write!(f, "{} {id}:{epoch} (last {}) [", self.state, self.last_epoch)?;
        for (n, partition) in self.parts.partitions.iter().enumerate() {
            write!(f, "{}{partition}", if n == 0 { "" } else { ", " })?;
        }
        write!(f, "] {:?}", self.parts.groups)
    }
}
