//! What to ask of which broker now. It decides whom, what and how much; what comes back is the
//! business of `answer`.

use std::collections::BTreeMap;

use super::sent::{Asked, Sent};
use super::{Action, Fetcher};
use crate::consumer::subscription::{InFlight, Partition, Place};
use crate::error::{ClientError, ConsumerError};
use crate::protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use crate::time::{Duration, Instant};
use crate::types::{BrokerId, TopicId};

/// How long a fetch may at least wait at the broker while another partition of the same broker is
/// held back by what it has buffered. The broker answers one request at a time, so until then that
/// partition could not be fetched, although the user may have taken all of it long ago. If the user
/// takes nothing, the wait grows to as long as that has been so.
const HELD_BACK_WAIT: Duration = Duration::from_millis(20);

const MILLISECOND: Duration = Duration::from_millis(1);

/// What one broker can be asked for.
#[derive(Debug, Default)]
struct Candidates {
    slots: Vec<usize>,
    /// Whether a partition is left out for what it has buffered.
    held_back: bool,
    /// When the first of those that failed is tried again.
    retry_at: Option<Instant>,
    buffered: usize,
}

impl Fetcher {
    /// What is to be done now.
    pub(crate) fn poll(&mut self, now: Instant) -> Vec<Action> {
        self.deadline = None;
        self.overdue = None;
        self.look_for_leaders(now);
        self.plan_committed(now);
        self.plan_lookups(now);
        self.plan_fetches(now);
        self.plan_wake_ups(now);
        std::mem::take(&mut self.actions)
    }

    /// When to poll again, if nothing happens before. As of the last poll.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn look_for_leaders(&mut self, now: Instant) {
        let mut recreated = Vec::new();
        let mut leaderless = Vec::new();
        for (slot, partition) in &mut self.partitions {
            if partition.halted || !partition.is_due(now) {
                continue;
            }
            if let (Some(is), Some(fetch)) = (partition.replaced_by(), partition.place.fetch()) {
                let name = (*partition.name).clone();
                let (offset, was) = (fetch.offset, partition.topic_id);
                let error = ConsumerError::TopicRecreated { partition: name, offset, was, is };
                recreated.push((*slot, error));
                continue;
            }
            match partition.leadership {
                None => {
                    let topic = &partition.name.topic;
                    if !self.tracking.contains(topic) {
                        self.tracking.insert(topic.clone());
                        self.actions.push(Action::Track(topic.clone()));
                    }
                    partition.wait_for_topic(now);
                }
                Some(leadership) if leadership.leader.is_none() => {
                    let partition = (*partition.name).clone();
                    leaderless.push((*slot, ClientError::NoLeader { partition }));
                }
                Some(_) => {}
            }
        }
        if !leaderless.is_empty() {
            self.actions.push(Action::RefreshMetadata);
        }
        let at = self.moment(now);
        for (slot, error) in recreated {
            self.halt(slot, error);
        }
        for (slot, error) in leaderless {
            self.fail(slot, error, at);
        }
    }

    fn plan_fetches(&mut self, now: Instant) {
        let mut by_node: BTreeMap<BrokerId, Candidates> = BTreeMap::new();
        for &slot in &self.order {
            let Some(partition) = self.partitions.get(&slot) else { continue };
            let Some(node) = partition.leader().filter(|_| partition.is_wanted()) else { continue };
            if self.nodes.get(&node).is_some_and(|node| !node.takes_fetch(now)) {
                continue;
            }
            let candidates = by_node.entry(node).or_default();
            candidates.buffered += partition.buffered;
            if !matches!(partition.place, Place::At { .. })
                || partition.halted
                || partition.in_flight.is_some()
            {
                continue;
            }
            if !partition.is_due(now) {
                let retry_at = partition.trouble.as_ref().map(|trouble| trouble.retry_at);
                candidates.retry_at = earlier(candidates.retry_at, retry_at);
                continue;
            }
            if partition.buffered > 0 && partition.buffered >= self.config.partition_max_bytes {
                candidates.held_back = true;
            } else {
                candidates.slots.push(slot);
            }
        }
        if by_node.values().any(|candidates| candidates.held_back) {
            self.held_back_since.get_or_insert(now);
        }
        for (node, candidates) in by_node {
            // With less than half of the room left, many small answers would come of it.
            let full = candidates.buffered > self.config.max_bytes / 2;
            if !full && !candidates.slots.is_empty() {
                self.fetch(node, candidates, now);
            }
        }
    }

    fn fetch(&mut self, node: BrokerId, candidates: Candidates, now: Instant) {
        let wait = self.wait(&candidates, now);
        let Candidates { slots, buffered, .. } = candidates;
        let token = self.next_token();
        let mut sent = Sent::new(node);
        let mut topics: Vec<FetchTopic> = Vec::new();
        for slot in slots {
            let Some(partition) = self.partitions.get_mut(&slot) else { continue };
            let Place::At { fetch, .. } = partition.place else { continue };
            let asked = ask(partition, slot, fetch.offset, token, &mut sent);
            let wanted = FetchPartition {
                partition: asked.partition,
                current_leader_epoch: asked.epoch,
                fetch_offset: fetch.offset,
                partition_max_bytes: to_i32(self.config.partition_max_bytes),
                ..FetchPartition::default()
            };
            let topic = &partition.name.topic;
            // The order says who goes first, so that a topic may come up more than once.
            match topics.last_mut().filter(|last| last.topic == *topic) {
                Some(last) => last.partitions.push(wanted),
                None => topics.push(FetchTopic {
                    topic: topic.clone(),
                    topic_id: asked.topic_id,
                    partitions: vec![wanted],
                }),
            }
        }
        let max_wait_ms = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        sent.until = now.checked_add(Duration::from_millis(max_wait_ms.unsigned_abs().into()));
        self.sent.insert(token, sent);
        self.nodes.entry(node).or_default().fetching = true;
        let config = &self.config;
        let by_topic_id = topics.iter().all(|topic| !topic.topic_id.is_zero());
        let request = FetchRequest {
            max_wait_ms,
            min_bytes: to_i32(config.min_bytes),
            max_bytes: to_i32(config.max_bytes.saturating_sub(buffered)),
            isolation_level: config.isolation.code(),
            topics,
            ..FetchRequest::default()
        };
        self.actions.push(Action::Fetch { token, node, request, by_topic_id });
    }

    /// How long the broker may wait: not past what would have to wait for its answer.
    fn wait(&self, candidates: &Candidates, now: Instant) -> Duration {
        let untouched = self.held_back_since.map(|since| now.saturating_duration_since(since));
        let held_back = untouched.filter(|_| candidates.held_back);
        // Requests count in milliseconds, and one that waits for none would come too early.
        let retry = candidates
            .retry_at
            .map(|at| at.saturating_duration_since(now).saturating_add(MILLISECOND));
        [held_back.map(|untouched| untouched.max(HELD_BACK_WAIT)), retry]
            .into_iter()
            .flatten()
            .fold(self.config.max_wait, Duration::min)
    }

    /// Notes when the next back-off ends, and when a trouble will have lasted too long.
    fn plan_wake_ups(&mut self, now: Instant) {
        for from in self.nodes.values().filter_map(|node| node.fetch_from) {
            self.deadline = earlier(self.deadline, Some(from).filter(|from| *from > now));
        }
        for partition in self.partitions.values() {
            let Some(trouble) = &partition.trouble else { continue };
            let overdue = partition.overdue(self.config.patience).filter(|_| partition.tells());
            self.overdue = earlier(self.overdue, overdue);
            // What is overdue waits for the user, and is no reason to wake up.
            self.deadline = earlier(self.deadline, overdue.filter(|at| *at > now));
            let waits = !partition.halted && trouble.retry_at > now;
            self.deadline = earlier(self.deadline, waits.then_some(trouble.retry_at));
        }
    }

    pub(super) fn next_token(&mut self) -> u64 {
        self.last_token += 1;
        self.last_token
    }
}

/// What a request says of a partition, whatever it asks.
pub(super) struct Named {
    pub(super) partition: i32,
    pub(super) epoch: i32,
    pub(super) topic_id: TopicId,
}

/// Notes that a partition is being asked for.
pub(super) fn ask(
    partition: &mut Partition,
    slot: usize,
    offset: i64,
    token: u64,
    sent: &mut Sent,
) -> Named {
    partition.in_flight = Some(InFlight { token, leader: partition.leader() });
    let (epoch, topic_id) = partition
        .leadership
        .map_or_else(Default::default, |leadership| (leadership.epoch, leadership.topic_id));
    let asked = Asked { slot, token, offset, epoch };
    sent.add(&partition.name.topic, topic_id, partition.name.partition, asked);
    Named { partition: partition.name.partition, epoch, topic_id }
}

fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// The configuration allows no more.
fn to_i32(bytes: usize) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}
