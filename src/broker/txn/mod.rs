//! The transactions of the cluster: which transactional ids there are, where each is coordinated, and what is overdue.
//!
//! It answers at once and changes nothing but itself. The markers that it owes to partitions and groups are written by
//! who has those ([`Transactions::owed`], [`Transactions::paid`]), when their leaders run. Times are milliseconds since
//! the epoch; no timer has to run, since whoever looks does first what is overdue.

mod by_command;
mod enroll;
mod inspect;
mod transaction;

use std::collections::{BTreeMap, BTreeSet};

use self::by_command::ByCommand;
pub(crate) use self::enroll::Enrollment;
pub use self::inspect::{TransactionDescription, TransactionState};
pub(crate) use self::transaction::{Ending, Init, Parts, Transaction};
use super::placement::Placement;
use crate::error::ErrorCode;
use crate::record::EndTxnMarker;
use crate::types::{BrokerId, ProducerIdentity};

/// What can be set about transactions.
#[derive(Debug, Clone)]
pub(crate) struct TransactionSettings {
    /// The level of the feature `transaction.version`.
    pub(crate) version: i16,
    /// `transaction.max.timeout.ms`
    pub(crate) max_timeout_ms: i64,
    /// How long after its end the markers of a transaction are written.
    pub(crate) marker_delay_ms: i64,
}

impl Default for TransactionSettings {
    fn default() -> Self {
        Self { version: 2, max_timeout_ms: 15 * 60 * 1000, marker_delay_ms: 0 }
    }
}

impl TransactionSettings {
    /// Whether the epoch rises with each end, on the broker's own account.
    fn bumps(&self) -> bool {
        self.version >= 2
    }
}

/// Gives producer ids, each once.
#[derive(Debug)]
pub(crate) struct Fresh {
    next_id: i64,
    /// The first epoch of an id.
    first_epoch: i16,
}

impl Fresh {
    fn producer_id(&mut self) -> i64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }
}

/// The markers that a transaction still owes.
#[derive(Debug, Clone)]
pub(crate) struct Owed {
    pub(crate) transactional_id: String,
    pub(crate) producer: ProducerIdentity,
    pub(crate) marker: EndTxnMarker,
    pub(crate) parts: Parts,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Transactions {
    pub(crate) by_command: ByCommand,
    pub(crate) placement: Placement,
    pub(crate) settings: TransactionSettings,
    fresh: Fresh,
    by_id: BTreeMap<String, Transaction>,
    /// Those that are open or end: time, or a leader that comes back, may bring them on.
    unsettled: BTreeSet<String>,
}

impl Transactions {
    pub(crate) fn new(nodes: &[BrokerId], settings: TransactionSettings, first_epoch: i16) -> Self {
        Self {
            by_command: ByCommand::default(),
            placement: Placement::over(nodes),
            settings,
            fresh: Fresh { next_id: 0, first_epoch },
            by_id: BTreeMap::new(),
            unsettled: BTreeSet::new(),
        }
    }

    /// A producer id that was never given before.
    pub(crate) fn new_producer(&mut self) -> ProducerIdentity {
        ProducerIdentity { id: self.fresh.producer_id(), epoch: self.fresh.first_epoch }
    }

    /// Whether a node is who coordinates the transactional id.
    pub(crate) fn check_node(&self, node: BrokerId, id: &str) -> Result<(), ErrorCode> {
        if self.placement.coordinator(id) == Some(node) {
            Ok(())
        } else {
            Err(ErrorCode::NOT_COORDINATOR)
        }
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Transaction> {
        self.by_id.get(id)
    }

    /// All transactional ids, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Transaction)> {
        self.by_id.iter().map(|(id, transaction)| (id.as_str(), transaction))
    }

    // ---- requests ---------------------------------------------------------------------------------------------------

    /// Gives the producer that writes under a transactional id from now on; the ones before it are fenced.
    pub(crate) fn init(
        &mut self,
        id: &str,
        init: Init,
        now: i64,
    ) -> Result<ProducerIdentity, ErrorCode> {
        if id.is_empty() {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        if !(1..=self.settings.max_timeout_ms).contains(&init.timeout_ms.into()) {
            return Err(ErrorCode::INVALID_TRANSACTION_TIMEOUT);
        }
        if !self.by_id.contains_key(id) {
            self.by_id.insert(id.to_owned(), Transaction::new(self.fresh.producer_id()));
        }
        let bumps = self.settings.bumps();
        self.turn(id, |transaction, fresh| transaction.init(init, bumps, fresh, now))
    }

    /// Makes partitions and groups part of a transaction; the first ones begin it.
    pub(crate) fn add(
        &mut self,
        id: &str,
        producer: ProducerIdentity,
        parts: Parts,
        now: i64,
    ) -> Result<(), ErrorCode> {
        self.turn(id, |transaction, _| transaction.add(producer, parts, now))
    }

    /// Whether partitions and groups are part of a transaction; `TRANSACTION_ABORTABLE` if not.
    pub(crate) fn verify(
        &mut self,
        id: &str,
        producer: ProducerIdentity,
        parts: &Parts,
    ) -> Result<(), ErrorCode> {
        self.turn(id, |transaction, _| transaction.verify(producer, parts))
    }

    /// Begins to end a transaction, and gives who its producer is from then on.
    pub(crate) fn end(
        &mut self,
        id: &str,
        ending: Ending,
        now: i64,
    ) -> Result<ProducerIdentity, ErrorCode> {
        self.turn(id, |transaction, fresh| transaction.end(ending, fresh, now))
    }

    fn turn<T>(
        &mut self,
        id: &str,
        act: impl FnOnce(&mut Transaction, &mut Fresh) -> Result<T, ErrorCode>,
    ) -> Result<T, ErrorCode> {
        if id.is_empty() {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        let unknown = ErrorCode::INVALID_PRODUCER_ID_MAPPING;
        let transaction = self.by_id.get_mut(id).ok_or(unknown)?;
        let result = act(transaction, &mut self.fresh);
        let settled = transaction.times_out_ms().is_none() && !transaction.is_ending();
        if settled {
            self.unsettled.remove(id);
        } else if !self.unsettled.contains(id) {
            self.unsettled.insert(id.to_owned());
        }
        result
    }

    // ---- time and markers -------------------------------------------------------------------------------------------

    /// Whether time or a leader that comes back may bring a transaction on.
    pub(crate) fn is_unsettled(&self) -> bool {
        !self.unsettled.is_empty()
    }

    fn unsettled(&self) -> impl Iterator<Item = (&String, &Transaction)> {
        self.unsettled.iter().filter_map(|id| Some((id, self.by_id.get(id)?)))
    }

    fn markers_due_ms(&self, transaction: &Transaction) -> Option<i64> {
        let due = transaction.ended_ms.saturating_add(self.settings.marker_delay_ms);
        transaction.is_ending().then_some(due)
    }

    /// When something will be overdue, if anything will be after `now`.
    pub(crate) fn next_deadline(&self, now: i64) -> Option<i64> {
        let due = |(_, transaction): (_, &Transaction)| {
            transaction.times_out_ms().or_else(|| self.markers_due_ms(transaction))
        };
        self.unsettled().filter_map(due).filter(|&at| at > now).min()
    }

    /// Aborts transactions that have taken too long; their producers are fenced. Gives whether there was one.
    pub(crate) fn time_out(&mut self, now: i64) -> bool {
        let late = |(id, transaction): (&String, &Transaction)| {
            transaction.times_out_ms().is_some_and(|at| at <= now).then(|| id.clone())
        };
        let late: Vec<String> = self.unsettled().filter_map(late).collect();
        let bumps = self.settings.bumps();
        for id in &late {
            if let Some(transaction) = self.by_id.get_mut(id) {
                transaction.fence(bumps, &mut self.fresh, now);
            }
        }
        !late.is_empty()
    }

    /// The markers that are due, of transactions whose coordinator runs.
    pub(crate) fn owed(&self, now: i64) -> Vec<Owed> {
        let runs = |id: &str| self.placement.coordinator(id).is_some();
        let due = |transaction: &Transaction| {
            self.markers_due_ms(transaction).is_some_and(|at| at <= now)
        };
        let owed = |(id, transaction): (&String, &Transaction)| Owed {
            transactional_id: id.clone(),
            producer: transaction.producer,
            marker: EndTxnMarker {
                committed: transaction.state == TransactionState::PrepareCommit,
                coordinator_epoch: self.placement.epoch(id),
            },
            parts: transaction.parts.clone(),
        };
        self.unsettled().filter(|(id, t)| runs(id) && due(t)).map(owed).collect()
    }

    /// The markers of these are written, or are owed no more. Gives whether that changed anything.
    pub(crate) fn paid(&mut self, id: &str, parts: &Parts) -> bool {
        let paid = self.turn(id, |transaction, _| Ok(transaction.paid(parts)));
        paid.unwrap_or(false)
    }
}

#[cfg(test)]
mod tests;
