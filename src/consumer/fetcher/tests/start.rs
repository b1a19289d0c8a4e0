//! Where reading begins: committed offsets, resets, timestamps.

use super::*;
use crate::types::OffsetAndMetadata;

fn bench(reset: OffsetReset, start: StartAt) -> Bench {
    Bench::new(FetchConfig { reset, ..config() }, &[(0, start)])
}

/// What is asked of the group now.
fn asked(bench: &Bench) -> (u64, Vec<TopicPartition>) {
    let mut actions = bench.poll();
    let Some(Action::Committed { token, partitions }) = actions.pop() else {
        panic!("the group was to be asked");
    };
    assert!(actions.is_empty(), "{actions:?}");
    (token, partitions)
}

fn tell(bench: &Bench, token: u64, committed: Option<OffsetAndMetadata>) {
    let committed = [(tp(0), committed)].into();
    bench.fetcher.lock().handle_committed(token, Ok(committed), bench.now);
}

#[test]
fn reading_goes_on_where_the_group_has_committed() {
    let bench = bench(OffsetReset::Earliest, StartAt::Committed);
    let (token, partitions) = asked(&bench);
    assert_eq!(partitions, [tp(0)]);
    assert!(bench.poll().is_empty(), "asked once");
    tell(&bench, token, Some(OffsetAndMetadata::new(17)));
    assert_eq!(bench.position(0), Some(17));
    assert_eq!(bench.fetch().partition(0).unwrap().fetch_offset, 17);
}

#[test]
fn committed_offsets_are_asked_for_while_no_leader_is_known() {
    let bench = bench(OffsetReset::Earliest, StartAt::Committed);
    bench.fetcher.lock().handle_metadata(|_| None, bench.now);
    let actions = bench.poll();
    assert!(matches!(actions[..], [Action::Track(_), Action::Committed { .. }]), "{actions:?}");
}

#[test]
fn nothing_committed_leads_to_where_the_reset_says() {
    for (reset, timestamp) in [
        (OffsetReset::Earliest, -2),
        (OffsetReset::Latest, -1),
        (OffsetReset::ByDuration(MS(4_000)), 6_000),
    ] {
        let bench = bench(reset, StartAt::Committed);
        let (token, _) = asked(&bench);
        tell(&bench, token, None);
        let (token, timestamps) = bench.lookup();
        assert_eq!(timestamps, [timestamp]);
        bench.answer_lookup(token, 30);
        assert_eq!(bench.position(0), Some(30));
    }
}

#[test]
fn nothing_committed_and_no_reset_is_an_error_until_a_seek() {
    let mut bench = bench(OffsetReset::None, StartAt::Committed);
    for _ in 0..2 {
        let (token, _) = asked(&bench);
        tell(&bench, token, None);
        assert!(bench.poll().is_empty());
        let error = bench.error();
        assert!(matches!(error, ConsumerError::NoOffset { .. }), "{error}");
        assert_eq!(error.partition(), Some(&tp(0)));
        bench.now += MS(200);
    }
    bench.fetcher.lock().seek(&tp(0), StartAt::Offset(3));
    assert_eq!(bench.fetch().partition(0).unwrap().fetch_offset, 3);
}

#[test]
fn a_seek_wins_over_committed_offsets_that_are_on_their_way() {
    let bench = bench(OffsetReset::Earliest, StartAt::Committed);
    let (token, _) = asked(&bench);
    bench.fetcher.lock().seek(&tp(0), StartAt::Offset(3));
    tell(&bench, token, Some(OffsetAndMetadata::new(17)));
    assert_eq!(bench.position(0), Some(3));
}

#[test]
fn committed_offsets_that_cannot_be_had_are_asked_for_again_or_told() {
    let mut bench = bench(OffsetReset::Earliest, StartAt::Committed);
    let code =
        |code| ClientError::Broker { code, api: "OffsetFetch", subject: None, message: None };
    let (token, _) = asked(&bench);
    let error = code(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS);
    bench.fetcher.lock().handle_committed(token, Err(error), bench.now);
    assert!(bench.poll().is_empty(), "not at once");
    bench.now += MS(20);
    let (token, _) = asked(&bench);
    bench.fetcher.lock().handle_committed(token, Ok(BTreeMap::new()), bench.now);
    bench.now += MS(40);
    let (token, _) = asked(&bench);
    let error = code(ErrorCode::GROUP_AUTHORIZATION_FAILED);
    bench.fetcher.lock().handle_committed(token, Err(error), bench.now);
    assert_eq!(bench.error().code(), Some(ErrorCode::GROUP_AUTHORIZATION_FAILED));
    assert_eq!(bench.position(0), None);
}

#[test]
fn a_time_later_than_all_records_is_the_end() {
    let bench = bench(OffsetReset::None, StartAt::Timestamp(99));
    let (token, timestamps) = bench.lookup();
    assert_eq!(timestamps, [99]);
    bench.answer_lookup(token, -1);
    let (token, timestamps) = bench.lookup();
    assert_eq!(timestamps, [-1]);
    bench.answer_lookup(token, 12);
    assert_eq!(bench.position(0), Some(12));
}

#[test]
fn lookups_ask_by_isolation_level() {
    let config = FetchConfig { isolation: IsolationLevel::ReadCommitted, ..config() };
    let bench = Bench::new(config, &[(0, StartAt::Latest)]);
    match &bench.poll()[..] {
        [Action::ListOffsets { request, .. }] => assert_eq!(request.isolation_level, 1),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_offset_out_of_range_is_reset_after_the_records_before_it() {
    let bench = bench(OffsetReset::Latest, StartAt::Offset(0));
    bench.deliver(batch(0, &[b"a"], Compression::None));
    bench.answer(&bench.fetch(), refused(0, ErrorCode::OFFSET_OUT_OF_RANGE));
    assert!(bench.poll().is_empty(), "what is buffered is the user's first");
    assert_eq!(bench.collected(), [(0, b"a".to_vec())]);
    assert_eq!(bench.position(0), None, "it is being reset");
    let (token, timestamps) = bench.lookup();
    assert_eq!(timestamps, [-1]);
    bench.answer_lookup(token, 40);
    assert_eq!(bench.fetch().partition(0).unwrap().fetch_offset, 40);
}

#[test]
fn an_offset_that_is_reset_again_and_again_is_reset_ever_more_rarely() {
    let mut bench = bench(OffsetReset::Earliest, StartAt::Offset(0));
    let mut waits = Vec::new();
    for _ in 0..5 {
        let mut answer = refused(0, ErrorCode::OFFSET_OUT_OF_RANGE);
        answer.responses[0].partitions[0].log_start_offset = 6;
        bench.answer(&bench.fetch(), answer);
        let began = bench.now;
        let actions = bench.poll();
        let actions = if actions.is_empty() {
            bench.now = bench.fetcher.lock().next_deadline().unwrap();
            bench.poll()
        } else {
            actions
        };
        let [Action::ListOffsets { token, .. }] = actions[..] else { panic!("{actions:?}") };
        waits.push(bench.now - began);
        bench.answer_lookup(token, 5);
    }
    assert_eq!(waits[0], MS(0), "the first one at once");
    assert!(waits.windows(2).all(|pair| pair[0] < pair[1]), "{waits:?}");
}

#[test]
fn an_answer_of_a_leader_that_is_not_the_one_of_now_resets_nothing() {
    let bench = bench(OffsetReset::Earliest, StartAt::Offset(50));
    let stale = bench.fetch();
    let newer = Leadership { epoch: 4, ..led_by(1).unwrap() };
    bench.fetcher.lock().handle_metadata(|_| Some(newer), bench.now);
    bench.answer(&stale, refused(0, ErrorCode::OFFSET_OUT_OF_RANGE));
    assert_eq!(bench.position(0), Some(50));
    let wanted = bench.fetch();
    let asked = wanted.partition(0).unwrap();
    assert_eq!((asked.fetch_offset, asked.current_leader_epoch), (50, 4));
}

/// The broker says that the offset is out of range, and the log begins at 2.
fn beyond(bench: &Bench, wanted: &Wanted) -> Vec<i64> {
    let mut answer = refused(0, ErrorCode::OFFSET_OUT_OF_RANGE);
    let data = &mut answer.responses[0].partitions[0];
    (data.log_start_offset, data.high_watermark) = (-1, -1);
    bench.answer(wanted, answer);
    let mut actions = bench.poll();
    let Some(Action::ListOffsets { token, request, .. }) = actions.pop() else {
        panic!("{actions:?}");
    };
    assert!(matches!(actions[..], [Action::RefreshMetadata]), "{actions:?}");
    bench.answer_lookup(token, 2);
    request.topics[0].partitions.iter().map(|asked| asked.timestamp).collect()
}

#[test]
fn an_offset_beyond_what_a_new_leader_has_is_asked_for_again_before_it_is_believed() {
    for reset in [OffsetReset::Latest, OffsetReset::None] {
        let mut bench = bench(reset, StartAt::Offset(50));
        for _ in 0..2 {
            let wanted = bench.fetch();
            assert_eq!(beyond(&bench, &wanted), [-2], "where does the log begin?");
            assert!(bench.poll().is_empty(), "not at once");
            bench.now = bench.fetcher.lock().next_deadline().unwrap();
        }
        // It has caught up.
        bench.deliver_at(50, batch(50, &[b"a"], Compression::None));
        assert_eq!(bench.collected(), [(50, b"a".to_vec())], "nothing was reset");
    }
}

#[test]
fn an_offset_beyond_the_end_is_believed_at_last() {
    for reset in [OffsetReset::Latest, OffsetReset::None] {
        let mut bench = bench(reset, StartAt::Offset(50));
        let began = bench.now;
        for _ in 0..4 {
            let wanted = bench.fetch();
            beyond(&bench, &wanted);
            assert!(bench.poll().is_empty(), "not at once");
            bench.now = bench.fetcher.lock().next_deadline().unwrap();
        }
        assert!(bench.now - began <= MS(200), "soon");
        bench.answer(&bench.fetch(), refused(0, ErrorCode::OFFSET_OUT_OF_RANGE));
        if reset == OffsetReset::Latest {
            bench.now += MS(200);
            assert_eq!(bench.lookup().1, [-1]);
        } else {
            let error = bench.error();
            assert!(matches!(error, ConsumerError::OffsetOutOfRange { offset: 50, .. }), "{error}");
        }
    }
}

#[test]
fn an_offset_before_the_beginning_is_believed_as_soon_as_the_beginning_is_known() {
    let bench = bench(OffsetReset::Latest, StartAt::Offset(1));
    let wanted = bench.fetch();
    assert_eq!(beyond(&bench, &wanted), [-2]);
    assert_eq!(bench.lookup().1, [-1], "the reset");
}
