//! The groups as part of the cluster: what they are told of nodes and topics.

use std::collections::BTreeMap;

use super::{Refusal, State, Topic};
use crate::broker::group::{Refused, TopicView};
use crate::error::ErrorCode;
use crate::protocol::messages::consumer_group_describe::DescribedGroup;
use crate::protocol::messages::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
};
use crate::time::Instant;
use crate::types::{BrokerId, TopicId};

impl State {
    /// Makes a node the coordinator of a group and of those that share its partition of `__consumer_offsets`.
    pub(crate) fn move_coordinator(&mut self, group: &str, to: BrokerId) -> Result<(), Refusal> {
        if !self.is_live(to) {
            let message = format!("Node {to} does not run.");
            return Err(Refusal::new(ErrorCode::BROKER_NOT_AVAILABLE, message));
        }
        self.groups.move_coordinator(group, to);
        Ok(())
    }

    /// A heartbeat of the new group protocol, which sees the topics as they are.
    pub(crate) fn consumer_heartbeat(
        &mut self,
        now: Instant,
        from: (i16, &str),
        request: ConsumerGroupHeartbeatRequest,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refused> {
        self.groups.consumer_heartbeat(now, from, request, &self.topics)
    }

    /// A group of the new protocol, with the names of its topics.
    pub(crate) fn describe_consumer_group(
        &mut self,
        now: Instant,
        group: &str,
    ) -> Result<DescribedGroup, Refused> {
        self.groups.describe_consumer(now, group, &self.topics)
    }
}

impl TopicView for BTreeMap<String, Topic> {
    fn find(&self, name: &str) -> Option<(TopicId, i32)> {
        self.get(name).map(|topic| (topic.id, partitions(topic)))
    }

    fn each(&self, show: &mut dyn FnMut(&str, TopicId, i32)) {
        for (name, topic) in self {
            show(name, topic.id, partitions(topic));
        }
    }
}

fn partitions(topic: &Topic) -> i32 {
    i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX)
}
