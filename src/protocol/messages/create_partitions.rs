//! CreatePartitions (key 37).
//!
//! v2 is flexible; v3 only adds an error code.

use crate::error::ErrorCode;
use crate::protocol::message::messages;

messages! {
    CREATE_PARTITIONS: CreatePartitionsRequest => CreatePartitionsResponse,
    versions 0-3, flexible 2+;

    /// Adds partitions to topics.
    struct CreatePartitionsRequest {
        topics: Vec<CreatePartitionsTopic>, 0+;
        timeout_ms: i32, 0+;
        validate_only: bool, 0+;
    }

    /// A topic and the partitions it shall have.
    struct CreatePartitionsTopic {
        name: String, 0+;
        count: i32, 0+;
        assignments: Option<Vec<CreatePartitionsAssignment>> = Some(Vec::new()), 0+, null 0+;
    }

    /// The brokers on which a new partition is placed.
    struct CreatePartitionsAssignment {
        broker_ids: Vec<i32>, 0+;
    }

    /// What became of the topics to extend.
    struct CreatePartitionsResponse {
        throttle_time_ms: i32, 0+;
        results: Vec<CreatePartitionsTopicResult>, 0+;
    }

    /// What became of a topic.
    struct CreatePartitionsTopicResult {
        name: String, 0+;
        error_code: ErrorCode, 0+;
        error_message: Option<String>, 0+, null 0+;
    }
}
