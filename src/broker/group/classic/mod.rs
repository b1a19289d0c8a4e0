//! One group of the classic protocol: who its members are, which generation they are in, and what they wait for.
//!
//! The rules are those of Kafka's `ClassicGroup` and `GroupMetadataManager`. A group knows requests, tickets and instants
//! that are handed in; it does not know nodes, connections or a clock. Whatever is parked is answered by its ticket.
//!
//! ```text
//!            first member joins              all joined, or the rebalance time-out
//!   Empty ───────────────────► Preparing ───────────────────────────────► Completing
//!     ▲                        Rebalance ◄─────────────────────────────── Rebalance
//!     │ the last member is gone │   ▲     a member joins anew, leaves, is      │
//!     └─────────────────────────┘   │     silent, or does not sync in time     │ the leader's SyncGroup
//!                                   └──────────────────── Stable ◄─────────────┘
//! ```
//!
//! Kafka's Dead is here a group that is not there. What Kafka writes to `__consumer_offsets` is kept as the group's
//! record; another coordinator begins with that, as after a real move: a rebalance under way is forgotten, and members
//! go on in the generation that was stable last.

mod describe;
mod join;
mod rounds;
mod sync;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytes::Bytes;

pub(super) use self::join::Join;
pub(crate) use self::sync::Identity;
use super::{Answer, Ticket, Turn};
use crate::error::ErrorCode;
use crate::protocol::messages::join_group::{
    JoinGroupRequestProtocol, JoinGroupResponse, JoinGroupResponseMember,
};
use crate::protocol::messages::sync_group::SyncGroupResponse;
use crate::time::{Duration, Instant, deadline};

/// Where a group is in its life; displays as Kafka's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// No members; offsets may be there.
    Empty,
    /// Members are called to join.
    PreparingRebalance,
    /// All have joined; the leader is to bring the assignment.
    CompletingRebalance,
    /// Everyone knows what is theirs.
    Stable,
}

/// A member, and the requests of it that wait.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) assignment: Bytes,
    rebalance_timeout: Duration,
    session_timeout: Duration,
    protocols: Vec<JoinGroupRequestProtocol>,
    /// Until the first JoinGroup is answered; such a member is dropped though it waits.
    is_new: bool,
    joining: Option<Ticket>,
    syncing: Option<Ticket>,
    /// When its session ends; `None` once that passed while it waited for the group.
    expires: Option<Instant>,
}

impl Member {
    fn metadata(&self, protocol: Option<&str>) -> Bytes {
        let named = self.protocols.iter().find(|p| Some(p.name.as_str()) == protocol);
        named.map(|p| p.metadata.clone()).unwrap_or_default()
    }

    fn supports(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|p| p.name == protocol)
    }

    /// Whether the group, not the member, is who keeps the other waiting.
    fn is_excused(&self) -> bool {
        !self.is_new && (self.joining.is_some() || self.syncing.is_some())
    }
}

/// An id that was given out and not come back with yet (KIP-394).
#[derive(Debug, Clone)]
struct Pending {
    id: String,
    expires: Instant,
}

/// When joining ends even if some are missing.
#[derive(Debug, Clone, Copy)]
enum JoinTimer {
    /// The first rebalance of an empty group: more members may come, which draws it out.
    Initial {
        at: Instant,
        delay: Duration,
        remaining: Duration,
    },
    Final {
        at: Instant,
    },
}

impl JoinTimer {
    fn at(self) -> Instant {
        match self {
            Self::Initial { at, .. } | Self::Final { at } => at,
        }
    }
}

/// What outlives a move of the coordinator.
#[derive(Debug, Clone, Default)]
struct Record {
    generation: i32,
    protocol_type: Option<String>,
    protocol: Option<String>,
    leader: Option<String>,
    members: Vec<Member>,
}

/// See the module.
pub(crate) struct ClassicGroup {
    phase: Phase,
    /// The phase before this one.
    came_from: Phase,
    generation: i32,
    protocol_type: Option<String>,
    protocol: Option<String>,
    leader: Option<String>,
    /// In the order in which they came.
    members: Vec<Member>,
    pending: Vec<Pending>,
    /// Those whose SyncGroup is still to come.
    unsynced: BTreeSet<String>,
    join_timer: Option<JoinTimer>,
    sync_timer: Option<Instant>,
    new_member_added: bool,
    record: Record,
    /// Another coordinator took over, and nobody has asked it yet: sessions begin when someone does.
    moved: bool,
    answers: Vec<(Ticket, Answer)>,
}

impl Default for ClassicGroup {
    fn default() -> Self {
        Self {
            phase: Phase::Empty,
            came_from: Phase::Empty,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: Vec::new(),
            pending: Vec::new(),
            unsynced: BTreeSet::new(),
            join_timer: None,
            sync_timer: None,
            new_member_added: false,
            record: Record::default(),
            moved: false,
            answers: Vec::new(),
        }
    }
}

impl ClassicGroup {
    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    pub(crate) fn generation(&self) -> i32 {
        self.generation
    }

    pub(crate) fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    pub(crate) fn leader(&self) -> Option<&str> {
        self.leader.as_deref()
    }

    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }

    pub(super) fn is_empty(&self) -> bool {
        self.phase == Phase::Empty
    }

    /// The answers since this was last asked.
    pub(super) fn take_answers(&mut self) -> Vec<(Ticket, Answer)> {
        std::mem::take(&mut self.answers)
    }

    // ---- members ----------------------------------------------------------------------------------------------------

    fn member(&self, id: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.id == id)
    }

    fn member_mut(&mut self, id: &str) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.id == id)
    }

    fn member_of_instance(&self, instance: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.instance_id.as_deref() == Some(instance))
    }

    fn is_pending(&self, id: &str) -> bool {
        self.pending.iter().any(|pending| pending.id == id)
    }

    fn is_leader(&self, id: &str) -> bool {
        self.leader.as_deref() == Some(id)
    }

    /// `validateMember`: whether this id, and instance id if there is one, are those of a member.
    fn validate(&self, id: &str, instance: Option<&str>) -> Result<(), ErrorCode> {
        if let Some(instance) = instance {
            match self.member_of_instance(instance) {
                None => return Err(ErrorCode::UNKNOWN_MEMBER_ID),
                Some(member) if member.id != id => return Err(ErrorCode::FENCED_INSTANCE_ID),
                Some(_) => {}
            }
        }
        self.member(id).map(|_| ()).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)
    }

    /// Takes a member out. What it waits for is answered with `UNKNOWN_MEMBER_ID`, so that it joins anew if it is still
    /// there; the first of the others leads in its place.
    fn remove(&mut self, id: &str) {
        if let Some(at) = self.members.iter().position(|member| member.id == id) {
            let member = self.members.remove(at);
            if let Some(ticket) = member.joining {
                self.refuse_join(ticket, "", ErrorCode::UNKNOWN_MEMBER_ID);
            }
            if let Some(ticket) = member.syncing {
                self.refuse_sync(ticket, ErrorCode::UNKNOWN_MEMBER_ID);
            }
        }
        if self.is_leader(id) {
            self.leader = self.members.first().map(|member| member.id.clone());
        }
        self.pending.retain(|pending| pending.id != id);
        self.unsynced.remove(id);
    }

    fn all_joined(&self) -> bool {
        self.pending.is_empty() && self.members.iter().all(|member| member.joining.is_some())
    }

    /// The longest that any member wants to be waited for.
    fn rebalance_timeout(&self) -> Duration {
        self.members.iter().map(|member| member.rebalance_timeout).max().unwrap_or_default()
    }

    fn heard_of(&mut self, now: Instant, id: &str) {
        if let Some(member) = self.member_mut(id) {
            member.expires = Some(deadline(now, member.session_timeout));
        }
    }

    // ---- protocols --------------------------------------------------------------------------------------------------

    /// Whether a member with these protocols fits in.
    fn supports(&self, protocol_type: &str, protocols: &[JoinGroupRequestProtocol]) -> bool {
        if self.is_empty() {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        let shared = |name: &str| self.members.iter().all(|member| member.supports(name));
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols.iter().any(|protocol| shared(&protocol.name))
    }

    /// The protocol of the next generation: of those that all support, each member votes for the first on its list.
    fn elect_protocol(&self) -> Option<String> {
        let shared = |name: &str| self.members.iter().all(|member| member.supports(name));
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in &self.members {
            if let Some(choice) = member.protocols.iter().find(|p| shared(&p.name)) {
                *votes.entry(&choice.name).or_default() += 1;
            }
        }
        let most = votes.into_iter().max_by_key(|&(_, votes)| votes);
        most.map(|(name, _)| name.to_owned())
    }

    // ---- answers ----------------------------------------------------------------------------------------------------

    fn refuse_join(&mut self, ticket: Ticket, member_id: &str, error_code: ErrorCode) {
        let member_id = member_id.to_owned();
        let response = JoinGroupResponse { error_code, member_id, ..Default::default() };
        self.answers.push((ticket, Answer::Join(response)));
    }

    fn refuse_sync(&mut self, ticket: Ticket, error_code: ErrorCode) {
        let response = SyncGroupResponse { error_code, ..Default::default() };
        self.answers.push((ticket, Answer::Sync(response)));
    }

    /// What a member is told of the present generation; the leader, of all members too if `with_members`.
    fn joined(&self, id: &str, with_members: bool) -> JoinGroupResponse {
        let tell = |member: &Member| JoinGroupResponseMember {
            member_id: member.id.clone(),
            group_instance_id: member.instance_id.clone(),
            metadata: member.metadata(self.protocol.as_deref()),
        };
        let told = with_members && self.is_leader(id);
        JoinGroupResponse {
            generation_id: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            member_id: id.to_owned(),
            members: if told { self.members.iter().map(tell).collect() } else { Vec::new() },
            ..Default::default()
        }
    }

    // ---- moves ------------------------------------------------------------------------------------------------------

    /// Keeps what a coordinator would write to its log now.
    fn write_record(&mut self) {
        self.record = Record {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            members: self.members.clone(),
        };
    }

    /// Another coordinator takes over, with what the record has.
    pub(super) fn change_coordinator(&mut self) {
        for member in std::mem::take(&mut self.members) {
            if let Some(ticket) = member.joining {
                self.refuse_join(ticket, &member.id, ErrorCode::NOT_COORDINATOR);
            }
            if let Some(ticket) = member.syncing {
                self.refuse_sync(ticket, ErrorCode::NOT_COORDINATOR);
            }
        }
        let record = self.record.clone();
        let waits_no_more = |member: Member| Member {
            is_new: false,
            joining: None,
            syncing: None,
            expires: None,
            ..member
        };
        let phase = if record.members.is_empty() { Phase::Empty } else { Phase::Stable };
        *self = Self {
            phase,
            came_from: phase,
            generation: record.generation,
            protocol_type: record.protocol_type.clone(),
            protocol: record.protocol.clone(),
            leader: record.leader.clone(),
            members: record.members.iter().cloned().map(waits_no_more).collect(),
            moved: true,
            answers: std::mem::take(&mut self.answers),
            record,
            ..Self::default()
        };
    }

    /// Begins the sessions that a new coordinator has yet to begin.
    fn settle_in(&mut self, now: Instant) {
        if std::mem::take(&mut self.moved) {
            for member in &mut self.members {
                member.expires = Some(deadline(now, member.session_timeout));
            }
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// `Stable gen 3 range, leader a of [a b(joining)], 1 pending`
impl fmt::Debug for ClassicGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} gen {} {}", self.phase, self.generation, self.protocol().unwrap_or("-"))?;
        write!(f, ", leader {} of [", self.leader().unwrap_or("-"))?;
        for (n, member) in self.members.iter().enumerate() {
            let doing = match (member.joining, member.syncing) {
                (Some(_), _) => "(joining)",
                (None, Some(_)) => "(syncing)",
                (None, None) => "",
            };
            write!(f, "{}{}{doing}", if n == 0 { "" } else { " " }, member.id)?;
        }
        write!(f, "], {} pending", self.pending.len())
    }
}

/// The milliseconds of a request as a time-out; none if negative.
fn timeout(ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}
