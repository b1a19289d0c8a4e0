//! Bytes that nobody should write: each ends in an error that says what is wrong, without a panic,
//! an endless loop, or memory on the word of a number.

use super::*;

/// A batch with a valid header and CRC around these bytes.
fn around(payload: &[u8], count: i32, codec: Compression) -> RecordBatch {
    let mut bytes = vec![0; HEADER_LEN];
    bytes.extend_from_slice(payload);
    let header = BatchHeader {
        base_offset: 0,
        batch_length: 0,
        partition_leader_epoch: 0,
        crc: 0,
        attributes: Attributes::new(codec),
        last_offset_delta: 9,
        base_timestamp: 0,
        max_timestamp: 0,
        producer: ProducerIdentity::NONE,
        base_sequence: -1,
        count,
    };
    header.write(&mut bytes).unwrap();
    let batch = one(bytes.into());
    assert_eq!(batch.verify_crc(), Ok(()));
    batch
}

/// Whatever the bytes are, reading them comes to an end, with no more records than they can hold.
fn read_to_the_end(bytes: Bytes) {
    let len = bytes.len();
    let mut seen = 0;
    for batch in batches(bytes) {
        seen += 1;
        let Ok(batch) = batch else { continue };
        let _ = batch.verify_crc();
        let Ok(records) = batch.records(1 << 20) else { continue };
        assert!(records.payload().len() <= 1 << 20 || batch.header().attributes.0 & 7 == 0);
        assert!(records.iter().count() <= records.payload().len() / 7 + 1);
        for record in records.iter().flatten() {
            assert!(record.headers.count() <= records.payload().len());
            let _ = EndTxnMarker::parse(&record);
        }
        let _ = check(&records);
    }
    assert!(seen <= len / HEADER_LEN + 1);
}

#[test]
fn every_cut_is_an_incomplete_batch() {
    let whole = seal(&few(), Compression::None);
    for len in 0..whole.len() {
        let mut found = batches(whole.slice(..len));
        assert!(found.next().is_none(), "{len}");
        assert_eq!(found.rest().len(), len);
    }
}

#[test]
fn every_cut_of_the_records_is_an_error() {
    for codec in ALL {
        let whole = seal(&few(), codec);
        for len in HEADER_LEN..whole.len() {
            let batch = around(&whole[HEADER_LEN..len], 3, codec);
            let error = read(&batch).expect_err("it was cut");
            assert!(!error.to_string().is_empty());
        }
    }
}

#[test]
fn every_flipped_bit_is_found_by_the_crc() {
    let whole = seal(&few(), Compression::None);
    for bit in 17 * 8..whole.len() * 8 {
        let mut bytes = whole.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        // Some are out of range already; all others do not match the CRC.
        if let Some(Ok(batch)) = batches(bytes.into()).next() {
            assert!(matches!(batch.verify_crc(), Err(RecordError::Crc { .. })), "bit {bit}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn damaged_batches(
        codec in any_codec(),
        damage in vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = seal(&few(), codec).to_vec();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        read_to_the_end(bytes.into());
    }

    #[test]
    fn random_records(
        codec in any_codec(),
        count in prop_oneof![0i32..20, Just(i32::MAX)],
        payload in vec(prop_oneof![any::<u8>(), 0u8..20], 0..100),
    ) {
        read_to_the_end(around(&payload, count, codec).bytes().clone());
    }

    #[test]
    fn random_bytes(bytes in vec(any::<u8>(), 0..200)) {
        read_to_the_end(bytes.into());
    }
}

#[test]
fn old_and_unknown_formats() {
    for magic in [0, 1] {
        let mut bytes = seal(&few(), Compression::None).to_vec();
        bytes[16] = magic;
        let mut found = batches(bytes.into());
        let error = found.next().unwrap().unwrap_err();
        assert_eq!(error, RecordError::OldMagic { magic: magic as i8 });
        assert!(
            error.to_string().starts_with(&format!("message format v{magic} is not supported"))
        );
        assert!(found.next().is_none(), "an error ends it");
    }
    let mut bytes = seal(&few(), Compression::None).to_vec();
    bytes[16] = 0xff;
    let error = batches(bytes.into()).next().unwrap().unwrap_err();
    assert_eq!(error, RecordError::UnknownMagic { magic: -1 });
}

#[test]
fn header_fields_out_of_range() {
    // Where, what instead, and what it is called.
    let cases: [(usize, &[u8], &str); 8] = [
        (0, &(-1i64).to_be_bytes(), "baseOffset"),
        (0, &i64::MAX.to_be_bytes(), "baseOffset"),
        (8, &(-1i32).to_be_bytes(), "batchLength"),
        (8, &0i32.to_be_bytes(), "batchLength"),
        (8, &13i32.to_be_bytes(), "batchLength"),
        (8, &48i32.to_be_bytes(), "batchLength"),
        (23, &(-1i32).to_be_bytes(), "lastOffsetDelta"),
        (57, &(-1i32).to_be_bytes(), "records count"),
    ];
    for (at, value, name) in cases {
        let mut bytes = seal(&few(), Compression::None).to_vec();
        bytes[at..at + value.len()].copy_from_slice(value);
        match batches(bytes.into()).next() {
            Some(Err(RecordError::HeaderField { field, .. })) => assert_eq!(field, name),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn unknown_compression() {
    for id in 5..8u8 {
        let mut bytes = seal(&few(), Compression::None).to_vec();
        bytes[22] |= id;
        let error = one(bytes.into()).records(LIMIT).unwrap_err();
        assert_eq!(error, RecordError::UnknownCompression { id });
    }
}

#[test]
fn counts_that_the_bytes_cannot_hold() {
    for (count, len) in [(1, 0), (1, 6), (3, 20), (i32::MAX, 70)] {
        let error = around(&vec![0; len], count, Compression::None).records(LIMIT).unwrap_err();
        assert_eq!(error, RecordError::Count { part: "records", count, bytes: len });
    }
}

#[test]
fn malformed_records() {
    use RecordError::*;
    // One record of these bytes, and what is wrong with it. Numbers are zig-zag: 14 is 7, 1 is -1.
    let trailing = |part, bytes| TrailingBytes { part, bytes };
    let cases: &[(&[u8], RecordError)] = &[
        (&[1, 0, 0, 0, 1, 1, 0], Length { part: "record's length", value: -1 }),
        (&[0, 0, 0, 0, 1, 1, 0], Truncated { part: "record's attributes" }),
        (&[14, 0, 0, 0, 1, 1, 0], Truncated { part: "record" }),
        (&[12, 0, 0, 0, 3, 1, 0], Length { part: "record's key", value: -2 }),
        (&[12, 0, 0, 0, 1, 3, 0], Length { part: "record's value", value: -2 }),
        (&[12, 0, 0, 0, 20, 1, 0], Truncated { part: "record's key" }),
        (&[12, 0, 0, 0, 1, 4, 0], Truncated { part: "record's value" }),
        (&[12, 0, 0, 0, 1, 1, 1], Length { part: "record's header count", value: -1 }),
        (&[12, 0, 0, 0, 1, 1, 2], Count { part: "record headers", count: 1, bytes: 0 }),
        (
            &[22, 0, 0, 0, 1, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f, 0],
            Count { part: "record headers", count: i32::MAX, bytes: 1 },
        ),
        (&[14, 0, 0, 0, 1, 1, 0, 0], trailing("record's end", 1)),
        (&[12, 0, 0, 0, 1, 1, 0, 0, 0], trailing("last record", 2)),
        (&[12, 0, 0, 1, 1, 1, 0], OffsetDelta { delta: -1, last: 9 }),
        (&[12, 0, 0, 20, 1, 1, 0], OffsetDelta { delta: 10, last: 9 }),
        (&[0x80, 0x80, 0x80, 0x80, 0x80, 0, 0], Varint { part: "record's length" }),
        (&[12, 0, 0x80, 0x80, 0x80, 0x80, 0x80], Truncated { part: "record's timestamp delta" }),
        (&[12, 0, 0, 0, 0x80, 0x80, 0x80], Truncated { part: "record's key" }),
        (
            &[22, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02],
            Varint { part: "record's timestamp delta" },
        ),
    ];
    for (bytes, expected) in cases {
        let error = read(&around(bytes, 1, Compression::None)).unwrap_err();
        assert_eq!(error, *expected, "{bytes:?}");
    }
}

/// Brokers take any name, and Java's consumer reads it.
#[test]
fn a_record_header_whose_name_is_not_utf_8_is_read() {
    let bytes = &[20, 0, 0, 0, 1, 1, 2, 4, b'a', 0xff, 1];
    let records = around(bytes, 1, Compression::None).records(LIMIT).unwrap();
    let mut headers = records.iter().next().unwrap().unwrap().headers;
    let header = headers.next().unwrap().unwrap();
    assert_eq!((header.key_bytes, header.value), (&b"a\xff"[..], None));
    assert_eq!(header.key(), "a\u{fffd}");
    assert_eq!(headers.next(), None);
}

#[test]
fn malformed_record_headers() {
    use RecordError::*;
    let cases: &[(&[u8], RecordError)] = &[
        (&[16, 0, 0, 0, 1, 1, 2, 1, 0], Length { part: "record header's name", value: -1 }),
        (&[16, 0, 0, 0, 1, 1, 2, 4, 0], Truncated { part: "record header's name" }),
        (&[16, 0, 0, 0, 1, 1, 2, 0, 2], Truncated { part: "record header's value" }),
        (&[16, 0, 0, 0, 1, 1, 2, 0, 3], Length { part: "record header's value", value: -2 }),
        (&[18, 0, 0, 0, 1, 1, 2, 0, 1, 0], TrailingBytes { part: "last record header", bytes: 1 }),
    ];
    for (bytes, expected) in cases {
        let records = around(bytes, 1, Compression::None).records(LIMIT).unwrap();
        // Key and value can still be had; the headers end with the error.
        let record = records.iter().next().unwrap().unwrap();
        assert_eq!((record.key, record.value), (None, None));
        let mut headers = record.headers;
        assert_eq!(headers.remaining(), 1);
        assert_eq!(headers.next(), Some(Err(expected.clone())), "{bytes:?}");
        assert_eq!(headers.next(), None);
        assert_eq!(check(&records), Err(expected.clone()));
    }
}
