//! Metadata (key 3): brokers, topics and the leaders of partitions.
//!
//! From v1 on null asks for all topics and an empty list for none; v4 may forbid auto-creation; v7
//! adds leader epochs; v10 topic ids, by which v12 can ask; v13 an error for the whole answer
//! (KIP-1102).

use crate::error::ErrorCode;
use crate::protocol::message::messages;
use crate::types::TopicId;

messages! {
    METADATA: MetadataRequest => MetadataResponse, versions 0-13, flexible 9+;

    /// Asks for brokers, topics and leaders.
    struct MetadataRequest {
        topics: Option<Vec<MetadataRequestTopic>> = Some(Vec::new()), 0+, null 1+;
        allow_auto_topic_creation: bool = true, 4+;
        include_cluster_authorized_operations: bool, 8-10;
        include_topic_authorized_operations: bool, 8+;
    }

    /// A topic that is asked for, by name or by id.
    struct MetadataRequestTopic {
        topic_id: TopicId, 10+, ignorable;
        name: Option<String> = Some(String::new()), 0+, null 10+;
    }

    /// Brokers, topics and leaders.
    struct MetadataResponse {
        throttle_time_ms: i32, 3+, ignorable;
        brokers: Vec<MetadataResponseBroker>, 0+;
        cluster_id: Option<String>, 2+, null 2+, ignorable;
        controller_id: i32 = -1, 1+, ignorable;
        topics: Vec<MetadataResponseTopic>, 0+;
        cluster_authorized_operations: i32 = i32::MIN, 8-10;
        error_code: ErrorCode, 13+, ignorable;
    }

    /// A broker and its address.
    struct MetadataResponseBroker {
        node_id: i32, 0+;
        host: String, 0+;
        port: i32, 0+;
        rack: Option<String>, 1+, null 1+, ignorable;
    }

    /// A topic and its partitions.
    struct MetadataResponseTopic {
        error_code: ErrorCode, 0+;
        name: Option<String> = Some(String::new()), 0+, null 12+;
        topic_id: TopicId, 10+, ignorable;
        is_internal: bool, 1+, ignorable;
        partitions: Vec<MetadataResponsePartition>, 0+;
        topic_authorized_operations: i32 = i32::MIN, 8+;
    }

    /// A partition, its leader and its replicas.
    struct MetadataResponsePartition {
        error_code: ErrorCode, 0+;
        partition_index: i32, 0+;
        leader_id: i32, 0+;
        leader_epoch: i32 = -1, 7+, ignorable;
        replica_nodes: Vec<i32>, 0+;
        isr_nodes: Vec<i32>, 0+;
        offline_replicas: Vec<i32>, 5+, ignorable;
    }
}
