//! The transactions of a producer (KIP-98, KIP-360, KIP-447, KIP-890): where the current one stands, and what is to be asked
//! of the coordinators next. A state machine without I/O and clock, beside the sequencer. It knows no batch: the sender
//! asks whether a partition may be written to, tells when a batch has failed, and says when all batches have ended.
//!
//! ```text
//!   Starting ──id──► Ready ──begin──► Open ──commit──► Ending(commit) ──► Ready, or Starting
//!      ▲                               │ │                   │ error
//!      │                         error │ └──abort──────┐     ▼
//!      │                               ▼               ├► Ending(abort) ──► Ready
//!      │                             Doomed ──abort or commit─┘  │
//!      └───── the epoch must be raised (version 1) ──────────────┘          any ──fatal──► Fatal
//! ```
//!
//! | state | batches may be sent | requests to the transaction's coordinator |
//! |---|---|---|
//! | Starting | no | InitProducerId, with the current id and epoch if there are any |
//! | Ready | no | |
//! | Open | of partitions that were added (version 1), of any (version 2) | AddPartitionsToTxn, AddOffsetsToTxn (version 1) |
//! | Doomed | no; what may have been written is sent again to learn its fate (version 1) | what was asked without an answer, again |
//! | Ending(commit) | as Open, until all have ended | as Open, then EndTxn if anything was added |
//! | Ending(abort) | as Doomed | as Doomed, then EndTxn if anything was added |
//! | Fatal | no | none |
//!
//! What is not obvious:
//!
//! - A request that was not answered is sent again until it is, whatever the user asks for meanwhile: a copy of it that
//!   arrives late must not meet the next transaction (row 33 of the bug list). With version 1, where the epoch stays, it
//!   is raised afterwards as well. This is bounded: at the latest after `request.timeout.ms` of an abort, that goes on.
//! - A commit is told to be one only when the coordinator says so. As long as that is unknown it is asked again.
//! - One request at a time is with the transaction's coordinator, one with the coordinator of a group, and one with a
//!   broker that makes it ask the coordinator itself (`verification`).

mod advance;
mod answers;
mod classify;
mod doom;
mod offsets;
mod partitions;
mod request;
mod verification;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::client::{Coordinator, CoordinatorKey};
use crate::error::{AbortCause, AbortableError, FatalError, TransactionError, TransactionOutcome};
use crate::time::{Backoff, Duration, Instant};
use crate::types::{
    BrokerId, ConsumerGroupMetadata, OffsetAndMetadata, ProducerIdentity, TopicPartition,
};

use classify::Api;
pub(crate) use doom::Doom;
use offsets::{Offsets, Pending};
use partitions::Partitions;
pub(crate) use request::{
    Ask, Destination, LAST_ADD_PARTITIONS, LAST_PRODUCE_OF_ONE, Support, TransactionVersion,
    TxnRequest, TxnResponse,
};
use verification::Verifications;

/// How long the markers of the transaction before are waited for, at first and at most, before asking again
/// (CONCURRENT_TRANSACTIONS).
pub(crate) const MARKERS: Backoff =
    Backoff::new(Duration::from_millis(1), Duration::from_millis(20));

/// The rules of transactions, from the configuration.
#[derive(Debug, Clone)]
pub(crate) struct TransactionConfig {
    pub(crate) transactional_id: String,
    /// `transaction.timeout.ms`.
    pub(crate) timeout: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) retry_backoff: Backoff,
}

#[derive(Debug)]
enum State {
    Starting,
    Ready,
    Open,
    Doomed(AbortableError),
    Ending {
        commit: bool,
        /// The number by which the user waits for it, until that is answered.
        operation: Option<u64>,
    },
    Fatal(FatalError),
}

/// A request that is with the transaction's coordinator, or on the way of finding it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Coordinator,
    Api(Api),
}

/// A request that is with the coordinator of a group, or on the way of finding it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum AskedGroup {
    Coordinator(String),
    Commit { group: String, to: BrokerId },
}

/// What a user waits for besides the end of the current transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaited {
    /// A new transaction.
    Begin,
    /// That none is going on.
    Settled,
}

/// What came of something that a user waits for: how the last transaction ended, if there was one.
pub(crate) type Ended = (u64, Result<Option<TransactionOutcome>, TransactionError>);

/// See the module.
pub(crate) struct Transactions {
    config: TransactionConfig,
    state: State,
    identity: Option<ProducerIdentity>,
    support: Support,
    /// That of the current transaction.
    version: TransactionVersion,
    /// Counts transactions.
    serial: u64,
    coordinator: Coordinator,
    asked: Option<(u64, Asked)>,
    /// Before when the coordinator is not asked again, and how often in a row it had to be.
    retry_at: Option<Instant>,
    failures: u32,
    partitions: Partitions,
    offsets: Offsets,
    groups: BTreeMap<String, Coordinator>,
    asked_group: Option<(u64, AskedGroup)>,
    group_retry_at: Option<Instant>,
    group_failures: u32,
    verifications: Verifications,
    /// Whether the coordinator has the transaction: something was added, written or stored.
    started: bool,
    /// Whether a request went out that starts it if it is taken (version 2).
    sent: bool,
    /// Whether a request was not answered that may have started it, or may arrive late.
    unanswered: bool,
    /// Whether it may have been committed, by a request whose answer did not come or did not say.
    maybe_committed: bool,
    /// Whether sequence numbers were lost, so that the epoch has to be raised before the next transaction.
    numbers_lost: bool,
    /// Whether the coordinator knows nothing of the producer id, so that nothing is to be ended.
    forgotten: bool,
    /// When an abort no longer waits to learn what became of requests and batches.
    resolve_until: Option<Instant>,
    awaited: Vec<(u64, Awaited)>,
    /// Why the current one cannot be committed, if it cannot.
    doom: Arc<Doom>,
    outcome: Option<TransactionOutcome>,
    ended: Vec<Ended>,
    deadline: Option<Instant>,
    last_token: u64,
    random: fastrand::Rng,
}

impl Transactions {
    /// `seed` decides the jitter of pauses.
    pub(crate) fn new(config: TransactionConfig, doom: Arc<Doom>, seed: u64) -> Self {
        let key = CoordinatorKey::Transaction(config.transactional_id.clone());
        let coordinator = Coordinator::new(key, config.retry_backoff, seed);
        Self {
            config,
            state: State::Starting,
            identity: None,
            support: Support::NONE,
            version: TransactionVersion::One,
            serial: 0,
            coordinator,
            asked: None,
            retry_at: None,
            failures: 0,
            partitions: Partitions::default(),
            offsets: Offsets::default(),
            groups: BTreeMap::new(),
            asked_group: None,
            group_retry_at: None,
            group_failures: 0,
            verifications: Verifications::default(),
            started: false,
            sent: false,
            unanswered: false,
            maybe_committed: false,
            numbers_lost: false,
            forgotten: false,
            resolve_until: None,
            awaited: Vec::new(),
            doom,
            outcome: None,
            ended: Vec::new(),
            deadline: None,
            last_token: 0,
            random: fastrand::Rng::with_seed(seed),
        }
    }

    /// Begins a transaction when the one before has ended.
    pub(crate) fn begin(&mut self, operation: u64) {
        self.await_ready(operation, Awaited::Begin);
    }

    /// Waits until no transaction is going on and one could begin.
    pub(crate) fn settle(&mut self, operation: u64) {
        self.await_ready(operation, Awaited::Settled);
    }

    fn await_ready(&mut self, operation: u64, awaited: Awaited) {
        match &self.state {
            State::Fatal(error) => {
                let error = TransactionError::Fatal(error.clone());
                self.end(operation, Err(error));
            }
            _ => self.awaited.push((operation, awaited)),
        }
    }

    /// Makes offsets part of the transaction.
    pub(crate) fn send_offsets(
        &mut self,
        operation: u64,
        group: ConsumerGroupMetadata,
        offsets: BTreeMap<TopicPartition, OffsetAndMetadata>,
    ) {
        let refused = match &self.state {
            State::Open if offsets.is_empty() => return self.end(operation, Ok(None)),
            State::Open => {
                let pending = Pending { operation: Some(operation), group, offsets, asked: false };
                return self.offsets.queue.push_back(pending);
            }
            State::Doomed(error) => TransactionError::Abortable(error.clone()),
            State::Fatal(error) => TransactionError::Fatal(error.clone()),
            State::Starting | State::Ready | State::Ending { .. } => {
                TransactionError::Abortable(AbortableError::new(AbortCause::Aborted))
            }
        };
        self.end(operation, Err(refused));
    }

    /// Ends the transaction: commits it if it can be, or aborts it. One that is doomed is aborted, and a commit is told so.
    pub(crate) fn finish(&mut self, commit: bool, operation: Option<u64>, now: Instant) {
        self.hear_of_doom(now);
        match &self.state {
            State::Open => {
                self.state = State::Ending { commit, operation };
                if !commit {
                    self.start_abort(&AbortableError::new(AbortCause::Aborted), now);
                }
            }
            State::Doomed(error) => {
                let error = TransactionError::Abortable(error.clone());
                let waits = if commit {
                    self.answer(operation, Err(error));
                    None
                } else {
                    operation
                };
                self.state = State::Ending { commit: false, operation: waits };
            }
            State::Fatal(error) => {
                let error = TransactionError::Fatal(error.clone());
                self.answer(operation, Err(error));
            }
            State::Starting | State::Ready | State::Ending { .. } => {
                let error = AbortableError::new(AbortCause::Aborted);
                self.answer(operation, Err(TransactionError::Abortable(error)));
            }
        }
    }

    /// The transaction cannot be committed any more. Only the first reason counts.
    pub(crate) fn doom(&mut self, cause: AbortCause, now: Instant) {
        if matches!(self.state, State::Open | State::Ending { commit: true, .. }) {
            let first = self.doom.set(AbortableError::new(cause));
            self.take_doom(first, now);
        }
    }

    /// A record was not accepted, as its sender knows. Whether that is news.
    fn hear_of_doom(&mut self, now: Instant) -> bool {
        let error = self.doom.get().filter(|_| matches!(self.state, State::Open));
        let news = error.is_some();
        if let Some(error) = error {
            self.take_doom(error, now);
        }
        news
    }

    fn take_doom(&mut self, error: AbortableError, now: Instant) {
        match self.state {
            State::Open => {
                tracing::debug!(transactional_id = %self.config.transactional_id, %error);
                self.start_abort(&error, now);
                self.state = State::Doomed(error);
            }
            State::Ending { commit: true, operation } => {
                tracing::debug!(transactional_id = %self.config.transactional_id, %error);
                self.start_abort(&error, now);
                self.answer(operation, Err(TransactionError::Abortable(error)));
                self.state = State::Ending { commit: false, operation: None };
            }
            _ => {}
        }
    }

    /// Sequence numbers were given to batches that were not written, or the fate of one will stay unknown. With version 2
    /// the end of the transaction raises the epoch anyway.
    pub(crate) fn lose_numbers(&mut self) {
        self.numbers_lost |= self.version == TransactionVersion::One;
    }

    /// Who to write as, if anything may be written, or sent again.
    pub(crate) fn identity(&self) -> Option<ProducerIdentity> {
        let open = matches!(self.state, State::Open | State::Doomed(_) | State::Ending { .. });
        self.identity.filter(|_| open)
    }

    pub(crate) fn transactional_id(&self) -> &str {
        &self.config.transactional_id
    }

    /// That of the current transaction.
    pub(crate) fn version(&self) -> TransactionVersion {
        self.version
    }

    /// The number of the current transaction.
    pub(crate) fn serial(&self) -> u64 {
        self.serial
    }

    /// Whether the current transaction can only be aborted: what has not been sent will not be.
    pub(crate) fn is_doomed(&self) -> bool {
        matches!(self.state, State::Doomed(_) | State::Ending { commit: false, .. })
    }

    /// Whether what waits is to be sent without linger.
    pub(crate) fn is_ending(&self) -> bool {
        matches!(self.state, State::Ending { .. })
    }

    /// Whether batches that may have been written are sent again to learn their fate.
    pub(crate) fn resolves(&self, now: Instant) -> bool {
        self.version == TransactionVersion::One
            && self.resolve_until.is_none_or(|until| now < until)
    }

    /// Whether no transaction is going on, so that the producer can end.
    pub(crate) fn is_settled(&self) -> bool {
        match self.state {
            // Raising the epoch is of no use to a producer that ends.
            State::Starting | State::Ready | State::Fatal(_) => true,
            State::Open | State::Doomed(_) | State::Ending { .. } => false,
        }
    }

    /// Whether the partition may be written to; if not, it is added to the transaction.
    pub(crate) fn enrol(&mut self, partition: TopicPartition) -> bool {
        match self.version {
            TransactionVersion::Two => true,
            TransactionVersion::One if self.is_doomed() => false,
            TransactionVersion::One => self.partitions.want(partition),
        }
    }

    /// A batch is on its way to a broker, which starts the transaction if nothing else has.
    pub(crate) fn sent(&mut self) {
        self.sent = true;
    }

    /// A batch was written.
    pub(crate) fn written(&mut self) {
        self.started = true;
    }

    /// Why the producer cannot go on, if it cannot.
    pub(crate) fn fatal(&self) -> Option<&FatalError> {
        match &self.state {
            State::Fatal(error) => Some(error),
            _ => None,
        }
    }

    /// The producer cannot go on.
    pub(crate) fn fail(&mut self, error: FatalError) {
        if self.fatal().is_some() {
            return;
        }
        let told = TransactionError::Fatal(error.clone());
        let operation = match self.state {
            State::Ending { operation, .. } => operation,
            _ => None,
        };
        self.state = State::Fatal(error);
        self.answer(operation, Err(told.clone()));
        self.fail_offsets(&told);
        for (operation, _) in std::mem::take(&mut self.awaited) {
            self.end(operation, Err(told.clone()));
        }
        (self.asked, self.asked_group) = (None, None);
    }

    /// What users have waited for and is over.
    pub(crate) fn take_ended(&mut self) -> Vec<Ended> {
        std::mem::take(&mut self.ended)
    }

    /// When [`Transactions::poll`] should be called if nothing happens before.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// What is not on its way is dropped; `error` is told to who waits for offsets.
    fn start_abort(&mut self, error: &AbortableError, now: Instant) {
        self.resolve_until = Some(now + self.config.request_timeout);
        self.partitions.forget_wanted();
        let error = TransactionError::Abortable(error.clone());
        self.fail_offsets(&error);
        // Only the first may be stored without our knowing.
        self.offsets.queue.truncate(1);
        self.offsets.queue.retain(|pending| pending.asked);
    }

    /// Ends the wait for all offsets.
    fn fail_offsets(&mut self, error: &TransactionError) {
        let waits = self.offsets.queue.iter_mut().filter_map(|pending| pending.operation.take());
        let ended = waits.map(|operation| (operation, Err(error.clone())));
        self.ended.extend(ended);
    }

    fn answer(
        &mut self,
        operation: Option<u64>,
        result: Result<Option<TransactionOutcome>, TransactionError>,
    ) {
        if let Some(operation) = operation {
            self.end(operation, result);
        }
    }

    fn end(
        &mut self,
        operation: u64,
        result: Result<Option<TransactionOutcome>, TransactionError>,
    ) {
        self.ended.push((operation, result));
    }
}

impl fmt::Debug for Transactions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "transactions of {}: {:?} ({:?}, version {:?}, transaction {}), asked {:?} {:?}",
            self.config.transactional_id,
            self.state,
            self.identity,
            self.version,
            self.serial,
            self.asked,
            self.asked_group,
        )
    }
}
