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
use crate::types::{OffsetAndTimestamp, TopicPartition};

/// What is asked of each partition.
pub(crate) type Asked = BTreeMap<TopicPartition, Bound>;

/// What was found of each partition; `None` where there is nothing.
pub(crate) type Found = BTreeMap<TopicPartition, Option<OffsetAndTimestamp>>;

/// Asks until there are answers, or until `deadline`. Cancel safe.
pub(crate) async fn lookup(
    client: &Client,
    asked: &Asked,
    isolation: IsolationLevel,
    deadline: Instant,
) -> Result<Found, Unanswered> {
    let partitions: BTreeSet<_> = asked.keys().cloned().collect();
    let request = |led: &[Led]| request(led, asked, isolation);
    client.call_leaders(partitions, deadline, request, offsets).await
}

fn request(led: &[Led], asked: &Asked, isolation: IsolationLevel) -> ListOffsetsRequest {
    let topics = led.chunk_by(|a, b| a.partition.topic == b.partition.topic).filter_map(|led| {
        let partitions = led.iter().filter_map(|led| {
            Some(ListOffsetsPartition {
                partition_index: led.partition.partition,
                current_leader_epoch: led.epoch,
                timestamp: asked.get(&led.partition)?.timestamp(),
            })
        });
        let name = led.first()?.partition.topic.clone();
        Some(ListOffsetsTopic { name, partitions: partitions.collect() })
    });
    ListOffsetsRequest {
        replica_id: -1,
        isolation_level: isolation.code(),
        topics: topics.collect(),
        ..ListOffsetsRequest::default()
    }
}

type Answers = Vec<(TopicPartition, Result<Option<OffsetAndTimestamp>, ErrorCode>)>;

/// What the answer says of each partition.
fn offsets(response: ListOffsetsResponse) -> Answers {
    let mut offsets = Vec::new();
    for topic in response.topics {
        for answer in topic.partitions {
            let code = answer.error_code;
            let found = OffsetAndTimestamp {
                offset: answer.offset,
                timestamp: answer.timestamp,
                leader_epoch: Some(answer.leader_epoch).filter(|epoch| *epoch >= 0),
            };
            let found = Some(found).filter(|found| found.offset >= 0);
            let answer_to = TopicPartition::new(&topic.name, answer.partition_index);
            offsets.push((answer_to, if code.is_ok() { Ok(found) } else { Err(code) }));
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
        let bounds = [Bound::Latest, Bound::Timestamp(9), Bound::Earliest];
        let asked: Asked = led.iter().map(|led| led.partition.clone()).zip(bounds).collect();
        let request = request(&led, &asked, IsolationLevel::ReadCommitted);
        assert_eq!(request.isolation_level, 1);
        let asked: Vec<_> = request
            .topics
            .iter()
            .map(|topic| {
                let partitions = topic.partitions.iter().map(|asked| {
                    (asked.partition_index, asked.current_leader_epoch, asked.timestamp)
                });
                (&*topic.name, partitions.collect::<Vec<_>>())
            })
            .collect();
        assert_eq!(asked, [("a", vec![(0, 1, -1), (3, 2, 9)]), ("b", vec![(0, 4, -2)])]);
    }

    #[test]
    fn an_answer_may_have_an_offset_none_or_an_error() {
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
            offset.map(|found| found.map(|found| (found.offset, found.leader_epoch)))
        };
        assert_eq!(answer(ErrorCode::NONE, 17), Ok(Some((17, None))));
        assert_eq!(answer(ErrorCode::NONE, -1), Ok(None));
        let moved = ErrorCode::NOT_LEADER_OR_FOLLOWER;
        assert_eq!(answer(moved, 17), Err(moved));
    }
}
