use std::time::Duration;

use tokio::io::DuplexStream;

use crate::broker::testing::{RawClient, batch, in_memory, one_node, produce, several_nodes};
use crate::error::ErrorCode;
use crate::protocol::messages::fetch::{
    FetchPartition, FetchPartitionData, FetchRequest, FetchResponse, FetchTopic,
};
use crate::record;
use crate::time::Instant;
use crate::types::{BrokerId, TopicId};

/// Asks for `t-0` from an offset, for at least one byte, without waiting.
pub(super) fn fetch(fetch_offset: i64) -> FetchRequest {
    FetchRequest {
        max_wait_ms: 0,
        min_bytes: 1,
        topics: vec![FetchTopic {
            topic: "t".to_owned(),
            partitions: vec![FetchPartition {
                fetch_offset,
                partition_max_bytes: 1 << 20,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

pub(super) fn waiting(fetch_offset: i64, millis: i32, min_bytes: i32) -> FetchRequest {
    FetchRequest { max_wait_ms: millis, min_bytes, ..fetch(fetch_offset) }
}

pub(super) fn only(response: &FetchResponse) -> &FetchPartitionData {
    assert_eq!((response.error_code, response.session_id), (ErrorCode::NONE, 0));
    &response.responses[0].partitions[0]
}

pub(super) fn values(data: &FetchPartitionData) -> Vec<String> {
    let mut values = Vec::new();
    for batch in record::batches(data.records.clone().unwrap()) {
        let batch = batch.unwrap();
        batch.verify_crc().unwrap();
        let records = batch.records(1 << 20).unwrap();
        let value = |record: record::Record<'_>| {
            format!("{}:{}", record.offset, String::from_utf8_lossy(record.value.unwrap()))
        };
        values.extend(records.iter().map(|record| value(record.unwrap())));
    }
    values
}

async fn code(
    client: &mut RawClient<DuplexStream>,
    request: &FetchRequest,
    version: i16,
) -> ErrorCode {
    let response = client.call(request, version).await;
    let data = only(&response);
    assert_eq!((data.high_watermark, data.records.as_deref()), (-1, Some(&[][..])));
    data.error_code
}

#[tokio::test]
async fn every_version_reads_what_was_produced() {
    let (cluster, mut client) = one_node().await;
    client.produce(batch(&["a", "b"])).await.unwrap();
    client.produce(batch(&["c"])).await.unwrap();
    let topic_id = cluster.topic_id("t").unwrap();
    for version in 4..=18 {
        let mut request = fetch(0);
        if version >= 15 {
            request.replica_id = -1;
        }
        if version >= 13 {
            request.topics[0].topic_id = topic_id;
        }
        let mut reader = RawClient::connect(&cluster, 1);
        let response = reader.call(&request, version).await;
        let data = only(&response);
        assert_eq!(values(data), ["0:a", "1:b", "2:c"], "version {version}");
        assert_eq!((data.high_watermark, data.last_stable_offset), (3, 3));
        assert_eq!(data.log_start_offset, if version >= 5 { 0 } else { -1 });
        assert_eq!(response.responses[0].topic_id.is_zero(), version < 13);
    }
}

#[tokio::test]
async fn reads_begin_with_the_batch_that_holds_the_offset() {
    let (_cluster, mut client) = one_node().await;
    client.produce(batch(&["a", "b"])).await.unwrap();
    client.produce(batch(&["c"])).await.unwrap();
    for (from, expected) in [(1, &["0:a", "1:b", "2:c"][..]), (2, &["2:c"]), (3, &[])] {
        let response = client.call(&fetch(from), 12).await;
        assert_eq!(values(only(&response)), expected, "from {from}");
    }
}

#[tokio::test]
async fn isolation_decides_about_the_aborted_transactions() {
    let (_cluster, mut client) = one_node().await;
    client.produce(batch(&["a"])).await.unwrap();
    let response = client.call(&fetch(0), 12).await;
    assert_eq!(only(&response).aborted_transactions, None);
    let committed = FetchRequest { isolation_level: 1, ..fetch(0) };
    let response = client.call(&committed, 12).await;
    assert_eq!(only(&response).aborted_transactions, Some(vec![]));
    assert_eq!(values(only(&response)), ["0:a"]);
}

#[tokio::test]
async fn offsets_outside_the_log_are_out_of_range() {
    let (cluster, mut client) = one_node().await;
    client.produce(batch(&["a", "b"])).await.unwrap();
    assert_eq!(code(&mut client, &waiting(3, 9999, 1), 12).await, ErrorCode::OFFSET_OUT_OF_RANGE);
    cluster.delete_records("t", 0, 1).unwrap();
    assert_eq!(code(&mut client, &fetch(0), 12).await, ErrorCode::OFFSET_OUT_OF_RANGE);
    let response = client.call(&fetch(1), 12).await;
    assert_eq!(only(&response).log_start_offset, 1);
    assert_eq!(values(only(&response)), ["0:a", "1:b"], "the batch is still whole");
    assert_eq!(cluster.records("t", 0).len(), 1, "but its first record is deleted");
}

#[tokio::test]
async fn unknown_names_and_ids_are_told_apart() {
    let (_cluster, mut client) = one_node().await;
    let mut request = fetch(0);
    request.topics[0].topic = "u".to_owned();
    assert_eq!(code(&mut client, &request, 12).await, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    request.topics[0].topic_id = TopicId([9; 16]);
    assert_eq!(code(&mut client, &request, 13).await, ErrorCode::UNKNOWN_TOPIC_ID);
    let mut request = fetch(0);
    request.topics[0].partitions[0].partition = 1;
    assert_eq!(code(&mut client, &request, 12).await, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
}

#[tokio::test]
async fn bytes_are_limited_but_one_batch_always_fits() {
    let cluster = in_memory().start().await.unwrap();
    cluster.create_topic(("t", 2)).unwrap();
    let mut client = RawClient::connect(&cluster, 1);
    let size = batch(&["a"]).len();
    for partition in 0..2 {
        for value in ["a", "b"] {
            client.call(&produce("t", partition, batch(&[value])), 9).await;
        }
    }
    let mut request = fetch(0);
    request.topics[0].partitions.push(FetchPartition {
        partition: 1,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    });
    let mut read = async |max_bytes: usize, partition_max_bytes: usize| {
        request.max_bytes = max_bytes as i32;
        request.topics[0].partitions[0].partition_max_bytes = partition_max_bytes as i32;
        let response = client.call(&request, 12).await;
        let length = |p: &FetchPartitionData| p.records.as_ref().unwrap().len();
        response.responses[0].partitions.iter().map(length).collect::<Vec<_>>()
    };
    assert_eq!(read(1 << 20, 1 << 20).await, [2 * size, 2 * size]);
    assert_eq!(read(1 << 20, 1).await, [size, 2 * size], "the first batch is larger than allowed");
    assert_eq!(read(1, 1 << 20).await, [size, 0]);
    assert_eq!(read(3 * size, 1 << 20).await, [2 * size, size]);
    assert_eq!(read(3 * size + 5, size + 5).await, [size + 5, 2 * size], "cut inside a batch");
    assert_eq!(read(2 * size + 5, 1 << 20).await, [2 * size, 0], "a beginning alone helps no one");
}

#[tokio::test(start_paused = true)]
async fn a_fetch_waits_until_its_time_is_up() {
    let (_cluster, mut client) = one_node().await;
    let before = Instant::now();
    let response = client.call(&waiting(0, 500, 1), 12).await;
    assert_eq!(values(only(&response)).len(), 0);
    assert_eq!(before.elapsed(), Duration::from_millis(500));
}

#[tokio::test(start_paused = true)]
async fn a_fetch_is_woken_when_there_are_bytes_enough() {
    let (cluster, mut producer) = one_node().await;
    let mut client = RawClient::connect(&cluster, 1);
    let before = Instant::now();
    let two = 2 * batch(&["a"]).len() as i32;
    client.send(&waiting(0, 60_000, two), 12).await;
    cluster.received(crate::protocol::ApiKey::FETCH, 1).await;
    producer.produce(batch(&["a"])).await.unwrap();
    producer.produce(batch(&["b"])).await.unwrap();
    let response = client.receive::<FetchRequest>(12).await;
    assert_eq!(values(only(&response)), ["0:a", "1:b"]);
    assert!(before.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_waits_learns_of_a_new_leader() {
    let cluster = several_nodes(2).await;
    let mut client = RawClient::connect(&cluster, 1);
    let before = Instant::now();
    let mut request = waiting(0, 60_000, 1);
    request.topics[0].topic_id = cluster.topic_id("t").unwrap();
    request.topics[0].partitions[0].current_leader_epoch = 0;
    client.send(&request, 16).await;
    cluster.received(crate::protocol::ApiKey::FETCH, 1).await;
    cluster.move_leader("t", 0, BrokerId(2)).unwrap();
    let response = client.receive::<FetchRequest>(16).await;
    assert!(before.elapsed() < Duration::from_secs(1));
    let data = only(&response);
    assert_eq!(data.error_code, ErrorCode::FENCED_LEADER_EPOCH);
    assert_eq!((data.current_leader.leader_id, data.current_leader.leader_epoch), (2, 1));
    assert_eq!(response.node_endpoints[0].host, "broker-2.milena.internal");
}

#[tokio::test]
async fn leader_epochs_are_compared() {
    let cluster = several_nodes(2).await;
    cluster.move_leader("t", 0, BrokerId(2)).unwrap();
    let mut client = RawClient::connect(&cluster, 2);
    client.produce(batch(&["a"])).await.unwrap();
    let mut request = fetch(0);
    let mut with = async |epoch| {
        request.topics[0].partitions[0].current_leader_epoch = epoch;
        only(&client.call(&request, 12).await).error_code
    };
    assert_eq!(with(0).await, ErrorCode::FENCED_LEADER_EPOCH);
    assert_eq!(with(1).await, ErrorCode::NONE);
    assert_eq!(with(2).await, ErrorCode::UNKNOWN_LEADER_EPOCH);
    assert_eq!(with(-1).await, ErrorCode::NONE);
}

#[tokio::test]
async fn a_reader_that_saw_another_history_is_told_where_it_ends() {
    let cluster = several_nodes(2).await;
    let mut first = RawClient::connect(&cluster, 1);
    first.produce(batch(&["a", "b"])).await.unwrap();
    cluster.move_leader("t", 0, BrokerId(2)).unwrap();
    let mut client = RawClient::connect(&cluster, 2);
    client.produce(batch(&["c"])).await.unwrap();
    let mut request = fetch(3);
    request.topics[0].partitions[0].last_fetched_epoch = 0;
    let response = client.call(&request, 12).await;
    let diverging = &only(&response).diverging_epoch;
    assert_eq!((diverging.epoch, diverging.end_offset), (0, 2), "epoch 0 ended before offset 3");
    request.topics[0].partitions[0].fetch_offset = 2;
    let response = client.call(&request, 12).await;
    assert_eq!(only(&response).diverging_epoch.end_offset, -1);
    assert_eq!(values(only(&response)), ["2:c"]);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_ends_with_its_connection() {
    let (cluster, _) = one_node().await;
    let mut client = RawClient::connect(&cluster, 1);
    client.send(&waiting(0, i32::MAX, 1), 12).await;
    cluster.received(crate::protocol::ApiKey::FETCH, 1).await;
    drop(client);
    let ended = |event: &crate::broker::Event| {
        matches!(event, crate::broker::Event::Disconnected { reason: None, .. })
    };
    // Time is paused: nothing but the end of the connection can let this task go on.
    while cluster.events().iter().filter(|event| ended(event)).count() < 2 {
        tokio::task::yield_now().await;
    }
}
