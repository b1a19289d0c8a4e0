//! A producer that writes in transactions, as its user sees it: a type of its own, so that the usual mistakes do not compile.
//! It decides nothing about transactions: the task does, see `txn`.

use std::fmt;
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::timeout_at;

use crate::config::TransactionalProducerConfig;
use crate::error::{
    CloseError, SendError, TransactionError, TransactionOperation, TransactionOutcome,
    TransactionTimeout,
};
use crate::metrics::Metrics;
use crate::producer::commands::{Command, Settled, Transact};
use crate::producer::measured::Timed;
use crate::producer::metrics::ProducerMetrics;
use crate::producer::txn::Doom;
use crate::producer::{Producer, ProducerBuilder};
use crate::time::{Duration, Instant, deadline};

/// Writes records, and the offsets of what was consumed for them, so that all become visible or none does (KIP-98).
///
/// Whoever reads with `isolation.level=read_committed` sees the records of a transaction once it is committed, and never
/// those of one that was aborted. All producers with one `transactional.id` are one after the other: a new one ends the
/// transaction that the one before had open, and keeps it from writing ever again.
///
/// A transaction is a guard that borrows the producer, so there is one at a time, and the usual mistakes do not compile:
///
/// ```
/// use milena::{ProducerConfig, ProducerRecord, TransactionalProducer};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let cluster = milena::broker::Cluster::builder().start().await?;
/// # let servers = cluster.bootstrap_servers();
///
/// let config = ProducerConfig::builder().bootstrap_servers(servers).transactional_id("orders-0");
/// let mut producer = TransactionalProducer::new(config.build_transactional()?).await?;
///
/// let transaction = producer.begin().await?;
/// transaction.send(&ProducerRecord::new("orders", "one")).await?;
/// transaction.send(&ProducerRecord::new("payments", "one")).await?;
/// transaction.commit().await?;
/// # Ok(())
/// # }
/// ```
///
/// Two open transactions of one producer:
/// ```compile_fail,E0499
/// # async fn two(producer: &mut milena::TransactionalProducer) -> Result<(), milena::TransactionError> {
/// let first = producer.begin().await?;
/// let second = producer.begin().await?;
/// first.commit().await?;
/// second.commit().await
/// # }
/// ```
///
/// A record that is sent after the commit:
/// ```compile_fail,E0382
/// # async fn late(producer: &mut milena::TransactionalProducer) -> Result<(), Box<dyn std::error::Error>> {
/// let transaction = producer.begin().await?;
/// transaction.commit().await?;
/// transaction.send(&milena::ProducerRecord::new("orders", "late")).await?;
/// # Ok(())
/// # }
/// ```
///
/// A commit while a send is still going on:
/// ```compile_fail,E0505
/// # async fn race(producer: &mut milena::TransactionalProducer) -> Result<(), Box<dyn std::error::Error>> {
/// let transaction = producer.begin().await?;
/// let record = milena::ProducerRecord::new("orders", "one");
/// let sending = transaction.send(&record);
/// transaction.commit().await?;
/// sending.await?;
/// # Ok(())
/// # }
/// ```
///
/// A record outside of any transaction:
/// ```compile_fail,E0599
/// # async fn outside(producer: milena::TransactionalProducer) {
/// producer.send(&milena::ProducerRecord::new("orders", "one")).await;
/// # }
/// ```
///
/// A transaction of a producer that is not transactional:
/// ```compile_fail,E0599
/// # async fn plain(mut producer: milena::Producer) {
/// producer.begin().await;
/// # }
/// ```
///
/// And one that is made without a `transactional.id`:
/// ```compile_fail,E0308
/// # async fn config(config: milena::ProducerConfig) {
/// milena::TransactionalProducer::new(config).await;
/// # }
/// ```
///
/// # Dropping it
/// ends its task in the background, which aborts the transaction that may still be going on. To wait for that, call
/// [`close`](Self::close).
pub struct TransactionalProducer {
    pub(super) producer: Producer,
    pub(super) doom: Arc<Doom>,
    /// Whether a commit was asked for and how it ended was not told.
    pub(super) in_doubt: bool,
}

impl TransactionalProducer {
    /// Starts a producer on the current tokio runtime and initialises transactions (Kafka's `initTransactions`): waits until
    /// what an earlier producer with this `transactional.id` had open has ended, and fences that producer. Begin to consume
    /// what is to be processed only after this.
    ///
    /// # Errors
    /// - [`TransactionError::TimedOut`] if that was not done within `max.block.ms`.
    /// - [`TransactionError::Fatal`] with the broker's code: `TRANSACTIONAL_ID_AUTHORIZATION_FAILED`;
    ///   `INVALID_TRANSACTION_TIMEOUT` if `transaction.timeout.ms` is above the broker's `transaction.max.timeout.ms`;
    ///   `UNSUPPORTED_VERSION` if the brokers know no transactions.
    ///
    /// # Cancel safety
    /// The producer is dropped with it.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn new(config: TransactionalProducerConfig) -> Result<Self, TransactionError> {
        Self::builder(config).init().await
    }

    /// A builder, to replace parts such as the connector.
    pub fn builder(
        config: TransactionalProducerConfig,
    ) -> ProducerBuilder<TransactionalProducerConfig> {
        ProducerBuilder::new(config)
    }

    pub(crate) async fn init(
        producer: Producer,
        doom: Arc<Doom>,
    ) -> Result<Self, TransactionError> {
        let producer = Self { producer, doom, in_doubt: false };
        producer.ask(TransactionOperation::Init, Transact::Settle).await?;
        Ok(producer)
    }

    /// Waits, at most `max.block.ms`, until no transaction is going on, and says how the last one ended; `None` if there was
    /// none. After a commit that timed out, this tells what became of it.
    ///
    /// # Errors
    /// [`TransactionError::TimedOut`], after which it can be called again; [`TransactionError::Fatal`], after which only a
    /// look at the data tells: the coordinator has ended it, but this producer was not told how.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn settle(&mut self) -> Result<Option<TransactionOutcome>, TransactionError> {
        let began = Instant::now();
        let result = self.ask(TransactionOperation::Settle, Transact::Settle).await;
        let metrics = &self.producer.inner.metrics;
        match &result {
            Ok(Some(TransactionOutcome::Committed)) => metrics.committed(began, Instant::now()),
            Ok(Some(TransactionOutcome::Aborted)) => metrics.aborted(began, Instant::now()),
            _ => {}
        }
        // After anything else there is no more to be learnt.
        self.in_doubt &= matches!(result, Err(TransactionError::TimedOut(_)));
        result
    }

    /// As [`Producer::partitions_for`].
    ///
    /// # Errors
    /// As [`Producer::partitions_for`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn partitions_for(&self, topic: &str) -> Result<usize, SendError> {
        self.producer.partitions_for(topic).await
    }

    /// As [`Producer::metrics`].
    pub fn metrics(&self) -> Metrics {
        self.producer.metrics()
    }

    /// Ends the producer's task and connections, when the abort of a transaction that was dropped, or the commit of one that
    /// timed out, is over; at the latest after `timeout`.
    ///
    /// # Errors
    /// If the time-out passed first; it says whether the end of a transaction is left to the coordinator.
    ///
    /// # Cancel safety
    /// A close that is dropped goes on in the background.
    pub async fn close(self, timeout: Duration) -> Result<(), CloseError> {
        self.producer.close(timeout).await
    }

    /// Asks the task for something, and waits at most `max.block.ms`.
    pub(super) async fn ask(
        &self,
        operation: TransactionOperation,
        what: impl FnOnce(oneshot::Sender<Settled>) -> Transact,
    ) -> Settled {
        let inner = &self.producer.inner;
        let _timed = measure(&inner.metrics, operation);
        let until = deadline(Instant::now(), inner.max_block);
        let (reply, answer) = oneshot::channel();
        self.tell(operation, what(reply), until).await?;
        self.wait(operation, answer, until).await
    }

    pub(super) async fn tell(
        &self,
        operation: TransactionOperation,
        what: Transact,
        until: Instant,
    ) -> Result<(), TransactionError> {
        let send = self.producer.inner.commands.send(Command::Transact(what));
        match timeout_at(until, send).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(self.ended()),
            Err(_) => Err(self.timed_out(operation)),
        }
    }

    pub(super) async fn wait(
        &self,
        operation: TransactionOperation,
        answer: oneshot::Receiver<Settled>,
        until: Instant,
    ) -> Settled {
        match timeout_at(until, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(self.ended()),
            Err(_) => Err(self.timed_out(operation)),
        }
    }

    fn timed_out(&self, operation: TransactionOperation) -> TransactionError {
        let waited = self.producer.inner.max_block;
        TransactionError::TimedOut(TransactionTimeout { operation, waited })
    }

    /// Why the task is gone.
    pub(super) fn ended(&self) -> TransactionError {
        match self.producer.inner.accumulator.end() {
            Some(SendError::Fatal(error)) => TransactionError::Fatal(error),
            _ => TransactionError::Closed,
        }
    }
}

impl fmt::Debug for TransactionalProducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TransactionalProducer").field(&self.producer).finish()
    }
}

pub(super) fn measure(
    metrics: &ProducerMetrics,
    operation: TransactionOperation,
) -> Option<Timed<'_>> {
    let tell = match operation {
        TransactionOperation::Init => ProducerMetrics::initialised_transactions,
        TransactionOperation::Begin => ProducerMetrics::began_transaction,
        TransactionOperation::SendOffsets => ProducerMetrics::sent_offsets,
        TransactionOperation::Commit => ProducerMetrics::committed,
        TransactionOperation::Abort => ProducerMetrics::aborted,
        _ => return None,
    };
    Some(Timed::start(metrics, tell))
}
