//! The batches of one partition between their first send and their end, in sequence order, and what the sender knows
//! about the partition. A batch ends for its records only when all before it have ended, so deliveries keep order.

use std::collections::VecDeque;
use std::sync::Arc;

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
}

/// A batch that was sent, or is about to be.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) batch: Batch,
    pub(super) stamp: Option<Stamp>,
    pub(super) state: SlotState,
    /// Whether an attempt may have left its records in the log.
    pub(super) maybe_written: bool,
    /// To whom the last attempt went, and under which leader epoch.
    pub(super) sent_to: Option<(BrokerId, i32)>,
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
        }
    }

    /// How many batches are with brokers, unanswered.
    pub(super) fn in_flight(&self) -> usize {
        self.window.iter().filter(|slot| slot.is_in_flight()).count()
    }

    /// The first batch that waits to be sent.
    pub(super) fn first_waiting(&self) -> Option<(usize, &Slot)> {
        self.window.iter().enumerate().find(|(_, slot)| slot.is_waiting())
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

    /// Tells the ends that no earlier batch holds back, and frees their memory.
    pub(super) fn settle(&mut self) {
        while let Some(SlotState::Ended(_)) = self.window.front().map(|slot| &slot.state) {
            let Some(Slot { mut batch, state: SlotState::Ended(outcome), .. }) =
                self.window.pop_front()
            else {
                return;
            };
            batch.complete(outcome);
        }
    }

    /// Whether a batch stands in the way of an epoch bump: it may have been written, and that can still be found out.
    pub(super) fn holds_bump(&self) -> bool {
        self.window.iter().any(|slot| {
            slot.is_in_flight() || slot.is_waiting() && slot.maybe_written && slot.stamp.is_some()
        })
    }
}

impl Slot {
    pub(super) fn new(batch: Batch, now: Instant) -> Self {
        Self {
            batch,
            stamp: None,
            state: SlotState::Waiting { not_before: now },
            maybe_written: false,
            sent_to: None,
        }
    }

    /// Writes the stamp into the batch's header, or that it has none.
    pub(super) fn write_stamp(&mut self) {
        let (identity, sequence) = self
            .stamp
            .map_or((ProducerIdentity::NONE, -1), |stamp| (stamp.identity, stamp.base_sequence));
        self.batch.stamp(identity, sequence);
    }

    /// Unanswered, abandoned or not.
    pub(super) fn is_in_flight(&self) -> bool {
        matches!(self.state, SlotState::InFlight | SlotState::Abandoned)
    }

    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.state, SlotState::Waiting { .. })
    }
}
