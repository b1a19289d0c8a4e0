//! Record batches that are corrupt, old, or lie, as a reader fetches them.

use bytes::{Bytes, BytesMut};
use milena::protocol::messages::fetch::{FetchRequest, FetchResponse};
use milena::record::{Attributes, BatchBuilder, BatchHeader, Codec, HEADER_LEN};
use milena::{Compression, Consumer, ConsumerError, StartAt};
use tokio::time::Instant;

use crate::harness::{KIB, MIB, all, run};
use crate::server::{Server, TOPIC};
use crate::session::{
    MAX_RESPONSE, REQUEST_TIMEOUT, partition, producer, produces_again, read, reader, says,
};

/// The bytes of a batch of one record with this value, at offset 0.
fn batch(value: &[u8], compression: Compression) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BytesMut::new());
    builder.append(1, None, Some(value), &[]).unwrap();
    let mut sealed = builder.seal(Codec::new(compression)).unwrap();
    sealed.stamp(milena::ProducerIdentity::NONE, -1, false);
    sealed.bytes().to_vec()
}

fn plain() -> Vec<u8> {
    batch(b"value", Compression::None)
}

/// A batch whose header and bytes were changed, with a CRC that is right again.
fn resealed(edit: impl FnOnce(&mut BatchHeader, &mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = plain();
    let mut header = BatchHeader::parse(&bytes).unwrap();
    edit(&mut header, &mut bytes);
    header.write(&mut bytes).unwrap();
    bytes
}

/// A batch whose bytes were changed.
pub(crate) fn plain_with(edit: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = plain();
    edit(&mut bytes);
    bytes
}

fn patched(at: usize, with: &[u8]) -> Vec<u8> {
    plain_with(|bytes| bytes[at..at + with.len()].copy_from_slice(with))
}

/// As [`resealed`], with other bytes for the record, which starts with its length.
fn with_record(record: &[u8]) -> Vec<u8> {
    resealed(|_, bytes| {
        bytes.truncate(HEADER_LEN);
        bytes.extend_from_slice(record);
    })
}

fn compressed(compression: Compression, payload: &[u8]) -> Vec<u8> {
    resealed(|header, bytes| {
        header.attributes = Attributes::new(compression);
        bytes.truncate(HEADER_LEN);
        bytes.extend_from_slice(payload);
    })
}

/// Where the fields of a batch's header are.
const LENGTH: usize = 8;
const MAGIC: usize = 16;
const CRC: usize = 17;

struct Wrong {
    name: &'static str,
    bytes: fn() -> Vec<u8>,
    says: &'static [&'static str],
}

const CORRUPT: &[Wrong] = &[
    Wrong {
        name: "a CRC that does not match",
        bytes: || patched(CRC, &[1, 2, 3, 4]),
        says: &["the batch is corrupt", "CRC-32C is 0x01020304", "to leave it out, seek to 1"],
    },
    Wrong {
        name: "a bit that flipped in the record",
        bytes: || {
            let mut bytes = plain();
            *bytes.last_mut().unwrap() ^= 1;
            bytes
        },
        says: &["the batch is corrupt", "CRC-32C"],
    },
    Wrong {
        name: "a bit that flipped and made it compressed",
        bytes: || patched(22, &[1]),
        says: &["the batch is corrupt", "CRC-32C"],
    },
    Wrong {
        name: "magic 0",
        bytes: || patched(MAGIC, &[0]),
        says: &["message format v0 is not supported", "rewrite the topic's old records"],
    },
    Wrong {
        name: "magic 1",
        bytes: || patched(MAGIC, &[1]),
        says: &["message format v1 is not supported", "or read them with an older client"],
    },
    Wrong { name: "magic 9", bytes: || patched(MAGIC, &[9]), says: &["magic byte is 9"] },
    Wrong {
        name: "a negative length",
        bytes: || patched(LENGTH, &(-1i32).to_be_bytes()),
        says: &["batchLength is -1"],
    },
    Wrong {
        name: "a length of 0",
        bytes: || patched(LENGTH, &[0; 4]),
        says: &["batchLength is 0"],
    },
    Wrong {
        name: "a length less than a header",
        bytes: || patched(LENGTH, &48i32.to_be_bytes()),
        says: &["batchLength is 48"],
    },
    Wrong {
        name: "a length of 2^31-1",
        bytes: || patched(LENGTH, &i32::MAX.to_be_bytes()),
        says: &["the bytes end inside the first batch"],
    },
    Wrong {
        name: "a length that is too small by one",
        bytes: || {
            let length = i32::try_from(plain().len()).unwrap() - 12 - 1;
            patched(LENGTH, &length.to_be_bytes())
        },
        says: &["CRC-32C"],
    },
    Wrong {
        name: "half of a batch",
        bytes: || {
            let bytes = plain();
            bytes[..bytes.len() / 2].to_vec()
        },
        says: &["the bytes end inside the first batch"],
    },
    Wrong { name: "ones", bytes: || vec![0xff; 200], says: &["batchLength is -1"] },
    Wrong { name: "zeros", bytes: || vec![0; 200], says: &["batchLength is 0"] },
];

/// All of these have a CRC that is right.
const LIES: &[Wrong] = &[
    Wrong {
        name: "a negative offset",
        bytes: || resealed(|header, _| header.base_offset = -1),
        says: &["baseOffset is -1"],
    },
    Wrong {
        name: "an offset without another after it",
        bytes: || resealed(|header, _| header.base_offset = i64::MAX),
        says: &["baseOffset is 9223372036854775807"],
    },
    Wrong {
        name: "a last offset before the first",
        bytes: || resealed(|header, _| header.last_offset_delta = -1),
        says: &["lastOffsetDelta is -1"],
    },
    Wrong {
        name: "one record more than there is",
        bytes: || resealed(|header, _| (header.count, header.last_offset_delta) = (2, 1)),
        says: &["2 records are announced, but only 12 bytes follow"],
    },
    Wrong {
        name: "2^31-1 records",
        bytes: || resealed(|header, _| header.count = i32::MAX),
        says: &["2147483647 records are announced"],
    },
    Wrong {
        name: "a negative number of records",
        bytes: || resealed(|header, _| header.count = -1),
        says: &["records count is -1"],
    },
    Wrong {
        name: "fewer records than there are",
        bytes: || resealed(|header, _| header.count = 0),
        says: &["bytes are left over after the last record"],
    },
    Wrong {
        name: "a compression that there is not",
        bytes: || resealed(|header, _| header.attributes = Attributes(7)),
        says: &["compression type is 7"],
    },
    Wrong {
        name: "a record of 2^31-1 bytes",
        bytes: || with_record(&[0xfe, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0, 1, 1, 0]),
        says: &["the bytes end inside the record"],
    },
    Wrong {
        name: "a record of a negative length",
        bytes: || with_record(&[0x03, 0, 0, 0, 1, 1, 0]),
        says: &["record's length is -2"],
    },
    Wrong {
        name: "a record whose length does not end",
        bytes: || with_record(&[0xff; 20]),
        says: &["variable-length number with too many bytes"],
    },
    Wrong {
        name: "a record with an offset outside the batch",
        bytes: || with_record(&[12, 0, 0, 10, 1, 1, 0]),
        says: &["offset delta is 5, but the batch's last is 0"],
    },
    Wrong {
        name: "a value that is longer than its record",
        bytes: || with_record(&[12, 0, 0, 0, 1, 100, 0]),
        says: &["the bytes end inside the record's value"],
    },
    Wrong {
        name: "more record headers than can be",
        bytes: || with_record(&[12, 0, 0, 0, 1, 1, 126]),
        says: &["63 record headers are announced"],
    },
];

fn name(wrong: &&Wrong) -> String {
    wrong.name.to_owned()
}

#[test]
fn a_corrupt_batch_is_told() {
    all(CORRUPT, name, |case, wrong| run(case, MIB, reads(case, (wrong.bytes)(), wrong.says)));
}

#[test]
fn a_batch_that_lies_is_told() {
    all(LIES, name, |case, wrong| run(case, MIB, reads(case, (wrong.bytes)(), wrong.says)));
}

const COMPRESSIONS: [Compression; 4] =
    [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

#[test]
fn what_only_claims_to_be_compressed_is_told() {
    let mut random = fastrand::Rng::with_seed(1);
    let random: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(500).collect();
    let cases = COMPRESSIONS.iter().flat_map(|compression| {
        [vec![], vec![0; 500], vec![0xff; 500], random.clone()]
            .map(|payload| (*compression, payload))
    });
    all(
        cases,
        |(compression, payload)| format!("{compression}: {:?}", payload.get(..8)),
        |case, (compression, payload)| {
            let bytes = compressed(compression, &payload);
            // No frame at all is fine with zstd.
            let none = payload.is_empty() && compression == Compression::Zstd;
            let invalid = format!("the records are not valid {compression}");
            let part = if none { "1 records are announced, but only 0 bytes" } else { &invalid };
            run(case, MIB, reads(case, bytes, &[part]));
        },
    );
}

/// What is compressed decompresses to this many times what the reader allows, at least.
const BOMB: usize = 16;

/// Compressed bytes that fit in a response and hold far more zeros than a reader may take.
fn bomb(compression: Compression) -> Vec<u8> {
    let zeros = vec![0; MIB];
    let whole = batch(&zeros, compression);
    let payload = &whole[HEADER_LEN..];
    let (head, body, tail): (&[u8], &[u8], &[u8]) = match compression {
        // Members and frames may follow each other.
        Compression::Gzip | Compression::Zstd => (&[], payload, &[]),
        // Blocks are between the stream's header and, in lz4, the end mark.
        Compression::Snappy => (&payload[..16], &payload[16..], &[]),
        Compression::Lz4 => {
            let end = payload.len() - 4;
            (&payload[..7], &payload[7..end], &payload[end..])
        }
        other => unreachable!("{other} is not bombed"),
    };
    let copies = (MAX_RESPONSE * 8 / 10 / body.len()).min(1024);
    assert!(copies >= BOMB, "{compression} of {copies} MiB");
    compressed(compression, &[head, &body.repeat(copies), tail].concat())
}

/// The smallest of them.
pub(crate) fn bomb_of() -> Vec<u8> {
    bomb(Compression::Zstd)
}

/// A frame of zstd that says itself that it holds a tebibyte, and one that holds 1 GiB in blocks of
/// one repeated byte without saying so.
fn zstd_frames() -> [Vec<u8>; 2] {
    const FRAME: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
    const WINDOW_OF_1_MIB: u8 = 80;
    let run_of_128_kib = |last: bool| {
        let header = ((128 * KIB) << 3) | (1 << 1) | usize::from(last);
        [&header.to_le_bytes()[..3], &[0]].concat()
    };
    let mut stated = [&FRAME[..], &[0xc0, WINDOW_OF_1_MIB]].concat();
    stated.extend_from_slice(&(1u64 << 40).to_le_bytes());
    stated.extend_from_slice(&run_of_128_kib(true));
    let mut silent = [&FRAME[..], &[0, WINDOW_OF_1_MIB]].concat();
    (0..8192).for_each(|block| silent.extend_from_slice(&run_of_128_kib(block == 8191)));
    [stated, silent].map(|payload| compressed(Compression::Zstd, &payload))
}

#[test]
fn a_bomb_is_defused() {
    let crafted = zstd_frames().map(|bytes| (Compression::Zstd, bytes));
    let cases = COMPRESSIONS.map(|compression| (compression, bomb(compression)));
    all(
        cases.into_iter().chain(crafted),
        |(compression, bytes)| format!("{} bytes of {compression}", bytes.len()),
        |case, (compression, bytes)| {
            let says = [
                &*format!("the {compression} records decompress to more than the 1000000 bytes"),
                "raise receive.message.max.bytes",
                "to leave it out, seek to 1",
            ];
            // The response, here and there, and what is allowed to come out.
            run(case, 8 * MIB, reads(case, bytes, &says));
        },
    );
}

/// A batch that cannot be read is told by each poll, keeps the position, and can be left out.
async fn reads(case: &str, bytes: Vec<u8>, parts: &[&str]) {
    let server = Server::start().await;
    for _ in 0..2 {
        produces_again(case, &producer(&server)).await;
    }
    let bytes = Bytes::from(bytes);
    server.edit::<FetchRequest>(move |response| first_batch(response, &bytes));
    let mut reader = reader(&server);
    let start = Instant::now();
    for _ in 0..4 {
        let error = read(&mut reader).await.expect_err(case);
        let ConsumerError::InvalidBatch { .. } = &error else { panic!("{case}: {error}") };
        says(case, &error.to_string(), &["cannot read the batch", TOPIC, "to leave it out, seek"]);
        says(case, &error.to_string(), parts);
        assert_eq!(error.partition(), Some(&partition()), "{case}");
        assert!(!error.is_retriable(), "{case}");
        assert_eq!(reader.position(&partition()), Some(0), "{case}");
    }
    let waited = start.elapsed();
    assert!(waited <= REQUEST_TIMEOUT, "{case}: {waited:?}");
    assert!(server.effort() <= 40, "{case}: {} requests", server.effort());
    goes_on_behind(case, &mut reader).await;
    server.behave();
    reader.seek(&partition(), StartAt::Earliest).unwrap();
    assert_eq!(read(&mut reader).await.unwrap(), 2, "{case}");
}

/// Puts the bytes where the batch at offset 0 is, if it was asked for.
fn first_batch(response: &mut FetchResponse, bytes: &Bytes) {
    for partition in response.responses.iter_mut().flat_map(|topic| &mut topic.partitions) {
        let records = partition.records.get_or_insert_default();
        if records.starts_with(&[0; 8]) {
            *records = bytes.clone();
        }
    }
}

async fn goes_on_behind(case: &str, reader: &mut Consumer) {
    reader.seek(&partition(), StartAt::Offset(1)).unwrap();
    assert_eq!(read(reader).await.unwrap_or_else(|error| panic!("{case}: {error}")), 1, "{case}");
}

/// What is right before a corrupt batch is handed out first.
#[test]
fn records_before_a_corrupt_batch_are_not_lost() {
    let case = "good, then corrupt";
    run(case, MIB, async {
        let server = Server::start().await;
        produces_again(case, &producer(&server)).await;
        let mut second = resealed(|header, _| header.base_offset = 1);
        *second.last_mut().unwrap() ^= 1;
        let bytes = Bytes::from([plain(), second].concat());
        server.edit::<FetchRequest>(move |response| first_batch(response, &bytes));
        let mut reader = reader(&server);
        assert_eq!(read(&mut reader).await.unwrap(), 1);
        assert_eq!(reader.position(&partition()), Some(1));
        let error = read(&mut reader).await.unwrap_err();
        let ConsumerError::InvalidBatch { first: 1, last: Some(1), .. } = error else {
            panic!("{error:?}");
        };
        assert!(server.effort() < 20, "{} requests", server.effort());
    });
}
