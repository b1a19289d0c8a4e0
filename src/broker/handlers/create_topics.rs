//! CreateTopics. Any node does it, as in KRaft mode any node passes it on to the controller.

use super::{Answer, Context, Handle};
use crate::broker::state::{Placement, Refusal, State};
use crate::broker::topic_config::TopicConfig;
use crate::error::ErrorCode;
use crate::protocol::messages::create_topics::{
    CreatableTopic, CreatableTopicConfigs, CreatableTopicResult, CreateTopicsRequest,
    CreateTopicsResponse,
};
use crate::types::{BrokerId, TopicPartition};

/// Where a setting comes from, as DescribeConfigs has it.
const DYNAMIC_TOPIC_CONFIG: i8 = 1;
const DEFAULT_CONFIG: i8 = 5;

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Self {
        Self::new(code, code.description())
    }
}

impl Handle for CreateTopicsRequest {
    async fn handle(self, cx: &Context<'_>) -> Answer<CreateTopicsResponse> {
        let create = |topic: &CreatableTopic| {
            let twice = self.topics.iter().filter(|other| other.name == topic.name).count() > 1;
            let result = cx.apply_topic(&topic.name, || {
                if twice {
                    return Err(Refusal::new(ErrorCode::INVALID_REQUEST, "Duplicate topic name."));
                }
                cx.shared.change(|state| create_one(state, topic, self.validate_only))
            });
            result.unwrap_or_else(|refusal| CreatableTopicResult {
                name: topic.name.clone(),
                error_code: refusal.code,
                error_message: Some(refusal.message),
                configs: None,
                ..Default::default()
            })
        };
        let topics = self.topics.iter().map(create).collect();
        Answer::Respond(CreateTopicsResponse { topics, ..Default::default() })
    }

    fn names(&self, _: &State, partition: &TopicPartition) -> bool {
        self.topics.iter().any(|topic| topic.name == partition.topic)
    }
}

fn create_one(
    state: &mut State,
    topic: &CreatableTopic,
    validate_only: bool,
) -> Result<CreatableTopicResult, Refusal> {
    let placement = placement(topic)?;
    let config = config(state, topic)?;
    let id = state.create_topic(&topic.name, &placement, config.clone(), validate_only)?;
    let (partitions, replicas) = match &placement {
        Placement::Manual(assignment) => (assignment.len(), assignment.first().map_or(0, Vec::len)),
        Placement::Spread { partitions, replicas } => (
            partitions.unwrap_or(state.defaults.partitions),
            replicas.unwrap_or(state.defaults.replication_factor),
        ),
    };
    let set = |name: &str| topic.configs.iter().any(|config| config.name == name);
    let shown = config.entries().into_iter().map(|(name, value)| CreatableTopicConfigs {
        name: name.to_owned(),
        value: Some(value),
        config_source: if set(name) { DYNAMIC_TOPIC_CONFIG } else { DEFAULT_CONFIG },
        ..Default::default()
    });
    Ok(CreatableTopicResult {
        name: topic.name.clone(),
        topic_id: id,
        error_message: None,
        num_partitions: i32::try_from(partitions).unwrap_or(i32::MAX),
        replication_factor: i16::try_from(replicas).unwrap_or(i16::MAX),
        configs: Some(shown.collect()),
        ..Default::default()
    })
}

/// Counts or an assignment by hand, but not both; -1 is the cluster's default.
fn placement(topic: &CreatableTopic) -> Result<Placement, Refusal> {
    let (partitions, replicas) = (topic.num_partitions, topic.replication_factor);
    if topic.assignments.is_empty() {
        let refuse = |code, message: &str| Err(Refusal::new(code, message));
        if replicas == 0 || replicas < -1 {
            let why = "Replication factor must be larger than 0, or -1 to use the default value.";
            return refuse(ErrorCode::INVALID_REPLICATION_FACTOR, why);
        }
        if partitions == 0 || partitions < -1 {
            let why = "Number of partitions was set to an invalid non-positive value.";
            return refuse(ErrorCode::INVALID_PARTITIONS, why);
        }
        return Ok(Placement::Spread {
            partitions: usize::try_from(partitions).ok(),
            replicas: usize::try_from(replicas).ok(),
        });
    }
    if replicas != -1 || partitions != -1 {
        let why = "A manual partition assignment was specified, but the number of partitions or replicas was \
                   not -1.";
        return Err(Refusal::new(ErrorCode::INVALID_REQUEST, why));
    }
    let mut assignments: Vec<_> = topic.assignments.iter().collect();
    assignments.sort_by_key(|assignment| assignment.partition_index);
    if !(0..).zip(&assignments).all(|(index, assignment)| assignment.partition_index == index) {
        let why = "partitions should be a consecutive 0-based integer sequence";
        return Err(Refusal::new(ErrorCode::INVALID_REPLICA_ASSIGNMENT, why));
    }
    let nodes = |ids: &[i32]| ids.iter().copied().map(BrokerId).collect();
    let by_hand = assignments.into_iter().map(|assignment| nodes(&assignment.broker_ids));
    Ok(Placement::Manual(by_hand.collect()))
}

/// The cluster's settings with those of the topic in place of them.
fn config(state: &State, topic: &CreatableTopic) -> Result<TopicConfig, Refusal> {
    let refuse = |message: String| Refusal::new(ErrorCode::INVALID_CONFIG, message);
    let mut config = state.defaults.topic.clone();
    for entry in &topic.configs {
        let Some(value) = &entry.value else {
            return Err(refuse(format!(
                "Null value not supported for topic config {}",
                entry.name
            )));
        };
        config.set(&entry.name, value).map_err(refuse)?;
    }
    Ok(config)
}
