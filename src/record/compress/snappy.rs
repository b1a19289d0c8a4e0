//! Snappy. Written as the block stream of snappy-java, which is what Java clients read; read in
//! that form or as one raw block, which is what some other clients write.

use bytes::{BufMut, BytesMut};
use snap::raw::{Decoder, Encoder, decompress_len, max_compress_len};

use super::reserve;
use crate::record::error::RecordError;
use crate::types::Compression;

const CODEC: Compression = Compression::Snappy;
const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
/// Magic, then the version and the oldest version that can read it, both 1.
const STREAM_HEADER: [u8; 16] =
    [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1];
/// The uncompressed size of a block; snappy-java's default.
const BLOCK: usize = 32 * 1024;
/// A copy of 64 bytes takes 3: no block can grow more than this.
const MAX_RATIO: usize = 22;

pub(super) fn compress(input: &[u8], out: &mut BytesMut) -> Result<(), RecordError> {
    let mut encoder = Encoder::new();
    out.put_slice(&STREAM_HEADER);
    for block in input.chunks(BLOCK) {
        let length_at = out.len();
        let start = length_at + 4;
        out.resize(start + max_compress_len(block.len()), 0);
        let len = encoder
            .compress(block, out.get_mut(start..).unwrap_or_default())
            .map_err(|error| RecordError::Compress { codec: CODEC, detail: error.to_string() })?;
        out.truncate(start + len);
        if let Some(field) = out.get_mut(length_at..start) {
            field.copy_from_slice(&(len as u32).to_be_bytes());
        }
    }
    Ok(())
}

pub(super) fn decompress(input: &[u8], limit: usize) -> Result<Vec<u8>, RecordError> {
    let mut out = Vec::new();
    let mut decoder = Decoder::new();
    if !input.starts_with(&MAGIC) {
        block(&mut decoder, input, limit, &mut out)?;
        return Ok(out);
    }
    let mut rest =
        input.get(STREAM_HEADER.len()..).ok_or_else(|| corrupt("the header is cut off"))?;
    while !rest.is_empty() {
        let (length, tail) =
            rest.split_first_chunk::<4>().ok_or_else(|| corrupt("a block's length is cut off"))?;
        let length = u32::from_be_bytes(*length) as usize;
        let (bytes, tail) =
            tail.split_at_checked(length).ok_or_else(|| corrupt("a block is cut off"))?;
        block(&mut decoder, bytes, limit, &mut out)?;
        rest = tail;
    }
    Ok(out)
}

fn block(
    decoder: &mut Decoder,
    input: &[u8],
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<(), RecordError> {
    // The length comes from the bytes themselves: it is believed only as far as a block of this
    // size can go.
    let len = decompress_len(input).map_err(|error| corrupt(&error.to_string()))?;
    let start = out.len();
    let end = start.saturating_add(len);
    if end > limit {
        return Err(RecordError::DecompressedTooLarge { codec: CODEC, limit });
    }
    if len > input.len().saturating_mul(MAX_RATIO) {
        return Err(corrupt("a block announces more bytes than it can hold"));
    }
    reserve(out, len, limit);
    out.resize(end, 0);
    let written = decoder
        .decompress(input, out.get_mut(start..).unwrap_or_default())
        .map_err(|error| corrupt(&error.to_string()))?;
    out.truncate(start + written);
    Ok(())
}

fn corrupt(detail: &str) -> RecordError {
    RecordError::Decompress { codec: CODEC, detail: detail.to_owned() }
}
