//! Commits: order, retries, rebalances, and what the one who waits is told.

use super::*;
use crate::error::VersionSpan;

#[test]
fn a_commit_goes_to_the_coordinator_as_the_member_and_ends_with_its_answer() {
    let mut bench = Bench::classic();
    bench.view.coordinator = None;
    let id = bench.commit(&[(0, 5), (1, 9)]);
    assert!(bench.offsets.is_committing());
    let seen = bench.poll();
    assert!(seen.finds == 1 && seen.commits.is_empty(), "nothing is sent without a coordinator");
    bench.view.coordinator = Some(Located { broker: BrokerId(2), version: 4 });
    let sent = bench.sent();
    assert_eq!(contents(&sent.1), [(0, 5), (1, 9)]);
    let request = sent.1.at(9);
    assert_eq!((&*request.group_id, &*request.member_id), ("billing", "member-1"));
    assert_eq!(request.generation_id_or_member_epoch, 3);
    assert_eq!(request.group_instance_id.as_deref(), Some("host-1"));
    assert!(bench.poll().commits.is_empty());

    bench.now += MS(12);
    bench.answer(&sent, ErrorCode::NONE);
    let seen = bench.poll();
    assert!(matches!(seen.ended[&id], Ok(())));
    assert_eq!((seen.heard, seen.lost.len()), (vec![4], 0));
    assert!(!bench.offsets.is_committing());
    assert_eq!(bench.offsets.next_deadline(), None);
    let stats = bench.offsets.take_stats();
    assert_eq!((stats.answered, stats.latency_total, stats.latency_max), (1, MS(12), MS(12)));
    assert_eq!(bench.offsets.take_stats(), CommitStats::default());
    // The same answer again finds nobody.
    bench.answer(&sent, ErrorCode::NONE);
    assert!(bench.poll().ended.is_empty());
}

#[test]
fn without_a_membership_it_commits_as_no_member() {
    let mut bench = Bench::classic();
    bench.view.commit_as = standalone();
    let id = bench.commit(&[(0, 5)]);
    let sent = bench.sent();
    let request = sent.1.at(9);
    assert_eq!((request.generation_id_or_member_epoch, &*request.member_id), (-1, ""));
    assert_eq!(request.group_instance_id, None);
    // The group has members, of which this one is none.
    bench.answer(&sent, ErrorCode::UNKNOWN_MEMBER_ID);
    let seen = bench.poll();
    assert!(matches!(seen.ended[&id], Err(CommitError::Fenced { .. })));
    assert!(seen.refused.is_empty(), "there is no member to be told");
}

/// FG 1.21.0, 1.21.4: an older commit finished last and rewound the group.
#[test]
fn an_older_offset_never_follows_a_newer_one() {
    let mut bench = Bench::classic();
    let a = bench.commit(&[(0, 5), (1, 1)]);
    let first = bench.sent();
    let b = bench.commit(&[(0, 9)]);
    let c = bench.commit(&[(2, 3)]);
    let d = bench.commit(&[(0, 12)]);
    assert!(bench.poll().commits.is_empty(), "one is on the wire at a time");
    bench.answer(&first, ErrorCode::COORDINATOR_LOAD_IN_PROGRESS);
    assert!(bench.poll().commits.is_empty(), "there is a pause");
    bench.pause();
    // All in one request: what is tried again does not bring its older offset back.
    let second = bench.sent();
    assert_eq!(contents(&second.1), [(0, 12), (1, 1), (2, 3)]);
    bench.answer(&second, ErrorCode::NONE);
    let seen = bench.poll();
    for id in [a, b, c, d] {
        assert!(matches!(seen.ended[&id], Ok(())), "{id:?}");
    }
}

/// The newer one went with the older one, may be committed, and has ended; the older one is tried
/// again.
#[test]
fn what_may_be_committed_is_not_taken_back_by_an_older_commit() {
    for (answered, expected) in [(true, 38), (false, 35)] {
        let mut bench = Bench::classic();
        let older = bench.commit(&[(2, 35)]);
        bench.commit(&[(2, 38), (3, 1)]);
        let (token, sent) = bench.sent();
        assert_eq!(contents(&sent), [(2, 38), (3, 1)]);
        bench.fail(token, lost(answered));
        bench.offsets.revoked(&BTreeSet::from([tp(3)]));
        bench.pause();
        let sent = bench.sent();
        assert_eq!(contents(&sent.1), [(2, expected)]);
        bench.answer(&sent, ErrorCode::NONE);
        assert!(matches!(bench.poll().ended[&older], Ok(())));
    }
}

#[test]
fn what_is_tried_again_keeps_its_order_and_what_is_done_is_not_repeated() {
    let mut bench = Bench::classic();
    let a = bench.commit(&[(0, 5), (1, 1), (2, 2)]);
    let first = bench.sent();
    bench.answer_each((first.0, &first.1), |partition| match partition {
        1 => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        _ => ErrorCode::NONE,
    });
    let seen = bench.poll();
    assert!(seen.ended.is_empty() && seen.refreshes == 1 && seen.commits.is_empty());
    // The pause is that of the one partition; a commit of another takes it along.
    let b = bench.commit(&[(0, 6)]);
    let second = bench.sent();
    assert_eq!(contents(&second.1), [(0, 6), (1, 1)]);
    bench.answer(&second, ErrorCode::NONE);
    let seen = bench.poll();
    assert!(matches!((&seen.ended[&a], &seen.ended[&b]), (Ok(()), Ok(()))));
}

#[test]
fn failures_that_pass_are_tried_again_until_the_deadline() {
    for (code, lost, maybe) in [
        (ErrorCode::COORDINATOR_LOAD_IN_PROGRESS, false, false),
        (ErrorCode::NOT_COORDINATOR, true, true),
        (ErrorCode::COORDINATOR_NOT_AVAILABLE, true, true),
        (ErrorCode::REQUEST_TIMED_OUT, true, true),
        (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, false, false),
        (ErrorCode::UNKNOWN_TOPIC_ID, false, false),
    ] {
        let mut bench = Bench::classic();
        let start = bench.now;
        let id = bench.commit(&[(0, 5)]);
        let mut tries = 0;
        let error = loop {
            let mut seen = bench.poll();
            if let Some(sent) = seen.commits.pop() {
                tries += 1;
                bench.answer(&sent, code);
                let seen = bench.poll();
                assert_eq!(!seen.lost.is_empty(), lost, "{code}");
            }
            if let Some(result) = seen.ended.remove(&id) {
                break result.unwrap_err();
            }
            bench.now = bench.offsets.next_deadline().unwrap();
        };
        assert_eq!(bench.now - start, MS(60_000));
        assert!((60..80).contains(&tries), "{tries} tries with pauses up to 1 s");
        assert_eq!((error.maybe_committed(), error.code()), (maybe, Some(code)));
        assert!(matches!(error, CommitError::TimedOut { .. }) && error.is_retriable());
    }
}

#[test]
fn a_lost_connection_loses_the_coordinator_and_leaves_open_what_was_sent() {
    for maybe_written in [true, false] {
        let mut bench = Bench::classic();
        let id = bench.commit(&[(0, 5)]);
        let (token, _) = bench.sent();
        bench.fail(token, lost(maybe_written));
        let seen = bench.poll();
        assert_eq!((seen.lost, seen.heard.len()), (vec![1], 0));
        bench.view.coordinator = None;
        bench.now += MS(60_000);
        let mut seen = bench.poll();
        let error = seen.ended.remove(&id).unwrap().unwrap_err();
        assert_eq!(error.maybe_committed(), maybe_written, "{error}");
        assert!(error.to_string().contains("lost the connection"), "{error}");
    }
    // Never sent, and still on the wire.
    let mut bench = Bench::classic();
    let sent = bench.commit(&[(0, 5)]);
    let first = bench.sent();
    let queued = bench.commit(&[(0, 6)]);
    bench.now += MS(60_000);
    let mut seen = bench.poll();
    assert!(seen.ended.remove(&sent).unwrap().unwrap_err().maybe_committed());
    assert!(!seen.ended.remove(&queued).unwrap().unwrap_err().maybe_committed());
    // Whoever comes next waits for that answer all the same.
    let next = bench.commit(&[(0, 7)]);
    assert!(bench.poll().commits.is_empty());
    bench.answer(&first, ErrorCode::NONE);
    assert_eq!(contents(&bench.sent().1), [(0, 7)]);
    assert!(!bench.poll().ended.contains_key(&next));
}

#[test]
fn a_broker_without_the_api_ends_it_at_once() {
    let mut bench = Bench::classic();
    let id = bench.commit(&[(0, 5)]);
    let (token, _) = bench.sent();
    let error = ClientError::UnsupportedVersion {
        api: "OffsetCommit",
        peer: Peer::new(Some(NODE), "host", 9092),
        broker: None,
        client: VersionSpan { min: 2, max: 10 },
    };
    bench.fail(token, error);
    let seen = bench.poll();
    assert!(matches!(seen.ended[&id], Err(CommitError::Failed { maybe_committed: false, .. })));
    assert!(seen.lost.is_empty() && seen.heard.is_empty());
}

#[test]
fn a_rebalance_overtakes_what_waits() {
    for (now, rebalancing) in [
        (CommitAs::Rebalancing, true),
        (CommitAs::NoMember, false),
        (standalone(), false),
        (member(4), false),
    ] {
        for answered in [true, false] {
            let mut bench = Bench::classic();
            let id = bench.commit(&[(0, 5)]);
            let (token, _) = bench.sent();
            bench.fail(token, lost(answered));
            bench.view.commit_as = now.clone();
            let mut seen = bench.poll();
            let error = seen.ended.remove(&id).unwrap().unwrap_err();
            assert_eq!(error.maybe_committed(), answered);
            let told = matches!(error, CommitError::RebalanceInProgress { .. });
            let fenced = matches!(error, CommitError::Fenced { code: None, .. });
            assert_eq!((told, fenced), (rebalancing, !rebalancing), "{error}");
            bench.pause();
            assert!(bench.poll().commits.is_empty());
        }
    }
}

#[test]
fn as_nobody_nothing_can_be_committed() {
    let mut bench = Bench::classic();
    bench.view.commit_as = CommitAs::Rebalancing;
    let error = bench.try_commit(&[(0, 5)]).unwrap_err();
    assert!(matches!(error, CommitError::RebalanceInProgress { maybe_committed: false, .. }));
    bench.view.commit_as = CommitAs::NoMember;
    let error = bench.try_commit(&[(0, 5)]).unwrap_err();
    assert!(matches!(error, CommitError::Fenced { code: None, maybe_committed: false, .. }));
    assert!(bench.poll().ended.is_empty() && !bench.offsets.is_committing());
}

#[test]
fn with_the_new_protocol_an_epoch_goes_by_and_the_commit_with_it() {
    let mut bench = Bench::new(GroupProtocol::Consumer);
    let id = bench.commit(&[(0, 5)]);
    let first = bench.sent();
    bench.answer(&first, ErrorCode::STALE_MEMBER_EPOCH);
    bench.view.commit_as = member(4);
    let seen = bench.poll();
    assert!(seen.ended.is_empty() && seen.refused.is_empty() && seen.lost.is_empty());
    bench.pause();
    let second = bench.sent();
    assert_eq!(second.1.at(9).generation_id_or_member_epoch, 4);
    bench.answer(&second, ErrorCode::NONE);
    assert!(matches!(bench.poll().ended[&id], Ok(())));
    // Not as another member.
    let id = bench.commit(&[(0, 6)]);
    let third = bench.sent();
    bench.answer(&third, ErrorCode::STALE_MEMBER_EPOCH);
    let CommitAs::Committer(other) = &mut bench.view.commit_as else { unreachable!() };
    other.member_id = "member-2".to_owned();
    assert!(matches!(bench.poll().ended[&id], Err(CommitError::Fenced { .. })));
    // The classic protocol has no epochs.
    let mut bench = Bench::classic();
    let id = bench.commit(&[(0, 5)]);
    let sent = bench.sent();
    bench.answer(&sent, ErrorCode::STALE_MEMBER_EPOCH);
    assert!(matches!(bench.poll().ended[&id], Err(CommitError::Fenced { .. })));
}

#[test]
fn who_is_refused_is_told_of_it_only_as_who_it_still_is() {
    type Is = fn(&CommitError) -> bool;
    let fenced: Is = |error| matches!(error, CommitError::Fenced { code: Some(_), .. });
    let rebalance: Is = |error| matches!(error, CommitError::RebalanceInProgress { .. });
    let instance: Is = |error| matches!(error, CommitError::FencedInstanceId { instance, .. } if instance == "host-1");
    for (code, unchanged) in [
        (ErrorCode::ILLEGAL_GENERATION, fenced),
        (ErrorCode::UNKNOWN_MEMBER_ID, fenced),
        (ErrorCode::GROUP_ID_NOT_FOUND, fenced),
        (ErrorCode::FENCED_MEMBER_EPOCH, fenced),
        (ErrorCode::FENCED_INSTANCE_ID, instance),
        (ErrorCode::REBALANCE_IN_PROGRESS, rebalance),
    ] {
        let changed = if code == ErrorCode::REBALANCE_IN_PROGRESS { rebalance } else { fenced };
        for (now, is, refused) in [
            (member(3), unchanged, vec![code]),
            (member(4), changed, vec![]),
            (CommitAs::Rebalancing, rebalance, vec![]),
        ] {
            let mut bench = Bench::classic();
            let id = bench.commit(&[(0, 5), (1, 6)]);
            let sent = bench.sent();
            bench.view.commit_as = now;
            bench.answer(&sent, code);
            let mut seen = bench.poll();
            let error = seen.ended.remove(&id).unwrap().unwrap_err();
            assert!(is(&error) && !error.maybe_committed(), "{code}: {error}");
            assert_eq!(seen.refused, refused, "{code}");
        }
    }
}

#[test]
fn partitions_that_are_refused_are_named_and_the_others_committed() {
    let mut bench = Bench::classic();
    let id = bench.commit(&[(0, 5), (1, 6), (2, 7)]);
    let sent = bench.sent();
    bench.answer_each((sent.0, &sent.1), |partition| match partition {
        0 => ErrorCode::OFFSET_METADATA_TOO_LARGE,
        1 => ErrorCode::TOPIC_AUTHORIZATION_FAILED,
        _ => ErrorCode::NONE,
    });
    match bench.poll().ended.remove(&id) {
        Some(Err(CommitError::Refused { failed, maybe_committed: false })) => assert_eq!(
            failed,
            [
                (tp(0), ErrorCode::OFFSET_METADATA_TOO_LARGE),
                (tp(1), ErrorCode::TOPIC_AUTHORIZATION_FAILED)
            ]
        ),
        other => panic!("{other:?}"),
    }
    // One refused, one to be tried again: it ends with both.
    let id = bench.commit(&[(0, 5), (1, 6)]);
    let sent = bench.sent();
    bench.answer_each((sent.0, &sent.1), |partition| match partition {
        0 => ErrorCode::INVALID_COMMIT_OFFSET_SIZE,
        _ => ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
    });
    bench.pause();
    let sent = bench.sent();
    assert_eq!(contents(&sent.1), [(1, 6)]);
    bench.answer(&sent, ErrorCode::NONE);
    let error = bench.poll().ended.remove(&id).unwrap().unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::INVALID_COMMIT_OFFSET_SIZE));
    // For the group as a whole.
    let id = bench.commit(&[(0, 5)]);
    let sent = bench.sent();
    bench.answer(&sent, ErrorCode::GROUP_AUTHORIZATION_FAILED);
    assert!(matches!(bench.poll().ended[&id], Err(CommitError::Unauthorized { .. })));
}

#[test]
fn an_answer_that_does_not_fit_is_believed_no_further_than_it_fits() {
    let mut bench = Bench::classic();
    let id = bench.commit(&[(0, 5), (1, 6)]);
    let (token, commit) = bench.sent();
    let mut answer = response(&commit, |_, _| ErrorCode::NONE);
    let mut other = answer.topics[0].clone();
    other.name = "payments".to_owned();
    other.partitions[0].error_code = ErrorCode::ILLEGAL_GENERATION;
    // Of what is said twice the first holds; of partition 1 nothing is said.
    answer.topics[0].partitions[1].partition_index = 0;
    answer.topics[0].partitions[1].error_code = ErrorCode::GROUP_AUTHORIZATION_FAILED;
    answer.topics.push(other);
    bench.offsets.handle_commit(token, Ok(answer), &bench.view, bench.now);
    match bench.poll().ended.remove(&id) {
        Some(Err(CommitError::Refused { failed, maybe_committed: true })) => {
            assert_eq!(failed, [(tp(1), ErrorCode::UNKNOWN_SERVER_ERROR)]);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_revoked_is_not_committed_any_more() {
    let mut bench = Bench::new(GroupProtocol::Consumer);
    let a = bench.commit(&[(0, 5), (1, 6)]);
    let first = bench.sent();
    let b = bench.commit(&[(1, 7)]);
    let c = bench.commit(&[(2, 8)]);
    bench.offsets.revoked(&BTreeSet::from([tp(1)]));
    let mut seen = bench.poll();
    let error = seen.ended.remove(&b).unwrap().unwrap_err();
    assert!(matches!(error, CommitError::RebalanceInProgress { maybe_committed: false, .. }));
    assert!(seen.ended.is_empty(), "one is on the wire, the other of other partitions");
    // It may still succeed, but is not tried again.
    bench.answer(&first, ErrorCode::COORDINATOR_LOAD_IN_PROGRESS);
    let error = bench.poll().ended.remove(&a).unwrap().unwrap_err();
    assert!(matches!(error, CommitError::RebalanceInProgress { maybe_committed: false, .. }));
    bench.pause();
    let second = bench.sent();
    assert_eq!(contents(&second.1), [(2, 8)]);
    bench.offsets.revoked(&BTreeSet::from([tp(2)]));
    bench.answer(&second, ErrorCode::NONE);
    assert!(matches!(bench.poll().ended[&c], Ok(())));
    // A connection that is lost leaves it open.
    let d = bench.commit(&[(3, 1)]);
    let (token, _) = bench.sent();
    bench.offsets.revoked(&BTreeSet::from([tp(3)]));
    bench.fail(token, lost(true));
    let error = bench.poll().ended.remove(&d).unwrap().unwrap_err();
    assert!(matches!(error, CommitError::RebalanceInProgress { maybe_committed: true, .. }));
}

#[test]
fn no_coordinator_for_this_client_ends_it_at_once() {
    for (code, unauthorized) in
        [(ErrorCode::GROUP_AUTHORIZATION_FAILED, true), (ErrorCode::INVALID_GROUP_ID, false)]
    {
        let mut bench = Bench::classic();
        let id = bench.commit(&[(0, 5)]);
        bench.view.coordinator = None;
        bench.view.refused = Some(code);
        let mut seen = bench.poll();
        let error = seen.ended.remove(&id).unwrap().unwrap_err();
        assert_eq!((error.code(), error.maybe_committed()), (Some(code), false));
        assert_eq!(matches!(error, CommitError::Unauthorized { .. }), unauthorized);
    }
}

#[test]
fn offsets_that_cannot_be_are_refused_and_none_are_committed_at_once() {
    let mut bench = Bench::classic();
    match bench.try_commit(&[(0, 5), (1, -1)]) {
        Err(CommitError::InvalidOffset { partition, offset: -1 }) => assert_eq!(partition, tp(1)),
        other => panic!("{other:?}"),
    }
    let id = bench.commit(&[]);
    let seen = bench.poll();
    assert!(matches!(seen.ended[&id], Ok(())) && seen.commits.is_empty());
}

#[test]
fn a_close_ends_everything() {
    let mut bench = Bench::classic();
    let a = bench.commit(&[(0, 5)]);
    let sent = bench.sent();
    let b = bench.commit(&[(0, 6)]);
    let c = bench.lookup(&[0]);
    let actions = bench.offsets.close();
    let mut seen = bench.see(actions);
    for (id, maybe) in [(a, true), (b, false)] {
        let error = seen.ended.remove(&id).unwrap().unwrap_err();
        assert!(matches!(&error, CommitError::Failed { cause: ClientError::Closed, .. }));
        assert_eq!(error.maybe_committed(), maybe);
    }
    assert_eq!(seen.found[&c], Err(ClientError::Closed));
    bench.answer(&sent, ErrorCode::NONE);
    assert!(bench.poll().ended.is_empty());
}
