//! LZ4 in its frame format: a header, blocks with a four-byte length, an end mark.
//!
//! The frame is taken apart here rather than by a library, so that what a frame's header promises
//! (blocks of up to 4 MiB) does not become memory: a block gets room for what its bytes can grow
//! to. The frame's optional checksums are skipped; the batch's CRC covers the same bytes.

use bytes::{BufMut, BytesMut};
use lz4_flex::block::{
    CompressTable, DecompressError, compress_into_with_table, decompress_into_with_dict,
    get_maximum_output_size,
};

use super::reserve;
use crate::record::error::RecordError;
use crate::types::Compression;

const CODEC: Compression = Compression::Lz4;
const MAGIC: [u8; 4] = 0x184d_2204_u32.to_le_bytes();
/// What Kafka writes: version 1, independent blocks of at most 64 KiB, no checksums; then the check
/// byte of these two.
const DESCRIPTOR: [u8; 3] = [0x60, 0x40, 0x82];
const BLOCK: usize = 64 * 1024;
const END_MARK: u32 = 0;
/// In a block's length: its bytes are not compressed.
const STORED: u32 = 1 << 31;
/// How far back a block may refer.
const WINDOW: usize = 64 * 1024;
/// A byte of a match's length stands for at most 255 bytes; the rest of a block's few sequences
/// adds less than this.
const MAX_RATIO: usize = 255;
const SLACK: usize = 64;

pub(super) fn compress(input: &[u8], out: &mut BytesMut) -> Result<(), RecordError> {
    out.put_slice(&MAGIC);
    out.put_slice(&DESCRIPTOR);
    let mut table = CompressTable::default();
    for block in input.chunks(BLOCK) {
        let length_at = out.len();
        let start = length_at + 4;
        out.resize(start + get_maximum_output_size(block.len()), 0);
        let len = compress_into_with_table(
            block,
            out.get_mut(start..).unwrap_or_default(),
            &mut table,
        )
        .map_err(|error| RecordError::Compress { codec: CODEC, detail: error.to_string() })?;
        out.truncate(start + len);
        let mut length = len as u32;
        if len >= block.len() {
            out.truncate(start);
            out.put_slice(block);
            length = block.len() as u32 | STORED;
        }
        if let Some(field) = out.get_mut(length_at..start) {
            field.copy_from_slice(&length.to_le_bytes());
        }
    }
    out.put_u32_le(END_MARK);
    Ok(())
}

/// What a frame's descriptor says.
#[derive(Debug, Clone, Copy)]
struct Descriptor {
    independent: bool,
    block_checksums: bool,
    content_checksum: bool,
    max_block: usize,
}

pub(super) fn decompress(input: &[u8], limit: usize) -> Result<Vec<u8>, RecordError> {
    let mut rest = input;
    let descriptor = read_descriptor(&mut rest)?;
    let mut out = Vec::new();
    loop {
        let length = read_u32(&mut rest)?;
        if length == END_MARK {
            break;
        }
        let block = take(&mut rest, (length & !STORED) as usize)?;
        if length & STORED != 0 {
            if block.len() > descriptor.max_block {
                return Err(corrupt("a block is larger than its frame allows"));
            }
            if out.len() + block.len() > limit {
                return Err(RecordError::DecompressedTooLarge { codec: CODEC, limit });
            }
            reserve(&mut out, block.len(), limit);
            out.extend_from_slice(block);
        } else {
            decompress_block(block, descriptor, limit, &mut out)?;
        }
        if descriptor.block_checksums {
            read_u32(&mut rest)?;
        }
    }
    if descriptor.content_checksum {
        read_u32(&mut rest)?;
    }
    if rest.is_empty() { Ok(out) } else { Err(corrupt("bytes follow the end of the frame")) }
}

fn decompress_block(
    block: &[u8],
    descriptor: Descriptor,
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<(), RecordError> {
    let start = out.len();
    let allowed = limit.saturating_sub(start);
    let possible =
        descriptor.max_block.min(block.len().saturating_mul(MAX_RATIO).saturating_add(SLACK));
    let room = possible.min(allowed);
    reserve(out, room, limit);
    out.resize(start + room, 0);
    let (before, target) = out.split_at_mut(start);
    let window = if descriptor.independent {
        &[]
    } else {
        before.get(start.saturating_sub(WINDOW)..).unwrap_or_default()
    };
    let written =
        decompress_into_with_dict(block, target, window).map_err(|error| match error {
            DecompressError::OutputTooSmall { .. } if room < possible => {
                RecordError::DecompressedTooLarge { codec: CODEC, limit }
            }
            error => corrupt(&error.to_string()),
        })?;
    out.truncate(start + written);
    Ok(())
}

fn read_descriptor(rest: &mut &[u8]) -> Result<Descriptor, RecordError> {
    if take(rest, MAGIC.len())? != MAGIC {
        return Err(corrupt("it does not begin like a frame"));
    }
    let [flags, block_size] = *take(rest, 2)? else {
        return Err(corrupt("the frame is cut off"));
    };
    if flags >> 6 != 1 {
        return Err(corrupt("the frame's version is not 1"));
    }
    if flags & 0b11 != 0 {
        return Err(corrupt("the frame needs a dictionary or uses a reserved flag"));
    }
    let max_block = match (block_size >> 4) & 0b111 {
        4 => 64 * 1024,
        5 => 256 * 1024,
        6 => 1024 * 1024,
        7 => 4 * 1024 * 1024,
        _ => return Err(corrupt("the frame's block size is not one of the four")),
    };
    if flags & (1 << 3) != 0 {
        take(rest, 8)?; // the content's size, which nothing here relies on
    }
    take(rest, 1)?; // the check byte: producers before Kafka 0.10 computed it wrongly
    Ok(Descriptor {
        independent: flags & (1 << 5) != 0,
        block_checksums: flags & (1 << 4) != 0,
        content_checksum: flags & (1 << 2) != 0,
        max_block,
    })
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8], RecordError> {
    let (bytes, tail) =
        rest.split_at_checked(len).ok_or_else(|| corrupt("the frame is cut off"))?;
    *rest = tail;
    Ok(bytes)
}

fn read_u32(rest: &mut &[u8]) -> Result<u32, RecordError> {
    let (bytes, tail) =
        rest.split_first_chunk::<4>().ok_or_else(|| corrupt("the frame is cut off"))?;
    *rest = tail;
    Ok(u32::from_le_bytes(*bytes))
}

fn corrupt(detail: &str) -> RecordError {
    RecordError::Decompress { codec: CODEC, detail: detail.to_owned() }
}
