//! Kafka's Java producers write transactions, committed, aborted and open, one within the other and with plain records
//! between them. Our consumer reads exactly what Kafka's own reads of it, by either isolation level.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fastrand::Rng;

use crate::cluster::Cluster;
use crate::oracle::{Properties, Record, Step};
use crate::ours;
use crate::runner::Kafka;
use crate::samples::numbered;

tests![what_is_committed_is_what_java_reads, a_compacted_log_of_transactions_reads_as_in_java];

pub(crate) const UNCOMMITTED: Properties<'static> =
    &[("isolation.level", "read_uncommitted"), QUICK];
pub(crate) const COMMITTED: Properties<'static> = &[("isolation.level", "read_committed"), QUICK];
/// So that batches are handed out in parts, and answers end in the middle of transactions.
pub(crate) const IN_SMALL_PARTS: Properties<'static> = &[
    ("isolation.level", "read_committed"),
    ("max.poll.records", "3"),
    ("fetch.max.bytes", "900"),
    ("max.partition.fetch.bytes", "700"),
    QUICK,
];
/// Many read to the end, and none is to wait for more there.
const QUICK: (&str, &str) = ("fetch.max.wait.ms", "20");

/// Records are so much apart, and a segment spans [`SEGMENT`] of that.
const APART: Duration = Duration::from_millis(200);
const SEGMENT: Duration = Duration::from_secs(6);

/// What two producers with transactions, `a` and `b`, and one without do: about so many records to so many partitions.
/// In the end `a` has committed, and `b` has an open transaction; after that a few records follow that are plain.
pub(crate) struct Script {
    pub(crate) steps: Vec<(Act, usize)>,
    pub(crate) records: Vec<Record>,
    partitions: i32,
    /// The numbers of the records that are in aborted transactions, and in the one that is open.
    pub(crate) aborted: BTreeSet<usize>,
    pub(crate) open: BTreeSet<usize>,
}

/// A step, with the index of the producer or the number of the record.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Act {
    Begin,
    Commit,
    Abort,
    Send(Option<usize>),
}

impl Script {
    pub(crate) fn random(rng: &mut Rng, records: usize, partitions: i32) -> Self {
        let (steps, aborted, open) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        let mut script = Self { steps, records: Vec::new(), partitions, aborted, open };
        let mut under_way: [Option<Vec<usize>>; 2] = [None, None];
        while script.records.len() < records {
            let by = [None, Some(0), Some(1)][rng.usize(..3)];
            let Some(producer) = by else {
                script.send(rng, None);
                continue;
            };
            match &mut under_way[producer] {
                idle @ None => {
                    script.steps.push((Act::Begin, producer));
                    *idle = Some(Vec::new());
                }
                // One that has nothing may end, too.
                Some(_) if rng.u8(..3) == 0 => script.end(producer, rng.bool(), &mut under_way),
                Some(sent) => sent.extend(script.send(rng, by)),
            }
        }
        for producer in [0, 1] {
            if under_way[producer].is_none() {
                script.steps.push((Act::Begin, producer));
                under_way[producer] = Some(Vec::new());
            }
            let sent = script.send(rng, Some(producer));
            under_way[producer].get_or_insert_default().extend(sent);
        }
        script.end(0, true, &mut under_way);
        script.send(rng, None);
        script.open.extend(under_way[1].take().unwrap());
        script
    }

    /// Sends a few records, and tells their numbers.
    fn send(&mut self, rng: &mut Rng, by: Option<usize>) -> Vec<usize> {
        let first = self.records.len();
        let numbers: Vec<usize> = (first..first + rng.usize(1..6)).collect();
        for &number in &numbers {
            let millis =
                SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + APART * number as u32;
            self.records.push(Record {
                timestamp: millis.as_millis().try_into().unwrap(),
                key: Some(format!("key {}", number * number % 37).into_bytes()),
                ..numbered(rng.i32(0..self.partitions), number)
            });
            self.steps.push((Act::Send(by), number));
        }
        numbers
    }

    fn end(&mut self, producer: usize, commit: bool, under_way: &mut [Option<Vec<usize>>; 2]) {
        let sent = under_way[producer].take().unwrap();
        let act = if commit { Act::Commit } else { Act::Abort };
        self.steps.push((act, producer));
        if !commit {
            self.aborted.extend(sent);
        }
    }

    async fn run(&self, kafka: &Kafka, bootstrap: &str, topic: &str, ids: &[String; 2]) {
        let step = |&(act, number): &(Act, usize)| match act {
            Act::Begin => Step::Begin(&ids[number]),
            Act::Commit => Step::Commit(&ids[number]),
            Act::Abort => Step::Abort(&ids[number]),
            Act::Send(by) => Step::Send(by.map(|by| ids[by].as_str()), &self.records[number]),
        };
        let steps: Vec<Step<'_>> = self.steps.iter().map(step).collect();
        let properties = [("compression.type", "lz4")];
        kafka.oracle().run_script(bootstrap, topic, &steps, &properties).await.unwrap();
    }
}

/// Holds ours against Java's from several offsets of each partition on, and returns the numbers of the records that are
/// there, by their values.
pub(crate) async fn read_alike(
    kafka: &Kafka,
    bootstrap: &str,
    topic: &str,
    partitions: i32,
    properties: Properties<'_>,
) -> BTreeSet<usize> {
    let oracle = kafka.oracle();
    let mut numbers = BTreeSet::new();
    for partition in 0..partitions {
        let mut from = 0;
        loop {
            let read = ours::read_with_end(bootstrap, topic, partition, from, properties).await;
            let java = oracle.consume(bootstrap, topic, partition, from, properties).await.unwrap();
            assert_eq!(read.records, java, "{topic}-{partition} from {from} with {properties:?}");
            if from == 0 {
                let end = oracle.end(bootstrap, topic, partition, properties).await.unwrap();
                assert_eq!(
                    read.end, end,
                    "end and position of {topic}-{partition}, {properties:?}"
                );
                numbers.extend(read.records.iter().map(|stored| number(&stored.record)));
            }
            from += 67;
            if from > read.end.0 {
                break;
            }
        }
    }
    numbers
}

pub(crate) fn number(record: &Record) -> usize {
    let text = std::str::from_utf8(record.value.as_deref().unwrap()).unwrap();
    text.strip_prefix("record ").unwrap().parse().unwrap()
}

pub(crate) fn ids(kafka: &Kafka) -> [String; 2] {
    [kafka.fresh("transactions-a"), kafka.fresh("transactions-b")]
}

pub(crate) async fn create(
    kafka: &Kafka,
    cluster: &Cluster,
    name: &str,
    more: Properties<'_>,
) -> String {
    let topic = kafka.fresh(name);
    let segment = SEGMENT.as_millis().to_string();
    let configs = [&[("segment.ms", segment.as_str())], more].concat();
    let (bootstrap, replication) = (cluster.bootstrap(), cluster.replication());
    let oracle = kafka.oracle();
    oracle.create_topic(&bootstrap, &topic, PARTITIONS, replication, &configs).await.unwrap();
    topic
}

pub(crate) const PARTITIONS: usize = 2;
const SEED: u64 = 5;

async fn what_is_committed_is_what_java_reads(kafka: Kafka) {
    let cluster = kafka.shared().await;
    let bootstrap = cluster.bootstrap();
    let topic = create(&kafka, cluster, "transactions", &[]).await;
    let (ids, partitions) = (ids(&kafka), PARTITIONS as i32);
    let script = Script::random(&mut Rng::with_seed(SEED), 400, partitions);
    script.run(&kafka, &bootstrap, &topic, &ids).await;
    for partition in 0..partitions {
        let segments = cluster.segments(1, &topic, partition).unwrap();
        assert!(segments > 5, "nothing spans segments: there are {segments}");
    }

    until_stable(&kafka, &bootstrap, &topic, Some(&script.open)).await;

    // The open transaction hides what is committed behind its first record, and nothing before.
    let all: BTreeSet<usize> = (0..script.records.len()).collect();
    let first_open = *script.open.first().unwrap();
    let read = read_alike(&kafka, &bootstrap, &topic, partitions, UNCOMMITTED).await;
    assert_eq!(read, all);
    let stable = read_alike(&kafka, &bootstrap, &topic, partitions, COMMITTED).await;
    assert!(stable.is_disjoint(&script.aborted) && stable.is_disjoint(&script.open));
    let before = all.iter().filter(|&&number| number < first_open);
    let before: BTreeSet<usize> = before.copied().collect();
    assert!(stable.is_superset(&(&before - &script.aborted)));
    assert_ne!(stable, &(&all - &script.aborted) - &script.open, "nothing is hidden");

    let last = [Step::Commit(&ids[1]), Step::Close(&ids[0]), Step::Close(&ids[1])];
    kafka.oracle().run_script(&bootstrap, &topic, &last, &[]).await.unwrap();
    until_stable(&kafka, &bootstrap, &topic, None).await;
    for properties in [COMMITTED, IN_SMALL_PARTS] {
        let read = read_alike(&kafka, &bootstrap, &topic, partitions, properties).await;
        assert_eq!(read, &all - &script.aborted, "{properties:?}");
    }
    assert!(script.aborted.len() > 50, "{} are aborted", script.aborted.len());
}

/// Compaction takes the records of aborted transactions away, leaves batches without records, and markers for a while.
async fn a_compacted_log_of_transactions_reads_as_in_java(kafka: Kafka) {
    let cluster = kafka.shared().await;
    let bootstrap = cluster.bootstrap();
    let configs = [
        ("cleanup.policy", "compact"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("delete.retention.ms", "1000"),
    ];
    let topic = create(&kafka, cluster, "compacted-transactions", &configs).await;
    let (ids, partitions) = (ids(&kafka), PARTITIONS as i32);
    let script = Script::random(&mut Rng::with_seed(SEED + 1), 400, partitions);
    script.run(&kafka, &bootstrap, &topic, &ids).await;
    let last = [Step::Abort(&ids[1]), Step::Close(&ids[0]), Step::Close(&ids[1])];
    kafka.oracle().run_script(&bootstrap, &topic, &last, &[]).await.unwrap();
    until_stable(&kafka, &bootstrap, &topic, None).await;
    for partition in 0..partitions {
        until_compacted(&kafka, &bootstrap, &topic, partition, script.records.len() / 4).await;
    }

    for properties in [UNCOMMITTED, COMMITTED, IN_SMALL_PARTS] {
        for partition in 0..partitions {
            let (mut from, mut end) = (0, 0);
            while from <= end {
                let at = (partition, from);
                end = read_alike_while_cleaned(&kafka, &bootstrap, &topic, at, properties).await;
                from += 97;
            }
        }
    }
}

/// Waits for the markers of all transactions but the open one, if there is one: producers are told of the end of a
/// transaction when it is decided, and brokers write the markers after that.
pub(crate) async fn until_stable(
    kafka: &Kafka,
    bootstrap: &str,
    topic: &str,
    open: Option<&BTreeSet<usize>>,
) {
    let oracle = kafka.oracle();
    for partition in 0..PARTITIONS as i32 {
        let is_open = |record: &Record| open.is_some_and(|open| open.contains(&number(record)));
        let read = oracle.consume(bootstrap, topic, partition, 0, UNCOMMITTED).await.unwrap();
        let first = read.iter().find(|stored| is_open(&stored.record));
        let mut stable = None;
        for _ in 0..300 {
            let (end, _) = oracle.end(bootstrap, topic, partition, UNCOMMITTED).await.unwrap();
            let expected = first.map_or(end, |stored| stored.offset);
            let (told, _) = oracle.end(bootstrap, topic, partition, COMMITTED).await.unwrap();
            stable = (told == expected).then_some(told);
            if stable.is_some() {
                break;
            }
            // No client is told of it.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(stable.is_some(), "{topic}-{partition} still has other open transactions");
    }
}

async fn until_compacted(kafka: &Kafka, bootstrap: &str, topic: &str, partition: i32, most: usize) {
    let mut left = usize::MAX;
    for _ in 0..300 {
        let read = kafka.oracle().consume(bootstrap, topic, partition, 0, UNCOMMITTED).await;
        left = read.unwrap().len();
        if left < most {
            return;
        }
        // The cleaner tells nobody when it is through.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{topic}-{partition} was not compacted: {left} records are left");
}

/// The cleaner may go on; of what it does in between, each may see more or less. Where the partition ends.
async fn read_alike_while_cleaned(
    kafka: &Kafka,
    bootstrap: &str,
    topic: &str,
    (partition, from): (i32, i64),
    properties: Properties<'_>,
) -> i64 {
    let consume = || kafka.oracle().consume(bootstrap, topic, partition, from, properties);
    let mut java = consume().await.unwrap();
    loop {
        let read = ours::read_with_end(bootstrap, topic, partition, from, properties).await;
        let before = std::mem::replace(&mut java, consume().await.unwrap());
        if before == java {
            assert_eq!(read.records, java, "{topic}-{partition} from {from}, {properties:?}");
            assert_eq!(read.end.0, read.end.1, "{topic}-{partition} from {from}, {properties:?}");
            return read.end.0;
        }
    }
}
