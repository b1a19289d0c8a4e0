//! Where to read from: lookups, seeks and assignments, and what they do to answers that are on their way.

use super::*;

#[test]
fn the_ends_of_a_log_are_looked_up_before_anything_is_fetched() {
    let bench = Bench::new(config(), &[(0, StartAt::Earliest), (1, StartAt::Latest)]);
    let mut actions = bench.poll();
    let Some(Action::ListOffsets { token, node, request }) = actions.pop() else {
        panic!("a lookup was expected");
    };
    assert!(actions.is_empty());
    assert_eq!((node, request.replica_id), (BrokerId(1), -1));
    let asked: Vec<_> = request.topics[0]
        .partitions
        .iter()
        .map(|asked| (asked.partition_index, asked.timestamp, asked.current_leader_epoch))
        .collect();
    assert_eq!(asked, [(0, -2, 3), (1, -1, 3)]);
    assert!(bench.poll().is_empty());
    assert_eq!(bench.position(0), None);

    let mut answer = listed(0, ErrorCode::NONE, 3);
    answer.topics.extend(listed(1, ErrorCode::NONE, 8).topics);
    bench.fetcher.lock().handle_offsets(token, Ok(answer), bench.now);
    assert_eq!((bench.position(0), bench.position(1)), (Some(3), Some(8)));
    let wanted = bench.fetch();
    let offset = |number| wanted.partition(number).unwrap().fetch_offset;
    assert_eq!((offset(0), offset(1)), (3, 8));
}

#[test]
fn a_seek_drops_what_was_buffered_and_what_is_on_its_way() {
    let bench = Bench::one();
    bench.deliver(batch(0, &[b"a"], Compression::None));
    let stale = bench.fetch();
    assert!(bench.fetcher.lock().seek(&tp(0), StartAt::Offset(40)));
    assert_eq!(bench.collected(), []);
    bench.serve(&stale, &[(0, batch(1, &[b"b"], Compression::None))]);
    assert_eq!(bench.collected(), []);
    assert_eq!(bench.position(0), Some(40));
    bench.deliver(batch(40, &[b"c"], Compression::None));
    assert_eq!(bench.collected(), [(40, b"c".to_vec())]);
}

#[test]
fn a_seek_wins_over_a_lookup_that_is_on_its_way() {
    let bench = Bench::new(config(), &[(0, StartAt::Latest)]);
    let Some(Action::ListOffsets { token, .. }) = bench.poll().pop() else { panic!("a lookup") };
    bench.fetcher.lock().seek(&tp(0), StartAt::Offset(2));
    let answer = listed(0, ErrorCode::NONE, 100);
    bench.fetcher.lock().handle_offsets(token, Ok(answer), bench.now);
    assert_eq!(bench.position(0), Some(2));
    assert_eq!(bench.fetch().partition(0).unwrap().fetch_offset, 2);
}

#[test]
fn an_assignment_drops_answers_to_the_one_before() {
    let bench = Bench::one();
    let stale = bench.fetch();
    bench.fetcher.lock().replace([(tp(0), StartAt::Offset(0))], |_| led_by(1));
    assert!(bench.fetches().is_empty(), "the broker is still busy with the old request");
    bench.serve(&stale, &[(0, batch(0, &[b"a"], Compression::None))]);
    assert_eq!(bench.collected(), []);
    bench.deliver(batch(0, &[b"a"], Compression::None));
    assert_eq!(bench.collected(), [(0, b"a".to_vec())]);
    assert!(!bench.fetcher.lock().seek(&tp(1), StartAt::Earliest), "not assigned");
}

#[test]
fn an_offset_out_of_range_is_told_after_the_records_before_it_and_resets_nothing() {
    let mut bench = Bench::one();
    bench.deliver(batch(0, &[b"a"], Compression::None));
    bench.answer(&bench.fetch(), refused(0, ErrorCode::OFFSET_OUT_OF_RANGE));
    assert!(bench.fetches().is_empty(), "it waits for the user");
    assert_eq!(bench.collected(), [(0, b"a".to_vec())]);
    match bench.error() {
        ConsumerError::OffsetOutOfRange { partition, offset, log_start, high_watermark } => {
            assert_eq!(partition, tp(0));
            assert_eq!((offset, log_start, high_watermark), (1, Some(5), Some(9)));
        }
        other => panic!("{other}"),
    }
    assert!(bench.collect().is_none(), "told once");
    assert_eq!(bench.position(0), Some(1));
    assert!(bench.fetches().is_empty(), "not at once");
    bench.now += MS(20);
    assert_eq!(bench.fetch().partition(0).unwrap().fetch_offset, 1, "as long as nobody seeks");

    bench.fetcher.lock().seek(&tp(0), StartAt::Offset(5));
    bench.answer(&Wanted { token: 3, ..bench_wanted() }, served(&[]));
    assert_eq!(bench.fetch().partition(0).unwrap().fetch_offset, 5, "a seek has no back-off");
}
