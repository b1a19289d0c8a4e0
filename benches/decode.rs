//! How fast fetched bytes become records: cut into batches, CRC checked, every record decoded and
//! its value looked at. Items are records.
//!
//! `cargo bench --bench decode`

#![allow(clippy::expect_used)] // a bench that fails is to stop

use bytes::{Bytes, BytesMut};
use divan::Bencher;
use divan::counter::ItemsCount;
use milena::record::{BatchBuilder, Codec, batches};
use milena::{Compression, Header, ProducerIdentity};

const BATCH_SIZE: usize = 16 * 1024;
const BATCHES: usize = 64;
const LIMIT: usize = 1024 * 1024;
const NOW: i64 = 1_753_000_000_000;

fn main() {
    divan::main();
}

/// The bytes of a fetched partition: `BATCHES` batches one after the other, and how many records
/// they hold.
fn fetched(codec: Codec, value_len: usize, headers: &[Header<'_>]) -> (Bytes, usize) {
    let value: Vec<u8> = (0..value_len).map(|i| b'a' + (i * i % 23) as u8).collect();
    let mut all = BytesMut::new();
    let mut records = 0;
    for sequence in 0..BATCHES as i32 {
        let mut batch = BatchBuilder::new(BytesMut::with_capacity(BATCH_SIZE));
        while batch.append_within(BATCH_SIZE, NOW, None, Some(&value), headers).is_ok() {
            records += 1;
        }
        let mut batch = batch.seal(codec).expect("a batch with records");
        batch.stamp(ProducerIdentity::NONE, sequence, false);
        all.extend_from_slice(&batch.bytes());
    }
    (all.freeze(), records)
}

/// Reads all of it, and sums up something of each record so that none can be skipped.
fn read(bytes: &Bytes) -> u64 {
    let mut sum = 0;
    for batch in batches(bytes.clone()) {
        let batch = batch.expect("a valid batch");
        batch.verify_crc().expect("a matching CRC");
        let records = batch.records(LIMIT).expect("valid records");
        for record in &records {
            let record = record.expect("a valid record");
            let value = record.value.unwrap_or_default();
            sum += record.offset as u64 + value.len() as u64 + u64::from(value[0]);
            for header in record.headers {
                sum += header.expect("a valid header").key_bytes.len() as u64;
            }
        }
    }
    sum
}

#[divan::bench(args = [100, 1024])]
fn value_only(bencher: Bencher<'_, '_>, value_len: usize) {
    let (bytes, records) = fetched(Codec::NONE, value_len, &[]);
    bencher.counter(ItemsCount::new(records)).bench_local(|| read(&bytes));
}

#[divan::bench]
fn with_two_headers(bencher: Bencher<'_, '_>) {
    let headers = [Header::new("trace-id", b"0123456789abcdef"), Header::new("source", b"bench")];
    let (bytes, records) = fetched(Codec::NONE, 100, &headers);
    bencher.counter(ItemsCount::new(records)).bench_local(|| read(&bytes));
}

#[divan::bench(args = [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd])]
fn compressed(bencher: Bencher<'_, '_>, compression: Compression) {
    let (bytes, records) = fetched(Codec::new(compression), 100, &[]);
    bencher.counter(ItemsCount::new(records)).bench_local(|| read(&bytes));
}
