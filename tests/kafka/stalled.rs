//! Brokers that stop in the middle of large records and answer nothing (SIGSTOP): who sends is told so within the
//! times that it gave, what was accepted ends within its own, and everything goes on when the brokers do.

use milena::{DeliveryErrorKind, Producer, SendError};
use tokio::time::{Duration, Instant, timeout};

use crate::cluster::Cluster;
use crate::ledger::{End, Ledger};
use crate::loads::stored;
use crate::ours;
use crate::outages::whole;
use crate::perf;
use crate::program::{self, Line, Program};
use crate::runner::Kafka;

tests![errors_in_time_and_recovery];

const PARTITIONS: i32 = 3;
const SIZE: usize = 943_718;
const BUFFER: usize = 33_554_432;
const MAX_BLOCK: Duration = Duration::from_secs(3);
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(8);
const PATIENCE: Duration = Duration::from_secs(60);

const PROPERTIES: [(&str, &str); 6] = [
    ("max.request.size", "1048576"),
    ("buffer.memory", "33554432"),
    ("linger.ms", "0"),
    ("max.block.ms", "3000"),
    ("request.timeout.ms", "2000"),
    ("delivery.timeout.ms", "8000"),
];

const BUFFER_FULL: &str = "Failed to allocate {} bytes within the configured max blocking time {} ms. \
                           Total memory: {} bytes. Available memory: {} bytes.";
const EXPIRED: &str = "Expiring {} record(s) for TOPIC-{}:{} ms has passed since batch creation";
const NO_METADATA: &str = "Topic TOPIC not present in metadata after {} ms.";

/// A producer of ours, whose every record is held against the log, and `producer_perf` beside it.
async fn errors_in_time_and_recovery(kafka: Kafka) {
    let mut cluster = kafka.trio().await;
    let bootstrap = cluster.bootstrap();
    let topic = kafka.topic(&cluster, "stalled", PARTITIONS as usize).await;
    let (producer, ledger) = (ours::producer(&bootstrap, &PROPERTIES), Ledger::new(&topic, SIZE));
    for _ in 0..6 {
        ledger.send(&producer, None).await.unwrap();
    }
    ledger.until_all_ended(PATIENCE).await;
    assert!(ledger.ends().iter().all(|end| end.result.is_ok()));
    let mut tool = Tool::start(&kafka, &cluster).await;

    for id in cluster.ids() {
        cluster.pause(id).await.unwrap();
    }
    tokio::join!(fill(&producer, &ledger, &topic), no_metadata(&bootstrap, &topic), tool.suffers(),);
    for id in cluster.ids() {
        cluster.resume(id).await.unwrap();
    }

    recovered(&producer, &ledger).await;
    whole(&kafka, &mut cluster, &topic).await;
    let before = ledger.sent();
    for _ in 0..40 {
        ledger.send(&producer, None).await.unwrap();
    }
    ledger.until_all_ended(PATIENCE).await;
    let ends = ledger.ends();
    let failed = ends.iter().find(|end| end.number >= before && end.result.is_err());
    assert!(failed.is_none(), "{failed:?}");
    ours::close(producer).await;
    ledger.audit(kafka.oracle(), &bootstrap, PARTITIONS, End::fate).await;
    tool.finishes(&kafka, &cluster).await;
    kafka.oracle().delete_topic(&bootstrap, &topic).await.unwrap();
}

/// Whether a time is what was asked for, to five in a hundred.
fn in_time(took: Duration, limit: Duration) -> bool {
    (limit..=limit.mul_f64(1.05)).contains(&took)
}

/// Sends until the buffer is full, and on until what was accepted has expired.
async fn fill(producer: &Producer, ledger: &Ledger, topic: &str) {
    let before = ledger.sent();
    let mut refusals = 0;
    while refusals < 2 {
        let start = Instant::now();
        let Err(error) = ledger.send(producer, None).await else { continue };
        let took = start.elapsed();
        assert!(in_time(took, MAX_BLOCK), "{took:?} until {error}");
        refused(&error);
        refusals += 1;
    }
    let accepted = ledger.sent() - before - refusals;
    assert!(accepted > BUFFER / SIZE / 2, "the buffer was full after {accepted} records");
    ledger.until_all_ended(2 * DELIVERY_TIMEOUT).await;
    let ends: Vec<End> = ledger.ends().into_iter().filter(|end| end.number >= before).collect();
    assert_eq!(ends.len(), accepted);
    for End { number, at, result } in ends {
        let error = result.unwrap_err();
        let elapsed = at - ledger.accepted_at(number);
        assert!(elapsed <= DELIVERY_TIMEOUT.mul_f64(1.05), "{elapsed:?} until {error}");
        assert!(in_time(error.elapsed(), DELIVERY_TIMEOUT), "{:?} in {error}", error.elapsed());
        assert!(matches!(error.kind(), DeliveryErrorKind::TimedOut { .. }), "{error}");
        let told = perf::numbers(&EXPIRED.replace("TOPIC", topic), &error.to_string());
        let told = told.unwrap_or_else(|| panic!("{error}"));
        assert_eq!(told[2] as u128, error.elapsed().as_millis(), "{error}");
        assert!(error.attempts() == 0 || error.last_error().is_some(), "{error}");
    }
}

/// The error of a full buffer, with numbers that add up.
fn refused(error: &SendError) {
    let SendError::BufferFull { needed, waited, total, available, .. } = *error else {
        panic!("{error}")
    };
    assert!((SIZE..SIZE + 200).contains(&needed), "{error}");
    assert!(waited == MAX_BLOCK && total == BUFFER && available < needed, "{error}");
    let told = perf::numbers(&format!("{BUFFER_FULL}$"), &error.to_string());
    let numbers = [needed, 3000, total, available].map(|number| number as f64);
    assert_eq!(told.as_deref(), Some(&numbers[..]), "{error}");
}

/// A producer that has seen no broker yet says so as soon as it may wait no longer.
async fn no_metadata(bootstrap: &str, topic: &str) {
    let producer = ours::producer(bootstrap, &PROPERTIES);
    let ledger = Ledger::new(topic, SIZE);
    let start = Instant::now();
    let error = ledger.send(&producer, None).await.unwrap_err();
    let took = start.elapsed();
    assert!(in_time(took, MAX_BLOCK), "{took:?} until {error}");
    let told = perf::numbers(&NO_METADATA.replace("TOPIC", topic), &error.to_string());
    assert_eq!(told.as_deref(), Some(&[3000.0][..]), "{error}");
    ours::close(producer).await;
}

/// Waits until a record is acknowledged again. What is refused or expires until then does so as before.
async fn recovered(producer: &Producer, ledger: &Ledger) {
    let recovered = timeout(PATIENCE, async {
        loop {
            let number = ledger.sent();
            let accepted = ledger.send(producer, None).await.is_ok();
            ledger.until_all_ended(2 * DELIVERY_TIMEOUT).await;
            let ends = ledger.ends();
            let end = ends.iter().find(|end| end.number == number);
            if accepted && end.is_some_and(|end| end.result.is_ok()) {
                return;
            }
        }
    });
    assert!(
        recovered.await.is_ok(),
        "nothing is acknowledged {PATIENCE:?} after the brokers went on"
    );
}

/// `producer_perf` in the same trouble.
struct Tool {
    perf: Program,
    topic: String,
}

const TOOL_RECORDS: u32 = 70;

impl Tool {
    /// Returns when its first records are acknowledged.
    async fn start(kafka: &Kafka, cluster: &Cluster) -> Self {
        let topic = kafka.topic(cluster, "stalled-tool", PARTITIONS as usize).await;
        let properties = PROPERTIES.map(|(name, value)| format!("{name}={value}")).join(" ");
        let mut perf = Program::example(
            "producer_perf",
            &format!(
                "--topic {topic} --num-records {TOOL_RECORDS} --record-size {SIZE} --throughput 20 \
             --reporting-interval 100 --command-property {properties} bootstrap.servers={}",
                cluster.bootstrap()
            ),
        )
        .await;
        let progress = |lines: &[Line]| !perf::matching(lines, "{} records sent, ").is_empty();
        perf.until(PATIENCE, progress).await;
        Self { perf, topic }
    }

    /// Until it has told of a full buffer and of expired records.
    async fn suffers(&mut self) {
        let expired = EXPIRED.replace("TOPIC", &self.topic);
        let told = |lines: &[Line]| {
            let full = perf::matching(lines, BUFFER_FULL);
            !full.is_empty() && !perf::matching(lines, &expired).is_empty()
        };
        self.perf.until(PATIENCE, told).await;
        let peak = self.perf.peak_memory();
        assert!(peak <= BUFFER as u64 + (32 << 20), "{peak} bytes");
    }

    /// It goes on to its end, and each of its records has ended in one way.
    async fn finishes(self, kafka: &Kafka, cluster: &Cluster) {
        let (status, lines) = self.perf.ended(PATIENCE).await;
        let text = program::text(&lines);
        assert!(status.success(), "{status}\n{text}");
        let full = perf::matching(&lines, &format!("{BUFFER_FULL}$"));
        for (_, numbers) in &full {
            let good = numbers[0] > SIZE as f64 && numbers[0] < SIZE as f64 + 200.0;
            assert!(good && numbers[1..3] == [3000.0, BUFFER as f64], "{text}");
            assert!(numbers[3] < numbers[0], "{text}");
        }
        let expired = perf::matching(&lines, &EXPIRED.replace("TOPIC", &self.topic));
        for (_, numbers) in &expired {
            assert!(numbers[0] == 1.0 && (8000.0..=8400.0).contains(&numbers[2]), "{text}");
        }
        let acknowledged = perf::totals(&lines)[0];
        let refused = full.len() as f64;
        let ended = acknowledged + refused + expired.len() as f64;
        assert_eq!(ended, f64::from(TOOL_RECORDS), "{text}");
        let stored = stored(kafka, cluster, &self.topic).await as f64;
        let possible = acknowledged..=f64::from(TOOL_RECORDS) - refused;
        assert!(possible.contains(&stored), "{stored} are in the log:\n{text}");
        kafka.oracle().delete_topic(&cluster.bootstrap(), &self.topic).await.unwrap();
    }
}
