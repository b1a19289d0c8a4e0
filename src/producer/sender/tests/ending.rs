//! Endings of the whole producer.

use super::*;
use crate::producer::callbacks::no_callback;

/// Records that were appended by sends which had not seen the end yet end with the producer's error, too.
#[test]
fn after_a_fatal_error_nothing_is_sent() {
    let mut world = settled(config());
    send_batch(&mut world, 0);
    let room = world.accumulator.memory().try_reserve(256);
    world.answer(BrokerId(0), Some(ErrorCode::CLUSTER_AUTHORIZATION_FAILED));

    let queue = Arc::clone(&world.accumulator.topic("t").unwrap().partitions[1]);
    let (record, begin) = (ProducerRecord::new("t", "late"), Begin { room, now: world.now });
    let taken = world.accumulator.begin(&queue, &record, 1, &mut no_callback(), begin).unwrap();
    let facts = RecordFacts::new(taken.index, 1, record.key, record.value);
    let mut late = Delivery::new(taken.completion, facts);
    while world.step() {}
    assert!(world.wire.values().all(VecDeque::is_empty));
    let Poll::Ready(Err(error)) = Pin::new(&mut late).poll(&mut Context::from_waker(Waker::noop()))
    else {
        panic!("it has not ended with an error")
    };
    assert!(error.is_fatal() && error.persistence() == Persistence::NotWritten, "{error}");
}

#[test]
fn a_fatal_refusal_ends_everything() {
    let mut world = settled(config());
    send_batch(&mut world, 0);
    send_batch(&mut world, 0);
    world.answer(BrokerId(0), Some(ErrorCode::CLUSTER_AUTHORIZATION_FAILED));
    let actions = world.sender.poll(world.now);
    assert!(actions.iter().any(|action| matches!(action, Action::Fatal(_))), "{actions:?}");
    world.collect();
    for sent in &world.sent[2..] {
        assert!(sent.result.as_ref().unwrap().as_ref().unwrap_err().is_fatal());
    }
    assert!(world.sender.is_idle());
}
