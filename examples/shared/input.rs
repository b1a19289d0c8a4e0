//! The records that an example processes.

use milena::ProducerRecord;

use crate::demo::{Demo, Failure, TIMEOUT};

/// Writes so many to a topic of their own, which it names.
pub(crate) async fn fill(demo: &Demo, records: usize) -> Result<String, Failure> {
    let topic = format!("{}-in", demo.group);
    let producer = demo.producer()?;
    for number in 0..records {
        let value = format!("order {number}");
        drop(producer.send(&ProducerRecord::new(&topic, &value)).await?);
    }
    producer.flush().await;
    producer.close(TIMEOUT).await?;
    Ok(topic)
}
