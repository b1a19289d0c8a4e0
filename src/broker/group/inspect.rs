//! A group in a form for tests to look at.

use std::collections::BTreeMap;

use super::{CommittedOffset, Group, Members};
use crate::protocol::Reader;
use crate::types::{TopicId, TopicPartition};

/// By which protocol the members of a group speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupType {
    /// JoinGroup and SyncGroup; the members assign. A group that never had members is of this type.
    Classic,
    /// ConsumerGroupHeartbeat (KIP-848); the coordinator assigns.
    Consumer,
}

/// What [`Cluster::group`](crate::broker::Cluster::group) tells of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupDescription {
    /// Which protocol its members speak.
    pub group_type: GroupType,
    /// Kafka's name of the state it is in: `Empty`, `PreparingRebalance`, `CompletingRebalance`, `Stable`; of a consumer
    /// group `Empty`, `Assigning`, `Reconciling`, `Stable`.
    pub state: String,
    /// The generation, or the epoch of a consumer group; 0 before the first.
    pub generation: i32,
    /// The assignor that is used, such as `range`.
    pub protocol: Option<String>,
    /// The id of the member that leads, in a classic group.
    pub leader: Option<String>,
    /// The members, in the order in which they came; those of a consumer group in the order of their ids.
    pub members: Vec<GroupMember>,
    /// What the group has committed.
    pub offsets: BTreeMap<TopicPartition, CommittedOffset>,
}

/// A member of a [`GroupDescription`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupMember {
    /// The id that the coordinator gave it.
    pub id: String,
    /// Its `group.instance.id`, if it is a static member.
    pub instance_id: Option<String>,
    /// Its `client.id`.
    pub client_id: String,
    /// Its epoch; in a classic group, which has none for each member, the generation.
    pub epoch: i32,
    /// What it was assigned last, in order; empty during a rebalance of a classic group, and if its leader's assignment
    /// is not that of a consumer. What a member of a consumer group is told to give up is not part of this.
    pub assignment: Vec<TopicPartition>,
}

/// Shows a group; `name` tells the names of topics.
pub(crate) fn show(group: &Group, name: impl Fn(TopicId) -> Option<String>) -> GroupDescription {
    let offsets = group.offsets.iter().flat_map(|(topic, offsets)| {
        let named = move |(&index, committed): (&i32, &CommittedOffset)| {
            (TopicPartition::new(topic, index), committed.clone())
        };
        offsets.iter().map(named)
    });
    let offsets = offsets.collect();
    match &group.members {
        Members::Classic(group) => {
            let members = group.members().iter().map(|member| GroupMember {
                id: member.id.clone(),
                instance_id: member.instance_id.clone(),
                client_id: member.client_id.clone(),
                epoch: group.generation(),
                assignment: assignment(member.assignment.clone()).unwrap_or_default(),
            });
            GroupDescription {
                group_type: GroupType::Classic,
                state: group.phase().to_string(),
                generation: group.generation(),
                protocol: group.protocol().map(str::to_owned),
                leader: group.leader().map(str::to_owned),
                members: members.collect(),
                offsets,
            }
        }
        Members::Consumer(group) => {
            let partition =
                |&(topic, partition)| Some(TopicPartition::new(name(topic)?, partition));
            let members = group.members().map(|member| {
                let mut assignment: Vec<_> = member.assigned.keys().filter_map(partition).collect();
                assignment.sort();
                GroupMember {
                    id: member.id.clone(),
                    instance_id: member.instance_id.clone(),
                    client_id: member.client_id.clone(),
                    epoch: member.epoch,
                    assignment,
                }
            });
            GroupDescription {
                group_type: GroupType::Consumer,
                state: group.state().to_owned(),
                generation: group.epoch(),
                protocol: Some(group.assignor().name().to_owned()),
                leader: None,
                members: members.collect(),
                offsets,
            }
        }
    }
}

/// The partitions in a consumer's assignment: `version [topic [partition]] …`, of which later versions change only what
/// follows.
fn assignment(bytes: bytes::Bytes) -> Option<Vec<TopicPartition>> {
    let mut reader = Reader::new(bytes);
    let _version = reader.i16().ok()?;
    let mut partitions = Vec::new();
    for _ in 0..reader.i32().ok()? {
        let length = usize::try_from(reader.i16().ok()?).ok()?;
        let topic = reader.string(length).ok()?;
        for _ in 0..reader.i32().ok()? {
            partitions.push(TopicPartition::new(&topic, reader.i32().ok()?));
        }
    }
    partitions.sort();
    Some(partitions)
}
