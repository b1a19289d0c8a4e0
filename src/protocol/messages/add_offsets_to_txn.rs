//! AddOffsetsToTxn (key 25): the offsets of a group become part of a transaction.
//!
//! v2 adds PRODUCER_FENCED, v4 TRANSACTION_ABORTABLE (KIP-890). Not needed with transaction version 2, where the offsets'
//! own request does it.

use crate::error::ErrorCode;
use crate::protocol::message::messages;

messages! {
    ADD_OFFSETS_TO_TXN: AddOffsetsToTxnRequest => AddOffsetsToTxnResponse,
    versions 0-4, flexible 3+;

    /// Makes the offsets of a group part of a transaction.
    struct AddOffsetsToTxnRequest {
        transactional_id: String, 0+;
        producer_id: i64, 0+;
        producer_epoch: i16, 0+;
        group_id: String, 0+;
    }

    /// How that went.
    struct AddOffsetsToTxnResponse {
        throttle_time_ms: i32, 0+;
        error_code: ErrorCode, 0+;
    }
}
