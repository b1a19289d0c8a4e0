//! The batch as a whole: what is appended comes back, and bytes that are wrong are told so.

use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;

use super::compress::ALL;
use super::*;
use crate::types::{Compression, Header, ProducerIdentity, TimestampType};

const LIMIT: usize = 1 << 24;
const PRODUCER: ProducerIdentity = ProducerIdentity { id: 4711, epoch: 3 };

/// A record with bytes of its own.
#[derive(Debug, Clone, PartialEq)]
struct Owned {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Owned {
    fn headers(&self) -> Vec<Header<'_>> {
        self.headers.iter().map(|(key, value)| Header { key, value: value.as_deref() }).collect()
    }
}

fn build(records: &[Owned]) -> BatchBuilder {
    let mut builder = BatchBuilder::new(BytesMut::new());
    for (i, record) in records.iter().enumerate() {
        let headers = record.headers();
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        let before = builder.len();
        let expected = builder.record_size(record.timestamp, key, value, &headers);
        let appended = builder.append(record.timestamp, key, value, &headers).unwrap();
        assert_eq!(appended, Appended { index: i as i32, size: expected });
        assert_eq!(builder.len() - before, expected);
        assert!(size_upper_bound(key, value, &headers) >= HEADER_LEN + expected);
    }
    builder
}

fn seal(records: &[Owned], compression: Compression) -> Bytes {
    let mut batch = build(records).seal(compression.into()).unwrap();
    batch.stamp(PRODUCER, 17, true);
    batch.bytes()
}

fn one(bytes: Bytes) -> RecordBatch {
    let mut found = batches(bytes);
    let batch = found.next().expect("a batch").expect("a valid one");
    assert!(found.next().is_none());
    assert!(found.rest().is_empty());
    batch
}

fn read(records: &Records) -> Result<Vec<Owned>, RecordError> {
    records
        .iter()
        .map(|record| {
            let record = record?;
            let headers = record
                .headers
                .map(|header| header.map(|h| (h.key.to_owned(), h.value.map(<[u8]>::to_vec))))
                .collect::<Result<_, _>>()?;
            Ok(Owned {
                timestamp: record.timestamp,
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.map(<[u8]>::to_vec),
                headers,
            })
        })
        .collect()
}

fn owned() -> impl Strategy<Value = Owned> {
    let bytes = || {
        prop_oneof![
            2 => Just(None),
            1 => Just(Some(Vec::new())),
            6 => vec(any::<u8>(), 0..80).prop_map(Some),
            2 => (any::<u8>(), 60usize..20_000).prop_map(|(byte, len)| Some(vec![byte; len])),
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

fn codec() -> impl Strategy<Value = Compression> {
    proptest::sample::select(&ALL[..])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn records_come_back(records in vec(owned(), 1..12), codec in codec()) {
        let batch = one(seal(&records, codec));
        prop_assert_eq!(batch.verify_crc(), Ok(()));
        let header = batch.header();
        prop_assert_eq!(header.count as usize, records.len());
        prop_assert_eq!(header.last_offset_delta as usize, records.len() - 1);
        prop_assert_eq!(header.base_timestamp, records[0].timestamp);
        prop_assert_eq!(Some(header.max_timestamp), records.iter().map(|r| r.timestamp).max());
        prop_assert_eq!((header.producer, header.base_sequence), (PRODUCER, 17));
        prop_assert_eq!(header.attributes.compression(), Ok(codec));
        prop_assert!(header.attributes.is_transactional() && !header.attributes.is_control());
        let decoded = batch.records(LIMIT).unwrap();
        prop_assert_eq!(decoded.check(), Ok(()));
        prop_assert_eq!(read(&decoded).unwrap(), records);
        let offsets: Vec<i64> = decoded.iter().map(|r| r.unwrap().offset).collect();
        prop_assert_eq!(offsets, (0..records_len(header)).collect::<Vec<_>>());
    }
}

fn records_len(header: &BatchHeader) -> i64 {
    i64::from(header.count)
}

#[test]
fn timestamp_types() {
    let records = [Owned { timestamp: 5, key: None, value: None, headers: vec![] }];
    let mut bytes = BytesMut::from(&seal(&records, Compression::None)[..]);
    assert_eq!(
        one(bytes.clone().freeze()).header().attributes.timestamp_type(),
        TimestampType::CreateTime
    );
    set_log_append_time(&mut bytes, 99).unwrap();
    let batch = one(bytes.freeze());
    assert_eq!(batch.verify_crc(), Ok(()));
    assert_eq!(batch.header().attributes.timestamp_type(), TimestampType::LogAppendTime);
    assert_eq!(read(&batch.records(LIMIT).unwrap()).unwrap()[0].timestamp, 99);
}
