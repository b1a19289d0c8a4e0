use crate::broker::testing::{
    NOW, RawClient, batch, build, forged, in_memory, one_node, outcome, produce, sequenced,
    several_nodes,
};
use crate::broker::{Event, TopicSpec};
use crate::error::ErrorCode;
use crate::protocol::messages::produce::{PartitionProduceData, ProduceRequest};
use crate::types::{BrokerId, Compression, ProducerIdentity, TopicId};

const PRODUCER: ProducerIdentity = ProducerIdentity { id: 0, epoch: 0 };

#[tokio::test]
async fn what_is_produced_is_in_the_log() {
    let (cluster, mut client) = one_node().await;
    assert_eq!(client.produce(batch(&["a", "b"])).await, Ok(0));
    let zstd = build(&[(NOW - 5, Some("k"), "c")], Compression::Zstd, |_| {});
    assert_eq!(client.produce(zstd).await, Ok(2));
    let records = cluster.records("t", 0);
    let values: Vec<_> = records.iter().map(|r| r.value.as_deref().unwrap()).collect();
    assert_eq!(values, [b"a", b"b", b"c"]);
    assert_eq!(records.iter().map(|r| r.offset).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!((records[2].timestamp, records[2].key.as_deref()), (NOW - 5, Some(&b"k"[..])));
    assert_eq!(cluster.offsets("t", 0), Some(0..3));
    assert_eq!(cluster.batches("t", 0).len(), 2);
}

#[tokio::test]
async fn every_version_is_answered() {
    let (cluster, mut client) = one_node().await;
    let topic_id = cluster.topic_id("t").unwrap();
    for version in 3..=13 {
        let mut request = produce("t", 0, batch(&["a"]));
        if version >= 13 {
            request.topic_data[0].topic_id = topic_id;
        }
        let response = client.call(&request, version).await;
        let topic = &response.responses[0];
        assert_eq!(topic.topic_id, if version >= 13 { topic_id } else { TopicId::ZERO });
        assert_eq!(topic.name, if version >= 13 { "" } else { "t" });
        assert_eq!(outcome(&topic.partition_responses[0]), Ok(i64::from(version) - 3));
    }
}

#[tokio::test]
async fn several_partitions_are_judged_one_by_one() {
    let cluster = in_memory().start().await.unwrap();
    cluster.create_topic(("t", 3)).unwrap();
    let mut client = RawClient::connect(&cluster, 1);
    let mut request = produce("t", 0, batch(&["a"]));
    let corrupt = forged(&batch(&["b"]), 66, &[0xFF], false);
    request.topic_data[0].partition_data.extend([
        PartitionProduceData { index: 1, records: Some(corrupt) },
        PartitionProduceData { index: 2, records: Some(batch(&["c"])) },
        PartitionProduceData { index: 3, records: Some(batch(&["d"])) },
        PartitionProduceData { index: 0, records: None },
    ]);
    let response = client.call(&request, 8).await;
    let outcomes: Vec<_> = response.responses[0].partition_responses.iter().map(outcome).collect();
    assert_eq!(
        outcomes,
        [
            Ok(0),
            Err(ErrorCode::CORRUPT_MESSAGE),
            Ok(0),
            Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
            Err(ErrorCode::INVALID_RECORD),
        ]
    );
    let refused = &response.responses[0].partition_responses[1];
    assert!(refused.error_message.as_deref().unwrap().contains("CRC"));
    assert_eq!((refused.base_offset, refused.log_append_time_ms), (-1, -1));
}

#[tokio::test]
async fn unknown_topics_are_refused_and_not_created() {
    let (cluster, mut client) = one_node().await;
    let code = |response: crate::protocol::messages::produce::ProduceResponse| {
        response.responses[0].partition_responses[0].error_code
    };
    let by_name = client.call(&produce("u", 0, batch(&["a"])), 12).await;
    assert_eq!(code(by_name), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    let mut request = produce("", 0, batch(&["a"]));
    request.topic_data[0].topic_id = TopicId([7; 16]);
    assert_eq!(code(client.call(&request, 13).await), ErrorCode::UNKNOWN_TOPIC_ID);
    assert_eq!(cluster.topic_id("u"), None);
}

#[tokio::test]
async fn idempotent_producers_are_checked() {
    let (cluster, mut client) = one_node().await;
    assert_eq!(client.produce(sequenced(&["a"], PRODUCER, 0)).await, Ok(0));
    assert_eq!(client.produce(sequenced(&["b", "c"], PRODUCER, 1)).await, Ok(1));
    assert_eq!(client.produce(sequenced(&["a"], PRODUCER, 0)).await, Ok(0));
    let gap = client.produce(sequenced(&["e"], PRODUCER, 4)).await;
    assert_eq!(gap, Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));
    for sequence in 3..8 {
        client.produce(sequenced(&["x"], PRODUCER, sequence)).await.unwrap();
    }
    let old = client.produce(sequenced(&["a"], PRODUCER, 0)).await;
    assert_eq!(old, Err(ErrorCode::DUPLICATE_SEQUENCE_NUMBER));
    let newer = ProducerIdentity { epoch: 1, ..PRODUCER };
    assert_eq!(client.produce(sequenced(&["n"], newer, 0)).await, Ok(8));
    let fenced = client.produce(sequenced(&["x"], PRODUCER, 8)).await;
    assert_eq!(fenced, Err(ErrorCode::INVALID_PRODUCER_EPOCH));
    assert_eq!(cluster.offsets("t", 0), Some(0..9));
    cluster.forget_producers("t", 0).unwrap();
    assert_eq!(client.produce(sequenced(&["x"], PRODUCER, 77)).await, Ok(9));
}

#[tokio::test]
async fn acks_decide_who_is_told_and_who_must_be_in_sync() {
    let cluster = in_memory().nodes(2).start().await.unwrap();
    cluster.create_topic(TopicSpec::new("t").config("min.insync.replicas", "2")).unwrap();
    let mut client = RawClient::connect(&cluster, 1);
    cluster.stop_node(BrokerId(2)).await.unwrap();
    let with = |acks| ProduceRequest { acks, ..produce("t", 0, batch(&["a"])) };
    for (acks, expected) in [
        (-1, Err(ErrorCode::NOT_ENOUGH_REPLICAS)),
        (1, Ok(0)),
        (2, Err(ErrorCode::INVALID_REQUIRED_ACKS)),
    ] {
        let response = client.call(&with(acks), 9).await;
        assert_eq!(outcome(&response.responses[0].partition_responses[0]), expected, "{acks}");
    }
    client.send(&with(0), 9).await;
    client.send(&with(1), 9).await;
    let frame = client.frame().await.unwrap();
    assert_eq!(frame[..4], 5_i32.to_be_bytes(), "only the second has a response");
    assert_eq!(cluster.offsets("t", 0), Some(0..3));
    cluster.restart_node(BrokerId(2)).await.unwrap();
    client.send(&with(-1), 9).await;
    client.frame().await.unwrap();
    assert_eq!(cluster.offsets("t", 0), Some(0..4));
}

#[tokio::test]
async fn a_failure_with_acks_0_closes_the_connection() {
    let (cluster, mut client) = one_node().await;
    let request = ProduceRequest { acks: 0, ..produce("u", 0, batch(&["a"])) };
    client.send(&request, 9).await;
    assert!(client.is_closed().await);
    let told = cluster.events().iter().any(|event| {
        matches!(event, Event::Disconnected { reason: Some(reason), .. }
            if reason.contains("UNKNOWN_TOPIC_OR_PARTITION"))
    });
    assert!(told, "{:?}", cluster.events());
}

#[tokio::test]
async fn a_node_that_does_not_lead_says_who_does() {
    let cluster = several_nodes(3).await;
    cluster.move_leader("t", 0, BrokerId(3)).unwrap();
    let mut client = RawClient::connect(&cluster, 1);
    let old = client.call(&produce("t", 0, batch(&["a"])), 9).await;
    let code = ErrorCode::NOT_LEADER_OR_FOLLOWER;
    assert_eq!(old.responses[0].partition_responses[0].error_code, code);
    assert_eq!(old.node_endpoints, []);
    let new = client.call(&produce("t", 0, batch(&["a"])), 10).await;
    let refused = &new.responses[0].partition_responses[0];
    assert_eq!(refused.error_code, code);
    assert_eq!((refused.current_leader.leader_id, refused.current_leader.leader_epoch), (3, 1));
    assert_eq!(new.node_endpoints.len(), 1);
    let endpoint = &new.node_endpoints[0];
    assert_eq!((endpoint.node_id, &*endpoint.host), (3, "broker-3.milena.internal"));
    let mut leader = RawClient::connect(&cluster, 3);
    assert_eq!(leader.produce(batch(&["a"])).await, Ok(0));
    assert_eq!(cluster.batches("t", 0)[0].leader_epoch, 1);
}

#[tokio::test]
async fn log_append_time_is_answered() {
    let cluster = in_memory().start().await.unwrap();
    let spec = TopicSpec::new("t").config("message.timestamp.type", "LogAppendTime");
    cluster.create_topic(spec).unwrap();
    let mut client = RawClient::connect(&cluster, 1);
    let old = build(&[(7, None, "a")], Compression::None, |_| {});
    let response = client.call(&produce("t", 0, old), 9).await;
    let time = response.responses[0].partition_responses[0].log_append_time_ms;
    assert!(time >= NOW, "{time}");
    assert_eq!(cluster.records("t", 0)[0].timestamp, time);
}
