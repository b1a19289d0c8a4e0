//! Time as the cores see it: instants are handed in, waits are computed, and nothing here reads a
//! clock.

use std::fmt;
pub(crate) use std::time::Duration;
use std::time::{SystemTime, UNIX_EPOCH};
pub(crate) use tokio::time::Instant;

/// Where the timestamps of records come from.
///
/// Nothing but timestamps is taken from it: waits and time-outs are measured by tokio's clock.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Milliseconds since 1970-01-01T00:00Z. Called for each record that has no timestamp of its
    /// own.
    fn now_millis(&self) -> i64;
}

/// The clock of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_millis(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // Not `as_millis`, which divides 128 bits.
        let millis = since.as_secs().wrapping_mul(1_000).wrapping_add(since.subsec_millis().into());
        i64::try_from(millis).unwrap_or(i64::MAX)
    }
}

/// A time-out longer than time can be counted stands for this.
const FAR: Duration = Duration::from_secs(60 * 60 * 24 * 365);

/// When a time-out that begins now is over; in a year if it is longer than time can be counted.
pub(crate) fn deadline(now: Instant, timeout: Duration) -> Instant {
    now.checked_add(timeout).unwrap_or(now + FAR)
}

/// How long to wait after the n-th failure in a row: doubling from `initial` to `max`, give or take
/// a fifth.
///
/// The rule is that of Kafka's `ExponentialBackoff`, which serves its retries, reconnects and
/// connection set-up time-outs (KIP-144, KIP-580, KIP-601). The randomness is handed in, so that
/// the same inputs give the same wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Backoff {
    initial: Duration,
    max: Duration,
}

impl Backoff {
    /// The part of a wait by which chance may shorten or lengthen it.
    const JITTER: f64 = 0.2;

    /// A schedule; if `max` is not above `initial`, every wait is `max`, as in Kafka.
    pub(crate) const fn new(initial: Duration, max: Duration) -> Self {
        Self { initial, max }
    }

    /// The wait after `failures` failures before this one, with `chance` in `0.0..1.0`.
    ///
    /// Never above `max`, as Kafka since KIP-580.
    pub(crate) fn wait(self, failures: u32, chance: f64) -> Duration {
        if self.max <= self.initial {
            return self.max;
        }
        // As in Kafka a zero start stays zero: the back-off is off.
        let base = self.initial.saturating_mul(1_u32.checked_shl(failures).unwrap_or(u32::MAX));
        let spread = 1.0 - Self::JITTER + 2.0 * Self::JITTER * chance.clamp(0.0, 1.0);
        base.min(self.max).mul_f64(spread).min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn doubles_up_to_the_maximum() {
        let backoff = Backoff::new(MS(50), MS(1000));
        let waits: Vec<_> = (0..8).map(|n| backoff.wait(n, 0.5).as_millis()).collect();
        assert_eq!(waits, [50, 100, 200, 400, 800, 1000, 1000, 1000]);
        assert_eq!(backoff.wait(u32::MAX, 0.5), MS(1000));
    }

    #[test]
    fn chance_moves_a_wait_by_a_fifth_and_never_above_the_maximum() {
        let backoff = Backoff::new(MS(100), MS(1000));
        assert_eq!(backoff.wait(1, 0.0), MS(160));
        assert_eq!(backoff.wait(1, 1.0), MS(240));
        assert_eq!(backoff.wait(9, 0.0), MS(800));
        assert_eq!(backoff.wait(9, 1.0), MS(1000));
    }

    #[test]
    fn a_maximum_not_above_the_start_is_taken_from_the_start() {
        for max in [MS(100), MS(300)] {
            let backoff = Backoff::new(MS(300), max);
            assert_eq!((backoff.wait(0, 1.0), backoff.wait(7, 0.0)), (max, max));
        }
        assert_eq!(Backoff::new(MS(0), MS(100)).wait(7, 0.5), MS(0));
        assert_eq!(Backoff::new(MS(100), MS(0)).wait(7, 0.5), MS(0));
    }

    #[test]
    fn a_deadline_beyond_time_is_far_away() {
        let now = Instant::now();
        assert_eq!(deadline(now, MS(5)), now + MS(5));
        assert_eq!(deadline(now, Duration::MAX), now + FAR);
    }
}
