//! ListGroups (key 16): the groups that a broker coordinates.
//!
//! v4 tells states and can ask for some of them only (KIP-518), v5 does so with types (KIP-848).

use crate::error::ErrorCode;
use crate::protocol::message::messages;

messages! {
    LIST_GROUPS: ListGroupsRequest => ListGroupsResponse, versions 0-5, flexible 3+;

    /// Asks for groups; an empty filter is none.
    struct ListGroupsRequest {
        states_filter: Vec<String>, 4+;
        types_filter: Vec<String>, 5+;
    }

    /// Those there are.
    struct ListGroupsResponse {
        throttle_time_ms: i32, 1+, ignorable;
        error_code: ErrorCode, 0+;
        groups: Vec<ListedGroup>, 0+;
    }

    /// A group.
    struct ListedGroup {
        group_id: String, 0+;
        protocol_type: String, 0+;
        group_state: String, 4+, ignorable;
        group_type: String, 5+, ignorable;
    }
}
