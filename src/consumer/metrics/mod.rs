//! What a consumer measures beside its connections: polls, fetches, how far behind partitions are, its
//! group. It is told of them with the time, and decides nothing.
//!
//! All is told per poll, per response or per request; iterating over records has no part in it.

mod tables;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use super::group::{GroupStats, Timing};
use super::offsets::CommitStats;
use crate::metrics::{ClientMetrics, Metrics, Tally, millis};
use crate::time::{Duration, Instant};
use crate::types::{BrokerId, TopicPartition};
use tables::{FetchSensors, GroupSensors, PartitionSensors, PollSensors, TopicSensors};

/// What a response had of one topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TopicFacts<'a> {
    pub(crate) topic: &'a str,
    /// The bytes of its batches, and how many records they say to have.
    pub(crate) bytes: usize,
    pub(crate) records: usize,
}

/// What a poll handed out of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PartitionFacts<'a> {
    pub(crate) partition: &'a TopicPartition,
    pub(crate) records: usize,
    /// Decompressed.
    pub(crate) bytes: usize,
    /// How many records are behind the position, and before it, as far as the broker said.
    pub(crate) lag: Option<i64>,
    pub(crate) lead: Option<i64>,
}

/// What is not measured as it happens but looked at when a snapshot is taken.
#[derive(Debug, Clone, Default)]
pub(crate) struct State<'a> {
    /// What is assigned. What is not is told of no more.
    pub(crate) assigned: Vec<PartitionState<'a>>,
}

/// How an assigned partition is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PartitionState<'a> {
    pub(crate) partition: &'a TopicPartition,
    /// The replica that it is fetched from, if that is not the leader (KIP-392).
    pub(crate) replica: Option<BrokerId>,
}

/// The metrics of one consumer.
#[derive(Debug)]
pub(crate) struct ConsumerMetrics {
    client: Arc<ClientMetrics>,
    own: Mutex<Own>,
}

#[derive(Debug)]
struct Own {
    polls: PollSensors,
    last_poll: Option<Instant>,
    /// From the poll before the last one to the last one.
    between: Duration,
    fetches: FetchSensors,
    topics: HashMap<Arc<str>, TopicSensors, RandomState>,
    partitions: BTreeMap<TopicPartition, PartitionSensors>,
    group: GroupSensors,
    last_heartbeat: Option<Instant>,
    last_rebalance: Option<Instant>,
}

impl ConsumerMetrics {
    /// `client` has those of the connections.
    pub(crate) fn new(client: Arc<ClientMetrics>) -> Self {
        let windows = client.windows();
        let own = Own {
            polls: PollSensors::new(windows),
            last_poll: None,
            between: Duration::ZERO,
            fetches: FetchSensors::new(windows),
            topics: HashMap::default(),
            partitions: BTreeMap::new(),
            group: GroupSensors::new(windows),
            last_heartbeat: None,
            last_rebalance: None,
        };
        Self { client, own: Mutex::new(own) }
    }

    /// A poll begins.
    pub(crate) fn poll_begins(&self, now: Instant) {
        let own = &mut *self.own.lock();
        let last = own.last_poll.replace(now);
        own.between = last.map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        // As in Java, the first one is no time after nothing.
        own.polls.between.record(millis(own.between), now);
    }

    /// The poll has ended.
    pub(crate) fn poll_ends(&self, now: Instant) {
        let own = &mut *self.own.lock();
        let Some(began) = own.last_poll else { return };
        let took = now.saturating_duration_since(began).as_secs_f64();
        let all = took + own.between.as_secs_f64();
        if all > 0.0 {
            own.polls.idle.record(took / all, now);
        }
    }

    /// A commit that the user waited for has ended.
    pub(crate) fn commit_waited(&self, began: Instant, now: Instant) {
        let span = now.saturating_duration_since(began);
        self.own.lock().polls.commit_sync.record_nanos(span, now);
    }

    /// A look-up of committed offsets that the user waited for has ended.
    pub(crate) fn committed_waited(&self, began: Instant, now: Instant) {
        let span = now.saturating_duration_since(began);
        self.own.lock().polls.committed.record_nanos(span, now);
    }

    /// A fetch was answered, with batches of these topics, each named once.
    pub(crate) fn fetched<'a>(
        &self,
        node: BrokerId,
        latency: Duration,
        throttle_ms: i32,
        topics: impl Iterator<Item = TopicFacts<'a>>,
        now: Instant,
    ) {
        self.client.answered(node, latency, now);
        let own = &mut *self.own.lock();
        let (mut bytes, mut records) = (0, 0);
        for facts in topics {
            bytes += facts.bytes;
            records += facts.records;
            if let Some(topic) = own.topic(facts.topic, &self.client) {
                topic.size.record(facts.bytes as f64, now);
                topic.per_request.record(facts.records as f64, now);
            }
        }
        let fetches = &mut own.fetches;
        fetches.latency.record(millis(latency), now);
        fetches.throttle.record(throttle_ms.into(), now);
        fetches.size.record(bytes as f64, now);
        fetches.per_request.record(records as f64, now);
    }

    /// A poll handed this out.
    pub(crate) fn handed_out<'a>(
        &self,
        partitions: impl Iterator<Item = PartitionFacts<'a>>,
        now: Instant,
    ) {
        let own = &mut *self.own.lock();
        let (mut bytes, mut records) = (0, 0);
        let (mut lags, mut leads) = (Tally::NONE, Tally::NONE);
        for facts in partitions {
            bytes += facts.bytes;
            records += facts.records;
            if let Some(topic) = own.topic(&facts.partition.topic, &self.client) {
                topic.bytes.record(facts.bytes as f64, now);
                topic.records.record(facts.records as f64, now);
            }
            let Some(partition) = own.partition(facts.partition, &self.client) else { continue };
            if let Some(lag) = facts.lag {
                partition.lag.record(lag as f64, now);
                partition.last_lag.set(lag as f64);
                lags.add(lag as f64);
            }
            if let Some(lead) = facts.lead {
                partition.lead.record(lead as f64, now);
                partition.last_lead.set(lead as f64);
                leads.add(lead as f64);
            }
        }
        own.fetches.lag.record_all(lags, now);
        own.fetches.lead.record_all(leads, now);
        if records > 0 {
            own.fetches.bytes.record(bytes as f64, now);
            own.fetches.records.record(records as f64, now);
        }
    }

    /// What the group's machines have counted since the last time.
    pub(crate) fn group(&self, group: &GroupStats, commits: &CommitStats, now: Instant) {
        let own = &mut *self.own.lock();
        let sensors = &mut own.group;
        for (sensor, timing) in [
            (&mut sensors.heartbeat, &group.heartbeat),
            (&mut sensors.join, &group.join),
            (&mut sensors.sync, &group.sync),
            (&mut sensors.rebalance, &group.rebalance),
            (&mut sensors.listener_assigned, &group.assigned),
            (&mut sensors.listener_revoked, &group.revoked),
            (&mut sensors.listener_lost, &group.lost),
        ] {
            let Timing { count, total, max } = *timing;
            sensor.record_all(Tally::of(millis(total), millis(max), count), now);
        }
        let CommitStats { answered, latency_total, latency_max } = *commits;
        let commits = Tally::of(millis(latency_total), millis(latency_max), answered);
        sensors.commit.record_all(commits, now);
        let failed = group.failed_rebalances;
        sensors.failed_rebalance.record_all(Tally::of(failed as f64, 1.0, failed), now);
        own.last_heartbeat = group.last_heartbeat.or(own.last_heartbeat);
        own.last_rebalance = group.last_rebalance.or(own.last_rebalance);
    }

    /// All metrics of the consumer and its connections.
    pub(crate) fn snapshot(&self, state: &State<'_>, now: Instant) -> Metrics {
        self.client.snapshot(now, |to| {
            let own = &mut *self.own.lock();
            let ago = |then: Option<Instant>| {
                then.map_or(-1.0, |then| now.saturating_duration_since(then).as_secs_f64().trunc())
            };
            own.polls.last_poll.set(ago(own.last_poll));
            own.group.last_heartbeat.set(ago(own.last_heartbeat));
            own.group.last_rebalance.set(ago(own.last_rebalance));
            own.group.assigned.set(state.assigned.len() as f64);
            own.keep(state, &self.client);
            own.polls.read(to);
            own.fetches.read(to);
            own.group.read(to);
            for (topic, sensors) in &mut own.topics {
                sensors.read(topic, to);
            }
            for (name, sensors) in &mut own.partitions {
                sensors.read(&name.partition.to_string(), &name.topic, to);
            }
        })
    }
}

impl Own {
    /// There always is one; looking for it makes a name only if it is new.
    fn topic(&mut self, topic: &str, client: &ClientMetrics) -> Option<&mut TopicSensors> {
        if !self.topics.contains_key(topic) {
            self.topics.insert(topic.into(), TopicSensors::new(client.windows()));
        }
        self.topics.get_mut(topic)
    }

    /// As [`Own::topic`].
    fn partition(
        &mut self,
        name: &TopicPartition,
        client: &ClientMetrics,
    ) -> Option<&mut PartitionSensors> {
        if !self.partitions.contains_key(name) {
            self.partitions.insert(name.clone(), PartitionSensors::new(client.windows()));
        }
        self.partitions.get_mut(name)
    }

    /// Forgets the partitions that are assigned no more.
    fn keep(&mut self, state: &State<'_>, client: &ClientMetrics) {
        let mut kept = BTreeMap::new();
        for PartitionState { partition, replica } in &state.assigned {
            let sensors = self.partitions.remove(partition);
            let mut sensors = sensors.unwrap_or_else(|| PartitionSensors::new(client.windows()));
            sensors.replica.set(replica.map_or(-1.0, |replica| replica.0.into()));
            kept.insert((*partition).clone(), sensors);
        }
        self.partitions = kept;
    }
}
