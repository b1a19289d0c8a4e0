//! Groups as administrators see them, in the forms of all versions.

use bytes::Bytes;
use tokio::io::DuplexStream;

use crate::broker::testing::{RawClient, several_nodes};
use crate::broker::{ApiKey, Cluster, Fault};
use crate::error::ErrorCode;
use crate::protocol::messages::consumer_group_describe::ConsumerGroupDescribeRequest;
use crate::protocol::messages::consumer_group_heartbeat::ConsumerGroupHeartbeatRequest;
use crate::protocol::messages::delete_groups::DeleteGroupsRequest;
use crate::protocol::messages::describe_groups::{DescribeGroupsRequest, DescribedGroup};
use crate::protocol::messages::join_group::{JoinGroupRequest, JoinGroupRequestProtocol};
use crate::protocol::messages::list_groups::ListGroupsRequest;
use crate::protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use crate::protocol::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use crate::protocol::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use crate::types::TopicPartition;

const SUBSCRIBED_TO_T: &[u8] = b"\0\x01\0\0\0\x01\0\x01t\xFF\xFF\xFF\xFF";

/// A connection to the node that coordinates the group.
fn coordinator(cluster: &Cluster, group: &str) -> RawClient<DuplexStream> {
    RawClient::connect(cluster, cluster.coordinator(group).unwrap().0)
}

/// Makes `classic`, with a static member, one protocol type and the topic `t`. Gives the member's id.
async fn join(cluster: &Cluster, protocol_type: &str) -> String {
    let mut client = coordinator(cluster, "classic");
    let metadata = Bytes::from_static(SUBSCRIBED_TO_T);
    let request = JoinGroupRequest {
        group_id: "classic".to_owned(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        group_instance_id: Some("one".to_owned()),
        protocol_type: protocol_type.to_owned(),
        protocols: vec![JoinGroupRequestProtocol { name: "range".to_owned(), metadata }],
        ..Default::default()
    };
    let joined = client.call(&request, 5).await;
    assert_eq!(joined.error_code, ErrorCode::NONE);
    let (member_id, assignment) = (joined.member_id.clone(), Bytes::from_static(b"mine"));
    let request = SyncGroupRequest {
        group_id: "classic".to_owned(),
        generation_id: joined.generation_id,
        member_id: member_id.clone(),
        group_instance_id: Some("one".to_owned()),
        assignments: vec![SyncGroupRequestAssignment { member_id, assignment }],
        ..Default::default()
    };
    assert_eq!(client.call(&request, 3).await.error_code, ErrorCode::NONE);
    joined.member_id
}

/// Makes `modern`, with a member that reads `t`.
async fn beat(cluster: &Cluster) {
    let request = ConsumerGroupHeartbeatRequest {
        group_id: "modern".to_owned(),
        member_id: "me".to_owned(),
        rack_id: Some("east".to_owned()),
        rebalance_timeout_ms: 10_000,
        subscribed_topic_names: Some(vec!["t".to_owned()]),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    };
    let told = coordinator(cluster, "modern").call(&request, 1).await;
    assert_eq!(told.error_code, ErrorCode::NONE, "{:?}", told.error_message);
}

/// Commits an offset of `t-0` or `u-0` as nobody.
async fn commit(cluster: &Cluster, group: &str, topic: &str) -> ErrorCode {
    let partition = OffsetCommitRequestPartition {
        partition_index: 0,
        committed_offset: 3,
        ..Default::default()
    };
    let topic = OffsetCommitRequestTopic {
        name: topic.to_owned(),
        partitions: vec![partition],
        ..Default::default()
    };
    let request = OffsetCommitRequest {
        group_id: group.to_owned(),
        topics: vec![topic],
        ..Default::default()
    };
    let told = coordinator(cluster, group).call(&request, 8).await;
    told.topics[0].partitions[0].error_code
}

async fn cluster() -> Cluster {
    let cluster = several_nodes(3).await;
    cluster.create_topic("u").unwrap();
    cluster
}

/// Name, protocol type, state and type of the groups that all nodes list together.
async fn list(
    cluster: &Cluster,
    version: i16,
    states: &[&str],
    types: &[&str],
) -> Vec<[String; 4]> {
    let owned = |filter: &[&str]| filter.iter().map(ToString::to_string).collect();
    let request = ListGroupsRequest { states_filter: owned(states), types_filter: owned(types) };
    let mut all = Vec::new();
    for node in 1..=3 {
        let told = RawClient::connect(cluster, node).call(&request, version).await;
        assert_eq!(told.error_code, ErrorCode::NONE);
        all.extend(told.groups.into_iter().map(|group| {
            [group.group_id, group.protocol_type, group.group_state, group.group_type]
        }));
    }
    all.sort();
    all
}

#[tokio::test]
async fn each_node_lists_the_groups_that_it_coordinates() {
    let cluster = cluster().await;
    join(&cluster, "consumer").await;
    beat(&cluster).await;
    assert_eq!(commit(&cluster, "bare", "t").await, ErrorCode::NONE);
    let bare = ["bare", "", "Empty", "classic"];
    let classic = ["classic", "consumer", "Stable", "classic"];
    let modern = ["modern", "consumer", "Stable", "consumer"];
    for version in 0..=5 {
        let known = |group: [&'static str; 4]| {
            let [name, protocol, state, kind] = group;
            let state = if version >= 4 { state } else { "" };
            [name, protocol, state, if version >= 5 { kind } else { "" }]
        };
        assert_eq!(list(&cluster, version, &[], &[]).await, [bare, classic, modern].map(known));
    }
    assert_eq!(list(&cluster, 5, &["stable", "Dead"], &[]).await, [classic, modern]);
    assert_eq!(list(&cluster, 5, &[], &["Classic"]).await, [bare, classic]);
    assert_eq!(list(&cluster, 5, &["EMPTY"], &["consumer"]).await, [[""; 4]; 0]);
    assert_eq!(list(&cluster, 5, &[], &["share"]).await, [[""; 4]; 0]);

    cluster.inject(Fault::error(ApiKey::LIST_GROUPS, ErrorCode::COORDINATOR_LOAD_IN_PROGRESS));
    let told = RawClient::connect(&cluster, 1).call(&ListGroupsRequest::default(), 5).await;
    assert_eq!(told.error_code, ErrorCode::COORDINATOR_LOAD_IN_PROGRESS);
}

async fn describe(cluster: &Cluster, group: &str, version: i16) -> DescribedGroup {
    let request = DescribeGroupsRequest { groups: vec![group.to_owned()], ..Default::default() };
    let mut told = coordinator(cluster, group).call(&request, version).await;
    told.groups.remove(0)
}

#[tokio::test]
async fn a_classic_group_is_described_with_what_its_members_sent_and_were_given() {
    let cluster = cluster().await;
    let id = join(&cluster, "consumer").await;
    for version in 0..=6 {
        let group = describe(&cluster, "classic", version).await;
        assert_eq!((group.error_code, group.error_message), (ErrorCode::NONE, None));
        let told = [group.group_state, group.protocol_type, group.protocol_data];
        assert_eq!(told, ["Stable", "consumer", "range"]);
        let [member] = &group.members[..] else { panic!("{:?}", group.members) };
        assert_eq!([&*member.member_id, &member.client_id], [&*id, "raw"]);
        assert_eq!(member.group_instance_id.as_deref(), (version >= 4).then_some("one"));
        assert_eq!(member.member_metadata, SUBSCRIBED_TO_T);
        assert_eq!(member.member_assignment, &b"mine"[..]);
    }
    // What is agreed on is told when it is: here another joins.
    let mut other = coordinator(&cluster, "classic");
    let protocol = JoinGroupRequestProtocol { name: "range".to_owned(), metadata: Bytes::new() };
    let request = JoinGroupRequest {
        group_id: "classic".to_owned(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        protocol_type: "consumer".to_owned(),
        protocols: vec![protocol],
        ..Default::default()
    };
    other.send(&request, 3).await;
    cluster.group_is("classic", |group| group.members.len() == 2).await;
    let group = describe(&cluster, "classic", 5).await;
    assert_eq!([&*group.group_state, &group.protocol_data], ["PreparingRebalance", ""]);
    assert!(
        group
            .members
            .iter()
            .all(|m| m.member_metadata.is_empty() && m.member_assignment.is_empty())
    );

    beat(&cluster).await;
    for (name, why) in [("nobody", "not found"), ("modern", "is not a classic group")] {
        let group = describe(&cluster, name, 5).await;
        assert_eq!((group.error_code, &*group.group_state), (ErrorCode::NONE, "Dead"));
        let group = describe(&cluster, name, 6).await;
        assert_eq!(group.error_code, ErrorCode::GROUP_ID_NOT_FOUND);
        assert_eq!(group.error_message.unwrap(), format!("Group {name} {why}."));
    }
    let elsewhere = 1 + cluster.coordinator("classic").unwrap().0 % 3;
    let request =
        DescribeGroupsRequest { groups: vec!["classic".to_owned()], ..Default::default() };
    let told = RawClient::connect(&cluster, elsewhere).call(&request, 6).await;
    assert_eq!(told.groups[0].error_code, ErrorCode::NOT_COORDINATOR);
}

#[tokio::test]
async fn a_group_of_the_new_protocol_is_described_with_what_its_members_have_and_shall_have() {
    let cluster = cluster().await;
    beat(&cluster).await;
    for version in 0..=1 {
        let request = ConsumerGroupDescribeRequest {
            group_ids: vec!["modern".to_owned()],
            ..Default::default()
        };
        let told = coordinator(&cluster, "modern").call(&request, version).await;
        let group = &told.groups[0];
        assert_eq!([&*group.group_state, &group.assignor_name], ["Stable", "uniform"]);
        assert_eq!((group.group_epoch, group.assignment_epoch), (1, 1));
        let [member] = &group.members[..] else { panic!("{:?}", group.members) };
        assert_eq!([&*member.member_id, &member.client_id], ["me", "raw"]);
        assert_eq!((member.member_epoch, member.rack_id.as_deref()), (1, Some("east")));
        assert_eq!(
            (&member.subscribed_topic_names[..], &member.subscribed_topic_regex),
            (&["t".to_owned()][..], &None)
        );
        assert_eq!(member.member_type, if version >= 1 { 1 } else { -1 });
        for assignment in [&member.assignment, &member.target_assignment] {
            let [topic] = &assignment.topic_partitions[..] else { panic!("{assignment:?}") };
            assert_eq!((&*topic.topic_name, &topic.partitions[..]), ("t", &[0][..]));
            assert_eq!(Some(topic.topic_id), cluster.topic_id("t"));
        }
    }
    join(&cluster, "consumer").await;
    for (name, code, message) in [
        ("nobody", ErrorCode::GROUP_ID_NOT_FOUND, "Group nobody not found."),
        ("classic", ErrorCode::GROUP_ID_NOT_FOUND, "Group classic is not a consumer group."),
        ("", ErrorCode::INVALID_GROUP_ID, ErrorCode::INVALID_GROUP_ID.description()),
    ] {
        let request =
            ConsumerGroupDescribeRequest { group_ids: vec![name.to_owned()], ..Default::default() };
        let told = coordinator(&cluster, name).call(&request, 1).await;
        assert_eq!(
            (told.groups[0].error_code, told.groups[0].error_message.as_deref()),
            (code, Some(message))
        );
    }
}

async fn delete(cluster: &Cluster, group: &str) -> ErrorCode {
    let request = DeleteGroupsRequest { groups_names: vec![group.to_owned()] };
    let told = coordinator(cluster, group).call(&request, 2).await;
    assert_eq!(told.results[0].group_id, group);
    told.results[0].error_code
}

#[tokio::test(start_paused = true)]
async fn only_groups_without_members_are_deleted() {
    let cluster = cluster().await;
    join(&cluster, "consumer").await;
    beat(&cluster).await;
    for group in ["classic", "modern"] {
        assert_eq!(delete(&cluster, group).await, ErrorCode::NON_EMPTY_GROUP);
    }
    // Their sessions end without a word.
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    for group in ["classic", "modern"] {
        assert_eq!(commit(&cluster, group, "t").await, ErrorCode::NONE);
        assert_eq!(delete(&cluster, group).await, ErrorCode::NONE);
        assert_eq!(cluster.group(group), None);
        assert_eq!(delete(&cluster, group).await, ErrorCode::GROUP_ID_NOT_FOUND);
    }
}

/// The group's code, then those of `t-0`, `u-0` and of a partition that there is not.
async fn delete_offsets(cluster: &Cluster, group: &str) -> (ErrorCode, Vec<ErrorCode>) {
    let topic = |(name, partition_index): (&str, i32)| OffsetDeleteRequestTopic {
        name: name.to_owned(),
        partitions: vec![OffsetDeleteRequestPartition { partition_index }],
    };
    let topics = [("t", 0), ("u", 0), ("u", 7)].map(topic).into();
    let request = OffsetDeleteRequest { group_id: group.to_owned(), topics };
    let told = coordinator(cluster, group).call(&request, 0).await;
    let codes = told.topics.iter().flat_map(|topic| &topic.partitions);
    (told.error_code, codes.map(|partition| partition.error_code).collect())
}

#[tokio::test]
async fn offsets_are_deleted_of_topics_that_no_member_reads() {
    let cluster = cluster().await;
    let ok = ErrorCode::NONE;
    let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
    let offsets = |group: &str| {
        let offsets = cluster.group(group).unwrap().offsets.into_keys();
        offsets.map(|at: TopicPartition| at.topic).collect::<Vec<_>>()
    };
    for group in ["classic", "modern"] {
        for topic in ["t", "u"] {
            assert_eq!(commit(&cluster, group, topic).await, ok);
        }
    }
    join(&cluster, "consumer").await;
    beat(&cluster).await;
    for group in ["classic", "modern"] {
        let told = delete_offsets(&cluster, group).await;
        assert_eq!(told, (ok, vec![ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC, ok, unknown]), "{group}");
        assert_eq!(offsets(group), ["t"]);
    }
    assert_eq!(delete_offsets(&cluster, "nobody").await, (ErrorCode::GROUP_ID_NOT_FOUND, vec![]));
    assert_eq!(commit(&cluster, "bare", "t").await, ok);
    assert_eq!(delete_offsets(&cluster, "bare").await, (ok, vec![ok, ok, unknown]));
    assert_eq!(offsets("bare"), [""; 0]);
}

#[tokio::test]
async fn members_that_are_no_consumers_keep_all_offsets() {
    let cluster = cluster().await;
    assert_eq!(commit(&cluster, "classic", "u").await, ErrorCode::NONE);
    join(&cluster, "connect").await;
    assert_eq!(delete_offsets(&cluster, "classic").await, (ErrorCode::NON_EMPTY_GROUP, vec![]));
    assert_eq!(cluster.group("classic").unwrap().offsets.len(), 1);
}
