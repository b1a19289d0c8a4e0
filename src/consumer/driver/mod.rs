//! The task of a consumer: it carries events to the [`Fetcher`] and the [`Membership`], and their
//! actions to the [`Client`], and decides nothing itself. It ends when its consumer is closed or
//! dropped.

mod group;

use std::fmt;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::coordination::Answered;
use super::fetcher::{Action, Fetched, Fetcher};
use super::interceptor::ConsumerInterceptors;
use super::measured;
use super::membership::Membership;
use super::metrics::ConsumerMetrics;
use super::subscription::Leadership;
use crate::client::{Client, ClusterSnapshot, LeaderHint};
use crate::error::ClientError;
use crate::protocol::messages::fetch::{FetchRequest, FetchResponse};
use crate::protocol::messages::list_offsets::{ListOffsetsRequest, ListOffsetsResponse};
use crate::protocol::messages::offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
};
use crate::time::{Duration, Instant};
use crate::types::{BrokerId, TopicPartition};

/// The newest version of Fetch that names topics instead of giving their ids.
const LAST_FETCH_BY_NAME: i16 = 12;

/// The first version of Fetch that has the epoch of the last record.
const FIRST_FETCH_WITH_LAST_EPOCH: i16 = 12;

/// The first version of OffsetForLeaderEpoch that consumers may send (Kafka 2.3).
const FIRST_EPOCHS_FOR_CONSUMERS: i16 = 3;

/// How often the topics that are read are noted to be in use.
const TOUCH_INTERVAL: Duration = Duration::from_secs(1);

/// How long is waited for a topic before what is in the way is looked at, and it is asked for again.
const TOPIC_WAIT: Duration = Duration::from_secs(1);

/// What the consumer and its task share. If both locks are needed, the fetcher's is taken last.
pub(crate) struct Shared {
    pub(crate) fetcher: Mutex<Fetcher>,
    pub(super) metrics: ConsumerMetrics,
    pub(super) interceptors: ConsumerInterceptors,
    /// `None` without a group.
    pub(super) membership: Option<Mutex<Membership>>,
    /// The consumer has changed something, or has taken something out.
    pub(crate) changed: Notify,
    /// There may be something to take out.
    pub(crate) arrived: Notify,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.membership {
            Some(membership) => write!(f, "{:?}; {:?}", membership.lock(), self.fetcher.lock()),
            None => write!(f, "{:?}", self.fetcher.lock()),
        }
    }
}

enum Event {
    Topic(String, Result<(), ClientError>),
    Offsets(u64, Result<ListOffsetsResponse, ClientError>),
    Epochs(u64, Result<Option<OffsetForLeaderEpochResponse>, ClientError>),
    Fetched(u64, BrokerId, Duration, Result<Fetched, ClientError>),
    Group(Answered),
}

pub(crate) struct Driver {
    shared: Arc<Shared>,
    client: Client,
    snapshot: Arc<ClusterSnapshot>,
    pending: FuturesUnordered<BoxFuture<'static, Event>>,
    /// How long a fetch may take: `request.timeout.ms`, after as long as the broker may wait.
    fetch_timeout: Duration,
    /// When the topics that are read are next noted to be in use.
    touch_at: Instant,
}

impl Driver {
    pub(crate) fn new(shared: Arc<Shared>, client: Client, max_wait: Duration) -> Self {
        let fetch_timeout = client.config().request_timeout().saturating_add(max_wait);
        let snapshot = client.metadata();
        Self {
            shared,
            client,
            snapshot,
            pending: FuturesUnordered::new(),
            fetch_timeout,
            touch_at: Instant::now(),
        }
    }

    /// Runs until the other end of `closed` is dropped.
    pub(crate) async fn run(mut self, mut closed: oneshot::Receiver<()>) {
        loop {
            // Subscribed before looking, so that no change between the two is missed.
            let news = self.client.changed();
            self.absorb();
            let group_deadline = self.drive_group();
            let deadline = earlier(self.drive_fetcher(), group_deadline);
            self.shared.arrived.notify_one();
            tokio::select! {
                // So that a simulation's seed gives the same run. Each turn looks at everything, so none is starved.
                biased;
                _ = &mut closed => break,
                Some(event) = self.pending.next() => {
                    self.handle(event);
                    // Answers that came together are dealt with together.
                    while let Some(Some(event)) = self.pending.next().now_or_never() {
                        self.handle(event);
                    }
                }
                () = self.shared.changed.notified() => {}
                // Without metadata to come there is nothing more to do.
                news = news => if news.is_err() { break },
                () = sleep_until(deadline) => {}
            }
        }
    }

    /// Takes up metadata that is newer than what the machines were told.
    fn absorb(&mut self) {
        let mut fetcher = self.shared.fetcher.lock();
        // Under the lock, so that the newest one is told last, whoever tells it.
        let snapshot = self.client.metadata();
        if !Arc::ptr_eq(&snapshot, &self.snapshot) {
            fetcher.handle_metadata(|name| leadership(&snapshot, name), Instant::now());
            drop(fetcher);
            self.snapshot = snapshot;
            self.tell_group();
        }
    }

    /// Does what the fetcher wants; says when to look again.
    fn drive_fetcher(&mut self) -> Option<Instant> {
        let (actions, deadline) = {
            let mut fetcher = self.shared.fetcher.lock();
            let now = Instant::now();
            if now >= self.touch_at {
                self.touch_at = now + TOUCH_INTERVAL;
                touch(&self.snapshot, &fetcher);
            }
            (fetcher.poll(now), fetcher.next_deadline())
        };
        let mut hints = Vec::new();
        for action in actions {
            self.act(action, &mut hints);
        }
        if !self.client.update_leaders(&hints) {
            self.client.request_refresh();
        }
        deadline
    }

    fn handle(&mut self, event: Event) {
        let now = Instant::now();
        match event {
            Event::Topic(topic, result) => {
                self.shared.fetcher.lock().handle_topic(&topic, result, now);
            }
            Event::Offsets(token, result) => {
                self.shared.fetcher.lock().handle_offsets(token, result, now);
            }
            Event::Epochs(token, result) => {
                self.shared.fetcher.lock().handle_epochs(token, result, now);
            }
            Event::Fetched(token, node, latency, result) => {
                if let Ok(fetched) = &result {
                    self.measure(node, latency, &fetched.response, now);
                }
                self.shared.fetcher.lock().handle_fetched(token, result, now);
            }
            Event::Group(event) => self.handle_group(event, now),
        }
    }

    /// Counts what an answer has brought.
    fn measure(&self, node: BrokerId, latency: Duration, response: &FetchResponse, now: Instant) {
        let name = |id| {
            let mut topics = self.snapshot.topics();
            topics.find(|topic| topic.id == id).map(|topic| &*topic.name)
        };
        let (throttle, topics) = (response.throttle_time_ms, measured::topics(response, name));
        self.shared.metrics.fetched(node, latency, throttle, topics, now);
    }

    /// Hints are left for all to be taken up together.
    fn act(&mut self, action: Action, hints: &mut Vec<LeaderHint>) {
        let client = self.client.clone();
        match action {
            Action::RefreshMetadata => client.request_refresh(),
            Action::LeaderHint(hint) => hints.push(hint),
            Action::Track(topic) => self.pending.push(Box::pin(async move {
                let result = client.topic(&topic, Instant::now() + TOPIC_WAIT).await;
                Event::Topic(topic, result.map(|_view| ()))
            })),
            Action::Committed { token, partitions } => self.look_up(token, partitions),
            Action::ListOffsets { token, node, request } => {
                self.pending.push(Box::pin(async move {
                    Event::Offsets(token, client.call::<ListOffsetsRequest>(node, &request).await)
                }));
            }
            Action::OffsetForLeaderEpoch { token, node, request } => {
                self.pending.push(Box::pin(async move {
                    Event::Epochs(token, end_offsets(&client, node, &request).await)
                }));
            }
            Action::Fetch { token, node, request, by_topic_id } => {
                let highest = if by_topic_id { i16::MAX } else { LAST_FETCH_BY_NAME };
                let timeout = self.fetch_timeout;
                self.pending.push(Box::pin(async move {
                    let began = Instant::now();
                    let result = fetch(&client, node, request, highest, timeout).await;
                    Event::Fetched(token, node, began.elapsed(), result)
                }));
            }
        }
    }
}

/// However the task ends, also by a panic of the user's code or with its runtime.
impl Drop for Driver {
    fn drop(&mut self) {
        self.end_group();
    }
}

async fn fetch(
    client: &Client,
    node: BrokerId,
    mut request: FetchRequest,
    highest: i16,
    timeout: Duration,
) -> Result<Fetched, ClientError> {
    let connection = client.connect(node).await?;
    let version = connection.version_up_to::<FetchRequest>(highest)?;
    if version < FIRST_FETCH_WITH_LAST_EPOCH {
        for partition in request.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
            partition.last_fetched_epoch = -1;
        }
    }
    let call = connection.call_at(&request, version, timeout);
    let (response, frame_len) = call.with_frame_len().await?;
    Ok(Fetched { response, frame_len })
}

/// Nothing if the broker lets only other brokers ask.
async fn end_offsets(
    client: &Client,
    node: BrokerId,
    request: &OffsetForLeaderEpochRequest,
) -> Result<Option<OffsetForLeaderEpochResponse>, ClientError> {
    let connection = client.connect(node).await?;
    let version = connection.version_up_to::<OffsetForLeaderEpochRequest>(i16::MAX)?;
    if version < FIRST_EPOCHS_FOR_CONSUMERS {
        return Ok(None);
    }
    client.call(node, request).await.map(Some)
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    a.into_iter().chain(b).min()
}

/// Keeps the metadata of all topics that are read fresh, whether requests name them or not.
fn touch(snapshot: &ClusterSnapshot, fetcher: &Fetcher) {
    let mut last = None;
    for TopicPartition { topic, .. } in fetcher.assignment() {
        if last != Some(topic)
            && let Some(view) = snapshot.topic(topic)
        {
            view.touch();
        }
        last = Some(topic);
    }
}

/// What metadata knows of a partition; `None` if it does not have the topic.
pub(crate) fn leadership(snapshot: &ClusterSnapshot, name: &TopicPartition) -> Option<Leadership> {
    let topic = snapshot.topic(&name.topic)?;
    let at = usize::try_from(name.partition).ok();
    let partition = at.and_then(|at| topic.partitions.get(at));
    Some(Leadership {
        leader: partition.and_then(|partition| partition.leader),
        epoch: partition.map_or(-1, |partition| partition.leader_epoch),
        topic_id: topic.id,
    })
}
