//! One group of the new protocol (KIP-848): the coordinator decides who gets what, and leads each member there by its
//! heartbeats, so that no partition has two owners.
//!
//! The rules are those of Kafka's `GroupMetadataManager` and `CurrentAssignmentBuilder` of 4.3. A group is told requests,
//! topics and instants; it knows no nodes, no connections and no clock, and answers every request at once.
//!
//! ```text
//!  subscriptions or topics change, a member comes or goes   →  group epoch
//!  group epoch above that of the target                     →  assignor  →  target of each member, at the group epoch
//!  a member's heartbeat, its epoch below the target's       →  its next step:
//!
//!                  nothing to give up: epoch = target's
//!       ┌─────────────────────────────────────────────────────┐
//!    Stable ── has to give up ──► Unrevoked ── given up ──► Unreleased ── the last one is free ──► Stable
//!              partitions         (epoch stays; it is       (epoch = target's; what others still
//!                                  fenced when its time      own is given to it when they have
//!                                  is up)                    given it up)
//! ```
//!
//! All that Kafka would write is written with each heartbeat, so that another coordinator goes on where this one was;
//! only the time-outs begin anew.

mod assignor;
mod describe;
mod heartbeat;
mod reconcile;
mod subscription;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use self::assignor::Assignor;
pub(super) use self::heartbeat::{Heartbeat, check};
use self::subscription::Subscription;
pub(crate) use self::subscription::TopicView;
use super::{Identity, Turn};
use crate::error::ErrorCode;
use crate::time::{Duration, Instant, deadline};
use crate::types::TopicId;

/// From this version of OffsetCommit on, epochs of members are understood.
const EPOCHS_FROM: i16 = 9;
/// The epoch by which a member leaves for good, and that of a static member which will be back.
const LEAVE: i32 = -1;
const LEAVE_FOR_NOW: i32 = -2;

/// A partition of a topic, which goes by its id here: one that is made anew is another.
pub(crate) type Slot = (TopicId, i32);

/// How far a member is on its way to its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Stable,
    /// It has to give partitions up.
    Unrevoked,
    /// Partitions of its target still belong to others.
    Unreleased,
}

/// A member of the group.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    rack_id: Option<String>,
    pub(crate) epoch: i32,
    /// What it owns or is told to take, each with the epoch in which it was assigned (KIP-1251).
    pub(crate) assigned: BTreeMap<Slot, i32>,
    /// What it is told to give up.
    revoking: BTreeMap<Slot, i32>,
    target: BTreeSet<Slot>,
    previous_epoch: i32,
    progress: Progress,
    rebalance_timeout: Duration,
    subscription: Subscription,
    assignor: Option<Assignor>,
    session_ends: Option<Instant>,
    /// When it must have given up what it is told to.
    revoke_by: Option<Instant>,
}

impl Member {
    fn new(id: String) -> Self {
        Self {
            id,
            instance_id: None,
            client_id: String::new(),
            rack_id: None,
            epoch: 0,
            assigned: BTreeMap::new(),
            revoking: BTreeMap::new(),
            target: BTreeSet::new(),
            previous_epoch: 0,
            progress: Progress::Stable,
            rebalance_timeout: Duration::ZERO,
            subscription: Subscription::default(),
            assignor: None,
            session_ends: None,
            revoke_by: None,
        }
    }

    /// All that others must not be given.
    pub(super) fn held(&self) -> impl Iterator<Item = Slot> {
        self.assigned.keys().chain(self.revoking.keys()).copied()
    }

    fn is_at(&self, target_epoch: i32) -> bool {
        self.progress == Progress::Stable && self.epoch == target_epoch
    }

    fn enter_epoch(&mut self, epoch: i32) {
        self.previous_epoch = self.epoch;
        self.epoch = epoch;
    }
}

/// See the module.
#[derive(Default)]
pub(crate) struct ConsumerGroup {
    epoch: i32,
    target_epoch: i32,
    members: BTreeMap<String, Member>,
    /// The topics that the members are subscribed to and that are there, with their partitions.
    topics: BTreeMap<TopicId, i32>,
    /// Another coordinator took over, and nobody has asked it yet: time-outs begin when someone does.
    moved: bool,
}

impl ConsumerGroup {
    pub(crate) fn epoch(&self) -> i32 {
        self.epoch
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Kafka's name for the state that the group is in.
    pub(crate) fn state(&self) -> &'static str {
        if self.members.is_empty() {
            "Empty"
        } else if self.epoch > self.target_epoch {
            "Assigning"
        } else if self.members.values().all(|member| member.is_at(self.target_epoch)) {
            "Stable"
        } else {
            "Reconciling"
        }
    }

    /// The assignor that most members prefer; `uniform` if they do not care.
    pub(crate) fn assignor(&self) -> Assignor {
        let mut votes: BTreeMap<Assignor, usize> = BTreeMap::new();
        for assignor in self.members.values().filter_map(|member| member.assignor) {
            *votes.entry(assignor).or_default() += 1;
        }
        votes.into_iter().max_by_key(|&(_, votes)| votes).map_or(Assignor::Uniform, |(a, _)| a)
    }

    fn static_member(&self, instance: &str) -> Option<&Member> {
        self.members.values().find(|member| member.instance_id.as_deref() == Some(instance))
    }

    /// Takes a member out; what it owned is free at once.
    fn fence(&mut self, id: &str) {
        if self.members.remove(id).is_some() {
            self.epoch += 1;
        }
    }

    // ---- offsets ----------------------------------------------------------------------------------------------------

    /// Whether a member may commit at all; [`ConsumerGroup::may_commit_to`] decides for each partition.
    pub(super) fn may_commit(&self, version: i16, who: Identity<'_>) -> Result<(), ErrorCode> {
        if who.generation < 0 && self.is_empty() {
            return Ok(());
        }
        let member = self.members.get(who.member_id).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
        if version < EPOCHS_FROM {
            return Err(ErrorCode::UNSUPPORTED_VERSION);
        }
        if who.generation > member.epoch {
            return Err(ErrorCode::STALE_MEMBER_EPOCH);
        }
        Ok(())
    }

    /// As [`ConsumerGroup::may_commit`], as part of a transaction: older clients do not say who they are.
    pub(super) fn may_commit_in_transaction(&self, who: Identity<'_>) -> Result<(), ErrorCode> {
        let Identity { generation, member_id, instance_id } = who;
        let is_unnamed = generation == -1 && member_id.is_empty() && instance_id.is_none();
        if is_unnamed { Ok(()) } else { self.may_commit(EPOCHS_FROM, who) }
    }

    /// A member that does not know its newest epoch yet may commit to what it has owned since before (KIP-1251).
    pub(super) fn may_commit_to(&self, slot: Slot, who: Identity<'_>) -> Result<(), ErrorCode> {
        let Some(member) = self.members.get(who.member_id) else { return Ok(()) };
        let since = member.assigned.get(&slot).or_else(|| member.revoking.get(&slot));
        let owned = since.is_some_and(|&since| since <= who.generation);
        if who.generation == member.epoch || owned {
            Ok(())
        } else {
            Err(ErrorCode::STALE_MEMBER_EPOCH)
        }
    }

    pub(super) fn may_fetch(&self, member: Option<&str>, epoch: i32) -> Result<(), ErrorCode> {
        let Some(id) = member.or((epoch >= 0).then_some("")) else { return Ok(()) };
        let member = self.members.get(id).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
        if member.epoch == epoch { Ok(()) } else { Err(ErrorCode::STALE_MEMBER_EPOCH) }
    }

    // ---- time and places --------------------------------------------------------------------------------------------

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.next_due().map(|(at, _)| at)
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.moved || self.next_deadline().is_some_and(|at| at <= now)
    }

    /// The member whose time is up next.
    fn next_due(&self) -> Option<(Instant, String)> {
        let due = |member: &Member| {
            let at = member.session_ends.into_iter().chain(member.revoke_by).min()?;
            Some((at, member.id.clone()))
        };
        self.members.values().filter_map(due).min_by_key(|&(at, _)| at)
    }

    /// Does what time has brought: members that were silent, or did not give up what they should, are fenced.
    pub(super) fn advance(&mut self, turn: &Turn<'_>) {
        if std::mem::take(&mut self.moved) {
            for member in self.members.values_mut() {
                member.session_ends =
                    Some(deadline(turn.now, turn.settings.consumer_session_timeout));
                let revokes = member.progress == Progress::Unrevoked;
                member.revoke_by = revokes.then(|| deadline(turn.now, member.rebalance_timeout));
            }
        }
        while let Some((_, id)) = self.next_due().filter(|&(at, _)| at <= turn.now) {
            self.fence(&id);
        }
    }

    /// Another coordinator takes over.
    pub(super) fn change_coordinator(&mut self) {
        self.moved = true;
        for member in self.members.values_mut() {
            (member.session_ends, member.revoke_by) = (None, None);
        }
    }
}

/// `Reconciling epoch 4/4: [a @4 Stable 3+0, b @3 Unrevoked 2+1]`, which is owned and to be given up.
impl fmt::Debug for ConsumerGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} epoch {}/{}: [", self.state(), self.target_epoch, self.epoch)?;
        for (n, member) in self.members.values().enumerate() {
            let Member { id, epoch, progress, assigned, revoking, .. } = member;
            let comma = if n == 0 { "" } else { ", " };
            let (has, gives) = (assigned.len(), revoking.len());
            write!(f, "{comma}{id} @{epoch} {progress:?} {has}+{gives}")?;
        }
        f.write_str("]")
    }
}
