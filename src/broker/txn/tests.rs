//! Transactional ids by events: the table of states and requests, and random ones.

use super::*;
use crate::types::TopicPartition;

mod random;

const ID: &str = "tx";
const TIMEOUT: i32 = 60_000;
const MAX: i16 = i16::MAX;

const FENCED: ErrorCode = ErrorCode::PRODUCER_FENCED;
const CONCURRENT: ErrorCode = ErrorCode::CONCURRENT_TRANSACTIONS;
const INVALID_STATE: ErrorCode = ErrorCode::INVALID_TXN_STATE;
const WRONG_ID: ErrorCode = ErrorCode::INVALID_PRODUCER_ID_MAPPING;
const NOT_ADDED: ErrorCode = ErrorCode::TRANSACTION_ABORTABLE;

fn producer(id: i64, epoch: i16) -> ProducerIdentity {
    ProducerIdentity { id, epoch }
}

fn parts(partition: i32) -> Parts {
    Parts::partition(TopicPartition::new("t", partition))
}

/// The transactions of two nodes, and the time.
struct World {
    all: Transactions,
    now: i64,
}

impl World {
    fn new(version: i16, first_epoch: i16) -> Self {
        let settings = TransactionSettings { version, ..TransactionSettings::default() };
        let nodes = [BrokerId(1), BrokerId(2)];
        Self { all: Transactions::new(&nodes, settings, first_epoch), now: 1_000 }
    }

    fn init(&mut self, expected: Option<ProducerIdentity>) -> Result<ProducerIdentity, ErrorCode> {
        self.all.init(ID, Init { timeout_ms: TIMEOUT, expected }, self.now)
    }

    fn add(&mut self, producer: ProducerIdentity) -> Result<(), ErrorCode> {
        self.all.add(ID, producer, parts(0), self.now)
    }

    fn end(
        &mut self,
        producer: ProducerIdentity,
        committed: bool,
    ) -> Result<ProducerIdentity, ErrorCode> {
        let bumps = self.all.settings.version == 2;
        self.all.end(ID, Ending { producer, committed, bumps }, self.now)
    }

    fn state(&self) -> TransactionState {
        self.all.get(ID).unwrap().state
    }

    fn producer(&self) -> ProducerIdentity {
        self.all.get(ID).unwrap().producer
    }

    /// Writes all markers.
    fn settle(&mut self) {
        for owed in self.all.owed(self.now) {
            self.all.paid(&owed.transactional_id, &owed.parts);
        }
    }

    /// An id in a state, whose epoch is 5 and was bumped by the last end with version 2.
    fn in_state(version: i16, state: TransactionState) -> Self {
        use TransactionState::{
            CompleteAbort, CompleteCommit, Empty, Ongoing, PrepareAbort, PrepareCommit,
        };
        let ended = matches!(state, PrepareCommit | PrepareAbort | CompleteCommit | CompleteAbort);
        let before = if ended && version == 2 { 4 } else { 5 };
        let mut world = Self::new(version, before);
        let own = world.init(None).unwrap();
        if state == Empty {
            return world;
        }
        world.add(own).unwrap();
        if state == Ongoing {
            return world;
        }
        let committed = matches!(state, PrepareCommit | CompleteCommit);
        assert_eq!(world.end(own, committed), Ok(producer(0, 5)));
        if matches!(state, CompleteCommit | CompleteAbort) {
            world.settle();
        }
        assert_eq!(world.state(), state);
        world
    }
}

const STATES: [TransactionState; 6] = [
    TransactionState::Empty,
    TransactionState::Ongoing,
    TransactionState::PrepareCommit,
    TransactionState::PrepareAbort,
    TransactionState::CompleteCommit,
    TransactionState::CompleteAbort,
];

#[test]
fn an_end_is_answered_by_state_version_and_epoch() {
    let done = Ok(producer(0, 5));
    let next = Ok(producer(0, 6));
    let (its, conc, pf) = (Err(INVALID_STATE), Err(CONCURRENT), Err(FENCED));
    // Of version, epoch and end: the answer in each state.
    for (version, epoch, committed, expected) in [
        (1, 5, true, [its, done, conc, conc, done, its]),
        (1, 5, false, [its, done, conc, conc, its, done]),
        (1, 4, true, [pf, pf, conc, conc, pf, pf]),
        (1, 6, false, [pf, pf, conc, conc, pf, pf]),
        (2, 5, true, [its, next, conc, conc, its, its]),
        (2, 5, false, [next, next, conc, conc, next, next]),
        (2, 4, true, [pf, pf, conc, conc, done, its]),
        (2, 4, false, [pf, pf, conc, conc, its, done]),
        (2, 3, true, [pf, pf, conc, conc, pf, pf]),
        (2, 6, false, [pf, pf, conc, conc, pf, pf]),
    ] {
        for (state, expected) in STATES.into_iter().zip(expected) {
            let mut world = World::in_state(version, state);
            let what = format!("version {version}, epoch {epoch}, commit {committed}, {state}");
            assert_eq!(world.end(producer(9, epoch), committed), Err(WRONG_ID), "{what}");
            assert_eq!(world.end(producer(0, epoch), committed), expected, "{what}");
            let begun = expected.is_ok() && !(state == world.state());
            assert_eq!(world.all.owed(world.now).len(), usize::from(begun || is_ending(state)));
            world.settle();
            if begun {
                let complete = match committed {
                    true => TransactionState::CompleteCommit,
                    false => TransactionState::CompleteAbort,
                };
                assert_eq!((world.state(), Ok(world.producer())), (complete, expected), "{what}");
            }
        }
    }
}

fn is_ending(state: TransactionState) -> bool {
    matches!(state, TransactionState::PrepareCommit | TransactionState::PrepareAbort)
}

#[test]
fn parts_are_added_and_looked_for_by_state() {
    let (conc, not) = (Err(CONCURRENT), Err(NOT_ADDED));
    let added = [Ok(()), Ok(()), conc, conc, Ok(()), Ok(())];
    let looked_for = [not, Ok(()), conc, conc, not, not];
    for version in [1, 2] {
        for (n, state) in STATES.into_iter().enumerate() {
            let what = format!("{state}, version {version}");
            let mut world = World::in_state(version, state);
            let own = producer(0, 5);
            assert_eq!(world.all.verify(ID, own, &parts(0)), looked_for[n], "{what}");
            for (who, code) in
                [(producer(0, 4), FENCED), (producer(0, 6), FENCED), (producer(1, 5), WRONG_ID)]
            {
                assert_eq!(world.all.verify(ID, who, &parts(0)), Err(code), "{what}");
                assert_eq!(world.add(who), Err(code), "{what}");
            }
            assert_eq!(world.state(), state);
            assert_eq!(world.add(own), added[n], "{what}");
            if added[n].is_ok() {
                assert_eq!(world.state(), TransactionState::Ongoing);
                assert_eq!(world.all.verify(ID, own, &parts(0)), Ok(()));
                assert_eq!(world.all.verify(ID, own, &parts(1)), not);
                assert_eq!(world.all.verify(ID, own, &Parts::group("g")), not);
                world.all.add(ID, own, Parts::group("g"), world.now).unwrap();
                assert_eq!(world.all.verify(ID, own, &Parts::group("g")), Ok(()));
            }
        }
    }
    let mut world = World::new(2, 0);
    assert_eq!(world.add(producer(0, 0)), Err(WRONG_ID), "there is no such id");
    let empty = world.all.add("", producer(0, 0), parts(0), 0);
    assert_eq!(empty, Err(ErrorCode::INVALID_REQUEST));
}

#[test]
fn a_new_producer_gets_the_next_epoch_when_nothing_is_open() {
    use TransactionState::{CompleteAbort, Empty, Ongoing};
    for version in [1, 2] {
        for state in STATES {
            let mut world = World::in_state(version, state);
            if is_ending(state) {
                assert_eq!(world.init(None), Err(CONCURRENT));
                assert_eq!((world.state(), world.producer().epoch), (state, 5));
                world.settle();
            }
            if state == Ongoing {
                assert_eq!(world.init(None), Err(CONCURRENT), "it is aborted first");
                assert_eq!(world.end(producer(0, 5), true), Err(CONCURRENT));
                assert_eq!(world.producer().epoch, 6, "the markers fence it");
                assert_eq!(world.init(None), Err(CONCURRENT));
                world.settle();
                assert_eq!(world.state(), CompleteAbort);
                assert_eq!(world.init(None), Ok(producer(0, 7)));
                assert_eq!(world.init(Some(producer(0, 5))), Err(FENCED));
                assert_eq!(world.end(producer(0, 5), true), Err(FENCED));
            } else {
                assert_eq!(world.init(None), Ok(producer(0, 6)));
                assert_eq!(world.init(None), Ok(producer(0, 7)), "a retry gets another one");
            }
            assert_eq!(world.state(), Empty);
        }
    }
}

#[test]
fn who_knows_its_epoch_goes_on_and_others_are_fenced() {
    let mut world = World::in_state(1, TransactionState::CompleteCommit);
    assert_eq!(world.init(Some(producer(0, 5))), Ok(producer(0, 6)));
    assert_eq!(world.init(Some(producer(0, 5))), Ok(producer(0, 6)), "it asks again");
    for stranger in [producer(0, 4), producer(0, 7), producer(1, 6)] {
        assert_eq!(world.init(Some(stranger)), Err(FENCED), "{stranger:?}");
    }
    assert_eq!(world.init(Some(producer(0, 6))), Ok(producer(0, 7)));
    assert_eq!(world.init(None), Ok(producer(0, 8)), "somebody else begins");
    assert_eq!(world.init(Some(producer(0, 6))), Err(FENCED), "it asks again, too late");
    assert_eq!(world.init(Some(producer(0, 7))), Err(FENCED));
    let mut unknown = World::new(1, 0);
    let told = unknown.init(Some(producer(77, 3)));
    assert_eq!(told, Ok(producer(0, 0)), "nobody has this id: it is given anew");
}

#[test]
fn a_producer_id_whose_epochs_are_used_up_is_replaced() {
    let mut world = World::new(1, MAX - 2);
    assert_eq!(world.init(None), Ok(producer(0, MAX - 2)));
    assert_eq!(world.init(Some(producer(0, MAX - 2))), Ok(producer(0, MAX - 1)));
    assert_eq!(world.init(Some(producer(0, MAX - 1))), Ok(producer(1, 0)));
    assert_eq!(world.init(Some(producer(0, MAX - 1))), Ok(producer(1, 0)), "it asks again");
    assert_eq!(world.init(Some(producer(0, MAX - 2))), Err(FENCED));
    assert_eq!(world.init(None), Ok(producer(1, 1)));

    // With version 2 an end may use up the last one.
    let mut world = World::new(2, MAX - 1);
    let last = world.init(None).unwrap();
    world.add(last).unwrap();
    assert_eq!(world.end(last, true), Ok(producer(1, 0)), "who it is after the markers");
    assert_eq!(world.producer(), producer(0, MAX), "who the markers are of");
    assert_eq!(world.end(last, true), Err(CONCURRENT));
    world.settle();
    assert_eq!(world.producer(), producer(1, 0));
    assert_eq!(world.end(last, true), Ok(producer(1, 0)), "it asks again");
    assert_eq!(world.end(last, false), Err(INVALID_STATE));
    assert_eq!(world.add(last), Err(WRONG_ID));
    assert_eq!(world.add(producer(1, 0)), Ok(()));
    assert_eq!(world.end(last, true), Err(WRONG_ID), "too late");

    // And so may a fence.
    for (first, version, expected) in [
        (MAX - 1, 1, producer(1, 0)),
        (MAX - 1, 2, producer(1, 1)),
        (MAX - 2, 1, producer(1, 0)),
        (MAX - 2, 2, producer(1, 0)),
    ] {
        let mut world = World::new(version, first);
        let own = world.init(None).unwrap();
        world.add(own).unwrap();
        assert_eq!(world.init(None), Err(CONCURRENT));
        world.settle();
        assert_eq!(world.init(None), Ok(expected), "{first} with version {version}");
    }
}

#[test]
fn a_transaction_that_takes_too_long_is_aborted() {
    for (version, refused, expected) in
        [(1, FENCED, Err(FENCED)), (2, INVALID_STATE, Ok(producer(0, 1)))]
    {
        let mut world = World::new(version, 0);
        let own = world.init(None).unwrap();
        assert!(!world.all.is_unsettled());
        world.add(own).unwrap();
        world.now += 10_000;
        world.all.add(ID, own, parts(1), world.now).unwrap();
        assert!(world.all.is_unsettled());
        let deadline = 1_000 + i64::from(TIMEOUT);
        assert_eq!(world.all.next_deadline(world.now), Some(deadline), "from its beginning");
        assert!(!world.all.time_out(deadline - 1));
        world.now = deadline;
        assert!(world.all.time_out(deadline));
        assert_eq!(world.state(), TransactionState::PrepareAbort);
        let owed = world.all.owed(world.now);
        assert_eq!(owed[0].producer, producer(0, 1));
        assert!(!owed[0].marker.committed);
        assert_eq!(world.end(own, true), Err(CONCURRENT));
        world.settle();
        assert!(!world.all.is_unsettled());
        assert_eq!(world.end(own, true), Err(refused));
        assert_eq!(world.add(own), Err(FENCED));
        assert_eq!(world.init(Some(own)), expected, "version 2 lets it go on");
        assert_eq!(world.init(None), Ok(producer(0, 2)));
        assert_eq!(world.init(Some(own)), Err(FENCED), "somebody else has begun");
        assert!(!world.all.time_out(i64::MAX), "nothing is open");
    }
}

#[test]
fn markers_come_after_their_delay_while_a_coordinator_runs_and_the_last_one_completes() {
    let mut world = World::in_state(2, TransactionState::Ongoing);
    world.all.settings.marker_delay_ms = 50;
    let own = producer(0, 5);
    world.all.add(ID, own, parts(1), world.now).unwrap();
    world.all.add(ID, own, Parts::group("g"), world.now).unwrap();
    world.end(own, true).unwrap();
    assert_eq!(world.all.next_deadline(world.now), Some(world.now + 50));
    assert_eq!(world.all.owed(world.now + 49).len(), 0);
    world.now += 50;
    let owed = world.all.owed(world.now).remove(0);
    assert_eq!((owed.producer, owed.marker.coordinator_epoch), (producer(0, 6), 0));
    assert!(owed.marker.committed);
    assert_eq!(world.all.next_deadline(world.now), None, "time alone does not bring it on");

    for part in [parts(0), Parts::group("g")] {
        assert!(world.all.paid(ID, &part));
        assert!(!world.all.paid(ID, &part), "nothing is owed to it any more");
        assert_eq!(world.state(), TransactionState::PrepareCommit);
    }
    world.all.placement.node_stopped(BrokerId(1), &BTreeSet::new());
    world.all.placement.node_stopped(BrokerId(2), &BTreeSet::new());
    assert_eq!(world.all.owed(world.now).len(), 0, "nobody is there to send it");
    world.all.placement.node_started(BrokerId(1));
    let owed = world.all.owed(world.now).remove(0);
    assert_eq!(owed.parts, parts(1));
    assert!(owed.marker.coordinator_epoch > 0, "another coordinator has another epoch");
    assert!(world.all.paid(ID, &owed.parts));
    assert_eq!(world.state(), TransactionState::CompleteCommit);
}

#[test]
fn an_abort_of_nothing_has_no_markers_and_completes() {
    let mut world = World::in_state(2, TransactionState::Empty);
    assert_eq!(world.end(producer(0, 5), false), Ok(producer(0, 6)));
    let owed = world.all.owed(world.now).remove(0);
    assert_eq!(owed.parts, Parts::default());
    assert!(world.all.paid(ID, &owed.parts));
    assert_eq!(world.state(), TransactionState::CompleteAbort);
}

#[test]
fn a_time_out_must_be_one_that_the_broker_takes() {
    let mut world = World::new(2, 0);
    let longest = 15 * 60 * 1000;
    for (timeout_ms, expected) in [
        (0, Err(ErrorCode::INVALID_TRANSACTION_TIMEOUT)),
        (-1, Err(ErrorCode::INVALID_TRANSACTION_TIMEOUT)),
        (longest + 1, Err(ErrorCode::INVALID_TRANSACTION_TIMEOUT)),
        (1, Ok(producer(0, 0))),
        (longest, Ok(producer(0, 1))),
    ] {
        let init = Init { timeout_ms, expected: None };
        assert_eq!(world.all.init(ID, init, 0), expected, "{timeout_ms}");
        let empty = world.all.init("", init, 0);
        assert_eq!(empty, Err(ErrorCode::INVALID_REQUEST));
    }
}

#[test]
fn versions_of_requests_say_how_what_they_bring_comes_into_a_transaction() {
    use Enrollment::{Implicit, Verified};
    let (abortable, older) = (Verified { abortable: true }, Verified { abortable: false });
    let produce = [10, 11, 12, 13].map(Enrollment::of_produce);
    assert_eq!(produce, [older, abortable, Implicit, Implicit]);
    assert_eq!([3, 4, 5].map(Enrollment::of_offsets), [older, abortable, Implicit]);
    let mut world = World::in_state(2, TransactionState::CompleteCommit);
    let (own, zombie) = (producer(0, 5), producer(0, 4));
    let fenced = Err(ErrorCode::INVALID_PRODUCER_EPOCH);
    for (how, who, expected) in [
        (older, own, Err(INVALID_STATE)),
        (abortable, own, Err(NOT_ADDED)),
        (older, zombie, fenced),
        (Implicit, zombie, fenced),
        (Implicit, own, Ok(())),
        (older, own, Ok(())),
        (abortable, own, Ok(())),
    ] {
        let enrolled = world.all.enroll((ID, who), parts(0), how, 0);
        assert_eq!(enrolled, expected, "{how:?} {who:?}");
    }
    assert_eq!(Implicit.produce_error(CONCURRENT), CONCURRENT);
    assert_eq!(older.produce_error(CONCURRENT), ErrorCode::NOT_ENOUGH_REPLICAS);
    assert_eq!(older.produce_error(INVALID_STATE), INVALID_STATE);
}

#[test]
fn debug_is_one_line() {
    let mut world = World::in_state(2, TransactionState::Ongoing);
    world.all.add(ID, producer(0, 5), Parts::group("g"), 0).unwrap();
    let shown = format!("{:?}", world.all.get(ID).unwrap());
    assert_eq!(shown, r#"Ongoing 0:5 (last -1) [t-0] {"g"}"#);
}
