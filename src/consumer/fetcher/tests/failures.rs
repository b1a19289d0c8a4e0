//! Codes, leaders that move, and connections that fail: what is tried again, where and when.

use super::*;
use crate::consumer::fetcher::answer::{Verdict, judge};

#[test]
fn new_leaders_are_tried_at_once_but_not_one_after_the_other() {
    let mut bench = Bench::one();
    let mut wanted = bench.fetch();
    let mut waited = Vec::new();
    for turn in 0..6 {
        bench.answer(&wanted, refused(0, ErrorCode::NOT_LEADER_OR_FOLLOWER));
        assert!(matches!(bench.poll()[..], [Action::RefreshMetadata]));
        let leader = Leadership { epoch: 10 + turn, ..led_by(turn % 2).unwrap() };
        bench.fetcher.lock().handle_metadata(|_| Some(leader), bench.now);
        let start = bench.now;
        wanted = loop {
            match bench.fetches().pop() {
                Some(wanted) => break wanted,
                None => bench.now = bench.fetcher.lock().next_deadline().unwrap(),
            }
        };
        waited.push(bench.now > start);
    }
    assert_eq!(waited, [false, true, false, true, false, true]);
}

#[test]
fn each_code_of_a_fetch_has_its_verdict() {
    let expected = |code: ErrorCode| match code.code() {
        1 => Verdict::OutOfRange,
        // Kafka's table of the consumer: refresh metadata and retry.
        3 | 6 | 9 | 56 | 74 | 78 | 100 | 103 => Verdict::Refresh,
        // Log and retry.
        75 | -1 => Verdict::Retry,
        2 | 29 => Verdict::Refuse,
        _ if code.refreshes_metadata() => Verdict::Refresh,
        _ if code.is_retriable() => Verdict::Retry,
        _ => Verdict::Refuse,
    };
    for &code in ErrorCode::ALL.iter().filter(|code| !code.is_ok()) {
        assert_eq!(judge(code), expected(code), "{code}");
    }
    assert_eq!(judge(ErrorCode::new(9_999)), Verdict::Refuse);
}

#[test]
fn a_moved_leader_is_looked_for_and_asked_at_once_when_it_is_found() {
    let bench = Bench::one();
    bench.answer(&bench.fetch(), refused(0, ErrorCode::NOT_LEADER_OR_FOLLOWER));
    let actions = bench.poll();
    assert!(matches!(actions[..], [Action::RefreshMetadata]), "{actions:?}");
    assert!(bench.fetcher.lock().next_deadline().is_some_and(|at| at <= bench.now + MS(12)));
    bench.fetcher.lock().handle_metadata(|_| led_by(2), bench.now);
    assert_eq!(bench.fetch().node, BrokerId(2));
    assert!(bench.collect().is_none(), "the user sees nothing of it");
}

#[test]
fn an_answer_of_a_leader_that_was_replaced_is_neither_waited_for_nor_taken() {
    let bench = Bench::one();
    let old = bench.fetch();
    let no_leader = Leadership { leader: None, ..led_by(1).unwrap() };
    bench.fetcher.lock().handle_metadata(|_| Some(no_leader), bench.now);
    assert!(bench.fetcher.lock().partitions[&1].in_flight.is_some(), "it may still answer");
    bench.fetcher.lock().handle_metadata(|_| led_by(2), bench.now);
    let new = bench.fetch();
    assert_eq!((new.node, new.partition(0).unwrap().fetch_offset), (BrokerId(2), 0));
    bench.serve(&old, &[(0, batch(0, &[b"old"], Compression::None))]);
    assert_eq!(bench.collected(), []);
    assert!(bench.fetches().is_empty(), "the new one is still waited for");
    bench.serve(&new, &[(0, batch(0, &[b"new"], Compression::None))]);
    assert_eq!(bench.collected(), [(0, b"new".to_vec())]);
}

#[test]
fn what_failed_together_is_tried_again_together() {
    let starts: Vec<_> = (0..3).map(|number| (number, StartAt::Offset(0))).collect();
    let mut bench = Bench::new(config(), &starts);
    for _ in 0..5 {
        let wanted = bench.fetch();
        assert_eq!(wanted.partitions().len(), 3);
        let error = ClientError::UnknownBroker { id: BrokerId(1) };
        bench.fetcher.lock().handle_fetched(wanted.token, Err(error), bench.now);
        assert!(matches!(bench.poll()[..], [Action::RefreshMetadata]));
        bench.now = bench.fetcher.lock().next_deadline().unwrap();
    }
}

#[test]
fn a_long_poll_ends_when_another_partition_is_to_be_tried_again() {
    let mut bench = Bench::new(config(), &[(0, StartAt::Offset(0)), (1, StartAt::Offset(0))]);
    let wanted = bench.fetch();
    let mut answer = served(&[(1, Bytes::new())]);
    answer.responses.extend(refused(0, ErrorCode::UNKNOWN_SERVER_ERROR).responses);
    bench.answer(&wanted, answer);
    let wanted = bench.fetch();
    assert!(wanted.partition(0).is_none());
    let retry_at = bench.fetcher.lock().next_deadline().unwrap();
    let waits = MS(u64::try_from(wanted.request.max_wait_ms).unwrap());
    assert!(bench.now + waits >= retry_at && bench.now + waits <= retry_at + MS(1), "{waits:?}");
    bench.now += waits;
    bench.serve(&wanted, &[(1, Bytes::new())]);
    let wanted = bench.fetch();
    assert_eq!((wanted.partitions().len(), wanted.request.max_wait_ms), (2, 500));
}

#[test]
fn the_leader_that_a_broker_names_is_passed_on() {
    let bench = Bench::one();
    let mut answer = refused(0, ErrorCode::FENCED_LEADER_EPOCH);
    let leader = &mut answer.responses[0].partitions[0].current_leader;
    (leader.leader_id, leader.leader_epoch) = (2, 9);
    bench.answer(&bench.fetch(), answer);
    match &bench.poll()[..] {
        [Action::LeaderHint(hint)] => {
            assert_eq!((hint.leader, hint.epoch), (BrokerId(2), 9));
            assert_eq!(hint.partition, tp(0));
            assert_eq!(hint.endpoint, None);
        }
        other => panic!("a hint was expected, and this came: {other:?}"),
    }
}

#[test]
fn a_partition_without_leader_is_looked_for_with_back_off() {
    let mut bench = Bench::one();
    let leaderless = Leadership { leader: None, epoch: 3, topic_id: TOPIC_ID };
    bench.fetcher.lock().handle_metadata(|_| Some(leaderless), bench.now);
    assert!(matches!(bench.poll()[..], [Action::RefreshMetadata]));
    assert!(bench.poll().is_empty());
    bench.now += MS(200);
    assert!(matches!(bench.poll()[..], [Action::RefreshMetadata]));
    bench.fetcher.lock().handle_metadata(|_| led_by(1), bench.now);
    assert_eq!(bench.fetches().len(), 1);
}

#[test]
fn a_connection_that_fails_is_tried_again_and_loses_nothing() {
    let mut bench = Bench::one();
    let wanted = bench.fetch();
    let error = ClientError::UnknownBroker { id: BrokerId(1) };
    bench.fetcher.lock().handle_fetched(wanted.token, Err(error), bench.now);
    let actions = bench.poll();
    assert!(matches!(actions[..], [Action::RefreshMetadata]), "{actions:?}");
    bench.now += MS(20);
    bench.deliver(batch(0, &[b"a"], Compression::None));
    assert_eq!(bench.collected(), [(0, b"a".to_vec())]);
}
