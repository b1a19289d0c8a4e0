//! Kafka's `TransactionalMessageCopier`, on this client: the same options, and a line of JSON for each turn of its loop.
//! It copies a partition, or its share of a topic, in transactions that carry the offsets as well.
//!
//! ```text
//! cargo run --release --example transactional_message_copier -- --broker-list 127.0.0.1:9092 --transactional-id copier-0 \
//!     --consumer-group copiers --input-topic in --input-partition 0 --output-topic out
//! ```
//!
//! Ends by itself when all is copied that was there when it began, or when it got its partitions, with `remaining` 0. On
//! SIGINT or SIGTERM it aborts the transaction that is open. In both cases it prints a line with the stage
//! `ShutdownComplete`, and exits with 0; with 1 if something went wrong for good, such as another copier with its
//! `transactional.id`. Logs go to standard error.

mod args;
#[path = "../shared/cli.rs"]
mod cli;
mod copy;
#[path = "../consumer_perf/date.rs"]
mod date;
#[path = "../shared/signal.rs"]
mod signal;
mod status;

use std::error::Error;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use milena::{Consumer, TransactionalProducer};

use args::Options;
use status::{Stage, Status};

/// How long each close may take, as in Java.
const CLOSE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> ExitCode {
    let options = args::parse(std::env::args_os());
    cli::main("transactional_message_copier", options, async |options| run(&options).await).await
}

async fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let status = Arc::new(Status::new(&options.transactional_id, options.limit())?);
    let mut stopped = pin!(signal::stop_signal()?);
    // First: what an earlier copier has left open ends with it, and only then is it known where that one came to.
    let mut producer = tokio::select! {
        biased;
        () = &mut stopped => return Ok(()),
        producer = TransactionalProducer::new(options.producer()?) => producer?,
    };
    let mut consumer = Consumer::new(options.consumer()?);
    let copying = async {
        copy::begin(options, &mut consumer, &status).await?;
        copy::copy(options, &mut consumer, &mut producer, &status).await
    };
    let copied = tokio::select! {
        biased;
        () = &mut stopped => Ok(()),
        copied = copying => copied,
    };
    if let Err(error) = producer.close(CLOSE).await {
        tracing::warn!(%error);
    }
    consumer.close(CLOSE).await;
    status.print(Stage::ShutdownComplete);
    copied
}
