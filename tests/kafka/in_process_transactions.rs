//! Kafka's transactional Java clients and tools against `milena::broker`, in both transaction versions; what they wrote is
//! read by Kafka's own consumers.

use std::time::Duration;

use milena::BrokerId;
use milena::broker::{ApiKey, Cluster, Fault, TransactionState};

use crate::oracle::{Properties, Record, Step, StoredRecord};
use crate::runner::Kafka;
use crate::samples::numbered;
use crate::tools::{CopyTest, PerfTest};

tests![
    message_copiers_copy_each_record_once,
    a_copier_in_a_group_copies_each_record_once,
    transactional_producer_performance,
    the_same_transactions_give_the_same_log_as_with_kafka,
    a_second_producer_fences_the_first,
    transactions_that_take_too_long_are_aborted,
];

pub(crate) const COMMITTED: Properties<'static> = &[("isolation.level", "read_committed")];
pub(crate) const UNCOMMITTED: Properties<'static> = &[("isolation.level", "read_uncommitted")];

/// Markers come late, as with Kafka, so that clients meet `CONCURRENT_TRANSACTIONS`.
async fn cluster(nodes: usize, version: i16) -> Cluster {
    let builder = Cluster::builder().nodes(nodes).transaction_version(version);
    builder.transaction_marker_delay(Duration::from_millis(5)).start().await.unwrap()
}

/// The versions that brokers can offer to clients of this release: before 4.0 none of them knows the second.
fn versions(kafka: &Kafka) -> &'static [i16] {
    if kafka.release().at_least(4, 0) { &[1, 2] } else { &[1] }
}

pub(crate) async fn read(
    kafka: &Kafka,
    bootstrap: &str,
    (topic, partition): (&str, i32),
    properties: Properties<'_>,
) -> Vec<StoredRecord> {
    kafka.oracle().consume(bootstrap, topic, partition, 0, properties).await.unwrap()
}

pub(crate) fn values(records: &[StoredRecord]) -> Vec<String> {
    let text = |stored: &StoredRecord| {
        String::from_utf8(stored.record.value.clone().unwrap_or_default()).unwrap()
    };
    records.iter().map(text).collect()
}

const PARTITIONS: i32 = 2;
const PER_PARTITION: usize = 600;

async fn with_input(kafka: &Kafka, version: i16) -> Cluster {
    let cluster = cluster(3, version).await;
    for topic in ["input", "output"] {
        cluster.create_topic((topic, PARTITIONS as usize)).unwrap();
    }
    let of = |partition| (0..PER_PARTITION).map(move |n| numbered(partition, n));
    let records: Vec<Record> = (0..PARTITIONS).flat_map(of).collect();
    kafka.oracle().produce(&cluster.bootstrap_servers(), "input", &records, &[]).await.unwrap();
    cluster
}

/// Each record of the input is in the output once and in order, for who reads what is committed, and the group is at the
/// end of the input.
async fn is_copied(kafka: &Kafka, cluster: &Cluster) {
    let bootstrap = cluster.bootstrap_servers();
    for partition in 0..PARTITIONS {
        let written = read(kafka, &bootstrap, ("input", partition), UNCOMMITTED).await;
        let copied = read(kafka, &bootstrap, ("output", partition), COMMITTED).await;
        assert_eq!(written.len(), PER_PARTITION);
        assert_eq!(values(&copied), values(&written));
        let all = cluster.offsets("output", partition).unwrap().end;
        assert_eq!(cluster.last_stable_offset("output", partition), Some(all));
    }
    let offsets = cluster.group("copiers").unwrap().offsets;
    let offsets: Vec<i64> = offsets.values().map(|committed| committed.offset).collect();
    assert_eq!(offsets, [PER_PARTITION as i64; PARTITIONS as usize]);
}

/// A copier for each partition, aborting now and then, while coordinators and leaders move and answers are lost.
async fn message_copiers_copy_each_record_once(kafka: Kafka) {
    for &version in versions(&kafka) {
        let cluster = with_input(&kafka, version).await;
        let bootstrap = cluster.bootstrap_servers();
        let copy = async |id: &str, partition| {
            let copy = CopyTest {
                id,
                group: "copiers",
                from: "input",
                partition,
                to: "output",
                per_transaction: 40,
                options: &["--enable-random-aborts", "--use-group-metadata"],
            };
            kafka.release().message_copier(&bootstrap, copy).await.unwrap()
        };
        for api in [ApiKey::END_TXN, ApiKey::TXN_OFFSET_COMMIT, ApiKey::PRODUCE] {
            cluster.inject(Fault::close_after(api).after(3));
            cluster.inject(Fault::close_before(api).after(5));
        }
        let trouble = async {
            for round in 0.. {
                cluster.received(ApiKey::END_TXN, 4 + 3 * round).await;
                let node = BrokerId(1 + (round % 3) as i32);
                cluster.move_transaction_coordinator("a", node).unwrap();
                cluster.move_coordinator("copiers", node).unwrap();
                for partition in 0..PARTITIONS {
                    cluster.move_leader("output", partition, node).unwrap();
                }
            }
        };

        let copied = async { tokio::join!(copy("a", 0), copy("b", 1)) };
        let copied = tokio::select! {
            copied = copied => copied,
            () = trouble => unreachable!("it has no end"),
        };

        assert_eq!(copied, (PER_PARTITION as u64, PER_PARTITION as u64));
        is_copied(&kafka, &cluster).await;
        for id in ["a", "b"] {
            let state = cluster.transaction(id).unwrap().state;
            assert_eq!(state, TransactionState::CompleteCommit, "the last was no abort");
        }
        let (partitions, offsets) = (
            cluster.requests(ApiKey::ADD_PARTITIONS_TO_TXN),
            cluster.requests(ApiKey::ADD_OFFSETS_TO_TXN),
        );
        let added_first = partitions > 0 && offsets > 0;
        assert_eq!(added_first, version < 2, "{partitions} {offsets}");
        assert_eq!(partitions + offsets == 0, version == 2, "{partitions} {offsets}");
    }
}

/// It subscribes, and is told of unstable offsets while the transactions of the one before it are open.
async fn a_copier_in_a_group_copies_each_record_once(kafka: Kafka) {
    for &version in versions(&kafka) {
        let cluster = with_input(&kafka, version).await;
        let copy = CopyTest {
            id: "c",
            group: "copiers",
            from: "input",
            partition: -1,
            to: "output",
            per_transaction: 100,
            options: &["--group-mode", "--use-group-metadata"],
        };
        let copied = kafka.release().message_copier(&cluster.bootstrap_servers(), copy).await;
        assert_eq!(copied.unwrap(), PER_PARTITION as u64 * PARTITIONS as u64);
        is_copied(&kafka, &cluster).await;
    }
}

async fn transactional_producer_performance(kafka: Kafka) {
    for &version in versions(&kafka) {
        let cluster = cluster(3, version).await;
        let bootstrap = cluster.bootstrap_servers();
        kafka.oracle().create_topic(&bootstrap, "perf", 3, 3, &[]).await.unwrap();
        let test = PerfTest { topic: "perf", records: 50_000, size: 100, properties: &[] };
        let id = ("perf", Duration::from_millis(50));
        kafka.release().transactional_performance(&bootstrap, test, id).await.unwrap();

        let last = cluster.transaction_is("perf", |perf| perf.partitions.is_empty()).await;
        assert_eq!(last.state, TransactionState::CompleteCommit);
        let (mut count, mut markers) = (0, 0);
        for partition in 0..3 {
            count += read(&kafka, &bootstrap, ("perf", partition), COMMITTED).await.len();
            let batches = cluster.batches("perf", partition);
            assert!(batches.iter().all(|batch| batch.transactional));
            markers += batches.iter().filter(|batch| batch.control).count();
        }
        assert_eq!(count, 50_000);
        let ends = cluster.requests(ApiKey::END_TXN);
        assert!(ends > 2 && markers > 2, "{ends} ends, {markers} markers");
        let epoch = if version == 2 { i64::from(last.producer.epoch) } else { 0 };
        assert!(epoch == 0 && version < 2 || epoch > 2, "version {version}, epoch {epoch}");
    }
}

/// Producers of the release write the same to a cluster of Kafka and to ours: logs have the same records and so many
/// markers, and the same ones are seen by who reads what is committed. Where the markers are is a matter of time.
async fn the_same_transactions_give_the_same_log_as_with_kafka(kafka: Kafka) {
    let real = kafka.shared().await;
    let (topic, ids) = (kafka.fresh("same"), [kafka.fresh("same-a"), kafka.fresh("same-b")]);
    let [a, b] = [ids[0].as_str(), ids[1].as_str()];
    let records: Vec<Record> = (0..14).map(|n| numbered((n % 2) as i32, n)).collect();
    let r = |n: usize| &records[n];
    let steps = [
        Step::Begin(a),
        Step::Send(Some(a), r(0)),
        Step::Begin(b),
        Step::Send(Some(b), r(1)),
        Step::Send(Some(a), r(2)),
        Step::Abort(a),
        Step::Send(None, r(3)),
        Step::Commit(b),
        Step::Begin(a),
        Step::Send(Some(a), r(4)),
        Step::Send(Some(a), r(5)),
        Step::Commit(a),
        // Nothing is written in these.
        Step::Begin(a),
        Step::Abort(a),
        Step::Begin(a),
        Step::Commit(a),
        Step::Begin(a),
        Step::Send(Some(a), r(6)),
        Step::Abort(a),
        Step::Begin(b),
        Step::Send(Some(b), r(7)),
        Step::Send(Some(b), r(8)),
        Step::Send(None, r(9)),
        Step::Send(Some(b), r(10)),
        Step::Commit(b),
        Step::Begin(b),
        Step::Send(Some(b), r(11)),
        // What it has open is aborted.
        Step::Close(b),
        Step::Begin(b),
        Step::Send(Some(b), r(12)),
        Step::Send(Some(b), r(13)),
        Step::Commit(b),
        Step::Close(a),
        Step::Close(b),
    ];
    let replication = real.replication();
    let mut seen: Vec<Vec<(i64, Vec<String>)>> = Vec::new();
    let kafka_itself = real.bootstrap();
    let mut clusters = Vec::new();
    for &version in versions(&kafka) {
        clusters.push(cluster(1, version).await);
    }
    let ours = clusters.iter().map(Cluster::bootstrap_servers);
    for bootstrap in std::iter::once(kafka_itself).chain(ours) {
        let oracle = kafka.oracle();
        oracle.create_topic(&bootstrap, &topic, 2, replication, &[]).await.unwrap();
        oracle.run_script(&bootstrap, &topic, &steps, &[]).await.unwrap();
        let mut of_this = Vec::new();
        for properties in [COMMITTED, UNCOMMITTED] {
            for partition in 0..2 {
                let end = stable_end(&kafka, &bootstrap, (&topic, partition)).await;
                let read = read(&kafka, &bootstrap, (&topic, partition), properties).await;
                of_this.push((end, values(&read)));
            }
        }
        seen.push(of_this);
    }
    for (ours, version) in seen.iter().skip(1).zip(versions(&kafka)) {
        assert_eq!(ours, &seen[0], "version {version}");
    }
}

/// The end of a partition, when everything before it is decided.
pub(crate) async fn stable_end(
    kafka: &Kafka,
    bootstrap: &str,
    (topic, partition): (&str, i32),
) -> i64 {
    let oracle = kafka.oracle();
    let end = async |properties| oracle.end(bootstrap, topic, partition, properties).await.unwrap();
    loop {
        let (stable, _) = end(COMMITTED).await;
        let (all, _) = end(UNCOMMITTED).await;
        if stable == all {
            return all;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn a_second_producer_fences_the_first(kafka: Kafka) {
    for &version in versions(&kafka) {
        let cluster = cluster(2, version).await;
        let bootstrap = cluster.bootstrap_servers();
        cluster.create_topic("fenced").unwrap();
        let (oracle, id) = (kafka.oracle(), kafka.fresh("zombie"));
        let records: Vec<Record> = (0..3).map(|n| numbered(0, n)).collect();
        let begun = [Step::Begin(&id), Step::Send(Some(&id), &records[0])];
        oracle.run_script(&bootstrap, "fenced", &begun, &[]).await.unwrap();
        let before = cluster.transaction(&id).unwrap();
        assert_eq!(before.state, TransactionState::Ongoing);

        // The same id in another process.
        let test = PerfTest { topic: "fenced", records: 5, size: 10, properties: &[] };
        let other = (id.as_str(), Duration::from_secs(10));
        kafka.release().transactional_performance(&bootstrap, test, other).await.unwrap();

        let after = cluster.transaction_is(&id, |now| now.partitions.is_empty()).await;
        assert!(after.producer.epoch > before.producer.epoch + 1);
        let more = [Step::Send(Some(&id), &records[1]), Step::Commit(&id)];
        let refused = oracle.run_script(&bootstrap, "fenced", &more, &[]).await.unwrap_err();
        let refused = refused.to_string();
        assert!(
            refused.contains("ProducerFenced") || refused.contains("InvalidProducerEpoch"),
            "{refused}"
        );
        let seen = read(&kafka, &bootstrap, ("fenced", 0), COMMITTED).await;
        let whole = seen.iter().filter(|stored| stored.record.value.as_ref().unwrap().len() == 10);
        assert_eq!((whole.count(), seen.len()), (5, 5), "nothing of the first");
    }
}

async fn transactions_that_take_too_long_are_aborted(kafka: Kafka) {
    for &version in versions(&kafka) {
        let cluster = cluster(1, version).await;
        let bootstrap = cluster.bootstrap_servers();
        cluster.create_topic("late").unwrap();
        let (oracle, id) = (kafka.oracle(), kafka.fresh("late"));
        let record = numbered(0, 0);
        let steps = [Step::Begin(&id), Step::Send(Some(&id), &record)];
        let short = [("transaction.timeout.ms", "400")];
        oracle.run_script(&bootstrap, "late", &steps, &short).await.unwrap();
        let is_over = |state| state == TransactionState::CompleteAbort;
        cluster.transaction_is(&id, |transaction| is_over(transaction.state)).await;
        assert_eq!(read(&kafka, &bootstrap, ("late", 0), COMMITTED).await, []);
        let refused = oracle.run_script(&bootstrap, "late", &[Step::Commit(&id)], &[]).await;
        assert!(refused.is_err(), "it was told otherwise");
    }
}
