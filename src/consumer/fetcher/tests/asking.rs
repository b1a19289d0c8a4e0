//! What is asked, how much, of whom and how often.

use super::*;

#[test]
fn asks_from_the_position_and_goes_on_after_what_came() {
    let bench = Bench::new(config(), &[(0, StartAt::Offset(4))]);
    let wanted = bench.fetch();
    let asked = wanted.partition(0).unwrap();
    assert_eq!((asked.fetch_offset, asked.current_leader_epoch), (4, 3));
    assert_eq!(asked.partition_max_bytes, 4096);
    assert_eq!((wanted.request.max_wait_ms, wanted.request.min_bytes), (500, 1));
    assert!(bench.fetches().is_empty(), "one fetch under way per broker");

    bench.serve(&wanted, &[(0, batch(4, &[b"a", b"b"], Compression::None))]);
    assert_eq!(bench.position(0), Some(4), "nothing was handed out yet");
    assert_eq!(bench.fetch().partition(0).unwrap().fetch_offset, 6, "ahead of the user");
    assert_eq!(bench.collected(), [(4, b"a".to_vec()), (5, b"b".to_vec())]);
    assert_eq!(bench.position(0), Some(6));
}

#[test]
fn what_a_partition_has_buffered_holds_it_back_and_shortens_the_wait_of_others() {
    let mut bench = Bench::new(config(), &[(0, StartAt::Offset(0)), (1, StartAt::Offset(0))]);
    let wanted = bench.fetch();
    assert_eq!(wanted.request.max_wait_ms, 500);
    bench.serve(&wanted, &[(0, batch(0, &[&[0; 5_000]], Compression::None)), (1, Bytes::new())]);

    let wanted = bench.fetch();
    assert!(wanted.partition(0).is_none() && wanted.partition(1).is_some());
    assert_eq!(wanted.request.max_wait_ms, 20, "partition 0 may be free soon");
    bench.now += MS(20);
    bench.serve(&wanted, &[(1, Bytes::new())]);
    assert_eq!(bench.fetch().request.max_wait_ms, 20);
    let mut waits = vec![20];
    for token in 3..9 {
        let wanted = Wanted { token, ..bench_wanted() };
        bench.now += MS(*waits.last().unwrap());
        bench.serve(&wanted, &[(1, Bytes::new())]);
        waits.push(u64::try_from(bench.fetch().request.max_wait_ms).unwrap());
    }
    assert_eq!(waits, [20, 40, 80, 160, 320, 500, 500], "nobody takes anything");
    let wanted = Wanted { token: 9, ..bench_wanted() };
    assert_eq!(bench.collected().len(), 1);
    bench.serve(&wanted, &[(1, Bytes::new())]);
    let wanted = bench.fetch();
    assert!(wanted.partition(0).is_some() && wanted.request.max_wait_ms == 500);
}

#[test]
fn a_broker_that_does_not_wait_for_records_is_left_alone_for_a_moment() {
    let mut bench = Bench::one();
    bench.deliver(Bytes::new());
    bench.now += MS(3);
    bench.deliver(Bytes::new());
    assert!(bench.fetches().is_empty(), "twice is too much");
    let next = bench.fetcher.lock().next_deadline().unwrap();
    assert_eq!(next, bench.now + MS(20));
    bench.now = next;
    let wanted = bench.fetch();
    bench.now += MS(500);
    bench.serve(&wanted, &[(0, Bytes::new())]);
    bench.deliver(Bytes::new());
    bench.fetch();
}

#[test]
fn a_broker_is_not_asked_while_half_of_the_room_is_taken() {
    let starts: Vec<_> = (0..4).map(|number| (number, StartAt::Offset(0))).collect();
    let config = FetchConfig { max_bytes: 10_000, partition_max_bytes: 4_000, ..config() };
    let bench = Bench::new(config, &starts);
    let wanted = bench.fetch();
    assert_eq!(wanted.request.max_bytes, 10_000);
    let bytes = batch(0, &[&[0; 3_000]], Compression::None);
    bench.serve(&wanted, &[(0, bytes.clone())]);
    // The others are troubled, since the answer left them out.
    let mut bench = bench;
    bench.now += MS(200);
    let wanted = bench.fetch();
    assert_eq!(wanted.request.max_bytes, 10_000 - i32::try_from(bytes.len()).unwrap());
    bench.serve(&wanted, &[(1, bytes.clone()), (2, Bytes::new()), (3, Bytes::new())]);
    bench.now += MS(200);
    assert!(bench.fetches().is_empty(), "over 5,000 bytes are buffered");
    assert_eq!(bench.collected().len(), 2);
    assert_eq!(bench.fetch().request.max_bytes, 10_000);
}

#[test]
fn a_poll_wakes_the_fetcher_only_if_there_is_somebody_to_ask() {
    let bench = Bench::one();
    let wakes = |bench: &Bench| {
        let collected = collect(&bench.fetcher, bench.now);
        assert!(collected.result.unwrap().unwrap().len() == 1);
        collected.wakes
    };
    bench.deliver(batch(0, &[b"a"], Compression::None));
    assert!(wakes(&bench), "nothing is under way");

    bench.deliver(batch(1, &[b"b"], Compression::None));
    let wanted = bench.fetch();
    assert!(!wakes(&bench), "the broker has not answered yet, and its answer wakes the fetcher");
    bench.serve(&wanted, &[(0, batch(2, &[b"c"], Compression::None))]);
    assert_eq!(bench.fetch().partition(0).unwrap().fetch_offset, 3);
}

#[test]
fn partitions_that_had_records_go_last() {
    let starts: Vec<_> = (0..3).map(|number| (number, StartAt::Offset(0))).collect();
    let bench = Bench::new(config(), &starts);
    let order = |wanted: &Wanted| -> Vec<i32> {
        wanted.partitions().iter().map(|asked| asked.partition).collect()
    };
    let wanted = bench.fetch();
    assert_eq!(order(&wanted), [0, 1, 2]);
    let bytes = batch(0, &[b"a"], Compression::None);
    bench.serve(&wanted, &[(0, bytes.clone()), (1, Bytes::new()), (2, Bytes::new())]);
    let wanted = bench.fetch();
    assert_eq!(order(&wanted), [1, 2, 0]);
    bench.serve(&wanted, &[(1, bytes), (2, Bytes::new()), (0, Bytes::new())]);
    assert_eq!(order(&bench.fetch()), [2, 0, 1]);
}

#[test]
fn each_leader_is_asked_for_its_own_at_the_same_time() {
    let bench = Bench::new(config(), &[(0, StartAt::Offset(0)), (1, StartAt::Offset(0))]);
    let lookup = |name: &TopicPartition| led_by(name.partition + 1);
    bench.fetcher.lock().handle_metadata(lookup, bench.now);
    let fetches = bench.fetches();
    let asked: Vec<_> = fetches
        .iter()
        .map(|wanted| (wanted.node, wanted.partitions()[0].partition, wanted.partitions().len()))
        .collect();
    assert_eq!(asked, [(BrokerId(1), 0, 1), (BrokerId(2), 1, 1)]);
}

#[test]
fn the_state_prints_in_one_line() {
    let bench = Bench::one();
    let state = format!("{:?}", bench.fetcher.lock());
    assert!(state.contains("orders-0") && !state.contains('\n'), "{state}");
}
