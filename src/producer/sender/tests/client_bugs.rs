//! Bugs that producers of other projects have had and that only show from inside, by row and name; the others are tested
//! against the whole stack.

use super::*;

/// Numbers are 31 bits wide: past the last one they became negative, or the sum of a batch's numbers overflowed.
#[test]
fn row_11_kafka_7693_after_the_last_number_comes_0() {
    const IDENTITY: ProducerIdentity = ProducerIdentity { id: 9, epoch: 0 };
    for (before_last, trouble) in (0..12).flat_map(|n| (0..9).map(move |trouble| (n, trouble))) {
        let context = format!("{before_last} before the last number, trouble {trouble}");
        let mut world = settled(config());
        let next = i32::MAX - before_last;
        let log = world.logs.get_mut(&0).unwrap();
        log.next_sequence = next;
        // The number 0 was so many records ago that nobody knows it.
        log.recent.clear();
        world.stamped.clear();
        let mut partitions = world.sender.partitions.iter_mut();
        let partition = partitions.find(|partition| partition.queue.partition == 0).unwrap();
        // One has been given to a record.
        partition.sequence.stamp(IDENTITY, next.unsigned_abs() - 1);
        for _ in 0..4 {
            world.send(0);
            world.send(0);
            send_batch(&mut world, 0);
        }
        match trouble {
            0..=4 => world.disconnect(BrokerId(0), trouble),
            5 => world.answer(BrokerId(0), Some(ErrorCode::NOT_ENOUGH_REPLICAS)),
            6 => {
                world.answer(BrokerId(0), None);
                world.answer(BrokerId(0), Some(ErrorCode::NOT_ENOUGH_REPLICAS));
                world.disconnect(BrokerId(0), 2);
            }
            _ => {}
        }
        let most = if trouble == 8 { 1 } else { i32::MAX };
        world.heal_refusing(|batch| batch.header().count > most);
        world.check(&context);
        assert!(world.sent.iter().all(|sent| matches!(sent.result, Some(Ok(_)))), "{context}");
        let log = &world.logs[&0];
        assert_eq!(log.identity, Some(IDENTITY), "{context}: nothing was out of order");
        assert_eq!(log.next_sequence, 12 - before_last - 1, "{context}");
    }
}
