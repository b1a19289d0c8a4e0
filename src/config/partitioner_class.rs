//! The partitioners of Kafka's own that `partitioner.class` can name. How they choose is the producer's business.

use std::fmt;
use std::str::FromStr;

use crate::types::UnknownName;

/// Which of Kafka's partitioners chooses the partition of a record that does not name one
/// (`partitioner.class`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum PartitionerClass {
    /// Not set: by key; without a key, a partition sticks until a batch's worth of bytes went to it,
    /// and then another is drawn by how little waits for it (KIP-794).
    #[default]
    BuiltIn,
    /// `DefaultPartitioner`, which Java had until 3.x: the same as [`BuiltIn`](Self::BuiltIn).
    Default,
    /// `UniformStickyPartitioner`, which Java had until 3.x: as [`BuiltIn`](Self::BuiltIn) with
    /// `partitioner.ignore.keys`.
    UniformSticky,
    /// `RoundRobinPartitioner`: each partition in its turn, whatever the key.
    RoundRobin,
}

const NAMES: [(PartitionerClass, &str); 4] = [
    (PartitionerClass::BuiltIn, ""),
    (PartitionerClass::Default, "org.apache.kafka.clients.producer.internals.DefaultPartitioner"),
    (PartitionerClass::UniformSticky, "org.apache.kafka.clients.producer.UniformStickyPartitioner"),
    (PartitionerClass::RoundRobin, "org.apache.kafka.clients.producer.RoundRobinPartitioner"),
];

/// Java's full name of the class; nothing for [`PartitionerClass::BuiltIn`].
impl fmt::Display for PartitionerClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAMES.iter().find(|(class, _)| class == self).map_or("", |(_, name)| name))
    }
}

impl FromStr for PartitionerClass {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        NAMES.iter().find(|(_, name)| *name == text).map(|&(class, _)| class).ok_or(UnknownName)
    }
}
