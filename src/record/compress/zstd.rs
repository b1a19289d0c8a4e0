//! Zstandard. Each batch is one frame, compressed in one go; read are one or several frames.
//!
//! Decompression goes straight into its output rather than through a stream, since a stream
//! reserves the window that a frame's header asks for, which may be 128 MiB. The contexts, which
//! are large, are kept per thread.

use std::cell::{Cell, RefCell};

use bytes::BytesMut;
use zstd::bulk::Compressor;
use zstd::zstd_safe::zstd_sys::ZSTD_ErrorCode;
use zstd::zstd_safe::{self, DCtx};

use crate::record::error::RecordError;
use crate::types::Compression;

const CODEC: Compression = Compression::Zstd;
/// The first guess at how much larger the output is, and how the next ones grow.
const GROWTH: usize = 4;
/// Frames are believed to be up to this many times as large as their bytes, if they or those before
/// them say so.
const BELIEVED_RATIO: usize = 64;
const MIN_ROOM: usize = 1024;

thread_local! {
    static COMPRESSOR: RefCell<Option<(i32, Compressor<'static>)>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<DCtx<'static>>> = const { RefCell::new(None) };
    /// How much larger lately the output of frames was that did not state their size. Streams, such
    /// as Java's, do not, and a wrong guess means to begin anew.
    static RATIO: Cell<Ratio> = const { Cell::new(Ratio(GROWTH * Ratio::UNIT)) };
}

/// How many times as large the output is, in sixteenths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Ratio(usize);

impl Ratio {
    const UNIT: usize = 16;

    /// What is to be expected after this one: at least as much, and if it was less than before,
    /// only a little less, since batches of several topics take turns.
    fn after(self, input: usize, output: usize) -> Self {
        let seen = output.saturating_mul(Self::UNIT).div_ceil(input.max(1));
        Self(seen.max(self.0 - self.0 / 8).min(BELIEVED_RATIO * Self::UNIT))
    }

    /// The room to begin with: an eighth more than expected.
    fn room(self, input: usize) -> usize {
        let expected = input.saturating_mul(self.0) / Self::UNIT;
        expected.saturating_add(expected / 8)
    }
}

pub(super) fn compress(input: &[u8], level: i32, out: &mut BytesMut) -> Result<(), RecordError> {
    let failed = |detail: String| RecordError::Compress { codec: CODEC, detail };
    COMPRESSOR.with_borrow_mut(|kept| {
        let compressor = match kept {
            Some((of, compressor)) if *of == level => compressor,
            _ => {
                let fresh = Compressor::new(level).map_err(|error| failed(error.to_string()))?;
                &mut kept.insert((level, fresh)).1
            }
        };
        let start = out.len();
        out.resize(start + zstd_safe::compress_bound(input.len()), 0);
        let len = compressor
            .compress_to_buffer(input, out.get_mut(start..).unwrap_or_default())
            .map_err(|error| failed(error.to_string()))?;
        out.truncate(start + len);
        Ok(())
    })
}

pub(super) fn decompress(input: &[u8], limit: usize) -> Result<Vec<u8>, RecordError> {
    let too_large = RecordError::DecompressedTooLarge { codec: CODEC, limit };
    let stated = zstd_safe::get_frame_content_size(input).ok().flatten();
    let mut room = match stated.map(usize::try_from) {
        Some(Ok(size)) if size <= limit => size.min(input.len().saturating_mul(BELIEVED_RATIO)),
        Some(_) => return Err(too_large),
        None => RATIO.get().room(input.len()),
    };
    DECOMPRESSOR.with_borrow_mut(|kept| {
        let context = match kept {
            Some(context) => context,
            None => kept.insert(DCtx::try_create().ok_or_else(|| RecordError::Decompress {
                codec: CODEC,
                detail: "no memory for its context".to_owned(),
            })?),
        };
        loop {
            room = room.max(MIN_ROOM).min(limit);
            let mut out = Vec::with_capacity(room);
            match context.decompress(&mut out, input) {
                Ok(_) if out.len() > limit => return Err(too_large),
                Ok(_) => {
                    if stated.is_none() {
                        RATIO.set(RATIO.get().after(input.len(), out.len()));
                    }
                    return Ok(out);
                }
                Err(code) if !is_too_small(code) => {
                    let detail = zstd_safe::get_error_name(code).to_owned();
                    return Err(RecordError::Decompress { codec: CODEC, detail });
                }
                Err(_) if room >= limit => return Err(too_large),
                Err(_) => room = room.saturating_mul(GROWTH),
            }
        }
    })
}

/// Whether the only thing wrong is that the output has too little room.
fn is_too_small(code: zstd_safe::ErrorCode) -> bool {
    code == (ZSTD_ErrorCode::ZSTD_error_dstSize_tooSmall as usize).wrapping_neg()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn stream(data: &[u8]) -> Vec<u8> {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn after_one_stream_the_next_of_its_kind_gets_room_enough_at_once() {
        let text: String = (0..3_000)
            .map(|line| format!("{} comes after what was said before it\n", line * 7_919 % 10_007))
            .collect();
        let bytes = stream(text.as_bytes());
        assert!(RATIO.get().room(bytes.len()) < text.len(), "the first guess is too small");
        assert_eq!(decompress(&bytes, 1 << 20).unwrap(), text.as_bytes());
        assert!(text.len() / bytes.len() < BELIEVED_RATIO);
        assert!(RATIO.get().room(bytes.len()) >= text.len());
    }

    #[test]
    fn what_is_expected_falls_slowly_and_has_a_limit() {
        let start = Ratio(GROWTH * Ratio::UNIT);
        let high = start.after(100, 2_000);
        assert!(high.room(100) >= 2_000);
        assert!(high.after(100, 100).room(100) >= 1_900, "one smaller one in between");
        let low = (0..50).fold(high, |ratio, _| ratio.after(100, 100));
        assert!(low.room(100) < 200, "many smaller ones");
        let bomb = start.after(10, usize::MAX);
        assert_eq!(bomb, Ratio(BELIEVED_RATIO * Ratio::UNIT));
        assert!(bomb.room(usize::MAX) > 0);
    }
}
