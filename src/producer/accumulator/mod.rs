//! Where records wait: a queue of batches for each partition, and the list of queues that the sender should look at.
//!
//! User threads append here and nowhere else. The sender is woken on two edges only: a partition's first batch was
//! begun (its linger starts), or a batch was filled. Neither sequences nor leaders are known here.

mod fill;
mod queue;
mod topics;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::error::SendError;
use crate::producer::batch::{Append, Batch, Taken};
use crate::producer::callbacks::Callback;
use crate::producer::delivery::Completion;
use crate::producer::memory::{Memory, Reservation};
use crate::producer::partitioner::{Queues, SlowBrokers, TopicPartitioner};
use crate::producer::record::ProducerRecord;
use crate::record::{Codec, size_upper_bound};
use crate::time::Instant;
use crate::types::BrokerId;

use fill::Fill;
pub(crate) use queue::{Front, PartitionQueue};
pub(crate) use topics::TopicQueues;
use topics::Topics;

/// Into how many batches `buffer.memory` can always be divided, if `batch.size` allows.
const MIN_BATCHES: usize = 64;

/// All queues of one producer.
#[derive(Debug)]
pub(crate) struct Accumulator {
    topics: Topics,
    /// Those of all topics.
    queues: Mutex<Vec<Arc<PartitionQueue>>>,
    /// Set once, when no record may enter any more; guards the making of queues.
    end: Mutex<Option<SendError>>,
    /// Whether `end` is not set: what a send looks at.
    open: AtomicBool,
    memory: Arc<Memory>,
    batch_size: usize,
    /// What a batch has before compression, at most, unless `batch_size` is more.
    max_batch: usize,
    codec: Codec,
    seed: u64,
    adaptive: bool,
    slow: Arc<SlowBrokers>,
    next_batch: AtomicU64,
    unseen: Mutex<Vec<Arc<PartitionQueue>>>,
    changed: Notify,
    flushing: AtomicUsize,
}

/// With what a batch is begun.
#[derive(Debug)]
pub(crate) struct Begin {
    /// Memory that was waited for.
    pub(crate) room: Option<Reservation>,
    pub(crate) now: Instant,
}

/// What a new batch lacks.
#[derive(Debug)]
pub(crate) enum Lacks {
    /// Memory for a batch that holds the record.
    Memory(usize),
    /// A producer that is open.
    Open,
}

impl Queues for [Arc<PartitionQueue>] {
    fn count(&self) -> usize {
        self.len()
    }

    fn waiting(&self, partition: i32) -> usize {
        let queue = usize::try_from(partition).ok().and_then(|at| self.get(at));
        queue.map_or(0, |queue| queue.waiting())
    }
}

impl Accumulator {
    pub(crate) fn new(memory: Arc<Memory>, batch_size: usize, codec: Codec, seed: u64) -> Self {
        Self {
            topics: Topics::default(),
            queues: Mutex::default(),
            end: Mutex::new(None),
            open: AtomicBool::new(true),
            batch_size,
            // Enough partitions can have one each.
            max_batch: memory.total() / MIN_BATCHES,
            memory,
            codec,
            seed,
            adaptive: true,
            slow: Arc::default(),
            next_batch: AtomicU64::new(0),
            unseen: Mutex::default(),
            changed: Notify::new(),
            flushing: AtomicUsize::new(0),
        }
    }

    /// Bounds what a batch has before compression.
    pub(crate) fn max_batch(self, bytes: usize) -> Self {
        Self { max_batch: self.max_batch.min(bytes), ..self }
    }

    /// Whether records without a key go less to partitions for which more waits, as they do unless told.
    pub(crate) fn adaptive(self, adaptive: bool) -> Self {
        Self { adaptive, ..self }
    }

    pub(crate) fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    pub(crate) fn codec(&self) -> Codec {
        self.codec
    }

    /// The topic's queues, if its partitions are known; a lock-free look.
    #[inline]
    pub(crate) fn topic(&self, name: &str) -> Option<&TopicQueues> {
        self.topics.get(name)
    }

    /// Takes up who leads the topic's partitions: makes queues for new ones, and lets keyless records go to those that
    /// are led.
    pub(crate) fn update_topic(
        &self,
        topic: &str,
        leaders: impl ExactSizeIterator<Item = Option<BrokerId>>,
    ) -> Result<(), SendError> {
        self.grow(topic, leaders.len())?;
        if let Some(known) = self.topics.get(topic) {
            known.partitioner.set_leaders(leaders);
        }
        Ok(())
    }

    /// Says which brokers take no batches: keyless records avoid their partitions.
    pub(crate) fn set_slow(&self, brokers: Vec<BrokerId>) {
        if self.slow.set(brokers) {
            let queues = self.queues.lock();
            let firsts = queues.iter().filter(|queue| queue.partition == 0);
            let topics = firsts.filter_map(|queue| self.topics.get(&queue.topic));
            topics.for_each(|topic| topic.partitioner.avoid_slow());
        }
    }

    /// The brokers that keyless records avoid.
    #[cfg(test)]
    pub(crate) fn slow(&self) -> Vec<BrokerId> {
        self.slow.load().to_vec()
    }

    fn grow(&self, topic: &str, partitions: usize) -> Result<(), SendError> {
        let end = self.end.lock();
        if let Some(end) = &*end {
            return Err(end.clone());
        }
        let known = self.topics.get(topic);
        if known.is_some_and(|known| known.partitions.len() >= partitions) {
            return Ok(());
        }
        let name = known
            .and_then(|known| known.partitions.first())
            .map_or_else(|| Arc::from(topic), |queue| Arc::clone(&queue.topic));
        let mut all = self.queues.lock();
        let partitioner = known.map_or_else(
            || {
                let (slow, seed) = (Arc::clone(&self.slow), self.seed ^ all.len() as u64);
                Arc::new(TopicPartitioner::new(self.batch_size, self.adaptive, slow, seed))
            },
            |known| Arc::clone(&known.partitioner),
        );
        let mut queues = known.map(|known| known.partitions.clone()).unwrap_or_default();
        let fill = queues.first().map_or_else(
            || Arc::new(Fill::new(self.codec.compression(), self.batch_size, self.max_batch)),
            |queue| Arc::clone(&queue.fill),
        );
        for partition in queues.len()..partitions {
            let partition = i32::try_from(partition).unwrap_or(i32::MAX);
            let queue =
                Arc::new(PartitionQueue::new(Arc::clone(&name), partition, Arc::clone(&fill)));
            all.push(Arc::clone(&queue));
            queues.push(queue);
        }
        self.topics.set(&name, TopicQueues::new(queues, partitioner));
        Ok(())
    }

    /// Appends the record to its partition's last batch.
    #[inline]
    pub(crate) fn append(
        &self,
        queue: &PartitionQueue,
        record: &ProducerRecord<'_>,
        timestamp: i64,
        callback: &mut Option<impl Callback>,
    ) -> Append {
        queue.append(record, timestamp, callback)
    }

    /// As [`Accumulator::append`], for a record that has not found room: if there still is none, the last batch is full,
    /// and compressed by the caller.
    pub(crate) fn append_or_seal(
        &self,
        queue: &Arc<PartitionQueue>,
        record: &ProducerRecord<'_>,
        timestamp: i64,
        callback: &mut Option<impl Callback>,
    ) -> Append {
        let (appended, news) = queue.append_or_seal(record, timestamp, self.codec, callback);
        if news {
            self.announce(queue);
        }
        appended
    }

    /// Appends the record to a new batch, in `room` or in memory that is free now.
    pub(crate) fn begin(
        &self,
        queue: &Arc<PartitionQueue>,
        record: &ProducerRecord<'_>,
        timestamp: i64,
        callback: &mut Option<impl Callback>,
        Begin { room, now }: Begin,
    ) -> Result<Taken, Lacks> {
        let least = size_upper_bound(record.key, record.value, record.headers);
        let (size, limit) = (least.max(self.batch_size), queue.fill.limit());
        let room = room.filter(|room| room.bytes() >= least);
        // More than `batch.size` only while there is plenty: what is waited for stays the same.
        let plenty = limit > size && self.memory.available() > self.memory.total() / 2;
        let room = room.or_else(|| plenty.then(|| self.memory.try_reserve(limit)).flatten());
        let room = room.or_else(|| self.memory.try_reserve(size)).ok_or(Lacks::Memory(size))?;
        let completion = Completion::new(Arc::clone(&queue.topic), queue.partition);
        let batch = Batch::new(self.next_batch_id(), now, completion, room, limit);
        match queue.append_new(batch, record, timestamp, callback) {
            Append::Taken(taken) => {
                self.announce(queue);
                Ok(taken)
            }
            // A new batch takes any record that is not larger than `max.request.size`.
            Append::NeedsBatch => Err(Lacks::Memory(size)),
            Append::Closed => Err(Lacks::Open),
        }
    }

    /// A number that no batch has had.
    pub(crate) fn next_batch_id(&self) -> u64 {
        self.next_batch.fetch_add(1, Ordering::Relaxed)
    }

    fn announce(&self, queue: &Arc<PartitionQueue>) {
        if queue.list() {
            self.unseen.lock().push(Arc::clone(queue));
        }
        self.changed.notify_one();
    }

    /// Resolves when there is something for the sender to look at. Cancel-safe.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Wakes the sender.
    pub(crate) fn wake(&self) {
        self.changed.notify_one();
    }

    /// The queues that have got batches since they were last found empty.
    pub(crate) fn take_unseen(&self) -> Vec<Arc<PartitionQueue>> {
        std::mem::take(&mut *self.unseen.lock())
    }

    /// Whether batches should leave before their linger is over.
    pub(crate) fn is_urgent(&self) -> bool {
        self.flushing.load(Ordering::Relaxed) > 0 || self.memory.has_waiters()
    }

    /// Overrides linger until the guard is dropped.
    pub(crate) fn start_flush(self: &Arc<Self>) -> FlushGuard {
        self.flushing.fetch_add(1, Ordering::Relaxed);
        FlushGuard(Arc::clone(self))
    }

    /// Lets no record enter any more, and drops the batches that wait, which tells their records.
    pub(crate) fn close(&self, end: SendError) {
        self.refuse(end);
        let queues = self.queues.lock().clone();
        for queue in queues {
            drop(queue.close());
        }
    }

    /// The queues that have batches, whether or not those who appended have announced them yet.
    pub(crate) fn queues_with_batches(&self) -> Vec<Arc<PartitionQueue>> {
        self.queues.lock().iter().filter(|queue| !queue.is_empty()).cloned().collect()
    }

    /// Refuses records from now on; what was accepted goes on.
    pub(crate) fn refuse(&self, end: SendError) {
        self.end.lock().get_or_insert(end);
        self.open.store(false, Ordering::Release);
        self.memory.close();
    }

    /// What to tell a record that came too late.
    pub(crate) fn closed(&self) -> SendError {
        self.end().unwrap_or(SendError::Closed)
    }

    /// Why no record may enter any more.
    #[inline]
    pub(crate) fn end(&self) -> Option<SendError> {
        if self.open.load(Ordering::Acquire) { None } else { self.end.lock().clone() }
    }
}

/// Keeps a flush going.
#[derive(Debug)]
pub(crate) struct FlushGuard(Arc<Accumulator>);

impl Drop for FlushGuard {
    fn drop(&mut self) {
        self.0.flushing.fetch_sub(1, Ordering::Relaxed);
    }
}
