//! What one connection tells the client's metrics: that it is there, and turn by turn what went
//! over it. It looks at the clock for them, and decides nothing.

use crate::metrics::{ClientMetrics, Traffic};
use crate::time::Instant;
use crate::types::BrokerId;
use std::sync::Arc;

/// Counts as a connection from its making until it is dropped.
#[derive(Debug)]
pub(crate) struct Meter {
    metrics: Arc<ClientMetrics>,
    node: BrokerId,
    /// Whether its end is worth counting: there was an address to connect to.
    reached: bool,
    in_turn: bool,
    traffic: Traffic,
}

impl Meter {
    /// A connection to this broker is about to be opened.
    pub(crate) fn connecting(metrics: Arc<ClientMetrics>, node: BrokerId) -> Self {
        metrics.connecting(node);
        Self { metrics, node, reached: true, in_turn: false, traffic: Traffic::default() }
    }

    pub(super) fn connected(&self) {
        self.metrics.connected(Instant::now());
    }

    /// The broker's name has no address.
    pub(super) fn not_resolved(&mut self) {
        self.reached = false;
    }

    pub(super) fn begin_turn(&mut self) {
        self.in_turn = true;
        self.metrics.turn_begins(Instant::now());
    }

    pub(super) fn end_turn(&mut self) {
        if std::mem::take(&mut self.in_turn) {
            let traffic = std::mem::take(&mut self.traffic);
            self.metrics.turn_ends(self.node, &traffic, Instant::now());
        }
    }

    /// One write took this many bytes.
    pub(super) fn sent(&mut self, bytes: usize) {
        if bytes > 0 {
            self.traffic.sent.add(bytes as f64);
        }
    }

    /// The last byte of a request of this size was written.
    pub(super) fn requested(&mut self, size: usize) {
        self.traffic.requests.add(size as f64);
    }

    /// One read gave this many bytes.
    pub(super) fn received(&mut self, bytes: usize) {
        if bytes > 0 {
            self.traffic.received.add(bytes as f64);
        }
    }

    /// A response has come.
    pub(super) fn answered(&mut self) {
        self.traffic.responses.add(1.0);
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        // A panic of the user's transport ends a turn too.
        self.end_turn();
        self.metrics.closed(self.reached, Instant::now());
    }
}
