//! Assignments that grow and shrink, partitions that are paused or about to go, and positions.

use super::*;
use crate::consumer::subscription::Position;

fn committed(numbers: impl IntoIterator<Item = i32>) -> Vec<(TopicPartition, StartAt)> {
    numbers.into_iter().map(|number| (tp(number), StartAt::Committed)).collect()
}

fn bytes(base: i64, values: &[&[u8]]) -> Bytes {
    batch(base, values, Compression::None)
}

#[test]
fn partitions_that_stay_keep_position_buffer_and_pause() {
    let bench = Bench::new(config(), &[(0, StartAt::Offset(0)), (1, StartAt::Offset(0))]);
    let wanted = bench.fetch();
    bench.serve(&wanted, &[(0, bytes(0, &[b"a"])), (1, bytes(0, &[b"b"]))]);
    bench.fetcher.lock().pause([&tp(0)]);
    bench.fetcher.lock().assign(committed([2, 0]), |_| led_by(1));
    let assigned: Vec<_> = bench.fetcher.lock().assignment().cloned().collect();
    assert_eq!(assigned, [tp(0), tp(2)]);
    assert_eq!(bench.collected(), [], "0 is paused and 1 is gone");
    bench.fetcher.lock().resume([&tp(0)]);
    assert_eq!(bench.collected(), [(0, b"a".to_vec())]);
    assert_eq!((bench.position(0), bench.position(1), bench.position(2)), (Some(1), None, None));
}

#[test]
fn what_is_on_its_way_for_a_partition_that_left_is_dropped_even_if_it_comes_back() {
    let bench = Bench::new(config(), &[(0, StartAt::Offset(0)), (1, StartAt::Offset(0))]);
    let stale = bench.fetch();
    bench.fetcher.lock().unassign([&tp(0)]);
    assert!(!bench.fetcher.lock().is_assigned(&tp(0)));
    let all = [(tp(0), StartAt::Offset(7)), (tp(1), StartAt::Committed)];
    bench.fetcher.lock().assign(all, |_| led_by(1));
    bench.serve(&stale, &[(0, bytes(0, &[b"old"])), (1, bytes(0, &[b"stays"]))]);
    assert_eq!(bench.collected(), [(0, b"stays".to_vec())]);
    assert_eq!((bench.position(0), bench.position(1)), (Some(7), Some(1)));
    let wanted = bench.fetch();
    let offset = |number| wanted.partition(number).unwrap().fetch_offset;
    assert_eq!((offset(0), offset(1)), (7, 1));
}

#[test]
fn a_replacement_starts_those_over_that_stay() {
    let bench = Bench::one();
    bench.deliver(bytes(0, &[b"a", b"b"]));
    assert_eq!(bench.collected().len(), 2);
    let again = [(tp(0), StartAt::Offset(9)), (tp(0), StartAt::Offset(1))];
    bench.fetcher.lock().replace(again, |_| led_by(1));
    assert_eq!(bench.position(0), Some(1), "the last start holds");
}

#[test]
fn a_paused_partition_is_neither_fetched_nor_handed_out_and_loses_nothing() {
    let bench = Bench::new(config(), &[(0, StartAt::Offset(0)), (1, StartAt::Offset(0))]);
    let wanted = bench.fetch();
    bench.fetcher.lock().pause([&tp(0)]);
    bench.serve(&wanted, &[(0, bytes(0, &[b"a"])), (1, bytes(0, &[b"x"]))]);
    let wanted = bench.fetch();
    assert!(wanted.partition(0).is_none());
    assert_eq!(bench.collected(), [(0, b"x".to_vec())]);
    assert!(bench.collect().is_none());
    assert_eq!(bench.fetcher.lock().paused().collect::<Vec<_>>(), [&tp(0)]);
    bench.fetcher.lock().resume([&tp(0)]);
    bench.serve(&wanted, &[(1, bytes(1, &[b"y"]))]);
    let wanted = bench.fetch();
    assert_eq!(wanted.partition(0).unwrap().fetch_offset, 1);
    bench.serve(&wanted, &[(0, bytes(1, &[b"b"])), (1, Bytes::new())]);
    assert_eq!(bench.collected(), [(0, b"a".to_vec()), (1, b"b".to_vec()), (1, b"y".to_vec())]);
}

#[test]
fn what_was_set_aside_comes_before_what_came_later() {
    let bench = Bench::one();
    bench.deliver(bytes(0, &[b"a"]));
    bench.deliver_at(1, bytes(1, &[b"b"]));
    bench.fetcher.lock().pause([&tp(0)]);
    assert!(bench.collect().is_none());
    bench.fetcher.lock().resume([&tp(0)]);
    bench.deliver_at(2, bytes(2, &[b"c"]));
    let offsets: Vec<_> = bench.collected().into_iter().map(|(offset, _)| offset).collect();
    assert_eq!(offsets, [0, 1, 2]);
}

#[test]
fn a_seek_of_a_paused_partition_holds_after_it_is_resumed() {
    let bench = Bench::one();
    bench.deliver(bytes(0, &[b"a"]));
    bench.fetcher.lock().pause([&tp(0)]);
    assert!(bench.collect().is_none());
    bench.fetcher.lock().seek(&tp(0), StartAt::Offset(5));
    bench.fetcher.lock().resume([&tp(0)]);
    assert!(bench.collect().is_none());
    bench.deliver_at(5, bytes(5, &[b"f"]));
    assert_eq!(bench.collected(), [(5, b"f".to_vec())]);
}

#[test]
fn the_buffer_of_a_paused_partition_stops_no_other() {
    let config = FetchConfig { max_bytes: 4_000, partition_max_bytes: 2_000, ..config() };
    let starts = [(0, StartAt::Offset(0)), (1, StartAt::Offset(0))];
    let bench = Bench::new(config, &starts);
    let wanted = bench.fetch();
    bench.serve(&wanted, &[(0, bytes(0, &[&[0; 3_000]])), (1, Bytes::new())]);
    assert!(bench.fetches().is_empty(), "over half is taken");
    bench.fetcher.lock().pause([&tp(0)]);
    assert!(bench.fetch().partition(1).is_some());
}

#[test]
fn an_error_of_a_paused_partition_waits_until_it_is_resumed() {
    let bench = Bench::one();
    bench.answer(&bench.fetch(), refused(0, ErrorCode::TOPIC_AUTHORIZATION_FAILED));
    bench.fetcher.lock().pause([&tp(0)]);
    assert!(bench.collect().is_none());
    bench.fetcher.lock().resume([&tp(0)]);
    assert_eq!(bench.error().code(), Some(ErrorCode::TOPIC_AUTHORIZATION_FAILED));
}

#[test]
fn nothing_more_comes_of_what_is_about_to_be_revoked_unless_it_stays() {
    let bench = Bench::new(config(), &[(0, StartAt::Offset(0)), (1, StartAt::Offset(0))]);
    let wanted = bench.fetch();
    bench.serve(&wanted, &[(0, bytes(0, &[b"a"])), (1, bytes(0, &[b"b"]))]);
    bench.fetcher.lock().mark_pending_revocation([&tp(0), &tp(1)]);
    assert!(bench.collect().is_none() && bench.fetches().is_empty());
    bench.fetcher.lock().resume([&tp(0)]);
    assert!(bench.collect().is_none(), "a resume does not undo it");
    assert_eq!(bench.position(0), Some(0), "for a last commit");
    bench.fetcher.lock().assign(committed([1]), |_| led_by(1));
    assert_eq!(bench.collected(), [(0, b"b".to_vec())]);
}

#[test]
fn positions_name_the_epoch_of_the_record_before_them() {
    let bench = Bench::new(config(), &[(0, StartAt::Offset(0)), (1, StartAt::Latest)]);
    let positions = || -> Vec<_> {
        let fetcher = bench.fetcher.lock();
        fetcher.positions().map(|(name, position)| (name.partition, position)).collect()
    };
    assert_eq!(positions(), [(0, Position { offset: 0, epoch: None })]);
    let mut actions = bench.poll();
    let Some(Action::Fetch { token, .. }) = actions.pop() else { panic!("{actions:?}") };
    let wanted = Wanted { token, node: BrokerId(1), request: FetchRequest::default() };
    let [Action::ListOffsets { token, .. }] = actions[..] else { panic!("{actions:?}") };
    bench.serve(&wanted, &[(0, join(&[bytes(0, &[b"a"]), marker(1)]))]);
    assert_eq!(bench.collected().len(), 1);
    assert_eq!(positions(), [(0, Position { offset: 2, epoch: Some(3) })], "after the marker");
    let mut answer = listed(1, ErrorCode::NONE, 8);
    answer.topics[0].partitions[0].leader_epoch = 2;
    bench.fetcher.lock().handle_offsets(token, Ok(answer), bench.now);
    assert_eq!(positions()[1], (1, Position { offset: 8, epoch: None }), "that of another record");
}

#[test]
fn the_lag_is_up_to_what_the_isolation_level_lets_be_read() {
    for (isolation, expected) in
        [(IsolationLevel::ReadUncommitted, 9), (IsolationLevel::ReadCommitted, 4)]
    {
        let config = FetchConfig { isolation, ..config() };
        let bench = Bench::new(config, &[(0, StartAt::Offset(0))]);
        let lag = || bench.fetcher.lock().current_lag(&tp(0));
        assert_eq!(lag(), None);
        let mut answer = served(&[(0, bytes(0, &[b"a"]))]);
        let data = &mut answer.responses[0].partitions[0];
        (data.high_watermark, data.last_stable_offset) = (10, 5);
        bench.answer(&bench.fetch(), answer);
        assert_eq!(lag(), Some(expected + 1));
        assert_eq!(bench.collected().len(), 1);
        assert_eq!(lag(), Some(expected));
    }
}
