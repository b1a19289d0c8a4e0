//! What to fetch of which broker now: of whom, what, how much, and for how long the broker may wait.
//! What comes back is the business of `answer`.

use std::collections::BTreeMap;

use super::plan::{ask, earlier};
use super::sent::Sent;
use super::session::Wanted;
use super::{Action, Fetcher};
use crate::consumer::subscription::Place;
use crate::protocol::messages::fetch::{FetchPartition, FetchRequest};
use crate::time::{Duration, Instant};
use crate::types::BrokerId;

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
    pub(super) fn plan_fetches(&mut self, now: Instant) {
        let mut by_node: BTreeMap<BrokerId, Candidates> = BTreeMap::new();
        for &slot in &self.order {
            let Some(partition) = self.partitions.get(&slot) else { continue };
            let source = partition.source(now).filter(|_| partition.is_wanted());
            let Some(node) = source else { continue };
            if self.nodes.get(&node).is_some_and(|node| !node.takes_fetch(now)) {
                continue;
            }
            let candidates = by_node.entry(node).or_default();
            candidates.buffered += partition.buffered;
            if !matches!(partition.place, Place::At { .. })
                || partition.halted
                || partition.in_flight.is_some()
                || partition.is_in_question()
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
        let mut wanted = Vec::with_capacity(slots.len());
        for slot in slots {
            let Some(partition) = self.partitions.get_mut(&slot) else { continue };
            let Place::At { fetch, .. } = partition.place else { continue };
            // What was not to be validated is, as far as anything is known of it.
            partition.validated();
            let asked = ask(partition, slot, fetch.offset, token, &mut sent);
            // A replica may not know the epoch yet.
            let last_epoch = fetch.epoch.filter(|_| partition.leader() == Some(node));
            let asked = Wanted {
                topic_id: asked.topic_id,
                partition: FetchPartition {
                    partition: asked.partition,
                    current_leader_epoch: asked.epoch,
                    fetch_offset: fetch.offset,
                    last_fetched_epoch: last_epoch.unwrap_or(-1),
                    partition_max_bytes: to_i32(self.config.partition_max_bytes),
                    ..FetchPartition::default()
                },
            };
            wanted.push((partition.name.clone(), asked));
        }
        let state = self.nodes.entry(node).or_default();
        let part = state.session.plan(wanted);
        state.fetching = true;
        sent.is_full = part.is_full();
        let max_wait_ms = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        sent.until = now.checked_add(Duration::from_millis(max_wait_ms.unsigned_abs().into()));
        sent.at = Some(now);
        self.sent.insert(token, sent);
        let config = &self.config;
        let by_topic_id = part.by_topic_id;
        let request = FetchRequest {
            max_wait_ms,
            min_bytes: to_i32(config.min_bytes),
            max_bytes: to_i32(config.max_bytes.saturating_sub(buffered)),
            isolation_level: config.isolation.code(),
            session_id: part.session_id,
            session_epoch: part.session_epoch,
            topics: part.topics,
            forgotten_topics_data: part.forgotten,
            rack_id: config.rack.clone(),
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
}

/// The configuration allows no more.
fn to_i32(bytes: usize) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}
