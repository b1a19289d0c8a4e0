//! Heartbeat (key 12): says that a member is alive, and learns whether the group rebalances.
//!
//! v3 adds static members (KIP-345).

use crate::error::ErrorCode;
use crate::protocol::message::messages;

messages! {
    HEARTBEAT: HeartbeatRequest => HeartbeatResponse, versions 0-4, flexible 4+;

    /// Says that a member is alive.
    struct HeartbeatRequest {
        group_id: String, 0+;
        generation_id: i32, 0+;
        member_id: String, 0+;
        group_instance_id: Option<String>, 3+, null 3+;
    }

    /// Whether it still is one.
    struct HeartbeatResponse {
        throttle_time_ms: i32, 1+, ignorable;
        error_code: ErrorCode, 0+;
    }
}
