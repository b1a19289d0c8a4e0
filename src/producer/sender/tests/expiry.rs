//! `delivery.timeout.ms`: waiting, in flight, retrying.

use super::*;

/// A batch that expires unanswered ends as *maybe written*, keeps its memory until the request ends, and the epoch
/// rises before anything else is sent.
#[test]
fn expiry_in_flight_then_an_epoch_bump() {
    let mut world = settled(config());
    send_batch(&mut world, 0);
    world.now += MS(10_000);
    world.step();
    let error = world.sent[2].result.clone().unwrap().unwrap_err();
    assert_eq!(error.persistence(), Persistence::MaybeWritten);
    assert!(error.to_string().starts_with("Expiring 1 record(s) for t-0:10005 ms"), "{error}");
    assert!(world.memory.available() < TOTAL, "the request still has the bytes");
    send_batch(&mut world, 1);
    world.disconnect(BrokerId(0), 0);
    assert_eq!(world.memory.available(), TOTAL - 256, "only the other batch's");
    send_batch(&mut world, 0);
    world.heal();
    world.check("expired");
    assert_eq!(world.logs[&0].identity, Some(ProducerIdentity { id: 9, epoch: 1 }));
    assert_eq!(world.logs[&0].next_sequence, 1);
}

/// A batch that expires before it was sent says what it waited for.
#[test]
fn expiry_in_the_queue_names_what_was_in_the_way() {
    let mut world = World::new(config(), 1, 1);
    world.send(0);
    world.step();
    world.sender.handle_producer_id(Err(Cause::Client(lost())), world.now);
    world.now += MS(10_000);
    world.step();
    let error = world.sent[0].result.clone().unwrap().unwrap_err();
    assert!(matches!(error.last_error(), Some(Cause::Client(cause)) if *cause == lost()));

    world.send(0);
    world.heal();
    world.sender.handle_metadata(|_, _| None);
    world.send(0);
    for queue in world.accumulator.take_unseen() {
        world.sender.handle_queue(queue, Leadership::UNKNOWN);
    }
    world.now += MS(10_000);
    world.sender.poll(world.now);
    world.collect();
    let error = world.sent[2].result.clone().unwrap().unwrap_err();
    let no_leader = ClientError::NoLeader { partition: TopicPartition::new("t", 0) };
    assert!(matches!(error.last_error(), Some(Cause::Client(cause)) if *cause == no_leader));
}

/// A batch that waits behind one that is refused has not been sent, and tells of the refusal all the same.
#[test]
fn expiry_behind_a_refused_batch_names_the_refusal() {
    let mut world = settled(config());
    send_batch(&mut world, 0);
    world.answer(BrokerId(0), Some(ErrorCode::NOT_ENOUGH_REPLICAS));
    send_batch(&mut world, 0);
    world.now += MS(10_000);
    world.step();
    for sent in &world.sent[2..] {
        let error = sent.result.clone().unwrap().unwrap_err();
        let refused = Some(ErrorCode::NOT_ENOUGH_REPLICAS);
        let last = error.last_error();
        assert!(matches!(last, Some(Cause::Broker(code, _)) if Some(*code) == refused), "{error}");
    }
    assert_eq!(world.sent[3].result.clone().unwrap().unwrap_err().attempts(), 0);
}

/// An acknowledged batch is told when the one before it is given up, and nothing then wakes the sender without need.
#[test]
fn what_is_abandoned_holds_nobody_back() {
    let mut world = settled(config());
    send_batch(&mut world, 0);
    send_batch(&mut world, 0);
    world.answer(BrokerId(0), Some(ErrorCode::REQUEST_TIMED_OUT));
    let first_is_missing = world.pop(BrokerId(0)).unwrap();
    world.logs.get_mut(&0).unwrap().next_sequence = 2;
    let response = world.apply(&first_is_missing, None);
    world.sender.handle_produced(first_is_missing.token, Ok(response), world.now);
    world.now += MS(100);
    world.step();
    world.now += MS(10_000);
    world.step();
    assert!(world.sent[2].result.as_ref().unwrap().is_err());
    assert!(world.sent[3].result.as_ref().unwrap().is_ok());
    assert!(world.sender.is_idle(), "an answer that nobody waits for does not hold a close");
    assert!(world.sender.next_deadline().is_none_or(|at| at > world.now));
}

/// An acknowledged batch between two that expire together is told between them.
#[test]
fn expiry_tells_the_ends_in_order() {
    let mut world = settled(config());
    (0..3).for_each(|_| send_batch(&mut world, 0));
    let first = world.pop(BrokerId(0)).unwrap();
    let response = world.apply(&first, None);
    world.answer(BrokerId(0), None);
    world.answer(BrokerId(0), Some(ErrorCode::NOT_ENOUGH_REPLICAS));
    world.now += MS(10_000);
    world.step();
    assert_eq!(*world.ended.lock(), [(0, 0), (1, 1), (0, 2), (0, 3), (0, 4)]);
    assert!(world.sent[3].result.as_ref().unwrap().is_ok());
    world.sender.handle_produced(first.token, Ok(response), world.now);
    world.heal();
    world.check("in order");
}
