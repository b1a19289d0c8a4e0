//! OffsetCommit (key 8): stores the offsets of a group.
//!
//! v6 adds the leader epoch (KIP-320); v7 static members (KIP-345); v9 is for members of the new
//! protocol too (KIP-848); v10 has topic ids in place of names.

use crate::error::ErrorCode;
use crate::protocol::message::messages;
use crate::types::TopicId;

messages! {
    OFFSET_COMMIT: OffsetCommitRequest => OffsetCommitResponse,
    versions 2-10, flexible 8+;

    /// Stores offsets.
    struct OffsetCommitRequest {
        group_id: String, 0+;
        generation_id_or_member_epoch: i32 = -1, 1+, ignorable;
        member_id: String, 1+, ignorable;
        group_instance_id: Option<String>, 7+, null 7+;
        retention_time_ms: i64 = -1, 2-4, ignorable;
        topics: Vec<OffsetCommitRequestTopic>, 0+;
    }

    /// The offsets of a topic.
    struct OffsetCommitRequestTopic {
        name: String, 0-9, ignorable;
        topic_id: TopicId, 10+, ignorable;
        partitions: Vec<OffsetCommitRequestPartition>, 0+;
    }

    /// The offset of a partition.
    struct OffsetCommitRequestPartition {
        partition_index: i32, 0+;
        committed_offset: i64, 0+;
        committed_leader_epoch: i32 = -1, 6+, ignorable;
        committed_metadata: Option<String> = Some(String::new()), 0+, null 0+;
    }

    /// How that went.
    struct OffsetCommitResponse {
        throttle_time_ms: i32, 3+, ignorable;
        topics: Vec<OffsetCommitResponseTopic>, 0+;
    }

    /// How it went for a topic.
    struct OffsetCommitResponseTopic {
        name: String, 0-9, ignorable;
        topic_id: TopicId, 10+, ignorable;
        partitions: Vec<OffsetCommitResponsePartition>, 0+;
    }

    /// How it went for a partition.
    struct OffsetCommitResponsePartition {
        partition_index: i32, 0+;
        error_code: ErrorCode, 0+;
    }
}
