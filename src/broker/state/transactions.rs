//! The transactions as part of the cluster: which batches they take, and how their markers come into logs and groups.

use super::{Refusal, State};
use crate::broker::partition::ValidBatch;
use crate::broker::producer_state::Appended;
use crate::broker::txn::{Enrollment, Owed, Parts};
use crate::error::ErrorCode;
use crate::record::EndTxnMarker;
use crate::types::{BrokerId, ProducerIdentity, TopicPartition};

/// By which request a batch comes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin<'a> {
    /// `None` for what is written by command.
    pub(crate) transactional_id: Option<&'a str>,
    /// That of Produce.
    pub(crate) version: i16,
    /// The present time, in milliseconds since the epoch.
    pub(crate) now: i64,
}

impl State {
    /// A producer id that was never given before.
    pub(crate) fn new_producer(&mut self) -> ProducerIdentity {
        self.transactions.new_producer()
    }

    /// Appends a batch. The first of a transaction in its partition must be of one that is open (KIP-890).
    pub(crate) fn append(
        &mut self,
        to: &TopicPartition,
        valid: ValidBatch,
        origin: Origin<'_>,
    ) -> Result<Appended, ErrorCode> {
        let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
        let topic = self.topics.get_mut(&to.topic).ok_or(unknown)?;
        let index = usize::try_from(to.partition).map_err(|_| unknown)?;
        let partition = topic.partitions.get_mut(index).ok_or(unknown)?;
        let transactional = valid.sequenced.filter(|sequenced| sequenced.transactional);
        if let Some(batch) = transactional.filter(|b| !partition.producers.is_open(b.producer)) {
            let transactions = &mut self.transactions;
            let how = Enrollment::of_produce(origin.version);
            match origin.transactional_id {
                Some(id) if !transactions.by_command.has(batch.producer.id) => {
                    let asked = partition.producers.ask(&batch);
                    let parts = Parts::partition(to.clone());
                    transactions
                        .enroll((id, batch.producer), parts, how, origin.now)
                        .map_err(|code| how.produce_error(code))?;
                    asked?;
                    // With version 2 a producer whose state is lost cannot go on in the middle.
                    let lost = !partition.producers.knows(batch.producer.id);
                    if how == Enrollment::Implicit && lost && batch.sequence != 0 {
                        return Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
                    }
                }
                _ => transactions.by_command.enroll(batch.producer, to.clone())?,
            }
        }
        partition.append(valid, &topic.config)
    }

    /// Ends a transaction that was begun by command: a marker goes to each partition that it wrote to and that is still
    /// there. `now` is in milliseconds since the epoch.
    pub(crate) fn end_by_command(
        &mut self,
        producer: ProducerIdentity,
        committed: bool,
        now: i64,
    ) -> Result<(), ErrorCode> {
        let marker = EndTxnMarker { committed, coordinator_epoch: 0 };
        for to in self.transactions.by_command.end(producer)? {
            if let Some(partition) = self.partition_mut(&to.topic, to.partition) {
                partition.write_marker(producer, marker, now)?;
            }
        }
        Ok(())
    }

    /// Does what is overdue in transactions, and writes the markers that can be written. `now` is in milliseconds since
    /// the epoch. Gives whether anything changed.
    pub(crate) fn settle_transactions(&mut self, now: i64) -> bool {
        if !self.transactions.is_unsettled() {
            return false;
        }
        let mut changed = self.transactions.time_out(now);
        for owed in self.transactions.owed(now) {
            let paid = self.write_markers(&owed, now);
            changed |= self.transactions.paid(&owed.transactional_id, &paid);
        }
        changed
    }

    /// Writes the markers of a transaction where somebody leads, and gives to whom none is owed any more.
    fn write_markers(&mut self, owed: &Owed, now: i64) -> Parts {
        let mut paid = Parts::default();
        for to in &owed.parts.partitions {
            if self.write_marker(to, owed, now) {
                paid.partitions.insert(to.clone());
            }
        }
        for group in &owed.parts.groups {
            if self.groups.placement.coordinator(group).is_some() {
                self.groups.end_transaction(group, owed.producer.id, owed.marker.committed);
                paid.groups.insert(group.clone());
            }
        }
        paid
    }

    /// As `WriteTxnMarkers`, which goes on until it is done: what is deleted, or fenced by a later marker, is owed none.
    fn write_marker(&mut self, to: &TopicPartition, owed: &Owed, now: i64) -> bool {
        let Some(topic) = self.topics.get_mut(&to.topic) else { return true };
        let index = usize::try_from(to.partition).ok();
        let partition = index.and_then(|index| topic.partitions.get_mut(index));
        let Some(partition) = partition else { return true };
        let writable =
            partition.leader.is_some() && partition.check_in_sync(-1, &topic.config).is_ok();
        if writable && let Err(code) = partition.write_marker(owed.producer, owed.marker, now) {
            tracing::warn!(id = owed.transactional_id, partition = %to, %code, "marker refused");
        }
        writable
    }

    /// Makes a node the coordinator of a transactional id and of those that share its partition of
    /// `__transaction_state`.
    pub(crate) fn move_transaction_coordinator(
        &mut self,
        id: &str,
        to: BrokerId,
    ) -> Result<(), Refusal> {
        if !self.is_live(to) {
            let message = format!("Node {to} does not run.");
            return Err(Refusal::new(ErrorCode::BROKER_NOT_AVAILABLE, message));
        }
        if self.transactions.placement.coordinator(id) != Some(to) {
            self.transactions.placement.move_to(id, to);
        }
        Ok(())
    }
}
