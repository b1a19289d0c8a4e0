//! Fetching from another replica than the leader (KIP-392), and brokers that want to be left alone.

use super::*;

fn sent_to(replica: i32) -> FetchResponse {
    let mut answer = served(&[(0, Bytes::new())]);
    answer.responses[0].partitions[0].preferred_read_replica = replica;
    answer
}

fn bytes(base: i64) -> Bytes {
    batch(base, &[b"a"], Compression::None)
}

#[test]
fn the_replica_that_the_leader_names_is_read_from_until_it_is_time_to_ask_again() {
    let config = FetchConfig { rack: "east".to_owned(), ..config() };
    let mut bench = Bench::new(config, &[(0, StartAt::Offset(0))]);
    let wanted = bench.fetch();
    assert_eq!((wanted.node, &*wanted.request.rack_id), (BrokerId(1), "east"));
    bench.answer(&wanted, sent_to(2));
    let wanted = bench.fetch();
    assert_eq!(wanted.node, BrokerId(2));
    assert_eq!(wanted.partition(0).unwrap().current_leader_epoch, 3);
    bench.serve(&wanted, &[(0, bytes(0))]);
    assert_eq!(bench.collected().len(), 1);
    let wanted = bench.fetch();
    assert_eq!(wanted.node, BrokerId(2));
    bench.now += MS(300_000);
    bench.serve(&wanted, &[(0, bytes(1))]);
    let wanted = bench.fetch();
    assert_eq!((wanted.node, wanted.partition(0).unwrap().fetch_offset), (BrokerId(1), 2));
}

#[test]
fn a_replica_that_fails_is_left_for_the_leader() {
    for code in
        [None, Some(ErrorCode::NOT_LEADER_OR_FOLLOWER), Some(ErrorCode::OFFSET_NOT_AVAILABLE)]
    {
        let mut bench = Bench::one();
        bench.answer(&bench.fetch(), sent_to(2));
        let wanted = bench.fetch();
        match code {
            Some(code) => bench.answer(&wanted, refused(0, code)),
            None => {
                let error = ClientError::UnknownBroker { id: BrokerId(2) };
                bench.fetcher.lock().handle_fetched(wanted.token, Err(error), bench.now);
            }
        }
        assert!(matches!(bench.poll()[..], [Action::RefreshMetadata]));
        bench.now += MS(20);
        assert_eq!(bench.fetch().node, BrokerId(1));
    }
}

#[test]
fn an_offset_that_a_replica_does_not_have_is_asked_of_the_leader_at_once() {
    let bench = Bench::one();
    bench.answer(&bench.fetch(), sent_to(2));
    bench.answer(&bench.fetch(), refused(0, ErrorCode::OFFSET_OUT_OF_RANGE));
    let wanted = bench.fetch();
    assert_eq!((wanted.node, wanted.partition(0).unwrap().fetch_offset), (BrokerId(1), 0));
    assert!(bench.collect().is_none());
}

#[test]
fn a_new_leader_is_asked_who_is_to_be_read_from() {
    let bench = Bench::one();
    bench.answer(&bench.fetch(), sent_to(2));
    let stale = bench.fetch();
    bench.fetcher.lock().handle_metadata(|_| led_by(3), bench.now);
    assert_eq!(bench.fetch().node, BrokerId(3));
    bench.serve(&stale, &[(0, bytes(0))]);
    assert!(bench.collect().is_none());
}

#[test]
fn a_broker_that_throttles_is_left_alone_for_that_long() {
    let mut bench = Bench::one();
    let mut answer = served(&[(0, bytes(0))]);
    answer.throttle_time_ms = 700;
    bench.answer(&bench.fetch(), answer);
    assert_eq!(bench.collected().len(), 1, "what it gave counts");
    assert!(bench.fetches().is_empty());
    let next = bench.fetcher.lock().next_deadline().unwrap();
    assert_eq!(next, bench.now + MS(700));
    bench.now = next;
    // It may give nothing at all (KIP-219).
    let answer = FetchResponse { throttle_time_ms: 300, ..FetchResponse::default() };
    bench.answer(&bench.fetch(), answer);
    assert!(bench.fetches().is_empty());
    bench.now += MS(300);
    assert_eq!(bench.fetch().partition(0).unwrap().fetch_offset, 1, "no failure");
}
