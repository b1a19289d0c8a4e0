//! The member's assignors, between the bytes of JoinGroup and SyncGroup and the types that assignors
//! see. When what is sent is not decided here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;

use crate::consumer::group::assign::{
    Assignment, Assignor, ClusterTopics, MemberSubscription, RebalanceProtocol,
};
use crate::error::GroupError;
use crate::protocol::consumer_protocol::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription,
};
use crate::protocol::messages::join_group::{JoinGroupRequestProtocol, JoinGroupResponseMember};
use crate::protocol::messages::sync_group::SyncGroupRequestAssignment;
use crate::types::{ConsumerGroupMetadata, TopicPartition};

/// Calls code of the user, which may panic: the member's task has to go on.
fn guarded<T>(call: impl FnOnce() -> T) -> Result<T, Arc<str>> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|_| "it panicked".into())
}

/// What the leader gives to each member.
#[derive(Debug)]
pub(super) struct Dealt {
    pub(super) assignments: Vec<SyncGroupRequestAssignment>,
    /// Whether members are to give up partitions that nobody has got yet: another rebalance deals
    /// them out.
    pub(super) moves: bool,
}

pub(super) struct Assignors {
    list: Vec<Arc<dyn Assignor>>,
    protocol: RebalanceProtocol,
}

impl Assignors {
    /// Takes the highest rebalance protocol that all of them have; fails if there is none.
    pub(super) fn new(list: Vec<Arc<dyn Assignor>>) -> Result<Self, GroupError> {
        let candidates = [RebalanceProtocol::Cooperative, RebalanceProtocol::Eager].into_iter();
        let common = candidates.filter(|protocol| {
            list.iter().all(|assignor| assignor.supported_protocols().contains(protocol))
        });
        match common.max() {
            Some(protocol) if !list.is_empty() => Ok(Self { list, protocol }),
            _ => {
                let names: Vec<_> = list.iter().map(|assignor| assignor.name()).collect();
                Err(GroupError::IncompatibleAssignors { assignors: names.join(", ") })
            }
        }
    }

    /// Whether partitions that stay with the member are kept through a rebalance.
    pub(super) fn are_cooperative(&self) -> bool {
        self.protocol == RebalanceProtocol::Cooperative
    }

    /// Their names.
    pub(super) fn names(&self) -> String {
        let names: Vec<_> = self.list.iter().map(|assignor| assignor.name()).collect();
        names.join(", ")
    }

    fn find(&self, name: &str) -> Option<&dyn Assignor> {
        self.list.iter().map(AsRef::as_ref).find(|assignor| assignor.name() == name)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// What the member says of itself, for each assignor, in order of preference. The user data of
    /// `subscription` is theirs. Fails with the name and the cause.
    pub(super) fn proposals(
        &self,
        subscription: &MemberSubscription,
    ) -> Result<Vec<JoinGroupRequestProtocol>, (String, Arc<str>)> {
        let proposal = |assignor: &Arc<dyn Assignor>| {
            let name = assignor.name().to_owned();
            let user_data = guarded(|| assignor.subscription_user_data(&subscription.topics))
                .map_err(|cause| (name.clone(), cause))?;
            let subscription = MemberSubscription { user_data, ..subscription.clone() };
            match ConsumerProtocolSubscription::from(&subscription).to_bytes() {
                Ok(metadata) => Ok(JoinGroupRequestProtocol { name, metadata }),
                Err(error) => Err((name, error.to_string().into())),
            }
        };
        self.list.iter().map(proposal).collect()
    }

    /// What the leader gives to each member.
    ///
    /// With the cooperative protocol a partition that another member still owns is held back, whatever
    /// the assignor says: its owner has to give it up first, and the rebalance that this brings about
    /// deals it out. Fails with the cause.
    pub(super) fn assign(
        &self,
        name: &str,
        cluster: &ClusterTopics,
        members: &BTreeMap<String, MemberSubscription>,
    ) -> Result<Dealt, Arc<str>> {
        let Some(assignor) = self.find(name) else { return Err("there is no such one".into()) };
        let mut assignments = guarded(|| assignor.assign(cluster, members))?;
        assignments.retain(|member, _| members.contains_key(member));
        let mut moves = false;
        if self.are_cooperative() {
            hold_back(&mut assignments, members);
            moves = any_unassigned(&assignments, cluster, members);
        }
        let encode = |(member_id, assignment): (String, Assignment)| {
            let assignment = ConsumerProtocolAssignment::from(&assignment)
                .to_bytes()
                .map_err(|error| Arc::from(error.to_string()))?;
            Ok(SyncGroupRequestAssignment { member_id, assignment })
        };
        // One without an entry would be told nothing.
        for member in members.keys() {
            assignments.entry(member.clone()).or_default();
        }
        let assignments = assignments.into_iter().map(encode).collect::<Result<_, Arc<str>>>()?;
        Ok(Dealt { assignments, moves })
    }

    /// The assignor that the group uses is told what the member was given.
    pub(super) fn assigned(
        &self,
        name: &str,
        assignment: &Assignment,
        metadata: &ConsumerGroupMetadata,
    ) {
        let Some(assignor) = self.find(name) else { return };
        // The assignment holds whatever the assignor makes of it.
        if guarded(|| assignor.on_assignment(assignment, metadata)).is_err() {
            tracing::error!(assignor = name, "on_assignment panicked");
        }
    }
}

/// Takes from each member what another one says it owns, as of the newest generation that anybody
/// claims the partition in.
fn hold_back(
    assignments: &mut BTreeMap<String, Assignment>,
    members: &BTreeMap<String, MemberSubscription>,
) {
    let mut owners: BTreeMap<&TopicPartition, (Option<i32>, BTreeSet<&str>)> = BTreeMap::new();
    for (id, member) in members {
        for partition in &member.owned_partitions {
            let (generation, owner) = owners.entry(partition).or_default();
            if member.generation_id > *generation {
                (*generation, *owner) = (member.generation_id, BTreeSet::new());
            }
            if member.generation_id == *generation {
                owner.insert(id);
            }
        }
    }
    for (id, assignment) in assignments {
        assignment.partitions.retain(|partition| {
            let free = owners
                .get(partition)
                .is_none_or(|(_, owners)| owners.is_empty() || owners.contains(id.as_str()));
            if !free {
                tracing::debug!(%partition, member = %id, "held back until its owner gives it up");
            }
            free
        });
    }
}

/// Whether a partition that somebody says it owns, and that somebody wants, goes to nobody.
fn any_unassigned(
    assignments: &BTreeMap<String, Assignment>,
    cluster: &ClusterTopics,
    members: &BTreeMap<String, MemberSubscription>,
) -> bool {
    let assigned: BTreeSet<_> = assignments.values().flat_map(|share| &share.partitions).collect();
    let wanted: BTreeSet<_> = members.values().flat_map(|member| &member.topics).collect();
    let mut owned = members.values().flat_map(|member| &member.owned_partitions);
    owned.any(|partition| {
        !assigned.contains(partition)
            && wanted.contains(&partition.topic)
            && cluster.partitions(&partition.topic).any(|known| known == *partition)
    })
}

/// What the members say of themselves. One whose bytes cannot be read gets nothing, and the rest of
/// the group goes on.
pub(super) fn read_members(
    members: Vec<JoinGroupResponseMember>,
) -> BTreeMap<String, MemberSubscription> {
    let read = |member: JoinGroupResponseMember| {
        let JoinGroupResponseMember { member_id, group_instance_id, metadata, .. } = member;
        let subscription = match ConsumerProtocolSubscription::from_bytes(metadata) {
            Ok(wire) => MemberSubscription::from(wire),
            Err(error) => {
                tracing::warn!(member = %member_id, %error, "cannot read a member's subscription");
                MemberSubscription::default()
            }
        };
        (member_id, MemberSubscription { group_instance_id, ..subscription })
    };
    members.into_iter().map(read).collect()
}

/// What the member is given. No bytes are what a leader leaves to a member that it has nothing for.
pub(super) fn read_assignment(bytes: Bytes) -> Result<Assignment, Arc<str>> {
    if bytes.is_empty() {
        return Ok(Assignment::default());
    }
    let wire = ConsumerProtocolAssignment::from_bytes(bytes);
    let assignment = Assignment::from(wire.map_err(|error| Arc::from(error.to_string()))?);
    match assignment.partitions.iter().find(|partition| partition.partition < 0) {
        Some(partition) => Err(format!("{partition} is no partition").into()),
        None => Ok(assignment),
    }
}

impl fmt::Debug for Assignors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?})", self.names(), self.protocol)
    }
}
