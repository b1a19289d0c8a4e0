//! The in-memory cluster as a process of its own, for any Kafka client.
//!
//! ```text
//! cargo run --release --example local_broker -- --port 9092 --nodes 3 --partitions 6
//! ```
//!
//! Prints one line with the addresses when it is ready and runs until Ctrl-C. Topics come into being when a client
//! asks for them. Everything is in memory and is gone at the end; `--retention-bytes` bounds it.

use std::error::Error;

use clap::Parser;
use milena::broker::Cluster;

#[derive(Parser)]
#[command(about = "An in-memory Kafka cluster on 127.0.0.1")]
struct Args {
    /// The port of the first node; the others follow. 0 lets the system choose all of them.
    #[arg(long, default_value_t = 9092)]
    port: u16,
    /// How many nodes.
    #[arg(long, default_value_t = 1)]
    nodes: u16,
    /// Partitions of a topic that does not say how many.
    #[arg(long, default_value_t = 1)]
    partitions: usize,
    /// Bytes kept of each partition; older records are dropped. Default: all.
    #[arg(long)]
    retention_bytes: Option<u64>,
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the line with the addresses is what this prints")]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let args = Args::parse();
    let port = |node: u16| match args.port {
        0 => Ok(0),
        first => first.checked_add(node).ok_or("the ports of the nodes go beyond 65535"),
    };
    let ports = (0..args.nodes).map(port).collect::<Result<Vec<u16>, _>>()?;
    let mut builder = Cluster::builder()
        .nodes(args.nodes.into())
        .ports(ports)
        .default_partitions(args.partitions);
    if let Some(bytes) = args.retention_bytes {
        builder = builder.topic_config("retention.bytes", bytes.to_string());
    }
    let cluster = builder.start().await?;
    println!("bootstrap.servers={}", cluster.bootstrap_servers());
    tokio::signal::ctrl_c().await?;
    Ok(())
}
