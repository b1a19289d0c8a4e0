//! What is under way to one broker, and when it may be asked again.

use super::session::Session;
use crate::time::{Duration, Instant, deadline};

/// A broker that partitions are fetched from.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) fetching: bool,
    pub(super) listing: bool,
    pub(super) validating: bool,
    pub(super) session: Session,
    /// How many answers in a row brought nothing although the broker could still have waited.
    early: u32,
    /// No fetch before then.
    fetch_from: Option<Instant>,
    /// As the broker has it (KIP-219).
    throttled_until: Option<Instant>,
}

/// How long a broker is left alone that finds nothing, time and again, and does not wait for more:
/// it would be asked without end. With `fetch.min.bytes=0` that is what it was told to do.
const EARLY_PAUSE: Duration = Duration::from_millis(20);

impl Node {
    /// Takes note of an answer; `early` is until when it could have waited, if it was one of those.
    pub(super) fn note_early(&mut self, early: Option<Instant>, now: Instant) {
        self.early = early.map_or(0, |_| self.early.saturating_add(1));
        self.fetch_from =
            early.filter(|_| self.early > 1).map(|until| until.min(now + EARLY_PAUSE));
    }

    /// Takes note of how long the broker wants to be left alone, which is believed up to a limit.
    pub(super) fn note_throttle(&mut self, millis: i32, limit: Duration, now: Instant) {
        let throttle = Duration::from_millis(u64::try_from(millis).unwrap_or(0)).min(limit);
        self.throttled_until = (!throttle.is_zero()).then(|| deadline(now, throttle));
    }

    /// Until when it is sent no fetch.
    pub(super) fn waits_until(&self) -> Option<Instant> {
        self.fetch_from.max(self.throttled_until)
    }

    /// Whether it can be sent a fetch.
    pub(super) fn takes_fetch(&self, now: Instant) -> bool {
        !self.fetching && self.waits_until().is_none_or(|from| from <= now)
    }
}
