//! What a consumer has besides what it fetches: its member of the group, the group's offsets, and the
//! topics that both have to know of. They are one under one lock, since each needs to know what the
//! others know; what each of them decides is its own business.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::sync::oneshot;

use super::coordination::{Answered, Asking};
use super::group::{self, Group, GroupStats};
use super::offsets::{
    self, AutoCommit, CommitId, CommitKind, CommitStats, Committed, Ended, LookupId, OffsetMap,
    Offsets, View,
};
use super::watch::Watch;
use crate::client::ClusterSnapshot;
use crate::error::{ClientError, CommitError, ErrorCode, GroupError};
use crate::time::{Duration, Instant, deadline};
use crate::types::TopicPartition;

/// What the driver is to do, without the lock.
pub(super) enum Todo {
    /// Send it, and tell by [`Membership::handle`].
    Ask(Asking),
    /// Keep these topics' metadata fresh.
    Track(BTreeSet<String>),
    RefreshMetadata,
    /// Tell the fetcher.
    Committed {
        token: u64,
        result: Result<Committed, ClientError>,
    },
    /// Tell the interceptors.
    Intercept(Arc<OffsetMap>),
    /// Call it: it is the user's.
    Call(CommitCallback, Result<Arc<OffsetMap>, CommitError>),
}

/// Whom the user wants told of a commit.
pub(super) type CommitCallback = Box<dyn FnOnce(Result<Arc<OffsetMap>, CommitError>) + Send>;

/// What waits for a commit.
pub(super) enum Committer {
    /// A call of the user.
    Call(oneshot::Sender<Result<(), CommitError>>),
    /// A callback of the user.
    Callback(CommitCallback),
    /// A poll that gives up partitions, or the close.
    Parting(oneshot::Sender<Result<(), CommitError>>),
    /// The timer of auto-commit.
    Nobody,
    /// Nobody, and not the timer either.
    Later,
}

/// What waits for a look-up.
enum Asker {
    Call(oneshot::Sender<Result<Committed, ClientError>>),
    /// The fetcher, with its token.
    Fetcher(u64),
}

/// See the module.
pub(super) struct Membership {
    pub(super) group: Group,
    pub(super) watch: Watch,
    /// Whether the brokers evaluate patterns.
    pub(super) by_broker: bool,
    offsets: Offsets,
    auto_commit: Option<AutoCommit>,
    /// What was committed by itself last.
    auto_committed: OffsetMap,
    committers: BTreeMap<CommitId, Committer>,
    askers: BTreeMap<LookupId, Asker>,
    /// Whether the consumer's task is gone, so that nothing is sent any more.
    closed: bool,
    /// How long a call may take that is given no time-out (`default.api.timeout.ms`).
    pub(super) api_timeout: Duration,
}

impl Membership {
    pub(super) fn new(
        group: Group,
        offsets: Offsets,
        auto_commit: Option<AutoCommit>,
        watch: Watch,
        (by_broker, api_timeout): (bool, Duration),
    ) -> Self {
        Self {
            group,
            watch,
            by_broker,
            offsets,
            auto_commit,
            auto_committed: OffsetMap::new(),
            committers: BTreeMap::new(),
            askers: BTreeMap::new(),
            closed: false,
            api_timeout,
        }
    }

    /// Commits offsets, or says why that cannot be; then `committer` is told nothing.
    pub(super) fn commit(
        &mut self,
        offsets: OffsetMap,
        committer: Committer,
        snapshot: &ClusterSnapshot,
        (at, until): (Instant, Instant),
    ) -> Result<(), (CommitError, Committer)> {
        if self.closed {
            let error = CommitError::Failed { cause: ClientError::Closed, maybe_committed: false };
            return Err((error, committer));
        }
        let kind = match &committer {
            Committer::Call(_) => CommitKind::Sync,
            Committer::Callback(_) => CommitKind::Async,
            Committer::Parting(_) | Committer::Later => CommitKind::Parting,
            Committer::Nobody => CommitKind::Auto,
        };
        let commit_as = self.group.commit_as();
        let ids = |topic: &str| Some(snapshot.topic(topic)?.id);
        match self.offsets.commit(offsets, kind, &commit_as, ids, (at, until)) {
            Ok(id) => {
                self.committers.insert(id, committer);
                Ok(())
            }
            Err(error) => Err((error, committer)),
        }
    }

    /// Commits these if it is time for that (`auto.commit.interval.ms`); whether it was.
    pub(super) fn auto_commit(
        &mut self,
        offsets: impl FnOnce() -> OffsetMap,
        snapshot: &ClusterSnapshot,
        at: Instant,
    ) -> bool {
        if !self.auto_commit.as_mut().is_some_and(|auto| auto.begins(at)) {
            return false;
        }
        let offsets = offsets();
        if offsets == self.auto_committed {
            // Nothing has been handed out since.
            self.auto_commit_ended(false, at);
            return false;
        }
        self.auto_committed.clone_from(&offsets);
        let until = deadline(at, self.api_timeout);
        let result = self.commit(offsets, Committer::Nobody, snapshot, (at, until));
        if let Err((error, _)) = result {
            self.auto_committed.clear();
            tracing::debug!(%error, "auto-commit is put off");
            self.auto_commit_ended(true, at);
        }
        true
    }

    /// Whether positions are committed without being asked for.
    pub(super) fn commits_by_itself(&self) -> bool {
        self.auto_commit.is_some()
    }

    /// Everything has been committed.
    pub(super) fn restart_auto_commit(&mut self, at: Instant) {
        if let Some(auto) = &mut self.auto_commit {
            auto.restart(at);
        }
    }

    /// When a poll that waits should look whether to commit.
    pub(super) fn auto_commit_deadline(&self) -> Option<Instant> {
        self.auto_commit.as_ref()?.deadline()
    }

    fn auto_commit_ended(&mut self, again: bool, at: Instant) {
        if let Some(auto) = &mut self.auto_commit {
            auto.ended(again, at);
        }
    }

    /// Looks up what is committed.
    pub(super) fn lookup(
        &mut self,
        partitions: BTreeSet<TopicPartition>,
        asker: oneshot::Sender<Result<Committed, ClientError>>,
        snapshot: &ClusterSnapshot,
        until: Instant,
    ) {
        self.ask(partitions, Asker::Call(asker), snapshot, until);
    }

    /// The same for the fetcher.
    pub(super) fn lookup_for_fetcher(
        &mut self,
        token: u64,
        partitions: BTreeSet<TopicPartition>,
        snapshot: &ClusterSnapshot,
        until: Instant,
    ) {
        self.ask(partitions, Asker::Fetcher(token), snapshot, until);
    }

    fn ask(
        &mut self,
        partitions: BTreeSet<TopicPartition>,
        asker: Asker,
        snapshot: &ClusterSnapshot,
        until: Instant,
    ) {
        if self.closed {
            // Who asked is told by that.
            return drop(asker);
        }
        let ids = |topic: &str| Some(snapshot.topic(topic)?.id);
        let id = self.offsets.lookup(partitions, ids, until);
        self.askers.insert(id, asker);
    }

    /// These are not the consumer's any more.
    pub(super) fn revoked(&mut self, partitions: &[TopicPartition]) {
        self.offsets.revoked(&partitions.iter().cloned().collect());
        self.auto_committed.retain(|partition, _| !partitions.contains(partition));
    }

    /// Metadata has changed.
    pub(super) fn handle_metadata(&mut self, snapshot: &ClusterSnapshot, now: Instant) {
        if let Some(matching) = self.watch.matching(snapshot) {
            self.group.handle_matching(matching);
        }
        self.group.handle_topics(Arc::new(self.watch.view(snapshot, now)));
    }

    /// Takes up what came of a request.
    pub(super) fn handle(&mut self, answered: Answered, now: Instant) {
        match answered {
            Answered::Member(token, result) => self.group.handle_response(token, result, now),
            Answered::Commit(token, result) => {
                let view = self.view();
                self.offsets.handle_commit(token, result, &view, now);
            }
            Answered::Fetch(token, result) => {
                let view = self.view();
                self.offsets.handle_fetch(token, result, &view, now);
            }
            Answered::Resolved(Ok(names)) => self.watch.by_id.extend(names),
            Answered::Resolved(Err(error)) => {
                tracing::warn!(%error, "cannot find out the names of assigned topics");
            }
        }
    }

    /// What is to be done now.
    pub(super) fn poll(&mut self, snapshot: &ClusterSnapshot, now: Instant) -> Vec<Todo> {
        let mut todo = Vec::new();
        let view = self.view();
        for action in self.offsets.poll(&view, now) {
            if let offsets::Action::Ended(Ended { offsets, result: Ok(()), .. }) = &action {
                todo.push(Todo::Intercept(offsets.clone()));
            }
            todo.extend(self.of_offsets(action, now));
        }
        let mut actions = self.group.poll(now);
        if actions.iter().any(|action| matches!(action, group::Action::Track(_))) {
            // What it waits for may be known already.
            for action in &actions {
                if let group::Action::Track(topics) = action {
                    self.watch.of_group.clone_from(topics);
                }
            }
            self.group.handle_topics(Arc::new(self.watch.view(snapshot, now)));
            actions.extend(self.group.poll(now));
        }
        for action in actions {
            todo.push(match action {
                group::Action::Send { token, to, request, timeout } => {
                    Todo::Ask(Asking::Member { token, to, request, timeout })
                }
                group::Action::Track(topics) => Todo::Track(topics),
                group::Action::Resolve(ids) => Todo::Ask(Asking::Resolve(ids)),
            });
        }
        todo
    }

    fn of_offsets(&mut self, action: offsets::Action, now: Instant) -> Option<Todo> {
        match action {
            offsets::Action::Send { token, to, request } => {
                return Some(Todo::Ask(Asking::Offsets { token, to, request }));
            }
            offsets::Action::FindCoordinator => {
                self.group.coordinator().want();
            }
            offsets::Action::CoordinatorLost { version } => {
                self.group.coordinator().lost(version, now);
            }
            offsets::Action::CoordinatorHeard { version } => {
                self.group.coordinator().heard(version);
            }
            offsets::Action::MemberRefused { code, committer } => {
                self.group.commit_refused(code, &committer, now);
            }
            offsets::Action::RefreshMetadata => return Some(Todo::RefreshMetadata),
            offsets::Action::Ended(ended) => return self.ended(ended, now),
            offsets::Action::Found { id, result } => match self.askers.remove(&id) {
                // Who asked may be gone.
                Some(Asker::Call(asker)) => drop(asker.send(result)),
                Some(Asker::Fetcher(token)) => return Some(Todo::Committed { token, result }),
                None => {}
            },
        }
        None
    }

    fn ended(&mut self, ended: Ended, now: Instant) -> Option<Todo> {
        let Ended { id, kind, offsets, result } = ended;
        if kind == CommitKind::Auto {
            if let Err(error) = &result {
                tracing::warn!(%error, "auto-commit failed");
            }
            if result.is_err() {
                self.auto_committed.clear();
            }
            let again = result.as_ref().is_err_and(CommitError::is_retriable);
            self.auto_commit_ended(again, now);
        }
        match self.committers.remove(&id)? {
            // Who asked may be gone.
            Committer::Call(call) | Committer::Parting(call) => drop(call.send(result)),
            Committer::Callback(callback) => {
                return Some(Todo::Call(callback, result.map(|()| offsets)));
            }
            Committer::Nobody | Committer::Later => {}
        }
        None
    }

    /// What has been counted since the last time.
    pub(super) fn take_stats(&mut self) -> (GroupStats, CommitStats) {
        (self.group.stats().take(), self.offsets.take_stats())
    }

    /// When to poll again, if nothing happens before.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let deadlines = [self.offsets.next_deadline(), self.group.next_deadline()];
        deadlines.into_iter().flatten().min()
    }

    /// Ends what waits, since the consumer is closed.
    pub(super) fn close(&mut self, now: Instant) -> Vec<Todo> {
        self.closed = true;
        let actions = self.offsets.close();
        actions.into_iter().filter_map(|action| self.of_offsets(action, now)).collect()
    }

    fn view(&mut self) -> View {
        let commit_as = self.group.commit_as();
        let coordinator = self.group.coordinator();
        let refused = coordinator.refusal().map(refusal);
        View { coordinator: coordinator.known(), refused, commit_as }
    }
}

/// What the brokers answered instead of naming a coordinator.
fn refusal(error: &GroupError) -> ErrorCode {
    match error {
        GroupError::Unauthorized { .. } => ErrorCode::GROUP_AUTHORIZATION_FAILED,
        GroupError::InvalidGroupId { .. } => ErrorCode::INVALID_GROUP_ID,
        _ => ErrorCode::UNKNOWN_SERVER_ERROR,
    }
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}; {:?}", self.group, self.offsets)
    }
}

/// Calls a user's callback, which may panic.
pub(super) fn call(callback: CommitCallback, result: Result<Arc<OffsetMap>, CommitError>) {
    if catch_unwind(AssertUnwindSafe(|| callback(result))).is_err() {
        tracing::error!("the callback of a commit panicked");
    }
}
