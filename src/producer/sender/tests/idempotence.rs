//! Sequences, windows and epochs, by hand-made events.

use super::*;

#[test]
fn the_first_batch_of_a_partition_goes_alone() {
    let mut world = World::new(config(), 1, 1);
    world.send(0);
    world.step();
    world.give_id();
    world.now += MS(5);
    world.step();
    world.step();
    send_batch(&mut world, 0);
    assert_eq!(world.wire[&BrokerId(0)].len(), 1);
    world.answer(BrokerId(0), None);
    world.step();
    send_batch(&mut world, 0);
    send_batch(&mut world, 0);
    assert_eq!(world.wire[&BrokerId(0)].len(), 3);
    world.heal();
    world.check("first alone");
}

/// A broker may have forgotten a producer that was idle for long, and then takes any number for the first.
#[test]
fn the_first_batch_after_a_long_pause_goes_alone() {
    for (pause, together) in [(59, 2), (61, 1)] {
        let mut world = settled(config());
        world.step();
        world.now += Duration::from_secs(pause);
        send_batch(&mut world, 0);
        send_batch(&mut world, 0);
        assert_eq!(world.wire[&BrokerId(0)].len(), together, "after {pause} s");
        world.heal();
        send_batch(&mut world, 0);
        send_batch(&mut world, 0);
        assert_eq!(world.wire[&BrokerId(0)].len(), 2, "it is known again");
        world.heal();
        world.check("long pause");
    }
}

/// The topic was deleted. If it is made anew between the answers to the first batch and to the second, the second would
/// be taken for the first of all, and the first come too late.
#[test]
fn batches_of_an_unknown_topic_are_tried_one_at_a_time() {
    let mut world = settled(config());
    send_batch(&mut world, 0);
    send_batch(&mut world, 0);
    for _ in 0..2 {
        world.answer(BrokerId(0), Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
    }
    world.now += Duration::from_secs(1);
    world.step();
    assert_eq!(world.wire[&BrokerId(0)].len(), 1);
    world.heal();
    world.check("unknown topic");
}

#[test]
fn five_in_flight_and_no_more() {
    let mut world = settled(config());
    for _ in 0..8 {
        send_batch(&mut world, 0);
    }
    assert_eq!(world.wire[&BrokerId(0)].len(), 5);
    world.heal();
    world.check("five");
    // What waited meanwhile went as one batch.
    assert_eq!(world.logs[&0].recent.back().unwrap().1, 3);
}

/// R1 loses its answer, R2 is acknowledged: R1 was written, and its retry says where.
#[test]
fn a_lost_answer_before_an_acknowledged_batch() {
    let mut world = settled(config());
    send_batch(&mut world, 0);
    send_batch(&mut world, 0);
    let first = world.pop(BrokerId(0)).unwrap();
    world.apply(&first, None);
    world.answer(BrokerId(0), None);
    world.step();
    assert!(world.sent[3].result.is_none(), "its turn comes after the first");
    world.sender.handle_produced(first.token, Err(lost()), world.now);
    world.heal();
    world.check("lost answer");
    assert_eq!(world.sent[2].result.as_ref().unwrap().as_ref().unwrap().offset(), Some(1));
    assert_eq!(world.sent[3].result.as_ref().unwrap().as_ref().unwrap().offset(), Some(2));
}

/// Out of order on one partition while another has a written but unanswered batch: the bump waits for that one's fate,
/// or it would be written twice (librdkafka 4953).
#[test]
fn a_bump_waits_for_every_partition() {
    let mut world = settled(config());
    send_batch(&mut world, 0);
    send_batch(&mut world, 1);
    world.logs.get_mut(&0).unwrap().next_sequence = 7;
    world.answer(BrokerId(0), None);
    world.disconnect(BrokerId(1), 1);
    world.heal();
    world.check("barrier");
    assert_eq!(world.logs[&1].records.len(), 2);
}

/// The head is out of order and the batch behind it loses its answer: its fate must still be found out, or the bump would
/// wait for it until it expires.
#[test]
fn a_bump_finds_out_the_fate_of_what_is_behind_the_head() {
    let mut world = settled(config());
    send_batch(&mut world, 0);
    send_batch(&mut world, 0);
    world.answer(BrokerId(0), Some(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));
    world.disconnect(BrokerId(0), 0);
    let started = world.now;
    world.heal();
    world.check("behind the head");
    assert!(world.sent.iter().all(|sent| matches!(sent.result, Some(Ok(_)))));
    assert!(world.now - started < MS(1_000), "{:?}", world.now - started);
}

/// A topic that was made anew has no state of the producer: what may have been written to the old one goes to it one by
/// one, as a first batch does, or a later one could be taken before an earlier one.
#[test]
fn in_a_recreated_topic_nothing_overtakes() {
    let mut world = settled(config());
    send_batch(&mut world, 0);
    send_batch(&mut world, 0);
    world.disconnect(BrokerId(0), 0);
    world.topic_id = TopicId([2; 16]);
    world.logs.remove(&0);
    world.tell_metadata();
    for _ in 0..3 {
        world.now += MS(50);
        world.step();
    }
    assert_eq!(world.wire[&BrokerId(0)].len(), 1, "the first goes alone");
    world.answer(BrokerId(0), Some(ErrorCode::NOT_ENOUGH_REPLICAS));
    world.heal();
    assert_eq!(world.logs[&0].records, [2, 3]);
    assert_eq!(world.logs[&0].identity, Some(ProducerIdentity { id: 9, epoch: 0 }));
    send_batch(&mut world, 0);
    world.heal();
    assert_eq!(world.logs[&0].records, [2, 3, 4]);
    assert_eq!(world.logs[&0].identity, Some(ProducerIdentity { id: 9, epoch: 1 }));
}
