//! The rules one by one: what is asked, how much, of whom, and what an answer does to a position.

use super::*;
use crate::consumer::fetcher::answer::{Verdict, judge};

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

const OTHER_ID: TopicId = TopicId([6; 16]);

fn made_anew() -> Option<Leadership> {
    Some(Leadership { topic_id: OTHER_ID, ..led_by(1).unwrap() })
}

#[test]
fn a_topic_that_is_made_anew_is_not_read_on_from_the_old_offset() {
    let mut bench = Bench::one();
    bench.deliver(batch(0, &[b"a"], Compression::None));
    let ahead = bench.fetch();
    bench.fetcher.lock().handle_metadata(|_| None, bench.now);
    bench.fetcher.lock().handle_metadata(|_| made_anew(), bench.now);
    assert!(bench.fetches().is_empty());
    bench.serve(&ahead, &[(0, batch(1, &[b"of the new topic"], Compression::None))]);
    assert_eq!(bench.collected(), [(0, b"a".to_vec())], "what is left of the old one");
    for _ in 0..2 {
        match bench.error() {
            ConsumerError::TopicRecreated { partition, offset, was, is } => {
                assert_eq!((partition, offset), (tp(0), 1));
                assert_eq!((was, is), (TOPIC_ID, OTHER_ID));
            }
            other => panic!("{other}"),
        }
        assert!(bench.fetches().is_empty() && bench.collect().is_none());
        bench.now += MS(200);
        assert!(bench.fetches().is_empty(), "it is told again, and not read");
    }
    assert!(bench.fetcher.lock().seek(&tp(0), StartAt::Offset(0)));
    let wanted = bench.fetch();
    assert_eq!(wanted.partition(0).unwrap().fetch_offset, 0);
    assert_eq!(wanted.request.topics[0].topic_id, OTHER_ID);
}

#[test]
fn the_end_of_a_log_is_that_of_the_topic_as_it_is_now() {
    let bench = Bench::new(config(), &[(0, StartAt::Latest)]);
    let Some(Action::ListOffsets { token, .. }) = bench.poll().pop() else { panic!("a lookup") };
    bench.fetcher.lock().handle_metadata(|_| made_anew(), bench.now);
    let answer = |offset| Ok(listed(0, ErrorCode::NONE, offset));
    bench.fetcher.lock().handle_offsets(token, answer(70), bench.now);
    assert_eq!(bench.position(0), None, "the old topic's");
    let Some(Action::ListOffsets { token, .. }) = bench.poll().pop() else { panic!("a lookup") };
    bench.fetcher.lock().handle_offsets(token, answer(4), bench.now);
    assert_eq!(bench.position(0), Some(4));
    assert_eq!(bench.fetch().request.topics[0].topic_id, OTHER_ID);
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

fn bench_wanted() -> Wanted {
    Wanted { token: 0, node: BrokerId(1), request: FetchRequest::default() }
}

#[test]
fn a_topic_that_is_not_known_is_waited_for_and_then_told_of() {
    let mut bench = Bench::one();
    bench.fetcher.lock().handle_metadata(|_| None, bench.now);
    let actions = bench.poll();
    assert!(matches!(&actions[..], [Action::Track(topic)] if topic == "orders"), "{actions:?}");
    assert!(bench.poll().is_empty(), "it is being waited for");
    let missing = ClientError::Broker {
        code: ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        api: "Metadata",
        subject: None,
        message: None,
    };
    let mut tracks = 0;
    let began = bench.now;
    while bench.now < began + MS(29_000) {
        bench.fetcher.lock().handle_topic("orders", Err(missing.clone()), bench.now);
        bench.now += MS(1_000);
        tracks += bench.poll().len();
        assert!(bench.collect().is_none());
    }
    assert!(tracks >= 28, "it is asked for again and again");
    bench.now = began + MS(30_000);
    bench.poll();
    match bench.error() {
        ConsumerError::Unavailable { partition, offset, waited, cause } => {
            assert_eq!((partition, offset, waited), (tp(0), Some(0), MS(30_000)));
            assert_eq!(cause, missing);
        }
        other => panic!("{other}"),
    }
    assert!(bench.collect().is_none(), "told once in a while");
    bench.fetcher.lock().handle_metadata(|_| led_by(1), bench.now);
    bench.deliver(batch(0, &[b"a"], Compression::None));
    assert_eq!(bench.collected().len(), 1);
}

#[test]
fn a_topic_that_is_found_but_not_told_of_is_asked_for_with_back_off() {
    let mut bench = Bench::one();
    bench.fetcher.lock().handle_metadata(|_| None, bench.now);
    assert_eq!(bench.poll().len(), 1);
    for _ in 0..3 {
        bench.fetcher.lock().handle_topic("orders", Ok(()), bench.now);
        assert!(bench.poll().is_empty(), "not at once");
        let again = bench.fetcher.lock().next_deadline().expect("but later");
        assert!(again > bench.now);
        bench.now = again;
        assert!(matches!(&bench.poll()[..], [Action::Track(_)]));
    }
    bench.fetcher.lock().handle_metadata(|_| led_by(1), bench.now);
    assert_eq!(bench.fetches().len(), 1, "found, it is read at once");
}

#[test]
fn a_topic_that_may_not_be_read_is_told_of_at_once() {
    let bench = Bench::one();
    bench.fetcher.lock().handle_metadata(|_| None, bench.now);
    bench.poll();
    let refused = ClientError::Broker {
        code: ErrorCode::TOPIC_AUTHORIZATION_FAILED,
        api: "Metadata",
        subject: None,
        message: None,
    };
    bench.fetcher.lock().handle_topic("orders", Err(refused), bench.now);
    let error = bench.error();
    assert_eq!(error.code(), Some(ErrorCode::TOPIC_AUTHORIZATION_FAILED));
    assert!(!error.is_retriable());
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

#[test]
fn topics_without_ids_are_named() {
    let bench = Bench::one();
    let no_id = Leadership { topic_id: TopicId::ZERO, ..led_by(1).unwrap() };
    bench.fetcher.lock().handle_metadata(|_| Some(no_id), bench.now);
    let mut actions = bench.poll();
    let Some(Action::Fetch { token, request, by_topic_id: false, .. }) = actions.pop() else {
        panic!("a fetch by name was expected");
    };
    assert_eq!(request.topics[0].topic, "orders");
    let mut answer = served(&[(0, batch(0, &[b"a"], Compression::None))]);
    answer.responses[0].topic_id = TopicId::ZERO;
    answer.responses[0].topic = "orders".to_owned();
    bench.answer(&Wanted { token, ..bench_wanted() }, answer);
    assert_eq!(bench.collected().len(), 1);
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

#[test]
fn the_state_prints_in_one_line() {
    let bench = Bench::one();
    let state = format!("{:?}", bench.fetcher.lock());
    assert!(state.contains("orders-0") && !state.contains('\n'), "{state}");
}
