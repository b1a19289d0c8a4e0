//! Zstandard. Each batch is one frame, compressed in one go; read are one or several frames.
//!
//! Decompression goes straight into its output rather than through a stream, since a stream
//! reserves the window that a frame's header asks for, which may be 128 MiB. The contexts, which
//! are large, are kept per thread.

use std::cell::RefCell;

use bytes::BytesMut;
use zstd::bulk::Compressor;
use zstd::zstd_safe::zstd_sys::ZSTD_ErrorCode;
use zstd::zstd_safe::{self, DCtx};

use crate::record::error::RecordError;
use crate::types::Compression;

const CODEC: Compression = Compression::Zstd;
/// The first guess at how much larger the output is, and how the next ones grow.
const GROWTH: usize = 4;
/// A frame that states its size is believed up to this many times its own bytes.
const BELIEVED_RATIO: usize = 64;
const MIN_ROOM: usize = 1024;

thread_local! {
    static COMPRESSOR: RefCell<Option<(i32, Compressor<'static>)>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<DCtx<'static>>> = const { RefCell::new(None) };
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
        None => input.len().saturating_mul(GROWTH),
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
                Ok(_) => return Ok(out),
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
