//! The connections to the brokers: one for each purpose, opened when asked for, at most one attempt at
//! a time.
//!
//! It decides when an attempt begins (see `reconnect`) and forgets connections that have ended. It
//! does not know the cluster: where a broker listens is told with each call. `bootstrap.servers`
//! have ids too, below zero.

use super::least_loaded::Load;
use super::reconnect::{Reconnect, Schedules};
use crate::config::HostPort;
use crate::error::{ClientError, DisconnectReason, Peer};
use crate::metrics::ClientMetrics;
use crate::net::{Connect, Connection, ConnectionSettings, Meter};
use crate::time::{Duration, Instant};
use crate::types::BrokerId;
use futures_util::FutureExt;
use futures_util::future::Shared;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Weak};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// What a connection to a broker is for. A broker answers the requests of one connection in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Purpose {
    /// What is answered soon, and fetches.
    Requests,
    /// What concerns a group: a JoinGroup may wait for minutes, and must not wait behind fetches.
    Coordination,
}

/// A connection, whether it is open or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Lane {
    pub(super) id: BrokerId,
    pub(super) purpose: Purpose,
}

impl From<BrokerId> for Lane {
    fn from(id: BrokerId) -> Self {
        Self { id, purpose: Purpose::Requests }
    }
}

/// How an attempt to connect ended.
type Outcome = Result<Arc<Connection>, ClientError>;
/// For all who wait for it, in their order.
type Waiting = Shared<oneshot::Receiver<Outcome>>;

#[derive(Debug, Default)]
struct Slot {
    open: Option<Arc<Connection>>,
    /// The attempt that is under way; for all who want the connection.
    attempt: Option<Waiting>,
    reconnect: Reconnect,
    address: Option<HostPort>,
}

#[derive(Debug, Default)]
struct Slots {
    closed: bool,
    by_lane: BTreeMap<Lane, Slot>,
    /// The attempts; they end with the pool.
    attempts: JoinSet<()>,
}

/// The connections of one client.
#[derive(Debug)]
pub(super) struct Pool {
    connector: Arc<dyn Connect>,
    settings: ConnectionSettings,
    schedules: Schedules,
    metrics: Arc<ClientMetrics>,
    slots: Mutex<Slots>,
}

impl Slot {
    /// The connection, if it still takes requests. One that has ended is forgotten here.
    fn ready(&mut self, schedules: Schedules) -> Option<&Arc<Connection>> {
        if let Some(connection) = self.open.take_if(|connection| !connection.is_open()) {
            let end = connection.end();
            let idle = end.as_ref().is_some_and(|end| end.reason == DisconnectReason::Idle);
            if !idle {
                let at = end.map_or_else(Instant::now, |end| end.at);
                self.reconnect.lost(schedules, at, fastrand::f64());
            }
        }
        self.open.as_ref()
    }

    fn load(&mut self, schedules: Schedules, now: Instant) -> Load {
        if let Some(connection) = self.ready(schedules) {
            return Load::Open(connection.in_flight());
        }
        match self.reconnect.not_before() {
            Some(until) if until > now => Load::BackingOff(until),
            _ if self.attempt.is_some() => Load::Connecting,
            _ => Load::Idle(self.reconnect.last_attempt()),
        }
    }
}

impl Pool {
    pub(super) fn new(
        connector: Arc<dyn Connect>,
        settings: ConnectionSettings,
        schedules: Schedules,
        metrics: Arc<ClientMetrics>,
    ) -> Arc<Self> {
        Arc::new(Self { connector, settings, schedules, metrics, slots: Mutex::default() })
    }

    /// The connection to a broker, if it can take a request now.
    pub(super) fn ready(&self, id: BrokerId) -> Option<Arc<Connection>> {
        self.slots.lock().by_lane.get_mut(&id.into())?.ready(self.schedules).cloned()
    }

    /// The connection to a broker, opened if need be: at once, or when the back-off is over.
    ///
    /// The attempt begins before this returns, and goes on if the future is dropped. It ends for
    /// all who wait when it fails; asking again begins another one.
    pub(super) fn connect(
        self: &Arc<Self>,
        lane: Lane,
        address: &HostPort,
    ) -> impl Future<Output = Result<Arc<Connection>, ClientError>> + Send + use<> {
        let ready = self.ready_or_attempt(lane, address);
        async move {
            let attempt = match ready {
                Ok(connection) => return Ok(connection),
                Err(attempt) => attempt.ok_or(ClientError::Closed)?,
            };
            // The attempt may be dropped with the pool.
            attempt.await.unwrap_or(Err(ClientError::Closed))
        }
    }

    fn ready_or_attempt(
        self: &Arc<Self>,
        lane: Lane,
        address: &HostPort,
    ) -> Result<Arc<Connection>, Option<Waiting>> {
        let mut slots = self.slots.lock();
        if slots.closed {
            return Err(None);
        }
        let Slots { by_lane, attempts, .. } = &mut *slots;
        let slot = by_lane.entry(lane).or_default();
        if let Some(connection) = slot.ready(self.schedules) {
            return Ok(connection.clone());
        }
        if let Some(attempt) = &slot.attempt {
            return Err(Some(attempt.clone()));
        }
        if slot.address.as_ref() != Some(address) {
            // What happened at another address says nothing about this one.
            slot.reconnect = Reconnect::default();
            slot.address = Some(address.clone());
        }
        let (told, outcome) = oneshot::channel();
        let outcome = outcome.shared();
        slot.attempt = Some(outcome.clone());
        while attempts.try_join_next().is_some() {}
        let peer = peer(lane.id, address);
        attempts.spawn(attempt(Arc::downgrade(self), lane, peer, told));
        Err(Some(outcome))
    }

    /// How busy each of some brokers is.
    pub(super) fn loads(&self, ids: impl Iterator<Item = BrokerId>) -> Vec<Load> {
        let now = Instant::now();
        let by_lane = &mut self.slots.lock().by_lane;
        ids.map(|id| {
            let slot = by_lane.get_mut(&id.into());
            slot.map_or(Load::Idle(None), |slot| slot.load(self.schedules, now))
        })
        .collect()
    }

    /// How many requests have been sent or queued and have not ended.
    pub(super) fn in_flight(&self) -> usize {
        let slots = self.slots.lock();
        slots.by_lane.values().filter_map(|slot| slot.open.as_ref()).map(|c| c.in_flight()).sum()
    }

    /// Forgets brokers, except those that are in use.
    pub(super) fn retain(&self, keep: impl Fn(BrokerId) -> bool) {
        self.slots.lock().by_lane.retain(|lane, slot| {
            let in_use = slot.open.as_ref().is_some_and(|connection| connection.in_flight() > 0);
            keep(lane.id) || in_use || slot.attempt.is_some()
        });
    }

    /// Ends all connections and attempts, and takes no more; gives the connections, to wait for
    /// their ends.
    pub(super) fn close(&self) -> Vec<Arc<Connection>> {
        let by_lane = {
            let mut slots = self.slots.lock();
            slots.closed = true;
            slots.attempts.abort_all();
            std::mem::take(&mut slots.by_lane)
        };
        let connections: Vec<_> = by_lane.into_values().filter_map(|slot| slot.open).collect();
        for connection in &connections {
            connection.close();
        }
        connections
    }

    fn begin(&self, lane: Lane) -> Option<Duration> {
        let slot = &mut self.slots.lock();
        let reconnect = &mut slot.by_lane.get_mut(&lane)?.reconnect;
        Some(reconnect.begin(self.schedules, Instant::now(), fastrand::f64()))
    }

    /// Takes up how an attempt ended; says what those who wait for it are to be told.
    fn ended(
        &self,
        lane: Lane,
        result: Result<Arc<Connection>, ClientError>,
    ) -> Result<Arc<Connection>, ClientError> {
        let mut slots = self.slots.lock();
        // A place with an attempt goes only when the pool is closed.
        let slot = slots.by_lane.get_mut(&lane).ok_or(ClientError::Closed)?;
        slot.attempt = None;
        match &result {
            Ok(connection) => {
                slot.reconnect.connected();
                slot.open = Some(connection.clone());
            }
            Err(error) => {
                tracing::debug!("{error}");
                slot.reconnect.failed(self.schedules, Instant::now(), fastrand::f64());
            }
        }
        result
    }
}

/// What errors call a broker, or one of `bootstrap.servers`.
pub(super) fn peer(id: BrokerId, address: &HostPort) -> Peer {
    Peer::new(Some(id).filter(|id| id.0 >= 0), &address.host, address.port)
}

/// One attempt to connect, after the back-off. It does not keep the pool alive.
async fn attempt(pool: Weak<Pool>, lane: Lane, peer: Peer, told: oneshot::Sender<Outcome>) {
    let not_before = pool.upgrade().and_then(|pool| {
        pool.slots.lock().by_lane.get(&lane).and_then(|slot| slot.reconnect.not_before())
    });
    if let Some(not_before) = not_before {
        tokio::time::sleep_until(not_before).await;
    }
    let Some((connector, settings, allowance, metrics)) = pool.upgrade().and_then(|pool| {
        let allowance = pool.begin(lane)?;
        Some((pool.connector.clone(), pool.settings.clone(), allowance, pool.metrics.clone()))
    }) else {
        return;
    };
    let meter = Meter::connecting(metrics, lane.id);
    // The connector is the user's. An attempt that never ended would close the way to its broker.
    let open = Connection::open(&*connector, peer.clone(), &settings, allowance, meter);
    let result = AssertUnwindSafe(open).catch_unwind().await.unwrap_or_else(|_panic| {
        let (kind, cause) = (io::ErrorKind::Other, "the connector panicked".into());
        Err(ClientError::Connect { peer, kind, cause })
    });
    let Some(pool) = pool.upgrade() else { return };
    // Nobody need be waiting.
    let _ = told.send(pool.ended(lane, result));
}
