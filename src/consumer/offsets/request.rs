//! OffsetCommit and OffsetFetch as the machine has them: by topic name, with the ids that are known.
//! Which of the two is sent, and in which shape, depends on the version that the connection speaks.
//! Decides nothing.

use std::collections::{BTreeMap, HashMap};

use crate::error::ErrorCode;
use crate::protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
    OffsetCommitResponse,
};
use crate::protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
    OffsetFetchResponse, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
};
use crate::types::{ConsumerGroupMetadata, OffsetAndMetadata, TopicId, TopicPartition};

/// The newest versions of both that name topics instead of giving their ids.
const LAST_BY_NAME: i16 = 9;

/// The first version of OffsetCommit that has static members (KIP-345).
const INSTANCE_FROM: i16 = 7;

/// The first versions of OffsetFetch that wait for transactions (KIP-447), and that ask of several
/// groups (KIP-709).
const STABLE_FROM: i16 = 7;
const GROUPS_FROM: i16 = 8;

/// A request to the coordinator. It is to be made for the highest version up to
/// [`highest`](Self::highest) that the connection speaks.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum OffsetsRequest {
    Commit(Commit),
    Fetch(Fetch),
}

/// Something for each of some partitions, by topic.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Topics<T> {
    by_name: BTreeMap<String, (TopicId, BTreeMap<i32, T>)>,
}

impl<T> Default for Topics<T> {
    fn default() -> Self {
        Self { by_name: BTreeMap::new() }
    }
}

impl<T> Topics<T> {
    /// Adds a partition, or replaces what is there; the id that is given last holds for the topic.
    pub(super) fn insert(&mut self, partition: &TopicPartition, id: TopicId, value: T) {
        let topic = match self.by_name.get_mut(&partition.topic) {
            Some(topic) => topic,
            None => self.by_name.entry(partition.topic.clone()).or_default(),
        };
        topic.0 = id;
        topic.1.insert(partition.partition, value);
    }

    /// Whether all topics have ids.
    fn have_ids(&self) -> bool {
        self.by_name.values().all(|(id, _)| !id.is_zero())
    }

    pub(super) fn get(&self, partition: &TopicPartition) -> Option<&T> {
        self.by_name.get(&partition.topic)?.1.get(&partition.partition)
    }

    /// Collects what an answer says of the partitions that were asked for. What was not asked for is
    /// left out; of what is said twice the first holds.
    fn collect<A>(
        &self,
        answers: impl Iterator<Item = (String, TopicId, i32, A)>,
    ) -> BTreeMap<TopicPartition, A> {
        let ids = self.by_name.iter().map(|(name, (id, _))| (*id, name));
        let by_id: HashMap<TopicId, &String> = ids.filter(|(id, _)| !id.is_zero()).collect();
        let mut found = BTreeMap::new();
        for (name, id, partition, answer) in answers {
            // Answers name the topic, or give its id.
            let name = if id.is_zero() { Some(&name) } else { by_id.get(&id).copied() };
            let Some(name) = name else { continue };
            let partition = TopicPartition::new(name, partition);
            if self.get(&partition).is_some() {
                found.entry(partition).or_insert(answer);
            }
        }
        found
    }
}

/// Offsets to be committed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Commit {
    pub(super) committer: ConsumerGroupMetadata,
    pub(super) topics: Topics<OffsetAndMetadata>,
}

impl Commit {
    /// The highest version that it can be sent in.
    pub(crate) fn highest(&self) -> i16 {
        if self.topics.have_ids() { i16::MAX } else { LAST_BY_NAME }
    }

    /// The request in a version.
    pub(crate) fn at(&self, version: i16) -> OffsetCommitRequest {
        let ConsumerGroupMetadata { group_id, generation_id, member_id, group_instance_id } =
            self.committer.clone();
        let instance =
            group_instance_id.filter(|_| version >= INSTANCE_FROM && self.committer.is_member());
        let mut request = OffsetCommitRequest {
            group_id,
            generation_id_or_member_epoch: generation_id,
            member_id,
            group_instance_id: instance,
            ..OffsetCommitRequest::default()
        };
        let topics = self.topics.by_name.iter().map(|(name, (id, partitions))| {
            let partitions = partitions.iter().map(|(index, offset)| partition(*index, offset));
            OffsetCommitRequestTopic {
                name: name.clone(),
                topic_id: *id,
                partitions: partitions.collect(),
            }
        });
        request.topics = topics.collect();
        request
    }

    /// What the answer says of each partition.
    pub(super) fn codes(
        &self,
        response: OffsetCommitResponse,
    ) -> BTreeMap<TopicPartition, ErrorCode> {
        self.topics.collect(response.topics.into_iter().flat_map(|topic| {
            let (name, id) = (topic.name, topic.topic_id);
            let partitions = topic.partitions.into_iter();
            partitions.map(move |p| (name.clone(), id, p.partition_index, p.error_code))
        }))
    }
}

fn partition(index: i32, offset: &OffsetAndMetadata) -> OffsetCommitRequestPartition {
    OffsetCommitRequestPartition {
        partition_index: index,
        committed_offset: offset.offset,
        committed_leader_epoch: offset.leader_epoch.unwrap_or(-1),
        committed_metadata: Some(offset.metadata.clone()),
    }
}

/// Asks what is committed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fetch {
    pub(super) group_id: String,
    /// The member that asks, with `group.protocol=consumer`.
    pub(super) member: Option<ConsumerGroupMetadata>,
    pub(super) topics: Topics<()>,
}

/// What an answer says of a partition: what is committed, if anything is.
pub(super) type Said = Result<Option<OffsetAndMetadata>, ErrorCode>;

impl Fetch {
    /// The highest version that it can be sent in.
    pub(crate) fn highest(&self) -> i16 {
        if self.topics.have_ids() { i16::MAX } else { LAST_BY_NAME }
    }

    /// The request in a version.
    pub(crate) fn at(&self, version: i16) -> OffsetFetchRequest {
        let mut request = OffsetFetchRequest {
            // Offsets that an open transaction may still change are waited for, as by Java.
            require_stable: version >= STABLE_FROM,
            ..OffsetFetchRequest::default()
        };
        let topics = self.topics.by_name.iter();
        let indexes = |partitions: &BTreeMap<i32, ()>| partitions.keys().copied().collect();
        if version < GROUPS_FROM {
            request.group_id.clone_from(&self.group_id);
            let topics = topics.map(|(name, (_, partitions))| OffsetFetchRequestTopic {
                name: name.clone(),
                partition_indexes: indexes(partitions),
            });
            request.topics = Some(topics.collect());
        } else {
            let topics = topics.map(|(name, (id, partitions))| OffsetFetchRequestTopics {
                name: name.clone(),
                topic_id: *id,
                partition_indexes: indexes(partitions),
            });
            request.groups.push(OffsetFetchRequestGroup {
                group_id: self.group_id.clone(),
                member_id: self.member.as_ref().map(|member| member.member_id.clone()),
                member_epoch: self.member.as_ref().map_or(-1, |member| member.generation_id),
                topics: Some(topics.collect()),
            });
        }
        request
    }

    /// What the answer says of each partition; an error if it says that of the group as a whole.
    pub(super) fn offsets(
        &self,
        response: OffsetFetchResponse,
    ) -> Result<BTreeMap<TopicPartition, Said>, ErrorCode> {
        let ours = response.groups.into_iter().find(|group| group.group_id == self.group_id);
        let Some(group) = ours else {
            let code = response.error_code;
            let said = self.topics.collect(response.topics.into_iter().flat_map(|topic| {
                let name = topic.name;
                let partitions = topic.partitions.into_iter();
                partitions.map(move |p| (name.clone(), TopicId::ZERO, p.partition_index, said(p)))
            }));
            return if code.is_ok() { Ok(said) } else { Err(code) };
        };
        if !group.error_code.is_ok() {
            return Err(group.error_code);
        }
        Ok(self.topics.collect(group.topics.into_iter().flat_map(|topic| {
            let (name, id) = (topic.name, topic.topic_id);
            let partitions = topic.partitions.into_iter();
            partitions.map(move |p| (name.clone(), id, p.partition_index, said(older(p))))
        })))
    }
}

/// The same, as the versions for one group had it.
fn older(partition: OffsetFetchResponsePartitions) -> OffsetFetchResponsePartition {
    OffsetFetchResponsePartition {
        partition_index: partition.partition_index,
        committed_offset: partition.committed_offset,
        committed_leader_epoch: partition.committed_leader_epoch,
        metadata: partition.metadata,
        error_code: partition.error_code,
    }
}

fn said(partition: OffsetFetchResponsePartition) -> Said {
    if !partition.error_code.is_ok() {
        return Err(partition.error_code);
    }
    let epoch = Some(partition.committed_leader_epoch).filter(|epoch| *epoch >= 0);
    let committed = OffsetAndMetadata::new(partition.committed_offset)
        .with_leader_epoch(epoch)
        .with_metadata(partition.metadata.unwrap_or_default());
    // Brokers say -1 for nothing.
    Ok(Some(committed).filter(|committed| committed.offset >= 0))
}
