//! Time as the cores see it: instants are handed in, waits are computed, and nothing here reads a clock.

pub(crate) use std::time::Duration;
pub(crate) use tokio::time::Instant;
