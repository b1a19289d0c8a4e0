//! A sensor: values go in with their times, and averages, maxima, rates and totals come out. It has
//! no clock and knows no metric by name.
//!
//! The rules are those of Kafka's `SampledStat` and `Rate`. What was recorded is kept in up to
//! `metrics.num.samples` + 1 samples, each of `metrics.sample.window.ms`:
//!
//! ```text
//!   ├─ sample (full) ─┤├─ sample (full) ─┤├─ sample, being filled ─ now
//!   oldest            window              window
//! ```
//!
//! - A sample that is a window old is full: the next value begins another one, in place of the
//!   oldest.
//! - A sample whose last value is `num.samples` windows old is forgotten when somebody looks.
//! - A rate is what the samples hold over the time since the oldest of them began. Windows that
//!   there were not yet count as if nothing had happened in them, so that a first value does not
//!   look like a high rate.
//! - Without values, an average, a maximum and a minimum are not a number, and a rate is 0.

use crate::time::{Duration, Instant};

/// How long values count.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Windows {
    /// `metrics.sample.window.ms`.
    pub(crate) length: Duration,
    /// `metrics.num.samples`, at least 1.
    pub(crate) count: u32,
}

/// What is to be told of a sensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The values' average, in the windows.
    Avg,
    /// The largest value, in the windows.
    Max,
    /// The smallest value, in the windows.
    Min,
    /// The values' sum per second, over the windows.
    Rate,
    /// How many values per second, over the windows.
    CountRate,
    /// How many values per hour, over the windows.
    CountPerHour,
    /// Nanoseconds per nanosecond, over the windows; above 1 where several wait at once.
    Ratio,
    /// As `Ratio`, of one who cannot do it twice at once: a longer span than the windows, of which
    /// the end was recorded just now, counts as all of them.
    Share,
    /// The values' sum since the beginning.
    Total,
    /// How many values since the beginning.
    CountTotal,
    /// What was set last.
    Value,
}

/// Some values, by what can be told of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Tally {
    sum: f64,
    max: f64,
    min: f64,
    count: u64,
}

impl Tally {
    pub(crate) const NONE: Self =
        Self { sum: 0.0, max: f64::NEG_INFINITY, min: f64::INFINITY, count: 0 };

    const fn one(value: f64) -> Self {
        Self { sum: value, max: value, min: value, count: 1 }
    }

    /// Values that were counted elsewhere, of which the smallest is not known: [`Kind::Min`] tells
    /// nothing of them.
    pub(crate) const fn of(sum: f64, max: f64, count: u64) -> Self {
        Self { sum, max, min: f64::INFINITY, count }
    }

    pub(crate) fn add(&mut self, value: f64) {
        self.absorb(Self::one(value));
    }

    fn absorb(&mut self, other: Self) {
        self.sum += other.sum;
        self.max = self.max.max(other.max);
        self.min = self.min.min(other.min);
        self.count += other.count;
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self::NONE
    }
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    began: Instant,
    last: Instant,
    values: Tally,
}

impl Sample {
    fn new(now: Instant) -> Self {
        Self { began: now, last: now, values: Tally::NONE }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Sensor {
    windows: Windows,
    total: Tally,
    current: usize,
    samples: Vec<Sample>,
}

impl Sensor {
    pub(crate) const fn new(windows: Windows) -> Self {
        Self { windows, total: Tally::NONE, current: 0, samples: Vec::new() }
    }

    pub(crate) fn record(&mut self, value: f64, now: Instant) {
        self.record_all(Tally::one(value), now);
    }

    /// Records a span in nanoseconds.
    pub(crate) fn record_nanos(&mut self, span: Duration, now: Instant) {
        self.record(nanos(span), now);
    }

    /// Records values that came together.
    pub(crate) fn record_all(&mut self, values: Tally, now: Instant) {
        if values.count == 0 {
            return;
        }
        self.total.absorb(values);
        let full = |sample: &Sample| since(sample.began, now) >= self.windows.length;
        if self.samples.get(self.current).is_some_and(full) {
            self.advance(now);
        }
        if self.samples.len() <= self.current {
            self.samples.push(Sample::new(now));
        }
        if let Some(sample) = self.samples.get_mut(self.current) {
            sample.values.absorb(values);
            sample.last = sample.last.max(now);
        }
    }

    /// What [`Kind::Value`] tells from now on.
    pub(crate) fn set(&mut self, value: f64) {
        self.total = Tally::one(value);
    }

    /// Looks, which forgets what is too old.
    pub(crate) fn measure(&mut self, kind: Kind, now: Instant) -> f64 {
        match kind {
            Kind::Total | Kind::Value => return self.total.sum,
            Kind::CountTotal => return self.total.count as f64,
            _ => {}
        }
        self.forget(now);
        let mut seen = Tally::NONE;
        self.samples.iter().for_each(|sample| seen.absorb(sample.values));
        match kind {
            Kind::Avg if seen.count > 0 => seen.sum / seen.count as f64,
            Kind::Max if seen.count > 0 => seen.max,
            Kind::Min if seen.min < f64::INFINITY => seen.min,
            Kind::Rate => seen.sum / self.span(now).as_secs_f64(),
            Kind::CountRate => seen.count as f64 / self.span(now).as_secs_f64(),
            Kind::CountPerHour => seen.count as f64 * 3600.0 / self.span(now).as_secs_f64(),
            Kind::Ratio => seen.sum / nanos(self.span(now)),
            Kind::Share => (seen.sum / nanos(self.span(now))).min(1.0),
            _ => f64::NAN,
        }
    }

    fn advance(&mut self, now: Instant) {
        // One more than are looked at: the oldest still overlaps the windows while this one fills.
        let most = self.windows.count as usize + 1;
        self.current = (self.current + 1) % most;
        if let Some(sample) = self.samples.get_mut(self.current) {
            *sample = Sample::new(now);
        }
    }

    fn forget(&mut self, now: Instant) {
        let age = self.windows.length.saturating_mul(self.windows.count);
        for sample in &mut self.samples {
            if since(sample.last, now) >= age {
                *sample = Sample::new(now);
            }
        }
    }

    /// The time that a rate is over; at least a millisecond, Kafka's unit.
    fn span(&mut self, now: Instant) -> Duration {
        if self.samples.is_empty() {
            self.samples.push(Sample::new(now));
        }
        let oldest = self.samples.iter().map(|sample| sample.began).min().unwrap_or(now);
        let elapsed = since(oldest, now);
        let length = self.windows.length;
        let full = elapsed.as_nanos().checked_div(length.as_nanos()).unwrap_or(u128::MAX);
        let full = u32::try_from(full).unwrap_or(u32::MAX);
        let missing = self.windows.count.saturating_sub(1).saturating_sub(full);
        elapsed.saturating_add(length.saturating_mul(missing)).max(Duration::from_millis(1))
    }
}

/// Who recorded may have looked at the clock before somebody else who was faster.
fn since(earlier: Instant, now: Instant) -> Duration {
    now.saturating_duration_since(earlier)
}

fn nanos(span: Duration) -> f64 {
    span.as_nanos() as f64
}

#[cfg(test)]
mod tests;
