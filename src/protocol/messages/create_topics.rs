//! CreateTopics (key 19).
//!
//! v4 allows the broker's defaults for partitions and replicas (-1); v5 answers with the topic's
//! configuration (KIP-525); v7 with its id.

use crate::error::ErrorCode;
use crate::protocol::message::messages;
use crate::types::TopicId;

messages! {
    CREATE_TOPICS: CreateTopicsRequest => CreateTopicsResponse, versions 2-7, flexible 5+;

    /// Creates topics.
    struct CreateTopicsRequest {
        topics: Vec<CreatableTopic>, 0+;
        timeout_ms: i32 = 60_000, 0+;
        validate_only: bool, 1+;
    }

    /// A topic to create.
    struct CreatableTopic {
        name: String, 0+;
        num_partitions: i32, 0+;
        replication_factor: i16, 0+;
        assignments: Vec<CreatableReplicaAssignment>, 0+;
        configs: Vec<CreatableTopicConfig>, 0+;
    }

    /// The brokers on which a partition is placed.
    struct CreatableReplicaAssignment {
        partition_index: i32, 0+;
        broker_ids: Vec<i32>, 0+;
    }

    /// A configuration of a topic to create.
    struct CreatableTopicConfig {
        name: String, 0+;
        value: Option<String> = Some(String::new()), 0+, null 0+;
    }

    /// What became of the topics to create.
    struct CreateTopicsResponse {
        throttle_time_ms: i32, 2+, ignorable;
        topics: Vec<CreatableTopicResult>, 0+;
    }

    /// What became of a topic.
    struct CreatableTopicResult {
        name: String, 0+;
        topic_id: TopicId, 7+, ignorable;
        error_code: ErrorCode, 0+;
        error_message: Option<String> = Some(String::new()), 1+, null 0+, ignorable;
        num_partitions: i32 = -1, 5+, ignorable;
        replication_factor: i16 = -1, 5+, ignorable;
        configs: Option<Vec<CreatableTopicConfigs>> = Some(Vec::new()), 5+, null 5+, ignorable;
    }
    tagged {
        0 => topic_config_error_code: ErrorCode, 5+, ignorable;
    }

    /// A configuration that a created topic has.
    struct CreatableTopicConfigs {
        name: String, 5+;
        value: Option<String> = Some(String::new()), 5+, null 5+;
        read_only: bool, 5+;
        config_source: i8 = -1, 5+, ignorable;
        is_sensitive: bool, 5+;
    }
}
