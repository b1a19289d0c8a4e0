//! How fast records become batches: encode, seal, stamp with the CRC, on one thread and into
//! recycled buffers. Items are records.
//!
//! `cargo bench --bench encode`

#![allow(clippy::expect_used)] // a bench that fails is to stop

use std::hint::black_box;

use bytes::BytesMut;
use divan::Bencher;
use divan::counter::ItemsCount;
use milena::record::{BatchBuilder, Codec, SealedBatch};
use milena::{Compression, Header, ProducerIdentity};

const BATCH_SIZE: usize = 16 * 1024;
/// Batches in a sample, all alive until its end, as a producer's are until they are acknowledged:
/// no buffer is still in the nearest cache when its turn comes again.
const BATCHES: usize = 64;
const NOW: i64 = 1_753_000_000_000;
const PRODUCER: ProducerIdentity = ProducerIdentity { id: 4711, epoch: 0 };

fn main() {
    divan::main();
}

/// Fills and ends `BATCHES` batches with records of this form, and counts the records.
fn fill(
    buffers: &mut Vec<BytesMut>,
    codec: Codec,
    key: Option<&[u8]>,
    value: &[u8],
    headers: &[Header<'_>],
) -> usize {
    let mut records = 0;
    let mut sealed = Vec::with_capacity(BATCHES);
    for sequence in 0..BATCHES as i32 {
        let buffer = buffers.pop().unwrap_or_else(|| BytesMut::with_capacity(BATCH_SIZE));
        let mut batch = BatchBuilder::new(buffer);
        // A millisecond passes now and then, as in a busy producer.
        let mut timestamp = NOW;
        while batch
            .append_within(BATCH_SIZE, timestamp, black_box(key), black_box(Some(value)), headers)
            .is_ok()
        {
            records += 1;
            timestamp += i64::from(records % 64 == 0);
        }
        let mut batch = batch.seal(codec).expect("a batch with records");
        batch.stamp(PRODUCER, sequence, false);
        buffers.extend(batch.take_spare());
        sealed.push(black_box(batch));
    }
    // A compressed batch has a small buffer of its own; the large one is back already.
    if codec == Codec::NONE {
        buffers.extend(sealed.into_iter().filter_map(SealedBatch::into_buffer));
    }
    records
}

fn bench(
    bencher: Bencher<'_, '_>,
    codec: Codec,
    key: Option<&[u8]>,
    value_len: usize,
    headers: &[Header<'_>],
) {
    // Text with some repetition, so that codecs have something to do.
    let value: Vec<u8> = (0..value_len).map(|i| b'a' + (i * i % 23) as u8).collect();
    let mut buffers = Vec::new();
    let records = fill(&mut buffers, codec, key, &value, headers);
    bencher
        .counter(ItemsCount::new(records))
        .bench_local(|| fill(&mut buffers, codec, key, &value, headers));
}

#[divan::bench(args = [100, 1024])]
fn value_only(bencher: Bencher<'_, '_>, value_len: usize) {
    bench(bencher, Codec::NONE, None, value_len, &[]);
}

#[divan::bench(args = [100, 1024])]
fn with_key(bencher: Bencher<'_, '_>, value_len: usize) {
    bench(bencher, Codec::NONE, Some(b"customer-000042"), value_len, &[]);
}

#[divan::bench]
fn with_key_and_two_headers(bencher: Bencher<'_, '_>) {
    let headers = [Header::new("trace-id", b"0123456789abcdef"), Header::new("source", b"bench")];
    bench(bencher, Codec::NONE, Some(b"customer-000042"), 100, &headers);
}

#[divan::bench(args = [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd])]
fn compressed(bencher: Bencher<'_, '_>, compression: Compression) {
    bench(bencher, Codec::new(compression), None, 100, &[]);
}
