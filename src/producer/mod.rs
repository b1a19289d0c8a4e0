//! The producer: records are encoded into batches where they are sent from, and one task per producer sends the
//! batches.
//!
//! ```text
//!   send ─► partitioner ─► memory ─► accumulator (encode in place) ─► sender ─► driver ─► connection ─► broker
//!   delivery, callback ◄───────────── batch completion ◄───────────── sender ◄─ driver ◄──┘
//! ```

mod accumulator;
mod batch;
mod blocked;
mod builder;
mod callbacks;
mod commands;
mod coordination;
mod delivery;
mod driver;
mod interceptor;
mod interceptors;
mod measured;
mod memory;
mod metrics;
mod partitioner;
mod record;
mod record_metadata;
mod sender;
mod sequencer;
mod transaction;
mod transactional;
mod txn;
mod typed;

use std::fmt;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::client::Client;
use crate::config::ProducerConfig;
use crate::error::ClientError;
use crate::error::{CloseError, DeliveryError, ProduceError, SendError};
use crate::record::size_upper_bound;
use crate::time::{Clock, Duration, Instant, deadline};
use accumulator::{Accumulator, Begin, Lacks, PartitionQueue, TopicQueues};
use batch::{Append, Taken};
use blocked::{check_topic, check_unknown};
use callbacks::{Callback, no_callback};
use commands::{Command, Left};
use interceptors::Interceptors;
use measured::Timed;
use memory::Reservation;
use metrics::ProducerMetrics;
use partitioner::{By, Partitioning, Place};
use record_metadata::RecordFacts;

pub use builder::ProducerBuilder;
pub use delivery::Delivery;
pub use interceptor::{Acknowledgement, InterceptedRecord, ProducerInterceptor};
pub use partitioner::{Partitioner, TopicPartitions};
pub use record::ProducerRecord;
pub use record_metadata::RecordMetadata;
pub use transaction::Transaction;
pub use transactional::TransactionalProducer;
pub use typed::{TypedProducer, TypedRecord};

/// Sends records to a Kafka cluster.
///
/// A record is copied once, into a batch of its partition; a task of the producer sends the batches. Cloning is cheap,
/// and all clones are one producer: share it among tasks rather than making several.
///
/// When the last clone is dropped, what was accepted is still sent, in the background, each record within its
/// `delivery.timeout.ms`. To know that it was, call [`Producer::close`] or await the deliveries.
///
/// # Exactly once, and its limits
/// With `enable.idempotence` (the default) the broker stores each accepted record once and in order, however often a
/// batch is sent again. This does not reach beyond the producer's life: a new producer gets a new producer id, and
/// records that an application sends again after a restart are new records.
#[derive(Clone)]
pub struct Producer {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) accumulator: Arc<Accumulator>,
    pub(crate) client: Client,
    pub(crate) metrics: Arc<ProducerMetrics>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Dropped with the last handle, which tells the task to finish.
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) max_block: Duration,
    pub(crate) max_request_size: usize,
    pub(crate) partitioning: Partitioning,
    pub(crate) interceptors: Option<Arc<Interceptors>>,
}

impl Producer {
    /// Starts a producer on the current tokio runtime. It does not wait for a connection.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(config: ProducerConfig) -> Self {
        Self::builder(config).build()
    }

    /// A builder, to replace parts such as the connector.
    pub fn builder(config: ProducerConfig) -> ProducerBuilder {
        ProducerBuilder::new(config)
    }

    pub(crate) fn from_inner(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }

    /// Accepts a record into the batch of its partition. Waits only for the topic's metadata and for room in
    /// `buffer.memory`, at most `max.block.ms`. What becomes of the record, the [`Delivery`] tells; dropping it is fire
    /// and forget.
    ///
    /// # Errors
    /// A [`SendError`]; then nothing was buffered.
    ///
    /// # Cancel safety
    /// A `send` that is dropped before it is ready has accepted nothing.
    pub async fn send(&self, record: &ProducerRecord<'_>) -> Result<Delivery, SendError> {
        if let Some(interceptors) = &self.inner.interceptors {
            return Box::pin(self.send_intercepted(interceptors, record, None)).await;
        }
        match self.inner.start(record, &mut no_callback(), None) {
            Ok(delivery) => Ok(delivery),
            Err(blocked) => Box::pin(self.inner.wait(record, &mut no_callback(), blocked)).await,
        }
    }

    /// As [`Producer::send`]; `callback` is called with what becomes of the record, if it was accepted.
    ///
    /// Callbacks of one partition are called in the order of their records, from the producer's task: a callback that
    /// takes long holds back everything. A panic in it is caught and logged.
    ///
    /// # Errors
    /// As [`Producer::send`]; the callback is then not called.
    ///
    /// # Cancel safety
    /// As [`Producer::send`].
    pub async fn send_with<F>(
        &self,
        record: &ProducerRecord<'_>,
        callback: F,
    ) -> Result<(), SendError>
    where
        F: FnOnce(Result<RecordMetadata, DeliveryError>) + Send + 'static,
    {
        if let Some(interceptors) = &self.inner.interceptors {
            return Box::pin(self.send_intercepted(interceptors, record, Some(Box::new(callback))))
                .await
                .map(drop);
        }
        let mut callback = Some(callback);
        let delivery = match self.inner.start(record, &mut callback, None) {
            Ok(delivery) => delivery,
            Err(blocked) => Box::pin(self.inner.wait(record, &mut callback, blocked)).await?,
        };
        drop(delivery);
        Ok(())
    }

    /// Sends a record and waits until it is acknowledged: [`Producer::send`] and its [`Delivery`] in one call.
    ///
    /// One record at a time is slow, since each waits for a round trip. To send many and learn what became of each, keep
    /// the deliveries and await them later.
    ///
    /// # Errors
    /// [`ProduceError::Send`] if the record was not accepted, [`ProduceError::Delivery`] if it was not acknowledged.
    ///
    /// # Cancel safety
    /// If it is dropped, the record was not accepted, or goes on its way unwatched.
    ///
    /// ```
    /// use milena::{Persistence, Producer, ProducerConfig, ProducerRecord};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = milena::broker::Cluster::builder().start().await?;
    /// # let config = ProducerConfig::builder().bootstrap_servers(cluster.bootstrap_servers());
    /// # let producer = Producer::new(config.build()?);
    ///
    /// match producer.send_and_wait(&ProducerRecord::new("orders", "paid")).await {
    ///     Ok(metadata) => assert_eq!(metadata.offset(), Some(0)),
    ///     Err(error) if error.persistence() == Persistence::NotWritten => println!("keep it: {error}"),
    ///     Err(error) => println!("look whether it is there before sending it again: {error}"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn send_and_wait(
        &self,
        record: &ProducerRecord<'_>,
    ) -> Result<RecordMetadata, ProduceError> {
        let delivery = self.send(record).await?;
        Ok(delivery.await?)
    }

    /// As [`Producer::send`], without waiting: if the topic's metadata are not there yet or `buffer.memory` is used up,
    /// that is the error. The record is borrowed, so it can be sent again.
    ///
    /// # Errors
    /// A [`SendError`]; then nothing was buffered.
    pub fn try_send(&self, record: &ProducerRecord<'_>) -> Result<Delivery, SendError> {
        match &self.inner.interceptors {
            None => self.inner.try_start(record, &mut no_callback()),
            Some(interceptors) => self.try_send_intercepted(interceptors, record),
        }
    }

    /// Sends what was accepted before this call without waiting for linger, and returns when all of it has ended: in
    /// the log, or with an error that its deliveries and callbacks got. Bounded by `delivery.timeout.ms`.
    ///
    /// # Cancel safety
    /// A flush that is dropped stops hurrying; nothing is lost.
    pub async fn flush(&self) {
        let _timed = Timed::start(&self.inner.metrics, ProducerMetrics::flushed);
        let _hurry = self.inner.accumulator.start_flush();
        let (reply, completions) = oneshot::channel();
        // A task that has ended has nothing left to flush.
        if self.inner.commands.send(Command::Flush(reply)).await.is_err() {
            return;
        }
        for completion in completions.await.unwrap_or_default() {
            completion.wait().await;
        }
    }

    /// Refuses further records, sends what was accepted, and ends the producer's task and connections.
    ///
    /// What has not ended within `timeout` fails with [`DeliveryErrorKind::Closed`](crate::DeliveryErrorKind), so that
    /// each record has exactly one end. All clones are closed. A second call waits for the first.
    ///
    /// # Errors
    /// If the time-out passed first.
    ///
    /// # Cancel safety
    /// A close that is dropped goes on in the background.
    pub async fn close(&self, timeout: Duration) -> Result<(), CloseError> {
        let (reply, left) = oneshot::channel();
        let deadline = deadline(Instant::now(), timeout);
        if self.inner.commands.send(Command::Close(deadline, reply)).await.is_err() {
            return Ok(());
        }
        // A task that ended before it read the command had closed already.
        match left.await {
            Ok(Left { batches: 0, transaction: false }) | Err(_) => Ok(()),
            Ok(Left { batches, transaction }) => Err(CloseError { timeout, batches, transaction }),
        }
    }

    /// How many partitions the topic has, waiting for its metadata at most `max.block.ms`.
    ///
    /// # Errors
    /// [`SendError::MetadataTimeout`], [`SendError::InvalidTopic`], [`SendError::Closed`] and the like.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn partitions_for(&self, topic: &str) -> Result<usize, SendError> {
        if let Some(end) = self.inner.accumulator.end() {
            return Err(end);
        }
        check_topic(topic)?;
        self.inner.await_topic(topic, deadline(Instant::now(), self.inner.max_block)).await
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let memory = self.inner.accumulator.memory();
        f.debug_struct("Producer")
            .field("buffer_memory", &memory.total())
            .field("buffer_available", &memory.available())
            .field("closed", &self.inner.accumulator.end().is_some())
            .finish_non_exhaustive()
    }
}

/// Why a record cannot be accepted at once.
enum Blocked {
    Metadata,
    /// Memory for a batch; and the record's partition, if it was chosen for good.
    Memory {
        needed: usize,
        partition: Option<i32>,
    },
    /// The topic does not have the partition that the record names, which is one that may come.
    Partition {
        partition: i32,
        count: usize,
    },
    Refused(SendError),
}

/// A queue whose last batch has no room for a record.
struct Full<'a> {
    topic: &'a TopicQueues,
    queue: &'a Arc<PartitionQueue>,
    /// Who chose it, and so whether the record may go to another.
    by: By,
}

impl Inner {
    /// The whole way of a record when nothing is in its way. Inlined, since what it gives is large: each move of it
    /// through memory, written in small pieces and read in large ones, costs as much as the copy of a small record.
    #[inline(always)]
    fn start(
        &self,
        record: &ProducerRecord<'_>,
        callback: &mut Option<impl Callback>,
        room: Option<Reservation>,
    ) -> Result<Delivery, Blocked> {
        if let Some(end) = self.accumulator.end() {
            return Err(Blocked::Refused(end));
        }
        let Some(topic) = self.accumulator.topic(record.topic) else {
            check_unknown(record).map_err(Blocked::Refused)?;
            return Err(Blocked::Metadata);
        };
        let timestamp = match record.timestamp {
            Some(timestamp) if timestamp < 0 => {
                return Err(Blocked::Refused(SendError::InvalidTimestamp { timestamp }));
            }
            Some(timestamp) => timestamp,
            None => self.clock.recent_millis(),
        };
        let queues = &*topic.partitions;
        let place = self.partitioning.place(record, &topic.partitioner, queues);
        let Place { partition, by } = place.map_err(Blocked::Refused)?;
        let queue = queue(record, topic, partition)?;
        let appended = self.accumulator.append(queue, record, timestamp, callback);
        let (partition, timestamp, taken) = match appended {
            Append::Taken(taken) => (partition, timestamp, taken),
            Append::NeedsBatch => {
                let full = Full { topic, queue, by };
                let appended = self.append_to_another(record, timestamp, callback, full, room);
                if appended.is_err() && by == By::Turn {
                    topic.partitioner.give_back_turn();
                }
                appended?
            }
            Append::Closed => return Err(Blocked::Refused(self.accumulator.closed())),
        };
        if by == By::Sticking {
            topic.partitioner.appended(partition, taken.size as usize, queues);
        }
        let facts = RecordFacts::new(taken.index, timestamp, record.key, record.value);
        Ok(Delivery::new(taken.completion, facts))
    }

    /// The way of a record that begins a batch. Gives its partition and timestamp, and where it went.
    #[cold]
    fn append_to_another(
        &self,
        record: &ProducerRecord<'_>,
        timestamp: i64,
        callback: &mut Option<impl Callback>,
        Full { topic, queue, by }: Full<'_>,
        room: Option<Reservation>,
    ) -> Result<(i32, i64, Taken), Blocked> {
        self.check_size(record)?;
        let (mut queue, accumulator) = (queue, &self.accumulator);
        match accumulator.append_or_seal(queue, record, timestamp, callback) {
            Append::Taken(taken) => return Ok((queue.partition, timestamp, taken)),
            Append::NeedsBatch => {}
            Append::Closed => return Err(Blocked::Refused(accumulator.closed())),
        }
        if by == By::Sticking {
            topic.partitioner.set_batch_size(queue.fill.limit());
            let next = topic.partitioner.at_batch_end(queue.partition, &*topic.partitions);
            if next != queue.partition {
                queue = self::queue(record, topic, next)?;
                match accumulator.append_or_seal(queue, record, timestamp, callback) {
                    Append::Taken(taken) => return Ok((next, timestamp, taken)),
                    Append::NeedsBatch => {}
                    Append::Closed => return Err(Blocked::Refused(accumulator.closed())),
                }
            }
        }
        let timestamp = record.timestamp.unwrap_or_else(|| self.clock.now_millis());
        let begin = Begin { room, now: Instant::now() };
        match accumulator.begin(queue, record, timestamp, callback, begin) {
            Ok(taken) => Ok((queue.partition, timestamp, taken)),
            Err(Lacks::Memory(needed)) => {
                let partition = (by == By::Choice).then_some(queue.partition);
                Err(Blocked::Memory { needed, partition })
            }
            Err(Lacks::Open) => Err(Blocked::Refused(accumulator.closed())),
        }
    }

    /// What fits in a batch that has begun fits everywhere, so only a first record is checked.
    fn check_size(&self, record: &ProducerRecord<'_>) -> Result<(), Blocked> {
        let size = size_upper_bound(record.key, record.value, record.headers);
        let total = self.accumulator.memory().total();
        let (max, property) = if size > self.max_request_size {
            (self.max_request_size, "max.request.size")
        } else if size > total {
            (total, "buffer.memory")
        } else {
            return Ok(());
        };
        Err(Blocked::Refused(SendError::RecordTooLarge { size, max, property }))
    }

    async fn await_topic(&self, topic: &str, deadline: Instant) -> Result<usize, SendError> {
        let began = Instant::now();
        let metadata = self.client.topic(topic, deadline).await.map_err(|error| match error {
            ClientError::MetadataTimeout { last, .. } => SendError::MetadataTimeout {
                topic: topic.to_owned(),
                waited: self.max_block,
                last: last.map(|last| Box::new(Arc::unwrap_or_clone(last))),
            },
            ClientError::Closed => SendError::Closed,
            cause => SendError::Metadata { topic: topic.to_owned(), cause: Box::new(cause) },
        })?;
        let leaders = metadata.partitions.iter().map(|partition| partition.leader);
        self.accumulator.update_topic(topic, leaders)?;
        self.metrics.waited_for_metadata(began, Instant::now());
        Ok(metadata.partitions.len())
    }

    async fn await_memory(
        &self,
        needed: usize,
        deadline: Instant,
    ) -> Result<Reservation, SendError> {
        let _timed = Timed::start(&self.metrics, ProducerMetrics::waited_for_memory);
        let memory = self.accumulator.memory();
        let reserve = memory.reserve(needed);
        // Those who wait make batches leave before their linger is over; the sender has to look.
        self.accumulator.wake();
        match tokio::time::timeout_at(deadline, reserve).await {
            Ok(Some(room)) => Ok(room),
            Ok(None) if self.accumulator.end().is_some() => Err(self.accumulator.closed()),
            Ok(None) | Err(_) => Err(self.buffer_full(needed, self.max_block)),
        }
    }

    fn buffer_full(&self, needed: usize, waited: Duration) -> SendError {
        let memory = self.accumulator.memory();
        let (total, available) = (memory.total(), memory.available());
        SendError::BufferFull { needed, waited, total, available }
    }
}

/// The queue of the record's partition, which the user may have named.
fn queue<'a>(
    record: &ProducerRecord<'_>,
    topic: &'a TopicQueues,
    partition: i32,
) -> Result<&'a Arc<PartitionQueue>, Blocked> {
    let queue = usize::try_from(partition).ok().and_then(|at| topic.partitions.get(at));
    queue.ok_or_else(|| {
        let count = topic.partitions.len();
        if partition >= 0 && record.partition.is_some() {
            return Blocked::Partition { partition, count };
        }
        let topic = record.topic.to_owned();
        Blocked::Refused(SendError::InvalidPartition { topic, partition, count: Some(count) })
    })
}
