//! Sending: with nothing, a callback or an awaited handle for each record.

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use milena::{Delivery, Producer, ProducerConfig, ProducerRecord};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::args::{Mode, ProduceArgs};
use crate::histogram::Histogram;
use crate::meter::{Counts, Measured, Meter};
use crate::payload::{Payloads, keys};

/// So many handles go to the task that awaits them at a time, when they are not paced.
const CHUNK: usize = 128;
/// So many chunks may wait there.
const CHUNKS: usize = 2048;

/// How much longer the close may take than the last record.
const GRACE: Duration = Duration::from_secs(10);

pub(crate) async fn run(args: &ProduceArgs) -> Result<Measured, Box<dyn Error>> {
    let config = ProducerConfig::builder()
        .bootstrap_servers(&args.bootstrap)
        .properties(args.properties.iter().map(|(name, value)| (name, value)))
        .build()?;
    let patience = config.delivery_timeout() + GRACE;
    let bench = Bench {
        args,
        producer: Producer::new(config),
        payloads: Payloads::new(args.record_size),
        keys: keys(args.keys),
    };
    let mode = match args.mode {
        Mode::Fire => "fire",
        Mode::Callback => "callback",
        Mode::Future => "future",
    };
    // At least one: the connection, the metadata and the producer id are not measured.
    bench.send(0, args.warmup.max(1)).await?;
    let meter = Meter::start();
    let (latencies, errors) = bench.send(args.warmup, args.records).await?;
    let bytes = args.records * args.record_size as u64;
    let measured = meter.stop(mode, Counts { records: args.records, bytes, errors, latencies });
    bench.producer.close(patience).await?;
    Ok(measured)
}

struct Bench<'a> {
    args: &'a ProduceArgs,
    producer: Producer,
    payloads: Payloads,
    keys: Vec<Vec<u8>>,
}

impl Bench<'_> {
    /// Sends `count` records from number `from` on, until the last has ended, and gives the latencies and how many
    /// failed.
    async fn send(&self, from: u64, count: u64) -> Result<(Histogram, u64), Box<dyn Error>> {
        match self.args.mode {
            Mode::Fire => self.fire(from, count).await,
            Mode::Callback => self.callback(from, count).await,
            Mode::Future => self.future(from, count).await,
        }
    }

    #[inline]
    fn record(&self, index: u64) -> ProducerRecord<'_> {
        let record = ProducerRecord::new(&self.args.topic, self.payloads.of(index));
        if self.keys.is_empty() {
            return record;
        }
        record.key(&self.keys[(index % self.args.keys) as usize])
    }

    async fn fire(&self, from: u64, count: u64) -> Result<(Histogram, u64), Box<dyn Error>> {
        let pacer = Pacer::new(self.args.rate);
        let mut errors = 0;
        for index in 0..count {
            pacer.wait(index);
            match self.producer.send(&self.record(from + index)).await {
                Ok(delivery) => drop(delivery),
                Err(_) => errors += 1,
            }
        }
        self.producer.flush().await;
        Ok((Histogram::default(), errors))
    }

    async fn callback(&self, from: u64, count: u64) -> Result<(Histogram, u64), Box<dyn Error>> {
        // For the rest of the process, twice: a callback then carries a plain reference.
        let tally: &'static Tally = Box::leak(Box::default());
        let pacer = Pacer::new(self.args.rate);
        for index in 0..count {
            pacer.wait(index);
            let began = self.args.samples(index).then(Instant::now);
            let callback = move |end: Result<_, _>| tally.end(began, end.is_ok());
            if self.producer.send_with(&self.record(from + index), callback).await.is_err() {
                tally.errors.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.producer.flush().await;
        let latencies = std::mem::take(&mut *tally.latencies.lock());
        Ok((latencies, tally.errors.load(Ordering::Relaxed)))
    }

    async fn future(&self, from: u64, count: u64) -> Result<(Histogram, u64), Box<dyn Error>> {
        let (handles, received) = mpsc::channel(CHUNKS);
        let paced = self.args.rate.is_some();
        let reaper = if paced {
            tokio::spawn(as_they_end(received))
        } else {
            tokio::spawn(in_order(received))
        };
        let pacer = Pacer::new(self.args.rate);
        let chunk_size = if paced { 1 } else { CHUNK };
        let mut chunk = Vec::with_capacity(chunk_size);
        let mut refused = 0;
        for index in 0..count {
            pacer.wait(index);
            let began = self.args.samples(index).then(Instant::now);
            match self.producer.send(&self.record(from + index)).await {
                Ok(delivery) => chunk.push((began, delivery)),
                Err(_) => refused += 1,
            }
            if chunk.len() >= chunk_size {
                let full = std::mem::replace(&mut chunk, Vec::with_capacity(chunk_size));
                handles.send(full).await?;
            }
        }
        handles.send(chunk).await?;
        drop(handles);
        let (latencies, errors) = reaper.await?;
        Ok((latencies, errors + refused))
    }
}

type Handles = Vec<(Option<Instant>, Delivery)>;

/// Awaits the handles in the order of their records, which costs least.
async fn in_order(mut handles: mpsc::Receiver<Handles>) -> (Histogram, u64) {
    let (mut latencies, mut errors) = (Histogram::default(), 0);
    while let Some(chunk) = handles.recv().await {
        for (began, delivery) in chunk {
            errors += u64::from(delivery.await.is_err());
            if let Some(began) = began {
                latencies.add(began.elapsed());
            }
        }
    }
    (latencies, errors)
}

/// Awaits the handles as they end, so that one slow record does not colour the latencies of those behind it.
async fn as_they_end(mut handles: mpsc::Receiver<Handles>) -> (Histogram, u64) {
    let (mut latencies, mut errors) = (Histogram::default(), 0);
    let mut open = FuturesUnordered::new();
    let mut more = true;
    while more || !open.is_empty() {
        tokio::select! {
            biased;
            Some((began, end)) = open.next(), if !open.is_empty() => {
                let began: Option<Instant> = began;
                let end: Result<_, milena::DeliveryError> = end;
                errors += u64::from(end.is_err());
                if let Some(began) = began {
                    latencies.add(began.elapsed());
                }
            }
            chunk = handles.recv(), if more => match chunk {
                Some(chunk) => open.extend(
                    chunk.into_iter().map(|(began, delivery)| async move { (began, delivery.await) }),
                ),
                None => more = false,
            },
        }
    }
    (latencies, errors)
}

/// What the callbacks fill, on the producer's task.
#[derive(Default)]
struct Tally {
    latencies: Mutex<Histogram>,
    errors: AtomicU64,
}

impl Tally {
    fn end(&self, began: Option<Instant>, acknowledged: bool) {
        if !acknowledged {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(began) = began {
            self.latencies.lock().add(began.elapsed());
        }
    }
}

/// An open loop: record `index` is due so long after the start, however slow those before it were.
struct Pacer {
    start: Instant,
    seconds_each: Option<f64>,
}

impl Pacer {
    fn new(rate: Option<f64>) -> Self {
        Self { start: Instant::now(), seconds_each: rate.map(f64::recip) }
    }

    /// Blocks the thread, which is not one of the runtime's workers: a timer of the runtime ticks in milliseconds, and
    /// would send in bursts.
    #[inline]
    fn wait(&self, index: u64) {
        if let Some(each) = self.seconds_each {
            let due = self.start + Duration::from_secs_f64(each * index as f64);
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    }
}
