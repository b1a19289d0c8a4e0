//! The cluster's state: nodes, topics, who leads what, producer ids. Plain data and its rules, without I/O or clock.
//!
//! It does what Kafka's controller does, at once and in one place: there is no moment at which two nodes disagree. What
//! a node answers to a request is decided in the handlers.

mod groups;
mod transactions;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::events::{Event, Events};
use super::faults::Faults;
use super::fetch_session::FetchSessions;
use super::group::{GroupSettings, Groups};
use super::partition::Partition;
use super::topic_config::{TopicConfig, illegal_name};
use super::txn::{TransactionSettings, Transactions};
use crate::error::ErrorCode;
use crate::protocol::ApiKey;
use crate::types::{BrokerId, TopicId, TopicPartition};

pub(crate) use self::transactions::Origin;

/// The most partitions a topic may have: enough for any test, and a bound on what one request can allocate.
const MAX_PARTITIONS: usize = 100_000;

/// A request that the cluster refuses: Kafka's code and a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// A broker of the cluster, as clients are told of it.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) rack: Option<String>,
    pub(crate) running: bool,
}

/// A topic and its partitions.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) id: TopicId,
    pub(crate) partitions: Vec<Partition>,
    pub(crate) config: Arc<TopicConfig>,
}

/// What a topic that is created by itself is like, and whether it may be.
#[derive(Debug, Clone)]
pub(crate) struct Defaults {
    /// `num.partitions`
    pub(crate) partitions: usize,
    /// `default.replication.factor`
    pub(crate) replication_factor: usize,
    /// `auto.create.topics.enable`
    pub(crate) auto_create: bool,
    pub(crate) first_producer_epoch: i16,
    /// `max.incremental.fetch.session.cache.slots`
    pub(crate) fetch_session_slots: usize,
    /// Whether `replica.selector.class` is Kafka's `RackAwareReplicaSelector`.
    pub(crate) rack_aware: bool,
    pub(crate) topic: TopicConfig,
    pub(crate) groups: GroupSettings,
    pub(crate) transactions: TransactionSettings,
}

/// Where the partitions of a new topic go.
#[derive(Debug, Clone)]
pub(crate) enum Placement {
    /// So many partitions with so many replicas; `None` for the default.
    Spread { partitions: Option<usize>, replicas: Option<usize> },
    /// The replicas of each partition, by hand.
    Manual(Vec<Vec<BrokerId>>),
}

/// See the module's docs.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) cluster_id: String,
    pub(crate) defaults: Defaults,
    pub(crate) nodes: BTreeMap<BrokerId, Node>,
    pub(crate) events: Events,
    pub(crate) faults: Faults,
    pub(crate) transactions: Transactions,
    pub(crate) groups: Groups,
    /// Those of each node.
    pub(crate) fetch_sessions: BTreeMap<BrokerId, FetchSessions>,
    /// Requests received, by API.
    pub(crate) requests: HashMap<ApiKey, u64>,
    topics: BTreeMap<String, Topic>,
    names: HashMap<TopicId, String>,
    rng: fastrand::Rng,
}

impl State {
    /// A cluster of running nodes without topics; `seed` decides the ids it gives.
    pub(crate) fn new(nodes: BTreeMap<BrokerId, Node>, defaults: Defaults, seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let cluster_id = (0..22).map(|_| rng.alphanumeric()).collect();
        let mut events = Events::default();
        for (&node, _) in nodes.iter().filter(|(_, node)| node.running) {
            events.push(Event::NodeStarted { node });
        }
        let ids: Vec<BrokerId> = nodes.keys().copied().collect();
        let groups = Groups::new(&ids, defaults.groups.clone(), rng.fork());
        let settings = defaults.transactions.clone();
        let transactions = Transactions::new(&ids, settings, defaults.first_producer_epoch);
        let slots = defaults.fetch_session_slots;
        let sessions = |&node: &BrokerId| (node, FetchSessions::new(slots, rng.u64(..)));
        let fetch_sessions = nodes.keys().map(sessions).collect();
        Self {
            cluster_id,
            defaults,
            nodes,
            fetch_sessions,
            events,
            groups,
            faults: Faults::default(),
            transactions,
            requests: HashMap::new(),
            topics: BTreeMap::new(),
            names: HashMap::new(),
            rng,
        }
    }

    /// The nodes that run, in order of their ids.
    pub(crate) fn live(&self) -> impl Iterator<Item = (BrokerId, &Node)> {
        self.nodes.iter().filter(|(_, node)| node.running).map(|(&id, node)| (id, node))
    }

    fn is_live(&self, node: BrokerId) -> bool {
        self.nodes.get(&node).is_some_and(|node| node.running)
    }

    pub(crate) fn topics(&self) -> impl Iterator<Item = (&str, &Topic)> {
        self.topics.iter().map(|(name, topic)| (name.as_str(), topic))
    }

    pub(crate) fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.get(name)
    }

    /// The name of the topic with this id.
    pub(crate) fn name_of(&self, id: TopicId) -> Option<&str> {
        self.names.get(&id).map(String::as_str)
    }

    pub(crate) fn partition(&self, topic: &str, partition: i32) -> Option<&Partition> {
        self.topics.get(topic)?.partitions.get(usize::try_from(partition).ok()?)
    }

    pub(crate) fn partition_mut(&mut self, topic: &str, partition: i32) -> Option<&mut Partition> {
        self.topics.get_mut(topic)?.partitions.get_mut(usize::try_from(partition).ok()?)
    }

    pub(crate) fn partitions_mut(&mut self, topic: &str) -> Option<&mut [Partition]> {
        self.topics.get_mut(topic).map(|topic| topic.partitions.as_mut_slice())
    }

    /// Creates a topic, or with `validate_only` says whether it could be created.
    pub(crate) fn create_topic(
        &mut self,
        name: &str,
        placement: &Placement,
        config: TopicConfig,
        validate_only: bool,
    ) -> Result<TopicId, Refusal> {
        if let Some(why) = illegal_name(name) {
            let message = format!("Topic name is invalid: {why}");
            return Err(Refusal::new(ErrorCode::INVALID_TOPIC_EXCEPTION, message));
        }
        if self.topics.contains_key(name) {
            let message = format!("Topic '{name}' already exists.");
            return Err(Refusal::new(ErrorCode::TOPIC_ALREADY_EXISTS, message));
        }
        // Kafka's metric names turn dots into underscores, so two such names would share their metrics.
        let unified = name.replace('.', "_");
        if let Some(other) = self.topics.keys().find(|other| other.replace('.', "_") == unified) {
            let message = format!("Topic '{name}' collides with existing topic: {other}");
            return Err(Refusal::new(ErrorCode::INVALID_TOPIC_EXCEPTION, message));
        }
        let partitions = match placement {
            Placement::Manual(assignment) => self.place_by_hand(assignment)?,
            Placement::Spread { partitions, replicas } => self.spread(
                0,
                partitions.unwrap_or(self.defaults.partitions),
                replicas.unwrap_or(self.defaults.replication_factor),
            )?,
        };
        let id = self.new_topic_id();
        if !validate_only {
            self.events.push(Event::TopicCreated { topic: name.to_owned(), id });
            self.names.insert(id, name.to_owned());
            let topic = Topic { id, partitions, config: Arc::new(config) };
            self.topics.insert(name.to_owned(), topic);
        }
        Ok(id)
    }

    fn new_topic_id(&mut self) -> TopicId {
        loop {
            let mut bytes = self.rng.u128(..).to_be_bytes();
            // A random UUID: version 4, RFC variant.
            bytes[6] = bytes[6] & 0x0F | 0x40;
            bytes[8] = bytes[8] & 0x3F | 0x80;
            let id = TopicId(bytes);
            if !self.names.contains_key(&id) {
                return id;
            }
        }
    }

    /// Replicas over the running nodes in turn; the leader of partition 0 is the first node.
    fn spread(
        &self,
        first: usize,
        partitions: usize,
        replicas: usize,
    ) -> Result<Vec<Partition>, Refusal> {
        if partitions == 0 || first + partitions > MAX_PARTITIONS {
            let message = format!("Number of partitions must be 1 to {MAX_PARTITIONS}.");
            return Err(Refusal::new(ErrorCode::INVALID_PARTITIONS, message));
        }
        let live: Vec<BrokerId> = self.live().map(|(id, _)| id).collect();
        if replicas == 0 || replicas > live.len() {
            let message = format!(
                "Unable to replicate the partition {replicas} time(s): The target replication factor of \
                 {replicas} cannot be reached because only {} broker(s) are registered.",
                live.len()
            );
            return Err(Refusal::new(ErrorCode::INVALID_REPLICATION_FACTOR, message));
        }
        let place = |partition: usize| {
            let nodes = live.iter().cycle().skip(partition % live.len()).take(replicas);
            let nodes: Vec<BrokerId> = nodes.copied().collect();
            Partition::new(nodes.clone(), nodes)
        };
        Ok((first..first + partitions).map(place).collect())
    }

    fn place_by_hand(&self, assignment: &[Vec<BrokerId>]) -> Result<Vec<Partition>, Refusal> {
        let refuse = |message: &str| Refusal::new(ErrorCode::INVALID_REPLICA_ASSIGNMENT, message);
        if assignment.len() > MAX_PARTITIONS {
            return Err(refuse("Too many partitions."));
        }
        let factor = assignment.first().map_or(0, Vec::len);
        let place = |replicas: &Vec<BrokerId>| {
            let known = |node: &BrokerId| self.nodes.contains_key(node);
            let twice = |(i, node): (usize, &BrokerId)| replicas.iter().take(i).any(|n| n == node);
            if replicas.is_empty() || replicas.len() != factor {
                return Err(refuse(
                    "All partitions must have the same number of replicas, at least one.",
                ));
            }
            if !replicas.iter().all(known) || replicas.iter().enumerate().any(twice) {
                return Err(refuse("Replicas must be different brokers of this cluster."));
            }
            let live: Vec<BrokerId> =
                replicas.iter().copied().filter(|&n| self.is_live(n)).collect();
            if live.is_empty() {
                return Err(refuse("All brokers specified in the manual assignment are fenced."));
            }
            Ok(Partition::new(replicas.clone(), live))
        };
        assignment.iter().map(place).collect()
    }

    /// Adds partitions until there are `count`, where `assignment` says if it is given.
    pub(crate) fn create_partitions(
        &mut self,
        name: &str,
        count: i32,
        assignment: Option<&[Vec<BrokerId>]>,
        validate_only: bool,
    ) -> Result<(), Refusal> {
        let Some(topic) = self.topics.get(name) else {
            let message = "This server does not host this topic-partition.";
            return Err(Refusal::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, message));
        };
        let have = topic.partitions.len();
        let additional = match usize::try_from(count).ok().and_then(|count| count.checked_sub(have))
        {
            Some(additional) if additional > 0 => additional,
            _ => {
                let message = format!(
                    "The topic {name} currently has {have} partition(s); {count} would not be an increase."
                );
                return Err(Refusal::new(ErrorCode::INVALID_PARTITIONS, message));
            }
        };
        let factor = topic.partitions.first().map_or(1, |partition| partition.replicas.len());
        let mut added = match assignment {
            None => self.spread(have, additional, factor)?,
            Some(assignment) => {
                let fits = assignment.len() == additional
                    && assignment.iter().all(|replicas| replicas.len() == factor);
                if !fits {
                    let message = format!(
                        "Attempted to add {additional} partition(s) of {factor} replica(s), but the \
                         assignments are of another number."
                    );
                    return Err(Refusal::new(ErrorCode::INVALID_REPLICA_ASSIGNMENT, message));
                }
                self.place_by_hand(assignment)?
            }
        };
        if let Some(topic) = self.topics.get_mut(name).filter(|_| !validate_only) {
            topic.partitions.append(&mut added);
        }
        Ok(())
    }

    /// Deletes a topic and gives the id it had.
    pub(crate) fn delete_topic(&mut self, name: &str) -> Option<TopicId> {
        let topic = self.topics.remove(name)?;
        self.names.remove(&topic.id);
        self.groups.topic_deleted(name);
        self.events.push(Event::TopicDeleted { topic: name.to_owned(), id: topic.id });
        Some(topic.id)
    }

    /// Takes a node out of the cluster: its partitions are led by others from now on. Gives whether it ran.
    pub(crate) fn node_stopped(&mut self, id: BrokerId) -> bool {
        match self.nodes.get_mut(&id) {
            Some(node) if node.running => node.running = false,
            _ => return false,
        }
        self.events.push(Event::NodeStopped { node: id });
        if let Some(sessions) = self.fetch_sessions.get_mut(&id) {
            sessions.clear();
        }
        self.change_leaders(|partition| partition.node_stopped(id));
        let running: BTreeSet<BrokerId> = self.live().map(|(id, _)| id).collect();
        self.groups.node_stopped(id, &running);
        self.transactions.placement.node_stopped(id, &running);
        true
    }

    /// Takes a node back into the cluster. Gives whether it had been stopped.
    pub(crate) fn node_started(&mut self, id: BrokerId) -> bool {
        match self.nodes.get_mut(&id) {
            Some(node) if !node.running => node.running = true,
            _ => return false,
        }
        self.events.push(Event::NodeStarted { node: id });
        let live = self.live().map(|(id, _)| id).collect();
        self.change_leaders(|partition| partition.node_started(id, &live));
        self.groups.node_started(id);
        self.transactions.placement.node_started(id);
        true
    }

    fn change_leaders(&mut self, mut change: impl FnMut(&mut Partition) -> bool) {
        for (name, topic) in &mut self.topics {
            for (index, partition) in (0..).zip(&mut topic.partitions) {
                if change(partition) {
                    self.events.push(Event::LeaderChanged {
                        partition: TopicPartition::new(name, index),
                        leader: partition.leader,
                        epoch: partition.leader_epoch,
                    });
                }
            }
        }
    }

    /// An unclean election; see [`Partition::elect_uncleanly`]. Gives where the log ends now.
    pub(crate) fn elect_uncleanly(&mut self, of: &TopicPartition, offset: i64) -> Option<i64> {
        let partition = self.partition_mut(&of.topic, of.partition)?;
        let end_offset = partition.elect_uncleanly(offset);
        let (leader, epoch) = (partition.leader, partition.leader_epoch);
        self.events.push(Event::Truncated { partition: of.clone(), end_offset });
        if leader.is_some() {
            self.events.push(Event::LeaderChanged { partition: of.clone(), leader, epoch });
        }
        Some(end_offset)
    }

    /// Makes a node in the ISR the leader. A node that is no replica yet becomes one in place of the old leader, as
    /// a reassignment does.
    pub(crate) fn move_leader(
        &mut self,
        to: &TopicPartition,
        node: BrokerId,
    ) -> Result<(), Refusal> {
        if !self.is_live(node) {
            let message = format!("Node {node} does not run.");
            return Err(Refusal::new(ErrorCode::BROKER_NOT_AVAILABLE, message));
        }
        let Some(partition) = self.partition_mut(&to.topic, to.partition) else {
            let message = format!("There is no partition {to}.");
            return Err(Refusal::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, message));
        };
        if !partition.replicas.contains(&node) {
            let old = partition.leader;
            let replace = |replica: &mut BrokerId| {
                if Some(*replica) == old {
                    *replica = node;
                }
            };
            partition.replicas.iter_mut().for_each(replace);
            partition.isr.iter_mut().for_each(replace);
        }
        if !partition.isr.contains(&node) {
            let message = format!("Node {node} is not in the ISR of {to}.");
            return Err(Refusal::new(ErrorCode::ELIGIBLE_LEADERS_NOT_AVAILABLE, message));
        }
        partition.lead(Some(node));
        let epoch = partition.leader_epoch;
        let partition = to.clone();
        self.events.push(Event::LeaderChanged { partition, leader: Some(node), epoch });
        Ok(())
    }
}

#[cfg(test)]
#[path = "state/tests.rs"]
mod tests;
