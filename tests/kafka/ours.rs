//! This crate's clients, in the terms of the Java helper, so that both can be told to do the same.

use milena::{
    Consumer, ConsumerConfig, ConsumerRecord, Delivery, Header, Producer, ProducerConfig,
    ProducerRecord, StartAt, TimestampType, TopicPartition, TransactionError,
    TransactionalProducer,
};
use tokio::time::Duration;

use crate::oracle::{Properties, Record, StoredRecord};

const CLOSE_LIMIT: Duration = Duration::from_secs(30);
/// How long a record may take to come.
const READ_LIMIT: Duration = Duration::from_secs(30);

/// A producer with these properties.
pub(crate) fn producer(bootstrap: &str, properties: Properties<'_>) -> Producer {
    let given = [("bootstrap.servers", bootstrap)];
    let given = given.iter().chain(properties).copied();
    Producer::new(ProducerConfig::from_properties(given).unwrap())
}

/// A producer with this `transactional.id` and these properties, or why it was not made.
pub(crate) async fn transactional(
    bootstrap: &str,
    id: &str,
    properties: Properties<'_>,
) -> Result<TransactionalProducer, TransactionError> {
    let config = ProducerConfig::builder().bootstrap_servers(bootstrap).transactional_id(id);
    let config = config.properties(properties.iter().copied());
    TransactionalProducer::new(config.build_transactional().unwrap()).await
}

/// Closes one with transactions, none of which is open.
pub(crate) async fn close_transactional(producer: TransactionalProducer) {
    producer.close(CLOSE_LIMIT).await.unwrap();
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
    producer.send(&shaped(topic, record, &headers(record))).await.unwrap()
}

/// A record's headers as a producer takes them.
pub(crate) fn headers(record: &Record) -> Vec<Header<'_>> {
    record.headers.iter().map(|(key, value)| Header { key, value: value.as_deref() }).collect()
}

/// A record as a producer takes it, with these headers.
pub(crate) fn shaped<'a>(
    topic: &'a str,
    record: &'a Record,
    headers: &'a [Header<'a>],
) -> ProducerRecord<'a> {
    let mut shaped = match &record.value {
        Some(value) => ProducerRecord::new(topic, value),
        None => ProducerRecord::tombstone(topic),
    };
    if let Some(key) = &record.key {
        shaped = shaped.key(key);
    }
    if record.partition >= 0 {
        shaped = shaped.partition(record.partition);
    }
    shaped.timestamp(record.timestamp).headers(headers)
}

/// A reader with these properties.
pub(crate) fn reader(bootstrap: &str, properties: Properties<'_>) -> Consumer {
    // A reset would hide what was lost.
    let given = [("bootstrap.servers", bootstrap), ("auto.offset.reset", "none")];
    let given = given.iter().chain(properties).copied();
    Consumer::new(ConsumerConfig::from_properties(given).unwrap())
}

/// Closes a reader.
pub(crate) async fn close_reader(reader: Consumer) {
    assert!(reader.close(CLOSE_LIMIT).await, "the reader did not close in order");
}

/// What a partition held for a reader.
#[derive(Debug)]
pub(crate) struct ReadToEnd {
    pub(crate) records: Vec<StoredRecord>,
    /// Where the partition ended for it before it read, and its position when it had read to there.
    pub(crate) end: (i64, i64),
}

/// Reads a partition from `offset` to its present end with a reader that has these properties.
pub(crate) async fn read_to_end(
    bootstrap: &str,
    topic: &str,
    partition: i32,
    offset: i64,
    properties: Properties<'_>,
) -> Vec<StoredRecord> {
    read_with_end(bootstrap, topic, partition, offset, properties).await.records
}

/// The same, and tells where that end was.
pub(crate) async fn read_with_end(
    bootstrap: &str,
    topic: &str,
    partition: i32,
    offset: i64,
    properties: Properties<'_>,
) -> ReadToEnd {
    let mut reader = reader(bootstrap, properties);
    let at = TopicPartition::new(topic, partition);
    let end = reader.end_offsets([at.clone()], READ_LIMIT).await.unwrap()[&at];
    reader.assign([(at.clone(), StartAt::Offset(offset))]).unwrap();
    let mut read = Vec::new();
    while reader.position(&at).is_none_or(|position| position < end) {
        let before = reader.position(&at);
        let records = reader.poll(READ_LIMIT).await.unwrap();
        assert!(
            reader.position(&at) > before,
            "nothing came after {before:?}, and {end} is the end"
        );
        read.extend(records.iter().map(|record| stored(&record)));
    }
    let position = reader.position(&at).unwrap();
    close_reader(reader).await;
    ReadToEnd { records: read, end: (end, position) }
}

/// A record that our reader gave, as the Java helper tells of those that it reads.
pub(crate) fn stored(record: &ConsumerRecord<'_>) -> StoredRecord {
    let timestamp_type = match record.timestamp_type {
        TimestampType::CreateTime => "CreateTime",
        TimestampType::LogAppendTime => "LogAppendTime",
        other => unreachable!("{other:?} is not Kafka's"),
    };
    let owned = record.to_owned();
    StoredRecord {
        offset: owned.offset,
        timestamp_type: timestamp_type.to_owned(),
        leader_epoch: owned.leader_epoch.unwrap_or(-1),
        record: Record {
            partition: owned.partition,
            timestamp: owned.timestamp,
            key: owned.key,
            value: owned.value,
            headers: owned.headers,
        },
    }
}
