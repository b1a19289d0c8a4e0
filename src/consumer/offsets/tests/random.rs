//! Commits by chance to a coordinator that fails by chance, by seed, and the invariants after each step.

use super::*;

/// A commit that the user waits for, or waited for.
struct Asked {
    offsets: Vec<(i32, i64)>,
    deadline: Instant,
    result: Option<Result<(), CommitError>>,
}

/// A group at a coordinator that moves, and a consumer that commits ever larger offsets.
struct World {
    bench: Bench,
    random: fastrand::Rng,
    generation: i32,
    next: [i64; 4],
    /// What is stored, and everything that ever was.
    stored: BTreeMap<i32, i64>,
    ever: BTreeSet<(i32, i64)>,
    asked: BTreeMap<CommitId, Asked>,
    /// With the generation that it was sent in.
    wire: Option<(u64, Commit)>,
    faults: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let protocol = if random.bool() { GroupProtocol::Classic } else { GroupProtocol::Consumer };
        Self {
            bench: Bench::new(protocol),
            random,
            generation: 3,
            next: [0; 4],
            stored: BTreeMap::new(),
            ever: BTreeSet::new(),
            asked: BTreeMap::new(),
            wire: None,
            faults: true,
        }
    }

    fn commit(&mut self) {
        let mut offsets = Vec::new();
        for partition in 0..4 {
            if self.random.bool() {
                let next = &mut self.next[partition as usize];
                *next += self.random.i64(1..5);
                offsets.push((partition, *next));
            }
        }
        if let Ok(id) = self.bench.try_commit(&offsets) {
            let deadline = self.bench.now + MS(60_000);
            self.asked.insert(id, Asked { offsets, deadline, result: None });
        }
    }

    fn poll(&mut self) {
        let seen = self.bench.poll();
        assert!(self.bench.view.coordinator.is_some() || seen.commits.is_empty());
        for sent in seen.commits {
            assert!(self.wire.is_none(), "two at once");
            self.wire = Some(sent);
        }
        if !seen.lost.is_empty() && self.random.bool() {
            self.bench.view.coordinator = None;
        }
        for (id, result) in seen.ended {
            let asked = self.asked.get_mut(&id).unwrap();
            assert!(asked.result.is_none(), "{id:?} ended twice");
            assert!(self.bench.now <= asked.deadline + MS(2000), "late");
            let stored = |(partition, offset): &(i32, i64)| {
                self.stored.get(partition).is_some_and(|stored| stored >= offset)
            };
            match &result {
                Ok(()) => assert!(asked.offsets.iter().all(stored), "{id:?} is not stored"),
                Err(error @ CommitError::Refused { failed, .. }) if !error.maybe_committed() => {
                    for (partition, offset) in &asked.offsets {
                        let refused = failed.iter().any(|(tp, _)| tp.partition == *partition);
                        assert!(!refused || !self.ever.contains(&(*partition, *offset)), "{error}");
                    }
                }
                Err(error) if !error.maybe_committed() => {
                    let none = asked.offsets.iter().all(|pair| !self.ever.contains(pair));
                    assert!(none, "stored, and said not to be: {error}");
                }
                Err(_) => {}
            }
            asked.result = Some(result);
        }
    }

    /// The coordinator stores what a request says, if the member is who it knows.
    fn store(&mut self, commit: &Commit, partition: i32) -> ErrorCode {
        let generation = commit.at(9).generation_id_or_member_epoch;
        if generation != self.generation {
            return match self.bench.offsets.config.protocol {
                GroupProtocol::Classic => ErrorCode::ILLEGAL_GENERATION,
                GroupProtocol::Consumer => ErrorCode::STALE_MEMBER_EPOCH,
            };
        }
        for (at, offset) in contents(commit) {
            if at == partition {
                let before = self.stored.insert(partition, offset).unwrap_or(0);
                assert!(before <= offset, "{partition} went from {before} back to {offset}");
                self.ever.insert((partition, offset));
            }
        }
        ErrorCode::NONE
    }

    fn answer(&mut self) {
        let Some((token, commit)) = self.wire.take() else { return };
        let fate = if self.faults { self.random.u32(0..12) } else { 99 };
        let partitions: Vec<i32> = contents(&commit).iter().map(|(at, _)| *at).collect();
        if fate < 3 {
            // Lost before it was stored, or after it.
            if fate == 0 {
                for partition in partitions {
                    self.store(&commit, partition);
                }
            }
            return self.bench.fail(token, lost(fate < 2));
        }
        let all = match fate {
            3 => Some(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS),
            4 => Some(ErrorCode::NOT_COORDINATOR),
            _ => None,
        };
        let mut codes = BTreeMap::new();
        for partition in partitions {
            let code = match (all, fate, self.random.u32(0..8)) {
                (Some(code), ..) => code,
                // Stored, and then not by enough replicas.
                (None, 5, _) => {
                    self.store(&commit, partition);
                    ErrorCode::REQUEST_TIMED_OUT
                }
                (None, ..=11, 0) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                (None, ..=11, 1) => ErrorCode::OFFSET_METADATA_TOO_LARGE,
                _ => self.store(&commit, partition),
            };
            codes.insert(partition, code);
        }
        self.bench.answer_each((token, &commit), |partition| codes[&partition]);
    }

    fn step(&mut self) {
        match self.random.u32(0..20) {
            0..=5 => self.commit(),
            6..=11 => self.answer(),
            12 if self.faults => {
                self.generation += 1;
                self.bench.view.commit_as = member(self.generation);
            }
            13 if self.faults => self.bench.view.commit_as = CommitAs::Rebalancing,
            14 => self.bench.view.commit_as = member(self.generation),
            15 => {
                let version = self.random.u64(2..100);
                self.bench.view.coordinator = Some(Located { broker: NODE, version });
            }
            16 if self.faults => {
                let partition = self.random.i32(0..4);
                self.bench.offsets.revoked(&BTreeSet::from([tp(partition)]));
            }
            17 => self.bench.now += MS(self.random.u64(0..2000)),
            _ => self.bench.now += MS(self.random.u64(0..50)),
        }
        self.poll();
    }
}

#[test]
fn every_commit_ends_once_truthfully_and_nothing_goes_back() {
    let (mut committed, mut failed, mut unsure) = (0, 0, 0);
    for seed in 0..300 {
        let mut world = World::new(seed);
        for _ in 0..300 {
            world.step();
        }
        world.faults = false;
        let mut steps = 0;
        while world.bench.offsets.is_committing() {
            world.answer();
            world.bench.view.coordinator = Some(Located { broker: NODE, version: 1000 });
            world.bench.view.commit_as = member(world.generation);
            world.bench.now += MS(100);
            world.poll();
            steps += 1;
            assert!(steps < 100, "seed {seed}: {:?}", world.bench.offsets);
        }
        for (id, asked) in &world.asked {
            match asked.result.as_ref() {
                Some(Ok(())) => committed += 1,
                Some(Err(error)) if error.maybe_committed() => unsure += 1,
                Some(Err(_)) => failed += 1,
                None => panic!("seed {seed}: {id:?} has not ended"),
            }
        }
    }
    // All of it has been tried.
    assert!(committed > 3000 && failed > 1000 && unsure > 300, "{committed} {failed} {unsure}");
}
