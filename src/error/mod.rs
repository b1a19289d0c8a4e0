//! What can go wrong, typed: one file per stage at which it is noticed.

mod client;
mod code;
mod config;

pub use client::{ClientError, DisconnectReason, Peer, VersionSpan};
pub use code::ErrorCode;
pub use config::ConfigError;
