//! The codecs of a batch's records, in the framing that Kafka's Java client reads and writes. Each
//! is behind a cargo feature. Decompression never gives more than a ceiling, and never reserves
//! memory on the word of a header alone.

mod codec;
#[cfg(feature = "gzip")]
mod gzip;
#[cfg(feature = "lz4")]
mod lz4;
#[cfg(feature = "snappy")]
mod snappy;
#[cfg(test)]
mod tests;
#[cfg(feature = "zstd")]
mod zstd;

use bytes::{Bytes, BytesMut};

#[cfg(test)]
pub(super) use self::codec::ALL;
pub use self::codec::Codec;
pub(super) use self::codec::{from_id, id};
use super::error::RecordError;
use crate::types::Compression;

/// Compresses `input` onto the end of `out`.
pub(super) fn compress(codec: Codec, input: &[u8], out: &mut BytesMut) -> Result<(), RecordError> {
    match codec.compression() {
        Compression::None => {
            out.extend_from_slice(input);
            Ok(())
        }
        #[cfg(feature = "gzip")]
        Compression::Gzip => gzip::compress(input, codec.level(), out),
        #[cfg(feature = "snappy")]
        Compression::Snappy => snappy::compress(input, out),
        #[cfg(feature = "lz4")]
        Compression::Lz4 => lz4::compress(input, out),
        #[cfg(feature = "zstd")]
        Compression::Zstd => zstd::compress(input, codec.level(), out),
        #[allow(unreachable_patterns)] // with all features on
        codec => Err(RecordError::CodecDisabled { codec }),
    }
}

/// Makes room for `extra` bytes more. The memory doubles as that of any `Vec`, but not beyond
/// `limit` while that is enough.
#[cfg(any(feature = "lz4", feature = "snappy"))]
fn reserve(out: &mut Vec<u8>, extra: usize, limit: usize) {
    let len = out.len().saturating_add(extra);
    if len > out.capacity() {
        let capacity = out.capacity().saturating_mul(2).min(limit).max(len);
        out.reserve_exact(capacity - out.len());
    }
}

/// Decompresses `input` to at most `limit` bytes.
pub(super) fn decompress(
    codec: Compression,
    input: &[u8],
    limit: usize,
) -> Result<Bytes, RecordError> {
    let mut out = match codec {
        Compression::None if input.len() <= limit => input.to_vec(),
        Compression::None => return Err(RecordError::DecompressedTooLarge { codec, limit }),
        #[cfg(feature = "gzip")]
        Compression::Gzip => gzip::decompress(input, limit)?,
        #[cfg(feature = "snappy")]
        Compression::Snappy => snappy::decompress(input, limit)?,
        #[cfg(feature = "lz4")]
        Compression::Lz4 => lz4::decompress(input, limit)?,
        #[cfg(feature = "zstd")]
        Compression::Zstd => zstd::decompress(input, limit)?,
        #[allow(unreachable_patterns)] // with all features on
        codec => return Err(RecordError::CodecDisabled { codec }),
    };
    // Readers may hold on to it for long: what was reserved and not used goes back.
    if out.capacity() / 2 > out.len() {
        out.shrink_to_fit();
    }
    Ok(out.into())
}
