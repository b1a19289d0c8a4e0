//! Who the producer is to the brokers, and when that must change. Pure: it asks for an id and is given one.
//!
//! ```text
//!   Unknown ──asks──► Asked ──given──► Known ──bump requested──► Bumping ──all fates known──► Known (epoch + 1)
//!      ▲                 │                                          │ (epoch used up)
//!      └──failed─────────┘◄─────────────────────────────────────────┘
//! ```
//!
//! An epoch bump (KIP-360) is a barrier over all partitions. While it is pending no batch is sent for the first time;
//! those that may have been written are sent again as they are, until the broker's answer tells their fate. Only then
//! the epoch rises, and what was not written gets new numbers under it. Bumping earlier would let a written batch be
//! written once more.
//!
//! The producer raises its epoch by itself, as Java's without transactions does, which brokers of every version take: it
//! needs no fall-back. Only when the epoch is used up is another producer id asked for.

mod partition;

use crate::types::ProducerIdentity;

pub(crate) use partition::{PartitionSequence, Stamp};

/// The producer's identity.
#[derive(Debug)]
#[cfg_attr(test, derive(Hash))]
pub(crate) struct Sequencer {
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(test, derive(Hash))]
enum State {
    Unknown,
    Asked,
    Known(ProducerIdentity),
    Bumping(ProducerIdentity),
}

impl Sequencer {
    pub(crate) fn new() -> Self {
        Self { state: State::Unknown }
    }

    /// Who to write as, also while a bump is pending.
    pub(crate) fn identity(&self) -> Option<ProducerIdentity> {
        match self.state {
            State::Unknown | State::Asked => None,
            State::Known(identity) | State::Bumping(identity) => Some(identity),
        }
    }

    /// Whether a producer id must be asked for; then it counts as asked.
    pub(crate) fn ask(&mut self) -> bool {
        let ask = self.state == State::Unknown;
        if ask {
            self.state = State::Asked;
        }
        ask
    }

    pub(crate) fn given(&mut self, identity: ProducerIdentity) {
        if self.state == State::Asked {
            self.state = State::Known(identity);
        }
    }

    /// The question got no answer; it will be put again.
    pub(crate) fn ask_again(&mut self) {
        if self.state == State::Asked {
            self.state = State::Unknown;
        }
    }

    /// Sequence numbers were lost: no new batch may go under this epoch.
    pub(crate) fn request_bump(&mut self) {
        if let State::Known(identity) = self.state {
            self.state = State::Bumping(identity);
        }
    }

    pub(crate) fn is_bumping(&self) -> bool {
        matches!(self.state, State::Bumping(_))
    }

    /// The fate of every batch is known: the next epoch begins, or, after the last one, a new producer id is needed.
    pub(crate) fn bump(&mut self) {
        if let State::Bumping(ProducerIdentity { id, epoch }) = self.state {
            self.state = match epoch.checked_add(1) {
                // The broker keeps the highest epoch for its own fencing.
                Some(epoch) if epoch < i16::MAX => State::Known(ProducerIdentity { id, epoch }),
                _ => State::Unknown,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_once_and_bumps_only_at_the_barrier() {
        let mut sequencer = Sequencer::new();
        assert!(sequencer.ask());
        assert!(!sequencer.ask());
        sequencer.ask_again();
        assert!(sequencer.ask());
        sequencer.given(ProducerIdentity { id: 3, epoch: 0 });
        sequencer.bump();
        assert_eq!(
            sequencer.identity(),
            Some(ProducerIdentity { id: 3, epoch: 0 }),
            "not requested"
        );
        sequencer.request_bump();
        assert!(sequencer.is_bumping());
        assert_eq!(sequencer.identity(), Some(ProducerIdentity { id: 3, epoch: 0 }));
        sequencer.bump();
        assert_eq!(sequencer.identity(), Some(ProducerIdentity { id: 3, epoch: 1 }));
    }

    #[test]
    fn after_the_last_epoch_comes_a_new_id() {
        let last = ProducerIdentity { id: 3, epoch: i16::MAX - 1 };
        let mut sequencer = Sequencer { state: State::Known(last) };
        sequencer.request_bump();
        sequencer.bump();
        assert_eq!(sequencer.identity(), None);
        assert!(sequencer.ask());
    }
}
