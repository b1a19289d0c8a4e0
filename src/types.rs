//! Nouns that every layer shares. They carry no behaviour and no I/O.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// A partition of a topic.
///
/// Ordered by topic name, then by partition number; displays as Kafka does: `topic-0`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: String,
    /// The partition's number, counted from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// Names a partition of a topic.
    pub fn new(topic: impl Into<String>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// An offset as a group commits it: where to go on reading a partition.
///
/// ```
/// use milena::OffsetAndMetadata;
///
/// let next = OffsetAndMetadata::new(42).with_leader_epoch(7).with_metadata("half done");
/// assert_eq!((next.offset, next.leader_epoch), (42, Some(7)));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct OffsetAndMetadata {
    /// The offset of the next record to be read: one past the last that was processed.
    pub offset: i64,
    /// The epoch of the leader that appended the record before it, if it is known. Whoever goes on
    /// from here can tell by it whether that record is still in the log (KIP-320).
    pub leader_epoch: Option<i32>,
    /// A text of the application's own, at most `offset.metadata.max.bytes` of the broker long.
    pub metadata: String,
}

impl OffsetAndMetadata {
    /// An offset without leader epoch and with an empty text.
    pub fn new(offset: i64) -> Self {
        Self { offset, leader_epoch: None, metadata: String::new() }
    }

    /// The same with the epoch of the leader that appended the record before it, such as
    /// `ConsumerRecord::leader_epoch`.
    #[must_use]
    pub fn with_leader_epoch(self, leader_epoch: impl Into<Option<i32>>) -> Self {
        Self { leader_epoch: leader_epoch.into(), ..self }
    }

    /// The same with a text.
    #[must_use]
    pub fn with_metadata(self, metadata: impl Into<String>) -> Self {
        Self { metadata: metadata.into(), ..self }
    }
}

/// A record that was looked up by its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct OffsetAndTimestamp {
    /// Its offset.
    pub offset: i64,
    /// Its timestamp, in milliseconds since 1970-01-01T00:00Z.
    pub timestamp: i64,
    /// The epoch of the leader that appended it, if the broker says so.
    pub leader_epoch: Option<i32>,
}

/// A broker's number in its cluster (`node.id`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BrokerId(pub i32);

impl fmt::Display for BrokerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The id that a cluster gives to a topic when it is created (KIP-516).
///
/// A topic that is deleted and made again under the same name has another id. Brokers before 2.8 know no topic ids
/// and leave it [`TopicId::ZERO`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TopicId(pub [u8; 16]);

impl TopicId {
    /// No id: the broker knows none.
    pub const ZERO: Self = Self([0; 16]);

    /// Whether the broker gave no id.
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The 32 hexadecimal digits of a UUID in groups of 8-4-4-4-12.
impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// The identity under which an idempotent producer writes: the id the broker gave and its epoch (KIP-98).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProducerIdentity {
    /// The producer id.
    pub id: i64,
    /// The producer epoch; a higher one fences the lower ones of the same id.
    pub epoch: i16,
}

impl ProducerIdentity {
    /// What a batch carries when its producer is not idempotent.
    pub const NONE: Self = Self { id: -1, epoch: -1 };
}

/// Who a member of a consumer group is at the moment (Kafka's `ConsumerGroupMetadata`, KIP-447).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ConsumerGroupMetadata {
    /// The group (`group.id`).
    pub group_id: String,
    /// The generation of a classic group, the member's epoch in one of the new protocol; -1 if it is in none.
    pub generation_id: i32,
    /// The id that the coordinator knows the member by; empty if it is in no generation.
    pub member_id: String,
    /// The name of a static member (`group.instance.id`, KIP-345).
    pub group_instance_id: Option<String>,
}

impl ConsumerGroupMetadata {
    /// Somebody who commits offsets of a group without being a member of it.
    pub fn no_member(group_id: impl Into<String>) -> Self {
        Self {
            group_id: group_id.into(),
            generation_id: -1,
            member_id: String::new(),
            group_instance_id: None,
        }
    }

    /// Whether it names a member of a generation.
    pub fn is_member(&self) -> bool {
        self.generation_id >= 0 && !self.member_id.is_empty()
    }
}

/// A header of a record to be written: a name, and bytes or nothing.
///
/// Names may repeat within a record; their order is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Header<'a> {
    /// The header's name.
    pub key: &'a str,
    /// The header's value; `None` is Kafka's null.
    pub value: Option<&'a [u8]>,
}

impl<'a> Header<'a> {
    /// A header with a value.
    pub fn new(key: &'a str, value: &'a [u8]) -> Self {
        Self { key, value: Some(value) }
    }
}

/// A header of a record that was read: a name, and bytes or nothing.
///
/// A name is meant to be UTF-8, but brokers do not check that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct RecordHeader<'a> {
    /// The header's name, as it was written.
    pub key_bytes: &'a [u8],
    /// The header's value; `None` is Kafka's null.
    pub value: Option<&'a [u8]>,
}

impl<'a> RecordHeader<'a> {
    /// The header's name as text, with U+FFFD for what is not UTF-8, as in Java. It borrows the name
    /// unless that is so.
    pub fn key(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.key_bytes)
    }
}

/// One of the two parts of a record that a serializer makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecordPart {
    /// The key.
    Key,
    /// The value.
    Value,
}

/// `key` or `value`.
impl fmt::Display for RecordPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key => "key",
            Self::Value => "value",
        })
    }
}

/// What a record's timestamp means (`message.timestamp.type` of its topic).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum TimestampType {
    /// Set by the producer.
    #[default]
    CreateTime,
    /// Set by the broker when it appended the record.
    LogAppendTime,
}

/// How the records of a batch are compressed (`compression.type`). Displays and parses as Kafka's name for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip.
    Gzip,
    /// snappy, in the block stream of snappy-java.
    Snappy,
    /// lz4, in its frame format.
    Lz4,
    /// zstd (KIP-110); brokers before 2.1 do not know it.
    Zstd,
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        })
    }
}

impl FromStr for Compression {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        match name {
            "none" => Ok(Self::None),
            "gzip" => Ok(Self::Gzip),
            "snappy" => Ok(Self::Snappy),
            "lz4" => Ok(Self::Lz4),
            "zstd" => Ok(Self::Zstd),
            _ => Err(UnknownName),
        }
    }
}

/// A text that is none of Kafka's names for a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a name that Kafka has for this setting")]
pub struct UnknownName;
