//! The enumerations of the consumer's table, by Kafka's names. What they mean for a group or a fetch
//! is decided there.

use std::fmt;
use std::str::FromStr;

use crate::types::UnknownName;

/// Which records of transactions are read (`isolation.level`, KIP-98).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum IsolationLevel {
    /// All of them, those of transactions that are open or were aborted included.
    #[default]
    ReadUncommitted,
    /// Those of committed transactions, and those that are in none; nothing from the first open
    /// transaction on (the last stable offset).
    ReadCommitted,
}

impl IsolationLevel {
    /// The number that stands for it in Fetch and ListOffsets requests.
    pub fn code(self) -> i8 {
        match self {
            Self::ReadUncommitted => 0,
            Self::ReadCommitted => 1,
        }
    }
}

impl fmt::Display for IsolationLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReadUncommitted => "read_uncommitted",
            Self::ReadCommitted => "read_committed",
        })
    }
}

/// Kafka's names, in small letters.
impl FromStr for IsolationLevel {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        match name {
            "read_uncommitted" => Ok(Self::ReadUncommitted),
            "read_committed" => Ok(Self::ReadCommitted),
            _ => Err(UnknownName),
        }
    }
}

/// By which protocol a group shares out its partitions (`group.protocol`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum GroupProtocol {
    /// A member that the coordinator chooses assigns partitions to all; every change stops and
    /// starts the group, or parts of it (JoinGroup, SyncGroup).
    #[default]
    Classic,
    /// The coordinator assigns partitions, and each member follows at its own pace (KIP-848; brokers
    /// from 4.0 on).
    Consumer,
}

impl fmt::Display for GroupProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Classic => "classic",
            Self::Consumer => "consumer",
        })
    }
}

/// Kafka's names, in any case.
impl FromStr for GroupProtocol {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        match name.to_ascii_lowercase().as_str() {
            "classic" => Ok(Self::Classic),
            "consumer" => Ok(Self::Consumer),
            _ => Err(UnknownName),
        }
    }
}

/// One of Kafka's own ways to share out partitions in a classic group
/// (`partition.assignment.strategy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AssignmentStrategy {
    /// A run of partitions of each topic for each member.
    Range,
    /// Partition by partition to one member after the other.
    RoundRobin,
    /// Balanced, with as few moves as can be; members stop while partitions move.
    Sticky,
    /// The same, and only the partitions that move stop (KIP-429).
    CooperativeSticky,
}

impl AssignmentStrategy {
    const NAMES: [(Self, &'static str, &'static str); 4] = [
        (Self::Range, "range", "org.apache.kafka.clients.consumer.RangeAssignor"),
        (Self::RoundRobin, "roundrobin", "org.apache.kafka.clients.consumer.RoundRobinAssignor"),
        (Self::Sticky, "sticky", "org.apache.kafka.clients.consumer.StickyAssignor"),
        (
            Self::CooperativeSticky,
            "cooperative-sticky",
            "org.apache.kafka.clients.consumer.CooperativeStickyAssignor",
        ),
    ];

    /// The name by which the members of a group agree on it.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(known, ..)| *known == self).map_or("", |(_, name, _)| name)
    }
}

/// Its [`name`](AssignmentStrategy::name).
impl fmt::Display for AssignmentStrategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The name, or that of Java's class.
impl FromStr for AssignmentStrategy {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        let found = Self::NAMES.iter().find(|(_, name, class)| [name, class].contains(&&text));
        found.map(|&(strategy, ..)| strategy).ok_or(UnknownName)
    }
}
