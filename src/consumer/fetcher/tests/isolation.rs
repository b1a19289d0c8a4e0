//! Readers of committed records, against a model of a log with transactions.

use super::*;
use crate::protocol::messages::fetch::AbortedTransaction;

fn identity(id: i64) -> ProducerIdentity {
    ProducerIdentity { id, epoch: 0 }
}

/// Records of a producer, in a transaction or not.
fn written(base: i64, count: i64, producer: i64, transactional: bool) -> Bytes {
    let mut builder = BatchBuilder::new(BytesMut::new());
    for offset in base..base + count {
        builder.append(1_000, None, Some(&offset.to_be_bytes()), &[]).unwrap();
    }
    let mut sealed = builder.seal(Codec::new(Compression::None)).unwrap();
    sealed.stamp(identity(producer), 0, transactional);
    at(base, &sealed.bytes())
}

fn ended(base: i64, producer: i64, committed: bool) -> Bytes {
    let marker = EndTxnMarker { committed, coordinator_epoch: 0 };
    at(base, &marker.to_batch(1_000, identity(producer)).unwrap())
}

fn aborted(producer_id: i64, first_offset: i64) -> AbortedTransaction {
    AbortedTransaction { producer_id, first_offset }
}

fn bench(isolation: IsolationLevel, start: i64) -> Bench {
    let config = FetchConfig { isolation, max_bytes: 1 << 20, ..config() };
    Bench::new(config, &[(0, StartAt::Offset(start))])
}

fn committed(start: i64) -> Bench {
    bench(IsolationLevel::ReadCommitted, start)
}

fn deliver(bench: &Bench, batches: &[Bytes], index: Option<Vec<AbortedTransaction>>) {
    let wanted = bench.fetch();
    let mut answer = served(&[(0, join(batches))]);
    answer.responses[0].partitions[0].aborted_transactions = index;
    bench.answer(&wanted, answer);
}

fn offsets(bench: &Bench) -> Vec<i64> {
    bench.collected().into_iter().map(|(offset, _)| offset).collect()
}

#[test]
fn fetches_say_which_isolation_they_want() {
    assert_eq!(bench(IsolationLevel::ReadUncommitted, 0).fetch().request.isolation_level, 0);
    assert_eq!(committed(0).fetch().request.isolation_level, 1);
}

#[test]
fn aborted_records_are_left_out_and_markers_are_never_seen() {
    let log = [
        written(0, 2, 7, true),
        written(2, 1, 8, true),
        written(3, 1, 9, false),
        ended(4, 7, false),
        written(5, 1, 7, true),
        ended(6, 8, true),
        ended(7, 7, true),
    ];
    let bench_committed = committed(0);
    deliver(&bench_committed, &log, Some(vec![aborted(7, 0)]));
    assert_eq!(offsets(&bench_committed), [2, 3, 5]);
    assert_eq!(bench_committed.position(0), Some(8));

    let uncommitted = bench(IsolationLevel::ReadUncommitted, 0);
    deliver(&uncommitted, &log, Some(vec![aborted(7, 0)]));
    assert_eq!(offsets(&uncommitted), [0, 1, 2, 3, 5], "an index that was not asked for");
}

#[test]
fn a_poll_ends_although_only_aborted_records_were_passed() {
    let bench = committed(0);
    deliver(&bench, &[written(0, 3, 7, true), ended(3, 7, false)], Some(vec![aborted(7, 0)]));
    let records = bench.collect().expect("the position has moved").unwrap();
    assert!(records.is_empty());
    assert_eq!(bench.position(0), Some(4));
}

#[test]
fn an_abort_of_a_transaction_without_records_here_takes_nothing_along() {
    let bench = committed(0);
    let log = [ended(0, 7, false), written(1, 2, 7, true), ended(3, 7, true), ended(4, 7, false)];
    deliver(&bench, &log, None);
    assert_eq!(offsets(&bench), [1, 2]);
    assert_eq!(bench.position(0), Some(5));
}

#[test]
fn two_markers_for_one_entry_and_entries_of_nobody_do_no_harm() {
    let bench = committed(0);
    let log =
        [written(0, 1, 7, true), ended(1, 7, false), ended(2, 7, false), written(3, 1, 7, true)];
    let index = vec![aborted(99, -5), aborted(7, 0), aborted(i64::MIN, i64::MAX)];
    deliver(&bench, &log, Some(index));
    assert_eq!(offsets(&bench), [3]);
}

#[test]
fn a_marker_that_cannot_be_read_is_an_error_where_it_counts() {
    let mut bad = ended(1, 7, false).to_vec();
    let mut header = BatchHeader::parse(&bad).unwrap();
    // One record, without a key.
    bad.truncate(HEADER_LEN);
    bad.extend_from_slice(&[12, 0, 0, 0, 1, 1, 0]);
    header.count = 1;
    let mut raw = BytesMut::from(&bad[..]);
    header.write(&mut raw).unwrap();
    let log = [written(0, 1, 7, true), at(1, &raw)];
    let reader = committed(0);
    deliver(&reader, &log, Some(vec![aborted(7, 0)]));
    assert!(matches!(reader.error(), ConsumerError::InvalidBatch { first: 1, .. }));
    assert_eq!(reader.position(0), Some(1));
    let other = committed(0);
    deliver(&other, &log, None);
    assert_eq!(offsets(&other), [0], "nothing depends on it");
}

/// What a partition of a cluster with transactions holds, by Kafka's rules.
#[derive(Default)]
struct Model {
    batches: Vec<(i64, i64, Bytes)>,
    /// Offsets that a reader of committed records gets.
    committed: Vec<i64>,
    /// Producer, first offset and marker of what was aborted.
    aborted: Vec<(i64, i64, i64)>,
    open: BTreeMap<i64, Vec<i64>>,
    end: i64,
}

impl Model {
    fn push(&mut self, count: i64, bytes: Bytes) {
        self.batches.push((self.end, self.end + count - 1, bytes));
        self.end += count;
    }

    fn step(&mut self, random: &mut fastrand::Rng) {
        let producer = random.i64(1..5);
        let base = self.end;
        match random.u8(..6) {
            0 => {
                self.committed.extend(base..base + 2);
                self.push(2, written(base, 2, producer + 10, false));
            }
            1 | 2 => {
                let count = random.i64(1..4);
                self.open.entry(producer).or_default().extend(base..base + count);
                self.push(count, written(base, count, producer, true));
            }
            kind => {
                // Without records in this partition, too.
                let is_commit = kind > 3;
                let written = self.open.remove(&producer).unwrap_or_default();
                if is_commit {
                    self.committed.extend(written);
                } else if let Some(first) = written.first() {
                    self.aborted.push((producer, *first, base));
                }
                self.push(1, ended(base, producer, is_commit));
            }
        }
    }

    fn last_stable(&self) -> i64 {
        self.open.values().filter_map(|open| open.first()).min().copied().unwrap_or(self.end)
    }

    /// What a broker answers to a reader of committed records: at most `limit` batches, with the
    /// transactions that were aborted within them or began before their end.
    fn read(&self, from: i64, limit: usize) -> (Vec<Bytes>, Vec<AbortedTransaction>) {
        let stable = self.last_stable();
        let readable =
            self.batches.iter().filter(|(first, last, _)| *last >= from && *first < stable);
        let read: Vec<_> = readable.take(limit).collect();
        let upper = read.last().map_or(from, |(_, last, _)| last + 1);
        let index = self.aborted.iter().filter(|(_, first, end)| *end >= from && *first < upper);
        let index = index.map(|(producer, first, _)| aborted(*producer, *first));
        (read.into_iter().map(|(.., bytes)| bytes.clone()).collect(), index.collect())
    }
}

#[test]
fn any_history_read_from_any_offset_gives_what_was_committed() {
    for seed in 0..60 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut model = Model::default();
        (0..random.usize(5..60)).for_each(|_| model.step(&mut random));
        let stable = model.last_stable();
        model.committed.sort_unstable();
        for from in 0..=stable {
            let config = FetchConfig {
                isolation: IsolationLevel::ReadCommitted,
                max_poll_records: random.usize(1..8),
                max_bytes: 1 << 20,
                ..config()
            };
            let bench = Bench::new(config, &[(0, StartAt::Offset(from))]);
            let mut got = Vec::new();
            while bench.position(0).unwrap() < stable {
                let position = bench.position(0).unwrap();
                let (batches, mut index) = model.read(position, random.usize(1..6));
                random.shuffle(&mut index);
                deliver(&bench, &batches, Some(index));
                while let Some(records) = bench.collect() {
                    got.extend(records.unwrap().iter().map(|record| record.offset));
                }
                assert!(bench.position(0).unwrap() > position, "seed {seed}: it stands still");
            }
            let wanted = model.committed.iter().filter(|at| (from..stable).contains(*at));
            assert!(got.iter().eq(wanted), "seed {seed} from {from}: {got:?}");
        }
    }
}
