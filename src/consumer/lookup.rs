//! Where the logs of partitions begin and end, asked of their leaders on behalf of the user. It has
//! nothing to do with what is being fetched.

use std::collections::{BTreeMap, BTreeSet};

use crate::client::{Client, Led, Unanswered};
use crate::config::IsolationLevel;
use crate::consumer::subscription::Bound;
use crate::error::ErrorCode;
use crate::protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic,
};
use crate::time::Instant;
use crate::types::TopicPartition;

/// Asks until there are answers, or until `deadline`. Cancel safe.
pub(crate) async fn lookup(
    client: &Client,
    partitions: BTreeSet<TopicPartition>,
    (bound, isolation): (Bound, IsolationLevel),
    deadline: Instant,
) -> Result<BTreeMap<TopicPartition, i64>, Unanswered> {
    client.call_leaders(partitions, deadline, |led| request(led, bound, isolation), offsets).await
}

fn request(led: &[Led], bound: Bound, isolation: IsolationLevel) -> ListOffsetsRequest {
    let topics = led.chunk_by(|a, b| a.partition.topic == b.partition.topic).filter_map(|led| {
        let partitions = led.iter().map(|led| ListOffsetsPartition {
            partition_index: led.partition.partition,
            current_leader_epoch: led.epoch,
            timestamp: bound.timestamp(),
        });
        let name = led.first()?.partition.topic.clone();
        Some(ListOffsetsTopic { name, partitions: partitions.collect() })
    });
    let (isolation_level, topics) = (isolation.code(), topics.collect());
    ListOffsetsRequest { replica_id: -1, isolation_level, topics, ..ListOffsetsRequest::default() }
}

/// What the answer says of each partition.
fn offsets(response: ListOffsetsResponse) -> Vec<(TopicPartition, Result<i64, ErrorCode>)> {
    let mut offsets = Vec::new();
    for topic in response.topics {
        for answer in topic.partitions {
            let offset = match answer.error_code {
                code if !code.is_ok() => Err(code),
                _ if answer.offset < 0 => Err(ErrorCode::OFFSET_NOT_AVAILABLE),
                _ => Ok(answer.offset),
            };
            offsets.push((TopicPartition::new(&topic.name, answer.partition_index), offset));
        }
    }
    offsets
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::messages::list_offsets::{
        ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
    };

    #[test]
    fn each_topic_is_named_once() {
        let led = |topic: &str, partition, epoch| Led {
            partition: TopicPartition::new(topic, partition),
            epoch,
        };
        let led = [led("a", 0, 1), led("a", 3, 2), led("b", 0, 4)];
        let request = request(&led, Bound::Latest, IsolationLevel::ReadCommitted);
        assert_eq!(request.isolation_level, 1);
        let asked: Vec<_> = request
            .topics
            .iter()
            .map(|topic| {
                let partitions = topic.partitions.iter().map(|asked| {
                    assert_eq!(asked.timestamp, -1);
                    (asked.partition_index, asked.current_leader_epoch)
                });
                (&*topic.name, partitions.collect::<Vec<_>>())
            })
            .collect();
        assert_eq!(asked, [("a", vec![(0, 1), (3, 2)]), ("b", vec![(0, 4)])]);
    }

    #[test]
    fn an_answer_without_an_offset_is_an_error() {
        let answer = |error_code, offset| {
            let partition = ListOffsetsPartitionResponse {
                partition_index: 3,
                error_code,
                offset,
                ..ListOffsetsPartitionResponse::default()
            };
            let topic =
                ListOffsetsTopicResponse { name: "orders".to_owned(), partitions: vec![partition] };
            let mut read =
                offsets(ListOffsetsResponse { topics: vec![topic], ..Default::default() });
            let (partition, offset) = read.pop().unwrap();
            assert_eq!(partition, TopicPartition::new("orders", 3));
            offset
        };
        assert_eq!(answer(ErrorCode::NONE, 17), Ok(17));
        assert_eq!(answer(ErrorCode::NONE, -1), Err(ErrorCode::OFFSET_NOT_AVAILABLE));
        let moved = ErrorCode::NOT_LEADER_OR_FOLLOWER;
        assert_eq!(answer(moved, 17), Err(moved));
    }
}
