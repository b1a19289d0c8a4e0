//! DescribeTransactions (key 65): how the transactions of some transactional ids stand (KIP-664).

use crate::error::ErrorCode;
use crate::protocol::message::messages;

messages! {
    DESCRIBE_TRANSACTIONS: DescribeTransactionsRequest => DescribeTransactionsResponse,
    versions 0-0, flexible 0+;

    /// Asks for the state of transactions.
    struct DescribeTransactionsRequest {
        transactional_ids: Vec<String>, 0+;
    }

    /// What is known of them.
    struct DescribeTransactionsResponse {
        throttle_time_ms: i32, 0+;
        transaction_states: Vec<TransactionState>, 0+;
    }

    /// How a transaction stands.
    struct TransactionState {
        error_code: ErrorCode, 0+;
        transactional_id: String, 0+;
        transaction_state: String, 0+;
        transaction_timeout_ms: i32, 0+;
        transaction_start_time_ms: i64, 0+;
        producer_id: i64, 0+;
        producer_epoch: i16, 0+;
        topics: Vec<TopicData>, 0+;
    }

    /// Partitions that are part of a transaction and have no marker yet.
    struct TopicData {
        topic: String, 0+;
        partitions: Vec<i32>, 0+;
    }
}
