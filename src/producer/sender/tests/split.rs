//! MESSAGE_TOO_LARGE.

use super::*;

/// Too large: halved until it fits, in order and with the numbers of the whole, beside others in flight; the records are
/// told when the last part has ended.
#[test]
fn too_large_a_batch_is_halved_until_it_fits() {
    let mut world = settled(config());
    for _ in 0..7 {
        world.send(0);
    }
    send_batch(&mut world, 0);
    send_batch(&mut world, 0);
    world.answer(BrokerId(0), Some(ErrorCode::MESSAGE_TOO_LARGE));
    world.step();
    assert!(world.sent[2].result.is_none());
    world.heal_refusing(|batch| batch.header().count > 2);
    world.check("halved");
    assert_eq!(world.logs[&0].next_sequence, 10, "nothing was renumbered");
    assert_eq!(world.logs[&0].identity.unwrap().epoch, 0);

    // One record that is too large fails, and takes nothing with it.
    world.send(0);
    send_batch(&mut world, 0);
    let lonely = world.next_value - 1;
    world.heal_refusing(|batch| {
        let records = batch.records(TOTAL).unwrap();
        let values: Vec<_> = records.iter().map(|r| r.unwrap().value.unwrap().to_vec()).collect();
        values.contains(&lonely.to_be_bytes().to_vec())
    });
    world.check("one too large");
    let results = world.sent.iter().rev().take(2).map(|sent| sent.result.as_ref().unwrap().is_ok());
    assert_eq!(results.collect::<Vec<_>>(), [false, true]);
}

/// Halves of a first batch go one after the other, as the first batch itself does.
#[test]
fn halves_of_the_first_batch_go_alone() {
    let mut world = World::new(config(), 1, 1);
    for _ in 0..4 {
        world.send(0);
    }
    world.step();
    world.give_id();
    world.now += MS(5);
    world.step();
    world.step();
    world.answer(BrokerId(0), Some(ErrorCode::MESSAGE_TOO_LARGE));
    world.step();
    assert_eq!(world.wire[&BrokerId(0)].len(), 1);
    world.heal();
    world.check("halves");
}

/// As in the Java client, whose halves are batches of their own.
#[test]
fn halves_have_their_own_retries() {
    let mut world = settled(SenderConfig { retries: 1, ..config() });
    world.send(0);
    send_batch(&mut world, 0);
    world.answer(BrokerId(0), Some(ErrorCode::NOT_ENOUGH_REPLICAS));
    world.now += MS(100);
    world.step();
    world.answer(BrokerId(0), Some(ErrorCode::MESSAGE_TOO_LARGE));
    world.step();
    assert_eq!(world.wire[&BrokerId(0)].len(), 2);
    world.answer(BrokerId(0), Some(ErrorCode::NOT_ENOUGH_REPLICAS));
    world.heal();
    world.check("halves retry");
    assert!(world.sent.iter().all(|sent| matches!(sent.result, Some(Ok(_)))));
}

/// Without idempotence a batch may be doubled anyway, so that it may have been written is no reason to give it up.
#[test]
fn without_idempotence_a_batch_is_split_also_after_a_lost_answer() {
    for (idempotent, written) in [(false, true), (true, false)] {
        let mut world = settled(SenderConfig { idempotent, ..config() });
        world.send(0);
        send_batch(&mut world, 0);
        world.disconnect(BrokerId(0), 0);
        for _ in 0..3 {
            world.now += MS(100);
            world.step();
        }
        world.answer(BrokerId(0), Some(ErrorCode::MESSAGE_TOO_LARGE));
        world.heal();
        world.check("split");
        let ends = world.sent.iter().skip(2).map(|sent| matches!(sent.result, Some(Ok(_))));
        assert_eq!(ends.collect::<Vec<_>>(), [written; 2]);
    }
}
