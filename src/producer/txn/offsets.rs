//! The offsets that are to be part of the transaction (KIP-98, KIP-447): one request of the user after the other. With
//! version 1 their group is made part of the transaction first, by the transaction's coordinator; the group's own
//! coordinator takes them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::protocol::messages::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use crate::types::{ConsumerGroupMetadata, OffsetAndMetadata, ProducerIdentity, TopicPartition};

/// Offsets that the user has sent.
#[derive(Debug)]
pub(super) struct Pending {
    /// By which number the user waits for it, until that is answered.
    pub(super) operation: Option<u64>,
    pub(super) group: ConsumerGroupMetadata,
    /// Those that are not stored yet.
    pub(super) offsets: BTreeMap<TopicPartition, OffsetAndMetadata>,
    /// Whether a request for them went out whose end is not known.
    pub(super) asked: bool,
}

/// Those of one transaction.
#[derive(Debug, Default)]
pub(super) struct Offsets {
    pub(super) queue: VecDeque<Pending>,
    /// The groups that are part of the transaction.
    pub(super) groups: BTreeSet<String>,
    /// One that may have become part of it without our knowing.
    pub(super) adding: Option<String>,
}

impl Offsets {
    /// The group of the next offsets, if it has to be added first.
    pub(super) fn group_to_add(&self) -> Option<&str> {
        let group = &self.queue.front()?.group.group_id;
        (!self.groups.contains(group)).then_some(group)
    }

    /// Whether nothing may still be stored, or is to be.
    pub(super) fn are_settled(&self) -> bool {
        self.queue.is_empty() && self.adding.is_none()
    }
}

impl Pending {
    /// The request for what is left.
    pub(super) fn request(
        &self,
        transactional_id: &str,
        identity: ProducerIdentity,
    ) -> TxnOffsetCommitRequest {
        let mut topics: Vec<TxnOffsetCommitRequestTopic> = Vec::new();
        for (TopicPartition { topic, partition }, offset) in &self.offsets {
            let partition = TxnOffsetCommitRequestPartition {
                partition_index: *partition,
                committed_offset: offset.offset,
                committed_leader_epoch: offset.leader_epoch.unwrap_or(-1),
                committed_metadata: Some(offset.metadata.clone()),
            };
            match topics.last_mut().filter(|last| last.name == *topic) {
                Some(last) => last.partitions.push(partition),
                None => topics.push(TxnOffsetCommitRequestTopic {
                    name: topic.clone(),
                    partitions: vec![partition],
                }),
            }
        }
        TxnOffsetCommitRequest {
            transactional_id: transactional_id.to_owned(),
            group_id: self.group.group_id.clone(),
            producer_id: identity.id,
            producer_epoch: identity.epoch,
            generation_id: self.group.generation_id,
            member_id: self.group.member_id.clone(),
            group_instance_id: self.group.group_instance_id.clone(),
            topics,
        }
    }
}
