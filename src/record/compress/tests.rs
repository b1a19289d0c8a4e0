//! The codecs: what goes in comes out, other writers' framings are read, and output has a ceiling.

use std::io::{Read, Write};

use bytes::{Buf, BytesMut};
use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const CODECS: [Compression; 4] =
    [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

fn compressed(codec: Codec, input: &[u8]) -> BytesMut {
    let mut out = BytesMut::from("before");
    compress(codec, input, &mut out).unwrap();
    assert_eq!(out.split_to(6), "before");
    out
}

/// Something between noise and repetition, longer than every codec's block.
fn text() -> Vec<u8> {
    (0..20_000u32).flat_map(|i| format!("{} of {} ", i * i % 7919, i).into_bytes()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn round_trip(input in vec(any::<u8>(), 0..2000), times in 1usize..100) {
        let input = input.repeat(times);
        for codec in CODECS {
            let bytes = compressed(Codec::new(codec), &input);
            prop_assert_eq!(decompress(codec, &bytes, input.len()), Ok(input.clone().into()));
        }
    }
}

#[test]
fn every_level_is_read_back() {
    let text = &text()[..20_000];
    let levels = (1..=9)
        .chain([-1])
        .map(|level| (Compression::Gzip, level))
        .chain((1..=17).map(|level| (Compression::Lz4, level)))
        .chain([-131_072, -5, 0, 1, 3, 22].map(|level| (Compression::Zstd, level)));
    for (compression, level) in levels {
        let codec = Codec::with_level(compression, level).unwrap();
        assert_eq!((codec.compression(), codec.level()), (compression, level));
        let bytes = compressed(codec, text);
        assert_eq!(decompress(compression, &bytes, text.len()).unwrap(), text, "{codec:?}");
    }
    let size = |codec, level| compressed(Codec::with_level(codec, level).unwrap(), text).len();
    assert!(size(Compression::Gzip, 9) < size(Compression::Gzip, 1));
    assert!(size(Compression::Zstd, 19) < size(Compression::Zstd, -5));
}

#[test]
fn levels_outside_the_range() {
    for (codec, level) in [
        (Compression::Gzip, 0),
        (Compression::Gzip, 10),
        (Compression::Gzip, -2),
        (Compression::Lz4, 0),
        (Compression::Lz4, 18),
        (Compression::Zstd, 23),
        (Compression::Zstd, -131_073),
        (Compression::Snappy, 1),
        (Compression::None, 1),
    ] {
        let error = Codec::with_level(codec, level).unwrap_err();
        assert!(matches!(error, RecordError::Level { .. }), "{error:?}");
    }
}

#[test]
fn ceiling() {
    let zeros = vec![0; 4 << 20];
    for codec in CODECS {
        let bomb = compressed(Codec::new(codec), &zeros);
        for limit in [0, 1, 1000, 1 << 20, zeros.len() - 1] {
            assert_eq!(
                decompress(codec, &bomb, limit),
                Err(RecordError::DecompressedTooLarge { codec, limit })
            );
        }
        assert_eq!(decompress(codec, &bomb, zeros.len()).unwrap().len(), zeros.len());
    }
}

/// Headers that promise gigabytes, with nothing behind them: had the promise been reserved, the
/// limit here would have let it.
#[test]
fn promises_are_not_believed() {
    const LIMIT: usize = usize::MAX;
    let corrupt = |codec, bytes: &[u8]| match decompress(codec, bytes, LIMIT) {
        Err(RecordError::Decompress { codec: of, .. }) => assert_eq!(of, codec),
        other => panic!("{codec}: {other:?}"),
    };
    // Raw snappy whose length says 4 GiB, alone and in a stream.
    let block = [0xff, 0xff, 0xff, 0xff, 0x0f, 0x00, 0x61];
    corrupt(Compression::Snappy, &block);
    let mut stream = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\0\0\0\x07".to_vec();
    stream.extend_from_slice(&block);
    corrupt(Compression::Snappy, &stream);
    // Stream blocks with a length beyond the bytes.
    corrupt(Compression::Snappy, b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\xff\xff\xff\xff\0");
    corrupt(Compression::Snappy, b"\x82SNAPPY\0\0\0\0\x01");
    // A zstd frame that states 1 TiB of content in one segment.
    corrupt(Compression::Zstd, b"\x28\xb5\x2f\xfd\xe0\0\0\0\0\0\x01\0\0\x0b\0\0\x61");
    // One with a window of 2 GiB is valid; it is more than a stream would reserve.
    let window = b"\x28\xb5\x2f\xfd\x00\xa8\x0b\0\0\x61";
    assert_eq!(decompress(Compression::Zstd, window, LIMIT).unwrap(), "a");
    // An lz4 frame with blocks of 4 MiB and a content size of 2^64 - 1, cut off.
    corrupt(
        Compression::Lz4,
        b"\x04\x22\x4d\x18\x68\x70\xff\xff\xff\xff\xff\xff\xff\xff\0\x02\0\0\0",
    );
}

#[test]
fn malformed_lz4_frames() {
    let cases: [(&[u8], &str); 8] = [
        (b"", "cut off"),
        (b"\x04\x22\x4d\x19\x60\x40\x82\0\0\0\0", "does not begin like a frame"),
        (b"\x04\x22\x4d\x18\xa0\x40\x82\0\0\0\0", "version"),
        (b"\x04\x22\x4d\x18\x61\x40\x82\0\0\0\0", "dictionary"),
        (b"\x04\x22\x4d\x18\x60\x30\x82\0\0\0\0", "block size"),
        (b"\x04\x22\x4d\x18\x60\x40\x82", "cut off"),
        (b"\x04\x22\x4d\x18\x60\x40\x82\0\0\0\0\0", "bytes follow"),
        (b"\x04\x22\x4d\x18\x60\x40\x82\x05\0\0\0\xf0\x10\x61\x61\x61\0\0\0\0", ""),
    ];
    for (bytes, expected) in cases {
        match decompress(Compression::Lz4, bytes, 1 << 20) {
            Err(RecordError::Decompress { detail, .. }) => {
                assert!(detail.contains(expected), "{detail:?} for {bytes:?}");
            }
            other => panic!("{other:?} for {bytes:?}"),
        }
    }
}

/// lz4_flex's own frames, in every form that the format has.
#[test]
fn lz4_frames_of_others() {
    let text = text();
    for mode in [BlockMode::Independent, BlockMode::Linked] {
        for size in [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max1MB, BlockSize::Max4MB]
        {
            for checksums in [false, true] {
                let info = FrameInfo::new()
                    .block_mode(mode)
                    .block_size(size)
                    .block_checksums(checksums)
                    .content_checksum(checksums)
                    .content_size(checksums.then_some(text.len() as u64));
                let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
                encoder.write_all(&text).unwrap();
                let bytes = encoder.finish().unwrap();
                assert_eq!(decompress(Compression::Lz4, &bytes, text.len()).unwrap(), text);
            }
        }
    }
}

/// The other way round: lz4_flex checks the header's check byte, as Java does.
#[test]
fn our_lz4_frames_are_read_by_others() {
    let noise: Vec<u8> = (0..70_000u64).map(|i| ((i * i * 2_654_435_761) >> 13) as u8).collect();
    for input in [&text()[..], &noise, b"x", b""] {
        let bytes = compressed(Codec::new(Compression::Lz4), input);
        let mut out = Vec::new();
        FrameDecoder::new(&bytes[..]).read_to_end(&mut out).unwrap();
        assert!(out == input);
    }
    let stored = compressed(Codec::new(Compression::Lz4), &noise);
    assert!(stored.len() <= noise.len() + 7 + 2 * 4 + 4, "noise is stored, not grown");
}

#[test]
fn snappy_is_read_as_stream_and_raw() {
    let text = text();
    let raw = snap::raw::Encoder::new().compress_vec(&text).unwrap();
    assert_eq!(decompress(Compression::Snappy, &raw, text.len()).unwrap(), text);

    // Written is the stream, in blocks that each are a whole raw block of at most 32 KiB.
    let mut stream = compressed(Codec::new(Compression::Snappy), &text);
    assert_eq!(stream.split_to(16), b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01"[..]);
    let mut out = Vec::new();
    while stream.has_remaining() {
        let len = stream.get_u32() as usize;
        let block = snap::raw::Decoder::new().decompress_vec(&stream.split_to(len)).unwrap();
        assert!(block.len() <= 32 * 1024);
        out.extend_from_slice(&block);
    }
    assert_eq!(out, text);
}

#[test]
fn gzip_of_several_members() {
    let mut bytes = compressed(Codec::new(Compression::Gzip), b"one ");
    bytes.extend_from_slice(&compressed(Codec::new(Compression::Gzip), b"two"));
    assert_eq!(decompress(Compression::Gzip, &bytes, 7).unwrap(), "one two");
}

#[test]
fn zstd_frames_without_a_size_and_several_of_them() {
    let text = text();
    // A stream, like Java's, does not know its size when it begins.
    let mut encoder = ::zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    encoder.write_all(&text).unwrap();
    let mut bytes = encoder.finish().unwrap();
    assert_eq!(::zstd::zstd_safe::get_frame_content_size(&bytes).ok().flatten(), None);
    assert_eq!(decompress(Compression::Zstd, &bytes, text.len()).unwrap(), text);
    bytes.extend_from_slice(&compressed(Codec::new(Compression::Zstd), b" and more"));
    let both = decompress(Compression::Zstd, &bytes, text.len() + 9).unwrap();
    assert!(both.starts_with(&text) && both.ends_with(b" and more"));
    let limit = text.len() + 8;
    assert_eq!(
        decompress(Compression::Zstd, &bytes, limit),
        Err(RecordError::DecompressedTooLarge { codec: Compression::Zstd, limit })
    );
}

#[test]
fn noise_is_an_error_of_the_codec() {
    for codec in CODECS {
        let error = decompress(codec, &[0x55; 40], 1 << 20).unwrap_err();
        assert!(matches!(error, RecordError::Decompress { .. }), "{error:?}");
    }
}

#[test]
fn ids_are_kafkas() {
    assert_eq!(ALL.map(id), [0, 1, 2, 3, 4]);
    for codec in ALL {
        assert_eq!(from_id(id(codec)), Ok(codec));
    }
    assert_eq!(from_id(5), Err(RecordError::UnknownCompression { id: 5 }));
}
