//! From one snapshot and one answer to the next snapshot. Pure.
//!
//! | answered | kept |
//! |---|---|
//! | an older leader epoch of the same topic | the newer one that is known |
//! | another topic id | nothing of the old topic |
//! | another cluster id | nothing at all |
//! | an error code for a topic | the last good view, and the code with its time |
//! | no leader, or one that is no broker | the partition, without a leader, with the time |
//! | fewer partitions of the same topic | the ones that are missing, as they were |
//! | a broker or partition that cannot be | the rest of the answer |
//! | no brokers | everything: the answer is refused |

use super::snapshot::{
    BrokerNode, ClusterSnapshot, PartitionMetadata, TopicMetadata, TopicState, Trouble, Usage,
};
use crate::error::ErrorCode;
use crate::protocol::messages::metadata::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use crate::time::Instant;
use crate::types::{BrokerId, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// What an answer changes.
#[derive(Debug)]
pub(super) struct Merged {
    pub(super) snapshot: ClusterSnapshot,
    /// Whether anything that callers act on is different.
    pub(super) changed: bool,
    /// Whether each topic that was asked for has what it needs; if not, ask again.
    pub(super) settled: bool,
    pub(super) doubts: Doubts,
}

/// What in an answer was not believed: the first few things, and how many more.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Doubts {
    pub(super) first: Vec<String>,
    pub(super) more: usize,
}

impl Doubts {
    /// An answer may have a hundred thousand things wrong with it.
    const FIRST: usize = 16;

    fn note(&mut self, doubt: fmt::Arguments<'_>) {
        if self.first.len() < Self::FIRST {
            self.first.push(doubt.to_string());
        } else {
            self.more = self.more.saturating_add(1);
        }
    }
}

/// An answer without a broker, as one may get from a broker that is starting up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoBrokers;

/// Merges an answer. `asked` are the topics that it should be about; of the others only those that
/// are `tracked` stay.
pub(super) fn merge(
    old: &ClusterSnapshot,
    response: &MetadataResponse,
    asked: &BTreeMap<Arc<str>, Usage>,
    tracked: impl Fn(&str) -> bool,
    now: Instant,
) -> Result<Merged, NoBrokers> {
    let mut doubts = Doubts::default();
    let brokers = merge_brokers(old, &response.brokers, &mut doubts)?;
    let cluster_id: Option<Arc<str>> = response.cluster_id.as_deref().map(Into::into);
    let moved = matches!((&old.cluster_id, &cluster_id), (Some(a), Some(b)) if a != b);
    if moved {
        doubts
            .note(format_args!("the cluster id has changed; what was known of topics is dropped"));
    }
    let kept = old.topics.iter().filter(|(name, _)| !moved && tracked(name));
    let mut topics: BTreeMap<_, _> =
        kept.map(|(name, state)| (name.clone(), state.clone())).collect();
    let answers = by_name(&response.topics, asked, &mut doubts);
    let mut settled = true;
    let mut merger = Merger { brokers: &brokers, generation: old.generation + 1, now, doubts };
    for (name, usage) in asked.iter().filter(|(name, _)| tracked(name)) {
        let known = topics.remove(name);
        let state = merger.topic(name, usage, answers.get(name.as_ref()).copied(), known);
        settled &= is_settled(&state);
        topics.insert(name.clone(), state);
    }
    let Merger { generation, doubts, .. } = merger;
    let controller = Some(BrokerId(response.controller_id)).filter(|id| brokers.contains_key(id));
    let cluster_id = cluster_id.or_else(|| old.cluster_id.clone());
    let all = false;
    let snapshot = ClusterSnapshot { generation, cluster_id, controller, brokers, topics, all };
    let changed = is_different(old, &snapshot);
    Ok(Merged { snapshot, changed, settled, doubts })
}

fn merge_brokers(
    old: &ClusterSnapshot,
    answered: &[MetadataResponseBroker],
    doubts: &mut Doubts,
) -> Result<BTreeMap<BrokerId, Arc<BrokerNode>>, NoBrokers> {
    let mut brokers = BTreeMap::new();
    for broker in answered {
        let Some(node) = believable(broker) else {
            let MetadataResponseBroker { node_id, host, port, .. } = broker;
            doubts.note(format_args!("broker {node_id} at {host:?} port {port} cannot be"));
            continue;
        };
        if brokers.contains_key(&node.id) {
            doubts.note(format_args!(
                "broker {} is listed twice; its first address is taken",
                node.id
            ));
            continue;
        }
        let node = match old.brokers.get(&node.id) {
            Some(known) if **known == node => known.clone(),
            _ => Arc::new(node),
        };
        brokers.insert(node.id, node);
    }
    if brokers.is_empty() { Err(NoBrokers) } else { Ok(brokers) }
}

fn believable(broker: &MetadataResponseBroker) -> Option<BrokerNode> {
    let node = BrokerNode {
        id: BrokerId(broker.node_id),
        host: broker.host.clone(),
        port: u16::try_from(broker.port).ok()?,
        rack: broker.rack.clone(),
    };
    node.can_be().then_some(node)
}

fn by_name<'a>(
    answered: &'a [MetadataResponseTopic],
    asked: &BTreeMap<Arc<str>, Usage>,
    doubts: &mut Doubts,
) -> BTreeMap<&'a str, &'a MetadataResponseTopic> {
    let mut answers = BTreeMap::new();
    for topic in answered {
        let name = topic.name.as_deref().unwrap_or_default();
        if !asked.contains_key(name) {
            doubts.note(format_args!("topic {name:?} was not asked for"));
        } else if answers.insert(name, topic).is_some() {
            doubts.note(format_args!("topic {name:?} is listed twice; the last one is taken"));
        }
    }
    answers
}

/// Merges the topics of one answer.
struct Merger<'a> {
    brokers: &'a BTreeMap<BrokerId, Arc<BrokerNode>>,
    generation: u64,
    now: Instant,
    doubts: Doubts,
}

impl Merger<'_> {
    fn topic(
        &mut self,
        name: &Arc<str>,
        usage: &Usage,
        answer: Option<&MetadataResponseTopic>,
        known: Option<TopicState>,
    ) -> TopicState {
        let (view, before) = known.map_or((None, None), |known| (known.view, known.trouble));
        let answered = self.generation;
        let code = match answer {
            Some(topic) if topic.error_code.is_ok() && !topic.partitions.is_empty() => {
                let view = Some(self.view(name, usage, topic, view));
                return TopicState { view, trouble: None, answered };
            }
            // A topic has partitions as soon as it exists.
            Some(topic) if topic.error_code.is_ok() => ErrorCode::LEADER_NOT_AVAILABLE,
            Some(topic) => topic.error_code,
            None => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        };
        let since = before.filter(|before| before.code == code).map_or(self.now, |b| b.since);
        TopicState { view, trouble: Some(Trouble { code, since }), answered }
    }

    fn view(
        &mut self,
        name: &Arc<str>,
        usage: &Usage,
        topic: &MetadataResponseTopic,
        known: Option<Arc<TopicMetadata>>,
    ) -> Arc<TopicMetadata> {
        let same = known.filter(|known| {
            known.id == topic.topic_id || known.id.is_zero() || topic.topic_id.is_zero()
        });
        let old = same.as_ref().map_or(&[][..], |known| &known.partitions);
        let partitions = self.partitions(name, &topic.partitions, old);
        // In a rolling upgrade a broker may not tell the id that another has told.
        let id = match &same {
            Some(known) if topic.topic_id.is_zero() => known.id,
            _ => topic.topic_id,
        };
        let internal = topic.is_internal;
        let view =
            TopicMetadata { name: name.clone(), id, internal, partitions, used: usage.clone() };
        match same {
            Some(known) if *known == view => known,
            _ => Arc::new(view),
        }
    }

    fn partitions(
        &mut self,
        name: &str,
        answered: &[MetadataResponsePartition],
        old: &[PartitionMetadata],
    ) -> Vec<PartitionMetadata> {
        if answered.len() < old.len() {
            self.doubts.note(format_args!(
                "topic {name:?} has {} partitions after {}; the missing ones are kept",
                answered.len(),
                old.len()
            ));
        }
        // Partitions are numbered without gaps, so a number beyond their count cannot be; and what
        // is reserved stays in proportion to the answer.
        let mut partitions = old.to_vec();
        let count = answered.len().max(old.len());
        partitions.resize_with(count, || PartitionMetadata::unknown(self.now));
        let mut seen = BTreeSet::new();
        for answer in answered {
            let number = answer.partition_index;
            let place = usize::try_from(number).ok().and_then(|at| partitions.get_mut(at));
            match place {
                Some(place) if seen.insert(number) => self.partition(name, answer, place),
                _ => self.doubts.note(format_args!(
                    "partition {number} of topic {name:?} cannot be, or is listed twice"
                )),
            }
        }
        partitions
    }

    fn partition(
        &mut self,
        name: &str,
        answer: &MetadataResponsePartition,
        place: &mut PartitionMetadata,
    ) {
        let epoch = answer.leader_epoch.max(-1);
        if (0..place.newest_epoch).contains(&epoch) {
            // From a broker that lags behind; nothing to warn about.
            return;
        }
        let named = Some(BrokerId(answer.leader_id)).filter(|id| id.0 >= 0);
        let leader = named.filter(|id| self.brokers.contains_key(id));
        if leader != named {
            self.doubts.note(format_args!(
                "the leader {} of partition {} of topic {name:?} is not among the brokers",
                answer.leader_id, answer.partition_index
            ));
        }
        let leaderless_since = match leader {
            Some(_) => None,
            None => place.leaderless_since.or(Some(self.now)),
        };
        let ids = |ids: &[i32]| ids.iter().map(|id| BrokerId(*id)).collect();
        *place = PartitionMetadata {
            leader,
            leader_epoch: epoch,
            replicas: ids(&answer.replica_nodes),
            isr: ids(&answer.isr_nodes),
            error: answer.error_code,
            leaderless_since,
            newest_epoch: place.newest_epoch.max(epoch),
        };
    }
}

fn is_settled(state: &TopicState) -> bool {
    if let Some(trouble) = state.trouble {
        // Asking again does not help against a refusal.
        return !trouble.code.is_retriable();
    }
    let mut partitions = state.view.iter().flat_map(|view| &view.partitions);
    partitions.all(|partition| partition.leader.is_some())
}

fn is_different(old: &ClusterSnapshot, new: &ClusterSnapshot) -> bool {
    let same_topics = old.topics.len() == new.topics.len()
        && old.topics.iter().all(|(name, a)| {
            new.topics.get(name).is_some_and(|b| a.view == b.view && a.trouble == b.trouble)
        });
    !same_topics
        || old.brokers != new.brokers
        || old.cluster_id != new.cluster_id
        || old.controller != new.controller
}

/// A leader that a broker names when it refuses to be one (KIP-951).
#[derive(Debug, Clone)]
pub(crate) struct LeaderHint {
    pub(crate) partition: TopicPartition,
    pub(crate) leader: BrokerId,
    pub(crate) epoch: i32,
    /// Where the leader listens, if the broker says so.
    pub(crate) endpoint: Option<BrokerNode>,
}

impl LeaderHint {
    fn node(&self) -> Option<&BrokerNode> {
        self.endpoint.as_ref().filter(|node| node.id == self.leader && node.can_be())
    }
}

/// The snapshot with leaders that were hinted at, if any of them is news; and whether all are. One
/// that cannot be is none.
pub(super) fn apply_hints(
    old: &ClusterSnapshot,
    hints: &[LeaderHint],
) -> (Option<ClusterSnapshot>, bool) {
    let mut new = None;
    let mut all = true;
    for hint in hints {
        if !is_news(new.as_ref().unwrap_or(old), hint) {
            all = false;
            continue;
        }
        let new = new.get_or_insert_with(|| {
            let generation = old.generation + 1;
            ClusterSnapshot { generation, ..old.clone() }
        });
        take_up(new, hint);
    }
    (new, all)
}

fn is_news(known: &ClusterSnapshot, hint: &LeaderHint) -> bool {
    let view = known.topic(&hint.partition.topic);
    let at = usize::try_from(hint.partition.partition).ok();
    let partition = view.zip(at).and_then(|(view, at)| view.partitions.get(at));
    let is_broker = known.brokers.contains_key(&hint.leader) || hint.node().is_some();
    is_broker && partition.is_some_and(|partition| hint.epoch > partition.newest_epoch)
}

fn take_up(snapshot: &mut ClusterSnapshot, hint: &LeaderHint) {
    if let Some(node) = hint.node() {
        let known = snapshot.brokers.get(&node.id);
        if known.is_none_or(|known| known.host != node.host || known.port != node.port) {
            snapshot.brokers.insert(node.id, Arc::new(node.clone()));
        }
    }
    let view = snapshot.topics.get_mut(hint.partition.topic.as_str());
    let view = view.and_then(|state| state.view.as_mut()).map(Arc::make_mut);
    let at = usize::try_from(hint.partition.partition).ok();
    if let Some(partition) = view.zip(at).and_then(|(view, at)| view.partitions.get_mut(at)) {
        partition.leader = Some(hint.leader);
        partition.leader_epoch = hint.epoch;
        partition.newest_epoch = hint.epoch;
        partition.leaderless_since = None;
        partition.error = ErrorCode::NONE;
    }
}
