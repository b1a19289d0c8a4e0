//! SyncGroup (key 14): gets a member its assignment; the leader brings those of all.
//!
//! v3 adds static members (KIP-345); v5 names the protocol (KIP-559).

use bytes::Bytes;

use crate::error::ErrorCode;
use crate::protocol::message::messages;

messages! {
    SYNC_GROUP: SyncGroupRequest => SyncGroupResponse, versions 0-5, flexible 4+;

    /// Asks for the assignment.
    struct SyncGroupRequest {
        group_id: String, 0+;
        generation_id: i32, 0+;
        member_id: String, 0+;
        group_instance_id: Option<String>, 3+, null 3+;
        protocol_type: Option<String>, 5+, null 5+, ignorable;
        protocol_name: Option<String>, 5+, null 5+, ignorable;
        assignments: Vec<SyncGroupRequestAssignment>, 0+;
    }

    /// What the leader assigns to a member.
    struct SyncGroupRequestAssignment {
        member_id: String, 0+;
        assignment: Bytes, 0+;
    }

    /// The assignment.
    struct SyncGroupResponse {
        throttle_time_ms: i32, 1+, ignorable;
        error_code: ErrorCode, 0+;
        protocol_type: Option<String>, 5+, null 5+, ignorable;
        protocol_name: Option<String>, 5+, null 5+, ignorable;
        assignment: Bytes, 0+;
    }
}
