//! Produces in the three ways there are and reads everything back.
//!
//! ```text
//! cargo run --release --example quickstart                                  # on a cluster inside this process
//! cargo run --release --example quickstart -- --bootstrap 127.0.0.1:9092    # on yours
//! ```

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::time::Duration;

use clap::Parser;
use milena::broker::Cluster;
use milena::{
    Consumer, ConsumerConfig, Header, Producer, ProducerConfig, ProducerRecord, StartAt,
    TopicPartition,
};
use tokio::sync::mpsc;

const RECORDS: usize = 100;
const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Parser)]
#[command(about = "Produce with a future, with a callback and fire-and-forget, then read back")]
struct Args {
    /// A broker of the cluster to use, as host:port. Default: a cluster inside this process.
    #[arg(long)]
    bootstrap: Option<String>,
    /// The topic; the cluster must have it or create it by itself.
    #[arg(long, default_value = "quickstart")]
    topic: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let args = Args::parse();
    let (bootstrap, _cluster) = match args.bootstrap {
        Some(bootstrap) => (bootstrap, None),
        None => {
            let cluster = Cluster::builder().nodes(3).default_partitions(3).start().await?;
            (cluster.bootstrap_servers(), Some(cluster))
        }
    };
    println!("cluster      {bootstrap}");

    let config = ProducerConfig::builder().bootstrap_servers(&bootstrap).build()?;
    let producer = Producer::new(config);
    let partitions = producer.partitions_for(&args.topic).await?;
    println!("topic        {} with {partitions} partition(s)", args.topic);

    // Reading starts where the topic ends now, so that what other runs wrote is left out.
    let config = ConsumerConfig::builder().bootstrap_servers(&bootstrap).build()?;
    let mut reader = Consumer::new(config);
    let all: Vec<_> = (0..partitions)
        .map(|partition| TopicPartition::new(&args.topic, partition as i32))
        .collect();
    let ends = reader.end_offsets(all, TIMEOUT).await?;
    reader.assign(ends.into_iter().map(|(partition, end)| (partition, StartAt::Offset(end))))?;

    produce(&producer, &args.topic).await?;
    let read = read_back(&mut reader, RECORDS * 3).await?;
    println!("read back    {read} records");

    producer.close(TIMEOUT).await?;
    reader.close(TIMEOUT).await;
    Ok(())
}

async fn produce(producer: &Producer, topic: &str) -> Result<(), Box<dyn Error>> {
    // 1. A future for each record.
    let mut deliveries = Vec::with_capacity(RECORDS);
    for i in 0..RECORDS {
        let (key, value) = (format!("customer-{}", i % 10), format!("order {i}"));
        let record = ProducerRecord::new(topic, &value).key(&key);
        deliveries.push(producer.send(&record).await?);
    }
    let mut last = None;
    for delivery in deliveries {
        last = Some(delivery.await?);
    }
    if let Some(last) = last {
        let (partition, offset) = (last.partition(), last.offset().unwrap_or(-1));
        println!("future       {RECORDS} acknowledged; the last is {topic}-{partition}@{offset}");
    }

    // 2. A callback for each record.
    let (acknowledged, mut acknowledgements) = mpsc::unbounded_channel();
    let headers = [Header::new("way", b"callback")];
    for i in 0..RECORDS {
        let acknowledged = acknowledged.clone();
        let value = format!("callback {i}");
        let record = ProducerRecord::new(topic, &value).headers(&headers);
        let callback = move |result| drop(acknowledged.send(result));
        producer.send_with(&record, callback).await?;
    }
    drop(acknowledged);
    let mut called = 0;
    while let Some(result) = acknowledgements.recv().await {
        result?;
        called += 1;
    }
    println!("callback     {called} acknowledged");

    // 3. Fire and forget: flush waits for the end of all of them.
    for i in 0..RECORDS {
        drop(producer.send(&ProducerRecord::new(topic, &format!("forgotten {i}"))).await?);
    }
    producer.flush().await;
    println!("forget       {RECORDS} sent, and flushed");
    Ok(())
}

async fn read_back(reader: &mut Consumer, expected: usize) -> Result<usize, Box<dyn Error>> {
    let mut read = 0;
    let all = async {
        while read < expected {
            let records = reader.poll(Duration::from_secs(1)).await?;
            for record in &records {
                if read < 3 {
                    let value = String::from_utf8_lossy(record.value.unwrap_or_default());
                    let (topic, partition, offset) =
                        (record.topic, record.partition, record.offset);
                    println!("             {topic}-{partition}@{offset}: {value}");
                }
                read += 1;
            }
        }
        Ok::<_, Box<dyn Error>>(())
    };
    tokio::time::timeout(TIMEOUT, all).await??;
    Ok(read)
}
