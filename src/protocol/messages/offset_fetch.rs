//! OffsetFetch (key 9): reads the stored offsets of groups.
//!
//! v2 can ask for all topics; v5 adds the leader epoch (KIP-320); v7 waits for transactions to end
//! (KIP-447); v8 asks of several groups at once (KIP-709); v9 is for members of the new protocol
//! too (KIP-848); v10 has topic ids in place of names.

use crate::error::ErrorCode;
use crate::protocol::message::messages;
use crate::types::TopicId;

messages! {
    OFFSET_FETCH: OffsetFetchRequest => OffsetFetchResponse, versions 1-10, flexible 6+;

    /// Asks for offsets.
    struct OffsetFetchRequest {
        group_id: String, 0-7;
        topics: Option<Vec<OffsetFetchRequestTopic>> = Some(Vec::new()), 0-7, null 2-7;
        groups: Vec<OffsetFetchRequestGroup>, 8+;
        require_stable: bool, 7+;
    }

    /// Partitions of a topic.
    struct OffsetFetchRequestTopic {
        name: String, 0-7;
        partition_indexes: Vec<i32>, 0-7;
    }

    /// What to tell of a group.
    struct OffsetFetchRequestGroup {
        group_id: String, 8+;
        member_id: Option<String>, 9+, null 9+, ignorable;
        member_epoch: i32 = -1, 9+, ignorable;
        topics: Option<Vec<OffsetFetchRequestTopics>> = Some(Vec::new()), 8+, null 8+;
    }

    /// Partitions of a topic.
    struct OffsetFetchRequestTopics {
        name: String, 8-9, ignorable;
        topic_id: TopicId, 10+, ignorable;
        partition_indexes: Vec<i32>, 8+;
    }

    /// The offsets.
    struct OffsetFetchResponse {
        throttle_time_ms: i32, 3+, ignorable;
        topics: Vec<OffsetFetchResponseTopic>, 0-7;
        error_code: ErrorCode, 2-7, ignorable;
        groups: Vec<OffsetFetchResponseGroup>, 8+;
    }

    /// The offsets of a topic.
    struct OffsetFetchResponseTopic {
        name: String, 0-7;
        partitions: Vec<OffsetFetchResponsePartition>, 0-7;
    }

    /// The offset of a partition; -1 if there is none.
    struct OffsetFetchResponsePartition {
        partition_index: i32, 0-7;
        committed_offset: i64, 0-7;
        committed_leader_epoch: i32 = -1, 5-7, ignorable;
        metadata: Option<String> = Some(String::new()), 0-7, null 0-7;
        error_code: ErrorCode, 0-7;
    }

    /// The offsets of a group.
    struct OffsetFetchResponseGroup {
        group_id: String, 8+;
        topics: Vec<OffsetFetchResponseTopics>, 8+;
        error_code: ErrorCode, 8+;
    }

    /// The offsets of a topic.
    struct OffsetFetchResponseTopics {
        name: String, 8-9, ignorable;
        topic_id: TopicId, 10+, ignorable;
        partitions: Vec<OffsetFetchResponsePartitions>, 8+;
    }

    /// The offset of a partition; -1 if there is none.
    struct OffsetFetchResponsePartitions {
        partition_index: i32, 8+;
        committed_offset: i64, 8+;
        committed_leader_epoch: i32 = -1, 8+, ignorable;
        metadata: Option<String> = Some(String::new()), 8+, null 8+;
        error_code: ErrorCode, 8+;
    }
}
