//! A broker as the sender sees it: whether a request can go to it now. It opens no connection and knows no batch.

use crate::error::{Cause, ClientError, ErrorCode};
use crate::time::{Duration, Instant};

/// What is known of one broker.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) state: NodeState,
    pub(super) in_flight: usize,
    /// Until when it wants no requests.
    throttled_until: Option<Instant>,
    /// Since when it has left a batch waiting; see `stall`.
    pub(super) stalled_since: Option<Instant>,
    pub(super) last_error: Option<ClientError>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum NodeState {
    #[default]
    Unconnected,
    Connecting,
    Connected,
    /// The last attempt failed; the next may be made then.
    Unreachable(Instant),
}

/// Whether a request can go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Readiness {
    Ready,
    /// Something is under way that will be told.
    Busy,
    /// Not before then.
    Until(Instant),
    /// A connection is needed.
    Unconnected,
}

impl Node {
    pub(super) fn readiness(&self, max_in_flight: usize, now: Instant) -> Readiness {
        match (self.state, self.throttled_until) {
            (NodeState::Connecting, _) => Readiness::Busy,
            (NodeState::Unreachable(until), _) if now < until => Readiness::Until(until),
            (NodeState::Unconnected | NodeState::Unreachable(_), _) => Readiness::Unconnected,
            (NodeState::Connected, Some(until)) if now < until => Readiness::Until(until),
            (NodeState::Connected, _) if self.in_flight < max_in_flight => Readiness::Ready,
            (NodeState::Connected, _) => Readiness::Busy,
        }
    }

    /// The broker has answered, and wants to be left alone for so long (`throttle_time_ms`, KIP-219). After `longest` it
    /// may be asked again all the same: it enforces its quota itself, and what it said may be wrong.
    pub(super) fn answered(&mut self, throttle_ms: i32, longest: Duration, now: Instant) {
        self.last_error = None;
        let wait = u64::try_from(throttle_ms).ok().filter(|&millis| millis > 0);
        let until = wait.map(|millis| now + Duration::from_millis(millis).min(longest));
        // Answers that were on their way together may differ.
        self.throttled_until = self.throttled_until.max(until);
    }

    /// Why no request goes to it, as far as is known.
    pub(super) fn obstacle(&self, now: Instant) -> Option<Cause> {
        match self.throttled_until {
            Some(until) if now < until => Some(Cause::Broker(
                ErrorCode::THROTTLING_QUOTA_EXCEEDED,
                Some(format!("the broker wants no requests for another {:?}", until - now)),
            )),
            _ => self.last_error.clone().map(Cause::Client),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table() {
        let now = Instant::now();
        let later = now + Duration::from_millis(5);
        let mut node = Node::default();
        assert_eq!(node.readiness(1, now), Readiness::Unconnected);
        node.state = NodeState::Connecting;
        assert_eq!(node.readiness(1, now), Readiness::Busy);
        node.state = NodeState::Unreachable(later);
        assert_eq!(node.readiness(1, now), Readiness::Until(later));
        assert_eq!(node.readiness(1, later), Readiness::Unconnected);
        node.state = NodeState::Connected;
        assert_eq!(node.readiness(1, now), Readiness::Ready);
        node.answered(5, Duration::MAX, now);
        assert_eq!(node.readiness(1, now), Readiness::Until(later));
        assert!(matches!(node.obstacle(now), Some(Cause::Broker(..))));
        assert!(node.obstacle(later).is_none());
        node.answered(i32::MAX, Duration::from_millis(5), now);
        assert_eq!(node.readiness(1, now), Readiness::Until(later), "no longer than that");
        assert_eq!(node.readiness(1, later), Readiness::Ready);
        node.answered(-1, Duration::MAX, now);
        assert_eq!(node.readiness(1, now), Readiness::Until(later), "that one still stands");
        node.in_flight = 1;
        assert_eq!(node.readiness(1, later), Readiness::Busy);
    }
}
