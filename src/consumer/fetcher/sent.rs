//! What a request under way asks for, so that its answer can be held against it: an answer for what
//! was not asked, or was asked twice, finds nothing here.

use std::collections::{BTreeMap, HashMap};

use crate::time::Instant;
use crate::types::{BrokerId, TopicId};

/// A request under way.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) node: BrokerId,
    /// Until then the broker may keep a fetch that finds nothing.
    pub(super) until: Option<Instant>,
    /// When a fetch was handed to the driver.
    pub(super) at: Option<Instant>,
    /// Whether the answer has to be about all that is asked; if not, nothing said is nothing new.
    pub(super) is_full: bool,
    /// What is asked of each topic, by partition.
    topics: Vec<BTreeMap<i32, Asked>>,
    by_name: HashMap<String, usize>,
    by_id: HashMap<TopicId, usize>,
}

/// What is asked of one partition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) slot: usize,
    /// Of the request.
    pub(super) token: u64,
    /// The offset that is fetched from; of no meaning when offsets are looked up.
    pub(super) offset: i64,
    /// The epoch of the leader that is asked; -1 if it is not known.
    pub(super) epoch: i32,
    /// Whether another replica is asked in its place (KIP-392).
    pub(super) follower: bool,
}

impl Sent {
    pub(super) fn new(node: BrokerId) -> Self {
        Self {
            node,
            until: None,
            at: None,
            is_full: true,
            topics: Vec::new(),
            by_name: HashMap::new(),
            by_id: HashMap::new(),
        }
    }

    /// Adds what is asked of a partition. The partitions of a topic come with one id, since they are
    /// asked for by one snapshot of metadata.
    pub(super) fn add(&mut self, name: &str, id: TopicId, partition: i32, asked: Asked) {
        let at = match self.by_name.get(name) {
            Some(at) => *at,
            None => {
                let at = self.topics.len();
                self.topics.push(BTreeMap::new());
                self.by_name.insert(name.to_owned(), at);
                if !id.is_zero() {
                    self.by_id.entry(id).or_insert(at);
                }
                at
            }
        };
        if let Some(topic) = self.topics.get_mut(at) {
            topic.insert(partition, asked);
        }
    }

    /// Takes out what was asked of a partition. Answers name the topic, or give its id.
    pub(super) fn take(&mut self, name: &str, id: TopicId, partition: i32) -> Option<Asked> {
        let at = if id.is_zero() { self.by_name.get(name) } else { self.by_id.get(&id) };
        self.topics.get_mut(*at?)?.remove(&partition)
    }

    /// As [`Sent::take`], for answers that know no ids.
    pub(super) fn take_by_name(&mut self, name: &str, partition: i32) -> Option<Asked> {
        self.take(name, TopicId::ZERO, partition)
    }

    /// Whether all was taken out.
    pub(super) fn is_empty(&self) -> bool {
        self.topics.iter().all(BTreeMap::is_empty)
    }

    /// What was not taken out.
    pub(super) fn unanswered(self) -> impl Iterator<Item = Asked> {
        self.topics.into_iter().flat_map(BTreeMap::into_values)
    }
}
