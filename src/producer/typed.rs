//! Records of typed keys and values: serializes them and hands the bytes to the [`Producer`]. How values become bytes
//! is decided by the serializers; all that follows is the producer's.

use std::cell::RefCell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::{DeliveryError, ProduceError, SendError, SerializationError};
use crate::producer::Producer;
use crate::producer::delivery::Delivery;
use crate::producer::record::ProducerRecord;
use crate::producer::record_metadata::RecordMetadata;
use crate::serialize::{SerializeContext, Serializer};
use crate::types::{Header, RecordPart};

/// Scratch buffers that a thread keeps for later records, at most.
const SPARE_BUFFERS: usize = 4;

/// A buffer that has grown larger is not kept.
const LARGEST_SPARE: usize = 256 * 1024;

thread_local! {
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A [`Producer`] of records whose keys and values are made by serializers, as Java's `KafkaProducer<K, V>`.
///
/// It is the producer that it was made from, with another face: cloning, flushing, closing and all else are as there.
///
/// ```
/// use milena::serialize::{LongSerializer, StringSerializer};
/// use milena::{Producer, ProducerConfig, TypedRecord};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let cluster = milena::broker::Cluster::builder().start().await?;
/// # let servers = cluster.bootstrap_servers();
///
/// let config = ProducerConfig::builder().bootstrap_servers(servers).build()?;
/// let counts = Producer::new(config).typed(StringSerializer, LongSerializer);
///
/// let record = TypedRecord::new("counts", &17).key("customer-42");
/// let metadata = counts.send_and_wait(&record).await?;
/// assert_eq!(metadata.serialized_value_size(), Some(8));
/// # assert_eq!(metadata.serialized_key_size(), Some(11));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct TypedProducer<K, V> {
    producer: Producer,
    key: K,
    value: V,
}

/// A record with a key and a value for the serializers of a [`TypedProducer`]. It borrows all of its parts.
///
/// `K` and `V` are what the serializers take: `str` for the
/// [`StringSerializer`](crate::serialize::StringSerializer), and so on.
pub struct TypedRecord<'a, K: ?Sized, V: ?Sized> {
    topic: &'a str,
    partition: Option<i32>,
    timestamp: Option<i64>,
    key: Option<&'a K>,
    value: Option<&'a V>,
    headers: &'a [Header<'a>],
}

impl<'a, K: ?Sized, V: ?Sized> TypedRecord<'a, K, V> {
    /// A record with a value, no key and no headers, whose partition the partitioner chooses.
    pub fn new(topic: &'a str, value: &'a V) -> Self {
        Self { value: Some(value), ..Self::tombstone(topic) }
    }

    /// A record without a value: in a compacted topic it deletes what its key stood for.
    pub fn tombstone(topic: &'a str) -> Self {
        Self { topic, partition: None, timestamp: None, key: None, value: None, headers: &[] }
    }

    /// The key; see [`ProducerRecord::key`].
    #[must_use]
    pub fn key(mut self, key: &'a K) -> Self {
        self.key = Some(key);
        self
    }

    /// The partition; see [`ProducerRecord::partition`].
    #[must_use]
    pub fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// The timestamp; see [`ProducerRecord::timestamp`].
    #[must_use]
    pub fn timestamp(mut self, timestamp: i64) -> Self {
        self.timestamp = Some(timestamp);
        self
    }

    /// The headers; see [`ProducerRecord::headers`].
    #[must_use]
    pub fn headers(mut self, headers: &'a [Header<'a>]) -> Self {
        self.headers = headers;
        self
    }
}

/// Copies borrow the same parts.
impl<K: ?Sized, V: ?Sized> Clone for TypedRecord<'_, K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K: ?Sized, V: ?Sized> Copy for TypedRecord<'_, K, V> {}

impl<K: ?Sized + fmt::Debug, V: ?Sized + fmt::Debug> fmt::Debug for TypedRecord<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, partition, timestamp, key, value, headers } = self;
        f.debug_struct("TypedRecord")
            .field("topic", topic)
            .field("partition", partition)
            .field("timestamp", timestamp)
            .field("key", key)
            .field("value", value)
            .field("headers", headers)
            .finish()
    }
}

impl Producer {
    /// This producer for records whose keys and values are made by these serializers (Kafka's `key.serializer` and
    /// `value.serializer`).
    pub fn typed<K: Serializer, V: Serializer>(&self, key: K, value: V) -> TypedProducer<K, V> {
        TypedProducer { producer: self.clone(), key, value }
    }
}

impl<K: Serializer, V: Serializer> TypedProducer<K, V> {
    /// As [`Producer::send`].
    ///
    /// # Errors
    /// [`SendError::Serialization`] if a serializer fails or panics, and as [`Producer::send`]; then nothing was
    /// buffered.
    ///
    /// # Cancel safety
    /// As [`Producer::send`].
    pub async fn send(
        &self,
        record: &TypedRecord<'_, K::Data, V::Data>,
    ) -> Result<Delivery, SendError> {
        let mut scratch = Scratch::take();
        self.producer.send(&self.serialize(record, &mut scratch)?).await
    }

    /// As [`Producer::send_with`].
    ///
    /// # Errors
    /// As [`TypedProducer::send`]; the callback is then not called.
    ///
    /// # Cancel safety
    /// As [`Producer::send`].
    pub async fn send_with<F>(
        &self,
        record: &TypedRecord<'_, K::Data, V::Data>,
        callback: F,
    ) -> Result<(), SendError>
    where
        F: FnOnce(Result<RecordMetadata, DeliveryError>) + Send + 'static,
    {
        let mut scratch = Scratch::take();
        self.producer.send_with(&self.serialize(record, &mut scratch)?, callback).await
    }

    /// As [`Producer::try_send`].
    ///
    /// # Errors
    /// As [`TypedProducer::send`].
    pub fn try_send(
        &self,
        record: &TypedRecord<'_, K::Data, V::Data>,
    ) -> Result<Delivery, SendError> {
        let mut scratch = Scratch::take();
        self.producer.try_send(&self.serialize(record, &mut scratch)?)
    }

    /// As [`Producer::send_and_wait`].
    ///
    /// # Errors
    /// [`SendError::Serialization`] in a [`ProduceError`], and as [`Producer::send_and_wait`].
    ///
    /// # Cancel safety
    /// As [`Producer::send_and_wait`].
    pub async fn send_and_wait(
        &self,
        record: &TypedRecord<'_, K::Data, V::Data>,
    ) -> Result<RecordMetadata, ProduceError> {
        let delivery = self.send(record).await?;
        Ok(delivery.await?)
    }

    /// The producer without types, for [`Producer::flush`], [`Producer::close`] and the rest.
    pub fn producer(&self) -> &Producer {
        &self.producer
    }

    /// Interceptors are told of a record that cannot be made.
    fn serialize<'s>(
        &self,
        record: &TypedRecord<'s, K::Data, V::Data>,
        scratch: &'s mut Scratch,
    ) -> Result<ProducerRecord<'s>, SendError> {
        self.make(record, scratch).inspect_err(|error| {
            if let Some(interceptors) = &self.producer.inner.interceptors {
                let TypedRecord { topic, partition, headers, .. } = *record;
                interceptors.refused(topic, partition, headers, error);
            }
        })
    }

    fn make<'s>(
        &self,
        record: &TypedRecord<'s, K::Data, V::Data>,
        scratch: &'s mut Scratch,
    ) -> Result<ProducerRecord<'s>, SendError> {
        let TypedRecord { topic, partition, timestamp, key, value, headers } = *record;
        let context = |part| SerializeContext::new(topic, part).headers(headers);
        let key = bytes(&self.key, &context(RecordPart::Key), key, &mut scratch.key)?;
        let value = bytes(&self.value, &context(RecordPart::Value), value, &mut scratch.value)?;
        Ok(ProducerRecord { topic, partition, timestamp, key, value, headers })
    }
}

fn bytes<'a, S: Serializer>(
    serializer: &S,
    context: &SerializeContext<'_>,
    data: Option<&'a S::Data>,
    buffer: &'a mut Vec<u8>,
) -> Result<Option<&'a [u8]>, SendError> {
    let Some(data) = data else { return Ok(None) };
    // A buffer that a panic left half-filled is cleared before it is used again.
    let serialize = AssertUnwindSafe(move || {
        let buffer = buffer;
        serializer.serialize(context, data, buffer)
    });
    let SerializeContext { topic, part, .. } = *context;
    catch_unwind(serialize)
        .map_err(|panic| SerializationError::panicked(topic, part, &*panic))
        .and_then(|end| end.map_err(|error| SerializationError::failed(topic, part, error)))
        .map_err(SendError::Serialization)
}

/// The buffers of one record, on loan from the thread until the record has been copied into its batch.
struct Scratch {
    key: Vec<u8>,
    value: Vec<u8>,
}

impl Scratch {
    fn take() -> Self {
        let spare = |spare: &RefCell<Vec<Vec<u8>>>| {
            let mut spare = spare.borrow_mut();
            (spare.pop().unwrap_or_default(), spare.pop().unwrap_or_default())
        };
        // While the thread ends there may be none left.
        let (key, value) = SPARE.try_with(spare).unwrap_or_default();
        Self { key, value }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let buffers = [&mut self.value, &mut self.key].map(std::mem::take);
        // As in `take`.
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            for mut buffer in buffers {
                if spare.len() < SPARE_BUFFERS && buffer.capacity() <= LARGEST_SPARE {
                    buffer.clear();
                    spare.push(buffer);
                }
            }
        });
    }
}
