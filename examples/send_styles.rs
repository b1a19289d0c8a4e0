//! The ways to send, and what each tells about its records: fire and forget, synchronous, asynchronous with a callback,
//! futures awaited in bulk, and `try_send` with the application's own back-pressure. Then it reads everything back and
//! ends with an error unless each record is there once, and in order.
//!
//! ```text
//! cargo run --release --example send_styles                                  # on a cluster inside this process
//! cargo run --release --example send_styles -- --bootstrap 127.0.0.1:9092    # on yours
//! ```

#![allow(clippy::print_stdout)]

use std::collections::{HashMap, VecDeque};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use milena::broker::Cluster;
use milena::{
    Consumer, ConsumerConfig, DeliveryError, Producer, ProducerConfig, ProducerRecord,
    RecordMetadata, SendError, StartAt, TopicPartition,
};
use parking_lot::Mutex;
use tokio::time::Instant;

type End = Result<RecordMetadata, DeliveryError>;

const TIMEOUT: Duration = Duration::from_secs(30);
const STYLES: [&str; 5] = ["forget", "synchronous", "callback", "bulk", "try"];

#[derive(Parser)]
#[command(about = "The ways to send a record, and what each tells about it")]
struct Args {
    /// A broker of the cluster to use, as host:port. Default: a cluster inside this process.
    #[arg(long)]
    bootstrap: Option<String>,
    /// The topic; the cluster must have it or create it by itself.
    #[arg(long, default_value = "send-styles")]
    topic: String,
    /// How many records each way sends.
    #[arg(long, default_value_t = 1000)]
    records: usize,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let args = Args::parse();
    let (bootstrap, _cluster) = match &args.bootstrap {
        Some(bootstrap) => (bootstrap.clone(), None),
        None => {
            let cluster = Cluster::builder().nodes(3).default_partitions(3).start().await?;
            (cluster.bootstrap_servers(), Some(cluster))
        }
    };
    let config = ProducerConfig::builder().bootstrap_servers(&bootstrap).build()?;
    let producer = Producer::new(config);
    let partitions = producer.partitions_for(&args.topic).await?;
    let mut reader = reader_from_here_on(&bootstrap, &args.topic, partitions).await?;

    let sending = Sending { producer, topic: &args.topic, records: args.records };
    sending.fire_and_forget().await?;
    sending.synchronously().await?;
    sending.with_callbacks().await?;
    sending.in_bulk().await?;
    sending.producer.close(TIMEOUT).await?;
    without_waiting(&bootstrap, &args).await?;

    read_back(&mut reader, args.records).await?;
    reader.close(TIMEOUT).await;
    Ok(())
}

struct Sending<'a> {
    producer: Producer,
    topic: &'a str,
    records: usize,
}

impl Sending<'_> {
    /// Nobody asks what becomes of a record. It is sent all the same, and sent again when that fails, but if it fails for
    /// good, nobody learns of it. `flush` waits for the end of all, good or bad.
    async fn fire_and_forget(&self) -> Result<(), Box<dyn Error>> {
        let clock = Instant::now();
        for i in 0..self.records {
            let value = format!("forget {i}");
            drop(self.producer.send(&ProducerRecord::new(self.topic, &value)).await?);
        }
        let accepted = clock.elapsed();
        self.producer.flush().await;
        println!(
            "fire and forget   {} accepted after {accepted:.1?}, and ended after {:.1?}",
            self.records,
            clock.elapsed()
        );
        Ok(())
    }

    /// Each record is awaited before the next is sent: simple, in order over all partitions, and slow, since a batch is
    /// one record and a round trip is spent on each. `linger.ms` is waited for as well: set it to 0 for this.
    async fn synchronously(&self) -> Result<(), Box<dyn Error>> {
        let count = self.records.min(100);
        let clock = Instant::now();
        for i in 0..count {
            let value = format!("synchronous {i}");
            let record = ProducerRecord::new(self.topic, &value);
            let metadata = self.producer.send_and_wait(&record).await?;
            if i + 1 == count {
                println!(
                    "synchronous       {count} acknowledged after {:.1?}; the last is {}",
                    clock.elapsed(),
                    place(&metadata)
                );
            }
        }
        Ok(())
    }

    /// A callback is told the end of each record, on the producer's task: it should be quick. Callbacks of a partition
    /// come in the order of its records.
    async fn with_callbacks(&self) -> Result<(), Box<dyn Error>> {
        let ends: Arc<Mutex<Vec<(usize, End)>>> = Arc::default();
        let clock = Instant::now();
        for i in 0..self.records {
            let value = format!("callback {i}");
            let ends = Arc::clone(&ends);
            let callback = move |end| ends.lock().push((i, end));
            self.producer.send_with(&ProducerRecord::new(self.topic, &value), callback).await?;
        }
        // Flush returns after the callbacks.
        self.producer.flush().await;
        let mut last = HashMap::new();
        let ends = std::mem::take(&mut *ends.lock());
        let called = ends.len();
        for (i, end) in ends {
            let metadata = end?;
            let here = (i, metadata.offset());
            if last.insert(metadata.partition(), here).is_some_and(|before| before >= here) {
                return Err(format!("{} was told out of order", place(&metadata)).into());
            }
        }
        println!("callback          {called} called in order after {:.1?}", clock.elapsed());
        if called == self.records { Ok(()) } else { Err("a callback was not called".into()) }
    }

    /// A future for each record, all awaited once all are sent: as fast as anything, and each end is known.
    async fn in_bulk(&self) -> Result<(), Box<dyn Error>> {
        let clock = Instant::now();
        let mut deliveries = Vec::with_capacity(self.records);
        for i in 0..self.records {
            let value = format!("bulk {i}");
            deliveries.push(self.producer.send(&ProducerRecord::new(self.topic, &value)).await?);
        }
        let mut of_partitions: HashMap<i32, usize> = HashMap::new();
        for delivery in deliveries {
            *of_partitions.entry(delivery.await?.partition()).or_default() += 1;
        }
        println!(
            "futures in bulk   {} acknowledged by {} partition(s) after {:.1?}",
            self.records,
            of_partitions.len(),
            clock.elapsed()
        );
        Ok(())
    }
}

/// `try_send` never waits: when `buffer.memory` is used up, it says so, and the application decides. It may drop the
/// record, keep it, push back on whoever sends it; here it waits until an earlier record has ended, and tries again.
async fn without_waiting(bootstrap: &str, args: &Args) -> Result<(), Box<dyn Error>> {
    let config = ProducerConfig::builder()
        .bootstrap_servers(bootstrap)
        // Little memory, so that it is soon used up.
        .set("buffer.memory", "32768")
        .set("batch.size", "8192")
        .build()?;
    let producer = Producer::new(config);
    // Before the first record, the metadata are not there yet, which is an error too.
    producer.partitions_for(&args.topic).await?;
    let clock = Instant::now();
    let (mut open, mut refused) = (VecDeque::new(), 0);
    for i in 0..args.records {
        let value = format!("try {i}{:>100}", "");
        let record = ProducerRecord::new(&args.topic, &value);
        loop {
            match producer.try_send(&record) {
                Ok(delivery) => break open.push_back(delivery),
                Err(full @ SendError::BufferFull { .. }) => {
                    refused += 1;
                    let earliest: Option<milena::Delivery> = open.pop_front();
                    earliest.ok_or(full)?.await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    for delivery in open {
        delivery.await?;
    }
    println!(
        "try_send          {} acknowledged after {:.1?}; refused {refused} time(s) for lack of memory",
        args.records,
        clock.elapsed()
    );
    Ok(producer.close(TIMEOUT).await?)
}

fn place(metadata: &RecordMetadata) -> String {
    let (topic, partition) = (metadata.topic(), metadata.partition());
    match metadata.offset() {
        Some(offset) => format!("{topic}-{partition}@{offset}"),
        None => format!("{topic}-{partition}"),
    }
}

/// What other runs wrote is left out.
async fn reader_from_here_on(
    bootstrap: &str,
    topic: &str,
    partitions: usize,
) -> Result<Consumer, Box<dyn Error>> {
    let mut reader = Consumer::new(ConsumerConfig::builder().bootstrap_servers(bootstrap).build()?);
    let all = (0..partitions).map(|partition| TopicPartition::new(topic, partition as i32));
    let ends = reader.end_offsets(all, TIMEOUT).await?;
    reader.assign(ends.into_iter().map(|(partition, end)| (partition, StartAt::Offset(end))))?;
    Ok(reader)
}

/// Counts the records of each way, and checks that each is there once and that a partition has them in order.
async fn read_back(reader: &mut Consumer, records: usize) -> Result<(), Box<dyn Error>> {
    let expected = STYLES.map(|style| {
        let count = if style == "synchronous" { records.min(100) } else { records };
        (style.to_owned(), count)
    });
    let mut next: HashMap<(i32, String), usize> = HashMap::new();
    let mut counts: HashMap<String, usize> = HashMap::new();
    let mut missing: usize = expected.iter().map(|(_, count)| count).sum();
    while missing > 0 {
        let polled = reader.poll(TIMEOUT).await?;
        if polled.is_empty() {
            return Err(format!("{missing} record(s) are not there").into());
        }
        for record in &polled {
            let text = String::from_utf8_lossy(record.value.unwrap_or_default());
            let words: Vec<&str> = text.split_whitespace().collect();
            let [style, number] = words[..] else { return Err(format!("{text:?}?").into()) };
            let number: usize = number.parse()?;
            let next = next.entry((record.partition, style.to_owned())).or_default();
            if number < *next {
                return Err(format!("{style} {number} is there twice, or out of order").into());
            }
            *next = number + 1;
            *counts.entry(style.to_owned()).or_default() += 1;
            missing -= 1;
        }
    }
    let read = counts.values().sum::<usize>();
    if counts != HashMap::from(expected) {
        return Err(format!("read back {counts:?}").into());
    }
    println!("read back         {read} records, each once and in order");
    Ok(())
}
