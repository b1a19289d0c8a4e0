//! An in-memory Kafka cluster for tests and examples: the real wire protocol, Kafka's own rules, faults on command.
//!
//! It listens on 127.0.0.1 for any Kafka client, or serves in-memory streams without a network. Nothing is written to
//! disk, a cluster is ready in milliseconds, and it is gone when its last handle is dropped.
//!
//! ```
//! use milena::broker::Cluster;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let cluster = Cluster::builder().nodes(3).start().await?;
//! cluster.create_topic(("orders", 6))?;
//!
//! // Give this to the service under test …
//! println!("bootstrap.servers={}", cluster.bootstrap_servers());
//!
//! // … and see what it wrote.
//! for record in cluster.records("orders", 0) {
//!     println!("{}: {:?}", record.offset, record.value);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Faults test what happens when things go wrong:
//!
//! ```
//! use std::time::Duration;
//! use milena::broker::{ApiKey, Cluster, Fault};
//! use milena::{BrokerId, ErrorCode};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let cluster = Cluster::builder().nodes(2).start().await?;
//! cluster.create_topic("orders")?;
//!
//! // The next Produce is applied, but its response is lost.
//! cluster.inject(Fault::drop_response(ApiKey::PRODUCE));
//! // The three after it are refused.
//! cluster.inject(Fault::error(ApiKey::PRODUCE, ErrorCode::NOT_ENOUGH_REPLICAS).times(3));
//! // Node 2 is slow with all fetches.
//! let slow = Fault::delay_response(ApiKey::FETCH, Duration::from_millis(300));
//! cluster.inject(slow.on_node(BrokerId(2)).always());
//!
//! cluster.move_leader("orders", 0, BrokerId(2))?;
//! cluster.stop_node(BrokerId(1)).await?;
//! cluster.restart_node(BrokerId(1)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What it does
//! ApiVersions, Metadata (with automatic topic creation), Produce, Fetch, ListOffsets, OffsetForLeaderEpoch,
//! InitProducerId, FindCoordinator, JoinGroup, SyncGroup, Heartbeat, LeaveGroup, ConsumerGroupHeartbeat, OffsetCommit,
//! OffsetFetch, OffsetDelete, ListGroups, DescribeGroups, ConsumerGroupDescribe, DeleteGroups, AddPartitionsToTxn,
//! AddOffsetsToTxn, TxnOffsetCommit, EndTxn, DescribeProducers, DescribeTransactions, ListTransactions, CreateTopics,
//! CreatePartitions and DeleteTopics, in all versions that brokers of 4.3 serve. Leaders, leader epochs, topic ids,
//! in-sync replicas, `min.insync.replicas`, size and time limits, the checks of idempotent producers, the rules of
//! consumer groups, and those of transactions in both versions of their protocol (KIP-890 is the new one) are Kafka's,
//! and so are fetch sessions, isolation levels and racks.
//!
//! # Where it differs from Kafka
//! - Replicas are in step at once: the high watermark is the end of the log, and a change of leader loses nothing
//!   but in [`Cluster::elect_uncleanly`]. Followers fall behind by [`Cluster::hold_replica`] alone.
//! - The first rebalance of a group does not wait for more members, unless
//!   [`ClusterBuilder::group_initial_rebalance_delay`] says so. Groups and offsets are kept for ever.
//! - Members of the classic and of the new group protocol (KIP-848) are never in one group: it is refused until it is
//!   empty, as with `group.consumer.migration.policy=disabled`.
//! - A JoinGroup or SyncGroup whose client sends it again meanwhile is answered with `REBALANCE_IN_PROGRESS`, not left
//!   without an answer.
//! - The markers of a transaction are written at its end, not some milliseconds later, unless
//!   [`ClusterBuilder::transaction_marker_delay`] says so, or somebody has to lead first. A transaction that takes too long
//!   is aborted when its time is up, not at the next look of every ten seconds. Transactional ids are kept for ever.
//! - No security yet.
//! - A batch that was written but is no longer among the last five of its producer is answered with
//!   `DUPLICATE_SEQUENCE_NUMBER`, which tells the producer that nothing is lost. Current brokers say
//!   `OUT_OF_ORDER_SEQUENCE_NUMBER`; a [`Fault`] can give that.
//! - Logs are compacted by [`Cluster::compact`] alone, and kept for ever unless `retention.bytes` is set; it then acts at once.

mod builder;
mod cluster;
mod compact;
mod connection;
mod error;
mod events;
mod faults;
mod fetch_session;
mod group;
mod handlers;
mod inspect;
mod listener;
mod log;
mod partition;
mod placement;
mod producer_state;
mod rack;
mod recovery;
mod shared;
mod stable;
mod state;
#[cfg(test)]
mod testing;
mod topic_config;
mod topic_spec;
mod txn;
mod validate;

pub use self::builder::ClusterBuilder;
pub use self::cluster::{Cluster, NewRecord, Writer};
pub use self::error::ClusterError;
pub use self::events::Event;
pub use self::faults::{Action, Fault};
pub use self::group::{CommittedOffset, GroupDescription, GroupMember, GroupType};
pub use self::inspect::{StoredBatch, StoredRecord};
pub use self::topic_spec::TopicSpec;
pub use self::txn::{TransactionDescription, TransactionState};
pub use crate::protocol::ApiKey;
