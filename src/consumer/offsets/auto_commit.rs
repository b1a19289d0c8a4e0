//! When a poll commits by itself (`enable.auto.commit`). What is committed, and the commits before a
//! revocation and on close, are the consumer's business.
//!
//! As in Java: a poll commits what earlier polls handed out, without waiting for it, once
//! `auto.commit.interval.ms` have passed since it did so last; if that commit fails in a way that may
//! pass, the next poll after `retry.backoff.ms` tries again.

use crate::time::{Duration, Instant, deadline};

/// The timer of commits that polls make by themselves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AutoCommit {
    interval: Duration,
    retry: Duration,
    next: Instant,
    /// One is under way: another would only repeat it.
    under_way: bool,
}

impl AutoCommit {
    /// `interval` is `auto.commit.interval.ms`, `retry` is `retry.backoff.ms`.
    pub(crate) fn new(interval: Duration, retry: Duration, at: Instant) -> Self {
        Self { interval, retry, next: deadline(at, interval), under_way: false }
    }

    /// Whether the poll of this moment is to commit; then it counts as begun, and has to be
    /// [ended](Self::ended).
    pub(crate) fn begins(&mut self, at: Instant) -> bool {
        let begins = !self.under_way && self.next <= at;
        if begins {
            self.next = deadline(at, self.interval);
            self.under_way = true;
        }
        begins
    }

    /// The one that was begun has ended; `again` says that it failed in a way that may pass.
    pub(crate) fn ended(&mut self, again: bool, at: Instant) {
        self.under_way = false;
        if again {
            self.next = self.next.min(deadline(at, self.retry));
        }
    }

    /// Everything has just been committed in another way, as before a revocation.
    pub(crate) fn restart(&mut self, at: Instant) {
        self.next = deadline(at, self.interval);
    }

    /// When a poll that waits for records should look again; `None` as long as one is under way, and
    /// with an interval of 0, which is for the polls to come.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        (!self.under_way && !self.interval.is_zero()).then_some(self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn a_poll_commits_once_in_an_interval() {
        let start = Instant::now();
        let mut auto = AutoCommit::new(MS(5000), MS(100), start);
        assert!(!auto.begins(start) && !auto.begins(start + MS(4999)));
        assert_eq!(auto.deadline(), Some(start + MS(5000)));
        // Counted from the poll that did it, which may be late.
        assert!(auto.begins(start + MS(7000)));
        auto.ended(false, start + MS(7010));
        assert!(!auto.begins(start + MS(11_999)));
        assert!(auto.begins(start + MS(12_000)));
    }

    #[test]
    fn one_that_is_under_way_is_not_repeated() {
        let start = Instant::now();
        let mut auto = AutoCommit::new(MS(0), MS(100), start);
        assert!(auto.begins(start));
        assert!(!auto.begins(start + MS(9000)));
        assert_eq!(auto.deadline(), None);
        auto.ended(false, start + MS(9000));
        // An interval of 0: every poll.
        assert!(auto.begins(start + MS(9000)));
    }

    #[test]
    fn a_failure_that_may_pass_is_tried_again_soon() {
        let start = Instant::now();
        let mut auto = AutoCommit::new(MS(5000), MS(100), start);
        assert!(auto.begins(start + MS(5000)));
        auto.ended(true, start + MS(5200));
        assert!(!auto.begins(start + MS(5299)));
        assert!(auto.begins(start + MS(5300)));
        // One that will not pass waits for its turn.
        auto.ended(false, start + MS(5400));
        assert!(!auto.begins(start + MS(10_299)));
        assert!(auto.begins(start + MS(10_300)));
        // Not later than its turn, either.
        auto.ended(true, start + MS(15_250));
        assert!(auto.begins(start + MS(15_300)));
        auto.ended(false, start + MS(15_301));
        auto.restart(start + MS(19_000));
        assert!(!auto.begins(start + MS(23_999)) && auto.begins(start + MS(24_000)));
    }

    #[test]
    fn an_interval_beyond_time_is_far_away() {
        let start = Instant::now();
        let mut auto = AutoCommit::new(Duration::MAX, MS(100), start);
        assert!(!auto.begins(start + Duration::from_secs(1_000_000)));
    }
}
