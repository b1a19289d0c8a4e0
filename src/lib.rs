//! A native Rust client for Apache Kafka: producer, consumer and transactions.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod error;
#[doc(hidden)]
pub mod protocol;
mod time;
mod types;

pub use error::ErrorCode;
pub use types::{BrokerId, Header, ProducerIdentity, TimestampType, TopicId, TopicPartition};
