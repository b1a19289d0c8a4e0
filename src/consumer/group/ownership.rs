//! Which partitions the user has been told that the member owns, and what the user has to be told
//! next. It knows no requests.
//!
//! ```text
//!   assign(target) ──► pending ──take──► running ──done──► owned
//!   revoke, lose  ──►                   (listener)
//! ```
//!
//! - One event at a time is with the user. What was lost comes first, then what is revoked, then a
//!   failure, then what is assigned.
//! - A partition is owned from when Assigned is taken until Revoked or Lost is done: a listener may
//!   still commit for what it is told to give up.
//! - What the user has not been told to own is not revoked either: an assignment that is lost before
//!   it was taken leaves no trace.

use std::collections::BTreeSet;
use std::fmt;

use crate::error::GroupError;
use crate::time::{Duration, Instant};
use crate::types::TopicPartition;

/// What the user is to be told. Partitions are in order.
#[derive(Debug, Clone)]
pub(crate) enum MemberEvent {
    /// These go to other members, once the listener is done; their offsets can still be committed.
    Revoked(Vec<TopicPartition>),
    /// These may belong to others already; their offsets cannot be committed any more.
    Lost(Vec<TopicPartition>),
    /// A rebalance has ended: what is new, and all that the member owns now.
    Assigned { added: Vec<TopicPartition>, all: Vec<TopicPartition> },
    /// What ended the membership, or keeps the consumer from becoming a member.
    Failed(GroupError),
}

/// What the user's listener was busy with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Revoked,
    Lost,
    Assigned,
}

#[derive(Debug)]
struct Running {
    told: Told,
    /// What is not owned any more when it is done.
    gone: BTreeSet<TopicPartition>,
    since: Instant,
}

/// See the module.
#[derive(Default)]
pub(super) struct Ownership {
    owned: BTreeSet<TopicPartition>,
    lost: bool,
    revoke: BTreeSet<TopicPartition>,
    assign: Option<BTreeSet<TopicPartition>>,
    failure: Option<GroupError>,
    running: Option<Running>,
    /// Counts the changes of what is owned or to be assigned.
    version: u64,
}

impl Ownership {
    /// What the user owns, as far as it has been told.
    pub(super) fn owned(&self) -> &BTreeSet<TopicPartition> {
        &self.owned
    }

    /// Another one whenever what is owned, or to be assigned, has changed.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Whether the user has been told everything, and its listener is done with it.
    pub(super) fn is_settled(&self) -> bool {
        self.running.is_none()
            && (!self.lost || self.owned.is_empty())
            && self.revoke.is_disjoint(&self.owned)
            && self.assign.is_none()
    }

    /// Whether the user's listener is at work.
    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// The member gives these up.
    pub(super) fn revoke(&mut self, partitions: impl IntoIterator<Item = TopicPartition>) {
        self.revoke.extend(partitions);
    }

    /// The member gives everything up, and what it was to be assigned too.
    pub(super) fn revoke_all(&mut self) {
        self.assign = None;
        self.revoke.clone_from(&self.owned);
    }

    /// The member may own nothing any more: somebody else may read what it owned.
    pub(super) fn lose(&mut self) {
        self.revoke.clear();
        self.assign = None;
        self.lost = true;
    }

    /// The member owns exactly these from now on.
    pub(super) fn assign(&mut self, target: BTreeSet<TopicPartition>) {
        self.revoke = self.owned.difference(&target).cloned().collect();
        self.assign = Some(target);
        self.version += 1;
    }

    /// The user is to be told of a failure.
    pub(super) fn report(&mut self, failure: GroupError) {
        self.failure = Some(failure);
    }

    /// Forgets a failure that the user has not been told of.
    pub(super) fn forget_failure(&mut self) {
        self.failure = None;
    }

    /// What to tell next, unless the user is busy. A failure needs no [`Ownership::done`].
    pub(super) fn take(&mut self, at: Instant) -> Option<MemberEvent> {
        if self.running.is_some() {
            return None;
        }
        if std::mem::take(&mut self.lost) && !self.owned.is_empty() {
            return Some(self.give_up(Told::Lost, self.owned.clone(), at));
        }
        let revoked: BTreeSet<_> =
            std::mem::take(&mut self.revoke).intersection(&self.owned).cloned().collect();
        if !revoked.is_empty() {
            return Some(self.give_up(Told::Revoked, revoked, at));
        }
        if let Some(failure) = self.failure.take() {
            return Some(MemberEvent::Failed(failure));
        }
        let target = self.assign.take()?;
        let added = target.difference(&self.owned).cloned().collect();
        let all = target.iter().cloned().collect();
        self.owned = target;
        self.version += 1;
        self.running = Some(Running { told: Told::Assigned, gone: BTreeSet::new(), since: at });
        Some(MemberEvent::Assigned { added, all })
    }

    fn give_up(
        &mut self,
        told: Told,
        gone: BTreeSet<TopicPartition>,
        since: Instant,
    ) -> MemberEvent {
        let partitions = gone.iter().cloned().collect();
        self.running = Some(Running { told, gone, since });
        match told {
            Told::Lost => MemberEvent::Lost(partitions),
            Told::Revoked | Told::Assigned => MemberEvent::Revoked(partitions),
        }
    }

    /// The listener is done with what was taken last; what that was, and how long it took.
    pub(super) fn done(&mut self, at: Instant) -> Option<(Told, Duration)> {
        let Running { told, gone, since } = self.running.take()?;
        self.owned.retain(|partition| !gone.contains(partition));
        self.version += 1;
        Some((told, at.saturating_duration_since(since)))
    }
}

/// One line: how much of what.
impl fmt::Debug for Ownership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "owns {}", self.owned.len())?;
        if let Some(running) = &self.running {
            write!(f, ", telling {:?}", running.told)?;
        }
        if self.lost {
            f.write_str(", lost")?;
        }
        if !self.revoke.is_empty() {
            write!(f, ", to revoke {}", self.revoke.len())?;
        }
        if let Some(target) = &self.assign {
            write!(f, ", to assign {}", target.len())?;
        }
        if let Some(failure) = &self.failure {
            write!(f, ", failed: {failure}")?;
        }
        Ok(())
    }
}
