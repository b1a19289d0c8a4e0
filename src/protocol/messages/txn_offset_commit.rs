//! TxnOffsetCommit (key 28): stores the offsets of a group as part of a transaction.
//!
//! v2 adds the leader epoch (KIP-320), v3 the member (KIP-447), v4 TRANSACTION_ABORTABLE; v5 is transaction version 2
//! (KIP-890): it makes the group part of the transaction too.

use crate::error::ErrorCode;
use crate::protocol::message::messages;

messages! {
    TXN_OFFSET_COMMIT: TxnOffsetCommitRequest => TxnOffsetCommitResponse, versions 0-5, flexible 3+;

    /// Stores offsets within a transaction.
    struct TxnOffsetCommitRequest {
        transactional_id: String, 0+;
        group_id: String, 0+;
        producer_id: i64, 0+;
        producer_epoch: i16, 0+;
        generation_id: i32 = -1, 3+;
        member_id: String, 3+;
        group_instance_id: Option<String>, 3+, null 3+;
        topics: Vec<TxnOffsetCommitRequestTopic>, 0+;
    }

    /// The offsets of a topic.
    struct TxnOffsetCommitRequestTopic {
        name: String, 0+;
        partitions: Vec<TxnOffsetCommitRequestPartition>, 0+;
    }

    /// The offset of a partition.
    struct TxnOffsetCommitRequestPartition {
        partition_index: i32, 0+;
        committed_offset: i64, 0+;
        committed_leader_epoch: i32 = -1, 2+, ignorable;
        committed_metadata: Option<String> = Some(String::new()), 0+, null 0+;
    }

    /// How that went.
    struct TxnOffsetCommitResponse {
        throttle_time_ms: i32, 0+;
        topics: Vec<TxnOffsetCommitResponseTopic>, 0+;
    }

    /// How it went for a topic.
    struct TxnOffsetCommitResponseTopic {
        name: String, 0+;
        partitions: Vec<TxnOffsetCommitResponsePartition>, 0+;
    }

    /// How it went for a partition.
    struct TxnOffsetCommitResponsePartition {
        partition_index: i32, 0+;
        error_code: ErrorCode, 0+;
    }
}
