//! Looking into a cluster from outside: which transactions there are, how they stand, who writes to
//! a partition; and the one thing that is done, fencing (KIP-664).
//!
//! A transaction that is never ended keeps readers of committed records from what lies behind its
//! first record. To find it and end it:
//!
//! ```
//! use milena::admin::{Admin, TransactionFilter, TransactionState};
//! use milena::{AdminConfig, ProducerConfig, ProducerRecord, TopicPartition};
//! # use milena::{TransactionalProducer, TransactionError};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let cluster = milena::broker::Cluster::builder().start().await?;
//! # cluster.create_topic("orders")?;
//! # let config = ProducerConfig::builder().bootstrap_servers(cluster.bootstrap_servers());
//! # let config = config.transactional_id("billing").build_transactional()?;
//! # let mut stuck = TransactionalProducer::new(config).await?;
//! # let transaction = stuck.begin().await?;
//! # transaction.send_and_wait(&ProducerRecord::new("orders", "paid")).await?;
//! let config = AdminConfig::builder().bootstrap_servers(cluster.bootstrap_servers()).build()?;
//! let admin = Admin::new(config);
//!
//! // Who is it that holds up the readers of this partition?
//! let partition = TopicPartition::new("orders", 0);
//! let producers = admin.describe_producers([partition.clone()]).await.remove(&partition).unwrap()?;
//! let open = producers.iter().filter(|it| it.current_transaction_start_offset.is_some());
//! let open: Vec<_> = open.map(|producer| producer.producer_id).collect();
//!
//! let filter = TransactionFilter::new().producer_ids(open).states([TransactionState::Ongoing]);
//! for found in admin.list_transactions(&filter).await?.all()? {
//!     let id = found.transactional_id;
//!     for (id, described) in admin.describe_transactions([&id]).await {
//!         let described = described?;
//!         println!("{id}: {} since {:?}", described.state, described.transaction_start_time);
//!     }
//!     admin.fence_producers([&id]).await.remove(&id).unwrap()?;
//! #   assert_eq!(id, "billing");
//! }
//! # let told = transaction.commit().await.unwrap_err();
//! # assert!(matches!(told, TransactionError::Fatal(_)), "{told}");
//! # assert_eq!(cluster.last_stable_offset("orders", 0), Some(2));
//! # Ok(())
//! # }
//! ```
//!
//! | module | what it decides |
//! |---|---|
//! | `ledger` | how far a call is with each thing that it is about (pure) |
//! | `question` | nothing: it asks, until all is settled or time is up |
//! | `coordinators` | whom to ask about transactional ids |
//! | `list`, `describe`, `producers`, `fence` | what to ask, and what the answers mean |

mod builder;
mod coordinators;
mod describe;
mod fence;
mod ledger;
mod list;
mod model;
mod producers;
mod question;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::client::Client;
use crate::config::AdminConfig;
use crate::error::AdminError;
use crate::metrics::Metrics;
use crate::time::{self, Duration, Instant};
use crate::types::{BrokerId, ProducerIdentity, TopicPartition};
use describe::Describe;
use fence::Fence;
use list::List;
use producers::Producers;
use question::{Bounds, ask};

pub use builder::AdminBuilder;
pub use model::{
    ProducerState, TransactionDescription, TransactionFilter, TransactionListing,
    TransactionListings, TransactionState,
};

/// A client for administrators. Its clones share its connections, which end with the last of them.
///
/// A call asks all brokers that are concerned at once, follows coordinators and leaders that move,
/// tries again what may pass, and ends after `default.api.timeout.ms` at the latest; what is known by
/// then is told. The results are by what was asked for: one id that does not exist leaves the others
/// as they are. What is named twice is asked for once.
///
/// All calls can be cancelled (dropped) at any time: what was asked of brokers by then may still be
/// done by them.
#[derive(Debug, Clone)]
pub struct Admin {
    client: Client,
    timeout: Duration,
    random: Arc<Mutex<fastrand::Rng>>,
}

impl Admin {
    /// Starts a client on the current tokio runtime; as [`AdminBuilder::build`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(config: AdminConfig) -> Self {
        Self::builder(config).build()
    }

    /// Starts with the usual parts.
    pub fn builder(config: AdminConfig) -> AdminBuilder {
        AdminBuilder::new(config)
    }

    /// The transactional ids that coordinators know and the filter fits (brokers from 3.0 on). Every
    /// broker is asked for its own.
    ///
    /// It is no moment's picture: an id whose coordinator moves meanwhile may be listed twice or not
    /// at all.
    ///
    /// # Errors
    /// [`AdminError::Client`] if it is not found out in time which brokers there are. That a broker
    /// could not be asked, or not in time, stands in [`TransactionListings`].
    pub async fn list_transactions(
        &self,
        filter: &TransactionFilter,
    ) -> Result<TransactionListings, AdminError> {
        let bounds = self.bounds();
        let snapshot = self.client.brokers(true, bounds.deadline).await;
        let snapshot = snapshot.map_err(|cause| AdminError::Client {
            subject: "the brokers of the cluster".into(),
            cause: Arc::new(cause),
        })?;
        let brokers: BTreeSet<BrokerId> = snapshot.brokers().map(|node| node.id).collect();
        let by_broker = ask(&self.client, &List(filter), brokers, bounds).await;
        Ok(TransactionListings { by_broker })
    }

    /// How the transactions of transactional ids stand (brokers from 3.0 on).
    ///
    /// # Errors
    /// For each id. [`ErrorCode::TRANSACTIONAL_ID_NOT_FOUND`](crate::ErrorCode) if there is none.
    pub async fn describe_transactions<T: Into<String>>(
        &self,
        transactional_ids: impl IntoIterator<Item = T>,
    ) -> BTreeMap<String, Result<TransactionDescription, AdminError>> {
        let ids = transactional_ids.into_iter().map(Into::into).collect();
        self.ask_coordinators(&Describe, ids).await
    }

    /// The producers that the leaders of partitions know (brokers from 2.8 on).
    ///
    /// # Errors
    /// For each partition. One that does not exist may be one that is being made: it is waited for.
    pub async fn describe_producers(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> BTreeMap<TopicPartition, Result<Vec<ProducerState>, AdminError>> {
        let partitions: BTreeSet<_> = partitions.into_iter().collect();
        ask(&self.client, &Producers, partitions, self.bounds()).await
    }

    /// Fences whoever uses these transactional ids: their open transactions are aborted, and whatever
    /// they do next fails for good. Tells the producer ids and the epochs from which on it holds.
    ///
    /// An id that no producer has used is made. The ids can be used again: the next producer with one
    /// of them gets a higher epoch still.
    ///
    /// # Errors
    /// For each id. After [`AdminError::TimedOut`] the producer may be fenced all the same; a second
    /// call does no harm, but to a producer that has begun meanwhile.
    pub async fn fence_producers<T: Into<String>>(
        &self,
        transactional_ids: impl IntoIterator<Item = T>,
    ) -> BTreeMap<String, Result<ProducerIdentity, AdminError>> {
        let ids = transactional_ids.into_iter().map(Into::into).collect();
        let fence = Fence { transaction_timeout: self.client.config().request_timeout() };
        self.ask_coordinators(&fence, ids).await
    }

    /// What its connections have counted, under Kafka's names (`admin-client-metrics`).
    pub fn metrics(&self) -> Metrics {
        self.client.metrics().snapshot(Instant::now(), |_| ())
    }

    /// Ends its connections, for all clones; calls that are under way fail. Waits for that at most
    /// `timeout`, and says whether it is done. Without it the same happens when the last clone is
    /// dropped, unwaited for.
    pub async fn close(self, timeout: Duration) -> bool {
        self.client.close(time::deadline(Instant::now(), timeout)).await
    }

    fn bounds(&self) -> Bounds {
        let began = Instant::now();
        let deadline = time::deadline(began, self.timeout);
        Bounds { began, deadline, random: self.random.lock().fork() }
    }

    async fn ask_coordinators<Q: question::Question<Key = String>>(
        &self,
        question: &Q,
        mut ids: BTreeSet<String>,
    ) -> BTreeMap<String, Result<Q::Value, AdminError>> {
        let empty = ids.take("");
        let mut answers = ask(&self.client, question, ids, self.bounds()).await;
        answers.extend(empty.map(|id| (id, Err(AdminError::EmptyTransactionalId))));
        answers
    }
}
