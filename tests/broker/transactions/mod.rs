//! Rows T1 to T4, T7 and T8: a transactional producer against the in-process cluster, in both versions of the protocol.

mod atomic;
mod bad_input;
mod cancel;
mod endings;
mod errors;
mod held;
mod incarnations;
mod moves;
mod offsets;
mod old_brokers;
mod requests;
mod seen;
pub(crate) mod stage;
