use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::*;
use crate::broker::faults::Action;
use crate::broker::testing::{
    NOW, RawClient, batch, in_memory, one_node, outcome, produce, several_nodes,
};
use crate::protocol::messages::api_versions::ApiVersionsRequest;
use crate::protocol::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use crate::protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use crate::protocol::messages::find_coordinator::FindCoordinatorRequest;
use crate::protocol::messages::init_producer_id::InitProducerIdRequest;
use crate::protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use crate::protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use crate::protocol::messages::produce::{PartitionProduceData, ProduceRequest};
use crate::time::Instant;

const N1: BrokerId = BrokerId(1);
const N2: BrokerId = BrokerId(2);

// ---- faults ---------------------------------------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn a_dropped_response_leaves_the_request_applied_and_the_connection_silent() {
    let (cluster, mut client) = one_node().await;
    cluster.inject(Fault::drop_response(ApiKey::PRODUCE));
    client.send(&produce("t", 0, batch(&["a"])), 9).await;
    client.send(&produce("t", 0, batch(&["b"])), 9).await;
    let silence = tokio::time::timeout(Duration::from_secs(60), client.frame()).await;
    assert!(silence.is_err(), "no answer, and no end of the connection either");
    assert_eq!(cluster.offsets("t", 0), Some(0..2));
    let mut other = RawClient::connect(&cluster, 1);
    assert_eq!(other.produce(batch(&["c"])).await, Ok(2), "other connections are not touched");
}

#[tokio::test(start_paused = true)]
async fn a_response_is_delayed_after_the_request_was_applied() {
    let (cluster, mut client) = one_node().await;
    cluster.inject(Fault::delay_response(ApiKey::PRODUCE, Duration::from_secs(3)));
    let before = Instant::now();
    client.send(&produce("t", 0, batch(&["a"])), 9).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(cluster.offsets("t", 0), Some(0..1));
    client.receive::<ProduceRequest>(9).await;
    assert_eq!(before.elapsed(), Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn a_delayed_request_is_applied_even_when_its_client_is_gone() {
    let (cluster, mut client) = one_node().await;
    cluster.inject(Fault::delay_request(ApiKey::PRODUCE, Duration::from_secs(3)));
    client.send(&produce("t", 0, batch(&["a"])), 9).await;
    cluster.received(ApiKey::PRODUCE, 1).await;
    drop(client);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(cluster.offsets("t", 0), Some(0..0));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(cluster.offsets("t", 0), Some(0..1));
}

#[tokio::test]
async fn connections_are_closed_before_and_after_the_request_is_applied() {
    for (fault, end) in
        [(Fault::close_before(ApiKey::PRODUCE), 0), (Fault::close_after(ApiKey::PRODUCE), 1)]
    {
        let (cluster, mut client) = one_node().await;
        cluster.inject(fault);
        client.send(&produce("t", 0, batch(&["a"])), 9).await;
        assert!(client.is_closed().await);
        assert_eq!(cluster.offsets("t", 0), Some(0..end));
        assert_eq!(cluster.pending_faults(), 0);
    }
}

#[tokio::test]
async fn error_codes_are_given_before_and_after_the_request_is_applied() {
    let (cluster, mut client) = one_node().await;
    let code = ErrorCode::REQUEST_TIMED_OUT;
    cluster.inject(Fault::error(ApiKey::PRODUCE, code).times(2));
    cluster.inject(Fault::error_after(ApiKey::PRODUCE, code));
    for end in [0, 0, 1] {
        assert_eq!(client.produce(batch(&["a"])).await, Err(code));
        assert_eq!(cluster.offsets("t", 0), Some(0..end));
    }
    assert_eq!(client.produce(batch(&["b"])).await, Ok(1));
    let action = Action::ErrorAfter(code);
    let struck = Event::FaultStruck { node: N1, api: ApiKey::PRODUCE, action };
    assert!(cluster.events().contains(&struck));
}

#[tokio::test]
async fn an_error_for_one_partition_leaves_the_others_alone() {
    let cluster = in_memory().start().await.unwrap();
    cluster.create_topic(("t", 3)).unwrap();
    let mut client = RawClient::connect(&cluster, 1);
    let code = ErrorCode::KAFKA_STORAGE_ERROR;
    cluster.inject(Fault::error(ApiKey::PRODUCE, code).on_partition("t", 1));
    assert!(client.produce(batch(&["a"])).await.is_ok(), "the request does not name partition 1");
    let mut request = produce("t", 0, batch(&["a"]));
    for index in [1, 2] {
        let data = PartitionProduceData { index, records: Some(batch(&["b"])) };
        request.topic_data[0].partition_data.push(data);
    }
    let response = client.call(&request, 9).await;
    let outcomes: Vec<_> = response.responses[0].partition_responses.iter().map(outcome).collect();
    assert_eq!(outcomes, [Ok(1), Err(code), Ok(0)]);
}

#[tokio::test]
async fn faults_wait_for_their_node_and_can_be_cleared() {
    let cluster = several_nodes(2).await;
    let mut clients = [RawClient::connect(&cluster, 1), RawClient::connect(&cluster, 2)];
    cluster.inject(Fault::close_before(ApiKey::METADATA).on_node(N2).always());
    clients[0].call(&MetadataRequest::default(), 12).await;
    clients[1].send(&MetadataRequest::default(), 12).await;
    assert!(clients[1].is_closed().await);
    cluster.clear_faults();
    let mut again = RawClient::connect(&cluster, 2);
    again.call(&MetadataRequest::default(), 12).await;
}

/// Every API puts the code where its clients look for it, and applies nothing.
#[tokio::test]
async fn every_api_gives_an_injected_error() {
    let (cluster, mut client) = one_node().await;
    let code = ErrorCode::UNKNOWN_SERVER_ERROR;
    let inject = |api| cluster.inject(Fault::error(api, code));

    inject(ApiKey::API_VERSIONS);
    assert_eq!(client.call(&ApiVersionsRequest::default(), 2).await.error_code, code);

    inject(ApiKey::METADATA);
    let topic = MetadataRequestTopic { name: Some("new".to_owned()), ..Default::default() };
    let request = MetadataRequest { topics: Some(vec![topic]), ..Default::default() };
    let response = client.call(&request, 12).await;
    assert_eq!(response.topics[0].error_code, code);
    assert_eq!(cluster.topic_id("new"), None);

    inject(ApiKey::FETCH);
    let topic = FetchTopic {
        topic: "t".to_owned(),
        partitions: vec![FetchPartition::default()],
        ..Default::default()
    };
    let request = FetchRequest {
        max_wait_ms: 60_000,
        min_bytes: 1,
        topics: vec![topic],
        ..Default::default()
    };
    let response = client.call(&request, 12).await;
    assert_eq!(response.responses[0].partitions[0].error_code, code);

    inject(ApiKey::LIST_OFFSETS);
    let topic = ListOffsetsTopic {
        name: "t".to_owned(),
        partitions: vec![ListOffsetsPartition { timestamp: -1, ..Default::default() }],
    };
    let request = ListOffsetsRequest { topics: vec![topic], ..Default::default() };
    let response = client.call(&request, 5).await;
    assert_eq!(response.topics[0].partitions[0].error_code, code);

    inject(ApiKey::INIT_PRODUCER_ID);
    let request = InitProducerIdRequest { transactional_id: None, ..Default::default() };
    assert_eq!(client.call(&request, 5).await.error_code, code);
    assert_eq!(client.call(&request, 5).await.producer_id, 0, "no id was used up");

    inject(ApiKey::FIND_COORDINATOR);
    let request =
        FindCoordinatorRequest { coordinator_keys: vec!["g".to_owned()], ..Default::default() };
    assert_eq!(client.call(&request, 6).await.coordinators[0].error_code, code);

    inject(ApiKey::CREATE_TOPICS);
    let topic = CreatableTopic {
        name: "u".to_owned(),
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
    assert_eq!(client.call(&request, 7).await.topics[0].error_code, code);
    assert_eq!(cluster.topic_id("u"), None);
    assert_eq!(cluster.pending_faults(), 0);
}

#[tokio::test]
async fn a_client_can_be_told_to_bootstrap_again() {
    let (cluster, mut client) = one_node().await;
    let code = ErrorCode::REBOOTSTRAP_REQUIRED;
    cluster.inject(Fault::error(ApiKey::METADATA, code));
    let request = MetadataRequest { topics: None, ..Default::default() };
    assert_eq!(client.call(&request, 13).await.error_code, code);
    assert_eq!(client.call(&request, 13).await.error_code, ErrorCode::NONE);
}

// ---- nodes ----------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_stopped_node_closes_its_connections_and_takes_no_more() {
    let cluster = several_nodes(2).await;
    let mut client = RawClient::connect(&cluster, 1);
    assert_eq!(client.produce(batch(&["a"])).await, Ok(0));
    cluster.stop_node(N1).await.unwrap();
    assert!(client.is_closed().await);
    let refused = cluster.connect("broker-1.milena.internal", 9092).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    assert_eq!(cluster.leader("t", 0), Some((N2, 1)));
    let mut other = RawClient::connect(&cluster, 2);
    assert_eq!(other.produce(batch(&["b"])).await, Ok(1), "nothing was lost");
    cluster.restart_node(N1).await.unwrap();
    cluster.move_leader("t", 0, N1).unwrap();
    let mut again = RawClient::connect(&cluster, 1);
    assert_eq!(again.produce(batch(&["c"])).await, Ok(2));
    let epochs: Vec<_> = cluster.batches("t", 0).iter().map(|batch| batch.leader_epoch).collect();
    assert_eq!(epochs, [0, 1, 2]);
}

/// A connection must end even if its task did not run between the stop and the restart.
#[tokio::test]
async fn a_restart_does_not_revive_old_connections() {
    let (cluster, mut client) = one_node().await;
    assert_eq!(client.produce(batch(&["a"])).await, Ok(0));
    cluster.stop_node(N1).await.unwrap();
    cluster.restart_node(N1).await.unwrap();
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn stopping_twice_and_unknown_nodes() {
    let cluster = several_nodes(2).await;
    cluster.stop_node(N1).await.unwrap();
    cluster.stop_node(N1).await.unwrap();
    cluster.restart_node(N1).await.unwrap();
    cluster.restart_node(N1).await.unwrap();
    assert_eq!(cluster.leader("t", 0), Some((N2, 1)));
    let unknown = cluster.stop_node(BrokerId(9)).await;
    assert!(matches!(unknown, Err(ClusterError::UnknownNode(BrokerId(9)))));
    let unknown = cluster.restart_node(BrokerId(9)).await;
    assert!(matches!(unknown, Err(ClusterError::UnknownNode(BrokerId(9)))));
    let nowhere = cluster.connect("broker-9.milena.internal", 9092).unwrap_err();
    assert_eq!(nowhere.kind(), io::ErrorKind::NotFound);
}

async fn over_tcp(cluster: &Cluster, node: usize) -> io::Result<RawClient<TcpStream>> {
    let servers = cluster.bootstrap_servers();
    let address = servers.split(',').nth(node - 1).unwrap();
    TcpStream::connect(address).await.map(RawClient::over)
}

#[tokio::test]
async fn nodes_listen_on_tcp_and_keep_their_ports() {
    let cluster = Cluster::builder().nodes(2).start_time_ms(NOW).start().await.unwrap();
    cluster.create_topic("t").unwrap();
    let mut client = over_tcp(&cluster, 1).await.unwrap();
    assert_eq!(client.produce(batch(&["a"])).await, Ok(0));
    let response = client.call(&MetadataRequest { topics: None, ..Default::default() }, 12).await;
    let told: Vec<_> = response.brokers.iter().map(|b| format!("{}:{}", b.host, b.port)).collect();
    assert_eq!(told.join(","), cluster.bootstrap_servers());

    cluster.stop_node(N1).await.unwrap();
    assert!(client.is_closed().await);
    let refused = over_tcp(&cluster, 1).await.unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    cluster.restart_node(N1).await.unwrap();
    cluster.move_leader("t", 0, N1).unwrap();
    let mut again = over_tcp(&cluster, 1).await.unwrap();
    assert_eq!(again.produce(batch(&["b"])).await, Ok(1));
}

#[tokio::test]
async fn a_port_that_is_taken_is_an_error() {
    let first = Cluster::builder().start().await.unwrap();
    let port = first.bootstrap_servers().rsplit(':').next().unwrap().parse().unwrap();
    let second = Cluster::builder().ports([port]).start().await;
    assert!(matches!(second, Err(ClusterError::Bind { port: p, .. }) if p == port));
}

#[tokio::test]
async fn settings_that_make_no_sense_are_refused() {
    for builder in [
        in_memory().nodes(0),
        in_memory().default_partitions(0),
        in_memory().default_replication_factor(2),
        in_memory().topic_config("min.insync.replicas", "none"),
    ] {
        let error = builder.start().await.unwrap_err();
        assert!(matches!(error, ClusterError::InvalidConfig { .. }), "{error}");
    }
}

#[tokio::test]
async fn the_last_handle_ends_everything() {
    let tcp = Cluster::builder().start().await.unwrap();
    let mut over_tcp_client = over_tcp(&tcp, 1).await.unwrap();
    let address = tcp.bootstrap_servers();
    let (cluster, mut client) = one_node().await;
    let clone = cluster.clone();
    drop(cluster);
    assert_eq!(client.produce(batch(&["a"])).await, Ok(0), "a handle is left");
    let (ours, theirs) = tokio::io::duplex(64);
    let served = tokio::spawn(clone.serve(N1, theirs));
    drop((clone, tcp));
    served.await.unwrap();
    assert!(client.is_closed().await);
    assert!(over_tcp_client.is_closed().await);
    drop(ours);
    // The listener's task ends when the runtime gets to it.
    while TcpStream::connect(&address).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn any_stream_can_be_served_under_any_name() {
    let cluster = in_memory().nodes(2).advertise(N2, "elsewhere", 7).start().await.unwrap();
    assert_eq!(cluster.bootstrap_servers(), "broker-1.milena.internal:9092,elsewhere:7");
    let (ours, theirs) = tokio::io::duplex(1024);
    tokio::spawn(cluster.serve(N2, theirs));
    let mut client = RawClient::over(ours);
    let response = client.call(&MetadataRequest::default(), 12).await;
    assert_eq!((&*response.brokers[1].host, response.brokers[1].port), ("elsewhere", 7));
    let (mut ours, theirs) = tokio::io::duplex(1024);
    cluster.serve(BrokerId(9), theirs).await;
    assert_eq!(ours.read(&mut [0]).await.unwrap(), 0, "there is no such node");
}

// ---- a look inside --------------------------------------------------------------------------------------------------

#[tokio::test]
async fn requests_are_counted_and_can_be_waited_for() {
    let (cluster, mut client) = one_node().await;
    let waiting = tokio::spawn({
        let cluster = cluster.clone();
        async move { cluster.received(ApiKey::PRODUCE, 2).await }
    });
    client.produce(batch(&["a"])).await.unwrap();
    assert!(!waiting.is_finished());
    client.produce(batch(&["b"])).await.unwrap();
    waiting.await.unwrap();
    assert_eq!((cluster.requests(ApiKey::PRODUCE), cluster.requests(ApiKey::FETCH)), (2, 0));
}

#[tokio::test]
async fn the_same_seed_gives_the_same_ids() {
    let one = in_memory().seed(5).start().await.unwrap();
    let two = in_memory().seed(5).start().await.unwrap();
    let other = in_memory().seed(6).start().await.unwrap();
    let id = one.create_topic("t").unwrap();
    assert_eq!(two.create_topic("t").unwrap(), id);
    assert_ne!(other.create_topic("t").unwrap(), id);
}

#[tokio::test(start_paused = true)]
async fn the_clock_goes_with_tokios() {
    let cluster = in_memory().start().await.unwrap();
    assert_eq!(cluster.now_ms(), NOW);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(cluster.now_ms(), NOW + 5000);
}

#[tokio::test]
async fn topics_are_made_and_removed_by_hand() {
    let cluster = in_memory().start().await.unwrap();
    let spec = TopicSpec::new("t").partitions(2).config("max.message.bytes", "70");
    cluster.create_topic(spec).unwrap();
    let mut client = RawClient::connect(&cluster, 1);
    let too_large = client.produce(batch(&["a record that does not fit"])).await;
    assert_eq!(too_large, Err(ErrorCode::MESSAGE_TOO_LARGE));
    let refused = cluster.create_topic("t").unwrap_err();
    assert!(matches!(refused, ClusterError::Refused { code: ErrorCode::TOPIC_ALREADY_EXISTS, .. }));
    let refused = cluster.create_topic(TopicSpec::new("u").config("colour", "red")).unwrap_err();
    assert!(matches!(refused, ClusterError::Refused { code: ErrorCode::INVALID_CONFIG, .. }));
    cluster.delete_topic("t").unwrap();
    assert!(cluster.delete_topic("t").is_err());
    assert_eq!(cluster.partitions("t"), None);
    assert!(cluster.records("t", 0).is_empty());
    assert!(
        cluster.delete_records("t", 0, 1).is_err() && cluster.forget_producers("t", 0).is_err()
    );
}
