use crate::broker::testing::{RawClient, in_memory, one_node};
use crate::error::ErrorCode;
use crate::protocol::messages::create_partitions::{
    CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsTopic,
};
use crate::protocol::messages::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use crate::protocol::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use crate::types::{BrokerId, TopicId};

fn topic(name: &str, num_partitions: i32, replication_factor: i16) -> CreatableTopic {
    CreatableTopic {
        name: name.to_owned(),
        num_partitions,
        replication_factor,
        ..Default::default()
    }
}

fn create(topics: Vec<CreatableTopic>) -> CreateTopicsRequest {
    CreateTopicsRequest { topics, ..Default::default() }
}

#[tokio::test]
async fn topics_are_created_in_every_version() {
    let cluster = in_memory().nodes(3).default_partitions(2).start().await.unwrap();
    let mut client = RawClient::connect(&cluster, 3);
    for version in 2..=7 {
        let name = format!("t{version}");
        let response = client.call(&create(vec![topic(&name, 5, 2)]), version).await;
        assert_eq!(response.topics[0].error_code, ErrorCode::NONE);
        assert_eq!(cluster.partitions(&name), Some(5));
        if version >= 7 {
            assert_eq!(Some(response.topics[0].topic_id), cluster.topic_id(&name));
        }
        if version >= 5 {
            assert_eq!(response.topics[0].num_partitions, 5);
            assert_eq!(response.topics[0].replication_factor, 2);
        }
    }
    let response = client.call(&create(vec![topic("d", -1, -1)]), 7).await;
    assert_eq!((response.topics[0].num_partitions, response.topics[0].replication_factor), (2, 3));
}

#[tokio::test]
async fn settings_are_taken_and_told() {
    let (_cluster, mut client) = one_node().await;
    let config = |name: &str, value: Option<&str>| CreatableTopicConfig {
        name: name.to_owned(),
        value: value.map(str::to_owned),
    };
    let with = |name: &str, configs| CreatableTopic { configs, ..topic(name, 1, 1) };
    let request = create(vec![
        with("a", vec![config("max.message.bytes", Some("100"))]),
        with("b", vec![config("max.message.bytes", Some("much"))]),
        with("c", vec![config("max.message.bytes", None)]),
        with("d", vec![config("linger.ms", Some("1"))]),
    ]);
    let response = client.call(&request, 7).await;
    let codes: Vec<_> = response.topics.iter().map(|topic| topic.error_code).collect();
    let invalid = ErrorCode::INVALID_CONFIG;
    assert_eq!(codes, [ErrorCode::NONE, invalid, invalid, invalid]);
    let configs = response.topics[0].configs.as_ref().unwrap();
    let limit = configs.iter().find(|config| config.name == "max.message.bytes").unwrap();
    assert_eq!((limit.value.as_deref(), limit.config_source), (Some("100"), 1));
    assert!(configs.iter().any(|c| c.name == "min.insync.replicas" && c.config_source == 5));
}

#[tokio::test]
async fn requests_that_kafka_refuses_are_refused() {
    let (cluster, mut client) = one_node().await;
    let manual = |assignments: &[(i32, &[i32])], partitions, replicas| CreatableTopic {
        assignments: assignments
            .iter()
            .map(|&(partition_index, nodes)| CreatableReplicaAssignment {
                partition_index,
                broker_ids: nodes.to_vec(),
            })
            .collect(),
        ..topic("m", partitions, replicas)
    };
    for (wanted, expected) in [
        (topic("t", 1, 1), ErrorCode::TOPIC_ALREADY_EXISTS),
        (topic("a/b", 1, 1), ErrorCode::INVALID_TOPIC_EXCEPTION),
        (topic("u", 0, 1), ErrorCode::INVALID_PARTITIONS),
        (topic("u", -2, 1), ErrorCode::INVALID_PARTITIONS),
        (topic("u", i32::MAX, 1), ErrorCode::INVALID_PARTITIONS),
        (topic("u", 1, 0), ErrorCode::INVALID_REPLICATION_FACTOR),
        (topic("u", 1, -2), ErrorCode::INVALID_REPLICATION_FACTOR),
        (topic("u", 1, 2), ErrorCode::INVALID_REPLICATION_FACTOR),
        (manual(&[(0, &[1])], 1, -1), ErrorCode::INVALID_REQUEST),
        (manual(&[(0, &[1])], -1, 1), ErrorCode::INVALID_REQUEST),
        (manual(&[(1, &[1])], -1, -1), ErrorCode::INVALID_REPLICA_ASSIGNMENT),
        (manual(&[(0, &[9])], -1, -1), ErrorCode::INVALID_REPLICA_ASSIGNMENT),
    ] {
        let response = client.call(&create(vec![wanted.clone()]), 7).await;
        assert_eq!(response.topics[0].error_code, expected, "{wanted:?}");
        assert!(response.topics[0].error_message.is_some());
    }
    let twice = client.call(&create(vec![topic("u", 1, 1), topic("u", 1, 1)]), 7).await;
    assert!(twice.topics.iter().all(|topic| topic.error_code == ErrorCode::INVALID_REQUEST));
    assert!(cluster.topic_id("u").is_none() && cluster.topic_id("m").is_none());
    let valid = client.call(&create(vec![manual(&[(0, &[1])], -1, -1)]), 7).await;
    assert_eq!(valid.topics[0].error_code, ErrorCode::NONE);
}

#[tokio::test]
async fn partitions_are_added() {
    let cluster = in_memory().nodes(2).default_replication_factor(1).start().await.unwrap();
    cluster.create_topic("t").unwrap();
    let mut client = RawClient::connect(&cluster, 1);
    let add = |count, nodes: Option<Vec<Vec<i32>>>| CreatePartitionsRequest {
        topics: vec![CreatePartitionsTopic {
            name: "t".to_owned(),
            count,
            assignments: nodes.map(|nodes| {
                nodes
                    .into_iter()
                    .map(|broker_ids| CreatePartitionsAssignment { broker_ids })
                    .collect()
            }),
        }],
        ..Default::default()
    };
    for version in 0..=3 {
        let count = i32::from(version) + 2;
        let response = client.call(&add(count, None), version).await;
        assert_eq!(response.results[0].error_code, ErrorCode::NONE);
        assert_eq!(cluster.partitions("t"), Some(count as usize));
    }
    client.call(&add(6, Some(vec![vec![1]])), 3).await;
    assert_eq!(cluster.leader("t", 5), Some((BrokerId(1), 0)));
    let response = client.call(&add(3, None), 3).await;
    assert_eq!(response.results[0].error_code, ErrorCode::INVALID_PARTITIONS);
}

#[tokio::test]
async fn topics_are_deleted_by_name_and_by_id() {
    let cluster = in_memory().start().await.unwrap();
    let mut client = RawClient::connect(&cluster, 1);
    for version in 1..=5 {
        cluster.create_topic("t").unwrap();
        let request =
            DeleteTopicsRequest { topic_names: vec!["t".to_owned()], ..Default::default() };
        let code = |response: crate::protocol::messages::delete_topics::DeleteTopicsResponse| {
            response.responses[0].error_code
        };
        assert_eq!(code(client.call(&request, version).await), ErrorCode::NONE);
        assert_eq!(cluster.topic_id("t"), None);
        let again = code(client.call(&request, version).await);
        assert_eq!(again, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    }
    let id = cluster.create_topic("t").unwrap();
    let state =
        |name: Option<&str>, topic_id| DeleteTopicState { name: name.map(str::to_owned), topic_id };
    let request = DeleteTopicsRequest {
        topics: vec![
            state(Some("t"), id),
            state(None, TopicId::ZERO),
            state(None, TopicId([1; 16])),
            state(None, id),
        ],
        ..Default::default()
    };
    let response = client.call(&request, 6).await;
    let codes: Vec<_> = response.responses.iter().map(|r| r.error_code).collect();
    let invalid = ErrorCode::INVALID_REQUEST;
    assert_eq!(codes, [invalid, invalid, ErrorCode::UNKNOWN_TOPIC_ID, ErrorCode::NONE]);
    assert_eq!(response.responses[3].name.as_deref(), Some("t"));
    assert_eq!(cluster.topic_id("t"), None);
}
