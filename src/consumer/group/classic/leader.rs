//! What the leader of a generation does for all: it waits until the topics of all members are known,
//! deals out their partitions, and watches for changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::assignors::Dealt;
use super::{Classic, Phase};
use crate::consumer::group::assign::{ClusterTopics, MemberSubscription};
use crate::consumer::group::shared::Shared;
use crate::consumer::group::topics::TopicsView;
use crate::error::GroupError;
use crate::time::{Duration, Instant, deadline};

/// How long the leader waits at most until it is known of each topic whether it exists. Partitions
/// that become known later bring about another rebalance.
const METADATA_WAIT: Duration = Duration::from_secs(5);

/// What there is to deal out, and to whom.
#[derive(Debug)]
pub(super) struct Task {
    assignor: String,
    members: BTreeMap<String, MemberSubscription>,
    /// That any member subscribes to.
    topics: BTreeSet<String>,
    /// Whether the members keep what they have (KIP-814).
    skip: bool,
    until: Instant,
}

impl Task {
    /// The group waits for the leader, at most half of the time it has.
    pub(super) fn new(
        assignor: String,
        members: BTreeMap<String, MemberSubscription>,
        skip: bool,
        rebalance_timeout: Duration,
        at: Instant,
    ) -> Self {
        let topics = members.values().flat_map(|member| &member.topics).cloned().collect();
        let until = at + METADATA_WAIT.min(rebalance_timeout / 2);
        Self { assignor, members, topics, skip, until }
    }

    pub(super) fn topics(&self) -> &BTreeSet<String> {
        &self.topics
    }

    pub(super) fn until(&self) -> Instant {
        self.until
    }

    pub(super) fn is_ready(&self, view: &TopicsView, at: Instant) -> bool {
        self.until <= at || view.knows(&self.topics)
    }
}

/// The topics that were dealt out, as they were then.
#[derive(Debug)]
pub(super) struct Watch {
    topics: BTreeSet<String>,
    then: ClusterTopics,
    /// What has been compared with it.
    seen: Arc<TopicsView>,
    /// When partitions that are on their way from one member to another, as far as is known, must
    /// have brought about another rebalance.
    moved_by: Option<Instant>,
}

impl Watch {
    /// Whether partitions are nobody's: whoever was to give them up and to join again is taking longer
    /// than a rebalance may. A static member that was started again does not know that it had to.
    pub(super) fn has_lost_partitions(&mut self, at: Instant) -> bool {
        self.moved_by.take_if(|moved_by| *moved_by <= at).is_some()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.moved_by
    }

    /// Whether partitions came or went; and racks, if the group looks at them.
    pub(super) fn has_changed(&mut self, view: &Arc<TopicsView>, racks: bool) -> bool {
        if Arc::ptr_eq(&self.seen, view) {
            return false;
        }
        self.seen = Arc::clone(view);
        let now = view.of(&self.topics);
        if racks { now != self.then } else { !now.topics().eq(self.then.topics()) }
    }
}

impl Classic {
    /// Deals out and sends the result.
    pub(super) fn lead(&mut self, shared: &mut Shared, at: Instant) {
        let Phase::Assigning(task) = std::mem::replace(&mut self.phase, Phase::Waiting) else {
            return;
        };
        let Task { assignor, members, topics, skip, .. } = *task;
        let then = shared.topics.of(&topics);
        let dealt = if skip {
            // What was on its way when the leader was started again is not known, nor what has grown meanwhile.
            Ok(Dealt { assignments: Vec::new(), moves: true })
        } else {
            self.assignors.assign(&assignor, &then, &members)
        };
        match dealt {
            Ok(Dealt { assignments, moves }) => {
                tracing::debug!(group = %shared.config.group_id, %assignor, ?assignments, "leading");
                let seen = Arc::clone(&shared.topics);
                let moved_by = moves.then(|| deadline(at, shared.config.max_poll_interval));
                self.watch = Some(Watch { topics, then, seen, moved_by });
                self.sync(shared, assignor, assignments, at);
            }
            Err(cause) => {
                let group = shared.group();
                shared.fail(GroupError::Assignor { group, assignor, cause });
                self.fall_out(shared);
            }
        }
    }
}
