//! How far one partition's log is decided: the transactions that are open in it, and those that were aborted (KIP-98).
//!
//! It knows offsets and producer ids only: not the batches, nor who may begin or end a transaction.
//!
//! ```text
//! offset   0    1    2    3    4    5    6
//!          A    A    B    .   abort B    .        A aborted 0..=4, B still open
//!                    ^ last stable offset: the first record of the oldest open transaction
//!          a read of 0..2 by `read_committed` is told: producer A, first offset 0
//! ```

use std::collections::BTreeMap;

/// A transaction that was aborted in this partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Aborted {
    pub(crate) producer_id: i64,
    pub(crate) first_offset: i64,
    /// That of its marker.
    pub(crate) last_offset: i64,
}

/// See the module's docs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Stability {
    /// Producer ids by the first offset of their open transaction.
    open: BTreeMap<i64, i64>,
    /// In the order of their markers (`TransactionIndex`).
    aborted: Vec<Aborted>,
}

impl Stability {
    /// The first batch of a transaction was appended.
    pub(crate) fn begin(&mut self, producer_id: i64, first_offset: i64) {
        self.open.insert(first_offset, producer_id);
    }

    /// A marker that ends the transaction that began at `first_offset` was appended at `marker`.
    pub(crate) fn end(&mut self, first_offset: i64, marker: i64, committed: bool) {
        if let Some(producer_id) = self.open.remove(&first_offset)
            && !committed
        {
            self.aborted.push(Aborted { producer_id, first_offset, last_offset: marker });
        }
    }

    /// The first offset that is not decided, `end` if all are. What was deleted is decided.
    pub(crate) fn last_stable_offset(&self, start: i64, end: i64) -> i64 {
        self.open.first_key_value().map_or(end, |(&first, _)| first.max(start).min(end))
    }

    /// The aborted transactions that a reader of `from..before` must know, by `TransactionIndex.collectAbortedTxns`.
    pub(crate) fn aborted_in(&self, from: i64, before: i64) -> impl Iterator<Item = &Aborted> {
        let ended = self.aborted.partition_point(|aborted| aborted.last_offset < from);
        let rest = self.aborted.get(ended..).unwrap_or_default();
        rest.iter().filter(move |aborted| aborted.first_offset < before)
    }

    /// The log now starts at `start`.
    pub(crate) fn forget_before(&mut self, start: i64) {
        let gone = self.aborted.partition_point(|aborted| aborted.last_offset < start);
        self.aborted.drain(..gone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(stability: &Stability, from: i64, before: i64) -> Vec<(i64, i64)> {
        stability.aborted_in(from, before).map(|a| (a.producer_id, a.first_offset)).collect()
    }

    #[test]
    fn the_oldest_open_transaction_bounds_what_is_stable() {
        let mut stability = Stability::default();
        assert_eq!(stability.last_stable_offset(0, 7), 7);
        stability.begin(1, 2);
        stability.begin(2, 4);
        assert_eq!(stability.last_stable_offset(0, 7), 2);
        assert_eq!(stability.last_stable_offset(3, 7), 3, "what was deleted is decided");
        stability.end(2, 7, true);
        assert_eq!(stability.last_stable_offset(0, 8), 4);
        stability.end(4, 8, false);
        assert_eq!(stability.last_stable_offset(0, 9), 9);
        assert_eq!(told(&stability, 0, 9), [(2, 4)], "the committed one is not told");
    }

    #[test]
    fn those_that_overlap_a_read_are_told() {
        let mut stability = Stability::default();
        for (producer, first, marker) in [(1, 0, 4), (2, 2, 6), (1, 7, 9)] {
            stability.begin(producer, first);
            stability.end(first, marker, false);
        }
        for (from, before, expected) in [
            (0, 1, &[(1, 0)][..]),
            (0, 3, &[(1, 0), (2, 2)]),
            (4, 5, &[(1, 0), (2, 2)]),
            (5, 7, &[(2, 2)]),
            (5, 8, &[(2, 2), (1, 7)]),
            (10, 20, &[]),
        ] {
            assert_eq!(told(&stability, from, before), expected, "{from}..{before}");
        }
        stability.forget_before(5);
        assert_eq!(told(&stability, 0, 20), [(2, 2), (1, 7)]);
    }
}
