//! A native Rust client for Apache Kafka: producer, consumer and transactions.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod error;
mod time;
mod types;

pub use types::{BrokerId, Header, ProducerIdentity, TimestampType, TopicId, TopicPartition};
