//! Carries out the verdict on each batch of a request that has ended.

use crate::client::{BrokerNode, LeaderHint};
use crate::error::ClientError;
use crate::error::{Cause, DeliveryErrorKind, ErrorCode, FatalError};
use crate::producer::delivery::Outcome;
use crate::producer::sender::classify::{Heard, Situation, Verdict, Written, classify};
use crate::producer::sender::expiry::persistence;
use crate::producer::sender::window::SlotState;
use crate::producer::sender::{Action, Sender, Sent, SentBatch, cause};
use crate::producer::txn::MARKERS;
use crate::protocol::messages::produce::{PartitionProduceResponse, ProduceResponse};
use crate::time::{Duration, Instant};
use crate::types::BrokerId;

/// How one batch's attempt ended, in full.
struct Ending {
    heard: Heard,
    cause: Option<Cause>,
    outcome: Outcome,
}

impl Sender {
    /// With acks=0 there is no answer: what was handed to the connection counts as sent.
    pub(super) fn resolve_unacknowledged(&mut self, sent: &Sent) {
        for &SentBatch { partition, batch, .. } in &sent.batches {
            let Some(partition) = self.partitions.get_mut(partition) else { continue };
            let Some(at) = partition.position(batch) else { continue };
            if let Some(slot) = partition.window.get_mut(at) {
                slot.state = SlotState::Ended(Outcome::WRITTEN_SOMEWHERE);
            }
            partition.settle();
        }
    }

    /// The request goes out again at once, and what has expired meanwhile does not.
    pub(super) fn resolve_unsent(&mut self, sent: &Sent, now: Instant) {
        for &SentBatch { partition: index, batch, .. } in &sent.batches {
            let Some(partition) = self.partitions.get_mut(index) else { continue };
            let Some(at) = partition.position(batch) else { continue };
            let Some(slot) = partition.window.get_mut(at) else { continue };
            if matches!(slot.state, SlotState::Abandoned) {
                self.fail(index, at, Written::No, Heard::NotSent, now);
                self.settle(index);
            } else {
                slot.state = SlotState::Waiting { not_before: now };
                slot.batch.attempts = slot.batch.attempts.saturating_sub(1);
            }
        }
    }

    /// Nothing more will be heard of the request.
    pub(super) fn resolve_lost(&mut self, sent: &Sent, error: &ClientError, now: Instant) {
        let heard = match error {
            error if error.maybe_written() => Heard::Nothing,
            ClientError::UnsupportedVersion { .. } | ClientError::Encode { .. } => {
                Heard::Unsendable
            }
            _ => Heard::NotSent,
        };
        for &SentBatch { partition: index, batch, .. } in &sent.batches {
            let outcome = Outcome::WRITTEN_SOMEWHERE;
            let cause = Some(Cause::Client(error.clone()));
            self.resolve(index, batch, Ending { heard, cause, outcome }, now);
        }
    }

    /// Matches the answer against what this request carried; what it did not carry is ignored, and what the answer
    /// leaves out may have been written.
    pub(super) fn resolve_response(
        &mut self,
        sent: &Sent,
        response: &ProduceResponse,
        now: Instant,
    ) {
        for &SentBatch { partition: index, batch, topic_id: id } in &sent.batches {
            let Some(partition) = self.partitions.get(index) else { continue };
            let name = &*partition.queue.topic;
            let topic = response.responses.iter().find(|topic| {
                if topic.name.is_empty() { topic.topic_id == id } else { topic.name == name }
            });
            let number = partition.queue.partition;
            let answer = topic
                .and_then(|topic| topic.partition_responses.iter().find(|p| p.index == number));
            let Some(answer) = answer else {
                let outcome = Outcome::WRITTEN_SOMEWHERE;
                let cause = Some(Cause::Broker(
                    ErrorCode::UNKNOWN_SERVER_ERROR,
                    Some("the answer says nothing of this partition".to_owned()),
                ));
                let ending = Ending { heard: Heard::Nothing, cause, outcome };
                self.resolve(index, batch, ending, now);
                continue;
            };
            self.note_leader(index, answer, response);
            let ending = Ending {
                heard: Heard::Answer(answer.error_code),
                cause: (!answer.error_code.is_ok())
                    .then(|| cause(answer.error_code, answer.error_message.as_ref())),
                outcome: Outcome::Written {
                    base_offset: answer.base_offset,
                    log_append_time: answer.log_append_time_ms,
                },
            };
            self.resolve(index, batch, ending, now);
            if let Some(partition) = self.partitions.get_mut(index)
                && partition.leadership.topic_id != id
            {
                // What the old topic has acknowledged, the one that was made anew does not know.
                partition.sequence.forgotten();
            }
        }
    }

    fn note_leader(
        &mut self,
        index: usize,
        answer: &PartitionProduceResponse,
        response: &ProduceResponse,
    ) {
        let hint = &answer.current_leader;
        let Some(partition) = self.partitions.get_mut(index) else { return };
        if hint.leader_id < 0 || hint.leader_epoch <= partition.leadership.epoch {
            return;
        }
        let leader = BrokerId(hint.leader_id);
        partition.leadership.leader = Some(leader);
        partition.leadership.epoch = hint.leader_epoch;
        let endpoint = response.node_endpoints.iter().find(|e| e.node_id == hint.leader_id);
        let endpoint = endpoint.and_then(|endpoint| {
            let port = u16::try_from(endpoint.port).ok()?;
            let (host, rack) = (endpoint.host.clone(), endpoint.rack.clone());
            Some(BrokerNode { id: leader, host, port, rack })
        });
        let (partition, epoch) = (partition.queue.topic_partition(), hint.leader_epoch);
        self.actions.push(Action::LeaderHint(LeaderHint { partition, leader, epoch, endpoint }));
    }

    fn resolve(&mut self, index: usize, batch: u64, ending: Ending, now: Instant) {
        let Some(partition) = self.partitions.get_mut(index) else { return };
        let Some(at) = partition.position(batch) else { return };
        let head = partition.is_head(at);
        let Some(slot) = partition.window.get_mut(at) else { return };
        let abandoned = matches!(slot.state, SlotState::Abandoned);
        let situation = Situation {
            idempotent: self.config.idempotent,
            transactional: self.transactions.is_some(),
            acks_all: self.config.acks == -1,
            head,
            retries_left: slot.tries() <= self.config.retries && !abandoned,
            // The halves' numbers would not be known to a broker that has the whole.
            splittable: slot.batch.count() > 1
                && !(slot.maybe_written && self.config.idempotent)
                && !abandoned,
        };
        partition.last_error.clone_from(&ending.cause);
        slot.batch.last_error = ending.cause.or_else(|| slot.batch.last_error.take());
        let verdict = classify(ending.heard, situation);
        if verdict.sends_again() {
            self.metrics.retried(&partition.queue.topic, slot.batch.count(), now);
        }
        match verdict {
            Verdict::Written | Verdict::WrittenEarlier => {
                if let Some(stamp) = slot.stamp {
                    partition.sequence.acknowledged(stamp);
                }
                slot.state = SlotState::Ended(match verdict {
                    Verdict::Written => ending.outcome,
                    _ => Outcome::WRITTEN_SOMEWHERE,
                });
                if let Some(transactions) = &mut self.transactions {
                    transactions.written();
                    partition.verified_in = transactions.serial();
                }
            }
            Verdict::Retry { written, refresh } => {
                if ending.heard.says_unknown_topic() {
                    // Should it be made anew, whoever leads it then has seen no batch, and takes any for the first.
                    partition.sequence.forgotten();
                }
                slot.maybe_written = may_be_written(slot.maybe_written, written);
                let backoff = if ending.heard == Heard::Answer(ErrorCode::CONCURRENT_TRANSACTIONS) {
                    slot.too_early = slot.too_early.saturating_add(1);
                    MARKERS.wait(slot.too_early - 1, self.random.f64())
                } else {
                    let attempt = slot.batch.attempts.saturating_sub(1);
                    self.config.retry_backoff.wait(attempt, self.random.f64())
                };
                slot.state = SlotState::Waiting { not_before: now + backoff };
                self.wants_metadata |= refresh && !slot.is_behind(partition.leadership);
            }
            Verdict::Bump => {
                slot.maybe_written = false;
                let attempt = slot.batch.attempts.saturating_sub(1);
                let backoff = self.config.retry_backoff.wait(attempt, self.random.f64());
                let backoff = if slot.may_hurry() { Duration::ZERO } else { backoff };
                slot.state = SlotState::Waiting { not_before: now + backoff };
                self.sequencer.request_bump();
            }
            Verdict::Split => {
                if !self.split(index, at, now) {
                    self.fail(index, at, Written::No, ending.heard, now);
                }
            }
            Verdict::Fail { written } => self.fail(index, at, written, ending.heard, now),
            Verdict::Fatal => {
                if let Heard::Answer(code) = ending.heard {
                    self.end_fatally(FatalError { code }, now);
                }
            }
        }
        self.settle(index);
    }

    fn settle(&mut self, index: usize) {
        if let Some(partition) = self.partitions.get_mut(index) {
            partition.settle();
        }
    }

    fn fail(&mut self, index: usize, at: usize, written: Written, heard: Heard, now: Instant) {
        let Some(partition) = self.partitions.get_mut(index) else { return };
        let name = partition.queue.topic_partition();
        let Some(slot) = partition.window.get_mut(at) else { return };
        slot.maybe_written = may_be_written(slot.maybe_written, written);
        let kind = match heard {
            Heard::Answer(code) => DeliveryErrorKind::Refused(code),
            Heard::Nothing | Heard::NotSent => DeliveryErrorKind::Disconnected,
            Heard::Unsendable => DeliveryErrorKind::Unsendable,
        };
        let error = slot.batch.error(name, kind, persistence(slot), now);
        // One that has expired was counted then.
        if !slot.batch.has_ended() {
            self.metrics.failed(&partition.queue.topic, slot.batch.count(), now);
        }
        slot.state = SlotState::Ended(Outcome::Failed(error.clone()));
        // Its numbers are used up, and the broker waits for them before it takes later ones.
        let numbered = slot.stamp.is_some();
        self.doom(error, now);
        if numbered {
            self.lose_numbers();
        }
    }
}

fn may_be_written(before: bool, now: Written) -> bool {
    match now {
        Written::No => before,
        Written::Maybe => true,
        Written::Never => false,
    }
}
