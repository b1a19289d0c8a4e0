//! The batches of one partition that wait to be sent, oldest first. Senders append to the last one in place; the
//! sender task takes them from the front. When that is due is decided here from the batch's age and the queue's
//! length; whom to send it to, and whether it may go, is not known here.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::producer::accumulator::fill::Fill;
use crate::producer::batch::{Append, Batch};
use crate::producer::callbacks::Callback;
use crate::producer::delivery::Completion;
use crate::producer::record::ProducerRecord;
use crate::record::{Codec, RecordError};
use crate::time::{Duration, Instant};
use crate::types::{Compression, TopicPartition};

/// The queue of one partition.
#[derive(Debug)]
pub(crate) struct PartitionQueue {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    /// When its batches are full: shared by the partitions of the topic.
    pub(crate) fill: Arc<Fill>,
    /// Whether the sender has it on its list; see [`PartitionQueue::unlist_if_empty`].
    listed: AtomicBool,
    batches: Mutex<Batches>,
    /// How many there are, for those who need not know exactly.
    waiting: AtomicUsize,
}

#[derive(Debug, Default)]
struct Batches {
    queue: VecDeque<Batch>,
    closed: bool,
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
    pub(crate) fn new(topic: Arc<str>, partition: i32, fill: Arc<Fill>) -> Self {
        Self {
            topic,
            partition,
            fill,
            listed: AtomicBool::new(false),
            batches: Mutex::default(),
            waiting: AtomicUsize::new(0),
        }
    }

    pub(crate) fn topic_partition(&self) -> TopicPartition {
        TopicPartition::new(&*self.topic, self.partition)
    }

    /// Appends to the last batch, if it is not full.
    #[inline]
    pub(crate) fn append(
        &self,
        record: &ProducerRecord<'_>,
        timestamp: i64,
        callback: &mut Option<impl Callback>,
    ) -> Append {
        let mut batches = self.batches.lock();
        if batches.closed {
            return Append::Closed;
        }
        match batches.queue.back_mut() {
            Some(last) => last.append(record, timestamp, self.fill.limit(), callback),
            None => Append::NeedsBatch,
        }
    }

    /// Appends to the last batch if another thread has made one in the meantime, otherwise to `batch`, which becomes
    /// the last.
    pub(crate) fn append_new(
        &self,
        mut batch: Batch,
        record: &ProducerRecord<'_>,
        timestamp: i64,
        callback: &mut Option<impl Callback>,
    ) -> Append {
        let mut batches = self.batches.lock();
        if batches.closed {
            return Append::Closed;
        }
        if let Some(last) = batches.queue.back_mut()
            && let Append::Taken(taken) =
                last.append(record, timestamp, self.fill.limit(), callback)
        {
            return Append::Taken(taken);
        }
        let appended = batch.append(record, timestamp, self.fill.limit(), callback);
        if let Append::Taken(_) = appended {
            batches.queue.push_back(batch);
            self.note(&batches);
        }
        appended
    }

    /// Whether no batch waits here.
    pub(crate) fn is_empty(&self) -> bool {
        self.batches.lock().queue.is_empty()
    }

    /// Compresses the last batch, which then takes no more records; whether there was anything to do. Compressing takes
    /// long, so the lock is not held meanwhile. A batch that expires in that time has told its records already.
    pub(crate) fn seal_last(&self, codec: Codec) -> bool {
        if codec.compression() == Compression::None {
            return false;
        }
        let (id, builder) = {
            let mut batches = self.batches.lock();
            let Some(last) = batches.queue.back_mut() else { return false };
            let Some(builder) = last.start_sealing() else { return false };
            (last.id, builder)
        };
        let sealed = builder.seal(codec);
        if let Ok(sealed) = &sealed {
            self.fill.observe(sealed.uncompressed_len(), sealed.len());
        }
        let mut batches = self.batches.lock();
        if let Some(batch) = batches.queue.iter_mut().rev().find(|batch| batch.id == id) {
            batch.finish_sealing(sealed);
        }
        true
    }

    /// Compresses a batch that was taken, unless it was full and is compressed already.
    pub(crate) fn seal(&self, batch: &mut Batch, codec: Codec) -> Result<(), RecordError> {
        let was_full = batch.compressed().is_some();
        batch.seal(codec)?;
        if let Some((before, after)) = batch.compressed().filter(|_| !was_full) {
            self.fill.observe(before, after);
        }
        Ok(())
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
        let full = first.is_full() || batches.queue.len() > 1;
        if full || urgent || lingers_until <= now {
            Front::Ready { size: first.size() }
        } else {
            Front::Lingers(lingers_until)
        }
    }

    /// Takes the front, whose records can then no longer be added to.
    pub(crate) fn take_front(&self) -> Option<Batch> {
        let mut batches = self.batches.lock();
        let front = batches.queue.pop_front();
        self.note(&batches);
        front
    }

    /// How many batches wait here, without taking the lock.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    fn note(&self, batches: &Batches) {
        self.waiting.store(batches.queue.len(), Ordering::Relaxed);
    }

    /// When the front was begun.
    pub(crate) fn front_created(&self) -> Option<Instant> {
        self.batches.lock().queue.front().map(|batch| batch.created)
    }

    /// Takes the batches that were begun at `before` or earlier.
    pub(crate) fn take_created_until(&self, before: Instant) -> Vec<Batch> {
        let mut batches = self.batches.lock();
        let expired = batches.queue.iter().take_while(|batch| batch.created <= before).count();
        let expired = batches.queue.drain(..expired).collect();
        self.note(&batches);
        expired
    }

    /// The ends of all batches that wait here.
    pub(crate) fn completions(&self) -> Vec<Arc<Completion>> {
        self.batches.lock().queue.iter().map(|batch| Arc::clone(batch.completion())).collect()
    }

    /// Takes all and accepts no more.
    pub(crate) fn close(&self) -> VecDeque<Batch> {
        let mut batches = self.batches.lock();
        batches.closed = true;
        let all = std::mem::take(&mut batches.queue);
        self.note(&batches);
        all
    }
}
