//! Reading: a background task fetches ahead of the user and keeps up the membership in a group; a poll
//! hands out what has come, and carries out what the group wants.
//!
//! ```text
//!   broker ─► connection ─► driver ─► fetcher (queue) ─► collector (check, cut) ─► Records ─► user
//!                             ▲ │        │ ▲                                                   │
//!                             │ │        │ └── position, assignment ◄── rebalance ◄── poll ◄───┤
//!                             │ └─► group, offsets ──► event ───────────────┘                  │
//!                             └─ actions ┴─┘ ◄────────────── commit ◄── handle ◄───────────────┘
//! ```
//!
//! | module | what it decides |
//! |---|---|
//! | `subscription` | nothing: where an assigned partition is, and what is in its way |
//! | `fetcher` | what to ask of whom, what an answer means, what may be buffered |
//! | `group` | how the consumer becomes and stays a member, and what it owns |
//! | `offsets` | which commits are sent when, and what their answers mean |
//! | `watch`, `pattern` | nothing: which topics the group has to know of |
//! | `membership` | nothing: the group's member, its offsets and its topics, under one lock |
//! | `driver`, `coordination` | nothing: the task between those and the client |
//! | `collector` | how much a poll hands out |
//! | `rebalance`, `listener` | nothing: what a poll does, and calls, as partitions come and go |
//! | `handle` | nothing: what else the user can do with a consumer, from any task |
//! | `metrics`, `measured` | nothing: what is counted, and under which name |
//! | `interceptor` | nothing: what users may look at records and commits with |
//! | `typed` | nothing: hands bytes to deserializers |
//! | `close` | in which order a consumer ends |
//! | `lookup` | nothing: asks where a log begins and ends |
//! | `records`, `stream` | how a record looks to the user |

mod builder;
mod close;
mod collector;
mod coordination;
mod driver;
mod fetcher;
pub(crate) mod group;
mod handle;
mod interceptor;
mod listener;
mod lookup;
mod measured;
mod membership;
mod metrics;
mod offsets;
mod pattern;
mod rebalance;
mod records;
mod stream;
mod subscription;
mod typed;
mod watch;

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Deref;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::config::ConsumerConfig;
use crate::error::{ConsumerError, GroupError};
use crate::time::{Duration, Instant, deadline};
use crate::types::TopicPartition;
use collector::Collected;
use group::{GroupSubscription, MemberEvent};
use handle::check_start;
use listener::{AnyListener, NoListener};
use membership::Membership;

pub use builder::ConsumerBuilder;
pub use group::LeaveMode;
pub use group::assign as assignor;
pub use handle::ConsumerHandle;
pub use interceptor::ConsumerInterceptor;
pub use listener::RebalanceListener;
pub use pattern::SubscriptionPattern;
pub use records::{
    ConsumerRecord, OwnedRecord, PartitionRecords, PartitionRecordsIter, RecordHeaders, Records,
    RecordsIter,
};
pub use stream::RecordStream;
pub use subscription::StartAt;
pub use typed::{TypedConsumerRecord, TypedRecords};

/// Reads records: the partitions that it shares with the other members of a group, or those that it
/// is told to.
///
/// With a `group.id`, [`subscribe`](Self::subscribe) makes it a member of the group, which spreads
/// the partitions of the topics over its members, and keeps for each how far it has been processed.
///
/// ```
/// use std::time::Duration;
/// use milena::broker::Cluster;
/// use milena::{Consumer, ConsumerConfig, OffsetReset, Producer, ProducerConfig, ProducerRecord};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let cluster = Cluster::builder().start().await?;
/// cluster.create_topic("orders")?;
/// let config = ProducerConfig::builder().bootstrap_servers(cluster.bootstrap_servers()).build()?;
/// let producer = Producer::new(config);
/// producer.send(&ProducerRecord::new("orders", "paid")).await?.await?;
///
/// let config = ConsumerConfig::builder()
///     .bootstrap_servers(cluster.bootstrap_servers())
///     .group_id("billing")
///     .auto_offset_reset(OffsetReset::Earliest)
///     .enable_auto_commit(false)
///     .build()?;
/// let mut consumer = Consumer::new(config);
/// consumer.subscribe(["orders"])?;
/// let records = consumer.poll(Duration::from_secs(10)).await?;
/// for record in &records {
///     println!("{}-{} at {}: {:?}", record.topic, record.partition, record.offset, record.value);
/// }
/// # assert_eq!(records.iter().next().and_then(|record| record.value), Some(&b"paid"[..]));
/// consumer.commit().await?; // they are done: at least once
/// consumer.close(Duration::from_secs(5)).await;
/// # Ok(())
/// # }
/// ```
///
/// Without a group, or beside it, [`assign`](Self::assign) names partitions and where to start.
///
/// A task of the consumer fetches ahead, up to about `fetch.max.bytes` for each broker, and sends
/// heartbeats. Everything that concerns the application happens within [`poll`](Self::poll), which
/// has to be called again within `max.poll.interval.ms`. What else can be done with a consumer can be
/// done from any task, with a [`ConsumerHandle`], which it dereferences to.
///
/// [`close`](Self::close) a member, so that the others go on with its partitions at once. Dropping it
/// ends the task and its connections; the group notices when the session ends
/// (`session.timeout.ms`).
pub struct Consumer {
    handle: ConsumerHandle,
    /// Why it cannot be a member of its group although it has one.
    refused: Option<GroupError>,
    /// Never locked: it is `Sync` although listeners need not be.
    listener: Mutex<Box<dyn AnyListener>>,
    /// What the member has for the user and a poll has not carried out yet.
    event: Option<MemberEvent>,
    subscribed: Subscribed,
    /// Dropped with the consumer, which ends the task.
    open: Option<oneshot::Sender<()>>,
    task: Option<JoinHandle<()>>,
}

/// By which of its ways the consumer gets partitions. They exclude each other, as in Kafka.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Subscribed {
    /// To nothing, or to partitions that the application names.
    Not,
    Topics(BTreeSet<String>),
    Pattern(String),
}

impl Consumer {
    /// Starts a consumer on the current tokio runtime. It does not wait for a connection.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(config: ConsumerConfig) -> Self {
        Self::builder(config).build()
    }

    fn wire(
        handle: ConsumerHandle,
        refused: Option<GroupError>,
        open: oneshot::Sender<()>,
        task: JoinHandle<()>,
    ) -> Self {
        Self {
            handle,
            refused,
            listener: Mutex::new(Box::new(NoListener)),
            event: None,
            subscribed: Subscribed::Not,
            open: Some(open),
            task: Some(task),
        }
    }

    /// A builder, to replace parts such as the connector.
    pub fn builder(config: ConsumerConfig) -> ConsumerBuilder {
        ConsumerBuilder::new(config)
    }

    /// What can be done with the consumer beside polling, for another task.
    pub fn handle(&self) -> ConsumerHandle {
        self.handle.clone()
    }

    /// Reads these partitions from now on, from these starts, and no others. What was fetched and
    /// not handed out is dropped.
    ///
    /// [`StartAt::Committed`] is what Java's `assign` does. The topics need not exist yet. No group
    /// is joined, but with a `group.id` offsets can be committed.
    ///
    /// # Errors
    /// [`ConsumerError::InvalidOffset`] if an offset is negative; [`ConsumerError::Subscribed`] if
    /// the consumer is subscribed to topics, or an [`unsubscribe`](Self::unsubscribe) was dropped and no
    /// poll has finished it. Then nothing has changed.
    pub fn assign(
        &mut self,
        partitions: impl IntoIterator<Item = (TopicPartition, StartAt)>,
    ) -> Result<(), ConsumerError> {
        // What an unsubscribe has left to be told may still give up partitions.
        if self.subscribed != Subscribed::Not || self.event.is_some() {
            return Err(ConsumerError::Subscribed);
        }
        let partitions: Vec<_> = partitions.into_iter().collect();
        for (partition, start) in &partitions {
            check_start(partition, *start)?;
        }
        self.handle.auto_commit_before_change();
        let mut fetcher = self.handle.shared.fetcher.lock();
        // Loaded under the lock, as in the driver: of two snapshots the older one would win if it was
        // loaded first and told last, and the driver would not tell the newer one again.
        let snapshot = self.handle.client.metadata();
        fetcher.replace(partitions, |name| driver::leadership(&snapshot, name));
        drop(fetcher);
        self.handle.shared.changed.notify_one();
        Ok(())
    }

    /// Becomes a member of the group `group.id`, or stays one, to read its share of these topics, and
    /// of no others. They need not exist yet. The group is joined by the next poll.
    ///
    /// # Errors
    /// [`ConsumerError::NoGroup`] without a `group.id`; [`ConsumerError::Assigned`] if partitions
    /// were assigned by [`assign`](Self::assign); [`ConsumerError::InvalidTopic`] for a name that no
    /// topic can have; [`ConsumerError::Group`] if the assignors do not go together. Then nothing has
    /// changed.
    pub fn subscribe(
        &mut self,
        topics: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<(), ConsumerError> {
        self.subscribe_with(topics, NoListener)
    }

    /// As [`subscribe`](Self::subscribe), with a listener that is told of the partitions that come
    /// and go.
    ///
    /// # Errors
    /// As those of [`subscribe`](Self::subscribe).
    pub fn subscribe_with(
        &mut self,
        topics: impl IntoIterator<Item = impl Into<String>>,
        listener: impl RebalanceListener + 'static,
    ) -> Result<(), ConsumerError> {
        let topics: BTreeSet<String> = topics.into_iter().map(Into::into).collect();
        if let Some(topic) = topics.iter().find(|topic| !is_legal(topic)) {
            return Err(ConsumerError::InvalidTopic { topic: topic.clone() });
        }
        let mut membership = self.member()?;
        membership.watch.named.clone_from(&topics);
        membership.watch.pattern = None;
        membership.group.subscribe(GroupSubscription::Topics(topics.clone()), Instant::now());
        // What is known already comes with no news.
        membership.handle_metadata(&self.handle.client.metadata(), Instant::now());
        drop(membership);
        self.handle.client.follow_all(false);
        for topic in &topics {
            self.handle.client.track(topic);
        }
        self.subscribed(Subscribed::Topics(topics), listener);
        Ok(())
    }

    /// As [`subscribe_with`](Self::subscribe_with), to all topics whose names match a pattern. Those
    /// that appear later come in with the next metadata, within `metadata.max.age.ms`.
    ///
    /// With `group.protocol=consumer` the brokers evaluate the pattern (KIP-848).
    ///
    /// # Errors
    /// As those of [`subscribe`](Self::subscribe).
    pub fn subscribe_pattern(
        &mut self,
        pattern: &SubscriptionPattern,
        listener: impl RebalanceListener + 'static,
    ) -> Result<(), ConsumerError> {
        let mut membership = self.member()?;
        let by_broker = membership.by_broker;
        membership.watch.named.clear();
        membership.watch.pattern = (!by_broker).then(|| pattern.clone());
        let subscription = if by_broker {
            GroupSubscription::BrokerRegex(pattern.as_str().to_owned())
        } else {
            GroupSubscription::Pattern
        };
        membership.group.subscribe(subscription, Instant::now());
        membership.handle_metadata(&self.handle.client.metadata(), Instant::now());
        drop(membership);
        self.handle.client.follow_all(!by_broker);
        self.subscribed(Subscribed::Pattern(pattern.as_str().to_owned()), listener);
        Ok(())
    }

    /// The member, if topics can be subscribed to.
    fn member(&self) -> Result<MutexGuard<'_, Membership>, ConsumerError> {
        if self.subscribed == Subscribed::Not
            && self.event.is_none()
            && self.handle.shared.fetcher.lock().assignment().next().is_some()
        {
            return Err(ConsumerError::Assigned);
        }
        match (&self.handle.shared.membership, &self.refused) {
            (Some(membership), _) => Ok(membership.lock()),
            (None, Some(error)) => Err(ConsumerError::Group(error.clone())),
            (None, None) => Err(ConsumerError::NoGroup),
        }
    }

    fn subscribed(&mut self, subscribed: Subscribed, listener: impl RebalanceListener + 'static) {
        self.subscribed = subscribed;
        *self.listener.get_mut() = Box::new(listener);
        self.handle.shared.changed.notify_one();
    }

    /// The topics that are subscribed to by name; none if it is by a pattern, or not at all.
    pub fn subscription(&self) -> BTreeSet<String> {
        match &self.subscribed {
            Subscribed::Topics(topics) => topics.clone(),
            Subscribed::Pattern(_) | Subscribed::Not => BTreeSet::new(),
        }
    }

    /// Reads nothing any more: gives up what was assigned, and leaves the group. With
    /// `enable.auto.commit` positions are committed first, and the listener is told.
    ///
    /// # Cancel safety
    /// If it is dropped, the rest is done by the next poll.
    pub async fn unsubscribe(&mut self) {
        if self.subscribed == Subscribed::Not && self.event.is_none() {
            self.handle.auto_commit_now().await;
            self.handle.shared.fetcher.lock().replace([], |_| None);
            self.handle.shared.changed.notify_one();
            return;
        }
        self.subscribed = Subscribed::Not;
        if let Some(membership) = &self.handle.shared.membership {
            let mut membership = membership.lock();
            membership.watch.named.clear();
            membership.watch.pattern = None;
            membership.group.unsubscribe(Instant::now());
        }
        self.handle.client.follow_all(false);
        self.handle.shared.changed.notify_one();
        // What went wrong with the membership does not matter any more.
        let _ = self.rebalance().await;
    }

    /// Waits for records, at most for `timeout`, and hands out what has been fetched: at most
    /// `max.poll.records`, and about 1 MiB, or one batch if that is larger. Without records in time it
    /// returns none; it may do so earlier if a position has moved over offsets that have no records
    /// for users, such as the markers of transactions.
    ///
    /// This is where the consumer joins its group, and where partitions come and go; the listener is
    /// called in here, and may take longer than `timeout`. With `enable.auto.commit`, every
    /// `auto.commit.interval.ms` a poll commits what the polls before it have handed out.
    ///
    /// The position of a partition is past all records that a poll has handed out.
    ///
    /// # Errors
    /// [`ConsumerError::NothingAssigned`] if there is neither an assignment nor a subscription;
    /// [`ConsumerError::Group`] if the membership failed; otherwise what is wrong with one partition.
    /// Records that were fetched before it come first. The consumer goes on: the next polls read other
    /// partitions, and try this one again.
    ///
    /// # Cancel safety
    /// A poll that is dropped has handed out nothing, and the next one loses nothing. If that is
    /// while the listener runs, the next poll calls it again.
    pub async fn poll(&mut self, timeout: Duration) -> Result<Records, ConsumerError> {
        let deadline = deadline(Instant::now(), timeout);
        let _polling = self.handle.begin_poll();
        loop {
            self.rebalance().await?;
            if self.subscribed == Subscribed::Not
                && self.handle.shared.fetcher.lock().assignment().next().is_none()
            {
                return Err(ConsumerError::NothingAssigned);
            }
            let next_commit = self.handle.auto_commit();
            let Collected { result, wakes } =
                collector::collect(&self.handle.shared.fetcher, Instant::now());
            if wakes {
                self.handle.shared.changed.notify_one();
            }
            if let Some(result) = result {
                if let Ok(records) = &result {
                    self.handle.handed_out(records);
                }
                return result;
            }
            // Something that arrived since has left a permit.
            let arrived = self.handle.shared.arrived.notified();
            let until = next_commit.map_or(deadline, |at| at.min(deadline));
            let in_time = tokio::time::timeout_at(until, arrived).await.is_ok();
            if !in_time && until == deadline {
                return Ok(Records::default());
            }
        }
    }

    /// The records one by one, each a copy of its own.
    ///
    /// ```no_run
    /// use futures_util::StreamExt;
    ///
    /// # async fn example(mut consumer: milena::Consumer) -> Result<(), milena::ConsumerError> {
    /// let mut records = consumer.stream();
    /// while let Some(record) = records.next().await {
    ///     println!("{:?}", record?.value);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn stream(&mut self) -> RecordStream<'_> {
        RecordStream::new(self)
    }
}

/// What topics can be called (`Topic.validate`).
fn is_legal(topic: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !topic.is_empty()
        && topic.len() <= 249
        && topic != "."
        && topic != ".."
        && topic.chars().all(legal)
}

impl Deref for Consumer {
    type Target = ConsumerHandle;

    fn deref(&self) -> &ConsumerHandle {
        &self.handle
    }
}

/// Ends the task and the connections, without waiting.
impl Drop for Consumer {
    fn drop(&mut self) {
        self.handle.client.end();
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("subscribed", &self.subscribed)
            .field("handle", &self.handle)
            .finish_non_exhaustive()
    }
}
