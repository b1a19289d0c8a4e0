//! `delivery.timeout.ms`: it counts from a batch's creation and ends its records' wait wherever the batch is. A batch
//! that is with a broker stays in its place until the request ends, since its bytes may still be read (KAFKA-19012)
//! and its fate may still become known.

use crate::error::{Cause, ClientError, DeliveryErrorKind, Persistence};
use crate::producer::sender::Sender;
use crate::producer::sender::window::{Partition, Slot, SlotState};
use crate::time::Instant;

impl Sender {
    pub(super) fn expire(&mut self, now: Instant) {
        let mut bump = false;
        for at in 0..self.active.len() {
            let Some(&index) = self.active.get(at) else { break };
            bump |= self.expire_sent(index, now);
            self.expire_queued(index, now);
        }
        // The numbers of what expired are lost, or their fate is not known.
        if bump && self.config.idempotent {
            self.sequencer.request_bump();
        }
    }

    /// Says whether sequence numbers were lost.
    fn expire_sent(&mut self, index: usize, now: Instant) -> bool {
        let timeout = self.config.delivery_timeout;
        let Some(partition) = self.partitions.get_mut(index) else { return false };
        let name = partition.queue.topic_partition();
        let mut lost = false;
        for slot in &mut partition.window {
            if now < slot.batch.created + timeout {
                break;
            }
            let records = slot.batch.count() as usize;
            let kind = DeliveryErrorKind::TimedOut { records };
            match slot.state {
                SlotState::InFlight => {
                    slot.batch.fail(name.clone(), kind, Persistence::MaybeWritten, now);
                    slot.state = SlotState::Abandoned;
                }
                SlotState::Waiting { .. } => {
                    slot.batch.fail(name.clone(), kind, persistence(slot), now);
                    lost |= slot.stamp.take().is_some();
                }
                SlotState::Ended(_) | SlotState::Abandoned => {}
            }
        }
        partition.window.retain(|s| !(s.is_waiting() && s.batch.has_ended()));
        partition.settle();
        let oldest = partition.window.iter().find(|slot| !slot.batch.has_ended());
        if let Some(oldest) = oldest.map(|slot| slot.batch.created) {
            self.wake_at(oldest + timeout);
        }
        lost
    }

    fn expire_queued(&mut self, index: usize, now: Instant) {
        let timeout = self.config.delivery_timeout;
        let Some(partition) = self.partitions.get(index) else { return };
        let obstacle = self.obstacle(partition);
        if let Some(until) = now.checked_sub(timeout) {
            for mut batch in partition.queue.take_created_until(until) {
                let kind = DeliveryErrorKind::TimedOut { records: batch.count() as usize };
                batch.last_error = batch.last_error.take().or_else(|| obstacle.clone());
                let name = partition.queue.topic_partition();
                batch.fail(name, kind, Persistence::NotWritten, now);
            }
        }
        if let Some(created) = partition.queue.front_created() {
            self.wake_at(created + timeout);
        }
    }

    /// Why a batch could not be sent, as far as is known.
    fn obstacle(&self, partition: &Partition) -> Option<Cause> {
        if let Some(error) = &self.id_error {
            return Some(error.clone());
        }
        let Some(leader) = partition.leadership.leader else {
            let partition = partition.queue.topic_partition();
            return Some(Cause::Client(ClientError::NoLeader { partition }));
        };
        self.nodes.get(&leader)?.last_error.clone().map(Cause::Client)
    }
}

pub(super) fn persistence(slot: &Slot) -> Persistence {
    if slot.maybe_written { Persistence::MaybeWritten } else { Persistence::NotWritten }
}
