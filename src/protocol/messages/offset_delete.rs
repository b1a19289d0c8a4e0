//! OffsetDelete (key 47): deletes committed offsets of partitions (KIP-496).
//!
//! There is one version, and it is not flexible.

use crate::error::ErrorCode;
use crate::protocol::message::messages;

messages! {
    OFFSET_DELETE: OffsetDeleteRequest => OffsetDeleteResponse, versions 0-0, flexible 1+;

    /// Names the group and the partitions.
    struct OffsetDeleteRequest {
        group_id: String, 0+;
        topics: Vec<OffsetDeleteRequestTopic>, 0+;
    }

    /// The partitions of a topic.
    struct OffsetDeleteRequestTopic {
        name: String, 0+;
        partitions: Vec<OffsetDeleteRequestPartition>, 0+;
    }

    /// A partition.
    struct OffsetDeleteRequestPartition {
        partition_index: i32, 0+;
    }

    /// What became of them.
    struct OffsetDeleteResponse {
        error_code: ErrorCode, 0+;
        throttle_time_ms: i32, 0+;
        topics: Vec<OffsetDeleteResponseTopic>, 0+;
    }

    /// What became of those of a topic.
    struct OffsetDeleteResponseTopic {
        name: String, 0+;
        partitions: Vec<OffsetDeleteResponsePartition>, 0+;
    }

    /// What became of a partition.
    struct OffsetDeleteResponsePartition {
        partition_index: i32, 0+;
        error_code: ErrorCode, 0+;
    }
}
