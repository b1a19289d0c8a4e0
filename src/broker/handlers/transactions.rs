//! DescribeTransactions and ListTransactions: how transactional ids stand (KIP-664, KIP-994, KIP-1152).

use std::collections::BTreeMap;

use regex_lite::Regex;

use super::{Answer, Context, Handle};
use crate::broker::placement::partition_of;
use crate::broker::state::State;
use crate::broker::txn::Transaction;
use crate::error::ErrorCode;
use crate::protocol::messages::describe_transactions::{
    DescribeTransactionsRequest, DescribeTransactionsResponse, TopicData,
    TransactionState as Described,
};
use crate::protocol::messages::list_transactions::{
    ListTransactionsRequest, ListTransactionsResponse, TransactionState as Listed,
};
use crate::types::TopicPartition;

/// Where groups keep their offsets.
const OFFSETS_TOPIC: &str = "__consumer_offsets";
/// Kafka's names of all states; nothing here is ever in the last two.
const STATES: [&str; 8] = [
    "Empty",
    "Ongoing",
    "PrepareCommit",
    "PrepareAbort",
    "CompleteCommit",
    "CompleteAbort",
    "Dead",
    "PrepareEpochFence",
];

impl Handle for DescribeTransactionsRequest {
    async fn handle(self, cx: &Context<'_>) -> Answer<DescribeTransactionsResponse> {
        let describe = |id: String| {
            let found = cx.apply(None, || {
                if id.is_empty() {
                    return Err(ErrorCode::INVALID_REQUEST);
                }
                cx.shared.with(|state| {
                    state.transactions.check_node(cx.node, &id)?;
                    let found = state.transactions.get(&id);
                    found.map(describe).ok_or(ErrorCode::TRANSACTIONAL_ID_NOT_FOUND)
                })
            });
            let described =
                found.unwrap_or_else(|error_code| Described { error_code, ..Default::default() });
            Described { transactional_id: id, ..described }
        };
        let transaction_states = self.transactional_ids.into_iter().map(describe).collect();
        Answer::Respond(DescribeTransactionsResponse { transaction_states, ..Default::default() })
    }

    fn names(&self, _: &State, _: &TopicPartition) -> bool {
        false
    }

    fn throttle(response: &mut DescribeTransactionsResponse, ms: i32) {
        response.throttle_time_ms = ms;
    }
}

fn describe(transaction: &Transaction) -> Described {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for TopicPartition { topic, partition } in &transaction.parts.partitions {
        topics.entry(topic).or_default().push(*partition);
    }
    for group in &transaction.parts.groups {
        topics.entry(OFFSETS_TOPIC).or_default().push(partition_of(group));
    }
    let topic =
        |(topic, partitions): (&str, Vec<i32>)| TopicData { topic: topic.to_owned(), partitions };
    Described {
        transaction_state: transaction.state.name().to_owned(),
        transaction_timeout_ms: transaction.timeout_ms,
        transaction_start_time_ms: transaction.started_ms,
        producer_id: transaction.producer.id,
        producer_epoch: transaction.producer.epoch,
        topics: topics.into_iter().map(topic).collect(),
        ..Default::default()
    }
}

impl Handle for ListTransactionsRequest {
    async fn handle(self, cx: &Context<'_>) -> Answer<ListTransactionsResponse> {
        let listed = cx.apply(None, || {
            // `matches` of RE2J: the whole of the id.
            let pattern = self.transactional_id_pattern.as_deref().filter(|p| !p.is_empty());
            let pattern =
                pattern.map(|pattern| Regex::new(&format!("^(?:{pattern})$"))).transpose();
            let pattern = pattern.map_err(|_| ErrorCode::INVALID_REGULAR_EXPRESSION)?;
            let now = cx.shared.clock.now_ms();
            let wanted = |id: &str, transaction: &Transaction| {
                let state = transaction.state.name();
                let lasts = now.saturating_sub(transaction.started_ms);
                (self.state_filters.is_empty() || self.state_filters.iter().any(|s| s == state))
                    && (self.producer_id_filters.is_empty()
                        || self.producer_id_filters.contains(&transaction.producer.id))
                    && (self.duration_filter < 0 || lasts > self.duration_filter)
                    && pattern.as_ref().is_none_or(|pattern| pattern.is_match(id))
            };
            Ok::<_, ErrorCode>(cx.shared.with(|state| {
                let all = state.transactions.iter();
                let here = all.filter(|(id, _)| {
                    state.transactions.placement.coordinator(id) == Some(cx.node)
                });
                here.filter(|(id, t)| wanted(id, t)).map(listed).collect::<Vec<_>>()
            }))
        });
        let (error_code, transaction_states) = match listed {
            Ok(listed) => (ErrorCode::NONE, listed),
            Err(code) => (code, Vec::new()),
        };
        let unknown = self.state_filters.into_iter().filter(|s| !STATES.contains(&s.as_str()));
        Answer::Respond(ListTransactionsResponse {
            error_code,
            unknown_state_filters: unknown.collect(),
            transaction_states,
            ..Default::default()
        })
    }

    fn names(&self, _: &State, _: &TopicPartition) -> bool {
        false
    }

    fn throttle(response: &mut ListTransactionsResponse, ms: i32) {
        response.throttle_time_ms = ms;
    }
}

fn listed((id, transaction): (&str, &Transaction)) -> Listed {
    Listed {
        transactional_id: id.to_owned(),
        producer_id: transaction.producer.id,
        transaction_state: transaction.state.name().to_owned(),
    }
}
