//! DeleteTopics, by name or by id. Records and producer state go with the topic.

use super::{Answer, Context, Handle};
use crate::broker::state::State;
use crate::error::ErrorCode;
use crate::protocol::messages::delete_topics::{
    DeletableTopicResult, DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse,
};
use crate::types::{TopicId, TopicPartition};

/// From this version on topics come with ids.
const WITH_IDS_FROM: i16 = 6;
/// From this version on the answer has a text.
const MESSAGE_FROM: i16 = 5;

impl Handle for DeleteTopicsRequest {
    async fn handle(self, cx: &Context<'_>) -> Answer<DeleteTopicsResponse> {
        let asked = if cx.version >= WITH_IDS_FROM {
            self.topics
        } else {
            let by_name = |name| DeleteTopicState { name: Some(name), topic_id: TopicId::ZERO };
            self.topic_names.into_iter().map(by_name).collect()
        };
        let responses = asked.into_iter().map(|topic| delete(cx, topic)).collect();
        Answer::Respond(DeleteTopicsResponse { responses, ..Default::default() })
    }

    fn names(&self, state: &State, partition: &TopicPartition) -> bool {
        let named = |topic: &DeleteTopicState| {
            let name = topic.name.as_deref().or_else(|| state.name_of(topic.topic_id));
            name == Some(&partition.topic)
        };
        self.topics.iter().any(named) || self.topic_names.contains(&partition.topic)
    }
}

fn delete(cx: &Context<'_>, topic: DeleteTopicState) -> DeletableTopicResult {
    let id = topic.topic_id;
    let name = match topic.name {
        Some(name) if id.is_zero() => Ok(name),
        None if !id.is_zero() => {
            let name = cx.shared.with(|state| state.name_of(id).map(str::to_owned));
            name.ok_or((None, ErrorCode::UNKNOWN_TOPIC_ID))
        }
        both_or_neither => Err((both_or_neither, ErrorCode::INVALID_REQUEST)),
    };
    let deleted = name.and_then(|name| {
        let result = cx.apply_topic(&name, || {
            let deleted = cx.shared.change(|state| state.delete_topic(&name));
            deleted.ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
        });
        match result {
            Ok(id) => Ok((name, id)),
            Err(code) => Err((Some(name), code)),
        }
    });
    match deleted {
        Ok((name, topic_id)) => {
            DeletableTopicResult { name: Some(name), topic_id, ..Default::default() }
        }
        Err((name, error_code)) => DeletableTopicResult {
            name,
            topic_id: id,
            error_code,
            error_message: (cx.version >= MESSAGE_FROM)
                .then(|| error_code.description().to_owned()),
        },
    }
}
