//! Copying a topic to another in transactions, with the offsets of what was read in each.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use milena::{
    Consumer, ConsumerConfig, ProducerConfig, ProducerRecord, Transaction, TransactionalProducer,
};
use tokio::time::Instant;

use crate::args::TransactArgs;
use crate::histogram::Histogram;
use crate::meter::{Counts, Measured, Meter};

/// Without a record for so long, there are too few.
const PATIENCE: Duration = Duration::from_secs(30);

/// A consumer in its group, and how far the copy is.
struct Source {
    consumer: Consumer,
    records: u64,
    bytes: u64,
}

pub(crate) async fn run(args: &TransactArgs) -> Result<Measured, Box<dyn Error>> {
    let config = ProducerConfig::builder()
        .bootstrap_servers(&args.bootstrap)
        .properties(args.producer.iter().map(|(name, value)| (name, value)))
        .build_transactional()?;
    let mut producer = TransactionalProducer::new(config).await?;
    let config = ConsumerConfig::builder()
        .bootstrap_servers(&args.bootstrap)
        .properties(args.consumer.iter().map(|(name, value)| (name, value)))
        .build()?;
    let mut consumer = Consumer::new(config);
    consumer.subscribe([&args.topic])?;
    let (mut latencies, errors) = (Histogram::default(), Arc::new(AtomicU64::new(0)));
    let mut source = Source { consumer, records: 0, bytes: 0 };
    let mut meter = Meter::start();
    while source.records < args.records {
        let polled = source.poll().await?;
        if source.records == 0 {
            meter = Meter::start();
        }
        let began = Instant::now();
        let transaction = producer.begin().await?;
        let before = source.records;
        source.copy(polled, &transaction, args, &errors).await?;
        while source.records - before < args.size && source.records < args.records {
            let polled = source.poll().await?;
            source.copy(polled, &transaction, args, &errors).await?;
        }
        let group = source.consumer.group_metadata().ok_or("the consumer has no group")?;
        let offsets = source.consumer.positions();
        // The group's coordinator need not wait for the records.
        let (sent, ()) =
            tokio::join!(transaction.send_offsets(&group, offsets), transaction.flush());
        sent?;
        transaction.commit().await?;
        latencies.add(began.elapsed());
    }
    let counts = Counts {
        records: source.records,
        bytes: source.bytes,
        errors: errors.load(Ordering::Relaxed),
        latencies,
    };
    let measured = meter.stop("txn", counts);
    source.consumer.close(PATIENCE).await;
    producer.close(PATIENCE).await?;
    Ok(measured)
}

impl Source {
    async fn poll(&mut self) -> Result<milena::Records, Box<dyn Error>> {
        let polled = self.consumer.poll(PATIENCE).await?;
        if polled.is_empty() {
            return Err(format!("no record in {PATIENCE:?}, after {}", self.records).into());
        }
        Ok(polled)
    }

    async fn copy(
        &mut self,
        polled: milena::Records,
        transaction: &Transaction<'_>,
        args: &TransactArgs,
        errors: &Arc<AtomicU64>,
    ) -> Result<(), Box<dyn Error>> {
        for record in &polled {
            let value = record.value.unwrap_or_default();
            self.records += 1;
            self.bytes += value.len() as u64;
            let errors = Arc::clone(errors);
            let copy = ProducerRecord::new(&args.out_topic, value);
            let count = move |result: Result<_, _>| {
                if result.is_err() {
                    errors.fetch_add(1, Ordering::Relaxed);
                }
            };
            transaction.send_with(&copy, count).await?;
        }
        Ok(())
    }
}
