//! When to ask again after a failure: a pause that grows with each failure in a row. It does not know
//! what failed.

use crate::time::{Backoff, Instant};

/// A row of failures, and the pause after the last one.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pace {
    failures: u32,
    until: Option<Instant>,
}

impl Pace {
    /// Another failure; `chance` in `0.0..1.0` is its jitter.
    pub(super) fn fail(&mut self, backoff: Backoff, chance: f64, at: Instant) {
        self.until = Some(at + backoff.wait(self.failures, chance));
        self.failures = self.failures.saturating_add(1);
    }

    /// The row has ended.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    /// Whether there is no pause now.
    pub(super) fn is_over(&self, at: Instant) -> bool {
        self.until.is_none_or(|until| until <= at)
    }

    /// The end of the pause, if it is later than `at`.
    pub(super) fn end(&self, at: Instant) -> Option<Instant> {
        self.until.filter(|until| *until > at)
    }
}
