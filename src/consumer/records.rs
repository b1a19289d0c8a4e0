//! What a poll hands out: batches of fetched bytes, grouped by partition, decoded as they are
//! iterated over.
//!
//! The batches were decoded once before they came here, so iterating cannot fail.

use std::fmt;
use std::sync::Arc;

use crate::record;
use crate::types::{RecordHeader, TimestampType, TopicPartition};

/// Records of one [`poll`](crate::Consumer::poll), grouped by partition, in order within each.
///
/// They stay in the form in which they were fetched; iterating decodes them one by one and borrows
/// their keys and values. The fetched bytes are freed when this is dropped, and until then they
/// count towards no limit of the reader's.
///
/// ```
/// # fn show(records: milena::Records) {
/// for record in &records {
///     println!("{}-{} at {}: {:?}", record.topic, record.partition, record.offset, record.value);
/// }
/// # }
/// ```
#[derive(Debug, Default)]
pub struct Records {
    partitions: Vec<PartitionRecords>,
}

impl Records {
    /// How many records there are, over all partitions.
    pub fn len(&self) -> usize {
        self.partitions.iter().map(PartitionRecords::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }

    /// All records: partition by partition, in order within each.
    pub fn iter(&self) -> RecordsIter<'_> {
        RecordsIter { left: self.len(), partitions: self.partitions.iter(), current: None }
    }

    /// The partitions that have records, each once.
    pub fn partitions(&self) -> impl ExactSizeIterator<Item = &PartitionRecords> {
        self.partitions.iter()
    }

    /// The records of one partition, if there are any.
    pub fn partition(&self, partition: &TopicPartition) -> Option<&PartitionRecords> {
        self.partitions.iter().find(|records| *records.name == *partition)
    }

    /// Adds batches to those of a partition, which then goes on at `next_offset`.
    pub(crate) fn add(
        &mut self,
        name: &Arc<TopicPartition>,
        batches: Vec<BatchRecords>,
        next_offset: i64,
    ) {
        match self.partitions.iter_mut().find(|records| records.name == *name) {
            Some(known) => {
                known.batches.extend(batches);
                known.next_offset = next_offset;
            }
            None if batches.is_empty() => {}
            None => {
                let name = name.clone();
                self.partitions.push(PartitionRecords { name, batches, next_offset });
            }
        }
    }
}

impl<'a> IntoIterator for &'a Records {
    type Item = ConsumerRecord<'a>;
    type IntoIter = RecordsIter<'a>;

    fn into_iter(self) -> RecordsIter<'a> {
        self.iter()
    }
}

/// The records of one partition; part of [`Records`]. There is at least one.
pub struct PartitionRecords {
    name: Arc<TopicPartition>,
    batches: Vec<BatchRecords>,
    next_offset: i64,
}

#[expect(clippy::len_without_is_empty, reason = "it never is empty")]
impl PartitionRecords {
    /// The partition.
    pub fn partition(&self) -> &TopicPartition {
        &self.name
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.batches.iter().map(|batch| batch.count).sum()
    }

    /// The bytes of the records, decompressed; about that where a batch begins before them.
    pub(crate) fn bytes(&self) -> usize {
        let sizes = self.batches.iter().map(|batch| {
            let all = batch.records.count().max(1);
            batch.records.payload().len().saturating_mul(batch.count) / all
        });
        sizes.sum()
    }

    /// The offset to go on from after these records. It may be more than one past the last of
    /// them, where compaction or the markers of transactions left offsets without a record.
    pub fn next_offset(&self) -> i64 {
        self.next_offset
    }

    /// The records, in order.
    pub fn iter(&self) -> PartitionRecordsIter<'_> {
        PartitionRecordsIter {
            name: &self.name,
            left: self.len(),
            batches: self.batches.iter(),
            current: None,
        }
    }
}

impl<'a> IntoIterator for &'a PartitionRecords {
    type Item = ConsumerRecord<'a>;
    type IntoIter = PartitionRecordsIter<'a>;

    fn into_iter(self) -> PartitionRecordsIter<'a> {
        self.iter()
    }
}

impl fmt::Debug for PartitionRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartitionRecords")
            .field("partition", &format_args!("{}", self.name))
            .field("len", &self.len())
            .field("next_offset", &self.next_offset)
            .finish_non_exhaustive()
    }
}

/// A batch of which at least one record is handed out, and all of which was decoded before.
pub(crate) struct BatchRecords {
    pub(crate) records: record::Records,
    /// Records before this offset are not handed out: the batch begins before the position.
    pub(crate) from: i64,
    /// How many are left then.
    pub(crate) count: usize,
    pub(crate) timestamp_type: TimestampType,
    /// -1 if the broker keeps none.
    pub(crate) leader_epoch: i32,
}

/// A record as it was fetched; borrowed from [`Records`].
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct ConsumerRecord<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The number of the partition.
    pub partition: i32,
    /// Its offset in the partition.
    pub offset: i64,
    /// Milliseconds since 1970-01-01T00:00Z; -1 if the record has none.
    pub timestamp: i64,
    /// Who set the timestamp.
    pub timestamp_type: TimestampType,
    /// The epoch of the leader that appended it; `None` if the broker keeps none.
    pub leader_epoch: Option<i32>,
    /// The key; `None` is Kafka's null.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is Kafka's null, and in a compacted topic a tombstone.
    pub value: Option<&'a [u8]>,
    /// The headers, in order; names may repeat.
    pub headers: RecordHeaders<'a>,
}

impl ConsumerRecord<'_> {
    /// The bytes of the key; `None` without one.
    pub fn serialized_key_size(&self) -> Option<usize> {
        self.key.map(<[u8]>::len)
    }

    /// The bytes of the value; `None` without one.
    pub fn serialized_value_size(&self) -> Option<usize> {
        self.value.map(<[u8]>::len)
    }

    /// A copy that keeps no fetched bytes alive.
    pub fn to_owned(&self) -> OwnedRecord {
        let headers = self.headers.map(|header| {
            let value = header.value.map(<[u8]>::to_vec);
            (header.key().into_owned(), value)
        });
        OwnedRecord {
            topic: self.topic.to_owned(),
            partition: self.partition,
            offset: self.offset,
            timestamp: self.timestamp,
            timestamp_type: self.timestamp_type,
            leader_epoch: self.leader_epoch,
            key: self.key.map(<[u8]>::to_vec),
            value: self.value.map(<[u8]>::to_vec),
            headers: headers.collect(),
        }
    }
}

/// Sizes in the place of key, value and headers, which may be long or secret.
impl fmt::Debug for ConsumerRecord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsumerRecord")
            .field("topic", &self.topic)
            .field("partition", &self.partition)
            .field("offset", &self.offset)
            .field("timestamp", &self.timestamp)
            .field("serialized_key_size", &self.serialized_key_size())
            .field("serialized_value_size", &self.serialized_value_size())
            .field("headers", &self.headers.len())
            .finish_non_exhaustive()
    }
}

/// A record that owns all of its parts; see [`ConsumerRecord::to_owned`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct OwnedRecord {
    /// The topic.
    pub topic: String,
    /// The number of the partition.
    pub partition: i32,
    /// Its offset in the partition.
    pub offset: i64,
    /// Milliseconds since 1970-01-01T00:00Z; -1 if the record has none.
    pub timestamp: i64,
    /// Who set the timestamp.
    pub timestamp_type: TimestampType,
    /// The epoch of the leader that appended it; `None` if the broker keeps none.
    pub leader_epoch: Option<i32>,
    /// The key; `None` is Kafka's null.
    pub key: Option<Vec<u8>>,
    /// The value; `None` is Kafka's null, and in a compacted topic a tombstone.
    pub value: Option<Vec<u8>>,
    /// Names and values of the headers, in order; names may repeat. What of a name is not UTF-8 is
    /// replaced by U+FFFD.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// The headers of a record, decoded as they are iterated over. Iterate over a copy to keep it.
#[derive(Clone, Copy)]
pub struct RecordHeaders<'a>(record::Headers<'a>);

impl<'a> RecordHeaders<'a> {
    /// The last header of a name, the one that counts where names repeat.
    pub fn last_header(self, name: &str) -> Option<RecordHeader<'a>> {
        self.filter(|header| header.key_bytes == name.as_bytes()).last()
    }
}

impl<'a> Iterator for RecordHeaders<'a> {
    type Item = RecordHeader<'a>;

    fn next(&mut self) -> Option<RecordHeader<'a>> {
        // No error can be met: the headers were decoded before the record was handed out.
        self.0.next()?.ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.0.remaining(), Some(self.0.remaining()))
    }
}

impl ExactSizeIterator for RecordHeaders<'_> {}
impl std::iter::FusedIterator for RecordHeaders<'_> {}

/// The count: names and values may be long or secret.
impl fmt::Debug for RecordHeaders<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordHeaders").field("len", &self.len()).finish()
    }
}

/// Iterates over all records of a poll.
#[derive(Clone)]
pub struct RecordsIter<'a> {
    left: usize,
    partitions: std::slice::Iter<'a, PartitionRecords>,
    current: Option<PartitionRecordsIter<'a>>,
}

impl<'a> Iterator for RecordsIter<'a> {
    type Item = ConsumerRecord<'a>;

    #[inline]
    fn next(&mut self) -> Option<ConsumerRecord<'a>> {
        loop {
            if let Some(record) = self.current.as_mut().and_then(Iterator::next) {
                self.left = self.left.saturating_sub(1);
                return Some(record);
            }
            self.current = Some(self.partitions.next()?.iter());
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for RecordsIter<'_> {}
impl std::iter::FusedIterator for RecordsIter<'_> {}

impl fmt::Debug for RecordsIter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordsIter").field("left", &self.left).finish_non_exhaustive()
    }
}

/// Iterates over the records of one partition.
#[derive(Clone)]
pub struct PartitionRecordsIter<'a> {
    name: &'a TopicPartition,
    left: usize,
    batches: std::slice::Iter<'a, BatchRecords>,
    current: Option<(&'a BatchRecords, record::RecordIter<'a>)>,
}

impl<'a> Iterator for PartitionRecordsIter<'a> {
    type Item = ConsumerRecord<'a>;

    #[inline]
    fn next(&mut self) -> Option<ConsumerRecord<'a>> {
        loop {
            if let Some((batch, records)) = &mut self.current {
                // No error can be met: the batch was decoded before it was handed out.
                for record in records.by_ref().flatten() {
                    if record.offset >= batch.from {
                        self.left = self.left.saturating_sub(1);
                        return Some(view(self.name, batch, &record));
                    }
                }
            }
            let batch = self.batches.next()?;
            self.current = Some((batch, batch.records.iter()));
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for PartitionRecordsIter<'_> {}
impl std::iter::FusedIterator for PartitionRecordsIter<'_> {}

impl fmt::Debug for PartitionRecordsIter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartitionRecordsIter").field("left", &self.left).finish_non_exhaustive()
    }
}

#[inline]
fn view<'a>(
    name: &'a TopicPartition,
    batch: &BatchRecords,
    record: &record::Record<'a>,
) -> ConsumerRecord<'a> {
    ConsumerRecord {
        topic: &name.topic,
        partition: name.partition,
        offset: record.offset,
        timestamp: record.timestamp,
        timestamp_type: batch.timestamp_type,
        leader_epoch: (batch.leader_epoch >= 0).then_some(batch.leader_epoch),
        key: record.key,
        value: record.value,
        headers: RecordHeaders(record.headers),
    }
}
