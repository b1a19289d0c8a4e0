//! Rows T1 to T4, T7 and T8: a transactional producer against the in-process cluster, in both versions of the protocol.

mod atomic;
mod incarnations;
mod requests;
mod stage;
