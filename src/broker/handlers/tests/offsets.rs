//! OffsetCommit and OffsetFetch over an in-memory stream, in the forms of all their versions.

use tokio::io::DuplexStream;

use crate::broker::testing::{RawClient, one_node, several_nodes};
use crate::broker::{ApiKey, Cluster, Fault};
use crate::error::ErrorCode;
use crate::protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use crate::protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use crate::types::{BrokerId, TopicId, TopicPartition};

fn commit(cluster: &Cluster, topic: &str, offsets: &[(i32, i64)]) -> OffsetCommitRequest {
    let partitions =
        offsets.iter().map(|&(partition_index, committed_offset)| OffsetCommitRequestPartition {
            partition_index,
            committed_offset,
            committed_leader_epoch: 4,
            committed_metadata: Some("note".to_owned()),
        });
    OffsetCommitRequest {
        group_id: "g".to_owned(),
        topics: vec![OffsetCommitRequestTopic {
            name: topic.to_owned(),
            topic_id: cluster.topic_id(topic).unwrap_or(TopicId([7; 16])),
            partitions: partitions.collect(),
        }],
        ..Default::default()
    }
}

/// What an OffsetFetch tells of partitions of `t`: offset, epoch, metadata, error.
async fn fetch(
    cluster: &Cluster,
    client: &mut RawClient<DuplexStream>,
    indexes: Option<&[i32]>,
    version: i16,
) -> (ErrorCode, Vec<(i64, i32, String, ErrorCode)>) {
    let topics = indexes.map(<[i32]>::to_vec).map(|partition_indexes| {
        vec![OffsetFetchRequestTopics {
            name: "t".to_owned(),
            topic_id: cluster.topic_id("t").unwrap_or_default(),
            partition_indexes,
        }]
    });
    if version >= 8 {
        let group =
            OffsetFetchRequestGroup { group_id: "g".to_owned(), topics, ..Default::default() };
        let request = OffsetFetchRequest { groups: vec![group], ..Default::default() };
        let response = client.call(&request, version).await.groups.remove(0);
        assert_eq!(response.group_id, "g");
        let partitions = response.topics.into_iter().flat_map(|topic| topic.partitions);
        let told = partitions.map(|p| {
            (p.committed_offset, p.committed_leader_epoch, p.metadata.unwrap(), p.error_code)
        });
        return (response.error_code, told.collect());
    }
    let topics = topics.map(|topics| {
        let older = topics.into_iter().map(|topic| OffsetFetchRequestTopic {
            name: topic.name,
            partition_indexes: topic.partition_indexes,
        });
        older.collect()
    });
    let request = OffsetFetchRequest { group_id: "g".to_owned(), topics, ..Default::default() };
    let response = client.call(&request, version).await;
    let partitions = response.topics.into_iter().flat_map(|topic| topic.partitions);
    let told = partitions
        .map(|p| (p.committed_offset, p.committed_leader_epoch, p.metadata.unwrap(), p.error_code));
    (response.error_code, told.collect())
}

#[tokio::test]
async fn what_is_committed_in_any_version_is_fetched_in_any() {
    let ok = ErrorCode::NONE;
    for version in 2..=10 {
        let (cluster, mut client) = one_node().await;
        let response = client.call(&commit(&cluster, "t", &[(0, 42), (1, 5)]), version).await;
        let codes: Vec<_> = response.topics[0].partitions.iter().map(|p| p.error_code).collect();
        assert_eq!(codes, [ok, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION], "version {version}");
        let epoch = if version >= 6 { 4 } else { -1 };
        for fetched in 1..=10 {
            let shown = if fetched >= 5 { epoch } else { -1 };
            let stored = (42, shown, "note".to_owned(), ok);
            let none = (-1, -1, String::new(), ok);
            let told = fetch(&cluster, &mut client, Some(&[0, 1]), fetched).await;
            assert_eq!(told, (ok, vec![stored.clone(), none]), "{version} {fetched}");
            if fetched >= 2 {
                let all = fetch(&cluster, &mut client, None, fetched).await;
                assert_eq!(all, (ok, vec![stored]), "{version} {fetched}");
            }
        }
        let offsets = cluster.group("g").unwrap().offsets;
        assert_eq!(offsets[&TopicPartition::new("t", 0)].offset, 42);
        assert_eq!(offsets.len(), 1);
    }
}

#[tokio::test]
async fn commits_that_cannot_be_are_refused() {
    let (cluster, mut client) = one_node().await;
    let long = "x".repeat(4097);
    let mut too_long = commit(&cluster, "t", &[(0, 1)]);
    too_long.topics[0].partitions[0].committed_metadata = Some(long);
    let unknown = commit(&cluster, "u", &[(0, 1)]);
    let member = OffsetCommitRequest {
        generation_id_or_member_epoch: 3,
        member_id: "m".to_owned(),
        ..commit(&cluster, "t", &[(0, 1)])
    };
    for (request, version, expected) in [
        (&too_long, 9, ErrorCode::OFFSET_METADATA_TOO_LARGE),
        (&unknown, 9, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        (&unknown, 10, ErrorCode::UNKNOWN_TOPIC_ID),
        (&member, 8, ErrorCode::UNKNOWN_MEMBER_ID),
    ] {
        let response = client.call(request, version).await;
        assert_eq!(response.topics[0].partitions[0].error_code, expected);
    }
    assert!(cluster.group("g").unwrap().offsets.is_empty());
    let missing = OffsetCommitRequest { group_id: "none".to_owned(), ..member };
    for (version, expected) in
        [(8, ErrorCode::ILLEGAL_GENERATION), (9, ErrorCode::GROUP_ID_NOT_FOUND)]
    {
        let response = client.call(&missing, version).await;
        assert_eq!(response.topics[0].partitions[0].error_code, expected);
    }
}

#[tokio::test]
async fn offsets_move_with_the_group_and_go_with_the_topic() {
    let cluster = several_nodes(2).await;
    let node = cluster.coordinator("g").unwrap();
    let other = BrokerId(3 - node.0);
    let (mut here, mut there) =
        (RawClient::connect(&cluster, node.0), RawClient::connect(&cluster, other.0));
    let refused = there.call(&commit(&cluster, "t", &[(0, 9)]), 9).await;
    assert_eq!(refused.topics[0].partitions[0].error_code, ErrorCode::NOT_COORDINATOR);
    for (version, expected) in [
        (1, (ErrorCode::NONE, vec![(-1, -1, String::new(), ErrorCode::NOT_COORDINATOR)])),
        (2, (ErrorCode::NOT_COORDINATOR, vec![])),
        (9, (ErrorCode::NOT_COORDINATOR, vec![])),
    ] {
        assert_eq!(fetch(&cluster, &mut there, Some(&[0]), version).await, expected);
    }
    here.call(&commit(&cluster, "t", &[(0, 9)]), 9).await;
    cluster.stop_node(node).await.unwrap();
    let (_, told) = fetch(&cluster, &mut there, Some(&[0]), 9).await;
    assert_eq!(told[0].0, 9);
    cluster.delete_topic("t").unwrap();
    assert!(cluster.group("g").unwrap().offsets.is_empty());
}

#[tokio::test]
async fn faults_strike_offsets_of_one_partition_or_all() {
    let (cluster, mut client) = one_node().await;
    cluster.create_topic(("two", 2)).unwrap();
    let code = ErrorCode::COORDINATOR_LOAD_IN_PROGRESS;
    cluster.inject(Fault::error(ApiKey::OFFSET_COMMIT, code).on_partition("two", 1));
    let response = client.call(&commit(&cluster, "two", &[(0, 1), (1, 1)]), 9).await;
    let codes: Vec<_> = response.topics[0].partitions.iter().map(|p| p.error_code).collect();
    assert_eq!(codes, [ErrorCode::NONE, code]);
    cluster.inject(Fault::error(ApiKey::OFFSET_FETCH, code));
    assert_eq!(fetch(&cluster, &mut client, Some(&[0]), 9).await, (code, vec![]));
    cluster.inject(Fault::error(ApiKey::OFFSET_FETCH, code).on_partition("t", 0));
    let (whole, told) = fetch(&cluster, &mut client, Some(&[0]), 9).await;
    assert_eq!((whole, told[0].3), (ErrorCode::NONE, code));
}
