//! Kafka's `VerifiableConsumer`, on this client: the same options, and a line of JSON for each rebalance, poll and commit,
//! so that a test outside can compare with what was written.
//!
//! ```text
//! cargo run --release --example verifiable_consumer -- --bootstrap-server 127.0.0.1:9092 --topic t --group-id g
//! ```
//!
//! Ends by itself after `--max-messages`, and on SIGINT or SIGTERM: then it prints
//! `shutdown_requested`, leaves the group and prints `shutdown_complete`. Logs go to standard error.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is what the tool is for")]

mod args;
#[path = "../shared/cli.rs"]
mod cli;
mod event;
#[path = "../shared/line.rs"]
mod line;
#[path = "../shared/signal.rs"]
mod signal;

use std::error::Error;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use milena::{
    Clock, CommitError, Consumer, ConsumerHandle, OffsetAndMetadata, RebalanceListener, Records,
    SystemClock, TopicPartition,
};

use args::Options;
use event::{Consumed, Event};

/// Records wake a poll; this only bounds it.
const POLL: Duration = Duration::from_secs(60);
/// How long the close may take, as in Java.
const CLOSE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> ExitCode {
    let options = args::parse(std::env::args_os());
    cli::main("verifiable_consumer", options, async |options| run(&options).await).await
}

async fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    if let Some(notice) = options.notice() {
        println!("{notice}");
    }
    let mut consumer = Consumer::new(options.config()?);
    let mut stopped = pin!(signal::stop_signal()?);
    print(&Event::StartupComplete);
    consumer.subscribe_with([&options.topic], Announcer)?;
    let mut left = options.count();
    while left != Some(0) {
        let polled = tokio::select! {
            biased;
            () = &mut stopped => {
                print(&Event::ShutdownRequested);
                break;
            }
            polled = consumer.poll(POLL) => polled,
        };
        let consumed = match polled {
            Ok(records) if records.is_empty() => continue,
            Ok(records) => received(&records, &mut left, options.verbose),
            // As in Java: it ends, and cleanly.
            Err(error) => {
                eprintln!("verifiable_consumer: error: {error}");
                break;
            }
        };
        if !options.enable_autocommit
            && let Err(error) = commit(&consumer, &consumed).await
        {
            eprintln!("verifiable_consumer: error: {error}");
            break;
        }
    }
    consumer.close(CLOSE).await;
    print(&Event::ShutdownComplete);
    Ok(())
}

/// Tells what was received, up to as many records as are still wanted; those are what is done.
fn received(records: &Records, left: &mut Option<u64>, verbose: bool) -> Vec<Consumed> {
    let mut all = Vec::new();
    for partition in records.partitions() {
        let wanted = left.and_then(|left| usize::try_from(left).ok()).unwrap_or(usize::MAX);
        let mut consumed: Option<Consumed> = None;
        for record in partition.iter().take(wanted) {
            if verbose {
                print(&Event::RecordData(&record));
            }
            let so_far = consumed.get_or_insert_with(|| Consumed {
                partition: partition.partition().clone(),
                count: 0,
                min_offset: record.offset,
                max_offset: record.offset,
            });
            so_far.count += 1;
            so_far.max_offset = record.offset;
        }
        if let Some(consumed) = consumed {
            *left = left.map(|left| left.saturating_sub(consumed.count));
            all.push(consumed);
        }
    }
    print(&Event::RecordsConsumed { count: records.len(), partitions: &all });
    all
}

/// Commits what was consumed, and tells what became of that. Only what ends the consumer is an error.
async fn commit(consumer: &ConsumerHandle, consumed: &[Consumed]) -> Result<(), CommitError> {
    let next = |consumed: &Consumed| (consumed.partition.clone(), consumed.max_offset + 1);
    let offsets: Vec<_> = consumed.iter().map(next).collect();
    let committing = offsets
        .iter()
        .map(|(partition, offset)| (partition.clone(), OffsetAndMetadata::new(*offset)));
    match consumer.commit_offsets(committing).await {
        Err(error @ CommitError::FencedInstanceId { .. }) => Err(error),
        result => {
            let error = result.err().map(|error| error.to_string());
            print(&Event::OffsetsCommitted { offsets: &offsets, error });
            Ok(())
        }
    }
}

/// Tells of the partitions that come and go.
struct Announcer;

impl RebalanceListener for Announcer {
    async fn on_partitions_assigned(&mut self, _: &ConsumerHandle, partitions: &[TopicPartition]) {
        print(&Event::PartitionsAssigned(partitions));
    }

    async fn on_partitions_revoked(&mut self, _: &ConsumerHandle, partitions: &[TopicPartition]) {
        print(&Event::PartitionsRevoked(partitions));
    }
}

fn print(event: &Event<'_>) {
    line::print(&event.at(SystemClock.now_millis()));
}
