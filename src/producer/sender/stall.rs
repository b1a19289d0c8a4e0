//! `partitioner.availability.timeout.ms` (KIP-794): which brokers have left a batch waiting for too long. That keyless
//! records then avoid them is the partitioner's part, and costs nothing here unless the property is set.
//!
//! A broker's time runs from when a batch that is ready stays behind because of it: there is no connection, or as many
//! requests are unanswered as may be, or as many batches of the partition. It starts anew with each request that goes
//! out, and ends when nothing waits for the broker any more (what waits for the coordinator of transactions does not): then it is not known to be slow, and gets its share until it
//! shows that it is.

use std::collections::BTreeMap;

use crate::producer::accumulator::Front;
use crate::producer::sender::Sender;
use crate::producer::sender::window::SlotState;
use crate::time::{Duration, Instant};
use crate::types::BrokerId;

/// What a broker has left waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Left {
    /// Batches that wait for the end of their back-off, which says nothing of the broker.
    BackingOff,
    Ready,
}

impl Sender {
    /// Watches for brokers that take no batch for `timeout`; zero is never.
    pub(crate) fn watch_availability(&mut self, timeout: Duration) {
        self.availability = Some(timeout).filter(|timeout| !timeout.is_zero());
    }

    /// To be called when all has been sent that could be: what is ready still was left.
    pub(super) fn note_stalls(&mut self, now: Instant) {
        let Some(timeout) = self.availability else { return };
        // An epoch bump, or the lack of a producer id, holds everything back. That is no broker's fault.
        let held_back = match &self.transactions {
            Some(transactions) => transactions.identity().is_none() || transactions.is_doomed(),
            None => self.sequencer.is_bumping() || self.sequencer.identity().is_none(),
        };
        if self.config.idempotent && held_back {
            return;
        }
        let left = self.left_waiting(now);
        for (id, node) in &mut self.nodes {
            match left.get(id) {
                Some(Left::Ready) => _ = node.stalled_since.get_or_insert(now),
                Some(Left::BackingOff) => {}
                None => node.stalled_since = None,
            }
        }
        let stalled = self.nodes.iter().filter_map(|(&id, node)| Some((id, node.stalled_since?)));
        let (mut slow, others): (Vec<_>, Vec<_>) = stalled
            .map(|(id, since)| (id, since + timeout))
            .partition(|&(_, slow_at)| slow_at <= now);
        if let Some(at) = others.into_iter().map(|(_, slow_at)| slow_at).min() {
            self.wake_at(at);
        }
        slow.sort_unstable();
        self.accumulator.set_slow(slow.into_iter().map(|(id, _)| id).collect());
    }

    fn left_waiting(&self, now: Instant) -> BTreeMap<BrokerId, Left> {
        let urgent = self.is_urgent();
        let mut left = BTreeMap::new();
        for partition in self.active.iter().filter_map(|&index| self.partitions.get(index)) {
            let Some(leader) = partition.leadership.leader else { continue };
            if self.waits_for_coordinator(partition, leader) {
                continue;
            }
            let waiting = partition.window.iter().filter_map(|slot| match slot.state {
                SlotState::Waiting { not_before } if not_before <= now => Some(Left::Ready),
                SlotState::Waiting { .. } => Some(Left::BackingOff),
                _ => None,
            });
            // What is behind a batch in its back-off waits for that, too.
            let of_partition = waiting.min().or_else(|| {
                let front = partition.queue.front(now, self.config.linger, urgent);
                matches!(front, Front::Ready { .. }).then_some(Left::Ready)
            });
            if let Some(of_partition) = of_partition {
                let most = left.entry(leader).or_insert(of_partition);
                *most = of_partition.max(*most);
            }
        }
        left
    }
}
