//! The commits that have not ended: in the order in which they were made, and the one request that is
//! on the wire. It does not look up offsets, and does not know where the coordinator is.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use super::classify::{Verdict, maybe_committed, of_commit};
use super::pace::Pace;
use super::request::{Commit, Topics};
use super::{
    Action, CommitAs, CommitId, CommitKind, CommitStats, Ended, Flight, Judging, OffsetMap,
    OffsetsConfig, broker_error,
};
use crate::config::GroupProtocol;
use crate::error::{ClientError, CommitError, ErrorCode};
use crate::protocol::messages::offset_commit::OffsetCommitResponse;
use crate::time::Instant;
use crate::types::{ConsumerGroupMetadata, OffsetAndMetadata, TopicId, TopicPartition};

type Codes = BTreeMap<TopicPartition, ErrorCode>;

/// A commit that has not ended.
pub(super) struct Pending {
    id: CommitId,
    kind: CommitKind,
    offsets: Arc<OffsetMap>,
    /// Of the topics, as they were when it was made.
    ids: BTreeMap<String, TopicId>,
    /// Who made it: a member, or nobody in particular if the application assigns partitions itself.
    committer: ConsumerGroupMetadata,
    begun: Instant,
    deadline: Instant,
    /// What is not known to be committed or refused.
    left: BTreeSet<TopicPartition>,
    /// Newer offsets than its own, from commits that went with it, which may be committed: they are
    /// what is tried again, also when that other commit has ended.
    newer: OffsetMap,
    refused: Vec<(TopicPartition, ErrorCode)>,
    /// Whether any of those that were refused may be committed all the same.
    refused_in_doubt: bool,
    /// Whether some of it is committed.
    in_part: bool,
    /// Whether a request of it was left without a clear answer.
    in_doubt: bool,
    /// Whether it is in the request on the wire.
    sent: bool,
    /// Partitions of it were taken away meanwhile: it is not sent again.
    revoked: bool,
    pace: Pace,
    last: Option<ClientError>,
}

impl Pending {
    pub(super) fn new(
        (id, kind): (CommitId, CommitKind),
        offsets: Arc<OffsetMap>,
        ids: BTreeMap<String, TopicId>,
        committer: ConsumerGroupMetadata,
        (begun, deadline): (Instant, Instant),
    ) -> Self {
        Self {
            id,
            kind,
            left: offsets.keys().cloned().collect(),
            newer: OffsetMap::new(),
            offsets,
            ids,
            committer,
            begun,
            deadline,
            refused: Vec::new(),
            refused_in_doubt: false,
            in_part: false,
            in_doubt: false,
            sent: false,
            revoked: false,
            pace: Pace::default(),
            last: None,
        }
    }

    /// Whether any of it, beyond what was refused, may be committed.
    fn maybe_committed(&self) -> bool {
        self.in_part || self.in_doubt
    }

    fn ended(&self, result: Result<(), CommitError>) -> Action {
        let Self { id, kind, offsets, .. } = self;
        Action::Ended(Ended { id: *id, kind: *kind, offsets: offsets.clone(), result })
    }

    fn expired(&mut self) -> CommitError {
        CommitError::TimedOut {
            waited: self.deadline.saturating_duration_since(self.begun),
            maybe_committed: self.maybe_committed() || self.sent,
            cause: self.last.take(),
        }
    }

    /// Whether it can be sent as who the consumer is now. With `group.protocol=consumer` that is so
    /// in every epoch of the same member.
    fn goes_as(&mut self, protocol: GroupProtocol, commit_as: &CommitAs) -> bool {
        let CommitAs::Committer(now) = commit_as else { return false };
        let made_by = &mut self.committer;
        let epochs = protocol == GroupProtocol::Consumer && made_by.is_member();
        if epochs && now.is_member() && made_by.member_id == now.member_id {
            made_by.generation_id = now.generation_id;
        }
        made_by == now
    }

    /// What it is to commit for a partition.
    fn offset(&self, partition: &TopicPartition) -> Option<&OffsetAndMetadata> {
        self.newer.get(partition).or_else(|| self.offsets.get(partition))
    }

    /// What was sent for a partition may be committed. If that is of a newer commit, nothing older may
    /// follow it.
    fn doubt(&mut self, partition: &TopicPartition, sent: &Commit) {
        self.in_doubt = true;
        if let Some(offset) =
            sent.topics.get(partition).filter(|sent| Some(*sent) != self.offset(partition))
        {
            self.newer.insert(partition.clone(), offset.clone());
        }
    }

    /// Takes the answer up; how the commit has ended, if it has.
    fn judge(
        &mut self,
        (sent, codes): (&Commit, &Codes),
        unchanged: bool,
        judging: &mut Judging<'_>,
    ) -> Option<Result<(), CommitError>> {
        self.sent = false;
        let (mut end, mut again, in_doubt) = (None, false, self.in_doubt);
        for partition in std::mem::take(&mut self.left) {
            // What the coordinator says nothing of may be committed or not.
            let code = codes.get(&partition).copied();
            let code = code.unwrap_or(ErrorCode::UNKNOWN_SERVER_ERROR);
            let maybe = maybe_committed(code);
            match of_commit(code) {
                Verdict::Done => self.in_part = true,
                Verdict::Again { refresh: true } if self.kind == CommitKind::Parting => {
                    judging.came.refresh = true;
                    self.refused_in_doubt |= in_doubt;
                    self.refused.push((partition, code));
                }
                Verdict::Refused => {
                    self.refused_in_doubt |= maybe || in_doubt;
                    self.refused.push((partition, code));
                }
                verdict => {
                    if maybe {
                        self.doubt(&partition, sent);
                    }
                    let subject = partition.to_string();
                    self.last = Some(broker_error(code, "OffsetCommit", &subject));
                    self.left.insert(partition);
                    match verdict {
                        Verdict::Wait => judging.came.busy = true,
                        Verdict::Find => judging.came.lost = true,
                        Verdict::Again { refresh } => {
                            again = true;
                            judging.came.refresh |= refresh;
                        }
                        Verdict::NewEpoch if self.has_epochs(judging) => again = true,
                        verdict => end = Some((verdict, code)),
                    }
                }
            }
        }
        if again {
            self.pace.fail(judging.config.backoff, judging.chance, judging.at);
        }
        match end {
            Some((verdict, code)) => Some(Err(self.ends(verdict, code, unchanged, judging))),
            None if !self.left.is_empty() => {
                self.revoked.then(|| Err(self.overtaken(judging.config)))
            }
            None if self.refused.is_empty() => Some(Ok(())),
            None => Some(Err(CommitError::Refused {
                failed: std::mem::take(&mut self.refused),
                maybe_committed: self.refused_in_doubt,
            })),
        }
    }

    fn has_epochs(&self, judging: &Judging<'_>) -> bool {
        self.committer.is_member() && judging.config.protocol == GroupProtocol::Consumer
    }

    /// The error that a verdict on the whole commit ends it with. `unchanged` says whether the consumer
    /// is still who the commit was sent as.
    fn ends(
        &self,
        verdict: Verdict,
        code: ErrorCode,
        unchanged: bool,
        judging: &mut Judging<'_>,
    ) -> CommitError {
        let group = judging.config.group_id.clone();
        let maybe_committed = self.maybe_committed();
        if verdict == Verdict::Unauthorized {
            return CommitError::Unauthorized { group, maybe_committed };
        }
        if unchanged && self.committer.is_member() {
            judging.came.refused = Some((code, self.committer.clone()));
            if verdict == Verdict::FencedInstance {
                let instance = self.committer.group_instance_id.clone().unwrap_or_default();
                return CommitError::FencedInstanceId { group, instance, maybe_committed };
            }
        }
        let rebalancing = !unchanged && *judging.commit_as == CommitAs::Rebalancing;
        if verdict == Verdict::Overtaken || rebalancing {
            CommitError::RebalanceInProgress { group, maybe_committed }
        } else {
            CommitError::Fenced { group, code: Some(code), maybe_committed }
        }
    }

    fn overtaken(&self, config: &OffsetsConfig) -> CommitError {
        let maybe_committed = self.maybe_committed();
        CommitError::RebalanceInProgress { group: config.group_id.clone(), maybe_committed }
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct Commits {
    queue: VecDeque<Pending>,
    flight: Option<Flight<Commit>>,
}

impl Commits {
    pub(super) fn queue(&mut self, pending: Pending) {
        self.queue.push_back(pending);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether there is something to be sent now. Then all goes: what waits for its own pause is taken
    /// along, so that order is kept.
    pub(super) fn is_due(&self, at: Instant) -> bool {
        self.flight.is_none() && self.queue.iter().any(|pending| pending.pace.is_over(at))
    }

    pub(super) fn next_deadline(&self, at: Instant) -> Option<Instant> {
        let pauses = self.queue.iter().filter_map(|pending| pending.pace.end(at));
        let pauses = pauses.filter(|_| self.flight.is_none());
        self.queue.iter().map(|pending| pending.deadline).chain(pauses).min()
    }

    /// Ends those for which there is an error.
    fn end_if(
        &mut self,
        actions: &mut Vec<Action>,
        mut error: impl FnMut(&mut Pending) -> Option<CommitError>,
    ) {
        self.queue.retain_mut(|pending| match error(pending) {
            None => true,
            Some(error) => {
                actions.push(pending.ended(Err(error)));
                false
            }
        });
    }

    /// Ends those whose time is over.
    pub(super) fn expire(&mut self, at: Instant, actions: &mut Vec<Action>) {
        self.end_if(actions, |pending| (pending.deadline <= at).then(|| pending.expired()));
    }

    /// Ends those that cannot be sent any more as who they were made by.
    pub(super) fn check(
        &mut self,
        config: &OffsetsConfig,
        commit_as: &CommitAs,
        actions: &mut Vec<Action>,
    ) {
        self.end_if(actions, |pending| {
            let goes = pending.sent || pending.goes_as(config.protocol, commit_as);
            (!goes).then(|| config.overtaken(commit_as, pending.maybe_committed()))
        });
    }

    /// Ends those that are not on the wire, since there will be no coordinator.
    pub(super) fn refuse(
        &mut self,
        config: &OffsetsConfig,
        code: ErrorCode,
        actions: &mut Vec<Action>,
    ) {
        self.end_if(actions, |pending| {
            let maybe_committed = pending.maybe_committed();
            let group = config.group_id.clone();
            let error = if code == ErrorCode::GROUP_AUTHORIZATION_FAILED {
                CommitError::Unauthorized { group, maybe_committed }
            } else {
                let cause = broker_error(code, "FindCoordinator", &group);
                CommitError::Failed { cause, maybe_committed }
            };
            (!pending.sent).then_some(error)
        });
    }

    /// Ends those with partitions that have been taken away; those on the wire when they are answered.
    pub(super) fn revoked(
        &mut self,
        config: &OffsetsConfig,
        partitions: &BTreeSet<TopicPartition>,
        actions: &mut Vec<Action>,
    ) {
        self.end_if(actions, |pending| {
            if pending.left.is_disjoint(partitions) {
                return None;
            }
            pending.revoked = true;
            (!pending.sent).then(|| pending.overtaken(config))
        });
    }

    pub(super) fn close(&mut self, actions: &mut Vec<Action>) {
        self.end_if(actions, |pending| {
            let maybe_committed = pending.maybe_committed() || pending.sent;
            Some(CommitError::Failed { cause: ClientError::Closed, maybe_committed })
        });
        self.flight = None;
    }

    /// Puts all that waits in one request. Each of it goes as who the consumer is now, which was
    /// checked.
    pub(super) fn send(
        &mut self,
        committer: &ConsumerGroupMetadata,
        (token, version, since): (u64, u64, Instant),
    ) -> Commit {
        let mut topics = Topics::default();
        for pending in &mut self.queue {
            pending.sent = true;
            for partition in &pending.left {
                // The newer one takes the place of the older.
                if let Some(offset) = pending.offset(partition) {
                    let id = pending.ids.get(&partition.topic).copied().unwrap_or(TopicId::ZERO);
                    topics.insert(partition, id, offset.clone());
                }
            }
        }
        let request = Commit { committer: committer.clone(), topics };
        self.flight = Some(Flight { token, version, since, request: request.clone() });
        request
    }

    /// Takes an answer, if it is the one that is waited for; whether it is.
    pub(super) fn handle(
        &mut self,
        token: u64,
        result: Result<OffsetCommitResponse, ClientError>,
        judging: &mut Judging<'_>,
        stats: &mut CommitStats,
    ) -> bool {
        let Some(flight) = self.flight.take_if(|flight| flight.token == token) else {
            return false;
        };
        judging.came.version = flight.version;
        match result {
            Ok(response) => {
                stats.record(judging.at.saturating_duration_since(flight.since));
                judging.came.heard = true;
                let unchanged = match judging.commit_as {
                    CommitAs::Committer(now) => *now == flight.request.committer,
                    CommitAs::Rebalancing | CommitAs::NoMember => false,
                };
                let codes = flight.request.codes(response);
                self.answered((&flight.request, &codes), unchanged, judging);
            }
            Err(error) => self.failed(&error, &flight.request, judging),
        }
        true
    }

    fn answered(&mut self, answer: (&Commit, &Codes), unchanged: bool, judging: &mut Judging<'_>) {
        let mut ended = Vec::new();
        self.queue.retain_mut(|pending| {
            let end = if pending.sent { pending.judge(answer, unchanged, judging) } else { None };
            let stays = end.is_none();
            ended.extend(end.map(|result| pending.ended(result)));
            stays
        });
        judging.actions.append(&mut ended);
    }

    /// There was no answer.
    fn failed(&mut self, error: &ClientError, sent: &Commit, judging: &mut Judging<'_>) {
        let again = error.is_retriable();
        judging.came.lost = again;
        let config = judging.config;
        self.end_if(judging.actions, |pending| {
            if !std::mem::take(&mut pending.sent) {
                return None;
            }
            if error.maybe_written() {
                for partition in pending.left.clone() {
                    pending.doubt(&partition, sent);
                }
            }
            pending.last = Some(error.clone());
            let maybe_committed = pending.maybe_committed();
            if !again {
                return Some(CommitError::Failed { cause: error.clone(), maybe_committed });
            }
            pending.revoked.then(|| pending.overtaken(config))
        });
    }
}

impl fmt::Debug for Commits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sent = self.queue.iter().filter(|pending| pending.sent).count();
        write!(f, "{} commits, {sent} of them on the wire", self.queue.len())
    }
}
