//! What the user gets of an answer, and how far it moves the position.

use super::*;

#[test]
fn a_batch_that_begins_before_the_position_gives_only_the_rest() {
    let bench = Bench::new(config(), &[(0, StartAt::Offset(12))]);
    bench.deliver(batch(10, &[b"a", b"b", b"c", b"d"], Compression::Lz4));
    assert_eq!(bench.collected(), [(12, b"c".to_vec()), (13, b"d".to_vec())]);
}

#[test]
fn gaps_markers_and_emptied_batches_move_the_position_and_show_nothing() {
    let bench = Bench::one();
    bench.deliver(join(&[
        compacted(0, 4, &[(1, b"a"), (3, b"b")]),
        compacted(5, 9, &[]),
        marker(10),
        // 11 to 19 are gone altogether.
        batch(20, &[b"c"], Compression::Zstd),
        marker(21),
    ]));
    let expected = [(1, b"a".to_vec()), (3, b"b".to_vec()), (20, b"c".to_vec())];
    assert_eq!(bench.collected(), expected);
    assert_eq!(bench.position(0), Some(22));
}

#[test]
fn a_poll_ends_when_a_position_moves_although_there_is_no_record() {
    let bench = Bench::one();
    bench.deliver(join(&[marker(0), compacted(1, 7, &[])]));
    let records = bench.collect().expect("the position has moved").unwrap();
    assert!(records.is_empty());
    assert_eq!(bench.position(0), Some(8));
    assert!(bench.collect().is_none());
}

#[test]
fn an_answer_that_is_cut_off_after_whole_batches_gives_those() {
    let bench = Bench::one();
    let second = batch(1, &[b"b"], Compression::None);
    bench.deliver(join(&[batch(0, &[b"a"], Compression::None), second.slice(..second.len() - 1)]));
    assert_eq!(bench.collected(), [(0, b"a".to_vec())]);
    assert_eq!(bench.fetch().partition(0).unwrap().fetch_offset, 1);
    assert_eq!(bench.fetcher.lock().partitions[&1].buffered, 0, "the rest counts no more");
}

#[test]
fn one_large_batch_gets_through_whatever_the_limits() {
    let large = vec![7; 100_000];
    let config = FetchConfig { max_bytes: 0, partition_max_bytes: 0, ..config() };
    let bench = Bench::new(config, &[(0, StartAt::Offset(0))]);
    bench.deliver(batch(0, &[&large], Compression::None));
    assert!(bench.fetches().is_empty(), "it waits for the user");
    assert_eq!(bench.collected(), [(0, large)]);
    assert_eq!(bench.fetch().partition(0).unwrap().fetch_offset, 1);
}

#[test]
fn a_large_answer_is_handed_out_in_parts() {
    let config = FetchConfig { partition_max_bytes: 10 << 20, max_bytes: 10 << 20, ..config() };
    let bench = Bench::new(config, &[(0, StartAt::Offset(0))]);
    let value = vec![1; 400 * 1024];
    let batches: Vec<_> =
        (0..10).map(|offset| batch(offset, &[&value], Compression::None)).collect();
    bench.deliver(join(&batches));
    let mut polls = 0;
    let mut next = 0;
    while next < 10 {
        let records = bench.collected();
        assert!((1..=3).contains(&records.len()), "about 1 MiB at a time");
        for (offset, _) in &records {
            assert_eq!(*offset, next);
            next += 1;
        }
        assert_eq!(bench.position(0), Some(next));
        polls += 1;
    }
    assert_eq!(polls, 4);
    assert_eq!(bench.fetcher.lock().partitions[&1].buffered, 0);
}
