//! Whether the user polls often enough (`max.poll.interval.ms`, KIP-62). What follows if not is for
//! the member's machine.
//!
//! The time runs while the user processes records or its listener is at work, not while a poll waits
//! for records, however long.

use crate::time::{Duration, Instant, deadline};

#[derive(Debug)]
pub(super) struct Polls {
    interval: Duration,
    /// When the user polled last, or was last seen to poll; `None` if it has not since there is
    /// something to poll for.
    last: Option<Instant>,
    polling: bool,
}

impl Polls {
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, last: None, polling: false }
    }

    /// A poll begins.
    pub(super) fn begins(&mut self, at: Instant) {
        self.last = Some(at);
        self.polling = true;
    }

    /// A poll ends, or is given up.
    pub(super) fn ends(&mut self, at: Instant) {
        if std::mem::take(&mut self.polling) {
            self.last = Some(at);
        }
    }

    /// A poll that waits takes something up, or is done with it.
    pub(super) fn goes_on(&mut self, at: Instant) {
        if self.polling {
            self.last = Some(at);
        }
    }

    /// Only a poll from now on counts, or what one that is under way does next.
    pub(super) fn restart(&mut self) {
        self.last = None;
    }

    /// Whether the user has polled since the start.
    pub(super) fn has_polled(&self) -> bool {
        self.last.is_some()
    }

    /// When the user will have waited for too long; `busy` says whether its listener is at work.
    pub(super) fn deadline(&self, busy: bool) -> Option<Instant> {
        let counts = busy || !self.polling;
        self.last.filter(|_| counts).map(|last| deadline(last, self.interval))
    }
}
