//! Reads, processes and writes exactly once: the worker is killed in the middle of a transaction, another one takes its
//! place, and each input has come out once.
//!
//! ```text
//! cargo run --release --example exactly_once                                         # on a cluster inside this process
//! cargo run --release --example exactly_once -- --bootstrap-server 127.0.0.1:9092    # on yours
//! ```

#![allow(clippy::print_stdout)]

#[path = "shared/demo.rs"]
mod demo;
#[path = "shared/input.rs"]
mod input;

use std::future::pending;

use clap::Parser;
use milena::{
    ConsumerConfig, ExactlyOnce, IsolationLevel, OffsetReset, ProducerConfig, ProducerRecord,
    Records, SendError, Transaction,
};
use tokio::sync::mpsc;

use demo::{Args, Demo, Failure, TIMEOUT};

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let args = Args::parse();
    let demo = Demo::new("exactly-once", &args).await?;
    let topic = input::fill(&demo, args.records).await?;
    let wanted = args.records as u64;

    let first = worker(&demo, &topic).await?;
    let progress = first.progress();
    let (stuck, mut is_stuck) = mpsc::channel(1);
    let task = tokio::spawn(work_and_get_stuck(first, demo.output.clone(), wanted / 2, stuck));
    tokio::time::timeout(TIMEOUT, is_stuck.recv()).await?.ok_or("the first worker has ended")?;
    task.abort();
    let done = progress.get().records;
    println!("killed the worker in the middle of a transaction, after {done} records");

    let mut second = worker(&demo, &topic).await?;
    let progress = second.progress();
    let stop = async {
        while progress.get().records < wanted - done {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let process = async |orders: &Records, transaction: &Transaction<'_>| {
        invoice(orders, transaction, &demo.output).await
    };
    second.run_until(stop, process).await?;
    second.close(TIMEOUT).await?;
    println!("another worker did the other {}", progress.get().records);

    let uncommitted = demo.values(&demo.output, IsolationLevel::ReadUncommitted).await?;
    let committed = demo.values(&demo.output, IsolationLevel::ReadCommitted).await?;
    let written: usize = uncommitted.values().sum();
    println!("read_uncommitted: {written} records, what was aborted among them");
    if committed.len() != args.records || committed.values().any(|times| *times != 1) {
        return Err(format!("not exactly once: {committed:?}").into());
    }
    println!("read_committed: {} records, each once", committed.len());
    Ok(())
}

async fn worker(demo: &Demo, topic: &str) -> Result<ExactlyOnce, Failure> {
    let consumer = ConsumerConfig::builder()
        .bootstrap_servers(&demo.servers)
        .group_id(&demo.group)
        // Whoever comes back under this name takes its place in the group at once, not when its session has ended.
        .set("group.instance.id", "worker-0")
        .enable_auto_commit(false)
        .isolation_level(IsolationLevel::ReadCommitted)
        .auto_offset_reset(OffsetReset::Earliest)
        // So that a few polls do not read everything here.
        .max_poll_records(10)
        .build()?;
    // The same name again ends what the one before had open, and fences it.
    let producer = ProducerConfig::builder()
        .bootstrap_servers(&demo.servers)
        .transactional_id(format!("{}-0", demo.group))
        .build_transactional()?;
    Ok(ExactlyOnce::builder(consumer, producer).topics([topic]).start().await?)
}

/// What is done with each batch.
async fn invoice(
    orders: &Records,
    transaction: &Transaction<'_>,
    output: &str,
) -> Result<(), SendError> {
    for order in orders {
        let value = [b"invoice of ", order.value.unwrap_or_default()].concat();
        // The commit waits for the delivery.
        drop(transaction.send(&ProducerRecord::new(output, &value)).await?);
    }
    Ok(())
}

/// Works until about so many records are done; then it hangs with a transaction open.
async fn work_and_get_stuck(
    mut worker: ExactlyOnce,
    output: String,
    records: u64,
    stuck: mpsc::Sender<()>,
) -> Result<(), String> {
    let progress = worker.progress();
    let run = worker.run(async move |orders: &Records, transaction: &Transaction<'_>| {
        invoice(orders, transaction, &output).await?;
        if progress.get().records >= records {
            // Written, and not committed.
            transaction.flush().await;
            // Nobody listens any more once it is killed.
            let _ = stuck.send(()).await;
            pending::<()>().await;
        }
        Ok::<_, SendError>(())
    });
    run.await.map_err(|error| error.to_string())
}
