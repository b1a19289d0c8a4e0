//! Membership by the classic protocol: when to join, to synchronize, to say that one is alive and to
//! leave. What the answers mean is in `answers`, by the tables of `codes`.
//!
//! ```text
//!                 the user polls            coordinator known, user told, back-off over
//!   Out ─────────────────────────► Waiting ──────────────────────────────────────────► Joining
//!    ▲                              ▲   ▲                                                │
//!    │ left, poll interval over     │   └── refused, coordinator lost ── Syncing ◄── Assigning
//!    │                              │ rebalance, subscription or             │     (leader only)
//!    └──────────── any              │ topics changed: revoke                 ▼
//!                                   └────────────────────────────────── Stable
//! ```
//!
//! - Eager: everything is revoked before Joining. Cooperative (KIP-429): only topics that are not
//!   subscribed to any more; after Syncing what went to others is revoked, and the group is joined
//!   again, so that they get it.
//! - Heartbeats go out from when JoinGroup was answered until the next is sent, so also while the user
//!   gives partitions up. Not while SyncGroup is under way: the coordinator waits for it, and would
//!   answer them after it only.
//! - UNKNOWN_MEMBER_ID and ILLEGAL_GENERATION mean that somebody else may own the partitions: they are
//!   lost, not revoked.
//! - The leader keeps watch over the topics of all members, and joins again when their partitions
//!   change; and, cooperatively, when partitions that were to move have not brought about the
//!   rebalance that deals them out within `max.poll.interval.ms`.

mod answers;
mod assignors;
mod codes;
mod heartbeat;
mod leader;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::assign::{Assignor, MemberSubscription};
use super::coordinator::Located;
use super::request::{Action, GroupRequest, GroupResponse, LeaveGroup};
use super::shared::{Flight, Interest, Machine, Shared, Standing};
use super::{CommitAs, LeaveMode};
use crate::error::{ClientError, ErrorCode, GroupError};
use crate::protocol::messages::join_group::JoinGroupRequest;
use crate::time::{Duration, Instant};
use crate::types::{ConsumerGroupMetadata, TopicPartition};
use assignors::Assignors;
use heartbeat::Beats;
use leader::{Task, Watch};

/// How much longer than the group may take to rebalance a JoinGroup is waited for (Java's
/// `JOIN_GROUP_TIMEOUT_LAPSE`).
const JOIN_LAPSE: Duration = Duration::from_secs(5);

/// The `protocol.type` of consumers.
const CONSUMER: &str = "consumer";

/// The most bytes of a reason that a broker is told.
const REASON_LENGTH: usize = 255;

#[derive(Debug)]
enum Phase {
    Out,
    Waiting,
    Joining(Flight),
    Assigning(Box<Task>),
    Syncing { flight: Flight, assignor: String },
    Stable,
}

/// How the group is to be left, once the user is told.
#[derive(Debug)]
struct Leaving {
    mode: LeaveMode,
    reason: String,
}

/// See the module.
pub(super) struct Classic {
    assignors: Assignors,
    session_timeout: Duration,
    phase: Phase,
    generation: i32,
    member_id: String,
    /// The last generation that the member got its assignment in; -1 if it was lost since.
    synced: i32,
    /// Whether it has been told its generation and has not asked for the next.
    joined: bool,
    /// Why to join again.
    rejoin: Option<String>,
    /// The subscription that the group knows.
    joined_topics: BTreeSet<String>,
    /// How often in a row it failed to get an assignment.
    failures: u32,
    /// No JoinGroup before then.
    retry_at: Option<Instant>,
    rebalancing_since: Option<Instant>,
    watch: Option<Watch>,
    /// Whether the topics of other members are followed.
    tracks: bool,
    beats: Beats,
    leaving: Option<Leaving>,
    leave: Option<Flight>,
}

impl Classic {
    pub(super) fn new(
        assignors: Vec<Arc<dyn Assignor>>,
        session_timeout: Duration,
        heartbeat_interval: Duration,
    ) -> Result<Self, GroupError> {
        Ok(Self {
            assignors: Assignors::new(assignors)?,
            session_timeout,
            phase: Phase::Out,
            generation: -1,
            member_id: String::new(),
            synced: -1,
            joined: false,
            rejoin: None,
            joined_topics: BTreeSet::new(),
            failures: 0,
            retry_at: None,
            rebalancing_since: None,
            watch: None,
            tracks: false,
            beats: Beats::new(heartbeat_interval),
            leaving: None,
            leave: None,
        })
    }

    /// What was under way to a coordinator that is lost is given up; a new one is greeted.
    fn follow_coordinator(&mut self, shared: &mut Shared, at: Instant) {
        let wanted = !matches!(self.phase, Phase::Out);
        let coordinator = &mut shared.coordinator;
        let located = if wanted { coordinator.want() } else { coordinator.known() };
        let gone = |flight: &Flight| located.is_none_or(|at| at.version != flight.version);
        if let Phase::Joining(flight) | Phase::Syncing { flight, .. } = &self.phase
            && gone(flight)
        {
            self.rejoin_because("the coordinator was lost");
            self.phase = Phase::Waiting;
            shared.stats.failed_rebalances += 1;
        }
        if wanted && shared.report_refusal() && matches!(self.phase, Phase::Waiting) {
            self.fall_out(shared);
        }
        self.leave.take_if(|flight| gone(flight));
        self.beats.follow(located, at);
    }

    /// A user that does not poll makes no progress: others should read in its place.
    fn check_polls(&mut self, shared: &mut Shared, at: Instant) {
        let over = shared.poll_deadline().is_some_and(|deadline| deadline <= at);
        if over && self.leaving.is_none() && !matches!(self.phase, Phase::Out) {
            let group = &shared.config.group_id;
            let interval = shared.config.max_poll_interval;
            tracing::warn!(%group, ?interval, "no poll within max.poll.interval.ms: leaving");
            let mode = LeaveMode::Default;
            self.depart(shared, mode, "consumer poll timeout has expired.".to_owned(), at);
            shared.ownership.lose();
            shared.polls.restart();
        }
    }

    /// Takes the steps that are possible now.
    fn advance(&mut self, shared: &mut Shared, at: Instant) {
        if self.leaving.is_some() {
            if shared.ownership.is_settled()
                && let Some(Leaving { mode, reason }) = self.leaving.take()
            {
                self.depart(shared, mode, reason, at);
            }
            return;
        }
        if matches!(self.phase, Phase::Out) && shared.wants_in() {
            shared.coordinator.want();
            self.phase = Phase::Waiting;
        }
        if matches!(self.phase, Phase::Stable)
            && self.watch.as_mut().is_some_and(|watch| watch.has_lost_partitions(at))
        {
            self.rejoin_because("partitions that were to be given up are still nobody's");
        }
        if matches!(self.phase, Phase::Stable) && shared.ownership.is_settled() {
            self.prepare_rejoin(shared);
        }
        if matches!(self.phase, Phase::Waiting) {
            self.join(shared, at);
        }
        if let Phase::Assigning(task) = &self.phase
            && task.is_ready(&shared.topics, at)
        {
            self.lead(shared, at);
        }
    }

    /// Joins again if there is a reason: gives up what has to be given up first.
    fn prepare_rejoin(&mut self, shared: &mut Shared) {
        let Interest::Topics { names: Some(names), .. } = &shared.interest else { return };
        if *names != self.joined_topics {
            self.rejoin_because("the subscription has changed since the last join");
        } else if let Some(watch) = &mut self.watch
            && watch.has_changed(&shared.topics, shared.config.rack.is_some())
        {
            self.rejoin_because("the partitions of the group's topics have changed");
        }
        if self.rejoin.is_none() || !matches!(shared.standing, Standing::Good) {
            return;
        }
        let stays = |partition: &&TopicPartition| {
            self.assignors.are_cooperative() && names.contains(&partition.topic)
        };
        let owned = shared.ownership.owned();
        let given_up: Vec<_> = owned.iter().filter(|name| !stays(name)).cloned().collect();
        shared.ownership.revoke(given_up);
        self.phase = Phase::Waiting;
    }

    /// Sends JoinGroup, if nothing stands in the way.
    fn join(&mut self, shared: &mut Shared, at: Instant) {
        let due = self.retry_at.is_none_or(|retry_at| retry_at <= at);
        if !due || !shared.ownership.is_settled() || !matches!(shared.standing, Standing::Good) {
            return;
        }
        // It is over: what is waited for from here on wakes the member by itself.
        self.retry_at = None;
        let Some(to) = shared.coordinator.want() else { return };
        let Interest::Topics { names: Some(names), .. } = &shared.interest else { return };
        let mut subscription = MemberSubscription::new(names);
        subscription.owned_partitions = shared.ownership.owned().iter().cloned().collect();
        subscription.generation_id = (self.synced >= 0).then_some(self.synced);
        subscription.rack_id.clone_from(&shared.config.rack);
        let protocols = match self.assignors.proposals(&subscription) {
            Ok(protocols) => protocols,
            Err((assignor, cause)) => {
                let group = shared.group();
                shared.fail(GroupError::Assignor { group, assignor, cause });
                return self.fall_out(shared);
            }
        };
        let reason = self.rejoin.take().map(|reason| shortened(&reason));
        let rebalance_timeout = shared.config.max_poll_interval;
        let request = JoinGroupRequest {
            group_id: shared.group(),
            session_timeout_ms: millis(self.session_timeout),
            rebalance_timeout_ms: millis(rebalance_timeout),
            member_id: self.member_id.clone(),
            group_instance_id: shared.config.instance_id.clone(),
            protocol_type: CONSUMER.to_owned(),
            protocols,
            reason,
        };
        let timeout = rebalance_timeout.saturating_add(JOIN_LAPSE);
        let timeout = timeout.max(shared.config.request_timeout);
        self.joined_topics.clone_from(&subscription.topics);
        let flight = shared.send(to, GroupRequest::JoinGroup(request), timeout, at);
        self.phase = Phase::Joining(flight);
        self.joined = false;
        self.watch = None;
        self.retry_at = None;
        self.rebalancing_since.get_or_insert(at);
    }

    fn rejoin_because(&mut self, reason: &str) {
        self.rejoin.get_or_insert_with(|| reason.to_owned());
    }

    /// The generation is over without this member: what it owned may belong to others.
    fn reset(&mut self, shared: &mut Shared, keep_id: bool) {
        self.generation = -1;
        self.synced = -1;
        self.joined = false;
        self.watch = None;
        if !keep_id {
            self.member_id.clear();
        }
        shared.ownership.lose();
    }

    /// Something failed that the user has been told of. If it is not fatal, the next poll joins again.
    fn fall_out(&mut self, shared: &mut Shared) {
        self.phase = Phase::Out;
        self.joined = false;
        if matches!(shared.standing, Standing::Over(_)) {
            self.reset(shared, false);
        }
    }

    /// Leaves at once.
    fn depart(&mut self, shared: &mut Shared, mode: LeaveMode, reason: String, at: Instant) {
        let tells = mode.tells(shared.config.instance_id.is_some())
            && !self.member_id.is_empty()
            && !matches!(self.phase, Phase::Out);
        if let Some(to) = shared.coordinator.known().filter(|_| tells) {
            tracing::info!(group = %shared.config.group_id, %reason, "leaving the group");
            self.leave = Some(self.send_leave(shared, to, &reason, at));
        }
        self.phase = Phase::Out;
        self.generation = -1;
        self.synced = -1;
        self.joined = false;
        self.member_id.clear();
        self.watch = None;
        self.track(shared, BTreeSet::new());
        self.rejoin = None;
        self.failures = 0;
        self.retry_at = None;
        self.rebalancing_since = None;
    }

    /// Only the leader needs topics that it does not subscribe to.
    fn track(&mut self, shared: &mut Shared, topics: BTreeSet<String>) {
        let tracks = !topics.is_empty();
        if std::mem::replace(&mut self.tracks, tracks) || tracks {
            shared.outbox.push(Action::Track(topics));
        }
    }

    fn send_leave(&self, shared: &mut Shared, to: Located, reason: &str, at: Instant) -> Flight {
        let request = LeaveGroup {
            group_id: shared.group(),
            member_id: self.member_id.clone(),
            group_instance_id: shared.config.instance_id.clone(),
            reason: shortened(reason),
        };
        let timeout = shared.config.request_timeout;
        shared.send(to, GroupRequest::LeaveGroup(request), timeout, at)
    }
}

impl Machine for Classic {
    fn subscribed(&mut self, shared: &mut Shared, _at: Instant) {
        if let Interest::Regex(pattern) = &shared.interest {
            let (group, pattern) = (shared.group(), pattern.clone());
            shared.fail(GroupError::UnsupportedRegex { group, pattern });
        } else if matches!(self.phase, Phase::Out) {
            shared.polls.restart();
        }
    }

    fn leave(&mut self, shared: &mut Shared, mode: LeaveMode, reason: &str, _at: Instant) {
        if self.synced >= 0 {
            shared.ownership.revoke_all();
        } else {
            shared.ownership.lose();
        }
        if !matches!(self.phase, Phase::Stable | Phase::Out) {
            self.phase = Phase::Waiting;
        }
        self.leaving = Some(Leaving { mode, reason: reason.to_owned() });
    }

    fn is_out(&self) -> bool {
        self.leaving.is_none() && self.leave.is_none() && matches!(self.phase, Phase::Out)
    }

    fn handle(
        &mut self,
        shared: &mut Shared,
        token: u64,
        result: Result<GroupResponse, ClientError>,
        at: Instant,
    ) {
        let is = |flight: &Flight| flight.token == token;
        match &self.phase {
            Phase::Joining(flight) if is(flight) => {
                let flight = *flight;
                return self.join_answered(shared, flight, result, at);
            }
            Phase::Syncing { flight, .. } if is(flight) => {
                let flight = *flight;
                return self.sync_answered(shared, flight, result, at);
            }
            _ => {}
        }
        if self.beats.is_answer(token) {
            self.heartbeat_answered(shared, result, at);
        } else if self.leave.take_if(|flight| is(flight)).is_some()
            && let Err(error) = result
        {
            tracing::debug!(group = %shared.config.group_id, %error, "the leave was not answered");
        }
    }

    fn poll(&mut self, shared: &mut Shared, at: Instant) {
        self.follow_coordinator(shared, at);
        self.check_polls(shared, at);
        self.check_session(shared, at);
        self.advance(shared, at);
        self.send_heartbeat(shared, at);
    }

    fn next_deadline(&self, shared: &Shared) -> Option<Instant> {
        let may_join = shared.ownership.is_settled() && matches!(shared.standing, Standing::Good);
        let step = match &self.phase {
            Phase::Waiting if may_join => self.retry_at,
            Phase::Assigning(task) => Some(task.until()),
            Phase::Stable if self.leaving.is_none() => {
                self.watch.as_ref().and_then(Watch::deadline)
            }
            _ => None,
        };
        let is_in = !matches!(self.phase, Phase::Out) && self.leaving.is_none();
        let polls = shared.poll_deadline().filter(|_| is_in);
        [step, polls, self.heartbeat_deadline(shared)].into_iter().flatten().min()
    }

    fn identity(&self, shared: &Shared) -> ConsumerGroupMetadata {
        let mut metadata = ConsumerGroupMetadata::no_member(shared.group());
        metadata.group_instance_id.clone_from(&shared.config.instance_id);
        if self.synced >= 0 {
            metadata.generation_id = self.synced;
            metadata.member_id.clone_from(&self.member_id);
        }
        metadata
    }

    fn commit_as(&self, shared: &Shared) -> CommitAs {
        let out = matches!(self.phase, Phase::Out) && self.leaving.is_none();
        let nobody = shared.interest == Interest::Nothing && out;
        // Between JoinGroup and SyncGroup the group is in a generation that the member has no share in.
        let synced = self.joined && self.synced >= 0 && self.synced == self.generation;
        let stable = synced && matches!(self.phase, Phase::Stable | Phase::Waiting);
        if nobody {
            CommitAs::Committer(ConsumerGroupMetadata::no_member(shared.group()))
        } else if stable {
            CommitAs::Committer(self.identity(shared))
        } else if self.generation >= 0 && !matches!(self.phase, Phase::Out) {
            CommitAs::Rebalancing
        } else {
            CommitAs::NoMember
        }
    }

    fn commit_refused(&mut self, shared: &mut Shared, code: ErrorCode, at: Instant) {
        if self.joined
            && let Some(verdict) = codes::commit(code)
        {
            self.take_verdict(shared, verdict, "OffsetCommit", code, at);
        }
    }

    fn enforce_rebalance(&mut self, _shared: &mut Shared, reason: &str) {
        if !matches!(self.phase, Phase::Out) {
            self.rejoin_because(reason);
        }
    }
}

/// One line.
impl fmt::Debug for Classic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { assignors, phase, member_id, generation, .. } = self;
        write!(f, "classic member {member_id:?} of generation {generation}, {phase:?}")?;
        if let Some(reason) = &self.rejoin {
            write!(f, ", to rejoin: {reason}")?;
        }
        if let Some(leaving) = &self.leaving {
            write!(f, ", leaving: {}", leaving.reason)?;
        }
        write!(f, ", {assignors:?}")
    }
}

/// A duration as the protocol has it.
fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

fn shortened(reason: &str) -> String {
    let end = (0..=reason.len().min(REASON_LENGTH)).rev().find(|end| reason.is_char_boundary(*end));
    reason.get(..end.unwrap_or(0)).unwrap_or_default().to_owned()
}
