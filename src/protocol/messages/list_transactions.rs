//! ListTransactions (key 66): the transactions that a coordinator knows (KIP-664).
//!
//! v1 can ask for long ones only (KIP-994), v2 for a pattern (KIP-1152).

use crate::error::ErrorCode;
use crate::protocol::message::messages;

messages! {
    LIST_TRANSACTIONS: ListTransactionsRequest => ListTransactionsResponse,
    versions 0-2, flexible 0+;

    /// Asks for transactions.
    struct ListTransactionsRequest {
        state_filters: Vec<String>, 0+;
        producer_id_filters: Vec<i64>, 0+;
        duration_filter: i64 = -1, 1+;
        transactional_id_pattern: Option<String>, 2+, null 2+;
    }

    /// Those there are.
    struct ListTransactionsResponse {
        throttle_time_ms: i32, 0+;
        error_code: ErrorCode, 0+;
        unknown_state_filters: Vec<String>, 0+;
        transaction_states: Vec<TransactionState>, 0+;
    }

    /// A transaction.
    struct TransactionState {
        transactional_id: String, 0+;
        producer_id: i64, 0+;
        transaction_state: String, 0+;
    }
}
