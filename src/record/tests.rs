//! The batch as a whole: what is appended comes back, and a stamp touches nothing but the header.
//! Bytes that Kafka wrote are in `golden`, bytes that nobody should write in `hostile`.

mod golden;
mod hostile;

use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;

use super::compress::ALL;
use super::*;
use crate::types::{Compression, Header, ProducerIdentity, TimestampType};

const LIMIT: usize = 1 << 24;
const PRODUCER: ProducerIdentity = ProducerIdentity { id: 4711, epoch: 3 };
const SEQUENCE: i32 = 17;

/// A record with bytes of its own.
#[derive(Debug, Clone, PartialEq)]
struct Owned {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Owned {
    fn new(timestamp: i64, key: Option<&[u8]>, value: Option<&[u8]>) -> Self {
        let (key, value) = (key.map(<[u8]>::to_vec), value.map(<[u8]>::to_vec));
        Self { timestamp, key, value, headers: Vec::new() }
    }

    fn headers(&self) -> Vec<Header<'_>> {
        self.headers.iter().map(|(key, value)| Header { key, value: value.as_deref() }).collect()
    }

    fn append(&self, builder: &mut BatchBuilder, limit: usize) -> Result<Appended, Full> {
        let (key, value) = (self.key.as_deref(), self.value.as_deref());
        builder.append_within(limit, self.timestamp, key, value, &self.headers())
    }
}

/// Appends the records, checking on the way that sizes are what they were said to be.
fn build(records: &[Owned]) -> BatchBuilder {
    let mut builder = BatchBuilder::new(BytesMut::new());
    for (i, record) in records.iter().enumerate() {
        let headers = record.headers();
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        let before = builder.len();
        let size = builder.record_size(record.timestamp, key, value, &headers);
        assert!(size_upper_bound(key, value, &headers) >= HEADER_LEN + size);

        let limit = before + size - 1;
        let full = Full { needed: before + size, limit };
        assert_eq!(record.append(&mut builder, limit), Err(full));
        assert_eq!((builder.len(), builder.count()), (before, i as i32));

        let appended = record.append(&mut builder, before + size);
        assert_eq!(appended, Ok(Appended { index: i as i32, size }));
        assert_eq!(builder.len() - before, size);
    }
    builder
}

fn seal(records: &[Owned], compression: Compression) -> Bytes {
    let mut batch = build(records).seal(Codec::new(compression)).unwrap();
    batch.stamp(PRODUCER, SEQUENCE, true);
    batch.bytes()
}

/// The only batch of these bytes.
fn one(bytes: Bytes) -> RecordBatch {
    let mut found = batches(bytes);
    let batch = found.next().expect("a batch").expect("a valid one");
    assert!(found.next().is_none());
    assert!(found.rest().is_empty());
    batch
}

fn read(batch: &RecordBatch) -> Result<Vec<Owned>, RecordError> {
    batch
        .records(LIMIT)?
        .iter()
        .map(|record| {
            let record = record?;
            let headers = record
                .headers
                .map(|header| header.map(|h| (h.key().into_owned(), h.value.map(<[u8]>::to_vec))))
                .collect::<Result<_, _>>()?;
            Ok(Owned { headers, ..Owned::new(record.timestamp, record.key, record.value) })
        })
        .collect()
}

/// Decodes everything, record headers too.
fn check(records: &Records) -> Result<(), RecordError> {
    for record in records {
        for header in record?.headers {
            header?;
        }
    }
    Ok(())
}

fn any_record() -> impl Strategy<Value = Owned> {
    let bytes = || {
        prop_oneof![
            2 => Just(None),
            1 => Just(Some(Vec::new())),
            6 => vec(any::<u8>(), 0..80).prop_map(Some),
            1 => (any::<u8>(), 60usize..20_000).prop_map(|(byte, len)| Some(vec![byte; len])),
        ]
    };
    let timestamp = prop_oneof![8 => 0i64..1 << 41, 1 => any::<i64>()];
    let headers = vec(("[a-c]{0,2}|ключ", bytes()), 0..4);
    (timestamp, bytes(), bytes(), headers).prop_map(|(timestamp, key, value, headers)| Owned {
        timestamp,
        key,
        value,
        headers,
    })
}

fn any_codec() -> impl Strategy<Value = Compression> {
    proptest::sample::select(&ALL[..])
}

/// Three small records of different shapes.
fn few() -> Vec<Owned> {
    let headers = vec![("h".to_owned(), Some(b"1".to_vec())), ("h".to_owned(), None)];
    vec![
        Owned::new(1_753_000_000_123, None, Some(b"first value, first value, first value")),
        Owned { headers, ..Owned::new(1_753_000_000_120, Some(b"key"), None) },
        Owned::new(1_753_000_009_999, Some(b""), Some(b"")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn records_come_back(records in vec(any_record(), 1..12), codec in any_codec()) {
        let batch = one(seal(&records, codec));
        prop_assert_eq!(batch.verify_crc(), Ok(()));
        let header = batch.header();
        prop_assert_eq!(header.count as usize, records.len());
        prop_assert_eq!(header.last_offset_delta, header.count - 1);
        prop_assert_eq!(header.base_timestamp, records[0].timestamp);
        prop_assert_eq!(Some(header.max_timestamp), records.iter().map(|r| r.timestamp).max());
        prop_assert_eq!((header.producer, header.base_sequence), (PRODUCER, SEQUENCE));
        prop_assert_eq!(header.last_sequence(), SEQUENCE + header.count - 1);
        prop_assert_eq!(header.attributes.compression(), Ok(codec));
        prop_assert!(header.attributes.is_transactional() && !header.attributes.is_control());

        let decoded = batch.records(LIMIT).unwrap();
        prop_assert_eq!(check(&decoded), Ok(()));
        prop_assert_eq!(read(&batch).unwrap(), records);
        let offsets: Vec<i64> = decoded.iter().map(|record| record.unwrap().offset).collect();
        prop_assert_eq!(offsets, (0..i64::from(header.count)).collect::<Vec<_>>());
    }
}

#[test]
fn large_records_and_many_of_them() {
    let mut records: Vec<_> = (0..3000).map(|i| Owned::new(i, None, Some(&[b'x'; 70]))).collect();
    records.push(Owned::new(1, Some(&[1; 70_000]), Some(&[2; 3_000_000])));
    for codec in ALL {
        let batch = one(seal(&records, codec));
        assert!(read(&batch).unwrap() == records, "{codec}");
    }
}

#[test]
fn uncompressed_records_share_the_batch_memory() {
    let batch = one(seal(&few(), Compression::None));
    let records = batch.records(0).unwrap();
    let value = records.iter().next().unwrap().unwrap().value.unwrap();
    let shared = records.share(value);
    assert_eq!(shared.as_ptr(), value.as_ptr());
    assert!(batch.bytes().as_ptr_range().contains(&value.as_ptr()));
    assert_eq!(shared, value);
    assert_eq!(records.share(b"elsewhere"), b"elsewhere"[..]);
}

#[test]
fn timestamps_are_those_of_the_append_if_the_batch_says_so() {
    let mut bytes = BytesMut::from(&seal(&few(), Compression::Lz4)[..]);
    let header = BatchHeader::parse(&bytes).unwrap();
    assert_eq!(header.attributes.timestamp_type(), TimestampType::CreateTime);
    set_log_append_time(&mut bytes, 99).unwrap();
    let batch = one(bytes.freeze());
    assert_eq!(batch.verify_crc(), Ok(()));
    assert_eq!(batch.header().attributes.timestamp_type(), TimestampType::LogAppendTime);
    assert!(read(&batch).unwrap().iter().all(|record| record.timestamp == 99));
}

#[test]
fn place_in_the_log_is_not_under_the_crc() {
    let mut bytes = BytesMut::from(&seal(&few(), Compression::None)[..]);
    set_base_offset(&mut bytes, 1000).unwrap();
    set_leader_epoch(&mut bytes, 8).unwrap();
    let batch = one(bytes.freeze());
    assert_eq!(batch.verify_crc(), Ok(()));
    assert_eq!((batch.header().base_offset, batch.header().last_offset()), (1000, 1002));
    assert_eq!(batch.header().partition_leader_epoch, 8);
    let offsets: Vec<_> =
        batch.records(LIMIT).unwrap().iter().map(|record| record.unwrap().offset).collect();
    assert_eq!(offsets, [1000, 1001, 1002]);

    let truncated = Err(RecordError::Truncated { part: "batch header" });
    assert_eq!(set_base_offset(&mut [0; 7], 1), truncated);
    assert_eq!(set_leader_epoch(&mut [0; 15], 1), truncated);
    assert_eq!(set_log_append_time(&mut [0; 16], 1), truncated);
}

#[test]
fn a_new_stamp_leaves_bytes_that_were_handed_out() {
    let mut batch = build(&few()).seal(Codec::NONE).unwrap();
    batch.stamp(ProducerIdentity::NONE, -1, false);
    let first = batch.bytes();
    batch.stamp(PRODUCER, SEQUENCE, true);
    let second = batch.bytes();
    let (first, second) = (one(first), one(second));
    assert_eq!((first.verify_crc(), second.verify_crc()), (Ok(()), Ok(())));
    assert_eq!(first.header().producer, ProducerIdentity::NONE);
    assert_eq!((first.header().base_sequence, first.header().last_sequence()), (-1, -1));
    assert!(!first.header().attributes.is_transactional());
    assert_eq!((second.header().producer, second.header().base_sequence), (PRODUCER, SEQUENCE));
    assert_eq!((batch.producer(), batch.base_sequence()), (PRODUCER, SEQUENCE));
    assert_eq!(read(&first).unwrap(), read(&second).unwrap());
}

#[test]
fn a_batch_that_nobody_holds_is_stamped_in_place_and_gives_its_buffer_back() {
    let buffer = BytesMut::with_capacity(4096);
    let home = buffer.as_ptr();
    let mut builder = BatchBuilder::new(buffer);
    assert!(builder.is_empty());
    few()[0].append(&mut builder, 4096).unwrap();
    let mut batch = builder.seal(Codec::NONE).unwrap();
    batch.stamp(PRODUCER, SEQUENCE, false);
    batch.stamp(PRODUCER, SEQUENCE + 1, false);
    let sent = batch.bytes();
    assert_eq!(sent.as_ptr(), home);
    assert_eq!((batch.len(), batch.uncompressed_len()), (sent.len(), sent.len()));
    drop(sent);
    assert!(batch.take_spare().is_none());
    let back = batch.into_buffer().expect("the only holder");
    assert_eq!((back.len(), back.capacity(), back.as_ptr()), (0, 4096, home));

    let mut batch = BatchBuilder::new(back);
    few()[0].append(&mut batch, 4096).unwrap();
    let batch = batch.seal(Codec::NONE).unwrap();
    let held = batch.bytes();
    assert!(batch.into_buffer().is_none());
    assert_eq!(held.as_ptr(), home);
}

#[test]
fn compression_sets_the_large_buffer_free() {
    let mut builder = BatchBuilder::new(BytesMut::with_capacity(16_384));
    while builder.append_within(16_384, 5, None, Some(&[b'x'; 100]), &[]).is_ok() {}
    let uncompressed = builder.len();
    let mut batch = builder.seal(Codec::new(Compression::Lz4)).unwrap();
    assert_eq!(batch.uncompressed_len(), uncompressed);
    assert_eq!(batch.compression(), Compression::Lz4);
    assert_eq!((batch.base_timestamp(), batch.max_timestamp()), (5, 5));
    assert!(batch.len() < uncompressed / 10);
    let spare = batch.take_spare().expect("the buffer of the records");
    assert_eq!((spare.len(), spare.capacity()), (0, 16_384));
    assert!(batch.into_buffer().unwrap().capacity() < uncompressed / 10);
}

#[test]
fn an_empty_batch_is_not_sealed() {
    let error = BatchBuilder::new(BytesMut::new()).seal(Codec::NONE).unwrap_err();
    assert_eq!(error, RecordError::BatchSize { count: 0, bytes: HEADER_LEN });
}

#[test]
fn sequences_wrap_to_zero() {
    let mut batch = build(&few()).seal(Codec::NONE).unwrap();
    batch.stamp(PRODUCER, i32::MAX - 1, false);
    assert_eq!(one(batch.bytes()).header().last_sequence(), 0);
    batch.stamp(PRODUCER, i32::MAX - 2, false);
    assert_eq!(one(batch.bytes()).header().last_sequence(), i32::MAX);
}

#[test]
fn several_batches_and_an_incomplete_one() {
    let batch = seal(&few(), Compression::Zstd);
    let mut bytes = BytesMut::new();
    for offset in [0, 3, 6] {
        let mut batch = BytesMut::from(&batch[..]);
        set_base_offset(&mut batch, offset).unwrap();
        bytes.extend_from_slice(&batch);
    }
    bytes.truncate(bytes.len() - 1);
    let mut found = batches(bytes.freeze());
    let offsets: Vec<_> = found.by_ref().map(|b| b.unwrap().header().base_offset).collect();
    assert_eq!(offsets, [0, 3]);
    assert_eq!(found.rest().len(), batch.len() - 1);
}
