//! The classic protocol: how a member leaves, by itself or by staying away, and as whom it commits then.

use super::*;

#[test]
fn a_user_that_does_not_poll_loses_its_place_and_gets_another_by_polling() {
    let mut bench = Bench::member_with(config(&[Eager]), "t-0");
    let start = bench.at;
    loop {
        bench.wait();
        let sent = bench.only();
        if let GroupRequest::LeaveGroup(leave) = &sent.request {
            assert_eq!(bench.at - start, SECONDS(300));
            assert_eq!(
                (leave.member_id.as_str(), &*leave.reason),
                ("me", "consumer poll timeout has expired.")
            );
            bench.answer(&sent, left());
            break;
        }
        bench.answer(&sent, heartbeat(ErrorCode::NONE));
    }
    assert_eq!(bench.group.commit_as(), CommitAs::NoMember);
    bench.pass(SECONDS(1000));
    bench.nothing_sent();
    bench.user_polls();
    bench.nothing_sent();
    bench.tells("lost t-0");
    let (_, join) = bench.join_request();
    assert_eq!(join.member_id, "");
}

#[test]
fn a_poll_that_waits_is_not_away_but_a_listener_that_hangs_is() {
    let mut bench = Bench::member_with(config(&[Eager]), "t-0");
    bench.group.poll_begins(bench.at);
    for _ in 0..200 {
        bench.wait();
        bench.heartbeat(ErrorCode::NONE);
    }
    bench.wait();
    bench.heartbeat(ErrorCode::REBALANCE_IN_PROGRESS);
    assert!(bench.group.take_event(bench.at).is_some());
    let start = bench.at;
    loop {
        bench.wait();
        let sent = bench.only();
        if matches!(sent.request, GroupRequest::LeaveGroup(_)) {
            break;
        }
        bench.answer(&sent, heartbeat(ErrorCode::REBALANCE_IN_PROGRESS));
    }
    assert_eq!(bench.at - start, SECONDS(300));
    // What is being revoked is not lost again; as the poll goes on the group is joined anew.
    bench.group.event_done(bench.at);
    bench.run();
    bench.tells_nothing();
    let (_, join) = bench.join_request();
    assert_eq!(join.member_id, "");
}

#[test]
fn a_static_member_keeps_its_place_unless_it_is_told_to_leave() {
    let fixed = || GroupConfig { instance_id: Some("i".to_owned()), ..config(&[Eager]) };
    let mut bench = Bench::member_with(fixed(), "t-0");
    bench.group.leave(LeaveMode::Default, "closed", bench.at);
    bench.tells("revoked t-0");
    bench.nothing_sent();
    assert!(bench.group.is_out());

    let mut bench = Bench::member_with(fixed(), "t-0");
    bench.group.leave(LeaveMode::Leave, "closed", bench.at);
    bench.run();
    bench.nothing_sent();
    bench.tells("revoked t-0");
    let sent = bench.only();
    let GroupRequest::LeaveGroup(leave) = &sent.request else { panic!("{sent:?}") };
    let (old, new) = (leave.at(2), leave.at(5));
    assert_eq!((old.member_id.as_str(), old.members.len()), ("me", 0));
    assert_eq!((new.member_id.as_str(), new.members.len()), ("", 1));
    assert_eq!(new.members[0].group_instance_id.as_deref(), Some("i"));
    assert_eq!(new.members[0].reason.as_deref(), Some("closed"));
    assert!(!bench.group.is_out());
    bench.answer(&sent, left());
    assert!(bench.group.is_out());

    let mut bench = Bench::member_with(config(&[Eager]), "t-0");
    bench.group.leave(LeaveMode::Remain, "closed", bench.at);
    bench.tells("revoked t-0");
    bench.nothing_sent();
    assert!(bench.group.is_out());
}

#[test]
fn unsubscribing_revokes_and_then_leaves() {
    let mut bench = Bench::member_with(config(&[Cooperative]), "t-0");
    bench.group.unsubscribe(bench.at);
    bench.run();
    bench.tells("revoked t-0");
    let sent = bench.only();
    assert!(matches!(sent.request, GroupRequest::LeaveGroup(_)));
    // Coming back does not wait for the answer, and is a new member.
    bench.group.subscribe(topics("t"), bench.at);
    bench.user_polls();
    let (_, join) = bench.join_request();
    assert_eq!(join.member_id, "");
    bench.answer(&sent, left());
    bench.nothing_sent();
}

#[test]
fn without_a_subscription_offsets_are_committed_as_nobody() {
    let mut bench = Bench::new(config(&[Eager]));
    let nobody = CommitAs::Committer(ConsumerGroupMetadata::no_member("readers"));
    assert_eq!(bench.group.commit_as(), nobody);
    assert!(bench.group.coordinator().want().is_none());
    bench.run();
    bench.coordinator_is(3);
    let known = bench.group.coordinator().want().unwrap();
    assert_eq!(known.broker, BrokerId(3));
    bench.group.subscribe(topics("t"), bench.at);
    assert_eq!(bench.group.commit_as(), CommitAs::NoMember);
}

/// As a member of the generation that is over its commit would be fenced, although it loses nothing.
#[test]
fn who_leaves_between_join_and_sync_does_not_commit_as_the_member_that_it_was() {
    let mut bench = Bench::member_with(config(&[Cooperative]), "t-0");
    bench.group.enforce_rebalance("because");
    bench.run();
    let (sent, _) = bench.join_request();
    bench.answer(&sent, joined(2, "me", "leader"));
    bench.group.leave(LeaveMode::Default, "closed", bench.at);
    assert_eq!(bench.group.commit_as(), CommitAs::Rebalancing);
    assert!(matches!(bench.group.take_event(bench.at), Some(MemberEvent::Revoked(_))));
}
