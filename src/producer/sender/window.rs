//! The batches of one partition between their first send and their end, in sequence order, and what the sender knows
//! about the partition. A batch ends for its records only when all before it have ended, so deliveries keep order.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::error::Cause;
use crate::producer::accumulator::PartitionQueue;
use crate::producer::batch::Batch;
use crate::producer::delivery::Outcome;
use crate::producer::sequencer::{PartitionSequence, Stamp};
use crate::time::Instant;
use crate::types::{BrokerId, ProducerIdentity, TopicId};

/// Who leads a partition, by the newest metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Leadership {
    pub(crate) leader: Option<BrokerId>,
    pub(crate) epoch: i32,
    pub(crate) topic_id: TopicId,
}

/// One partition, as the sender sees it.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) queue: Arc<PartitionQueue>,
    pub(super) leadership: Leadership,
    pub(super) sequence: PartitionSequence,
    pub(super) window: VecDeque<Slot>,
    /// Whether it is among those that the sender visits.
    pub(super) active: bool,
    /// Since when it is not.
    pub(super) idle_since: Option<Instant>,
    /// The last transaction that it was part of.
    pub(super) enrolled_in: u64,
    /// The last transaction in which its leader has written.
    pub(super) verified_in: u64,
    /// Why its last attempt failed, until one succeeds: what batches wait for that have not been sent themselves.
    pub(super) last_error: Option<Cause>,
}

/// A batch that was sent, or is about to be.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) batch: Batch,
    pub(super) stamp: Option<Stamp>,
    pub(super) state: SlotState,
    /// Whether an attempt may have left its records in the log.
    pub(super) maybe_written: bool,
    /// Under which leader epoch the last attempt went out.
    pub(super) sent_to_epoch: Option<i32>,
    /// After how many attempts the next one last went without a pause.
    hurried: Option<u32>,
    /// How often it has met the markers of the transaction before.
    pub(super) too_early: u32,
}

#[derive(Debug)]
pub(super) enum SlotState {
    /// To be sent, again if `batch.attempts` is not 0, but not before.
    Waiting {
        not_before: Instant,
    },
    InFlight,
    /// Its end, which is told when all before it have ended.
    Ended(Outcome),
    /// Its records' wait has ended by expiry; its bytes live until the request ends.
    Abandoned,
}

impl Partition {
    pub(super) fn new(queue: Arc<PartitionQueue>, leadership: Leadership) -> Self {
        Self {
            queue,
            leadership,
            sequence: PartitionSequence::default(),
            window: VecDeque::new(),
            active: false,
            idle_since: None,
            enrolled_in: 0,
            verified_in: 0,
            last_error: None,
        }
    }

    /// The topic was deleted and made anew. In the new one any first number is taken, so all that has numbers goes out
    /// again one after the other, what is known not to be written too: a later batch would close the door on it.
    pub(super) fn made_anew(&mut self) {
        self.sequence.forgotten();
        self.verified_in = 0;
        let numbered = self.window.iter_mut().filter(|slot| slot.stamp.is_some());
        numbered.filter(|slot| slot.is_waiting() || slot.is_in_flight()).for_each(|slot| {
            slot.maybe_written = true;
        });
    }

    /// How many batches are with brokers, unanswered.
    pub(super) fn in_flight(&self) -> usize {
        self.window.iter().filter(|slot| slot.is_in_flight()).count()
    }

    /// The first batch that waits to be sent; under a pending bump, the first whose fate is to be found out.
    /// And when its pause is over.
    pub(super) fn first_waiting(&self, bumping: bool) -> Option<(usize, Instant)> {
        self.window.iter().enumerate().find_map(|(at, slot)| match slot.state {
            SlotState::Waiting { not_before } if !bumping || slot.has_unknown_fate() => {
                Some((at, not_before))
            }
            _ => None,
        })
    }

    /// Whether every batch before `index` has been acknowledged.
    pub(super) fn is_head(&self, index: usize) -> bool {
        self.window
            .iter()
            .take(index)
            .all(|slot| matches!(slot.state, SlotState::Ended(Outcome::Written { .. })))
    }

    pub(super) fn position(&self, batch: u64) -> Option<usize> {
        self.window.iter().position(|slot| slot.batch.id == batch)
    }

    /// Tells the ends that no earlier batch holds back, and frees their memory. One that was abandoned has told its own
    /// end, so it holds nobody back.
    pub(super) fn settle(&mut self) {
        for slot in &mut self.window {
            match &slot.state {
                SlotState::Ended(outcome) => {
                    slot.batch.complete(outcome.clone());
                }
                SlotState::Abandoned => {}
                SlotState::Waiting { .. } | SlotState::InFlight => break,
            }
        }
        self.window
            .retain(|slot| !matches!(slot.state, SlotState::Ended(_)) || !slot.batch.has_ended());
    }

    /// Whether a batch stands in the way of an epoch bump: it may have been written, and that can still be found out.
    pub(super) fn holds_bump(&self) -> bool {
        self.window
            .iter()
            .any(|slot| slot.is_in_flight() || slot.is_waiting() && slot.has_unknown_fate())
    }
}

impl Slot {
    pub(super) fn new(batch: Batch, now: Instant) -> Self {
        Self {
            batch,
            stamp: None,
            state: SlotState::Waiting { not_before: now },
            maybe_written: false,
            sent_to_epoch: None,
            hurried: None,
            too_early: 0,
        }
    }

    /// What the batch has become is sent as if for the first time.
    pub(super) fn restart(&mut self, now: Instant) {
        self.state = SlotState::Waiting { not_before: now };
        self.hurried = None;
        self.too_early = 0;
    }

    /// How often it was sent, without those that met the markers of the transaction before: that is no failure.
    pub(super) fn tries(&self) -> u32 {
        self.batch.attempts.saturating_sub(self.too_early)
    }

    /// Whether the next attempt may go without a pause: never twice in a row, or brokers that name each other as the
    /// leader, or never take a sequence, would keep it going as fast as the network does.
    pub(super) fn may_hurry(&mut self) -> bool {
        let attempts = self.batch.attempts;
        let may = self.hurried.is_none_or(|hurried| attempts > hurried + 1);
        if may {
            self.hurried = Some(attempts);
        }
        may
    }

    /// Whether the partition has got another leader, or the same for another term, since the last attempt.
    pub(super) fn is_behind(&self, leadership: Leadership) -> bool {
        leadership.leader.is_some()
            && self.sent_to_epoch.is_some_and(|epoch| leadership.epoch > epoch)
    }

    /// Ends the pause before the next attempt if a new leader has become known: it did not fail (KIP-951).
    pub(super) fn skip_pause(&mut self, leadership: Leadership, now: Instant) -> bool {
        let skip = self.is_behind(leadership) && self.may_hurry();
        if skip {
            self.state = SlotState::Waiting { not_before: now };
        }
        skip
    }

    /// Whether it may have been written, and sending it again would tell.
    pub(super) fn has_unknown_fate(&self) -> bool {
        self.maybe_written && self.stamp.is_some()
    }

    /// Writes the stamp into the batch's header, or that it has none.
    pub(super) fn write_stamp(&mut self, transactional: bool) {
        let (identity, sequence) = self
            .stamp
            .map_or((ProducerIdentity::NONE, -1), |stamp| (stamp.identity, stamp.base_sequence));
        self.batch.stamp(identity, sequence, transactional);
    }

    /// Unanswered, abandoned or not.
    pub(super) fn is_in_flight(&self) -> bool {
        matches!(self.state, SlotState::InFlight | SlotState::Abandoned)
    }

    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.state, SlotState::Waiting { .. })
    }
}
