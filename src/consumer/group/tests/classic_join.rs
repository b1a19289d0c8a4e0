//! The classic protocol: how a member comes in, and from one generation into the next.

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
fn eager_members_give_everything_up_before_they_join_and_stay_alive_meanwhile() {
    let mut bench = Bench::member_with(config(&[Eager]), "t-0 u-3");
    bench.wait();
    bench.heartbeat(ErrorCode::REBALANCE_IN_PROGRESS);
    let event = bench.group.take_event(bench.at);
    assert!(matches!(event, Some(MemberEvent::Revoked(names)) if text(&names) == "t-0 u-3"));
    // The listener takes its time: it may commit, and nobody takes it for dead.
    for _ in 0..3 {
        bench.wait();
        assert_eq!(bench.group.commit_as(), CommitAs::Committer(bench.group.identity()));
        bench.heartbeat(ErrorCode::REBALANCE_IN_PROGRESS);
    }
    bench.group.event_done(bench.at);
    bench.run();
    let (sent, join) = bench.join_request();
    assert_eq!(
        (join.member_id.as_str(), join.reason.as_deref()),
        ("me", Some("group is already rebalancing"))
    );
    assert_eq!(bench.group.commit_as(), CommitAs::Rebalancing);
    // Joining takes as long as the slowest member, without heartbeats.
    bench.pass(SECONDS(20));
    bench.nothing_sent();
    bench.answer(&sent, joined(2, "me", "leader"));
    let (sent, _) = bench.sync_request();
    assert_eq!(bench.group.commit_as(), CommitAs::Rebalancing);
    bench.answer(&sent, synced("u-3"));
    bench.tells("assigned u-3 of u-3");
    assert_eq!(bench.group.identity().generation_id, 2);
}

#[test]
fn cooperative_members_give_up_only_what_went_to_others_and_join_again() {
    let mut bench = Bench::member_with(config(&[Cooperative, Eager]), "t-0 t-1 u-3");
    bench.wait();
    bench.heartbeat(ErrorCode::REBALANCE_IN_PROGRESS);
    bench.tells_nothing();
    let (_, join) = bench.join_request_left();
    let wire =
        ConsumerProtocolSubscription::from_bytes(join.protocols[0].metadata.clone()).unwrap();
    let said = MemberSubscription::from(wire);
    assert_eq!((text(&said.owned_partitions), said.generation_id), ("t-0 t-1 u-3".into(), Some(1)));
    bench.rejoined(2, "t-1 u-3 u-4");
    bench.tells("revoked t-0");
    bench.tells("assigned u-4 of t-1 u-3 u-4");
    let (_, join) = bench.join_request_left();
    assert_eq!(join.reason.as_deref(), Some("need to revoke partitions and re-join"));
    bench.rejoined(3, "t-1 u-3 u-4");
    bench.tells("assigned  of t-1 u-3 u-4");
    bench.nothing_sent();

    // Topics that are not wanted any more go before the group is joined.
    bench.group.subscribe(topics("u"), bench.at);
    bench.run();
    bench.tells("revoked t-1");
    let (_, join) = bench.join_request_left();
    let reason = "the subscription has changed since the last join";
    assert_eq!(join.reason.as_deref(), Some(reason));
}

#[test]
fn a_generation_that_is_over_means_that_partitions_are_lost() {
    for (code, id) in [(ErrorCode::UNKNOWN_MEMBER_ID, ""), (ErrorCode::ILLEGAL_GENERATION, "me")] {
        for protocols in [&[Eager][..], &[Cooperative]] {
            let mut bench = Bench::member_with(config(protocols), "t-0 u-3");
            bench.wait();
            bench.heartbeat(code);
            assert_eq!(bench.group.commit_as(), CommitAs::NoMember);
            assert!(!bench.group.identity().is_member());
            bench.nothing_sent();
            bench.tells("lost t-0 u-3");
            let (_, join) = bench.join_request();
            assert_eq!(join.member_id, id, "{code}");
        }
    }
}

#[test]
fn an_assignment_that_the_user_does_not_want_is_not_taken_and_does_not_make_it_spin() {
    let mut bench = Bench::new(config(&[Eager]));
    bench.group.subscribe(topics("t"), bench.at);
    bench.user_polls();
    bench.coordinator_is(1);
    let start = bench.at;
    for generation in 1..10 {
        bench.rejoined(generation, "t-0 other-1");
        bench.tells_nothing();
        bench.wait();
    }
    assert!(bench.at - start > SECONDS(4), "it took {:?}", bench.at - start);
    bench.rejoined(10, "t-0");
    bench.tells("assigned t-0 of t-0");
}

#[test]
fn a_pattern_waits_for_its_topics_and_follows_them() {
    let mut bench = Bench::new(config(&[Cooperative]));
    bench.group.subscribe(GroupSubscription::Pattern, bench.at);
    bench.user_polls();
    bench.nothing_sent();
    bench.group.handle_matching(["t".to_owned()].into());
    bench.run();
    bench.coordinator_is(1);
    // The leader may know of a topic earlier than this member.
    bench.rejoined(1, "t-0 new-0");
    bench.tells("assigned new-0 t-0 of new-0 t-0");
    bench.group.handle_matching(["new".to_owned(), "t".to_owned()].into());
    bench.run();
    let (_, join) = bench.join_request();
    assert!(join.reason.is_some_and(|reason| reason.contains("subscription")));
}

#[test]
fn a_rebalance_can_be_asked_for() {
    let mut bench = Bench::member_with(config(&[Cooperative]), "t-0");
    bench.group.enforce_rebalance("because");
    bench.run();
    let (_, join) = bench.join_request();
    assert_eq!(join.reason.as_deref(), Some("because"));
}
