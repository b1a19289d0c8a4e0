//! The scenarios of the Java client's `RecordAccumulatorTest`, under their names: what is ready, and what is drained.
//! Here readiness is the queue's, and draining the sender's.

use super::*;
use crate::error::SendError;

/// A world that has an id and connections, and has sent nothing yet.
fn ready(config: SenderConfig, partitions: i32) -> World {
    let mut world = World::new(SenderConfig { idempotent: false, ..config }, partitions, 1);
    (0..2).for_each(|node| world.sender.handle_connected(BrokerId(node)));
    world
}

fn sizes_on(world: &World, node: i32) -> Vec<usize> {
    let produces = world.wire.get(&BrokerId(node)).into_iter().flatten();
    let topics = produces.flat_map(|produce| &produce.request.topic_data);
    topics.map(|topic| topic.partition_data.len()).collect()
}

#[test]
fn full() {
    let mut world = ready(config(), 1);
    while sizes_on(&world, 0).is_empty() {
        assert!(world.sent.len() < 100);
        world.send(0);
        world.step();
    }
    // The one that did not fit has begun the next batch, which lingers.
    world.answer(BrokerId(0), None);
    let records: Vec<_> = (0..u32::try_from(world.sent.len()).unwrap() - 1).collect();
    assert_eq!(world.logs[&0].records, records);
    assert_eq!(world.sender.next_deadline(), Some(world.now + MS(5)));
}

#[test]
fn append_large() {
    let mut world = ready(config(), 1);
    world.send(0);
    world.send_value(0, &[7; 2_000]);
    world.send(0);
    world.step();
    world.step();
    world.heal();
    world.check("large");
    // Alone in its batch, between those before and after.
    assert_eq!(world.logs[&0].recent.iter().map(|batch| batch.1).collect::<Vec<_>>(), [1, 1, 1]);
}

#[test]
fn linger() {
    let mut world = ready(config(), 1);
    world.send(0);
    world.step();
    assert_eq!(world.sender.next_deadline(), Some(world.now + MS(5)));
    world.now += MS(4);
    world.send(0);
    world.step();
    assert_eq!(sizes_on(&world, 0), [], "the first record's time counts, and is not over");
    world.now += MS(1);
    world.step();
    assert_eq!(sizes_on(&world, 0), [1]);
    world.answer(BrokerId(0), None);
    assert_eq!(world.logs[&0].records, [0, 1]);
}

#[test]
fn partial_drain() {
    let room = SenderConfig { max_request_size: 300, linger: Duration::ZERO, ..config() };
    let mut world = ready(SenderConfig { max_in_flight: 1, ..room }, 6);
    for partition in [0, 2, 4] {
        world.send_value(partition, &[0; 60]);
    }
    world.step();
    assert_eq!(sizes_on(&world, 0), [2], "two fit, the third goes with the next");
    world.answer(BrokerId(0), None);
    world.step();
    assert_eq!(sizes_on(&world, 0), [1]);
}

#[test]
fn next_ready_check_delay() {
    let mut world = ready(config(), 6);
    let start = world.now;
    world.send(0);
    world.step();
    world.now += MS(2);
    world.send(2);
    world.step();
    assert_eq!(world.sender.next_deadline(), Some(start + MS(5)), "the one that is due first");
    // One that is full is not waited for.
    world.send_value(4, &[0; 300]);
    world.step();
    assert_eq!(sizes_on(&world, 0), [1]);
    assert_eq!(world.sender.next_deadline(), Some(start + MS(5)));
}

#[test]
fn retry_backoff() {
    let backoff = Backoff::new(MS(100), MS(100));
    let mut world =
        ready(SenderConfig { linger: Duration::ZERO, retry_backoff: backoff, ..config() }, 4);
    world.send(0);
    world.step();
    world.answer(BrokerId(0), Some(ErrorCode::NOT_ENOUGH_REPLICAS));
    world.now += MS(1);
    world.send(0);
    world.send(2);
    world.step();
    let on_wire = &world.wire[&BrokerId(0)][0].request.topic_data[0].partition_data;
    assert_eq!(on_wire.iter().map(|data| data.index).collect::<Vec<_>>(), [2]);
    assert_eq!(world.wire[&BrokerId(0)].len(), 1, "nothing overtakes the one that waits");
    world.answer(BrokerId(0), None);
    world.now += MS(99);
    world.step();
    world.heal();
    world.check("backoff");
    assert_eq!(world.logs[&0].records, [0, 1]);
}

#[test]
fn exponential_retry_backoff() {
    let backoff = Backoff::new(MS(100), MS(1_000));
    let mut world =
        ready(SenderConfig { linger: Duration::ZERO, retry_backoff: backoff, ..config() }, 1);
    world.send(0);
    world.step();
    for expected in [100, 200, 400, 800, 1_000, 1_000] {
        world.answer(BrokerId(0), Some(ErrorCode::NOT_ENOUGH_REPLICAS));
        world.step();
        let wait = world.sender.next_deadline().unwrap() - world.now;
        assert!((MS(expected * 4 / 5)..=MS(expected * 6 / 5)).contains(&wait), "{wait:?}");
        world.now += wait;
        world.step();
        assert_eq!(sizes_on(&world, 0), [1]);
    }
}

/// And linger counts again when the flush is over (KAFKA-12870).
#[test]
fn flush() {
    let mut world = ready(config(), 6);
    for partition in [0, 2, 4] {
        world.send(partition);
    }
    world.step();
    assert_eq!(sizes_on(&world, 0), []);
    let flush = world.accumulator.start_flush();
    world.step();
    assert_eq!(sizes_on(&world, 0), [3]);
    drop(flush);
    world.send(0);
    world.step();
    assert_eq!(sizes_on(&world, 0), [3]);
    assert_eq!(world.sender.next_deadline(), Some(world.now + MS(5)));
}

/// Senders that wait for memory make everything ready: what is sent frees it.
#[test]
fn exhausted() {
    let mut world = ready(config(), 2);
    world.send(0);
    world.step();
    assert_eq!(sizes_on(&world, 0), []);
    let memory = Arc::clone(&world.memory);
    let waiting = memory.reserve(TOTAL);
    world.step();
    assert_eq!(sizes_on(&world, 0), [1]);
    drop(waiting);
    world.send(0);
    world.step();
    assert_eq!(sizes_on(&world, 0), [1], "nobody waits any more");
}

#[test]
fn abort_incomplete_batches() {
    let mut world = ready(config(), 2);
    (0..200).for_each(|at| world.send(at % 2));
    world.step();
    assert!(!sizes_on(&world, 0).is_empty(), "some are in flight, others wait");
    world.accumulator.refuse(SendError::Closed);
    world.sender.fail_all(&DeliveryErrorKind::Closed, world.now);
    world.collect();
    assert!(world.sent.iter().all(|sent| matches!(sent.result, Some(Err(_)))));
    let known = |sent: &&Sent| {
        sent.result.as_ref().unwrap().as_ref().unwrap_err().persistence() == Persistence::NotWritten
    };
    let unsent = world.sent.iter().filter(known).count();
    assert!((1..200).contains(&unsent), "{unsent}");
    // An answer that comes late changes nothing.
    world.answer(BrokerId(0), None);
    world.wire.clear();
    assert_eq!(world.memory.available(), TOTAL);
}

#[test]
fn expired_batches() {
    let mut world = ready(config(), 2);
    world.sender.handle_unreachable(BrokerId(0), lost(), world.now);
    world.send(0);
    world.step();
    world.now += MS(9_999);
    world.send(1);
    world.sender.poll(world.now);
    world.collect();
    assert!(world.sent[0].result.is_none(), "a millisecond is left");
    world.now += MS(1);
    world.sender.poll(world.now);
    world.collect();
    assert!(matches!(world.sent[0].result, Some(Err(_))));
    assert!(world.sent[1].result.is_none());
}

#[test]
fn expired_batch_single_max_value() {
    let long = Duration::from_millis(u64::from(u32::MAX));
    let mut world = ready(SenderConfig { delivery_timeout: long, ..config() }, 1);
    world.send(0);
    world.step();
    world.now += MS(5);
    world.step();
    assert_eq!(sizes_on(&world, 0), [1]);
    world.now += long;
    world.step();
    assert!(matches!(world.sent[0].result, Some(Err(_))));
}

#[test]
fn muted_partitions() {
    let mut world = ready(SenderConfig { linger: Duration::ZERO, max_in_flight: 1, ..config() }, 4);
    world.send(0);
    world.step();
    world.send(0);
    world.send(2);
    world.step();
    assert_eq!(sizes_on(&world, 0), [1], "one request at a time");
    world.answer(BrokerId(0), None);
    world.step();
    assert_eq!(sizes_on(&world, 0), [2]);
}

#[test]
fn ready_and_drain_when_a_batch_is_being_retried() {
    let mut world = ready(SenderConfig { linger: Duration::ZERO, ..config() }, 2);
    world.send(0);
    world.step();
    world.answer(BrokerId(0), Some(ErrorCode::NOT_LEADER_OR_FOLLOWER));
    world.step();
    assert_eq!(sizes_on(&world, 0), []);
    // Another leader: at once. The same again: after the pause.
    (world.leaders[0], world.epoch) = (BrokerId(1), 2);
    world.tell_metadata();
    world.step();
    assert_eq!((sizes_on(&world, 0), sizes_on(&world, 1)), (vec![], vec![1]));
    world.answer(BrokerId(1), Some(ErrorCode::NOT_LEADER_OR_FOLLOWER));
    world.tell_metadata();
    world.step();
    assert_eq!(sizes_on(&world, 1), []);
    let wait = world.sender.next_deadline().unwrap() - world.now;
    world.now += wait;
    world.step();
    assert_eq!(sizes_on(&world, 1), [1]);
    world.heal();
    world.check("retried");
}
