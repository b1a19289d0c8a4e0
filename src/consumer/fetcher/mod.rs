//! The fetcher: what to ask of which leader now, and what has come that can be handed out. A state
//! machine without I/O and clock: `handle_*` takes what happened, [`Fetcher::poll`] gives what to
//! do, [`Fetcher::next_deadline`] when to ask again.
//!
//! ```text
//!   assign, seek ─► Committed ──OffsetFetch──┐
//!            │         │ none: reset         ▼
//!            └──────► Unknown ──ListOffsets──► At { position, fetch } ──Fetch──► queue ──take──► user
//!                      │  ▲                     │  │     ▲    ▲                  │
//!                      │  └─ out of range: reset ──┘     │    └── position moves ┘
//!                      └─ trouble: wait, retry ─┘        └─ an unreadable batch: fetch = position
//! ```
//!
//! - Of each broker one fetch is under way at a time, over all partitions that it leads or is the
//!   named replica for (KIP-392), in a session that names only what is new (KIP-227). Those that had
//!   records go last the next time, so that each gets its turn at the size limits.
//! - A position is held against the log of each new leader before it is fetched from (KIP-320).
//! - What is paused, or about to be taken away, is neither fetched nor handed out; what is buffered of
//!   it is set aside.
//! - A partition is fetched ahead of what was handed out, but not while it has
//!   `max.partition.fetch.bytes` buffered, nor while its broker's partitions together have half of
//!   `fetch.max.bytes`. So what is buffered stays below `fetch.max.bytes` for each broker, or one
//!   batch.
//! - An answer counts only if it is the one that its partition waits for: not after a seek, and not
//!   if another broker has come to lead it, which is asked without waiting for the old one.
//! - A position belongs to a topic's id. If the topic is deleted and made anew, the user is told and
//!   nothing of the new one is read before a seek.
//! - An offset that the log does not hold leads to where `auto.offset.reset` says, or to an error; so
//!   does an offset that the group has not committed. Only the leader of now is believed.
//! - An error, or a reset, takes its place in the queue behind the records before it. What only lasts (no
//!   leader, no connection) is retried, and told to the user when it has lasted for
//!   [`FetchConfig::patience`].

mod answer;
mod assigned;
mod completed;
mod fetches;
mod handout;
mod isolation;
mod node;
mod opened;
mod plan;
mod sent;
mod session;
mod start;
mod validate;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use crate::client::LeaderHint;
use crate::config::{IsolationLevel, OffsetReset};
use crate::consumer::subscription::{Leadership, Partition};
use crate::error::{ClientError, ConsumerError};
use crate::protocol::messages::fetch::{FetchRequest, FetchResponse};
use crate::protocol::messages::list_offsets::ListOffsetsRequest;
use crate::protocol::messages::offset_for_leader_epoch::OffsetForLeaderEpochRequest;
use crate::time::{Backoff, Clock, Duration, Instant};
use crate::types::{BrokerId, TopicPartition};
use completed::Problem;
use handout::{Content, Waiting};
use node::Node;
use sent::Sent;

pub(crate) use completed::Checks;
pub(crate) use handout::Taken;
pub(crate) use opened::Room;

/// The rules that the fetcher goes by, from the configuration.
#[derive(Debug, Clone)]
pub(crate) struct FetchConfig {
    /// `fetch.max.bytes`.
    pub(crate) max_bytes: usize,
    /// `max.partition.fetch.bytes`.
    pub(crate) partition_max_bytes: usize,
    /// `fetch.min.bytes`.
    pub(crate) min_bytes: usize,
    /// `fetch.max.wait.ms`.
    pub(crate) max_wait: Duration,
    /// `isolation.level`.
    pub(crate) isolation: IsolationLevel,
    /// `auto.offset.reset`.
    pub(crate) reset: OffsetReset,
    /// What time a reset `by_duration` counts back from.
    pub(crate) clock: Arc<dyn Clock>,
    /// `client.rack`.
    pub(crate) rack: String,
    /// How long a replica is read from before the leader is asked again (`metadata.max.age.ms`).
    pub(crate) replica_age: Duration,
    pub(crate) checks: Checks,
    /// `max.poll.records`.
    pub(crate) max_poll_records: usize,
    /// `retry.backoff.ms` and `retry.backoff.max.ms`.
    pub(crate) backoff: Backoff,
    /// How long a partition may be unreadable before the user is told.
    pub(crate) patience: Duration,
}

/// What the driver is to do.
#[derive(Debug)]
pub(crate) enum Action {
    /// Get the metadata of a topic and tell by `handle_topic` how it went.
    Track(String),
    /// Fetch metadata anew: a leader is missing or wrong.
    RefreshMetadata,
    /// A broker named the leader of a partition (KIP-951).
    LeaderHint(LeaderHint),
    /// Find out what the group has committed for these and tell by `handle_committed`.
    Committed { token: u64, partitions: Vec<TopicPartition> },
    /// Send it and tell by `handle_offsets`.
    ListOffsets { token: u64, node: BrokerId, request: ListOffsetsRequest },
    /// Send it and tell by `handle_epochs`: no answer if the broker is one before 2.3, which does not
    /// let consumers ask.
    OffsetForLeaderEpoch { token: u64, node: BrokerId, request: OffsetForLeaderEpochRequest },
    /// Send it and tell by `handle_fetched`. Versions before 12 know no `last_fetched_epoch`.
    Fetch {
        token: u64,
        node: BrokerId,
        request: FetchRequest,
        /// Whether each topic has an id, which newer versions send instead of the name.
        by_topic_id: bool,
    },
}

/// An answer to a fetch.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) response: FetchResponse,
    /// The length of the frame that it came in, all of which stays in memory as long as any of its
    /// records do.
    pub(crate) frame_len: usize,
}

/// When something happened, and the jitter of the back-offs that come of it: what failed together is
/// tried again together, in one request.
#[derive(Debug, Clone, Copy)]
struct Moment {
    now: Instant,
    /// In `0.0..1.0`.
    chance: f64,
}

/// See the module.
pub(crate) struct Fetcher {
    config: FetchConfig,
    /// By slot, a number that no other partition ever has.
    partitions: BTreeMap<usize, Partition>,
    index: HashMap<Arc<TopicPartition>, usize>,
    /// The partitions in the order in which the next fetches name them.
    order: Vec<usize>,
    nodes: BTreeMap<BrokerId, Node>,
    sent: HashMap<u64, Sent>,
    /// The topics whose metadata is being waited for.
    tracking: HashSet<String>,
    /// What came, in the order in which it came.
    queue: VecDeque<Waiting>,
    /// What of it is of partitions that are not wanted now.
    parked: VecDeque<Waiting>,
    /// Since when a partition is held back by what it has buffered, and nothing has been taken.
    held_back_since: Option<Instant>,
    last_slot: usize,
    last_version: u64,
    last_token: u64,
    /// What has come up between polls.
    actions: Vec<Action>,
    deadline: Option<Instant>,
    /// When the first trouble will have lasted too long; at or after that.
    overdue: Option<Instant>,
    random: fastrand::Rng,
}

impl Fetcher {
    /// `seed` decides the jitter of back-offs.
    pub(crate) fn new(config: FetchConfig, seed: u64) -> Self {
        Self {
            config,
            partitions: BTreeMap::new(),
            index: HashMap::new(),
            order: Vec::new(),
            nodes: BTreeMap::new(),
            sent: HashMap::new(),
            tracking: HashSet::new(),
            queue: VecDeque::new(),
            parked: VecDeque::new(),
            held_back_since: None,
            last_slot: 0,
            last_version: 0,
            last_token: 0,
            actions: Vec::new(),
            deadline: None,
            overdue: None,
            random: fastrand::Rng::with_seed(seed),
        }
    }

    pub(crate) fn config(&self) -> &FetchConfig {
        &self.config
    }

    /// Metadata has changed; `lookup` tells what it knows of a partition now.
    pub(crate) fn handle_metadata(
        &mut self,
        lookup: impl Fn(&TopicPartition) -> Option<Leadership>,
        now: Instant,
    ) {
        for partition in self.partitions.values_mut() {
            let leadership = lookup(&partition.name);
            partition.set_leadership(leadership, now);
        }
    }

    /// What came of [`Action::Track`]. If it went well, `handle_metadata` tells what is known; as long
    /// as it does not, the topic is asked for again, but not at once.
    pub(crate) fn handle_topic(
        &mut self,
        topic: &str,
        result: Result<(), ClientError>,
        now: Instant,
    ) {
        self.tracking.remove(topic);
        let at = self.moment(now);
        let mut failed = Vec::new();
        for (slot, partition) in &mut self.partitions {
            if partition.name.topic == topic && partition.leadership.is_none() {
                match &result {
                    Ok(()) => partition.back_off(self.config.backoff, at.now, at.chance),
                    Err(error) => failed.push((*slot, error.clone())),
                }
            }
        }
        for (slot, error) in failed {
            self.fail(slot, error, at);
        }
    }

    fn moment(&mut self, now: Instant) -> Moment {
        Moment { now, chance: self.random.f64() }
    }

    /// A try at a partition failed: it is tried again, unless that is of no use.
    fn fail(&mut self, slot: usize, cause: ClientError, at: Moment) {
        let Some(partition) = self.partitions.get_mut(&slot) else { return };
        // If it was a replica, the leader may do better.
        partition.preferred = None;
        if answer::passes(&cause) {
            tracing::debug!("{cause}; it is tried again");
            partition.failed(cause, self.config.backoff, at.now, at.chance);
        } else {
            let name = (*partition.name).clone();
            let offset = partition.place.fetch().map(|fetch| fetch.offset);
            self.halt(slot, ConsumerError::Refused { partition: name, offset, cause });
        }
    }

    fn next_version(&mut self) -> u64 {
        self.last_version += 1;
        self.last_version
    }
}

/// The partition that a version belongs to, if it still has it.
fn current(
    partitions: &mut BTreeMap<usize, Partition>,
    slot: usize,
    version: u64,
) -> Option<&mut Partition> {
    partitions.get_mut(&slot).filter(|partition| partition.version == version)
}

fn invalid(name: &TopicPartition, problem: Problem) -> ConsumerError {
    let Problem { first, last, cause } = problem;
    ConsumerError::InvalidBatch { partition: name.clone(), first, last, cause }
}

/// One line: how far each partition is.
impl std::fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Fetcher {{ {} requests, {} waiting", self.sent.len(), self.queue.len())?;
        for partition in self.partitions.values() {
            write!(f, ", {}: {:?}", partition.name, partition.place)?;
        }
        f.write_str(" }")
    }
}
