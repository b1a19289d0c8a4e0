//! A transaction as its user sees it: a guard that takes records and offsets, and ends once. It decides nothing about
//! transactions: the task does, see `txn`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::error::{
    AbortCause, AbortableError, DeliveryError, ProduceError, SendError, TransactionError,
    TransactionOperation, TransactionOutcome,
};
use crate::producer::commands::{Finish, Transact};
use crate::producer::transactional::{TransactionalProducer, measure};
use crate::producer::txn::Doom;
use crate::producer::{Delivery, ProducerRecord, RecordMetadata};
use crate::time::{Instant, deadline};
use crate::types::{ConsumerGroupMetadata, OffsetAndMetadata, TopicPartition};

impl TransactionalProducer {
    /// Begins a transaction. Waits, at most `max.block.ms`, until the one before has ended.
    ///
    /// # Errors
    /// - [`TransactionError::InDoubt`] after a commit that timed out or was dropped: [`settle`](Self::settle) first.
    /// - [`TransactionError::TimedOut`], after which it can be called again.
    /// - [`TransactionError::Fatal`].
    ///
    /// # Cancel safety
    /// Safe: a transaction that was begun and is not held by anybody is aborted.
    pub async fn begin(&mut self) -> Result<Transaction<'_>, TransactionError> {
        if self.in_doubt {
            return Err(TransactionError::InDoubt);
        }
        let (end, told) = oneshot::channel();
        let begin = |reply| Transact::Begin { end: told, reply };
        self.ask(TransactionOperation::Begin, begin).await?;
        Ok(Transaction { producer: self, end })
    }
}

/// A transaction that is open. Dropping it aborts it, in the background; the next [`TransactionalProducer::begin`] waits
/// for that.
///
/// A record that was not accepted, or not delivered, dooms the transaction: what comes after it is refused with
/// [`SendError::Transaction`], what was not sent yet is dropped, and a commit fails with [`TransactionError::Abortable`],
/// which names the first cause. The exception is [`try_send`](Self::try_send) when it would have to wait.
#[must_use = "a transaction that is dropped is aborted"]
pub struct Transaction<'p> {
    producer: &'p mut TransactionalProducer,
    /// Dropped, it tells the task to abort.
    end: oneshot::Sender<Finish>,
}

impl Transaction<'_> {
    /// As [`Producer::send`](crate::Producer::send), within the transaction.
    ///
    /// # Errors
    /// A [`SendError`], which dooms the transaction.
    ///
    /// # Cancel safety
    /// A `send` that is dropped before it is ready has accepted nothing, and dooms nothing.
    pub async fn send(&self, record: &ProducerRecord<'_>) -> Result<Delivery, SendError> {
        self.check()?;
        self.noted(self.producer.producer.send(record).await)
    }

    /// As [`Producer::send_with`](crate::Producer::send_with), within the transaction.
    ///
    /// # Errors
    /// As [`Transaction::send`].
    ///
    /// # Cancel safety
    /// As [`Transaction::send`].
    pub async fn send_with<F>(
        &self,
        record: &ProducerRecord<'_>,
        callback: F,
    ) -> Result<(), SendError>
    where
        F: FnOnce(Result<RecordMetadata, DeliveryError>) + Send + 'static,
    {
        self.check()?;
        self.noted(self.producer.producer.send_with(record, callback).await)
    }

    /// As [`Producer::send_and_wait`](crate::Producer::send_and_wait), within the transaction.
    ///
    /// # Errors
    /// As [`Producer::send_and_wait`](crate::Producer::send_and_wait); each dooms the transaction.
    ///
    /// # Cancel safety
    /// As [`Producer::send_and_wait`](crate::Producer::send_and_wait).
    pub async fn send_and_wait(
        &self,
        record: &ProducerRecord<'_>,
    ) -> Result<RecordMetadata, ProduceError> {
        Ok(self.send(record).await?.await?)
    }

    /// As [`Producer::try_send`](crate::Producer::try_send), within the transaction.
    ///
    /// # Errors
    /// A [`SendError`]. Unless it [is retriable](SendError::is_retriable), which here says only that the call would have to
    /// wait, it dooms the transaction.
    pub fn try_send(&self, record: &ProducerRecord<'_>) -> Result<Delivery, SendError> {
        self.check()?;
        match self.producer.producer.try_send(record) {
            Err(error) if error.is_retriable() => Err(error),
            result => self.noted(result),
        }
    }

    /// As [`Producer::flush`](crate::Producer::flush). A commit does so by itself.
    ///
    /// # Cancel safety
    /// As [`Producer::flush`](crate::Producer::flush).
    pub async fn flush(&self) {
        self.producer.producer.flush().await;
    }

    /// Makes offsets part of the transaction: when it commits, they are those that the consumer's group has committed
    /// (Kafka's `sendOffsetsToTransaction`). Returns when the group's coordinator has them, after at most `max.block.ms`.
    ///
    /// `offsets` are those of the next record to be read of each partition. With the `group` as the consumer gives it the
    /// coordinator refuses offsets of a consumer that a rebalance has taken its partitions from (KIP-447). One
    /// that [is no member's](ConsumerGroupMetadata::is_member) is not refused so. The consumer must not commit by itself:
    /// `enable.auto.commit=false`.
    ///
    /// # Errors
    /// - [`TransactionError::Abortable`]: the transaction is doomed, such as after a rebalance.
    /// - [`TransactionError::NoGroup`]: the transaction is unharmed.
    /// - [`TransactionError::TimedOut`]: it goes on, and a commit waits for its end.
    /// - [`TransactionError::Fatal`].
    ///
    /// # Cancel safety
    /// If it is dropped, the transaction is doomed, or the offsets are on their way and a commit waits for them.
    pub async fn send_offsets(
        &self,
        group: &ConsumerGroupMetadata,
        offsets: impl IntoIterator<Item = (TopicPartition, OffsetAndMetadata)>,
    ) -> Result<(), TransactionError> {
        if group.group_id.is_empty() {
            return Err(TransactionError::NoGroup);
        }
        let (group, offsets): (_, BTreeMap<_, _>) = (group.clone(), offsets.into_iter().collect());
        let (producer, operation) = (&*self.producer, TransactionOperation::SendOffsets);
        let inner = &producer.producer.inner;
        let _timed = measure(&inner.metrics, operation);
        let until = deadline(Instant::now(), inner.max_block);
        let (reply, answer) = oneshot::channel();
        let mut unsent = Unsent(Some(&producer.doom));
        producer.tell(operation, Transact::SendOffsets { group, offsets, reply }, until).await?;
        // A commit waits for them from here on.
        unsent.0 = None;
        producer.wait(operation, answer, until).await.map(drop)
    }

    /// Commits the transaction: sends what is waiting, without linger, waits for its end, and then for the coordinator's
    /// word that all of it is or will be visible.
    ///
    /// # Errors
    /// - [`TransactionError::Abortable`]: something of it was not written. It is aborted in the background, and nothing of
    ///   it will be visible.
    /// - [`TransactionError::TimedOut`] after `max.block.ms`: the commit goes on. [`TransactionalProducer::settle`] tells
    ///   how it ended.
    /// - [`TransactionError::Fatal`]: the coordinator ends it without this producer, which was fenced or took longer than
    ///   `transaction.timeout.ms`. If the request to commit was on its way by then, it may be committed.
    ///
    /// # Cancel safety
    /// Dropped before it was first polled, it aborts; later, the commit goes on in the background, and
    /// [`TransactionalProducer::settle`] tells how it ended.
    pub async fn commit(self) -> Result<(), TransactionError> {
        self.finish(TransactionOperation::Commit).await
    }

    /// Aborts the transaction: drops what was not sent, and waits for the coordinator's word.
    ///
    /// # Errors
    /// [`TransactionError::TimedOut`] after `max.block.ms`: the abort goes on, and the next `begin` waits for it;
    /// [`TransactionError::Fatal`].
    ///
    /// # Cancel safety
    /// The abort goes on in the background.
    pub async fn abort(self) -> Result<(), TransactionError> {
        self.finish(TransactionOperation::Abort).await
    }

    async fn finish(self, operation: TransactionOperation) -> Result<(), TransactionError> {
        let Self { producer, end } = self;
        let inner = Arc::clone(&producer.producer.inner);
        let _timed = measure(&inner.metrics, operation);
        let until = deadline(Instant::now(), inner.max_block);
        let (reply, answer) = oneshot::channel();
        let commit = operation == TransactionOperation::Commit;
        if end.send(Finish { commit, reply }).is_err() {
            return Err(producer.ended());
        }
        producer.in_doubt = commit;
        let result = producer.wait(operation, answer, until).await;
        producer.in_doubt = commit && matches!(result, Err(TransactionError::TimedOut(_)));
        match result? {
            Some(TransactionOutcome::Aborted) if commit => {
                Err(TransactionError::Abortable(AbortableError::new(AbortCause::Aborted)))
            }
            _ => Ok(()),
        }
    }

    /// Why it cannot be committed any more, if that is known.
    pub(crate) fn trouble(&self) -> Option<TransactionError> {
        match self.producer.producer.inner.accumulator.end() {
            Some(_) => Some(self.producer.ended()),
            None => self.producer.doom.get().map(TransactionError::Abortable),
        }
    }

    /// Whether records are still taken.
    #[inline]
    fn check(&self) -> Result<(), SendError> {
        match self.producer.doom.get() {
            None => Ok(()),
            Some(error) => Err(SendError::Transaction(error)),
        }
    }

    /// A record that was not accepted must not be missing from what is committed.
    fn noted<T>(&self, result: Result<T, SendError>) -> Result<T, SendError> {
        if let Err(error) = &result
            && !error.is_fatal()
        {
            let cause = AbortCause::Send(error.clone());
            self.producer.doom.set(AbortableError::new(cause));
            self.producer.producer.inner.accumulator.wake();
        }
        result
    }
}

impl fmt::Debug for Transaction<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction")
            .field("doomed", &self.producer.doom.get().is_some())
            .finish_non_exhaustive()
    }
}

/// Dooms the transaction when it is dropped: offsets that are not part of it must not be missing from what is committed.
struct Unsent<'a>(Option<&'a Doom>);

impl Drop for Unsent<'_> {
    fn drop(&mut self) {
        if let Some(doom) = self.0 {
            doom.set(AbortableError::new(AbortCause::OffsetsUnsent));
        }
    }
}
