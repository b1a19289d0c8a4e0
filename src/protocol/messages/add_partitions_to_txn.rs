//! AddPartitionsToTxn (key 24): partitions become part of a transaction before they are written to.
//!
//! v2 adds PRODUCER_FENCED; clients use versions up to 3, brokers among themselves the later ones (KIP-890). Not needed with
//! transaction version 2, where the first batch does it.

use crate::error::ErrorCode;
use crate::protocol::message::messages;

messages! {
    ADD_PARTITIONS_TO_TXN: AddPartitionsToTxnRequest => AddPartitionsToTxnResponse,
    versions 0-5, flexible 3+;

    /// Makes partitions part of transactions.
    struct AddPartitionsToTxnRequest {
        transactions: Vec<AddPartitionsToTxnTransaction>, 4+;
        v3_and_below_transactional_id: String, 0-3;
        v3_and_below_producer_id: i64, 0-3;
        v3_and_below_producer_epoch: i16, 0-3;
        v3_and_below_topics: Vec<AddPartitionsToTxnTopic>, 0-3;
    }

    /// A transaction that partitions are added to.
    struct AddPartitionsToTxnTransaction {
        transactional_id: String, 4+;
        producer_id: i64, 4+;
        producer_epoch: i16, 4+;
        verify_only: bool, 4+;
        topics: Vec<AddPartitionsToTxnTopic>, 4+;
    }

    /// A topic whose partitions are added.
    struct AddPartitionsToTxnTopic {
        name: String, 0+;
        partitions: Vec<i32>, 0+;
    }

    /// How that went.
    struct AddPartitionsToTxnResponse {
        throttle_time_ms: i32, 0+;
        error_code: ErrorCode, 4+, ignorable;
        results_by_transaction: Vec<AddPartitionsToTxnResult>, 4+;
        results_by_topic_v3_and_below: Vec<AddPartitionsToTxnTopicResult>, 0-3;
    }

    /// How it went for a transaction.
    struct AddPartitionsToTxnResult {
        transactional_id: String, 4+;
        topic_results: Vec<AddPartitionsToTxnTopicResult>, 4+;
    }

    /// How it went for a topic.
    struct AddPartitionsToTxnTopicResult {
        name: String, 0+;
        results_by_partition: Vec<AddPartitionsToTxnPartitionResult>, 0+;
    }

    /// How it went for a partition.
    struct AddPartitionsToTxnPartitionResult {
        partition_index: i32, 0+;
        partition_error_code: ErrorCode, 0+;
    }
}
