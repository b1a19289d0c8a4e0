//! The examples against real Kafka, run as a user runs them, and beside the tools of Kafka's that they are made after.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tokio::time::Duration;

use crate::cluster::Cluster;
use crate::oracle::Record;
use crate::ours;
use crate::program::{Line, Program, text};
use crate::runner::Kafka;
use crate::samples::numbered;

tests![
    quickstart,
    consumer_group,
    consumer_perf,
    verifiable_consumer,
    verifiable_consumer_of_the_consumer_protocol[since(4, 0)]
];

const LIMIT: Duration = Duration::from_secs(60);

async fn quickstart(kafka: Kafka) {
    let cluster = kafka.shared().await;
    let topic = kafka.topic(cluster, "quickstart", 3).await;
    let arguments = format!("--bootstrap {} --topic {topic}", cluster.bootstrap());

    let printed = Program::example("quickstart", &arguments).await.succeeded(LIMIT).await;

    let printed = text(&printed);
    assert!(printed.contains("read back    300 records"), "{printed}");
    let stored = (0..3).flat_map(|at| cluster.stored_batches(1, &topic, at).unwrap());
    assert_eq!(stored.map(|batch| batch.count).sum::<i32>(), 300);
}

async fn consumer_group(kafka: Kafka) {
    let cluster = kafka.shared().await;
    let topic = kafka.topic(cluster, "shared-out", 6).await;
    let bootstrap = cluster.bootstrap();
    let arguments = format!("--bootstrap {bootstrap} --topic {topic} --group {topic}");

    let printed = Program::example("consumer_group", &arguments).await.succeeded(LIMIT).await;

    let printed = text(&printed);
    for line in ["half-way: a member leaves", "member 2 gives up", "done: 600 records"] {
        assert!(printed.contains(line), "no {line:?} in\n{printed}");
    }
}

/// It prints what Kafka's own prints of the same topic, but for times and what is computed from them.
async fn consumer_perf(kafka: Kafka) {
    const RECORDS: usize = 20_000;
    let cluster = kafka.shared().await;
    let bootstrap = cluster.bootstrap();
    let topic = kafka.topic(cluster, "perf", 3).await;
    // Of 100 bytes with their keys, to all partitions.
    let record = |number: usize| Record {
        partition: -1,
        key: Some(format!("{number:08}").into_bytes()),
        value: Some(vec![b'v'; 92]),
        ..numbered(0, number)
    };
    let records: Vec<Record> = (0..RECORDS).map(record).collect();
    let producer = ours::producer(&bootstrap, &[("acks", "all")]);
    assert_eq!(ours::send_all(&producer, &topic, &records).await.len(), RECORDS);
    ours::close(producer).await;

    let arguments =
        format!("--bootstrap-server {bootstrap} --topic {topic} --num-records {RECORDS}");
    let detailed = format!("{arguments} --show-detailed-stats --reporting-interval 1");
    let (theirs, ours, detailed) = tokio::join!(
        kafka.release().consumer_performance(&bootstrap, &topic, RECORDS),
        async { Program::example("consumer_perf", &arguments).await.succeeded(LIMIT).await },
        async { Program::example("consumer_perf", &detailed).await.succeeded(LIMIT).await },
    );

    let (theirs, ours) = (theirs.unwrap(), text(&ours));
    let [their_header, their_row] = lines(&theirs)[..] else { panic!("{theirs}") };
    let [header, row] = lines(&ours)[..] else { panic!("{ours}") };
    assert_eq!(header, their_header);
    let (names, row, their_row) = (columns(header), columns(row), columns(their_row));
    assert!(names.len() == 10 && row.len() == 10 && their_row.len() == 10, "{row:?} {their_row:?}");
    for (name, expected) in [("data.consumed.in.MB", "1.9073"), ("data.consumed.in.nMsg", "20000")]
    {
        let at = names.iter().position(|column| *column == name).unwrap();
        assert_eq!((row[at], their_row[at]), (expected, expected), "{name}");
    }
    // The rate is of the time between start and end, and the rest of it went to the rebalance.
    let (start, end) = (time_of_day(row[0]), time_of_day(row[1]));
    let took = (end - start).rem_euclid(24 * 60 * 60 * 1000);
    let number = |at: usize| -> f64 { row[at].parse().unwrap() };
    assert!((number(5) * took as f64 / 1000.0 - 20_000.0).abs() < 1.0, "{row:?}");
    assert!((number(6) + number(7) - took as f64).abs() < 0.5, "{row:?}");

    // A row for each interval that is over when records come: the last ones may come before that.
    let detailed = text(&detailed);
    let (header, rows) =
        lines(&detailed).split_first().map(|(h, rows)| (*h, rows.to_vec())).unwrap();
    assert!(header.starts_with("time, threadId, data.consumed.in.MB, MB.sec, "), "{detailed}");
    let counts: Vec<u64> = rows.iter().map(|row| columns(row)[4].parse().unwrap()).collect();
    let rise = counts.windows(2).all(|two| two[0] < two[1]);
    assert!(rise && counts.last().is_some_and(|last| (1..=20_000).contains(last)), "{detailed}");
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().collect()
}

fn columns(line: &str) -> Vec<&str> {
    line.split(", ").collect()
}

/// Milliseconds since midnight of `yyyy-MM-dd HH:mm:ss:SSS`.
fn time_of_day(text: &str) -> i64 {
    let (_, time) = text.split_once(' ').unwrap();
    let parts: Vec<i64> = time.split(':').map(|part| part.parse().unwrap()).collect();
    ((parts[0] * 60 + parts[1]) * 60 + parts[2]) * 1000 + parts[3]
}

async fn verifiable_consumer(kafka: Kafka) {
    verifiable_consumers(&kafka, &[]).await;
}

async fn verifiable_consumer_of_the_consumer_protocol(kafka: Kafka) {
    verifiable_consumers(&kafka, &["--group-protocol", "consumer"]).await;
}

/// Ours and Kafka's share a topic, and together tell of each record once. Then ours goes on alone.
async fn verifiable_consumers(kafka: &Kafka, protocol: &[&str]) {
    const PARTITIONS: usize = 4;
    const EACH: usize = 250;
    let cluster = kafka.shared().await;
    let bootstrap = cluster.bootstrap();
    let topic = kafka.topic(cluster, "verified", PARTITIONS).await;
    let arguments = format!(
        "--bootstrap-server {bootstrap} --topic {topic} --group-id {topic} {}",
        protocol.join(" ")
    );
    let mut ours = Program::example("verifiable_consumer", &arguments).await;
    let java = kafka.release().verifiable_consumer(&bootstrap, &topic, &topic, protocol);
    let mut java = Program::start(java);
    let half = |lines: &[Line]| Told::of(lines).owned.len() == PARTITIONS / 2;
    ours.until(LIMIT, half).await;
    java.until(LIMIT, half).await;

    write(cluster, &topic, PARTITIONS, EACH).await;
    let half = |lines: &[Line]| {
        Told::of(lines).committed.values().sum::<i64>() == (PARTITIONS / 2 * EACH) as i64
    };
    ours.until(LIMIT, half).await;
    java.until(LIMIT, half).await;
    // Not as Ctrl-C does: a Java that was started in the background may ignore that.
    java.signal("TERM").await;
    let (_, java) = java.ended(LIMIT).await;
    ours.until(LIMIT, |lines| Told::of(lines).owned.len() == PARTITIONS).await;
    write(cluster, &topic, PARTITIONS, EACH).await;
    let all = 2 * EACH as i64;
    ours.until(LIMIT, |lines| {
        let told = Told::of(lines);
        told.committed.len() == PARTITIONS && told.committed.values().all(|offset| *offset == all)
    })
    .await;
    ours.interrupt().await;
    let ours = ours.succeeded(LIMIT).await;

    let (ours, java) = (Told::of(&ours), Told::of(&java));
    for (partition, expected) in (0..).zip([all; PARTITIONS]) {
        let both =
            [&java, &ours].map(|told| told.consumed.get(&partition).cloned().unwrap_or_default());
        assert!(both.concat().into_iter().eq(0..expected), "{partition}: {both:?}");
    }
    let committed = kafka.oracle().committed(&bootstrap, &topic).await.unwrap();
    assert!(
        committed.len() == PARTITIONS && committed.values().all(|at| at.offset == all),
        "{committed:?}"
    );
    // The same names with the same fields, in an order that Kafka's own tests rely on.
    let mut fields = ours.fields.clone();
    if !java.fields.contains_key("shutdown_requested") {
        fields.remove("shutdown_requested").expect("older releases do without");
    }
    assert_eq!(fields, java.fields);
    for told in [&ours, &java] {
        assert_eq!(told.names.first().map(String::as_str), Some("startup_complete"));
        assert_eq!(told.names.last().map(String::as_str), Some("shutdown_complete"));
        for two in told.names.windows(2) {
            assert_eq!(two[0] == "records_consumed", two[1] == "offsets_committed", "{two:?}");
        }
    }
}

async fn write(cluster: &Cluster, topic: &str, partitions: usize, each: usize) {
    let producer = ours::producer(&cluster.bootstrap(), &[("acks", "all")]);
    let records = (0..partitions * each).map(|n| numbered((n % partitions) as i32, n));
    ours::send_all(&producer, topic, &records.collect::<Vec<_>>()).await;
    ours::close(producer).await;
}

/// What a verifiable consumer has told.
#[derive(Debug, Default)]
struct Told {
    names: Vec<String>,
    /// The names of an event's fields, and of those within them.
    fields: BTreeMap<String, BTreeSet<String>>,
    owned: BTreeSet<i64>,
    /// The offsets of each partition, in the order of their coming.
    consumed: BTreeMap<i64, Vec<i64>>,
    committed: BTreeMap<i64, i64>,
}

impl Told {
    /// Of lines in which only events begin with a brace.
    fn of(lines: &[Line]) -> Self {
        let mut told = Self::default();
        for line in lines.iter().filter(|line| line.text.starts_with('{')) {
            told.note(&serde_json::from_str(&line.text).unwrap());
        }
        told
    }

    fn note(&mut self, event: &Value) {
        let name = event["name"].as_str().unwrap();
        self.names.push(name.to_owned());
        let number = |value: &Value| value.as_i64().unwrap();
        let parts = |field: &str| event[field].as_array().unwrap().iter();
        let partitions = |field: &str| parts(field).map(|at| number(&at["partition"]));
        match name {
            "partitions_assigned" => self.owned.extend(partitions("partitions")),
            "partitions_revoked" => {
                let revoked: BTreeSet<i64> = partitions("partitions").collect();
                self.owned.retain(|at| !revoked.contains(at));
            }
            "records_consumed" => {
                let mut count = 0;
                for part in parts("partitions") {
                    let (first, last) = (number(&part["minOffset"]), number(&part["maxOffset"]));
                    assert_eq!(number(&part["count"]), last - first + 1, "{event}");
                    count += last - first + 1;
                    self.consumed
                        .entry(number(&part["partition"]))
                        .or_default()
                        .extend(first..=last);
                }
                assert_eq!(number(&event["count"]), count, "{event}");
            }
            "offsets_committed" => {
                assert_eq!(event["success"], true, "{event}");
                for part in parts("offsets") {
                    self.committed.insert(number(&part["partition"]), number(&part["offset"]));
                }
            }
            _ => {}
        }
        let fields = self.fields.entry(name.to_owned()).or_default();
        for (field, value) in event.as_object().unwrap() {
            fields.insert(field.clone());
            for part in value.as_array().into_iter().flatten() {
                fields.extend(
                    part.as_object().unwrap().keys().map(|inner| format!("{field}.{inner}")),
                );
            }
        }
    }
}
