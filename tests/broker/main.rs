//! The rows of the mission on the in-process broker: the whole stack over in-memory streams, on tokio's paused clock,
//! so that minutes of time-outs take no time and always pass in the same order.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod admin;
mod client_bugs;
mod consumer_bugs;
mod consumer_group;
mod process;
mod producer;
mod producer_back_pressure;
mod producer_bad_input;
mod producer_compression;
mod producer_faults;
mod producer_interceptors;
mod producer_metrics;
mod producer_partitioning;
mod producer_threads;
mod producer_typed;
mod reader;
mod reader_faults;
mod support;
mod tap;
mod transactions;
