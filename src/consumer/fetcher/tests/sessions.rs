//! Incremental fetch sessions (KIP-227).

use std::sync::Arc;

use super::*;
use crate::consumer::fetcher::session::{Part, Session, Wanted as Want};

fn want(number: i32, offset: i64, topic_id: TopicId) -> (Arc<TopicPartition>, Want) {
    let partition =
        FetchPartition { partition: number, fetch_offset: offset, ..FetchPartition::default() };
    (Arc::new(tp(number)), Want { topic_id, partition })
}

fn named(part: &Part) -> Vec<(i32, i64)> {
    let all = part.topics.iter().flat_map(|topic| &topic.partitions);
    all.map(|asked| (asked.partition, asked.fetch_offset)).collect()
}

fn forgotten(part: &Part) -> Vec<(TopicId, Vec<i32>)> {
    part.forgotten.iter().map(|topic| (topic.topic_id, topic.partitions.clone())).collect()
}

fn at(part: &Part) -> (i32, i32) {
    (part.session_id, part.session_epoch)
}

#[test]
fn a_session_names_what_is_new_and_what_is_gone() {
    let mut session = Session::default();
    let id = TOPIC_ID;
    let part = session.plan(vec![want(0, 5, id), want(1, 6, id)]);
    assert!(part.is_full() && part.by_topic_id);
    assert_eq!((at(&part), named(&part)), ((0, 0), vec![(0, 5), (1, 6)]));
    session.answered(99);
    let part = session.plan(vec![want(1, 6, id), want(0, 8, id), want(2, 0, id)]);
    assert!(!part.is_full());
    assert_eq!((at(&part), named(&part)), ((99, 1), vec![(0, 8), (2, 0)]));
    session.answered(99);
    let part = session.plan(vec![want(1, 6, id)]);
    assert_eq!((at(&part), named(&part)), ((99, 2), vec![]));
    assert_eq!(forgotten(&part), [(id, vec![0, 2])]);
    session.answered(99);
    let other = TopicId([6; 16]);
    let part = session.plan(vec![want(1, 6, other)]);
    assert_eq!((at(&part), named(&part)), ((99, 0), vec![(1, 6)]), "a topic that was made anew");
}

#[test]
fn a_session_starts_over_when_either_side_has_lost_it() {
    let id = TOPIC_ID;
    let opened = || {
        let mut session = Session::default();
        session.plan(vec![want(0, 5, id)]);
        session.answered(99);
        session
    };
    let next = |mut session: Session| {
        let part = session.plan(vec![want(0, 5, id)]);
        assert_eq!(named(&part), [(0, 5)], "all of it");
        at(&part)
    };
    let mut session = opened();
    session.answered(0);
    assert_eq!(next(session), (0, 0), "the broker closed it");
    let mut session = opened();
    assert!(session.refused(ErrorCode::FETCH_SESSION_ID_NOT_FOUND));
    assert_eq!(next(session), (0, 0));
    for code in [
        ErrorCode::INVALID_FETCH_SESSION_EPOCH,
        ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR,
        ErrorCode::INCONSISTENT_TOPIC_ID,
        ErrorCode::UNKNOWN_SERVER_ERROR,
    ] {
        let mut session = opened();
        let at_once = session.refused(code);
        assert_eq!(at_once, code != ErrorCode::UNKNOWN_SERVER_ERROR, "{code}");
        assert!(!session.refused(code), "not twice in a row");
        assert_eq!(next(session), (99, 0), "{code}");
    }
    let mut session = opened();
    session.start_over();
    assert_eq!(next(session), (99, 0));
    let mut session = opened();
    session.plan(vec![]);
    session.answered(7);
    assert_eq!(next(session), (7, 0), "of another session");
}

#[test]
fn topics_without_ids_cannot_come_into_a_session_with_ids() {
    let mut session = Session::default();
    session.plan(vec![want(0, 5, TOPIC_ID)]);
    session.answered(99);
    let part = session.plan(vec![want(0, 5, TOPIC_ID), want(1, 0, TopicId::ZERO)]);
    assert!(!part.by_topic_id);
    assert_eq!((at(&part), named(&part)), ((99, 0), vec![(0, 5), (1, 0)]));
}

#[test]
fn the_epoch_after_the_largest_is_one() {
    let mut session = Session::default();
    session.plan(vec![]);
    session.answered(1);
    for _ in 0..3 {
        session.answered(1);
    }
    assert_eq!(at(&session.plan(vec![])), (1, 4));
    session.wind_to(i32::MAX);
    session.answered(1);
    assert_eq!(at(&session.plan(vec![])), (1, 1));
}

fn in_session(parts: &[(i32, Bytes)]) -> FetchResponse {
    FetchResponse { session_id: 99, ..served(parts) }
}

#[test]
fn what_an_incremental_answer_leaves_out_is_not_new() {
    let mut bench = Bench::new(config(), &[(0, StartAt::Offset(0)), (1, StartAt::Offset(0))]);
    let bytes = batch(0, &[b"a"], Compression::None);
    bench.answer(&bench.fetch(), in_session(&[(0, Bytes::new()), (1, Bytes::new())]));
    let wanted = bench.fetch();
    assert!(wanted.partitions().is_empty(), "nothing is different");
    assert_eq!((wanted.request.session_id, wanted.request.session_epoch), (99, 1));
    bench.answer(&wanted, in_session(&[(1, bytes)]));
    let wanted = bench.fetch();
    assert_eq!(wanted.partitions().len(), 1);
    assert_eq!(wanted.partition(1).unwrap().fetch_offset, 1);
    bench.now += MS(500);
    bench.answer(&wanted, FetchResponse { session_id: 99, ..FetchResponse::default() });
    assert_eq!(bench.fetch().request.session_epoch, 3, "nobody has failed");
    assert_eq!(bench.collected().len(), 1);
}

#[test]
fn a_paused_partition_is_forgotten_and_named_again() {
    let mut bench = Bench::new(config(), &[(0, StartAt::Offset(0)), (1, StartAt::Offset(0))]);
    bench.answer(&bench.fetch(), in_session(&[(0, Bytes::new()), (1, Bytes::new())]));
    bench.fetcher.lock().pause([&tp(0)]);
    let wanted = bench.fetch();
    assert_eq!(wanted.request.forgotten_topics_data[0].partitions, [0]);
    bench.fetcher.lock().resume([&tp(0)]);
    bench.now += MS(500);
    bench.answer(&wanted, in_session(&[]));
    assert_eq!(bench.fetch().partitions().len(), 1);
}

#[test]
fn a_lost_session_is_opened_anew_at_once_but_not_for_ever() {
    let mut bench = Bench::one();
    bench.answer(&bench.fetch(), in_session(&[(0, Bytes::new())]));
    let lost = || FetchResponse {
        error_code: ErrorCode::FETCH_SESSION_ID_NOT_FOUND,
        ..FetchResponse::default()
    };
    bench.answer(&bench.fetch(), lost());
    let wanted = bench.fetch();
    assert_eq!((wanted.request.session_id, wanted.request.session_epoch), (0, 0));
    assert!(wanted.partition(0).is_some());
    bench.answer(&wanted, lost());
    assert!(bench.fetches().is_empty(), "after a back-off");
    bench.now += MS(20);
    bench.fetch();
}

#[test]
fn a_connection_that_fails_takes_the_session_along() {
    let mut bench = Bench::one();
    bench.answer(&bench.fetch(), in_session(&[(0, Bytes::new())]));
    let wanted = bench.fetch();
    let error = ClientError::UnknownBroker { id: BrokerId(1) };
    bench.fetcher.lock().handle_fetched(wanted.token, Err(error), bench.now);
    bench.poll();
    bench.now += MS(20);
    let wanted = bench.fetch();
    assert_eq!((wanted.request.session_id, wanted.request.session_epoch), (99, 0));
    assert!(wanted.partition(0).is_some());
}

#[test]
fn an_answer_about_what_was_not_asked_ends_the_session() {
    let mut bench = Bench::one();
    bench.answer(&bench.fetch(), in_session(&[(0, Bytes::new())]));
    let wanted = bench.fetch();
    bench.now += MS(500);
    bench.answer(&wanted, in_session(&[(7, batch(0, &[b"a"], Compression::None))]));
    assert_eq!(bench.fetch().request.session_epoch, 0);
    assert!(bench.collect().is_none());
}
