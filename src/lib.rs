//! A native Rust client for Apache Kafka: producer, consumer and transactions.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "broker")]
pub mod broker;
#[allow(dead_code, unused_imports)] // Until the producer and the reader use all of it.
mod client;
pub mod config;
mod error;
#[allow(dead_code, unused_imports)] // Until the producer and the reader use all of it.
pub mod net;
#[doc(hidden)]
pub mod protocol;
#[doc(hidden)]
pub mod record;
mod time;
mod types;

pub use config::{Acks, ProducerConfig, ReaderConfig};
pub use error::{ClientError, ConfigError, DisconnectReason, ErrorCode, Peer, VersionSpan};
pub use types::{
    BrokerId, Compression, Header, ProducerIdentity, TimestampType, TopicId, TopicPartition,
    UnknownName,
};
