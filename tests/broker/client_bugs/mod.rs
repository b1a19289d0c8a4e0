//! The bugs that producers of other projects have had with idempotence, sequences and batches, each by its row and its
//! name there, against the whole stack: what went wrong elsewhere must not go wrong here.

mod batches;
mod bench;
mod cluster;
mod epochs;
mod expiry;
mod idempotence;
mod transactions;
mod turns;
