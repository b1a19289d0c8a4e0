//! Commits before it processes: nothing is done twice, and what a crash interrupts is lost.
//!
//! ```text
//! cargo run --release --example at_most_once                                         # on a cluster inside this process
//! cargo run --release --example at_most_once -- --bootstrap-server 127.0.0.1:9092    # on yours
//! ```

#![allow(clippy::print_stdout)]

#[path = "shared/demo.rs"]
mod demo;
#[path = "shared/input.rs"]
mod input;
#[path = "shared/member.rs"]
mod member;

use clap::Parser;
use milena::{IsolationLevel, Producer, ProducerRecord};

use demo::{Args, Demo, Failure, TIMEOUT};

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let args = Args::parse();
    let demo = Demo::new("at-most-once", &args).await?;
    let topic = input::fill(&demo, args.records).await?;
    let producer = demo.producer()?;

    let lost = work(&demo, &topic, &producer, Some(args.records / 2)).await?;
    println!("the worker crashed: {lost} records were committed, and not processed");
    work(&demo, &topic, &producer, None).await?;
    producer.close(TIMEOUT).await?;

    let values = demo.values(&demo.output, IsolationLevel::ReadUncommitted).await?;
    if values.len() + lost != args.records || values.values().any(|times| *times != 1) {
        return Err(format!("not at most once: {values:?}").into());
    }
    println!("{} of {} came out, none of them twice", values.len(), args.records);
    Ok(())
}

/// Works until nothing is left, or crashes in the middle of the batch after so many records; how many of that are lost.
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
        consumer.commit().await?;
        for (number, order) in orders.iter().enumerate() {
            let crash = crash_after.is_some_and(|after| done >= after);
            if crash && number >= orders.len() / 2 {
                // Neither closed nor told to anybody, as in a crash.
                drop(consumer);
                return Ok(orders.len() - number);
            }
            let value = [b"invoice of ", order.value.unwrap_or_default()].concat();
            producer.send_and_wait(&ProducerRecord::new(&demo.output, &value)).await?;
            done += 1;
        }
    }
    consumer.close(TIMEOUT).await;
    Ok(0)
}
