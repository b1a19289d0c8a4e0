//! Where to begin: what the group has committed, where an end of the log is, and where
//! `auto.offset.reset` leads when there is nothing committed or the log does not hold an offset.
//!
//! It does not fetch, and does not know how offsets are committed.

use std::collections::BTreeMap;

use super::answer::{Unasked, Verdict, judge, refusal};
use super::plan::ask;
use super::sent::{Asked, Sent};
use super::{Action, Fetcher, Moment};
use crate::consumer::subscription::{Bound, InFlight, LogEnds, Partition, Place, Position};
use crate::error::{ClientError, ConsumerError, ErrorCode};
use crate::protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopic,
};
use crate::time::Instant;
use crate::types::{BrokerId, OffsetAndMetadata, TopicId, TopicPartition};

/// How many times a leader has to say, with back-off, that its log does not reach an offset before
/// it is believed. One that was elected a moment ago may still catch up.
const OUT_OF_RANGE_TRIES: u32 = 4;

/// What has to be looked up for a partition.
fn looked_up(partition: &Partition) -> Option<Bound> {
    match partition.place {
        Place::Unknown(bound) => Some(bound),
        Place::At { .. } => partition.doubt.filter(|doubt| doubt.look_up).map(|_| Bound::Earliest),
        Place::Committed => None,
    }
}

impl Fetcher {
    /// Asks for committed offsets. The coordinator knows them, so that no leader is needed.
    pub(super) fn plan_committed(&mut self, now: Instant) {
        let token = self.last_token + 1;
        let mut partitions = Vec::new();
        for partition in self.partitions.values_mut() {
            if partition.place == Place::Committed && partition.is_free(now) {
                partition.in_flight = Some(InFlight { token, leader: None });
                partitions.push((*partition.name).clone());
            }
        }
        if !partitions.is_empty() {
            self.last_token = token;
            self.actions.push(Action::Committed { token, partitions });
        }
    }

    /// What came of [`Action::Committed`]: for each partition what is committed, `None` if nothing is.
    pub(crate) fn handle_committed(
        &mut self,
        token: u64,
        result: Result<BTreeMap<TopicPartition, Option<OffsetAndMetadata>>, ClientError>,
        now: Instant,
    ) {
        let at = self.moment(now);
        let waiting = |(slot, partition): (&usize, &Partition)| {
            partition.in_flight.is_some_and(|asked| asked.token == token).then_some(*slot)
        };
        let slots: Vec<usize> = self.partitions.iter().filter_map(waiting).collect();
        for slot in slots {
            let Some(partition) = self.partitions.get_mut(&slot) else { continue };
            partition.in_flight = None;
            let committed = match &result {
                Ok(committed) => committed.get(&*partition.name),
                Err(error) => {
                    self.fail(slot, error.clone(), at);
                    continue;
                }
            };
            match committed {
                Some(Some(committed)) if committed.offset >= 0 => {
                    partition.settle(Place::from(committed));
                }
                Some(_) => self.no_offset(slot),
                None => {
                    let message = "nothing is said of this partition";
                    let code = ErrorCode::UNKNOWN_SERVER_ERROR;
                    let error = refusal(partition, "OffsetFetch", code, Some(message));
                    self.fail(slot, error, at);
                }
            }
        }
    }

    /// Nothing is committed for a partition.
    fn no_offset(&mut self, slot: usize) {
        let bound = self.reset_bound();
        let Some(partition) = self.partitions.get_mut(&slot) else { return };
        match bound {
            Some(bound) => partition.settle(Place::Unknown(bound)),
            None => {
                let partition = (*partition.name).clone();
                self.halt(slot, ConsumerError::NoOffset { partition });
            }
        }
    }

    /// A broker says that its log does not hold the offset that a partition was asked for.
    pub(super) fn out_of_range(&mut self, asked: Asked, ends: LogEnds, at: Moment) {
        let slot = asked.slot;
        let Some(partition) = self.partitions.get_mut(&slot) else { return };
        let Some(fetch) = partition.place.fetch() else { return };
        let epoch = partition.leadership.map_or(-1, |leadership| leadership.epoch);
        if fetch.offset != asked.offset || epoch != asked.epoch {
            // Not the offset of now, or not the leader of now, whose log may be another.
            return;
        }
        if asked.follower {
            // It may lag behind the leader.
            partition.preferred = None;
            return;
        }
        partition.ends = LogEnds { start: ends.start.or(partition.ends.start), ..ends };
        let doubt = partition.doubt.get_or_insert_default();
        let is_gone = ends.start.is_some_and(|start| fetch.offset < start);
        if is_gone || doubt.times >= OUT_OF_RANGE_TRIES {
            return self.believe(slot, at);
        }
        // What comes before its beginning is gone. What comes after its end may be yet to come, or
        // was truncated, and then the epoch of the position tells.
        doubt.look_up = true;
        partition.unvalidated();
        self.actions.push(Action::RefreshMetadata);
    }

    /// The leader says where the log begins that does not hold an offset.
    fn judge_doubt(&mut self, slot: usize, start: i64, at: Moment) {
        let Some(partition) = self.partitions.get_mut(&slot) else { return };
        let Some(fetch) = partition.place.fetch() else { return };
        partition.ends.start = Some(start);
        let doubt = partition.doubt.get_or_insert_default();
        doubt.look_up = false;
        if fetch.offset < start {
            return self.believe(slot, at);
        }
        doubt.times += 1;
        partition.back_off(self.config.backoff, at.now, at.chance);
    }

    /// The log does not hold the offset that a partition is to be fetched from.
    fn believe(&mut self, slot: usize, at: Moment) {
        let bound = self.reset_bound();
        let Some(partition) = self.partitions.get_mut(&slot) else { return };
        let Some(fetch) = partition.place.fetch() else { return };
        let name = (*partition.name).clone();
        let offset = fetch.offset;
        let Some(bound) = bound else {
            let error = ConsumerError::OffsetOutOfRange {
                partition: name,
                offset,
                log_start: partition.ends.start,
                high_watermark: partition.ends.high_watermark,
            };
            return self.halt(slot, error);
        };
        tracing::info!("{name} does not hold offset {offset}; it is reset to {bound:?}");
        if partition.failures > 0 {
            // Not the first time, and nothing was read since.
            partition.back_off(self.config.backoff, at.now, at.chance);
        }
        partition.failures = partition.failures.saturating_add(1);
        self.reset_behind(slot, Place::Unknown(bound));
    }

    pub(super) fn reset_bound(&self) -> Option<Bound> {
        Bound::of_reset(self.config.reset, self.config.clock.now_millis())
    }

    /// Asks the leaders where the ends of logs are.
    pub(super) fn plan_lookups(&mut self, now: Instant) {
        let mut by_node: BTreeMap<BrokerId, Vec<(usize, Bound)>> = BTreeMap::new();
        for (slot, partition) in &self.partitions {
            if let (Some(node), Some(bound)) = (partition.leader(), looked_up(partition))
                && partition.is_free(now)
                && !self.nodes.get(&node).is_some_and(|node| node.listing)
            {
                by_node.entry(node).or_default().push((*slot, bound));
            }
        }
        for (node, wanted) in by_node {
            self.look_up(node, wanted);
        }
    }

    fn look_up(&mut self, node: BrokerId, wanted: Vec<(usize, Bound)>) {
        let token = self.next_token();
        let mut sent = Sent::new(node);
        let mut topics: BTreeMap<String, Vec<ListOffsetsPartition>> = BTreeMap::new();
        for (slot, bound) in wanted {
            let Some(partition) = self.partitions.get_mut(&slot) else { continue };
            let asked = ask(partition, slot, 0, token, &mut sent);
            let wanted = ListOffsetsPartition {
                partition_index: asked.partition,
                current_leader_epoch: asked.epoch,
                timestamp: bound.timestamp(),
            };
            let topic = &partition.name.topic;
            match topics.get_mut(topic) {
                Some(known) => known.push(wanted),
                None => drop(topics.insert(topic.clone(), vec![wanted])),
            }
        }
        self.sent.insert(token, sent);
        self.nodes.entry(node).or_default().listing = true;
        let topics = topics.into_iter();
        let request = ListOffsetsRequest {
            replica_id: -1,
            isolation_level: self.config.isolation.code(),
            topics: topics
                .map(|(name, partitions)| ListOffsetsTopic { name, partitions })
                .collect(),
            ..ListOffsetsRequest::default()
        };
        self.actions.push(Action::ListOffsets { token, node, request });
    }

    /// What came of a [`Action::ListOffsets`].
    pub(crate) fn handle_offsets(
        &mut self,
        token: u64,
        result: Result<ListOffsetsResponse, ClientError>,
        now: Instant,
    ) {
        let Some(mut sent) = self.sent.remove(&token) else { return };
        self.nodes.entry(sent.node).or_default().listing = false;
        let at = self.moment(now);
        let response = match result {
            Ok(response) => response,
            Err(error) => return self.failed(sent, &error, at),
        };
        let mut unasked = Unasked::default();
        for topic in response.topics {
            for answer in topic.partitions {
                let index = answer.partition_index;
                let Some(asked) = sent.take_by_name(&topic.name, index) else {
                    unasked.note(&topic.name, TopicId::ZERO, index);
                    continue;
                };
                self.listed(asked, &answer, at);
            }
        }
        unasked.log("ListOffsets");
        self.fail_unanswered(sent, "ListOffsets", at);
    }

    fn listed(&mut self, asked: Asked, answer: &ListOffsetsPartitionResponse, at: Moment) {
        let slot = asked.slot;
        let Some(partition) = self.answered(asked) else { return };
        let code = answer.error_code;
        if code.is_ok() && answer.offset >= 0 {
            if matches!(partition.place, Place::At { .. }) {
                return self.judge_doubt(slot, answer.offset, at);
            }
            // As Kafka has it, without the epoch, which is not that of the record before.
            let position = Position { offset: answer.offset, epoch: None };
            return partition.settle(Place::at(position));
        }
        if code.is_ok() && matches!(partition.place, Place::Unknown(Bound::Timestamp(_))) {
            // Nothing is as late; what comes next will be.
            return partition.settle(Place::Unknown(Bound::Latest));
        }
        if code.is_ok() {
            let message = "it named no offset";
            let code = ErrorCode::OFFSET_NOT_AVAILABLE;
            let error = refusal(partition, "ListOffsets", code, Some(message));
            return self.fail(slot, error, at);
        }
        let error = refusal(partition, "ListOffsets", code, None);
        if judge(code) == Verdict::Refresh {
            self.actions.push(Action::RefreshMetadata);
        }
        self.fail(slot, error, at);
    }
}
