//! Batches that Apache Kafka's own Java client wrote: version 4.3.1 of kafka-clients, by its
//! `MemoryRecordsBuilder`, all with the same three records; and two of its transaction markers.

use super::*;
use crate::record::control::{ControlType, EndTxnMarker};

const NONE: &str = "\
    000000000000000000000079ffffffff0268361fe80010000000020000019826f13a7b0000019826f1610f0000000000\
    0012670003000000110000000356000000014a66697273742076616c75652c2066697273742076616c75652c20666972\
    73742076616c75650024000502066b657901060261023102610100001000a89a0104000000";
const GZIP: &str = "\
    000000000000000000000076ffffffff023de282800011000000020000019826f13a7b0000019826f1610f0000000000\
    001267000300000011000000031f8b08000000000000ff0b63606060f44acb2c2a2e51284bcc294dd551c0c561506160\
    6562cb4ead6464634a6432644a646460106058318b91056806009ae1221448000000";
const SNAPPY: &str = "\
    00000000000000000000007bffffffff02dfe3d9260012000000020000019826f13a7b0000019826f1610f0000000000\
    0012670003000000110000000382534e4150505900000000010000000100000036484856000000014a66697273742076\
    616c75652c205e0d00700024000502066b657901060261023102610100001000a89a0104000000";
const LZ4: &str = "\
    000000000000000000000077ffffffff028b4d6ece0013000000020000019826f13a7b0000019826f1610f0000000000\
    0012670003000000110000000304224d1860408237000000ff0456000000014a66697273742076616c75652c200d0005\
    f00e0024000502066b657901060261023102610100001000a89a010400000000000000";
const ZSTD: &str = "\
    000000000000000000000074ffffffff02718ebdfc0014000000020000019826f13a7b0000019826f1610f0000000000\
    0012670003000000110000000328b52ffd0058bc0100040356000000014a66697273742076616c75652c200024000502\
    066b657901060261023102610100001000a89a01040000000100019c61010000";
const COMMIT: &str = "\
    000000000000000000000042ffffffff029e4b19a00030000000000000019826f13a7b0000019826f13a7b0000000000\
    0012670003ffffffff000000012000000008000000010c00000000002a00";
const ABORT: &str = "\
    00000000000000070000004200000005026a75cfe80030000000000000019826f13a7b0000019826f13a7b0000000000\
    0012670003ffffffff000000012000000008000000000c00000000002a00";
const LOG_APPEND_TIME: &str = "\
    0000000000000064000000390000000902a96aa7590008000000000000019826f13a7b0000019826f21303ffffffffff\
    ffffffffffffffffff000000010e00000001027600";

fn bytes(hex: &str) -> Bytes {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

fn records() -> Vec<Owned> {
    let headers = vec![
        ("a".to_owned(), Some(b"1".to_vec())),
        ("a".to_owned(), None),
        (String::new(), Some(Vec::new())),
    ];
    vec![
        Owned::new(1_753_000_000_123, None, Some(b"first value, first value, first value")),
        Owned { headers, ..Owned::new(1_753_000_000_120, Some(b"key"), None) },
        Owned::new(1_753_000_009_999, Some(b""), Some(b"")),
    ]
}

#[test]
fn we_write_the_bytes_that_kafka_writes() {
    assert_eq!(seal(&records(), Compression::None), bytes(NONE));
}

#[test]
fn we_read_what_kafka_writes() {
    for (codec, hex) in ALL.into_iter().zip([NONE, GZIP, SNAPPY, LZ4, ZSTD]) {
        let batch = one(bytes(hex));
        assert_eq!(batch.verify_crc(), Ok(()), "{codec}");
        assert_eq!(batch.header().attributes.compression(), Ok(codec));
        assert_eq!(batch.header().producer, PRODUCER);
        assert_eq!(batch.header().base_sequence, SEQUENCE);
        assert_eq!(read(&batch).unwrap(), records(), "{codec}");
    }
}

#[test]
fn time_of_the_append() {
    let batch = one(bytes(LOG_APPEND_TIME));
    assert_eq!(batch.verify_crc(), Ok(()));
    assert_eq!(batch.header().base_offset, 100);
    assert_eq!(batch.header().partition_leader_epoch, 9);
    assert_eq!(read(&batch).unwrap(), [Owned::new(1_753_000_055_555, None, Some(b"v"))]);

    // The same in our own steps: a producer's batch, patched as a broker does.
    let mut builder = BatchBuilder::new(BytesMut::new());
    builder.append(1_753_000_000_123, None, Some(b"v"), &[]).unwrap();
    let mut sealed = builder.seal(Codec::NONE).unwrap();
    sealed.stamp(ProducerIdentity::NONE, -1, false);
    let mut patched = BytesMut::from(&sealed.bytes()[..]);
    set_base_offset(&mut patched, 100).unwrap();
    set_leader_epoch(&mut patched, 9).unwrap();
    set_log_append_time(&mut patched, 1_753_000_055_555).unwrap();
    assert_eq!(patched, bytes(LOG_APPEND_TIME));
}

#[test]
fn transaction_markers() {
    let commit = EndTxnMarker { committed: true, coordinator_epoch: 42 };
    assert_eq!(commit.to_batch(1_753_000_000_123, PRODUCER).unwrap(), bytes(COMMIT));

    for (hex, committed, offset) in [(COMMIT, true, 0), (ABORT, false, 7)] {
        let batch = one(bytes(hex));
        assert_eq!(batch.verify_crc(), Ok(()));
        assert!(batch.header().attributes.is_control());
        assert!(batch.header().attributes.is_transactional());
        assert_eq!(batch.header().base_sequence, -1);
        let records = batch.records(LIMIT).unwrap();
        let record = records.iter().next().unwrap().unwrap();
        assert_eq!(record.offset, offset);
        let marker = EndTxnMarker { committed, coordinator_epoch: 42 };
        assert_eq!(EndTxnMarker::parse(&record), Ok(Some(marker)));
    }
}

#[test]
fn control_records_of_other_kinds_and_malformed_ones() {
    let bad_key = Err(RecordError::Control { part: "key" });
    assert_eq!(ControlType::parse(None), bad_key);
    assert_eq!(ControlType::parse(Some(&[0, 0, 0])), bad_key);
    assert_eq!(ControlType::parse(Some(&[0xff, 0xff, 0, 1])), bad_key);
    assert_eq!(ControlType::parse(Some(&[0, 0, 0, 3])), Ok(ControlType::Other(3)));
    // A later version may say more, but begins the same.
    assert_eq!(ControlType::parse(Some(&[0, 1, 0, 1, 9])), Ok(ControlType::Commit));

    let parse = |key: &[u8], value: Option<&[u8]>| {
        let batch = one(seal(&[Owned::new(0, Some(key), value)], Compression::None));
        let records = batch.records(LIMIT).unwrap();
        EndTxnMarker::parse(&records.iter().next().unwrap().unwrap())
    };
    let bad_value = Err(RecordError::Control { part: "value" });
    assert_eq!(parse(&[0, 0, 0, 2], None), Ok(None));
    assert_eq!(parse(&[0, 0, 0, 0], None), bad_value);
    assert_eq!(parse(&[0, 0, 0, 0], Some(&[0, 0, 0, 0, 0])), bad_value);
    assert_eq!(parse(&[0, 0, 0, 0], Some(&[0x80, 0, 0, 0, 0, 1])), bad_value);
}
