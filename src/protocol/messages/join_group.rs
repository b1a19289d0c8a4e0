//! JoinGroup (key 11): enters a group, or stays in it, for its next generation.
//!
//! v1 adds the rebalance time-out; v4 has a new member come back with the id that it is given
//! (KIP-394); v5 static members (KIP-345); v7 names the protocol in the answer (KIP-559); v8 adds
//! the reason (KIP-800); v9 lets a leader skip the assignment.

use bytes::Bytes;

use crate::error::ErrorCode;
use crate::protocol::message::messages;

messages! {
    JOIN_GROUP: JoinGroupRequest => JoinGroupResponse, versions 0-9, flexible 6+;

    /// Enters a group.
    struct JoinGroupRequest {
        group_id: String, 0+;
        session_timeout_ms: i32, 0+;
        rebalance_timeout_ms: i32 = -1, 1+, ignorable;
        member_id: String, 0+;
        group_instance_id: Option<String>, 5+, null 5+;
        protocol_type: String, 0+;
        protocols: Vec<JoinGroupRequestProtocol>, 0+;
        reason: Option<String>, 8+, null 8+, ignorable;
    }

    /// An assignor that the member can use, and what it tells it.
    struct JoinGroupRequestProtocol {
        name: String, 0+;
        metadata: Bytes, 0+;
    }

    /// The generation that the member is in.
    struct JoinGroupResponse {
        throttle_time_ms: i32, 2+, ignorable;
        error_code: ErrorCode, 0+;
        generation_id: i32 = -1, 0+;
        protocol_type: Option<String>, 7+, null 7+, ignorable;
        protocol_name: Option<String> = Some(String::new()), 0+, null 7+;
        leader: String, 0+;
        skip_assignment: bool, 9+;
        member_id: String, 0+;
        members: Vec<JoinGroupResponseMember>, 0+;
    }

    /// A member; only the leader is told.
    struct JoinGroupResponseMember {
        member_id: String, 0+;
        group_instance_id: Option<String>, 5+, null 5+, ignorable;
        metadata: Bytes, 0+;
    }
}
