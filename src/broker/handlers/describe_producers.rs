//! DescribeProducers: what the leader of a partition knows of its producers (KIP-664).

use super::{Answer, Context, Handle};
use crate::broker::producer_state::Known;
use crate::broker::state::State;
use crate::error::ErrorCode;
use crate::protocol::messages::describe_producers::{
    DescribeProducersRequest, DescribeProducersResponse, PartitionResponse, ProducerState,
    TopicRequest, TopicResponse,
};
use crate::types::TopicPartition;

impl Handle for DescribeProducersRequest {
    async fn handle(self, cx: &Context<'_>) -> Answer<DescribeProducersResponse> {
        let describe = |TopicRequest { name, partition_indexes }: TopicRequest| {
            let partition = |partition_index: i32| {
                let place = (name.as_str(), partition_index);
                let known =
                    cx.apply(Some(place), || cx.shared.with(|state| known(cx, state, place)));
                match known {
                    Ok(active_producers) => PartitionResponse {
                        partition_index,
                        active_producers,
                        ..Default::default()
                    },
                    Err(error_code) => PartitionResponse {
                        partition_index,
                        error_code,
                        error_message: Some(error_code.description().to_owned()),
                        ..Default::default()
                    },
                }
            };
            let partitions = partition_indexes.into_iter().map(partition).collect();
            TopicResponse { partitions, name }
        };
        let topics = self.topics.into_iter().map(describe).collect();
        Answer::Respond(DescribeProducersResponse { topics, ..Default::default() })
    }

    fn names(&self, _: &State, partition: &TopicPartition) -> bool {
        self.topics.iter().any(|topic| {
            topic.name == partition.topic && topic.partition_indexes.contains(&partition.partition)
        })
    }

    fn throttle(response: &mut DescribeProducersResponse, ms: i32) {
        response.throttle_time_ms = ms;
    }
}

fn known(
    cx: &Context<'_>,
    state: &State,
    (topic, index): (&str, i32),
) -> Result<Vec<ProducerState>, ErrorCode> {
    let partition = state.partition(topic, index).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    partition.check_leader(cx.node, -1)?;
    let shown = |known: Known| ProducerState {
        producer_id: known.producer.id,
        producer_epoch: known.producer.epoch.into(),
        last_sequence: known.last_sequence.unwrap_or(-1),
        last_timestamp: known.last_timestamp,
        coordinator_epoch: known.coordinator_epoch,
        current_txn_start_offset: known.open.unwrap_or(-1),
    };
    let mut all: Vec<ProducerState> = partition.producers.iter().map(shown).collect();
    all.sort_by_key(|producer| producer.producer_id);
    Ok(all)
}
