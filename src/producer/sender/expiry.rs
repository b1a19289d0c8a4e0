//! `delivery.timeout.ms`: it counts from a batch's creation and ends its records' wait wherever the batch is. A batch
//! that is with a broker stays in its place until the request ends, since its bytes may still be read (KAFKA-19012)
//! and its fate may still become known.

use crate::error::{Cause, ClientError, DeliveryErrorKind, Persistence};
use crate::producer::delivery::Outcome;
use crate::producer::sender::Sender;
use crate::producer::sender::window::{Partition, Slot, SlotState};
use crate::time::Instant;

impl Sender {
    pub(super) fn expire(&mut self, now: Instant) {
        if self.expires_at.is_none_or(|at| at <= now) {
            self.expire_all(now);
        }
    }

    fn expire_all(&mut self, now: Instant) {
        // What is begun from now on expires later.
        let mut next = now + self.config.delivery_timeout;
        let mut bump = false;
        for at in 0..self.active.len() {
            let Some(&index) = self.active.get(at) else { break };
            bump |= self.expire_sent(index, now, &mut next);
            self.expire_queued(index, now, &mut next);
        }
        self.expires_at = Some(next);
        // The numbers of what expired are lost, or their fate is not known.
        if bump {
            self.lose_numbers();
        }
    }

    /// Says whether sequence numbers were lost.
    fn expire_sent(&mut self, index: usize, now: Instant, next: &mut Instant) -> bool {
        let timeout = self.config.delivery_timeout;
        let Some(partition) = self.partitions.get_mut(index) else { return false };
        let queue = &partition.queue;
        let (mut lost, mut first) = (false, None);
        for slot in &mut partition.window {
            let expires = slot.batch.created + timeout;
            if now < expires {
                *next = expires.min(*next);
                break;
            }
            let kind = DeliveryErrorKind::TimedOut { records: slot.batch.count() as usize };
            if !slot.batch.has_ended() && !matches!(slot.state, SlotState::Ended(_)) {
                self.metrics.failed(&queue.topic, slot.batch.count(), now);
            }
            match slot.state {
                SlotState::InFlight => {
                    let name = queue.topic_partition();
                    let error = slot.batch.error(name, kind, Persistence::MaybeWritten, now);
                    slot.batch.complete(Outcome::Failed(error.clone()));
                    first.get_or_insert(error);
                    slot.state = SlotState::Abandoned;
                }
                SlotState::Waiting { .. } => {
                    let name = queue.topic_partition();
                    let error = slot.batch.error(name, kind, persistence(slot), now);
                    slot.batch.complete(Outcome::Failed(error.clone()));
                    first.get_or_insert(error);
                    lost |= slot.stamp.take().is_some();
                }
                // Its turn has come, as all before it have just ended.
                SlotState::Ended(ref outcome) => {
                    slot.batch.complete(outcome.clone());
                }
                SlotState::Abandoned => {}
            }
        }
        partition.window.retain(|s| !(s.is_waiting() && s.batch.has_ended()));
        partition.settle();
        if let Some(error) = first {
            self.doom(error, now);
        }
        lost
    }

    fn expire_queued(&mut self, index: usize, now: Instant, next: &mut Instant) {
        let timeout = self.config.delivery_timeout;
        let Some(partition) = self.partitions.get(index) else { return };
        let mut first = None;
        if let Some(until) = now.checked_sub(timeout) {
            for mut batch in partition.queue.take_created_until(until) {
                let kind = DeliveryErrorKind::TimedOut { records: batch.count() as usize };
                batch.last_error =
                    batch.last_error.take().or_else(|| self.obstacle(partition, now));
                let name = partition.queue.topic_partition();
                let error = batch.error(name, kind, Persistence::NotWritten, now);
                batch.complete(Outcome::Failed(error.clone()));
                first.get_or_insert(error);
                self.metrics.failed(&partition.queue.topic, batch.count(), now);
            }
        }
        if let Some(created) = partition.queue.front_created() {
            *next = (created + timeout).min(*next);
        }
        if let Some(error) = first {
            self.doom(error, now);
        }
    }

    /// Why a batch could not be sent, as far as is known.
    fn obstacle(&self, partition: &Partition, now: Instant) -> Option<Cause> {
        if let Some(error) = &self.id_error {
            return Some(error.clone());
        }
        let Some(leader) = partition.leadership.leader else {
            let partition = partition.queue.topic_partition();
            return Some(Cause::Client(ClientError::NoLeader { partition }));
        };
        let of_node = self.nodes.get(&leader).and_then(|node| node.obstacle(now));
        of_node.or_else(|| partition.last_error.clone())
    }
}

pub(super) fn persistence(slot: &Slot) -> Persistence {
    if slot.maybe_written { Persistence::MaybeWritten } else { Persistence::NotWritten }
}
