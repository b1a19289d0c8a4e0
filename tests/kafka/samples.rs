//! Records for tests to write and to expect.

use crate::oracle::Record;

/// The values of `compression.type`.
pub(crate) const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

/// Records of every shape: null and empty keys, values and header values, all byte values, and text beyond ASCII.
pub(crate) fn shapes() -> Vec<Record> {
    let every_byte: Vec<u8> = (0..=255).collect();
    let options = [None, Some(vec![]), Some(every_byte.clone()), Some(every_byte.repeat(40))];
    let headers = vec![
        ("key".to_owned(), Some(b"value".to_vec())),
        ("key".to_owned(), None),
        (String::new(), Some(vec![])),
        ("Schlüssel".to_owned(), Some(every_byte)),
    ];
    let mut shapes = Vec::new();
    for key in &options {
        for value in &options {
            for headers in [vec![], headers.clone()] {
                shapes.push(Record {
                    partition: 0,
                    timestamp: 1_700_000_000_000 + i64::try_from(shapes.len()).unwrap() * 7,
                    key: key.clone(),
                    value: value.clone(),
                    headers,
                });
            }
        }
    }
    shapes
}

/// A record whose value is its number.
pub(crate) fn numbered(partition: i32, number: usize) -> Record {
    let value = format!("record {number}").into_bytes();
    let timestamp = 1_700_000_000_000 + i64::try_from(number).unwrap();
    Record { partition, timestamp, key: None, value: Some(value), headers: vec![] }
}
