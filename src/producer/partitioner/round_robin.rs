//! Each partition in its turn, as Java's `RoundRobinPartitioner`: of those that have a leader, if there are any.
//!
//! Java's asks twice for each record that begins a batch, and so skips every second partition when batches hold one
//! record (KAFKA-9965). Here a record that was not appended gives its turn back.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::producer::partitioner::available::Led;

/// The turn of one topic.
#[derive(Debug, Default)]
pub(super) struct RoundRobin(AtomicUsize);

impl RoundRobin {
    /// The partition whose turn it is, among `count`.
    pub(super) fn next(&self, led: &Led, count: usize) -> i32 {
        let turn = self.0.fetch_add(1, Ordering::Relaxed);
        let led = led.partitions(count);
        match led.get(turn % led.len().max(1)) {
            Some(&partition) => partition,
            None => i32::try_from(turn % count.max(1)).unwrap_or(0),
        }
    }

    /// Takes a turn back. Under contention the next record gets it, whichever that is: what counts is that no partition
    /// is skipped.
    pub(super) fn give_back(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
