//! EndTxn (key 26): commits or aborts a transaction.
//!
//! v2 adds PRODUCER_FENCED, v4 TRANSACTION_ABORTABLE; v5 is transaction version 2 (KIP-890): the epoch rises with each
//! transaction, and the answer has the next one.

use crate::error::ErrorCode;
use crate::protocol::message::messages;

messages! {
    END_TXN: EndTxnRequest => EndTxnResponse, versions 0-5, flexible 3+;

    /// Commits or aborts a transaction.
    struct EndTxnRequest {
        transactional_id: String, 0+;
        producer_id: i64, 0+;
        producer_epoch: i16, 0+;
        committed: bool, 0+;
    }

    /// How that went, and who the producer is from now on.
    struct EndTxnResponse {
        throttle_time_ms: i32, 0+;
        error_code: ErrorCode, 0+;
        producer_id: i64 = -1, 5+, ignorable;
        producer_epoch: i16 = -1, 5+, ignorable;
    }
}
