//! When a broker may be connected to again, and how long it gets to accept. Pure.
//!
//! | event | next attempt | its set-up time-out |
//! |---|---|---|
//! | connected | - | the shortest |
//! | an open connection was lost | after `reconnect.backoff.ms` | the shortest |
//! | an attempt failed | after twice the wait before, up to a maximum | twice that before, likewise |
//!
//! Give or take a fifth, and as in Kafka's `ClusterConnectionStates` (KIP-144, KIP-601).

use crate::time::{Backoff, Duration, Instant};

/// The two schedules, the same for all brokers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedules {
    /// `reconnect.backoff.ms` to `reconnect.backoff.max.ms`.
    pub(super) reconnect: Backoff,
    /// `socket.connection.setup.timeout.ms` to `socket.connection.setup.timeout.max.ms`.
    pub(super) setup: Backoff,
}

/// What is remembered about a broker.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reconnect {
    failures: u32,
    failed_setups: u32,
    not_before: Option<Instant>,
    last_attempt: Option<Instant>,
}

impl Reconnect {
    /// When the next attempt may begin, if not at once.
    pub(super) fn not_before(&self) -> Option<Instant> {
        self.not_before
    }

    pub(super) fn last_attempt(&self) -> Option<Instant> {
        self.last_attempt
    }

    /// An attempt is begun; says how long it may take.
    pub(super) fn begin(&mut self, schedules: Schedules, now: Instant, chance: f64) -> Duration {
        self.last_attempt = Some(now);
        schedules.setup.wait(self.failed_setups, chance)
    }

    pub(super) fn connected(&mut self) {
        *self = Self { last_attempt: self.last_attempt, ..Self::default() };
    }

    pub(super) fn failed(&mut self, schedules: Schedules, now: Instant, chance: f64) {
        self.failed_setups = self.failed_setups.saturating_add(1);
        self.back_off(schedules, now, chance);
    }

    pub(super) fn lost(&mut self, schedules: Schedules, at: Instant, chance: f64) {
        self.failed_setups = 0;
        self.back_off(schedules, at, chance);
    }

    fn back_off(&mut self, schedules: Schedules, now: Instant, chance: f64) {
        self.not_before = now.checked_add(schedules.reconnect.wait(self.failures, chance));
        self.failures = self.failures.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn schedules() -> Schedules {
        Schedules {
            reconnect: Backoff::new(MS(50), MS(1000)),
            setup: Backoff::new(MS(10_000), MS(30_000)),
        }
    }

    #[test]
    fn failures_in_a_row_double_the_wait_and_the_allowance() {
        let now = Instant::now();
        let mut reconnect = Reconnect::default();
        assert_eq!(reconnect.not_before(), None);
        let mut steps = Vec::new();
        for _ in 0..7 {
            let allowance = reconnect.begin(schedules(), now, 0.5);
            reconnect.failed(schedules(), now, 0.5);
            steps.push((allowance, reconnect.not_before().unwrap() - now));
        }
        let expected = [
            (10_000, 50),
            (20_000, 100),
            (30_000, 200),
            (30_000, 400),
            (30_000, 800),
            (30_000, 1000),
            (30_000, 1000),
        ];
        assert_eq!(steps, expected.map(|(allowance, wait)| (MS(allowance), MS(wait))));
    }

    #[test]
    fn a_connection_starts_both_anew() {
        let now = Instant::now();
        let mut reconnect = Reconnect::default();
        for _ in 0..5 {
            reconnect.begin(schedules(), now, 0.5);
            reconnect.failed(schedules(), now, 0.5);
        }
        reconnect.connected();
        assert_eq!((reconnect.not_before(), reconnect.last_attempt()), (None, Some(now)));
        reconnect.lost(schedules(), now, 0.5);
        assert_eq!(reconnect.not_before(), Some(now + MS(50)));
        assert_eq!(reconnect.begin(schedules(), now, 0.5), MS(10_000));
    }
}
