//! Which partitions of a topic can take records now: those that have a leader, and of them those whose leader takes
//! batches. Which broker does not is found by the sender (`partitioner.availability.timeout.ms`); here it is only kept.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use crate::types::BrokerId;

/// The partitions of one topic that have a leader, in order, and their leaders.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Led {
    partitions: Vec<i32>,
    leaders: Vec<BrokerId>,
}

impl Led {
    /// From the leader of each partition, the first being that of partition 0.
    pub(super) fn new(leaders: impl Iterator<Item = Option<BrokerId>>) -> Self {
        let led = (0..).zip(leaders).filter_map(|(at, leader)| Some((at, leader?)));
        let (partitions, leaders) = led.unzip();
        Self { partitions, leaders }
    }

    /// Those of the first `count` partitions that have a leader. A send may know of fewer partitions than there are.
    pub(super) fn partitions(&self, count: usize) -> &[i32] {
        let known =
            self.partitions.partition_point(|&at| usize::try_from(at).is_ok_and(|at| at < count));
        self.partitions.get(..known).unwrap_or_default()
    }

    /// Those of them whose leader is none of `slow`.
    pub(super) fn without(
        &self,
        slow: &[BrokerId],
        count: usize,
    ) -> impl Iterator<Item = i32> + Clone {
        let led = self.partitions(count).iter().zip(&self.leaders);
        led.filter(|(_, leader)| !slow.contains(leader)).map(|(&partition, _)| partition)
    }

    /// Whether there are any, and this is none of them.
    pub(super) fn lacks(&self, partition: i32) -> bool {
        !self.partitions.is_empty() && !self.partitions.contains(&partition)
    }

    /// The partition's leader.
    pub(super) fn leader(&self, partition: i32) -> Option<BrokerId> {
        let at = self.partitions.iter().position(|&led| led == partition)?;
        self.leaders.get(at).copied()
    }
}

/// The brokers that have left batches waiting for too long; one list for all topics of a producer.
#[derive(Debug, Default)]
pub(crate) struct SlowBrokers(ArcSwap<Vec<BrokerId>>);

impl SlowBrokers {
    /// Replaces the list, and says whether it is another one now.
    pub(crate) fn set(&self, slow: Vec<BrokerId>) -> bool {
        let changed = **self.0.load() != slow;
        if changed {
            tracing::debug!(brokers = ?slow, "brokers that take no batches: records without a key avoid them");
            self.0.store(Arc::new(slow));
        }
        changed
    }

    pub(crate) fn load(&self) -> Guard<Arc<Vec<BrokerId>>> {
        self.0.load()
    }
}
