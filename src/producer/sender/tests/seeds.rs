//! Faults by chance, by seed, and the invariants of an idempotent producer after them.

use std::collections::HashSet;

use super::*;

/// Runs faults by chance for a while, then heals and checks.
fn run_seed(seed: u64, config: SenderConfig) -> World {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut world = World::new(config, 3, seed);
    for _ in 0..200 {
        for _ in 0..random.usize(0..6) {
            world.send(random.i32(0..3));
        }
        world.step();
        let node = BrokerId(random.i32(0..2));
        match random.u32(0..100) {
            0..=39 => world.answer(node, None),
            40..=49 if world.unanswered_id => world.give_id(),
            50..=56 => world.answer(node, Some(ErrorCode::NOT_ENOUGH_REPLICAS)),
            57..=60 => {
                // Appended, and then answered as if it might not have been.
                if let Some(produce) = world.pop(node) {
                    world.apply(&produce, None);
                    let after = Some(ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND);
                    let response = world.apply(&produce, after);
                    world.sender.handle_produced(produce.token, Ok(response), world.now);
                }
            }
            61..=68 => world.disconnect(node, random.usize(0..4)),
            69..=72 => {
                let partition = random.usize(0..3);
                world.leaders[partition] = BrokerId(random.i32(0..2));
                world.epoch += 1;
            }
            73..=74 => world.answer(node, Some(ErrorCode::INVALID_RECORD)),
            75 => world.answer(node, Some(ErrorCode::MESSAGE_TOO_LARGE)),
            76..=77 => world.now += MS(random.u64(0..4_000)),
            _ => world.now += MS(random.u64(0..10)),
        }
    }
    let (healed_at, sent) = (world.now, world.sent.len());
    for partition in 0..3 {
        world.send(partition);
    }
    world.heal();
    assert!(world.now - healed_at < MS(2_000), "seed {seed}: {:?}", world.now - healed_at);
    let fresh = &world.sent[sent..];
    assert!(fresh.iter().all(|sent| matches!(sent.result, Some(Ok(_)))), "seed {seed}");
    world
}

#[test]
fn seeds_of_faults_keep_every_invariant() {
    let (mut acknowledged, mut failed) = (0, 0);
    for seed in 0..300 {
        let world = run_seed(seed, config());
        world.check(format!("seed {seed}"));
        let ok = world.sent.iter().filter(|sent| matches!(sent.result, Some(Ok(_)))).count();
        acknowledged += ok;
        failed += world.sent.len() - ok;
    }
    // The faults bite, and most records get through.
    assert!(failed > 1_000 && acknowledged > 5 * failed, "{acknowledged} and {failed}");
}

#[test]
fn without_idempotence_one_in_flight_keeps_order_and_every_record_ends() {
    let config = SenderConfig { idempotent: false, max_in_flight: 1, ..config() };
    for seed in 0..100 {
        let world = run_seed(seed, config.clone());
        assert!(world.sent.iter().all(|sent| sent.result.is_some()), "seed {seed}");
        assert_eq!(world.memory.available(), TOTAL, "seed {seed}");
        for log in world.logs.values() {
            // Retries may double records, but the first copies stand in order.
            let mut seen = HashSet::new();
            let firsts: Vec<_> = log.records.iter().filter(|value| seen.insert(**value)).collect();
            assert!(firsts.is_sorted(), "seed {seed}: {firsts:?}");
        }
    }
}
