//! Attempts, and the pauses between them.

use super::*;

#[test]
fn retries_are_counted_and_back_off() {
    let mut world = settled(SenderConfig { retries: 2, ..config() });
    send_batch(&mut world, 0);
    for attempt in 1..=2 {
        world.answer(BrokerId(0), Some(ErrorCode::NOT_ENOUGH_REPLICAS));
        world.step();
        assert!(world.wire[&BrokerId(0)].is_empty(), "attempt {attempt} is not repeated at once");
        let wait = world.sender.next_deadline().unwrap() - world.now;
        assert!((MS(16)..=MS(50)).contains(&wait), "{wait:?}");
        world.now += wait;
        world.step();
        assert_eq!(world.wire[&BrokerId(0)].len(), 1);
    }
    world.answer(BrokerId(0), Some(ErrorCode::NOT_ENOUGH_REPLICAS));
    world.collect();
    let error = world.sent[2].result.clone().unwrap().unwrap_err();
    assert_eq!(error.kind(), &DeliveryErrorKind::Refused(ErrorCode::NOT_ENOUGH_REPLICAS));
    assert_eq!((error.attempts(), error.persistence()), (3, Persistence::NotWritten));
}

/// A connection that closed before the request got to it costs neither an attempt nor a back-off.
#[test]
fn an_unsent_request_goes_again_at_once() {
    let mut world = settled(SenderConfig { retries: 0, ..config() });
    send_batch(&mut world, 0);
    let produce = world.pop(BrokerId(0)).unwrap();
    world.sender.handle_unsent(produce.token, world.now);
    world.step();
    world.step();
    let again = world.pop(BrokerId(0)).unwrap();
    assert_eq!(again.request, produce.request, "the same bytes");
    let response = world.apply(&again, None);
    world.sender.handle_produced(again.token, Ok(response), world.now);
    world.collect();
    world.check("unsent");
}

/// A leader that becomes known during the pause ends it, once: brokers that name each other must not keep a batch going
/// as fast as the network does.
#[test]
fn a_new_leader_ends_the_pause() {
    let mut world = settled(config());
    send_batch(&mut world, 0);
    world.answer(BrokerId(0), Some(ErrorCode::REQUEST_TIMED_OUT));
    world.step();
    assert!(world.wire[&BrokerId(0)].is_empty(), "the same leader gets it after the pause");
    for (leader, hurries) in [(1, true), (0, false)] {
        (world.leaders[0], world.epoch) = (BrokerId(leader), world.epoch + 1);
        world.tell_metadata();
        world.step();
        world.step();
        assert_eq!(world.wire[&BrokerId(leader)].len(), usize::from(hurries));
        world.answer(BrokerId(leader), Some(ErrorCode::NOT_LEADER_OR_FOLLOWER));
    }
    world.heal();
    world.check("new leader");
}

/// A request that turns out never to have left, after its records were told that they had expired, is not sent after all.
#[test]
fn an_unsent_request_does_not_bring_expired_records_back() {
    let mut world = settled(config());
    send_batch(&mut world, 0);
    world.now += MS(10_000);
    world.step();
    let produce = world.pop(BrokerId(0)).unwrap();
    world.sender.handle_unsent(produce.token, world.now);
    world.step();
    world.step();
    assert!(world.wire[&BrokerId(0)].is_empty());
    assert_eq!(world.memory.available(), TOTAL);
    send_batch(&mut world, 0);
    world.heal();
    world.check("unsent");
    assert_eq!(world.logs[&0].records.len(), 2);
}
