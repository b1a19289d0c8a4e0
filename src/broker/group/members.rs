//! A group by either protocol: what is the same for both.

use super::classic::ClassicGroup;
use super::modern::ConsumerGroup;
use super::{Answer, Offsets, Ticket, Turn};
use crate::time::Instant;

/// A group: its members and its offsets.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) members: Members,
    pub(crate) offsets: Offsets,
}

/// The members of a group, by their protocol. A group without members may turn to the other one.
#[derive(Debug)]
pub(crate) enum Members {
    Classic(Box<ClassicGroup>),
    Consumer(ConsumerGroup),
}

impl Default for Members {
    fn default() -> Self {
        Self::Classic(Box::default())
    }
}

impl Members {
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Classic(group) => group.is_empty(),
            Self::Consumer(group) => group.is_empty(),
        }
    }

    pub(super) fn classic(&mut self) -> Option<&mut ClassicGroup> {
        match self {
            Self::Classic(group) => Some(group),
            Self::Consumer(_) => None,
        }
    }

    /// Does what is overdue.
    pub(super) fn advance(&mut self, turn: &Turn<'_>) {
        match self {
            Self::Classic(group) => drop(group.advance(turn)),
            Self::Consumer(group) => group.advance(turn),
        }
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        match self {
            Self::Classic(group) => group.is_due(now),
            Self::Consumer(group) => group.is_due(now),
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        match self {
            Self::Classic(group) => group.next_deadline(),
            Self::Consumer(group) => group.next_deadline(),
        }
    }

    pub(super) fn change_coordinator(&mut self) {
        match self {
            Self::Classic(group) => group.change_coordinator(),
            Self::Consumer(group) => group.change_coordinator(),
        }
    }

    pub(super) fn take_answers(&mut self) -> Vec<(Ticket, Answer)> {
        self.classic().map(ClassicGroup::take_answers).unwrap_or_default()
    }
}
