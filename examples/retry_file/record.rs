//! A record that owns its parts, and the line of text that keeps it. Nothing here knows files or Kafka's errors.
//!
//! A line has fields with a tab between them, as text exports of databases do:
//!
//! ```text
//! note  topic  partition  timestamp  key  value  [header name  header value]...
//! ```
//!
//! - `note` says what became of the record so far; it is for people.
//! - `partition` and `timestamp` are decimal numbers.
//! - `\N` is null: no key, no value, a header without a value; a partition that the partitioner is to choose; a
//!   timestamp that the send is to set.
//! - Within a field, `\\`, `\t`, `\n`, `\r` and `\xHH` stand for a backslash, tab, line feed, carriage return and any
//!   byte. Control characters are always written so, and so is every byte above 127 of a field that is not UTF-8: the
//!   file is text, whatever the records are.

use std::fmt::Write;
use std::str::FromStr;

use milena::{Header, ProducerRecord};

const NULL: &str = "\\N";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredRecord {
    pub(crate) topic: String,
    /// As it was asked for, not as the partitioner chose.
    pub(crate) partition: Option<i32>,
    /// Milliseconds since the epoch. To be set when the record comes about: else it gets the time at which it is sent
    /// again.
    pub(crate) timestamp: Option<i64>,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

impl StoredRecord {
    /// The headers, as [`StoredRecord::to_send`] takes them.
    pub(crate) fn headers(&self) -> Vec<Header<'_>> {
        self.headers.iter().map(|(key, value)| Header { key, value: value.as_deref() }).collect()
    }

    pub(crate) fn to_send<'a>(&'a self, headers: &'a [Header<'a>]) -> ProducerRecord<'a> {
        let mut record = match &self.value {
            Some(value) => ProducerRecord::new(&self.topic, value),
            None => ProducerRecord::tombstone(&self.topic),
        };
        if let Some(key) = &self.key {
            record = record.key(key);
        }
        if let Some(partition) = self.partition {
            record = record.partition(partition);
        }
        if let Some(timestamp) = self.timestamp {
            record = record.timestamp(timestamp);
        }
        record.headers(headers)
    }

    /// The line, with its line feed.
    pub(crate) fn to_line(&self, note: &str) -> String {
        let mut line = String::new();
        push_bytes(&mut line, note.as_bytes());
        push(&mut line, Some(self.topic.as_bytes()));
        push(&mut line, self.partition.map(|n| n.to_string()).as_ref().map(String::as_bytes));
        push(&mut line, self.timestamp.map(|n| n.to_string()).as_ref().map(String::as_bytes));
        push(&mut line, self.key.as_deref());
        push(&mut line, self.value.as_deref());
        for (name, value) in &self.headers {
            push(&mut line, Some(name.as_bytes()));
            push(&mut line, value.as_deref());
        }
        line.push('\n');
        line
    }

    /// Reads a line, without its line feed; the note is dropped.
    pub(crate) fn from_line(line: &[u8]) -> Result<Self, String> {
        let line = std::str::from_utf8(line).map_err(|error| error.to_string())?;
        let fields = line.split('\t').skip(1).map(unescape).collect::<Result<Vec<_>, _>>()?;
        let mut fields = fields.into_iter();
        let mut next = |name: &str| fields.next().ok_or(format!("it has no {name}"));
        let topic = text(next("topic")?.ok_or("the topic is null")?)?;
        let partition = next("partition")?.map(number).transpose()?;
        let timestamp = next("timestamp")?.map(number).transpose()?;
        let (key, value) = (next("key")?, next("value")?);
        let mut headers = Vec::new();
        while let Some(name) = fields.next() {
            let value = fields.next().ok_or("its last header has no value")?;
            headers.push((text(name.ok_or("a header's name is null")?)?, value));
        }
        Ok(Self { topic, partition, timestamp, key, value, headers })
    }
}

fn push(line: &mut String, field: Option<&[u8]>) {
    line.push('\t');
    match field {
        Some(bytes) => push_bytes(line, bytes),
        None => line.push_str(NULL),
    }
}

fn push_bytes(line: &mut String, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.chars().for_each(|c| push_char(line, c)),
        Err(_) => bytes.iter().for_each(|byte| match byte {
            0..=127 => push_char(line, char::from(*byte)),
            _ => push_hex(line, *byte),
        }),
    }
}

fn push_char(line: &mut String, c: char) {
    match c {
        '\\' => line.push_str("\\\\"),
        '\t' => line.push_str("\\t"),
        '\n' => line.push_str("\\n"),
        '\r' => line.push_str("\\r"),
        '\0'..'\x20' | '\x7f' => push_hex(line, c as u8),
        _ => line.push(c),
    }
}

fn push_hex(line: &mut String, byte: u8) {
    // Writing to a string does not fail.
    let _ = write!(line, "\\x{byte:02x}");
}

fn unescape(field: &str) -> Result<Option<Vec<u8>>, String> {
    if field == NULL {
        return Ok(None);
    }
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((plain, escaped)) = rest.split_once('\\') {
        bytes.extend_from_slice(plain.as_bytes());
        let wrong = || format!("\\{escaped:.3} stands for nothing");
        let mut chars = escaped.chars();
        bytes.push(match chars.next() {
            Some('\\') => b'\\',
            Some('t') => b'\t',
            Some('n') => b'\n',
            Some('r') => b'\r',
            Some('x') => {
                let digits = escaped.get(1..3).ok_or_else(wrong)?;
                chars = escaped.get(3..).unwrap_or_default().chars();
                u8::from_str_radix(digits, 16).map_err(|_| wrong())?
            }
            _ => return Err(wrong()),
        });
        rest = chars.as_str();
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(Some(bytes))
}

fn text(bytes: Vec<u8>) -> Result<String, String> {
    String::from_utf8(bytes).map_err(|error| error.to_string())
}

fn number<N: FromStr>(bytes: Vec<u8>) -> Result<N, String> {
    let text = text(bytes)?;
    text.parse().map_err(|_| format!("{text:?} is not a number that can stand here"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> StoredRecord {
        StoredRecord {
            topic: "orders".to_owned(),
            partition: None,
            timestamp: Some(1_700_000_000_000),
            key: Some(b"customer-7".to_vec()),
            value: Some(b"paid".to_vec()),
            headers: Vec::new(),
        }
    }

    fn back(line: &str) -> StoredRecord {
        StoredRecord::from_line(line.strip_suffix('\n').unwrap().as_bytes()).unwrap()
    }

    #[test]
    fn a_line_is_readable() {
        assert_eq!(
            record().to_line("not written: NOT_ENOUGH_REPLICAS"),
            "not written: NOT_ENOUGH_REPLICAS\torders\t\\N\t1700000000000\tcustomer-7\tpaid\n"
        );
    }

    #[test]
    fn every_part_comes_back() {
        let all_bytes: Vec<u8> = (0..=255).collect();
        let text = "a\tb\nc\\d\re\u{7f}\u{1}é€";
        let parts = [
            None,
            Some(Vec::new()),
            Some(b"\\N".to_vec()),
            Some(b"\\".to_vec()),
            Some(all_bytes),
            Some(text.as_bytes().to_vec()),
        ];
        for key in &parts {
            for value in &parts {
                let whole = StoredRecord {
                    partition: Some(i32::MAX),
                    timestamp: None,
                    key: key.clone(),
                    value: value.clone(),
                    headers: vec![
                        (text.to_owned(), value.clone()),
                        (String::new(), key.clone()),
                        (String::new(), None),
                    ],
                    ..record()
                };
                let line = whole.to_line("a\tnote\nof \\ lines");
                assert_eq!(line.matches('\n').count(), 1, "{line:?}");
                assert_eq!(back(&line), whole, "{line:?}");
            }
        }
    }

    #[test]
    fn text_stays_text_and_other_bytes_are_hexadecimal() {
        let mut record = record();
        record.key = Some("Zoë".as_bytes().to_vec());
        record.value = Some(vec![b'a', 0xff, 0]);
        assert!(record.to_line("").ends_with("\tZoë\ta\\xff\\x00\n"));
    }

    #[test]
    fn says_what_is_wrong_with_a_line() {
        for (line, problem) in [
            ("", "no topic"),
            ("note\torders\t\\N\t\\N\tkey", "no value"),
            ("note\t\\N\t\\N\t\\N\tkey\tvalue", "topic is null"),
            ("note\torders\tone\t\\N\tkey\tvalue", "\"one\" is not a number"),
            ("note\torders\t4294967296\t\\N\tkey\tvalue", "is not a number that can"),
            ("note\torders\t\\N\t\\N\tkey\tvalue\tname", "last header has no value"),
            ("note\torders\t\\N\t\\N\t\\q\tvalue", "\\q stands for nothing"),
            ("note\torders\t\\N\t\\N\t\\x1\tvalue", "\\x1 stands for nothing"),
            ("note\torders\t\\N\t\\N\t\\x1é\tvalue", "stands for nothing"),
            ("note\torders\t\\N\t\\N\t\\\tvalue", "stands for nothing"),
        ] {
            let error = StoredRecord::from_line(line.as_bytes()).unwrap_err();
            assert!(error.contains(problem), "{line:?}: {error}");
        }
        assert!(StoredRecord::from_line(b"\xff").is_err());
    }
}
