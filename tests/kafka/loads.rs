//! The loads and the configuration of the practitioners' accounts, through `producer_perf` and against a cluster of
//! three: everything arrives, and the tool prints what Kafka's prints.

use milena::{Producer, ProducerConfig};
use tokio::time::Duration;

use crate::cluster::Cluster;
use crate::ledger::{End, Ledger};
use crate::ours;
use crate::perf;
use crate::program::{self, Line, Program};
use crate::runner::Kafka;

tests![
    the_loads_of_the_accounts,
    the_configuration_of_the_account,
    the_full_loads_of_the_accounts[long()],
];

/// For a machine that has other things to do: a full load takes seconds, and up to a minute when it is throttled.
const LIMIT: Duration = Duration::from_secs(300);
const PARTITIONS: i32 = 3;

/// The full loads are below; fewer records show the same sooner.
async fn the_loads_of_the_accounts(kafka: Kafka) {
    let cluster = kafka.trio().await;
    let small = Load { records: 40, size: 1024, throughput: 10 };
    let medium = Load { records: 30, size: 4096, throughput: 10 };
    tokio::join!(small.arrives(&kafka, &cluster), medium.arrives(&kafka, &cluster));
    Load { records: 100_000, size: 1024, throughput: -1 }.arrives(&kafka, &cluster).await;
    Load { records: 500, size: 943_718, throughput: -1 }.arrives(&kafka, &cluster).await;
}

/// As they stand in the accounts. What the tool prints of each is printed.
async fn the_full_loads_of_the_accounts(kafka: Kafka) {
    let cluster = kafka.trio().await;
    for load in [
        Load { records: 500, size: 1024, throughput: 10 },
        Load { records: 300, size: 4096, throughput: 10 },
        Load { records: 1_000_000, size: 1024, throughput: -1 },
        Load { records: 500, size: 943_718, throughput: -1 },
    ] {
        eprintln!("{load:?}");
        eprint!("{}", program::text(&load.arrives(&kafka, &cluster).await));
    }
}

#[derive(Debug)]
struct Load {
    records: u32,
    /// Bytes of a value.
    size: u32,
    /// Records per second; -1 for as many as can be.
    throughput: i32,
}

impl Load {
    /// Each record is acknowledged and in the log, and the lines say so. Gives them.
    async fn arrives(&self, kafka: &Kafka, cluster: &Cluster) -> Vec<Line> {
        let Self { records, size, throughput } = *self;
        let topic = kafka.topic(cluster, &format!("load-{size}"), PARTITIONS as usize).await;
        let bootstrap = cluster.bootstrap();
        let arguments = format!(
            "--topic {topic} --num-records {records} --record-size {size} --throughput {throughput} \
             --command-property bootstrap.servers={bootstrap} max.request.size=1048576"
        );

        let lines = Program::example("producer_perf", &arguments).await.succeeded(LIMIT).await;

        let totals = perf::totals(&lines);
        assert_eq!(totals[0], f64::from(records), "{}", program::text(&lines));
        only_tells_progress(&lines);
        let (per_second, megabytes) = (totals[1], totals[2]);
        let expected = per_second * f64::from(size) / f64::from(1024 * 1024);
        assert!((megabytes - expected).abs() <= 0.01, "{megabytes} MB/sec, not {expected}");
        if throughput > 0 {
            // The first one need not wait, and the end takes a moment.
            let records = f64::from(records);
            let fastest = f64::from(throughput) * records / (records - 1.0) * 1.05;
            let slowest = f64::from(throughput) * 0.8;
            assert!((slowest..=fastest).contains(&per_second), "{per_second} a second");
        }
        assert_eq!(stored(kafka, cluster, &topic).await, u64::from(records));
        kafka.oracle().delete_topic(&bootstrap, &topic).await.unwrap();
        lines
    }
}

/// Nothing but lines of progress and of totals: no error, no warning.
fn only_tells_progress(lines: &[Line]) {
    let good =
        |line: &&Line| perf::numbers("{} records sent, {} records/sec (", &line.text).is_some();
    let other = lines.iter().find(|line| !good(line));
    assert!(other.is_none(), "{other:?} in\n{}", program::text(lines));
}

/// How many records a topic has, as the headers of the batches on its leaders' disks say.
pub(crate) async fn stored(kafka: &Kafka, cluster: &Cluster, topic: &str) -> u64 {
    let partitions = kafka.oracle().describe_topic(&cluster.bootstrap(), topic).await.unwrap();
    let mut count = 0;
    for partition in partitions {
        let batches = cluster.stored_batches(partition.leader, topic, partition.partition).unwrap();
        count += batches.iter().map(|batch| u64::try_from(batch.count).unwrap()).sum::<u64>();
    }
    count
}

const PRODUCTION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka/production.properties");
const WARNING: &str = "unknown property `min.insync.replicas`";

/// The file of the account says nothing of the cluster; all else is left as it is.
async fn the_configuration_of_the_account(kafka: Kafka) {
    let cluster = kafka.trio().await;
    let bootstrap = cluster.bootstrap();
    let topic = kafka.topic(&cluster, "production", PARTITIONS as usize).await;
    let arguments = format!(
        "--producer.config {PRODUCTION} --producer-props bootstrap.servers={bootstrap} \
         --topic {topic} --num-records 5000 --record-size 1024 --throughput 2500"
    );

    let lines = Program::example("producer_perf", &arguments).await.succeeded(LIMIT).await;

    assert_eq!(perf::totals(&lines)[0], 5000.0, "{}", program::text(&lines));
    let (warnings, rest): (Vec<Line>, Vec<Line>) =
        lines.into_iter().partition(|line| line.text.contains("WARN"));
    let text = program::text(&warnings);
    assert!(warnings.len() == 1 && text.contains(WARNING), "one warning is wanted:\n{text}");
    let (notices, rest): (Vec<Line>, Vec<Line>) =
        rest.into_iter().partition(|line| line.text.contains("has been deprecated"));
    assert_eq!(notices.len(), 2, "of both options' old names:\n{}", program::text(&notices));
    only_tells_progress(&rest);
    assert_eq!(stored(&kafka, &cluster, &topic).await, 5000);

    let config = ProducerConfig::builder().properties_file(PRODUCTION).unwrap();
    let config = config.set("bootstrap.servers", &bootstrap).build().unwrap();
    assert_eq!(config.unknown_properties(), ["min.insync.replicas"]);
    assert!(config.ignored_properties().is_empty(), "{:?}", config.ignored_properties());
    let topic = kafka.topic(&cluster, "production-code", PARTITIONS as usize).await;
    let (producer, ledger) = (Producer::new(config), Ledger::new(&topic, 1024));
    for number in 0_usize..1000 {
        ledger.send(&producer, Some(&number.to_be_bytes())).await.unwrap();
    }
    ours::close(producer).await;
    assert!(ledger.ends().iter().all(|end| end.result.is_ok()));
    ledger.audit(kafka.oracle(), &bootstrap, PARTITIONS, End::fate).await;
    let batches = cluster.stored_batches(1, &topic, 0).unwrap();
    assert!(batches.iter().all(|batch| batch.codec() == "gzip" && batch.producer_id >= 0));
}
