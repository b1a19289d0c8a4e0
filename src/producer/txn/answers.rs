//! What the answers of the coordinators mean for the transaction.

use super::classify::{Api, Verdict, classify};
use super::request::{Support, TransactionVersion, TxnResponse};
use super::{Asked, AskedGroup, MARKERS, State, Transactions};
use crate::client::NoCoordinator;
use crate::error::{
    AbortCause, AbortableError, ClientError, ErrorCode, FatalError, TransactionError,
};
use crate::protocol::messages::add_partitions_to_txn::AddPartitionsToTxnResponse;
use crate::protocol::messages::end_txn::EndTxnResponse;
use crate::protocol::messages::find_coordinator::FindCoordinatorResponse;
use crate::protocol::messages::init_producer_id::InitProducerIdResponse;
use crate::protocol::messages::txn_offset_commit::TxnOffsetCommitResponse;
use crate::time::Instant;
use crate::types::{ProducerIdentity, TopicPartition};

impl Transactions {
    /// A request has ended; with its answer comes what the broker that gave it can do.
    pub(crate) fn handle(
        &mut self,
        token: u64,
        result: Result<(TxnResponse, Support), ClientError>,
        now: Instant,
    ) {
        if let Some((_, asked)) = self.asked.take_if(|(asked, _)| *asked == token) {
            match asked {
                Asked::Coordinator => self.found(result, now),
                Asked::Api(api) => self.answered(api, result, now),
            }
        } else if let Some((_, asked)) = self.asked_group.take_if(|(asked, _)| *asked == token) {
            match asked {
                AskedGroup::Coordinator(group) => self.found_group(&group, result, now),
                AskedGroup::Commit { group, to } => {
                    self.stop_verifying(to);
                    self.committed(&group, result, now);
                }
            }
        }
    }

    fn found(&mut self, result: Result<(TxnResponse, Support), ClientError>, now: Instant) {
        let found = self.coordinator.answered(find_response(&result), now);
        match found {
            Ok(()) => {}
            Err(NoCoordinator::Refused { code, .. }) => self.fail(FatalError { code }),
            // Brokers before 0.11 know no transactions.
            Err(NoCoordinator::Unsupported(_)) => {
                self.fail(FatalError { code: ErrorCode::UNSUPPORTED_VERSION });
            }
        }
    }

    fn found_group(
        &mut self,
        group: &str,
        result: Result<(TxnResponse, Support), ClientError>,
        now: Instant,
    ) {
        let Some(coordinator) = self.groups.get_mut(group) else { return };
        let (api, subject) = ("FindCoordinator", format!("group {group}"));
        let cause = match coordinator.answered(find_response(&result), now) {
            Ok(()) => return,
            Err(NoCoordinator::Refused { code, .. }) => AbortCause::Refused { api, subject, code },
            Err(NoCoordinator::Unsupported(error)) => AbortCause::Client { api, error },
        };
        // Of those that wanted it, an abort may have left none.
        if self.offsets.queue.front().is_some_and(|pending| pending.group.group_id == group) {
            self.abandon_offsets(cause, now);
        }
    }

    fn answered(
        &mut self,
        api: Api,
        result: Result<(TxnResponse, Support), ClientError>,
        now: Instant,
    ) {
        let response = match result {
            Ok((response, support)) => {
                self.support = support;
                response
            }
            Err(error) => return self.unanswered(api, error, now),
        };
        match (api, response) {
            (Api::InitProducerId, TxnResponse::InitProducerId(response)) => {
                let done = self.settle_code(api, response.error_code, None, now);
                if done {
                    self.initialised(&response);
                }
            }
            (Api::AddPartitions, TxnResponse::AddPartitions(response)) => {
                let (code, partition) = worst(&response, self.support.bumps());
                let done = self.settle_code(api, code, partition, now);
                self.started |= done;
                if done {
                    self.partitions.confirm()
                } else {
                    self.partitions.refuse()
                }
                if self.is_doomed() {
                    self.partitions.forget_wanted();
                }
            }
            (Api::AddOffsets, TxnResponse::AddOffsets(response)) => {
                let group = self.offsets.adding.take();
                let subject = group.as_ref().map(|group| format!("group {group}"));
                if self.settle_code(api, response.error_code, subject, now) {
                    self.started = true;
                    self.offsets.groups.extend(group);
                }
            }
            (Api::End, TxnResponse::End(response)) => {
                // Whether it had been started was not known: it had not.
                let unsure = self.is_doomed() && !self.started;
                let code = response.error_code;
                let void = code == ErrorCode::INVALID_TXN_STATE && unsure;
                let code = if void { ErrorCode::NONE } else { code };
                if self.settle_code(api, code, None, now) {
                    self.finished(&response);
                }
            }
            // An answer of another kind cannot be.
            _ => {}
        }
    }

    /// Deals with an error code; whether there is none.
    fn settle_code(
        &mut self,
        api: Api,
        code: ErrorCode,
        subject: Option<String>,
        now: Instant,
    ) -> bool {
        let mut verdict = classify(api, code, self.support.bumps());
        if api == Api::End && verdict >= Verdict::Abort && self.maybe_committed {
            // Whoever were told that it is aborted would do its work again.
            verdict = Verdict::Fatal;
        }
        if verdict == Verdict::Done {
            self.failures = 0;
            self.retry_at = None;
            self.coordinator.heard();
            return true;
        }
        tracing::debug!(
            transactional_id = %self.config.transactional_id,
            api = api.name(), %code, ?verdict
        );
        let subject =
            subject.unwrap_or_else(|| format!("transactional.id {}", self.config.transactional_id));
        let cause = || AbortCause::Refused { api: api.name(), subject, code };
        let refused = [ErrorCode::NOT_COORDINATOR, ErrorCode::COORDINATOR_LOAD_IN_PROGRESS];
        if api == Api::End && verdict < Verdict::Abort && !refused.contains(&code) {
            self.maybe_committed |= self.commits();
        }
        match verdict {
            Verdict::Done => {}
            Verdict::Retry => self.retry(now),
            Verdict::RetrySoon => {
                self.coordinator.heard();
                self.retry_soon(now);
            }
            Verdict::Relocate => {
                self.coordinator.lost(now);
            }
            Verdict::Abort => self.must_abort(api, cause(), now),
            Verdict::AbortAnew => {
                self.forgotten = true;
                self.must_abort(api, cause(), now);
            }
            Verdict::Fatal => self.fail(FatalError { code }),
        }
        false
    }

    fn commits(&self) -> bool {
        matches!(self.state, State::Ending { commit: true, .. })
    }

    fn must_abort(&mut self, api: Api, cause: AbortCause, now: Instant) {
        if api == Api::End && self.is_doomed() {
            // The abort itself is refused: it goes on until it is known.
            self.retry(now);
        }
        self.doom(cause, now);
    }

    fn retry(&mut self, now: Instant) {
        let wait = self.config.retry_backoff.wait(self.failures, self.random.f64());
        self.failures = self.failures.saturating_add(1);
        self.retry_at = Some(now + wait);
    }

    fn retry_soon(&mut self, now: Instant) {
        let wait = MARKERS.wait(self.failures, self.random.f64());
        self.failures = self.failures.saturating_add(1);
        self.retry_at = Some(now + wait);
    }

    fn unanswered(&mut self, api: Api, error: ClientError, now: Instant) {
        tracing::debug!(
            transactional_id = %self.config.transactional_id,
            api = api.name(), %error, "no answer"
        );
        if matches!(error, ClientError::UnsupportedVersion { .. } | ClientError::Encode { .. }) {
            return self.fail(FatalError { code: ErrorCode::UNSUPPORTED_VERSION });
        }
        if error.maybe_written() {
            // A copy that arrives late must not meet the next transaction.
            self.unanswered |= api != Api::InitProducerId;
            self.maybe_committed |= api == Api::End && self.commits();
        } else if api == Api::AddPartitions && !self.unanswered {
            self.partitions.refuse();
            if self.is_doomed() {
                self.partitions.forget_wanted();
            }
        } else if api == Api::AddOffsets && !self.unanswered {
            self.offsets.adding = None;
        }
        self.coordinator.lost(now);
    }

    fn initialised(&mut self, response: &InitProducerIdResponse) {
        let InitProducerIdResponse { producer_id: id, producer_epoch: epoch, .. } = *response;
        if id < 0 || epoch < 0 {
            return self.fail(FatalError { code: ErrorCode::UNKNOWN_SERVER_ERROR });
        }
        tracing::info!(
            transactional_id = %self.config.transactional_id,
            producer_id = id, producer_epoch = epoch, "initialised"
        );
        self.identity = Some(ProducerIdentity { id, epoch });
        self.state = State::Ready;
    }

    fn finished(&mut self, response: &EndTxnResponse) {
        let State::Ending { commit, operation } = self.state else { return };
        if self.version == TransactionVersion::Two {
            let EndTxnResponse { producer_id: id, producer_epoch: epoch, .. } = *response;
            if id >= 0 && epoch >= 0 {
                self.identity = Some(ProducerIdentity { id, epoch });
            } else {
                // The answer to InitProducerId with the old epoch has the one that was meant.
                self.numbers_lost = true;
            }
        }
        self.close(commit, operation);
    }

    fn committed(
        &mut self,
        group: &str,
        result: Result<(TxnResponse, Support), ClientError>,
        now: Instant,
    ) {
        match result {
            Ok((TxnResponse::CommitOffsets(response), _)) => self.stored(group, &response, now),
            Ok(_) => {}
            Err(error @ (ClientError::UnsupportedVersion { .. } | ClientError::Encode { .. })) => {
                self.abandon_offsets(
                    AbortCause::Client { api: Api::CommitOffsets.name(), error },
                    now,
                );
            }
            Err(error) => {
                tracing::debug!(group, %error, "no answer about offsets of a transaction");
                self.unanswered |= error.maybe_written();
                self.lose_group(group, now);
            }
        }
    }

    /// Takes off the list what was stored, and deals with the worst of the rest.
    fn stored(&mut self, group: &str, response: &TxnOffsetCommitResponse, now: Instant) {
        let api = Api::CommitOffsets;
        let bumps = self.support.bumps();
        let started = &mut self.started;
        let Some(pending) = self.offsets.queue.front_mut() else { return };
        let mut worst = (Verdict::Done, ErrorCode::NONE);
        for topic in &response.topics {
            for answer in &topic.partitions {
                let verdict = classify(api, answer.error_code, bumps);
                if verdict == Verdict::Done {
                    *started = true;
                    let partition = TopicPartition::new(&topic.name, answer.partition_index);
                    pending.offsets.remove(&partition);
                } else if verdict > worst.0 {
                    worst = (verdict, answer.error_code);
                }
            }
        }
        if worst.0 == Verdict::Done && pending.offsets.is_empty() {
            let operation = pending.operation.take();
            self.offsets.queue.pop_front();
            self.group_failures = 0;
            self.group_retry_at = None;
            if let Some(coordinator) = self.groups.get_mut(group) {
                coordinator.heard();
            }
            return self.answer(operation, Ok(None));
        }
        tracing::debug!(group, code = %worst.1, verdict = ?worst.0, "offsets of a transaction");
        if self.is_doomed() && worst.0 != Verdict::Fatal {
            // Nobody waits for what has not been stored.
            return self.offsets.queue.clear();
        }
        match worst.0 {
            // The answer leaves out partitions: they are asked for again.
            Verdict::Done | Verdict::Retry => self.retry_group(false, now),
            Verdict::RetrySoon => self.retry_group(true, now),
            Verdict::Relocate => self.lose_group(group, now),
            Verdict::Abort | Verdict::AbortAnew => {
                let subject = format!("group {group}");
                let cause = AbortCause::Refused { api: api.name(), subject, code: worst.1 };
                self.abandon_offsets(cause, now);
            }
            Verdict::Fatal => self.fail(FatalError { code: worst.1 }),
        }
    }

    fn retry_group(&mut self, soon: bool, now: Instant) {
        let backoff = if soon { MARKERS } else { self.config.retry_backoff };
        let wait = backoff.wait(self.group_failures, self.random.f64());
        self.group_failures = self.group_failures.saturating_add(1);
        self.group_retry_at = Some(now + wait);
    }

    fn lose_group(&mut self, group: &str, now: Instant) {
        if let Some(coordinator) = self.groups.get_mut(group) {
            coordinator.lost(now);
        }
    }

    /// The first offsets will not be stored.
    fn abandon_offsets(&mut self, cause: AbortCause, now: Instant) {
        if let Some(mut pending) = self.offsets.queue.pop_front() {
            let operation = pending.operation.take();
            let error = AbortableError::new(cause.clone());
            self.answer(operation, Err(TransactionError::Abortable(error)));
        }
        self.doom(cause, now);
    }
}

fn find_response(
    result: &Result<(TxnResponse, Support), ClientError>,
) -> Result<&FindCoordinatorResponse, &ClientError> {
    match result {
        Ok((TxnResponse::FindCoordinator(response), _)) => Ok(response),
        Ok(_) => Err(&ClientError::Closed),
        Err(error) => Err(error),
    }
}

/// The error of a partition that decides, and which partition that is.
fn worst(response: &AddPartitionsToTxnResponse, bumps: bool) -> (ErrorCode, Option<String>) {
    let topics = response.results_by_topic_v3_and_below.iter();
    let answers = topics.flat_map(|topic| {
        let partitions = topic.results_by_partition.iter();
        partitions.map(|p| (p.partition_error_code, &topic.name, p.partition_index))
    });
    // OPERATION_NOT_ATTEMPTED says only that another one was refused: that decides.
    let worst = answers.max_by_key(|&(code, ..)| match code {
        ErrorCode::OPERATION_NOT_ATTEMPTED => Verdict::Retry,
        code => classify(Api::AddPartitions, code, bumps),
    });
    match worst {
        None => (ErrorCode::UNKNOWN_SERVER_ERROR, None),
        Some((ErrorCode::NONE, ..)) => (ErrorCode::NONE, None),
        Some((code, topic, partition)) => {
            (code, Some(TopicPartition::new(topic, partition).to_string()))
        }
    }
}
