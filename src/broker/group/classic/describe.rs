//! What an administrator is told of a classic group, and whether the offsets of a topic may be taken from it.

use super::{ClassicGroup, Member, Phase};
use crate::protocol::Reader;
use crate::protocol::messages::describe_groups::{DescribedGroup, DescribedGroupMember};

/// The protocol type of consumers.
const CONSUMER: &str = "consumer";

impl ClassicGroup {
    /// `consumer` for those, another word for others; empty as long as nobody has joined.
    pub(crate) fn protocol_type(&self) -> &str {
        self.protocol_type.as_deref().unwrap_or_default()
    }

    /// The group with its members. What they were assigned, and by which protocol, is told of a stable group only.
    pub(crate) fn describe(&self, group_id: &str) -> DescribedGroup {
        let protocol = self.protocol().filter(|_| self.phase == Phase::Stable);
        let tell = |member: &Member| DescribedGroupMember {
            member_id: member.id.clone(),
            group_instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: super::super::CLIENT_HOST.to_owned(),
            member_metadata: protocol.map(|_| member.metadata(protocol)).unwrap_or_default(),
            member_assignment: protocol.map(|_| member.assignment.clone()).unwrap_or_default(),
        };
        DescribedGroup {
            group_id: group_id.to_owned(),
            group_state: self.phase.to_string(),
            protocol_type: self.protocol_type().to_owned(),
            protocol_data: protocol.unwrap_or_default().to_owned(),
            members: self.members.iter().map(tell).collect(),
            ..Default::default()
        }
    }

    /// Whether its members are consumers, as far as it has any.
    pub(crate) fn is_of_consumers(&self) -> bool {
        self.is_empty() || self.protocol_type() == CONSUMER
    }

    /// Whether a member reads a topic. What cannot be understood may be that it does.
    pub(crate) fn reads(&self, topic: &str) -> bool {
        let reads = |member: &Member| {
            let topics = topics(member.metadata(self.protocol()));
            topics.is_none_or(|topics| topics.iter().any(|name| name == topic))
        };
        self.members.iter().any(reads)
    }
}

/// The topics in a consumer's subscription: `version [topic] …`.
fn topics(metadata: bytes::Bytes) -> Option<Vec<String>> {
    let mut reader = Reader::new(metadata);
    let _version = reader.i16().ok()?;
    let mut topics = Vec::new();
    for _ in 0..reader.i32().ok()? {
        let length = usize::try_from(reader.i16().ok()?).ok()?;
        topics.push(reader.string(length).ok()?);
    }
    Some(topics)
}
