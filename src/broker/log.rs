//! The log of one partition: batches in offset order, in the bytes in which their producer sent them.
//!
//! It gives offsets, cuts out what a fetch may have, and knows where leader epochs end. It does not know
//! whether a batch is valid, who wrote it or whether it may be read yet.

mod epochs;

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};

use self::epochs::LeaderEpochs;
use super::compact::Kept;
use crate::record::BatchHeader;

/// Base offset, length and leader epoch: what a broker writes in front of the bytes it was sent. The batch's CRC does
/// not cover them.
const PREFIX_LEN: usize = 16;

/// A validated batch on its way into the log.
#[derive(Debug, Clone)]
pub(crate) struct NewBatch {
    /// The batch as received, header included, or with timestamps set anew by the broker.
    pub(crate) bytes: Bytes,
    /// Offsets that it takes up; at least 1.
    pub(crate) count: i32,
    /// The greatest timestamp of its records.
    pub(crate) max_timestamp: i64,
}

/// A batch in the log.
#[derive(Debug, Clone)]
pub(crate) struct LoggedBatch {
    pub(crate) base_offset: i64,
    pub(crate) last_offset: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) max_timestamp: i64,
    bytes: Bytes,
}

impl LoggedBatch {
    fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Writes at most `limit` bytes of the batch as a reader sees it.
    ///
    /// The received bytes stay shared with the frame they came in, so a produce costs no copy; the prefix is put
    /// together anew on each read, which copies anyway.
    fn write(&self, to: &mut BytesMut, limit: usize) {
        let end = self.len().min(limit);
        let mut prefix = [0; PREFIX_LEN];
        prefix[..8].copy_from_slice(&self.base_offset.to_be_bytes());
        prefix[8..12].copy_from_slice(self.bytes.get(8..12).unwrap_or(&[0; 4]));
        prefix[12..].copy_from_slice(&self.leader_epoch.to_be_bytes());
        to.put_slice(&prefix[..end.min(PREFIX_LEN)]);
        to.put_slice(self.bytes.get(PREFIX_LEN..end).unwrap_or(&[]));
    }

    /// The header as its producer wrote it: offset and leader epoch are not those of the log.
    pub(crate) fn header(&self) -> Option<BatchHeader> {
        BatchHeader::parse(&self.bytes).ok()
    }

    /// The batch as a reader sees it.
    pub(crate) fn to_bytes(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(self.len());
        self.write(&mut bytes, usize::MAX);
        bytes.freeze()
    }
}

/// How much of the log a fetch may have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadLimit {
    /// First offset that must not be read: the high watermark or the last stable offset.
    pub(crate) before: i64,
    /// Bytes, except as `at_least_one` says.
    pub(crate) max_bytes: usize,
    /// Whether the first batch is given even if it is larger than `max_bytes`.
    pub(crate) at_least_one: bool,
}

/// The offset asked for is not in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OffsetOutOfRange;

/// See the module's docs.
#[derive(Debug, Default)]
pub(crate) struct Log {
    batches: VecDeque<LoggedBatch>,
    start_offset: i64,
    end_offset: i64,
    bytes: usize,
    epochs: LeaderEpochs,
}

impl Log {
    /// The first offset that can be read.
    pub(crate) fn start_offset(&self) -> i64 {
        self.start_offset
    }

    /// The offset that the next record gets.
    pub(crate) fn end_offset(&self) -> i64 {
        self.end_offset
    }

    /// Bytes held.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The batches held, oldest first.
    pub(crate) fn batches(&self) -> impl Iterator<Item = &LoggedBatch> {
        self.batches.iter()
    }

    /// From here on a leader of this epoch writes.
    pub(crate) fn begin_epoch(&mut self, leader_epoch: i32) {
        self.epochs.assign(leader_epoch, self.end_offset);
    }

    /// Appends a batch and gives the offset of its first record.
    pub(crate) fn append(&mut self, batch: NewBatch, leader_epoch: i32) -> i64 {
        let base_offset = self.end_offset;
        let last_offset = base_offset + i64::from(batch.count.max(1)) - 1;
        self.epochs.assign(leader_epoch, base_offset);
        self.end_offset = last_offset + 1;
        self.bytes += batch.bytes.len();
        self.batches.push_back(LoggedBatch {
            base_offset,
            last_offset,
            leader_epoch,
            max_timestamp: batch.max_timestamp,
            bytes: batch.bytes,
        });
        base_offset
    }

    /// Whole batches from the one that holds `from` on, then as Kafka does the beginning of the one that no longer
    /// fits.
    pub(crate) fn read(&self, from: i64, limit: ReadLimit) -> Result<Bytes, OffsetOutOfRange> {
        if from < self.start_offset || from > self.end_offset {
            return Err(OffsetOutOfRange);
        }
        let mut batches = self.readable(from, limit.before).peekable();
        let Some(first) = batches.peek().map(|batch| batch.len()) else { return Ok(Bytes::new()) };
        if first > limit.max_bytes && !limit.at_least_one {
            return Ok(Bytes::new());
        }
        let max_bytes = limit.max_bytes.max(first);
        let mut out = BytesMut::with_capacity(self.readable_bytes(from, limit.before, max_bytes));
        for batch in batches {
            let room = max_bytes - out.len();
            if room == 0 {
                break;
            }
            batch.write(&mut out, room);
        }
        Ok(out.freeze())
    }

    /// How many bytes a read from `from` could give, counting no further than `enough`.
    pub(crate) fn readable_bytes(&self, from: i64, before: i64, enough: usize) -> usize {
        let mut sum = 0;
        for batch in self.readable(from, before) {
            sum += batch.len();
            if sum >= enough {
                return enough;
            }
        }
        sum
    }

    /// The offset after the last batch of which a read from `from` gave something, if it gave so many bytes.
    pub(crate) fn end_of_read(&self, from: i64, bytes: usize) -> i64 {
        let (mut end, mut rest) = (from, bytes);
        for batch in self.readable(from, i64::MAX) {
            if rest == 0 {
                break;
            }
            rest = rest.saturating_sub(batch.len());
            end = batch.last_offset + 1;
        }
        end
    }

    fn readable(&self, from: i64, before: i64) -> impl Iterator<Item = &LoggedBatch> {
        let first = self.batches.partition_point(|batch| batch.last_offset < from);
        self.batches.range(first..).take_while(move |batch| batch.last_offset < before)
    }

    /// Removes what is before `offset`: a batch goes when all of it is (`DeleteRecords`).
    pub(crate) fn delete_before(&mut self, offset: i64) {
        self.start_offset = offset.clamp(self.start_offset, self.end_offset);
        while self.batches.front().is_some_and(|batch| batch.last_offset < self.start_offset) {
            self.drop_oldest();
        }
        self.epochs.truncate_from_start(self.start_offset);
    }

    /// Removes the oldest batches until no more than `max_bytes` are held, but never the newest (`retention.bytes`).
    pub(crate) fn retain_bytes(&mut self, max_bytes: usize) {
        while self.bytes > max_bytes && self.batches.len() > 1 {
            self.drop_oldest();
            if let Some(oldest) = self.batches.front() {
                self.start_offset = self.start_offset.max(oldest.base_offset);
            }
        }
        self.epochs.truncate_from_start(self.start_offset);
    }

    fn drop_oldest(&mut self) {
        if let Some(batch) = self.batches.pop_front() {
            self.bytes -= batch.len();
        }
    }

    /// Removes the records from `offset` on, and gives where the log ends now: a batch goes as a whole, and what is
    /// before the log's start is not there to be kept.
    pub(crate) fn truncate_to(&mut self, offset: i64) -> i64 {
        self.end_offset = offset.clamp(self.start_offset, self.end_offset);
        let kept = self.batches.partition_point(|batch| batch.last_offset < offset);
        for cut in self.batches.drain(kept..) {
            self.bytes -= cut.len();
            self.end_offset = self.end_offset.min(cut.base_offset).max(self.start_offset);
        }
        self.epochs.truncate_from_end(self.end_offset);
        self.end_offset
    }

    /// Replaces batches as compaction has decided, one decision for each, oldest first.
    pub(crate) fn rewrite(&mut self, decided: Vec<Kept>) {
        let old = std::mem::take(&mut self.batches);
        for (batch, kept) in old.into_iter().zip(decided) {
            self.batches.push_back(match kept {
                Kept::AsIs => batch,
                Kept::Rewritten { bytes, max_timestamp } => {
                    LoggedBatch { bytes, max_timestamp, ..batch }
                }
                Kept::Gone => continue,
            });
        }
        self.bytes = self.batches.iter().map(LoggedBatch::len).sum();
    }

    /// The epoch that wrote the oldest record.
    pub(crate) fn earliest_epoch(&self) -> Option<i32> {
        let (epoch, start) = self.epochs.earliest()?;
        (start <= self.start_offset).then_some(epoch)
    }

    /// Where an epoch ended, and which it was that is known of it (KIP-320).
    pub(crate) fn end_of_epoch(&self, epoch: i32) -> Option<(i32, i64)> {
        self.epochs.end_of(epoch, self.end_offset)
    }

    /// The first batch with the greatest timestamp of the log.
    pub(crate) fn batch_of_max_timestamp(&self) -> Option<&LoggedBatch> {
        // `max_by_key` gives the last of equals; the first is wanted.
        self.batches.iter().rev().max_by_key(|batch| batch.max_timestamp)
    }
}

#[cfg(test)]
#[path = "log/tests.rs"]
mod tests;
