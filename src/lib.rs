//! A native Rust client for Apache Kafka: producer, consumer and transactions.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "broker")]
pub mod broker;
pub mod config;
mod error;
#[doc(hidden)]
pub mod protocol;
#[doc(hidden)]
pub mod record;
mod time;
mod types;

pub use config::{Acks, ProducerConfig, ReaderConfig};
pub use error::{ConfigError, ErrorCode};
pub use types::{
    BrokerId, Compression, Header, ProducerIdentity, TimestampType, TopicId, TopicPartition,
    UnknownName,
};
