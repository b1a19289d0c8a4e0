//! What can be wrong with a batch. It names the rule that was broken; which topic, partition and
//! offset the bytes came from is for the caller to add.

use crate::types::Compression;

/// Why a batch could not be written or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The batch is in a format from before Kafka 0.11, which this crate does not read.
    #[error(
        "message format v{magic} is not supported; only v2 is (Kafka 0.11 and later): rewrite the \
         topic's old records, or read them with an older client"
    )]
    OldMagic {
        /// The batch's magic byte, 0 or 1.
        magic: i8,
    },
    /// The magic byte is none that Kafka has.
    #[error("the batch's magic byte is {magic}, which is no known message format")]
    UnknownMagic {
        /// The batch's magic byte.
        magic: i8,
    },
    /// A field of the batch's header has a value that it cannot have.
    #[error("the batch header's {field} is {value}, which is out of its range")]
    HeaderField {
        /// The field, by Kafka's name.
        field: &'static str,
        /// What it holds.
        value: i64,
    },
    /// The bytes end before the part that should be there.
    #[error("the bytes end inside the {part}")]
    Truncated {
        /// What was being read.
        part: &'static str,
    },
    /// The checksum does not match the bytes.
    #[error("the batch is corrupt: its CRC-32C is {stored:#010x}, its bytes give {computed:#010x}")]
    Crc {
        /// What the header says.
        stored: u32,
        /// What the bytes give.
        computed: u32,
    },
    /// A variable-length number is longer than its type can be.
    #[error("the {part} is a variable-length number with too many bytes")]
    Varint {
        /// What was being read.
        part: &'static str,
    },
    /// A length is negative where null is not allowed, or below the -1 that means null.
    #[error("the {part} is {value}, and it cannot be that")]
    Length {
        /// What was being read.
        part: &'static str,
        /// The length or count read.
        value: i32,
    },
    /// A count is larger than the bytes that follow could hold.
    #[error("{count} {part} are announced, but only {bytes} bytes follow")]
    Count {
        /// What is counted.
        part: &'static str,
        /// How many are announced.
        count: i32,
        /// The bytes that are there.
        bytes: usize,
    },
    /// Bytes are left over after the last thing that should be there.
    #[error("{bytes} bytes are left over after the {part}")]
    TrailingBytes {
        /// What ended too early.
        part: &'static str,
        /// How many bytes are left.
        bytes: usize,
    },
    /// A record's offset lies outside its batch.
    #[error("a record's offset delta is {delta}, but the batch's last is {last}")]
    OffsetDelta {
        /// The record's offset delta.
        delta: i32,
        /// The batch's last offset delta.
        last: i32,
    },
    /// A record header's name is not UTF-8.
    #[error("a record header's name is not valid UTF-8")]
    HeaderName,
    /// The batch's attributes name a compression that Kafka does not have.
    #[error("the batch's compression type is {id}, which is none of Kafka's")]
    UnknownCompression {
        /// The three bits of the attributes.
        id: u8,
    },
    /// This build of the crate was made without the codec.
    #[error("{codec} compression is not built in: turn on the cargo feature \"{codec}\" of milena")]
    CodecDisabled {
        /// The codec, whose cargo feature has the same name.
        codec: Compression,
    },
    /// The compression level is outside the codec's range.
    #[error("compression level {level} is not one of {codec}'s: {allowed}")]
    Level {
        /// The codec.
        codec: Compression,
        /// The level asked for.
        level: i32,
        /// The levels that the codec has.
        allowed: &'static str,
    },
    /// The codec refused to compress.
    #[error("{codec} compression failed: {detail}")]
    Compress {
        /// The codec.
        codec: Compression,
        /// What it said.
        detail: String,
    },
    /// The compressed bytes are corrupt.
    #[error("the records are not valid {codec}: {detail}")]
    Decompress {
        /// The codec.
        codec: Compression,
        /// What it said.
        detail: String,
    },
    /// Decompressing would give more bytes than allowed.
    #[error("the {codec} records decompress to more than the {limit} bytes allowed")]
    DecompressedTooLarge {
        /// The codec.
        codec: Compression,
        /// The ceiling that was given.
        limit: usize,
    },
    /// The batch holds no record, or is larger than the format can say.
    #[error("a batch of {count} records and {bytes} bytes cannot be written")]
    BatchSize {
        /// How many records it holds.
        count: i32,
        /// How many bytes.
        bytes: usize,
    },
    /// A control record's key or value is malformed.
    #[error("the control record's {part} is malformed")]
    Control {
        /// `key` or `value`.
        part: &'static str,
    },
}
