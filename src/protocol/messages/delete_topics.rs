//! DeleteTopics (key 20).
//!
//! v4 is flexible; v5 explains errors; v6 can name topics by id.

use crate::error::ErrorCode;
use crate::protocol::message::messages;
use crate::types::TopicId;

messages! {
    DELETE_TOPICS: DeleteTopicsRequest => DeleteTopicsResponse, versions 1-6, flexible 4+;

    /// Deletes topics.
    struct DeleteTopicsRequest {
        topics: Vec<DeleteTopicState>, 6+;
        topic_names: Vec<String>, 0-5, ignorable;
        timeout_ms: i32, 0+;
    }

    /// A topic to delete, by name or by id.
    struct DeleteTopicState {
        name: Option<String>, 6+, null 6+;
        topic_id: TopicId, 6+;
    }

    /// What became of the topics to delete.
    struct DeleteTopicsResponse {
        throttle_time_ms: i32, 1+, ignorable;
        responses: Vec<DeletableTopicResult>, 0+;
    }

    /// What became of a topic.
    struct DeletableTopicResult {
        name: Option<String> = Some(String::new()), 0+, null 6+;
        topic_id: TopicId, 6+, ignorable;
        error_code: ErrorCode, 0+;
        error_message: Option<String>, 5+, null 5+, ignorable;
    }
}
