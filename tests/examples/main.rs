//! The examples as a user runs them: each as a process, on a cluster inside of the test.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

mod bench_client;
mod consumer_group;
mod consumer_perf;
mod delivery;
mod producer_metrics;
mod producer_perf;
mod quickstart;
mod retry_file;
mod send_styles;
mod support;
mod transactional_message_copier;
mod verifiable_consumer;
mod verifiable_producer;
