//! TxnOffsetCommit: the offsets of a group, as part of a transaction. They count when it is committed.

use super::{Answer, Context, Handle};
use crate::broker::group::{CommittedOffset, Identity};
use crate::broker::state::State;
use crate::broker::txn::{Enrollment, Parts};
use crate::error::ErrorCode;
use crate::protocol::messages::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
    TxnOffsetCommitResponse, TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use crate::time::Instant;
use crate::types::{ProducerIdentity, TopicId, TopicPartition};

/// From this version on the client knows that the coordinator may be loading.
const LOADING_FROM: i16 = 2;

impl Handle for TxnOffsetCommitRequest {
    async fn handle(mut self, cx: &Context<'_>) -> Answer<TxnOffsetCommitResponse> {
        let topics = std::mem::take(&mut self.topics);
        let answered = cx.shared.change(|state| {
            let known = |topic: &TxnOffsetCommitRequestTopic| {
                let known = |index| state.partition(&topic.name, index).is_some();
                topic.partitions.iter().any(|partition| known(partition.partition_index))
            };
            // Where nothing is known there is nothing to ask for.
            let may = if topics.iter().any(known) { may_commit(cx, state, &self) } else { Ok(()) };
            let may = may.map_err(|code| match code {
                ErrorCode::COORDINATOR_LOAD_IN_PROGRESS if cx.version < LOADING_FROM => {
                    ErrorCode::COORDINATOR_NOT_AVAILABLE
                }
                _ => code,
            });
            let answered = topics.into_iter().map(|topic| {
                let commit = |partition: TxnOffsetCommitRequestPartition| {
                    let partition_index = partition.partition_index;
                    let place = (topic.name.as_str(), partition_index);
                    let stored = cx.apply(Some(place), || {
                        let topic = state.topic(place.0);
                        let topic = topic.filter(|_| state.partition(place.0, place.1).is_some());
                        let id = topic.ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?.id;
                        may?;
                        store(state, &self, (place.0, id), partition)
                    });
                    let error_code = stored.err().unwrap_or(ErrorCode::NONE);
                    TxnOffsetCommitResponsePartition { partition_index, error_code }
                };
                let partitions = topic.partitions.into_iter().map(commit).collect();
                TxnOffsetCommitResponseTopic { partitions, name: topic.name }
            });
            answered.collect()
        });
        Answer::Respond(TxnOffsetCommitResponse { topics: answered, ..Default::default() })
    }

    fn names(&self, _: &State, partition: &TopicPartition) -> bool {
        let index = |p: &TxnOffsetCommitRequestPartition| p.partition_index == partition.partition;
        let mut topics = self.topics.iter();
        topics.any(|topic| topic.name == partition.topic && topic.partitions.iter().any(index))
    }

    fn throttle(response: &mut TxnOffsetCommitResponse, ms: i32) {
        response.throttle_time_ms = ms;
    }
}

fn who(request: &TxnOffsetCommitRequest) -> Identity<'_> {
    Identity {
        generation: request.generation_id,
        member_id: &request.member_id,
        instance_id: request.group_instance_id.as_deref(),
    }
}

/// Whether the group is part of the transaction, or becomes it, and the client may commit its offsets.
fn may_commit(
    cx: &Context<'_>,
    state: &mut State,
    request: &TxnOffsetCommitRequest,
) -> Result<(), ErrorCode> {
    // A fault that refuses all offsets must not enroll the group.
    if !cx.concerns_partition()
        && let Some(code) = cx.injected(None, false)
    {
        return Err(code);
    }
    let group = &request.group_id;
    if group.is_empty() {
        return Err(ErrorCode::INVALID_GROUP_ID);
    }
    state.groups.check_node(cx.node, group)?;
    let producer = ProducerIdentity { id: request.producer_id, epoch: request.producer_epoch };
    let how = Enrollment::of_offsets(cx.version);
    let now = cx.shared.clock.now_ms();
    let by = (request.transactional_id.as_str(), producer);
    state.transactions.enroll(by, Parts::group(group), how, now)?;
    state.groups.may_commit_in_transaction(Instant::now(), group, who(request))
}

fn store(
    state: &mut State,
    request: &TxnOffsetCommitRequest,
    (name, topic_id): (&str, TopicId),
    partition: TxnOffsetCommitRequestPartition,
) -> Result<(), ErrorCode> {
    let index = partition.partition_index;
    let committed = CommittedOffset::new(
        partition.committed_offset,
        partition.committed_leader_epoch,
        partition.committed_metadata,
    )?;
    let to = (TopicPartition::new(name, index), (topic_id, index));
    let by = (request.group_id.as_str(), who(request));
    state.groups.commit_in_transaction(by, request.producer_id, to, committed)
}
