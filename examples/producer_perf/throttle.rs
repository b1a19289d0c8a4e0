//! When to wait so that records leave at about the rate asked for: the rule of Kafka's `ThroughputThrottler`.

use std::time::Duration;

/// Shorter waits are saved up, since a timer is not exact enough for them.
const SHORTEST: Duration = Duration::from_millis(2);

#[derive(Debug)]
pub(crate) struct Throttle {
    /// Records per second; negative for as many as possible.
    rate: f64,
    start: i64,
    owed: Duration,
}

impl Throttle {
    /// `start` is in milliseconds, as all times here.
    pub(crate) fn new(rate: f64, start: i64) -> Self {
        Self { rate, start, owed: Duration::ZERO }
    }

    /// How long to wait before the next record, `sent` records after the start and with the last one sent at `now`.
    pub(crate) fn pause(&mut self, sent: u64, now: i64) -> Option<Duration> {
        let elapsed = (now - self.start) as f64 / 1000.0;
        if self.rate < 0.0 || elapsed <= 0.0 || sent as f64 / elapsed <= self.rate {
            return None;
        }
        self.owed += Duration::from_secs_f64(1.0 / self.rate);
        (self.owed >= SHORTEST).then(|| std::mem::take(&mut self.owed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unlimited_never_waits() {
        assert_eq!(Throttle::new(-1.0, 0).pause(1_000_000, 1), None);
    }

    #[test]
    fn waits_only_when_ahead_and_saves_up_short_waits() {
        let mut throttle = Throttle::new(1000.0, 500);
        assert_eq!(throttle.pause(100, 500), None, "no time has passed");
        assert_eq!(throttle.pause(100, 600), None, "just in time");
        assert_eq!(throttle.pause(101, 600), None, "one millisecond ahead is saved up");
        assert_eq!(throttle.pause(102, 600), Some(Duration::from_millis(2)));
        assert_eq!(throttle.pause(103, 600), None, "and paid only once");
    }

    #[test]
    fn a_slow_rate_waits_a_record_long() {
        let mut throttle = Throttle::new(0.5, 0);
        assert_eq!(throttle.pause(1, 1), Some(Duration::from_secs(2)));
    }
}
