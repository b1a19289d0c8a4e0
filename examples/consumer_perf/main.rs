//! Kafka's `kafka-consumer-perf-test`, on this client: the same options (of Kafka 4.1 and of 4.2, where some were
//! renamed), the same lines, the same exit codes. Times are in UTC.
//!
//! ```text
//! cargo run --release --example consumer_perf -- --bootstrap-server 127.0.0.1:9092 --topic perf --num-records 5000000
//! ```

#![allow(clippy::print_stdout, reason = "it is what the tool is for")]

mod args;
#[path = "../shared/cli.rs"]
mod cli;
mod date;
#[path = "../shared/metrics.rs"]
mod metrics;
#[path = "../shared/renamed.rs"]
mod renamed;
mod stats;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use milena::{Clock, Consumer, SubscriptionPattern, SystemClock};

use args::{Run, Source};
use stats::{Joins, Progress};

const POLL: Duration = Duration::from_millis(100);
const CLOSE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> ExitCode {
    let run = args::parse(std::env::args_os());
    cli::main("consumer_perf", run, async |run| perform(&run).await).await
}

async fn perform(run: &Run) -> Result<(), Box<dyn Error>> {
    for notice in run.deprecated() {
        println!("{notice}");
    }
    let config = run.config()?;
    if run.header {
        println!("{}", stats::header(run.detailed));
    }
    let mut consumer = Consumer::new(config);
    let start = SystemClock.now_millis();
    let joins = Joins::new(start);
    match &run.source {
        Source::Topic(topic) => consumer.subscribe_with([topic], joins.clone())?,
        Source::Pattern(pattern) => {
            consumer.subscribe_pattern(&SubscriptionPattern::new(pattern)?, joins.clone())?;
        }
    }
    let end = consume(&mut consumer, run, &joins, start).await?;
    if end.records < run.records {
        println!(
            "WARNING: Exiting before consuming the expected number of records: timeout ({} ms) exceeded. You can use the \
             --timeout option to increase the timeout.",
            run.timeout
        );
    }
    // As in Java, of before the close.
    let metrics = run.print_metrics.then(|| consumer.metrics());
    consumer.close(CLOSE).await;
    if !run.detailed {
        println!("{}", stats::total(start, end, joins.total(), &run.dates));
    }
    if let Some(metrics) = metrics {
        println!("{}", metrics::block(&metrics));
    }
    Ok(())
}

/// Consumes as many records as are wanted, or until none have come for too long.
async fn consume(
    consumer: &mut Consumer,
    run: &Run,
    joins: &Joins,
    start: i64,
) -> Result<Progress, Box<dyn Error>> {
    let mut now = Progress { at: start, bytes: 0, records: 0 };
    let (mut reported, mut consumed_at) = (now, start);
    while now.records < run.records && now.at - consumed_at <= i64::from(run.timeout) {
        let records = consumer.poll(POLL).await?;
        now.at = SystemClock.now_millis();
        if !records.is_empty() {
            consumed_at = now.at;
        }
        for record in &records {
            let length = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len) as u64;
            now.bytes += length(record.key) + length(record.value);
        }
        now.records += records.len() as u64;
        if now.at - reported.at >= i64::from(run.interval) && !records.is_empty() {
            let rebalance = joins.take_interval();
            if run.detailed {
                println!("{}", stats::interval(reported, now, rebalance, &run.dates));
            }
            reported = now;
        }
    }
    now.at = SystemClock.now_millis();
    Ok(now)
}
