//! The look-ups of committed offsets that have not ended, and the one request that is on the wire. It
//! commits nothing, and does not know where the coordinator is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::classify::{Verdict, of_lookup};
use super::pace::Pace;
use super::request::{Fetch, Said, Topics};
use super::{Action, CommitAs, Committed, Flight, Judging, LookupId, OffsetsConfig, broker_error};
use crate::config::GroupProtocol;
use crate::error::{ClientError, ErrorCode};
use crate::protocol::messages::offset_fetch::OffsetFetchResponse;
use crate::time::Instant;
use crate::types::{ConsumerGroupMetadata, TopicId, TopicPartition};

const API: &str = "OffsetFetch";

/// A look-up that has not ended.
pub(super) struct Pending {
    id: LookupId,
    /// What is not known yet.
    left: BTreeSet<TopicPartition>,
    /// Of the topics, as they were when it was asked for.
    ids: BTreeMap<String, TopicId>,
    found: Committed,
    deadline: Instant,
    /// Whether it is in the request on the wire.
    sent: bool,
    pace: Pace,
    last: Option<ClientError>,
}

impl Pending {
    pub(super) fn new(
        id: LookupId,
        left: BTreeSet<TopicPartition>,
        ids: BTreeMap<String, TopicId>,
        deadline: Instant,
    ) -> Self {
        let (found, pace) = (Committed::new(), Pace::default());
        Self { id, left, ids, found, deadline, sent: false, pace, last: None }
    }

    fn ended(&mut self, error: Option<ClientError>) -> Action {
        let found = std::mem::take(&mut self.found);
        Action::Found { id: self.id, result: error.map_or(Ok(found), Err) }
    }

    /// Takes up what is said of its partitions; an error if it cannot be had.
    fn judge(
        &mut self,
        said: &BTreeMap<TopicPartition, Said>,
        judging: &mut Judging<'_>,
    ) -> Option<ClientError> {
        let mut again = false;
        for partition in std::mem::take(&mut self.left) {
            let code = match said.get(&partition) {
                Some(Ok(committed)) => {
                    self.found.insert(partition, committed.clone());
                    continue;
                }
                Some(Err(code)) => *code,
                None => ErrorCode::UNKNOWN_SERVER_ERROR,
            };
            let error = broker_error(code, API, &partition.to_string());
            match of_lookup(code) {
                Verdict::Wait => judging.came.busy = true,
                Verdict::Find => judging.came.lost = true,
                Verdict::NewEpoch => again = true,
                Verdict::Again { refresh } => {
                    again = true;
                    judging.came.refresh |= refresh;
                }
                _ => return Some(error),
            }
            self.last = Some(error);
            self.left.insert(partition);
        }
        if again {
            self.pace.fail(judging.config.backoff, judging.chance, judging.at);
        }
        None
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct Lookups {
    queue: Vec<Pending>,
    flight: Option<Flight<Fetch>>,
}

impl Lookups {
    pub(super) fn queue(&mut self, pending: Pending) {
        self.queue.push(pending);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether there is something to be asked now.
    pub(super) fn is_due(&self, at: Instant) -> bool {
        self.flight.is_none() && self.queue.iter().any(|pending| pending.pace.is_over(at))
    }

    pub(super) fn next_deadline(&self, at: Instant) -> Option<Instant> {
        let pauses = self.queue.iter().filter_map(|pending| pending.pace.end(at));
        let pauses = pauses.filter(|_| self.flight.is_none());
        self.queue.iter().map(|pending| pending.deadline).chain(pauses).min()
    }

    /// Ends those for which there is an error, and those that have found everything.
    fn end_if(
        &mut self,
        actions: &mut Vec<Action>,
        mut error: impl FnMut(&mut Pending) -> Option<ClientError>,
    ) {
        self.queue.retain_mut(|pending| {
            let error = error(pending);
            let stays = error.is_none() && !pending.left.is_empty();
            if !stays {
                actions.push(pending.ended(error));
            }
            stays
        });
    }

    /// Ends those whose time is over, with what went wrong last.
    pub(super) fn expire(
        &mut self,
        config: &OffsetsConfig,
        at: Instant,
        actions: &mut Vec<Action>,
    ) {
        self.end_if(actions, |pending| {
            let unfound = || {
                let code = ErrorCode::COORDINATOR_NOT_AVAILABLE;
                broker_error(code, "FindCoordinator", &config.group_id)
            };
            (pending.deadline <= at).then(|| pending.last.take().unwrap_or_else(unfound))
        });
    }

    /// Ends those that are not on the wire, since there will be no coordinator.
    pub(super) fn refuse(
        &mut self,
        config: &OffsetsConfig,
        code: ErrorCode,
        actions: &mut Vec<Action>,
    ) {
        let error = broker_error(code, "FindCoordinator", &config.group_id);
        self.end_if(actions, |pending| (!pending.sent).then(|| error.clone()));
    }

    pub(super) fn close(&mut self, actions: &mut Vec<Action>) {
        self.end_if(actions, |_| Some(ClientError::Closed));
        self.flight = None;
    }

    /// Puts what is due in one request.
    pub(super) fn send(
        &mut self,
        config: &OffsetsConfig,
        commit_as: &CommitAs,
        (token, version, since): (u64, u64, Instant),
    ) -> Fetch {
        let mut topics = Topics::default();
        for pending in self.queue.iter_mut().filter(|pending| pending.pace.is_over(since)) {
            pending.sent = true;
            for partition in &pending.left {
                let id = pending.ids.get(&partition.topic).copied().unwrap_or(TopicId::ZERO);
                topics.insert(partition, id, ());
            }
        }
        let member = asks_as(config, commit_as).cloned();
        let request = Fetch { group_id: config.group_id.clone(), member, topics };
        self.flight = Some(Flight { token, version, since, request: request.clone() });
        request
    }

    /// Takes an answer, if it is the one that is waited for; whether it is.
    pub(super) fn handle(
        &mut self,
        token: u64,
        result: Result<OffsetFetchResponse, ClientError>,
        judging: &mut Judging<'_>,
    ) -> bool {
        let Some(flight) = self.flight.take_if(|flight| flight.token == token) else {
            return false;
        };
        judging.came.version = flight.version;
        judging.came.heard = result.is_ok();
        match result.map(|response| flight.request.offsets(response)) {
            Ok(Ok(said)) => self.answered(&said, judging),
            Ok(Err(code)) => self.refused(code, &flight.request, judging),
            Err(error) => {
                judging.came.lost = error.is_retriable();
                self.failed(&error, !judging.came.lost, judging.actions);
            }
        }
        true
    }

    fn answered(&mut self, said: &BTreeMap<TopicPartition, Said>, judging: &mut Judging<'_>) {
        let mut actions = std::mem::take(judging.actions);
        self.end_if(&mut actions, |pending| {
            let sent = std::mem::take(&mut pending.sent);
            if sent { pending.judge(said, judging) } else { None }
        });
        *judging.actions = actions;
    }

    /// The answer is about the group as a whole.
    fn refused(&mut self, code: ErrorCode, asked: &Fetch, judging: &mut Judging<'_>) {
        let now = asks_as(judging.config, judging.commit_as);
        let mut ends = false;
        match of_lookup(code) {
            Verdict::Wait => judging.came.busy = true,
            Verdict::Find => judging.came.lost = true,
            // Who asks as no member has no other to ask as.
            Verdict::NewEpoch if asked.member.is_some() => {
                let stale = code == ErrorCode::STALE_MEMBER_EPOCH;
                let same = now.filter(|now| !stale && Some(*now) == asked.member.as_ref());
                judging.came.refused = same.map(|member| (code, member.clone()));
                for pending in self.queue.iter_mut().filter(|pending| pending.sent) {
                    pending.pace.fail(judging.config.backoff, judging.chance, judging.at);
                }
            }
            _ => ends = true,
        }
        let error = broker_error(code, API, &judging.config.group_id);
        self.failed(&error, ends, judging.actions);
    }

    /// What was on the wire ends, or is asked again.
    fn failed(&mut self, error: &ClientError, ends: bool, actions: &mut Vec<Action>) {
        self.end_if(actions, |pending| {
            if !std::mem::take(&mut pending.sent) {
                return None;
            }
            pending.last = Some(error.clone());
            ends.then(|| error.clone())
        });
    }
}

/// Only members of the new protocol ask as such, which their epoch shows to be in the group.
fn asks_as<'a>(
    config: &OffsetsConfig,
    commit_as: &'a CommitAs,
) -> Option<&'a ConsumerGroupMetadata> {
    match commit_as {
        CommitAs::Committer(member)
            if config.protocol == GroupProtocol::Consumer
                && member.is_member()
                && member.generation_id > 0 =>
        {
            Some(member)
        }
        _ => None,
    }
}

impl fmt::Debug for Lookups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sent = self.queue.iter().filter(|pending| pending.sent).count();
        write!(f, "{} look-ups, {sent} of them on the wire", self.queue.len())
    }
}
