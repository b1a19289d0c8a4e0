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
    let other = ConsumerProtocolSubscription::from(&other);
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
fn a_fenced_member_stays_out_until_it_subscribes_anew() {
    let fixed = GroupConfig { instance_id: Some("i".to_owned()), ..config(&[Cooperative]) };
    let mut bench = Bench::member_with(fixed, "t-0");
    bench.wait();
    bench.heartbeat(ErrorCode::FENCED_INSTANCE_ID);
    bench.tells("lost t-0");
    for _ in 0..3 {
        let error = bench.failure();
        assert!(matches!(&error, GroupError::FencedInstanceId { instance, .. } if instance == "i"));
        assert!(error.is_fatal() && !error.is_retriable());
        bench.tells_nothing();
        bench.user_polls();
        bench.pass(SECONDS(60));
        bench.nothing_sent();
    }
    bench.group.subscribe(topics("t"), bench.at);
    bench.user_polls();
    bench.join_request();
    bench.tells_nothing();
}

#[test]
fn what_the_user_can_mend_is_tried_again_by_the_next_poll() {
    let mut bench = Bench::new(config(&[Eager]));
    bench.group.subscribe(topics("t"), bench.at);
    bench.user_polls();
    bench.coordinator_is(1);
    for code in [ErrorCode::GROUP_AUTHORIZATION_FAILED, ErrorCode::GROUP_MAX_SIZE_REACHED] {
        let (sent, _) = bench.join_request();
        bench.answer(&sent, join_error(code, ""));
        assert_eq!(bench.failure().code(), Some(code));
        bench.pass(SECONDS(10));
        bench.nothing_sent();
        bench.user_polls();
    }
    bench.join_request();
}

#[test]
fn a_coordinator_that_refuses_is_asked_again_by_later_polls() {
    let mut bench = Bench::new(config(&[Eager]));
    bench.group.subscribe(topics("t"), bench.at);
    for _ in 0..2 {
        bench.user_polls();
        let sent = bench.only();
        bench.answer(&sent, found_error(ErrorCode::GROUP_AUTHORIZATION_FAILED));
        assert!(matches!(bench.failure(), GroupError::Unauthorized { .. }));
        bench.nothing_sent();
        // Right away it would be the same.
        bench.user_polls();
        bench.nothing_sent();
        assert!(matches!(bench.failure(), GroupError::Unauthorized { .. }));
        bench.pass(SECONDS(2));
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
fn what_a_broker_is_to_evaluate_takes_the_other_protocol() {
    let mut bench = Bench::new(config(&[Eager]));
    bench.group.subscribe(GroupSubscription::BrokerRegex("t.*".to_owned()), bench.at);
    bench.user_polls();
    assert!(matches!(bench.failure(), GroupError::UnsupportedRegex { .. }));
    bench.nothing_sent();
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

#[test]
fn refused_commits_say_something_of_the_membership_they_were_made_in() {
    let joins = |code, as_of: i32| {
        let mut bench = Bench::member_with(config(&[Eager]), "t-0");
        let me = bench.group.identity();
        let me = ConsumerGroupMetadata { generation_id: as_of, ..me };
        bench.group.commit_refused(code, &me, bench.at);
        bench.run();
        let told = bench.told();
        (told, bench.sent.pop_front().is_some())
    };
    assert_eq!(joins(ErrorCode::UNKNOWN_MEMBER_ID, 1), (Some("lost t-0".into()), true));
    assert_eq!(joins(ErrorCode::ILLEGAL_GENERATION, 1), (Some("lost t-0".into()), true));
    assert_eq!(joins(ErrorCode::REBALANCE_IN_PROGRESS, 1), (Some("revoked t-0".into()), true));
    assert_eq!(joins(ErrorCode::OFFSET_METADATA_TOO_LARGE, 1), (None, false));
    assert_eq!(joins(ErrorCode::UNKNOWN_MEMBER_ID, 0), (None, false), "of an earlier generation");
}

#[test]
fn the_leader_of_a_returning_static_member_may_skip_the_assignment() {
    let mut bench = Bench::new(config(&[Eager]));
    bench.group.subscribe(topics("t"), bench.at);
    bench.know(&[("t", 2)]);
    bench.user_polls();
    bench.coordinator_is(1);
    let (sent, join) = bench.join_request();
    let GroupResponse::JoinGroup(response) = joined(1, "me", "me") else { unreachable!() };
    let me = JoinGroupResponseMember {
        member_id: "me".to_owned(),
        metadata: join.protocols[0].metadata.clone(),
        ..JoinGroupResponseMember::default()
    };
    let response = JoinGroupResponse { skip_assignment: true, members: vec![me], ..response };
    bench.answer(&sent, GroupResponse::JoinGroup(response));
    let (sent, sync) = bench.sync_request();
    assert!(sync.assignments.is_empty());
    bench.answer(&sent, synced("t-0 t-1"));
    bench.tells("assigned t-0 t-1 of t-0 t-1");
    // It still keeps watch.
    bench.know(&[("t", 3)]);
    bench.tells("revoked t-0 t-1");
}

#[test]
fn the_leader_does_not_wait_for_ever_for_topics() {
    let mut bench = Bench::new(config(&[Eager]));
    bench.group.subscribe(topics("t"), bench.at);
    bench.user_polls();
    bench.coordinator_is(1);
    let (sent, _) = bench.join_request();
    bench.answer(&sent, joined_alone(1));
    assert_eq!(bench.wait(), SECONDS(3));
    bench.heartbeat(ErrorCode::NONE);
    assert_eq!(bench.wait(), SECONDS(2));
    let (sent, _) = bench.sync_request();
    bench.answer(&sent, synced(""));
    bench.tells("assigned  of ");
    bench.know(&[("t", 1)]);
    let (_, join) = bench.join_request();
    assert!(join.reason.is_some_and(|reason| reason.contains("topics have changed")));
}

#[test]
fn answers_that_make_no_sense_are_told_and_the_group_is_not_left_spinning() {
    let bad_sync = |bytes: &'static [u8]| SyncGroupResponse {
        assignment: Bytes::from_static(bytes),
        ..SyncGroupResponse::default()
    };
    for (response, fails) in [
        (bad_sync(b"\0\0\0"), true),
        (bad_sync(b"\0\0\0\0\0\x01\0\x01t\0\0\0\x01\xff\xff\xff\xfe\xff\xff\xff\xff"), true),
        (bad_sync(b""), false),
        (SyncGroupResponse { protocol_name: Some("other".into()), ..bad_sync(b"") }, true),
        (SyncGroupResponse { protocol_type: Some("connect".into()), ..bad_sync(b"") }, true),
    ] {
        let mut bench = Bench::new(config(&[Eager]));
        bench.group.subscribe(topics("t"), bench.at);
        bench.user_polls();
        bench.coordinator_is(1);
        let (sent, _) = bench.join_request();
        bench.answer(&sent, joined(1, "me", "leader"));
        let (sent, _) = bench.sync_request();
        bench.answer(&sent, GroupResponse::SyncGroup(response.clone()));
        let told = bench.told().unwrap();
        assert_eq!(told.starts_with("failed"), fails, "{response:?}: {told}");
        assert_eq!(bench.group.next_deadline().is_none(), fails, "it waits for the user");
        bench.nothing_sent();
    }
    for response in [
        JoinGroupResponse { protocol_name: Some("other".into()), ..JoinGroupResponse::default() },
        JoinGroupResponse { protocol_type: Some("connect".into()), ..JoinGroupResponse::default() },
        JoinGroupResponse { protocol_name: Some("greedy".into()), ..JoinGroupResponse::default() },
    ] {
        let mut bench = Bench::new(config(&[Eager]));
        bench.group.subscribe(topics("t"), bench.at);
        bench.user_polls();
        bench.coordinator_is(1);
        let (sent, _) = bench.join_request();
        bench.answer(&sent, GroupResponse::JoinGroup(response));
        assert!(bench.told().unwrap().starts_with("failed"));
        bench.nothing_sent();
    }
}

#[test]
fn a_rebalance_can_be_asked_for() {
    let mut bench = Bench::member_with(config(&[Cooperative]), "t-0");
    bench.group.enforce_rebalance("because");
    bench.run();
    let (_, join) = bench.join_request();
    assert_eq!(join.reason.as_deref(), Some("because"));
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

#[test]
fn all_assignors_have_to_share_a_rebalance_protocol() {
    let with = |protocols: &[&'static [RebalanceProtocol]]| {
        let assignors = protocols.iter().zip(["a", "b"]);
        let assignors: Vec<Arc<dyn Assignor>> = assignors
            .map(|(protocols, name)| Arc::new(Greedy(name, protocols)) as Arc<dyn Assignor>)
            .collect();
        let protocol = MemberProtocol::Classic {
            assignors,
            session_timeout: SECONDS(45),
            heartbeat_interval: SECONDS(3),
        };
        Group::new(GroupConfig { protocol, ..config(&[]) }, 1)
    };
    let error = with(&[&[Eager], &[Cooperative]]).unwrap_err();
    assert!(error.to_string().contains("a, b"), "{error}");
    assert!(with(&[]).is_err());
    let mixed = with(&[&[Eager], &[Cooperative, Eager]]).unwrap();
    assert!(format!("{mixed:?}").contains("Eager"), "{mixed:?}");
    let cooperative = with(&[&[Cooperative, Eager], &[Cooperative]]).unwrap();
    assert!(format!("{cooperative:?}").contains("Cooperative"), "{cooperative:?}");
}

/// Whatever an assignor says.
#[test]
fn a_cooperative_leader_deals_out_nothing_that_another_member_owns() {
    let mut bench = Bench::new(config(&[Cooperative]));
    bench.group.subscribe(topics("t"), bench.at);
    bench.know(&[("t", 4)]);
    bench.user_polls();
    bench.coordinator_is(1);
    let (sent, _) = bench.join_request();
    let member = |id: &str, owned: &str, generation| {
        let said = MemberSubscription {
            owned_partitions: partitions(owned),
            generation_id: generation,
            ..MemberSubscription::new(["t"])
        };
        JoinGroupResponseMember {
            member_id: id.to_owned(),
            metadata: ConsumerProtocolSubscription::from(&said).to_bytes().unwrap(),
            ..JoinGroupResponseMember::default()
        }
    };
    // `old` has slept through a generation, and claims what it owned before.
    let members = vec![
        member("me", "t-0", Some(5)),
        member("new", "t-1", Some(5)),
        member("old", "t-0 t-2", Some(4)),
    ];
    let GroupResponse::JoinGroup(response) = joined(6, "me", "me") else { unreachable!() };
    bench.answer(&sent, GroupResponse::JoinGroup(JoinGroupResponse { members, ..response }));
    let (_, sync) = bench.sync_request();
    let mine = sync.assignments.iter().find(|given| given.member_id == "me").unwrap();
    let wire = ConsumerProtocolAssignment::from_bytes(mine.assignment.clone()).unwrap();
    assert_eq!(text(&Assignment::from(wire).partitions), "t-0 t-3");
}
