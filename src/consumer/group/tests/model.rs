//! Small coordinators of both protocols, as far as they matter to members.

use super::random::refusal;
use super::*;
use crate::protocol::messages::consumer_group_heartbeat::{
    Assignment as Target, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
    TopicPartitions,
};
use crate::types::TopicId;

/// Who asked: a client, and its token.
pub(super) type Who = (usize, u64);
pub(super) type Answers = Vec<(Who, GroupResponse)>;

const SESSION: Duration = Duration::from_secs(45);
const REBALANCE: Duration = Duration::from_secs(60);

pub(super) trait Coordinates {
    fn take(&mut self, who: Who, request: GroupRequest, at: Instant) -> Answers;

    /// Lets time pass.
    fn tick(&mut self, at: Instant) -> Answers;

    /// Another broker takes over; those who wait for an answer get none.
    fn moved(&mut self) -> Vec<Who>;

    fn is_member(&self, me: &ConsumerGroupMetadata) -> bool;
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Empty,
    Preparing,
    Completing,
    Stable,
}

#[derive(Debug)]
struct Member {
    metadata: Bytes,
    joining: Option<Who>,
    syncing: Option<Who>,
    seen: Instant,
    assignment: Bytes,
}

/// The classic protocol.
#[derive(Debug, Default)]
pub(super) struct Classic {
    state: State,
    generation: i32,
    last_id: u32,
    given: BTreeSet<String>,
    members: BTreeMap<String, Member>,
    leader: String,
    /// When it goes on without those who are late.
    deadline: Option<Instant>,
}

impl Classic {
    fn prepare(&mut self, at: Instant) -> Answers {
        if self.state == State::Preparing {
            return Vec::new();
        }
        self.state = State::Preparing;
        self.deadline = Some(at + REBALANCE);
        let waiting = self.members.values_mut().filter_map(|member| member.syncing.take());
        waiting.map(|who| (who, sync_error(ErrorCode::REBALANCE_IN_PROGRESS))).collect()
    }

    fn complete(&mut self, at: Instant) -> Answers {
        let all = self.members.values().all(|member| member.joining.is_some());
        let late = self.deadline.is_some_and(|deadline| deadline <= at);
        if self.state != State::Preparing || !(all || late) {
            return Vec::new();
        }
        self.members.retain(|_, member| member.joining.is_some());
        self.generation += 1;
        let Some(first) = self.members.keys().next().cloned() else {
            self.state = State::Empty;
            return Vec::new();
        };
        if !self.members.contains_key(&self.leader) {
            self.leader = first;
        }
        self.state = State::Completing;
        self.deadline = Some(at + REBALANCE);
        let list: Vec<_> = self
            .members
            .iter()
            .map(|(id, member)| JoinGroupResponseMember {
                member_id: id.clone(),
                metadata: member.metadata.clone(),
                ..JoinGroupResponseMember::default()
            })
            .collect();
        let mut answers = Vec::new();
        for (id, member) in &mut self.members {
            let GroupResponse::JoinGroup(mut answer) = joined(self.generation, id, &self.leader)
            else {
                unreachable!()
            };
            if *id == self.leader {
                answer.members.clone_from(&list);
            }
            member.seen = at;
            answers
                .extend(member.joining.take().map(|who| (who, GroupResponse::JoinGroup(answer))));
        }
        answers
    }

    fn remove(&mut self, id: &str, at: Instant) -> Answers {
        let Some(member) = self.members.remove(id) else { return Vec::new() };
        let unknown = ErrorCode::UNKNOWN_MEMBER_ID;
        let mut answers = self.prepare(at);
        answers.extend(member.joining.map(|who| (who, join_error(unknown, ""))));
        answers.extend(member.syncing.map(|who| (who, sync_error(unknown))));
        answers.extend(self.complete(at));
        answers
    }

    fn join(&mut self, who: Who, join: JoinGroupRequest, at: Instant) -> Answers {
        let id = join.member_id;
        if id.is_empty() {
            self.last_id += 1;
            let id = format!("m{}", self.last_id);
            self.given.insert(id.clone());
            return vec![(who, join_error(ErrorCode::MEMBER_ID_REQUIRED, &id))];
        }
        if !self.given.remove(&id) && !self.members.contains_key(&id) {
            return vec![(who, join_error(ErrorCode::UNKNOWN_MEMBER_ID, ""))];
        }
        let mut answers = self.prepare(at);
        let metadata = join.protocols[0].metadata.clone();
        let member = Member {
            metadata,
            joining: Some(who),
            syncing: None,
            seen: at,
            assignment: Bytes::new(),
        };
        self.members.insert(id, member);
        answers.extend(self.complete(at));
        answers
    }

    fn sync(&mut self, who: Who, sync: SyncGroupRequest, at: Instant) -> Answers {
        let answer = |assignment: &Bytes| {
            GroupResponse::SyncGroup(SyncGroupResponse {
                assignment: assignment.clone(),
                ..SyncGroupResponse::default()
            })
        };
        let leads = sync.member_id == self.leader;
        let (state, generation) = (self.state, self.generation);
        let Some(member) = self.members.get_mut(&sync.member_id) else {
            return vec![(who, sync_error(ErrorCode::UNKNOWN_MEMBER_ID))];
        };
        if sync.generation_id != generation {
            return vec![(who, sync_error(ErrorCode::ILLEGAL_GENERATION))];
        }
        member.seen = at;
        match state {
            State::Stable => vec![(who, answer(&member.assignment))],
            State::Completing => {
                member.syncing = Some(who);
                if !leads {
                    return Vec::new();
                }
                self.state = State::Stable;
                self.deadline = None;
                for given in sync.assignments {
                    let member = self.members.get_mut(&given.member_id).expect("a member");
                    member.assignment = given.assignment;
                }
                let waiting = self.members.values_mut().filter_map(|member| {
                    member.seen = at;
                    let who = member.syncing.take()?;
                    Some((who, answer(&member.assignment)))
                });
                waiting.collect()
            }
            _ => vec![(who, sync_error(ErrorCode::REBALANCE_IN_PROGRESS))],
        }
    }

    fn beat(&mut self, beat: &HeartbeatRequest, at: Instant) -> ErrorCode {
        match self.members.get_mut(&beat.member_id) {
            None => ErrorCode::UNKNOWN_MEMBER_ID,
            Some(_) if beat.generation_id != self.generation => ErrorCode::ILLEGAL_GENERATION,
            Some(member) => {
                member.seen = at;
                match self.state {
                    State::Preparing => ErrorCode::REBALANCE_IN_PROGRESS,
                    _ => ErrorCode::NONE,
                }
            }
        }
    }
}

impl Coordinates for Classic {
    fn take(&mut self, who: Who, request: GroupRequest, at: Instant) -> Answers {
        match request {
            GroupRequest::JoinGroup(join) => self.join(who, join, at),
            GroupRequest::SyncGroup(sync) => self.sync(who, sync, at),
            GroupRequest::Heartbeat(beat) => vec![(who, heartbeat(self.beat(&beat, at)))],
            GroupRequest::LeaveGroup(leave) => {
                let mut answers = self.remove(&leave.member_id, at);
                answers.push((who, left()));
                answers
            }
            request => panic!("{request:?}"),
        }
    }

    fn tick(&mut self, at: Instant) -> Answers {
        let silent = |(id, member): (&String, &Member)| {
            let waits = member.joining.is_some() || member.syncing.is_some();
            (!waits && member.seen + SESSION <= at).then(|| id.clone())
        };
        let silent: Vec<_> = self.members.iter().filter_map(silent).collect();
        let mut answers: Answers = silent.iter().flat_map(|id| self.remove(id, at)).collect();
        if self.state == State::Completing && self.deadline.is_none_or(|deadline| deadline <= at) {
            answers.extend(self.prepare(at));
        }
        if self.state == State::Preparing {
            self.deadline.get_or_insert(at + REBALANCE);
        }
        answers.extend(self.complete(at));
        answers
    }

    fn moved(&mut self) -> Vec<Who> {
        self.deadline = None;
        let take = |member: &mut Member| [member.joining.take(), member.syncing.take()];
        self.members.values_mut().flat_map(take).flatten().collect()
    }

    fn is_member(&self, me: &ConsumerGroupMetadata) -> bool {
        self.members.contains_key(&me.member_id)
    }
}

type Partitions = BTreeSet<(TopicId, i32)>;

#[derive(Debug)]
struct Owner {
    epoch: i32,
    previous: i32,
    /// What it may own.
    granted: Partitions,
    /// What it may own no more, and has not said that it does not.
    revoking: Partitions,
    /// What it says it owns.
    owned: Partitions,
    told: Option<Partitions>,
    seen: Instant,
}

/// The new protocol.
#[derive(Debug, Default)]
pub(super) struct Modern {
    epoch: i32,
    members: BTreeMap<String, Owner>,
}

pub(super) fn refused(error_code: ErrorCode) -> ConsumerGroupHeartbeatResponse {
    ConsumerGroupHeartbeatResponse { error_code, ..ConsumerGroupHeartbeatResponse::default() }
}

impl Modern {
    fn target(&self, id: &str) -> Partitions {
        let place = self.members.keys().position(|key| key == id).unwrap_or(0);
        let all = super::random::TOPICS.iter().flat_map(|(name, count)| {
            let topic = TopicId([name.as_bytes()[0]; 16]);
            (0..i32::try_from(*count).unwrap()).map(move |partition| (topic, partition))
        });
        let mine = all.enumerate().filter(|(n, _)| n % self.members.len() == place);
        mine.map(|(_, partition)| partition).collect()
    }

    fn beat(
        &mut self,
        beat: &ConsumerGroupHeartbeatRequest,
        at: Instant,
    ) -> ConsumerGroupHeartbeatResponse {
        let id = &beat.member_id;
        if beat.member_epoch < 0 {
            self.epoch += i32::from(self.members.remove(id).is_some());
            return ConsumerGroupHeartbeatResponse {
                member_epoch: beat.member_epoch,
                ..ConsumerGroupHeartbeatResponse::default()
            };
        }
        if beat.member_epoch == 0 {
            let member = Owner {
                epoch: 0,
                previous: 0,
                granted: Partitions::new(),
                revoking: Partitions::new(),
                owned: Partitions::new(),
                told: None,
                seen: at,
            };
            self.members.insert(id.clone(), member);
            self.epoch += 1;
        }
        let Some(member) = self.members.get_mut(id) else {
            return refused(ErrorCode::UNKNOWN_MEMBER_ID);
        };
        if beat.member_epoch != member.epoch && beat.member_epoch != member.previous {
            return refused(ErrorCode::FENCED_MEMBER_EPOCH);
        }
        member.seen = at;
        if let Some(owned) = &beat.topic_partitions {
            let list = owned.iter().flat_map(|topic| {
                topic.partitions.iter().map(|partition| (topic.topic_id, *partition))
            });
            member.owned = list.collect();
            member.revoking = &member.revoking & &member.owned;
        }
        self.advance(id);
        let member = self.members.get_mut(id).expect("a member");
        let full = beat.subscribed_topic_names.is_some();
        let changed = member.told.as_ref() != Some(&member.granted);
        member.told = Some(member.granted.clone());
        let topic = |(topic_id, partition): &(TopicId, i32)| TopicPartitions {
            topic_id: *topic_id,
            partitions: vec![*partition],
        };
        let topic_partitions = member.granted.iter().map(topic).collect();
        ConsumerGroupHeartbeatResponse {
            member_epoch: member.epoch,
            heartbeat_interval_ms: 3_000,
            assignment: (full || changed).then_some(Target { topic_partitions }),
            ..ConsumerGroupHeartbeatResponse::default()
        }
    }

    /// Takes from the member what it is not to have, and then gives it what nobody has.
    fn advance(&mut self, id: &str) {
        let target = self.target(id);
        let others = self.members.iter().filter(|(other, _)| *other != id);
        let taken: Partitions = others
            .flat_map(|(_, other)| other.granted.iter().chain(&other.revoking).chain(&other.owned))
            .copied()
            .collect();
        let epoch = self.epoch;
        let member = self.members.get_mut(id).expect("a member");
        let excess = &member.granted - &target;
        member.granted = &member.granted - &excess;
        member.revoking.extend(excess);
        if member.revoking.is_empty() {
            if member.epoch != epoch {
                member.previous = std::mem::replace(&mut member.epoch, epoch);
            }
            member.granted = &target - &taken;
        }
    }
}

impl Coordinates for Modern {
    fn take(&mut self, who: Who, request: GroupRequest, at: Instant) -> Answers {
        match request {
            GroupRequest::ConsumerGroupHeartbeat(beat) => {
                vec![(who, GroupResponse::ConsumerGroupHeartbeat(self.beat(&beat, at)))]
            }
            request => vec![(who, refusal(&request, ErrorCode::UNSUPPORTED_VERSION))],
        }
    }

    fn tick(&mut self, at: Instant) -> Answers {
        let before = self.members.len();
        self.members.retain(|_, member| member.seen + SESSION > at);
        self.epoch += i32::from(self.members.len() != before);
        Vec::new()
    }

    fn moved(&mut self) -> Vec<Who> {
        Vec::new()
    }

    fn is_member(&self, me: &ConsumerGroupMetadata) -> bool {
        let epoch = me.generation_id;
        self.members
            .get(&me.member_id)
            .is_some_and(|member| epoch == member.epoch || epoch == member.previous)
    }
}
