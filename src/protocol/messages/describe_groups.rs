//! DescribeGroups (key 15): classic groups, with their members.
//!
//! v3 has authorized operations, v4 static members; v6 says so if there is no such group (KIP-1043).

use bytes::Bytes;

use crate::error::ErrorCode;
use crate::protocol::message::messages;

messages! {
    DESCRIBE_GROUPS: DescribeGroupsRequest => DescribeGroupsResponse, versions 0-6, flexible 5+;

    /// Asks for groups.
    struct DescribeGroupsRequest {
        groups: Vec<String>, 0+;
        include_authorized_operations: bool, 3+;
    }

    /// What is known of each.
    struct DescribeGroupsResponse {
        throttle_time_ms: i32, 1+, ignorable;
        groups: Vec<DescribedGroup>, 0+;
    }

    /// A group.
    struct DescribedGroup {
        error_code: ErrorCode, 0+;
        error_message: Option<String>, 6+, null 6+;
        group_id: String, 0+;
        group_state: String, 0+;
        protocol_type: String, 0+;
        protocol_data: String, 0+;
        members: Vec<DescribedGroupMember>, 0+;
        authorized_operations: i32 = i32::MIN, 3+;
    }

    /// A member of it.
    struct DescribedGroupMember {
        member_id: String, 0+;
        group_instance_id: Option<String>, 4+, null 4+, ignorable;
        client_id: String, 0+;
        client_host: String, 0+;
        member_metadata: Bytes, 0+;
        member_assignment: Bytes, 0+;
    }
}
