//! Which broker to ask what any broker can answer. Pure.
//!
//! As in Kafka's `leastLoadedNode`: an open connection before one that is being opened, before a
//! broker that was not tried for longest, before one that has just failed.

use crate::time::Instant;

/// What is known of the connection to a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Load {
    /// Open, with this many requests on it.
    Open(usize),
    Connecting,
    /// Not connected, and free to be; the time of the last attempt.
    Idle(Option<Instant>),
    /// Not to be connected to before this.
    BackingOff(Instant),
}

/// The place of the best choice; among equals the first one from `start` on, so that clients
/// spread.
pub(super) fn choose(loads: &[Load], start: usize) -> Option<usize> {
    let count = loads.len();
    let places = (0..count).map(|step| (start % count + step) % count);
    // `min_by_key` takes the first of equals.
    places.min_by_key(|at| loads.get(*at).copied())
}

/// Whether no broker can be reached at the moment, as far as is known.
pub(super) fn all_failed(loads: &[Load]) -> bool {
    loads.iter().all(|load| matches!(load, Load::BackingOff(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Duration;

    #[test]
    fn the_order_of_preference() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let best_first = [
            Load::Open(0),
            Load::Open(3),
            Load::Connecting,
            Load::Idle(None),
            Load::Idle(Some(now)),
            Load::Idle(Some(later)),
            Load::BackingOff(now),
            Load::BackingOff(later),
        ];
        for best in 0..best_first.len() {
            for start in 0..10 {
                let mut loads = best_first[best..].to_vec();
                assert_eq!(choose(&loads, start), Some(0));
                loads.reverse();
                assert_eq!(choose(&loads, start), Some(loads.len() - 1));
            }
        }
        assert_eq!(choose(&[], 3), None);
    }

    #[test]
    fn equals_take_turns() {
        let loads = [Load::Idle(None); 3];
        let chosen: Vec<_> = (0..4).map(|start| choose(&loads, start)).collect();
        assert_eq!(chosen, [Some(0), Some(1), Some(2), Some(0)]);
        assert_eq!(choose(&loads, usize::MAX), Some(usize::MAX % 3));
    }

    #[test]
    fn only_back_off_means_that_none_can_be_reached() {
        let now = Instant::now();
        assert!(all_failed(&[Load::BackingOff(now), Load::BackingOff(now)]));
        assert!(!all_failed(&[Load::BackingOff(now), Load::Idle(None)]));
        assert!(!all_failed(&[Load::BackingOff(now), Load::Connecting]));
    }
}
