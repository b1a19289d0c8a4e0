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
            Some(last) => last.append(record, timestamp, callback),
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
            && let Append::Taken(taken) = last.append(record, timestamp, callback)
        {
            return Append::Taken(taken);
        }
        let appended = batch.append(record, timestamp, callback);
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

    /// As [`PartitionQueue::append`]. If the last batch has no room it is full from now on, and compressed by the caller,
    /// who filled it, without the lock, since that takes long. Says also whether the sender is to look at it.
    pub(crate) fn append_or_seal(
        &self,
        record: &ProducerRecord<'_>,
        timestamp: i64,
        codec: Codec,
        callback: &mut Option<impl Callback>,
    ) -> (Append, bool) {
        let unsealed = {
            let mut batches = self.batches.lock();
            if batches.closed {
                return (Append::Closed, false);
            }
            let Some(last) = batches.queue.back_mut() else { return (Append::NeedsBatch, false) };
            // Another thread may have begun a batch since: that one is not to be sealed for having been slow.
            if let Append::Taken(taken) = last.append(record, timestamp, callback) {
                return (Append::Taken(taken), false);
            }
            let news = last.set_full();
            let compresses = codec.compression() != Compression::None;
            let Some(builder) = compresses.then(|| last.start_sealing()).flatten() else {
                return (Append::NeedsBatch, news);
            };
            (last.id, builder)
        };
        let (id, builder) = unsealed;
        let sealed = builder.seal(codec);
        if let Ok(sealed) = &sealed {
            self.fill.observe(sealed.uncompressed_len(), sealed.len());
        }
        let mut batches = self.batches.lock();
        // One that has expired meanwhile has told its records already.
        if let Some(batch) = batches.queue.iter_mut().rev().find(|batch| batch.id == id) {
            batch.finish_sealing(sealed);
        }
        (Append::NeedsBatch, true)
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

    /// Takes the front to send it, if it has at most `most` bytes; then no record can be added to it. A caller may have
    /// begun to compress it, or to add to it, since [`PartitionQueue::front`] was asked.
    pub(crate) fn take_ready(&self, most: usize) -> Option<Batch> {
        let mut batches = self.batches.lock();
        let first = batches.queue.front()?;
        if first.is_being_sealed() || first.size() > most {
            return None;
        }
        let front = batches.queue.pop_front();
        self.note(&batches);
        front
    }

    /// Takes the front to end it, whatever its state.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::producer::callbacks::no_callback;
    use crate::producer::memory::Memory;

    const LIMIT: usize = 256;

    fn queue(compression: Compression) -> PartitionQueue {
        PartitionQueue::new("t".into(), 0, Arc::new(Fill::new(compression, LIMIT, 16 * LIMIT)))
    }

    fn begin(queue: &PartitionQueue, memory: &Arc<Memory>, id: u64) {
        let room = memory.try_reserve(LIMIT).unwrap();
        let completion = Completion::new(Arc::clone(&queue.topic), 0);
        let batch = Batch::new(id, Instant::now(), completion, room, queue.fill.limit());
        let record = ProducerRecord::new("t", &[7; 100]);
        let appended = queue.append_new(batch, &record, 1, &mut no_callback());
        assert!(matches!(appended, Append::Taken(_)));
    }

    /// The sender found the batch ready; then a caller began to compress it; then the sender took it, without bytes.
    #[test]
    fn a_batch_that_is_being_compressed_is_not_taken_to_be_sent() {
        let (queue, memory) = (queue(Compression::Lz4), Arc::new(Memory::new(4_096, LIMIT)));
        begin(&queue, &memory, 1);
        let front = queue.front(Instant::now(), Duration::ZERO, true);
        assert!(matches!(front, Front::Ready { .. }));
        let builder = queue.batches.lock().queue.front_mut().unwrap().start_sealing().unwrap();
        assert!(queue.take_ready(usize::MAX).is_none());
        assert_eq!(queue.front(Instant::now(), Duration::ZERO, true), Front::Sealing);
        queue.batches.lock().queue.front_mut().unwrap().finish_sealing(builder.seal(Codec::NONE));
        assert!(queue.take_ready(usize::MAX).unwrap().bytes().is_some());
    }

    #[test]
    fn a_batch_that_grew_is_not_taken_into_a_request_without_room() {
        let (queue, memory) = (queue(Compression::None), Arc::new(Memory::new(4_096, LIMIT)));
        begin(&queue, &memory, 1);
        let Front::Ready { size } = queue.front(Instant::now(), Duration::ZERO, true) else {
            panic!("it is urgent")
        };
        let appended = queue.append(&ProducerRecord::new("t", &[7; 9]), 1, &mut no_callback());
        assert!(matches!(appended, Append::Taken(_)));
        assert!(queue.take_ready(size).is_none());
        assert!(queue.take_ready(size + 20).is_some());
    }

    /// Of two whose records found no room, the second must not compress the batch that the first began since.
    #[test]
    fn only_a_batch_that_refuses_the_record_is_full() {
        let (queue, memory) = (queue(Compression::Lz4), Arc::new(Memory::new(4_096, LIMIT)));
        let codec = Codec::new(Compression::Lz4);
        let large = ProducerRecord::new("t", &[7; 200]);
        begin(&queue, &memory, 1);
        let (appended, news) = queue.append_or_seal(&large, 1, codec, &mut no_callback());
        assert!(matches!(appended, Append::NeedsBatch) && news);
        begin(&queue, &memory, 2);
        let small = ProducerRecord::new("t", &[7; 9]);
        let (appended, news) = queue.append_or_seal(&small, 1, codec, &mut no_callback());
        assert!(matches!(appended, Append::Taken(_)) && !news);
    }

    /// Without linger being over, and whether or not another batch follows.
    #[test]
    fn a_batch_that_refused_a_record_is_ready_and_says_so_once() {
        let (queue, memory) = (queue(Compression::None), Arc::new(Memory::new(4_096, LIMIT)));
        let (now, linger) = (Instant::now(), Duration::from_secs(60));
        begin(&queue, &memory, 1);
        assert!(matches!(queue.front(now, linger, false), Front::Lingers(_)));
        for news in [true, false] {
            let large = ProducerRecord::new("t", &[7; 200]);
            let (appended, told) = queue.append_or_seal(&large, 1, Codec::NONE, &mut no_callback());
            assert!(matches!(appended, Append::NeedsBatch));
            assert_eq!(told, news);
            assert!(matches!(queue.front(now, linger, false), Front::Ready { .. }));
        }
    }

    /// The limit went up since the batch was begun: it stays within the memory that it reserved.
    #[test]
    fn a_batch_does_not_outgrow_its_room() {
        let (queue, memory) = (queue(Compression::Lz4), Arc::new(Memory::new(4_096, LIMIT)));
        begin(&queue, &memory, 1);
        (0..300).for_each(|_| queue.fill.observe(10_000, 1_000));
        assert!(queue.fill.limit() > 4 * LIMIT);
        let record = ProducerRecord::new("t", &[7; 200]);
        let appended = queue.append(&record, 1, &mut no_callback());
        assert!(matches!(appended, Append::NeedsBatch));
    }
}
