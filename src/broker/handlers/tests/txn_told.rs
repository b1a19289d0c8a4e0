//! What is told of transactions: the level of the feature, the longest time-out, and how ids and producers stand.

use std::time::Duration;

use super::txn::{ID, Tx};
use crate::broker::testing::{NOW, RawClient, in_memory};
use crate::error::ErrorCode;
use crate::protocol::messages::api_versions::ApiVersionsRequest;
use crate::protocol::messages::describe_producers::{DescribeProducersRequest, TopicRequest};
use crate::protocol::messages::describe_transactions::DescribeTransactionsRequest;
use crate::protocol::messages::init_producer_id::InitProducerIdRequest;
use crate::protocol::messages::list_transactions::ListTransactionsRequest;

const NONE: ErrorCode = ErrorCode::NONE;

#[tokio::test]
async fn a_time_out_above_the_brokers_is_refused() {
    let longest = Duration::from_millis(59_999);
    let cluster = in_memory().transaction_max_timeout(longest).start().await.unwrap();
    let mut client = RawClient::connect(&cluster, 1);
    for (transaction_timeout_ms, expected) in
        [(60_000, ErrorCode::INVALID_TRANSACTION_TIMEOUT), (59_999, NONE)]
    {
        let request = InitProducerIdRequest {
            transactional_id: Some(ID.to_owned()),
            transaction_timeout_ms,
            ..Default::default()
        };
        assert_eq!(client.call(&request, 5).await.error_code, expected);
    }
    for level in [-1, 3] {
        assert!(in_memory().transaction_version(level).start().await.is_err(), "{level}");
    }
}

#[tokio::test]
async fn the_level_of_the_feature_is_told() {
    for (level, expected) in [(0, vec![]), (1, vec![1]), (2, vec![2])] {
        let cluster = in_memory().transaction_version(level).start().await.unwrap();
        let mut client = RawClient::connect(&cluster, 1);
        let who = ApiVersionsRequest {
            client_software_name: "raw".to_owned(),
            client_software_version: "1".to_owned(),
        };
        let response = client.call(&who, 4).await;
        let features = response.finalized_features.iter();
        let features = features.filter(|feature| feature.name == "transaction.version");
        let levels: Vec<_> = features.map(|feature| feature.max_version_level).collect();
        assert_eq!(levels, expected);
    }
}

#[tokio::test]
async fn transactions_and_producers_are_described_and_listed() {
    let mut tx = Tx::begin(in_memory()).await;
    tx.send(0, 0, 12).await.unwrap();
    tx.send(2, 0, 12).await.unwrap();
    tx.add_offsets("a", 4).await;
    let asked = [ID, "nobody", ""].map(str::to_owned).to_vec();
    let describe = DescribeTransactionsRequest { transactional_ids: asked };
    let described = tx.client.call(&describe, 0).await.transaction_states;
    let codes = [1, 2].map(|n: usize| described[n].error_code);
    assert_eq!(codes, [ErrorCode::TRANSACTIONAL_ID_NOT_FOUND, ErrorCode::INVALID_REQUEST]);
    let own = &described[0];
    assert_eq!((own.error_code, own.transaction_state.as_str()), (NONE, "Ongoing"));
    assert_eq!((own.producer_id, own.producer_epoch, own.transaction_timeout_ms), (0, 0, 60_000));
    assert!((NOW..NOW + 60_000).contains(&own.transaction_start_time_ms));
    let topics: Vec<_> =
        own.topics.iter().map(|topic| (topic.topic.as_str(), topic.partitions.clone())).collect();
    assert_eq!(topics, [("__consumer_offsets", vec![47]), ("t", vec![0, 2])]);

    let list = ListTransactionsRequest::default();
    let only_ongoing =
        ListTransactionsRequest { state_filters: vec!["Ongoing".to_owned()], ..list.clone() };
    let others = ListTransactionsRequest {
        state_filters: vec!["Empty".to_owned(), "Dead".to_owned(), "Odd".to_owned()],
        ..list.clone()
    };
    let by_producer = ListTransactionsRequest { producer_id_filters: vec![8], ..list.clone() };
    let long = ListTransactionsRequest { duration_filter: 60_000, ..list.clone() };
    let by_name = |pattern: &str| ListTransactionsRequest {
        transactional_id_pattern: Some(pattern.to_owned()),
        ..list.clone()
    };
    for (request, count) in [
        (list.clone(), 1),
        (only_ongoing, 1),
        (others.clone(), 0),
        (by_producer, 0),
        (long, 0),
        (by_name("t."), 1),
        (by_name("t"), 0),
    ] {
        let response = tx.client.call(&request, 2).await;
        assert_eq!(response.error_code, NONE);
        assert_eq!(response.transaction_states.len(), count, "{request:?}");
    }
    assert_eq!(tx.client.call(&others, 0).await.unknown_state_filters, ["Odd"]);
    let refused = tx.client.call(&by_name("("), 2).await.error_code;
    assert_eq!(refused, ErrorCode::INVALID_REGULAR_EXPRESSION);

    let partitions = TopicRequest { name: "t".to_owned(), partition_indexes: vec![0, 1, 9] };
    let describe = DescribeProducersRequest { topics: vec![partitions] };
    let told = tx.client.call(&describe, 0).await.topics.remove(0).partitions;
    assert_eq!(told[2].error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    assert!(told[1].active_producers.is_empty());
    let known = &told[0].active_producers[0];
    assert_eq!((known.producer_id, known.producer_epoch, known.last_sequence), (0, 0, 0));
    assert_eq!((known.current_txn_start_offset, known.last_timestamp), (0, NOW));
    assert_eq!(known.coordinator_epoch, -1);
    tx.end(true, 5).await.unwrap();
    let told = tx.client.call(&describe, 0).await.topics.remove(0).partitions;
    let known = &told[0].active_producers[0];
    assert_eq!((known.producer_epoch, known.last_sequence), (1, -1));
    assert_eq!((known.current_txn_start_offset, known.coordinator_epoch), (-1, 0));
}
