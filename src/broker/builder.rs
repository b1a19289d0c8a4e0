//! From settings to a running cluster.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::cluster::{Cluster, Transport};
use super::error::ClusterError;
use super::group::GroupSettings;
use super::listener;
use super::shared::{Clock, Shared};
use super::state::{Defaults, Node, State};
use super::topic_config::TopicConfig;
use super::txn::TransactionSettings;
use crate::types::BrokerId;

/// `socket.request.max.bytes`
const MAX_REQUEST_BYTES: usize = 100 * 1024 * 1024;
/// `max.incremental.fetch.session.cache.slots`
const FETCH_SESSION_SLOTS: usize = 1000;
/// The port that nodes without TCP claim to have.
const IN_MEMORY_PORT: u16 = 9092;

/// Settings of a [`Cluster`], made by [`Cluster::builder`].
#[derive(Debug, Clone)]
#[must_use = "a cluster runs when `start` is awaited"]
pub struct ClusterBuilder {
    nodes: usize,
    ports: Vec<u16>,
    in_memory: bool,
    advertised: BTreeMap<BrokerId, (String, u16)>,
    racks: BTreeMap<BrokerId, String>,
    partitions: usize,
    replication_factor: Option<usize>,
    auto_create_topics: bool,
    first_producer_epoch: i16,
    groups: GroupSettings,
    transactions: TransactionSettings,
    fetch_session_slots: usize,
    rack_aware: bool,
    topic_configs: Vec<(String, String)>,
    max_request_bytes: usize,
    validate_records: bool,
    seed: Option<u64>,
    start_time_ms: Option<i64>,
}

impl Default for ClusterBuilder {
    fn default() -> Self {
        Self {
            nodes: 1,
            ports: Vec::new(),
            in_memory: false,
            advertised: BTreeMap::new(),
            racks: BTreeMap::new(),
            partitions: 1,
            replication_factor: None,
            auto_create_topics: true,
            first_producer_epoch: 0,
            groups: GroupSettings::default(),
            transactions: TransactionSettings::default(),
            fetch_session_slots: FETCH_SESSION_SLOTS,
            rack_aware: false,
            topic_configs: Vec::new(),
            max_request_bytes: MAX_REQUEST_BYTES,
            validate_records: true,
            seed: None,
            start_time_ms: None,
        }
    }
}

impl ClusterBuilder {
    /// How many nodes; their ids are 1, 2, … Default: 1.
    pub fn nodes(self, nodes: usize) -> Self {
        Self { nodes, ..self }
    }

    /// The TCP ports of nodes 1, 2, … on 127.0.0.1; 0, or a port left out, lets the system choose. Default: none.
    pub fn ports(self, ports: impl IntoIterator<Item = u16>) -> Self {
        Self { ports: ports.into_iter().collect(), ..self }
    }

    /// Without TCP: connections come by [`Cluster::connect`] or [`Cluster::serve`], and nodes are advertised as
    /// `broker-1.milena.internal:9092` and so on.
    pub fn in_memory(self) -> Self {
        Self { in_memory: true, ..self }
    }

    /// The host and port that clients are told for a node, in place of where it listens.
    pub fn advertise(mut self, node: BrokerId, host: impl Into<String>, port: u16) -> Self {
        self.advertised.insert(node, (host.into(), port));
        self
    }

    /// The rack of a node (`broker.rack`). Default: none.
    pub fn rack(mut self, node: BrokerId, rack: impl Into<String>) -> Self {
        self.racks.insert(node, rack.into());
        self
    }

    /// Partitions of topics that do not say how many (`num.partitions`). Default: 1.
    pub fn default_partitions(self, partitions: usize) -> Self {
        Self { partitions, ..self }
    }

    /// Replicas of topics that do not say how many (`default.replication.factor`). Default: as many as nodes, but at
    /// most 3.
    pub fn default_replication_factor(self, replicas: usize) -> Self {
        Self { replication_factor: Some(replicas), ..self }
    }

    /// Whether a topic comes into being when a client asks for it (`auto.create.topics.enable`). Default: true.
    pub fn auto_create_topics(self, on: bool) -> Self {
        Self { auto_create_topics: on, ..self }
    }

    /// The epoch with which each producer id is given to an idempotent producer. Default: 0, as in Kafka. From a high one
    /// a producer comes past the last epoch, 32767, before long, and must ask for another id.
    pub fn first_producer_epoch(self, epoch: i16) -> Self {
        Self { first_producer_epoch: epoch, ..self }
    }

    /// How long the first rebalance of an empty group waits for more members
    /// (`group.initial.rebalance.delay.ms`). Default: 0, where Kafka has 3 s, since a test rather has its records at
    /// once; members that come one after the other then rebalance each time.
    pub fn group_initial_rebalance_delay(mut self, delay: Duration) -> Self {
        self.groups.initial_rebalance_delay = delay;
        self
    }

    /// The shortest and the longest `session.timeout.ms` that a member may have (`group.min.session.timeout.ms`,
    /// `group.max.session.timeout.ms`). Default: 6 s and 30 min.
    pub fn group_session_timeouts(mut self, shortest: Duration, longest: Duration) -> Self {
        self.groups.min_session_timeout = shortest;
        self.groups.max_session_timeout = longest;
        self
    }

    /// How long a member of the new protocol may be silent (`group.consumer.session.timeout.ms`). Default: 45 s.
    pub fn group_consumer_session_timeout(mut self, timeout: Duration) -> Self {
        self.groups.consumer_session_timeout = timeout;
        self
    }

    /// How often a member of the new protocol is told to be heard of (`group.consumer.heartbeat.interval.ms`).
    /// Default: 5 s.
    pub fn group_consumer_heartbeat_interval(mut self, interval: Duration) -> Self {
        self.groups.consumer_heartbeat_interval = interval;
        self
    }

    /// The most members of a group (`group.max.size`, `group.consumer.max.size`). Default: any number.
    pub fn group_max_size(mut self, members: usize) -> Self {
        self.groups.max_size = members;
        self
    }

    /// The level of the feature `transaction.version`, 0 to 2. Default: 2, as with Kafka since 4.0. With 2, clients that know
    /// it get a new epoch with each transaction, and batches make their partitions part of it (KIP-890); below that,
    /// partitions have to be added first.
    pub fn transaction_version(mut self, level: i16) -> Self {
        self.transactions.version = level;
        self
    }

    /// The longest time-out that transactions may have (`transaction.max.timeout.ms`). Default: 15 minutes.
    pub fn transaction_max_timeout(mut self, longest: Duration) -> Self {
        self.transactions.max_timeout_ms = ms(longest);
        self
    }

    /// How long after the end of a transaction its markers are written. Until then its producer is answered with
    /// `CONCURRENT_TRANSACTIONS`, as happens with Kafka for some milliseconds. Default: none, so that it only happens
    /// while a partition of the transaction has no leader or too few replicas in sync.
    pub fn transaction_marker_delay(mut self, delay: Duration) -> Self {
        self.transactions.marker_delay_ms = ms(delay);
        self
    }

    /// How many incremental fetch sessions a node keeps (`max.incremental.fetch.session.cache.slots`). Default: 1000. With
    /// 0, clients must name all of their partitions in each fetch.
    pub fn fetch_session_slots(self, slots: usize) -> Self {
        Self { fetch_session_slots: slots, ..self }
    }

    /// Whether leaders send consumers that tell their rack (`client.rack`) to a replica in it, as with Kafka's
    /// `RackAwareReplicaSelector` as `replica.selector.class` (KIP-392). Default: false. Nodes get racks by
    /// [`ClusterBuilder::rack`].
    pub fn rack_aware_fetching(self, on: bool) -> Self {
        Self { rack_aware: on, ..self }
    }

    /// A setting of all topics that do not have their own, by Kafka's name for it in a topic's configuration, such as
    /// `min.insync.replicas`.
    pub fn topic_config(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.topic_configs.push((name.into(), value.into()));
        self
    }

    /// The largest request, in bytes (`socket.request.max.bytes`). Default: 100 MiB. A larger one closes its
    /// connection.
    pub fn max_request_bytes(self, bytes: usize) -> Self {
        Self { max_request_bytes: bytes, ..self }
    }

    /// Whether each record of a batch is looked at when it is produced, as Kafka does, decompressing if need be.
    /// Default: true. Without it only the batch's header and CRC are checked, which is what a benchmark of a client
    /// wants.
    pub fn validate_records(self, on: bool) -> Self {
        Self { validate_records: on, ..self }
    }

    /// Makes the cluster's id and topic ids depend on this number alone. Default: random.
    pub fn seed(self, seed: u64) -> Self {
        Self { seed: Some(seed), ..self }
    }

    /// What the cluster's clock shows at its start, in milliseconds since the epoch. Default: the system's time. From
    /// there it goes with tokio's, paused or not.
    pub fn start_time_ms(self, ms: i64) -> Self {
        Self { start_time_ms: Some(ms), ..self }
    }

    /// Starts the cluster on the current tokio runtime.
    ///
    /// # Errors
    /// [`ClusterError::InvalidConfig`] if a setting makes no sense, [`ClusterError::Bind`] if a port cannot be had.
    pub async fn start(self) -> Result<Cluster, ClusterError> {
        let defaults = self.defaults()?;
        let mut nodes = BTreeMap::new();
        let mut listeners = BTreeMap::new();
        for (index, id) in (1..).map(BrokerId).take(self.nodes).enumerate() {
            let bound = if self.in_memory {
                (format!("broker-{id}.milena.internal"), IN_MEMORY_PORT)
            } else {
                let wanted = self.ports.get(index).copied().unwrap_or(0);
                let bind = |source| ClusterError::Bind { node: id, port: wanted, source };
                let listener = listener::bind(wanted).await.map_err(bind)?;
                let address = listener.local_addr().map_err(bind)?;
                listeners.insert(id, listener);
                (address.ip().to_string(), address.port())
            };
            let (host, port) = self.advertised.get(&id).cloned().unwrap_or(bound);
            let rack = self.racks.get(&id).cloned();
            nodes.insert(id, Node { host, port, rack, running: true });
        }
        let transport =
            if self.in_memory { Transport::InMemory } else { Transport::Tcp(listeners) };
        let state = State::new(nodes, defaults, self.seed.unwrap_or_else(|| fastrand::u64(..)));
        let clock = Clock::starting_at(self.start_time_ms.unwrap_or_else(system_time_ms));
        let shared = Shared::new(state, clock, self.max_request_bytes, self.validate_records);
        Ok(Cluster::run(shared, transport))
    }

    fn defaults(&self) -> Result<Defaults, ClusterError> {
        let invalid = |message: String| Err(ClusterError::InvalidConfig { message });
        if self.nodes == 0 || self.nodes > 1000 {
            return invalid(format!("a cluster has 1 to 1000 nodes, not {}", self.nodes));
        }
        if self.partitions == 0 {
            return invalid("a topic has at least one partition".to_owned());
        }
        let replication_factor = self.replication_factor.unwrap_or(self.nodes.min(3));
        if !(1..=self.nodes).contains(&replication_factor) {
            return invalid(format!(
                "{replication_factor} replicas do not fit on {} nodes",
                self.nodes
            ));
        }
        if self.groups.min_session_timeout > self.groups.max_session_timeout {
            return invalid("the shortest session time-out is above the longest".to_owned());
        }
        if self.first_producer_epoch < 0 {
            return invalid("a producer epoch is not negative".to_owned());
        }
        if !(0..=2).contains(&self.transactions.version) {
            let version = self.transactions.version;
            return invalid(format!("transaction.version is 0 to 2, not {version}"));
        }
        let mut topic = TopicConfig::default();
        for (name, value) in &self.topic_configs {
            if let Err(message) = topic.set(name, value) {
                return invalid(message);
            }
        }
        Ok(Defaults {
            partitions: self.partitions,
            replication_factor,
            auto_create: self.auto_create_topics,
            first_producer_epoch: self.first_producer_epoch,
            fetch_session_slots: self.fetch_session_slots,
            rack_aware: self.rack_aware,
            topic,
            groups: self.groups.clone(),
            transactions: self.transactions.clone(),
        })
    }
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn system_time_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}
