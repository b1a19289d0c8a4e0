//! Kafka's `kafka-producer-perf-test`, on this client: the same options (of Kafka 4.1 and of 4.2, where they were
//! renamed), the same payloads, the same lines, the same exit codes. Without transactions, so far.
//!
//! ```text
//! cargo run --release --example producer_perf -- --bootstrap-server 127.0.0.1:9092 --topic perf \
//!     --num-records 5000000 --record-size 100 --throughput -1
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is what the tool is for")]

mod args;
#[path = "../shared/cli.rs"]
mod cli;
#[path = "../shared/metrics.rs"]
mod metrics;
mod payload;
mod random;
#[path = "../shared/renamed.rs"]
mod renamed;
mod stats;
mod throttle;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use milena::{
    Clock, DeliveryError, Producer, ProducerRecord, RecordMetadata, SendError, SystemClock,
};
use parking_lot::Mutex;

use args::Run;
use stats::Stats;
use throttle::Throttle;

#[tokio::main]
async fn main() -> ExitCode {
    let run = args::parse(std::env::args_os());
    cli::main("producer_perf", run, async |run| perform(*run).await).await
}

async fn perform(run: Run) -> Result<(), Box<dyn Error>> {
    let mut payload = run.payload.open()?;
    for notice in run.deprecated() {
        println!("{notice}");
    }
    let config = run.config()?;
    // As long as the last record may take.
    let patience = config.delivery_timeout() + Duration::from_secs(30);
    let producer = Producer::new(config);
    if run.warmup > 0 {
        println!(
            "Warmup first {} records. Steady state results will print after the complete test summary.",
            run.warmup
        );
    }
    let start = SystemClock.now_millis();
    // For the rest of the process: a callback then carries a plain reference, and nothing is counted per record.
    let tally: &'static Tally =
        Box::leak(Box::new(Tally::new(Stats::new(run.records, start, run.interval))));
    let mut throttle = Throttle::new(run.throughput, start);
    for index in 0..run.records {
        let value = payload.next(index);
        let began = SystemClock.now_millis();
        if run.warmup > 0 && index == run.warmup {
            tally.enter_steady_state(Stats::new(run.records - run.warmup, began, run.interval));
        }
        let bytes = value.len();
        let steady = run.warmup > 0 && index >= run.warmup;
        // The time is known here, so the producer need not ask again.
        let record = ProducerRecord::new(&run.topic, value).timestamp(began);
        let sent =
            producer.send_with(&record, move |end| tally.end(began, bytes, steady, end)).await;
        match sent {
            Ok(()) => {}
            Err(error @ (SendError::Closed | SendError::Fatal(_))) => return Err(error.into()),
            // As in Java, where these come by the callback and are not counted.
            Err(error) => eprintln!("{error}"),
        }
        if let Some(pause) = throttle.pause(index, began) {
            tokio::time::sleep(pause).await;
        }
    }
    if !run.print_metrics {
        producer.close(patience).await?;
        tally.print_totals(SystemClock.now_millis());
        return Ok(());
    }
    producer.flush().await;
    tally.print_totals(SystemClock.now_millis());
    println!("{}", metrics::block(&producer.metrics()));
    producer.close(patience).await?;
    Ok(())
}

/// What the callbacks fill, on the producer's task, and the end prints.
struct Tally {
    stats: Mutex<Both>,
}

struct Both {
    all: Stats,
    steady: Option<Stats>,
}

impl Tally {
    fn new(all: Stats) -> Self {
        Self { stats: Mutex::new(Both { all, steady: None }) }
    }

    /// From here on the second statistics tell the intervals.
    fn enter_steady_state(&self, steady: Stats) {
        let mut stats = self.stats.lock();
        stats.all.silence();
        stats.steady = Some(steady.of_steady_state());
    }

    /// What became of a record whose send began at `began`; `steady` if that was after the warm-up.
    fn end(
        &self,
        began: i64,
        bytes: usize,
        steady: bool,
        end: Result<RecordMetadata, DeliveryError>,
    ) {
        if let Err(error) = end {
            eprintln!("{error}");
            return;
        }
        let now = SystemClock.now_millis();
        let latency = u32::try_from(now - began).unwrap_or(0);
        let stats = &mut *self.stats.lock();
        let steady = stats.steady.as_mut().filter(|_| steady);
        for stats in [Some(&mut stats.all), steady].into_iter().flatten() {
            if let Some(lines) = stats.record(latency, bytes, now) {
                println!("{lines}");
            }
        }
    }

    fn print_totals(&self, now: i64) {
        let stats = &mut *self.stats.lock();
        println!("{}", stats.all.total(now));
        if let Some(steady) = &mut stats.steady {
            println!("{}", steady.total(now));
        }
    }
}
