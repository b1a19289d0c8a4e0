//! The sender: which batch goes to which broker now, and what becomes of it. A state machine without I/O and clock:
//! `handle_*` takes what happened, [`Sender::poll`] gives what to do, [`Sender::next_deadline`] when to ask again.
//!
//! ```text
//!   queue ──drain──► Waiting ──► InFlight ──classify──► Ended ──settle (in order)──► records' end, memory
//!                       ▲           │   │
//!                       └───retry───┘   └─expired──► Abandoned ──answer──► gone
//! ```
//!
//! It alone sees the accumulator and the sequencer, and asks in this order: is there a bump to wait for, does the
//! sequence permit, is the front ready. What is not obvious:
//!
//! - A batch keeps its bytes and its stamp over all attempts. Only an epoch bump gives it another stamp, when its fate
//!   is known to be *not written*.
//! - Only the first waiting batch of a partition may be sent, and nothing new while one waits: otherwise the broker
//!   would see a gap, or without idempotence the order would change more than it must.
//! - A sequence that was given to a batch that then failed is lost. So each such failure asks for an epoch bump.

mod classify;
mod drain;
mod expiry;
mod node;
mod resolve;
mod split;
mod stall;
mod transaction;
mod window;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::client::LeaderHint;
use crate::error::{
    Cause, ClientError, DeliveryErrorKind, ErrorCode, FatalError, Persistence, SendError,
};
use crate::producer::accumulator::{Accumulator, PartitionQueue};
use crate::producer::delivery::Completion;
use crate::producer::metrics::ProducerMetrics;
use crate::producer::sequencer::Sequencer;
use crate::producer::txn::{Ask, Transactions};
use crate::protocol::messages::produce::{ProduceRequest, ProduceResponse};
use crate::time::{Backoff, Duration, Instant};
use crate::types::{BrokerId, ProducerIdentity, TopicId};

use node::{Node, NodeState};
pub(crate) use window::Leadership;
use window::{Partition, SlotState};

/// The rules that the sender goes by, from the configuration.
#[derive(Debug, Clone)]
pub(crate) struct SenderConfig {
    pub(crate) idempotent: bool,
    /// -1 for all.
    pub(crate) acks: i16,
    pub(crate) max_in_flight: usize,
    pub(crate) max_request_size: usize,
    pub(crate) request_timeout: Duration,
    pub(crate) delivery_timeout: Duration,
    pub(crate) linger: Duration,
    pub(crate) retries: u32,
    pub(crate) retry_backoff: Backoff,
}

/// After so long without batches the next one of a partition goes alone, as a first one does: brokers forget idle
/// producers, after `producer.id.expiration.ms` (a day, or what their operators have set).
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);

/// The most batches that a broker remembers of an idempotent producer and partition.
const IDEMPOTENT_WINDOW: usize = 5;

/// What the driver is to do.
#[derive(Debug)]
pub(crate) enum Action {
    /// Open a connection and tell by `handle_connected` or `handle_unreachable`.
    Connect(BrokerId),
    /// Fetch metadata anew: a leader is missing or wrong.
    RefreshMetadata,
    /// Ask for a producer id and tell by `handle_producer_id`.
    InitProducerId,
    /// Send it and tell by `handle_produced`.
    Produce(Produce),
    /// Ask a coordinator of transactions, and tell by `handle_coordinator`.
    AskCoordinator(Ask),
    /// A broker named the leader of a partition (KIP-951).
    LeaderHint(LeaderHint),
    /// The producer can write no more.
    Fatal(FatalError),
}

/// A produce request on its way out.
#[derive(Debug)]
pub(crate) struct Produce {
    pub(crate) token: u64,
    pub(crate) node: BrokerId,
    pub(crate) request: ProduceRequest,
    /// The versions in which it means what it is to mean.
    pub(crate) versions: RangeInclusive<i16>,
}

impl Leadership {
    /// Nothing is known of the partition yet.
    pub(crate) const UNKNOWN: Self = Self { leader: None, epoch: -1, topic_id: TopicId::ZERO };
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Sender {
    config: SenderConfig,
    accumulator: Arc<Accumulator>,
    metrics: Arc<ProducerMetrics>,
    sequencer: Sequencer,
    /// Those of a transactional producer, which has its identity from them.
    transactions: Option<Transactions>,
    id_retry_at: Option<Instant>,
    id_attempts: u32,
    /// Why there is no producer id, after a try failed.
    id_error: Option<Cause>,
    partitions: Vec<Partition>,
    index: HashMap<(Arc<str>, i32), usize>,
    /// The partitions that have batches, in the order of their turns.
    active: Vec<usize>,
    nodes: HashMap<BrokerId, Node>,
    requests: HashMap<u64, Sent>,
    next_token: u64,
    actions: Vec<Action>,
    wants_metadata: bool,
    /// After how long of leaving a batch a broker counts as slow.
    availability: Option<Duration>,
    deadline: Option<Instant>,
    /// No batch expires before.
    expires_at: Option<Instant>,
    closing: bool,
    fatal: Option<FatalError>,
    random: fastrand::Rng,
}

/// What a request carried.
#[derive(Debug)]
struct Sent {
    node: BrokerId,
    at: Instant,
    batches: Vec<SentBatch>,
    /// Whether the broker makes sure of the transaction first.
    verifies: bool,
}

/// A batch in a request, and the topic's id then.
#[derive(Debug, Clone, Copy)]
struct SentBatch {
    partition: usize,
    batch: u64,
    topic_id: TopicId,
}

impl Sender {
    /// `seed` decides the jitter of back-offs.
    pub(crate) fn new(
        config: SenderConfig,
        accumulator: Arc<Accumulator>,
        metrics: Arc<ProducerMetrics>,
        seed: u64,
    ) -> Self {
        Self {
            config,
            accumulator,
            metrics,
            sequencer: Sequencer::new(),
            transactions: None,
            id_retry_at: None,
            id_attempts: 0,
            id_error: None,
            partitions: Vec::new(),
            index: HashMap::new(),
            active: Vec::new(),
            nodes: HashMap::new(),
            requests: HashMap::new(),
            next_token: 0,
            actions: Vec::new(),
            wants_metadata: false,
            availability: None,
            deadline: None,
            expires_at: None,
            closing: false,
            fatal: None,
            random: fastrand::Rng::with_seed(seed),
        }
    }

    /// A queue has got batches. `leadership` is what is known of its partition.
    pub(crate) fn handle_queue(&mut self, queue: Arc<PartitionQueue>, leadership: Leadership) {
        let key = (Arc::clone(&queue.topic), queue.partition);
        let index = *self.index.entry(key).or_insert_with(|| {
            self.partitions.push(Partition::new(queue, leadership));
            self.partitions.len() - 1
        });
        self.activate(index);
    }

    /// Metadata have changed; `lookup` tells what is known of a partition now.
    pub(crate) fn handle_metadata(&mut self, lookup: impl Fn(&str, i32) -> Option<Leadership>) {
        let mut recreated = false;
        for partition in &mut self.partitions {
            let queue = &partition.queue;
            let Some(new) = lookup(&queue.topic, queue.partition) else {
                // Gone from metadata, for now or for good: its batches and sequences stay.
                partition.leadership.leader = None;
                continue;
            };
            let old = partition.leadership.topic_id;
            // Another topic under the old name has seen no sequence of ours.
            if !old.is_zero() && !new.topic_id.is_zero() && old != new.topic_id {
                recreated = true;
                partition.made_anew();
            }
            partition.leadership = new;
        }
        if recreated {
            self.lose_numbers();
        }
    }

    /// A connection to the broker is open.
    pub(crate) fn handle_connected(&mut self, node: BrokerId) {
        let node = self.nodes.entry(node).or_default();
        node.state = NodeState::Connected;
    }

    /// A connection could not be opened.
    pub(crate) fn handle_unreachable(&mut self, node: BrokerId, error: ClientError, now: Instant) {
        let backoff = self.config.retry_backoff.wait(0, self.random.f64());
        let node = self.nodes.entry(node).or_default();
        node.state = NodeState::Unreachable(now + backoff);
        node.last_error = Some(error);
        self.wants_metadata = true;
    }

    /// The brokers that a connection was opened to and not reported closed.
    pub(crate) fn connected(&self) -> impl Iterator<Item = BrokerId> {
        let connected = self.nodes.iter().filter(|(_, node)| node.state == NodeState::Connected);
        connected.map(|(&id, _)| id)
    }

    /// The connection is closed; what was in flight on it is told request by request.
    pub(crate) fn handle_disconnected(&mut self, node: BrokerId) {
        self.nodes.entry(node).or_default().state = NodeState::Unconnected;
    }

    /// A request for a producer id has ended.
    pub(crate) fn handle_producer_id(
        &mut self,
        result: Result<ProducerIdentity, Cause>,
        now: Instant,
    ) {
        let error = match result {
            Ok(identity) => {
                self.id_attempts = 0;
                self.id_error = None;
                return self.sequencer.given(identity);
            }
            Err(error) => error,
        };
        if let Cause::Broker(code, _) = error
            && !code.is_retriable()
        {
            return self.end_fatally(FatalError { code }, now);
        }
        tracing::debug!(%error, "no producer id yet");
        self.id_error = Some(error);
        self.sequencer.ask_again();
        let backoff = self.config.retry_backoff.wait(self.id_attempts, self.random.f64());
        self.id_attempts = self.id_attempts.saturating_add(1);
        self.id_retry_at = Some(now + backoff);
    }

    /// A produce request has ended, by an answer or without one.
    pub(crate) fn handle_produced(
        &mut self,
        token: u64,
        result: Result<ProduceResponse, ClientError>,
        now: Instant,
    ) {
        let Some(sent) = self.requests.remove(&token) else { return };
        self.stop_verifying(&sent);
        let node = self.nodes.entry(sent.node).or_default();
        node.in_flight = node.in_flight.saturating_sub(1);
        match result {
            Ok(response) if self.config.acks == 0 => {
                drop(response);
                self.resolve_unacknowledged(&sent);
            }
            Ok(response) => {
                node.answered(response.throttle_time_ms, self.config.request_timeout, now);
                let latency = now.saturating_duration_since(sent.at);
                self.metrics.answered(sent.node, latency, response.throttle_time_ms, now);
                self.resolve_response(&sent, &response, now);
            }
            Err(error) => {
                node.state = NodeState::Unconnected;
                node.last_error = Some(error.clone());
                self.resolve_lost(&sent, &error, now);
            }
        }
    }

    /// A produce request was not sent: the connection had closed before.
    pub(crate) fn handle_unsent(&mut self, token: u64, now: Instant) {
        let Some(sent) = self.requests.remove(&token) else { return };
        self.stop_verifying(&sent);
        let node = self.nodes.entry(sent.node).or_default();
        node.in_flight = node.in_flight.saturating_sub(1);
        node.state = NodeState::Unconnected;
        self.resolve_unsent(&sent, now);
    }

    /// From now on linger counts for nothing, and what waits is to be sent.
    pub(crate) fn handle_close(&mut self) {
        self.closing = true;
    }

    /// Whether no accepted record that the sender knows of waits for its end. What was abandoned does not count.
    pub(crate) fn is_idle(&self) -> bool {
        self.is_settled() && self.all_have_ended()
    }

    fn all_have_ended(&self) -> bool {
        let mut active = self.active.iter().filter_map(|&index| self.partitions.get(index));
        active.all(|partition| {
            partition.window.iter().all(|slot| slot.batch.has_ended()) && partition.queue.is_empty()
        })
    }

    /// The topics that have batches; a topic may come more than once.
    pub(crate) fn active_topics(&self) -> Vec<Arc<str>> {
        let active = self.active.iter().filter_map(|&index| self.partitions.get(index));
        active.map(|partition| Arc::clone(&partition.queue.topic)).collect()
    }

    /// The ends of all batches there are now.
    pub(crate) fn completions(&self) -> Vec<Arc<Completion>> {
        let active = self.active.iter().filter_map(|&index| self.partitions.get(index));
        active
            .flat_map(|partition| {
                let sent = partition.window.iter().map(|s| Arc::clone(s.batch.completion()));
                sent.chain(partition.queue.completions())
            })
            .filter(|completion| !completion.is_complete())
            .collect()
    }

    /// What is to be done now. Ask again after each event, and at [`Sender::next_deadline`].
    pub(crate) fn poll(&mut self, now: Instant) -> Vec<Action> {
        self.deadline = None;
        if let Some(error) = self.fatal.clone() {
            // What was appended by sends that had not seen the end yet.
            self.fail_all(&DeliveryErrorKind::Fatal(error), now);
            return std::mem::take(&mut self.actions);
        }
        self.expire(now);
        self.advance_bump();
        self.drop_doomed(now);
        self.drain(now);
        self.advance_transaction(now);
        self.note_stalls(now);
        self.retire(now);
        if let Some(at) = self.expires_at.filter(|_| !self.active.is_empty()) {
            self.wake_at(at);
        }
        if std::mem::take(&mut self.wants_metadata) {
            self.actions.push(Action::RefreshMetadata);
        }
        std::mem::take(&mut self.actions)
    }

    /// When [`Sender::poll`] should be called if nothing happens before.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Ends all records that have not ended yet: the producer was closed, or is fenced. Says how many batches that were.
    pub(crate) fn fail_all(&mut self, kind: &DeliveryErrorKind, now: Instant) -> usize {
        let mut failed = 0;
        for index in std::mem::take(&mut self.active) {
            let Some(partition) = self.partitions.get_mut(index) else { continue };
            partition.active = false;
            let name = partition.queue.topic_partition();
            for mut slot in partition.window.drain(..) {
                if let SlotState::Ended(outcome) = slot.state {
                    slot.batch.complete(outcome);
                    continue;
                }
                let written = if slot.maybe_written || slot.is_in_flight() {
                    Persistence::MaybeWritten
                } else {
                    Persistence::NotWritten
                };
                if slot.batch.fail(name.clone(), kind.clone(), written, now) {
                    self.metrics.failed(&partition.queue.topic, slot.batch.count(), now);
                    failed += 1;
                }
            }
            // Until it is off the list, so that who appends next lists it again.
            while !partition.queue.unlist_if_empty() {
                if let Some(mut batch) = partition.queue.take_front() {
                    batch.fail(name.clone(), kind.clone(), Persistence::NotWritten, now);
                    self.metrics.failed(&partition.queue.topic, batch.count(), now);
                    failed += 1;
                }
            }
        }
        failed
    }

    fn end_fatally(&mut self, error: FatalError, now: Instant) {
        // First, or senders that go on would keep the failing going.
        self.accumulator.refuse(SendError::Fatal(error.clone()));
        self.fail_all(&DeliveryErrorKind::Fatal(error.clone()), now);
        if let Some(transactions) = &mut self.transactions {
            transactions.fail(error.clone());
        }
        self.fatal = Some(error.clone());
        self.actions.push(Action::Fatal(error));
    }

    fn activate(&mut self, index: usize) {
        if let Some(partition) = self.partitions.get_mut(index)
            && !std::mem::replace(&mut partition.active, true)
        {
            self.active.push(index);
        }
    }

    /// Drops the partitions without batches from the turn.
    fn retire(&mut self, now: Instant) {
        let partitions = &mut self.partitions;
        self.active.retain(|&index| {
            let Some(partition) = partitions.get_mut(index) else { return false };
            partition.active = !partition.window.is_empty() || !partition.queue.unlist_if_empty();
            partition.idle_since = (!partition.active).then_some(now);
            partition.active
        });
    }

    fn wake_at(&mut self, at: Instant) {
        self.deadline = Some(self.deadline.map_or(at, |deadline| deadline.min(at)));
    }

    /// Moves to the next epoch once no batch may have been written without our knowing.
    fn advance_bump(&mut self) {
        if !self.sequencer.is_bumping() || self.partitions.iter().any(Partition::holds_bump) {
            return;
        }
        self.sequencer.bump();
        let waiting = self.partitions.iter_mut().flat_map(|p| p.window.iter_mut());
        waiting.filter(|slot| slot.is_waiting()).for_each(|slot| slot.stamp = None);
    }
}

/// An answer's code with the broker's own words.
fn cause(code: ErrorCode, message: Option<&String>) -> Cause {
    Cause::Broker(code, message.cloned())
}
