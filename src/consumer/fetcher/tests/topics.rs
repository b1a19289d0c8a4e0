//! Topics that are made anew, are not there, may not be read, or have no id.

use super::*;

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
