//! What one Fetch reads of each partition that it asks for, now. It decides neither when to answer nor what of it is
//! told.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::super::Context;
use super::name_of;
use crate::broker::fetch_session::Asked;
use crate::broker::log::{OffsetOutOfRange, ReadLimit};
use crate::broker::partition::Partition;
use crate::broker::rack::preferred_replica;
use crate::broker::stable::Aborted;
use crate::broker::state::State;
use crate::error::ErrorCode;
use crate::protocol::messages::fetch::{
    AbortedTransaction, EpochEndOffset, FetchLeaderIdAndEpoch, FetchPartitionData, FetchRequest,
};
use crate::types::BrokerId;

/// From this version on a client tells its rack, and followers serve it (KIP-392).
const FROM_FOLLOWERS_FROM: i16 = 11;
/// From this version on the answer says who leads instead (KIP-951).
const LEADER_HINT_FROM: i16 = 16;
const READ_COMMITTED: i8 = 1;
/// `fetch.max.bytes` of a broker.
const MAX_BYTES: usize = 55 * 1024 * 1024;

/// A request and the partitions that it is about, some of which only its session knows.
#[derive(Debug)]
pub(super) struct Reading<'a> {
    pub(super) cx: &'a Context<'a>,
    pub(super) request: &'a FetchRequest,
    pub(super) asked: Vec<Asked>,
}

/// What there is to say of a partition.
enum Found<'a> {
    Records(&'a Partition),
    /// Another replica should be read (KIP-392).
    Elsewhere(&'a Partition, BrokerId),
    /// The reader has seen another history, which ended here (KIP-320).
    Diverging(&'a Partition, EpochEndOffset),
}

impl Reading<'_> {
    /// How far this reader may go.
    fn bound(&self, partition: &Partition) -> i64 {
        let held = partition.end_at(self.cx.node);
        if self.request.isolation_level == READ_COMMITTED {
            partition.last_stable_offset().min(held)
        } else {
            partition.high_watermark().min(held)
        }
    }

    /// Whether an answer would say something: an error, another replica, or `fetch.min.bytes` of records.
    pub(super) fn is_enough(&self, state: &State) -> bool {
        let least = self.request.min_bytes.min(self.request.max_bytes);
        let enough = usize::try_from(least).unwrap_or(0);
        let mut bytes = 0;
        for asked in &self.asked {
            match self.look(state, asked) {
                Ok(Found::Records(partition)) => {
                    let (from, before) = (asked.fetch.fetch_offset, self.bound(partition));
                    bytes += partition.log.readable_bytes(from, before, enough);
                }
                _ => return true,
            }
        }
        self.asked.is_empty() || bytes >= enough
    }

    fn look<'s>(&self, state: &'s State, asked: &Asked) -> Result<Found<'s>, ErrorCode> {
        let cx = self.cx;
        let fetch = &asked.fetch;
        let name = name_of(state, cx.version, asked)?;
        cx.apply(Some((name, fetch.partition)), || {
            let partition = state
                .partition(name, fetch.partition)
                .ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
            if cx.version >= FROM_FOLLOWERS_FROM {
                partition.check_replica(cx.node, fetch.current_leader_epoch)?;
            } else {
                partition.check_leader(cx.node, fetch.current_leader_epoch)?;
            }
            if let Some(replica) = self.preferred(state, partition, fetch.fetch_offset) {
                return Ok(Found::Elsewhere(partition, replica));
            }
            let log = &partition.log;
            if fetch.last_fetched_epoch >= 0 {
                let ended = log.end_of_epoch(fetch.last_fetched_epoch);
                let (epoch, end_offset) = ended.ok_or(ErrorCode::OFFSET_OUT_OF_RANGE)?;
                // What is before the log's start is out of range, whatever happened behind it.
                if fetch.fetch_offset < log.start_offset() {
                    return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
                }
                if epoch < fetch.last_fetched_epoch || end_offset < fetch.fetch_offset {
                    let diverging = EpochEndOffset { epoch, end_offset };
                    return Ok(Found::Diverging(partition, diverging));
                }
            }
            let end = partition.end_at(cx.node);
            if !(log.start_offset()..=end).contains(&fetch.fetch_offset) {
                return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
            }
            Ok(Found::Records(partition))
        })
    }

    /// Where the leader sends a consumer, by its rack.
    fn preferred(&self, state: &State, partition: &Partition, offset: i64) -> Option<BrokerId> {
        let by_rack = state.defaults.rack_aware && partition.leader == Some(self.cx.node);
        let rack = Some(self.request.rack_id.as_str()).filter(|_| by_rack)?;
        preferred_replica(partition, &state.nodes, rack, offset)
    }

    /// Reads each partition within the limits of the request. With it go the leaders that are named.
    pub(super) fn read(
        &self,
        state: &State,
    ) -> (Vec<(Asked, FetchPartitionData)>, BTreeSet<BrokerId>) {
        let mut room = usize::try_from(self.request.max_bytes).unwrap_or(0).min(MAX_BYTES);
        let mut at_least_one = true;
        let mut leaders = BTreeSet::new();
        let mut answer = Vec::with_capacity(self.asked.len());
        for asked in &self.asked {
            let max_bytes = usize::try_from(asked.fetch.partition_max_bytes).unwrap_or(0).min(room);
            let found = self.look(state, asked);
            let data = found.and_then(|found| self.data(asked, &found, max_bytes, at_least_one));
            let data = data.unwrap_or_else(|code| {
                let name = name_of(state, self.cx.version, asked).unwrap_or_default();
                self.refused(code, state.partition(name, asked.fetch.partition), &mut leaders)
            });
            let read = data.records.as_ref().map_or(0, Bytes::len);
            // One batch larger than allowed is given, so that a reader gets past it, but no second one.
            at_least_one &= read == 0;
            room = room.saturating_sub(read);
            let partition_index = asked.fetch.partition;
            answer.push((asked.clone(), FetchPartitionData { partition_index, ..data }));
        }
        (answer, leaders)
    }

    fn data(
        &self,
        asked: &Asked,
        found: &Found<'_>,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<FetchPartitionData, ErrorCode> {
        let (Found::Records(partition)
        | Found::Elsewhere(partition, _)
        | Found::Diverging(partition, _)) = found;
        let from = asked.fetch.fetch_offset;
        let records = if let Found::Records(_) = found {
            let limit = ReadLimit { before: self.bound(partition), max_bytes, at_least_one };
            let read = partition.log.read(from, limit);
            read.map_err(|OffsetOutOfRange| ErrorCode::OFFSET_OUT_OF_RANGE)?
        } else {
            Bytes::new()
        };
        let committed = self.request.isolation_level == READ_COMMITTED;
        let held = partition.end_at(self.cx.node);
        let mut data = FetchPartitionData {
            high_watermark: partition.high_watermark().min(held),
            last_stable_offset: partition.last_stable_offset().min(held),
            log_start_offset: partition.log.start_offset(),
            aborted_transactions: committed.then(|| aborted(partition, from, records.len())),
            records: Some(records),
            ..Default::default()
        };
        match found {
            Found::Records(_) => {}
            Found::Elsewhere(_, replica) => data.preferred_read_replica = replica.0,
            Found::Diverging(_, diverging) => data.diverging_epoch = diverging.clone(),
        }
        Ok(data)
    }

    fn refused(
        &self,
        error_code: ErrorCode,
        partition: Option<&Partition>,
        leaders: &mut BTreeSet<BrokerId>,
    ) -> FetchPartitionData {
        let moved = matches!(
            error_code,
            ErrorCode::NOT_LEADER_OR_FOLLOWER | ErrorCode::FENCED_LEADER_EPOCH
        );
        let mut current_leader = FetchLeaderIdAndEpoch::default();
        if let Some(partition) = partition.filter(|_| moved && self.cx.version >= LEADER_HINT_FROM)
        {
            leaders.extend(partition.leader);
            current_leader.leader_id = partition.leader.map_or(-1, |node| node.0);
            current_leader.leader_epoch = partition.leader_epoch;
        }
        FetchPartitionData {
            error_code,
            high_watermark: -1,
            aborted_transactions: None,
            records: Some(Bytes::new()),
            current_leader,
            ..Default::default()
        }
    }
}

/// The aborted transactions of which there may be records in so many bytes from an offset on.
fn aborted(partition: &Partition, from: i64, bytes: usize) -> Vec<AbortedTransaction> {
    let before = partition.log.end_of_read(from, bytes);
    let told = |&Aborted { producer_id, first_offset, .. }: &Aborted| AbortedTransaction {
        producer_id,
        first_offset,
    };
    partition.stability.aborted_in(from, before).map(told).collect()
}
