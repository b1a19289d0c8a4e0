//! Produce (key 0): appends record batches.
//!
//! v7 allows zstd; v8 names the records at fault (KIP-467); v10 names the right leader (KIP-951);
//! v12 adds partitions to a transaction by itself (KIP-890); v13 has topic ids in place of names.

use bytes::Bytes;

use crate::error::ErrorCode;
use crate::protocol::message::messages;
use crate::types::TopicId;

messages! {
    PRODUCE: ProduceRequest => ProduceResponse, versions 3-13, flexible 9+;

    /// Appends record batches.
    struct ProduceRequest {
        transactional_id: Option<String>, 3+, null 3+;
        acks: i16, 0+;
        timeout_ms: i32, 0+;
        topic_data: Vec<TopicProduceData>, 0+;
    }

    /// The batches for a topic.
    struct TopicProduceData {
        name: String, 0-12, ignorable;
        topic_id: TopicId, 13+, ignorable;
        partition_data: Vec<PartitionProduceData>, 0+;
    }

    /// The batches for a partition.
    struct PartitionProduceData {
        index: i32, 0+;
        records: Option<Bytes>, 0+, null 0+;
    }

    /// What became of the batches.
    struct ProduceResponse {
        responses: Vec<TopicProduceResponse>, 0+;
        throttle_time_ms: i32, 1+, ignorable;
    }
    tagged {
        0 => node_endpoints: Vec<ProduceNodeEndpoint>, 10+;
    }

    /// What became of the batches for a topic.
    struct TopicProduceResponse {
        name: String, 0-12, ignorable;
        topic_id: TopicId, 13+, ignorable;
        partition_responses: Vec<PartitionProduceResponse>, 0+;
    }

    /// What became of the batches for a partition.
    struct PartitionProduceResponse {
        index: i32, 0+;
        error_code: ErrorCode, 0+;
        base_offset: i64, 0+;
        log_append_time_ms: i64 = -1, 2+, ignorable;
        log_start_offset: i64 = -1, 5+, ignorable;
        record_errors: Vec<BatchIndexAndErrorMessage>, 8+, ignorable;
        error_message: Option<String>, 8+, null 8+, ignorable;
    }
    tagged {
        0 => current_leader: ProduceLeaderIdAndEpoch, 10+;
    }

    /// A record for which a batch was refused.
    struct BatchIndexAndErrorMessage {
        batch_index: i32, 8+;
        batch_index_error_message: Option<String>, 8+, null 8+;
    }

    /// The leader that should have been asked (KIP-951).
    struct ProduceLeaderIdAndEpoch {
        leader_id: i32 = -1, 10+;
        leader_epoch: i32 = -1, 10+;
    }

    /// The address of a leader named in the response (KIP-951).
    struct ProduceNodeEndpoint {
        node_id: i32, 10+;
        host: String, 10+;
        port: i32, 10+;
        rack: Option<String>, 10+, null 10+;
    }
}
