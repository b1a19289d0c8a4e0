//! What users do, and what they are told when it fails.

use std::time::Duration;

use milena::{
    Cause, ClientError, Consumer, ConsumerConfig, ConsumerError, DeliveryError, OffsetReset,
    Producer, ProducerConfig, ProducerRecord, RecordMetadata, SendError, StartAt, TopicPartition,
};
use tokio::time::Instant;

use crate::server::{Server, TOPIC};

pub(crate) const MAX_BLOCK: Duration = Duration::from_secs(20);
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(4);
/// The longest response, and what a batch may decompress to.
pub(crate) const MAX_RESPONSE: usize = 1_000_000;
pub(crate) const DELIVERY_TIMEOUT: Duration = Duration::from_secs(15);
/// Between a time-out and the error: a few turns of tasks and a response on its way.
pub(crate) const SOON: Duration = Duration::from_millis(20);

/// An attempt to connect that began before the server behaves again is over within a read's limit.
pub(crate) const COMMON: [(&str, &str); 4] = [
    ("request.timeout.ms", "4000"),
    ("receive.message.max.bytes", "1000000"),
    ("socket.connection.setup.timeout.ms", "3000"),
    ("socket.connection.setup.timeout.max.ms", "3000"),
];

pub(crate) fn producer(server: &Server) -> Producer {
    let config = ProducerConfig::builder()
        .bootstrap_servers(server.cluster.bootstrap_servers())
        .properties(COMMON)
        .max_block(MAX_BLOCK)
        .delivery_timeout(DELIVERY_TIMEOUT)
        .linger(Duration::ZERO)
        .buffer_memory(1_000_000)
        .build()
        .unwrap();
    Producer::builder(config).connector(server.connector()).seed(1).build()
}

pub(crate) fn partition() -> TopicPartition {
    TopicPartition::new(TOPIC, 0)
}

/// A reader from the beginning of the topic.
pub(crate) fn reader(server: &Server) -> Consumer {
    let config = ConsumerConfig::builder()
        .bootstrap_servers(server.cluster.bootstrap_servers())
        .properties(COMMON)
        .fetch_max_bytes(900_000)
        .auto_offset_reset(OffsetReset::None)
        .build()
        .unwrap();
    let mut reader = Consumer::builder(config).connector(server.connector()).seed(1).build();
    reader.assign([(partition(), StartAt::Earliest)]).unwrap();
    reader
}

/// Why a record was not sent.
#[derive(Debug)]
pub(crate) enum Unsent {
    Refused(SendError),
    Undelivered(DeliveryError),
}

impl Unsent {
    /// What the client says that went wrong, behind all that wraps it.
    pub(crate) fn cause(&self) -> Option<&ClientError> {
        let cause = match self {
            Self::Refused(SendError::MetadataTimeout { last, .. }) => last.as_deref(),
            Self::Refused(SendError::Metadata { cause, .. }) => Some(&**cause),
            Self::Refused(_) => None,
            Self::Undelivered(error) => match error.last_error() {
                Some(Cause::Client(error)) => Some(error),
                _ => None,
            },
        };
        cause.map(innermost)
    }

    pub(crate) fn text(&self) -> String {
        match self {
            Self::Refused(error) => error.to_string(),
            Self::Undelivered(error) => error.to_string(),
        }
    }
}

/// A wait that timed out has its reason inside.
pub(crate) fn innermost(error: &ClientError) -> &ClientError {
    match error {
        ClientError::MetadataTimeout { last: Some(last), .. } => innermost(last),
        error => error,
    }
}

pub(crate) fn read_cause(error: &ConsumerError) -> Option<&ClientError> {
    match error {
        ConsumerError::Refused { cause, .. }
        | ConsumerError::Unavailable { cause, .. }
        | ConsumerError::Lookup { cause, .. } => Some(innermost(cause)),
        _ => None,
    }
}

/// Sends one record and waits for what becomes of it; within `max.block.ms` and
/// `delivery.timeout.ms`.
pub(crate) async fn produce(producer: &Producer) -> Result<RecordMetadata, Unsent> {
    produce_value(producer, "value").await
}

/// As [`produce`], with a value of one's own.
pub(crate) async fn produce_value(
    producer: &Producer,
    value: &str,
) -> Result<RecordMetadata, Unsent> {
    let start = Instant::now();
    let record = ProducerRecord::new(TOPIC, value).partition(0);
    let sent = producer.send(&record).await;
    assert!(start.elapsed() <= MAX_BLOCK + SOON, "send took {:?}", start.elapsed());
    let delivery = sent.map_err(Unsent::Refused)?;
    let start = Instant::now();
    let delivered = delivery.await;
    assert!(start.elapsed() <= DELIVERY_TIMEOUT + SOON, "delivery took {:?}", start.elapsed());
    delivered.map_err(Unsent::Undelivered)
}

/// Polls until there are records, and gives how many, or until there is an error; within
/// `request.timeout.ms` and what a poll for metadata adds to it.
pub(crate) async fn read(reader: &mut Consumer) -> Result<usize, ConsumerError> {
    let limit = 3 * REQUEST_TIMEOUT;
    let records = reader.poll(limit).await?;
    assert!(!records.is_empty(), "neither records nor an error within {limit:?}");
    Ok(records.iter().count())
}

/// The client has to go on when the server behaves.
pub(crate) async fn produces_again(case: &str, producer: &Producer) {
    if let Err(error) = produce(producer).await {
        panic!("{case}: the producer does not go on: {}", error.text());
    }
}

pub(crate) async fn reads_again(case: &str, reader: &mut Consumer) {
    // What has lasted for long without a poll is told by the first poll, although it is over.
    let result = match read(reader).await {
        Err(ConsumerError::Unavailable { .. }) => read(reader).await,
        result => result,
    };
    if let Err(error) = result {
        panic!("{case}: the reader does not go on: {error}");
    }
}

/// Each error says what it is about.
pub(crate) fn says(case: &str, text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{case}: the error does not say \"{part}\": {text}");
    }
}
