//! What a member has counted, for the metrics of `consumer-coordinator-metrics`. It knows no
//! windows and no rates: who reads it takes what has come since the last time.

use crate::time::{Duration, Instant};

/// How often something happened, and how long it took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Timing {
    pub(crate) count: u64,
    pub(crate) total: Duration,
    pub(crate) max: Duration,
}

impl Timing {
    pub(super) fn record(&mut self, took: Duration) {
        self.count += 1;
        self.total = self.total.saturating_add(took);
        self.max = self.max.max(took);
    }
}

/// What happened since the last [`GroupStats::take`]; of the rest, how it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct GroupStats {
    /// Heartbeats that were answered, by either protocol, and how long the answer took.
    pub(crate) heartbeat: Timing,
    /// Heartbeats that were sent.
    pub(crate) heartbeats_sent: u64,
    /// JoinGroup requests that were answered without an error.
    pub(crate) join: Timing,
    /// SyncGroup requests that were answered without an error.
    pub(crate) sync: Timing,
    /// Rebalances that ended in an assignment: from the first wish to (re)join, or from the news of
    /// another assignment with `group.protocol=consumer`.
    pub(crate) rebalance: Timing,
    /// Attempts to rebalance that failed.
    pub(crate) failed_rebalances: u64,
    /// How long the user's listener took for partitions assigned, revoked and lost.
    pub(crate) assigned: Timing,
    pub(crate) revoked: Timing,
    pub(crate) lost: Timing,
    /// When a heartbeat was sent last.
    pub(crate) last_heartbeat: Option<Instant>,
    /// When a rebalance ended last.
    pub(crate) last_rebalance: Option<Instant>,
}

impl GroupStats {
    /// Gives what was counted and starts from 0; the times of the last ones stay.
    pub(crate) fn take(&mut self) -> Self {
        let Self { last_heartbeat, last_rebalance, .. } = *self;
        std::mem::replace(self, Self { last_heartbeat, last_rebalance, ..Self::default() })
    }
}
