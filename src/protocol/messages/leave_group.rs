//! LeaveGroup (key 13): leaves a group.
//!
//! v3 takes several members at once (KIP-345); v5 adds the reason (KIP-800).

use crate::error::ErrorCode;
use crate::protocol::message::messages;

messages! {
    LEAVE_GROUP: LeaveGroupRequest => LeaveGroupResponse, versions 0-5, flexible 4+;

    /// Leaves a group.
    struct LeaveGroupRequest {
        group_id: String, 0+;
        member_id: String, 0-2;
        members: Vec<MemberIdentity>, 3+;
    }

    /// A member that leaves.
    struct MemberIdentity {
        member_id: String, 3+;
        group_instance_id: Option<String>, 3+, null 3+;
        reason: Option<String>, 5+, null 5+, ignorable;
    }

    /// How that went.
    struct LeaveGroupResponse {
        throttle_time_ms: i32, 1+, ignorable;
        error_code: ErrorCode, 0+;
        members: Vec<MemberResponse>, 3+;
    }

    /// How it went for a member.
    struct MemberResponse {
        member_id: String, 3+;
        group_instance_id: Option<String> = Some(String::new()), 3+, null 3+;
        error_code: ErrorCode, 3+;
    }
}
