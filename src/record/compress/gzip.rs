//! gzip, of one or several members.

use std::io::{Read, Write};

use bytes::{BufMut, BytesMut};
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

use crate::record::error::RecordError;
use crate::types::Compression;

const CODEC: Compression = Compression::Gzip;
/// How much is made room for at a time, at least.
const CHUNK: usize = 4 * 1024;

pub(super) fn compress(input: &[u8], level: i32, out: &mut BytesMut) -> Result<(), RecordError> {
    let level = u32::try_from(level)
        .map_or_else(|_| flate2::Compression::default(), flate2::Compression::new);
    let mut encoder = GzEncoder::new(out.writer(), level);
    encoder
        .write_all(input)
        .and_then(|()| encoder.finish().map(drop))
        .map_err(|error| RecordError::Compress { codec: CODEC, detail: error.to_string() })
}

pub(super) fn decompress(input: &[u8], limit: usize) -> Result<Vec<u8>, RecordError> {
    let mut decoder = MultiGzDecoder::new(input);
    let mut out = Vec::new();
    let mut filled = 0;
    loop {
        if filled == out.len() {
            // Room grows with what has come out, so that it is in proportion to the bytes and not
            // to a promise. One byte beyond the limit shows that there is more.
            let room = filled.max(input.len()).max(CHUNK);
            let len = filled.saturating_add(room).min(limit.saturating_add(1));
            out.reserve_exact(len - filled);
            out.resize(len, 0);
        }
        let read = decoder
            .read(out.get_mut(filled..).unwrap_or_default())
            .map_err(|error| RecordError::Decompress { codec: CODEC, detail: error.to_string() })?;
        if read == 0 {
            out.truncate(filled);
            return Ok(out);
        }
        filled += read;
        if filled > limit {
            return Err(RecordError::DecompressedTooLarge { codec: CODEC, limit });
        }
    }
}
