//! When metadata is fetched, and for which topics. Pure: told what happens and when, it says when
//! the next fetch is due.
//!
//! | event | a fetch is due |
//! |---|---|
//! | nothing | `metadata.max.age.ms` after the last complete one |
//! | somebody asks, or a fetch has left something open | at once |
//! | a new topic | at once, for the new topics alone |
//! | all topics are followed | as above, for all that the cluster has |
//! | a fetch failed | `retry.backoff.ms` later, doubling to `retry.backoff.max.ms` |
//! | a fetch changed nothing, though something was open | likewise (KIP-580) |
//!
//! Two fetches never run at once, and are never closer than the back-off, except for new topics
//! after a success.

use super::snapshot::Usage;
use crate::time::{Backoff, Duration, Instant};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The times of the rule.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// `metadata.max.age.ms`.
    pub(super) max_age: Duration,
    /// `metadata.max.idle.ms`.
    pub(super) max_idle: Duration,
    /// `retry.backoff.ms` to `retry.backoff.max.ms`.
    pub(super) backoff: Backoff,
    /// `metadata.recovery.rebootstrap.trigger.ms`.
    pub(super) rebootstrap_trigger: Duration,
}

#[derive(Debug)]
struct Tracked {
    usage: Usage,
    last_used: Instant,
    /// Whether brokers have said anything about it yet.
    answered: bool,
    /// Whether it is only there because the cluster has it; it goes when the cluster has it no more.
    discovered: bool,
}

/// What to fetch.
#[derive(Debug)]
pub(super) struct Plan {
    /// The topics to ask for.
    pub(super) topics: BTreeMap<Arc<str>, Usage>,
    /// Whether all topics of the cluster are asked for, whatever their names.
    pub(super) all: bool,
    /// Whether these are all.
    complete: bool,
}

/// The state of the rule.
#[derive(Debug)]
pub(super) struct Refresh {
    times: Times,
    topics: BTreeMap<Arc<str>, Tracked>,
    /// Whether the topics that the cluster has are followed, too.
    all: bool,
    requested: bool,
    new_topics: bool,
    running: bool,
    last_complete: Option<Instant>,
    /// No fetch before this.
    not_before: Option<Instant>,
    failures: u32,
    fruitless: u32,
    /// When the first of the failed fetches in a row began.
    failing_since: Option<Instant>,
}

impl Refresh {
    /// The first fetch is due at once.
    pub(super) fn new(times: Times) -> Self {
        Self {
            times,
            topics: BTreeMap::new(),
            all: false,
            requested: true,
            new_topics: false,
            running: false,
            last_complete: None,
            not_before: None,
            failures: 0,
            fruitless: 0,
            failing_since: None,
        }
    }

    /// Asks for a fetch of everything.
    pub(super) fn request(&mut self) {
        self.requested = true;
    }

    /// Notes a use of a topic; one that is not tracked is from now on.
    pub(super) fn track(&mut self, name: &str, now: Instant) {
        if let Some(tracked) = self.topics.get_mut(name) {
            tracked.last_used = tracked.last_used.max(now);
            tracked.discovered = false;
            return;
        }
        let usage = Usage::default();
        let tracked = Tracked { usage, last_used: now, answered: false, discovered: false };
        self.topics.insert(name.into(), tracked);
        self.new_topics = true;
        if self.failures == 0 {
            self.not_before = None;
            self.fruitless = 0;
        }
    }

    /// Follows all topics that the cluster has, or no longer: then those that nobody has named are
    /// forgotten.
    pub(super) fn follow_all(&mut self, all: bool) {
        self.requested |= all && !self.all;
        self.all = all;
        if !all {
            self.topics.retain(|_, topic| !topic.discovered);
        }
    }

    /// All topics that the cluster has, as the answer to a plan for `all` tells. What is asked for
    /// is what is tracked from now on.
    pub(super) fn discovered<'a>(
        &mut self,
        names: impl Iterator<Item = &'a str>,
        now: Instant,
    ) -> BTreeMap<Arc<str>, Usage> {
        let names: BTreeSet<&str> = names.collect();
        self.topics.retain(|name, topic| !topic.discovered || names.contains(name.as_ref()));
        for name in names {
            if !self.topics.contains_key(name) {
                let usage = Usage::default();
                let tracked = Tracked { usage, last_used: now, answered: true, discovered: true };
                self.topics.insert(name.into(), tracked);
            }
        }
        self.topics.iter().map(|(name, topic)| (name.clone(), topic.usage.clone())).collect()
    }

    pub(super) fn is_tracked(&self, name: &str) -> bool {
        self.topics.contains_key(name)
    }

    /// When the next fetch is due; `None` while one is running, and if no age ever makes it so.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        if self.running {
            return None;
        }
        let wanted = match self.last_complete {
            Some(last) if !self.requested && !self.new_topics => {
                last.checked_add(self.times.max_age)?
            }
            _ => now,
        };
        Some(self.not_before.map_or(wanted, |not_before| wanted.max(not_before)))
    }

    /// Begins a fetch; topics that were not used for `metadata.max.idle.ms` are forgotten.
    pub(super) fn begin(&mut self, now: Instant) -> Plan {
        let max_idle = self.times.max_idle;
        self.topics.retain(|_, topic| {
            if topic.usage.take() {
                topic.last_used = now;
            }
            topic.discovered || now.saturating_duration_since(topic.last_used) < max_idle
        });
        let complete = self.all || self.requested || !self.new_topics;
        let wanted = self.topics.iter().filter(|(_, topic)| complete || !topic.answered);
        let topics = wanted.map(|(name, topic)| (name.clone(), topic.usage.clone())).collect();
        self.running = true;
        // What is asked for from here on is another fetch.
        self.requested = false;
        self.new_topics = false;
        Plan { topics, all: self.all, complete }
    }

    /// A fetch was answered. `settled`: nothing was left open. `changed`: something is different
    /// from before.
    pub(super) fn succeeded(
        &mut self,
        plan: &Plan,
        settled: bool,
        changed: bool,
        now: Instant,
        chance: f64,
    ) {
        self.running = false;
        self.failures = 0;
        self.failing_since = None;
        if plan.complete {
            self.last_complete = Some(now);
        }
        for name in plan.topics.keys() {
            if let Some(tracked) = self.topics.get_mut(name) {
                tracked.answered = true;
            }
        }
        self.requested |= !settled;
        self.fruitless = if settled || changed { 0 } else { self.fruitless.saturating_add(1) };
        // Topics that were added meanwhile have waited for one fetch already.
        let pause = self.times.backoff.wait(self.fruitless, chance);
        self.not_before = if self.new_topics { None } else { now.checked_add(pause) };
    }

    /// A fetch that began at `began` failed.
    pub(super) fn failed(&mut self, plan: &Plan, began: Instant, now: Instant, chance: f64) {
        self.running = false;
        self.requested |= plan.complete;
        self.new_topics |= !plan.complete;
        self.failing_since.get_or_insert(began);
        self.not_before = now.checked_add(self.times.backoff.wait(self.failures, chance));
        self.failures = self.failures.saturating_add(1);
    }

    /// Whether fetches have failed for so long that the known brokers should be given up
    /// (KIP-1102).
    pub(super) fn is_hopeless(&self, now: Instant) -> bool {
        self.failing_since.is_some_and(|since| {
            now.saturating_duration_since(since) >= self.times.rebootstrap_trigger
        })
    }

    /// When the last complete fetch was answered.
    pub(super) fn last_complete(&self) -> Option<Instant> {
        self.last_complete
    }

    /// The known brokers have been given up; the time of failing counts anew.
    pub(super) fn restarted(&mut self, now: Instant) {
        self.failing_since = self.failing_since.map(|_| now);
    }
}
