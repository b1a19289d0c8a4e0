//! What was counted of commits, for the metrics of `consumer-coordinator-metrics`. It knows no windows
//! and no rates: who reads it takes what has come since the last time.

use crate::time::Duration;

/// What happened since the last [`CommitStats::take`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct CommitStats {
    /// Answers to OffsetCommit requests.
    pub(crate) answered: u64,
    /// How long those took, in all and at most.
    pub(crate) latency_total: Duration,
    pub(crate) latency_max: Duration,
}

impl CommitStats {
    pub(super) fn record(&mut self, latency: Duration) {
        self.answered += 1;
        self.latency_total = self.latency_total.saturating_add(latency);
        self.latency_max = self.latency_max.max(latency);
    }

    /// Gives what was counted and starts from 0.
    pub(crate) fn take(&mut self) -> Self {
        std::mem::take(self)
    }
}
