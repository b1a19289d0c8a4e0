//! Every order of every outcome of up to five batches in flight, exhaustively, against a model of the broker.
//!
//! A path is a series of events: a request on the wire meets a fate, a pause passes, a batch expires, another partition
//! asks for an epoch bump. Each event is taken in each state that can be reached, and from each state the faults end:
//! then all must come to a good end. States that look the same from outside and inside are followed once.
//!
//! The events are harsher than a network: requests of one connection may be carried out in any order, as they may when
//! a leader moves. What is not modelled is a request that is carried out after the client has given it up.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::*;
use crate::producer::delivery::Outcome;
use crate::producer::sequencer::PartitionSequence;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// What becomes of the request at this place of the wire.
    Request(usize, Fate),
    /// Time passes until the sender wants to be asked again.
    Pause,
    /// Time passes until the oldest batch expires.
    Expiry,
    /// Sequences were lost on another partition.
    Bump,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Carried out, and answered as the broker sees it.
    Answered,
    Refused(ErrorCode),
    /// Carried out, and then answered so.
    RefusedAfterAppend,
    RequestLost,
    AnswerLost,
    Unsent,
}

pub(super) use Fate::{AnswerLost, Answered, Refused, RefusedAfterAppend, RequestLost, Unsent};

const RETRIABLE: Fate = Refused(ErrorCode::NOT_ENOUGH_REPLICAS);
pub(super) const FATAL: Fate = Refused(ErrorCode::INVALID_RECORD);
pub(super) const TOO_LARGE: Fate = Refused(ErrorCode::MESSAGE_TOO_LARGE);

/// What is tried.
struct Case {
    /// The partition and the records of each batch that is in flight at the start.
    batches: &'static [(i32, usize)],
    fates: &'static [Fate],
    /// The events of a path, at most.
    depth: usize,
    /// Whether pauses, expiries and bumps are among the events.
    timed: bool,
    /// The epoch at the start.
    epoch: i16,
    /// Whether the brokers have never seen the producer; then only the first batch of a partition is in flight.
    fresh: bool,
}

const CASE: Case = Case { batches: &[], fates: ALL, depth: 0, timed: true, epoch: 0, fresh: false };

/// What was tried: each event in each state that it was possible in. As states are followed once, these stand for many
/// more paths.
#[derive(Default)]
struct Covered {
    follow: HashMap<u64, Vec<u64>>,
}

impl Covered {
    /// How many different series of up to `depth` events lead through the states.
    fn paths(&self, root: u64, depth: usize) -> u128 {
        let mut here = HashMap::from([(root, 1_u128)]);
        let mut paths = 0;
        for _ in 0..depth {
            let mut next = HashMap::new();
            for (state, ways) in here {
                for child in self.follow.get(&state).into_iter().flatten() {
                    *next.entry(*child).or_insert(0) += ways;
                }
            }
            paths += next.values().sum::<u128>();
            here = next;
        }
        paths
    }
}

impl Case {
    /// Each partition has acknowledged batches, and these are in flight, a second apart.
    fn start(&self) -> World {
        let pause = MS(20);
        let config = SenderConfig {
            linger: Duration::ZERO,
            retry_backoff: Backoff::new(pause, pause),
            ..config()
        };
        let mut world = World::new(config, 2, 1);
        world.next_id = 20;
        world.sender.sequencer.ask();
        let identity = ProducerIdentity { id: 8, epoch: self.epoch };
        world.sender.sequencer.given(identity);
        let next_sequence = i32::MAX - 1;
        for partition in 0..2 {
            world.sender.handle_connected(BrokerId(partition));
            let log = Log { identity: Some(identity), next_sequence, ..Log::default() };
            world.logs.insert(partition, if self.fresh { Log::default() } else { log });
        }
        for &(partition, records) in self.batches {
            world.now += MS(1_000);
            (0..records).for_each(|_| world.send(partition));
            for queue in world.accumulator.take_unseen() {
                let leadership = world.leadership(queue.partition);
                world.sender.handle_queue(queue, leadership);
            }
            for partition in &mut world.sender.partitions {
                if partition.window.is_empty() && !self.fresh {
                    partition.sequence = PartitionSequence::at(identity, next_sequence);
                }
            }
            world.settle();
        }
        world
    }

    fn events(&self, world: &World, path: &[Event]) -> Vec<Event> {
        if path.len() == self.depth {
            return Vec::new();
        }
        let requests = 0..world.wire.values().map(VecDeque::len).sum();
        let fates = |at| self.fates.iter().map(move |&fate| Event::Request(at, fate));
        let mut events: Vec<_> = requests.flat_map(fates).collect();
        if self.timed {
            let expires = world.oldest_expires();
            let waits = world.sender.next_deadline();
            if waits.is_some_and(|at| expires.is_none_or(|expires| at < expires)) {
                events.push(Event::Pause);
            }
            if expires.is_some() {
                events.push(Event::Expiry);
            }
            if !world.sender.sequencer.is_bumping() {
                events.push(Event::Bump);
            }
        }
        events
    }

    fn explore(&self) {
        let started = Instant::now();
        let root = self.start().fingerprint();
        let mut covered = Covered::default();
        // Breadth first: a state is met first with the most of its path left.
        let mut paths = VecDeque::from([(Vec::new(), root)]);
        let mut events = 0;
        while let Some((path, before)) = paths.pop_front() {
            let mut world = self.start();
            path.iter().for_each(|&event| world.take(event));
            assert!(world.no_end_is_withheld(), "{path:?}");
            let state = world.fingerprint();
            if !path.is_empty() {
                events += 1;
                covered.follow.entry(before).or_default().push(state);
            }
            if covered.follow.contains_key(&state) {
                continue;
            }
            covered.follow.insert(state, Vec::new());
            for event in self.events(&world, &path) {
                paths.push_back((path.iter().copied().chain([event]).collect(), state));
            }
            world.must_end_well(&path);
        }
        println!(
            "{:?}, {} deep: {events} events in {} states, for {} paths, in {:?}",
            self.batches,
            self.depth,
            covered.follow.len(),
            covered.paths(root, self.depth),
            started.elapsed()
        );
    }
}

impl World {
    /// Steps until the sender has nothing more to do for now.
    pub(super) fn settle(&mut self) {
        while self.step() {
            if self.unanswered_id {
                self.give_id();
            }
        }
    }

    /// A batch whose end is known waits for nothing but those before it that have not been told theirs.
    fn no_end_is_withheld(&self) -> bool {
        self.sender.partitions.iter().all(|partition| {
            let mut untold = partition.window.iter().skip_while(|slot| slot.batch.has_ended());
            untold.next().is_none_or(|slot| !matches!(slot.state, SlotState::Ended(_)))
        })
    }

    fn oldest_expires(&self) -> Option<Instant> {
        let slots = self.sender.partitions.iter().flat_map(|partition| &partition.window);
        let open = slots.filter(|slot| !slot.batch.has_ended());
        open.map(|slot| slot.batch.created + config().delivery_timeout).min()
    }

    pub(super) fn take(&mut self, event: Event) {
        match event {
            Event::Request(at, fate) => {
                let produce = self.pop_any(at);
                let token = produce.token;
                let result = match fate {
                    Answered => Ok(self.apply(&produce, None)),
                    Refused(code) => Ok(self.apply(&produce, Some(code))),
                    RefusedAfterAppend => {
                        self.apply(&produce, None);
                        let code = ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND;
                        Ok(self.apply(&produce, Some(code)))
                    }
                    RequestLost => Err(lost()),
                    AnswerLost => {
                        self.apply(&produce, None);
                        Err(lost())
                    }
                    Unsent => {
                        self.sender.handle_unsent(token, self.now);
                        return self.settle();
                    }
                };
                self.sender.handle_produced(token, result, self.now);
            }
            Event::Pause => self.now = self.sender.next_deadline().unwrap().max(self.now),
            Event::Expiry => self.now = self.oldest_expires().unwrap().max(self.now),
            Event::Bump => self.sender.sequencer.request_bump(),
        }
        self.settle();
    }

    /// The request at this place of all wires.
    fn pop_any(&mut self, mut at: usize) -> Produce {
        for wire in self.wire.values_mut() {
            if at < wire.len() {
                return wire.remove(at).unwrap();
            }
            at -= wire.len();
        }
        panic!("there are not so many requests");
    }

    /// The faults are over: everything ends, and what is sent next arrives.
    fn must_end_well(&mut self, path: &[Event]) {
        let path = Path(path);
        let since = self.now;
        let fresh = self.sent.len();
        self.send(0);
        self.send(1);
        self.heal();
        self.check(&path);
        let arrived = self.sent[fresh..].iter().all(|sent| matches!(sent.result, Some(Ok(_))));
        assert!(arrived, "{path}: what came after did not arrive");
        let took = self.now - since;
        assert!(took < MS(1_000), "{path}: took {took:?}");
    }

    /// All that decides what can happen from here on.
    fn fingerprint(&self) -> u64 {
        let mut print = DefaultHasher::new();
        for partition in &self.sender.partitions {
            partition.sequence.hash(&mut print);
            for slot in &partition.window {
                let state = match &slot.state {
                    SlotState::Waiting { not_before } => {
                        let left = not_before.saturating_duration_since(self.now);
                        1_000 + i64::try_from(left.as_millis()).unwrap()
                    }
                    SlotState::InFlight => -1,
                    SlotState::Abandoned => -2,
                    SlotState::Ended(Outcome::Written { base_offset, .. }) => *base_offset,
                    SlotState::Ended(_) => -3,
                };
                let stamp = slot.stamp.map(|stamp| (stamp.identity, stamp.base_sequence));
                (slot.batch.id, stamp, state, slot.maybe_written, slot.batch.has_ended())
                    .hash(&mut print);
            }
            partition.queue.is_empty().hash(&mut print);
        }
        self.sender.sequencer.hash(&mut print);
        for log in self.logs.values() {
            (&log.records, log.identity, log.next_sequence, &log.recent).hash(&mut print);
        }
        for produce in self.wire.values().flatten() {
            let batches = &self.sender.requests.get(&produce.token).unwrap().batches;
            batches.iter().for_each(|sent| sent.batch.hash(&mut print));
        }
        for sent in &self.sent {
            let result = sent.result.as_ref().map(|result| match result {
                Ok(metadata) => metadata.offset().unwrap(),
                Err(error) => -1 - i64::from(error.persistence() == Persistence::NotWritten),
            });
            result.hash(&mut print);
        }
        let left = self.oldest_expires().map(|at| at.saturating_duration_since(self.now));
        left.hash(&mut print);
        print.finish()
    }
}

/// What has happened, for the message of an assertion.
struct Path<'a>(&'a [Event]);

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.0, f)
    }
}

const ALL: &[Fate] =
    &[Answered, RETRIABLE, FATAL, RequestLost, AnswerLost, RefusedAfterAppend, Unsent];

/// Every series of events, with their retries.
#[test]
fn a_few_batches_through_everything() {
    Case { batches: &[(0, 1)], depth: 8, ..CASE }.explore();
    Case { batches: &[(0, 1), (0, 1)], depth: 6, ..CASE }.explore();
    Case { batches: &[(0, 1), (0, 1), (0, 1)], depth: 4, ..CASE }.explore();
}

/// Before the brokers know the producer, over two partitions, and after the last epoch.
#[test]
fn beginnings_neighbours_and_the_last_epoch() {
    Case { batches: &[(0, 1), (0, 1), (0, 1)], depth: 5, fresh: true, ..CASE }.explore();
    Case { batches: &[(0, 1), (1, 1)], depth: 5, ..CASE }.explore();
    Case { batches: &[(0, 1), (0, 1)], depth: 4, epoch: i16::MAX - 1, ..CASE }.explore();
}

/// Every order in which five batches are answered, each in every way.
#[test]
fn five_batches_in_every_order() {
    let fates = &[Answered, RETRIABLE, FATAL, RequestLost, AnswerLost];
    Case { batches: &[(0, 1); 5], fates, depth: 5, timed: false, ..CASE }.explore();
    Case { batches: &[(0, 1); 5], fates, depth: 3, ..CASE }.explore();
}

/// Batches that are too large, among others.
#[test]
fn halves_through_everything() {
    let fates = &[Answered, RETRIABLE, FATAL, AnswerLost, TOO_LARGE];
    Case { batches: &[(0, 2), (0, 1)], fates, depth: 5, ..CASE }.explore();
}
