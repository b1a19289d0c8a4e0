//! Endings of the whole producer.

use super::*;

/// Records that were appended by sends which had not seen the end yet end with the producer's error, too.
#[test]
fn after_a_fatal_error_nothing_is_sent() {
    let mut world = settled(config());
    send_batch(&mut world, 0);
    world.answer(BrokerId(0), Some(ErrorCode::CLUSTER_AUTHORIZATION_FAILED));
    send_batch(&mut world, 1);
    assert!(world.wire.values().all(VecDeque::is_empty));
    let error = world.sent[3].result.clone().unwrap().unwrap_err();
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
