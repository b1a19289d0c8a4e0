//! The cluster in a test's hand: its commands, and what holds its tasks.

mod group_commands;
mod log_commands;
mod transaction_commands;
mod writer;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use self::writer::{NewRecord, Writer};
use super::builder::ClusterBuilder;
use super::error::ClusterError;
use super::events::Event;
use super::faults::Fault;
use super::inspect::{self, StoredBatch, StoredRecord};
use super::shared::Shared;
use super::state::{Placement, State};
use super::topic_spec::TopicSpec;
use super::{connection, listener};
use crate::counter::Counter;
use crate::error::ErrorCode;
use crate::protocol::ApiKey;
use crate::types::{BrokerId, TopicId, TopicPartition};

/// What an in-memory connection holds in each direction before its writer waits: about a socket's buffers.
const STREAM_BUFFER: usize = 256 * 1024;

/// An in-memory Kafka cluster; see the [module](super).
///
/// A handle is cheap to clone. When the last one is dropped, the nodes stop and their connections close.
#[derive(Debug, Clone)]
pub struct Cluster {
    handle: Arc<Handle>,
}

/// How clients reach the nodes.
#[derive(Debug)]
pub(crate) enum Transport {
    InMemory,
    /// The nodes' listeners, bound.
    Tcp(BTreeMap<BrokerId, TcpListener>),
}

#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    in_memory: bool,
    nodes: BTreeMap<BrokerId, NodeRun>,
}

/// What runs for a node.
#[derive(Debug)]
struct NodeRun {
    /// The TCP port it listens on, the same after a restart.
    port: u16,
    /// Rises when the node stops and when the last handle is dropped; either ends its connections. A number rather
    /// than a flag: a connection that does not get to run between a stop and a restart must end too.
    stops: Arc<Counter>,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        for node in self.nodes.values() {
            node.stops.raise();
            if let Some(task) = node.accepting.lock().take() {
                task.abort();
            }
        }
    }
}

impl Cluster {
    /// Settings of a cluster to be started.
    pub fn builder() -> ClusterBuilder {
        ClusterBuilder::default()
    }

    pub(crate) fn run(shared: Shared, transport: Transport) -> Self {
        let shared = Arc::new(shared);
        let (in_memory, mut listeners) = match transport {
            Transport::InMemory => (true, BTreeMap::new()),
            Transport::Tcp(listeners) => (false, listeners),
        };
        let ids: Vec<BrokerId> = shared.with(|state| state.nodes.keys().copied().collect());
        let run = |id: BrokerId| {
            let listener = listeners.remove(&id);
            let address = listener.as_ref().and_then(|listener| listener.local_addr().ok());
            let node = NodeRun {
                port: address.map_or(0, |address| address.port()),
                stops: Arc::default(),
                accepting: Mutex::new(listener.map(|listener| accept(&shared, id, listener))),
            };
            (id, node)
        };
        let nodes = ids.into_iter().map(run).collect();
        Self { handle: Arc::new(Handle { shared, in_memory, nodes }) }
    }

    fn state<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        self.handle.shared.with(f)
    }

    fn node(&self, id: BrokerId) -> Result<&NodeRun, ClusterError> {
        self.handle.nodes.get(&id).ok_or(ClusterError::UnknownNode(id))
    }

    /// `host:port` of each node, separated by commas (`bootstrap.servers`).
    pub fn bootstrap_servers(&self) -> String {
        let servers = |state: &mut State| {
            state.nodes.values().map(|n| format!("{}:{}", n.host, n.port)).collect::<Vec<_>>()
        };
        self.state(servers).join(",")
    }

    /// The ids of all nodes, stopped ones too.
    pub fn nodes(&self) -> Vec<BrokerId> {
        self.handle.nodes.keys().copied().collect()
    }

    // ---- connections ------------------------------------------------------------------------------------------------

    /// Opens an in-memory connection to the node that is advertised at `host` and `port`.
    ///
    /// It is served by a task on the current tokio runtime.
    ///
    /// # Errors
    /// `NotFound` if there is no such node, `ConnectionRefused` if it is stopped.
    pub fn connect(&self, host: &str, port: u16) -> io::Result<DuplexStream> {
        let found = self.state(|state| {
            let here = state.nodes.iter().find(|(_, node)| node.host == host && node.port == port);
            here.map(|(&id, node)| (id, node.running))
        });
        match found {
            None => {
                Err(io::Error::new(io::ErrorKind::NotFound, format!("no node at {host}:{port}")))
            }
            Some((_, false)) => Err(io::ErrorKind::ConnectionRefused.into()),
            Some((id, true)) => {
                let (client, server) = tokio::io::duplex(STREAM_BUFFER);
                tokio::spawn(self.serve(id, server));
                Ok(client)
            }
        }
    }

    /// Serves a connection to a node over any stream, such as one that was accepted on a simulated network.
    ///
    /// The future ends when the stream does, when the node stops, or when the last handle of the cluster is dropped; it
    /// does not keep the cluster alive. At a node that is stopped or not there, it ends at once.
    pub fn serve<S>(&self, node: BrokerId, stream: S) -> impl Future<Output = ()> + Send + 'static
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let shared = Arc::clone(&self.handle.shared);
        let running = self.state(|state| state.nodes.get(&node).is_some_and(|node| node.running));
        let stopped =
            self.handle.nodes.get(&node).filter(|_| running).map(|n| n.stops.above(n.stops.get()));
        async move {
            let Some(stopped) = stopped else { return };
            tokio::select! {
                // So that a simulation's seed gives the same run.
                biased;
                _ = stopped => {}
                () = connection::serve(&shared, node, stream) => {}
            }
        }
    }

    // ---- commands ---------------------------------------------------------------------------------------------------

    /// Creates a topic; `"orders"` alone, a name with a number of partitions, or a whole [`TopicSpec`].
    ///
    /// # Errors
    /// [`ClusterError::Refused`] with the code that a client's CreateTopics would get.
    pub fn create_topic(&self, topic: impl Into<TopicSpec>) -> Result<TopicId, ClusterError> {
        let TopicSpec { name, partitions, replication_factor, configs } = topic.into();
        let placement = Placement::Spread { partitions, replicas: replication_factor };
        self.handle.shared.change(|state| {
            let mut config = state.defaults.topic.clone();
            for (name, value) in &configs {
                config.set(name, value).map_err(|message| ClusterError::Refused {
                    code: ErrorCode::INVALID_CONFIG,
                    message,
                })?;
            }
            state.create_topic(&name, &placement, config, false).map_err(ClusterError::from)
        })
    }

    /// Gives a topic more partitions: `count` in all. Keys may then go to other partitions than before.
    ///
    /// # Errors
    /// [`ClusterError::Refused`] with the code that a client's CreatePartitions would get: there is no such topic, or it
    /// has as many already.
    pub fn add_partitions(&self, name: &str, count: usize) -> Result<(), ClusterError> {
        let count = i32::try_from(count).unwrap_or(i32::MAX);
        let grow = |state: &mut State| state.create_partitions(name, count, None, false);
        Ok(self.handle.shared.change(grow)?)
    }

    /// Deletes a topic with all that is in it.
    ///
    /// # Errors
    /// [`ClusterError::Refused`] if there is none of that name.
    pub fn delete_topic(&self, name: &str) -> Result<(), ClusterError> {
        let deleted = self.handle.shared.change(|state| state.delete_topic(name));
        let code = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
        let refused = || ClusterError::Refused { code, message: format!("no topic {name}") };
        deleted.map(drop).ok_or_else(refused)
    }

    /// Stops a node: its connections close, nothing listens at its address, and others lead its partitions. Nothing
    /// that was appended is lost. Returns when the port is free; stopping a stopped node does nothing.
    ///
    /// # Errors
    /// [`ClusterError::UnknownNode`].
    pub async fn stop_node(&self, id: BrokerId) -> Result<(), ClusterError> {
        let node = self.node(id)?;
        if !self.handle.shared.change(|state| state.node_stopped(id)) {
            return Ok(());
        }
        node.stops.raise();
        let accepting = node.accepting.lock().take();
        if let Some(task) = accepting {
            task.abort();
            // Its end is what counts, not how it ended.
            let _ = task.await;
        }
        Ok(())
    }

    /// Starts a stopped node again, at the same address. It rejoins the ISRs, and leads again only what no one else
    /// leads. Starting a running node does nothing.
    ///
    /// # Errors
    /// [`ClusterError::UnknownNode`]; [`ClusterError::Bind`] if its port was taken meanwhile.
    pub async fn restart_node(&self, id: BrokerId) -> Result<(), ClusterError> {
        let node = self.node(id)?;
        if self.state(|state| state.nodes.get(&id).is_some_and(|node| node.running)) {
            return Ok(());
        }
        let listener = if self.handle.in_memory {
            None
        } else {
            let bind = |source| ClusterError::Bind { node: id, port: node.port, source };
            Some(listener::bind(node.port).await.map_err(bind)?)
        };
        if self.handle.shared.change(|state| state.node_started(id)) {
            let task = listener.map(|listener| accept(&self.handle.shared, id, listener));
            *node.accepting.lock() = task;
        }
        Ok(())
    }

    /// Makes a node the leader of a partition, in a new leader epoch. A node without a replica takes the place of the
    /// old leader among the replicas.
    ///
    /// # Errors
    /// [`ClusterError::Refused`] if the node does not run or is not in sync, or if there is no such partition.
    pub fn move_leader(
        &self,
        topic: &str,
        partition: i32,
        to: BrokerId,
    ) -> Result<(), ClusterError> {
        let partition = TopicPartition::new(topic, partition);
        Ok(self.handle.shared.change(|state| state.move_leader(&partition, to))?)
    }

    /// Lets a fault wait for its requests. Of several that fit a request, the one injected first strikes.
    pub fn inject(&self, fault: Fault) {
        self.state(|state| state.faults.inject(fault));
    }

    /// Removes all faults that wait.
    pub fn clear_faults(&self) {
        self.state(|state| state.faults.clear());
    }

    /// How many injected faults are not used up yet.
    pub fn pending_faults(&self) -> usize {
        self.state(|state| state.faults.len())
    }

    // ---- a look inside ----------------------------------------------------------------------------------------------

    /// The leader of a partition and its epoch; `None` if there is no such partition or no replica is left to lead it.
    pub fn leader(&self, topic: &str, partition: i32) -> Option<(BrokerId, i32)> {
        self.state(|state| {
            let partition = state.partition(topic, partition)?;
            Some((partition.leader?, partition.leader_epoch))
        })
    }

    /// The id of a topic.
    pub fn topic_id(&self, topic: &str) -> Option<TopicId> {
        self.state(|state| state.topic(topic).map(|topic| topic.id))
    }

    /// How many partitions a topic has; `None` if there is no such topic.
    pub fn partitions(&self, topic: &str) -> Option<usize> {
        self.state(|state| state.topic(topic).map(|topic| topic.partitions.len()))
    }

    /// The first offset of a partition and the one that its next record gets.
    pub fn offsets(&self, topic: &str, partition: i32) -> Option<std::ops::Range<i64>> {
        self.state(|state| {
            let log = &state.partition(topic, partition)?.log;
            Some(log.start_offset()..log.end_offset())
        })
    }

    /// The first offset of a partition that is not decided, because a transaction is open; its end if none is.
    pub fn last_stable_offset(&self, topic: &str, partition: i32) -> Option<i64> {
        self.state(|state| Some(state.partition(topic, partition)?.last_stable_offset()))
    }

    /// The batches of a partition, oldest first; empty if there is no such partition.
    pub fn batches(&self, topic: &str, partition: i32) -> Vec<StoredBatch> {
        let logged: Vec<_> = self
            .state(|state| {
                state.partition(topic, partition).map(|p| p.log.batches().cloned().collect())
            })
            .unwrap_or_default();
        logged.iter().filter_map(inspect::batch).collect()
    }

    /// The records of a partition, oldest first, those before the log's start and the markers of transactions left out;
    /// those of transactions are there, however they ended. Empty if there is no such partition.
    ///
    /// # Panics
    /// If a batch is compressed with a codec that was not built in, or was produced malformed while
    /// [`ClusterBuilder::validate_records`] was off.
    #[expect(clippy::panic, reason = "this is for tests, which could do nothing else")]
    pub fn records(&self, topic: &str, partition: i32) -> Vec<StoredRecord> {
        let start = self.offsets(topic, partition).map_or(0, |offsets| offsets.start);
        let mut all = Vec::new();
        for batch in self.batches(topic, partition).iter().filter(|batch| !batch.control) {
            match inspect::records(batch) {
                Ok(records) => all.extend(records.into_iter().filter(|r| r.offset >= start)),
                Err(error) => panic!("{topic}-{partition} at {}: {error}", batch.base_offset),
            }
        }
        all
    }

    /// How many requests of an API were received, faults included.
    pub fn requests(&self, api: ApiKey) -> u64 {
        self.state(|state| state.requests.get(&api).copied().unwrap_or(0))
    }

    /// Waits until at least `count` requests of an API were received. Cancel safe.
    pub async fn received(&self, api: ApiKey, count: u64) {
        loop {
            let mut received = std::pin::pin!(self.handle.shared.received.notified());
            received.as_mut().enable();
            if self.requests(api) >= count {
                return;
            }
            received.await;
        }
    }

    /// What happened so far, oldest first; the last ten thousand events.
    pub fn events(&self) -> Vec<Event> {
        self.state(|state| state.events.to_vec())
    }

    /// The cluster's time, in milliseconds since the epoch.
    pub fn now_ms(&self) -> i64 {
        self.handle.shared.clock.now_ms()
    }
}

fn accept(shared: &Arc<Shared>, node: BrokerId, listener: TcpListener) -> JoinHandle<()> {
    tokio::spawn(listener::run(Arc::clone(shared), node, listener))
}

#[cfg(test)]
#[path = "cluster/tests.rs"]
mod tests;
