//! A transactional id in a form for tests to look at.

use std::collections::BTreeSet;
use std::fmt;

use super::Transaction;
use crate::types::{ProducerIdentity, TopicPartition};

/// How the transaction of a transactional id stands. Displays as Kafka's name for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransactionState {
    /// Its producer has begun no transaction yet.
    Empty,
    /// A transaction is open.
    Ongoing,
    /// It will be committed: not all partitions have their marker yet.
    PrepareCommit,
    /// It will be aborted: not all partitions have their marker yet.
    PrepareAbort,
    /// The last transaction was committed.
    CompleteCommit,
    /// The last transaction was aborted.
    CompleteAbort,
}

impl TransactionState {
    /// Kafka's name, such as `PrepareCommit`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Ongoing => "Ongoing",
            Self::PrepareCommit => "PrepareCommit",
            Self::PrepareAbort => "PrepareAbort",
            Self::CompleteCommit => "CompleteCommit",
            Self::CompleteAbort => "CompleteAbort",
        }
    }
}

impl fmt::Display for TransactionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What [`Cluster::transaction`](crate::broker::Cluster::transaction) tells of a transactional id.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransactionDescription {
    /// How its transaction stands.
    pub state: TransactionState,
    /// The producer id and the epoch that are valid now. With transaction version 2 the epoch rises with each end.
    pub producer: ProducerIdentity,
    /// The partitions of the transaction; of one that ends, those that have no marker yet.
    pub partitions: BTreeSet<TopicPartition>,
    /// The groups whose offsets are part of the transaction; of one that ends, those that have no marker yet.
    pub groups: BTreeSet<String>,
}

impl From<&Transaction> for TransactionDescription {
    fn from(transaction: &Transaction) -> Self {
        Self {
            state: transaction.state,
            producer: transaction.producer,
            partitions: transaction.parts.partitions.clone(),
            groups: transaction.parts.groups.clone(),
        }
    }
}
