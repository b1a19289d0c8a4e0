//! This client under a benchmark's command line, to be compared with other clients that take the same one and print the
//! same line: a producer with a handle, a callback or nothing per record, a reader, and a copy in transactions.
//!
//! ```text
//! cargo build --release --example bench_client
//! target/release/examples/bench_client produce --bootstrap 127.0.0.1:9092 --topic t --num-records 2000000 \
//!     --warmup 500000 --record-size 100 --batch-size 65536 --mode callback
//! ```
//!
//! | command | options, all as `--name value`; unknown ones are ignored |
//! |---|---|
//! | all | `--bootstrap --topic --num-records --workers` (threads of the runtime) |
//! | `produce` | `--mode fire\|callback\|future --record-size --warmup --throughput --acks --linger-ms --batch-size --compression --idempotence --in-flight --buffer-bytes --keys` |
//! | `consume` | `--partitions --partition-fetch-bytes --fetch-max-bytes` |
//! | `txn` | `--out-topic --group --txn-size`, and of `produce` those of the properties |
//!
//! What is measured: the time from the first send after the warm-up to the last acknowledgement, and the CPU time of the
//! process meanwhile; latencies from the call of `send` to the acknowledgement that the application sees. A consumer's
//! clock starts with its first records.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is what the tool is for")]

mod args;
mod consume;
mod histogram;
mod meter;
mod payload;
mod produce;
mod transact;

use std::error::Error;
use std::process::ExitCode;

use args::{Args, ConsumeArgs, ProduceArgs, TransactArgs};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let log = tracing_subscriber::fmt().with_env_filter(EnvFilter::from_default_env());
    log.with_writer(std::io::stderr).init();
    match run() {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bench_client: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<String, Box<dyn Error>> {
    let args = Args::parse(std::env::args().skip(1))?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(workers) = args.get("workers") {
        runtime.worker_threads(args::number("workers", workers)?);
    }
    let runtime = runtime.enable_all().build()?;
    // The benchmark itself runs on the main thread, outside of the workers, where it may sleep precisely.
    let result = match args.command() {
        "produce" => runtime.block_on(produce::run(&ProduceArgs::new(&args)?)),
        "consume" => runtime.block_on(consume::run(&ConsumeArgs::new(&args)?)),
        "txn" => runtime.block_on(transact::run(&TransactArgs::new(&args)?)),
        other => Err(format!("unknown command {other:?}: it is produce, consume or txn").into()),
    }?;
    Ok(result.to_string())
}
