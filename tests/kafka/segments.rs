//! Reads the headers of record batches from a partition's files on a broker's disk: what was really written, as told
//! by neither the code under test nor Kafka's clients, which hide codecs and producer ids from their users.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Buf;

use crate::trouble::Trouble;

/// The part of a batch that `batchLength` counts starts behind it.
const LENGTH_END: usize = 12;
/// A version 2 header up to its records.
const HEADER: usize = 61;

/// The header of one stored batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredBatch {
    /// The offset of its first record.
    pub(crate) base_offset: i64,
    /// All of its bytes, as compressed.
    pub(crate) size: usize,
    /// Codec (bits 0 to 2), timestamp type (3), transactional (4), control (5).
    pub(crate) attributes: i16,
    /// -1 if it came from a producer that is not idempotent.
    pub(crate) producer_id: i64,
    /// The producer's epoch.
    pub(crate) producer_epoch: i16,
    /// The sequence of its first record.
    pub(crate) base_sequence: i32,
    /// How many records it holds.
    pub(crate) count: i32,
}

impl StoredBatch {
    /// Whether it is part of a transaction, as the marker of its end is, too.
    pub(crate) fn is_transactional(&self) -> bool {
        self.attributes & 0x10 != 0
    }

    /// Whether it is a marker.
    pub(crate) fn is_control(&self) -> bool {
        self.attributes & 0x20 != 0
    }

    /// The codec by its name in `compression.type`.
    pub(crate) fn codec(&self) -> &'static str {
        match self.attributes & 7 {
            0 => "none",
            1 => "gzip",
            2 => "snappy",
            3 => "lz4",
            4 => "zstd",
            _ => "unknown",
        }
    }
}

/// The segments in a partition's folder, in order of offset.
pub(crate) fn files(folder: &Path) -> Result<Vec<PathBuf>, Trouble> {
    let fail = |e: std::io::Error| format!("{}: {e}", folder.display());
    let mut segments: Vec<PathBuf> = fs::read_dir(folder)
        .map_err(fail)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()
        .map_err(fail)?;
    segments.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    segments.sort(); // a segment is named by its first offset, in 20 digits
    Ok(segments)
}

/// The batches in the segments of a partition's folder, in order of offset.
pub(crate) fn batches(folder: &Path) -> Result<Vec<StoredBatch>, Trouble> {
    let segments = files(folder)?;
    let mut batches = Vec::new();
    for segment in segments {
        let bytes = fs::read(&segment).map_err(|e| format!("{}: {e}", segment.display()))?;
        let mut rest = bytes.as_slice();
        // A broker that is writing may have got half-way.
        while let Some(batch) = first(rest) {
            rest = &rest[batch.size..];
            batches.push(batch);
        }
    }
    Ok(batches)
}

fn first(bytes: &[u8]) -> Option<StoredBatch> {
    let mut header = bytes.get(..HEADER)?;
    let base_offset = header.get_i64();
    let size = LENGTH_END + usize::try_from(header.get_i32()).ok()?;
    let _leader_epoch = header.get_i32();
    let magic = header.get_i8();
    let _crc = header.get_u32();
    let attributes = header.get_i16();
    let _last_offset_delta = header.get_i32();
    let _base_timestamp = header.get_i64();
    let _max_timestamp = header.get_i64();
    let producer_id = header.get_i64();
    let producer_epoch = header.get_i16();
    let base_sequence = header.get_i32();
    let count = header.get_i32();
    let whole = magic == 2 && size >= HEADER && size <= bytes.len();
    whole.then_some(StoredBatch {
        base_offset,
        size,
        attributes,
        producer_id,
        producer_epoch,
        base_sequence,
        count,
    })
}
