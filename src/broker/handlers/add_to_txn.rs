//! AddPartitionsToTxn and AddOffsetsToTxn: what is to become part of a transaction, before anything is written there.
//!
//! Clients use the first up to version 3, for one transaction. In the later versions brokers ask for several, or only
//! whether the partitions are part of them; those are served too.

use std::collections::BTreeSet;

use super::{Answer, Context, Handle};
use crate::broker::state::State;
use crate::broker::txn::Parts;
use crate::error::ErrorCode;
use crate::protocol::messages::add_offsets_to_txn::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse,
};
use crate::protocol::messages::add_partitions_to_txn::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
    AddPartitionsToTxnResult, AddPartitionsToTxnTopic, AddPartitionsToTxnTopicResult,
    AddPartitionsToTxnTransaction,
};
use crate::types::{ProducerIdentity, TopicPartition};

/// From this version on the client knows `PRODUCER_FENCED`.
const FENCED_FROM: i16 = 2;
/// From this version of AddPartitionsToTxn on, brokers ask for several transactions.
const SEVERAL_FROM: i16 = 4;

impl Handle for AddPartitionsToTxnRequest {
    async fn handle(self, cx: &Context<'_>) -> Answer<AddPartitionsToTxnResponse> {
        if cx.version >= SEVERAL_FROM {
            let results = self.transactions.iter().map(|asked| AddPartitionsToTxnResult {
                transactional_id: asked.transactional_id.clone(),
                topic_results: add(cx, asked),
            });
            let results_by_transaction = results.collect();
            let response =
                AddPartitionsToTxnResponse { results_by_transaction, ..Default::default() };
            return Answer::Respond(response);
        }
        let asked = AddPartitionsToTxnTransaction {
            transactional_id: self.v3_and_below_transactional_id,
            producer_id: self.v3_and_below_producer_id,
            producer_epoch: self.v3_and_below_producer_epoch,
            verify_only: false,
            topics: self.v3_and_below_topics,
        };
        let results_by_topic_v3_and_below = add(cx, &asked);
        Answer::Respond(AddPartitionsToTxnResponse {
            results_by_topic_v3_and_below,
            ..Default::default()
        })
    }

    fn names(&self, _: &State, partition: &TopicPartition) -> bool {
        let newer = self.transactions.iter().flat_map(|transaction| &transaction.topics);
        self.v3_and_below_topics.iter().chain(newer).any(|topic| {
            topic.name == partition.topic && topic.partitions.contains(&partition.partition)
        })
    }

    fn throttle(response: &mut AddPartitionsToTxnResponse, ms: i32) {
        response.throttle_time_ms = ms;
    }
}

/// What becomes of each partition: all are added or none.
fn add(
    cx: &Context<'_>,
    asked: &AddPartitionsToTxnTransaction,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let AddPartitionsToTxnTransaction { transactional_id: id, producer_id, producer_epoch, .. } =
        asked;
    let producer = ProducerIdentity { id: *producer_id, epoch: *producer_epoch };
    let each = |topic: &AddPartitionsToTxnTopic| {
        let name = topic.name.clone();
        topic.partitions.clone().into_iter().map(move |index| TopicPartition::new(&name, index))
    };
    let partitions: BTreeSet<TopicPartition> = asked.topics.iter().flat_map(each).collect();
    let mut refused: Vec<(TopicPartition, ErrorCode)> = Vec::new();
    for to in &partitions {
        let known = cx.shared.with(|state| state.partition(&to.topic, to.partition).is_some());
        let known = if known { Ok(()) } else { Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) };
        let place = Some((to.topic.as_str(), to.partition));
        // A fault for all of the request is met when all of it is applied.
        let met = if cx.concerns_partition() { cx.apply(place, || known) } else { known };
        refused.extend(met.err().map(|code| (to.clone(), code)));
    }
    let outcome = if refused.is_empty() {
        let parts = Parts { partitions, ..Parts::default() };
        cx.coordinate_transaction(id, FENCED_FROM, |state, now| {
            if asked.verify_only {
                state.transactions.verify(id, producer, &parts)
            } else {
                state.transactions.add(id, producer, parts, now)
            }
        })
    } else {
        Err(ErrorCode::OPERATION_NOT_ATTEMPTED)
    };
    let code_of = |name: &str, index: i32| {
        let is_it = |(to, _): &&(TopicPartition, _)| to.topic == name && to.partition == index;
        let own = refused.iter().find(is_it).map(|&(_, code)| code);
        own.or(outcome.err()).unwrap_or(ErrorCode::NONE)
    };
    let result = |topic: &AddPartitionsToTxnTopic| {
        let results = topic.partitions.iter().map(|&index| AddPartitionsToTxnPartitionResult {
            partition_index: index,
            partition_error_code: code_of(&topic.name, index),
        });
        AddPartitionsToTxnTopicResult {
            name: topic.name.clone(),
            results_by_partition: results.collect(),
        }
    };
    asked.topics.iter().map(result).collect()
}

impl Handle for AddOffsetsToTxnRequest {
    async fn handle(self, cx: &Context<'_>) -> Answer<AddOffsetsToTxnResponse> {
        let id = &self.transactional_id;
        let producer = ProducerIdentity { id: self.producer_id, epoch: self.producer_epoch };
        let parts = Parts::group(&self.group_id);
        let added = cx.coordinate_transaction(id, FENCED_FROM, |state, now| {
            state.transactions.add(id, producer, parts, now)
        });
        let error_code = added.err().unwrap_or(ErrorCode::NONE);
        Answer::Respond(AddOffsetsToTxnResponse { error_code, ..Default::default() })
    }

    fn names(&self, _: &State, _: &TopicPartition) -> bool {
        false
    }

    fn throttle(response: &mut AddOffsetsToTxnResponse, ms: i32) {
        response.throttle_time_ms = ms;
    }
}
