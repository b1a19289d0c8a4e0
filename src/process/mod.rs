//! The loop that reads, processes and writes exactly once: a consumer and a transactional producer, and the application's
//! closure between them. What follows a failure is decided in `decide`.

mod builder;
mod decide;
mod failure;
mod pending;
mod progress;
mod stop;

use std::fmt::{self, Display};
use std::future::pending;
use std::pin::pin;

use futures_util::FutureExt;
use futures_util::future::try_join;
use tracing::Instrument;

use crate::config::{ConsumerConfig, TransactionalProducerConfig};
use crate::consumer::{Consumer, ConsumerHandle, Records, StartAt};
use crate::error::{CloseError, ConsumerError, ExactlyOnceError, TransactionOutcome};
use crate::metrics::Metrics;
use crate::producer::{Transaction, TransactionalProducer};
use crate::time::{Duration, Instant, deadline};
use decide::{Failures, Next, Trouble};
use failure::{Failure, expelled, overdue};
use pending::{Pending, Stage};
use stop::Stop;

pub use builder::ExactlyOnceBuilder;
pub use progress::{Progress, ProgressHandle};

/// Reads records, has them processed, and writes what comes of them, exactly once: each batch in a transaction that carries
/// the consumed offsets too (KIP-98, KIP-447), so that for whoever reads with `isolation.level=read_committed` the effects
/// of each input are there once, whatever crashes, and however often the group rebalances.
///
/// ```
/// use milena::{
///     ConsumerConfig, ExactlyOnce, ExactlyOnceError, IsolationLevel, OffsetReset, ProducerConfig, ProducerRecord, SendError,
/// };
/// # use milena::{Producer, broker::Cluster};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let cluster = Cluster::builder().start().await?;
/// # let servers = cluster.bootstrap_servers();
/// # cluster.create_topic("orders")?;
/// # cluster.create_topic("invoices")?;
/// # let config = ProducerConfig::builder().bootstrap_servers(&servers).build()?;
/// # Producer::new(config).send(&ProducerRecord::new("orders", "tea")).await?.await?;
/// let consumer = ConsumerConfig::builder()
///     .bootstrap_servers(&servers)
///     .group_id("billing")
///     .enable_auto_commit(false)
///     .isolation_level(IsolationLevel::ReadCommitted)
///     .auto_offset_reset(OffsetReset::Earliest)
///     .build()?;
/// // One for each worker, the same after a restart.
/// let producer = ProducerConfig::builder().bootstrap_servers(&servers).transactional_id("billing-0");
/// let producer = producer.build_transactional()?;
///
/// let mut worker = ExactlyOnce::builder(consumer, producer).topics(["orders"]).start().await?;
/// let progress = worker.progress();
/// # let wanted = progress.clone();
/// # let stop = async move {
/// #     while wanted.get().committed == 0 {
/// #         tokio::time::sleep(std::time::Duration::from_millis(1)).await;
/// #     }
/// # };
/// # /*
/// let stop = async { tokio::signal::ctrl_c().await.unwrap_or_default() };
/// # */
/// worker
///     .run_until(stop, async move |orders, transaction| {
///         for order in orders {
///             let invoice = [order.value.unwrap_or_default(), b": paid"].concat();
///             transaction.send(&ProducerRecord::new("invoices", &invoice)).await?;
///         }
///         Ok::<_, SendError>(())
///     })
///     .await?;
/// println!("{} records in {} transactions", progress.get().records, progress.get().committed);
/// # assert_eq!(progress.get().records, 1);
/// worker.close(std::time::Duration::from_secs(10)).await?;
/// # Ok(())
/// # }
/// ```
///
/// # A turn of the loop
/// 1. It polls: at most `max.poll.records`, and about 1 MiB, are the batch. Everything of the group happens in here, so
///    partitions come and go only while no transaction is open.
/// 2. It begins a transaction, and runs the closure, for at most the [time limit](ExactlyOnceBuilder::time_limit).
/// 3. It sends the offsets, as the member of the group that it is, while the rest of the records goes out, and commits. If
///    they are not written before `transaction.timeout.ms` comes near, it aborts, and tries again.
///
/// If the transaction cannot be committed, it is aborted, and the same records come again from where the group has
/// committed: after a back-off (`retry.backoff.ms`) if what is in the way passes by itself, such as an election or a
/// rebalance that has taken the partitions; otherwise `run` ends with the error. A commit whose outcome is not known in
/// time is waited for. So the closure may see a record more than once: what it does must be done through the transaction,
/// or not matter when repeated.
///
/// # Workers
/// Several workers of a group share the topics' partitions; each has a `transactional.id` of its own. A worker that was
/// taken for dead and comes back has its transaction refused, and goes on with the partitions that it then gets.
///
/// A partition of which nothing was ever committed begins by `auto.offset.reset`: with `latest`, which is the default, what
/// comes in before the first commit may be passed over.
pub struct ExactlyOnce {
    group: String,
    transactional_id: String,
    consumer: Consumer,
    producer: TransactionalProducer,
    /// The batch that was handed out last, unless it is committed. Nothing is polled while there is one.
    pending: Option<Pending>,
    failures: Failures,
    limits: Limits,
    progress: ProgressHandle,
}

/// How long things may take from the beginning of a transaction.
#[derive(Debug, Clone, Copy)]
struct Limits {
    closure: Duration,
    /// Until records and offsets are written.
    transaction: Duration,
}

impl ExactlyOnce {
    /// A builder, for a consumer and a producer with these configurations. The first needs `group.id`,
    /// `enable.auto.commit=false` and `isolation.level=read_committed`.
    pub fn builder(
        consumer: ConsumerConfig,
        producer: TransactionalProducerConfig,
    ) -> ExactlyOnceBuilder {
        ExactlyOnceBuilder::new(consumer, producer)
    }

    /// As [`run_until`](Self::run_until), until something fails.
    ///
    /// # Errors
    /// As those of [`run_until`](Self::run_until).
    ///
    /// # Cancel safety
    /// As that of [`run_until`](Self::run_until).
    pub async fn run<F, E>(&mut self, process: F) -> Result<(), ExactlyOnceError<E>>
    where
        F: AsyncFnMut(&Records, &Transaction<'_>) -> Result<(), E>,
        E: Display,
    {
        self.run_until(pending(), process).await
    }

    /// Processes batches by the closure until `stop` is ready; then it finishes the transaction that is open. Afterwards
    /// [`close`](Self::close), or run it again.
    ///
    /// The closure is to send what comes of the records, by the transaction. It need not wait for deliveries: the commit does,
    /// and fails if one of them fails. If the closure returns an error, panics or takes too long, the transaction is aborted.
    ///
    /// To spawn this future, make the closure `async move`: one that borrows what it captures is not known to be `Send`.
    ///
    /// # Errors
    /// An [`ExactlyOnceError`], when going on needs somebody to do something first. It can be run again, unless the error
    /// [is fatal](ExactlyOnceError::is_fatal). After a stop [`TransactionError::TimedOut`](crate::TransactionError::TimedOut) says that the outcome of the last
    /// transaction was not known within `max.block.ms`.
    ///
    /// # Cancel safety
    /// If it is dropped, the transaction that is open is aborted, unless its commit is on its way. The next run finds out, and
    /// goes on from what is committed.
    pub async fn run_until<F, E>(
        &mut self,
        stop: impl Future<Output = ()>,
        process: F,
    ) -> Result<(), ExactlyOnceError<E>>
    where
        F: AsyncFnMut(&Records, &Transaction<'_>) -> Result<(), E>,
        E: Display,
    {
        let Self { group, transactional_id, .. } = &*self;
        let span = tracing::info_span!("exactly_once", %group, %transactional_id);
        let ended = self.turns(stop, process).instrument(span.clone()).await;
        span.in_scope(|| match &ended {
            Ok(()) => tracing::info!("it has stopped"),
            Err(error) => tracing::error!(%error, "it has ended"),
        });
        ended
    }

    async fn turns<F, E>(
        &mut self,
        stop: impl Future<Output = ()>,
        mut process: F,
    ) -> Result<(), ExactlyOnceError<E>>
    where
        F: AsyncFnMut(&Records, &Transaction<'_>) -> Result<(), E>,
        E: Display,
    {
        let mut stop = Stop { signal: pin!(stop), heard: false };
        loop {
            if !Box::pin(self.recover(&mut stop)).await? {
                return Ok(());
            }
            let Some(records) = self.next(&mut stop).await? else { return Ok(()) };
            let failure = match self.transact(&records, &mut process, &mut stop).await {
                Ok(true) => {
                    self.committed();
                    continue;
                }
                Ok(false) => return Ok(()),
                Err(failure) => failure,
            };
            // The fetched bytes are not needed for another attempt.
            drop(records);
            let trouble = failure.trouble();
            let error = failure.into_error();
            if trouble == Trouble::Fatal {
                self.failed(trouble);
                return Err(error);
            }
            tracing::warn!(%error, ?trouble, "a batch was not committed");
            if Box::pin(self.settle(&mut stop)).await? {
                continue;
            }
            match self.failed(trouble) {
                Next::End => return Err(error),
                Next::Again(pause) => stop.sleep(pause).await,
            }
        }
    }

    /// Waits for records; `None` if it is to stop.
    async fn next<E>(
        &mut self,
        stop: &mut Stop<'_, impl Future<Output = ()>>,
    ) -> Result<Option<Records>, ExactlyOnceError<E>> {
        loop {
            let polled = tokio::select! {
                biased;
                () = stop.wait() => return Ok(None),
                polled = self.consumer.poll(POLL) => polled,
            };
            match polled {
                Ok(records) if records.is_empty() => self.failures.read(),
                Ok(records) => {
                    self.failures.read();
                    self.pending = Some(Pending::new(&records, &self.consumer));
                    return Ok(Some(records));
                }
                Err(error) => self.reading_failed(error, stop).await?,
            }
        }
    }

    /// Processes a batch in a transaction, and commits it; false if it is to stop, and has not begun.
    async fn transact<F, E>(
        &mut self,
        records: &Records,
        process: &mut F,
        stop: &mut Stop<'_, impl Future<Output = ()>>,
    ) -> Result<bool, Failure<E>>
    where
        F: AsyncFnMut(&Records, &Transaction<'_>) -> Result<(), E>,
    {
        let Some(batch) = &mut self.pending else { return Ok(true) };
        let transaction = loop {
            let begun = tokio::select! {
                biased;
                () = stop.wait() => return Ok(false),
                begun = self.producer.begin() => begun,
            };
            match begun {
                Err(error) if error.is_retriable() => {
                    tracing::warn!(%error, "still waiting to begin a transaction");
                }
                begun => break begun.map_err(Failure::Transaction)?,
            }
        };
        batch.stage = Stage::Open;
        let due = deadline(Instant::now(), self.limits.transaction);
        let limit = self.limits.closure;
        match tokio::time::timeout(limit, process(records, &transaction)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(Failure::of_closure(error, &transaction)),
            Err(_) => return Err(Failure::TooSlow(limit)),
        }
        // Under nobody's name the coordinator would take them from anybody.
        let group = self.consumer.group_metadata().filter(|group| group.is_member());
        let group = group.ok_or_else(|| Failure::Transaction(expelled()))?;
        let flushed = transaction.flush().map(Ok);
        let written = try_join(flushed, transaction.send_offsets(&group, batch.next()));
        match tokio::time::timeout_at(due, written).await {
            Err(_) => {
                tracing::warn!(limit = ?self.limits.transaction, "its records or offsets take too long to be written");
                return Err(Failure::Transaction(overdue()));
            }
            // It goes on, and the commit waits for it.
            Ok(Err(error)) if error.is_retriable() => {
                tracing::warn!(%error, "the commit has to wait for the offsets");
            }
            Ok(sent) => {
                sent.map_err(Failure::Transaction)?;
            }
        }
        batch.stage = Stage::Committing;
        transaction.commit().await.map_err(Failure::Transaction)?;
        Ok(true)
    }

    /// Waits until it is known what became of the last transaction; whether it was committed after all.
    async fn settle<E>(
        &mut self,
        stop: &mut Stop<'_, impl Future<Output = ()>>,
    ) -> Result<bool, ExactlyOnceError<E>> {
        let outcome = loop {
            let last_chance = stop.heard;
            match self.producer.settle().await {
                Ok(outcome) => break outcome,
                Err(error) if error.is_retriable() && !last_chance => {
                    tracing::warn!(%error, "still waiting for the end of the last transaction");
                    stop.check();
                }
                Err(error) => return Err(ExactlyOnceError::Transaction(error)),
            }
        };
        let Some(pending) = &mut self.pending else { return Ok(false) };
        match (pending.stage, outcome) {
            // The transaction had begun, so the outcome is its own.
            (Stage::Committing, Some(TransactionOutcome::Committed)) => {
                self.committed();
                return Ok(true);
            }
            (Stage::Open | Stage::Committing, _) => {
                tracing::info!("the transaction was aborted");
                self.progress.change(|progress| progress.aborted += 1);
            }
            (Stage::Polled | Stage::Aborted, _) => {}
        }
        pending.stage = Stage::Aborted;
        Ok(false)
    }

    /// Goes back to what is committed, if something was handed out that is not; false if it is to stop.
    async fn recover<E>(
        &mut self,
        stop: &mut Stop<'_, impl Future<Output = ()>>,
    ) -> Result<bool, ExactlyOnceError<E>> {
        let stage = self.pending.as_ref().map(|pending| pending.stage);
        if stage.is_some_and(|stage| stage != Stage::Aborted) && self.settle(stop).await? {
            return Ok(true);
        }
        while self.pending.is_some() {
            let rewound = tokio::select! {
                biased;
                () = stop.wait() => return Ok(false),
                rewound = self.rewind() => rewound,
            };
            match rewound {
                Ok(()) => self.pending = None,
                Err(error) => self.reading_failed(error, stop).await?,
            }
        }
        Ok(true)
    }

    /// Has the next poll hand out what is not committed.
    async fn rewind(&self) -> Result<(), ConsumerError> {
        let Some(pending) = &self.pending else { return Ok(()) };
        let committed = self.consumer.committed(pending.offsets.keys().cloned()).await?;
        for (partition, (first, _)) in &pending.offsets {
            let committed = committed.get(partition).and_then(Option::as_ref);
            // Where nothing is committed, everything of the partition that was processed was in this batch.
            let offset = committed.map_or(*first, |committed| committed.offset);
            match self.consumer.seek(partition, StartAt::Offset(offset)) {
                Ok(()) | Err(ConsumerError::NotAssigned { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Pauses, if it may pass.
    async fn reading_failed<E>(
        &mut self,
        error: ConsumerError,
        stop: &mut Stop<'_, impl Future<Output = ()>>,
    ) -> Result<(), ExactlyOnceError<E>> {
        match self.failures.failed_to_read(Trouble::of_reading(&error), fastrand::f64()) {
            Next::End => Err(ExactlyOnceError::Consumer(error)),
            Next::Again(pause) => {
                tracing::warn!(%error, "still trying to read");
                stop.sleep(pause).await;
                Ok(())
            }
        }
    }

    /// The pending batch is committed.
    fn committed(&mut self) {
        self.failures.succeeded();
        let Some(Pending { records, offsets, .. }) = self.pending.take() else { return };
        tracing::debug!(records, partitions = offsets.len(), "a batch was committed");
        self.progress.change(|progress| {
            progress.committed += 1;
            progress.records += records;
            progress.failures = 0;
            let offsets = offsets.into_iter().map(|(name, (_, next))| (name, next.offset));
            progress.offsets.extend(offsets);
        });
    }

    fn failed(&mut self, trouble: Trouble) -> Next {
        self.progress.change(|progress| progress.failures = progress.failures.saturating_add(1));
        self.failures.failed(trouble, fastrand::f64())
    }

    /// How far it is, also while it runs.
    pub fn progress(&self) -> ProgressHandle {
        self.progress.clone()
    }

    /// What else can be done with the consumer: its metrics, positions, seeks between two runs. Committing is not for here.
    pub fn consumer(&self) -> &ConsumerHandle {
        &self.consumer
    }

    /// The producer's metrics; see [`TransactionalProducer::metrics`].
    pub fn producer_metrics(&self) -> Metrics {
        self.producer.metrics()
    }

    /// Waits for the end of the last transaction, leaves the group, and ends the tasks and connections of both, within
    /// `timeout`.
    ///
    /// # Errors
    /// If the time-out passed before the producer had ended.
    ///
    /// # Cancel safety
    /// Both end in the background; the group may notice only when the session ends.
    pub async fn close(self, timeout: Duration) -> Result<(), CloseError> {
        let until = deadline(Instant::now(), timeout);
        // First, so that whoever gets the partitions need not wait for the transaction.
        let closed = self.producer.close(timeout).await;
        self.consumer.close(until.saturating_duration_since(Instant::now())).await;
        closed
    }
}

/// Records wake a poll; this only bounds it.
const POLL: Duration = Duration::from_secs(60);

impl fmt::Debug for ExactlyOnce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExactlyOnce")
            .field("consumer", &self.consumer)
            .field("producer", &self.producer)
            .field("pending", &self.pending)
            .finish_non_exhaustive()
    }
}
