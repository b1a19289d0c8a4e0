//! The incremental fetch session with one broker (KIP-227): what the broker remembers of the last
//! request, so that the next one names only what is different.
//!
//! ```text
//!   id, epoch of the request        answer
//!   0, 0       open a session       its id; 0: the broker keeps none, and the next is 0, 0 again
//!   id, n      what is different    OK: id, n + 1 (1 after the largest); id 0: closed, 0, 0
//!   id, 0      close it, open one   as for 0, 0
//!
//!   FETCH_SESSION_ID_NOT_FOUND                       0, 0
//!   any other error of the whole answer, no answer,
//!   an answer that does not fit the request          id, 0
//! ```
//!
//! It knows no positions, and trusts nothing that was sent before an error.

use std::collections::HashMap;
use std::sync::Arc;

use crate::error::ErrorCode;
use crate::protocol::messages::fetch::{FetchPartition, FetchTopic, ForgottenTopic};
use crate::types::{TopicId, TopicPartition};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Session {
    id: i32,
    epoch: i32,
    /// What the broker remembers.
    known: HashMap<Arc<TopicPartition>, Wanted>,
    /// Whether it names topics by id.
    by_topic_id: bool,
    /// Answers in a row that were an error for the session.
    refusals: u32,
}

/// What is wanted of a partition.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wanted {
    pub(super) topic_id: TopicId,
    pub(super) partition: FetchPartition,
}

/// The part of a request that the session decides.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) session_id: i32,
    pub(super) session_epoch: i32,
    pub(super) topics: Vec<FetchTopic>,
    pub(super) forgotten: Vec<ForgottenTopic>,
    pub(super) by_topic_id: bool,
}

impl Part {
    /// Whether it names all that is wanted, and the answer has to.
    pub(super) fn is_full(&self) -> bool {
        self.session_epoch == 0
    }
}

impl Session {
    /// Puts what is wanted, in this order, into a request; all that is not wanted is forgotten.
    pub(super) fn plan(&mut self, wanted: Vec<(Arc<TopicPartition>, Wanted)>) -> Part {
        let by_topic_id = wanted.iter().all(|(_, wanted)| !wanted.topic_id.is_zero());
        let is_made_anew = wanted.iter().any(|(name, wanted)| {
            self.known.get(name).is_some_and(|known| known.topic_id != wanted.topic_id)
        });
        if by_topic_id != self.by_topic_id || is_made_anew {
            // A session cannot change from one to the other, and brokers that go by names forget the
            // new topic together with the old one.
            self.by_topic_id = by_topic_id;
            self.start_over();
        }
        let mut part =
            Part { session_id: self.id, session_epoch: self.epoch, by_topic_id, ..Part::default() };
        let mut known = HashMap::with_capacity(wanted.len());
        for (name, wanted) in wanted {
            let before = self.known.remove(&name);
            if before.as_ref() != Some(&wanted) {
                add(&mut part.topics, &name, &wanted);
            }
            known.insert(name, wanted);
        }
        let mut gone: Vec<_> = std::mem::replace(&mut self.known, known).into_iter().collect();
        gone.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        for (name, old) in gone {
            forget(&mut part.forgotten, &name, old.topic_id);
        }
        part
    }

    /// An answer came that fits the request; `id` is the session that the broker keeps.
    pub(super) fn answered(&mut self, id: i32) {
        self.refusals = 0;
        if id == 0 {
            *self = Self { by_topic_id: self.by_topic_id, ..Self::default() };
            return;
        }
        if self.epoch > 0 && id != self.id {
            // Of a session that nobody asked about.
            self.id = id;
            return self.start_over();
        }
        self.id = id;
        self.epoch = if self.epoch == i32::MAX { 1 } else { self.epoch + 1 };
    }

    /// The broker refused the request as a whole. Says whether the next request is worth sending
    /// without a pause.
    pub(super) fn refused(&mut self, code: ErrorCode) -> bool {
        if code == ErrorCode::FETCH_SESSION_ID_NOT_FOUND {
            self.id = 0;
        }
        self.start_over();
        self.refusals = self.refusals.saturating_add(1);
        self.refusals == 1 && is_of_session(code)
    }

    #[cfg(test)]
    pub(super) fn wind_to(&mut self, epoch: i32) {
        self.epoch = epoch;
    }

    /// What the broker remembers is not known any more.
    pub(super) fn start_over(&mut self) {
        self.epoch = 0;
        self.known.clear();
    }
}

/// Whether a code is about the session and not about what was asked in it.
fn is_of_session(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::FETCH_SESSION_ID_NOT_FOUND
            | ErrorCode::INVALID_FETCH_SESSION_EPOCH
            | ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR
            | ErrorCode::INCONSISTENT_TOPIC_ID
    )
}

/// The order says who goes first, so that a topic may come up more than once.
fn add(topics: &mut Vec<FetchTopic>, name: &TopicPartition, wanted: &Wanted) {
    let same =
        |last: &&mut FetchTopic| last.topic == name.topic && last.topic_id == wanted.topic_id;
    match topics.last_mut().filter(same) {
        Some(last) => last.partitions.push(wanted.partition.clone()),
        None => topics.push(FetchTopic {
            topic: name.topic.clone(),
            topic_id: wanted.topic_id,
            partitions: vec![wanted.partition.clone()],
        }),
    }
}

fn forget(topics: &mut Vec<ForgottenTopic>, name: &TopicPartition, topic_id: TopicId) {
    let same = |last: &&mut ForgottenTopic| last.topic == name.topic && last.topic_id == topic_id;
    match topics.last_mut().filter(same) {
        Some(last) => last.partitions.push(name.partition),
        None => topics.push(ForgottenTopic {
            topic: name.topic.clone(),
            topic_id,
            partitions: vec![name.partition],
        }),
    }
}
