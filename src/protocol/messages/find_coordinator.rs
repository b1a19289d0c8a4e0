//! FindCoordinator (key 10): the broker that coordinates a group or a transactional id.
//!
//! v1 adds transactional ids; v4 asks for several keys at once (KIP-699), and moves the answer into
//! a list; v5 only adds an error code; v6 share groups.

use crate::error::ErrorCode;
use crate::protocol::message::messages;

messages! {
    FIND_COORDINATOR: FindCoordinatorRequest => FindCoordinatorResponse,
    versions 0-6, flexible 3+;

    /// Asks which broker coordinates a group or a transactional id.
    struct FindCoordinatorRequest {
        key: String, 0-3;
        key_type: i8, 1+;
        coordinator_keys: Vec<String>, 4+;
    }

    /// The coordinators.
    struct FindCoordinatorResponse {
        throttle_time_ms: i32, 1+, ignorable;
        error_code: ErrorCode, 0-3;
        error_message: Option<String> = Some(String::new()), 1-3, null 1-3, ignorable;
        node_id: i32, 0-3;
        host: String, 0-3;
        port: i32, 0-3;
        coordinators: Vec<Coordinator>, 4+;
    }

    /// The coordinator of one key.
    struct Coordinator {
        key: String, 4+;
        node_id: i32, 4+;
        host: String, 4+;
        port: i32, 4+;
        error_code: ErrorCode, 4+;
        error_message: Option<String> = Some(String::new()), 4+, null 4+, ignorable;
    }
}
