//! Reading: a background task fetches ahead of the user, and a poll hands out what has come.
//!
//! ```text
//!   broker ─► connection ─► driver ─► fetcher (queue) ─► collector (check, cut) ─► Records ─► user
//!                             ▲          │
//!                             └─ actions ┘
//! ```
//!
//! | module | what it decides |
//! |---|---|
//! | `subscription` | nothing: where an assigned partition is, and what is in its way |
//! | `fetcher` | what to ask of whom, what an answer means, what may be buffered |
//! | `driver` | nothing: the task between the fetcher and the client |
//! | `collector` | how much a poll hands out |
//! | `group` | who reads what in a group |
//! | `offsets` | when and as whom offsets are committed and looked up, in which order |
//! | `lookup` | nothing: asks where a log begins and ends |
//! | `records` | how a record looks to the user |

mod builder;
mod collector;
mod driver;
mod fetcher;
mod group;
mod lookup;
mod offsets;
mod records;
mod subscription;

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::client::{Client, Unanswered};
use crate::config::ConsumerConfig;
use crate::error::ConsumerError;
use crate::time::{Duration, Instant, deadline};
use crate::types::TopicPartition;
use driver::Shared;
use lookup::lookup;
use subscription::Bound;

pub use builder::ConsumerBuilder;
pub use group::assign as assignor;
pub use records::{
    ConsumerRecord, OwnedRecord, PartitionRecords, PartitionRecordsIter, RecordHeaders, Records,
    RecordsIter,
};
pub use subscription::StartAt;

/// Reads the partitions that it is told to, from where it is told to.
///
/// It has no group and commits nothing: where to go on after a restart is for the application to
/// keep, for which [`Consumer::position`] and [`PartitionRecords::next_offset`] serve. It reads
/// what `isolation.level` lets it: by default also what transactions that were aborted, or are still
/// open, have written.
///
/// ```
/// use std::time::Duration;
/// use milena::broker::Cluster;
/// use milena::{Producer, ProducerConfig, ProducerRecord};
/// use milena::{Consumer, ConsumerConfig, StartAt, TopicPartition};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let cluster = Cluster::builder().start().await?;
/// cluster.create_topic("orders")?;
/// let config = ProducerConfig::builder().bootstrap_servers(cluster.bootstrap_servers()).build()?;
/// let producer = Producer::new(config);
/// producer.send(&ProducerRecord::new("orders", "paid")).await?.await?;
///
/// let config = ConsumerConfig::builder().bootstrap_servers(cluster.bootstrap_servers()).build()?;
/// let mut reader = Consumer::new(config);
/// reader.assign([(TopicPartition::new("orders", 0), StartAt::Earliest)])?;
/// let records = reader.poll(Duration::from_secs(10)).await?;
/// for record in &records {
///     println!("{}-{} at {}: {:?}", record.topic, record.partition, record.offset, record.value);
/// }
/// # assert_eq!(records.iter().next().and_then(|record| record.value), Some(&b"paid"[..]));
/// reader.close(Duration::from_secs(5)).await;
/// # Ok(())
/// # }
/// ```
///
/// A task of the reader fetches ahead, up to about `fetch.max.bytes` for each broker. Dropping the
/// reader ends the task and its connections.
#[derive(Debug)]
pub struct Consumer {
    shared: Arc<Shared>,
    client: Client,
    /// Dropped with the reader, which ends the task.
    open: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Consumer {
    /// Starts a reader on the current tokio runtime. It does not wait for a connection.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(config: ConsumerConfig) -> Self {
        Self::builder(config).build()
    }

    /// A builder, to replace parts such as the connector.
    pub fn builder(config: ConsumerConfig) -> ConsumerBuilder {
        ConsumerBuilder::new(config)
    }

    /// Reads these partitions from now on, from these starts, and no others. What was fetched and
    /// not handed out is dropped.
    ///
    /// The topics need not exist yet.
    ///
    /// # Errors
    /// [`ConsumerError::InvalidOffset`] if an offset is negative; then nothing has changed.
    pub fn assign(
        &mut self,
        partitions: impl IntoIterator<Item = (TopicPartition, StartAt)>,
    ) -> Result<(), ConsumerError> {
        let partitions: Vec<_> = partitions.into_iter().collect();
        for (partition, start) in &partitions {
            check_start(partition, *start)?;
        }
        let mut fetcher = self.shared.fetcher.lock();
        // Loaded under the lock, as in the driver: of two snapshots the older one would win if it was
        // loaded first and told last, and the driver would not tell the newer one again.
        let snapshot = self.client.metadata();
        fetcher.replace(partitions, |name| driver::leadership(&snapshot, name));
        drop(fetcher);
        self.shared.changed.notify_one();
        Ok(())
    }

    /// The assigned partitions, in the order in which they were given.
    pub fn assignment(&self) -> Vec<TopicPartition> {
        self.shared.fetcher.lock().assignment().cloned().collect()
    }

    /// Waits for records, at most for `timeout`, and hands out what has been fetched: at most
    /// `max.poll.records`, and about 1 MiB or one batch. Without records in time it returns none, maybe
    /// earlier if a position has moved over offsets that have no records for users, such as the
    /// markers of transactions.
    ///
    /// The position of a partition is past all records that a poll has handed out.
    ///
    /// # Errors
    /// [`ConsumerError::NothingAssigned`]; otherwise what is wrong with one partition. Records that
    /// were fetched before it come first. The reader goes on: the next polls read other partitions,
    /// and try this one again.
    ///
    /// # Cancel safety
    /// A poll that is dropped has handed out nothing, and the next one loses nothing.
    pub async fn poll(&mut self, timeout: Duration) -> Result<Records, ConsumerError> {
        if self.shared.fetcher.lock().assignment().next().is_none() {
            return Err(ConsumerError::NothingAssigned);
        }
        let wait = async {
            loop {
                let collected = collector::collect(&self.shared.fetcher, Instant::now());
                if let Some(collected) = collected {
                    // There is room for more.
                    self.shared.changed.notify_one();
                    return collected;
                }
                // Something that arrived since has left a permit.
                self.shared.arrived.notified().await;
            }
        };
        tokio::time::timeout(timeout, wait).await.unwrap_or_else(|_| Ok(Records::default()))
    }

    /// The offset of the next record that a poll hands out, as far as is known now; `None` if the
    /// partition is not assigned, or starts at an end of the log that the broker has not told yet.
    pub fn position(&self, partition: &TopicPartition) -> Option<i64> {
        self.shared.fetcher.lock().position(partition).map(|position| position.offset)
    }

    /// Goes on reading an assigned partition from elsewhere. What was fetched of it and not handed
    /// out is dropped, and so are answers that are still on their way.
    ///
    /// # Errors
    /// [`ConsumerError::NotAssigned`]; [`ConsumerError::InvalidOffset`] if the offset is negative.
    pub fn seek(
        &mut self,
        partition: &TopicPartition,
        start: StartAt,
    ) -> Result<(), ConsumerError> {
        check_start(partition, start)?;
        if !self.shared.fetcher.lock().seek(partition, start) {
            return Err(ConsumerError::NotAssigned { partition: partition.clone() });
        }
        self.shared.changed.notify_one();
        Ok(())
    }

    /// The first offset of each partition's log, asked of the leaders, within `timeout`. The
    /// partitions need not be assigned.
    ///
    /// # Errors
    /// [`ConsumerError::Lookup`] for the first partition whose offset could not be had.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn beginning_offsets(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
        timeout: Duration,
    ) -> Result<BTreeMap<TopicPartition, i64>, ConsumerError> {
        self.lookup(partitions, Bound::Earliest, timeout).await
    }

    /// The offset after the last record of each partition that can be read (the high watermark),
    /// asked of the leaders, within `timeout`. The partitions need not be assigned.
    ///
    /// # Errors
    /// [`ConsumerError::Lookup`] for the first partition whose offset could not be had.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn end_offsets(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
        timeout: Duration,
    ) -> Result<BTreeMap<TopicPartition, i64>, ConsumerError> {
        self.lookup(partitions, Bound::Latest, timeout).await
    }

    async fn lookup(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
        bound: Bound,
        timeout: Duration,
    ) -> Result<BTreeMap<TopicPartition, i64>, ConsumerError> {
        let deadline = deadline(Instant::now(), timeout);
        // Boxed, since it is large, and seldom called.
        Box::pin(lookup(&self.client, partitions.into_iter().collect(), bound, deadline))
            .await
            .map_err(|Unanswered { partition, cause }| ConsumerError::Lookup { partition, cause })
    }

    /// Ends the reader's task and connections, and waits for that at most for `timeout`; whether it
    /// was done by then. Dropping the reader does the same without waiting.
    ///
    /// # Cancel safety
    /// A close that is dropped goes on in the background.
    pub async fn close(self, timeout: Duration) -> bool {
        let Self { shared: _, client, open, task } = self;
        drop(open);
        let deadline = deadline(Instant::now(), timeout);
        // An error says that the task has ended as well.
        let ended = tokio::time::timeout_at(deadline, task).await.is_ok();
        // The connections end in any case.
        client.close(deadline).await && ended
    }
}

fn check_start(partition: &TopicPartition, start: StartAt) -> Result<(), ConsumerError> {
    match start {
        StartAt::Offset(offset) if offset < 0 => {
            Err(ConsumerError::InvalidOffset { partition: partition.clone(), offset })
        }
        _ => Ok(()),
    }
}
