//! How many bytes of records a batch takes before it is full, so that after compression it comes near `batch.size`.
//!
//! The estimate is Kafka's (`CompressionRatioEstimator`): one ratio per topic, which goes up fast and comes down slowly,
//! and a margin. What a batch holds in memory is bounded too, as it is compressed only when it is full.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use crate::types::Compression;

/// By how much the estimate improves at most, batch by batch, and by how much it gets worse at least.
const IMPROVING_STEP: f32 = 0.005;
const DETERIORATING_STEP: f32 = 0.05;
/// A batch is taken to come out so much larger than estimated.
const MARGIN: f32 = 1.05;
/// The bytes of records in memory for a byte of `batch.size`, at most.
const MAX_EXPANSION: usize = 16;

/// When the batches of one topic are full.
#[derive(Debug)]
pub(crate) struct Fill {
    batch_size: usize,
    /// No batch is larger, however well its topic compresses: should it not, it still can be sent.
    most: usize,
    compresses: bool,
    /// The bits of an `f32`.
    ratio: AtomicU32,
    limit: AtomicUsize,
}

impl Fill {
    /// For batches of `batch_size` bytes on the wire. Before compression they have at most `most`, or a multiple of
    /// `batch_size`.
    pub(crate) fn new(compression: Compression, batch_size: usize, most: usize) -> Self {
        Self {
            batch_size,
            most: batch_size.saturating_mul(MAX_EXPANSION).min(most).max(batch_size),
            compresses: compression != Compression::None,
            ratio: AtomicU32::new(1.0_f32.to_bits()),
            limit: AtomicUsize::new(batch_size),
        }
    }

    /// The bytes of a full batch before compression.
    #[inline]
    pub(crate) fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// A batch was compressed. Of two at a time, one may go unheard.
    pub(crate) fn observe(&self, uncompressed: usize, compressed: usize) {
        // A few records tell little of a full batch.
        if !self.compresses || uncompressed < self.batch_size / 2 {
            return;
        }
        let observed = compressed as f32 / uncompressed as f32;
        let known = f32::from_bits(self.ratio.load(Ordering::Relaxed));
        self.set(if observed > known {
            observed.max(known + DETERIORATING_STEP)
        } else {
            observed.max(known - IMPROVING_STEP)
        });
    }

    /// A batch was too large for the broker: no more is expected of compression.
    pub(crate) fn too_large(&self) {
        if self.compresses {
            self.set(f32::from_bits(self.ratio.load(Ordering::Relaxed)).max(1.0));
        }
    }

    fn set(&self, ratio: f32) {
        self.ratio.store(ratio.to_bits(), Ordering::Relaxed);
        // As the estimate is never 0 this is finite; a float that does not fit becomes the nearest that does.
        let limit = (self.batch_size as f32 / (ratio * MARGIN).max(f32::MIN_POSITIVE)) as usize;
        self.limit.store(limit.clamp(self.batch_size, self.most), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BATCH: usize = 16_384;
    const REQUEST: usize = 1 << 20;

    #[test]
    fn without_compression_a_batch_is_what_it_is() {
        let fill = Fill::new(Compression::None, BATCH, REQUEST);
        fill.observe(100, 10);
        assert_eq!(fill.limit(), BATCH);
    }

    #[test]
    fn improves_by_small_steps_until_batches_come_near_the_size() {
        let fill = Fill::new(Compression::Lz4, BATCH, REQUEST);
        let mut before = fill.limit();
        for _ in 0..200 {
            fill.observe(10_000, 2_500);
            assert!(fill.limit() >= before && fill.limit() <= before + before / 20);
            before = fill.limit();
        }
        let wire = fill.limit() / 4;
        assert!((BATCH * 9 / 10..=BATCH).contains(&wire), "{wire}");
    }

    #[test]
    fn one_batch_that_compresses_badly_is_enough_to_be_careful() {
        let fill = Fill::new(Compression::Lz4, BATCH, REQUEST);
        (0..200).for_each(|_| fill.observe(10_000, 1_000));
        assert!(fill.limit() > 8 * BATCH);
        fill.observe(10_000, 10_000);
        assert_eq!(fill.limit(), BATCH);
    }

    #[test]
    fn a_few_records_tell_little() {
        let fill = Fill::new(Compression::Lz4, BATCH, REQUEST);
        (0..200).for_each(|_| fill.observe(10_000, 1_000));
        fill.observe(100, 120);
        assert!(fill.limit() > 8 * BATCH);
    }

    #[test]
    fn a_refused_batch_ends_all_hope_for_a_while() {
        let fill = Fill::new(Compression::Zstd, BATCH, REQUEST);
        (0..200).for_each(|_| fill.observe(10_000, 1_000));
        fill.too_large();
        assert_eq!(fill.limit(), BATCH);
    }

    #[test]
    fn memory_is_bounded_and_a_batch_can_be_sent_whatever_comes() {
        let fill = Fill::new(Compression::Gzip, BATCH, 100_000);
        (0..300).for_each(|_| fill.observe(1_000_000, 1));
        assert_eq!(fill.limit(), 100_000);
        let fill = Fill::new(Compression::Gzip, BATCH, usize::MAX);
        (0..300).for_each(|_| fill.observe(1_000_000, 1));
        assert_eq!(fill.limit(), 16 * BATCH);
    }
}
