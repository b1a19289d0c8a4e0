//! The classic protocol, rule by rule.

use super::*;

#[test]
fn a_member_joins_when_the_user_polls_and_then_sends_heartbeats() {
    let mut bench = Bench::new(config(&[Eager]));
    bench.group.subscribe(topics("t u"), bench.at);
    bench.run();
    bench.nothing_sent();
    bench.user_polls();
    bench.coordinator_is(1);

    let (sent, join) = bench.join_request();
    assert_eq!(sent.to, Destination::Coordinator(BrokerId(1)));
    assert_eq!(sent.timeout, SECONDS(305), "max.poll.interval.ms and 5 s more");
    assert_eq!((join.session_timeout_ms, join.rebalance_timeout_ms), (45_000, 300_000));
    assert_eq!((join.member_id.as_str(), join.protocol_type.as_str()), ("", "consumer"));
    bench.answer(&sent, join_error(ErrorCode::MEMBER_ID_REQUIRED, "me"));

    let (sent, join) = bench.join_request();
    assert_eq!(join.member_id, "me");
    assert_eq!(join.reason.as_deref(), Some("need to re-join with the given member-id"));
    bench.answer(&sent, joined(4, "me", "other"));
    let (sent, sync) = bench.sync_request();
    assert_eq!((sync.generation_id, sync.member_id.as_str()), (4, "me"));
    assert_eq!(sync.protocol_name.as_deref(), Some("greedy"));
    bench.answer(&sent, synced("t-0 u-3"));
    bench.tells("assigned t-0 u-3 of t-0 u-3");
    bench.tells_nothing();
    let me = bench.group.identity();
    assert_eq!((me.generation_id, me.member_id.as_str()), (4, "me"));
    assert_eq!(bench.group.commit_as(), CommitAs::Committer(me));

    for _ in 0..5 {
        assert_eq!(bench.wait(), SECONDS(3));
        let (sent, beat) = bench.heartbeat_request();
        assert_eq!((beat.generation_id, beat.member_id.as_str()), (4, "me"));
        bench.answer(&sent, heartbeat(ErrorCode::NONE));
    }
    bench.tells_nothing();
    let stats = bench.group.stats().take();
    assert_eq!((stats.heartbeats_sent, stats.heartbeat.count), (5, 5));
    assert_eq!((stats.join.count, stats.sync.count, stats.rebalance.count), (1, 1, 1));
    assert_eq!((stats.failed_rebalances, stats.assigned.count), (0, 1));
}

#[test]
fn the_leader_assigns_when_the_topics_of_all_members_are_known() {
    let mut bench = Bench::new(config(&[Eager]));
    bench.group.subscribe(topics("t"), bench.at);
    bench.know(&[("t", 2)]);
    bench.user_polls();
    bench.coordinator_is(1);
    let (sent, join) = bench.join_request();
    let other = MemberSubscription::new(["v", "gone"]);
    let other = crate::protocol::consumer_protocol::ConsumerProtocolSubscription::from(&other);
    let members = [
        ("me", join.protocols[0].metadata.clone()),
        ("other", other.to_bytes().unwrap()),
        ("broken", Bytes::from_static(b"\0\0\x7f")),
    ];
    let members = members.map(|(id, metadata)| JoinGroupResponseMember {
        member_id: id.to_owned(),
        metadata,
        ..JoinGroupResponseMember::default()
    });
    let GroupResponse::JoinGroup(response) = joined(1, "me", "me") else { unreachable!() };
    let response = JoinGroupResponse { members: members.to_vec(), ..response };
    bench.answer(&sent, GroupResponse::JoinGroup(response));
    assert_eq!(bench.tracked, ["gone", "t", "v"].map(str::to_owned).into());
    bench.nothing_sent();
    bench.know(&[("t", 2), ("v", 1), ("gone", 0)]);
    let (sent, sync) = bench.sync_request();
    let read = |assignment: &Bytes| {
        let wire = ConsumerProtocolAssignment::from_bytes(assignment.clone()).unwrap();
        text(&Assignment::from(wire).partitions)
    };
    let given: BTreeMap<_, _> = sync
        .assignments
        .iter()
        .map(|given| (given.member_id.as_str(), read(&given.assignment)))
        .collect();
    let expected = [("broken", ""), ("me", "t-0 t-1"), ("other", "v-0")];
    assert_eq!(given, expected.map(|(id, share)| (id, share.to_owned())).into());
    bench.answer(&sent, synced("t-0 t-1"));
    bench.tells("assigned t-0 t-1 of t-0 t-1");

    // A topic of another member grows, which is for the leader to see.
    bench.know(&[("t", 2), ("v", 1), ("gone", 0), ("w", 9)]);
    bench.nothing_sent();
    bench.know(&[("t", 2), ("v", 2), ("gone", 0)]);
    bench.tells("revoked t-0 t-1");
    let (_, join) = bench.join_request();
    let reason = "the partitions of the group's topics have changed";
    assert_eq!(join.reason.as_deref(), Some(reason));
}
