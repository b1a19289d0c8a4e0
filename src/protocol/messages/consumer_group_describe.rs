//! ConsumerGroupDescribe (key 69): groups of the new protocol, with their members (KIP-848).
//!
//! v1 has the type of a member (KIP-1099).

use crate::error::ErrorCode;
use crate::protocol::message::messages;
use crate::types::TopicId;

messages! {
    CONSUMER_GROUP_DESCRIBE: ConsumerGroupDescribeRequest => ConsumerGroupDescribeResponse,
    versions 0-1, flexible 0+;

    /// Asks for groups.
    struct ConsumerGroupDescribeRequest {
        group_ids: Vec<String>, 0+;
        include_authorized_operations: bool, 0+;
    }

    /// What is known of each.
    struct ConsumerGroupDescribeResponse {
        throttle_time_ms: i32, 0+;
        groups: Vec<DescribedGroup>, 0+;
    }

    /// A group.
    struct DescribedGroup {
        error_code: ErrorCode, 0+;
        error_message: Option<String>, 0+, null 0+;
        group_id: String, 0+;
        group_state: String, 0+;
        group_epoch: i32, 0+;
        assignment_epoch: i32, 0+;
        assignor_name: String, 0+;
        members: Vec<Member>, 0+;
        authorized_operations: i32 = i32::MIN, 0+;
    }

    /// A member of it.
    struct Member {
        member_id: String, 0+;
        instance_id: Option<String>, 0+, null 0+;
        rack_id: Option<String>, 0+, null 0+;
        member_epoch: i32, 0+;
        client_id: String, 0+;
        client_host: String, 0+;
        subscribed_topic_names: Vec<String>, 0+;
        subscribed_topic_regex: Option<String>, 0+, null 0+;
        assignment: Assignment, 0+;
        target_assignment: Assignment, 0+;
        member_type: i8 = -1, 1+, ignorable;
    }

    /// What a member owns, or is to own.
    struct Assignment {
        topic_partitions: Vec<TopicPartitions>, 0+;
    }

    /// Partitions of a topic.
    struct TopicPartitions {
        topic_id: TopicId, 0+;
        topic_name: String, 0+;
        partitions: Vec<i32>, 0+;
    }
}
