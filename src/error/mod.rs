//! What can go wrong, typed: one file per stage at which it is noticed.

mod code;
mod config;

pub use code::ErrorCode;
pub use config::ConfigError;
