//! What the loop has done so far, for others to look at. It decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::types::TopicPartition;

/// What an [`ExactlyOnce`](crate::ExactlyOnce) has done since it was started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// How many transactions were committed.
    pub committed: u64,
    /// How many were aborted, for whatever reason.
    pub aborted: u64,
    /// How many records were processed in those that were committed.
    pub records: u64,
    /// For each partition the offset that was committed last: that of the next record to be processed. Also of partitions
    /// that it has no more.
    pub offsets: BTreeMap<TopicPartition, i64>,
    /// The partitions that it has in its group.
    pub assigned: BTreeSet<TopicPartition>,
    /// How often in a row it failed to commit; 0 if all is well.
    pub failures: u32,
}

/// Shows the [`Progress`] of an [`ExactlyOnce`](crate::ExactlyOnce) that runs elsewhere. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct ProgressHandle(Arc<Mutex<Progress>>);

impl ProgressHandle {
    /// How far it is.
    pub fn get(&self) -> Progress {
        self.0.lock().clone()
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.0.lock());
    }
}
