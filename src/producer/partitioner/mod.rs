//! Which partition a record goes to, if it does not say so itself: by its key as the Java client does it; without a key,
//! to the partition that sticks until a batch's worth of bytes went there, then to one drawn by how little waits for it
//! (KIP-794); round robin; or as the user's own code says.
//!
//! ```text
//!   record ─► Partitioning ─┬─ key ─────────► murmur2
//!                           ├─ no key ──────► sticky ──(batch full)──► draw ◄── lengths of queues, available
//!                           ├─ round robin ─► round_robin ◄── available
//!                           └─ user's ──────► custom
//! ```
//!
//! It knows no batch: how many wait for a partition is asked through [`Queues`], and only when a partition is drawn.

mod available;
mod custom;
mod draw;
mod murmur2;
mod round_robin;
mod sticky;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

use crate::error::SendError;
use crate::producer::record::ProducerRecord;
use crate::types::BrokerId;

use available::Led;
use round_robin::RoundRobin;
use sticky::Sticky;

pub(crate) use available::SlowBrokers;
pub use custom::{Partitioner, TopicPartitions};
pub(crate) use murmur2::partition_for_key;

/// How a producer chooses partitions.
#[derive(Debug)]
pub(crate) enum Partitioning {
    /// By key, and sticky without one.
    BuiltIn { ignore_keys: bool },
    /// Each partition in its turn, whatever the key.
    RoundRobin,
    /// The user's.
    Custom(Arc<dyn Partitioner>),
}

/// Where a record goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) partition: i32,
    pub(crate) by: By,
}

/// Who chose a record's partition, which decides whether it may change before the record is appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// The record, its key, or the user's partitioner: it stays.
    Choice,
    /// It is the one that sticks: it may change when it needs a new batch.
    Sticking,
    /// It was its turn, which is to be given back if the record is not appended.
    Turn,
}

/// The queues of a topic's partitions, as far as choosing among them goes.
pub(crate) trait Queues {
    /// How many partitions there are.
    fn count(&self) -> usize;

    /// How many batches wait to be sent to the partition.
    fn waiting(&self, partition: i32) -> usize;
}

/// What choosing among the partitions of one topic needs to remember.
#[derive(Debug)]
pub(crate) struct TopicPartitioner {
    sticky: Sticky,
    round_robin: RoundRobin,
    led: ArcSwap<Led>,
    slow: Arc<SlowBrokers>,
    /// Whether what waits for partitions counts (`partitioner.adaptive.partitioning.enable`).
    adaptive: bool,
    random: AtomicU64,
}

impl Partitioning {
    /// Where the record goes. Costs a few relaxed atomics for records without a key, and a hash for those with one.
    #[inline(always)]
    pub(crate) fn place<Q: Queues + ?Sized>(
        &self,
        record: &ProducerRecord<'_>,
        topic: &TopicPartitioner,
        queues: &Q,
    ) -> Result<Place, SendError> {
        let choice = |partition| Place { partition, by: By::Choice };
        if let Some(partition) = record.partition {
            return Ok(choice(partition));
        }
        match (self, record.key) {
            (Self::BuiltIn { ignore_keys: false }, Some(key)) => {
                Ok(choice(partition_for_key(key, queues.count())))
            }
            (Self::BuiltIn { .. }, _) => {
                Ok(Place { partition: topic.current(queues), by: By::Sticking })
            }
            (Self::RoundRobin, _) => {
                let partition = topic.round_robin.next(&topic.led.load(), queues.count());
                Ok(Place { partition, by: By::Turn })
            }
            (Self::Custom(partitioner), _) => {
                let (led, count) = (topic.led.load(), queues.count());
                let known = TopicPartitions::new(count, led.partitions(count));
                custom::ask(&**partitioner, record, &known).map(choice)
            }
        }
    }
}

impl TopicPartitioner {
    /// `batch_size` in bytes; the seed decides what is drawn.
    pub(crate) fn new(
        batch_size: usize,
        adaptive: bool,
        slow: Arc<SlowBrokers>,
        seed: u64,
    ) -> Self {
        Self {
            sticky: Sticky::new(batch_size),
            round_robin: RoundRobin::default(),
            led: ArcSwap::default(),
            slow,
            adaptive,
            random: AtomicU64::new(seed),
        }
    }

    /// Says who leads each partition: those that nobody leads are left out while there are others.
    pub(crate) fn set_leaders(&self, leaders: impl Iterator<Item = Option<BrokerId>>) {
        let led = Led::new(leaders);
        let current = self.sticky.get();
        if led.lacks(current) {
            self.sticky.leave(current);
        }
        if **self.led.load() != led {
            self.led.store(Arc::new(led));
        }
    }

    /// Leaves the partition at once if its broker takes no batches, rather than when a batch is full, which no broker
    /// will take for now.
    pub(crate) fn avoid_slow(&self) {
        let current = self.sticky.get();
        if self.led.load().leader(current).is_some_and(|leader| self.slow.load().contains(&leader))
        {
            self.sticky.leave(current);
        }
    }

    /// Counts the bytes that were appended to the partition that sticks. One that does not fill its batches is left
    /// after two batches' worth.
    #[inline]
    pub(crate) fn appended<Q: Queues + ?Sized>(&self, partition: i32, size: usize, queues: &Q) {
        if self.sticky.appended(size) {
            self.switch(partition, queues);
        }
    }

    /// The partition that sticks needs a new batch, so leaving it now leaves no fragment behind: the partition for that
    /// batch.
    pub(crate) fn at_batch_end<Q: Queues + ?Sized>(&self, partition: i32, queues: &Q) -> i32 {
        if self.sticky.is_due() { self.switch(partition, queues) } else { partition }
    }

    /// Says how many bytes batches take from now on.
    pub(crate) fn set_batch_size(&self, bytes: usize) {
        self.sticky.set_batch_size(bytes);
    }

    /// A record that had its turn was not appended.
    pub(crate) fn give_back_turn(&self) {
        self.round_robin.give_back();
    }

    #[inline]
    fn current<Q: Queues + ?Sized>(&self, queues: &Q) -> i32 {
        match self.sticky.current(queues.count()) {
            Some(current) => current,
            None => self.switch(self.sticky.get(), queues),
        }
    }

    #[cold]
    fn switch<Q: Queues + ?Sized>(&self, from: i32, queues: &Q) -> i32 {
        let (led, count) = (self.led.load(), queues.count());
        let waiting = |partition| if self.adaptive { queues.waiting(partition) } else { 0 };
        let random = self.random();
        let of_all =
            || draw::draw(0..i32::try_from(count).unwrap_or(i32::MAX), from, waiting, random);
        let next = draw::draw(led.without(&self.slow.load(), count), from, waiting, random)
            // If all are slow, none is to be preferred for that; if none is led, one may be by the time it matters.
            .or_else(|| draw::draw(led.without(&[], count), from, waiting, random))
            .or_else(of_all);
        let next = next.unwrap_or(0);
        let now = self.sticky.switch(from, next);
        // Another thread may have been first and know of more partitions, or have left this one for none.
        if usize::try_from(now).is_ok_and(|now| now < count) { now } else { next }
    }

    /// Splitmix64.
    fn random(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.random.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
