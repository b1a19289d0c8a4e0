//! Metadata: nodes, topics, leaders; and the creation of topics that are asked for by name.
//!
//! As in KRaft mode, the answer that creates a topic does not show it yet: it says `UNKNOWN_TOPIC_OR_PARTITION`, and
//! the next one has it. Authorized operations are never told.

use super::{Answer, Context, Handle, endpoint};
use crate::broker::partition::Partition;
use crate::broker::state::{Placement, State, Topic};
use crate::broker::topic_config::illegal_name;
use crate::error::ErrorCode;
use crate::protocol::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker,
    MetadataResponsePartition, MetadataResponseTopic,
};
use crate::types::{BrokerId, TopicId, TopicPartition};

/// Before this version an empty list of topics asks for all.
const NULL_IS_ALL_FROM: i16 = 1;
/// From this version on topics may be asked for by id.
const BY_ID_FROM: i16 = 12;

impl Handle for MetadataRequest {
    async fn handle(self, cx: &Context<'_>) -> Answer<MetadataResponse> {
        let asked = match self.topics {
            Some(topics) if topics.is_empty() && cx.version < NULL_IS_ALL_FROM => None,
            topics => topics,
        };
        let by_id =
            |topic: &MetadataRequestTopic| topic.name.is_none() || !topic.topic_id.is_zero();
        if cx.version < BY_ID_FROM && asked.iter().flatten().any(by_id) {
            return Answer::Close("topic ids in a version that has none".to_owned());
        }
        let error_code = match cx.injected(None, false) {
            Some(code @ ErrorCode::REBOOTSTRAP_REQUIRED) => code,
            _ => ErrorCode::NONE,
        };
        let response = cx.shared.change(|state| {
            let topics = match asked {
                None => all_topics(cx, state),
                Some(asked) => asked
                    .into_iter()
                    .map(|topic| one_topic(cx, state, topic, self.allow_auto_topic_creation))
                    .collect(),
            };
            MetadataResponse {
                brokers: state
                    .live()
                    .map(|(id, node)| {
                        let (host, port) = endpoint(node);
                        MetadataResponseBroker {
                            node_id: id.0,
                            host,
                            port,
                            rack: node.rack.clone(),
                        }
                    })
                    .collect(),
                cluster_id: Some(state.cluster_id.clone()),
                controller_id: state.live().next().map_or(-1, |(id, _)| id.0),
                topics,
                error_code,
                ..Default::default()
            }
        });
        Answer::Respond(response)
    }

    fn names(&self, state: &State, partition: &TopicPartition) -> bool {
        self.topics.iter().flatten().any(|topic| {
            let name = topic.name.as_deref().or_else(|| state.name_of(topic.topic_id));
            name == Some(&partition.topic)
        })
    }

    fn throttle(response: &mut MetadataResponse, ms: i32) {
        response.throttle_time_ms = ms;
    }
}

fn all_topics(cx: &Context<'_>, state: &State) -> Vec<MetadataResponseTopic> {
    let show = |(name, topic): (&str, &Topic)| {
        cx.apply_topic(name, || Ok(shown(state, name, topic)))
            .unwrap_or_else(|code| absent(Some(name.to_owned()), TopicId::ZERO, code))
    };
    state.topics().map(show).collect()
}

fn one_topic(
    cx: &Context<'_>,
    state: &mut State,
    asked: MetadataRequestTopic,
    may_create: bool,
) -> MetadataResponseTopic {
    let id = asked.topic_id;
    let Some(name) = (if id.is_zero() { asked.name } else { state.name_of(id).map(str::to_owned) })
    else {
        return absent(None, id, ErrorCode::UNKNOWN_TOPIC_ID);
    };
    let result = cx.apply_topic(&name, || match state.topic(&name) {
        Some(topic) => Ok(shown(state, &name, topic)),
        None if illegal_name(&name).is_some() => Err(ErrorCode::INVALID_TOPIC_EXCEPTION),
        None => {
            if may_create && state.defaults.auto_create {
                create(state, &name)?;
            }
            Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
        }
    });
    result.unwrap_or_else(|code| absent(Some(name), TopicId::ZERO, code))
}

fn create(state: &mut State, name: &str) -> Result<(), ErrorCode> {
    let placement = Placement::Spread { partitions: None, replicas: None };
    let config = state.defaults.topic.clone();
    match state.create_topic(name, &placement, config, false) {
        Ok(_) => Ok(()),
        // A real broker's controller refuses without the client being told, until there are brokers enough.
        Err(refusal) if refusal.code == ErrorCode::INVALID_REPLICATION_FACTOR => Ok(()),
        Err(refusal) => Err(refusal.code),
    }
}

fn absent(name: Option<String>, topic_id: TopicId, error_code: ErrorCode) -> MetadataResponseTopic {
    MetadataResponseTopic { error_code, name, topic_id, ..Default::default() }
}

fn shown(state: &State, name: &str, topic: &Topic) -> MetadataResponseTopic {
    let partitions =
        (0..).zip(&topic.partitions).map(|(index, p)| shown_partition(state, index, p));
    MetadataResponseTopic {
        name: Some(name.to_owned()),
        topic_id: topic.id,
        partitions: partitions.collect(),
        ..Default::default()
    }
}

fn shown_partition(state: &State, index: i32, partition: &Partition) -> MetadataResponsePartition {
    let ids = |nodes: &[BrokerId]| nodes.iter().map(|node| node.0).collect::<Vec<_>>();
    let down = |node: &BrokerId| !state.nodes.get(node).is_some_and(|node| node.running);
    MetadataResponsePartition {
        error_code: match partition.leader {
            Some(_) => ErrorCode::NONE,
            None => ErrorCode::LEADER_NOT_AVAILABLE,
        },
        partition_index: index,
        leader_id: partition.leader.map_or(-1, |node| node.0),
        leader_epoch: partition.leader_epoch,
        replica_nodes: ids(&partition.replicas),
        isr_nodes: ids(&partition.isr),
        offline_replicas: partition
            .replicas
            .iter()
            .filter(|node| down(node))
            .map(|n| n.0)
            .collect(),
    }
}
