//! Group coordination over an in-memory stream: parked answers, the right node, the forms of the versions.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::DuplexStream;

use crate::broker::testing::{RawClient, one_node, several_nodes};
use crate::broker::{ApiKey, Cluster, Fault, GroupType};
use crate::error::ErrorCode;
use crate::protocol::messages::consumer_group_heartbeat::ConsumerGroupHeartbeatRequest;
use crate::protocol::messages::find_coordinator::FindCoordinatorRequest;
use crate::protocol::messages::heartbeat::HeartbeatRequest;
use crate::protocol::messages::join_group::{
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse,
};
use crate::protocol::messages::leave_group::{LeaveGroupRequest, MemberIdentity};
use crate::protocol::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use crate::types::{BrokerId, TopicPartition};

fn join(member_id: &str) -> JoinGroupRequest {
    let metadata = Bytes::from_static(b"metadata");
    JoinGroupRequest {
        group_id: "g".to_owned(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        member_id: member_id.to_owned(),
        protocol_type: "consumer".to_owned(),
        protocols: vec![JoinGroupRequestProtocol { name: "range".to_owned(), metadata }],
        ..Default::default()
    }
}

fn sync(member: &JoinGroupResponse, assigned: &[(&str, Bytes)]) -> SyncGroupRequest {
    let assigned = assigned.iter().map(|(id, assignment)| SyncGroupRequestAssignment {
        member_id: (*id).to_owned(),
        assignment: assignment.clone(),
    });
    SyncGroupRequest {
        group_id: "g".to_owned(),
        generation_id: member.generation_id,
        member_id: member.member_id.clone(),
        assignments: assigned.collect(),
        ..Default::default()
    }
}

/// `t-0` in a consumer's assignment.
fn t_0() -> Bytes {
    Bytes::from_static(b"\0\x01\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\0\xFF\xFF\xFF\xFF")
}

/// A member of the group `g` alone, and its connection.
pub(super) async fn member(cluster: &Cluster) -> (RawClient<DuplexStream>, JoinGroupResponse) {
    let node = cluster.coordinator("g").unwrap();
    let mut client = RawClient::connect(cluster, node.0);
    let joined = client.call(&join(""), 3).await;
    assert_eq!(joined.error_code, ErrorCode::NONE);
    let synced = client.call(&sync(&joined, &[(&joined.member_id, t_0())]), 2).await;
    assert_eq!((synced.error_code, synced.assignment), (ErrorCode::NONE, t_0()));
    (client, joined)
}

#[tokio::test]
async fn every_version_joins_and_syncs() {
    for version in 0..=9 {
        let (cluster, mut client) = one_node().await;
        let mut joined = client.call(&join(""), version).await;
        if version >= 4 {
            assert_eq!(joined.error_code, ErrorCode::MEMBER_ID_REQUIRED);
            joined = client.call(&join(&joined.member_id), version).await;
        }
        assert_eq!((joined.error_code, joined.generation_id), (ErrorCode::NONE, 1));
        let named = (version >= 7).then(|| "consumer".to_owned());
        assert_eq!(joined.protocol_type, named, "version {version}");
        let mut request = sync(&joined, &[(&joined.member_id, t_0())]);
        let unnamed = client.call(&request, version.min(5)).await.error_code;
        if version >= 5 {
            assert_eq!(unnamed, ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
            request.protocol_type = Some("consumer".to_owned());
            request.protocol_name = Some("range".to_owned());
        }
        let synced = client.call(&request, version.min(5)).await;
        assert_eq!(synced.assignment, t_0());
        let group = cluster.group("g").unwrap();
        assert_eq!((group.state.as_str(), group.generation), ("Stable", 1));
        assert_eq!(group.members[0].assignment, [TopicPartition::new("t", 0)]);
        assert_eq!(group.members[0].client_id, "raw");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rebalance_is_answered_when_time_is_up_and_nobody_asks() {
    let (cluster, _first) = one_node().await;
    let (mut first, one) = member(&cluster).await;
    let mut second = RawClient::connect(&cluster, 1);
    let begin = tokio::time::Instant::now();
    second.send(&join(""), 3).await;
    cluster.group_is("g", |group| group.state == "PreparingRebalance").await;
    let joined = second.receive::<JoinGroupRequest>(3).await;
    // The session of the first, which is silent, ends before the rebalance time-out.
    assert_eq!(begin.elapsed().as_secs(), 10);
    assert_eq!((joined.generation_id, joined.members.len()), (2, 1));
    let request = HeartbeatRequest {
        group_id: "g".to_owned(),
        generation_id: 1,
        member_id: one.member_id,
        group_instance_id: None,
    };
    assert_eq!(first.call(&request, 4).await.error_code, ErrorCode::UNKNOWN_MEMBER_ID);
    let empty = cluster.group_is("g", |group| group.state == "Empty").await;
    assert_eq!((empty.generation, empty.members.len()), (3, 0), "it never synced");
}

#[tokio::test]
async fn only_the_coordinator_answers_and_it_can_move() {
    let cluster = several_nodes(2).await;
    let (mut client, joined) = member(&cluster).await;
    let node = cluster.coordinator("g").unwrap();
    let other = BrokerId(3 - node.0);
    let beat = HeartbeatRequest {
        group_id: "g".to_owned(),
        generation_id: 1,
        member_id: joined.member_id.clone(),
        group_instance_id: None,
    };
    let mut elsewhere = RawClient::connect(&cluster, other.0);
    assert_eq!(elsewhere.call(&beat, 4).await.error_code, ErrorCode::NOT_COORDINATOR);
    assert_eq!(elsewhere.call(&join(""), 9).await.error_code, ErrorCode::NOT_COORDINATOR);

    let mut second = RawClient::connect(&cluster, node.0);
    second.send(&join(""), 3).await;
    cluster.group_is("g", |group| group.members.len() == 2).await;
    cluster.move_coordinator("g", other).unwrap();
    let refused = second.receive::<JoinGroupRequest>(3).await;
    assert_eq!(refused.error_code, ErrorCode::NOT_COORDINATOR);
    assert_eq!(client.call(&beat, 4).await.error_code, ErrorCode::NOT_COORDINATOR);
    assert_eq!(elsewhere.call(&beat, 4).await.error_code, ErrorCode::NONE);

    cluster.stop_node(other).await.unwrap();
    assert_eq!(client.call(&beat, 4).await.error_code, ErrorCode::NONE, "back again");
    let find = FindCoordinatorRequest { key: "g".to_owned(), ..Default::default() };
    assert_eq!(client.call(&find, 3).await.node_id, node.0);
    let refused = cluster.move_coordinator("g", other).unwrap_err();
    assert!(refused.to_string().contains("does not run"), "{refused}");
}

#[tokio::test]
async fn a_member_leaves_in_every_version() {
    for version in 0..=5 {
        let (cluster, _) = one_node().await;
        let (mut client, joined) = member(&cluster).await;
        let leaving = |id: &str| {
            let member = MemberIdentity { member_id: id.to_owned(), ..Default::default() };
            let (member_id, members) =
                if version < 3 { (id.to_owned(), vec![]) } else { (String::new(), vec![member]) };
            LeaveGroupRequest { group_id: "g".to_owned(), member_id, members }
        };
        for (id, expected) in
            [("x", ErrorCode::UNKNOWN_MEMBER_ID), (&joined.member_id, ErrorCode::NONE)]
        {
            let response = client.call(&leaving(id), version).await;
            let code = response.members.first().map_or(response.error_code, |m| m.error_code);
            assert_eq!(code, expected, "version {version}");
        }
        assert_eq!(cluster.group("g").unwrap().state, "Empty");
    }
}

#[tokio::test]
async fn faults_strike_group_requests() {
    let (cluster, mut client) = one_node().await;
    cluster.inject(Fault::error(ApiKey::JOIN_GROUP, ErrorCode::COORDINATOR_LOAD_IN_PROGRESS));
    let struck = client.call(&join(""), 3).await;
    assert_eq!(struck.error_code, ErrorCode::COORDINATOR_LOAD_IN_PROGRESS);
    assert_eq!(cluster.group("g"), None, "it was not applied");
    cluster.inject(Fault::error_after(ApiKey::JOIN_GROUP, ErrorCode::REQUEST_TIMED_OUT));
    assert_eq!(client.call(&join(""), 3).await.error_code, ErrorCode::REQUEST_TIMED_OUT);
    assert_eq!(cluster.group("g").unwrap().members.len(), 1, "it was applied");
}

/// A client that is gone while it waits counts as if it were there, as in Kafka, for as long as its kind may.
#[tokio::test(start_paused = true)]
async fn who_is_gone_while_it_waits_leaves_nothing_behind() {
    let (cluster, _) = one_node().await;
    let (mut first, one) = member(&cluster).await;
    let mut second = RawClient::connect(&cluster, 1);
    second.send(&join(""), 3).await;
    cluster.group_is("g", |group| group.members.len() == 2).await;
    drop(second);
    let again = first.call(&join(&one.member_id), 3).await;
    assert_eq!((again.generation_id, again.members.len()), (2, 2));
    let synced = first.call(&sync(&again, &[]), 2).await;
    assert_eq!(synced.error_code, ErrorCode::NONE);
    let beat = HeartbeatRequest {
        group_id: "g".to_owned(),
        generation_id: 2,
        member_id: again.member_id,
        group_instance_id: None,
    };
    for expected in [ErrorCode::NONE, ErrorCode::REBALANCE_IN_PROGRESS] {
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert_eq!(first.call(&beat, 4).await.error_code, expected);
    }
    assert_eq!(cluster.group("g").unwrap().members.len(), 1, "the other's session ended");
}

#[tokio::test]
async fn members_of_the_new_protocol_share_a_topic() {
    let cluster = several_nodes(2).await;
    cluster.create_topic(("two", 2)).unwrap();
    let node = cluster.coordinator("g").unwrap();
    let join = |id: &str| ConsumerGroupHeartbeatRequest {
        group_id: "g".to_owned(),
        member_id: id.to_owned(),
        rebalance_timeout_ms: 60_000,
        subscribed_topic_regex: Some("tw.".to_owned()),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    };
    let mut elsewhere = RawClient::connect(&cluster, 3 - node.0);
    let refused = elsewhere.call(&join("a"), 1).await;
    assert_eq!(refused.error_code, ErrorCode::NOT_COORDINATOR);
    assert!(refused.error_message.is_some());
    let mut client = RawClient::connect(&cluster, node.0);
    let told = client.call(&join("a"), 1).await;
    let given = told.assignment.unwrap().topic_partitions;
    assert_eq!(Some(given[0].topic_id), cluster.topic_id("two"));
    assert_eq!((told.member_epoch, &given[0].partitions[..]), (1, &[0, 1][..]));
    let group = cluster.group("g").unwrap();
    assert_eq!((group.group_type, group.state.as_str()), (GroupType::Consumer, "Stable"));
    assert_eq!(group.members[0].assignment, [0, 1].map(|n| TopicPartition::new("two", n)));
    // Growth is seen with the next heartbeat.
    cluster.add_partitions("two", 3).unwrap();
    let beat = ConsumerGroupHeartbeatRequest {
        group_id: "g".to_owned(),
        member_id: "a".to_owned(),
        member_epoch: 1,
        ..Default::default()
    };
    let told = client.call(&beat, 1).await;
    let given = told.assignment.unwrap().topic_partitions.remove(0).partitions;
    assert_eq!((told.member_epoch, given), (2, vec![0, 1, 2]));
}
