//! The sequence of one partition: which number the next new batch gets, and whether one may go now. It counts
//! records; it has never seen a batch.

use crate::types::ProducerIdentity;

/// What a batch is written under: who, and the number of its first record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) identity: ProducerIdentity,
    pub(crate) base_sequence: i32,
}

impl Stamp {
    /// The stamp of what follows the first `count` records of a batch.
    pub(crate) fn after(self, count: u32) -> Self {
        Self { base_sequence: wrapping_add(self.base_sequence, count), ..self }
    }
}

/// The sequence numbers of one partition of one topic id.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Hash))]
pub(crate) struct PartitionSequence {
    /// Under whom the numbers below count; another identity starts from 0.
    identity: Option<ProducerIdentity>,
    next: i32,
    /// Whether the broker has acknowledged a batch of this identity.
    established: bool,
}

impl PartitionSequence {
    /// One that was acknowledged up to `next`.
    #[cfg(test)]
    pub(crate) fn at(identity: ProducerIdentity, next: i32) -> Self {
        Self { identity: Some(identity), next, established: true }
    }

    /// Whether a new batch may go beside `unanswered` ones.
    ///
    /// A broker without state for a producer accepts any first sequence. If the very first batch were answered
    /// NOT_LEADER and the second one, sent with it, met the new leader, the second would be accepted and the first
    /// lost (KAFKA-14312). So the first goes alone until it is acknowledged.
    pub(crate) fn permits(
        &self,
        identity: ProducerIdentity,
        unanswered: usize,
        limit: usize,
    ) -> bool {
        let established = self.established && self.identity == Some(identity);
        unanswered == 0 || established && unanswered < limit
    }

    /// Gives the next `count` numbers to a batch.
    pub(crate) fn stamp(&mut self, identity: ProducerIdentity, count: u32) -> Stamp {
        if self.identity != Some(identity) {
            *self = Self { identity: Some(identity), next: 0, established: false };
        }
        let base_sequence = self.next;
        self.next = wrapping_add(base_sequence, count);
        Stamp { identity, base_sequence }
    }

    /// Whoever leads now has never seen a batch: the next one goes alone, as a first one does.
    pub(crate) fn forgotten(&mut self) {
        self.established = false;
    }

    /// A batch was acknowledged.
    pub(crate) fn acknowledged(&mut self, stamp: Stamp) {
        if self.identity == Some(stamp.identity) {
            self.established = true;
        }
    }
}

/// Sequences are 31 bits wide: 0 follows 2^31 - 1.
fn wrapping_add(sequence: i32, count: u32) -> i32 {
    let sum = (i64::from(sequence) + i64::from(count)) & i64::from(i32::MAX);
    i32::try_from(sum).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: ProducerIdentity = ProducerIdentity { id: 7, epoch: 0 };
    const TWO: ProducerIdentity = ProducerIdentity { id: 7, epoch: 1 };

    #[test]
    fn the_first_batch_of_an_identity_goes_alone() {
        let mut sequence = PartitionSequence::default();
        assert!(sequence.permits(ONE, 0, 5));
        let first = sequence.stamp(ONE, 10);
        assert_eq!(first.base_sequence, 0);
        assert!(!sequence.permits(ONE, 1, 5));
        sequence.acknowledged(first);
        assert!(sequence.permits(ONE, 4, 5));
        assert!(!sequence.permits(ONE, 5, 5));
        assert_eq!(sequence.stamp(ONE, 1).base_sequence, 10);
        assert!(!sequence.permits(TWO, 1, 5), "a new epoch starts anew");
        assert_eq!(sequence.stamp(TWO, 1).base_sequence, 0);
        sequence.acknowledged(first);
        assert!(!sequence.permits(TWO, 1, 5), "the acknowledgement was of the epoch before");
    }

    #[test]
    fn wraps_to_zero() {
        let mut sequence = PartitionSequence::at(ONE, i32::MAX - 1);
        assert_eq!(sequence.stamp(ONE, 2).base_sequence, i32::MAX - 1);
        assert_eq!(sequence.stamp(ONE, 3).base_sequence, 0);
        assert_eq!(wrapping_add(i32::MAX, 1), 0);
        assert_eq!(wrapping_add(i32::MAX, 3), 2);
    }
}
