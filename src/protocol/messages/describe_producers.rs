//! DescribeProducers (key 61): who writes to a partition (KIP-664).

use crate::error::ErrorCode;
use crate::protocol::message::messages;

messages! {
    DESCRIBE_PRODUCERS: DescribeProducersRequest => DescribeProducersResponse,
    versions 0-0, flexible 0+;

    /// Asks for the producers that partitions know.
    struct DescribeProducersRequest {
        topics: Vec<TopicRequest>, 0+;
    }

    /// A topic and its partitions.
    struct TopicRequest {
        name: String, 0+;
        partition_indexes: Vec<i32>, 0+;
    }

    /// What they know.
    struct DescribeProducersResponse {
        throttle_time_ms: i32, 0+;
        topics: Vec<TopicResponse>, 0+;
    }

    /// What is known of a topic.
    struct TopicResponse {
        name: String, 0+;
        partitions: Vec<PartitionResponse>, 0+;
    }

    /// What a partition knows.
    struct PartitionResponse {
        partition_index: i32, 0+;
        error_code: ErrorCode, 0+;
        error_message: Option<String>, 0+, null 0+;
        active_producers: Vec<ProducerState>, 0+;
    }

    /// A producer, as a partition knows it.
    struct ProducerState {
        producer_id: i64, 0+;
        producer_epoch: i32, 0+;
        last_sequence: i32 = -1, 0+;
        last_timestamp: i64 = -1, 0+;
        coordinator_epoch: i32, 0+;
        current_txn_start_offset: i64 = -1, 0+;
    }
}
