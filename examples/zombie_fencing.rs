//! Two producers with one `transactional.id`: the older one, which may only seem to be dead, cannot write any more as soon
//! as the newer one has begun.
//!
//! ```text
//! cargo run --release --example zombie_fencing                                         # on a cluster inside this process
//! cargo run --release --example zombie_fencing -- --bootstrap-server 127.0.0.1:9092    # on yours
//! ```

#![allow(clippy::print_stdout)]

#[path = "shared/demo.rs"]
mod demo;

use clap::Parser;
use milena::{
    IsolationLevel, ProducerConfig, ProducerRecord, TransactionError, TransactionalProducer,
};

use demo::{Args, Demo, Failure, TIMEOUT};

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let args = Args::parse();
    let demo = Demo::new("zombie-fencing", &args).await?;
    let (older_value, newer_value) = ("from the older one", "from the newer one");

    let mut older = producer(&demo).await?;
    let transaction = older.begin().await?;
    let record = ProducerRecord::new(&demo.output, older_value);
    transaction.send(&record).await?.await?;
    println!("the older producer has written a record, and pauses");

    // Initialising it aborts what the other one has open, and gives out a newer epoch.
    let mut newer = producer(&demo).await?;
    println!("a newer producer with the same transactional.id has begun");

    match transaction.commit().await {
        Err(TransactionError::Fatal(error)) => println!("the older one is fenced: {error}"),
        other => return Err(format!("the older one is not fenced: {other:?}").into()),
    }
    match older.begin().await {
        Err(error) if error.is_fatal() => println!("and stays so: {error}"),
        other => return Err(format!("the older one goes on: {other:?}").into()),
    }

    let transaction = newer.begin().await?;
    let record = ProducerRecord::new(&demo.output, newer_value);
    drop(transaction.send(&record).await?);
    transaction.commit().await?;
    newer.close(TIMEOUT).await?;

    let seen = demo.values(&demo.output, IsolationLevel::ReadCommitted).await?;
    let seen: Vec<_> = seen.into_iter().collect();
    println!("read_committed: {seen:?}");
    if seen != [(newer_value.to_owned(), 1)] {
        return Err("a record of the zombie is visible".into());
    }
    Ok(())
}

async fn producer(demo: &Demo) -> Result<TransactionalProducer, Failure> {
    let config = ProducerConfig::builder()
        .bootstrap_servers(&demo.servers)
        .transactional_id(format!("{}-0", demo.group))
        .build_transactional()?;
    Ok(TransactionalProducer::new(config).await?)
}
