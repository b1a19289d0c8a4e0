//! OffsetForLeaderEpoch (key 23): asks where an epoch of a leader ended (KIP-320).
//!
//! v2 adds the epoch of the current leader, for fencing; v3 says who asks.

use crate::error::ErrorCode;
use crate::protocol::message::messages;

messages! {
    OFFSET_FOR_LEADER_EPOCH: OffsetForLeaderEpochRequest => OffsetForLeaderEpochResponse,
    versions 2-4, flexible 4+;

    /// Asks where epochs ended.
    struct OffsetForLeaderEpochRequest {
        replica_id: i32 = -2, 3+, ignorable;
        topics: Vec<OffsetForLeaderTopic>, 0+;
    }

    /// What to look up in a topic.
    struct OffsetForLeaderTopic {
        topic: String, 0+;
        partitions: Vec<OffsetForLeaderPartition>, 0+;
    }

    /// What to look up in a partition.
    struct OffsetForLeaderPartition {
        partition: i32, 0+;
        current_leader_epoch: i32 = -1, 2+, ignorable;
        leader_epoch: i32, 0+;
    }

    /// Where the epochs ended.
    struct OffsetForLeaderEpochResponse {
        throttle_time_ms: i32, 2+, ignorable;
        topics: Vec<OffsetForLeaderTopicResult>, 0+;
    }

    /// The answers for a topic.
    struct OffsetForLeaderTopicResult {
        topic: String, 0+;
        partitions: Vec<EpochEndOffset>, 0+;
    }

    /// The largest epoch up to the one asked for, and the offset after its last record.
    struct EpochEndOffset {
        error_code: ErrorCode, 0+;
        partition: i32, 0+;
        leader_epoch: i32 = -1, 1+, ignorable;
        end_offset: i64 = -1, 0+;
    }
}
