//! From two configurations to a running loop. It decides what exactly-once takes of them.

use crate::config::{ConsumerConfig, IsolationLevel, TransactionalProducerConfig};
use crate::consumer::{
    Consumer, ConsumerBuilder, ConsumerHandle, RebalanceListener, SubscriptionPattern,
};
use crate::error::{ConfigError, ExactlyOnceStartError};
use crate::process::decide::Failures;
use crate::process::{ExactlyOnce, Limits, ProgressHandle};
use crate::producer::{ProducerBuilder, TransactionalProducer};
use crate::time::{Backoff, Duration};
use crate::types::TopicPartition;

/// Builds an [`ExactlyOnce`]; see [`ExactlyOnce::builder`].
#[derive(Debug)]
pub struct ExactlyOnceBuilder<L = Unheard> {
    consumer: ConsumerConfig,
    consumer_parts: ConsumerBuilder,
    producer: TransactionalProducerConfig,
    producer_parts: ProducerBuilder<TransactionalProducerConfig>,
    topics: Topics,
    listener: L,
    time_limit: Option<Duration>,
    retries: u32,
    read_uncommitted: bool,
}

#[derive(Debug)]
enum Topics {
    Named(Vec<String>),
    Pattern(SubscriptionPattern),
}

impl ExactlyOnceBuilder {
    pub(super) fn new(consumer: ConsumerConfig, producer: TransactionalProducerConfig) -> Self {
        Self {
            consumer_parts: Consumer::builder(consumer.clone()),
            consumer,
            producer_parts: TransactionalProducer::builder(producer.clone()),
            producer,
            topics: Topics::Named(Vec::new()),
            listener: Unheard,
            time_limit: None,
            retries: 0,
            read_uncommitted: false,
        }
    }
}

impl<L: RebalanceListener + 'static> ExactlyOnceBuilder<L> {
    /// The topics to be read.
    #[must_use]
    pub fn topics(mut self, topics: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.topics = Topics::Named(topics.into_iter().map(Into::into).collect());
        self
    }

    /// All topics whose names match are to be read, instead of those that were named.
    #[must_use]
    pub fn pattern(mut self, pattern: &SubscriptionPattern) -> Self {
        self.topics = Topics::Pattern(pattern.clone());
        self
    }

    /// Is told of the partitions that come and go. No transaction is open then.
    #[must_use]
    pub fn listener<T: RebalanceListener + 'static>(self, listener: T) -> ExactlyOnceBuilder<T> {
        ExactlyOnceBuilder {
            consumer: self.consumer,
            consumer_parts: self.consumer_parts,
            producer: self.producer,
            producer_parts: self.producer_parts,
            topics: self.topics,
            listener,
            time_limit: self.time_limit,
            retries: self.retries,
            read_uncommitted: self.read_uncommitted,
        }
    }

    /// How long the closure may take for a batch, before its transaction is aborted. Default: half of
    /// `transaction.timeout.ms`, after which the transaction's coordinator would abort it and fence the producer.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = Some(limit);
        self
    }

    /// How often a batch is given to the closure again after the closure has failed, or taken too long. Default: 0. What fails
    /// at the brokers and passes is not counted here: that is tried again until it passes.
    #[must_use]
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// Allows `isolation.level=read_uncommitted`. Then records of transactions that are aborted later are processed as well:
    /// right only where no input is written in transactions.
    #[must_use]
    pub fn allow_read_uncommitted(mut self) -> Self {
        self.read_uncommitted = true;
        self
    }

    /// Sets parts of the consumer, such as its connector, assignors and interceptors.
    #[must_use]
    pub fn with_consumer(
        mut self,
        change: impl FnOnce(ConsumerBuilder) -> ConsumerBuilder,
    ) -> Self {
        self.consumer_parts = change(self.consumer_parts);
        self
    }

    /// Sets parts of the producer, such as its connector, partitioner and interceptors.
    #[must_use]
    pub fn with_producer(
        mut self,
        change: impl FnOnce(
            ProducerBuilder<TransactionalProducerConfig>,
        ) -> ProducerBuilder<TransactionalProducerConfig>,
    ) -> Self {
        self.producer_parts = change(self.producer_parts);
        self
    }

    /// Initialises transactions, which ends what an earlier producer with the same `transactional.id` has left open and
    /// fences that producer, and subscribes. The group is joined by [`ExactlyOnce::run`].
    ///
    /// # Errors
    /// - [`ExactlyOnceStartError::Config`], before anything is connected: without `group.id`; with `enable.auto.commit`; with
    ///   an `isolation.level` other than `read_committed`, unless that is [allowed](Self::allow_read_uncommitted); with a
    ///   `transaction.timeout.ms` longer than `max.poll.interval.ms`, or a time limit that is not shorter than either.
    /// - [`ExactlyOnceStartError::Transaction`], as of [`TransactionalProducer::new`].
    /// - [`ExactlyOnceStartError::Consumer`], as of [`Consumer::subscribe`].
    ///
    /// # Cancel safety
    /// What was started ends with it.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn start(self) -> Result<ExactlyOnce, ExactlyOnceStartError> {
        let limits = self.check().map_err(ExactlyOnceStartError::Config)?;
        let client = self.producer.producer().client();
        let backoff = Backoff::new(client.retry_backoff(), client.retry_backoff_max());
        // First: what an earlier one has left open is over before anybody asks what is committed.
        let producer =
            self.producer_parts.init().await.map_err(ExactlyOnceStartError::Transaction)?;
        let mut consumer = self.consumer_parts.build();
        let progress = ProgressHandle::default();
        let listener = Noting { progress: progress.clone(), listener: self.listener };
        let subscribed = match &self.topics {
            Topics::Named(topics) => consumer.subscribe_with(topics, listener),
            Topics::Pattern(pattern) => consumer.subscribe_pattern(pattern, listener),
        };
        subscribed.map_err(ExactlyOnceStartError::Consumer)?;
        Ok(ExactlyOnce {
            group: self.consumer.group_id().unwrap_or_default().to_owned(),
            transactional_id: self.producer.transactional_id().to_owned(),
            consumer,
            producer,
            pending: None,
            failures: Failures::new(backoff, self.retries),
            limits,
            progress,
        })
    }

    /// The rules; gives the limits.
    fn check(&self) -> Result<Limits, ConfigError> {
        let invalid = |property, value: &str, allowed: &str| {
            let (value, allowed) = (value.to_owned(), allowed.to_owned());
            Err(ConfigError::Invalid { property, value, allowed })
        };
        if self.consumer.group_id().is_none() {
            let allowed = "the name of the group that the workers share".to_owned();
            return Err(ConfigError::Missing { property: "group.id", allowed });
        }
        if self.consumer.enable_auto_commit() {
            let allowed = "false: offsets are committed by the transactions";
            return invalid("enable.auto.commit", "true", allowed);
        }
        let uncommitted = self.consumer.isolation_level() != IsolationLevel::ReadCommitted;
        if uncommitted && !self.read_uncommitted {
            let allowed = "read_committed: what is aborted must not be processed";
            return invalid("isolation.level", "read_uncommitted", allowed);
        }
        let transaction = self.producer.producer().transaction_timeout();
        let poll = self.consumer.max_poll_interval();
        let conflict = |property, value: Duration, other, other_value: Duration, rule| {
            let [value, other_value] =
                [value, other_value].map(|time| time.as_millis().to_string());
            Err(ConfigError::Conflict { property, value, other, other_value, rule })
        };
        if transaction > poll {
            let rule = "a worker that hangs is to lose its transaction before its partitions";
            return conflict(
                "transaction.timeout.ms",
                transaction,
                "max.poll.interval.ms",
                poll,
                rule,
            );
        }
        let limit = self.time_limit.unwrap_or(transaction / 2);
        if limit >= transaction {
            let rule = "the time limit, in milliseconds, has to leave time for the commit";
            return conflict("time_limit", limit, "transaction.timeout.ms", transaction, rule);
        }
        // The rest is for the commit.
        Ok(Limits { closure: limit, transaction: limit + (transaction - limit) / 2 })
    }
}

/// For those that do not want to be told.
#[derive(Debug)]
pub struct Unheard;

impl RebalanceListener for Unheard {}

/// Keeps the progress up to date.
struct Noting<L> {
    progress: ProgressHandle,
    listener: L,
}

impl<L: RebalanceListener> RebalanceListener for Noting<L> {
    async fn on_partitions_assigned(
        &mut self,
        consumer: &ConsumerHandle,
        partitions: &[TopicPartition],
    ) {
        self.listener.on_partitions_assigned(consumer, partitions).await;
        self.progress.change(|progress| progress.assigned.extend(partitions.iter().cloned()));
    }

    async fn on_partitions_revoked(
        &mut self,
        consumer: &ConsumerHandle,
        partitions: &[TopicPartition],
    ) {
        self.listener.on_partitions_revoked(consumer, partitions).await;
        self.gone(partitions);
    }

    async fn on_partitions_lost(
        &mut self,
        consumer: &ConsumerHandle,
        partitions: &[TopicPartition],
    ) {
        self.listener.on_partitions_lost(consumer, partitions).await;
        self.gone(partitions);
    }
}

impl<L> Noting<L> {
    fn gone(&self, partitions: &[TopicPartition]) {
        self.progress
            .change(|progress| progress.assigned.retain(|name| !partitions.contains(name)));
    }
}
