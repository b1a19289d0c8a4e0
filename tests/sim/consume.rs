//! Reading assigned partitions through disconnects, fail-overs, evicted sessions, deleted records, compaction and unclean
//! elections: positions go forward, nothing is skipped, nothing comes twice, and when the faults are over the reader
//! gets to the end.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use milena::broker::{TopicSpec, Writer};
use milena::{BrokerId, Clock, Consumer, ConsumerConfig, StartAt, TopicPartition};

use crate::faults::{self, Fault, Plan, Scope};
use crate::harness::{Client, Run, SimClock, World};
use crate::history::now;
use crate::invariants::{Tally, Violation};
use crate::seeds::{Outcome, Scenario, sweep};
use crate::settings::{connections, ms, one_of};

const MS: fn(u64) -> Duration = Duration::from_millis;
const TOPIC: &str = "t";

const CATCHES_UP: &str = "C1 soon after the faults the reader is at the end";
const NOTHING_SKIPPED: &str = "C2 each record of the log that may be read was handed out";
const NOTHING_MADE_UP: &str = "C3 what is handed out was written there and may be read";
const GOES_FORWARD: &str = "C4 offsets rise, but where the log lost its end";
const POLLS: &str = "C5 a poll with a policy for lost offsets fails only for now";
const COMES_TO_ITS_END: &str = "the run comes to its end";

/// Counted only where there are transactions.
const OF_TRANSACTIONS: [&str; 2] = ["records void", "transactions aborted"];
/// How far ahead of the reader is written.
const MOST_UNREAD: i64 = 300;
/// How many violations of one invariant are told.
const FEW: usize = 3;

/// What a seed decides besides its faults.
#[derive(Debug, Clone)]
struct Setting {
    nodes: usize,
    partitions: i32,
    /// Whether transactions are written.
    transactional: bool,
    committed: bool,
    racks: bool,
    session_slots: usize,
    fetch_bytes: usize,
    partition_bytes: usize,
    min_bytes: usize,
    max_wait: Duration,
    request_timeout: Duration,
    retry_backoff: Duration,
    backoff_max: Duration,
    metadata_max_age: Duration,
    longest_pause: u64,
    longest_batch: usize,
    heals_at: Duration,
}

impl Setting {
    fn roll(dice: &mut fastrand::Rng) -> Self {
        let slowest = one_of(dice, &[800, 2_500]);
        let retry_backoff = MS(dice.u64(20..150));
        Self {
            nodes: dice.usize(1..=3),
            partitions: dice.i32(1..=4),
            transactional: dice.bool(),
            committed: dice.bool(),
            racks: dice.bool(),
            session_slots: one_of(dice, &[0, 1, 1_000, 1_000]),
            fetch_bytes: one_of(dice, &[300, 5_000, 50 << 20]),
            partition_bytes: one_of(dice, &[100, 1_000, 1 << 20]),
            min_bytes: one_of(dice, &[1, 1, 500]),
            max_wait: MS(one_of(dice, &[0, 50, 400])),
            request_timeout: MS(dice.u64(500..slowest)),
            retry_backoff,
            backoff_max: retry_backoff * dice.u32(1..10),
            metadata_max_age: MS(one_of(dice, &[300_000, 3_000, 500])),
            longest_pause: one_of(dice, &[5, 50, 300]),
            longest_batch: dice.usize(1..8),
            heals_at: MS(dice.u64(2_000..8_000)),
        }
    }

    fn config(&self) -> ConsumerConfig {
        let isolation = if self.committed { "read_committed" } else { "read_uncommitted" };
        let common =
            connections(self.nodes, self.request_timeout, self.retry_backoff, self.backoff_max);
        ConsumerConfig::builder()
            .properties(common)
            .properties([
                ("client.id", "sim".to_owned()),
                ("client.rack", if self.racks { "b" } else { "" }.to_owned()),
                ("auto.offset.reset", "earliest".to_owned()),
                ("isolation.level", isolation.to_owned()),
                ("fetch.max.bytes", self.fetch_bytes.to_string()),
                ("max.partition.fetch.bytes", self.partition_bytes.to_string()),
                ("fetch.min.bytes", self.min_bytes.to_string()),
                ("fetch.max.wait.ms", ms(self.max_wait)),
                ("request.timeout.ms", ms(self.request_timeout + self.max_wait)),
                ("metadata.max.age.ms", ms(self.metadata_max_age)),
            ])
            .build()
            .expect("a sound configuration")
    }

    /// How long after the faults the reader may take to go on: a request that waits for nothing, another connection,
    /// metadata, where to read from, a fetch, and the back-offs in between.
    fn recovery(&self) -> Duration {
        (self.request_timeout + self.max_wait) * 5 + self.backoff_max * 10 + MS(10_000)
    }

    fn scope(&self) -> Scope {
        Scope {
            nodes: (1..).map(BrokerId).take(self.nodes).collect(),
            topic: TOPIC,
            partitions: self.partitions,
            request_timeout: self.request_timeout,
            members: 1,
            group: "",
        }
    }
}

/// What a seed means. Where logs lose their ends there are no transactions: one whose marker was lost stays open for ever.
fn roll(seed: u64, unclean: bool) -> (Setting, Plan) {
    let mut dice = fastrand::Rng::with_seed(seed);
    let mut setting = Setting::roll(&mut dice.fork());
    setting.transactional &= !unclean;
    let lossy = if unclean { faults::UNCLEAN } else { &[] };
    let kinds = [faults::NETWORK, faults::NODES, faults::CONSUMER, faults::LOGS, lossy].concat();
    let plan = Plan::roll(&mut dice.fork(), &setting.scope(), &kinds, 16, setting.heals_at);
    (setting, plan)
}

/// What was written and what was read, as the run goes.
#[derive(Default)]
struct Told {
    /// Each record that was ever at an offset of a partition, by its value, and whether a transaction that was aborted
    /// or never ended holds it.
    written: HashMap<u64, (i32, i64)>,
    void: std::collections::HashSet<u64>,
    /// Offset and value of what was handed out.
    read: BTreeMap<i32, Vec<(i64, u64)>>,
    aborted: usize,
}

/// Writes into all partitions, in and out of transactions.
struct Author {
    dice: fastrand::Rng,
    writers: Vec<(Writer, Option<Vec<u64>>)>,
    next_value: u64,
}

impl Author {
    fn new(client: &Client) -> Self {
        let writer = |_| (client.cluster.writer(), None);
        let writers = (0..3).map(writer).collect();
        Self { dice: fastrand::Rng::with_seed(client.seed ^ 0x5EED), writers, next_value: 0 }
    }

    fn act(&mut self, client: &Client, setting: &Setting, told: &mut Told) {
        let who = self.dice.usize(0..self.writers.len());
        let (writer, open) = &mut self.writers[who];
        // The cluster's own clock is no part of the simulation.
        writer.set_time(SimClock.now_millis());
        match open {
            None if setting.transactional && self.dice.u8(0..3) == 0 => {
                writer.begin().expect("none is open");
                *open = Some(Vec::new());
            }
            Some(_) if self.dice.u8(0..3) == 0 => self.end(who, client, told),
            _ => self.write(who, client, setting, told),
        }
    }

    fn write(&mut self, who: usize, client: &Client, setting: &Setting, told: &mut Told) {
        let (writer, open) = &mut self.writers[who];
        let partition = self.dice.i32(0..setting.partitions);
        let first = self.next_value;
        let count = self.dice.u64(1..=setting.longest_batch as u64);
        self.next_value += count;
        let keys: Vec<String> = (0..count).map(|_| format!("k{}", self.dice.u8(0..30))).collect();
        let records: Vec<_> = keys.iter().zip(first..).map(|(k, v)| (k, v.to_be_bytes())).collect();
        match writer.write(TOPIC, partition, records) {
            Ok(base) => {
                client.history.journal.note(format_args!("{count} to {partition} at {base}"));
                for (value, offset) in (first..first + count).zip(base..) {
                    told.written.insert(value, (partition, offset));
                }
                if let Some(open) = open {
                    open.extend(first..first + count);
                }
            }
            // The end of the log is gone, and with it what the next sequence number followed.
            Err(_) => *writer = client.cluster.writer(),
        }
    }

    fn end(&mut self, who: usize, client: &Client, told: &mut Told) {
        let (writer, open) = &mut self.writers[who];
        let Some(values) = open.take() else { return };
        let committed = self.dice.bool();
        client.history.journal.note(format_args!("{who} ends: {committed}"));
        if committed {
            writer.commit().expect("one is open");
        } else {
            writer.abort().expect("one is open");
            told.void.extend(values);
            told.aborted += 1;
        }
    }
}

/// The client's whole life: reads while there are faults and writes, then to the end.
async fn workload(client: Client, setting: Setting, told: std::rc::Rc<std::cell::RefCell<Told>>) {
    let mut author = Author::new(&client);
    let mut dice = fastrand::Rng::with_seed(client.seed ^ 0xD1CE);
    let mut consumer = Consumer::builder(setting.config())
        .connector(client.wire.connector())
        .seed(client.seed)
        .build();
    let all: Vec<_> = (0..setting.partitions).map(|p| TopicPartition::new(TOPIC, p)).collect();
    let starts = all.iter().map(|partition| (partition.clone(), StartAt::Earliest));
    consumer.assign(starts).expect("sound starts");
    while now() < client.heals_at {
        // Of more, a reader of one batch a fetch would not see the end in time.
        if backlog(&client, &consumer, &all) < MOST_UNREAD {
            author.act(&client, &setting, &mut told.borrow_mut());
        }
        let pause = MS(dice.u64(0..setting.longest_pause));
        if dice.u8(0..4) > 0 {
            poll(&mut consumer, &client, pause, &told).await;
        } else {
            tokio::time::sleep(pause).await;
        }
    }
    for who in 0..author.writers.len() {
        author.end(who, &client, &mut told.borrow_mut());
    }
    client.healed().await;
    let late = now() + setting.recovery();
    while let Some(behind) = behind(&client, &consumer, &all) {
        if now() > late {
            client.history.broken(CATCHES_UP, behind);
            break;
        }
        poll(&mut consumer, &client, MS(100), &told).await;
    }
    consumer.close(MS(5_000)).await;
}

async fn poll(
    consumer: &mut Consumer,
    client: &Client,
    timeout: Duration,
    told: &std::cell::RefCell<Told>,
) {
    match consumer.poll(timeout).await {
        Ok(records) => {
            for record in &records {
                let value = record.value.and_then(|value| value.first_chunk::<8>());
                let value = u64::from_be_bytes(*value.expect("eight bytes"));
                let read = (record.offset, value);
                let journal = &client.history.journal;
                journal.note(format_args!("read {read:?} of {}", record.partition));
                told.borrow_mut().read.entry(record.partition).or_default().push(read);
            }
        }
        // It says that it could not read for long, and goes on.
        Err(error) if error.is_retriable() => client.history.journal.note(error),
        Err(error) => client.history.broken(POLLS, error),
    }
}

/// How many offsets the reader is behind.
fn backlog(client: &Client, consumer: &Consumer, all: &[TopicPartition]) -> i64 {
    let behind = |partition: &TopicPartition| {
        let offsets = client.cluster.offsets(TOPIC, partition.partition)?;
        Some(offsets.end - consumer.position(partition).unwrap_or(offsets.start))
    };
    all.iter().filter_map(behind).sum()
}

/// A partition whose end the reader is not at.
fn behind(client: &Client, consumer: &Consumer, all: &[TopicPartition]) -> Option<String> {
    all.iter().find_map(|partition| {
        let end = client.cluster.offsets(TOPIC, partition.partition)?.end;
        let position = consumer.position(partition);
        (position != Some(end)).then(|| format!("{partition} at {position:?}, its end is {end}"))
    })
}

fn run(seed: u64, unclean: bool, plan: Plan) -> Outcome {
    let (setting, _) = roll(seed, unclean);
    let cuts = truncations(&plan);
    let build = |cluster: milena::broker::ClusterBuilder| {
        let ids = (1..=setting.nodes as i32).map(BrokerId);
        let racked =
            ids.fold(cluster, |cluster, id| cluster.rack(id, ["a", "b"][id.0 as usize % 2]));
        racked.rack_aware_fetching(setting.racks).fetch_session_slots(setting.session_slots)
    };
    let mut world = World::new(seed, setting.nodes, build, plan);
    let told = std::rc::Rc::new(std::cell::RefCell::new(Told::default()));
    world.client("client", |client| {
        let topic = TopicSpec::new(TOPIC).partitions(setting.partitions as usize);
        client.cluster.create_topic(topic).expect("a topic");
        workload(client, setting.clone(), std::rc::Rc::clone(&told))
    });
    let run = world.run(setting.heals_at + setting.recovery() + Duration::from_secs(30));
    let journal = run.history.journal.lines();
    let (violations, mut tally) = check(&run, &setting, &told.borrow(), cuts);
    if unclean {
        tally.insert("unclean elections", cuts);
        tally.retain(|what, _| !OF_TRANSACTIONS.contains(what));
    }
    Outcome { violations, tally, journal }
}

fn truncations(plan: &Plan) -> usize {
    plan.entries.iter().filter(|(_, entry)| matches!(entry.fault, Fault::Truncate(..))).count()
}

fn check(run: &Run, setting: &Setting, told: &Told, cuts: usize) -> (Vec<Violation>, Tally) {
    let mut violations: Vec<Violation> = run.history.take_broken();
    violations.extend(run.stuck.iter().map(|why| (COMES_TO_ITS_END, why.clone())));
    let may_be_read = |value: &u64| !setting.committed || !told.void.contains(value);
    let mut count = 0;
    for partition in 0..setting.partitions {
        let read = told.read.get(&partition).map_or(&[][..], Vec::as_slice);
        count += read.len();
        for &(offset, value) in read {
            let there = told.written.get(&value) == Some(&(partition, offset));
            if !there || !may_be_read(&value) {
                let what = format!("{value} at {partition}, {offset}: void or not written");
                violations.push((NOTHING_MADE_UP, what));
            }
        }
        let times =
            read.iter().fold(HashMap::new(), |mut times: HashMap<u64, usize>, (_, value)| {
                *times.entry(*value).or_default() += 1;
                times
            });
        for pair in read.windows(2).filter(|pair| pair[1].0 <= pair[0].0) {
            // What comes after a cut is new; nothing that was handed out comes again.
            if cuts == 0 || times.get(&pair[1].1) != Some(&1) {
                violations.push((GOES_FORWARD, format!("{pair:?} of {partition}")));
            }
        }
        for record in run.cluster.records(TOPIC, partition) {
            let value = record.value.as_deref().and_then(|value| value.first_chunk::<8>());
            let value = u64::from_be_bytes(*value.expect("eight bytes"));
            if may_be_read(&value) && !times.contains_key(&value) {
                violations.push((NOTHING_SKIPPED, format!("{partition} at {}", record.offset)));
            }
        }
    }
    // The first of a kind tell enough.
    let mut kinds: HashMap<&str, usize> = HashMap::new();
    violations.retain(|(kind, _)| {
        let seen = kinds.entry(kind).or_default();
        *seen += 1;
        *seen <= FEW
    });
    let evicted =
        run.history.journal.lines().iter().filter(|l| l.contains("EvictSessions")).count();
    let tally = Tally::from([
        ("records read", count),
        ("records void", told.void.len()),
        ("transactions aborted", told.aborted),
        ("sessions evicted", evicted),
        ("connections", run.wire.connects().len()),
    ]);
    (violations, tally)
}

const SCENARIO: Scenario = Scenario {
    name: "consume_through_faults",
    describe: |seed| {
        let (setting, plan) = roll(seed, false);
        (format!("{setting:?}"), plan)
    },
    run: |seed, plan| run(seed, false, plan),
};

const UNCLEAN: Scenario = Scenario {
    name: "consume_through_unclean_elections",
    describe: |seed| {
        let (setting, plan) = roll(seed, true);
        (format!("{setting:?}"), plan)
    },
    run: |seed, plan| run(seed, true, plan),
};

#[test]
fn consume_through_faults() {
    sweep(SCENARIO);
}

#[test]
fn consume_through_unclean_elections() {
    sweep(UNCLEAN);
}

#[test]
fn a_seed_gives_the_same_run_twice() {
    for seed in 0..4 {
        let journal = || run(seed, false, roll(seed, false).1).journal;
        let (one, two) = (journal(), journal());
        let differ = one.iter().zip(&two).position(|(one, two)| one != two);
        assert_eq!(differ.map(|at| (&one[at], &two[at])), None, "seed {seed}");
        assert_eq!(one.len(), two.len(), "seed {seed}");
        assert!(one.len() > 100, "seed {seed} does something: {}", one.len());
    }
}
