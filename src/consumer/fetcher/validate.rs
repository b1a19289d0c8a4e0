//! Whether what was read is still in the log (KIP-320). After a new leader was elected it may not be:
//! the leader is asked where the epoch of the last record ended in its log, and a fetch tells of it
//! too.
//!
//! ```text
//!   leader, or its epoch, is another than the one that the position was held against
//!     position without epoch, or a broker before 2.3 ─► nothing to ask: valid
//!     OffsetForLeaderEpoch(epoch of the position)
//!       epoch unknown                   ─► truncated, nobody knows where
//!       ended before the position       ─► truncated from there on
//!       else                            ─► valid
//!
//!   truncated, behind what the user got ─► the buffer is dropped, and reading goes on
//!   truncated, what the user got        ─► with a reset: where it was truncated, or where the
//!                                          reset leads; without: LogTruncation
//! ```

use std::collections::BTreeMap;

use super::answer::{Unasked, Verdict, judge, refusal};
use super::plan::ask;
use super::sent::{Asked, Sent};
use super::{Action, Fetcher, Moment};
use crate::consumer::subscription::{Place, Position};
use crate::error::{ClientError, ConsumerError};
use crate::protocol::messages::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use crate::time::Instant;
use crate::types::{BrokerId, OffsetAndMetadata, TopicId};

/// What the end of an epoch says of a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finding {
    Valid,
    Truncated {
        /// From where on the log is another; `None` if the leader cannot tell.
        divergent: Option<Position>,
    },
}

/// Holds a position against the largest epoch up to its own that the leader knows, and where that
/// ended; -1 is unknown.
pub(super) fn compare(position: Position, epoch: i32, end_offset: i64) -> Finding {
    if epoch < 0 || end_offset < 0 {
        Finding::Truncated { divergent: None }
    } else if end_offset < position.offset {
        Finding::Truncated { divergent: Some(Position::new(end_offset, epoch)) }
    } else {
        Finding::Valid
    }
}

impl Fetcher {
    /// Asks the leaders about positions that were not held against their logs.
    pub(super) fn plan_validations(&mut self, now: Instant) {
        let mut by_node: BTreeMap<BrokerId, Vec<(usize, Position)>> = BTreeMap::new();
        for (slot, partition) in &self.partitions {
            if let (Some(node), Some(fetch)) = (partition.leader(), partition.place.fetch())
                && partition.needs_validation()
                && partition.is_free(now)
                && partition.replaced_by().is_none()
                && !self.nodes.get(&node).is_some_and(|node| node.validating)
            {
                by_node.entry(node).or_default().push((*slot, fetch));
            }
        }
        for (node, wanted) in by_node {
            self.validate(node, wanted);
        }
    }

    fn validate(&mut self, node: BrokerId, wanted: Vec<(usize, Position)>) {
        let token = self.next_token();
        let mut sent = Sent::new(node);
        let mut topics: BTreeMap<String, Vec<OffsetForLeaderPartition>> = BTreeMap::new();
        for (slot, position) in wanted {
            let Some(partition) = self.partitions.get_mut(&slot) else { continue };
            let asked = ask(partition, slot, position.offset, token, &mut sent);
            let wanted = OffsetForLeaderPartition {
                partition: asked.partition,
                current_leader_epoch: asked.epoch,
                leader_epoch: position.epoch.unwrap_or(-1),
            };
            topics.entry(partition.name.topic.clone()).or_default().push(wanted);
        }
        self.sent.insert(token, sent);
        self.nodes.entry(node).or_default().validating = true;
        let topics = topics.into_iter();
        let request = OffsetForLeaderEpochRequest {
            replica_id: -1,
            topics: topics
                .map(|(topic, partitions)| OffsetForLeaderTopic { topic, partitions })
                .collect(),
        };
        self.actions.push(Action::OffsetForLeaderEpoch { token, node, request });
    }

    /// What came of [`Action::OffsetForLeaderEpoch`]; no answer if the broker does not let consumers
    /// ask.
    pub(crate) fn handle_epochs(
        &mut self,
        token: u64,
        result: Result<Option<OffsetForLeaderEpochResponse>, ClientError>,
        now: Instant,
    ) {
        let Some(mut sent) = self.sent.remove(&token) else { return };
        self.nodes.entry(sent.node).or_default().validating = false;
        let at = self.moment(now);
        let response = match result {
            Ok(Some(response)) => response,
            Ok(None) | Err(ClientError::UnsupportedVersion { .. }) => {
                for asked in sent.unanswered() {
                    if let Some(partition) = self.answered(asked) {
                        partition.validated();
                    }
                }
                return;
            }
            Err(error) => return self.failed(sent, &error, at),
        };
        let mut unasked = Unasked::default();
        for topic in response.topics {
            for answer in topic.partitions {
                let Some(asked) = sent.take_by_name(&topic.topic, answer.partition) else {
                    unasked.note(&topic.topic, TopicId::ZERO, answer.partition);
                    continue;
                };
                self.epoch_ended(asked, &answer, at);
            }
        }
        unasked.log("OffsetForLeaderEpoch");
        self.fail_unanswered(sent, "OffsetForLeaderEpoch", at);
    }

    fn epoch_ended(&mut self, asked: Asked, answer: &EpochEndOffset, at: Moment) {
        let slot = asked.slot;
        let Some(partition) = self.answered(asked) else { return };
        let Some(fetch) = partition.place.fetch() else { return };
        let code = answer.error_code;
        if !code.is_ok() {
            let error = refusal(partition, "OffsetForLeaderEpoch", code, None);
            if judge(code) == Verdict::Refresh {
                self.actions.push(Action::RefreshMetadata);
            }
            return self.fail(slot, error, at);
        }
        if partition.leadership.is_some_and(|leadership| leadership.epoch != asked.epoch) {
            // The leader of now is to say so.
            return;
        }
        match compare(fetch, answer.leader_epoch, answer.end_offset) {
            Finding::Valid => {
                partition.validated();
                partition.trouble = None;
            }
            Finding::Truncated { divergent } => self.truncated(slot, divergent),
        }
    }

    /// Where a fetch found that the log is another than the one that was read.
    pub(super) fn diverged(&mut self, slot: usize, epoch: i32, end_offset: i64) {
        let Some(partition) = self.partitions.get_mut(&slot) else { return };
        let Place::At { position, fetch } = partition.place else { return };
        match compare(fetch, epoch, end_offset) {
            // Nothing is known to be missing, as Kafka sees it; but the epoch is another.
            Finding::Valid => {
                let fetch = Position::new(fetch.offset, epoch);
                partition.place = Place::At { position, fetch };
            }
            Finding::Truncated { divergent } => self.truncated(slot, divergent),
        }
    }

    fn truncated(&mut self, slot: usize, divergent: Option<Position>) {
        let bound = self.reset_bound();
        let Some(partition) = self.partitions.get_mut(&slot) else { return };
        let Place::At { position, fetch } = partition.place else { return };
        let name = (*partition.name).clone();
        let is_unseen = match divergent {
            Some(divergent) => divergent.offset >= position.offset,
            // The position has an epoch of its own, about which the leader may know more.
            None => position.offset < fetch.offset,
        };
        if is_unseen {
            tracing::info!("the log of {name} has lost records that were fetched ahead");
            self.reset(slot, Place::at(position));
            if let Some(partition) = self.partitions.get_mut(&slot)
                && divergent.is_some()
            {
                partition.validated();
            }
            return;
        }
        let offset = position.offset;
        match (bound, divergent) {
            (None, divergent) => {
                let divergent = divergent.map(OffsetAndMetadata::from);
                let position = position.into();
                let error = ConsumerError::LogTruncation { partition: name, position, divergent };
                self.halt(slot, error);
            }
            (Some(_), Some(divergent)) => {
                let first = divergent.offset;
                tracing::warn!(
                    "the log of {name} was truncated; reading goes back from {offset} to {first}"
                );
                self.reset(slot, Place::at(divergent));
                if let Some(partition) = self.partitions.get_mut(&slot) {
                    partition.validated();
                }
            }
            (Some(bound), None) => {
                tracing::warn!("the log of {name} was truncated; {offset} is reset to {bound:?}");
                self.reset(slot, Place::Unknown(bound));
            }
        }
    }
}
