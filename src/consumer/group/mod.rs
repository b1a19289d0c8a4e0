//! Consumer groups: who is in, and who reads what.
//!
//! A [`Group`] is a consumer's membership, a state machine without I/O and clock, in one of the two
//! protocols, with where its coordinator is.
//!
//! ```text
//!   user ── subscribe, poll_begins/ends, leave ──► ┌───────┐ ── poll ──► Action::Send ──► driver
//!   user ◄── take_event ── Revoked, Lost,          │ Group │
//!            Assigned, Failed ── event_done ─────► └───────┘ ◄── handle_response, handle_topics
//! ```
//!
//! | module | what it decides |
//! |---|---|
//! | [`assign`] | which member of a classic group gets which partitions |
//! | `classic` | the classic protocol: JoinGroup, SyncGroup, Heartbeat, LeaveGroup |
//! | `coordinator` | who wants to know where the group's coordinator is, and whose news of it count |
//! | `modern` | the protocol of `group.protocol=consumer` (KIP-848) |
//! | `ownership` | what the user is told, and in which order |
//! | `polls` | whether the user polls often enough |
//! | `request` | nothing: requests and answers |
//! | `shared` | what both protocols have in common |
//! | `stats` | nothing: counts |
//! | `topics` | nothing: what is known of topics |
//!
//! Rules that hold in both protocols:
//! - A request counts only while its token is the one that is waited for. When the coordinator is lost,
//!   whoever notices it, all that is under way to it is given up; late answers are dropped.
//! - The group is joined when the user polls, not before. While an event is with the user the
//!   membership is kept alive, but nothing that depends on the user's being done is sent.
//! - If the user does not poll for `max.poll.interval.ms` the member leaves; what it owned is lost, and
//!   the next poll joins anew.
//! - Every retry has a back-off that grows with failures in a row; only the first one after a success
//!   may come at once.

pub mod assign;
mod classic;
mod coordinator;
mod modern;
mod ownership;
mod polls;
mod request;
mod shared;
mod stats;
mod topics;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use crate::error::{ClientError, ErrorCode, GroupError};
use crate::time::{Backoff, Duration, Instant};
use crate::types::ConsumerGroupMetadata;
#[cfg(test)]
use crate::types::TopicPartition;
use assign::Assignor;
use classic::Classic;
use modern::Modern;
use ownership::Told;
use shared::{Interest, Machine, Shared, Standing};

pub(crate) use coordinator::{GroupCoordinator, Located};
pub(crate) use ownership::MemberEvent;
pub(crate) use request::{Action, Destination, GroupRequest, GroupResponse};
pub use shared::LeaveMode;
pub(crate) use stats::{GroupStats, Timing};
pub(crate) use topics::{TopicView, TopicsView};

/// The rules that a member goes by, from the configuration.
#[derive(Debug, Clone)]
pub(crate) struct GroupConfig {
    /// `group.id`.
    pub(crate) group_id: String,
    /// `group.instance.id`.
    pub(crate) instance_id: Option<String>,
    /// `client.rack`.
    pub(crate) rack: Option<String>,
    pub(crate) protocol: MemberProtocol,
    /// `max.poll.interval.ms`.
    pub(crate) max_poll_interval: Duration,
    /// `request.timeout.ms`.
    pub(crate) request_timeout: Duration,
    /// `retry.backoff.ms` and `retry.backoff.max.ms`.
    pub(crate) backoff: Backoff,
}

/// `group.protocol`, and what goes with either.
#[derive(Debug, Clone)]
pub(crate) enum MemberProtocol {
    /// `classic`.
    Classic {
        /// `partition.assignment.strategy`.
        assignors: Vec<Arc<dyn Assignor>>,
        /// `session.timeout.ms`.
        session_timeout: Duration,
        /// `heartbeat.interval.ms`.
        heartbeat_interval: Duration,
    },
    /// `consumer`.
    Consumer {
        /// `group.remote.assignor`.
        remote_assignor: Option<String>,
    },
}

/// What a user subscribes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GroupSubscription {
    /// Topics by name; they need not exist.
    Topics(BTreeSet<String>),
    /// The topics that match a pattern, which somebody else evaluates: [`Group::handle_matching`].
    Pattern,
    /// The topics that match a regular expression of RE2, which the broker evaluates.
    BrokerRegex(String),
}

/// How offsets are to be committed at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CommitAs {
    /// As this member, or as nobody if the group is only used to store offsets.
    Committer(ConsumerGroupMetadata),
    /// Not now: the member is between two generations. What it owns may change.
    Rebalancing,
    /// Not at all: the consumer subscribed, but is no member (any more).
    NoMember,
}

/// See the module.
pub(crate) struct Group {
    shared: Shared,
    member: Box<dyn Machine>,
    /// Who the member was when it was last given partitions.
    assigned_as: Option<ConsumerGroupMetadata>,
}

impl Group {
    /// `seed` decides the jitter of back-offs, and the ids that members make for themselves.
    ///
    /// Fails with [`GroupError::IncompatibleAssignors`].
    pub(crate) fn new(config: GroupConfig, seed: u64) -> Result<Self, GroupError> {
        let mut random = fastrand::Rng::with_seed(seed);
        let member: Box<dyn Machine> = match &config.protocol {
            MemberProtocol::Classic { assignors, session_timeout, heartbeat_interval } => {
                Box::new(Classic::new(assignors.clone(), *session_timeout, *heartbeat_interval)?)
            }
            MemberProtocol::Consumer { remote_assignor } => {
                Box::new(Modern::new(remote_assignor.clone(), &mut random))
            }
        };
        let shared = Shared::new(config, random);
        Ok(Self { shared, member, assigned_as: None })
    }

    /// The user subscribes, in place of what it subscribed to before. The group is joined at the next
    /// poll, or joined again if this changes anything.
    pub(crate) fn subscribe(&mut self, subscription: GroupSubscription, now: Instant) {
        self.shared.subscribe(subscription);
        self.member.subscribed(&mut self.shared, now);
    }

    /// The topics that match the pattern that was subscribed to, as of the newest metadata. Without one
    /// it changes nothing.
    pub(crate) fn handle_matching(&mut self, topics: BTreeSet<String>) {
        if let Interest::Topics { names, by_pattern: true } = &mut self.shared.interest {
            *names = Some(topics);
        }
    }

    /// The user subscribes to nothing: the partitions are revoked, then the group is left.
    pub(crate) fn unsubscribe(&mut self, now: Instant) {
        self.shared.interest = Interest::Nothing;
        self.shared.standing = Standing::Good;
        self.shared.ownership.forget_failure();
        let reason = "the consumer unsubscribed from all topics";
        self.member.leave(&mut self.shared, LeaveMode::Default, reason, now);
    }

    /// The consumer is closed: the partitions are revoked, then the group is left, if the coordinator
    /// is known; see [`Group::is_out`].
    pub(crate) fn leave(&mut self, mode: LeaveMode, reason: &str, now: Instant) {
        self.shared.interest = Interest::Nothing;
        self.member.leave(&mut self.shared, mode, reason, now);
    }

    /// Whether there is nothing of a membership left: no partition owned, no event to tell, no request
    /// that leaves the group under way.
    pub(crate) fn is_out(&self) -> bool {
        self.shared.ownership.owned().is_empty()
            && self.shared.ownership.is_settled()
            && self.member.is_out()
    }

    /// A poll begins. Says whether there is something to be done now.
    pub(crate) fn poll_begins(&mut self, now: Instant) -> bool {
        let wanted_in = self.shared.wants_in();
        self.shared.poll_begins(now);
        !wanted_in && self.shared.wants_in()
    }

    /// A poll has ended, or was dropped. From now on `max.poll.interval.ms` runs.
    pub(crate) fn poll_ends(&mut self, now: Instant) {
        self.shared.polls.ends(now);
    }

    /// What the user is to be told next; nothing as long as it is busy with what it was told before.
    pub(crate) fn take_event(&mut self, now: Instant) -> Option<MemberEvent> {
        let event = self.shared.ownership.take(now);
        if event.is_some() {
            self.shared.polls.goes_on(now);
        }
        if let Some(MemberEvent::Assigned { .. }) = event {
            self.assigned_as = Some(self.identity()).filter(ConsumerGroupMetadata::is_member);
        }
        event
    }

    /// The user's listener is done with the event that was taken last (any but
    /// [`MemberEvent::Failed`], after which this changes nothing).
    pub(crate) fn event_done(&mut self, now: Instant) {
        let Some((told, took)) = self.shared.ownership.done(now) else { return };
        self.shared.polls.goes_on(now);
        let stats = &mut self.shared.stats;
        match told {
            Told::Assigned => stats.assigned.record(took),
            Told::Revoked => stats.revoked.record(took),
            Told::Lost => stats.lost.record(took),
        }
    }

    /// What metadata knows of the topics that are subscribed to, or that an [`Action`] asked for.
    pub(crate) fn handle_topics(&mut self, topics: Arc<TopicsView>) {
        self.shared.topics = topics;
    }

    /// Takes the answer to an [`Action::Send`].
    pub(crate) fn handle_response(
        &mut self,
        token: u64,
        result: Result<GroupResponse, ClientError>,
        now: Instant,
    ) {
        let Self { shared, member, .. } = self;
        if !shared.coordinator.handle(token, &result, now) {
            member.handle(shared, token, result, now);
        }
    }

    /// What is to be done now.
    pub(crate) fn poll(&mut self, now: Instant) -> Vec<Action> {
        let Self { shared, member, .. } = self;
        member.poll(shared, now);
        shared.coordinator.poll(&mut shared.outbox, now);
        shared.outbox.take()
    }

    /// When to poll next, unless something happens before.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let Self { shared, member, .. } = self;
        let times = [shared.coordinator.next_deadline(), member.next_deadline(shared)];
        times.into_iter().flatten().min()
    }

    /// The partitions that the user was told that it owns.
    #[cfg(test)]
    pub(crate) fn owned(&self) -> &BTreeSet<TopicPartition> {
        self.shared.ownership.owned()
    }

    /// Who the member is.
    pub(crate) fn identity(&self) -> ConsumerGroupMetadata {
        self.member.identity(&self.shared)
    }

    /// Who the member is to those who commit what it has read elsewhere (KIP-447). One that the group has expelled keeps the
    /// name under which it read, which a coordinator refuses: as nobody it would be let through.
    pub(crate) fn metadata(&self) -> ConsumerGroupMetadata {
        let now = self.identity();
        if now.is_member() || self.shared.interest == Interest::Nothing {
            return now;
        }
        self.assigned_as.clone().unwrap_or(now)
    }

    /// As whom to commit offsets now.
    pub(crate) fn commit_as(&self) -> CommitAs {
        self.member.commit_as(&self.shared)
    }

    /// A commit, made as this member, was refused with this code. Those that say something of the
    /// membership are taken up, unless it has changed since.
    pub(crate) fn commit_refused(
        &mut self,
        code: ErrorCode,
        committer: &ConsumerGroupMetadata,
        now: Instant,
    ) {
        if committer.is_member() && *committer == self.identity() {
            self.member.commit_refused(&mut self.shared, code, now);
        }
    }

    /// Where the coordinator is, for those who commit and fetch offsets.
    pub(crate) fn coordinator(&mut self) -> &mut GroupCoordinator {
        &mut self.shared.coordinator
    }

    /// Joins anew, as soon as the user's listener allows (KIP-568).
    pub(crate) fn enforce_rebalance(&mut self, reason: &str) {
        self.member.enforce_rebalance(&mut self.shared, reason);
    }

    /// What was counted.
    pub(crate) fn stats(&mut self) -> &mut GroupStats {
        &mut self.shared.stats
    }
}

/// One line.
impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}; {:?}", self.member, self.shared)
    }
}
