//! Which batches of an answer a reader of committed records gets (`isolation.level=read_committed`,
//! KIP-98), by Kafka's rule:
//!
//! ```text
//!   index of the answer: (producer id, first offset) of each aborted transaction, by first offset
//!
//!   before a batch that ends at offset n:  those that begin at or before n are open
//!   an abort marker of a producer       :  closes the producer's
//!   records of a transaction whose producer has an open one:  aborted
//! ```
//!
//! Up to where there may be records at all, the last stable offset, the broker decides.

use std::collections::HashSet;

use crate::protocol::messages::fetch::AbortedTransaction;
use crate::record::{ControlType, RecordBatch, RecordError};

/// The aborted transactions of an answer, from the batch that is looked at next on.
#[derive(Debug, Default)]
pub(super) struct Aborted {
    /// Those that have not begun, the next one last.
    pending: Vec<AbortedTransaction>,
    /// The producers of those that have begun.
    producers: HashSet<i64>,
}

impl Aborted {
    /// The index as it came, in any order.
    pub(super) fn new(mut index: Vec<AbortedTransaction>) -> Self {
        index.sort_by_key(|transaction| std::cmp::Reverse(transaction.first_offset));
        Self { pending: index, producers: HashSet::new() }
    }

    /// Whether the records of the next batch are void. Control batches are not: they have none for
    /// the user in any case.
    ///
    /// Fails if a marker cannot be read; `limit` is for its bytes when decompressed.
    pub(super) fn covers(
        &mut self,
        batch: &RecordBatch,
        limit: usize,
    ) -> Result<bool, RecordError> {
        let header = batch.header();
        let producer = header.producer.id;
        if producer < 0 {
            return Ok(false);
        }
        let last = header.last_offset();
        while let Some(begun) = self.pending.pop_if(|next| next.first_offset <= last) {
            self.producers.insert(begun.producer_id);
        }
        if header.attributes.is_control() {
            if self.producers.contains(&producer) && is_abort(batch, limit)? {
                self.producers.remove(&producer);
            }
            return Ok(false);
        }
        Ok(header.attributes.is_transactional() && self.producers.contains(&producer))
    }
}

fn is_abort(batch: &RecordBatch, limit: usize) -> Result<bool, RecordError> {
    let records = batch.records(limit)?;
    // Compaction may have left nothing of it.
    let Some(marker) = records.iter().next() else { return Ok(false) };
    Ok(ControlType::parse(marker?.key)? == ControlType::Abort)
}
