//! The partition that records without a key stick to, and when it has had enough: by bytes, at the end of a batch
//! (KIP-794). Which one comes next is not known here.
//!
//! Java leaves a partition when `batch.size` bytes went to it and its last batch has no room, or twice that in any
//! case. Since a batch is full a little before it has `batch.size` bytes, that is about two batches a turn. Here seven
//! eighths are enough: a partition gets one batch, full, and then another has its turn.

use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

const NONE: i32 = -1;

#[derive(Debug)]
pub(super) struct Sticky {
    current: AtomicI32,
    /// Bytes that went to it, or a little less: see [`Sticky::appended`].
    produced: AtomicUsize,
    /// Bytes of a full batch.
    batch_size: AtomicUsize,
}

impl Sticky {
    pub(super) fn new(batch_size: usize) -> Self {
        Self {
            current: AtomicI32::new(NONE),
            produced: AtomicUsize::new(0),
            batch_size: AtomicUsize::new(batch_size),
        }
    }

    /// The partition, if there is one and it is among the first `count`.
    #[inline]
    pub(super) fn current(&self, count: usize) -> Option<i32> {
        let current = self.current.load(Ordering::Relaxed);
        usize::try_from(current).is_ok_and(|at| at < count).then_some(current)
    }

    /// The partition, or -1.
    pub(super) fn get(&self) -> i32 {
        self.current.load(Ordering::Relaxed)
    }

    /// Counts the bytes that were appended, and says whether the partition must be left even if its batch has room: one
    /// whose batches never fill up, since others begin them, would be kept for ever.
    ///
    /// Threads may overwrite each other's counts: a partition is then left a few records later, which is cheaper than an
    /// exact count of each record.
    #[inline]
    pub(super) fn appended(&self, size: usize) -> bool {
        let produced = self.produced.load(Ordering::Relaxed).saturating_add(size);
        self.produced.store(produced, Ordering::Relaxed);
        produced >= self.batch_size.load(Ordering::Relaxed).saturating_mul(2)
    }

    /// Says how many bytes batches take from now on: more than `batch.size` when they compress well.
    pub(super) fn set_batch_size(&self, bytes: usize) {
        self.batch_size.store(bytes, Ordering::Relaxed);
    }

    /// Whether the partition has had its share, so that it can be left at the end of a batch.
    pub(super) fn is_due(&self) -> bool {
        let batch_size = self.batch_size.load(Ordering::Relaxed);
        let share = batch_size - batch_size / 8;
        self.produced.load(Ordering::Relaxed) >= share
    }

    /// Goes from one partition to the next, unless another thread was first: then its choice holds.
    pub(super) fn switch(&self, from: i32, next: i32) -> i32 {
        match self.current.compare_exchange(from, next, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => {
                self.produced.store(0, Ordering::Relaxed);
                next
            }
            Err(current) => current,
        }
    }

    /// Leaves the partition without a next one.
    pub(super) fn leave(&self, from: i32) {
        self.switch(from, NONE);
    }
}
