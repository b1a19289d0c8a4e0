//! Which batches leave, and when.

use super::*;

/// When each request takes one batch only, the partitions take turns.
#[test]
fn small_requests_are_fair() {
    let mut world = World::new(SenderConfig { max_request_size: 1, ..config() }, 6, 1);
    for partition in [0, 2, 4] {
        for _ in 0..40 {
            world.send(partition);
        }
    }
    let mut turns = Vec::new();
    for _ in 0..60 {
        world.now += MS(5);
        world.step();
        if world.unanswered_id {
            world.give_id();
        }
        if let Some(produce) = world.wire.get(&BrokerId(0)).and_then(VecDeque::front) {
            turns.push(produce.request.topic_data[0].partition_data[0].index);
            world.answer(BrokerId(0), None);
        }
    }
    let first: Vec<_> = turns.iter().take(9).copied().collect();
    for partition in [0, 2, 4] {
        let count = first.iter().filter(|&&p| p == partition).count();
        assert!((2..=4).contains(&count), "{turns:?}");
    }
}

/// KIP-219: a broker that throttles gets nothing until its time is over, and others are not held up.
#[test]
fn a_throttling_broker_is_left_alone() {
    let mut world = settled(config());
    send_batch(&mut world, 0);
    let produce = world.pop(BrokerId(0)).unwrap();
    let response = ProduceResponse { throttle_time_ms: 300, ..world.apply(&produce, None) };
    world.sender.handle_produced(produce.token, Ok(response), world.now);
    let until = world.now + MS(300);
    send_batch(&mut world, 0);
    send_batch(&mut world, 1);
    assert!(world.wire[&BrokerId(0)].is_empty());
    assert_eq!(world.wire[&BrokerId(1)].len(), 1);
    assert_eq!(world.sender.next_deadline(), Some(until));
    world.now = until;
    world.step();
    assert_eq!(world.wire[&BrokerId(0)].len(), 1);
}

#[test]
fn nothing_to_do_has_no_deadline() {
    let mut world = settled(config());
    world.step();
    assert_eq!(world.sender.next_deadline(), None);
    world.send(0);
    world.step();
    assert_eq!(world.sender.next_deadline(), Some(world.now + MS(5)), "linger");
}

/// Two brokers of twenty partitions each, and requests of one batch: however many requests one takes between two of the
/// other, each broker serves its own partitions in turn (KAFKA-13834).
#[test]
fn a_busy_broker_does_not_starve_the_partitions_of_another() {
    for pace in [1, 7, 18, 19, 20, 21, 39, 40] {
        let config = SenderConfig {
            idempotent: false,
            max_in_flight: 1,
            max_request_size: 1,
            linger: Duration::ZERO,
            ..config()
        };
        let mut world = World::new(config, 40, 1);
        (0..40).for_each(|partition| world.send(partition));
        let mut served = [0; 40];
        for turn in 1..=pace * 40 {
            world.step();
            world.step();
            for node in [Some(BrokerId(0)), (turn % pace == 0).then_some(BrokerId(1))] {
                let Some(produce) = node.and_then(|node| world.pop(node)) else { continue };
                let partition = produce.request.topic_data[0].partition_data[0].index;
                served[usize::try_from(partition).unwrap()] += 1;
                let response = world.apply(&produce, None);
                world.sender.handle_produced(produce.token, Ok(response), world.now);
                world.send(partition);
            }
        }
        let slow: Vec<_> = served.iter().copied().skip(1).step_by(2).collect();
        assert!(slow.iter().all(|times| (1..=3).contains(times)), "1 in {pace}: {slow:?}");
    }
}

/// It can take no other record, so there is nothing to wait for.
#[test]
fn a_record_larger_than_a_batch_does_not_linger() {
    let mut world = settled(config());
    world.send_value(0, &[0; 300]);
    world.step();
    assert_eq!(world.wire[&BrokerId(0)].len(), 1);
}

/// Of two answers on their way the later one may know of no quota; the pause that the first one asked for stands.
#[test]
fn an_answer_without_throttle_does_not_end_the_pause_of_another() {
    let mut world = settled(config());
    send_batch(&mut world, 0);
    send_batch(&mut world, 0);
    let until = world.now + MS(300);
    let produce = world.pop(BrokerId(0)).unwrap();
    let response = ProduceResponse { throttle_time_ms: 300, ..world.apply(&produce, None) };
    world.sender.handle_produced(produce.token, Ok(response), world.now);
    world.answer(BrokerId(0), None);
    send_batch(&mut world, 0);
    assert!(world.wire[&BrokerId(0)].is_empty());
    assert_eq!(world.sender.next_deadline(), Some(until));
}
