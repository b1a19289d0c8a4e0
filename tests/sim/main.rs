//! The whole stack under simulation: client and in-process cluster on a simulated network with virtual time, where
//! everything follows from a seed. Seeds of faults run against named invariants; one that breaks any is printed with its
//! plan and how to run it again (`seeds.rs` has the variables).
//!
//! | file | what it knows |
//! |---|---|
//! | `harness` | the world: hosts, clocks, the carrying out of plans |
//! | `wire` | what the client sends, byte by byte |
//! | `faults` | what can go wrong, and the plans |
//! | `history` | what happened |
//! | `invariants` | what must hold |
//! | `settings` | what the settings of all scenarios have in common |
//! | `seeds` | which seeds run, and what is told of failures |
//!
//! Each other file is a scenario: a workload, the faults that happen to it and the invariants that it is held against.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod consume;
mod faults;
mod groups;
mod harness;
mod history;
mod invariants;
mod produce;
mod seeds;
mod settings;
mod transactions;
mod wire;
