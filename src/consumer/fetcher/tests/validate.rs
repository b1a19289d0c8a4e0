//! Positions are held against the logs of new leaders (KIP-320).

use super::*;
use crate::consumer::fetcher::validate::{Finding, compare};
use crate::consumer::subscription::{Place, Position};
use crate::protocol::messages::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
    OffsetForLeaderTopicResult,
};
use crate::types::OffsetAndMetadata;

fn bytes(base: i64, values: &[&[u8]]) -> Bytes {
    batch(base, values, Compression::None)
}

/// Has read offsets 0 and 1, of epoch 3, and is led by node 2 now.
fn moved(reset: OffsetReset) -> Bench {
    let bench = Bench::new(FetchConfig { reset, ..config() }, &[(0, StartAt::Offset(0))]);
    bench.deliver(bytes(0, &[b"a", b"b"]));
    assert_eq!(bench.collected().len(), 2);
    let _abandoned = bench.fetch();
    lead(&bench, 2, 5);
    bench
}

fn lead(bench: &Bench, node: i32, epoch: i32) {
    let leadership = Leadership { epoch, ..led_by(node).unwrap() };
    bench.fetcher.lock().handle_metadata(|_| Some(leadership), bench.now);
}

/// The validation that is wanted now, and nothing else.
fn wanted(bench: &Bench) -> (u64, BrokerId, OffsetForLeaderEpochRequest) {
    let mut actions = bench.poll();
    let Some(Action::OffsetForLeaderEpoch { token, node, request }) = actions.pop() else {
        panic!("a validation was expected");
    };
    assert!(actions.is_empty(), "{actions:?}");
    (token, node, request)
}

fn tell(bench: &Bench, token: u64, code: ErrorCode, epoch: i32, end_offset: i64) {
    let end = EpochEndOffset { error_code: code, partition: 0, leader_epoch: epoch, end_offset };
    let topic = OffsetForLeaderTopicResult { topic: "orders".to_owned(), partitions: vec![end] };
    let response = OffsetForLeaderEpochResponse { topics: vec![topic], ..Default::default() };
    bench.fetcher.lock().handle_epochs(token, Ok(Some(response)), bench.now);
}

#[test]
fn the_rule_is_kafkas() {
    let position = Position { offset: 10, epoch: Some(4) };
    for (epoch, end, expected) in [
        (4, 10, Finding::Valid),
        (4, 99, Finding::Valid),
        (3, 10, Finding::Valid),
        (3, 7, Finding::Truncated { divergent: Some(Position { offset: 7, epoch: Some(3) }) }),
        (-1, 7, Finding::Truncated { divergent: None }),
        (3, -1, Finding::Truncated { divergent: None }),
    ] {
        assert_eq!(compare(position, epoch, end), expected, "{epoch} {end}");
    }
}

#[test]
fn a_new_leader_is_asked_before_it_is_fetched_from() {
    let bench = moved(OffsetReset::Latest);
    let (token, node, request) = wanted(&bench);
    assert_eq!((node, request.replica_id), (BrokerId(2), -1));
    let asked = &request.topics[0].partitions[0];
    assert_eq!((asked.partition, asked.current_leader_epoch, asked.leader_epoch), (0, 5, 3));
    assert!(bench.poll().is_empty());
    tell(&bench, token, ErrorCode::NONE, 3, 2);
    let wanted = bench.fetch();
    let asked = wanted.partition(0).unwrap();
    assert_eq!((wanted.node, asked.fetch_offset), (BrokerId(2), 2));
    assert_eq!((asked.current_leader_epoch, asked.last_fetched_epoch), (5, 3));
}

#[test]
fn a_new_epoch_of_the_same_leader_counts_as_a_new_one_and_the_same_news_does_not() {
    let bench = Bench::one();
    bench.deliver(bytes(0, &[b"a"]));
    let under_way = bench.fetch();
    lead(&bench, 1, 4);
    bench.serve(&under_way, &[(0, Bytes::new())]);
    let (token, _, _) = wanted(&bench);
    lead(&bench, 1, 4);
    tell(&bench, token, ErrorCode::NONE, 3, 1);
    lead(&bench, 1, 4);
    bench.fetch();
}

#[test]
fn without_an_epoch_there_is_nothing_to_ask() {
    let bench = Bench::one();
    assert_eq!(bench.fetch().partition(0).unwrap().last_fetched_epoch, -1);
    lead(&bench, 2, 5);
    assert_eq!(bench.fetch().node, BrokerId(2));
}

#[test]
fn brokers_that_cannot_be_asked_are_read_from_all_the_same() {
    let bench = moved(OffsetReset::None);
    let (token, _, _) = wanted(&bench);
    bench.fetcher.lock().handle_epochs(token, Ok(None), bench.now);
    assert_eq!(bench.fetch().partition(0).unwrap().fetch_offset, 2);
}

#[test]
fn a_committed_offset_is_held_against_the_log_by_its_epoch() {
    let bench = Bench::new(config(), &[(0, StartAt::Committed)]);
    let Some(Action::Committed { token, .. }) = bench.poll().pop() else { panic!() };
    let committed = OffsetAndMetadata::new(50).with_leader_epoch(2);
    let committed = [(tp(0), Some(committed))].into();
    bench.fetcher.lock().handle_committed(token, Ok(committed), bench.now);
    let (token, _, request) = wanted(&bench);
    assert_eq!(request.topics[0].partitions[0].leader_epoch, 2);
    tell(&bench, token, ErrorCode::NONE, 2, 40);
    match bench.error() {
        ConsumerError::LogTruncation { partition, position, divergent } => {
            assert_eq!(partition, tp(0));
            assert_eq!((position.offset, position.leader_epoch), (50, Some(2)));
            assert_eq!(divergent, Some(OffsetAndMetadata::new(40).with_leader_epoch(2)));
        }
        other => panic!("{other}"),
    }
}

#[test]
fn with_a_reset_reading_goes_back_to_where_the_log_diverged() {
    let bench = moved(OffsetReset::Latest);
    let (token, _, _) = wanted(&bench);
    tell(&bench, token, ErrorCode::NONE, 2, 1);
    assert_eq!(bench.position(0), Some(1));
    let wanted = bench.fetch();
    assert_eq!(wanted.partition(0).unwrap().last_fetched_epoch, 2);
    bench.serve(&wanted, &[(0, bytes(1, &[b"B"]))]);
    assert_eq!(bench.collected(), [(1, b"B".to_vec())]);
}

#[test]
fn a_truncation_that_nobody_can_place_leads_to_where_the_reset_says() {
    let bench = moved(OffsetReset::Latest);
    let (token, _, _) = wanted(&bench);
    tell(&bench, token, ErrorCode::NONE, -1, -1);
    assert_eq!(bench.lookup().1, [-1]);
}

#[test]
fn without_a_reset_a_truncation_is_told_until_a_seek() {
    let mut bench = moved(OffsetReset::None);
    for _ in 0..2 {
        let (token, _, _) = wanted(&bench);
        tell(&bench, token, ErrorCode::NONE, 3, 1);
        assert!(bench.poll().is_empty());
        assert!(matches!(bench.error(), ConsumerError::LogTruncation { .. }));
        assert_eq!(bench.position(0), Some(2));
        bench.now += MS(200);
    }
    bench.fetcher.lock().seek(&tp(0), StartAt::Offset(1));
    bench.fetch();
}

#[test]
fn what_was_only_fetched_ahead_is_dropped_and_nobody_hears_of_it() {
    for (epoch, end, revalidated) in [(3, 3, false), (-1, -1, true)] {
        let bench = moved_with_buffer();
        let (token, _, _) = wanted(&bench);
        tell(&bench, token, ErrorCode::NONE, epoch, end);
        assert_eq!(bench.position(0), Some(2));
        assert!(bench.collect().is_none(), "the buffer is of another log");
        if revalidated {
            let (token, _, request) = wanted(&bench);
            assert_eq!(request.topics[0].partitions[0].leader_epoch, 3);
            tell(&bench, token, ErrorCode::NONE, 3, 2);
        }
        bench.deliver_at(2, bytes(2, &[b"C"]));
        assert_eq!(bench.collected(), [(2, b"C".to_vec())]);
    }
}

/// As [`moved`], with offsets 2 to 4 fetched ahead.
fn moved_with_buffer() -> Bench {
    let bench = Bench::one();
    bench.deliver(bytes(0, &[b"a", b"b"]));
    bench.deliver_at(2, bytes(2, &[b"c", b"d", b"e"]));
    let config = Room { bytes: 1, records: 2 };
    // Only the first batch is taken.
    let Some(Taken::Batches(mut handout)) = bench.fetcher.lock().take(true, bench.now) else {
        panic!("records");
    };
    let checks = bench.fetcher.lock().config().checks;
    let mut room = config;
    handout.completed.take(&mut handout.position, &mut room, checks);
    bench.fetcher.lock().give_back(handout, None, bench.now);
    assert_eq!(bench.position(0), Some(2));
    let _abandoned = bench.fetch();
    lead(&bench, 2, 5);
    bench
}

#[test]
fn errors_of_a_validation_are_tried_again_and_reset_nothing() {
    let mut bench = moved(OffsetReset::Earliest);
    for code in [
        ErrorCode::NOT_LEADER_OR_FOLLOWER,
        ErrorCode::FENCED_LEADER_EPOCH,
        ErrorCode::UNKNOWN_LEADER_EPOCH,
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode::UNKNOWN_SERVER_ERROR,
    ] {
        let (token, _, _) = wanted(&bench);
        tell(&bench, token, code, -1, -1);
        for action in bench.poll() {
            assert!(matches!(action, Action::RefreshMetadata), "{action:?}");
        }
        bench.now += MS(200);
        assert_eq!(bench.position(0), Some(2));
    }
    let (token, _, _) = wanted(&bench);
    let error = ClientError::UnknownBroker { id: BrokerId(2) };
    bench.fetcher.lock().handle_epochs(token, Err(error), bench.now);
    bench.now += MS(200);
    bench.poll();
    assert_eq!(bench.position(0), Some(2));
}

#[test]
fn a_seek_or_another_leader_wins_over_a_validation_that_is_on_its_way() {
    let bench = moved(OffsetReset::Earliest);
    let (token, _, _) = wanted(&bench);
    bench.fetcher.lock().seek(&tp(0), StartAt::Offset(1));
    tell(&bench, token, ErrorCode::NONE, 3, 0);
    assert_eq!(bench.position(0), Some(1));
    bench.fetch();

    let bench = moved(OffsetReset::Earliest);
    let (stale, _, _) = wanted(&bench);
    lead(&bench, 2, 6);
    tell(&bench, stale, ErrorCode::NONE, 3, 0);
    assert_eq!(bench.position(0), Some(2), "of an epoch that is over");
    let (_, _, request) = wanted(&bench);
    assert_eq!(request.topics[0].partitions[0].current_leader_epoch, 6);
}

#[test]
fn a_fetch_that_finds_the_log_diverged_goes_back_as_well() {
    let diverging = |epoch, end_offset| {
        let mut answer = served(&[(0, Bytes::new())]);
        let end = &mut answer.responses[0].partitions[0].diverging_epoch;
        (end.epoch, end.end_offset) = (epoch, end_offset);
        answer
    };
    let read = |reset| {
        let bench = Bench::new(FetchConfig { reset, ..config() }, &[(0, StartAt::Offset(0))]);
        bench.deliver(bytes(0, &[b"a", b"b"]));
        assert_eq!(bench.collected().len(), 2);
        bench
    };
    let bench = read(OffsetReset::Earliest);
    bench.answer(&bench.fetch(), diverging(2, 1));
    assert_eq!(bench.position(0), Some(1));
    let bench = read(OffsetReset::None);
    bench.answer(&bench.fetch(), diverging(2, 1));
    assert!(matches!(bench.error(), ConsumerError::LogTruncation { .. }));
    // Nothing is known to be missing.
    let bench = read(OffsetReset::None);
    bench.answer(&bench.fetch(), diverging(2, 9));
    let asked = bench.fetch();
    let asked = asked.partition(0).unwrap();
    assert_eq!((asked.fetch_offset, asked.last_fetched_epoch), (2, 2));
    let place = bench.fetcher.lock().partitions[&1].place;
    assert!(matches!(place, Place::At { position: Position { offset: 2, .. }, .. }));
}
