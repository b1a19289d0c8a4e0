//! The batches of one partition that wait to be sent, oldest first. Senders append to the last one in place; the
//! sender task takes them from the front. When that is due is decided here from the batch's age and the queue's
//! length; whom to send it to, and whether it may go, is not known here.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::producer::batch::{Appended, Batch};
use crate::producer::delivery::{CallbackFn, Completion};
use crate::producer::record::ProducerRecord;
use crate::record::{BatchBuilder, Codec};
use crate::time::{Duration, Instant};
use crate::types::{Compression, TopicPartition};

/// The queue of one partition.
#[derive(Debug)]
pub(crate) struct PartitionQueue {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    /// Whether the sender has it on its list; see [`PartitionQueue::unlist_if_empty`].
    listed: AtomicBool,
    batches: Mutex<Batches>,
}

#[derive(Debug, Default)]
struct Batches {
    queue: VecDeque<Batch>,
    closed: bool,
}

/// What came of an append.
#[derive(Debug)]
pub(crate) enum Append {
    Done(Appended),
    /// The last batch has no room, or there is none: make one and call [`PartitionQueue::append_new`]. If the last
    /// batch is to be compressed, that is the caller's, who filled it.
    NeedsBatch(Option<Unsealed>),
    Closed,
}

/// A full batch's records on their way to be compressed by the thread that filled it.
#[derive(Debug)]
pub(crate) struct Unsealed {
    batch: u64,
    builder: BatchBuilder,
}

/// The state of a queue's front.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Front {
    Empty,
    /// A caller is compressing it, and will say when it is done.
    Sealing,
    /// It may leave; `size` is what it will take of a request, or a little more.
    Ready {
        size: usize,
    },
    /// Its linger ends then.
    Lingers(Instant),
}

impl PartitionQueue {
    pub(crate) fn new(topic: Arc<str>, partition: i32) -> Self {
        Self { topic, partition, listed: AtomicBool::new(false), batches: Mutex::default() }
    }

    pub(crate) fn topic_partition(&self) -> TopicPartition {
        TopicPartition::new(&*self.topic, self.partition)
    }

    /// Appends to the last batch while it stays within `limit` bytes.
    pub(crate) fn append(
        &self,
        record: &ProducerRecord<'_>,
        timestamp: i64,
        limit: usize,
        codec: Codec,
        callback: &mut Option<CallbackFn>,
    ) -> Append {
        let mut batches = self.batches.lock();
        if batches.closed {
            return Append::Closed;
        }
        let Some(last) = batches.queue.back_mut() else { return Append::NeedsBatch(None) };
        if let Some(appended) = last.append(record, timestamp, limit, callback) {
            return Append::Done(appended);
        }
        // Compressing takes long: it happens outside of the lock, by the thread that filled the batch.
        let batch = last.id;
        let unsealed =
            if codec.compression() == Compression::None { None } else { last.start_sealing() };
        Append::NeedsBatch(unsealed.map(|builder| Unsealed { batch, builder }))
    }

    /// Appends to the last batch if another thread has made one in the meantime, otherwise to `batch`, which becomes
    /// the last.
    pub(crate) fn append_new(
        &self,
        mut batch: Batch,
        record: &ProducerRecord<'_>,
        timestamp: i64,
        limit: usize,
        callback: &mut Option<CallbackFn>,
    ) -> Append {
        let mut batches = self.batches.lock();
        if batches.closed {
            return Append::Closed;
        }
        let last = batches.queue.back_mut();
        if let Some(appended) = last.and_then(|b| b.append(record, timestamp, limit, callback)) {
            return Append::Done(appended);
        }
        match batch.append(record, timestamp, limit, callback) {
            Some(appended) => {
                batches.queue.push_back(batch);
                Append::Done(appended)
            }
            None => Append::NeedsBatch(None),
        }
    }

    /// Whether no batch waits here.
    pub(crate) fn is_empty(&self) -> bool {
        self.batches.lock().queue.is_empty()
    }

    /// Compresses a full batch and puts it back. If it has expired meanwhile, its records have ended already.
    pub(crate) fn seal(&self, unsealed: Unsealed, codec: Codec) {
        let Unsealed { batch, builder } = unsealed;
        let sealed = builder.seal(codec);
        let mut batches = self.batches.lock();
        if let Some(batch) = batches.queue.iter_mut().rev().find(|b| b.id == batch) {
            batch.finish_sealing(sealed);
        }
    }

    /// Whether the caller is the one to put the queue on the sender's list.
    pub(crate) fn list(&self) -> bool {
        !self.listed.swap(true, Ordering::AcqRel)
    }

    /// Says whether the queue is empty, and if so that it is off the sender's list: who appends next lists it again.
    pub(crate) fn unlist_if_empty(&self) -> bool {
        let batches = self.batches.lock();
        let empty = batches.queue.is_empty();
        if empty {
            // Under the lock: an append either came before and was seen, or comes after and finds it unlisted.
            self.listed.store(false, Ordering::Release);
        }
        empty
    }

    /// The state of the front at `now`. `urgent` overrides linger: a flush, a close, or senders that wait for memory.
    pub(crate) fn front(&self, now: Instant, linger: Duration, urgent: bool) -> Front {
        let batches = self.batches.lock();
        let Some(first) = batches.queue.front() else { return Front::Empty };
        if first.is_being_sealed() {
            return Front::Sealing;
        }
        let lingers_until = first.created + linger;
        let full = !first.is_open() || batches.queue.len() > 1;
        if full || urgent || lingers_until <= now {
            Front::Ready { size: first.size() }
        } else {
            Front::Lingers(lingers_until)
        }
    }

    /// Takes the front, whose records can then no longer be added to.
    pub(crate) fn take_front(&self) -> Option<Batch> {
        self.batches.lock().queue.pop_front()
    }

    /// When the front was begun.
    pub(crate) fn front_created(&self) -> Option<Instant> {
        self.batches.lock().queue.front().map(|batch| batch.created)
    }

    /// Takes the batches that were begun at `before` or earlier.
    pub(crate) fn take_created_until(&self, before: Instant) -> Vec<Batch> {
        let mut batches = self.batches.lock();
        let expired = batches.queue.iter().take_while(|batch| batch.created <= before).count();
        batches.queue.drain(..expired).collect()
    }

    /// The ends of all batches that wait here.
    pub(crate) fn completions(&self) -> Vec<Arc<Completion>> {
        self.batches.lock().queue.iter().map(|batch| Arc::clone(batch.completion())).collect()
    }

    /// Takes all and accepts no more.
    pub(crate) fn close(&self) -> VecDeque<Batch> {
        let mut batches = self.batches.lock();
        batches.closed = true;
        std::mem::take(&mut batches.queue)
    }
}
