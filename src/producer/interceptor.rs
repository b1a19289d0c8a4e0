//! What users may put between `send` and the log (Kafka's `interceptor.classes`, KIP-42): the trait, the record as an
//! interceptor sees and changes it, and what it is told of the record's end. When they are called is decided in
//! `interceptors`.

use std::borrow::Cow;
use std::error::Error;

use crate::error::ProduceError;
use crate::producer::record::ProducerRecord;
use crate::producer::record_metadata::RecordMetadata;
use crate::types::Header;

/// Sees each record before it is sent, and may change it; and is told what became of it.
///
/// For headers that every record is to carry, for tracing, for counting. Several are called in the order in which they
/// were given to the [`ProducerBuilder`](crate::ProducerBuilder::interceptor), each with what the one before left.
///
/// What goes wrong in an interceptor is logged and goes no further: an error or a panic neither stops the record nor
/// reaches whoever sent it.
///
/// As many threads send, as many may be in `on_send` at once. An interceptor is dropped with the last handle of its
/// producer.
///
/// ```
/// use std::error::Error;
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use milena::{
///     Acknowledgement, InterceptedRecord, Producer, ProducerConfig, ProducerInterceptor, ProducerRecord,
/// };
///
/// #[derive(Default)]
/// struct Origin {
///     lost: AtomicU64,
/// }
///
/// impl ProducerInterceptor for Origin {
///     fn on_send(
///         &self,
///         record: &mut InterceptedRecord<'_>,
///     ) -> Result<(), Box<dyn Error + Send + Sync>> {
///         record.add_header("origin", b"billing");
///         Ok(())
///     }
///
///     fn on_acknowledgement(&self, acknowledgement: &Acknowledgement<'_>) {
///         if acknowledgement.result.is_err() {
///             self.lost.fetch_add(1, Ordering::Relaxed);
///         }
///     }
/// }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn Error>> {
/// # let cluster = milena::broker::Cluster::builder().start().await?;
/// # let config = ProducerConfig::builder().bootstrap_servers(cluster.bootstrap_servers()).build()?;
///
/// let producer = Producer::builder(config).interceptor(Origin::default()).build();
/// producer.send_and_wait(&ProducerRecord::new("orders", "paid")).await?;
/// # assert_eq!(cluster.records("orders", 0)[0].headers[0].0, "origin");
/// # Ok(())
/// # }
/// ```
pub trait ProducerInterceptor: Send + Sync + 'static {
    /// Called in `send` with the record's bytes, after serializers and before the partitioner. What it changes is what
    /// is sent. Until it returns, the caller of `send` waits.
    ///
    /// A serializer that failed leaves nothing to intercept: then only
    /// [`on_acknowledgement`](Self::on_acknowledgement) is called. A record of `try_send` is seen as often as it is
    /// tried.
    ///
    /// # Errors
    /// Whatever goes wrong: it is logged, and the record goes on as the interceptors before left it.
    fn on_send(
        &self,
        record: &mut InterceptedRecord<'_>,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let _ = record;
        Ok(())
    }

    /// Called when the record has ended: in the log, or with an error, also if it was refused before it was sent.
    ///
    /// Called before the record's own callback, mostly on the producer's task: what takes long here holds back all that
    /// is sent. A `send` whose future is dropped while it waits ends without this call.
    fn on_acknowledgement(&self, acknowledgement: &Acknowledgement<'_>) {
        let _ = acknowledgement;
    }
}

/// What became of a record, as an interceptor is told.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Acknowledgement<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition; `None` if the record was refused before one was chosen.
    pub partition: Option<i32>,
    /// The record's headers, as they were sent (KIP-512).
    pub headers: &'a [Header<'a>],
    /// Where it is in the log, or why it is not.
    pub result: Result<&'a RecordMetadata, &'a ProduceError>,
}

type Bytes<'a> = Cow<'a, [u8]>;

/// A record that is about to be sent, as an interceptor sees it. What is not changed is still borrowed from the sender.
#[derive(Debug, Clone)]
pub struct InterceptedRecord<'a> {
    topic: Cow<'a, str>,
    partition: Option<i32>,
    timestamp: Option<i64>,
    key: Option<Bytes<'a>>,
    value: Option<Bytes<'a>>,
    headers: Vec<(Cow<'a, str>, Option<Bytes<'a>>)>,
}

impl<'a> InterceptedRecord<'a> {
    pub(super) fn new(record: &ProducerRecord<'a>) -> Self {
        let ProducerRecord { topic, partition, timestamp, key, value, headers } = *record;
        let headers = headers.iter().map(|h| (Cow::Borrowed(h.key), h.value.map(Cow::Borrowed)));
        Self {
            topic: Cow::Borrowed(topic),
            partition,
            timestamp,
            key: key.map(Cow::Borrowed),
            value: value.map(Cow::Borrowed),
            headers: headers.collect(),
        }
    }

    /// The record to send, with `headers` from [`InterceptedRecord::headers`].
    pub(super) fn as_record<'r>(&'r self, headers: &'r [Header<'r>]) -> ProducerRecord<'r> {
        ProducerRecord {
            topic: &self.topic,
            partition: self.partition,
            timestamp: self.timestamp,
            key: self.key(),
            value: self.value(),
            headers,
        }
    }

    /// The topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The partition, if the record names one.
    pub fn partition(&self) -> Option<i32> {
        self.partition
    }

    /// The timestamp, if the record has one, in milliseconds since 1970-01-01T00:00Z.
    pub fn timestamp(&self) -> Option<i64> {
        self.timestamp
    }

    /// The key's bytes.
    pub fn key(&self) -> Option<&[u8]> {
        self.key.as_deref()
    }

    /// The value's bytes; `None` for a tombstone.
    pub fn value(&self) -> Option<&[u8]> {
        self.value.as_deref()
    }

    /// The headers, in order.
    pub fn headers(&self) -> impl Iterator<Item = Header<'_>> {
        self.headers.iter().map(|(key, value)| Header { key, value: value.as_deref() })
    }

    /// Sends the record to another topic.
    pub fn set_topic(&mut self, topic: impl Into<Cow<'a, str>>) {
        self.topic = topic.into();
    }

    /// Sends the record to this partition, or to one that the partitioner chooses.
    pub fn set_partition(&mut self, partition: Option<i32>) {
        self.partition = partition;
    }

    /// Gives the record this timestamp, or that of the send.
    pub fn set_timestamp(&mut self, timestamp: Option<i64>) {
        self.timestamp = timestamp;
    }

    /// Replaces the key.
    pub fn set_key(&mut self, key: Option<impl Into<Cow<'a, [u8]>>>) {
        self.key = key.map(Into::into);
    }

    /// Replaces the value; `None` makes it a tombstone.
    pub fn set_value(&mut self, value: Option<impl Into<Cow<'a, [u8]>>>) {
        self.value = value.map(Into::into);
    }

    /// Adds a header behind the others.
    pub fn add_header(&mut self, name: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, [u8]>>) {
        self.headers.push((name.into(), Some(value.into())));
    }

    /// Removes all headers of that name.
    pub fn remove_headers(&mut self, name: &str) {
        self.headers.retain(|(key, _)| key != name);
    }
}
