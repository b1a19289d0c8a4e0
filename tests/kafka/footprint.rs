//! What the producer takes of the machine when it cannot do its work: hardly any time while no broker is there, and no
//! more memory than it was given while the brokers take less than is sent.

use std::collections::HashMap;
use std::sync::Arc;

use milena::net::{Connect, Transport, connect_fn};
use milena::{Producer, ProducerConfig};
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Duration, Instant, sleep};

use crate::cluster::Cluster;
use crate::ledger::{End, Ledger};
use crate::ours;
use crate::perf;
use crate::program::{self, Line, Program};
use crate::runner::Kafka;

tests![
    no_broker_at_all [since(4, 0)],
    more_than_the_brokers_take [since(4, 0)],
    ten_minutes_of_more_than_the_brokers_take [since(4, 0), long()],
];

const PATIENCE: Duration = Duration::from_secs(60);
const PARTITIONS: i32 = 3;

/// Two producers that go on being sent to while every broker is dead: one's attempts to connect are counted, and what
/// the other, a process, takes of a core is counted by the system.
async fn no_broker_at_all(kafka: Kafka) {
    const OUTAGE: Duration = Duration::from_secs(10);
    let mut cluster = kafka.trio().await;
    let bootstrap = cluster.bootstrap();
    let ids = cluster.ids();
    let topic = kafka.topic(&cluster, "no-broker", PARTITIONS as usize).await;
    let attempts = Attempts::default();
    let config = ProducerConfig::from_properties([(
        "bootstrap.servers",
        bootstrap.replace(BROKERS, BOOTSTRAP),
    )])
    .unwrap();
    let producer = Producer::builder(config).connector(attempts.connector()).build();
    let ledger = Ledger::new(&topic, 100);
    let (stop, stopped) = watch::channel(false);
    let send = async {
        while !*stopped.borrow() {
            // With keys, so that each broker has something to be sent to.
            let key = ledger.sent().to_be_bytes();
            ledger.send(&producer, Some(&key)).await.unwrap();
            sleep(Duration::from_millis(50)).await;
        }
    };
    let lose_all = async {
        let tool = start_slow_tool(&kafka, &cluster).await;
        ledger.until_ended(1, PATIENCE).await;
        for &id in &ids {
            cluster.kill(id).await.unwrap();
        }
        let (began, before) = (Instant::now(), tool.cpu());
        // That nothing can happen for so long is what the test is about.
        sleep(OUTAGE).await;
        let (took, spent) = (began.elapsed(), tool.cpu() - before);
        assert!(spent < took / 100, "{spent:?} of a core in {took:?}");
        attempts.follow_the_backoff(began, took);
        cluster.restart_all(&ids).await.unwrap();
        ledger.until_ended(ledger.sent(), PATIENCE).await;
        stop.send_replace(true);
        tool
    };
    let ((), tool) = tokio::join!(send, lose_all);

    ours::close(producer).await;
    assert!(ledger.ends().iter().all(|end| end.result.is_ok()));
    ledger.audit(kafka.oracle(), &bootstrap, PARTITIONS, End::fate).await;
    let (status, lines) = tool.ended(PATIENCE).await;
    let text = program::text(&lines);
    assert!(status.success() && perf::totals(&lines)[0] == 150.0, "{status}\n{text}");
}

/// Returns when its first record is acknowledged.
async fn start_slow_tool(kafka: &Kafka, cluster: &Cluster) -> Program {
    let topic = kafka.topic(cluster, "no-broker-tool", PARTITIONS as usize).await;
    let mut tool = Program::example(
        "producer_perf",
        &format!(
            "--topic {topic} --num-records 150 --record-size 100 --throughput 10 \
         --reporting-interval 100 --bootstrap-server {}",
            cluster.bootstrap()
        ),
    )
    .await;
    tool.until(PATIENCE, |lines| !progress(lines).is_empty()).await;
    tool
}

/// When each server was tried to be connected to. A broker and the entry of `bootstrap.servers` that led to it are two
/// servers, which another name for the same host keeps apart.
#[derive(Debug, Default, Clone)]
struct Attempts(Arc<Mutex<HashMap<Server, Vec<Instant>>>>);

/// A host and a port.
type Server = (String, u16);

const BROKERS: &str = "127.0.0.1";
const BOOTSTRAP: &str = "localhost";

/// `reconnect.backoff.ms`, `reconnect.backoff.max.ms`, and how much either way chance may take.
const BACKOFF: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(1);
const JITTER: f64 = 0.2;

impl Attempts {
    fn connector(&self) -> impl Connect + use<> {
        let attempts = self.0.clone();
        connect_fn(move |host: String, port| {
            attempts.lock().entry((host.clone(), port)).or_default().push(Instant::now());
            async move {
                let stream = TcpStream::connect((host, port)).await?;
                Ok(Box::new(stream) as Box<dyn Transport>)
            }
        })
    }

    /// Each server is tried again after the back-off and not before, from the first failure on and as long as it lasts.
    fn follow_the_backoff(&self, began: Instant, took: Duration) {
        let attempts = self.0.lock();
        let brokers = attempts.keys().filter(|(host, _)| host == BROKERS).count();
        assert_eq!(brokers, 3, "all three are tried: {attempts:?}");
        for ((host, port), tried) in attempts.iter() {
            let tried: Vec<Duration> =
                tried.iter().filter(|&&at| at > began).map(|&at| at - began).collect();
            let given_up = tried.last().is_none_or(|&last| took - last > 2 * BACKOFF_MAX);
            assert!(host != BROKERS || !given_up, "{port} was given up: {tried:?}");
            for (failed, two) in tried.windows(2).enumerate() {
                let wait = BACKOFF.saturating_mul(1 << failed.min(10)).min(BACKOFF_MAX);
                let waited = two[1] - two[0];
                assert!(
                    waited >= wait.mul_f64(1.0 - JITTER),
                    "{host}:{port}, {waited:?} in {tried:?}"
                );
            }
        }
    }
}

/// Twenty seconds, with a quota that makes the brokers slow whatever the machine.
async fn more_than_the_brokers_take(kafka: Kafka) {
    let cluster = kafka.trio().await;
    let bootstrap = cluster.bootstrap();
    kafka.oracle().limit_producers(&bootstrap, "limited", 1_000_000).await.unwrap();
    let overload = Overload { seconds: 20, size: 1000, properties: "client.id=limited" };
    overload.stays_within_its_memory(&kafka, &cluster).await;
}

/// As fast as it goes, with records so large that the brokers have more to do with them than the producer has.
async fn ten_minutes_of_more_than_the_brokers_take(kafka: Kafka) {
    let cluster = kafka.trio().await;
    let overload = Overload { seconds: 600, size: 20_000, properties: "" };
    overload.stays_within_its_memory(&kafka, &cluster).await;
}

struct Overload {
    seconds: u64,
    /// Bytes of a value.
    size: usize,
    properties: &'static str,
}

impl Overload {
    async fn stays_within_its_memory(&self, kafka: &Kafka, cluster: &Cluster) {
        const BUFFER: u64 = 32 << 20;
        const BESIDE: u64 = 32 << 20;
        let Self { seconds, size, properties } = self;
        let (oracle, bootstrap, topic) = (kafka.oracle(), cluster.bootstrap(), "overload");
        // What was written is of no use, and must not fill the disk.
        let configs = [("retention.bytes", "67108864"), ("segment.bytes", "16777216")];
        oracle.create_topic(&bootstrap, topic, 6, 3, &configs).await.unwrap();
        // Taking a value from a file is quicker than making one.
        let values = kafka.scratch("values.txt");
        std::fs::write(&values, ["x".repeat(*size), "y".repeat(*size)].join("\n")).unwrap();
        let tool = Program::example("producer_perf", &format!(
            "--topic {topic} --num-records 1000000000 --throughput -1 --reporting-interval 1000 \
             --payload-file {} --command-property buffer.memory={BUFFER} \
             bootstrap.servers={bootstrap} {properties}",
            values.display()
        ))
        .await;

        // That it goes on for so long is what the test is about.
        sleep(Duration::from_secs(*seconds)).await;
        let (peak, lines) = (tool.peak_memory(), tool.lines());
        drop(tool);

        let text = program::text(&lines);
        let mut progress = progress(&lines);
        // By the second half the buffer has long been full: what is under way is what arrives while a record is.
        let late = progress.split_off(progress.len() / 2);
        let under_way =
            late.iter().map(|[_, _, megabytes, latency, _]| megabytes * latency / 1000.0);
        let under_way = under_way.sum::<f64>() / late.len() as f64;
        assert!(under_way > 16.0, "only {under_way} MB were under way:\n{text}");
        assert!(progress.len() as u64 > seconds / 4, "it did not go on:\n{text}");
        assert!(peak <= BUFFER + BESIDE, "{peak} bytes at the most");
        eprintln!("{seconds} s of overload: {} MiB at the most", peak >> 20);
        oracle.delete_topic(&bootstrap, topic).await.unwrap();
    }
}

/// The numbers of the lines of progress: records, records/s, MB/s, average and maximum of the latency in ms.
fn progress(lines: &[Line]) -> Vec<[f64; 5]> {
    let pattern =
        "{} records sent, {} records/sec ({} MB/sec), {} ms avg latency, {} ms max latency.$";
    let found = perf::matching(lines, pattern).into_iter();
    found.map(|(_, numbers)| numbers.try_into().unwrap()).collect()
}
