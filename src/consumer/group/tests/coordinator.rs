//! Where the coordinator is, and what is given up with it.

use super::*;
use crate::protocol::messages::find_coordinator::Coordinator as Entry;

#[test]
fn a_silent_coordinator_is_given_up_and_its_successor_hears_of_the_member_at_once() {
    let mut bench = Bench::member_with(config(&[Eager]), "t-0");
    bench.wait();
    let (late, _) = bench.heartbeat_request();
    let start = bench.at;
    while bench.sent.is_empty() {
        bench.wait();
    }
    assert_eq!(bench.at - start, SECONDS(42), "since the last answer, 3 s before the heartbeat");
    bench.coordinator_is(2);
    let (sent, _) = bench.heartbeat_request();
    assert_eq!(sent.to, Destination::Coordinator(BrokerId(2)));
    // Nobody waits for it any more.
    bench.answer(&late, heartbeat(ErrorCode::UNKNOWN_MEMBER_ID));
    bench.tells_nothing();
    bench.answer(&sent, heartbeat(ErrorCode::NONE));
    assert_eq!(bench.wait(), SECONDS(3));
    bench.heartbeat(ErrorCode::NONE);
}

/// At each step of a membership; KAFKA-8950 is such a race.
#[test]
fn a_disconnect_at_any_step_leads_on() {
    for step in 0..5 {
        let mut bench = Bench::new(config(&[Eager]));
        bench.group.subscribe(topics("t u"), bench.at);
        bench.user_polls();
        let found_it = |bench: &mut Bench| {
            while bench.sent.is_empty() {
                bench.wait();
            }
            bench.coordinator_is(1);
        };
        if step == 0 {
            let sent = bench.only();
            bench.fail(&sent, disconnected());
        }
        found_it(&mut bench);
        if step == 1 {
            let (sent, _) = bench.join_request();
            bench.fail(&sent, disconnected());
            found_it(&mut bench);
        }
        if step == 2 {
            let (sent, _) = bench.join_request();
            bench.answer(&sent, joined(1, "me", "leader"));
            let (sent, _) = bench.sync_request();
            bench.fail(&sent, disconnected());
            found_it(&mut bench);
            let (_, join) = bench.join_request_left();
            assert_eq!(join.member_id, "me");
        }
        bench.rejoined(2, "t-0");
        bench.tells("assigned t-0 of t-0");
        if step == 3 {
            bench.wait();
            let (sent, _) = bench.heartbeat_request();
            bench.fail(&sent, disconnected());
            found_it(&mut bench);
            bench.heartbeat(ErrorCode::NONE);
            bench.tells_nothing();
        }
        bench.group.leave(LeaveMode::Default, "done", bench.at);
        bench.tells("revoked t-0");
        let sent = bench.only();
        if step == 4 {
            bench.fail(&sent, disconnected());
        } else {
            bench.answer(&sent, left());
        }
        assert!(bench.group.is_out(), "step {step}: {:?}", bench.group);
        assert_eq!(bench.group.next_deadline(), None);
    }
}

#[test]
fn whoever_loses_the_coordinator_gives_up_what_everybody_has_there() {
    let mut bench = Bench::new(config(&[Eager]));
    bench.group.subscribe(topics("t u"), bench.at);
    bench.user_polls();
    bench.coordinator_is(1);
    let (late, _) = bench.join_request();
    let known = bench.group.coordinator().known().unwrap();
    // A commit was answered by NOT_COORDINATOR.
    assert!(bench.group.coordinator().lost(known.version, bench.at));
    assert!(!bench.group.coordinator().lost(known.version, bench.at), "only once");
    bench.run();
    bench.coordinator_is(2);
    let (sent, _) = bench.join_request();
    assert_eq!(sent.to, Destination::Coordinator(BrokerId(2)));
    bench.answer(&late, joined(9, "ghost", "ghost"));
    bench.nothing_sent();
    // Nor does news of the former one drive away its successor.
    assert!(!bench.group.coordinator().lost(known.version, bench.at));
    bench.answer(&sent, joined(10, "me", "leader"));
    bench.sync_request();
}

#[test]
fn looking_for_the_coordinator_backs_off_until_it_is_of_use() {
    let mut bench = Bench::new(config(&[Eager]));
    bench.group.subscribe(topics("t"), bench.at);
    bench.user_polls();
    let mut waits = Vec::new();
    for _ in 0..8 {
        let sent = bench.only();
        bench.answer(&sent, found_error(ErrorCode::COORDINATOR_NOT_AVAILABLE));
        waits.push(bench.wait().as_millis());
    }
    assert!(waits[0] >= 80 && waits[0] <= 120, "{waits:?}");
    assert!(waits[7] >= 800 && waits[7] <= 1000, "{waits:?}");
    // Found, and it says that it is none: that is no use.
    bench.coordinator_is(1);
    let (sent, _) = bench.join_request();
    bench.answer(&sent, join_error(ErrorCode::NOT_COORDINATOR, ""));
    assert!(bench.wait() >= MS(800));
    bench.coordinator_is(1);
    bench.rejoined(1, "t-0");
    bench.tells("assigned t-0 of t-0");
    // Now it was of use, so the next loss is followed up at once.
    bench.wait();
    bench.heartbeat(ErrorCode::NOT_COORDINATOR);
    bench.coordinator_is(2);
    bench.heartbeat(ErrorCode::NONE);
}

#[test]
fn answers_are_read_in_both_forms() {
    let entry = |key: &str, node| Entry { key: key.to_owned(), node_id: node, ..Entry::default() };
    let listed = FindCoordinatorResponse {
        coordinators: vec![entry("other", 1), entry("readers", 5)],
        ..FindCoordinatorResponse::default()
    };
    let unlisted =
        FindCoordinatorResponse { coordinators: vec![entry("other", 1)], ..listed.clone() };
    let nowhere = FindCoordinatorResponse { node_id: -1, ..FindCoordinatorResponse::default() };
    for (response, expected) in [(listed, Some(5)), (unlisted, None), (nowhere, None)] {
        let mut bench = Bench::new(config(&[Eager]));
        bench.group.coordinator().want();
        bench.run();
        let sent = bench.only();
        let GroupRequest::FindCoordinator(find) = &sent.request else { panic!("{sent:?}") };
        assert_eq!(
            (find.request(3).key.as_str(), find.request(3).coordinator_keys.len()),
            ("readers", 0)
        );
        assert_eq!((find.request(4).key.as_str(), find.request(4).coordinator_keys.len()), ("", 1));
        bench.answer(&sent, GroupResponse::FindCoordinator(response));
        let known = bench.group.coordinator().known();
        assert_eq!(known.map(|known| known.broker.0), expected);
        assert_eq!(bench.group.next_deadline(), None, "nobody wants it any more");
        bench.group.coordinator().want();
        assert_eq!(bench.group.next_deadline().is_some(), expected.is_none());
    }
}

/// Every code that FindCoordinator can answer: found, tried again, or told.
#[test]
fn every_code_is_dealt_with() {
    for &code in ErrorCode::ALL {
        let mut bench = Bench::new(config(&[Eager]));
        bench.group.subscribe(topics("t"), bench.at);
        bench.user_polls();
        let sent = bench.only();
        bench.answer(&sent, found_error(code));
        let told = bench.told();
        if code.is_ok() {
            bench.join_request();
        } else {
            assert_eq!(told.is_none(), code.is_retriable(), "{code}: {told:?}");
            assert!(bench.group.next_deadline().is_some(), "{code}");
        }
    }
    let mut bench = Bench::new(config(&[Eager]));
    bench.group.subscribe(topics("t"), bench.at);
    bench.user_polls();
    let sent = bench.only();
    bench.fail(&sent, ClientError::Closed);
    assert!(bench.wait() > Duration::ZERO, "a closed client is not asked in a loop");
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
