//! Counts of latencies in buckets that are a 64th of their value wide.

use std::time::Duration;

/// Values below are exact; from there on a power of two has so many buckets.
const STEPS: u64 = 64;
/// Enough for a week.
const POWERS: usize = 40;

/// Latencies in microseconds.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    buckets: Vec<u64>,
    pub(crate) count: u64,
    sum: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: vec![0; STEPS as usize * POWERS], count: 0, sum: 0, max: 0 }
    }
}

impl Histogram {
    pub(crate) fn add(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        let last = self.buckets.len() - 1;
        if let Some(bucket) = self.buckets.get_mut(bucket(micros).min(last)) {
            *bucket += 1;
        }
        self.count += 1;
        self.sum = self.sum.saturating_add(micros);
        self.max = self.max.max(micros);
    }

    /// The latency in milliseconds that `part` of all are at or below, to a 64th.
    pub(crate) fn quantile(&self, part: f64) -> f64 {
        let rank = (self.count as f64 * part).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return lowest(index) as f64 / 1000.0;
            }
        }
        self.max()
    }

    /// In milliseconds; 0 if there are none.
    pub(crate) fn average(&self) -> f64 {
        self.sum as f64 / self.count.max(1) as f64 / 1000.0
    }

    /// In milliseconds.
    pub(crate) fn max(&self) -> f64 {
        self.max as f64 / 1000.0
    }
}

fn bucket(micros: u64) -> usize {
    if micros < STEPS {
        return micros as usize;
    }
    let power = u64::from(micros.ilog2()) - 6;
    ((power + 1) * STEPS + (micros >> power) % STEPS) as usize
}

/// The lowest value of a bucket.
fn lowest(bucket: usize) -> u64 {
    match (bucket as u64 / STEPS, bucket as u64 % STEPS) {
        (0, exact) => exact,
        (power, step) => (STEPS + step) << (power - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_a_64th_wide() {
        for micros in (0..100_000).chain((1..40).map(|power| (1 << power) - 1)) {
            let low = lowest(bucket(micros));
            assert!(low <= micros && micros - low <= micros / 64, "{micros}: {low}");
        }
    }

    #[test]
    fn quantiles_average_and_maximum() {
        let mut histogram = Histogram::default();
        for micros in 1..=1000 {
            histogram.add(Duration::from_micros(micros));
        }
        for (part, expected) in [(0.5, 0.5), (0.99, 0.99), (1.0, 1.0)] {
            let quantile = histogram.quantile(part);
            assert!(quantile <= expected && quantile > expected * 0.98, "{part}: {quantile}");
        }
        assert!((histogram.average() - 0.5005).abs() < 1e-9);
        assert!((histogram.max() - 1.0).abs() < 1e-9);
        assert_eq!(histogram.count, 1000);
    }

    #[test]
    fn nothing_is_zero_and_what_is_too_long_is_counted() {
        let mut histogram = Histogram::default();
        assert!(histogram.quantile(0.5) == 0.0 && histogram.average() == 0.0);
        histogram.add(Duration::MAX);
        assert_eq!(histogram.count, 1);
    }
}
