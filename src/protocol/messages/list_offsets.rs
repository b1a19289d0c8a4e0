//! ListOffsets (key 2): offsets by timestamp, or by position in the log.
//!
//! v2 adds isolation levels; v4 leader epochs; v10 a time-out for tiered storage. The versions from
//! 7 on give meaning to more negative timestamps, and change no field.

use crate::error::ErrorCode;
use crate::protocol::message::messages;

messages! {
    LIST_OFFSETS: ListOffsetsRequest => ListOffsetsResponse, versions 1-11, flexible 6+;

    /// Asks for offsets by timestamp.
    struct ListOffsetsRequest {
        replica_id: i32, 0+;
        isolation_level: i8, 2+;
        topics: Vec<ListOffsetsTopic>, 0+;
        timeout_ms: i32, 10+, ignorable;
    }

    /// What to look up in a topic.
    struct ListOffsetsTopic {
        name: String, 0+;
        partitions: Vec<ListOffsetsPartition>, 0+;
    }

    /// What to look up in a partition.
    struct ListOffsetsPartition {
        partition_index: i32, 0+;
        current_leader_epoch: i32 = -1, 4+, ignorable;
        timestamp: i64, 0+;
    }

    /// Offsets by timestamp.
    struct ListOffsetsResponse {
        throttle_time_ms: i32, 2+, ignorable;
        topics: Vec<ListOffsetsTopicResponse>, 0+;
    }

    /// The offsets of a topic.
    struct ListOffsetsTopicResponse {
        name: String, 0+;
        partitions: Vec<ListOffsetsPartitionResponse>, 0+;
    }

    /// The offset of a partition.
    struct ListOffsetsPartitionResponse {
        partition_index: i32, 0+;
        error_code: ErrorCode, 0+;
        timestamp: i64 = -1, 1+;
        offset: i64 = -1, 1+;
        leader_epoch: i32 = -1, 4+;
    }
}
