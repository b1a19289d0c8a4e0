#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod admin;
#[cfg(feature = "broker")]
pub mod broker;
mod client;
pub mod config;
mod consumer;
mod counter;
mod error;
mod metrics;
pub mod net;
mod process;
mod producer;
#[doc(hidden)]
pub mod protocol;
#[doc(hidden)]
pub mod record;
pub mod serialize;
mod time;
mod types;

pub use config::{
    Acks, AdminConfig, AssignmentStrategy, ConsumerConfig, GroupProtocol, IsolationLevel,
    OffsetReset, PartitionerClass, ProducerConfig, TransactionalProducerConfig,
};
pub use consumer::{
    Consumer, ConsumerBuilder, ConsumerHandle, ConsumerInterceptor, ConsumerRecord, LeaveMode,
    OwnedRecord, PartitionRecords, PartitionRecordsIter, RebalanceListener, RecordHeaders,
    RecordStream, Records, RecordsIter, StartAt, SubscriptionPattern, TypedConsumerRecord,
    TypedRecords, assignor,
};
pub use error::{
    AbortCause, AbortableError, AdminError, Cause, ClientError, CloseError, CommitError,
    ConfigError, ConsumerError, DeliveryError, DeliveryErrorKind, DisconnectReason, ErrorCode,
    ExactlyOnceError, ExactlyOnceStartError, FatalError, GroupError, Peer, Persistence,
    ProduceError, RecordDeserializationError, SendError, SerializationError, TransactionError,
    TransactionOperation, TransactionOutcome, TransactionTimeout, VersionSpan,
};
pub use metrics::{Metric, MetricValue, Metrics};
pub use process::{ExactlyOnce, ExactlyOnceBuilder, Progress, ProgressHandle};
pub use producer::{
    Acknowledgement, Delivery, InterceptedRecord, Partitioner, Producer, ProducerBuilder,
    ProducerInterceptor, ProducerRecord, RecordMetadata, TopicPartitions, Transaction,
    TransactionalProducer, TypedProducer, TypedRecord,
};
pub use time::{Clock, SystemClock};
pub use types::{
    BrokerId, Compression, ConsumerGroupMetadata, Header, OffsetAndMetadata, OffsetAndTimestamp,
    ProducerIdentity, RecordHeader, TimestampType, TopicId, TopicPartition, UnknownName,
};
