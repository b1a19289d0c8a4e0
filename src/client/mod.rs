//! The cluster as seen from here: connections to its brokers, and a view of its topics that is kept
//! fresh.
//!
//! | module | what it decides |
//! |---|---|
//! | `pool`, `reconnect` | which connections there are; when to connect again |
//! | `coordinator` | when to ask where a coordinator is |
//! | `least_loaded` | which broker gets what any broker can answer |
//! | `metadata` | what is believed of the cluster, and when it is asked anew |
//! | `refresher` | nothing: the task that asks |
//! | `route` | which broker a request goes to, and whether it is tried again |
//!
//! Nothing here knows records, producers or consumers.

mod coordinator;
mod least_loaded;
mod metadata;
mod pool;
mod reconnect;
mod refresher;
mod route;

#[cfg(test)]
mod tests;

use crate::config::{ClientConfig, HostPort};
use crate::error::{ClientError, Peer};
use crate::metrics::{ClientKind, ClientMetrics, Windows};
use crate::net::{Connect, Connection, ConnectionSettings, TcpConnector};
use crate::protocol::Request;
use crate::time::{Backoff, Clock, Duration, Instant, SystemClock};
use crate::types::BrokerId;
use least_loaded::Load;
use metadata::Metadata;
use parking_lot::Mutex;
use pool::{Lane, Pool, Purpose};
use reconnect::Schedules;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::task::JoinHandle;

pub(crate) use coordinator::{
    Coordinator, CoordinatorKey, CoordinatorType, NoCoordinator, found as found_coordinators,
};
pub(crate) use metadata::{BrokerNode, ClusterSnapshot, LeaderHint, TopicMetadata};
pub(crate) use route::{Led, Unanswered};

/// A client of one cluster, shared by its clones. When the last one is dropped, its connections and
/// tasks end.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    owner: Arc<Owner>,
}

/// What the clones of a client hold and its tasks do not, so that dropping it ends the tasks.
#[derive(Debug)]
struct Owner {
    core: Arc<Core>,
    refresher: Mutex<Option<JoinHandle<()>>>,
}

impl Owner {
    /// Ends everything, without waiting.
    fn end(&self) {
        self.core.metadata.close();
        if let Some(refresher) = &*self.refresher.lock() {
            refresher.abort();
        }
        self.core.pool.close();
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.end();
    }
}

/// What callers and the refresher share.
#[derive(Debug)]
struct Core {
    config: ClientConfig,
    pool: Arc<Pool>,
    metadata: Metadata,
    metrics: Arc<ClientMetrics>,
    /// Whether the brokers of the snapshot are given up and `bootstrap.servers` are asked instead.
    from_bootstrap: AtomicBool,
}

impl Client {
    /// Starts a client: from now on it fetches metadata. To be called within a tokio runtime.
    ///
    /// Connections are opened over TCP if there is no `connector`. `may_create_topics` lets brokers
    /// create a topic because it is asked for. `kind` names the metrics.
    pub(crate) fn start(
        config: &ClientConfig,
        connector: Option<Arc<dyn Connect>>,
        may_create_topics: bool,
        kind: ClientKind,
    ) -> Self {
        let connector = connector.unwrap_or_else(|| Arc::new(tcp(config)));
        let settings = ConnectionSettings {
            client_id: config.client_id().to_owned(),
            max_frame: config.receive_message_max_bytes(),
            max_idle: config.connections_max_idle(),
            request_timeout: config.request_timeout(),
        };
        let schedules = Schedules {
            reconnect: Backoff::new(config.reconnect_backoff(), config.reconnect_backoff_max()),
            setup: Backoff::new(
                config.socket_connection_setup_timeout(),
                config.socket_connection_setup_timeout_max(),
            ),
        };
        let metrics = Arc::new(metrics(config, kind));
        let core = Arc::new(Core {
            pool: Pool::new(connector, settings, schedules, metrics.clone()),
            metadata: Metadata::new(config, may_create_topics),
            metrics,
            from_bootstrap: AtomicBool::new(false),
            config: config.clone(),
        });
        let refresher = tokio::spawn(refresher::run(core.clone()));
        Self { owner: Arc::new(Owner { core, refresher: Mutex::new(Some(refresher)) }) }
    }

    fn core(&self) -> &Arc<Core> {
        &self.owner.core
    }

    /// The configuration that it was started with.
    pub(crate) fn config(&self) -> &ClientConfig {
        &self.core().config
    }

    /// What its connections have counted.
    pub(crate) fn metrics(&self) -> &Arc<ClientMetrics> {
        &self.core().metrics
    }

    /// How many requests are on connections.
    pub(crate) fn in_flight(&self) -> usize {
        self.core().pool.in_flight()
    }

    /// How old the metadata are; before there are any, how old the client is.
    pub(crate) fn metadata_age(&self, now: Instant) -> Duration {
        let fetched = self.core().metadata.last_complete();
        now.saturating_duration_since(fetched.unwrap_or(self.core().metrics.started()))
    }

    /// What is believed of the cluster now. Takes no lock.
    pub(crate) fn metadata(&self) -> Arc<ClusterSnapshot> {
        self.core().metadata.current()
    }

    /// The view of a topic, which is kept fresh from now on; waits until there is one.
    ///
    /// Fails with [`ClientError::MetadataTimeout`] at `deadline`, which says what stood in the way,
    /// and at once with [`ClientError::Broker`] if the brokers refuse to describe the topic. Cancel
    /// safe.
    pub(crate) async fn topic(
        &self,
        name: &str,
        deadline: Instant,
    ) -> Result<Arc<TopicMetadata>, ClientError> {
        self.core().metadata.topic(name, deadline).await
    }

    /// The brokers of the cluster; waits until some are known, or if `anew` until they were told from
    /// now on.
    ///
    /// Fails with [`ClientError::MetadataTimeout`] at `deadline`, which says what stood in the way.
    /// Cancel safe.
    pub(crate) async fn brokers(
        &self,
        anew: bool,
        deadline: Instant,
    ) -> Result<Arc<ClusterSnapshot>, ClientError> {
        self.core().metadata.brokers(anew, deadline).await
    }

    /// Keeps a topic's metadata fresh from now on, without waiting for it.
    pub(crate) fn track(&self, name: &str) {
        self.core().metadata.track(name, false);
    }

    /// Keeps the metadata of all topics that the cluster has, from now on or no longer. Those that
    /// come and go show in the snapshots.
    pub(crate) fn follow_all(&self, all: bool) {
        self.core().metadata.follow_all(all);
    }

    /// Asks for fresh metadata, as soon as `retry.backoff.ms` allows. Does not wait.
    pub(crate) fn request_refresh(&self) {
        self.core().metadata.request();
    }

    /// Waits for a snapshot later than the one that is current when this is called, not when it is
    /// first polled.
    ///
    /// Fails with [`ClientError::Closed`] when there will be none. Cancel safe.
    pub(crate) fn changed(&self) -> impl Future<Output = Result<(), ClientError>> + Send + use<> {
        self.core().metadata.changed()
    }

    /// Takes up leaders that a broker named (KIP-951), all in one snapshot; `false` if any of them is
    /// no news.
    pub(crate) fn update_leaders(&self, hints: &[LeaderHint]) -> bool {
        self.core().metadata.apply_hints(hints)
    }

    /// The connection to a broker, if it can take a request now.
    pub(crate) fn connection(&self, id: BrokerId) -> Option<Arc<Connection>> {
        self.core().pool.ready(id)
    }

    /// The connection to a broker, opened if need be: at once, or when the back-off is over.
    ///
    /// The attempt begins before this returns and goes on if the future is dropped; metadata is
    /// asked for if it fails.
    pub(crate) fn connect(
        &self,
        id: BrokerId,
    ) -> impl Future<Output = Result<Arc<Connection>, ClientError>> + Send + use<> {
        self.open(id.into())
    }

    /// Sends a request to the coordinator of a group, on a connection that is for nothing else, as it
    /// is in the version that the broker speaks, up to `highest`; within `timeout` from when it is
    /// connected. Cancel safe.
    pub(crate) async fn call_coordinator<R: Request>(
        &self,
        id: BrokerId,
        highest: i16,
        request: impl Fn(i16) -> R,
        timeout: Duration,
    ) -> Result<R::Response, ClientError> {
        let connection = self.coordinator(id).await?;
        let version = connection.version_up_to::<R>(highest)?;
        connection.call_at(&request(version), version, timeout).await
    }

    /// The connection to a broker that is for its work as a coordinator; as [`Client::connect`].
    pub(crate) fn coordinator(
        &self,
        id: BrokerId,
    ) -> impl Future<Output = Result<Arc<Connection>, ClientError>> + Send + use<> {
        self.open(Lane { id, purpose: Purpose::Coordination })
    }

    fn open(
        &self,
        lane: Lane,
    ) -> impl Future<Output = Result<Arc<Connection>, ClientError>> + Send + use<> {
        let core = self.core().clone();
        let id = lane.id;
        let connecting = core.metadata.current().broker(id).map(|node| {
            let address = HostPort { host: node.host.clone(), port: node.port };
            core.pool.connect(lane, &address)
        });
        async move {
            let result = match connecting {
                Some(connecting) => connecting.await,
                None => Err(ClientError::UnknownBroker { id }),
            };
            if result.as_ref().is_err_and(ClientError::refreshes_metadata) {
                core.metadata.request();
            }
            result
        }
    }

    /// Sends a request to a broker, within `request.timeout.ms` from when it is connected; metadata
    /// is asked for if a connection fails. Error codes inside the answer are the caller's. Cancel
    /// safe.
    pub(crate) async fn call<R: Request>(
        &self,
        id: BrokerId,
        request: &R,
    ) -> Result<R::Response, ClientError> {
        let connection = self.connect(id).await?;
        let result = connection.call(request, self.config().request_timeout()).await;
        if result.as_ref().is_err_and(ClientError::refreshes_metadata) {
            self.request_refresh();
        }
        result
    }

    /// Whether it was closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.core().metadata.is_closed()
    }

    /// As [`Client::close`], without waiting for the ends.
    pub(crate) fn end(&self) {
        self.owner.end();
    }

    /// Ends connections, tasks and waits, for all clones; requests that are still unanswered fail.
    /// Waits for that until `deadline`; says whether it is done.
    pub(crate) async fn close(&self, deadline: Instant) -> bool {
        self.core().metadata.close();
        let refresher = self.owner.refresher.lock().take();
        if let Some(refresher) = &refresher {
            refresher.abort();
        }
        let connections = self.core().pool.close();
        let ended = async {
            if let Some(refresher) = refresher {
                // It was told to stop; an error says that it has.
                let _ = refresher.await;
            }
            for connection in connections {
                connection.ended().await;
            }
        };
        tokio::time::timeout_at(deadline, ended).await.is_ok()
    }
}

fn metrics(config: &ClientConfig, kind: ClientKind) -> ClientMetrics {
    let windows =
        Windows { length: config.metrics_sample_window(), count: config.metrics_num_samples() };
    let (now, millis) = (Instant::now(), SystemClock.now_millis());
    ClientMetrics::new(kind, config.client_id(), windows, now, millis)
}

fn tcp(config: &ClientConfig) -> TcpConnector {
    TcpConnector::new(config.send_buffer_bytes(), config.receive_buffer_bytes())
}

impl Core {
    /// The brokers that may be asked anything: those of the snapshot, or `bootstrap.servers`.
    fn nodes(&self) -> Vec<(BrokerId, HostPort)> {
        let snapshot = self.metadata.current();
        if snapshot.brokers().len() == 0 || self.from_bootstrap.load(Ordering::Relaxed) {
            let servers = self.config.bootstrap_servers().iter();
            return (0..).zip(servers).map(|(n, at)| (BrokerId(-1 - n), at.clone())).collect();
        }
        let brokers = snapshot.brokers();
        brokers
            .map(|node| (node.id, HostPort { host: node.host.clone(), port: node.port }))
            .collect()
    }

    /// A connection to the broker that has the least to do. If it cannot be opened, the next one is
    /// tried at once, each at most once, as long as there are some that have not just failed.
    ///
    /// So an error, which is that of the last attempt, says that no broker can be reached at the
    /// moment. `asking` is told of each one that is tried.
    async fn connect_any(&self, asking: impl Fn(Peer)) -> Result<Arc<Connection>, ClientError> {
        let mut left = self.nodes();
        let mut failure = None;
        loop {
            let loads = self.pool.loads(left.iter().map(|(id, _)| *id));
            let choice = least_loaded::choose(&loads, fastrand::usize(..));
            let Some((at, load)) = choice.and_then(|at| Some((at, loads.get(at)?))) else { break };
            // The first attempt may wait for the end of a back-off; somebody has to be asked.
            if failure.is_some() && matches!(load, Load::BackingOff(_)) {
                break;
            }
            let (id, address) = left.swap_remove(at);
            asking(pool::peer(id, &address));
            match self.pool.connect(id.into(), &address).await {
                Err(error) if error != ClientError::Closed => failure = Some(error),
                result => return result,
            }
        }
        Err(failure.unwrap_or(ClientError::Closed))
    }

    /// Whether no known broker can be reached at the moment.
    fn is_cut_off(&self) -> bool {
        let nodes = self.nodes();
        least_loaded::all_failed(&self.pool.loads(nodes.iter().map(|(id, _)| *id)))
    }

    fn rebootstrap(&self) {
        if self.metadata.current().brokers().len() > 0
            && !self.from_bootstrap.swap(true, Ordering::Relaxed)
        {
            tracing::warn!("the known brokers are given up; starting over from bootstrap.servers");
        }
        self.metadata.restarted();
    }

    /// A broker has answered, so the snapshot is to be relied on; connections to others are not
    /// needed any more.
    fn answered(&self) {
        self.from_bootstrap.store(false, Ordering::Relaxed);
        let snapshot = self.metadata.current();
        self.pool.retain(|id| snapshot.broker(id).is_some());
    }
}
