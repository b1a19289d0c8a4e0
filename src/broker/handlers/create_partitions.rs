//! CreatePartitions.

use super::{Answer, Context, Handle};
use crate::broker::state::{Refusal, State};
use crate::error::ErrorCode;
use crate::protocol::messages::create_partitions::{
    CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsResponse,
    CreatePartitionsTopic, CreatePartitionsTopicResult,
};
use crate::types::{BrokerId, TopicPartition};

impl Handle for CreatePartitionsRequest {
    async fn handle(self, cx: &Context<'_>) -> Answer<CreatePartitionsResponse> {
        let add = |topic: &CreatePartitionsTopic| {
            let twice = self.topics.iter().filter(|other| other.name == topic.name).count() > 1;
            let result = cx.apply_topic(&topic.name, || {
                if twice {
                    return Err(Refusal::new(ErrorCode::INVALID_REQUEST, "Duplicate topic name."));
                }
                let assignment = topic.assignments.as_deref().map(by_hand);
                cx.shared.change(|state| {
                    let assignment = assignment.as_deref();
                    state.create_partitions(
                        &topic.name,
                        topic.count,
                        assignment,
                        self.validate_only,
                    )
                })
            });
            let (error_code, error_message) = match result {
                Ok(()) => (ErrorCode::NONE, None),
                Err(refusal) => (refusal.code, Some(refusal.message)),
            };
            CreatePartitionsTopicResult { name: topic.name.clone(), error_code, error_message }
        };
        let results = self.topics.iter().map(add).collect();
        Answer::Respond(CreatePartitionsResponse { results, ..Default::default() })
    }

    fn names(&self, _: &State, partition: &TopicPartition) -> bool {
        self.topics.iter().any(|topic| topic.name == partition.topic)
    }
}

fn by_hand(assignments: &[CreatePartitionsAssignment]) -> Vec<Vec<BrokerId>> {
    let nodes = |ids: &[i32]| ids.iter().copied().map(BrokerId).collect();
    assignments.iter().map(|assignment| nodes(&assignment.broker_ids)).collect()
}
