//! Fetch sessions, followers and throttling, over the wire.

use std::time::Duration;

use super::fetch::{fetch, values, waiting};
use crate::broker::testing::{RawClient, batch, in_memory, one_node};
use crate::broker::{ApiKey, Cluster, Fault};
use crate::error::ErrorCode;
use crate::protocol::messages::fetch::{FetchPartition, FetchRequest, FetchResponse};
use crate::protocol::messages::metadata::MetadataRequest;
use crate::time::Instant;
use crate::types::BrokerId;

fn in_session(id: i32, epoch: i32, request: FetchRequest) -> FetchRequest {
    FetchRequest { session_id: id, session_epoch: epoch, ..request }
}

/// Names no partition.
fn news(id: i32, epoch: i32, millis: i32) -> FetchRequest {
    FetchRequest { topics: Vec::new(), ..in_session(id, epoch, waiting(0, millis, 1)) }
}

fn told(response: &FetchResponse) -> usize {
    assert_eq!(response.error_code, ErrorCode::NONE);
    response.responses.iter().map(|topic| topic.partitions.len()).sum()
}

#[tokio::test(start_paused = true)]
async fn a_session_names_partitions_once_and_tells_only_news() {
    let (cluster, mut client) = one_node().await;
    let response = client.call(&in_session(0, 0, fetch(0)), 12).await;
    let id = response.session_id;
    assert!(id > 0 && told(&response) == 1);
    let response = client.call(&news(id, 1, 100), 12).await;
    assert_eq!((response.session_id, told(&response)), (id, 0), "nothing is new");
    cluster.writer().write("t", 0, ["a"]).unwrap();
    let response = client.call(&news(id, 2, 60_000), 12).await;
    assert_eq!(values(&response.responses[0].partitions[0]), ["0:a"]);
    let moved = client.call(&in_session(id, 3, fetch(1)), 12).await;
    assert_eq!(told(&moved), 0);
    let response = client.call(&news(id, 9, 0), 12).await;
    assert_eq!(response.error_code, ErrorCode::INVALID_FETCH_SESSION_EPOCH);
    cluster.evict_fetch_sessions(BrokerId(1)).unwrap();
    let response = client.call(&news(id, 4, 0), 12).await;
    assert_eq!(response.error_code, ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
    assert!(cluster.evict_fetch_sessions(BrokerId(7)).is_err());
}

#[tokio::test]
async fn sessions_by_id_and_by_name_do_not_mix() {
    let (cluster, mut client) = one_node().await;
    let mut by_id = fetch(0);
    by_id.topics[0].topic_id = cluster.topic_id("t").unwrap();
    let id = client.call(&in_session(0, 0, by_id.clone()), 17).await.session_id;
    let response = client.call(&news(id, 1, 0), 12).await;
    assert_eq!(response.error_code, ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR);
    assert_eq!(told(&client.call(&news(id, 1, 0), 17).await), 0);
    cluster.delete_topic("t").unwrap();
    let response = client.call(&news(id, 2, 60_000), 17).await;
    let data = &response.responses[0].partitions[0];
    assert_eq!(data.error_code, ErrorCode::UNKNOWN_TOPIC_ID);
    assert_eq!(response.responses[0].topic_id, by_id.topics[0].topic_id);
}

#[tokio::test]
async fn faults_meet_the_partitions_that_only_the_session_names() {
    let (cluster, mut client) = one_node().await;
    let id = client.call(&in_session(0, 0, fetch(0)), 12).await.session_id;
    cluster
        .inject(Fault::error(ApiKey::FETCH, ErrorCode::KAFKA_STORAGE_ERROR).on_partition("t", 0));
    cluster
        .inject(Fault::error(ApiKey::FETCH, ErrorCode::KAFKA_STORAGE_ERROR).on_partition("t", 1));
    let response = client.call(&news(id, 1, 60_000), 12).await;
    let code = response.responses[0].partitions[0].error_code;
    assert_eq!(code, ErrorCode::KAFKA_STORAGE_ERROR);
    assert_eq!(cluster.pending_faults(), 1);
    cluster.clear_faults();
    cluster.inject(Fault::error(ApiKey::FETCH, ErrorCode::FETCH_SESSION_ID_NOT_FOUND));
    let response = client.call(&news(id, 2, 0), 12).await;
    assert_eq!(response.error_code, ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
}

async fn racks() -> (Cluster, RawClient<tokio::io::DuplexStream>, RawClient<tokio::io::DuplexStream>)
{
    let builder = in_memory().nodes(2).rack(BrokerId(1), "a").rack(BrokerId(2), "b");
    let cluster = builder.rack_aware_fetching(true).start().await.unwrap();
    cluster.create_topic("t").unwrap();
    cluster.writer().write("t", 0, ["a", "b"]).unwrap();
    let (leader, follower) = (RawClient::connect(&cluster, 1), RawClient::connect(&cluster, 2));
    (cluster, leader, follower)
}

#[tokio::test]
async fn a_consumer_is_sent_to_the_replica_in_its_rack_and_served_there() {
    let (cluster, mut leader, mut follower) = racks().await;
    let mut from = async |rack: &str, offset, version| {
        let request = FetchRequest { rack_id: rack.to_owned(), ..waiting(offset, 60_000, 1) };
        let response = leader.call(&request, version).await;
        let data = &response.responses[0].partitions[0];
        assert_eq!(data.high_watermark, 2);
        (data.preferred_read_replica, values(data).len())
    };
    assert_eq!(from("b", 0, 11).await, (2, 0), "at once, and without records");
    assert_eq!(from("b", 0, 10).await, (-1, 2), "a version without racks");
    assert_eq!(from("a", 0, 12).await, (-1, 2));
    assert_eq!(from("", 0, 12).await, (-1, 2));
    let response = follower.call(&fetch(0), 11).await;
    assert_eq!(values(&response.responses[0].partitions[0]), ["0:a", "1:b"]);
    let response = follower.call(&fetch(0), 10).await;
    let code = response.responses[0].partitions[0].error_code;
    assert_eq!(code, ErrorCode::NOT_LEADER_OR_FOLLOWER, "such a client knows only leaders");
    cluster.hold_replica("t", 0, BrokerId(2)).unwrap();
    assert_eq!(from("b", 0, 12).await, (-1, 2), "not to one that falls behind");
}

#[tokio::test]
async fn a_follower_serves_what_it_has() {
    let (cluster, _, mut follower) = racks().await;
    cluster.hold_replica("t", 0, BrokerId(2)).unwrap();
    cluster.writer().write("t", 0, ["c"]).unwrap();
    let response = follower.call(&fetch(0), 12).await;
    let data = &response.responses[0].partitions[0];
    assert_eq!(values(data), ["0:a", "1:b"]);
    assert_eq!((data.high_watermark, data.last_stable_offset), (2, 2));
    let response = follower.call(&fetch(3), 12).await;
    let code = response.responses[0].partitions[0].error_code;
    assert_eq!(code, ErrorCode::OFFSET_OUT_OF_RANGE, "it does not have that yet");
    follower.send(&waiting(2, 60_000, 1), 12).await;
    cluster.received(ApiKey::FETCH, 3).await;
    cluster.release_replicas("t", 0).unwrap();
    let response = follower.receive::<FetchRequest>(12).await;
    assert_eq!(values(&response.responses[0].partitions[0]), ["2:c"]);
    assert!(cluster.hold_replica("t", 9, BrokerId(2)).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_throttled_client_gets_no_records_and_waits_for_its_next_answer() {
    let (cluster, mut client) = one_node().await;
    client.produce(batch(&["a"])).await.unwrap();
    let id = client.call(&in_session(0, 0, fetch(1)), 12).await.session_id;
    let time = Duration::from_millis(700);
    cluster.inject(Fault::throttle(ApiKey::FETCH, time));
    cluster.inject(Fault::throttle(ApiKey::METADATA, time));
    let before = Instant::now();
    let partition = FetchPartition { partition_max_bytes: 1 << 20, ..Default::default() };
    let mut back = fetch(0);
    back.topics[0].partitions = vec![partition];
    let response = client.call(&in_session(id, 1, back), 12).await;
    assert_eq!(before.elapsed(), Duration::ZERO, "the answer itself comes at once");
    assert_eq!((response.throttle_time_ms, response.session_id, told(&response)), (700, id, 0));
    let response = client.call(&MetadataRequest::default(), 9).await;
    assert_eq!(before.elapsed(), time);
    assert_eq!(response.throttle_time_ms, 700);
    let response = client.call(&news(id, 2, 0), 12).await;
    assert_eq!(before.elapsed(), 2 * time);
    assert_eq!(values(&response.responses[0].partitions[0]), ["0:a"], "the session went on");
}
