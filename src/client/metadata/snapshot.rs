//! What the client believes about the cluster at one moment: brokers, topics, leaders. Immutable
//! and shared.
//!
//! A topic that brokers do not know at the moment, or that has no leader, is a state with a time
//! and not an error: the last good view stays. How a snapshot follows from the one before is not
//! known here; see `merge`.

use crate::error::ErrorCode;
use crate::time::Instant;
use crate::types::{BrokerId, TopicId};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A view of the cluster.
#[derive(Debug, Clone, Default)]
pub(crate) struct ClusterSnapshot {
    pub(super) generation: u64,
    pub(super) cluster_id: Option<Arc<str>>,
    pub(super) controller: Option<BrokerId>,
    pub(super) brokers: BTreeMap<BrokerId, Arc<BrokerNode>>,
    pub(super) topics: BTreeMap<Arc<str>, TopicState>,
    /// Whether all topics of the cluster were asked for.
    pub(super) all: bool,
}

/// A broker and where it listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BrokerNode {
    pub(crate) id: BrokerId,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) rack: Option<String>,
}

impl BrokerNode {
    /// Whether a broker may have said this of one; if not, it is not worth an attempt to connect.
    pub(super) fn can_be(&self) -> bool {
        let Self { id, host, port, .. } = self;
        let odd = |c: char| c.is_control() || c == ' ';
        id.0 >= 0 && *port != 0 && !host.is_empty() && !host.contains(odd)
    }
}

/// What was answered about a topic that was asked for.
#[derive(Debug, Clone)]
pub(super) struct TopicState {
    /// The last good view.
    pub(super) view: Option<Arc<TopicMetadata>>,
    /// What brokers say instead of a view, and since when.
    pub(super) trouble: Option<Trouble>,
    /// The generation of the last answer.
    pub(super) answered: u64,
}

/// An error code that is answered for a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) code: ErrorCode,
    pub(crate) since: Instant,
}

/// A topic and its partitions.
///
/// Two views that are equal are the same `Arc`, so that a holder can tell by the pointer whether
/// anything changed.
#[derive(Debug, Clone)]
pub(crate) struct TopicMetadata {
    pub(crate) name: Arc<str>,
    /// [`TopicId::ZERO`] if the brokers know no ids.
    pub(crate) id: TopicId,
    /// Whether it is one of Kafka's own, such as `__consumer_offsets`.
    pub(crate) internal: bool,
    /// By partition number; never gets shorter as long as the id stays.
    pub(crate) partitions: Vec<PartitionMetadata>,
    pub(super) used: Usage,
}

impl PartialEq for TopicMetadata {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
            && self.id == other.id
            && self.internal == other.internal
            && self.partitions == other.partitions
            && Arc::ptr_eq(&self.used.0, &other.used.0)
    }
}

impl TopicMetadata {
    /// Notes that the topic is in use, so that its metadata is kept fresh for another
    /// `metadata.max.idle.ms`.
    ///
    /// Cheap enough for every send: mostly a load.
    pub(crate) fn touch(&self) {
        self.used.note();
    }
}

/// A partition, its leader and replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartitionMetadata {
    /// `None` while no broker leads it, as far as is known.
    pub(crate) leader: Option<BrokerId>,
    /// The leader's epoch; -1 if it is not known.
    pub(crate) leader_epoch: i32,
    pub(crate) replicas: Vec<BrokerId>,
    pub(crate) isr: Vec<BrokerId>,
    /// What the broker said of this partition.
    pub(crate) error: ErrorCode,
    /// Since when it has no leader.
    pub(crate) leaderless_since: Option<Instant>,
    /// The highest epoch ever seen; older news is not believed.
    pub(super) newest_epoch: i32,
}

impl PartitionMetadata {
    /// A partition of which nothing is known but that it exists.
    pub(super) fn unknown(now: Instant) -> Self {
        Self {
            leader: None,
            leader_epoch: -1,
            replicas: Vec::new(),
            isr: Vec::new(),
            error: ErrorCode::LEADER_NOT_AVAILABLE,
            leaderless_since: Some(now),
            newest_epoch: -1,
        }
    }
}

/// Whether a topic has been used since somebody last looked; shared by all views of the topic.
#[derive(Debug, Clone, Default)]
pub(super) struct Usage(Arc<AtomicBool>);

impl Usage {
    pub(super) fn note(&self) {
        if !self.0.load(Ordering::Relaxed) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    pub(super) fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

impl ClusterSnapshot {
    /// Counts the snapshots of a client, from 0 for the empty one.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// The brokers, in order of id; none until a first answer has come.
    pub(crate) fn brokers(&self) -> impl ExactSizeIterator<Item = &Arc<BrokerNode>> {
        self.brokers.values()
    }

    pub(crate) fn broker(&self, id: BrokerId) -> Option<&Arc<BrokerNode>> {
        self.brokers.get(&id)
    }

    /// The topics that there is a view of.
    pub(crate) fn topics(&self) -> impl Iterator<Item = &Arc<TopicMetadata>> {
        self.topics.values().filter_map(|state| state.view.as_ref())
    }

    /// Whether there is a view of every topic that the cluster has, as far as it may be seen.
    pub(crate) fn has_all_topics(&self) -> bool {
        self.all
    }

    /// The last good view of a topic, whatever the brokers say of it now.
    pub(crate) fn topic(&self, name: &str) -> Option<&Arc<TopicMetadata>> {
        self.topics.get(name)?.view.as_ref()
    }

    /// Whether brokers have described a topic, or refused to, in a snapshot after `generation`.
    pub(crate) fn is_answered_since(&self, name: &str, generation: u64) -> bool {
        self.topics.get(name).is_some_and(|state| state.answered > generation)
    }

    /// What brokers say of a topic instead of describing it, and since when.
    pub(crate) fn trouble(&self, name: &str) -> Option<Trouble> {
        self.topics.get(name)?.trouble
    }
}

/// One line: what it is about, not all that it holds.
impl fmt::Display for ClusterSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { generation, brokers, topics, .. } = self;
        write!(f, "metadata {generation}: {} brokers, {} topics", brokers.len(), topics.len())
    }
}
