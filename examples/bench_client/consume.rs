//! Reading the partitions of a topic from the beginning.

use std::error::Error;
use std::time::Duration;

use milena::{Consumer, ConsumerConfig, StartAt, TopicPartition};

use crate::args::ConsumeArgs;
use crate::histogram::Histogram;
use crate::meter::{Counts, Measured, Meter};

/// Without a record for so long, there are too few.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) async fn run(args: &ConsumeArgs) -> Result<Measured, Box<dyn Error>> {
    let config = ConsumerConfig::builder()
        .bootstrap_servers(&args.bootstrap)
        .properties(args.properties.iter().map(|(name, value)| (name, value)))
        .build()?;
    let mut reader = Consumer::new(config);
    let all = (0..args.partitions).map(|partition| TopicPartition::new(&args.topic, partition));
    reader.assign(all.map(|partition| (partition, StartAt::Earliest)))?;
    // The clock starts with the first records, which are not counted.
    if reader.poll(PATIENCE).await?.is_empty() {
        return Err(format!("no record in {PATIENCE:?}").into());
    }
    let meter = Meter::start();
    let (mut records, mut bytes) = (0, 0);
    while records < args.records {
        let polled = reader.poll(PATIENCE).await?;
        if polled.is_empty() {
            return Err(format!("no record in {PATIENCE:?}, after {records}").into());
        }
        for record in &polled {
            records += 1;
            bytes += record.value.map_or(0, |value| value.len() as u64);
        }
    }
    let counts = Counts { records, bytes, errors: 0, latencies: Histogram::default() };
    let measured = meter.stop("poll", counts);
    reader.close(PATIENCE).await;
    Ok(measured)
}
