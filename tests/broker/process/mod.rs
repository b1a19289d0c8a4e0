//! The read-process-write loop: whatever happens to it, whoever reads what is committed sees each input once, in order.

mod ends;
mod faults;
mod kills;
mod neighbours;

use std::collections::BTreeMap;
use std::time::Duration;

use milena::broker::{Cluster, TopicSpec};
use milena::{
    ConsumerConfig, ExactlyOnce, ExactlyOnceBuilder, ExactlyOnceError, ProducerConfig,
    ProducerRecord, Progress, ProgressHandle, Records, SendError, StartAt, Transaction,
    TransactionalProducerConfig,
};

use crate::support::{SECOND, cluster, in_memory, reader, tp};

/// The levels of `transaction.version` with different protocols.
const VERSIONS: [i16; 2] = [1, 2];
/// No test takes this long, on the paused clock.
const LIMIT: Duration = Duration::from_secs(1200);

/// Three nodes, and a topic `in` with `each` records in each partition, whose values are `partition-number`.
async fn filled(version: i16, partitions: usize, each: usize) -> Cluster {
    let cluster = cluster(|builder| builder.nodes(3).transaction_version(version)).await;
    for topic in ["in", "out"] {
        cluster.create_topic(TopicSpec::new(topic).partitions(partitions)).unwrap();
    }
    let mut writer = cluster.writer();
    for partition in 0..partitions {
        for number in 0..each {
            let value = format!("{partition}-{number}");
            writer.write("in", partition as i32, [("key", value.as_str())]).unwrap();
        }
    }
    cluster
}

type Properties<'a> = &'a [(&'a str, &'a str)];

/// A member of the group `g`.
fn consumer(cluster: &Cluster, more: Properties<'_>) -> ConsumerConfig {
    ConsumerConfig::builder()
        .bootstrap_servers(cluster.bootstrap_servers())
        .properties([
            ("group.id", "g"),
            ("enable.auto.commit", "false"),
            ("isolation.level", "read_committed"),
            ("auto.offset.reset", "earliest"),
            ("max.poll.records", "3"),
        ])
        .properties(more.iter().copied())
        .build()
        .unwrap()
}

fn producer(cluster: &Cluster, id: &str, more: Properties<'_>) -> TransactionalProducerConfig {
    ProducerConfig::builder()
        .bootstrap_servers(cluster.bootstrap_servers())
        .transactional_id(id)
        .properties(more.iter().copied())
        .build_transactional()
        .unwrap()
}

fn builder(
    cluster: &Cluster,
    id: &str,
    of_consumer: Properties<'_>,
    of_producer: Properties<'_>,
) -> ExactlyOnceBuilder {
    // No two members of a group are alike: those of the new protocol make their ids by the seed.
    let seed = fastrand::u64(..);
    ExactlyOnce::builder(consumer(cluster, of_consumer), producer(cluster, id, of_producer))
        .topics(["in"])
        .with_consumer(|builder| builder.connector(in_memory(cluster)).seed(seed))
        .with_producer(|builder| builder.connector(in_memory(cluster)).seed(seed))
}

async fn worker(cluster: &Cluster, id: &str, of_consumer: Properties<'_>) -> ExactlyOnce {
    builder(cluster, id, of_consumer, &[]).start().await.unwrap()
}

/// The closure: each record as it is, into the partition of the same number.
async fn copy(batch: &Records, transaction: &Transaction<'_>) -> Result<(), SendError> {
    for record in batch {
        let value = record.value.unwrap();
        let output = ProducerRecord::new("out", value).partition(record.partition);
        drop(transaction.send(&output).await?);
    }
    Ok(())
}

/// Ready when it has gone so far.
async fn until(progress: ProgressHandle, wanted: impl Fn(&Progress) -> bool) {
    while !wanted(&progress.get()) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Runs until so many records are committed by it.
async fn run(worker: &mut ExactlyOnce, records: u64) -> Result<(), ExactlyOnceError<SendError>> {
    let stop = until(worker.progress(), move |progress| progress.records >= records);
    tokio::time::timeout(LIMIT, worker.run_until(stop, copy)).await.expect("it makes progress")
}

/// Ready when the group has committed all of the inputs.
async fn all_committed(cluster: Cluster, partitions: usize, each: usize) {
    let names: Vec<_> = (0..partitions).map(|n| tp("in", n as i32)).collect();
    let looks = reader(&cluster, &[("group.id", "g"), ("enable.auto.commit", "false")]);
    loop {
        if let Ok(committed) = looks.committed(names.clone()).await {
            let done = |offset: i64| offset >= each as i64;
            if committed.values().all(|at| at.as_ref().is_some_and(|at| done(at.offset))) {
                return;
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// What whoever reads committed records sees of `out`, by partition.
async fn committed(cluster: &Cluster, partitions: usize) -> BTreeMap<i32, Vec<String>> {
    let mut reader = reader(cluster, &[("isolation.level", "read_committed")]);
    let names: Vec<_> = (0..partitions).map(|n| tp("out", n as i32)).collect();
    reader.assign(names.iter().map(|name| (name.clone(), StartAt::Earliest))).unwrap();
    let mut seen: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    let ends: BTreeMap<_, _> = names
        .iter()
        .map(|name| (name, cluster.offsets("out", name.partition).unwrap().end))
        .collect();
    let reading = async {
        while names.iter().any(|name| reader.position(name).is_none_or(|at| at < ends[name])) {
            for record in &reader.poll(SECOND).await.unwrap() {
                let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
                seen.entry(record.partition).or_default().push(value);
            }
        }
    };
    tokio::time::timeout(LIMIT, reading).await.expect("no transaction is left open");
    seen
}

/// Asserts that each input came out once, in order.
async fn assert_once(cluster: &Cluster, partitions: usize, each: usize, what: &str) {
    let seen = committed(cluster, partitions).await;
    let expected: BTreeMap<i32, Vec<String>> = (0..partitions)
        .map(|partition| {
            (partition as i32, (0..each).map(|number| format!("{partition}-{number}")).collect())
        })
        .collect();
    assert_eq!(seen, expected, "{what}");
}
