//! A group in numbers, so that the rest compares and indexes instead of hashing names: members in
//! order of id, topics in order of name, and all partitions of all topics in one row.
//!
//! Numbers are only made here, from 0 up, so what is made to measure may be indexed with them.

use std::collections::BTreeMap;
use std::ops::Range;

use super::super::{ClusterTopics, MemberSubscription};
use crate::types::TopicPartition;

/// The members, the topics that any of them wants and that have partitions, and who wants which.
pub(super) struct Numbered<'a> {
    members: Vec<&'a str>,
    topics: Vec<Topic<'a>>,
    /// The topic of each partition.
    topic_of: Vec<usize>,
}

struct Topic<'a> {
    name: &'a str,
    partitions: Range<usize>,
    /// The members that want it, ascending.
    subscribers: Vec<usize>,
}

impl<'a> Numbered<'a> {
    pub(super) fn new(
        cluster: &'a ClusterTopics,
        subscriptions: &'a BTreeMap<String, MemberSubscription>,
    ) -> Self {
        let members = subscriptions.keys().map(String::as_str).collect();
        let (mut topics, mut topic_of) = (Vec::new(), Vec::new());
        for (name, count) in cluster.topics() {
            let wanted = subscriptions.values().zip(0..);
            let subscribers: Vec<_> = wanted
                .filter(|(subscription, _)| subscription.topics.contains(name))
                .map(|(_, member)| member)
                .collect();
            if !subscribers.is_empty() {
                let first = topic_of.len();
                topic_of.resize(first + count, topics.len());
                topics.push(Topic { name, partitions: first..first + count, subscribers });
            }
        }
        Self { members, topics, topic_of }
    }

    pub(super) fn members(&self) -> impl ExactSizeIterator<Item = &'a str> {
        self.members.iter().copied()
    }

    pub(super) fn member(&self, member: usize) -> &'a str {
        self.members[member]
    }

    pub(super) fn topic_count(&self) -> usize {
        self.topics.len()
    }

    pub(super) fn topic_name(&self, topic: usize) -> &'a str {
        self.topics[topic].name
    }

    pub(super) fn partition_count(&self) -> usize {
        self.topic_of.len()
    }

    pub(super) fn partitions_of(&self, topic: usize) -> Range<usize> {
        self.topics[topic].partitions.clone()
    }

    pub(super) fn subscribers(&self, topic: usize) -> &[usize] {
        &self.topics[topic].subscribers
    }

    /// The place of a member among the subscribers of a topic, if it is one.
    pub(super) fn place(&self, member: usize, topic: usize) -> Option<usize> {
        self.topics[topic].subscribers.binary_search(&member).ok()
    }

    pub(super) fn wants(&self, member: usize, topic: usize) -> bool {
        self.place(member, topic).is_some()
    }

    pub(super) fn topic_of(&self, partition: usize) -> usize {
        self.topic_of[partition]
    }

    /// A partition's number within its topic.
    pub(super) fn within_topic(&self, partition: usize) -> usize {
        partition - self.topics[self.topic_of[partition]].partitions.start
    }

    pub(super) fn partition(&self, partition: usize) -> TopicPartition {
        let name = self.topics[self.topic_of[partition]].name;
        // There are no more than `ClusterTopics` has, which has no more than 32 bits can count.
        let number = i32::try_from(self.within_topic(partition)).unwrap_or(i32::MAX);
        TopicPartition::new(name, number)
    }

    /// The number of a partition; `None` if nobody wants it or there is none such.
    pub(super) fn number(&self, partition: &TopicPartition) -> Option<usize> {
        let TopicPartition { topic, partition } = partition;
        let topic = self.topics.binary_search_by_key(&topic.as_str(), |topic| topic.name).ok()?;
        let mut partitions = self.topics.get(topic)?.partitions.clone();
        partitions.nth(usize::try_from(*partition).ok()?)
    }
}
