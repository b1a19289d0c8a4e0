//! The client's view of the cluster, and what is needed to keep it fresh.
//!
//! ```text
//! callers ─ track, request ─► Refresh (when, what) ─► refresher task ─► broker
//!    ▲                                                                    │
//!    └── snapshot (lock-free) ◄── publish ◄── merge (epoch-checked) ◄─────┘
//! ```
//!
//! It sends nothing itself: the refresher asks [`Metadata::begin`] what to fetch and tells how it
//! went.

mod merge;
mod refresh;
mod snapshot;

#[cfg(test)]
mod tests;

use crate::config::ClientConfig;
use crate::counter::Counter;
use crate::error::{ClientError, ErrorCode, Peer};
use crate::protocol::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse,
};
use crate::time::{Backoff, Instant};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use refresh::{Plan, Refresh, Times};
use std::future::Future;
use std::sync::Arc;
use tokio::sync::Notify;

use merge::Doubts;
pub(crate) use merge::LeaderHint;
pub(crate) use snapshot::{BrokerNode, ClusterSnapshot, TopicMetadata, Trouble};

/// A fetch that is under way.
#[derive(Debug)]
pub(super) struct Fetch {
    plan: Plan,
    began: Instant,
    may_create_topics: bool,
}

impl Fetch {
    /// The request to send in a version.
    pub(super) fn request(&self, version: i16) -> MetadataRequest {
        let topics = self.plan.topics.keys().map(|name| MetadataRequestTopic {
            name: Some(name.to_string()),
            ..MetadataRequestTopic::default()
        });
        MetadataRequest {
            topics: (!self.plan.all).then(|| topics.collect()),
            // If so, the broker's `auto.create.topics.enable` decides. A version that cannot forbid
            // it is better than no metadata.
            allow_auto_topic_creation: self.may_create_topics || version < FORBIDS_CREATION,
            ..MetadataRequest::default()
        }
    }
}

/// The first version of Metadata that can forbid the creation of topics.
const FORBIDS_CREATION: i16 = 4;

/// The generation after the last one: there will be no more.
const CLOSED: u64 = u64::MAX;

#[derive(Debug)]
struct State {
    refresh: Refresh,
    /// Why the last fetch failed, if it did.
    last_failure: Option<Arc<ClientError>>,
    /// Who was asked last, and when.
    asked: Option<(Peer, Instant)>,
    /// Of the last answer; the same again are not worth another warning.
    doubts: Arc<Doubts>,
}

/// The current snapshot, those who wait for the next, and the rule of when to fetch it.
#[derive(Debug)]
pub(super) struct Metadata {
    current: ArcSwap<ClusterSnapshot>,
    /// The generation of the current snapshot, or [`CLOSED`].
    generation: Arc<Counter>,
    state: Mutex<State>,
    /// Wakes the refresher when the rule may have another answer.
    wake: Notify,
    may_create_topics: bool,
}

impl Metadata {
    /// `may_create_topics` lets the broker create a topic that is asked for and does not exist.
    pub(super) fn new(config: &ClientConfig, may_create_topics: bool) -> Self {
        let times = Times {
            max_age: config.metadata_max_age(),
            max_idle: config.metadata_max_idle(),
            backoff: Backoff::new(config.retry_backoff(), config.retry_backoff_max()),
            rebootstrap_trigger: config.metadata_recovery_rebootstrap_trigger(),
        };
        let refresh = Refresh::new(times);
        let state = State { refresh, last_failure: None, asked: None, doubts: Arc::default() };
        Self {
            current: ArcSwap::default(),
            generation: Arc::default(),
            state: Mutex::new(state),
            wake: Notify::new(),
            may_create_topics,
        }
    }

    pub(super) fn current(&self) -> Arc<ClusterSnapshot> {
        self.current.load_full()
    }

    /// Asks for a fetch, as soon as the back-off allows.
    pub(super) fn request(&self) {
        self.state.lock().refresh.request();
        self.wake.notify_one();
    }

    /// Takes up leaders that a broker named; `false` if any of them is no news.
    pub(super) fn apply_hints(&self, hints: &[LeaderHint]) -> bool {
        if hints.is_empty() {
            return true;
        }
        let _writer = self.state.lock();
        let (snapshot, all) = merge::apply_hints(&self.current.load(), hints);
        if let Some(snapshot) = snapshot {
            self.publish(snapshot);
        }
        all
    }

    /// Waits for a snapshot later than the one that is current now. Ends with `Closed` when there
    /// will be none.
    pub(super) fn changed(&self) -> impl Future<Output = Result<(), ClientError>> + Send + use<> {
        let seen = self.generation.get().min(CLOSED - 1);
        let later = self.generation.above(seen);
        async move { if later.await == CLOSED { Err(ClientError::Closed) } else { Ok(()) } }
    }

    /// Waits for the view of a topic, and keeps it fresh from then on.
    pub(super) async fn topic(
        &self,
        name: &str,
        deadline: Instant,
    ) -> Result<Arc<TopicMetadata>, ClientError> {
        let began = Instant::now();
        let start = self.current.load().generation();
        let mut asked = false;
        loop {
            // Subscribed before looking, so that an answer between the two is not missed.
            let changed = self.changed();
            if self.is_closed() {
                return Err(ClientError::Closed);
            }
            let snapshot = self.current.load();
            if let Some(view) = snapshot.topic(name) {
                view.touch();
                return Ok(view.clone());
            }
            if let Some(refusal) = refusal(&snapshot, name, start) {
                return Err(refusal);
            }
            drop(snapshot);
            self.track(name, !asked);
            asked = true;
            match tokio::time::timeout_at(deadline, changed).await {
                Ok(news) => news?,
                Err(_) => return Err(self.timed_out(Some(name), began)),
            }
        }
    }

    /// Waits until there are brokers, if `anew` in a later snapshot than the current one.
    pub(super) async fn brokers(
        &self,
        anew: bool,
        deadline: Instant,
    ) -> Result<Arc<ClusterSnapshot>, ClientError> {
        let began = Instant::now();
        let start = self.current.load().generation();
        // The first snapshot comes without being asked for.
        if anew && start > 0 {
            self.request();
        }
        loop {
            let changed = self.changed();
            if self.is_closed() {
                return Err(ClientError::Closed);
            }
            let snapshot = self.current();
            let later = !anew || snapshot.generation() > start;
            if later && snapshot.brokers().len() > 0 {
                return Ok(snapshot);
            }
            match tokio::time::timeout_at(deadline, changed).await {
                Ok(news) => news?,
                Err(_) => return Err(self.timed_out(None, began)),
            }
        }
    }

    /// Notes a use of a topic, and asks for a fetch if it is new or if `request` says so.
    pub(super) fn track(&self, name: &str, request: bool) {
        {
            let State { refresh, .. } = &mut *self.state.lock();
            let known = refresh.is_tracked(name);
            refresh.track(name, Instant::now());
            if known && request {
                refresh.request();
            }
        }
        self.wake.notify_one();
    }

    /// Follows all topics that the cluster has, or only those that are named.
    pub(super) fn follow_all(&self, all: bool) {
        self.state.lock().refresh.follow_all(all);
        self.wake.notify_one();
    }

    fn timed_out(&self, name: Option<&str>, began: Instant) -> ClientError {
        let snapshot = self.current.load();
        let trouble = name.and_then(|name| Some((snapshot.trouble(name)?, name)));
        let last = match trouble {
            Some((trouble, name)) => Some(Arc::new(answered(trouble, name))),
            None => {
                let State { last_failure, asked, .. } = &*self.state.lock();
                last_failure.clone().or_else(|| asked.as_ref().map(unanswered))
            }
        };
        let topic = name.map(Into::into);
        ClientError::MetadataTimeout { topic, waited: began.elapsed(), last }
    }

    /// Ends all waits.
    pub(super) fn close(&self) {
        self.generation.raise_to(CLOSED);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.generation.get() == CLOSED
    }

    // For the refresher.

    /// Waits until a fetch is due, and begins it.
    pub(super) async fn begin(&self) -> Fetch {
        loop {
            let woken = self.wake.notified();
            let now = Instant::now();
            let due = {
                let State { refresh, .. } = &mut *self.state.lock();
                match refresh.due(now) {
                    Some(due) if due <= now => {
                        let may_create_topics = self.may_create_topics;
                        return Fetch { plan: refresh.begin(now), began: now, may_create_topics };
                    }
                    due => due,
                }
            };
            match due {
                // Past the deadline the loop looks again, and then it is due.
                Some(due) => drop(tokio::time::timeout_at(due, woken).await),
                None => woken.await,
            }
        }
    }

    /// Notes who is asked.
    pub(super) fn asking(&self, peer: Peer) {
        self.state.lock().asked = Some((peer, Instant::now()));
    }

    /// Takes up an answer; one that names no broker is a failure.
    pub(super) fn succeeded(
        &self,
        fetch: &Fetch,
        response: &MetadataResponse,
    ) -> Result<(), ClientError> {
        let now = Instant::now();
        let (doubts, before) = {
            let State { refresh, last_failure, asked, doubts } = &mut *self.state.lock();
            let all = fetch.plan.all.then(|| {
                refresh.discovered(response.topics.iter().filter_map(|t| t.name.as_deref()), now)
            });
            let wanted = all.as_ref().unwrap_or(&fetch.plan.topics);
            let tracked = |name: &str| refresh.is_tracked(name);
            let old = self.current.load();
            let merged = merge::merge(&old, response, wanted, tracked, now)
                .map_err(|merge::NoBrokers| no_brokers(asked.as_ref()))?;
            (*last_failure, *asked) = (None, None);
            refresh.succeeded(&fetch.plan, merged.settled, merged.changed, now, fastrand::f64());
            self.publish(ClusterSnapshot { all: fetch.plan.all, ..merged.snapshot });
            let new = Arc::new(merged.doubts);
            (new.clone(), std::mem::replace(doubts, new))
        };
        for doubt in doubts.first.iter().filter(|doubt| !before.first.contains(doubt)) {
            tracing::warn!("in an answer to Metadata: {doubt}");
        }
        if doubts.more > 0 && doubts.more != before.more {
            tracing::warn!("in an answer to Metadata: {} more things like these", doubts.more);
        }
        Ok(())
    }

    /// The fetch has failed, or its answer was refused.
    pub(super) fn failed(&self, fetch: &Fetch, error: ClientError) {
        let state = &mut *self.state.lock();
        if state.last_failure.as_deref() == Some(&error) {
            tracing::debug!("cannot fetch metadata: {error}");
        } else {
            tracing::warn!("cannot fetch metadata: {error}");
        }
        state.last_failure = Some(Arc::new(error));
        state.refresh.failed(&fetch.plan, fetch.began, Instant::now(), fastrand::f64());
    }

    /// Whether fetches have failed for `metadata.recovery.rebootstrap.trigger.ms`.
    pub(super) fn is_hopeless(&self) -> bool {
        self.state.lock().refresh.is_hopeless(Instant::now())
    }

    /// When all that is tracked was last answered for.
    pub(super) fn last_complete(&self) -> Option<Instant> {
        self.state.lock().refresh.last_complete()
    }

    /// The client starts over from `bootstrap.servers`.
    pub(super) fn restarted(&self) {
        self.state.lock().refresh.restarted(Instant::now());
    }

    /// To be called with the state locked, so that there is one writer.
    fn publish(&self, snapshot: ClusterSnapshot) {
        let generation = snapshot.generation();
        tracing::debug!("{snapshot}");
        self.current.store(Arc::new(snapshot));
        self.generation.raise_to(generation);
    }
}

/// An answer after `start` that waiting does not improve, such as that the topic may not be seen.
fn refusal(snapshot: &ClusterSnapshot, name: &str, start: u64) -> Option<ClientError> {
    let state = snapshot.topics.get(name)?;
    let trouble = state.trouble.filter(|trouble| !trouble.code.is_retriable())?;
    (state.answered > start).then(|| answered(trouble, name))
}

fn unanswered((peer, since): &(Peer, Instant)) -> Arc<ClientError> {
    Arc::new(ClientError::NoAnswerYet { peer: peer.clone(), waited: since.elapsed() })
}

/// As one may get it from a broker that is starting up.
fn no_brokers(asked: Option<&(Peer, Instant)>) -> ClientError {
    ClientError::Broker {
        code: ErrorCode::BROKER_NOT_AVAILABLE,
        api: "Metadata",
        subject: asked.map(|(peer, _)| peer.to_string().into()),
        message: Some("the answer names no broker".into()),
    }
}

fn answered(trouble: Trouble, topic: &str) -> ClientError {
    ClientError::Broker {
        code: trouble.code,
        api: "Metadata",
        subject: Some(format!("topic '{topic}'").into()),
        message: None,
    }
}
