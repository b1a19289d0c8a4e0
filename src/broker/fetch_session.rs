//! Incremental fetch sessions of one node (KIP-227): which partitions a client fetches, so that it need not name them
//! each time, and what it was last told of each, so that the answers leave out those without news.
//!
//! It knows what was asked and what was answered; what is in the logs it is told. Rules and numbers are those of Kafka's
//! `FetchSession` and `FetchSessionCache`.
//!
//! | session id, epoch of the request | what happens                                                        |
//! |----------------------------------|---------------------------------------------------------------------|
//! | any, -1                          | the session, if there is one, is closed; the answer is in full      |
//! | any, 0                           | as above, and a session is made from the answer, if there is room   |
//! | known, the expected one          | added, changed and forgotten partitions are noted; news are answered |
//! | known, another                   | `INVALID_FETCH_SESSION_EPOCH`                                       |
//! | known, but by names, not ids     | `FETCH_SESSION_TOPIC_ID_ERROR`, or the other way round              |
//! | unknown, any                     | `FETCH_SESSION_ID_NOT_FOUND`                                        |

use std::collections::{BTreeMap, HashMap};

use crate::error::ErrorCode;
use crate::protocol::messages::fetch::{FetchPartition, FetchPartitionData, FetchRequest};
use crate::types::TopicId;

/// No session.
const NONE: i32 = 0;
const INITIAL_EPOCH: i32 = 0;
const FINAL_EPOCH: i32 = -1;
/// `min.incremental.fetch.session.eviction.ms`.
const EVICTION_MS: i64 = 120_000;

/// A partition as a request names it: by the topic's name or, from version 13 on, by its id.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) topic: String,
    pub(crate) topic_id: TopicId,
    pub(crate) partition: i32,
}

/// What is asked of a partition.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) key: Key,
    pub(crate) fetch: FetchPartition,
}

/// How a fetch is to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// In full, without a session.
    Sessionless,
    /// In full, and a session is made.
    Full { by_id: bool },
    /// With what is new to the session; the epoch is the one that the next request must have.
    Incremental { id: i32, next: i32 },
}

/// A partition of a session, and what was last told of it; -1 if nothing was.
#[derive(Debug)]
struct Cached {
    asked: Asked,
    high_watermark: i64,
    log_start_offset: i64,
}

#[derive(Debug)]
struct Session {
    by_id: bool,
    /// The epoch that the next request must have.
    epoch: i32,
    created: i64,
    used: i64,
    partitions: Partitions,
}

/// The partitions of a session in the order in which they are answered: those that had records go to the end.
#[derive(Debug, Default)]
struct Partitions {
    ordered: BTreeMap<u64, Cached>,
    places: HashMap<Key, u64>,
    next_place: u64,
}

impl Partitions {
    fn len(&self) -> usize {
        self.ordered.len()
    }

    fn get_mut(&mut self, key: &Key) -> Option<&mut Cached> {
        self.ordered.get_mut(self.places.get(key)?)
    }

    /// Takes a partition in at the end.
    fn push(&mut self, cached: Cached) {
        if let Some(place) = self.places.insert(cached.asked.key.clone(), self.next_place) {
            self.ordered.remove(&place);
        }
        self.ordered.insert(self.next_place, cached);
        self.next_place += 1;
    }

    fn remove(&mut self, key: &Key) -> Option<Cached> {
        self.ordered.remove(&self.places.remove(key)?)
    }
}

/// See the module's docs.
#[derive(Debug)]
pub(crate) struct FetchSessions {
    /// `max.incremental.fetch.session.cache.slots`
    slots: usize,
    sessions: BTreeMap<i32, Session>,
    rng: fastrand::Rng,
}

impl FetchSessions {
    pub(crate) fn new(slots: usize, seed: u64) -> Self {
        Self { slots, sessions: BTreeMap::new(), rng: fastrand::Rng::with_seed(seed) }
    }

    /// Forgets all sessions, as a restart does.
    pub(crate) fn clear(&mut self) {
        self.sessions.clear();
    }

    /// The partitions of a session.
    pub(crate) fn partitions(&self, id: i32) -> impl Iterator<Item = &Key> {
        let session = self.sessions.get(&id);
        session.into_iter().flat_map(|session| session.partitions.places.keys())
    }

    /// Takes in a request: how it is to be answered, and of which partitions. `now` is in milliseconds.
    pub(crate) fn begin(
        &mut self,
        request: &FetchRequest,
        by_id: bool,
        now: i64,
    ) -> Result<(Kind, Vec<Asked>), ErrorCode> {
        let id = request.session_id;
        if matches!(request.session_epoch, INITIAL_EPOCH | FINAL_EPOCH) {
            self.sessions.remove(&id);
            let full = request.session_epoch == INITIAL_EPOCH;
            let kind = if full { Kind::Full { by_id } } else { Kind::Sessionless };
            return Ok((kind, named(request)));
        }
        let session = self.sessions.get_mut(&id).ok_or(ErrorCode::FETCH_SESSION_ID_NOT_FOUND)?;
        if session.epoch != request.session_epoch {
            return Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH);
        }
        if session.by_id != by_id {
            return Err(ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR);
        }
        session.update(request);
        if session.partitions.len() == 0 {
            self.sessions.remove(&id);
            return Ok((Kind::Sessionless, named(request)));
        }
        session.used = now;
        session.epoch = next_epoch(session.epoch);
        let cached = session.partitions.ordered.values();
        let asked = cached.map(|cached| cached.asked.clone()).collect();
        Ok((Kind::Incremental { id, next: session.epoch }, asked))
    }

    /// What of an answer is sent, and the id of the session that it belongs to.
    ///
    /// # Errors
    /// The code of the whole answer, if another request of the session came meanwhile or the session was evicted.
    pub(crate) fn finish(
        &mut self,
        kind: Kind,
        answer: Vec<(Asked, FetchPartitionData)>,
        now: i64,
    ) -> Result<(i32, Vec<(Key, FetchPartitionData)>), ErrorCode> {
        let whole = |answer: Vec<(Asked, FetchPartitionData)>| {
            answer.into_iter().map(|(asked, data)| (asked.key, data)).collect()
        };
        match kind {
            Kind::Sessionless => Ok((NONE, whole(answer))),
            Kind::Full { by_id } => Ok((self.create(by_id, &answer, now), whole(answer))),
            Kind::Incremental { id, next } => match self.sessions.get_mut(&id) {
                Some(session) if session.epoch == next => Ok((
                    id,
                    answer.into_iter().filter_map(|(a, data)| session.news(a, data)).collect(),
                )),
                // Kafka goes on with a session that was evicted meanwhile; the next request finds out.
                None => Ok((id, whole(answer))),
                Some(_) => Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH),
            },
        }
    }

    /// The id of a new session; [`NONE`] if there is no room for one.
    fn create(&mut self, by_id: bool, answer: &[(Asked, FetchPartitionData)], now: i64) -> i32 {
        if self.sessions.len() >= self.slots && !self.evict(answer.len(), now) {
            return NONE;
        }
        let id = loop {
            let id = self.rng.i32(1..i32::MAX);
            if !self.sessions.contains_key(&id) {
                break id;
            }
        };
        let mut partitions = Partitions::default();
        for (asked, data) in answer {
            partitions.push(Cached {
                asked: asked.clone(),
                high_watermark: data.high_watermark,
                log_start_offset: data.log_start_offset,
            });
        }
        let epoch = next_epoch(INITIAL_EPOCH);
        self.sessions.insert(id, Session { by_id, epoch, created: now, used: now, partitions });
        id
    }

    /// Makes room for a session of `size` partitions: in place of one that was not used for long, or of the smallest
    /// that is not new, if that is not larger.
    fn evict(&mut self, size: usize, now: i64) -> bool {
        let idlest = self.sessions.iter().min_by_key(|&(&id, session)| (session.used, id));
        let stale = idlest.filter(|(_, session)| now - session.used > EVICTION_MS);
        // Whether one is new is noted when it is used, in Kafka too.
        let old = |(_, session): &(&i32, &Session)| session.used - session.created > EVICTION_MS;
        let smallest = || {
            let evictable = self.sessions.iter().filter(old);
            let smallest = evictable.min_by_key(|&(&id, session)| (session.partitions.len(), id));
            smallest.filter(|(_, session)| session.partitions.len() < size)
        };
        let Some((&id, _)) = stale.or_else(smallest) else { return false };
        self.sessions.remove(&id);
        true
    }
}

impl Session {
    /// Notes what a request adds, changes and forgets.
    fn update(&mut self, request: &FetchRequest) {
        for asked in named(request) {
            match self.partitions.get_mut(&asked.key) {
                Some(cached) => cached.asked = asked,
                None => {
                    self.partitions.push(Cached {
                        asked,
                        high_watermark: -1,
                        log_start_offset: -1,
                    });
                }
            }
        }
        for topic in &request.forgotten_topics_data {
            for &partition in &topic.partitions {
                let (topic, topic_id) = (topic.topic.clone(), topic.topic_id);
                self.partitions.remove(&Key { topic, topic_id, partition });
            }
        }
    }

    /// An answer for a partition, if it says something new.
    fn news(
        &mut self,
        asked: Asked,
        data: FetchPartitionData,
    ) -> Option<(Key, FetchPartitionData)> {
        let cached = self.partitions.get_mut(&asked.key)?;
        let has_records = data.records.as_ref().is_some_and(|records| !records.is_empty());
        let tell = has_records
            || cached.high_watermark != data.high_watermark
            || cached.log_start_offset != data.log_start_offset
            || data.preferred_read_replica >= 0
            || !data.error_code.is_ok()
            || data.diverging_epoch.end_offset >= 0;
        cached.log_start_offset = data.log_start_offset;
        // When an error goes away, the partition is told of again.
        cached.high_watermark = if data.error_code.is_ok() { data.high_watermark } else { -1 };
        if has_records && let Some(cached) = self.partitions.remove(&asked.key) {
            self.partitions.push(cached);
        }
        tell.then_some((asked.key, data))
    }
}

/// The partitions that a request names.
fn named(request: &FetchRequest) -> Vec<Asked> {
    let mut named = Vec::new();
    for topic in &request.topics {
        for fetch in &topic.partitions {
            let (name, topic_id) = (topic.topic.clone(), topic.topic_id);
            let key = Key { topic: name, topic_id, partition: fetch.partition };
            named.push(Asked { key, fetch: fetch.clone() });
        }
    }
    named
}

/// After the greatest comes 1, since 0 begins a session.
fn next_epoch(epoch: i32) -> i32 {
    epoch.checked_add(1).unwrap_or(1)
}

#[cfg(test)]
#[path = "fetch_session/tests.rs"]
mod tests;
