//! The offsets of a group: commits, and look-ups of what is committed. A state machine without I/O and
//! clock: `commit`, `lookup` and `handle_*` take what happened, [`Offsets::poll`] gives what to do,
//! [`Offsets::next_deadline`] when to ask again. Who the member is and where the coordinator is are
//! handed in as a [`View`]; when to commit is the consumer's business.
//!
//! ```text
//!   commit ──► queue, in order ──poll: all of it, the newest offset of each partition──► on the wire
//!                ▲   │                                                                      │
//!                │   └─ deadline, rebalance, revoked ──► Ended                              │
//!                └───────────── retriable ─────────────── handle ◄─────── answer ───────────┘
//!                                                           └─ committed, refused, fenced ──► Ended
//! ```
//!
//! - One commit is on the wire at a time, and a request takes all that waits, the newer offset of a
//!   partition in place of the older. So no older offset ever follows a newer one, and however many
//!   commits wait, they are one request. What is tried again goes through the same queue.
//! - A commit belongs to the member that made it. If a rebalance takes its partitions away, or the
//!   group comes to another generation, it ends with an error and is not sent as another. With
//!   `group.protocol=consumer` epochs change while a member keeps its partitions, so there it is sent
//!   with the epoch of the time.
//! - A commit ends exactly once, at its deadline at the latest. Its error says whether the offsets may
//!   be committed all the same: they may if any of its requests was not answered, or was answered by
//!   [a code that leaves it open](classify).
//! - Look-ups wait for open transactions that commit offsets (KIP-447).

mod auto_commit;
mod classify;
mod commits;
mod lookups;
mod pace;
mod request;
mod stats;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::group::{CommitAs, Located};
use crate::config::GroupProtocol;
use crate::error::{ClientError, CommitError, ErrorCode};
use crate::protocol::messages::offset_commit::OffsetCommitResponse;
use crate::protocol::messages::offset_fetch::OffsetFetchResponse;
use crate::time::{Backoff, Instant};
use crate::types::{BrokerId, ConsumerGroupMetadata, OffsetAndMetadata, TopicId, TopicPartition};
use commits::Commits;
use lookups::Lookups;
use pace::Pace;

pub(crate) use auto_commit::AutoCommit;
pub(crate) use request::OffsetsRequest;
#[cfg(test)]
use request::{Commit, Fetch};
pub(crate) use stats::CommitStats;

/// Offsets to be committed, or that are committed.
pub(crate) type OffsetMap = BTreeMap<TopicPartition, OffsetAndMetadata>;

/// What a look-up finds: `None` where nothing is committed.
pub(crate) type Committed = BTreeMap<TopicPartition, Option<OffsetAndMetadata>>;

/// The rules that the machine goes by, from the configuration.
#[derive(Debug, Clone)]
pub(crate) struct OffsetsConfig {
    pub(crate) group_id: String,
    pub(crate) protocol: GroupProtocol,
    /// `retry.backoff.ms` and `retry.backoff.max.ms`.
    pub(crate) backoff: Backoff,
}

/// What the machine has to know of its group.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) coordinator: Option<Located>,
    /// Why there is none, if the brokers refuse to name one.
    pub(crate) refused: Option<ErrorCode>,
    pub(crate) commit_as: CommitAs,
}

/// Who waits for a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CommitId(pub(crate) u64);

/// Who waits for a look-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LookupId(pub(crate) u64);

/// How a commit came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommitKind {
    /// The user waits for it.
    Sync,
    /// The user does not wait, and may have a callback.
    Async,
    /// `enable.auto.commit`.
    Auto,
    /// The same before partitions are given up, for which others wait: a topic that the coordinator
    /// does not know may have been deleted, and is not waited for (KAFKA-13310).
    Parting,
}

/// What the driver is to do.
#[derive(Debug)]
pub(crate) enum Action {
    /// Send it to the coordinator and tell by `handle_commit` or `handle_fetch`.
    Send { token: u64, to: BrokerId, request: OffsetsRequest },
    /// Look for the coordinator: there is something to be sent.
    FindCoordinator,
    /// The coordinator of this version is not to be reached, or is none any more.
    CoordinatorLost { version: u64 },
    /// The coordinator of this version has answered as one.
    CoordinatorHeard { version: u64 },
    /// The coordinator answered this to the member, which still is who it was then.
    MemberRefused { code: ErrorCode, committer: ConsumerGroupMetadata },
    /// Fetch metadata anew: the coordinator does not know a topic.
    RefreshMetadata,
    /// A commit has ended.
    Ended(Ended),
    /// A look-up has ended.
    Found { id: LookupId, result: Result<Committed, ClientError> },
}

/// A commit that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) id: CommitId,
    pub(crate) kind: CommitKind,
    /// What was to be committed.
    pub(crate) offsets: Arc<OffsetMap>,
    pub(crate) result: Result<(), CommitError>,
}

/// A request under way.
#[derive(Debug)]
struct Flight<R> {
    token: u64,
    /// Of the coordinator that it went to.
    version: u64,
    since: Instant,
    request: R,
}

/// See the module.
pub(crate) struct Offsets {
    config: OffsetsConfig,
    commits: Commits,
    lookups: Lookups,
    /// Of the coordinator as a whole.
    pace: Pace,
    stats: CommitStats,
    last_id: u64,
    last_token: u64,
    /// What has come up between polls.
    actions: Vec<Action>,
    /// Of the last poll.
    polled: Option<Instant>,
    random: fastrand::Rng,
}

impl Offsets {
    /// `seed` decides the jitter of back-offs.
    pub(crate) fn new(config: OffsetsConfig, seed: u64) -> Self {
        Self {
            config,
            commits: Commits::default(),
            lookups: Lookups::default(),
            pace: Pace::default(),
            stats: CommitStats::default(),
            last_id: 0,
            last_token: 0,
            actions: Vec::new(),
            polled: None,
            random: fastrand::Rng::with_seed(seed),
        }
    }

    /// Commits offsets, as who the consumer is now. It ends by [`Action::Ended`], at `deadline` at
    /// the latest. `ids` says what is known of the ids of topics; it is of the topic as it is now, and
    /// not of one that is made anew under its name, that the offsets are.
    ///
    /// Fails at once, with nothing to come, if an offset is negative or there is nobody to commit as.
    pub(crate) fn commit(
        &mut self,
        offsets: OffsetMap,
        kind: CommitKind,
        commit_as: &CommitAs,
        ids: impl Fn(&str) -> Option<TopicId>,
        (at, deadline): (Instant, Instant),
    ) -> Result<CommitId, CommitError> {
        if let Some((partition, bad)) = offsets.iter().find(|(_, offset)| offset.offset < 0) {
            return Err(CommitError::InvalidOffset {
                partition: partition.clone(),
                offset: bad.offset,
            });
        }
        let id = CommitId(self.last_id + 1);
        let offsets = Arc::new(offsets);
        if offsets.is_empty() {
            // Whoever commits it.
            self.actions.push(Action::Ended(Ended { id, kind, offsets, result: Ok(()) }));
        } else {
            let CommitAs::Committer(committer) = commit_as else {
                return Err(self.config.overtaken(commit_as, false));
            };
            let ids = topic_ids(offsets.keys(), ids);
            self.commits.queue(commits::Pending::new(
                (id, kind),
                offsets,
                ids,
                committer.clone(),
                (at, deadline),
            ));
        }
        self.last_id = id.0;
        Ok(id)
    }

    /// Looks up what is committed for partitions. It ends by [`Action::Found`], at `deadline` at the
    /// latest. `ids` says what is known of the ids of topics.
    pub(crate) fn lookup(
        &mut self,
        partitions: BTreeSet<TopicPartition>,
        ids: impl Fn(&str) -> Option<TopicId>,
        deadline: Instant,
    ) -> LookupId {
        self.last_id += 1;
        let id = LookupId(self.last_id);
        let ids = topic_ids(partitions.iter(), ids);
        self.lookups.queue(lookups::Pending::new(id, partitions, ids, deadline));
        id
    }

    /// These partitions have been taken away from the consumer, which has committed what it wanted
    /// to: what is still to be committed of them would take back what their next owner commits.
    pub(crate) fn revoked(&mut self, partitions: &BTreeSet<TopicPartition>) {
        self.commits.revoked(&self.config, partitions, &mut self.actions);
    }

    /// Whether commits have not ended yet.
    #[cfg(test)]
    pub(crate) fn is_committing(&self) -> bool {
        !self.commits.is_empty()
    }

    /// Ends everything, since the consumer is closed.
    pub(crate) fn close(&mut self) -> Vec<Action> {
        self.commits.close(&mut self.actions);
        self.lookups.close(&mut self.actions);
        std::mem::take(&mut self.actions)
    }

    /// What was counted since the last time.
    pub(crate) fn take_stats(&mut self) -> CommitStats {
        self.stats.take()
    }

    /// What is to be done now.
    pub(crate) fn poll(&mut self, view: &View, at: Instant) -> Vec<Action> {
        self.polled = Some(at);
        self.commits.expire(at, &mut self.actions);
        self.commits.check(&self.config, &view.commit_as, &mut self.actions);
        self.lookups.expire(&self.config, at, &mut self.actions);
        if let Some(code) = view.refused {
            self.commits.refuse(&self.config, code, &mut self.actions);
            self.lookups.refuse(&self.config, code, &mut self.actions);
        }
        if self.pace.is_over(at) && (self.commits.is_due(at) || self.lookups.is_due(at)) {
            match view.coordinator {
                Some(coordinator) => self.send(coordinator, &view.commit_as, at),
                None => self.actions.push(Action::FindCoordinator),
            }
        }
        std::mem::take(&mut self.actions)
    }

    fn send(&mut self, coordinator: Located, commit_as: &CommitAs, at: Instant) {
        let Located { broker: to, version } = coordinator;
        // Nothing is left in the queue that cannot be committed as who the consumer is.
        let committer = match commit_as {
            CommitAs::Committer(committer) => Some(committer).filter(|_| self.commits.is_due(at)),
            CommitAs::Rebalancing | CommitAs::NoMember => None,
        };
        if let Some(committer) = committer {
            self.last_token += 1;
            let token = self.last_token;
            let request = self.commits.send(committer, (token, version, at));
            let request = OffsetsRequest::Commit(request);
            self.actions.push(Action::Send { token, to, request });
        }
        if self.lookups.is_due(at) {
            self.last_token += 1;
            let token = self.last_token;
            let request = self.lookups.send(&self.config, commit_as, (token, version, at));
            let request = OffsetsRequest::Fetch(request);
            self.actions.push(Action::Send { token, to, request });
        }
    }

    /// When [`Offsets::poll`] has something to do although nothing happens.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let at = self.polled?;
        let pause =
            self.pace.end(at).filter(|_| !self.commits.is_empty() || !self.lookups.is_empty());
        let deadlines = [pause, self.commits.next_deadline(at), self.lookups.next_deadline(at)];
        deadlines.into_iter().flatten().min()
    }

    /// What came of a commit.
    pub(crate) fn handle_commit(
        &mut self,
        token: u64,
        result: Result<OffsetCommitResponse, ClientError>,
        view: &View,
        at: Instant,
    ) {
        let Self { config, commits, stats, actions, random, .. } = self;
        let mut judging = Judging::new(config, view, (at, random.f64()), actions);
        if commits.handle(token, result, &mut judging, stats) {
            let Judging { came, chance, .. } = judging;
            self.take_up(came, chance, at);
        }
    }

    /// What came of a look-up.
    pub(crate) fn handle_fetch(
        &mut self,
        token: u64,
        result: Result<OffsetFetchResponse, ClientError>,
        view: &View,
        at: Instant,
    ) {
        let Self { config, lookups, actions, random, .. } = self;
        let mut judging = Judging::new(config, view, (at, random.f64()), actions);
        if lookups.handle(token, result, &mut judging) {
            let Judging { came, chance, .. } = judging;
            self.take_up(came, chance, at);
        }
    }

    /// Does what answers call for beyond those who wait for them.
    fn take_up(&mut self, came: Came, chance: f64, at: Instant) {
        let Came { version, .. } = came;
        if came.busy || came.lost {
            self.pace.fail(self.config.backoff, chance, at);
        } else if came.heard {
            self.pace.reset();
        }
        if came.lost {
            self.actions.push(Action::CoordinatorLost { version });
        } else if came.heard {
            self.actions.push(Action::CoordinatorHeard { version });
        }
        if came.refresh {
            self.actions.push(Action::RefreshMetadata);
        }
        if let Some((code, committer)) = came.refused {
            self.actions.push(Action::MemberRefused { code, committer });
        }
    }
}

impl OffsetsConfig {
    /// Why nothing can be committed as this, or any more as who the commit was made by.
    fn overtaken(&self, commit_as: &CommitAs, maybe_committed: bool) -> CommitError {
        let group = self.group_id.clone();
        match commit_as {
            CommitAs::Rebalancing => CommitError::RebalanceInProgress { group, maybe_committed },
            _ => CommitError::Fenced { group, code: None, maybe_committed },
        }
    }
}

/// What an answer is judged by, and what it calls for.
struct Judging<'a> {
    config: &'a OffsetsConfig,
    commit_as: &'a CommitAs,
    at: Instant,
    /// The jitter of the back-offs that come of it.
    chance: f64,
    actions: &'a mut Vec<Action>,
    came: Came,
}

impl<'a> Judging<'a> {
    fn new(
        config: &'a OffsetsConfig,
        view: &'a View,
        (at, chance): (Instant, f64),
        actions: &'a mut Vec<Action>,
    ) -> Self {
        Self { config, commit_as: &view.commit_as, at, chance, actions, came: Came::default() }
    }
}

/// What an answer says beyond those who wait for it.
#[derive(Debug, Default)]
struct Came {
    /// Of the coordinator that was asked.
    version: u64,
    /// It answered.
    heard: bool,
    /// It is to be left alone for a while.
    busy: bool,
    /// It is not the coordinator, or was not reached.
    lost: bool,
    /// It does not know a topic.
    refresh: bool,
    /// It does not take the member for what it is.
    refused: Option<(ErrorCode, ConsumerGroupMetadata)>,
}

/// The ids that are known of the topics of partitions.
fn topic_ids<'a>(
    partitions: impl Iterator<Item = &'a TopicPartition>,
    ids: impl Fn(&str) -> Option<TopicId>,
) -> BTreeMap<String, TopicId> {
    let mut known = BTreeMap::new();
    for partition in partitions {
        if !known.contains_key(&partition.topic) {
            let id = ids(&partition.topic).unwrap_or(TopicId::ZERO);
            known.insert(partition.topic.clone(), id);
        }
    }
    known
}

/// An error of the coordinator's.
fn broker_error(code: ErrorCode, api: &'static str, subject: &str) -> ClientError {
    ClientError::Broker { code, api, subject: Some(subject.into()), message: None }
}

/// One line.
impl fmt::Debug for Offsets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { config, commits, lookups, pace, .. } = self;
        write!(f, "offsets of {:?}: {commits:?}, {lookups:?}, {pace:?}", config.group_id)
    }
}
