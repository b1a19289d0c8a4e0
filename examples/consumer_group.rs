//! Several members of a group share the partitions of a topic, and commit what they have done.
//!
//! ```text
//! cargo run --release --example consumer_group                                  # on a cluster inside this process
//! cargo run --release --example consumer_group -- --bootstrap 127.0.0.1:9092    # on yours
//! ```
//!
//! One member leaves half-way; the others go on with its partitions where it has committed. Each record is done at least
//! once: a member commits after it has done a batch, and again when partitions are taken from it.

#![allow(clippy::print_stdout)]

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::time::Duration;

use clap::Parser;
use milena::broker::Cluster;
use milena::{
    Consumer, ConsumerConfig, ConsumerHandle, OffsetReset, Producer, ProducerConfig,
    ProducerRecord, RebalanceListener, TopicPartition,
};
use tokio::sync::{mpsc, watch};

type Failure = Box<dyn Error + Send + Sync>;

const RECORDS: usize = 600;
const TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Parser)]
#[command(about = "Consume a topic with several members of a group")]
struct Args {
    /// A broker of the cluster to use, as host:port. Default: a cluster inside this process.
    #[arg(long)]
    bootstrap: Option<String>,
    /// The topic; the cluster must have it or create it by itself.
    #[arg(long, default_value = "consumer-group")]
    topic: String,
    /// The group (group.id). One that has read the topic before reads only what is new.
    #[arg(long, default_value = "consumer-group")]
    group: String,
    /// How many members there are; at most as many as the topic has partitions.
    #[arg(long, default_value_t = 3)]
    members: usize,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let args = Args::parse();
    let (bootstrap, _cluster) = match &args.bootstrap {
        Some(bootstrap) => (bootstrap.clone(), None),
        None => {
            let cluster = Cluster::builder().nodes(3).default_partitions(6).start().await?;
            (cluster.bootstrap_servers(), Some(cluster))
        }
    };
    let (done, mut all_done) = mpsc::unbounded_channel();
    let (joined, mut all_joined) = mpsc::unbounded_channel();
    let mut members = Vec::new();
    for number in 0..args.members.max(1) {
        let (stop, stopped) = watch::channel(());
        let announcer = Announcer { number, joined: joined.clone() };
        let consumer = member(&bootstrap, &args, announcer)?;
        members.push((stop, tokio::spawn(work(consumer, done.clone(), stopped))));
    }
    drop(done);
    let mut waiting: BTreeSet<usize> = (0..members.len()).collect();
    while !waiting.is_empty() {
        let number = tokio::time::timeout(TIMEOUT, all_joined.recv()).await?;
        waiting.remove(&number.ok_or("all members have ended")?);
    }
    produce(&bootstrap, &args.topic).await?;

    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    let mut leaving = None;
    while times.len() < RECORDS {
        let value = tokio::time::timeout(TIMEOUT, all_done.recv()).await?;
        let value = value.ok_or("all members have ended")?;
        *times.entry(value).or_default() += 1;
        if leaving.is_none() && times.len() >= RECORDS / 2 && members.len() > 1 {
            println!("half-way: a member leaves");
            leaving = members.pop().map(|(stop, task)| {
                drop(stop);
                task
            });
        }
    }
    for (stop, task) in members {
        drop(stop);
        task.await??;
    }
    if let Some(task) = leaving {
        task.await??;
    }
    let again = times.values().filter(|times| **times > 1).count();
    println!("done: {} records, {again} of them more than once", times.len());
    Ok(())
}

async fn produce(bootstrap: &str, topic: &str) -> Result<(), Failure> {
    let producer = Producer::new(ProducerConfig::builder().bootstrap_servers(bootstrap).build()?);
    for number in 0..RECORDS {
        let (key, value) = (format!("customer-{}", number % 50), format!("order {number}"));
        drop(producer.send(&ProducerRecord::new(topic, &value).key(&key)).await?);
    }
    producer.flush().await;
    producer.close(TIMEOUT).await?;
    Ok(())
}

/// A member that says which partitions it has.
fn member(bootstrap: &str, args: &Args, announcer: Announcer) -> Result<Consumer, Failure> {
    let config = ConsumerConfig::builder()
        .bootstrap_servers(bootstrap)
        .group_id(&args.group)
        .client_id(format!("member-{}", announcer.number))
        .auto_offset_reset(OffsetReset::Earliest)
        .enable_auto_commit(false)
        // Members go on reading what stays with them while the group rebalances.
        .partition_assignment_strategy("cooperative-sticky")
        // So that a few polls do not read everything here.
        .max_poll_records(10)
        .build()?;
    let mut consumer = Consumer::new(config);
    consumer.subscribe_with([&args.topic], announcer)?;
    Ok(consumer)
}

/// Does records and commits them, until it is told to stop; then it leaves the group.
async fn work(
    mut consumer: Consumer,
    done: mpsc::UnboundedSender<String>,
    mut stopped: watch::Receiver<()>,
) -> Result<(), Failure> {
    loop {
        let records = tokio::select! {
            biased;
            // There is never a value: the other end is dropped.
            _ = stopped.changed() => break,
            records = consumer.poll(TIMEOUT) => records?,
        };
        for record in &records {
            let value = String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned();
            if done.send(value).is_err() {
                break;
            }
        }
        // If a rebalance overtook it, another member does them again.
        if let Err(error) = consumer.commit().await {
            println!("not committed: {error}");
        }
    }
    consumer.close(TIMEOUT).await;
    Ok(())
}

struct Announcer {
    number: usize,
    /// Told when the member gets its first partitions.
    joined: mpsc::UnboundedSender<usize>,
}

impl Announcer {
    fn say(&self, what: &str, partitions: &[TopicPartition]) {
        if !partitions.is_empty() {
            let names: Vec<_> = partitions.iter().map(ToString::to_string).collect();
            println!("member {} {what} {}", self.number, names.join(" "));
        }
    }
}

impl RebalanceListener for Announcer {
    async fn on_partitions_assigned(&mut self, _: &ConsumerHandle, partitions: &[TopicPartition]) {
        self.say("gets", partitions);
        if !partitions.is_empty() {
            // After the start nobody listens any more.
            let _ = self.joined.send(self.number);
        }
    }

    async fn on_partitions_revoked(
        &mut self,
        consumer: &ConsumerHandle,
        partitions: &[TopicPartition],
    ) {
        self.say("gives up", partitions);
        if let Err(error) = consumer.commit().await {
            println!("not committed: {error}");
        }
    }

    async fn on_partitions_lost(&mut self, _: &ConsumerHandle, partitions: &[TopicPartition]) {
        self.say("has lost", partitions);
    }
}
