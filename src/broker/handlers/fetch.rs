//! Fetch: reads batches, and waits for some if there are not enough yet.
//!
//! Fetch sessions are not kept: each answer has session id 0, which tells the client to name all of its partitions each
//! time (KIP-227). The high watermark is the log's end.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

use super::{Answer, Context, Handle, endpoint};
use crate::broker::log::{OffsetOutOfRange, ReadLimit};
use crate::broker::partition::Partition;
use crate::broker::stable::Aborted;
use crate::broker::state::State;
use crate::error::ErrorCode;
use crate::protocol::messages::fetch::{
    AbortedTransaction, EpochEndOffset, FetchLeaderIdAndEpoch, FetchNodeEndpoint, FetchPartition,
    FetchPartitionData, FetchRequest, FetchResponse, FetchTopic, FetchableTopicResponse,
};
use crate::time::Instant;
use crate::types::{BrokerId, TopicPartition};

/// From this version on topics are named by id.
const BY_ID_FROM: i16 = 13;
/// From this version on the answer says who leads instead (KIP-951).
const LEADER_HINT_FROM: i16 = 16;
const READ_COMMITTED: i8 = 1;
/// `fetch.max.bytes` of a broker.
const MAX_BYTES: usize = 55 * 1024 * 1024;

impl Handle for FetchRequest {
    async fn handle(self, cx: &Context<'_>) -> Answer<FetchResponse> {
        if self.session_id != 0 {
            let error_code = ErrorCode::FETCH_SESSION_ID_NOT_FOUND;
            return Answer::Respond(FetchResponse { error_code, ..Default::default() });
        }
        let wait = Duration::from_millis(u64::try_from(self.max_wait_ms).unwrap_or(0));
        let deadline = Instant::now() + wait;
        loop {
            // Listen before looking: what is appended in between must not be missed.
            let mut changed = pin!(cx.shared.changed.notified());
            changed.as_mut().enable();
            let answer_now = Instant::now() >= deadline;
            let response = cx.shared.with(|state| {
                (answer_now || is_enough(cx, state, &self)).then(|| read(cx, state, &self))
            });
            if let Some(response) = response {
                return Answer::Respond(response);
            }
            // Either way the next look decides.
            let _ = tokio::time::timeout_at(deadline, changed).await;
        }
    }

    fn names(&self, state: &State, partition: &TopicPartition) -> bool {
        let index = |asked: &FetchPartition| asked.partition == partition.partition;
        self.topics.iter().any(|topic| {
            name_in(state, topic) == Some(&partition.topic) && topic.partitions.iter().any(index)
        })
    }
}

/// The name of a topic, which by version is given as such or as an id.
fn name_in<'a>(state: &'a State, topic: &'a FetchTopic) -> Option<&'a str> {
    if topic.topic_id.is_zero() { Some(&topic.topic) } else { state.name_of(topic.topic_id) }
}

/// How far a reader may go.
fn bound(request: &FetchRequest, partition: &Partition) -> i64 {
    if request.isolation_level == READ_COMMITTED {
        partition.last_stable_offset()
    } else {
        partition.high_watermark()
    }
}

/// Whether an answer would say something: an error, or `fetch.min.bytes` of records.
fn is_enough(cx: &Context<'_>, state: &State, request: &FetchRequest) -> bool {
    let enough = usize::try_from(request.min_bytes.min(request.max_bytes)).unwrap_or(0);
    let mut bytes = 0;
    for topic in &request.topics {
        for asked in &topic.partitions {
            match look(cx, state, topic, asked) {
                Ok((partition, None)) => {
                    let before = bound(request, partition);
                    bytes += partition.log.readable_bytes(asked.fetch_offset, before, enough);
                }
                _ => return true,
            }
        }
    }
    request.topics.is_empty() || bytes >= enough
}

/// The partition, and where it diverges from what the reader has seen, if it does (KIP-320).
fn look<'a>(
    cx: &Context<'_>,
    state: &'a State,
    topic: &FetchTopic,
    asked: &FetchPartition,
) -> Result<(&'a Partition, Option<EpochEndOffset>), ErrorCode> {
    let by_id = cx.version >= BY_ID_FROM;
    let unknown =
        if by_id { ErrorCode::UNKNOWN_TOPIC_ID } else { ErrorCode::UNKNOWN_TOPIC_OR_PARTITION };
    let name = if by_id { state.name_of(topic.topic_id) } else { Some(topic.topic.as_str()) };
    let name = name.ok_or(unknown)?;
    cx.apply(Some((name, asked.partition)), || {
        let partition =
            state.partition(name, asked.partition).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        partition.check_leader(cx.node, asked.current_leader_epoch)?;
        let log = &partition.log;
        if asked.last_fetched_epoch >= 0 {
            let (epoch, end_offset) =
                log.end_of_epoch(asked.last_fetched_epoch).ok_or(ErrorCode::OFFSET_OUT_OF_RANGE)?;
            // What is before the log's start is out of range, whatever happened behind it.
            if asked.fetch_offset < log.start_offset() {
                return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
            }
            if epoch < asked.last_fetched_epoch || end_offset < asked.fetch_offset {
                return Ok((partition, Some(EpochEndOffset { epoch, end_offset })));
            }
        }
        if !(log.start_offset()..=log.end_offset()).contains(&asked.fetch_offset) {
            return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
        }
        Ok((partition, None))
    })
}

fn read(cx: &Context<'_>, state: &State, request: &FetchRequest) -> FetchResponse {
    let mut room = usize::try_from(request.max_bytes).unwrap_or(0).min(MAX_BYTES);
    let mut at_least_one = true;
    let mut leaders = BTreeSet::new();
    let mut responses = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in &topic.partitions {
            let found = look(cx, state, topic, asked).and_then(|(partition, diverging)| {
                let max_bytes = usize::try_from(asked.partition_max_bytes).unwrap_or(0).min(room);
                let before = bound(request, partition);
                let limit = ReadLimit { before, max_bytes, at_least_one };
                let records = match diverging {
                    Some(_) => Ok(bytes::Bytes::new()),
                    None => partition.log.read(asked.fetch_offset, limit),
                };
                let records = records.map_err(|OffsetOutOfRange| ErrorCode::OFFSET_OUT_OF_RANGE)?;
                // One batch larger than allowed is given, so that a reader gets past it, but no second one.
                at_least_one &= records.is_empty();
                room = room.saturating_sub(records.len());
                Ok(FetchPartitionData {
                    partition_index: asked.partition,
                    high_watermark: partition.high_watermark(),
                    last_stable_offset: partition.last_stable_offset(),
                    log_start_offset: partition.log.start_offset(),
                    aborted_transactions: (request.isolation_level == READ_COMMITTED)
                        .then(|| aborted(partition, asked.fetch_offset, records.len())),
                    records: Some(records),
                    diverging_epoch: diverging.unwrap_or_default(),
                    ..Default::default()
                })
            });
            partitions.push(found.unwrap_or_else(|code| {
                let name = name_in(state, topic).unwrap_or_default();
                let partition = state.partition(name, asked.partition);
                refused(cx, asked.partition, code, partition, &mut leaders)
            }));
        }
        responses.push(FetchableTopicResponse {
            topic: topic.topic.clone(),
            topic_id: topic.topic_id,
            partitions,
        });
    }
    FetchResponse { responses, node_endpoints: endpoints(state, &leaders), ..Default::default() }
}

/// The aborted transactions of which there may be records in so many bytes from an offset on.
fn aborted(partition: &Partition, from: i64, bytes: usize) -> Vec<AbortedTransaction> {
    let before = partition.log.end_of_read(from, bytes);
    let told = |&Aborted { producer_id, first_offset, .. }: &Aborted| AbortedTransaction {
        producer_id,
        first_offset,
    };
    partition.stability.aborted_in(from, before).map(told).collect()
}

fn refused(
    cx: &Context<'_>,
    partition_index: i32,
    error_code: ErrorCode,
    partition: Option<&Partition>,
    leaders: &mut BTreeSet<BrokerId>,
) -> FetchPartitionData {
    let moved =
        matches!(error_code, ErrorCode::NOT_LEADER_OR_FOLLOWER | ErrorCode::FENCED_LEADER_EPOCH);
    let mut current_leader = FetchLeaderIdAndEpoch::default();
    if let Some(partition) = partition.filter(|_| moved && cx.version >= LEADER_HINT_FROM) {
        leaders.extend(partition.leader);
        current_leader.leader_id = partition.leader.map_or(-1, |node| node.0);
        current_leader.leader_epoch = partition.leader_epoch;
    }
    FetchPartitionData {
        partition_index,
        error_code,
        high_watermark: -1,
        aborted_transactions: None,
        records: Some(bytes::Bytes::new()),
        current_leader,
        ..Default::default()
    }
}

fn endpoints(state: &State, leaders: &BTreeSet<BrokerId>) -> Vec<FetchNodeEndpoint> {
    let known = leaders.iter().filter_map(|id| Some((id, state.nodes.get(id)?)));
    let shown = known.map(|(id, node)| {
        let (host, port) = endpoint(node);
        FetchNodeEndpoint { node_id: id.0, host, port, rack: node.rack.clone() }
    });
    shown.collect()
}
