//! Fetch (key 1): reads record batches.
//!
//! v4 adds isolation levels; v7 sessions (KIP-227); v9 leader epochs; v10 allows zstd; v11 adds the
//! rack (KIP-392); v12 divergence (KIP-320); v13 has topic ids in place of names; v16 names the
//! right leader (KIP-951). v15, v17 and v18 are for replicas.

use bytes::Bytes;

use crate::error::ErrorCode;
use crate::protocol::message::messages;
use crate::types::TopicId;

messages! {
    FETCH: FetchRequest => FetchResponse, versions 4-18, flexible 12+;

    /// Reads record batches.
    struct FetchRequest {
        replica_id: i32 = -1, 0-14;
        max_wait_ms: i32, 0+;
        min_bytes: i32, 0+;
        max_bytes: i32 = i32::MAX, 3+, ignorable;
        isolation_level: i8, 4+, ignorable;
        session_id: i32, 7+, ignorable;
        session_epoch: i32 = -1, 7+, ignorable;
        topics: Vec<FetchTopic>, 0+;
        forgotten_topics_data: Vec<ForgottenTopic>, 7+;
        rack_id: String, 11+, ignorable;
    }
    tagged {
        0 => cluster_id: Option<String>, 12+, null 12+, ignorable;
        1 => replica_state: ReplicaState, 15+;
    }

    /// Who fetches, if it is a replica.
    struct ReplicaState {
        replica_id: i32 = -1, 15+;
        replica_epoch: i64 = -1, 15+;
    }

    /// What to fetch of a topic.
    struct FetchTopic {
        topic: String, 0-12, ignorable;
        topic_id: TopicId, 13+, ignorable;
        partitions: Vec<FetchPartition>, 0+;
    }

    /// What to fetch of a partition.
    struct FetchPartition {
        partition: i32, 0+;
        current_leader_epoch: i32 = -1, 9+, ignorable;
        fetch_offset: i64, 0+;
        last_fetched_epoch: i32 = -1, 12+;
        log_start_offset: i64 = -1, 5+, ignorable;
        partition_max_bytes: i32, 0+;
    }
    tagged {
        0 => replica_directory_id: TopicId, 17+, ignorable;
        1 => high_watermark: i64 = i64::MAX, 18+, ignorable;
    }

    /// Partitions that leave the fetch session (KIP-227).
    struct ForgottenTopic {
        topic: String, 7-12, ignorable;
        topic_id: TopicId, 13+, ignorable;
        partitions: Vec<i32>, 7+;
    }

    /// Record batches.
    struct FetchResponse {
        throttle_time_ms: i32, 1+, ignorable;
        error_code: ErrorCode, 7+, ignorable;
        session_id: i32, 7+;
        responses: Vec<FetchableTopicResponse>, 0+;
    }
    tagged {
        0 => node_endpoints: Vec<FetchNodeEndpoint>, 16+;
    }

    /// The batches of a topic.
    struct FetchableTopicResponse {
        topic: String, 0-12, ignorable;
        topic_id: TopicId, 13+, ignorable;
        partitions: Vec<FetchPartitionData>, 0+;
    }

    /// The batches of a partition.
    struct FetchPartitionData {
        partition_index: i32, 0+;
        error_code: ErrorCode, 0+;
        high_watermark: i64, 0+;
        last_stable_offset: i64 = -1, 4+, ignorable;
        log_start_offset: i64 = -1, 5+, ignorable;
        aborted_transactions: Option<Vec<AbortedTransaction>> = Some(Vec::new()),
            4+, null 4+, ignorable;
        preferred_read_replica: i32 = -1, 11+;
        records: Option<Bytes>, 0+, null 0+;
    }
    tagged {
        0 => diverging_epoch: EpochEndOffset, 12+;
        1 => current_leader: FetchLeaderIdAndEpoch, 12+;
        2 => snapshot_id: SnapshotId, 12+;
    }

    /// Where the log diverges from what was fetched before (KIP-320).
    struct EpochEndOffset {
        epoch: i32 = -1, 12+;
        end_offset: i64 = -1, 12+;
    }

    /// The leader that should have been asked.
    struct FetchLeaderIdAndEpoch {
        leader_id: i32 = -1, 12+;
        leader_epoch: i32 = -1, 12+;
    }

    /// The snapshot to fetch in place of the log.
    struct SnapshotId {
        end_offset: i64 = -1, 0+;
        epoch: i32 = -1, 0+;
    }

    /// A transaction whose records a read_committed reader skips.
    struct AbortedTransaction {
        producer_id: i64, 4+;
        first_offset: i64, 4+;
    }

    /// The address of a leader named in the response (KIP-951).
    struct FetchNodeEndpoint {
        node_id: i32, 16+;
        host: String, 16+;
        port: i32, 16+;
        rack: Option<String>, 16+, null 16+;
    }
}
