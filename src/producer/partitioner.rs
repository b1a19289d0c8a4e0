//! Which partition a record goes to: by its key as the Java client does it, or, without a key, to the partition that
//! sticks until a batch's worth of bytes went there (KIP-794).

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwap;

/// The partition of a key among `count`: murmur2 as in Kafka's `Utils.murmur2`, made positive, modulo.
pub(crate) fn partition_for_key(key: &[u8], count: usize) -> i32 {
    let count = i32::try_from(count).unwrap_or(i32::MAX).max(1);
    (murmur2(key).cast_signed() & i32::MAX) % count
}

fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    const SEED: u32 = 0x9747_b28c;
    // Java's length is an int: longer keys cannot be records anyway.
    let mut h = SEED ^ (data.len() as u32);
    let mut chunks = data.chunks_exact(4);
    for chunk in &mut chunks {
        let mut k = chunk.iter().rev().fold(0u32, |k, &byte| (k << 8) | u32::from(byte));
        k = k.wrapping_mul(M);
        k ^= k >> 24;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        h ^= rest.iter().rev().fold(0u32, |k, &byte| (k << 8) | u32::from(byte));
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^ (h >> 15)
}

/// The partition that keyless records of one topic go to for now.
#[derive(Debug)]
pub(crate) struct Sticky {
    current: AtomicI32,
    produced: AtomicUsize,
    random: AtomicU64,
    /// Bytes after which the next partition's turn comes (`batch.size`).
    bytes: usize,
    /// The partitions that have a leader.
    led: ArcSwap<Vec<i32>>,
}

impl Sticky {
    pub(crate) fn new(bytes: usize, seed: u64) -> Self {
        Self {
            current: AtomicI32::new(-1),
            produced: AtomicUsize::new(0),
            random: AtomicU64::new(seed),
            bytes,
            led: ArcSwap::default(),
        }
    }

    /// Says of each partition whether it has a leader: the others are left out while there are any.
    pub(crate) fn set_led(&self, led: impl Iterator<Item = bool>) {
        let led: Vec<i32> = (0..).zip(led).filter_map(|(at, led)| led.then_some(at)).collect();
        let current = self.current.load(Ordering::Relaxed);
        let lost = current >= 0 && !led.is_empty() && !led.contains(&current);
        if **self.led.load() != led {
            self.led.store(Arc::new(led));
        }
        if lost {
            self.switch(current, 0);
        }
    }

    /// The partition among `count`.
    pub(crate) fn current(&self, count: usize) -> i32 {
        let current = self.current.load(Ordering::Relaxed);
        if usize::try_from(current).is_ok_and(|current| current < count) {
            return current;
        }
        self.switch(current, count)
    }

    /// Counts the bytes that were appended. A partition that does not fill its batches is left after two batches' worth.
    pub(crate) fn appended(&self, partition: i32, size: usize, count: usize) {
        let produced = self.produced.fetch_add(size, Ordering::Relaxed) + size;
        if produced >= self.bytes.saturating_mul(2) {
            self.switch(partition, count);
        }
    }

    /// The partition's last batch is full, so leaving it now leaves no fragment behind: the partition for the next batch.
    pub(crate) fn batch_full(&self, partition: i32, count: usize) -> i32 {
        if self.produced.load(Ordering::Relaxed) >= self.bytes.saturating_sub(self.bytes / 8) {
            self.switch(partition, count)
        } else {
            partition
        }
    }

    fn switch(&self, from: i32, count: usize) -> i32 {
        let next = self.draw(from, count);
        match self.current.compare_exchange(from, next, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => {
                self.produced.store(0, Ordering::Relaxed);
                next
            }
            // Another thread switched first.
            Err(current) => current,
        }
    }

    /// Another partition than `from`, if there is one, by chance.
    fn draw(&self, from: i32, count: usize) -> i32 {
        let led = self.led.load();
        let choices = if led.is_empty() { count } else { led.len() };
        let nth = |n: usize| match led.get(n) {
            Some(&partition) => partition,
            None => i32::try_from(n).unwrap_or(0),
        };
        let drawn = self.random(choices);
        if nth(drawn) != from || choices < 2 {
            return nth(drawn);
        }
        nth((drawn + 1 + self.random(choices - 1)) % choices)
    }

    /// A number below `bound`, which is not 0 (splitmix64).
    fn random(&self, bound: usize) -> usize {
        let mut z = self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z >> 33) % bound.max(1) as u64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of Kafka's own `UtilsTest.testMurmur2`.
    #[test]
    fn murmur2_is_javas() {
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
    }

    #[test]
    fn sticks_until_a_batch_is_full_and_reaches_all() {
        let sticky = Sticky::new(100, 7);
        let mut seen = [0usize; 4];
        for _ in 0..400 {
            let partition = sticky.current(4);
            sticky.appended(partition, 50, 4);
            assert_eq!(sticky.batch_full(partition, 4), partition, "half a batch's worth");
            sticky.appended(partition, 50, 4);
            assert_eq!(sticky.current(4), partition, "it may have room");
            let next = sticky.batch_full(partition, 4);
            assert_ne!(next, partition);
            assert_eq!(sticky.current(4), next);
            seen[usize::try_from(partition).unwrap()] += 1;
        }
        assert!(seen.iter().all(|&n| n > 50), "{seen:?}");
    }

    #[test]
    fn leaves_a_partition_that_never_fills_a_batch() {
        let sticky = Sticky::new(100, 7);
        let partition = sticky.current(4);
        sticky.appended(partition, 199, 4);
        assert_eq!(sticky.current(4), partition);
        sticky.appended(partition, 1, 4);
        assert_ne!(sticky.current(4), partition);
    }

    #[test]
    fn avoids_partitions_without_a_leader_while_there_are_others() {
        let sticky = Sticky::new(1, 3);
        sticky.set_led([false, true, false, true].into_iter());
        for _ in 0..50 {
            let partition = sticky.current(4);
            assert!([1, 3].contains(&partition), "{partition}");
            sticky.appended(partition, 2, 4);
        }
        sticky.set_led([false, true, false, false].into_iter());
        assert_eq!(sticky.current(4), 1, "left at once");
        sticky.set_led([false; 4].into_iter());
        assert!((0..4).contains(&sticky.current(4)));
    }

    #[test]
    fn one_partition_and_a_shrunken_topic() {
        let sticky = Sticky::new(10, 1);
        assert_eq!(sticky.current(1), 0);
        sticky.appended(0, 100, 1);
        assert_eq!(sticky.current(1), 0);
        let sticky = Sticky::new(10, 1);
        sticky.current.store(9, Ordering::Relaxed);
        assert!((0..3).contains(&sticky.current(3)));
    }
}
