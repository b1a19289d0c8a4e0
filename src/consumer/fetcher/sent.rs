//! What a request under way asks for, so that its answer can be held against it: an answer for what
//! was not asked, or was asked twice, finds nothing here.

use std::collections::BTreeMap;

use crate::time::Instant;
use crate::types::{BrokerId, TopicId};

/// A request under way.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) node: BrokerId,
    /// Until then the broker may keep a fetch that finds nothing.
    pub(super) until: Option<Instant>,
    topics: Vec<SentTopic>,
}

#[derive(Debug)]
struct SentTopic {
    name: String,
    id: TopicId,
    partitions: BTreeMap<i32, Asked>,
}

/// What is asked of one partition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) slot: usize,
    /// Of the request.
    pub(super) token: u64,
    /// The offset that is fetched from; of no meaning when offsets are looked up.
    pub(super) offset: i64,
}

impl Sent {
    pub(super) fn new(node: BrokerId) -> Self {
        Self { node, until: None, topics: Vec::new() }
    }

    pub(super) fn add(&mut self, name: &str, id: TopicId, partition: i32, asked: Asked) {
        match self.topics.iter_mut().find(|topic| topic.name == name && topic.id == id) {
            Some(topic) => {
                topic.partitions.insert(partition, asked);
            }
            None => self.topics.push(SentTopic {
                name: name.to_owned(),
                id,
                partitions: BTreeMap::from([(partition, asked)]),
            }),
        }
    }

    /// Takes out what was asked of a partition. Answers name the topic, or give its id.
    pub(super) fn take(&mut self, name: &str, id: TopicId, partition: i32) -> Option<Asked> {
        let topic = self
            .topics
            .iter_mut()
            .find(|topic| if id.is_zero() { topic.name == name } else { topic.id == id })?;
        topic.partitions.remove(&partition)
    }

    /// As [`Sent::take`], for answers that know no ids.
    pub(super) fn take_by_name(&mut self, name: &str, partition: i32) -> Option<Asked> {
        self.take(name, TopicId::ZERO, partition)
    }

    /// What was not taken out.
    pub(super) fn unanswered(self) -> impl Iterator<Item = Asked> {
        self.topics.into_iter().flat_map(|topic| topic.partitions.into_values())
    }
}
