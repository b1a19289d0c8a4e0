//! What is to be asked of the coordinators now.

use super::classify::Api;
use super::request::{
    Ask, Destination, LAST_COMMIT_OFFSETS_OF_ONE, LAST_END_OF_ONE, TransactionVersion, TxnRequest,
};
use super::{Asked, AskedGroup, Awaited, State, Transactions};
use crate::client::{Coordinator, CoordinatorKey};
use crate::error::{ErrorCode, FatalError, TransactionOutcome};
use crate::protocol::messages::add_offsets_to_txn::AddOffsetsToTxnRequest;
use crate::protocol::messages::add_partitions_to_txn::AddPartitionsToTxnRequest;
use crate::protocol::messages::end_txn::EndTxnRequest;
use crate::protocol::messages::init_producer_id::InitProducerIdRequest;
use crate::time::Instant;
use crate::types::ProducerIdentity;

impl Transactions {
    /// The requests that are to be sent now. `quiet` says that no batch of the transaction is left whose end matters: for
    /// a commit that all have ended, for an abort that none is on its way.
    pub(crate) fn poll(&mut self, quiet: bool, now: Instant) -> Vec<Ask> {
        self.deadline = None;
        if self.hear_of_doom(now) {
            // What waits is to be dropped.
            self.wake_at(now);
        }
        self.give_up_resolving(now);
        self.finish_what_needs_no_request(quiet);
        self.begin_or_settle();
        let mut asks = Vec::new();
        asks.extend(self.ask_coordinator(quiet, now));
        asks.extend(self.ask_group(now));
        asks
    }

    fn wake_at(&mut self, at: Instant) {
        self.deadline = Some(self.deadline.map_or(at, |deadline| deadline.min(at)));
    }

    /// An abort does not wait for ever to learn what became of what was asked before it.
    fn give_up_resolving(&mut self, now: Instant) {
        if !self.is_doomed() {
            return;
        }
        // With version 2 nothing of this transaction can reach the next.
        let two = self.version == TransactionVersion::Two;
        let Some(until) = self.resolve_until else { return };
        if now < until && !two {
            self.wake_at(until);
            return;
        }
        let unknown = self.partitions.has_asked() || !self.offsets.are_settled();
        if unknown && self.asked.is_none() && self.asked_group.is_none() {
            self.partitions.forget_asked();
            self.offsets.adding = None;
            self.offsets.queue.clear();
            self.unanswered = true;
        }
    }

    fn finish_what_needs_no_request(&mut self, quiet: bool) {
        let State::Ending { commit, operation } = self.state else { return };
        let nothing = (!self.may_have_started() || self.forgotten)
            && self.asked.is_none()
            && !self.partitions.has_asked()
            && !self.partitions.has_wanted()
            && self.offsets.are_settled();
        if quiet && nothing {
            self.close(commit, operation);
        }
    }

    fn may_have_started(&self) -> bool {
        self.started || self.sent || self.unanswered
    }

    /// The transaction is over.
    pub(super) fn close(&mut self, commit: bool, operation: Option<u64>) {
        let outcome =
            if commit { TransactionOutcome::Committed } else { TransactionOutcome::Aborted };
        self.outcome = Some(outcome);
        self.answer(operation, Ok(Some(outcome)));
        let one = self.version == TransactionVersion::One;
        // Under the new rules each transaction has an epoch of its own from the first on.
        let upgrade = one && self.support.version() == TransactionVersion::Two;
        let wanted = self.numbers_lost || one && self.unanswered || upgrade;
        let raise = wanted && self.support.bumps() || self.forgotten;
        self.state = if raise { State::Starting } else { State::Ready };
        if self.numbers_lost && !raise {
            // Brokers before 2.5 cannot raise it (KIP-360), and would refuse all that comes.
            self.fail(FatalError { code: ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER });
        }
        (self.started, self.sent, self.unanswered) = (false, false, false);
        (self.numbers_lost, self.forgotten, self.maybe_committed) = (false, false, false);
        self.resolve_until = None;
        self.partitions = super::Partitions::default();
        self.offsets = super::Offsets::default();
    }

    fn begin_or_settle(&mut self) {
        if !matches!(self.state, State::Ready) {
            return;
        }
        let begin = self.awaited.iter().position(|&(_, awaited)| awaited == Awaited::Begin);
        let begin = begin.map(|at| self.awaited.remove(at).0);
        for (operation, _) in self.awaited.extract_if(.., |(_, a)| *a == Awaited::Settled) {
            self.ended.push((operation, Ok(self.outcome)));
        }
        if let Some(operation) = begin {
            self.state = State::Open;
            self.doom.clear();
            self.serial += 1;
            self.version = self.support.version();
            self.end(operation, Ok(self.outcome));
        }
    }

    fn ask_coordinator(&mut self, quiet: bool, now: Instant) -> Option<Ask> {
        if self.asked.is_some() {
            return None;
        }
        let api = self.next(quiet)?;
        if let Some(at) = self.retry_at.filter(|&at| now < at) {
            self.wake_at(at);
            return None;
        }
        let Some(broker) = self.coordinator.known() else {
            if !self.coordinator.ask(now) {
                if let Some(at) = self.coordinator.retry_at() {
                    self.wake_at(at);
                }
                return None;
            }
            let request = TxnRequest::FindCoordinator(self.coordinator.key().clone());
            return Some(self.ask(Asked::Coordinator, Destination::Any, request));
        };
        let request = self.request(api);
        Some(self.ask(Asked::Api(api), Destination::Coordinator(broker), request))
    }

    fn ask(&mut self, asked: Asked, to: Destination, request: TxnRequest) -> Ask {
        self.last_token += 1;
        let token = self.last_token;
        self.asked = Some((token, asked));
        Ask { token, to, request, timeout: self.config.request_timeout }
    }

    /// What the transaction's coordinator is to be asked for next.
    fn next(&self, quiet: bool) -> Option<Api> {
        let one = self.version == TransactionVersion::One;
        let goes_on = match self.state {
            State::Starting => return Some(Api::InitProducerId),
            State::Ready | State::Fatal(_) => return None,
            State::Open | State::Ending { commit: true, .. } => true,
            State::Doomed(_) | State::Ending { commit: false, .. } => false,
        };
        // What was asked without an answer comes first, in any case.
        if self.partitions.has_asked() || goes_on && self.partitions.has_wanted() {
            return Some(Api::AddPartitions);
        }
        let group = self.offsets.group_to_add().is_some();
        if self.offsets.adding.is_some() || one && goes_on && group {
            return Some(Api::AddOffsets);
        }
        let ending = matches!(self.state, State::Ending { .. });
        let end = ending && quiet && self.offsets.are_settled() && self.may_have_started();
        (end && !self.forgotten).then_some(Api::End)
    }

    fn request(&mut self, api: Api) -> TxnRequest {
        let transactional_id = self.config.transactional_id.clone();
        let ProducerIdentity { id, epoch } = self.identity.unwrap_or(ProducerIdentity::NONE);
        match api {
            Api::InitProducerId => {
                let timeout = i32::try_from(self.config.timeout.as_millis()).unwrap_or(i32::MAX);
                TxnRequest::InitProducerId(InitProducerIdRequest {
                    transactional_id: Some(transactional_id),
                    transaction_timeout_ms: timeout,
                    producer_id: id,
                    producer_epoch: epoch,
                })
            }
            Api::AddPartitions => TxnRequest::AddPartitions(AddPartitionsToTxnRequest {
                v3_and_below_transactional_id: transactional_id,
                v3_and_below_producer_id: id,
                v3_and_below_producer_epoch: epoch,
                v3_and_below_topics: self.partitions.ask(),
                ..Default::default()
            }),
            Api::AddOffsets | Api::CommitOffsets => {
                let group = self.offsets.adding.clone();
                let next = || self.offsets.group_to_add().unwrap_or_default().to_owned();
                let group_id = group.unwrap_or_else(next);
                self.offsets.adding = Some(group_id.clone());
                TxnRequest::AddOffsets(AddOffsetsToTxnRequest {
                    transactional_id,
                    producer_id: id,
                    producer_epoch: epoch,
                    group_id,
                })
            }
            Api::End => {
                let committed = matches!(self.state, State::Ending { commit: true, .. });
                let request = EndTxnRequest {
                    transactional_id,
                    producer_id: id,
                    producer_epoch: epoch,
                    committed,
                };
                TxnRequest::End(request, self.up_to(LAST_END_OF_ONE))
            }
        }
    }

    /// The highest version of a request whose version 2 of transactions is later than `last`.
    fn up_to(&self, last: i16) -> i16 {
        match self.version {
            TransactionVersion::One => last,
            TransactionVersion::Two => i16::MAX,
        }
    }

    /// Asks the coordinator of a group to store offsets.
    fn ask_group(&mut self, now: Instant) -> Option<Ask> {
        if self.asked_group.is_some() || matches!(self.state, State::Fatal(_)) {
            return None;
        }
        let identity = self.identity?;
        let pending = self.offsets.queue.front()?;
        let one = self.version == TransactionVersion::One;
        if one && self.offsets.group_to_add().is_some() {
            return None;
        }
        if let Some(at) = self.group_retry_at.filter(|&at| now < at) {
            self.wake_at(at);
            return None;
        }
        let group = pending.group.group_id.clone();
        let (backoff, seed) = (self.config.retry_backoff, self.random.u64(..));
        let coordinator = self.groups.entry(group.clone()).or_insert_with(|| {
            Coordinator::new(CoordinatorKey::Group(group.clone()), backoff, seed)
        });
        let timeout = self.config.request_timeout;
        let Some(broker) = coordinator.known() else {
            if !coordinator.ask(now) {
                if let Some(at) = coordinator.retry_at() {
                    self.wake_at(at);
                }
                return None;
            }
            let request = TxnRequest::FindCoordinator(coordinator.key().clone());
            self.last_token += 1;
            let token = self.last_token;
            self.asked_group = Some((token, AskedGroup::Coordinator(group)));
            return Some(Ask { token, to: Destination::Any, request, timeout });
        };
        if self.is_verifying(broker) {
            return None;
        }
        let versions = match self.version {
            TransactionVersion::One => 0..=LAST_COMMIT_OFFSETS_OF_ONE,
            // Older ones would not make the group part of the transaction.
            TransactionVersion::Two => LAST_COMMIT_OFFSETS_OF_ONE + 1..=i16::MAX,
        };
        let pending = self.offsets.queue.front_mut()?;
        pending.asked = true;
        self.sent = true;
        let request = pending.request(&self.config.transactional_id, identity);
        self.start_verifying(broker);
        self.last_token += 1;
        let token = self.last_token;
        self.asked_group = Some((token, AskedGroup::Commit { group, to: broker }));
        let request = TxnRequest::CommitOffsets(request, versions);
        Some(Ask { token, to: Destination::Coordinator(broker), request, timeout })
    }
}
