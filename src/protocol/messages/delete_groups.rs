//! DeleteGroups (key 42): deletes groups that have no members, with their offsets.

use crate::error::ErrorCode;
use crate::protocol::message::messages;

messages! {
    DELETE_GROUPS: DeleteGroupsRequest => DeleteGroupsResponse, versions 0-2, flexible 2+;

    /// Names the groups.
    struct DeleteGroupsRequest {
        groups_names: Vec<String>, 0+;
    }

    /// What became of each.
    struct DeleteGroupsResponse {
        throttle_time_ms: i32, 0+;
        results: Vec<DeletableGroupResult>, 0+;
    }

    /// What became of a group.
    struct DeletableGroupResult {
        group_id: String, 0+;
        error_code: ErrorCode, 0+;
    }
}
