//! Which partitions are part of the transaction: with version 1 each has to be added before it is written to.

use std::collections::{BTreeSet, HashSet};

use crate::protocol::messages::add_partitions_to_txn::AddPartitionsToTxnTopic;
use crate::types::TopicPartition;

/// The partitions of one transaction.
#[derive(Debug, Default)]
pub(super) struct Partitions {
    /// To be added.
    wanted: BTreeSet<TopicPartition>,
    /// Asked to be added; whether they were is not known yet.
    asked: BTreeSet<TopicPartition>,
    added: HashSet<TopicPartition>,
}

impl Partitions {
    /// Whether the partition was added; if not, it is wanted from now on.
    pub(super) fn want(&mut self, partition: TopicPartition) -> bool {
        if self.added.contains(&partition) {
            return true;
        }
        if !self.asked.contains(&partition) {
            self.wanted.insert(partition);
        }
        false
    }

    pub(super) fn has_wanted(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// Whether some may have been added without our knowing.
    pub(super) fn has_asked(&self) -> bool {
        !self.asked.is_empty()
    }

    /// What is to be asked for: what was asked without an answer, and with it what is wanted.
    pub(super) fn ask(&mut self) -> Vec<AddPartitionsToTxnTopic> {
        self.asked.append(&mut self.wanted);
        let mut topics: Vec<AddPartitionsToTxnTopic> = Vec::new();
        for TopicPartition { topic, partition } in &self.asked {
            match topics.last_mut().filter(|last| last.name == *topic) {
                Some(last) => last.partitions.push(*partition),
                None => topics.push(AddPartitionsToTxnTopic {
                    name: topic.clone(),
                    partitions: vec![*partition],
                }),
            }
        }
        topics
    }

    /// They were added.
    pub(super) fn confirm(&mut self) {
        self.added.extend(std::mem::take(&mut self.asked));
    }

    /// They were not added, and are wanted still.
    pub(super) fn refuse(&mut self) {
        self.wanted.append(&mut self.asked);
    }

    /// No more are to be added.
    pub(super) fn forget_wanted(&mut self) {
        self.wanted.clear();
    }

    /// It will not become known whether those that were asked for were added.
    pub(super) fn forget_asked(&mut self) {
        self.asked.clear();
    }
}
