//! Membership by the new protocol (`group.protocol=consumer`, KIP-848): one request, the heartbeat,
//! joins, stays and leaves, and tells the coordinator what the member owns; its answer tells what the
//! member is to own. When a heartbeat is due and what its answer means is in `heartbeat`; how the one
//! becomes the other in `reconcile`.
//!
//! ```text
//!          the user polls                  answered: epoch
//!   Out ────────────────────► Joining ─────────────────────► Member ◄─┐ target ≠ owned: revoke, assign,
//!    ▲                           ▲                             │  └───┘ tell the coordinator
//!    │                           └──── fenced: all is lost ────┤
//!    └── Leaving ◄── left, poll interval over, closed ─────────┘
//! ```
//!
//! - The epoch that a heartbeat carries says what it is: 0 joins, -1 leaves, -2 leaves a static
//!   member's place free for its return, any other is that of a member.
//! - The member makes its own id and keeps it (KIP-1082), so that a join whose answer was lost does not
//!   leave a second member behind. A coordinator from before that may give it another one.
//! - A field is sent when it has changed; after a failure all are, since it is not known what has
//!   arrived.

mod codes;
mod heartbeat;
mod reconcile;

use std::fmt;

use super::coordinator::Located;
use super::request::GroupResponse;
use super::shared::{Flight, Interest, Machine, Shared};
use super::{CommitAs, LeaveMode};
use crate::error::{ClientError, ErrorCode};
use crate::time::{Duration, Instant};
use crate::types::ConsumerGroupMetadata;
use heartbeat::Fields;
use reconcile::Reconciler;

/// The time between heartbeats until the coordinator has named one, and if it names none.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);

/// Epochs that say more than how far the member is.
const JOIN: i32 = 0;
const LEAVE: i32 = -1;
const LEAVE_STATIC: i32 = -2;

#[derive(Debug)]
enum Phase {
    Out,
    Joining,
    Member,
    /// With the epoch that says so, if any, at once or when the user has been told.
    Leaving {
        epoch: Option<i32>,
        at_once: bool,
    },
}

/// See the module.
pub(super) struct Modern {
    remote_assignor: Option<String>,
    phase: Phase,
    member_id: String,
    epoch: i32,
    interval: Duration,
    /// The heartbeat under way, and the epoch that it carries.
    flight: Option<(Flight, i32)>,
    /// The fields that it has, or had: what the coordinator knows.
    sent: Option<Fields>,
    /// When the next heartbeat is due, if nothing has changed before.
    next: Option<Instant>,
    /// None before then.
    not_before: Option<Instant>,
    failures: u32,
    reconciler: Reconciler,
    version: u64,
}

impl Modern {
    pub(super) fn new(remote_assignor: Option<String>, random: &mut fastrand::Rng) -> Self {
        Self {
            remote_assignor,
            phase: Phase::Out,
            member_id: new_member_id(random),
            epoch: JOIN,
            interval: HEARTBEAT_INTERVAL,
            flight: None,
            sent: None,
            next: None,
            not_before: None,
            failures: 0,
            reconciler: Reconciler::default(),
            version: 0,
        }
    }

    fn follow_coordinator(&mut self, shared: &mut Shared) {
        let wanted = matches!(self.phase, Phase::Joining | Phase::Member);
        let coordinator = &mut shared.coordinator;
        let located = if wanted { coordinator.want() } else { coordinator.known() };
        if wanted && shared.report_refusal() && matches!(self.phase, Phase::Joining) {
            self.out();
        }
        let gone = |flight: &Flight| located.is_none_or(|at| at.version != flight.version);
        if self.flight.take_if(|(flight, _)| gone(flight)).is_some() {
            // What it said may have arrived, or not.
            self.sent = None;
        }
        if let Some(Located { version, .. }) = located
            && version != self.version
        {
            self.version = version;
            self.next = None;
        }
    }

    /// A user that does not poll makes no progress: others should read in its place.
    fn check_polls(&mut self, shared: &mut Shared, at: Instant) {
        let over = shared.poll_deadline().is_some_and(|deadline| deadline <= at);
        if over && matches!(self.phase, Phase::Joining | Phase::Member) {
            let (group, interval) = (&shared.config.group_id, shared.config.max_poll_interval);
            tracing::warn!(%group, ?interval, "no poll within max.poll.interval.ms: leaving");
            let is_static = shared.config.instance_id.is_some();
            let epoch = Some(leave_epoch(LeaveMode::Default, is_static));
            self.phase = Phase::Leaving { epoch, at_once: true };
            self.lose(shared);
            shared.polls.restart();
        }
    }

    /// The membership is over without the user's being told first.
    fn lose(&mut self, shared: &mut Shared) {
        self.reconciler.forget();
        shared.ownership.lose();
    }

    /// The next heartbeat is the first of a new membership.
    fn start_over(&mut self) {
        self.epoch = JOIN;
        self.sent = None;
        self.next = None;
        self.not_before = None;
        self.failures = 0;
    }

    /// Ends in `Out` if there is nobody to tell.
    fn advance(&mut self, shared: &mut Shared) {
        if let Phase::Leaving { epoch, at_once } = self.phase
            && (at_once || shared.ownership.is_settled())
            && (epoch.is_none() || shared.coordinator.known().is_none() || self.is_new())
        {
            self.out();
        }
        if matches!(self.phase, Phase::Out) && shared.wants_in() {
            shared.coordinator.want();
            self.start_over();
            self.phase = Phase::Joining;
        }
    }

    /// Whether no coordinator can know of it.
    fn is_new(&self) -> bool {
        self.epoch == JOIN && self.flight.is_none() && self.sent.is_none()
    }

    fn out(&mut self) {
        self.phase = Phase::Out;
        self.flight = None;
        self.start_over();
    }
}

impl Machine for Modern {
    fn subscribed(&mut self, shared: &mut Shared, _at: Instant) {
        if matches!(self.phase, Phase::Out | Phase::Leaving { .. }) {
            shared.polls.restart();
        }
    }

    fn leave(&mut self, shared: &mut Shared, mode: LeaveMode, _reason: &str, _at: Instant) {
        match self.phase {
            Phase::Member => shared.ownership.revoke_all(),
            _ => shared.ownership.lose(),
        }
        self.reconciler.forget();
        if matches!(self.phase, Phase::Joining | Phase::Member) {
            let is_static = shared.config.instance_id.is_some();
            let tells = is_static || mode.tells(is_static);
            let epoch = tells.then(|| leave_epoch(mode, is_static));
            self.phase = Phase::Leaving { epoch, at_once: false };
        }
    }

    fn is_out(&self) -> bool {
        matches!(self.phase, Phase::Out)
    }

    fn handle(
        &mut self,
        shared: &mut Shared,
        token: u64,
        result: Result<GroupResponse, ClientError>,
        at: Instant,
    ) {
        if let Some((flight, epoch)) = self.flight.take_if(|(flight, _)| flight.token == token) {
            self.answered(shared, (flight, epoch), result, at);
        }
    }

    fn poll(&mut self, shared: &mut Shared, at: Instant) {
        self.follow_coordinator(shared);
        self.check_polls(shared, at);
        self.advance(shared);
        if matches!(self.phase, Phase::Member) {
            self.reconciler.poll(shared, at);
        }
        self.send_heartbeat(shared, at);
    }

    fn next_deadline(&self, shared: &Shared) -> Option<Instant> {
        let is_in = matches!(self.phase, Phase::Joining | Phase::Member);
        let polls = shared.poll_deadline().filter(|_| is_in);
        let is_member = matches!(self.phase, Phase::Member);
        let names = self.reconciler.next_deadline().filter(|_| is_member);
        [polls, names, self.heartbeat_deadline(shared)].into_iter().flatten().min()
    }

    fn identity(&self, shared: &Shared) -> ConsumerGroupMetadata {
        let mut metadata = ConsumerGroupMetadata::no_member(shared.group());
        metadata.group_instance_id.clone_from(&shared.config.instance_id);
        if self.epoch > JOIN {
            metadata.generation_id = self.epoch;
            metadata.member_id.clone_from(&self.member_id);
        }
        metadata
    }

    fn commit_as(&self, shared: &Shared) -> CommitAs {
        if shared.interest == Interest::Nothing && self.is_out() {
            CommitAs::Committer(ConsumerGroupMetadata::no_member(shared.group()))
        } else if self.epoch > JOIN {
            CommitAs::Committer(self.identity(shared))
        } else {
            CommitAs::NoMember
        }
    }

    /// The next heartbeat tells whether it is so.
    fn commit_refused(&mut self, _shared: &mut Shared, code: ErrorCode, at: Instant) {
        let doubts = matches!(
            code,
            ErrorCode::UNKNOWN_MEMBER_ID
                | ErrorCode::FENCED_MEMBER_EPOCH
                | ErrorCode::STALE_MEMBER_EPOCH
        );
        if doubts {
            self.next = Some(at);
        }
    }

    /// The coordinator decides when there is one.
    fn enforce_rebalance(&mut self, shared: &mut Shared, _reason: &str) {
        let group = &shared.config.group_id;
        tracing::warn!(%group, "a rebalance cannot be asked for with group.protocol=consumer");
    }
}

/// One line.
impl fmt::Debug for Modern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { phase, member_id, epoch, reconciler, .. } = self;
        write!(f, "member {member_id:?} at epoch {epoch}, {phase:?}, {reconciler:?}")
    }
}

/// A static member's place is kept, unless it is to leave for good.
fn leave_epoch(mode: LeaveMode, is_static: bool) -> i32 {
    if is_static && mode != LeaveMode::Leave { LEAVE_STATIC } else { LEAVE }
}

/// 16 random bytes in the base64 of URLs, as Java's `Uuid` prints itself; like that, never with a dash
/// first, which tools would take for an option.
fn new_member_id(random: &mut fastrand::Rng) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    loop {
        // The marks of a random UUID.
        let bits = random.u128(..) & !(0xf << 76) & !(0b11 << 62) | 0x4 << 76 | 0b10 << 62;
        let digit = |place: u32| {
            let index = if place == 21 { bits << 4 } else { bits >> (122 - 6 * place) };
            DIGITS.get(usize::try_from(index & 0x3f).unwrap_or_default()).copied()
        };
        let id: String = (0..22).filter_map(digit).map(char::from).collect();
        if !id.starts_with('-') {
            return id;
        }
    }
}
