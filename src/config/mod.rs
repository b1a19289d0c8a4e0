//! Configuration: Kafka's properties, by Kafka's names and with Kafka's defaults, as typed values.
//!
//! Each kind of client has a configuration of its own ([`ProducerConfig`], [`ConsumerConfig`],
//! [`AdminConfig`]), with a part that all share ([`ClientConfig`]). All are built by the [`ConfigBuilder`]: from typed
//! setters, from names and texts, from a `.properties` file, or a mixture. Everything is checked
//! once, when it is built; an error ([`ConfigError`]) names the property, the value and what is
//! allowed. Names that Kafka does not have, and properties that have no effect here, are warned
//! about and can be listed.
//!
//! [`ConfigError`]: crate::ConfigError

mod address;
mod admin;
mod builder;
mod choices;
mod common;
mod consumer;
mod elsewhere;
mod notes;
mod offset_reset;
mod partitioner_class;
mod producer;
mod properties_file;
mod property;
mod value;

#[cfg(test)]
mod tests;

pub use address::HostPort;
pub use admin::AdminConfig;
pub use builder::{ConfigBuilder, Configuration};
pub use choices::{AssignmentStrategy, GroupProtocol, IsolationLevel};
pub use common::{ClientConfig, MetadataRecoveryStrategy, MetricsRecordingLevel};
pub use consumer::ConsumerConfig;
pub use notes::IgnoredProperty;
pub use offset_reset::OffsetReset;
pub use partitioner_class::PartitionerClass;
pub use producer::{Acks, ProducerConfig, TransactionalProducerConfig};
pub use property::Property;
