//! Groups by events, on a clock that the tests set.

mod classic;
mod members;
mod modern;
mod modern_random;
mod random;

use super::*;
use crate::protocol::messages::join_group::JoinGroupRequestProtocol;
use crate::protocol::messages::sync_group::SyncGroupRequestAssignment;

const GROUP: &str = "g";
/// Time-outs of the members here, in milliseconds.
const SESSION: i32 = 10_000;
const REBALANCE: i32 = 60_000;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The groups of two nodes, and the time.
struct World {
    groups: Groups,
    now: Instant,
}

/// A member as a test describes it.
#[derive(Debug, Clone)]
struct Who {
    id: String,
    instance: Option<&'static str>,
    protocols: Vec<(&'static str, &'static str)>,
    version: i16,
}

fn who(id: &str) -> Who {
    Who { id: id.to_owned(), instance: None, protocols: vec![("range", "m")], version: 9 }
}

/// A member of a version that joins without an id given before.
fn newcomer() -> Who {
    Who { version: 3, ..who("") }
}

fn static_member(instance: &'static str) -> Who {
    Who { instance: Some(instance), ..who("") }
}

impl World {
    fn new() -> Self {
        Self::with(GroupSettings::default())
    }

    fn with(settings: GroupSettings) -> Self {
        let nodes = [BrokerId(1), BrokerId(2)];
        let groups = Groups::new(&nodes, settings, fastrand::Rng::with_seed(1));
        Self { groups, now: Instant::now() }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.groups.advance(self.now, GROUP);
    }

    fn join(&mut self, who: &Who) -> Ticket {
        let protocols = who.protocols.iter().map(|(name, metadata)| JoinGroupRequestProtocol {
            name: (*name).to_owned(),
            metadata: Bytes::from_static(metadata.as_bytes()),
        });
        let request = JoinGroupRequest {
            group_id: GROUP.to_owned(),
            session_timeout_ms: SESSION,
            rebalance_timeout_ms: REBALANCE,
            member_id: who.id.clone(),
            group_instance_id: who.instance.map(str::to_owned),
            protocol_type: "consumer".to_owned(),
            protocols: protocols.collect(),
            reason: None,
        };
        self.groups.join(self.now, who.version, "client", request)
    }

    /// The answer to a JoinGroup, if it is there.
    fn joined(&mut self, ticket: Ticket) -> Option<JoinGroupResponse> {
        match self.groups.take_answer(ticket)? {
            Answer::Join(response) => Some(response),
            Answer::Sync(response) => panic!("{response:?} to a JoinGroup"),
        }
    }

    fn join_now(&mut self, who: &Who) -> JoinGroupResponse {
        let ticket = self.join(who);
        self.joined(ticket).expect("an answer at once")
    }

    /// Joins under the id that a member is given first.
    fn sync(&mut self, id: &str, generation: i32, assigned: &[(&str, &str)]) -> Ticket {
        let assignments = assigned.iter().map(|(id, assignment)| SyncGroupRequestAssignment {
            member_id: (*id).to_owned(),
            assignment: Bytes::copy_from_slice(assignment.as_bytes()),
        });
        let request = SyncGroupRequest {
            group_id: GROUP.to_owned(),
            generation_id: generation,
            member_id: id.to_owned(),
            protocol_type: Some("consumer".to_owned()),
            protocol_name: Some("range".to_owned()),
            assignments: assignments.collect(),
            ..Default::default()
        };
        self.groups.sync(self.now, &request)
    }

    /// The answer to a SyncGroup, if it is there.
    fn synced(&mut self, ticket: Ticket) -> Option<Result<Bytes, ErrorCode>> {
        match self.groups.take_answer(ticket)? {
            Answer::Sync(response) if response.error_code.is_ok() => Some(Ok(response.assignment)),
            Answer::Sync(response) => Some(Err(response.error_code)),
            Answer::Join(response) => panic!("{response:?} to a SyncGroup"),
        }
    }

    fn heartbeat(&mut self, id: &str, generation: i32) -> Result<(), ErrorCode> {
        let request = HeartbeatRequest {
            group_id: GROUP.to_owned(),
            generation_id: generation,
            member_id: id.to_owned(),
            group_instance_id: None,
        };
        self.groups.heartbeat(self.now, &request)
    }

    fn leave(&mut self, members: &[(&str, Option<&str>)]) -> Vec<ErrorCode> {
        let members = members.iter().map(|(id, instance)| MemberIdentity {
            member_id: (*id).to_owned(),
            group_instance_id: instance.map(str::to_owned),
            reason: None,
        });
        let members: Vec<_> = members.collect();
        let left = self.groups.leave(self.now, GROUP, &members).unwrap();
        left.into_iter().map(|member| member.error_code).collect()
    }

    fn may_commit(&mut self, generation: i32, id: &str) -> Result<(), ErrorCode> {
        let who = Identity { generation, member_id: id, instance_id: None };
        self.groups.may_commit(self.now, 9, GROUP, who)
    }

    /// A stable group of members that join one after the other, the first of whom leads. Gives ids and the generation.
    fn stable(&mut self, members: &[Who]) -> (Vec<String>, i32) {
        let mut ids: Vec<String> = Vec::new();
        for member in members {
            let ticket = self.join(member);
            let known: Vec<_> = ids
                .iter()
                .map(|id| self.join(&Who { id: id.clone(), ..member_like(members, &ids, id) }))
                .collect();
            for ticket in known {
                self.joined(ticket).expect("all have joined");
            }
            ids.push(self.joined(ticket).expect("all have joined").member_id);
        }
        let generation = self.show().generation;
        let assigned: Vec<_> = ids.iter().map(|id| (id.as_str(), id.as_str())).collect();
        for (n, id) in ids.iter().enumerate().rev() {
            let ticket = self.sync(id, generation, if n == 0 { &assigned } else { &[] });
            assert_eq!(self.synced(ticket).is_some(), n == 0);
        }
        assert_eq!(self.show().state, "Stable");
        (ids, generation)
    }

    fn show(&self) -> GroupDescription {
        show(self.groups.get(GROUP).expect("the group"), |_| None)
    }

    fn member_ids(&self) -> Vec<String> {
        self.show().members.into_iter().map(|member| member.id).collect()
    }
}

/// How the member with an id was described.
fn member_like(members: &[Who], ids: &[String], id: &str) -> Who {
    let at = ids.iter().position(|known| known == id).expect("a known id");
    members[at].clone()
}
