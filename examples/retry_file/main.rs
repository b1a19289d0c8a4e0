//! No record is given up: what cannot be delivered is written to a retry file, and a re-send pass sends that and moves it
//! to an "ok" file.
//!
//! ```text
//! cargo run --release --example retry_file -- demo
//! cargo run --release --example retry_file -- send --bootstrap 127.0.0.1:9092 --folder spool --topic orders < values
//! cargo run --release --example retry_file -- resend --bootstrap 127.0.0.1:9092 --folder spool
//! ```
//!
//! `demo` shows it on a cluster inside this process, of which one partition refuses records for a while. `send` sends each
//! line of its input; `resend` is for when the cluster is well again, as often as it takes, and ends with 1 while anything
//! is left to be sent.
//!
//! What it gives: every record that was sent is acknowledged, or in a file, once `send` has ended. Records that are sent
//! again come *after* those that were sent meanwhile, and a record may come twice: when it may have been written at first
//! (its line says so), and when a re-send pass is cut short. What `send` has not come to the end of when its process is
//! killed has to come again from its source. The files and their format: `spool.rs` and `record.rs`.

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod deliver;
mod record;
mod spool;

use std::error::Error;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use milena::broker::{Cluster, Fault, TopicSpec};
use milena::protocol::ApiKey;
use milena::{Clock, ErrorCode, Producer, ProducerConfig, SystemClock};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use deliver::{Tally, resend, send};
use record::StoredRecord;
use spool::Spool;

/// How much longer the close may take than the last record.
const GRACE: Duration = Duration::from_secs(10);

#[derive(Parser)]
#[command(about = "Keep undeliverable records in a file, and send them again")]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show it on a cluster inside this process.
    Demo {
        /// Where the files are to be kept; else they are deleted at the end.
        #[arg(long)]
        folder: Option<PathBuf>,
    },
    /// Send each line of the input as the value of a record.
    Send {
        #[command(flatten)]
        place: Place,
        /// Where to send.
        #[arg(long)]
        topic: String,
    },
    /// Send what is in the retry file.
    Resend {
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Args)]
struct Place {
    /// A broker of the cluster, as host:port.
    #[arg(long)]
    bootstrap: String,
    /// A file of producer properties.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Where the files are.
    #[arg(long)]
    folder: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    let level = EnvFilter::builder().with_default_directive(LevelFilter::WARN.into());
    let log = tracing_subscriber::fmt().with_env_filter(level.from_env_lossy());
    log.with_writer(std::io::stderr).init();
    let ended = match Options::parse().command {
        Command::Demo { folder: Some(folder) } => demo(&folder).await,
        Command::Demo { folder: None } => {
            let folder = std::env::temp_dir().join(format!("retry-file-{}", std::process::id()));
            let ended = demo(&folder).await;
            std::fs::remove_dir_all(&folder).map_err(Into::into).and(ended)
        }
        Command::Send { place, topic } => send_input(&place, &topic).await,
        Command::Resend { place } => resend_all(&place).await,
    };
    match ended {
        Ok(code) => code,
        Err(error) => {
            eprintln!("retry_file: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn send_input(place: &Place, topic: &str) -> Result<ExitCode, Box<dyn Error>> {
    let (producer, patience) = producer(&place.bootstrap, place.config.as_deref(), &[])?;
    let mut spool = Spool::open(&place.folder)?;
    let mut problem = None;
    let lines = std::io::stdin()
        .lock()
        .split(b'\n')
        .map_while(|line| line.map_err(|error| problem = Some(error)).ok());
    let records = lines.map(|line| StoredRecord {
        topic: topic.to_owned(),
        partition: None,
        timestamp: Some(SystemClock.now_millis()),
        key: None,
        value: Some(line),
        headers: Vec::new(),
    });
    let tally = send(&producer, &mut spool, records).await?;
    println!("sent    {}", told(tally));
    producer.close(patience).await?;
    problem.map_or(Ok(ExitCode::SUCCESS), |error| Err(error.into()))
}

async fn resend_all(place: &Place) -> Result<ExitCode, Box<dyn Error>> {
    let (producer, patience) = producer(&place.bootstrap, place.config.as_deref(), &[])?;
    let mut spool = Spool::open(&place.folder)?;
    let tally = resend(&producer, &mut spool).await?;
    println!("resent  {}", told(tally));
    producer.close(patience).await?;
    Ok(if tally.retry == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn told(Tally { delivered, retry, rejected }: Tally) -> String {
    format!("{delivered} delivered, {retry} to be sent again, {rejected} rejected")
}

fn producer(
    bootstrap: &str,
    file: Option<&Path>,
    properties: &[(&str, &str)],
) -> Result<(Producer, Duration), Box<dyn Error>> {
    let mut builder = ProducerConfig::builder();
    if let Some(file) = file {
        builder = builder.properties_file(file)?;
    }
    let config = builder.properties(properties.iter().copied()).bootstrap_servers(bootstrap);
    let config = config.build()?;
    let patience = config.delivery_timeout() + GRACE;
    Ok((Producer::new(config), patience))
}

async fn demo(folder: &Path) -> Result<ExitCode, Box<dyn Error>> {
    const TOPIC: &str = "orders";
    let cluster = Cluster::builder().nodes(3).start().await?;
    cluster.create_topic(TopicSpec::new(TOPIC).partitions(3))?;
    let few_retries = [("retries", "1")];
    let (producer, patience) = producer(&cluster.bootstrap_servers(), None, &few_retries)?;
    let mut spool = Spool::open(folder)?;

    let refusal = Fault::error(ApiKey::PRODUCE, ErrorCode::NOT_ENOUGH_REPLICAS);
    cluster.inject(refusal.on_partition(TOPIC, 1).always());
    let records = orders(TOPIC, SystemClock.now_millis());
    let tally = send(&producer, &mut spool, records.iter().cloned()).await?;
    println!("partition 1 refuses   {}", told(tally));
    let waiting = std::fs::read_to_string(folder.join("retry"))?;
    println!("the retry file        {}", waiting.lines().next().unwrap_or_default());

    let tally = resend(&producer, &mut spool).await?;
    println!("it still does         {}", told(tally));

    cluster.clear_faults();
    let tally = resend(&producer, &mut spool).await?;
    println!("it is well again      {}", told(tally));
    let moved = std::fs::read_to_string(folder.join("ok"))?;
    println!("the ok file           {}", moved.lines().next().unwrap_or_default());
    producer.close(patience).await?;

    check(&cluster, TOPIC, &records)?;
    println!("the cluster           has {} records, each once and unchanged", records.len());
    Ok(ExitCode::SUCCESS)
}

/// Of every kind: with and without key, value, headers.
fn orders(topic: &str, now: i64) -> Vec<StoredRecord> {
    let order = |i: i32| StoredRecord {
        topic: topic.to_owned(),
        partition: Some(i % 3),
        timestamp: Some(now + i64::from(i)),
        key: (i % 4 != 0).then(|| format!("customer\t{i}").into_bytes()),
        value: (i % 5 != 0).then(|| vec![i as u8, 0, b'\n', 0xff]),
        headers: (0..i % 3).map(|n| ("way".to_owned(), (n == 0).then(|| vec![n as u8]))).collect(),
    };
    (0..300).map(order).collect()
}

/// That each is there once. Sending again changes the order.
fn check(cluster: &Cluster, topic: &str, sent: &[StoredRecord]) -> Result<(), Box<dyn Error>> {
    let mut stored = Vec::new();
    for partition in 0..3 {
        for record in cluster.records(topic, partition) {
            let owned = |bytes: Option<bytes::Bytes>| bytes.map(Vec::from);
            let headers = record.headers.into_iter().map(|(name, value)| (name, owned(value)));
            stored.push(StoredRecord {
                topic: topic.to_owned(),
                partition: Some(partition),
                timestamp: Some(record.timestamp),
                key: owned(record.key),
                value: owned(record.value),
                headers: headers.collect(),
            });
        }
    }
    stored.sort_by_key(|record| record.timestamp);
    if stored == sent { Ok(()) } else { Err("the cluster has other records".into()) }
}
