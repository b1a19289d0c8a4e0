//! The fetcher: what to ask of which leader now, and what has come that can be handed out. A state
//! machine without I/O and clock: `handle_*` takes what happened, [`Fetcher::poll`] gives what to
//! do, [`Fetcher::next_deadline`] when to ask again.
//!
//! ```text
//!   assign, seek ─► Unknown ──ListOffsets──► At { position, fetch } ──Fetch──► queue ──take──► user
//!                      │                        │        ▲    ▲                  │
//!                      └─ trouble: wait, retry ─┘        │    └── position moves ┘
//!                                                        └─ an unreadable batch: fetch = position
//! ```
//!
//! - Of each broker one fetch is under way at a time, over all partitions that it leads. Those that
//!   had records go last the next time, so that each gets its turn at the size limits.
//! - A partition is fetched ahead of what was handed out, but not while it has
//!   `max.partition.fetch.bytes` buffered, nor while its broker's partitions together have half of
//!   `fetch.max.bytes`. So what is buffered stays below `fetch.max.bytes` for each broker, or one
//!   batch.
//! - An answer counts only if it is the one that its partition waits for: not after a seek, and not
//!   if another broker has come to lead it, which is asked without waiting for the old one.
//! - A position belongs to a topic's id. If the topic is deleted and made anew, the user is told and
//!   nothing of the new one is read before a seek.
//! - An error takes its place in the queue behind the records before it. What only lasts (no
//!   leader, no connection) is retried, and told to the user when it has lasted for
//!   [`FetchConfig::patience`].

mod answer;
mod completed;
mod plan;
mod sent;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use crate::client::LeaderHint;
use crate::consumer::subscription::{Leadership, Partition, Place, StartAt};
use crate::error::{ClientError, ConsumerError};
use crate::protocol::messages::fetch::{FetchRequest, FetchResponse};
use crate::protocol::messages::list_offsets::ListOffsetsRequest;
use crate::record::Batches;
use crate::time::{Backoff, Duration, Instant};
use crate::types::{BrokerId, TopicPartition};
use sent::Sent;

pub(crate) use completed::{Checks, Problem, take_batches};

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
    pub(crate) checks: Checks,
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
    /// Send it and tell by `handle_offsets`.
    ListOffsets { token: u64, node: BrokerId, request: ListOffsetsRequest },
    /// Send it and tell by `handle_fetched`.
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

/// What lies next in the queue of things to hand out.
#[derive(Debug)]
pub(crate) enum Taken {
    Batches(Handout),
    Error(ConsumerError),
}

/// Fetched bytes on their way to the user, to be given back by [`Fetcher::give_back`].
#[derive(Debug)]
pub(crate) struct Handout {
    slot: usize,
    version: u64,
    pub(crate) name: Arc<TopicPartition>,
    pub(crate) position: i64,
    pub(crate) source: Batches,
    /// Of the source, when it was taken.
    bytes: usize,
}

/// Something that waits to be handed out.
#[derive(Debug)]
struct Waiting {
    slot: usize,
    version: u64,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Batches { source: Batches, bytes: usize },
    Error(ConsumerError),
}

/// When something happened, and the jitter of the back-offs that come of it: what failed together is
/// tried again together, in one request.
#[derive(Debug, Clone, Copy)]
struct Moment {
    now: Instant,
    /// In `0.0..1.0`.
    chance: f64,
}

/// What is under way to a broker.
#[derive(Debug, Default, Clone, Copy)]
struct Node {
    fetching: bool,
    listing: bool,
    /// How many answers in a row brought nothing although the broker could still have waited.
    early: u32,
    /// No fetch before then.
    fetch_from: Option<Instant>,
}

/// How long a broker is left alone that finds nothing, time and again, and does not wait for more:
/// it would be asked without end. With `fetch.min.bytes=0` that is what it was told to do.
const EARLY_PAUSE: Duration = Duration::from_millis(20);

impl Node {
    /// Takes note of an answer; `early` is until when it could have waited, if it was one of those.
    fn note_early(&mut self, early: Option<Instant>, now: Instant) {
        self.early = early.map_or(0, |_| self.early.saturating_add(1));
        self.fetch_from =
            early.filter(|_| self.early > 1).map(|until| until.min(now + EARLY_PAUSE));
    }

    /// Whether it can be sent a fetch.
    fn takes_fetch(&self, now: Instant) -> bool {
        !self.fetching && self.fetch_from.is_none_or(|from| from <= now)
    }
}

/// See the module.
pub(crate) struct Fetcher {
    config: FetchConfig,
    partitions: Vec<Partition>,
    index: HashMap<Arc<TopicPartition>, usize>,
    /// The partitions in the order in which the next fetches name them.
    order: Vec<usize>,
    nodes: BTreeMap<BrokerId, Node>,
    sent: HashMap<u64, Sent>,
    /// The topics whose metadata is being waited for.
    tracking: HashSet<String>,
    /// What came, in the order in which it came.
    queue: VecDeque<Waiting>,
    /// Since when a partition is held back by what it has buffered, and nothing has been taken.
    held_back_since: Option<Instant>,
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
            partitions: Vec::new(),
            index: HashMap::new(),
            order: Vec::new(),
            nodes: BTreeMap::new(),
            sent: HashMap::new(),
            tracking: HashSet::new(),
            queue: VecDeque::new(),
            held_back_since: None,
            last_version: 0,
            last_token: 0,
            actions: Vec::new(),
            deadline: None,
            overdue: None,
            random: fastrand::Rng::with_seed(seed),
        }
    }

    pub(crate) fn checks(&self) -> Checks {
        self.config.checks
    }

    /// Replaces the assignment. If a partition is named twice, the last start holds. `lookup` tells
    /// what metadata knows.
    pub(crate) fn assign(
        &mut self,
        partitions: impl IntoIterator<Item = (TopicPartition, StartAt)>,
        lookup: impl Fn(&TopicPartition) -> Option<Leadership>,
    ) {
        self.partitions.clear();
        self.index.clear();
        self.queue.clear();
        self.held_back_since = None;
        for (name, start) in partitions {
            let version = self.next_version();
            if let Some(&slot) = self.index.get(&name) {
                self.partitions[slot].restart(version, start.into());
                continue;
            }
            let mut partition = Partition::new(name, version, start);
            partition.leadership = lookup(&partition.name);
            // Where the user starts is a place in the topic as it is now.
            partition.seek(version, start.into());
            self.index.insert(partition.name.clone(), self.partitions.len());
            self.partitions.push(partition);
        }
        self.order = (0..self.partitions.len()).collect();
    }

    /// The assigned partitions.
    pub(crate) fn assignment(&self) -> impl Iterator<Item = &TopicPartition> {
        self.partitions.iter().map(|partition| &*partition.name)
    }

    /// Goes on from elsewhere; `false` if the partition is not assigned.
    pub(crate) fn seek(&mut self, name: &TopicPartition, start: StartAt) -> bool {
        let Some(&slot) = self.index.get(name) else { return false };
        let version = self.next_version();
        if let Some(partition) = self.partitions.get_mut(slot) {
            partition.seek(version, start.into());
        }
        self.queue.retain(|waiting| waiting.slot != slot);
        self.held_back_since = None;
        true
    }

    /// The next offset to be handed out; `None` if the partition is not assigned, or has to look it
    /// up yet.
    pub(crate) fn position(&self, name: &TopicPartition) -> Option<i64> {
        self.partitions.get(*self.index.get(name)?)?.place.position()
    }

    /// Metadata has changed; `lookup` tells what it knows of a partition now.
    pub(crate) fn handle_metadata(
        &mut self,
        lookup: impl Fn(&TopicPartition) -> Option<Leadership>,
        now: Instant,
    ) {
        for partition in &mut self.partitions {
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
        for slot in 0..self.partitions.len() {
            let partition = &mut self.partitions[slot];
            if partition.name.topic != topic || partition.leadership.is_some() {
                continue;
            }
            match &result {
                Ok(()) => partition.pause(self.config.backoff, at.now, at.chance),
                Err(error) => self.fail(slot, error.clone(), at),
            }
        }
    }

    /// What to hand out next. An error is given only if the caller `may_fail`; otherwise what lies
    /// behind it waits too.
    pub(crate) fn take(&mut self, may_fail: bool, now: Instant) -> Option<Taken> {
        if may_fail && let Some(error) = self.take_overdue(now) {
            return Some(Taken::Error(error));
        }
        loop {
            if !may_fail && matches!(self.queue.front()?.content, Content::Error(_)) {
                return None;
            }
            let Waiting { slot, version, content } = self.queue.pop_front()?;
            let backoff = self.config.backoff;
            let at = self.moment(now);
            let Some(partition) = current(&mut self.partitions, slot, version) else { continue };
            match (content, partition.place) {
                (Content::Batches { source, bytes }, Place::At { position, .. }) => {
                    let name = partition.name.clone();
                    self.held_back_since = None;
                    return Some(Taken::Batches(Handout {
                        slot,
                        version,
                        name,
                        position,
                        source,
                        bytes,
                    }));
                }
                // There is nothing to hand out of a partition without a position.
                (Content::Batches { .. }, Place::Unknown(_)) => {}
                (Content::Error(error), _) => {
                    partition.halted = false;
                    partition.pause(backoff, at.now, at.chance);
                    return Some(Taken::Error(error));
                }
            }
        }
    }

    /// Takes back what was taken, after some of it was handed out: what is left, the position, and
    /// what stopped it.
    pub(crate) fn give_back(&mut self, handout: Handout, problem: Option<Problem>) {
        let Handout { slot, version, name, position, source, bytes } = handout;
        let renewed = self.next_version();
        let Some(partition) = current(&mut self.partitions, slot, version) else { return };
        let Place::At { position: before, fetch } = partition.place else { return };
        if position > before {
            partition.failures = 0;
        }
        let Some(problem) = problem else {
            let left = source.rest().len();
            partition.place = Place::At { position, fetch };
            // An incomplete batch at the end is no more than the broker's way to cut its answers.
            let more = source.clone().next().is_some();
            let freed = if more { bytes.saturating_sub(left) } else { bytes };
            partition.buffered = partition.buffered.saturating_sub(freed);
            if more {
                let content = Content::Batches { source, bytes: left };
                self.queue.push_front(Waiting { slot, version, content });
            }
            return;
        };
        // What was fetched from behind the batch is of no use before the batch was read.
        partition.restart(renewed, Place::at(position));
        partition.halted = true;
        self.queue.retain(|waiting| waiting.slot != slot);
        let content = Content::Error(invalid(&name, problem));
        self.queue.push_front(Waiting { slot, version: renewed, content });
    }

    /// The error of a partition that has been unreadable for too long.
    fn take_overdue(&mut self, now: Instant) -> Option<ConsumerError> {
        if self.overdue.is_none_or(|at| at > now) {
            return None;
        }
        let patience = self.config.patience;
        let partition = self.partitions.iter_mut().find(|partition| {
            !partition.halted && partition.overdue(patience).is_some_and(|at| at <= now)
        })?;
        let trouble = partition.trouble.as_mut()?;
        let waited = now.saturating_duration_since(trouble.since);
        let cause = trouble.cause.clone().unwrap_or_else(|| ClientError::MetadataTimeout {
            topic: Some(partition.name.topic.as_str().into()),
            waited,
            last: None,
        });
        // The next time is told after as long again.
        trouble.since = now;
        Some(ConsumerError::Unavailable {
            partition: (*partition.name).clone(),
            offset: partition.place.position(),
            waited,
            cause,
        })
    }

    fn moment(&mut self, now: Instant) -> Moment {
        Moment { now, chance: self.random.f64() }
    }

    /// A try at a partition failed: it is tried again, unless that is of no use.
    fn fail(&mut self, slot: usize, cause: ClientError, at: Moment) {
        let Some(partition) = self.partitions.get_mut(slot) else { return };
        if answer::passes(&cause) {
            tracing::debug!("{cause}; it is tried again");
            partition.failed(cause, self.config.backoff, at.now, at.chance);
        } else {
            let name = (*partition.name).clone();
            let offset = partition.place.fetch();
            self.halt(slot, ConsumerError::Refused { partition: name, offset, cause });
        }
    }

    /// Puts an error behind what is buffered of a partition; nothing is fetched until it is taken.
    fn halt(&mut self, slot: usize, error: ConsumerError) {
        let Some(partition) = self.partitions.get_mut(slot) else { return };
        partition.halted = true;
        // Nothing that is still to come may get in behind the error.
        partition.in_flight = None;
        let version = partition.version;
        self.queue.push_back(Waiting { slot, version, content: Content::Error(error) });
    }

    fn next_version(&mut self) -> u64 {
        self.last_version += 1;
        self.last_version
    }
}

/// The partition that a version belongs to, if it still has it.
fn current(partitions: &mut [Partition], slot: usize, version: u64) -> Option<&mut Partition> {
    partitions.get_mut(slot).filter(|partition| partition.version == version)
}

fn invalid(name: &TopicPartition, problem: Problem) -> ConsumerError {
    let Problem { first, last, cause } = problem;
    ConsumerError::InvalidBatch { partition: name.clone(), first, last, cause }
}

/// One line: how far each partition is.
impl std::fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Fetcher {{ {} requests, {} waiting", self.sent.len(), self.queue.len())?;
        for partition in &self.partitions {
            write!(f, ", {}: {:?}", partition.name, partition.place)?;
        }
        f.write_str(" }")
    }
}
