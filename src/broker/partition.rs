//! One partition as its leader sees it: who leads, who is in sync, and whether a batch may be appended.
//!
//! Replicas share one log here: what the leader has, each replica in the ISR has at once, so the high watermark is the
//! log's end. Batches come in validated; this file does not look into them.

use std::collections::{BTreeMap, BTreeSet};

use super::compact;
use super::log::{Log, NewBatch};
use super::producer_state::{Appended, ProducerStates, Sequenced, Verdict};
use super::recovery;
use super::stable::Stability;
use super::topic_config::TopicConfig;
use crate::error::ErrorCode;
use crate::record::{EndTxnMarker, RecordError};
use crate::types::{BrokerId, ProducerIdentity};

/// A batch that [`validate`](super::validate) let through.
#[derive(Debug)]
pub(crate) struct ValidBatch {
    pub(crate) batch: NewBatch,
    /// `None` if its producer is not idempotent.
    pub(crate) sequenced: Option<Sequenced>,
    /// The broker's time that was written into it (`message.timestamp.type=LogAppendTime`), or -1.
    pub(crate) log_append_time: i64,
}

/// See the module's docs.
#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) leader: Option<BrokerId>,
    pub(crate) leader_epoch: i32,
    /// The preferred leader first.
    pub(crate) replicas: Vec<BrokerId>,
    /// Replicas that live, in order of `replicas`; when none does, the last one that did.
    pub(crate) isr: Vec<BrokerId>,
    pub(crate) log: Log,
    pub(crate) producers: ProducerStates,
    pub(crate) stability: Stability,
    /// Followers that copy nothing, and where their logs end.
    held: BTreeMap<BrokerId, i64>,
}

impl Partition {
    /// A new partition, led by the first of its replicas that lives.
    pub(crate) fn new(replicas: Vec<BrokerId>, isr: Vec<BrokerId>) -> Self {
        let mut log = Log::default();
        log.begin_epoch(0);
        Self {
            leader: isr.first().copied(),
            leader_epoch: 0,
            replicas,
            isr,
            log,
            producers: ProducerStates::default(),
            stability: Stability::default(),
            held: BTreeMap::new(),
        }
    }

    /// The first offset that no consumer may read yet.
    pub(crate) fn high_watermark(&self) -> i64 {
        self.log.end_offset()
    }

    /// The first offset that a `read_committed` consumer may not read yet.
    pub(crate) fn last_stable_offset(&self) -> i64 {
        self.stability.last_stable_offset(self.log.start_offset(), self.high_watermark())
    }

    /// Whether `node` leads in the epoch that a client believes in (-1: it does not say), as `Partition.getLocalLog`.
    pub(crate) fn check_leader(&self, node: BrokerId, client_epoch: i32) -> Result<(), ErrorCode> {
        self.check_epoch(client_epoch)?;
        if self.leader == Some(node) { Ok(()) } else { Err(ErrorCode::NOT_LEADER_OR_FOLLOWER) }
    }

    /// Whether `node` has a replica to read from, in the epoch that a client believes in.
    pub(crate) fn check_replica(&self, node: BrokerId, client_epoch: i32) -> Result<(), ErrorCode> {
        self.check_epoch(client_epoch)?;
        let has =
            self.leader == Some(node) || self.leader.is_some() && self.replicas.contains(&node);
        if has { Ok(()) } else { Err(ErrorCode::NOT_LEADER_OR_FOLLOWER) }
    }

    fn check_epoch(&self, client_epoch: i32) -> Result<(), ErrorCode> {
        match client_epoch {
            -1 => Ok(()),
            older if older < self.leader_epoch => Err(ErrorCode::FENCED_LEADER_EPOCH),
            newer if newer > self.leader_epoch => Err(ErrorCode::UNKNOWN_LEADER_EPOCH),
            _ => Ok(()),
        }
    }

    /// Where the log ends that `node` has.
    pub(crate) fn end_at(&self, node: BrokerId) -> i64 {
        let end = self.log.end_offset();
        self.held.get(&node).map_or(end, |&held| held.min(end))
    }

    /// A follower copies nothing more: it falls out of the ISR, and serves what it has.
    pub(crate) fn hold(&mut self, node: BrokerId) {
        // Without a leader the last one in sync is the only one that may lead again.
        let follows = self.leader.is_some_and(|leader| leader != node);
        if follows && self.replicas.contains(&node) {
            self.held.insert(node, self.log.end_offset());
            self.isr.retain(|&replica| replica != node);
        }
    }

    /// The followers that were held catch up; `live` are the nodes that run.
    pub(crate) fn release(&mut self, live: &BTreeSet<BrokerId>) {
        self.held.clear();
        self.catch_up(live);
    }

    /// With a leader, every replica that runs and is not held is in sync.
    fn catch_up(&mut self, live: &BTreeSet<BrokerId>) {
        if self.leader.is_some() {
            let in_sync = |node: &&BrokerId| live.contains(node) && !self.held.contains_key(node);
            self.isr = self.replicas.iter().filter(in_sync).copied().collect();
        }
    }

    /// Whether enough replicas are in sync to take a batch with these `acks` (`min.insync.replicas`).
    pub(crate) fn check_in_sync(&self, acks: i16, config: &TopicConfig) -> Result<(), ErrorCode> {
        // `Partition.effectiveMinIsr`: no more can be asked for than there are replicas.
        let least = config.min_insync_replicas.min(self.replicas.len());
        if acks == -1 && self.isr.len() < least {
            Err(ErrorCode::NOT_ENOUGH_REPLICAS)
        } else {
            Ok(())
        }
    }

    /// Appends a batch, or finds that it was appended before.
    pub(crate) fn append(
        &mut self,
        valid: ValidBatch,
        config: &TopicConfig,
    ) -> Result<Appended, ErrorCode> {
        if let Some(sequenced) = &valid.sequenced {
            match self.producers.check(sequenced)? {
                Verdict::Append => {}
                Verdict::Duplicate(before) => return Ok(before),
            }
        }
        let max_timestamp = valid.batch.max_timestamp;
        let base_offset = self.log.append(valid.batch, self.leader_epoch);
        let appended = Appended { base_offset, timestamp: valid.log_append_time };
        if let Some(sequenced) = &valid.sequenced
            && self.producers.record(sequenced, appended, max_timestamp)
        {
            self.stability.begin(sequenced.producer.id, base_offset);
        }
        if let Some(max_bytes) = config.retention_bytes {
            self.log.retain_bytes(max_bytes);
            self.stability.forget_before(self.log.start_offset());
        }
        Ok(appended)
    }

    /// Appends the marker that ends a producer's transaction, as a leader does for `WriteTxnMarkers`, and gives its
    /// offset. `now` is in milliseconds since the epoch.
    pub(crate) fn write_marker(
        &mut self,
        producer: ProducerIdentity,
        marker: EndTxnMarker,
        now: i64,
    ) -> Result<i64, ErrorCode> {
        self.producers.check_marker(producer, marker.coordinator_epoch)?;
        let bytes = marker.to_batch(now, producer).map_err(|_| ErrorCode::CORRUPT_MESSAGE)?;
        let batch = NewBatch { bytes, count: 1, max_timestamp: now };
        let offset = self.log.append(batch, self.leader_epoch);
        if let Some(first) = self.producers.end(producer, marker.coordinator_epoch, now) {
            self.stability.end(first, offset, marker.committed);
        }
        Ok(offset)
    }

    /// Compacts the log up to the last stable offset; see [`compact`](super::compact).
    pub(crate) fn compact(&mut self) -> Result<(), RecordError> {
        let stable = self.last_stable_offset();
        compact::compact(&mut self.log, &self.stability, &self.producers, stable)
    }

    /// Removes what is before `offset`.
    pub(crate) fn delete_before(&mut self, offset: i64) {
        self.log.delete_before(offset);
        self.stability.forget_before(self.log.start_offset());
    }

    /// A replica went away. Gives whether leadership changed.
    pub(crate) fn node_stopped(&mut self, node: BrokerId) -> bool {
        if self.isr.len() > 1 {
            self.isr.retain(|&replica| replica != node);
        }
        if self.leader != Some(node) {
            return false;
        }
        // No unclean election: the last one in sync stays the only one that may lead again.
        self.lead(self.isr.iter().copied().find(|&replica| replica != node));
        true
    }

    /// A node came back; `live` are those that run now. Gives whether leadership changed.
    ///
    /// With a leader every replica that runs catches up, also one that came back while there was none.
    pub(crate) fn node_started(&mut self, node: BrokerId, live: &BTreeSet<BrokerId>) -> bool {
        let leads_again = self.leader.is_none() && self.isr.contains(&node);
        if leads_again {
            self.lead(Some(node));
        }
        self.catch_up(live);
        leads_again
    }

    /// Sets the leader and begins a new epoch.
    pub(crate) fn lead(&mut self, leader: Option<BrokerId>) {
        self.leader = leader;
        self.leader_epoch += 1;
        if leader.is_some() {
            self.log.begin_epoch(self.leader_epoch);
        }
    }

    /// An unclean election: a replica that never had the records from `offset` on leads, and nobody has them any more.
    /// Gives where the log ends now; what its producers wrote is known from what is left of it.
    pub(crate) fn elect_uncleanly(&mut self, offset: i64) -> i64 {
        let end = self.log.truncate_to(offset);
        (self.producers, self.stability) = recovery::recover(&self.log);
        let other = self.isr.iter().copied().find(|&replica| Some(replica) != self.leader);
        if self.leader.is_some() {
            self.lead(other.or(self.leader));
        }
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::testing::sequenced;
    use crate::types::ProducerIdentity;

    const A: BrokerId = BrokerId(1);
    const B: BrokerId = BrokerId(2);
    const C: BrokerId = BrokerId(3);

    fn partition(nodes: &[BrokerId]) -> Partition {
        Partition::new(nodes.to_vec(), nodes.to_vec())
    }

    fn batch(sequence: i32) -> ValidBatch {
        let producer = ProducerIdentity { id: 7, epoch: 0 };
        let bytes = sequenced(&["v"], producer, sequence);
        ValidBatch {
            batch: NewBatch { bytes, count: 1, max_timestamp: 5 },
            sequenced: Some(Sequenced { producer, sequence, count: 1, transactional: false }),
            log_append_time: -1,
        }
    }

    #[test]
    fn leadership_goes_to_those_in_sync_and_each_change_has_an_epoch() {
        let mut p = partition(&[A, B, C]);
        let state = |p: &Partition| (p.leader, p.leader_epoch, p.isr.clone());
        assert_eq!(state(&p), (Some(A), 0, vec![A, B, C]));
        assert!(!p.node_stopped(B), "a follower");
        assert_eq!(state(&p), (Some(A), 0, vec![A, C]));
        assert!(p.node_stopped(A));
        assert_eq!(state(&p), (Some(C), 1, vec![C]));
        assert!(p.node_stopped(C));
        assert_eq!(state(&p), (None, 2, vec![C]), "the last in sync stays in the ISR");
        assert!(!p.node_started(A, &[A].into()), "it may have missed something");
        assert_eq!(state(&p), (None, 2, vec![C]));
        assert!(p.node_started(C, &[A, C].into()));
        assert_eq!(state(&p), (Some(C), 3, vec![A, C]), "who waited for a leader catches up");
        assert!(!p.node_started(B, &[A, B, C].into()));
        assert_eq!(state(&p), (Some(C), 3, vec![A, B, C]), "in order of the replicas");
        assert!(!p.node_started(BrokerId(9), &[A, B, C, BrokerId(9)].into()), "no replica");
        assert_eq!(state(&p), (Some(C), 3, vec![A, B, C]));
    }

    #[test]
    fn an_unclean_election_makes_another_one_lead_what_is_left() {
        let mut p = partition(&[A, B]);
        for sequence in 0..4 {
            p.append(batch(sequence), &TopicConfig::default()).unwrap();
        }
        assert_eq!(p.elect_uncleanly(3), 3);
        assert_eq!((p.leader, p.leader_epoch, p.high_watermark()), (Some(B), 1, 3));
        assert_eq!(p.log.end_of_epoch(0), Some((0, 3)));
        let again = p.append(batch(3), &TopicConfig::default());
        assert_eq!(again.map(|a| a.base_offset), Ok(3), "what was cut off may be written again");
        let known = p.append(batch(2), &TopicConfig::default());
        assert_eq!(known.map(|a| a.base_offset), Ok(2), "what was not is known");
        assert_eq!(p.log.end_of_epoch(0), Some((0, 3)));
        assert_eq!(p.log.end_of_epoch(1), Some((1, 4)));
        let mut alone = partition(&[A]);
        assert_eq!(alone.elect_uncleanly(0), 0);
        assert_eq!((alone.leader, alone.leader_epoch), (Some(A), 1));
        alone.node_stopped(A);
        alone.elect_uncleanly(0);
        assert_eq!((alone.leader, alone.leader_epoch), (None, 2), "nobody is there to lead");
    }

    #[test]
    fn only_the_leader_in_the_right_epoch_answers() {
        let mut p = partition(&[A, B]);
        p.lead(Some(B));
        for (node, epoch, expected) in [
            (B, -1, Ok(())),
            (B, 1, Ok(())),
            (A, -1, Err(ErrorCode::NOT_LEADER_OR_FOLLOWER)),
            (A, 1, Err(ErrorCode::NOT_LEADER_OR_FOLLOWER)),
            (B, 0, Err(ErrorCode::FENCED_LEADER_EPOCH)),
            (B, 2, Err(ErrorCode::UNKNOWN_LEADER_EPOCH)),
        ] {
            assert_eq!(p.check_leader(node, epoch), expected, "{node} {epoch}");
        }
    }

    #[test]
    fn a_follower_that_is_held_serves_what_it_has() {
        let mut p = partition(&[A, B]);
        p.append(batch(0), &TopicConfig::default()).unwrap();
        p.hold(B);
        p.hold(A);
        p.hold(C);
        p.append(batch(1), &TopicConfig::default()).unwrap();
        assert_eq!((p.end_at(A), p.end_at(B), p.isr.as_slice()), (2, 1, &[A][..]));
        assert!(!p.node_started(C, &[A, B].into()));
        assert_eq!(p.isr, [A], "still held");
        assert_eq!(p.check_replica(B, 0), Ok(()));
        assert_eq!(p.check_replica(B, 1), Err(ErrorCode::UNKNOWN_LEADER_EPOCH));
        assert_eq!(p.check_replica(C, 0), Err(ErrorCode::NOT_LEADER_OR_FOLLOWER));
        p.release(&[A, B].into());
        assert_eq!((p.end_at(B), p.isr.as_slice()), (2, &[A, B][..]));
        p.node_stopped(A);
        p.node_stopped(B);
        p.hold(B);
        assert_eq!((p.leader, p.isr.as_slice()), (None, &[B][..]), "it must lead again");
    }

    #[test]
    fn acks_all_needs_the_minimum_in_sync() {
        let two = TopicConfig { min_insync_replicas: 2, ..TopicConfig::default() };
        let mut p = partition(&[A, B]);
        assert_eq!(p.check_in_sync(-1, &two), Ok(()));
        p.node_stopped(A);
        assert_eq!(p.check_in_sync(-1, &two), Err(ErrorCode::NOT_ENOUGH_REPLICAS));
        assert_eq!(p.check_in_sync(1, &two), Ok(()));
        assert_eq!(partition(&[A]).check_in_sync(-1, &two), Ok(()), "it has but one replica");
    }

    #[test]
    fn a_duplicate_is_answered_with_its_offset_and_not_appended() {
        let config = TopicConfig::default();
        let mut p = partition(&[A]);
        assert_eq!(p.append(batch(0), &config).unwrap().base_offset, 0);
        assert_eq!(p.append(batch(1), &config).unwrap().base_offset, 1);
        assert_eq!(p.append(batch(0), &config).unwrap().base_offset, 0);
        assert_eq!(p.append(batch(3), &config), Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));
        assert_eq!((p.high_watermark(), p.last_stable_offset()), (2, 2));
    }

    #[test]
    fn retention_applies_after_each_append() {
        let config = TopicConfig { retention_bytes: Some(150), ..TopicConfig::default() };
        let mut p = partition(&[A]);
        for sequence in 0..5 {
            p.append(batch(sequence), &config).unwrap();
        }
        assert_eq!((p.log.start_offset(), p.log.end_offset()), (3, 5));
    }
}

#[cfg(test)]
#[path = "partition/random.rs"]
mod random;
