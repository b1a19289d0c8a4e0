//! Bugs of other clients in what this machine does. The numbers are rows of the list of historical
//! correctness bugs that the project keeps, the names those of the clients' own trackers.

use super::*;

/// Row 48, librdkafka 5511: the coordinator that is known was taken out of the cluster.
#[test]
fn librdkafka_5511_a_coordinator_that_is_no_broker_any_more_is_looked_for_anew() {
    let mut bench = Bench::member_with(config(&[Eager]), "t-0");
    bench.wait();
    let (sent, _) = bench.heartbeat_request();
    bench.fail(&sent, ClientError::UnknownBroker { id: BrokerId(1) });
    bench.coordinator_is(2);
    bench.heartbeat(ErrorCode::NONE);
    bench.tells_nothing();
    assert_eq!(text(&bench.group.owned().iter().cloned().collect::<Vec<_>>()), "t-0");
}

/// Row 59: what was handed out has to be committed before it is given up.
#[test]
fn kafka_14196_what_is_revoked_can_be_committed_until_the_listener_is_done() {
    for protocols in [&[Eager][..], &[Cooperative]] {
        let mut bench = Bench::member_with(config(protocols), "t-0");
        let me = bench.group.identity();
        bench.group.subscribe(topics("u"), bench.at);
        bench.run();
        assert!(matches!(bench.group.take_event(bench.at), Some(MemberEvent::Revoked(_))));
        bench.pass(SECONDS(2));
        assert_eq!(bench.group.commit_as(), CommitAs::Committer(me));
        bench.nothing_sent();
        bench.group.event_done(bench.at);
        bench.run();
        bench.join_request();
        assert_ne!(bench.group.commit_as(), CommitAs::Committer(bench.group.identity()));
    }
}

/// Row 60: after a rebalance in the background, offsets of the former assignment were committed.
#[test]
fn librdkafka_2782_who_lost_its_partitions_commits_nothing_as_a_member() {
    let mut bench = Bench::member_with(config(&[Cooperative]), "t-0");
    let former = bench.group.identity();
    bench.wait();
    bench.heartbeat(ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(bench.group.commit_as(), CommitAs::NoMember);
    bench.tells("lost t-0");
    bench.rejoined(5, "t-0");
    bench.tells("assigned t-0 of t-0");
    // The refusal of a commit as the former member says nothing of this one.
    bench.group.commit_refused(ErrorCode::UNKNOWN_MEMBER_ID, &former, bench.at);
    bench.run();
    bench.tells_nothing();
}

/// Row 61: max.poll.interval.ms ran out in the middle of a rebalance, and the partitions did not count
/// as lost.
#[test]
fn librdkafka_5604_a_poll_that_is_late_during_a_rebalance_loses_the_partitions_all_the_same() {
    let mut bench = Bench::member_with(config(&[Cooperative]), "t-0");
    bench.pass(SECONDS(2));
    bench.group.enforce_rebalance("because");
    bench.run();
    let (late, _) = bench.join_request();
    assert_eq!(bench.wait(), SECONDS(298));
    let sent = bench.only();
    assert!(matches!(sent.request, GroupRequest::LeaveGroup(_)), "{sent:?}");
    // The rebalance ends without it.
    bench.answer(&late, joined(2, "me", "leader"));
    bench.nothing_sent();
    assert_eq!(bench.group.commit_as(), CommitAs::NoMember);
    bench.user_polls();
    bench.tells("lost t-0");
    let (_, join) = bench.join_request();
    assert_eq!(join.member_id, "");
}

/// Rank 1 of what users complain of: closing hangs. Whatever the member is about, it ends.
#[test]
fn leaving_ends_at_every_step() {
    let modern = || GroupConfig {
        protocol: MemberProtocol::Consumer { remote_assignor: None },
        ..config(&[])
    };
    for config in [config(&[Eager]), config(&[Cooperative]), modern()] {
        for steps in 0..6 {
            let mut bench = Bench::new(config.clone());
            bench.group.subscribe(topics("t"), bench.at);
            bench.know(&[("t", 1)]);
            bench.user_polls();
            for _ in 0..steps {
                let Some(sent) = bench.sent.pop_front() else { break };
                match sent.request {
                    GroupRequest::FindCoordinator(_) => bench.answer(&sent, found(1)),
                    GroupRequest::JoinGroup(_) => bench.answer(&sent, joined_alone(1)),
                    GroupRequest::SyncGroup(_) => bench.answer(&sent, synced("t-0")),
                    _ => bench.fail(&sent, disconnected()),
                }
            }
            bench.group.leave(LeaveMode::Default, "closed", bench.at);
            bench.run();
            while bench.told().is_some() {}
            for _ in 0..3 {
                // Nobody answers any more.
                while let Some(sent) = bench.sent.pop_front() {
                    bench.fail(&sent, disconnected());
                }
            }
            assert!(bench.group.is_out(), "after {steps}: {:?}", bench.group);
            assert_eq!(bench.group.next_deadline(), None, "after {steps}: {:?}", bench.group);
        }
    }
}

/// Rank 11: a client that cannot reach anybody is busy with it.
#[test]
fn librdkafka_1569_without_brokers_little_is_sent() {
    for protocol in [None, Some(MemberProtocol::Consumer { remote_assignor: None })] {
        let mut config = config(&[Eager]);
        config.max_poll_interval = SECONDS(100_000);
        config.protocol = protocol.unwrap_or(config.protocol);
        let mut bench = Bench::new(config);
        bench.group.subscribe(topics("t"), bench.at);
        bench.user_polls();
        let start = bench.at;
        let mut requests = 0;
        while bench.at - start < SECONDS(600) {
            while let Some(sent) = bench.sent.pop_front() {
                requests += 1;
                bench.fail(&sent, disconnected());
            }
            bench.wait();
        }
        assert!((600..=800).contains(&requests), "{requests} in ten minutes");
    }
}
