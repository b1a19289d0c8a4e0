//! ConsumerGroupHeartbeat (key 68): all of the membership in a group of the new protocol (KIP-848).
//!
//! v1 adds subscriptions by regular expression, and has members make their own ids (KIP-1082).

use crate::error::ErrorCode;
use crate::protocol::message::messages;
use crate::protocol::wire::nullable_struct;
use crate::types::TopicId;

messages! {
    CONSUMER_GROUP_HEARTBEAT: ConsumerGroupHeartbeatRequest => ConsumerGroupHeartbeatResponse,
    versions 0-1, flexible 0+;

    /// Joins, stays or leaves: by the epoch. Fields that have not changed are left out.
    struct ConsumerGroupHeartbeatRequest {
        group_id: String, 0+;
        member_id: String, 0+;
        member_epoch: i32, 0+;
        instance_id: Option<String>, 0+, null 0+;
        rack_id: Option<String>, 0+, null 0+;
        rebalance_timeout_ms: i32 = -1, 0+;
        subscribed_topic_names: Option<Vec<String>>, 0+, null 0+;
        subscribed_topic_regex: Option<String>, 1+, null 1+;
        server_assignor: Option<String>, 0+, null 0+;
        topic_partitions: Option<Vec<TopicPartitions>>, 0+, null 0+;
    }

    /// Partitions of a topic.
    struct TopicPartitions {
        topic_id: TopicId, 0+;
        partitions: Vec<i32>, 0+;
    }

    /// The epoch and the assignment.
    struct ConsumerGroupHeartbeatResponse {
        throttle_time_ms: i32, 0+;
        error_code: ErrorCode, 0+;
        error_message: Option<String>, 0+, null 0+;
        member_id: Option<String>, 0+, null 0+;
        member_epoch: i32, 0+;
        heartbeat_interval_ms: i32, 0+;
        assignment: Option<Assignment>, 0+, null 0+;
    }

    /// The partitions that the member is to own.
    struct Assignment {
        topic_partitions: Vec<TopicPartitions>, 0+;
    }
}

nullable_struct!(Assignment);
