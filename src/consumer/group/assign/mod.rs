//! Assignors: how the partitions of a group's topics are dealt out to its members.
//!
//! In a classic group one member, the leader, is told what every member subscribes to and gives each
//! its share. The rule it goes by is an [`Assignor`] that all members know; the coordinator picks one
//! by its name. Groups of the new protocol (KIP-848) are assigned by the broker and need none.
//!
//! | Kafka's name | type | it is |
//! |---|---|---|
//! | `range` | [`RangeAssignor`] | by topic; the same keys of several topics to the same member |
//! | `roundrobin` | [`RoundRobinAssignor`] | even over all topics |
//! | `sticky` | [`StickyAssignor`] | even, and moves as little as it can |
//! | `cooperative-sticky` | [`CooperativeStickyAssignor`] | that, while members go on reading |
//!
//! An assignor knows topics and members, not how members join or what becomes of the assignment.

mod cooperative_sticky;
mod order;
mod racks;
mod range;
mod round_robin;
mod sticky;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use bytes::Bytes;

use crate::protocol::consumer_protocol::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, by_topic, one_by_one,
};
use crate::types::{ConsumerGroupMetadata, TopicPartition};

pub use cooperative_sticky::CooperativeStickyAssignor;
pub use range::RangeAssignor;
pub use round_robin::RoundRobinAssignor;
pub use sticky::StickyAssignor;

/// Deals out partitions to the members of a group (Kafka's `ConsumerPartitionAssignor`).
///
/// All members of a group need to have an assignor of the same name, and each may be the one whose
/// [`Assignor::assign`] is called: for the same input it has to return the same. The methods are
/// called from the consumer's own task, so they should take milliseconds, not wait for anything, not
/// panic, and not call the consumer or a handle of it, which would wait for itself.
///
/// ```
/// use std::collections::BTreeMap;
/// use milena::TopicPartition;
/// use milena::assignor::{Assignment, Assignor, ClusterTopics, MemberSubscription};
///
/// /// Everything to the first member; the others stand by.
/// #[derive(Debug)]
/// struct Standby;
///
/// impl Assignor for Standby {
///     fn name(&self) -> &str {
///         "standby"
///     }
///
///     fn assign(
///         &self,
///         cluster: &ClusterTopics,
///         subscriptions: &BTreeMap<String, MemberSubscription>,
///     ) -> BTreeMap<String, Assignment> {
///         let mut assignments = BTreeMap::new();
///         let mut taken = Vec::new();
///         for (member, subscription) in subscriptions {
///             let topics = subscription.topics.iter().filter(|topic| !taken.contains(topic));
///             let partitions = topics.clone().flat_map(|topic| cluster.partitions(topic));
///             assignments.insert(member.clone(), Assignment::new(partitions.collect()));
///             taken.extend(topics.collect::<Vec<_>>());
///         }
///         assignments
///     }
/// }
///
/// let cluster = ClusterTopics::from_counts([("orders", 2)]);
/// let members = ["a", "b"].map(|id| (id.to_owned(), MemberSubscription::new(["orders"])));
/// let assignments = Standby.assign(&cluster, &BTreeMap::from(members));
/// assert_eq!(assignments["a"].partitions[1], TopicPartition::new("orders", 1));
/// assert!(assignments["b"].partitions.is_empty());
/// ```
pub trait Assignor: Debug + Send + Sync + 'static {
    /// What it is called in the group, as in `range`. No other assignor of the consumer may be called
    /// the same.
    fn name(&self) -> &str;

    /// The rebalance protocols that it can work with, the preferred one first. By default only
    /// [`RebalanceProtocol::Eager`]; without that, members that do not know another are left out.
    ///
    /// The consumer takes the highest that all its assignors have.
    fn supported_protocols(&self) -> &[RebalanceProtocol] {
        &[RebalanceProtocol::Eager]
    }

    /// What this member tells the leader besides its subscription to `topics`, to be found in
    /// [`MemberSubscription::user_data`]. By default nothing.
    ///
    /// Called each time that the member joins.
    fn subscription_user_data(&self, topics: &BTreeSet<String>) -> Option<Bytes> {
        let _ = topics;
        None
    }

    /// Gives each member its partitions. Called on the leader only.
    ///
    /// `cluster` has the topics that members subscribe to, except those that are not known to exist.
    /// `subscriptions` are by member id. In the answer each of those members should have an entry, and
    /// each partition at most one member. Partitions in no entry are not read by anybody.
    ///
    /// With [`RebalanceProtocol::Cooperative`] a partition that a member owns must not be given to
    /// another at once: it is left out, so that its owner gives it up, and is dealt out in the
    /// rebalance that follows.
    fn assign(
        &self,
        cluster: &ClusterTopics,
        subscriptions: &BTreeMap<String, MemberSubscription>,
    ) -> BTreeMap<String, Assignment>;

    /// Tells the member's assignor what it was assigned, and in which generation. By default nothing
    /// is made of that.
    fn on_assignment(&self, assignment: &Assignment, metadata: &ConsumerGroupMetadata) {
        let _ = (assignment, metadata);
    }
}

/// How partitions change hands in a classic group (KIP-429).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RebalanceProtocol {
    /// Members give up everything before they join, and get their share anew.
    Eager,
    /// Members keep what they own while they join, and give up only what they are not assigned any
    /// more; a second rebalance deals that out.
    Cooperative,
}

/// What a member tells the leader of its group (Kafka's `Subscription`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct MemberSubscription {
    /// The topics that it wants to read, whether they exist or not.
    pub topics: BTreeSet<String>,
    /// What its assignor adds ([`Assignor::subscription_user_data`]). Brokers do not look at it, so it
    /// may be anything.
    pub user_data: Option<Bytes>,
    /// The partitions that it owns while it joins: none with [`RebalanceProtocol::Eager`], nor from
    /// members before Kafka 2.4.
    pub owned_partitions: Vec<TopicPartition>,
    /// The generation in which it was assigned those; `None` from a member that was in none, and from
    /// members too old to say (KIP-792).
    pub generation_id: Option<i32>,
    /// Where it runs (`client.rack`), if it says so. Never empty.
    pub rack_id: Option<String>,
    /// The name that a static member keeps over restarts (`group.instance.id`, KIP-345).
    pub group_instance_id: Option<String>,
}

impl MemberSubscription {
    /// A subscription to topics, without anything else.
    pub fn new(topics: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { topics: topics.into_iter().map(Into::into).collect(), ..Self::default() }
    }
}

/// The bytes have no `group.instance.id`: the coordinator tells it beside them.
impl From<ConsumerProtocolSubscription> for MemberSubscription {
    fn from(wire: ConsumerProtocolSubscription) -> Self {
        Self {
            owned_partitions: one_by_one(&wire.owned_partitions),
            topics: wire.topics.into_iter().collect(),
            user_data: wire.user_data,
            generation_id: (wire.generation_id >= 0).then_some(wire.generation_id),
            rack_id: wire.rack_id.filter(|rack| !rack.is_empty()),
            group_instance_id: None,
        }
    }
}

impl From<&MemberSubscription> for ConsumerProtocolSubscription {
    fn from(subscription: &MemberSubscription) -> Self {
        let owned: BTreeSet<_> = subscription.owned_partitions.iter().collect();
        Self {
            topics: subscription.topics.iter().cloned().collect(),
            user_data: subscription.user_data.clone(),
            owned_partitions: by_topic(owned),
            generation_id: subscription.generation_id.unwrap_or(-1),
            rack_id: subscription.rack_id.clone(),
        }
    }
}

/// A member's share (Kafka's `Assignment`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Assignment {
    /// What it is to read.
    pub partitions: Vec<TopicPartition>,
    /// What the leader's assignor adds for the member's.
    pub user_data: Option<Bytes>,
}

impl Assignment {
    /// A share without anything added.
    pub fn new(partitions: Vec<TopicPartition>) -> Self {
        Self { partitions, user_data: None }
    }

    /// The same partitions, with bytes for the member's assignor.
    #[must_use]
    pub fn with_user_data(self, user_data: Bytes) -> Self {
        Self { user_data: Some(user_data), ..self }
    }
}

impl From<ConsumerProtocolAssignment> for Assignment {
    fn from(wire: ConsumerProtocolAssignment) -> Self {
        let partitions = one_by_one(&wire.assigned_partitions);
        Self { partitions, user_data: wire.user_data }
    }
}

impl From<&Assignment> for ConsumerProtocolAssignment {
    fn from(assignment: &Assignment) -> Self {
        Self {
            assigned_partitions: by_topic(&assignment.partitions),
            user_data: assignment.user_data.clone(),
        }
    }
}

/// What an assignor is told of the cluster: the topics, how many partitions each has, and where
/// their replicas are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClusterTopics {
    /// The racks of each partition.
    topics: BTreeMap<String, Vec<BTreeSet<String>>>,
}

impl ClusterTopics {
    /// No topics.
    pub fn new() -> Self {
        Self::default()
    }

    /// Topics and how many partitions each has, in racks unknown.
    pub fn from_counts(topics: impl IntoIterator<Item = (impl Into<String>, usize)>) -> Self {
        let mut cluster = Self::new();
        for (topic, partitions) in topics {
            cluster.insert(topic, vec![BTreeSet::new(); partitions]);
        }
        cluster
    }

    /// Adds a topic, or replaces it. Each element is a partition, in order of number: the racks that
    /// have a replica of it, none if that is not known. Without elements it is as if the topic did not
    /// exist.
    pub fn insert(&mut self, topic: impl Into<String>, racks: Vec<BTreeSet<String>>) {
        self.topics.insert(topic.into(), racks);
    }

    /// The topics that have partitions, in order of name, and how many.
    pub fn topics(&self) -> impl Iterator<Item = (&str, usize)> {
        let counts = self.topics.iter().map(|(topic, racks)| (topic.as_str(), racks.len()));
        counts.filter(|(_, partitions)| *partitions > 0)
    }

    /// How many partitions a topic has; 0 if it is not known.
    pub fn partition_count(&self, topic: &str) -> usize {
        self.topics.get(topic).map_or(0, Vec::len)
    }

    /// The partitions of a topic, in order of number.
    pub fn partitions(&self, topic: &str) -> impl Iterator<Item = TopicPartition> + use<> {
        let topic = topic.to_owned();
        // Brokers number partitions by 32 bits.
        let count = i32::try_from(self.partition_count(&topic)).unwrap_or(i32::MAX);
        (0..count).map(move |partition| TopicPartition::new(topic.clone(), partition))
    }

    /// The racks that have a replica of each partition of a topic, in order of number.
    pub fn racks(&self, topic: &str) -> &[BTreeSet<String>] {
        self.topics.get(topic).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests;
