//! A member on a bench: what it sends is looked at and answered by hand.

mod bugs;
mod classic_join;
mod classic_leader;
mod classic_leave;
mod classic_refused;
mod codes;
mod coordinator;
mod model;
mod modern;
mod moves;
mod random;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::assign::{
    Assignment, ClusterTopics, MemberSubscription, RebalanceProtocol, RebalanceProtocol::*,
};
use super::*;
use crate::error::{DisconnectReason, Peer};
use crate::protocol::consumer_protocol::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription,
};
use crate::protocol::messages::find_coordinator::FindCoordinatorResponse;
use crate::protocol::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use crate::protocol::messages::join_group::{
    JoinGroupRequest, JoinGroupResponse, JoinGroupResponseMember,
};
use crate::protocol::messages::leave_group::LeaveGroupResponse;
use crate::protocol::messages::sync_group::{SyncGroupRequest, SyncGroupResponse};
use crate::types::BrokerId;

const MS: fn(u64) -> Duration = Duration::from_millis;
const SECONDS: fn(u64) -> Duration = Duration::from_secs;

/// Gives all partitions of a topic to the first member that subscribes to it.
#[derive(Debug)]
struct Greedy(&'static str, &'static [RebalanceProtocol]);

impl Assignor for Greedy {
    fn name(&self) -> &str {
        self.0
    }

    fn supported_protocols(&self) -> &[RebalanceProtocol] {
        self.1
    }

    fn assign(
        &self,
        cluster: &ClusterTopics,
        members: &BTreeMap<String, MemberSubscription>,
    ) -> BTreeMap<String, Assignment> {
        let mut shares = BTreeMap::<String, Vec<_>>::new();
        for (topic, _) in cluster.topics() {
            let first = members.iter().find(|(_, member)| member.topics.contains(topic));
            if let Some((id, _)) = first {
                shares.entry(id.clone()).or_default().extend(cluster.partitions(topic));
            }
        }
        shares.into_iter().map(|(id, share)| (id, Assignment::new(share))).collect()
    }
}

fn config(protocols: &'static [RebalanceProtocol]) -> GroupConfig {
    GroupConfig {
        group_id: "readers".to_owned(),
        instance_id: None,
        rack: None,
        protocol: MemberProtocol::Classic {
            assignors: vec![Arc::new(Greedy("greedy", protocols))],
            session_timeout: SECONDS(45),
            heartbeat_interval: SECONDS(3),
        },
        max_poll_interval: SECONDS(300),
        request_timeout: SECONDS(30),
        backoff: Backoff::new(MS(100), MS(1000)),
    }
}

/// `t-0 t-1 u-0` and so on.
fn partitions(names: &str) -> Vec<TopicPartition> {
    let parse = |name: &str| {
        let (topic, partition) = name.rsplit_once('-').unwrap();
        TopicPartition::new(topic, partition.parse().unwrap())
    };
    names.split_whitespace().map(parse).collect()
}

/// The reverse.
fn text(partitions: &[TopicPartition]) -> String {
    let names: Vec<_> = partitions.iter().map(ToString::to_string).collect();
    names.join(" ")
}

fn topics(names: &str) -> GroupSubscription {
    GroupSubscription::Topics(names.split_whitespace().map(str::to_owned).collect())
}

fn disconnected() -> ClientError {
    ClientError::Disconnected {
        peer: Peer::new(None, "h", 1),
        reason: DisconnectReason::ClosedByPeer,
        maybe_written: true,
    }
}

/// A request that was sent and not answered.
#[derive(Debug, Clone)]
struct Sent {
    token: u64,
    to: Destination,
    request: GroupRequest,
    timeout: Duration,
}

/// A member, its time, and what it has under way.
struct Bench {
    group: Group,
    at: Instant,
    sent: VecDeque<Sent>,
    tracked: BTreeSet<String>,
    resolve: BTreeSet<crate::types::TopicId>,
}

impl Bench {
    fn new(config: GroupConfig) -> Self {
        Self {
            group: Group::new(config, 7).unwrap(),
            at: Instant::now(),
            sent: VecDeque::new(),
            tracked: BTreeSet::new(),
            resolve: BTreeSet::new(),
        }
    }

    fn run(&mut self) {
        for action in self.group.poll(self.at) {
            match action {
                Action::Send { token, to, request, timeout } => {
                    self.sent.push_back(Sent { token, to, request: *request, timeout });
                }
                Action::Track(topics) => self.tracked = topics,
                Action::Resolve(ids) => self.resolve = ids,
            }
        }
        assert!(self.group.poll(self.at).is_empty(), "it had more to do: {:?}", self.group);
        assert!(
            self.group.next_deadline().is_none_or(|deadline| deadline > self.at),
            "a deadline that does nothing: {:?}",
            self.group
        );
    }

    fn pass(&mut self, time: Duration) {
        self.at += time;
        self.run();
    }

    /// To the next deadline.
    fn wait(&mut self) -> Duration {
        let deadline = self.group.next_deadline().expect("something to wait for");
        let time = deadline.saturating_duration_since(self.at);
        self.pass(time);
        time
    }

    fn user_polls(&mut self) {
        self.group.poll_begins(self.at);
        self.group.poll_ends(self.at);
        self.run();
    }

    /// The only request under way.
    fn only(&mut self) -> Sent {
        let sent =
            self.sent.pop_front().unwrap_or_else(|| panic!("nothing sent: {:?}", self.group));
        assert!(self.sent.is_empty(), "{:?}", self.sent);
        sent
    }

    fn nothing_sent(&self) {
        assert!(self.sent.is_empty(), "{:?}", self.sent);
    }

    fn answer(&mut self, sent: &Sent, answer: impl Into<GroupResponse>) {
        self.group.handle_response(sent.token, Ok(answer.into()), self.at);
        self.run();
    }

    fn fail(&mut self, sent: &Sent, error: ClientError) {
        self.group.handle_response(sent.token, Err(error), self.at);
        self.run();
    }

    fn coordinator_is(&mut self, broker: i32) {
        let sent = self.only();
        let GroupRequest::FindCoordinator(find) = &sent.request else { panic!("{sent:?}") };
        assert_eq!((find.name(), sent.to), ("readers", Destination::Any));
        self.answer(&sent, found(broker));
    }

    fn join_request(&mut self) -> (Sent, JoinGroupRequest) {
        let sent = self.only();
        let GroupRequest::JoinGroup(join) = sent.request.clone() else { panic!("{sent:?}") };
        (sent, join)
    }

    /// As [`Bench::join_request`], to be answered later.
    fn join_request_left(&mut self) -> (Sent, JoinGroupRequest) {
        let (sent, join) = self.join_request();
        self.sent.push_back(sent.clone());
        (sent, join)
    }

    fn sync_request(&mut self) -> (Sent, SyncGroupRequest) {
        let sent = self.only();
        let GroupRequest::SyncGroup(sync) = sent.request.clone() else { panic!("{sent:?}") };
        (sent, sync)
    }

    fn heartbeat_request(&mut self) -> (Sent, HeartbeatRequest) {
        let sent = self.only();
        let GroupRequest::Heartbeat(heartbeat) = sent.request.clone() else { panic!("{sent:?}") };
        (sent, heartbeat)
    }

    fn heartbeat(&mut self, code: ErrorCode) {
        let (sent, _) = self.heartbeat_request();
        self.answer(&sent, heartbeat(code));
    }

    /// Subscribes, polls and joins as a follower, with these partitions, in generation 1.
    fn member_with(config: GroupConfig, names: &str) -> Self {
        let mut bench = Self::new(config);
        bench.group.subscribe(topics("t u"), bench.at);
        bench.user_polls();
        bench.coordinator_is(1);
        bench.rejoined(1, names);
        bench.assigned();
        bench
    }

    /// Answers the JoinGroup and the SyncGroup of a follower.
    fn rejoined(&mut self, generation: i32, names: &str) {
        let (sent, _) = self.join_request();
        self.answer(&sent, joined(generation, "me", "leader"));
        let (sent, sync) = self.sync_request();
        assert_eq!((sync.generation_id, sync.member_id.as_str()), (generation, "me"));
        assert!(sync.assignments.is_empty());
        self.answer(&sent, synced(names));
    }

    /// What the user is told next, which it is done with at once.
    fn told(&mut self) -> Option<String> {
        let event = self.group.take_event(self.at)?;
        let told = match event {
            MemberEvent::Revoked(partitions) => format!("revoked {}", text(&partitions)),
            MemberEvent::Lost(partitions) => format!("lost {}", text(&partitions)),
            MemberEvent::Assigned { added, all } => {
                format!("assigned {} of {}", text(&added), text(&all))
            }
            MemberEvent::Failed(error) => format!("failed {error}"),
        };
        self.group.event_done(self.at);
        self.run();
        Some(told)
    }

    #[track_caller]
    fn tells(&mut self, expected: &str) {
        assert_eq!(self.told().as_deref(), Some(expected), "{:?}", self.group);
    }

    #[track_caller]
    fn tells_nothing(&mut self) {
        assert_eq!(self.told(), None);
    }

    fn assigned(&mut self) {
        let told = self.told().expect("an assignment");
        assert!(told.starts_with("assigned"), "{told}");
    }

    fn failure(&mut self) -> GroupError {
        match self.group.take_event(self.at) {
            Some(MemberEvent::Failed(error)) => error,
            event => panic!("{event:?}"),
        }
    }

    fn know(&mut self, topics: &[(&str, usize)]) {
        let view = |(name, partitions): &(&str, usize)| {
            let racks = vec![BTreeSet::new(); *partitions];
            ((*name).to_owned(), TopicView { id: crate::types::TopicId::ZERO, racks })
        };
        let topics = topics.iter().map(view).collect();
        self.group.handle_topics(Arc::new(TopicsView { topics }));
        self.run();
    }
}

fn found(broker: i32) -> GroupResponse {
    GroupResponse::FindCoordinator(FindCoordinatorResponse {
        node_id: broker,
        ..FindCoordinatorResponse::default()
    })
}

fn joined(generation: i32, member: &str, leader: &str) -> GroupResponse {
    GroupResponse::JoinGroup(JoinGroupResponse {
        generation_id: generation,
        protocol_name: Some("greedy".to_owned()),
        member_id: member.to_owned(),
        leader: leader.to_owned(),
        ..JoinGroupResponse::default()
    })
}

fn join_error(code: ErrorCode, member: &str) -> GroupResponse {
    GroupResponse::JoinGroup(JoinGroupResponse {
        error_code: code,
        member_id: member.to_owned(),
        ..JoinGroupResponse::default()
    })
}

fn synced(names: &str) -> GroupResponse {
    let assignment = Assignment::new(partitions(names));
    let assignment = ConsumerProtocolAssignment::from(&assignment).to_bytes().unwrap();
    GroupResponse::SyncGroup(SyncGroupResponse { assignment, ..SyncGroupResponse::default() })
}

fn sync_error(error_code: ErrorCode) -> GroupResponse {
    GroupResponse::SyncGroup(SyncGroupResponse { error_code, ..SyncGroupResponse::default() })
}

fn heartbeat(error_code: ErrorCode) -> GroupResponse {
    GroupResponse::Heartbeat(HeartbeatResponse { error_code, ..HeartbeatResponse::default() })
}

fn left() -> GroupResponse {
    GroupResponse::LeaveGroup(LeaveGroupResponse::default())
}

fn found_error(error_code: ErrorCode) -> GroupResponse {
    GroupResponse::FindCoordinator(FindCoordinatorResponse {
        error_code,
        node_id: if error_code.is_ok() { 1 } else { -1 },
        ..FindCoordinatorResponse::default()
    })
}

/// The only member leads.
fn joined_alone(generation: i32) -> GroupResponse {
    let GroupResponse::JoinGroup(response) = joined(generation, "me", "me") else { unreachable!() };
    let subscription = MemberSubscription::new(["t"]);
    let me = JoinGroupResponseMember {
        member_id: "me".to_owned(),
        metadata: ConsumerProtocolSubscription::from(&subscription).to_bytes().unwrap(),
        ..JoinGroupResponseMember::default()
    };
    GroupResponse::JoinGroup(JoinGroupResponse { members: vec![me], ..response })
}
