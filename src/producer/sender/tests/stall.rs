//! Which brokers count as slow (`partitioner.availability.timeout.ms`), and until when.

use super::*;

const TIMEOUT: Duration = Duration::from_millis(100);
const A: BrokerId = BrokerId(0);
const B: BrokerId = BrokerId(1);

/// Partition 0 is led by `A` and partition 1 by `B`; both have acknowledged a batch.
fn watching() -> World {
    let mut world = settled(config());
    world.sender.watch_availability(TIMEOUT);
    world
}

/// `A` leaves five requests unanswered, and a sixth batch waits from now on.
fn stalling() -> World {
    let mut world = watching();
    for _ in 0..6 {
        send_batch(&mut world, 0);
    }
    assert_eq!(world.wire[&A].len(), 5);
    world
}

fn stalled() -> World {
    let mut world = stalling();
    world.now += TIMEOUT;
    world.step();
    assert_eq!(world.accumulator.slow(), [A]);
    world
}

#[test]
fn a_broker_that_leaves_a_batch_for_so_long_is_slow() {
    let mut world = stalling();
    let slow_at = world.now + TIMEOUT;
    assert_eq!(world.sender.next_deadline(), Some(slow_at), "the sender wakes up for it");
    // That another one is quick says nothing of this one.
    send_batch(&mut world, 1);
    world.answer(B, None);
    world.now = slow_at - MS(1);
    world.step();
    assert!(world.accumulator.slow().is_empty());
    world.now = slow_at;
    world.step();
    assert_eq!(world.accumulator.slow(), [A]);
    world.answer(A, None);
    world.step();
    assert!(world.accumulator.slow().is_empty(), "the sixth batch went out");
    // Five are unanswered again, but nothing is left behind.
    world.now += 5 * TIMEOUT;
    world.step();
    assert!(world.accumulator.slow().is_empty());
    world.heal();
    world.check("at the end");
}

/// Until the broker has answered a partition's first batch, its second waits, while the connection could take more.
#[test]
fn a_first_batch_that_is_not_answered_is_noticed() {
    let mut world = World::new(config(), 2, 1);
    world.sender.watch_availability(TIMEOUT);
    send_batch(&mut world, 0);
    world.now += 5 * TIMEOUT;
    world.step();
    assert!(world.accumulator.slow().is_empty(), "only the lack of a producer id held it back");
    world.give_id();
    world.step();
    world.step();
    assert_eq!(world.wire[&A].len(), 1);
    send_batch(&mut world, 0);
    assert_eq!(world.wire[&A].len(), 1);
    world.now += TIMEOUT;
    world.step();
    assert_eq!(world.accumulator.slow(), [A]);
}

#[test]
fn a_broker_that_cannot_be_reached_is_slow() {
    let mut world = watching();
    world.sender.handle_disconnected(A);
    world.sender.handle_unreachable(A, lost(), world.now);
    world.send(0);
    world.step();
    world.now += MS(5);
    let actions = world.sender.poll(world.now);
    assert!(!actions.iter().any(|action| matches!(action, Action::Produce(_))), "{actions:?}");
    world.now += TIMEOUT;
    let _ = world.sender.poll(world.now);
    assert_eq!(world.accumulator.slow(), [A]);
    world.sender.handle_connected(A);
    world.step();
    assert!(world.accumulator.slow().is_empty());
}

/// A back-off holds a batch as well, but is not the broker's: nothing is learnt from it.
#[test]
fn a_back_off_neither_begins_nor_ends_it() {
    let mut world = stalled();
    world.disconnect(A, 0);
    world.step();
    assert_eq!(world.accumulator.slow(), [A], "still, as far as is known");
    world.now += MS(200);
    world.step();
    world.step();
    assert!(world.accumulator.slow().is_empty(), "it takes batches again");

    let mut world =
        settled(SenderConfig { retry_backoff: Backoff::new(MS(1_000), MS(1_000)), ..config() });
    world.sender.watch_availability(TIMEOUT);
    send_batch(&mut world, 0);
    world.answer(A, Some(ErrorCode::NOT_ENOUGH_REPLICAS));
    world.step();
    world.now += 2 * TIMEOUT;
    world.step();
    assert!(world.accumulator.slow().is_empty(), "it answers");
}

/// Without anything that waits there is nothing to see, so it gets its share until it shows again that it is slow.
#[test]
fn it_is_forgotten_with_the_last_batch_that_waited() {
    let mut expired = stalled();
    expired.now += config().delivery_timeout;
    expired.step();
    assert!(expired.accumulator.slow().is_empty());

    let mut moved = stalled();
    (moved.leaders[0], moved.epoch) = (B, 2);
    moved.tell_metadata();
    moved.step();
    assert!(moved.accumulator.slow().is_empty());
}

/// While an epoch bump waits for one broker, batches for all wait: the others are not to blame.
#[test]
fn a_bump_is_no_brokers_fault() {
    let mut world = watching();
    send_batch(&mut world, 0);
    world.sender.sequencer.request_bump();
    send_batch(&mut world, 1);
    assert!(world.wire.get(&B).is_none_or(VecDeque::is_empty), "held back");
    world.now += 2 * TIMEOUT;
    world.step();
    assert!(world.accumulator.slow().is_empty());
}

#[test]
fn nobody_is_slow_unless_it_is_asked_for() {
    let mut world = settled(config());
    world.sender.watch_availability(Duration::ZERO);
    for _ in 0..6 {
        send_batch(&mut world, 0);
    }
    world.now += 5 * TIMEOUT;
    world.step();
    assert!(world.accumulator.slow().is_empty());
}
