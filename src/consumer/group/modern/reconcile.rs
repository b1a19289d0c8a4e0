//! How what the member owns becomes what the coordinator wants it to own: by topic ids, whose names
//! have to be known first, and at the user's pace. Knows no requests.
//!
//! The coordinator is told that the member owns what the user has, and what the user may be told next:
//! then nobody else is given a partition that the user learns of while a heartbeat is under way. What
//! is revoked counts as owned until the user's listener is done.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::consumer::group::request::Action;
use crate::consumer::group::shared::Shared;
use crate::consumer::group::topics::TopicsView;
use crate::protocol::messages::consumer_group_heartbeat::TopicPartitions;
use crate::time::Instant;
use crate::types::{TopicId, TopicPartition};

/// Partitions by topic id.
pub(super) type Shares = BTreeMap<TopicId, BTreeSet<i32>>;

/// See the module.
#[derive(Default)]
pub(super) struct Reconciler {
    /// What the coordinator wants; `None` until it has said so.
    target: Option<Shares>,
    /// The part of it whose topics' names are known, which the user is told.
    goal: Option<Shares>,
    /// What the user has, or may be told that it has.
    held: Shares,
    /// Of the ownership that it was made from.
    version: u64,
    /// When the target changed, until the user has been told.
    since: Option<Instant>,
    names: BTreeMap<TopicId, String>,
    /// The ids of the topics that the user has heard of.
    ids: BTreeMap<String, TopicId>,
    /// The topics whose names were asked for, how often, and when to ask again.
    asked: BTreeSet<TopicId>,
    times_asked: u32,
    ask_at: Option<Instant>,
    /// Whether target or names have changed since the goal was set.
    stale: bool,
    seen: Option<Arc<TopicsView>>,
}

impl Reconciler {
    /// A new membership, which owns nothing.
    pub(super) fn forget(&mut self) {
        let names = std::mem::take(&mut self.names);
        *self = Self { names, seen: self.seen.take(), ..Self::default() };
    }

    /// What the coordinator is to be told that the member owns.
    pub(super) fn held(&self) -> &Shares {
        &self.held
    }

    /// Takes what the coordinator wants.
    pub(super) fn aim(&mut self, target: &[TopicPartitions], at: Instant) {
        let mut shares = Shares::new();
        for TopicPartitions { topic_id, partitions } in target {
            let valid = partitions.iter().copied().filter(|partition| *partition >= 0);
            shares.entry(*topic_id).or_default().extend(valid);
        }
        shares.retain(|_, share| !share.is_empty());
        if self.target.as_ref() != Some(&shares) {
            self.target = Some(shares);
            self.stale = true;
            self.since.get_or_insert(at);
        }
    }

    /// Tells the user of a new goal; one that it has not been told of yet is replaced.
    pub(super) fn poll(&mut self, shared: &mut Shared, at: Instant) {
        self.learn(&shared.topics);
        if std::mem::take(&mut self.stale) {
            self.look_for_unknown();
            self.set_goal(shared, at);
        }
        self.ask(shared, at);
        if self.version != shared.ownership.version() {
            self.version = shared.ownership.version();
            self.count_held(shared);
        }
        if shared.ownership.is_settled()
            && let Some(since) = self.since.take()
        {
            shared.stats.rebalance.record(at.saturating_duration_since(since));
            shared.stats.last_rebalance = Some(at);
        }
    }

    fn set_goal(&mut self, shared: &mut Shared, at: Instant) {
        let Some(target) = &self.target else { return };
        let mut goal = Shares::new();
        let mut partitions = BTreeSet::new();
        for (id, share) in target {
            let Some(name) = self.names.get(id) else { continue };
            goal.insert(*id, share.clone());
            self.ids.insert(name.clone(), *id);
            let named = |partition: &i32| TopicPartition::new(name.clone(), *partition);
            partitions.extend(share.iter().map(named));
        }
        if self.goal.as_ref() != Some(&goal) {
            tracing::info!(group = %shared.config.group_id, ?partitions, "assigned");
            self.goal = Some(goal);
            self.since.get_or_insert(at);
            shared.ownership.assign(partitions);
        }
    }

    fn count_held(&mut self, shared: &Shared) {
        let mut held = self.goal.clone().unwrap_or_default();
        for TopicPartition { topic, partition } in shared.ownership.owned() {
            if let Some(id) = self.ids.get(topic) {
                held.entry(*id).or_default().insert(*partition);
            }
        }
        self.held = held;
    }

    /// Notes the names of topics. One that is wanted keeps its name when metadata forgets it.
    fn learn(&mut self, view: &Arc<TopicsView>) {
        if self.seen.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, view)) {
            return;
        }
        self.seen = Some(Arc::clone(view));
        for (id, name) in view.names() {
            if self.names.get(&id).is_none_or(|known| known != name) {
                self.names.insert(id, name.to_owned());
                self.stale = true;
            }
        }
    }

    fn look_for_unknown(&mut self) {
        let wanted = self.target.iter().flat_map(BTreeMap::keys);
        let unknown: BTreeSet<_> =
            wanted.filter(|id| !self.names.contains_key(id)).copied().collect();
        if self.asked != unknown {
            self.asked = unknown;
            self.times_asked = 0;
            self.ask_at = None;
        }
    }

    /// A broker may not know a new topic yet.
    fn ask(&mut self, shared: &mut Shared, at: Instant) {
        let due = self.ask_at.is_none_or(|ask_at| ask_at <= at);
        if due && !self.asked.is_empty() {
            shared.outbox.push(Action::Resolve(self.asked.clone()));
            self.ask_at = Some(at + shared.pause(self.times_asked));
            self.times_asked = self.times_asked.saturating_add(1);
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.ask_at.filter(|_| !self.asked.is_empty())
    }
}

/// One line.
impl fmt::Debug for Reconciler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |shares: &Shares| shares.values().map(BTreeSet::len).sum::<usize>();
        let (held, target) = (count(&self.held), self.target.as_ref().map(count));
        write!(f, "holds {held} of target {target:?}, {} topics unknown", self.asked.len())
    }
}
