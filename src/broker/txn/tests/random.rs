//! Random requests, time-outs and markers; what must hold whatever comes.

use super::*;

/// What two clients with one transactional id believe.
#[derive(Debug, Clone, Copy, Default)]
struct Client {
    own: Option<ProducerIdentity>,
}

#[test]
fn whatever_comes_one_producer_writes_and_every_transaction_ends_once() {
    for seed in 0..300 {
        let mut dice = fastrand::Rng::with_seed(seed);
        let version = dice.i16(1..=2);
        let first = if dice.bool() { 0 } else { MAX - 6 };
        let mut world = World::new(version, first);
        let mut clients = [Client::default(); 2];
        for _ in 0..120 {
            let before = world.all.get(ID).cloned();
            let who = dice.usize(0..clients.len());
            step(&mut world, &mut clients[who], &mut dice);
            let after = world.all.get(ID).cloned();
            if let (Some(before), Some(after)) = (&before, &after) {
                check(before, after, seed);
            }
            let valid = |client: &&Client| {
                let own = world.all.get(ID).map(|transaction| transaction.producer);
                client.own.is_some() && client.own == own
            };
            assert!(clients.iter().filter(valid).count() <= 1, "{seed}: {clients:?}");
        }
        settles(&mut world, seed);
    }
}

fn step(world: &mut World, client: &mut Client, dice: &mut fastrand::Rng) {
    world.now += dice.i64(0..20_000);
    world.all.time_out(world.now);
    let own = client.own.unwrap_or(ProducerIdentity::NONE);
    match dice.u8(0..10) {
        0 => {
            let expected = client.own.filter(|_| dice.bool());
            // An answer may be lost.
            if let Ok(told) = world.init(expected)
                && dice.bool()
            {
                client.own = Some(told);
            }
        }
        1..=4 => drop(world.all.add(ID, own, parts(dice.i32(0..3)), world.now)),
        5 | 6 => {
            if let Ok(told) = world.end(own, dice.bool())
                && version_bumps(world)
                && dice.u8(0..4) > 0
            {
                client.own = Some(told);
            }
        }
        _ => {
            for owed in world.all.owed(world.now) {
                let part = owed.parts.partitions.first().cloned();
                let some = part.map_or_else(Parts::default, Parts::partition);
                world.all.paid(ID, &some);
            }
        }
    }
}

fn version_bumps(world: &World) -> bool {
    world.all.settings.version == 2
}

fn check(before: &Transaction, after: &Transaction, seed: u64) {
    let what = format!("{seed}: {before:?} -> {after:?}");
    use TransactionState::{
        CompleteAbort, CompleteCommit, Empty, Ongoing, PrepareAbort, PrepareCommit,
    };
    let (old, new) = (before.producer, after.producer);
    assert!((new.id, new.epoch) >= (old.id, old.epoch), "identities only rise: {what}");
    let legal = match (before.state, after.state) {
        (Empty | CompleteCommit | CompleteAbort, Empty) => true,
        (a, b) if a == b => true,
        (Empty | CompleteCommit | CompleteAbort, Ongoing) => true,
        // A time-out comes before the step, so that the markers may follow at once.
        (Ongoing, PrepareCommit | PrepareAbort | CompleteAbort) => true,
        (Empty | CompleteCommit | CompleteAbort, PrepareAbort) => true,
        (PrepareCommit, CompleteCommit) | (PrepareAbort, CompleteAbort) => true,
        _ => false,
    };
    assert!(legal, "{what}");
    let has_parts = matches!(after.state, Ongoing | PrepareCommit | PrepareAbort);
    assert!(has_parts || after.parts == Parts::default(), "{what}");
    if matches!(before.state, PrepareCommit | PrepareAbort) {
        assert!(after.parts.partitions.is_subset(&before.parts.partitions), "{what}");
    }
}

/// Left alone, what is open ends, and somebody may begin.
fn settles(world: &mut World, seed: u64) {
    world.now += i64::from(TIMEOUT);
    world.all.time_out(world.now);
    world.settle();
    assert!(!world.all.is_unsettled(), "{seed}");
    let own = world.init(None).unwrap();
    assert_eq!(world.add(own), Ok(()), "{seed}");
}
