//! Polls that end in the middle of a batch (`max.poll.records`).

use super::*;

fn bench(max_poll_records: usize, start: i64) -> Bench {
    let config = FetchConfig { max_poll_records, max_bytes: 1 << 20, ..config() };
    Bench::new(config, &[(0, StartAt::Offset(start))])
}

fn values(count: u8) -> Vec<Vec<u8>> {
    (0..count).map(|n| vec![n; 1 + usize::from(n % 5)]).collect()
}

fn made_of(values: &[Vec<u8>], base: i64, compression: Compression) -> Bytes {
    let values: Vec<_> = values.iter().map(Vec::as_slice).collect();
    batch(base, &values, compression)
}

#[test]
fn a_batch_comes_bit_by_bit_and_each_record_once() {
    for compression in [Compression::None, Compression::Lz4] {
        let bench = bench(4, 0);
        let values = values(10);
        let whole = made_of(&values, 0, compression);
        bench.deliver(join(&[whole, batch(10, &[b"x", b"y"], Compression::None)]));
        let mut polls = Vec::new();
        while let Some(records) = bench.collect() {
            let records = records.unwrap();
            let position = bench.position(0).unwrap();
            assert_eq!(records.partitions().next().unwrap().next_offset(), position);
            polls.push((records.len(), position));
            for (offset, value) in flat(&records) {
                let at = usize::try_from(offset).unwrap();
                let expected = values.get(at).map_or_else(|| vec![b"xy"[at - 10]], Vec::clone);
                assert_eq!(value, expected);
            }
        }
        assert_eq!(polls, [(4, 4), (8 - 4, 8), (4, 12)]);
        assert_eq!(bench.fetcher.lock().partitions[&1].buffered, 0);
    }
}

#[test]
fn a_poll_is_filled_over_batches_and_partitions() {
    let config = FetchConfig { max_poll_records: 5, ..config() };
    let bench = Bench::new(config, &[(0, StartAt::Offset(0)), (1, StartAt::Offset(0))]);
    let wanted = bench.fetch();
    let three = made_of(&values(3), 0, Compression::None);
    bench.serve(&wanted, &[(0, three.clone()), (1, three)]);
    let records = bench.collect().unwrap().unwrap();
    let parts: Vec<_> =
        records.partitions().map(|part| (part.partition().partition, part.len())).collect();
    assert_eq!(parts, [(0, 3), (1, 2)]);
    assert_eq!(bench.collected(), [(2, vec![2; 3])]);
}

#[test]
fn a_cut_counts_from_the_position_and_ends_with_the_batch() {
    let bench = bench(2, 3);
    // Of offsets 0 to 9 only these have records.
    bench.deliver(compacted(0, 9, &[(1, b"a"), (3, b"b"), (4, b"c"), (6, b"d")]));
    assert_eq!(bench.collected(), [(3, b"b".to_vec()), (4, b"c".to_vec())]);
    assert_eq!(bench.position(0), Some(5));
    assert_eq!(bench.collected(), [(6, b"d".to_vec())]);
    assert_eq!(bench.position(0), Some(10), "over the gap at the end");
    assert!(bench.collect().is_none());
}

#[test]
fn a_seek_drops_the_rest_of_a_batch_that_was_begun() {
    let bench = bench(2, 0);
    bench.deliver(made_of(&values(6), 0, Compression::Zstd));
    assert_eq!(bench.collected().len(), 2);
    bench.fetcher.lock().seek(&tp(0), StartAt::Offset(1));
    assert!(bench.collect().is_none());
    bench.deliver_at(1, made_of(&values(6), 0, Compression::Zstd));
    let offsets: Vec<_> = bench.collected().into_iter().map(|(offset, _)| offset).collect();
    assert_eq!(offsets, [1, 2]);
}

#[test]
fn what_is_wrong_behind_a_cut_is_told_when_it_is_reached() {
    let bench = bench(2, 0);
    bench.deliver(compacted(0, 9, &[(1, b"a"), (3, b"b"), (3, b"c")]));
    assert_eq!(bench.collected().len(), 2);
    match bench.error() {
        ConsumerError::InvalidBatch { first, last, .. } => {
            assert_eq!((first, last), (0, Some(9)));
        }
        other => panic!("{other}"),
    }
    assert_eq!(bench.position(0), Some(4), "what was handed out does not come again");
}

#[test]
fn sizes_are_told_without_a_copy() {
    let bench = bench(9, 0);
    bench.deliver(batch(0, &[b"value"], Compression::None));
    let records = bench.collect().unwrap().unwrap();
    let record = records.iter().next().unwrap();
    let sizes = (record.serialized_key_size(), record.serialized_value_size());
    assert_eq!(sizes, (Some(3), Some(5)));
}
