//! Commits after it has processed: nothing is lost, and what a crash interrupts is done again.
//!
//! ```text
//! cargo run --release --example at_least_once                                         # on a cluster inside this process
//! cargo run --release --example at_least_once -- --bootstrap-server 127.0.0.1:9092    # on yours
//! ```

#![allow(clippy::print_stdout)]

#[path = "shared/demo.rs"]
mod demo;
#[path = "shared/input.rs"]
mod input;
#[path = "shared/member.rs"]
mod member;

use clap::Parser;
use futures_util::future::try_join_all;
use milena::{IsolationLevel, Producer, ProducerRecord};

use demo::{Args, Demo, Failure, TIMEOUT};

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let args = Args::parse();
    let demo = Demo::new("at-least-once", &args).await?;
    let topic = input::fill(&demo, args.records).await?;
    let producer = demo.producer()?;

    let again = work(&demo, &topic, &producer, Some(args.records / 2)).await?;
    println!("the worker crashed: {again} records were processed, and not committed");
    work(&demo, &topic, &producer, None).await?;
    producer.close(TIMEOUT).await?;

    let values = demo.values(&demo.output, IsolationLevel::ReadUncommitted).await?;
    let twice = values.values().filter(|times| **times == 2).count();
    if values.len() != args.records || values.values().sum::<usize>() != args.records + again {
        return Err(format!("not at least once: {values:?}").into());
    }
    println!("{} of {} came out, {twice} of them twice", values.len(), args.records);
    Ok(())
}

/// Works until nothing is left, or crashes before the commit after so many records; how many are then done and not committed.
async fn work(
    demo: &Demo,
    topic: &str,
    producer: &Producer,
    crash_after: Option<usize>,
) -> Result<usize, Failure> {
    let mut consumer = member::member(demo, topic)?;
    let ends = member::ends(&consumer, producer, topic).await?;
    let mut done = 0;
    while member::is_behind(&consumer, &ends) {
        let orders = consumer.poll(member::POLL).await?;
        let mut deliveries = Vec::with_capacity(orders.len());
        for order in &orders {
            let value = [b"invoice of ", order.value.unwrap_or_default()].concat();
            deliveries.push(producer.send(&ProducerRecord::new(&demo.output, &value)).await?);
        }
        // All of them are written before anybody hears that they are done.
        try_join_all(deliveries).await?;
        done += orders.len();
        if crash_after.is_some_and(|after| done >= after) {
            // Neither closed nor told to anybody, as in a crash.
            drop(consumer);
            return Ok(orders.len());
        }
        consumer.commit().await?;
    }
    consumer.close(TIMEOUT).await;
    Ok(0)
}
