//! What administrators ask for and are told, under Kafka's names.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use crate::error::AdminError;
use crate::time::Duration;
use crate::types::{BrokerId, ProducerIdentity, TopicPartition, UnknownName};

/// How the transaction of a transactional id stands (Kafka's `TransactionState`). Displays as
/// Kafka's name for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    /// It will be aborted because its producer was fenced, or took too long.
    PrepareEpochFence,
    /// A state that this release of the client does not know. As a filter it fits none.
    Unknown,
}

impl TransactionState {
    const NAMED: [Self; 7] = [
        Self::Empty,
        Self::Ongoing,
        Self::PrepareCommit,
        Self::PrepareAbort,
        Self::CompleteCommit,
        Self::CompleteAbort,
        Self::PrepareEpochFence,
    ];

    /// Kafka's name, such as `PrepareCommit`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Ongoing => "Ongoing",
            Self::PrepareCommit => "PrepareCommit",
            Self::PrepareAbort => "PrepareAbort",
            Self::CompleteCommit => "CompleteCommit",
            Self::CompleteAbort => "CompleteAbort",
            Self::PrepareEpochFence => "PrepareEpochFence",
            Self::Unknown => "Unknown",
        }
    }

    /// From a broker's answer.
    pub(super) fn answered(name: &str) -> Self {
        name.parse().unwrap_or(Self::Unknown)
    }
}

impl fmt::Display for TransactionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Kafka's names.
impl FromStr for TransactionState {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        Self::NAMED.into_iter().find(|state| state.name() == name).ok_or(UnknownName)
    }
}

/// Which transactions [`Admin::list_transactions`](super::Admin::list_transactions) lists (Kafka's
/// `ListTransactionsOptions`): those that fit every part that is set; all by default.
///
/// ```
/// use std::time::Duration;
/// use milena::admin::{TransactionFilter, TransactionState};
///
/// let hanging = TransactionFilter::new()
///     .states([TransactionState::Ongoing])
///     .longer_than(Duration::from_secs(15 * 60));
/// # let _ = hanging;
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[must_use = "a filter does nothing until something is listed by it"]
pub struct TransactionFilter {
    pub(super) states: BTreeSet<TransactionState>,
    pub(super) producer_ids: BTreeSet<i64>,
    pub(super) longer_than: Option<Duration>,
    pub(super) pattern: Option<String>,
}

impl TransactionFilter {
    /// Everything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Those in one of these states; in any if there are none.
    pub fn states(self, states: impl IntoIterator<Item = TransactionState>) -> Self {
        Self { states: states.into_iter().collect(), ..self }
    }

    /// Those of one of these producer ids; of any if there are none.
    pub fn producer_ids(self, ids: impl IntoIterator<Item = i64>) -> Self {
        Self { producer_ids: ids.into_iter().collect(), ..self }
    }

    /// Those that began longer ago, to the millisecond (KIP-994; brokers from 3.8 on). Brokers count
    /// transactions that have ended, too, and ids that have had none: ask for states as well.
    pub fn longer_than(self, duration: Duration) -> Self {
        Self { longer_than: Some(duration), ..self }
    }

    /// Those whose whole transactional id matches a regular expression in the syntax of RE2
    /// (KIP-1152; brokers from 4.1 on). An empty one matches all.
    pub fn transactional_id_pattern(self, pattern: impl Into<String>) -> Self {
        Self { pattern: Some(pattern.into()).filter(|pattern| !pattern.is_empty()), ..self }
    }
}

/// A transactional id that a coordinator knows (Kafka's `TransactionListing`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct TransactionListing {
    /// `transactional.id`.
    pub transactional_id: String,
    /// The id of its producer.
    pub producer_id: i64,
    /// How its transaction stands.
    pub state: TransactionState,
}

/// What each broker listed, or why it did not (Kafka's `ListTransactionsResult`).
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "it says, too, which brokers could not be asked"]
pub struct TransactionListings {
    pub(super) by_broker: BTreeMap<BrokerId, Result<Vec<TransactionListing>, AdminError>>,
}

impl TransactionListings {
    /// Those of all brokers, by broker and in the order of each.
    ///
    /// # Errors
    /// The first broker's that could not be asked: then the list would lack its transactions.
    pub fn all(self) -> Result<Vec<TransactionListing>, AdminError> {
        let lists: Result<Vec<_>, _> = self.by_broker.into_values().collect();
        Ok(lists?.into_iter().flatten().collect())
    }

    /// Broker by broker.
    pub fn by_broker(&self) -> &BTreeMap<BrokerId, Result<Vec<TransactionListing>, AdminError>> {
        &self.by_broker
    }
}

/// The transaction of a transactional id (Kafka's `TransactionDescription`).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransactionDescription {
    /// The broker that coordinates it.
    pub coordinator: BrokerId,
    /// How it stands.
    pub state: TransactionState,
    /// The producer id and epoch that are valid now. With transaction version 2 the epoch rises with
    /// each end (KIP-890).
    pub producer: ProducerIdentity,
    /// `transaction.timeout.ms` of its producer.
    pub transaction_timeout: Duration,
    /// When it began, in milliseconds since 1970-01-01T00:00Z by the coordinator's clock; `None` if
    /// the id has had no transaction.
    pub transaction_start_time: Option<i64>,
    /// The partitions that are part of it and have no marker yet; of `__consumer_offsets` if offsets
    /// are committed in it.
    pub partitions: BTreeSet<TopicPartition>,
}

/// A producer, as the leader of a partition knows it (Kafka's `ProducerState`). It is told of for
/// `producer.id.expiration.ms` of the broker after its last batch.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ProducerState {
    /// The producer id.
    pub producer_id: i64,
    /// The producer epoch.
    pub producer_epoch: i32,
    /// The sequence number of its last record; `None` if there is none of this epoch.
    pub last_sequence: Option<i32>,
    /// When it last wrote, in milliseconds since 1970-01-01T00:00Z: the largest timestamp of that
    /// batch.
    pub last_timestamp: Option<i64>,
    /// The epoch of the coordinator that wrote its last marker; `None` if there is none.
    pub coordinator_epoch: Option<i32>,
    /// Where its open transaction begins in this partition; `None` if none is open here. Readers of
    /// committed records get no further than to the first of these.
    pub current_transaction_start_offset: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_have_kafkas_names() {
        for state in TransactionState::NAMED {
            assert_eq!(state.to_string().parse(), Ok(state));
            assert_eq!(TransactionState::answered(state.name()), state);
        }
        for other in ["Dead", "ongoing", "", "Unknown"] {
            assert_eq!(other.parse::<TransactionState>(), Err(UnknownName));
            assert_eq!(TransactionState::answered(other), TransactionState::Unknown);
        }
    }

    #[test]
    fn a_list_is_whole_or_an_error() {
        let listing = |id: &str| TransactionListing {
            transactional_id: id.to_owned(),
            producer_id: 1,
            state: TransactionState::Ongoing,
        };
        let of = |broker, list| (BrokerId(broker), list);
        let whole = [
            of(2, Ok(vec![listing("b")])),
            of(1, Ok(vec![listing("a"), listing("c")])),
            of(3, Ok(vec![])),
        ];
        let all = TransactionListings { by_broker: whole.clone().into() }.all().unwrap();
        let ids: Vec<_> = all.iter().map(|it| &*it.transactional_id).collect();
        assert_eq!(ids, ["a", "c", "b"]);
        let mut part = BTreeMap::from(whole);
        part.insert(BrokerId(2), Err(AdminError::EmptyTransactionalId));
        let part = TransactionListings { by_broker: part };
        assert_eq!(part.by_broker()[&BrokerId(3)], Ok(Vec::new()));
        assert_eq!(part.all(), Err(AdminError::EmptyTransactionalId));
    }
}
