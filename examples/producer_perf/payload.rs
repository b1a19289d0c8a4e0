//! The values of the records: random letters, lines of a file, or the record's number.

use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::random::SplittableRandom;

/// Where the values come from, as the options say.
#[derive(Debug)]
pub(crate) enum Source {
    Random { size: usize },
    File { path: PathBuf, delimiter: String },
    Monotonic,
}

impl Source {
    pub(crate) fn open(&self) -> Result<Payload, Box<dyn Error>> {
        let random = SplittableRandom::new(0);
        Ok(match self {
            Self::Random { size } => Payload::Random { random, value: vec![0; *size] },
            Self::File { path, delimiter } => {
                Payload::Chosen { random, choices: read(path, delimiter)? }
            }
            Self::Monotonic => Payload::Monotonic { value: Vec::new() },
        })
    }
}

fn read(path: &Path, delimiter: &str) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    println!("Reading payloads from: {}", std::path::absolute(path)?.display());
    let text = fs::read_to_string(path).unwrap_or_default();
    if text.is_empty() {
        return Err("File does not exist or empty file provided.".into());
    }
    let payloads = split(&text, delimiter);
    println!("Number of records read: {}", payloads.len());
    if payloads.is_empty() { Err("the file has delimiters only".into()) } else { Ok(payloads) }
}

/// Splits as `java.util.Scanner` does: one delimiter at the start, or at the end, makes no empty value.
fn split(text: &str, delimiter: &str) -> Vec<Vec<u8>> {
    let text = text.strip_prefix(delimiter).unwrap_or(text);
    if text.is_empty() {
        return Vec::new();
    }
    let text = text.strip_suffix(delimiter).unwrap_or(text);
    text.split(delimiter).map(|value| value.as_bytes().to_vec()).collect()
}

/// Makes one value after the other, in a buffer of its own.
#[derive(Debug)]
pub(crate) enum Payload {
    Random { random: SplittableRandom, value: Vec<u8> },
    Chosen { random: SplittableRandom, choices: Vec<Vec<u8>> },
    Monotonic { value: Vec<u8> },
}

impl Payload {
    /// The value of record `index`, counted from 0; each is asked for once, in order.
    pub(crate) fn next(&mut self, index: u64) -> &[u8] {
        match self {
            Self::Random { random, value } => {
                for byte in &mut *value {
                    *byte = b'A' + random.below(26) as u8;
                }
                value
            }
            Self::Chosen { random, choices } => {
                let chosen = random.below(choices.len() as u32) as usize;
                choices.get(chosen).map_or(&[], Vec::as_slice)
            }
            Self::Monotonic { value } => {
                value.clear();
                // Writing to memory does not fail.
                let _ = write!(value, "{index}");
                value
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_letters_are_those_of_kafkas_tool() {
        let mut payload = Source::Random { size: 5 }.open().unwrap();
        assert_eq!(payload.next(0), b"YQHHN");
        assert_eq!(payload.next(1), b"EBSEP");
    }

    #[test]
    fn numbers_count_up() {
        let mut payload = Source::Monotonic.open().unwrap();
        assert_eq!([payload.next(9).to_vec(), payload.next(10).to_vec()], [&b"9"[..], b"10"]);
    }

    /// What `java.util.Scanner` gives for the delimiter `\n`.
    #[test]
    fn splits_as_java_does() {
        let cases: [(&str, &[&str]); 7] = [
            ("a\n\nb", &["a", "", "b"]),
            ("\na", &["a"]),
            ("a\n", &["a"]),
            ("a\n\n", &["a", ""]),
            ("\n", &[]),
            ("\n\n", &[""]),
            ("\n\na\n", &["", "a"]),
        ];
        for (text, expected) in cases {
            let expected: Vec<_> = expected.iter().map(|value| value.as_bytes().to_vec()).collect();
            assert_eq!(split(text, "\n"), expected, "{text:?}");
        }
    }
}
