//! What the answers to JoinGroup and SyncGroup bring about, and what an error code does to the
//! membership, whichever request it answered.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::assignors::{read_assignment, read_members};
use super::codes::{self, Verdict};
use super::leader::Task;
use super::{CONSUMER, Classic, Phase};
use crate::consumer::group::assign::Assignment;
use crate::consumer::group::request::{GroupRequest, GroupResponse};
use crate::consumer::group::shared::{Flight, Interest, Machine, Shared};
use crate::error::{ClientError, ErrorCode, GroupError};
use crate::protocol::messages::join_group::JoinGroupResponse;
use crate::protocol::messages::sync_group::{
    SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse,
};
use crate::time::Instant;
use crate::types::TopicPartition;

impl Classic {
    pub(super) fn join_answered(
        &mut self,
        shared: &mut Shared,
        flight: Flight,
        result: Result<GroupResponse, ClientError>,
        at: Instant,
    ) {
        self.phase = Phase::Waiting;
        let mut response = match result {
            Ok(GroupResponse::JoinGroup(response)) => response,
            Ok(_) => JoinGroupResponse {
                error_code: ErrorCode::UNKNOWN_SERVER_ERROR,
                ..JoinGroupResponse::default()
            },
            Err(error) => {
                self.request_failed(shared, "JoinGroup", flight, error, at);
                return self.count_failure(shared);
            }
        };
        let verdict = codes::join(response.error_code);
        match verdict {
            Verdict::Done => {
                shared.coordinator.heard(flight.version);
                shared.stats.join.record(at.saturating_duration_since(flight.since));
                self.joined(shared, response, at);
            }
            Verdict::TakeId => {
                self.member_id = std::mem::take(&mut response.member_id);
                self.rejoin_because("need to re-join with the given member-id");
                self.join_again(shared, at);
            }
            Verdict::Moved => self.coordinator_moved(shared, flight, at),
            verdict => {
                self.take_verdict(shared, verdict, "JoinGroup", response.error_code, at);
            }
        }
        if verdict != Verdict::TakeId {
            self.count_failure(shared);
        }
    }

    /// Counts a rebalance that has not come further.
    fn count_failure(&self, shared: &mut Shared) {
        if matches!(self.phase, Phase::Waiting | Phase::Out) {
            shared.stats.failed_rebalances += 1;
        }
    }

    /// The member is in a new generation.
    fn joined(&mut self, shared: &mut Shared, response: JoinGroupResponse, at: Instant) {
        let JoinGroupResponse { generation_id, protocol_type, protocol_name, .. } = response;
        let assignor = protocol_name.unwrap_or_default();
        let others = protocol_type.filter(|kind| kind != CONSUMER);
        if others.is_some() || !self.assignors.has(&assignor) {
            let offered = others.map_or_else(
                || format!("the assignors {} (it chose '{assignor}')", self.assignors.names()),
                |kind| format!("the protocol type {CONSUMER} (its own is '{kind}')"),
            );
            let group = shared.group();
            return self.failed(shared, GroupError::InconsistentProtocol { group, offered });
        }
        if generation_id < 0 || response.member_id.is_empty() {
            let code = ErrorCode::UNKNOWN_SERVER_ERROR;
            let message = Some("a generation without a number, or a member without an id");
            let error = shared.refusal("JoinGroup", code, message);
            return self.failed(shared, error);
        }
        let leads = response.leader == response.member_id;
        tracing::info!(
            group = %shared.config.group_id, generation = generation_id,
            member = %response.member_id, leads, %assignor, "joined the group"
        );
        self.generation = generation_id;
        self.member_id = response.member_id;
        self.joined = true;
        self.beats.restart(at);
        if leads {
            let members = read_members(response.members);
            let time = shared.config.max_poll_interval;
            let task = Task::new(assignor, members, response.skip_assignment, time, at);
            self.track(shared, task.topics().clone());
            self.phase = Phase::Assigning(Box::new(task));
        } else {
            self.track(shared, BTreeSet::new());
            self.sync(shared, assignor, Vec::new(), at);
        }
    }

    /// Asks for the assignment; the leader brings those of all.
    pub(super) fn sync(
        &mut self,
        shared: &mut Shared,
        assignor: String,
        assignments: Vec<SyncGroupRequestAssignment>,
        at: Instant,
    ) {
        let Some(to) = shared.coordinator.want() else {
            self.rejoin_because("the coordinator was lost");
            self.phase = Phase::Waiting;
            return;
        };
        let request = SyncGroupRequest {
            group_id: shared.group(),
            generation_id: self.generation,
            member_id: self.member_id.clone(),
            group_instance_id: shared.config.instance_id.clone(),
            protocol_type: Some(CONSUMER.to_owned()),
            protocol_name: Some(assignor.clone()),
            assignments,
        };
        let timeout = shared.config.request_timeout;
        let flight = shared.send(to, GroupRequest::SyncGroup(request), timeout, at);
        self.phase = Phase::Syncing { flight, assignor };
    }

    pub(super) fn sync_answered(
        &mut self,
        shared: &mut Shared,
        flight: Flight,
        result: Result<GroupResponse, ClientError>,
        at: Instant,
    ) {
        let Phase::Syncing { assignor, .. } = std::mem::replace(&mut self.phase, Phase::Waiting)
        else {
            return;
        };
        self.take_sync_answer(shared, &assignor, flight, result, at);
        self.count_failure(shared);
    }

    fn take_sync_answer(
        &mut self,
        shared: &mut Shared,
        assignor: &str,
        flight: Flight,
        result: Result<GroupResponse, ClientError>,
        at: Instant,
    ) {
        let response = match result {
            Ok(GroupResponse::SyncGroup(response)) => response,
            Ok(_) => SyncGroupResponse {
                error_code: ErrorCode::UNKNOWN_SERVER_ERROR,
                ..SyncGroupResponse::default()
            },
            Err(error) => return self.request_failed(shared, "SyncGroup", flight, error, at),
        };
        match codes::sync(response.error_code) {
            Verdict::Done => {
                shared.coordinator.heard(flight.version);
                shared.stats.sync.record(at.saturating_duration_since(flight.since));
                self.beats.restart(at);
                self.synced(shared, assignor, response, at);
            }
            Verdict::Moved => self.coordinator_moved(shared, flight, at),
            verdict => {
                // What it has joined it is not going to be a part of.
                self.joined = false;
                self.take_verdict(shared, verdict, "SyncGroup", response.error_code, at);
            }
        }
    }

    /// The member has its assignment.
    fn synced(
        &mut self,
        shared: &mut Shared,
        assignor: &str,
        response: SyncGroupResponse,
        at: Instant,
    ) {
        let odd = |said: &Option<String>, is: &str| said.as_deref().is_some_and(|said| said != is);
        if odd(&response.protocol_type, CONSUMER) || odd(&response.protocol_name, assignor) {
            let offered = format!("the assignor {assignor}");
            let group = shared.group();
            return self.failed(shared, GroupError::InconsistentProtocol { group, offered });
        }
        let assignment = match read_assignment(response.assignment) {
            Ok(assignment) => assignment,
            Err(cause) => {
                let group = shared.group();
                return self.failed(shared, GroupError::InvalidAssignment { group, cause });
            }
        };
        if let Some(odd) = unsubscribed(&shared.interest, &assignment) {
            tracing::info!(group = %shared.config.group_id, %odd, "assigned, but not subscribed to");
            self.rejoin_because("the assignment does not match the subscription");
            return self.join_later(shared, at);
        }
        self.synced = self.generation;
        self.failures = 0;
        self.phase = Phase::Stable;
        let metadata = self.identity(shared);
        self.assignors.assigned(assignor, &assignment, &metadata);
        let target = assignment.partitions.into_iter().collect();
        if self.assignors.are_cooperative() && !shared.ownership.owned().is_subset(&target) {
            self.rejoin_because("need to revoke partitions and re-join");
        }
        tracing::info!(group = %shared.config.group_id, ?target, "assigned");
        shared.ownership.assign(target);
        let since = self.rebalancing_since.take().unwrap_or(at);
        shared.stats.rebalance.record(at.saturating_duration_since(since));
        shared.stats.last_rebalance = Some(at);
    }

    /// What a code means for the membership, whichever request it answered.
    pub(super) fn take_verdict(
        &mut self,
        shared: &mut Shared,
        verdict: Verdict,
        api: &'static str,
        code: ErrorCode,
        at: Instant,
    ) {
        let stable = matches!(self.phase, Phase::Stable);
        match verdict {
            Verdict::Done | Verdict::Moved | Verdict::TakeId => {}
            // It is about to anyway, unless it is stable.
            Verdict::Rejoin if stable => self.rejoin_because("group is already rebalancing"),
            Verdict::Rejoin if self.joined => {}
            Verdict::Rejoin => {
                self.rejoin_because(&format!("rebalance failed due to {code}"));
                self.join_again(shared, at);
            }
            Verdict::Retry => {
                self.rejoin_because(&format!("rebalance failed due to {code}"));
                self.join_later(shared, at);
            }
            Verdict::NewGeneration | Verdict::NewMember => {
                tracing::info!(group = %shared.config.group_id, api, %code, "lost the membership");
                self.reset(shared, verdict == Verdict::NewGeneration);
                self.rejoin_because(&format!("encountered {code} from {api} response"));
                self.join_again(shared, at);
            }
            Verdict::Fail => {
                let error = self.error_of(shared, api, code);
                if stable && !error.is_fatal() {
                    shared.fail(error);
                } else {
                    self.failed(shared, error);
                }
            }
        }
    }

    fn error_of(&self, shared: &Shared, api: &'static str, code: ErrorCode) -> GroupError {
        let group = shared.group();
        match code {
            ErrorCode::INCONSISTENT_GROUP_PROTOCOL => {
                let offered = format!("the assignors {}", self.assignors.names());
                GroupError::InconsistentProtocol { group, offered }
            }
            ErrorCode::INVALID_SESSION_TIMEOUT => {
                GroupError::InvalidSessionTimeout { group, timeout: self.session_timeout }
            }
            ErrorCode::UNSUPPORTED_VERSION => {
                let what = "static members (group.instance.id), which takes 2.3 or later";
                GroupError::Unsupported { group, what, cause: None }
            }
            _ => shared.refusal(api, code, None),
        }
    }

    fn failed(&mut self, shared: &mut Shared, error: GroupError) {
        shared.fail(error);
        self.fall_out(shared);
    }

    /// Joins again, at once if nothing has failed since the last assignment.
    fn join_again(&mut self, shared: &mut Shared, at: Instant) {
        match self.failures {
            0 => self.retry_at = None,
            failures => self.retry_at = Some(at + shared.pause(failures - 1)),
        }
        self.failures = self.failures.saturating_add(1);
        self.phase = Phase::Waiting;
    }

    fn join_later(&mut self, shared: &mut Shared, at: Instant) {
        self.retry_at = Some(at + shared.pause(self.failures));
        self.failures = self.failures.saturating_add(1);
        self.phase = Phase::Waiting;
    }

    fn coordinator_moved(&mut self, shared: &mut Shared, flight: Flight, at: Instant) {
        shared.coordinator.lost(flight.version, at);
        self.rejoin_because("the coordinator has moved");
        self.phase = Phase::Waiting;
    }

    /// A request was not answered.
    pub(super) fn request_failed(
        &mut self,
        shared: &mut Shared,
        api: &'static str,
        flight: Flight,
        error: ClientError,
        at: Instant,
    ) {
        if error.is_retriable() || error == ClientError::Closed {
            tracing::debug!(group = %shared.config.group_id, api, %error, "not answered");
            shared.coordinator.lost(flight.version, at);
            if matches!(self.phase, Phase::Waiting) {
                self.rejoin_because("the coordinator did not answer");
            }
            return;
        }
        let group = shared.group();
        let what = match shared.config.instance_id {
            Some(_) => "static members (group.instance.id), which takes 2.3 or later",
            None => "group.protocol=classic",
        };
        let cause = Some(Arc::new(error));
        self.failed(shared, GroupError::Unsupported { group, what, cause });
    }
}

/// A partition that the user does not want, any more. Which ones a pattern matches the leader may know
/// earlier than this member.
fn unsubscribed<'a>(interest: &Interest, assignment: &'a Assignment) -> Option<&'a TopicPartition> {
    match interest {
        Interest::Topics { names: Some(names), by_pattern: false } => {
            assignment.partitions.iter().find(|partition| !names.contains(&partition.topic))
        }
        _ => None,
    }
}
