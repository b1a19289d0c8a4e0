use super::*;

fn batch(id: i64, epoch: i16, sequence: i32, count: i32) -> Sequenced {
    let producer = ProducerIdentity { id, epoch };
    Sequenced { producer, sequence, count, transactional: false }
}

fn in_transaction(id: i64, epoch: i16, sequence: i32, count: i32) -> Sequenced {
    Sequenced { transactional: true, ..batch(id, epoch, sequence, count) }
}

/// Appends as a partition would, with offsets counted from 0, and says what came of each batch.
#[derive(Default)]
struct Partition {
    states: ProducerStates,
    next_offset: i64,
}

impl Partition {
    fn produce(&mut self, batch: Sequenced) -> Result<i64, Refused> {
        match self.states.check(&batch)? {
            Verdict::Duplicate(appended) => Ok(appended.base_offset),
            Verdict::Append => {
                let base_offset = self.next_offset;
                self.next_offset += i64::from(batch.count);
                self.states.record(&batch, Appended { base_offset, timestamp: 0 }, base_offset);
                Ok(base_offset)
            }
        }
    }

    /// Ends a transaction and gives where it began.
    fn end(&mut self, id: i64, epoch: i16, coordinator: i32) -> Result<Option<i64>, Refused> {
        let producer = ProducerIdentity { id, epoch };
        self.states.check_marker(producer, coordinator)?;
        self.next_offset += 1;
        Ok(self.states.end(producer, coordinator, -1))
    }
}

#[test]
fn verdicts() {
    use Refused::*;
    type Row = (&'static str, Sequenced, Result<i64, Refused>);
    let rows: [Row; 20] = [
        ("an unknown producer may begin anywhere", batch(1, 3, 7, 2), Ok(0)),
        ("the next in sequence", batch(1, 3, 9, 1), Ok(2)),
        ("the same again", batch(1, 3, 9, 1), Ok(2)),
        ("the one before again", batch(1, 3, 7, 2), Ok(0)),
        ("a gap", batch(1, 3, 11, 1), Err(OutOfOrder)),
        ("an older epoch", batch(1, 2, 10, 1), Err(InvalidEpoch)),
        ("a part of a known batch", batch(1, 3, 7, 1), Err(Duplicate)),
        ("known batches under other bounds", batch(1, 3, 7, 3), Err(Duplicate)),
        ("half known, half new", batch(1, 3, 9, 2), Err(OutOfOrder)),
        ("before anything that was written", batch(1, 3, 0, 2), Err(Duplicate)),
        ("another producer", batch(2, 0, 0, 5), Ok(3)),
        ("still the next of the first", batch(1, 3, 10, 1), Ok(8)),
        ("a new epoch must begin at 0", batch(1, 4, 11, 1), Err(OutOfOrder)),
        ("which changed nothing", batch(1, 3, 11, 1), Ok(9)),
        ("a new epoch from 0", batch(1, 4, 0, 1), Ok(10)),
        ("the epoch before is fenced", batch(1, 3, 12, 1), Err(InvalidEpoch)),
        ("its duplicates too", batch(1, 3, 11, 1), Err(InvalidEpoch)),
        ("epochs may skip", batch(1, 9, 0, 1), Ok(11)),
        ("a gap in the new epoch", batch(1, 9, 2, 1), Err(OutOfOrder)),
        ("on in the new epoch", batch(1, 9, 1, 1), Ok(12)),
    ];
    let mut partition = Partition::default();
    for (what, batch, expected) in rows {
        assert_eq!(partition.produce(batch), expected, "{what}");
    }
}

#[test]
fn five_batches_are_known_and_no_more() {
    let mut partition = Partition::default();
    for n in 0..7 {
        assert_eq!(partition.produce(batch(1, 0, n, 1)), Ok(n.into()));
    }
    for n in 0..7 {
        let expected = if n < 2 { Err(Refused::Duplicate) } else { Ok(n.into()) };
        assert_eq!(partition.produce(batch(1, 0, n, 1)), expected, "sequence {n} again");
    }
}

#[test]
fn sequences_go_on_from_zero_after_the_greatest() {
    let mut partition = Partition::default();
    let near = i32::MAX - 2;
    assert_eq!(partition.produce(batch(1, 0, near, 2)), Ok(0), "ends one before the greatest");
    assert_eq!(partition.produce(batch(1, 0, i32::MAX, 3)), Ok(2), "greatest, 0, 1");
    assert_eq!(partition.produce(batch(1, 0, i32::MAX, 3)), Ok(2), "found again across the wrap");
    assert_eq!(partition.produce(batch(1, 0, 3, 1)), Err(Refused::OutOfOrder));
    assert_eq!(partition.produce(batch(1, 0, 2, 1)), Ok(5));
    assert_eq!(partition.produce(batch(1, 0, near, 1)), Err(Refused::Duplicate));
    assert_eq!(partition.produce(batch(1, 0, i32::MAX, 1)), Err(Refused::Duplicate));
}

#[test]
fn a_batch_that_ends_at_the_greatest_is_followed_by_zero() {
    let mut partition = Partition::default();
    assert_eq!(partition.produce(batch(1, 0, i32::MAX - 1, 2)), Ok(0));
    assert_eq!(partition.produce(batch(1, 0, 1, 1)), Err(Refused::OutOfOrder));
    assert_eq!(partition.produce(batch(1, 0, 0, 1)), Ok(2));
}

#[test]
fn a_forgotten_producer_may_begin_anywhere() {
    let mut partition = Partition::default();
    partition.produce(batch(1, 5, 0, 1)).unwrap();
    partition.states.forget();
    assert_eq!(partition.produce(batch(1, 4, 17, 1)), Ok(1));
}

#[test]
fn transactions_begin_with_a_batch_and_end_with_a_marker() {
    let mut partition = Partition::default();
    assert_eq!(partition.produce(in_transaction(1, 0, 0, 2)), Ok(0));
    assert_eq!(partition.produce(in_transaction(2, 0, 0, 1)), Ok(2));
    assert_eq!(partition.produce(in_transaction(1, 0, 2, 1)), Ok(3));
    assert_eq!(partition.produce(batch(1, 0, 3, 1)), Err(Refused::NotTransactional));
    assert_eq!(partition.produce(in_transaction(1, 0, 2, 1)), Ok(3), "a retry");
    assert_eq!(partition.end(1, 0, 5), Ok(Some(0)));
    assert_eq!(partition.produce(in_transaction(1, 0, 3, 1)), Ok(5), "sequences go on");
    assert_eq!(partition.end(1, 0, 4), Err(Refused::CoordinatorFenced));
    assert_eq!(partition.end(1, 1, 5), Ok(Some(5)), "a coordinator may end it in a later epoch");
    assert_eq!(partition.end(1, 0, 5), Err(Refused::InvalidEpoch));
    assert_eq!(partition.end(1, 1, 5), Ok(None), "nothing is open");
    assert_eq!(partition.produce(in_transaction(1, 0, 4, 1)), Err(Refused::InvalidEpoch));
    assert_eq!(partition.produce(in_transaction(1, 1, 4, 1)), Err(Refused::OutOfOrder));
    assert_eq!(partition.produce(in_transaction(1, 1, 0, 1)), Ok(8), "a new epoch from 0");
    partition.states.forget();
    assert_eq!(partition.states.open_at(2), Some(2), "what is open is not forgotten");
}

/// Any mix of retries, gaps and new batches leaves each record in the log once, in order and without a gap.
#[test]
fn random_producers_never_write_twice_or_out_of_order() {
    for seed in 0..50 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut partition = Partition::default();
        let mut sent: Vec<Sequenced> = Vec::new();
        let mut written: Vec<i32> = Vec::new();
        let mut next = i32::MAX - rng.i32(0..40);
        for _ in 0..200 {
            let candidate = match rng.u8(0..4) {
                0 if !sent.is_empty() => sent[rng.usize(0..sent.len())],
                1 => batch(1, 0, next.wrapping_add(rng.i32(1..9)) & i32::MAX, 1),
                _ => batch(1, 0, next, rng.i32(1..9)),
            };
            let before = partition.next_offset;
            let verdict = partition.produce(candidate);
            if partition.next_offset == before {
                continue;
            }
            assert_eq!(verdict, Ok(before), "seed {seed}");
            let in_order = written.is_empty() || candidate.sequence == next;
            assert!(in_order, "seed {seed}: {candidate:?}, next {next}");
            written.extend(
                (0..candidate.count).map(|n| candidate.sequence.wrapping_add(n) & i32::MAX),
            );
            next = candidate.last().wrapping_add(1) & i32::MAX;
            sent.push(candidate);
        }
        let gapless = written.windows(2).all(|w| w[1] == w[0].wrapping_add(1) & i32::MAX);
        assert!(gapless && !written.is_empty(), "seed {seed}: {written:?}");
    }
}
