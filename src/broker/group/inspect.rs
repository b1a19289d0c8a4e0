//! A group in a form for tests to look at.

use std::collections::BTreeMap;

use super::{CommittedOffset, Group};
use crate::protocol::Reader;
use crate::types::TopicPartition;

/// What [`Cluster::group`](crate::broker::Cluster::group) tells of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupDescription {
    /// Kafka's name of the state it is in: `Empty`, `PreparingRebalance`, `CompletingRebalance`, `Stable`.
    pub state: String,
    /// The generation; 0 before the first.
    pub generation: i32,
    /// The assignor that the members agreed on, such as `range`.
    pub protocol: Option<String>,
    /// The id of the member that leads.
    pub leader: Option<String>,
    /// The members, in the order in which they came.
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
    /// What it was assigned last, in order; empty during a rebalance, and if the leader's assignment is not that of a
    /// consumer.
    pub assignment: Vec<TopicPartition>,
}

/// Shows a group.
pub(crate) fn show(group: &Group) -> GroupDescription {
    let classic = &group.classic;
    let members = classic.members().iter().map(|member| GroupMember {
        id: member.id.clone(),
        instance_id: member.instance_id.clone(),
        client_id: member.client_id.clone(),
        assignment: assignment(member.assignment.clone()).unwrap_or_default(),
    });
    let offsets = group.offsets.iter().flat_map(|(topic, offsets)| {
        let named = move |(&index, committed): (&i32, &CommittedOffset)| {
            (TopicPartition::new(topic, index), committed.clone())
        };
        offsets.iter().map(named)
    });
    GroupDescription {
        state: classic.phase().to_string(),
        generation: classic.generation(),
        protocol: classic.protocol().map(str::to_owned),
        leader: classic.leader().map(str::to_owned),
        members: members.collect(),
        offsets: offsets.collect(),
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
