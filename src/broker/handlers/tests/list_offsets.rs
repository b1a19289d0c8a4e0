use crate::broker::testing::{NOW, RawClient, batch, build, one_node, several_nodes};
use crate::error::ErrorCode;
use crate::protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use crate::types::{BrokerId, Compression};

pub(super) fn ask(topic: &str, partitions: &[i32], timestamp: i64) -> ListOffsetsRequest {
    let partition = |&partition_index: &i32| ListOffsetsPartition {
        partition_index,
        timestamp,
        ..Default::default()
    };
    ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: topic.to_owned(),
            partitions: partitions.iter().map(partition).collect(),
        }],
        ..Default::default()
    }
}

#[tokio::test]
async fn offsets_are_found_by_time_and_at_the_ends() {
    let (cluster, mut client) = one_node().await;
    let records = [(NOW + 10, None, "a"), (NOW + 30, None, "b"), (NOW + 20, None, "c")];
    client.produce(build(&records, Compression::Lz4, |_| {})).await.unwrap();
    client.produce(build(&[(NOW + 30, None, "d")], Compression::None, |_| {})).await.unwrap();
    client.produce(build(&[(NOW + 5, None, "e")], Compression::None, |_| {})).await.unwrap();
    cluster.delete_records("t", 0, 1).unwrap();
    for (asked, offset, timestamp) in [
        (-1, 5, -1),
        (-2, 1, -1),
        (-3, 1, NOW + 30),
        (-4, 1, -1),
        (-5, -1, -1),
        (-6, -1, -1),
        (0, 1, NOW + 30),
        (NOW + 10, 1, NOW + 30),
        (NOW + 30, 1, NOW + 30),
        (NOW + 31, -1, -1),
    ] {
        let response = client.call(&ask("t", &[0], asked), 11).await;
        let found = &response.topics[0].partitions[0];
        assert_eq!(found.error_code, ErrorCode::NONE);
        assert_eq!((found.offset, found.timestamp), (offset, timestamp), "{asked}");
    }
}

#[tokio::test]
async fn special_times_have_their_versions() {
    let (_cluster, mut client) = one_node().await;
    for (asked, from) in [(-1, 1), (-2, 1), (-3, 7), (-4, 8), (-5, 9), (-6, 11), (-7, 99)] {
        for version in 1..=11 {
            let response = client.call(&ask("t", &[0], asked), version).await;
            let known = response.topics[0].partitions[0].error_code;
            let expected =
                if version >= from { ErrorCode::NONE } else { ErrorCode::UNSUPPORTED_VERSION };
            assert_eq!(known, expected, "{asked} in version {version}");
        }
    }
}

#[tokio::test]
async fn epochs_are_told_and_compared() {
    let cluster = several_nodes(2).await;
    let mut first = RawClient::connect(&cluster, 1);
    first.produce(batch(&["a"])).await.unwrap();
    cluster.move_leader("t", 0, BrokerId(2)).unwrap();
    let mut client = RawClient::connect(&cluster, 2);
    let mut epoch_of = async |timestamp, version| {
        let response = client.call(&ask("t", &[0], timestamp), version).await;
        response.topics[0].partitions[0].leader_epoch
    };
    assert_eq!(epoch_of(-1, 4).await, 1, "that of the leader");
    assert_eq!(epoch_of(-2, 4).await, 0, "that of the first record");
    assert_eq!(epoch_of(NOW, 4).await, 0);
    assert_eq!(epoch_of(-1, 3).await, -1);
    let response = first.call(&ask("t", &[0], -1), 5).await;
    let code = response.topics[0].partitions[0].error_code;
    assert_eq!(code, ErrorCode::NOT_LEADER_OR_FOLLOWER);
    let mut fenced = ask("t", &[0], -1);
    fenced.topics[0].partitions[0].current_leader_epoch = 0;
    let response = client.call(&fenced, 5).await;
    assert_eq!(response.topics[0].partitions[0].error_code, ErrorCode::FENCED_LEADER_EPOCH);
}

#[tokio::test]
async fn what_is_not_there_or_asked_twice_is_refused() {
    let (_cluster, mut client) = one_node().await;
    let response = client.call(&ask("t", &[0, 7], -1), 5).await;
    let codes: Vec<_> = response.topics[0].partitions.iter().map(|p| p.error_code).collect();
    assert_eq!(codes, [ErrorCode::NONE, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION]);
    let response = client.call(&ask("t", &[0, 0], -1), 5).await;
    assert!(
        response.topics[0].partitions.iter().all(|p| p.error_code == ErrorCode::INVALID_REQUEST)
    );
    let response = client.call(&ask("u", &[0], -1), 5).await;
    let code = response.topics[0].partitions[0].error_code;
    assert_eq!(code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
}
