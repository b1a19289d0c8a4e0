//! What can go wrong, typed: one file per stage at which it is noticed.

mod admin;
mod client;
mod code;
mod commit;
mod config;
mod consumer;
mod deserialization;
mod group;
mod process;
mod produce;
mod serialization;
mod transaction;

pub use admin::AdminError;
pub use client::{ClientError, DisconnectReason, Peer, VersionSpan};
pub use code::ErrorCode;
pub use commit::CommitError;
pub use config::ConfigError;
pub use consumer::ConsumerError;
pub(crate) use deserialization::RecordAt;
pub use deserialization::RecordDeserializationError;
pub use group::GroupError;
pub use process::{ExactlyOnceError, ExactlyOnceStartError};
pub(crate) use produce::History;
pub use produce::{
    Cause, CloseError, DeliveryError, DeliveryErrorKind, FatalError, Persistence, ProduceError,
    SendError,
};
pub use serialization::SerializationError;
pub use transaction::{
    AbortCause, AbortableError, TransactionError, TransactionOperation, TransactionOutcome,
    TransactionTimeout,
};
