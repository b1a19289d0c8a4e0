//! The record batch, version 2: pure bytes, in both directions.
//!
//! A batch is built by appending records in wire form ([`BatchBuilder`]), sealed (compressed) once,
//! and stamped with its producer's identity as often as needed ([`SealedBatch`]). Bytes from
//! outside are cut into batches ([`batches`]) whose records are decoded lazily and borrowed
//! ([`Records`]). Nothing here knows requests, partitions or time.
//!
//! This module is public for tests and tools of the crate's own; semantic versioning does not cover
//! it.

mod assemble;
mod compress;
mod control;
mod decode;
mod encode;
mod error;
mod header;
mod sealed;
#[cfg(test)]
mod tests;
mod varint;

pub use assemble::assemble;
pub use compress::Codec;
pub use control::{ControlType, EndTxnMarker};
pub use decode::{Batches, Headers, Record, RecordBatch, RecordIter, Records, batches};
pub use encode::{Appended, BatchBuilder, Full, MAX_BATCH_LEN, size_upper_bound};
pub use error::RecordError;
pub use header::{
    Attributes, BatchHeader, HEADER_LEN, set_base_offset, set_leader_epoch, set_log_append_time,
};
pub use sealed::SealedBatch;
