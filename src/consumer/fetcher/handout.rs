//! The queue of what waits for the user: in the order in which it came, an error behind the records
//! before it, and what is paused set aside.
//!
//! It does not look into batches; that is the business of `completed`.

use std::collections::VecDeque;
use std::sync::Arc;

use super::completed::{Completed, Problem};
use super::{Fetcher, current, invalid};
use crate::consumer::subscription::{Place, Position};
use crate::error::{ClientError, ConsumerError};
use crate::time::Instant;
use crate::types::TopicPartition;

/// What lies next in the queue of things to hand out.
#[derive(Debug)]
pub(crate) enum Taken {
    Batches(Handout),
    /// A position was moved to where a reset leads; there are no records in it.
    Moved,
    Error(ConsumerError),
}

/// Fetched bytes on their way to the user, to be given back by [`Fetcher::give_back`].
#[derive(Debug)]
pub(crate) struct Handout {
    slot: usize,
    version: u64,
    pub(crate) name: Arc<TopicPartition>,
    pub(crate) position: Position,
    pub(crate) completed: Box<Completed>,
    /// How many there were when it was taken.
    bytes: usize,
}

/// Something that waits to be handed out.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) slot: usize,
    pub(super) version: u64,
    pub(super) content: Content,
}

#[derive(Debug)]
pub(super) enum Content {
    Batches(Box<Completed>),
    /// Reading goes on from there once what lies before it has been handed out.
    Reset(Place),
    Error(ConsumerError),
}

impl Fetcher {
    /// What to hand out next. An error is given only if the caller `may_fail`; otherwise what lies
    /// behind it waits too.
    pub(crate) fn take(&mut self, may_fail: bool, now: Instant) -> Option<Taken> {
        if may_fail && let Some(error) = self.take_overdue(now) {
            return Some(Taken::Error(error));
        }
        loop {
            let Waiting { slot, version, content } = self.queue.pop_front()?;
            let Some(partition) = current(&mut self.partitions, slot, version) else { continue };
            if !partition.is_wanted() {
                self.parked.push_back(Waiting { slot, version, content });
                continue;
            }
            match (content, partition.place) {
                (Content::Batches(completed), Place::At { position, .. }) => {
                    let name = partition.name.clone();
                    let bytes = completed.len();
                    self.held_back_since = None;
                    return Some(Taken::Batches(Handout {
                        slot,
                        version,
                        name,
                        position,
                        completed,
                        bytes,
                    }));
                }
                // There is nothing to hand out of a partition without a position.
                (Content::Batches(_), _) => {}
                (Content::Reset(place), _) => {
                    self.reset(slot, place);
                    return Some(Taken::Moved);
                }
                (content @ Content::Error(_), _) if !may_fail => {
                    self.queue.push_front(Waiting { slot, version, content });
                    return None;
                }
                (Content::Error(error), _) => {
                    partition.halted = false;
                    let at = self.moment(now);
                    if let Some(partition) = self.partitions.get_mut(&slot) {
                        partition.back_off(self.config.backoff, at.now, at.chance);
                    }
                    return Some(Taken::Error(error));
                }
            }
        }
    }

    /// Takes back what was taken, after some of it was handed out: what is left, the position, and
    /// what stopped it. Says whether there is something to be asked for now.
    ///
    /// Not each time that some of it is gone: what there is room for then would come in many small
    /// answers, and polls would wake the fetcher all the time. And not while the broker has yet to
    /// answer: it is asked one thing at a time, and when it answers everything is looked at anyway.
    pub(crate) fn give_back(
        &mut self,
        handout: Handout,
        problem: Option<Problem>,
        now: Instant,
    ) -> bool {
        let Handout { slot, version, name, position, completed, bytes } = handout;
        let renewed = self.next_version();
        let half = self.config.partition_max_bytes / 2;
        let Some(partition) = current(&mut self.partitions, slot, version) else { return false };
        let Place::At { position: before, fetch } = partition.place else { return false };
        if position.offset > before.offset {
            partition.failures = 0;
        }
        let Some(problem) = problem else {
            partition.place = Place::At { position, fetch };
            let source = partition.source(now).and_then(|node| self.nodes.get(&node));
            let can_ask = source.is_none_or(|node| !node.fetching);
            let was_full = partition.buffered > half;
            partition.buffered = partition.buffered.saturating_sub(bytes);
            let is_done = completed.is_done();
            if !is_done {
                // What was compressed may have become more.
                partition.buffered = partition.buffered.saturating_add(completed.len());
                let freed = was_full && partition.buffered <= half;
                let content = Content::Batches(completed);
                self.queue.push_front(Waiting { slot, version, content });
                return freed && can_ask;
            }
            return can_ask;
        };
        // What was fetched from behind the batch is of no use before the batch was read.
        partition.restart(renewed, Place::at(position));
        partition.halted = true;
        self.drop_waiting(&[slot]);
        let content = Content::Error(invalid(&name, problem));
        self.queue.push_front(Waiting { slot, version: renewed, content });
        true
    }

    /// Goes on from elsewhere once what is buffered of a partition has been handed out; until then
    /// nothing is fetched.
    pub(super) fn reset_behind(&mut self, slot: usize, place: Place) {
        let Some(partition) = self.partitions.get_mut(&slot) else { return };
        let Place::At { position, fetch } = partition.place else { return };
        if position.offset == fetch.offset {
            return self.reset(slot, place);
        }
        partition.halted = true;
        partition.in_flight = None;
        let version = partition.version;
        self.queue.push_back(Waiting { slot, version, content: Content::Reset(place) });
    }

    /// Goes on from elsewhere at once; what is buffered is dropped.
    pub(super) fn reset(&mut self, slot: usize, place: Place) {
        let version = self.next_version();
        if let Some(partition) = self.partitions.get_mut(&slot) {
            partition.restart(version, place);
        }
        self.drop_waiting(&[slot]);
    }

    /// Puts an error behind what is buffered of a partition; nothing is fetched until it is taken.
    pub(super) fn halt(&mut self, slot: usize, error: ConsumerError) {
        let Some(partition) = self.partitions.get_mut(&slot) else { return };
        partition.halted = true;
        // Nothing that is still to come may get in behind the error.
        partition.in_flight = None;
        let version = partition.version;
        self.queue.push_back(Waiting { slot, version, content: Content::Error(error) });
    }

    /// Forgets what waits of some partitions.
    pub(super) fn drop_waiting(&mut self, slots: &[usize]) {
        self.queue.retain(|waiting| !slots.contains(&waiting.slot));
        self.parked.retain(|waiting| !slots.contains(&waiting.slot));
        self.held_back_since = None;
    }

    /// Puts what was set aside of a partition before what has come since.
    pub(super) fn unpark(&mut self, slot: usize) {
        let parked = std::mem::take(&mut self.parked);
        let (back, parked): (VecDeque<_>, _) =
            parked.into_iter().partition(|waiting| waiting.slot == slot);
        self.parked = parked;
        for waiting in back.into_iter().rev() {
            self.queue.push_front(waiting);
        }
    }

    /// The error of a partition that has been unreadable for too long.
    fn take_overdue(&mut self, now: Instant) -> Option<ConsumerError> {
        if self.overdue.is_none_or(|at| at > now) {
            return None;
        }
        let patience = self.config.patience;
        let partition = self.partitions.values_mut().find(|partition| {
            partition.tells() && partition.overdue(patience).is_some_and(|at| at <= now)
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
            offset: partition.place.position().map(|position| position.offset),
            waited,
            cause,
        })
    }
}
