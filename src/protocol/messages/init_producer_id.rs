//! InitProducerId (key 22): the identity of an idempotent or transactional producer.
//!
//! v3 can ask for the next epoch of an id (KIP-360); v4 and v5 only add error codes. v6 (KIP-939)
//! is unstable in Kafka 4.3 and left out.

use crate::error::ErrorCode;
use crate::protocol::message::messages;

messages! {
    INIT_PRODUCER_ID: InitProducerIdRequest => InitProducerIdResponse, versions 0-5, flexible 2+;

    /// Asks for a producer id, or for the next epoch of one.
    struct InitProducerIdRequest {
        transactional_id: Option<String> = Some(String::new()), 0+, null 0+;
        transaction_timeout_ms: i32, 0+;
        producer_id: i64 = -1, 3+;
        producer_epoch: i16 = -1, 3+;
    }

    /// A producer id and its epoch.
    struct InitProducerIdResponse {
        throttle_time_ms: i32, 0+, ignorable;
        error_code: ErrorCode, 0+;
        producer_id: i64 = -1, 0+;
        producer_epoch: i16, 0+;
    }
}
