//! What the sender does for transactions, which know no batch: it keeps batches back until their partition is part of the
//! transaction, drops those of one that can only be aborted, and says when all have come to rest.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use crate::error::{AbortCause, ClientError, DeliveryError, DeliveryErrorKind, Persistence};
use crate::producer::sender::expiry::persistence;
use crate::producer::sender::window::Partition;
use crate::producer::sender::{Action, Sender, Sent, SentBatch};
use crate::producer::txn::{
    Ended, LAST_PRODUCE_OF_ONE, Support, TransactionVersion, Transactions, TxnResponse,
};
use crate::protocol::messages::produce::TopicProduceData;
use crate::time::Instant;
use crate::types::{BrokerId, ConsumerGroupMetadata, OffsetAndMetadata, TopicPartition};

/// The newest version of Produce that names topics instead of giving their ids.
const LAST_PRODUCE_BY_NAME: i16 = 12;

impl Sender {
    /// Makes it that of a transactional producer.
    pub(crate) fn transact(&mut self, transactions: Transactions) {
        self.transactions = Some(transactions);
    }

    /// A user wants to begin a transaction.
    pub(crate) fn handle_begin(&mut self, operation: u64) {
        if let Some(transactions) = &mut self.transactions {
            transactions.begin(operation);
        }
    }

    /// A user waits for the end of the transaction before.
    pub(crate) fn handle_settle(&mut self, operation: u64) {
        if let Some(transactions) = &mut self.transactions {
            transactions.settle(operation);
        }
    }

    /// A user makes offsets part of the transaction.
    pub(crate) fn handle_offsets(
        &mut self,
        operation: u64,
        group: ConsumerGroupMetadata,
        offsets: BTreeMap<TopicPartition, OffsetAndMetadata>,
    ) {
        if let Some(transactions) = &mut self.transactions {
            transactions.send_offsets(operation, group, offsets);
        }
    }

    /// A user ends the transaction; without an operation nobody waits for that.
    pub(crate) fn handle_finish(&mut self, commit: bool, operation: Option<u64>, now: Instant) {
        if let Some(transactions) = &mut self.transactions {
            transactions.finish(commit, operation, now);
        }
    }

    /// A request to a coordinator has ended.
    pub(crate) fn handle_coordinator(
        &mut self,
        token: u64,
        result: Result<(TxnResponse, Support), ClientError>,
        now: Instant,
    ) {
        if let Some(transactions) = &mut self.transactions {
            transactions.handle(token, result, now);
        }
    }

    /// What users have waited for and is over.
    pub(crate) fn take_ended(&mut self) -> Vec<Ended> {
        self.transactions.as_mut().map(Transactions::take_ended).unwrap_or_default()
    }

    /// Whether no transaction is going on.
    pub(crate) fn is_settled(&self) -> bool {
        self.transactions.as_ref().is_none_or(Transactions::is_settled)
    }

    pub(super) fn is_doomed(&self) -> bool {
        self.transactions.as_ref().is_some_and(Transactions::is_doomed)
    }

    /// Whether linger counts for nothing.
    pub(super) fn is_urgent(&self) -> bool {
        self.closing
            || self.accumulator.is_urgent()
            || self.transactions.as_ref().is_some_and(Transactions::is_ending)
    }

    /// A batch has failed, and with it its transaction.
    pub(super) fn doom(&mut self, error: DeliveryError, now: Instant) {
        if let Some(transactions) = &mut self.transactions {
            transactions.doom(AbortCause::Delivery(error), now);
        }
    }

    /// Numbers were given to a batch that will not be written under them: no other may follow them in this epoch.
    pub(super) fn lose_numbers(&mut self) {
        match &mut self.transactions {
            Some(transactions) => transactions.lose_numbers(),
            None if self.config.idempotent => self.sequencer.request_bump(),
            None => {}
        }
    }

    /// Whether the partition may be written to, as part of the transaction if there are any.
    pub(super) fn is_enrolled(&mut self, index: usize) -> bool {
        let Some(transactions) = &mut self.transactions else { return true };
        let Some(partition) = self.partitions.get_mut(index) else { return false };
        let serial = transactions.serial();
        if partition.enrolled_in == serial {
            return true;
        }
        let enrolled = transactions.enrol(partition.queue.topic_partition());
        if enrolled {
            partition.enrolled_in = serial;
        }
        enrolled
    }

    /// Whether a batch of the partition may go to the broker, which may have to make sure of the transaction first.
    pub(super) fn may_verify(&self, index: usize, broker: BrokerId) -> bool {
        let Some(transactions) = &self.transactions else { return true };
        !transactions.is_verifying(broker) || self.is_verified(index, transactions.serial())
    }

    fn is_verified(&self, index: usize, transaction: u64) -> bool {
        self.partitions.get(index).is_some_and(|partition| partition.verified_in == transaction)
    }

    /// Whether what the partition has for its leader waits for the transaction's coordinator, asked by us or by the leader.
    pub(super) fn waits_for_coordinator(&self, partition: &Partition, leader: BrokerId) -> bool {
        let Some(transactions) = &self.transactions else { return false };
        let serial = transactions.serial();
        let adds = transactions.version() == TransactionVersion::One;
        adds && partition.enrolled_in != serial
            || transactions.is_verifying(leader) && partition.verified_in != serial
    }

    /// For a request that is about to leave: whether the broker has to.
    pub(super) fn start_verifying(&mut self, broker: BrokerId, batches: &[SentBatch]) -> bool {
        let Some(serial) = self.transactions.as_ref().map(Transactions::serial) else {
            return false;
        };
        let verifies = !batches.iter().all(|sent| self.is_verified(sent.partition, serial));
        if let Some(transactions) = self.transactions.as_mut().filter(|_| verifies) {
            transactions.start_verifying(broker);
        }
        verifies
    }

    /// The request has ended.
    pub(super) fn stop_verifying(&mut self, sent: &Sent) {
        if let Some(transactions) = self.transactions.as_mut().filter(|_| sent.verifies) {
            transactions.stop_verifying(sent.node);
        }
    }

    /// For a request that is about to leave: whose transaction it belongs to, if to any.
    pub(super) fn start_transaction(&mut self) -> Option<String> {
        let transactions = self.transactions.as_mut()?;
        transactions.sent();
        Some(transactions.transactional_id().to_owned())
    }

    /// The versions in which a request may go: from 12 on it adds partitions to transactions (KIP-890), later ones have the
    /// ids of topics in place of their names (KIP-516).
    pub(super) fn produce_versions(&self, topics: &[TopicProduceData]) -> RangeInclusive<i16> {
        let by_id = topics.iter().all(|topic| !topic.topic_id.is_zero());
        let highest = if by_id { i16::MAX } else { LAST_PRODUCE_BY_NAME };
        match self.transactions.as_ref().map(Transactions::version) {
            None => 0..=highest,
            Some(TransactionVersion::One) => 0..=LAST_PRODUCE_OF_ONE,
            Some(TransactionVersion::Two) => LAST_PRODUCE_OF_ONE + 1..=highest,
        }
    }

    /// Ends what has not been sent of a transaction that can only be aborted. What may have been written is sent again as
    /// long as that can keep it from the next transaction.
    pub(super) fn drop_doomed(&mut self, now: Instant) {
        let Some(transactions) = self.transactions.as_mut().filter(|t| t.is_doomed()) else {
            return;
        };
        let resolves = transactions.resolves(now);
        let mut lost = false;
        for &index in &self.active {
            let Some(partition) = self.partitions.get_mut(index) else { continue };
            let name = partition.queue.topic_partition();
            for slot in &mut partition.window {
                if !slot.is_waiting() || resolves && slot.has_unknown_fate() {
                    continue;
                }
                let kind = DeliveryErrorKind::Aborted;
                if slot.batch.fail(name.clone(), kind, persistence(slot), now) {
                    self.metrics.failed(&partition.queue.topic, slot.batch.count(), now);
                }
                lost |= slot.stamp.take().is_some();
            }
            partition.window.retain(|slot| !(slot.is_waiting() && slot.batch.has_ended()));
            partition.settle();
            while let Some(mut batch) = partition.queue.take_front() {
                let written = Persistence::NotWritten;
                batch.fail(name.clone(), DeliveryErrorKind::Aborted, written, now);
                self.metrics.failed(&partition.queue.topic, batch.count(), now);
            }
        }
        if lost {
            transactions.lose_numbers();
        }
    }

    /// Lets the transaction go on, now that what could be sent was.
    pub(super) fn advance_transaction(&mut self, now: Instant) {
        let quiet = self.is_quiet();
        let Some(transactions) = &mut self.transactions else { return };
        let asks = transactions.poll(quiet, now);
        let (deadline, fatal) = (transactions.next_deadline(), transactions.fatal().cloned());
        self.actions.extend(asks.into_iter().map(Action::AskCoordinator));
        if let Some(at) = deadline {
            self.wake_at(at);
        }
        if let Some(error) = fatal
            && self.fatal.is_none()
        {
            self.end_fatally(error, now);
        }
    }

    /// For a commit, whether all batches have ended; for an abort, whether none is on its way or will be.
    fn is_quiet(&self) -> bool {
        if !self.is_doomed() {
            return self.all_have_ended();
        }
        let mut active = self.active.iter().filter_map(|&index| self.partitions.get(index));
        self.requests.is_empty() && active.all(|p| p.window.is_empty() && p.queue.is_empty())
    }
}
