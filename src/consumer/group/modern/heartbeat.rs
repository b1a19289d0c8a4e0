//! The heartbeat of the new protocol: when one is due, what it has to say, and what its answer means.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::codes::{self, Verdict};
use super::reconcile::Shares;
use super::{HEARTBEAT_INTERVAL, JOIN, Modern, Phase};
use crate::consumer::group::request::{GroupRequest, GroupResponse};
use crate::consumer::group::shared::{Flight, Interest, Shared, Standing};
use crate::error::{ClientError, ErrorCode, GroupError};
use crate::protocol::messages::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, TopicPartitions,
};
use crate::time::{Duration, Instant};

/// The shortest time between heartbeats that a coordinator may ask for.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(50);

const UNSUPPORTED: &str = "group.protocol=consumer, which takes Kafka 4.0 or later with the \
                           protocol enabled; use group.protocol=classic";

/// What a heartbeat says besides who sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fields {
    names: BTreeSet<String>,
    regex: Option<String>,
    held: Shares,
}

impl Fields {
    fn of(shared: &Shared, held: Shares) -> Self {
        let (names, regex) = match &shared.interest {
            Interest::Nothing => (BTreeSet::new(), None),
            Interest::Topics { names, .. } => (names.clone().unwrap_or_default(), None),
            Interest::Regex(pattern) => (BTreeSet::new(), Some(pattern.clone())),
        };
        Self { names, regex, held }
    }

    /// Whether nothing has changed.
    fn are_those(&self, shared: &Shared, held: &Shares) -> bool {
        let same = match &shared.interest {
            Interest::Nothing => self.names.is_empty() && self.regex.is_none(),
            Interest::Topics { names: None, .. } => true,
            Interest::Topics { names: Some(names), .. } => {
                self.names == *names && self.regex.is_none()
            }
            Interest::Regex(pattern) => self.regex.as_ref() == Some(pattern),
        };
        same && self.held == *held
    }
}

impl Modern {
    /// Whether a heartbeat may go out, and from when on; `None` if it may not.
    fn due(&self, shared: &Shared) -> Option<Option<Instant>> {
        if self.flight.is_some() || shared.coordinator.known().is_none() {
            return None;
        }
        let settled = shared.ownership.is_settled();
        match self.phase {
            Phase::Out | Phase::Leaving { epoch: None, .. } => None,
            Phase::Leaving { at_once, .. } => (at_once || settled).then_some(None),
            Phase::Joining => {
                let may = settled && matches!(shared.standing, Standing::Good);
                may.then_some(self.not_before)
            }
            Phase::Member => {
                let held = self.reconciler.held();
                let news = self.sent.as_ref().is_none_or(|sent| !sent.are_those(shared, held));
                Some(if news { self.not_before } else { self.next.max(self.not_before) })
            }
        }
    }

    pub(super) fn heartbeat_deadline(&self, shared: &Shared) -> Option<Instant> {
        self.due(shared)?
    }

    pub(super) fn send_heartbeat(&mut self, shared: &mut Shared, at: Instant) {
        let Some(from) = self.due(shared) else { return };
        let Some(to) = shared.coordinator.known() else { return };
        if from.is_some_and(|from| from > at) {
            return;
        }
        let request = match self.phase {
            Phase::Leaving { epoch: Some(epoch), .. } => self.identified(shared, epoch),
            _ => self.full_or_partial(shared),
        };
        let epoch = request.member_epoch;
        let timeout = shared.config.request_timeout;
        let request = GroupRequest::ConsumerGroupHeartbeat(request);
        self.flight = Some((shared.send(to, request, timeout, at), epoch));
        self.next = Some(at + self.interval);
        self.not_before = None;
        shared.stats.heartbeats_sent += 1;
        shared.stats.last_heartbeat = Some(at);
    }

    fn identified(&self, shared: &Shared, member_epoch: i32) -> ConsumerGroupHeartbeatRequest {
        ConsumerGroupHeartbeatRequest {
            group_id: shared.group(),
            member_id: self.member_id.clone(),
            member_epoch,
            instance_id: shared.config.instance_id.clone(),
            ..ConsumerGroupHeartbeatRequest::default()
        }
    }

    /// Everything when joining and after a failure, otherwise what has changed.
    fn full_or_partial(&mut self, shared: &Shared) -> ConsumerGroupHeartbeatRequest {
        let fields = Fields::of(shared, self.reconciler.held().clone());
        let mut request = self.identified(shared, self.epoch);
        let before = if self.epoch == JOIN { None } else { self.sent.take() };
        if before.is_none() {
            request.rack_id.clone_from(&shared.config.rack);
            let millis = shared.config.max_poll_interval.as_millis();
            request.rebalance_timeout_ms = i32::try_from(millis).unwrap_or(i32::MAX);
            request.server_assignor.clone_from(&self.remote_assignor);
        }
        let before = before.as_ref();
        if before.is_none_or(|before| before.names != fields.names) {
            request.subscribed_topic_names = Some(fields.names.iter().cloned().collect());
        }
        if before.is_none_or(|before| before.regex != fields.regex) {
            // An empty one takes back one that was sent; brokers of v0 know none.
            let taken_back = before.and(Some(String::new()));
            request.subscribed_topic_regex = fields.regex.clone().or(taken_back);
        }
        if before.is_none_or(|before| before.held != fields.held) {
            let topic = |(id, share): (_, &BTreeSet<i32>)| TopicPartitions {
                topic_id: id,
                partitions: share.iter().copied().collect(),
            };
            let held = fields.held.iter().map(|(id, share)| topic((*id, share)));
            request.topic_partitions = Some(held.collect());
        }
        self.sent = Some(fields);
        request
    }

    /// Takes the answer to a heartbeat that carried this epoch.
    pub(super) fn answered(
        &mut self,
        shared: &mut Shared,
        (flight, epoch): (Flight, i32),
        result: Result<GroupResponse, ClientError>,
        at: Instant,
    ) {
        if let Phase::Leaving { .. } = self.phase {
            // Whatever became of it; one that was sent before the member was to leave is not it.
            if epoch < JOIN {
                self.out();
            }
            return;
        }
        let response = match result {
            Ok(GroupResponse::ConsumerGroupHeartbeat(response)) => response,
            Ok(_) => ConsumerGroupHeartbeatResponse {
                error_code: ErrorCode::UNKNOWN_SERVER_ERROR,
                ..ConsumerGroupHeartbeatResponse::default()
            },
            Err(error) => return self.unanswered(shared, flight, error, at),
        };
        let code = response.error_code;
        match codes::heartbeat(code) {
            Verdict::Done if response.member_epoch > JOIN => {
                shared.coordinator.heard(flight.version);
                shared.stats.heartbeat.record(at.saturating_duration_since(flight.since));
                self.accepted(shared, response, flight.since, at);
            }
            Verdict::Done | Verdict::Retry => self.retry(shared, at),
            Verdict::Moved => {
                shared.coordinator.lost(flight.version, at);
                self.sent = None;
            }
            Verdict::Report => {
                let message = response.error_message.as_deref();
                let error = shared.refusal("ConsumerGroupHeartbeat", code, message);
                shared.ownership.report(error);
                self.retry(shared, at);
                self.not_before = self.not_before.max(Some(at + self.interval));
            }
            Verdict::Fenced => {
                tracing::info!(group = %shared.config.group_id, %code, "lost the membership");
                shared.stats.failed_rebalances += 1;
                let failures = self.failures;
                self.lose(shared);
                self.start_over();
                self.phase = Phase::Joining;
                // At once, unless that is what it just did.
                self.failures = failures.saturating_add(1);
                self.not_before = failures.checked_sub(1).map(|n| at + shared.pause(n));
            }
            Verdict::Fail => {
                let error = self.error_of(shared, code, response.error_message.as_deref());
                self.failed(shared, error);
            }
        }
    }

    fn accepted(
        &mut self,
        shared: &mut Shared,
        response: ConsumerGroupHeartbeatResponse,
        sent: Instant,
        at: Instant,
    ) {
        if let Some(id) = response.member_id.filter(|id| !id.is_empty()) {
            self.member_id = id;
        }
        if self.epoch != response.member_epoch {
            tracing::info!(
                group = %shared.config.group_id, member = %self.member_id,
                epoch = response.member_epoch, "at a new epoch"
            );
        }
        self.epoch = response.member_epoch;
        self.phase = Phase::Member;
        self.failures = 0;
        let millis = u64::try_from(response.heartbeat_interval_ms).unwrap_or_default();
        self.interval = match Duration::from_millis(millis) {
            Duration::ZERO => HEARTBEAT_INTERVAL,
            interval => interval.max(SHORTEST_INTERVAL),
        };
        self.next = Some(sent + self.interval);
        if let Some(assignment) = response.assignment {
            self.reconciler.aim(&assignment.topic_partitions, at);
        }
    }

    fn retry(&mut self, shared: &mut Shared, at: Instant) {
        self.sent = None;
        self.not_before = Some(at + shared.pause(self.failures));
        self.failures = self.failures.saturating_add(1);
    }

    fn unanswered(&mut self, shared: &mut Shared, flight: Flight, error: ClientError, at: Instant) {
        let group = shared.group();
        if error.is_retriable() || error == ClientError::Closed {
            tracing::debug!(%group, %error, "a heartbeat was not answered");
            shared.coordinator.lost(flight.version, at);
            self.retry(shared, at);
            return;
        }
        let failure = match (&error, &shared.interest) {
            (ClientError::Encode { .. }, Interest::Regex(pattern)) => {
                GroupError::UnsupportedRegex { group, pattern: pattern.clone() }
            }
            _ => {
                let cause = Some(Arc::new(error));
                GroupError::Unsupported { group, what: UNSUPPORTED, cause }
            }
        };
        self.failed(shared, failure);
    }

    fn error_of(&self, shared: &Shared, code: ErrorCode, message: Option<&str>) -> GroupError {
        let group = shared.group();
        match (code, &shared.interest) {
            (ErrorCode::UNSUPPORTED_VERSION, _) => {
                GroupError::Unsupported { group, what: UNSUPPORTED, cause: None }
            }
            (ErrorCode::UNSUPPORTED_ASSIGNOR, _) => {
                GroupError::UnsupportedAssignor { group, assignor: self.remote_assignor.clone() }
            }
            (ErrorCode::INVALID_REGULAR_EXPRESSION, Interest::Regex(pattern)) => {
                let message = message.map(Into::into);
                GroupError::InvalidRegex { group, pattern: pattern.clone(), message }
            }
            _ => shared.refusal("ConsumerGroupHeartbeat", code, message),
        }
    }

    /// The user is told; if it is not fatal, the next poll joins again.
    fn failed(&mut self, shared: &mut Shared, error: GroupError) {
        shared.stats.failed_rebalances += 1;
        self.lose(shared);
        self.out();
        shared.fail(error);
    }
}
