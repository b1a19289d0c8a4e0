//! Which batches leave now: fairly over the partitions, per broker, up to `max.request.size` and the requests that may
//! be in flight. A request takes at most one batch of a partition, as Kafka wants it.

use std::collections::BTreeMap;

use crate::error::{DeliveryErrorKind, Persistence};
use crate::producer::accumulator::Front;
use crate::producer::delivery::Outcome;
use crate::producer::metrics::BatchFacts;
use crate::producer::sender::node::{NodeState, Readiness};
use crate::producer::sender::window::{Slot, SlotState};
use crate::producer::sender::{
    Action, FORGOTTEN_AFTER, IDEMPOTENT_WINDOW, Produce, Sender, Sent, SentBatch,
};
use crate::protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use crate::time::Instant;
use crate::types::{BrokerId, ProducerIdentity, TopicId};

/// A request that is being put together.
#[derive(Debug, Default)]
struct Draft {
    size: usize,
    batches: Vec<SentBatch>,
}

/// What a partition has to send.
#[derive(Debug, Clone, Copy)]
enum Candidate {
    /// The batch at this place of the window.
    Waiting(usize),
    /// The front of its queue.
    New,
}

impl Sender {
    pub(super) fn drain(&mut self, now: Instant) {
        let identity = if let Some(transactions) = &self.transactions {
            let Some(identity) = transactions.identity() else { return };
            Some(identity)
        } else if self.config.idempotent {
            if self.active.is_empty() || !self.ensure_identity(now) {
                return;
            }
            self.sequencer.identity()
        } else {
            None
        };
        // Each round makes at most one request per broker; a partition may have more for another.
        while self.drain_round(now, identity) {}
    }

    /// Whether the producer has an id; if not, it is asked for.
    fn ensure_identity(&mut self, now: Instant) -> bool {
        if self.sequencer.identity().is_some() {
            return true;
        }
        if let Some(at) = self.id_retry_at.filter(|&at| now < at) {
            self.wake_at(at);
        } else if self.sequencer.ask() {
            self.id_retry_at = None;
            self.actions.push(Action::InitProducerId);
        }
        false
    }

    /// Who is served goes to the end of the line, so the longest unserved goes first, whatever other brokers take
    /// meanwhile (KAFKA-13834).
    fn drain_round(&mut self, now: Instant, identity: Option<ProducerIdentity>) -> bool {
        let mut drafts: BTreeMap<BrokerId, Draft> = BTreeMap::new();
        let mut line = std::mem::take(&mut self.active);
        let mut served = Vec::new();
        line.retain(|&index| {
            let serves = self.serve(index, &mut drafts, identity, now);
            if serves {
                served.push(index);
            }
            !serves
        });
        let progress = !served.is_empty();
        line.append(&mut served);
        self.active = line;
        for (node, draft) in drafts {
            self.dispatch(node, draft, now);
        }
        progress
    }

    /// Puts a batch of the partition into its leader's request, if there is one that may go and fits.
    fn serve(
        &mut self,
        index: usize,
        drafts: &mut BTreeMap<BrokerId, Draft>,
        identity: Option<ProducerIdentity>,
        now: Instant,
    ) -> bool {
        // What costs least is asked first: with many partitions most have to wait for their broker.
        let leader = self.partitions.get(index).and_then(|partition| partition.leadership.leader);
        let readiness = leader.map(|node| self.readiness(node, now));
        match readiness {
            Some(Readiness::Busy) => return false,
            Some(Readiness::Until(until)) => {
                self.wake_at(until);
                return false;
            }
            Some(Readiness::Ready | Readiness::Unconnected) | None => {}
        }
        let Some((candidate, size)) = self.candidate(index, now, identity) else { return false };
        let Some(node) = leader else {
            self.wants_metadata = true;
            return false;
        };
        if readiness == Some(Readiness::Unconnected) {
            self.nodes.entry(node).or_default().state = NodeState::Connecting;
            self.actions.push(Action::Connect(node));
            return false;
        }
        if !self.may_verify(index, node) {
            return false;
        }
        let used = drafts.get(&node).map_or(0, |draft| draft.size);
        if used > 0 && used + size > self.config.max_request_size {
            return false;
        }
        let room = if used > 0 { self.config.max_request_size - used } else { usize::MAX };
        let Some((batch, size)) = self.enlist(index, (candidate, room), identity, now) else {
            return false;
        };
        let topic_id = self.topic_id(index);
        let draft = drafts.entry(node).or_default();
        draft.size += size;
        draft.batches.push(SentBatch { partition: index, batch, topic_id });
        true
    }

    fn readiness(&self, node: BrokerId, now: Instant) -> Readiness {
        let node = self.nodes.get(&node);
        node.map_or(Readiness::Unconnected, |node| node.readiness(self.config.max_in_flight, now))
    }

    /// What the partition may send at `now`, with its size, as far as order and sequence go.
    fn candidate(
        &mut self,
        index: usize,
        now: Instant,
        identity: Option<ProducerIdentity>,
    ) -> Option<(Candidate, usize)> {
        let held_back = self.sequencer.is_bumping() || self.is_doomed();
        let urgent = self.is_urgent();
        let partition = self.partitions.get_mut(index)?;
        if partition.idle_since.take().is_some_and(|since| now >= since + FORGOTTEN_AFTER) {
            partition.sequence.forgotten();
        }
        let in_flight = partition.in_flight();
        // Without idempotence, one in flight is how order is asked for.
        if identity.is_none() && self.config.max_in_flight == 1 && in_flight > 0 {
            return None;
        }
        if let Some((at, not_before)) = partition.first_waiting(held_back) {
            // Splits make windows longer: a sixth beside an unanswered first would make the broker forget the first.
            let permitted = identity.is_none_or(|identity| {
                (at < IDEMPOTENT_WINDOW || in_flight == 0)
                    && partition.sequence.permits(identity, in_flight, IDEMPOTENT_WINDOW)
            });
            if !permitted {
                return None;
            }
            let leadership = partition.leadership;
            let slot = partition.window.get_mut(at)?;
            if now < not_before && !slot.skip_pause(leadership, now) {
                self.wake_at(not_before);
                return None;
            }
            return Some((Candidate::Waiting(at), slot.batch.size()));
        }
        let permitted = identity.is_none_or(|identity| {
            partition.sequence.permits(identity, partition.window.len(), IDEMPOTENT_WINDOW)
        });
        if held_back || !permitted {
            return None;
        }
        let front = partition.queue.front(now, self.config.linger, urgent);
        if !matches!(front, Front::Empty) && !self.is_enrolled(index) {
            return None;
        }
        match front {
            Front::Ready { size } => Some((Candidate::New, size)),
            Front::Lingers(until) => {
                self.wake_at(until);
                None
            }
            Front::Empty | Front::Sealing => None,
        }
    }

    /// Takes the batch into the window as in flight and stamps it, unless it is stamped already.
    fn enlist(
        &mut self,
        index: usize,
        (candidate, room): (Candidate, usize),
        identity: Option<ProducerIdentity>,
        now: Instant,
    ) -> Option<(u64, usize)> {
        let codec = self.accumulator.codec();
        let transactional = self.transactions.is_some();
        let partition = self.partitions.get_mut(index)?;
        let at = match candidate {
            Candidate::Waiting(at) => at,
            Candidate::New => {
                let mut slot = Slot::new(partition.queue.take_ready(room)?, now);
                if self.accumulator.memory().has_waiters() {
                    slot.batch.compact();
                }
                if let Err(error) = partition.queue.seal(&mut slot.batch, codec) {
                    let kind = DeliveryErrorKind::Compression { reason: error.to_string() };
                    let name = partition.queue.topic_partition();
                    let error = slot.batch.error(name, kind, Persistence::NotWritten, now);
                    slot.state = SlotState::Ended(Outcome::Failed(error.clone()));
                    let records = slot.batch.count();
                    self.metrics.failed(&partition.queue.topic, records, now);
                    partition.window.push_back(slot);
                    partition.settle();
                    self.doom(error, now);
                    // Whatever is behind it has its turn at once.
                    self.wake_at(now);
                    return None;
                }
                partition.window.push_back(slot);
                partition.window.len() - 1
            }
        };
        let slot = partition.window.get_mut(at)?;
        if slot.stamp.is_none() && (identity.is_some() || slot.batch.attempts == 0) {
            slot.stamp = identity.map(|id| partition.sequence.stamp(id, slot.batch.count()));
            slot.write_stamp(transactional);
        }
        slot.state = SlotState::InFlight;
        slot.batch.attempts += 1;
        slot.sent_to_epoch = Some(partition.leadership.epoch);
        Some((slot.batch.id, slot.batch.size()))
    }

    /// What metrics say of a batch that is sent.
    fn facts(&self, sent: &SentBatch) -> Option<BatchFacts<'_>> {
        let partition = self.partitions.get(sent.partition)?;
        let batch = &partition.window.get(partition.position(sent.batch)?)?.batch;
        Some(BatchFacts {
            topic: &partition.queue.topic,
            records: batch.count(),
            bytes: batch.size(),
            compression: batch.compression_ratio(),
            largest_record: batch.largest_record(),
            created: batch.created,
        })
    }

    fn topic_id(&self, index: usize) -> TopicId {
        self.partitions.get(index).map_or(TopicId::ZERO, |p| p.leadership.topic_id)
    }

    fn dispatch(&mut self, node: BrokerId, draft: Draft, now: Instant) {
        let token = self.next_token;
        self.next_token += 1;
        let mut topics: Vec<TopicProduceData> = Vec::new();
        for &SentBatch { partition, batch, topic_id } in &draft.batches {
            let Some(partition) = self.partitions.get(partition) else { continue };
            let slot = partition.position(batch).and_then(|at| partition.window.get(at));
            let data = PartitionProduceData {
                index: partition.queue.partition,
                records: slot.and_then(|slot| slot.batch.bytes()),
            };
            let name = &*partition.queue.topic;
            match topics.iter_mut().find(|topic| topic.name == name) {
                Some(topic) => topic.partition_data.push(data),
                None => topics.push(TopicProduceData {
                    name: name.to_owned(),
                    topic_id,
                    partition_data: vec![data],
                }),
            }
        }
        let sent = draft.batches.iter().filter_map(|sent| self.facts(sent));
        self.metrics.sent(sent, now);
        let versions = self.produce_versions(&topics);
        let request = ProduceRequest {
            transactional_id: self.start_transaction(),
            acks: self.config.acks,
            timeout_ms: i32::try_from(self.config.request_timeout.as_millis()).unwrap_or(i32::MAX),
            topic_data: topics,
        };
        let verifies = self.start_verifying(node, &draft.batches);
        let to = self.nodes.entry(node).or_default();
        to.in_flight += 1;
        to.stalled_since = None;
        self.requests.insert(token, Sent { node, at: now, batches: draft.batches, verifies });
        self.actions.push(Action::Produce(Produce { token, node, request, versions }));
    }
}
