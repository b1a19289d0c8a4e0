//! Fetch: reads batches, and waits for some if there are not enough yet.
//!
//! ```text
//! request -> session: which partitions? -> wait until there is enough to say -> read each -> session: what is news?
//! ```
//!
//! The high watermark is the log's end. Consumers that tell their rack, from version 11 on, are served by followers too
//! (KIP-392).

mod read;

use std::pin::pin;
use std::time::Duration;

use super::{Answer, Context, Handle, endpoint};
use crate::broker::fetch_session::{Asked, Key, Kind};
use crate::broker::state::State;
use crate::error::ErrorCode;
use crate::protocol::messages::fetch::{
    FetchNodeEndpoint, FetchPartition, FetchPartitionData, FetchRequest, FetchResponse, FetchTopic,
    FetchableTopicResponse,
};
use crate::time::Instant;
use crate::types::TopicPartition;

use self::read::Reading;

/// From this version on topics are named by id.
const BY_ID_FROM: i16 = 13;

impl Handle for FetchRequest {
    async fn handle(self, cx: &Context<'_>) -> Answer<FetchResponse> {
        if let Some(error_code) = cx.injected(None, false).filter(|&code| is_of_session(code)) {
            return Answer::Respond(FetchResponse { error_code, ..Default::default() });
        }
        let by_id = cx.version >= BY_ID_FROM;
        let begun = cx.shared.with(|state| {
            let sessions = state.fetch_sessions.get_mut(&cx.node)?;
            Some(sessions.begin(&self, by_id, cx.shared.clock.now_ms()))
        });
        let (kind, asked) = match begun {
            Some(Ok(begun)) => begun,
            Some(Err(error_code)) => {
                return Answer::Respond(FetchResponse { error_code, ..Default::default() });
            }
            None => return Answer::Close("this node does not run".to_owned()),
        };
        let reading = Reading { cx, request: &self, asked };
        let wait = Duration::from_millis(u64::try_from(self.max_wait_ms).unwrap_or(0));
        let deadline = Instant::now() + wait;
        loop {
            // Listen before looking: what is appended in between must not be missed.
            let mut changed = pin!(cx.shared.changed.notified());
            changed.as_mut().enable();
            let answer_now = Instant::now() >= deadline;
            let response = cx.shared.with(|state| {
                (answer_now || reading.is_enough(state)).then(|| respond(&reading, state, kind))
            });
            if let Some(response) = response {
                return Answer::Respond(response);
            }
            // An end of a transaction that time brings is worth a look too.
            let until = cx.shared.next_settlement().map_or(deadline, |at| at.min(deadline));
            // Either way the next look decides.
            let _ = tokio::time::timeout_at(until, changed).await;
            cx.shared.settle_transactions();
        }
    }

    fn names(&self, state: &State, partition: &TopicPartition) -> bool {
        let index = |asked: &FetchPartition| asked.partition == partition.partition;
        let named = |topic: &FetchTopic| topic.partitions.iter().any(index);
        let is_topic = |name: &str, id| {
            let name = if name.is_empty() { state.name_of(id) } else { Some(name) };
            name == Some(partition.topic.as_str())
        };
        // An id is of one node's session; which node it is, is not known here.
        let mut kept = state.fetch_sessions.values().flat_map(|of| of.partitions(self.session_id));
        let of_session =
            |key: &Key| key.partition == partition.partition && is_topic(&key.topic, key.topic_id);
        let is_forgotten = self.forgotten_topics_data.iter().any(|topic| {
            is_topic(&topic.topic, topic.topic_id)
                && topic.partitions.contains(&partition.partition)
        });
        self.topics.iter().any(|topic| is_topic(&topic.topic, topic.topic_id) && named(topic))
            || (!is_forgotten && kept.any(of_session))
    }

    fn throttle(response: &mut FetchResponse, ms: i32) {
        response.throttle_time_ms = ms;
    }
}

/// Codes that stand for the whole answer.
fn is_of_session(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::FETCH_SESSION_ID_NOT_FOUND
            | ErrorCode::INVALID_FETCH_SESSION_EPOCH
            | ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR
    )
}

fn respond(reading: &Reading<'_>, state: &mut State, kind: Kind) -> FetchResponse {
    let cx = reading.cx;
    if cx.throttles() {
        // A client over its quota gets nothing, and a session is not told what the client is not.
        let session_id = if let Kind::Incremental { id, .. } = kind { id } else { 0 };
        return FetchResponse { session_id, ..Default::default() };
    }
    let (answer, leaders) = reading.read(state);
    let node_endpoints = leaders.iter().filter_map(|&id| {
        let node = state.nodes.get(&id)?;
        let (host, port) = endpoint(node);
        Some(FetchNodeEndpoint { node_id: id.0, host, port, rack: node.rack.clone() })
    });
    let node_endpoints = node_endpoints.collect();
    let now = cx.shared.clock.now_ms();
    let finished =
        state.fetch_sessions.get_mut(&cx.node).map(|sessions| sessions.finish(kind, answer, now));
    match finished {
        Some(Ok((session_id, answer))) => {
            let responses = by_topic(answer);
            FetchResponse { session_id, responses, node_endpoints, ..Default::default() }
        }
        Some(Err(error_code)) => FetchResponse { error_code, ..Default::default() },
        None => FetchResponse::default(),
    }
}

/// Partitions that follow each other go under one topic; their order stays.
fn by_topic(answer: Vec<(Key, FetchPartitionData)>) -> Vec<FetchableTopicResponse> {
    let mut topics: Vec<FetchableTopicResponse> = Vec::new();
    for (Key { topic, topic_id, .. }, data) in answer {
        match topics.last_mut() {
            Some(last) if last.topic == topic && last.topic_id == topic_id => {
                last.partitions.push(data);
            }
            _ => {
                topics.push(FetchableTopicResponse { topic, topic_id, partitions: vec![data] });
            }
        }
    }
    topics
}

/// The name of a topic, which by version is given as such or as an id.
fn name_of<'a>(state: &'a State, version: i16, asked: &'a Asked) -> Result<&'a str, ErrorCode> {
    if version >= BY_ID_FROM {
        state.name_of(asked.key.topic_id).ok_or(ErrorCode::UNKNOWN_TOPIC_ID)
    } else {
        Ok(&asked.key.topic)
    }
}
