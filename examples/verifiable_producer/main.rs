//! Kafka's `VerifiableProducer`, on this client: the same options, and a line of JSON for each record that says what
//! became of it, so that a test outside can compare with what was read.
//!
//! ```text
//! cargo run --release --example verifiable_producer -- --bootstrap-server 127.0.0.1:9092 --topic t --max-messages 1000
//! ```
//!
//! Ends by itself after `--max-messages`, and on SIGINT or SIGTERM: then it sends no more, waits until every record that
//! was accepted has ended, and prints `shutdown_complete` and `tool_data`. Logs go to standard error.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is what the tool is for")]

mod args;
#[path = "../shared/cli.rs"]
mod cli;
mod event;
mod exception;
#[path = "../shared/line.rs"]
mod line;
#[path = "../shared/signal.rs"]
mod signal;
#[path = "../producer_perf/throttle.rs"]
mod throttle;

use std::error::Error;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use milena::{
    Clock, DeliveryError, Producer, ProducerRecord, RecordMetadata, SendError, SystemClock,
};

use args::Options;
use event::{Event, Sent};
use signal::stop_signal;
use throttle::Throttle;

/// How much longer the close may take than the last record.
const GRACE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> ExitCode {
    let options = args::parse(std::env::args_os());
    cli::main("verifiable_producer", options, async |options| run(&options).await).await
}

async fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    if let Some(notice) = options.notice() {
        println!("{notice}");
    }
    let config = options.config()?;
    // As long as the last record may take.
    let patience = config.delivery_timeout() + GRACE;
    let producer = Producer::new(config);
    let start = SystemClock.now_millis();
    // For the rest of the process: a callback then carries a plain reference.
    let acked: &'static AtomicU64 = Box::leak(Box::default());
    let mut stopped = pin!(stop_signal()?);

    print(&Event::StartupComplete);
    let mut throttle = Throttle::new(options.throughput as f64, start);
    let mut content = Content::new(options);
    let mut sent = 0;
    while options.count().is_none_or(|count| sent < count) {
        let began = SystemClock.now_millis();
        let this = content.next(sent);
        let create_time = content.create_time(began - start);
        sent += 1;
        let accepted = tokio::select! {
            biased;
            () = &mut stopped => Err(Unsent::Stopped),
            accepted = send(&producer, &options.topic, &this, create_time, acked) => accepted,
        };
        if let Err(unsent) = accepted {
            let stop = matches!(unsent, Unsent::Stopped);
            print_error(&this, &options.topic, &unsent.exception(), &unsent.to_string());
            if stop {
                break;
            }
        }
        // Kafka's tool looks at the rate after each record, with the number of those before it.
        let before = sent - 1;
        let pause = match options.throughput {
            // Nothing more may be sent, ever.
            0 if before > 0 => Some(Duration::MAX),
            0 => None,
            _ => throttle.pause(before, began),
        };
        if let Some(pause) = pause {
            tokio::select! {
                biased;
                () = &mut stopped => break,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
    producer.close(patience).await?;
    print(&Event::ShutdownComplete);
    let acked = acked.load(Ordering::Relaxed);
    let elapsed = (SystemClock.now_millis() - start).max(1);
    let avg_throughput = 1000.0 * acked as f64 / elapsed as f64;
    let target_throughput = options.throughput;
    print(&Event::ToolData { sent, acked, target_throughput, avg_throughput });
    Ok(())
}

/// Why a record was not accepted.
#[derive(Debug, thiserror::Error)]
enum Unsent {
    #[error(transparent)]
    Refused(#[from] SendError),
    /// The words of Java's client.
    #[error("Producer closed while send in progress")]
    Stopped,
}

impl Unsent {
    fn exception(&self) -> String {
        match self {
            Self::Refused(error) => exception::of_send(error),
            Self::Stopped => exception::general(),
        }
    }
}

async fn send(
    producer: &Producer,
    topic: &str,
    this: &Sent,
    create_time: Option<i64>,
    acked: &'static AtomicU64,
) -> Result<(), Unsent> {
    let mut record = ProducerRecord::new(topic, &this.value);
    if let Some(key) = &this.key {
        record = record.key(key);
    }
    if let Some(create_time) = create_time {
        record = record.timestamp(create_time);
    }
    let (this, topic) = (this.clone(), topic.to_owned());
    let callback = move |end| ended(&this, &topic, end, acked);
    Ok(producer.send_with(&record, callback).await?)
}

fn ended(
    sent: &Sent,
    topic: &str,
    end: Result<RecordMetadata, DeliveryError>,
    acked: &'static AtomicU64,
) {
    match end {
        Ok(metadata) => {
            acked.fetch_add(1, Ordering::Relaxed);
            let (topic, partition) = (metadata.topic(), metadata.partition());
            let offset = metadata.offset().unwrap_or(-1);
            print(&Event::SendSuccess { sent, topic, partition, offset });
        }
        Err(error) => {
            print_error(sent, topic, &exception::of_delivery(&error), &error.to_string());
        }
    }
}

fn print_error(sent: &Sent, topic: &str, exception: &str, message: &str) {
    print(&Event::SendError { sent, topic, exception, message });
}

fn print(event: &Event<'_>) {
    line::print(&event.at(SystemClock.now_millis()));
}

/// What is in the records, one after the other.
#[derive(Debug)]
struct Content {
    prefix: Option<i32>,
    keys: Option<i32>,
    next_key: i32,
    create_time: Option<i64>,
}

impl Content {
    fn new(options: &Options) -> Self {
        Self {
            prefix: options.value_prefix,
            keys: options.repeating_keys,
            next_key: 0,
            create_time: options.create_time(),
        }
    }

    fn next(&mut self, number: u64) -> Sent {
        let value = match self.prefix {
            Some(prefix) => format!("{prefix}.{number}"),
            None => number.to_string(),
        };
        let key = self.keys.map(|keys| {
            let key = self.next_key;
            self.next_key = key.wrapping_add(1);
            if self.next_key == keys {
                self.next_key = 0;
            }
            key.to_string()
        });
        Sent { key, value }
    }

    /// The timestamp of a record that is sent so many milliseconds after the start. That time is added for each record,
    /// as Kafka's tool does, so that timestamps grow ever faster.
    fn create_time(&mut self, elapsed: i64) -> Option<i64> {
        let this = self.create_time;
        self.create_time = this.map(|time| time.saturating_add(elapsed));
        this
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(prefix: Option<i32>, keys: Option<i32>, create_time: Option<i64>) -> Content {
        Content { prefix, keys, next_key: 0, create_time }
    }

    #[test]
    fn values_count_up_and_keys_come_round() {
        let mut content = content(Some(7), Some(2), None);
        let all: Vec<Sent> = (0..3).map(|number| content.next(number)).collect();
        let sent = |key: &str, value: &str| Sent { key: Some(key.into()), value: value.into() };
        assert_eq!(all, [sent("0", "7.0"), sent("1", "7.1"), sent("0", "7.2")]);
        assert_eq!(content.create_time(5), None);
    }

    #[test]
    fn without_keys_and_prefix() {
        let sent = content(None, None, None).next(12);
        assert_eq!(sent, Sent { key: None, value: "12".to_owned() });
    }

    #[test]
    fn create_times_start_as_told_and_grow() {
        let mut content = content(None, None, Some(1000));
        let times: Vec<_> = [0, 10, 20, 30].into_iter().map(|ms| content.create_time(ms)).collect();
        assert_eq!(times, [Some(1000), Some(1000), Some(1010), Some(1030)]);
    }
}
