//! Where the log of a partition begins and ends, asked of its leader on behalf of the user. It has
//! nothing to do with what is being fetched.

use crate::client::Client;
use crate::consumer::subscription::Bound;
use crate::error::{ClientError, ErrorCode};
use crate::protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic,
};
use crate::time::Instant;
use crate::types::TopicPartition;

/// Asks until there is an answer, or until `deadline`. Cancel safe.
pub(crate) async fn lookup(
    client: &Client,
    partition: &TopicPartition,
    bound: Bound,
    deadline: Instant,
) -> Result<i64, ClientError> {
    let request = |epoch| ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: partition.topic.clone(),
            partitions: vec![ListOffsetsPartition {
                partition_index: partition.partition,
                current_leader_epoch: epoch,
                timestamp: bound.timestamp(),
            }],
        }],
        ..ListOffsetsRequest::default()
    };
    let response = client
        .call_leader::<ListOffsetsRequest>(
            partition,
            deadline,
            |leader| request(leader.partition.leader_epoch),
            |response| offset(response, partition).err().unwrap_or(ErrorCode::NONE),
        )
        .await?;
    offset(&response, partition).map_err(|code| ClientError::Broker {
        code,
        api: "ListOffsets",
        subject: Some(partition.to_string().into()),
        message: None,
    })
}

/// What the answer says of the partition.
fn offset(response: &ListOffsetsResponse, partition: &TopicPartition) -> Result<i64, ErrorCode> {
    let topics = response.topics.iter().filter(|topic| topic.name == partition.topic);
    let answer = topics
        .flat_map(|topic| &topic.partitions)
        .find(|answer| answer.partition_index == partition.partition);
    match answer {
        None => Err(ErrorCode::UNKNOWN_SERVER_ERROR),
        Some(answer) if !answer.error_code.is_ok() => Err(answer.error_code),
        Some(answer) if answer.offset < 0 => Err(ErrorCode::OFFSET_NOT_AVAILABLE),
        Some(answer) => Ok(answer.offset),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::messages::list_offsets::{
        ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
    };

    fn answer(partition_index: i32, error_code: ErrorCode, offset: i64) -> ListOffsetsResponse {
        let partition = ListOffsetsPartitionResponse {
            partition_index,
            error_code,
            offset,
            ..ListOffsetsPartitionResponse::default()
        };
        let topic =
            ListOffsetsTopicResponse { name: "orders".to_owned(), partitions: vec![partition] };
        ListOffsetsResponse { topics: vec![topic], ..ListOffsetsResponse::default() }
    }

    #[test]
    fn only_an_offset_of_the_partition_asked_for_counts() {
        let asked = TopicPartition::new("orders", 3);
        assert_eq!(offset(&answer(3, ErrorCode::NONE, 17), &asked), Ok(17));
        assert_eq!(
            offset(&answer(2, ErrorCode::NONE, 17), &asked),
            Err(ErrorCode::UNKNOWN_SERVER_ERROR)
        );
        assert_eq!(
            offset(&answer(3, ErrorCode::NONE, -1), &asked),
            Err(ErrorCode::OFFSET_NOT_AVAILABLE)
        );
        assert_eq!(
            offset(&answer(3, ErrorCode::NOT_LEADER_OR_FOLLOWER, 17), &asked),
            Err(ErrorCode::NOT_LEADER_OR_FOLLOWER)
        );
        let other = TopicPartition::new("payments", 3);
        assert!(offset(&answer(3, ErrorCode::NONE, 17), &other).is_err());
    }
}
