//! The groups of the cluster: their names, where each is coordinated, and the requests that wait for an answer.
//!
//! Each request comes with the present time, and what is overdue is done first, in its order and at its own time. So no
//! timer has to run: what nobody asks for and nobody waits for is not noticed. Those who wait know from
//! [`Groups::next_deadline`] when to look again.

mod admin;
mod classic;
mod inspect;
mod members;
mod modern;
mod offsets;
mod transactional;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

pub(crate) use self::classic::Identity;
use self::classic::Join;
pub(crate) use self::inspect::show;
pub use self::inspect::{GroupDescription, GroupMember, GroupType};
pub(crate) use self::members::{Group, Members};
use self::modern::{ConsumerGroup, Heartbeat};
pub(crate) use self::modern::{Slot, TopicView};
pub use self::offsets::CommittedOffset;
pub(crate) use self::offsets::Offsets;
use crate::broker::placement::Placement;
use crate::error::ErrorCode;
use crate::protocol::messages::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
};
use crate::protocol::messages::heartbeat::HeartbeatRequest;
use crate::protocol::messages::join_group::{JoinGroupRequest, JoinGroupResponse};
use crate::protocol::messages::leave_group::{MemberIdentity, MemberResponse};
use crate::protocol::messages::offset_fetch::OffsetFetchRequestGroup;
use crate::protocol::messages::sync_group::{SyncGroupRequest, SyncGroupResponse};
use crate::time::{Duration, Instant};
use crate::types::BrokerId;

/// From this version of OffsetCommit on, a group that is not there is called that.
const NO_GROUP_FROM: i16 = 9;

/// Whence a member is said to come: nodes listen on this machine only.
const CLIENT_HOST: &str = "/127.0.0.1";

/// What can be set about groups.
#[derive(Debug, Clone)]
pub(crate) struct GroupSettings {
    /// `group.initial.rebalance.delay.ms`
    pub(crate) initial_rebalance_delay: Duration,
    /// `group.min.session.timeout.ms`
    pub(crate) min_session_timeout: Duration,
    /// `group.max.session.timeout.ms`
    pub(crate) max_session_timeout: Duration,
    /// `group.max.size`, `group.consumer.max.size`
    pub(crate) max_size: usize,
    /// `group.consumer.session.timeout.ms`
    pub(crate) consumer_session_timeout: Duration,
    /// `group.consumer.heartbeat.interval.ms`
    pub(crate) consumer_heartbeat_interval: Duration,
}

impl Default for GroupSettings {
    fn default() -> Self {
        Self {
            initial_rebalance_delay: Duration::ZERO,
            min_session_timeout: Duration::from_secs(6),
            max_session_timeout: Duration::from_secs(30 * 60),
            max_size: usize::MAX,
            consumer_session_timeout: Duration::from_secs(45),
            consumer_heartbeat_interval: Duration::from_secs(5),
        }
    }
}

/// The time, and what holds for all groups.
#[derive(Debug, Clone, Copy)]
struct Turn<'a> {
    now: Instant,
    settings: &'a GroupSettings,
}

/// Stands for a request that may have to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

/// What a request that may have waited is told.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    Join(JoinGroupResponse),
    Sync(SyncGroupResponse),
}

/// A request that is refused: Kafka's code and a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
}

impl Refused {
    fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl From<ErrorCode> for Refused {
    fn from(code: ErrorCode) -> Self {
        Self::new(code, code.description())
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Groups {
    pub(crate) placement: Placement,
    settings: GroupSettings,
    groups: BTreeMap<String, Group>,
    /// Requests that wait, and their answers once they are there.
    parked: BTreeMap<Ticket, Option<Answer>>,
    next_ticket: u64,
    rng: fastrand::Rng,
}

impl Groups {
    pub(crate) fn new(nodes: &[BrokerId], settings: GroupSettings, rng: fastrand::Rng) -> Self {
        Self {
            placement: Placement::over(nodes),
            settings,
            groups: BTreeMap::new(),
            parked: BTreeMap::new(),
            next_ticket: 0,
            rng,
        }
    }

    /// Whether a node is who coordinates the group.
    pub(crate) fn check_node(&self, node: BrokerId, group: &str) -> Result<(), ErrorCode> {
        if self.placement.coordinator(group) == Some(node) {
            Ok(())
        } else {
            Err(ErrorCode::NOT_COORDINATOR)
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Group> {
        self.groups.get(name)
    }

    // ---- requests that may wait -------------------------------------------------------------------------------------

    /// Lets a member join; the ticket's answer may take until the others have joined.
    pub(crate) fn join(
        &mut self,
        now: Instant,
        version: i16,
        client_id: &str,
        mut request: JoinGroupRequest,
    ) -> Ticket {
        let ticket = self.park();
        for protocol in &mut request.protocols {
            // What is kept must not keep the memory of its frame.
            protocol.metadata = Bytes::copy_from_slice(&protocol.metadata);
        }
        let refused = |member_id: &str, error_code| {
            let member_id = member_id.to_owned();
            Answer::Join(JoinGroupResponse { error_code, member_id, ..Default::default() })
        };
        let (name, member_id) = (request.group_id.clone(), request.member_id.clone());
        if let Err(code) = self.may_join(&request) {
            self.deliver([(ticket, refused(&member_id, code))]);
            return ticket;
        }
        let unique = self.unique();
        let join = Join { ticket, version, client_id, unique, request };
        self.groups.entry(name.clone()).or_default();
        self.turn(now, &name, |group, turn| {
            if group.members.is_empty() && group.members.classic().is_none() {
                group.members = Members::default();
            }
            group.members.classic().map(|group| group.join(turn, join))
        })
        .flatten()
        .unwrap_or_else(|| {
            self.deliver([(ticket, refused("", ErrorCode::INCONSISTENT_GROUP_PROTOCOL))]);
        });
        ticket
    }

    fn may_join(&self, request: &JoinGroupRequest) -> Result<(), ErrorCode> {
        let bounds = self.settings.min_session_timeout..=self.settings.max_session_timeout;
        let session = u64::try_from(request.session_timeout_ms).unwrap_or(0);
        if request.group_id.is_empty() {
            return Err(ErrorCode::INVALID_GROUP_ID);
        }
        if !bounds.contains(&Duration::from_millis(session)) {
            return Err(ErrorCode::INVALID_SESSION_TIMEOUT);
        }
        if !request.member_id.is_empty() && !self.groups.contains_key(&request.group_id) {
            return Err(ErrorCode::UNKNOWN_MEMBER_ID);
        }
        Ok(())
    }

    /// Lets a member ask for its assignment; the ticket's answer may take until the leader has brought it.
    pub(crate) fn sync(&mut self, now: Instant, request: &SyncGroupRequest) -> Ticket {
        let ticket = self.park();
        let synced = self.turn(now, &request.group_id, |group, turn| {
            group.members.classic().map(|group| group.sync(turn, ticket, request))
        });
        if synced.flatten().is_none() {
            let error_code = no_group(&request.group_id, ErrorCode::UNKNOWN_MEMBER_ID);
            let response = SyncGroupResponse { error_code, ..Default::default() };
            self.deliver([(ticket, Answer::Sync(response))]);
        }
        ticket
    }

    fn park(&mut self) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.parked.insert(ticket, None);
        ticket
    }

    fn deliver(&mut self, answers: impl IntoIterator<Item = (Ticket, Answer)>) {
        for (ticket, answer) in answers {
            if let Some(place) = self.parked.get_mut(&ticket) {
                *place = Some(answer);
            }
        }
    }

    /// The answer to a request that waits, once it is there.
    pub(crate) fn take_answer(&mut self, ticket: Ticket) -> Option<Answer> {
        let answer = self.parked.get_mut(&ticket)?.take();
        if answer.is_some() {
            self.parked.remove(&ticket);
        }
        answer
    }

    /// Nobody is left to be told. The request stands.
    pub(crate) fn abandon(&mut self, ticket: Ticket) {
        self.parked.remove(&ticket);
    }

    /// 32 hexadecimal digits in groups, as of a random UUID.
    fn unique(&mut self) -> String {
        crate::types::TopicId(self.rng.u128(..).to_be_bytes()).to_string()
    }

    // ---- requests that do not wait ----------------------------------------------------------------------------------

    pub(crate) fn heartbeat(
        &mut self,
        now: Instant,
        request: &HeartbeatRequest,
    ) -> Result<(), ErrorCode> {
        let beat = self.turn(now, &request.group_id, |group, turn| {
            group.members.classic().map(|group| group.heartbeat(turn, request))
        });
        let unknown = || no_group(&request.group_id, ErrorCode::UNKNOWN_MEMBER_ID);
        beat.flatten().ok_or_else(unknown)?
    }

    pub(crate) fn leave(
        &mut self,
        now: Instant,
        group: &str,
        members: &[MemberIdentity],
    ) -> Result<Vec<MemberResponse>, ErrorCode> {
        if group.is_empty() {
            return Err(ErrorCode::INVALID_GROUP_ID);
        }
        let unknown = |member: &MemberIdentity| MemberResponse {
            member_id: member.member_id.clone(),
            group_instance_id: member.group_instance_id.clone(),
            error_code: ErrorCode::UNKNOWN_MEMBER_ID,
        };
        let left = self.turn(now, group, |group, turn| {
            group.members.classic().map(|group| group.leave(turn, members))
        });
        Ok(left.flatten().unwrap_or_else(|| members.iter().map(unknown).collect()))
    }

    /// All that a member of the new protocol has to say and is told.
    pub(crate) fn consumer_heartbeat(
        &mut self,
        now: Instant,
        (version, client_id): (i16, &str),
        request: ConsumerGroupHeartbeatRequest,
        topics: &dyn TopicView,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refused> {
        modern::check(version, &request)?;
        let (name, joins) = (request.group_id.clone(), request.member_epoch == 0);
        let missing =
            |why: &str| Refused::new(ErrorCode::GROUP_ID_NOT_FOUND, format!("Group {name} {why}."));
        let is_new = !self.groups.contains_key(&name);
        if joins {
            self.groups.entry(name.clone()).or_default();
        }
        let heartbeat = Heartbeat { client_id, unique: self.unique(), request };
        let told = self.turn(now, &name, |group, turn| {
            if joins && group.members.is_empty() && group.members.classic().is_some() {
                group.members = Members::Consumer(ConsumerGroup::default());
            }
            match &mut group.members {
                Members::Consumer(group) => group.heartbeat(turn, heartbeat, topics),
                Members::Classic(_) => Err(missing("is not a consumer group")),
            }
        });
        let told = told.ok_or_else(|| missing("not found"))?;
        if told.is_err() && is_new {
            self.groups.remove(&name);
        }
        told
    }

    /// Whether `who` may commit offsets. One that is no member makes the group if there is none.
    pub(crate) fn may_commit(
        &mut self,
        now: Instant,
        version: i16,
        group: &str,
        who: Identity<'_>,
    ) -> Result<(), ErrorCode> {
        if who.generation < 0 {
            self.groups.entry(group.to_owned()).or_default();
        }
        let none = if version >= NO_GROUP_FROM {
            ErrorCode::GROUP_ID_NOT_FOUND
        } else {
            ErrorCode::ILLEGAL_GENERATION
        };
        let may = self.turn(now, group, |group, turn| match &mut group.members {
            Members::Classic(group) => group.may_commit(turn, who),
            Members::Consumer(group) => group.may_commit(version, who),
        });
        may.ok_or(none)?
    }

    /// Whether `who`, who may commit, may do so for this partition.
    pub(crate) fn may_commit_to(
        &self,
        group: &str,
        slot: Slot,
        who: Identity<'_>,
    ) -> Result<(), ErrorCode> {
        match self.groups.get(group).map(|group| &group.members) {
            Some(Members::Consumer(group)) => group.may_commit_to(slot, who),
            _ => Ok(()),
        }
    }

    /// Stores an offset of a group that is there.
    pub(crate) fn commit(
        &mut self,
        group: &str,
        topic: &str,
        partition: i32,
        committed: CommittedOffset,
    ) {
        if let Some(group) = self.groups.get_mut(group) {
            group.offsets.store(topic, partition, committed);
        }
    }

    /// Whether the offsets of a group may be read by who asks for them.
    pub(crate) fn may_fetch(
        &mut self,
        now: Instant,
        asked: &OffsetFetchRequestGroup,
    ) -> Result<(), ErrorCode> {
        self.advance(now, &asked.group_id);
        match self.groups.get(&asked.group_id).map(|group| &group.members) {
            Some(Members::Consumer(group)) => {
                group.may_fetch(asked.member_id.as_deref(), asked.member_epoch)
            }
            _ => Ok(()),
        }
    }

    // ---- time and places --------------------------------------------------------------------------------------------

    /// Does what is overdue in a group, then something else. `None` if there is no such group.
    fn turn<T>(
        &mut self,
        now: Instant,
        name: &str,
        act: impl FnOnce(&mut Group, &Turn<'_>) -> T,
    ) -> Option<T> {
        let group = self.groups.get_mut(name)?;
        let turn = Turn { now, settings: &self.settings };
        group.members.advance(&turn);
        let result = act(group, &turn);
        // What was begun may be due at once.
        group.members.advance(&turn);
        let answers = group.members.take_answers();
        self.deliver(answers);
        Some(result)
    }

    /// Does what is overdue in a group. Gives whether there was anything.
    pub(crate) fn advance(&mut self, now: Instant, name: &str) -> bool {
        let due = self.groups.get(name).is_some_and(|group| group.members.is_due(now));
        if due {
            self.turn(now, name, |_, _| ());
        }
        due
    }

    /// When something will be overdue in a group.
    pub(crate) fn next_deadline(&self, name: &str) -> Option<Instant> {
        self.groups.get(name)?.members.next_deadline()
    }

    /// Lets another node coordinate a group, and all that share its partition of `__consumer_offsets`.
    pub(crate) fn move_coordinator(&mut self, group: &str, node: BrokerId) {
        if self.placement.coordinator(group) != Some(node) {
            self.placement.move_to(group, node);
            self.change_coordinators(|other| Placement::same(group, other));
        }
    }

    pub(crate) fn node_stopped(&mut self, node: BrokerId, running: &BTreeSet<BrokerId>) {
        let names = self.groups.keys();
        let moved = names.filter(|name| self.placement.coordinator(name) == Some(node));
        let moved: BTreeSet<String> = moved.cloned().collect();
        self.placement.node_stopped(node, running);
        self.change_coordinators(|name| moved.contains(name));
    }

    pub(crate) fn node_started(&mut self, node: BrokerId) {
        self.placement.node_started(node);
    }

    fn change_coordinators(&mut self, concerned: impl Fn(&str) -> bool) {
        let mut answers = Vec::new();
        for (_, group) in self.groups.iter_mut().filter(|(name, _)| concerned(name)) {
            group.members.change_coordinator();
            answers.append(&mut group.members.take_answers());
        }
        self.deliver(answers);
    }

    /// A topic is deleted: so are its offsets.
    pub(crate) fn topic_deleted(&mut self, topic: &str) {
        for group in self.groups.values_mut() {
            group.offsets.forget_topic(topic);
        }
    }
}

/// What a request is told whose group is not there.
fn no_group(name: &str, code: ErrorCode) -> ErrorCode {
    if name.is_empty() { ErrorCode::INVALID_GROUP_ID } else { code }
}

#[cfg(test)]
mod tests;
