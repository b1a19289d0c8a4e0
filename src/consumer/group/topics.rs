//! What a member is told of the cluster's topics. How that comes from metadata is not known here.

use std::collections::{BTreeMap, BTreeSet};

use super::assign::ClusterTopics;
use crate::types::TopicId;

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct TopicView {
    /// [`TopicId::ZERO`] if the brokers know no ids.
    pub(crate) id: TopicId,
    /// For each partition the racks that have a replica of it. Empty if there is no such topic.
    pub(crate) racks: Vec<BTreeSet<String>>,
}

/// The topics that are known, and those that are known not to exist.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct TopicsView {
    pub(crate) topics: BTreeMap<String, TopicView>,
}

impl TopicsView {
    /// Whether it is known of each of these if it exists.
    pub(super) fn knows<'a>(&self, names: impl IntoIterator<Item = &'a String>) -> bool {
        names.into_iter().all(|name| self.topics.contains_key(name))
    }

    /// These topics as an assignor sees them.
    pub(super) fn of<'a>(&self, names: impl IntoIterator<Item = &'a String>) -> ClusterTopics {
        let mut cluster = ClusterTopics::new();
        for name in names {
            if let Some(view) = self.topics.get(name).filter(|view| !view.racks.is_empty()) {
                cluster.insert(name.clone(), view.racks.clone());
            }
        }
        cluster
    }

    /// What a topic id stands for.
    pub(super) fn names(&self) -> BTreeMap<TopicId, &str> {
        let known = self.topics.iter().filter(|(_, view)| !view.id.is_zero());
        known.map(|(name, view)| (view.id, name.as_str())).collect()
    }
}
