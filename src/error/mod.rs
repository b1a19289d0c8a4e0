//! What can go wrong, typed: one file per stage at which it is noticed.

mod client;
mod code;
mod config;
mod produce;
mod read;
mod serialization;

pub use client::{ClientError, DisconnectReason, Peer, VersionSpan};
pub use code::ErrorCode;
pub use config::ConfigError;
pub(crate) use produce::History;
pub use produce::{
    Cause, CloseError, DeliveryError, DeliveryErrorKind, FatalError, Persistence, ProduceError,
    SendError,
};
pub use read::ReadError;
pub use serialization::SerializationError;
