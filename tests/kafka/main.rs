//! Tests against real Apache Kafka: a cluster of one node or three, started from the jars of a release.
//!
//! They need a JDK 17 and, the first time, Maven and its repository, so they run when they are asked for:
//! `MILENA_KAFKA=1 cargo test --test kafka` for the ordinary releases, `MILENA_KAFKA=2.8.2,4.1.1 …` for others.
//! Otherwise each is reported as ignored; once asked for, what is missing is a failure. A name or a part of one, as the
//! last argument, picks tests as ever. What takes minutes runs only if it is named so, as in
//! `MILENA_KAFKA=4.3.1 cargo test --test kafka -- --ignored ten_minutes`.
//!
//! A test is an `async fn(Kafka)` in one of the files below, named in its file's `tests!` list; `starts.rs` and
//! `java_to_java.rs` serve as patterns. The jars stay in `MILENA_KAFKA_CACHE` (`~/.cache/milena/kafka`).
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a panic is how a test fails, and standard error is where it tells why"
)]

use std::process::ExitCode;

#[macro_use]
mod runner;

mod cache;
mod cluster;
mod jvm;
mod ledger;
mod members;
mod oracle;
mod ours;
mod perf;
mod ports;
mod probe;
mod program;
mod release;
mod samples;
mod segments;
mod settings;
mod tools;
mod trouble;

mod admin;
mod assignors;
mod consumers;
mod examples;
mod footprint;
mod in_process;
mod in_process_groups;
mod in_process_transactions;
mod java_to_java;
mod java_to_reader;
mod loads;
mod outages;
mod producer_to_java;
mod stalled;
mod starts;
mod transactions;

fn main() -> ExitCode {
    runner::run(&[
        starts::TESTS,
        java_to_java::TESTS,
        producer_to_java::TESTS,
        java_to_reader::TESTS,
        in_process::TESTS,
        in_process_groups::TESTS,
        in_process_transactions::TESTS,
        examples::TESTS,
        assignors::TESTS,
        admin::TESTS,
        outages::TESTS,
        loads::TESTS,
        stalled::TESTS,
        footprint::TESTS,
        consumers::isolation::TESTS,
        consumers::groups::TESTS,
        consumers::outages::TESTS,
        transactions::isolation::TESTS,
        transactions::offsets::TESTS,
        transactions::fencing::TESTS,
        transactions::epochs::TESTS,
        transactions::copies::TESTS,
        transactions::zombies::TESTS,
        transactions::exactly_once::TESTS,
    ])
}
