//! Which topics a group has to know of, and what metadata knows of them. When metadata is fetched is
//! the client's business; what a group makes of it, the group's.

use std::collections::{BTreeMap, BTreeSet};

use super::group::{TopicView, TopicsView};
use super::pattern::SubscriptionPattern;
use crate::client::{ClusterSnapshot, TopicMetadata};
use crate::error::ErrorCode;
use crate::time::{Duration, Instant};
use crate::types::TopicId;

/// How long brokers may say that they do not know a topic that they have described before it counts
/// as deleted. One that lags behind says so, too, and a group should not rebalance for that.
const GONE_AFTER: Duration = Duration::from_secs(5);

/// The topics that matter to a group's member.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Subscribed to by name.
    pub(super) named: BTreeSet<String>,
    /// Subscribed to by a pattern that is evaluated here.
    pub(super) pattern: Option<SubscriptionPattern>,
    /// Whether a pattern never means Kafka's own topics (`exclude.internal.topics`).
    pub(super) exclude_internal: bool,
    /// Subscribed to by other members.
    pub(super) of_group: BTreeSet<String>,
    /// Assigned by their ids.
    pub(super) by_id: BTreeMap<TopicId, String>,
}

impl Watch {
    /// The topics that match the pattern; `None` without one, and as long as not all are known.
    pub(super) fn matching(&self, snapshot: &ClusterSnapshot) -> Option<BTreeSet<String>> {
        let pattern = self.pattern.as_ref().filter(|_| snapshot.has_all_topics())?;
        let visible = snapshot.topics().filter(|topic| !(self.exclude_internal && topic.internal));
        let matching = visible.filter(|topic| pattern.matches(&topic.name));
        Some(matching.map(|topic| topic.name.to_string()).collect())
    }

    /// The topics whose metadata are to be kept fresh, beside all that the cluster has if there is a
    /// pattern.
    pub(super) fn names(&self) -> BTreeSet<&String> {
        self.named.iter().chain(&self.of_group).chain(self.by_id.values()).collect()
    }

    /// What is known of the topics. Those that do not exist have no partitions; those of which nothing
    /// is known yet are left out.
    pub(super) fn view(&self, snapshot: &ClusterSnapshot, now: Instant) -> TopicsView {
        let matching = self.matching(snapshot).unwrap_or_default();
        let names = self.names().into_iter().chain(&matching);
        let views = names.filter_map(|name| Some((name.clone(), view(snapshot, name, now)?)));
        TopicsView { topics: views.collect() }
    }
}

fn view(snapshot: &ClusterSnapshot, name: &str, now: Instant) -> Option<TopicView> {
    let unknown = snapshot
        .trouble(name)
        .filter(|trouble| trouble.code == ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    match (snapshot.topic(name), unknown) {
        (Some(topic), unknown)
            if unknown.is_none_or(|unknown| {
                now.saturating_duration_since(unknown.since) < GONE_AFTER
            }) =>
        {
            Some(TopicView { id: topic.id, racks: racks(snapshot, topic) })
        }
        (_, Some(_)) => Some(TopicView::default()),
        (None, None) | (Some(_), None) => None,
    }
}

/// For each partition the racks that have a replica of it.
fn racks(snapshot: &ClusterSnapshot, topic: &TopicMetadata) -> Vec<BTreeSet<String>> {
    let of = |replicas: &[_]| {
        let brokers = replicas.iter().filter_map(|id| snapshot.broker(*id));
        brokers.filter_map(|broker| broker.rack.clone()).collect()
    };
    topic.partitions.iter().map(|partition| of(&partition.replicas)).collect()
}
