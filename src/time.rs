//! Time as the cores see it: instants are handed in, waits are computed, and nothing here reads a
//! clock.

use std::fmt;
#[cfg(target_os = "linux")]
use std::sync::atomic::{AtomicI64, Ordering};
pub(crate) use std::time::Duration;
use std::time::{SystemTime, UNIX_EPOCH};
pub(crate) use tokio::time::Instant;

/// Where the timestamps of records come from.
///
/// Nothing but timestamps is taken from it: waits and time-outs are measured by tokio's clock.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Milliseconds since 1970-01-01T00:00Z. Called for the first record of each batch, if it has no
    /// timestamp of its own.
    fn now_millis(&self) -> i64;

    /// As [`Clock::now_millis`], and may be some milliseconds behind if that is cheaper. Called for
    /// the records that join a batch.
    fn recent_millis(&self) -> i64 {
        self.now_millis()
    }
}

/// The clock of the operating system.
///
/// On Linux `recent_millis` reads the clock of the last tick, which costs a fifth and is 1 to 10 ms
/// behind at most, as `CONFIG_HZ` has it; and never behind an earlier `now_millis`.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

/// The latest that `now_millis` said, in any thread.
#[cfg(target_os = "linux")]
static LAST_EXACT: AtomicI64 = AtomicI64::new(0);

impl Clock for SystemClock {
    fn now_millis(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // Not `as_millis`, which divides 128 bits.
        let millis = since.as_secs().wrapping_mul(1_000).wrapping_add(since.subsec_millis().into());
        let millis = i64::try_from(millis).unwrap_or(i64::MAX);
        #[cfg(target_os = "linux")]
        LAST_EXACT.fetch_max(millis, Ordering::Relaxed);
        millis
    }

    #[cfg(target_os = "linux")]
    fn recent_millis(&self) -> i64 {
        /// The longest tick; an exact time that is further ahead was said before the clock was set back.
        const TICK: i64 = 10;
        let tick = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
        let millis = tick.tv_sec * 1_000 + tick.tv_nsec / 1_000_000;
        let exact = LAST_EXACT.load(Ordering::Relaxed);
        if (millis..=millis + TICK).contains(&exact) { exact } else { millis }
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
    fn the_recent_time_is_near_and_not_behind_the_exact_one() {
        for _ in 0..10_000 {
            let exact = SystemClock.now_millis();
            let recent = SystemClock.recent_millis();
            assert!(recent >= exact, "{recent} {exact}");
            assert!(recent <= SystemClock.now_millis(), "{recent} is yet to come");
        }
    }

    #[test]
    fn a_deadline_beyond_time_is_far_away() {
        let now = Instant::now();
        assert_eq!(deadline(now, MS(5)), now + MS(5));
        assert_eq!(deadline(now, Duration::MAX), now + FAR);
    }
}
