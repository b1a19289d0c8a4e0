use crate::broker::testing::{RawClient, in_memory, one_node, several_nodes};
use crate::error::ErrorCode;
use crate::protocol::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse,
};
use crate::types::{BrokerId, TopicId};

fn ask(names: &[&str]) -> MetadataRequest {
    let topic =
        |name: &&str| MetadataRequestTopic { name: Some((*name).to_owned()), ..Default::default() };
    MetadataRequest { topics: Some(names.iter().map(topic).collect()), ..Default::default() }
}

fn codes(response: &MetadataResponse) -> Vec<ErrorCode> {
    response.topics.iter().map(|topic| topic.error_code).collect()
}

#[tokio::test]
async fn every_version_tells_nodes_topics_and_leaders() {
    let cluster = several_nodes(3).await;
    let mut client = RawClient::connect(&cluster, 2);
    for version in 0..=13 {
        let response = client.call(&ask(&["t"]), version).await;
        let brokers: Vec<_> =
            response.brokers.iter().map(|b| (b.node_id, b.host.as_str(), b.port)).collect();
        let host = |n| (n, ["", "broker-1", "broker-2", "broker-3"][n as usize]);
        assert!(
            (1..=3).map(host).zip(&brokers).all(|((id, name), &(node, host, port))| {
                node == id && host == format!("{name}.milena.internal") && port == 9092
            }),
            "{brokers:?}"
        );
        let topic = &response.topics[0];
        assert_eq!((topic.error_code, topic.name.as_deref()), (ErrorCode::NONE, Some("t")));
        assert_eq!(topic.topic_id.is_zero(), version < 10);
        let partition = &topic.partitions[0];
        assert_eq!((partition.leader_id, &*partition.replica_nodes), (1, &[1, 2, 3][..]));
        assert_eq!(partition.leader_epoch, if version >= 7 { 0 } else { -1 });
        assert_eq!(response.controller_id, if version >= 1 { 1 } else { -1 });
    }
}

#[tokio::test]
async fn all_topics_are_asked_for_by_null_or_before_by_none() {
    let cluster = in_memory().start().await.unwrap();
    cluster.create_topic("a").unwrap();
    cluster.create_topic("b").unwrap();
    let mut client = RawClient::connect(&cluster, 1);
    let mut count = async |topics: Option<Vec<MetadataRequestTopic>>, version| {
        let request = MetadataRequest { topics, ..Default::default() };
        client.call(&request, version).await.topics.len()
    };
    assert_eq!(count(Some(vec![]), 0).await, 2);
    assert_eq!(count(Some(vec![]), 1).await, 0);
    assert_eq!(count(None, 12).await, 2);
}

#[tokio::test]
async fn a_topic_that_is_asked_for_comes_into_being() {
    let cluster = in_memory().default_partitions(4).start().await.unwrap();
    let mut client = RawClient::connect(&cluster, 1);
    let not_now = MetadataRequest { allow_auto_topic_creation: false, ..ask(&["t"]) };
    let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
    assert_eq!(codes(&client.call(&not_now, 12).await), [unknown]);
    assert_eq!(cluster.topic_id("t"), None);
    assert_eq!(codes(&client.call(&ask(&["t"]), 12).await), [unknown], "it is only just made");
    let response = client.call(&ask(&["t"]), 12).await;
    assert_eq!(codes(&response), [ErrorCode::NONE]);
    assert_eq!(response.topics[0].partitions.len(), 4);
    let illegal = client.call(&ask(&["a b", ""]), 12).await;
    assert_eq!(codes(&illegal), [ErrorCode::INVALID_TOPIC_EXCEPTION; 2]);
}

#[tokio::test]
async fn without_auto_creation_topics_stay_unknown() {
    let cluster = in_memory().auto_create_topics(false).start().await.unwrap();
    let mut client = RawClient::connect(&cluster, 1);
    for _ in 0..2 {
        let response = client.call(&ask(&["t"]), 12).await;
        assert_eq!(codes(&response), [ErrorCode::UNKNOWN_TOPIC_OR_PARTITION]);
    }
}

#[tokio::test]
async fn topics_are_found_by_id() {
    let (cluster, mut client) = one_node().await;
    let by_id = |topic_id| MetadataRequest {
        topics: Some(vec![MetadataRequestTopic { topic_id, name: None }]),
        ..Default::default()
    };
    let response = client.call(&by_id(cluster.topic_id("t").unwrap()), 12).await;
    assert_eq!(response.topics[0].name.as_deref(), Some("t"));
    let unknown = TopicId([3; 16]);
    let response = client.call(&by_id(unknown), 12).await;
    assert_eq!(codes(&response), [ErrorCode::UNKNOWN_TOPIC_ID]);
    assert_eq!((response.topics[0].topic_id, response.topics[0].name.as_deref()), (unknown, None));
    client.send(&by_id(unknown), 11).await;
    assert!(client.is_closed().await, "no ids before version 12");
}

#[tokio::test]
async fn stopped_nodes_are_left_out() {
    let cluster = several_nodes(2).await;
    let mut client = RawClient::connect(&cluster, 2);
    cluster.stop_node(BrokerId(1)).await.unwrap();
    let response = client.call(&ask(&["t"]), 12).await;
    assert_eq!(response.brokers.iter().map(|b| b.node_id).collect::<Vec<_>>(), [2]);
    let partition = &response.topics[0].partitions[0];
    assert_eq!((partition.leader_id, partition.leader_epoch), (2, 1));
    assert_eq!((&*partition.isr_nodes, &*partition.offline_replicas), (&[2][..], &[1][..]));
}

#[tokio::test]
async fn a_partition_without_a_leader_says_so() {
    let cluster = in_memory().nodes(2).default_replication_factor(1).start().await.unwrap();
    cluster.create_topic("t").unwrap();
    let mut client = RawClient::connect(&cluster, 2);
    cluster.stop_node(BrokerId(1)).await.unwrap();
    let response = client.call(&ask(&["t"]), 12).await;
    assert_eq!(response.topics[0].error_code, ErrorCode::NONE);
    let partition = &response.topics[0].partitions[0];
    assert_eq!(partition.error_code, ErrorCode::LEADER_NOT_AVAILABLE);
    assert_eq!((partition.leader_id, &*partition.isr_nodes), (-1, &[1][..]));
    cluster.restart_node(BrokerId(1)).await.unwrap();
    let response = client.call(&ask(&["t"]), 12).await;
    let partition = &response.topics[0].partitions[0];
    assert_eq!((partition.leader_id, partition.leader_epoch), (1, 2));
}
