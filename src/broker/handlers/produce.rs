//! Produce: appends batches to the partitions that this node leads.
//!
//! Batches are validated outside the cluster's lock, then appended under it, where leadership is looked at again.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Answer, Context, Handle, endpoint};
use crate::broker::partition::ValidBatch;
use crate::broker::producer_state::Appended;
use crate::broker::state::{Origin, State};
use crate::broker::topic_config::TopicConfig;
use crate::broker::validate::{Rejected, Rules, validate};
use crate::error::ErrorCode;
use crate::protocol::messages::produce::{
    BatchIndexAndErrorMessage, PartitionProduceData, PartitionProduceResponse,
    ProduceLeaderIdAndEpoch, ProduceNodeEndpoint, ProduceRequest, ProduceResponse,
    TopicProduceData, TopicProduceResponse,
};
use crate::types::{BrokerId, TopicId, TopicPartition};

/// From this version on topics are named by id.
const BY_ID_FROM: i16 = 13;
/// From this version on the answer says who leads instead (KIP-951).
const LEADER_HINT_FROM: i16 = 10;

impl Handle for ProduceRequest {
    async fn handle(self, cx: &Context<'_>) -> Answer<ProduceResponse> {
        let transactional_id = self.transactional_id;
        let terms = Terms { acks: self.acks, transactional_id: transactional_id.as_deref() };
        let acks = self.acks;
        let mut responses = Vec::with_capacity(self.topic_data.len());
        let mut leaders = BTreeSet::new();
        let mut failed = None;
        for data in self.topic_data {
            let (topic_id, topic) = (data.topic_id, data.name.clone());
            let name = name_of(cx, data.name, topic_id);
            let mut partition_responses = Vec::with_capacity(data.partition_data.len());
            for PartitionProduceData { index, records } in data.partition_data {
                let outcome = produce(cx, name.as_deref(), index, terms, records);
                let response = answer(cx, name.as_deref(), index, outcome, &mut leaders);
                if !response.error_code.is_ok() {
                    failed = Some(response.error_code);
                }
                partition_responses.push(response);
            }
            responses.push(TopicProduceResponse { name: topic, topic_id, partition_responses });
        }
        match failed {
            // There is no other way to tell the client that it should look at its metadata.
            Some(code) if acks == 0 => Answer::Close(format!("Produce with acks=0 failed: {code}")),
            None if acks == 0 => Answer::Silent,
            _ => Answer::Respond(ProduceResponse {
                responses,
                node_endpoints: endpoints(cx, &leaders),
                ..Default::default()
            }),
        }
    }

    fn names(&self, state: &State, partition: &TopicPartition) -> bool {
        let named = |topic: &TopicProduceData| {
            let name = if topic.topic_id.is_zero() {
                Some(topic.name.as_str())
            } else {
                state.name_of(topic.topic_id)
            };
            let index = |data: &PartitionProduceData| data.index == partition.partition;
            name == Some(&partition.topic) && topic.partition_data.iter().any(index)
        };
        self.topic_data.iter().any(named)
    }

    fn throttle(response: &mut ProduceResponse, ms: i32) {
        response.throttle_time_ms = ms;
    }
}

fn name_of(cx: &Context<'_>, name: String, id: TopicId) -> Option<String> {
    if cx.version < BY_ID_FROM {
        return Some(name);
    }
    cx.shared.with(|state| state.name_of(id).map(str::to_owned))
}

/// What the request says of all of its batches.
#[derive(Debug, Clone, Copy)]
struct Terms<'a> {
    acks: i16,
    transactional_id: Option<&'a str>,
}

/// Where a batch went, and where the log now starts.
struct Written {
    appended: Appended,
    log_start_offset: i64,
}

fn produce(
    cx: &Context<'_>,
    topic: Option<&str>,
    index: i32,
    terms: Terms<'_>,
    records: Option<bytes::Bytes>,
) -> Result<Written, Rejected> {
    let topic = topic.ok_or(ErrorCode::UNKNOWN_TOPIC_ID)?;
    cx.apply(Some((topic, index)), || {
        let config = cx.shared.with(|state| check(cx, state, (topic, index), terms.acks))?;
        let rules = Rules {
            config: &config,
            version: cx.version,
            now: cx.shared.clock.now_ms(),
            records: cx.shared.validate_records,
            transactional: terms.transactional_id.is_some(),
        };
        let valid = validate(records, rules)?;
        cx.shared
            .change(|state| append(cx, state, (topic, index), terms, valid))
            .map_err(Rejected::from)
    })
}

/// Whether the partition is there, led by this node, and in sync enough; if so, what its topic's settings are.
fn check(
    cx: &Context<'_>,
    state: &State,
    (topic, index): (&str, i32),
    acks: i16,
) -> Result<Arc<TopicConfig>, ErrorCode> {
    let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
    let config = &state.topic(topic).ok_or(unknown)?.config;
    let partition = state.partition(topic, index).ok_or(unknown)?;
    if !(-1..=1).contains(&acks) {
        return Err(ErrorCode::INVALID_REQUIRED_ACKS);
    }
    partition.check_leader(cx.node, -1)?;
    partition.check_in_sync(acks, config)?;
    Ok(Arc::clone(config))
}

fn append(
    cx: &Context<'_>,
    state: &mut State,
    (topic, index): (&str, i32),
    Terms { acks, transactional_id }: Terms<'_>,
    valid: ValidBatch,
) -> Result<Written, ErrorCode> {
    check(cx, state, (topic, index), acks)?;
    let origin = Origin { transactional_id, version: cx.version, now: cx.shared.clock.now_ms() };
    let appended = state.append(&TopicPartition::new(topic, index), valid, origin)?;
    let start = state.partition(topic, index).map_or(0, |partition| partition.log.start_offset());
    Ok(Written { appended, log_start_offset: start })
}

fn answer(
    cx: &Context<'_>,
    topic: Option<&str>,
    index: i32,
    outcome: Result<Written, Rejected>,
    leaders: &mut BTreeSet<BrokerId>,
) -> PartitionProduceResponse {
    let Rejected { code, message, records } = match outcome {
        Ok(Written { appended, log_start_offset }) => {
            return PartitionProduceResponse {
                index,
                base_offset: appended.base_offset,
                log_append_time_ms: appended.timestamp,
                log_start_offset,
                ..Default::default()
            };
        }
        Err(rejected) => rejected,
    };
    let record_error = |(batch_index, message)| BatchIndexAndErrorMessage {
        batch_index,
        batch_index_error_message: Some(message),
    };
    let mut response = PartitionProduceResponse {
        index,
        error_code: code,
        base_offset: -1,
        record_errors: records.into_iter().map(record_error).collect(),
        error_message: Some(message),
        ..Default::default()
    };
    if code == ErrorCode::NOT_LEADER_OR_FOLLOWER && cx.version >= LEADER_HINT_FROM {
        response.current_leader = cx.shared.with(|state| {
            let partition = topic.and_then(|topic| state.partition(topic, index));
            let Some(partition) = partition else { return ProduceLeaderIdAndEpoch::default() };
            leaders.extend(partition.leader);
            ProduceLeaderIdAndEpoch {
                leader_id: partition.leader.map_or(-1, |node| node.0),
                leader_epoch: partition.leader_epoch,
            }
        });
    }
    response
}

fn endpoints(cx: &Context<'_>, leaders: &BTreeSet<BrokerId>) -> Vec<ProduceNodeEndpoint> {
    if leaders.is_empty() {
        return Vec::new();
    }
    cx.shared.with(|state| {
        let known = leaders.iter().filter_map(|id| Some((id, state.nodes.get(id)?)));
        let shown = known.map(|(id, node)| {
            let (host, port) = endpoint(node);
            ProduceNodeEndpoint { node_id: id.0, host, port, rack: node.rack.clone() }
        });
        shown.collect()
    })
}
