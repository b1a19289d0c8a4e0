use crate::broker::testing::{RawClient, batch, several_nodes};
use crate::error::ErrorCode;
use crate::protocol::messages::offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use crate::types::BrokerId;

fn ask(partition: i32, current: i32, leader_epoch: i32) -> OffsetForLeaderEpochRequest {
    let asked = OffsetForLeaderPartition { partition, current_leader_epoch: current, leader_epoch };
    OffsetForLeaderEpochRequest {
        replica_id: -1,
        topics: vec![OffsetForLeaderTopic { topic: "t".to_owned(), partitions: vec![asked] }],
    }
}

#[tokio::test]
async fn the_end_of_an_epoch_is_told_to_who_knows_the_leader() {
    let cluster = several_nodes(2).await;
    let mut old = RawClient::connect(&cluster, 1);
    old.produce(batch(&["a", "b"])).await.unwrap();
    cluster.move_leader("t", 0, BrokerId(2)).unwrap();
    let mut client = RawClient::connect(&cluster, 2);
    client.produce(batch(&["c"])).await.unwrap();
    for (partition, current, epoch, expected) in [
        (0, 1, 0, (ErrorCode::NONE, 0, 2)),
        (0, 1, 1, (ErrorCode::NONE, 1, 3)),
        (0, -1, 0, (ErrorCode::NONE, 0, 2)),
        (0, 1, 2, (ErrorCode::NONE, -1, -1)),
        (0, 1, -1, (ErrorCode::NONE, -1, -1)),
        (0, 0, 0, (ErrorCode::FENCED_LEADER_EPOCH, -1, -1)),
        (0, 2, 0, (ErrorCode::UNKNOWN_LEADER_EPOCH, -1, -1)),
        (7, 1, 0, (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, -1, -1)),
    ] {
        for version in 2..=4 {
            let response = client.call(&ask(partition, current, epoch), version).await;
            let found = &response.topics[0].partitions[0];
            let found = (found.error_code, found.leader_epoch, found.end_offset);
            assert_eq!(found, expected, "epoch {epoch} at {current}, version {version}");
        }
    }
    let response = old.call(&ask(0, 1, 0), 4).await;
    let code = response.topics[0].partitions[0].error_code;
    assert_eq!(code, ErrorCode::NOT_LEADER_OR_FOLLOWER);
}

#[tokio::test]
async fn after_an_unclean_election_the_old_epoch_ends_where_the_new_one_begins() {
    let cluster = several_nodes(2).await;
    let mut old = RawClient::connect(&cluster, 1);
    old.produce(batch(&["a", "b"])).await.unwrap();
    old.produce(batch(&["c"])).await.unwrap();
    assert_eq!(cluster.elect_uncleanly("t", 0, 2).unwrap(), 2);
    assert_eq!(cluster.leader("t", 0), Some((BrokerId(2), 1)));
    let mut client = RawClient::connect(&cluster, 2);
    client.produce(batch(&["d"])).await.unwrap();
    let response = client.call(&ask(0, 1, 0), 4).await;
    let found = &response.topics[0].partitions[0];
    assert_eq!((found.leader_epoch, found.end_offset), (0, 2), "a reader at 3 read what is gone");
    let values: Vec<_> = cluster.records("t", 0).into_iter().filter_map(|r| r.value).collect();
    assert_eq!(values, ["a", "b", "d"]);
    let truncated = crate::broker::Event::Truncated {
        partition: crate::types::TopicPartition::new("t", 0),
        end_offset: 2,
    };
    assert!(cluster.events().contains(&truncated));
    assert!(cluster.elect_uncleanly("u", 0, 0).is_err());
}
