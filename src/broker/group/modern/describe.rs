//! What an administrator is told of a group of the new protocol, and whether a member reads a topic.

use std::collections::BTreeMap;

use super::{ConsumerGroup, Member, Slot, TopicView};
use crate::protocol::messages::consumer_group_describe::{
    self as wire, Assignment, DescribedGroup, TopicPartitions,
};
use crate::types::TopicId;

/// KIP-1099's number for a member that speaks the new protocol.
const CONSUMER_MEMBER: i8 = 1;

impl ConsumerGroup {
    /// The group with its members: what each owns, and what it is to own.
    pub(crate) fn describe(&self, group_id: &str, topics: &dyn TopicView) -> DescribedGroup {
        let mut names = BTreeMap::new();
        topics.each(&mut |name, id, _| {
            names.insert(id, name.to_owned());
        });
        DescribedGroup {
            group_id: group_id.to_owned(),
            group_state: self.state().to_owned(),
            group_epoch: self.epoch,
            assignment_epoch: self.target_epoch,
            assignor_name: self.assignor().name().to_owned(),
            members: self.members.values().map(|member| member.describe(&names)).collect(),
            ..Default::default()
        }
    }

    /// Whether a member reads a topic.
    pub(crate) fn reads(&self, topic: &str) -> bool {
        self.members.values().any(|member| member.subscription.wants(topic))
    }
}

impl Member {
    fn describe(&self, names: &BTreeMap<TopicId, String>) -> wire::Member {
        wire::Member {
            member_id: self.id.clone(),
            instance_id: self.instance_id.clone(),
            rack_id: self.rack_id.clone(),
            member_epoch: self.epoch,
            client_id: self.client_id.clone(),
            client_host: super::super::CLIENT_HOST.to_owned(),
            subscribed_topic_names: self.subscription.names().map(str::to_owned).collect(),
            subscribed_topic_regex: self.subscription.pattern().map(str::to_owned),
            assignment: assignment(self.assigned.keys().copied(), names),
            target_assignment: assignment(self.target.iter().copied(), names),
            member_type: CONSUMER_MEMBER,
        }
    }
}

/// Slots, which come in order, by topic. A topic that was deleted is not told of.
fn assignment(slots: impl Iterator<Item = Slot>, names: &BTreeMap<TopicId, String>) -> Assignment {
    let mut topic_partitions: Vec<TopicPartitions> = Vec::new();
    for (topic_id, partition) in slots {
        match (topic_partitions.last_mut(), names.get(&topic_id)) {
            (Some(last), _) if last.topic_id == topic_id => last.partitions.push(partition),
            (_, Some(name)) => topic_partitions.push(TopicPartitions {
                topic_id,
                topic_name: name.clone(),
                partitions: vec![partition],
            }),
            (_, None) => {}
        }
    }
    Assignment { topic_partitions }
}
