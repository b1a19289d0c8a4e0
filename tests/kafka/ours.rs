//! This crate's clients, in the terms of the Java helper, so that both can be told to do the same.

use milena::{Delivery, Header, Producer, ProducerConfig, ProducerRecord};
use tokio::time::Duration;

use crate::oracle::{Properties, Record};

const CLOSE_LIMIT: Duration = Duration::from_secs(30);

/// A producer with these properties.
pub(crate) fn producer(bootstrap: &str, properties: Properties<'_>) -> Producer {
    let given = [("bootstrap.servers", bootstrap)];
    let given = given.iter().chain(properties).copied();
    Producer::new(ProducerConfig::from_properties(given).unwrap())
}

/// Closes a producer that has nothing left to send.
pub(crate) async fn close(producer: Producer) {
    producer.close(CLOSE_LIMIT).await.unwrap();
}

/// Sends records, waits for what becomes of each, and tells their partitions and offsets.
pub(crate) async fn send_all(
    producer: &Producer,
    topic: &str,
    records: &[Record],
) -> Vec<(i32, i64)> {
    let mut deliveries = Vec::new();
    for record in records {
        deliveries.push(send(producer, topic, record).await);
    }
    let mut placed = Vec::new();
    for delivery in deliveries {
        let metadata = delivery.await.unwrap();
        placed.push((metadata.partition(), metadata.offset().unwrap()));
    }
    placed
}

/// Sends one record.
pub(crate) async fn send(producer: &Producer, topic: &str, record: &Record) -> Delivery {
    let headers: Vec<Header<'_>> =
        record.headers.iter().map(|(key, value)| Header { key, value: value.as_deref() }).collect();
    let mut sent = match &record.value {
        Some(value) => ProducerRecord::new(topic, value),
        None => ProducerRecord::tombstone(topic),
    };
    if let Some(key) = &record.key {
        sent = sent.key(key);
    }
    if record.partition >= 0 {
        sent = sent.partition(record.partition);
    }
    producer.send(&sent.timestamp(record.timestamp).headers(&headers)).await.unwrap()
}
