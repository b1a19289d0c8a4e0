//! ListOffsets: the offset of a time, or of one of the ends of a log.

use super::{Answer, Context, Handle};
use crate::broker::log::LoggedBatch;
use crate::broker::partition::Partition;
use crate::broker::state::State;
use crate::error::ErrorCode;
use crate::protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopic, ListOffsetsTopicResponse,
};
use crate::record;
use crate::types::TopicPartition;

const READ_COMMITTED: i8 = 1;
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;
/// Special timestamps and the version from which each is known.
const KNOWN_FROM: [(i64, i16); 6] = [
    (LATEST, 0),
    (EARLIEST, 0),
    (MAX_TIMESTAMP, 7),
    (EARLIEST_LOCAL, 8),
    (LATEST_TIERED, 9),
    (EARLIEST_PENDING_UPLOAD, 11),
];
/// From this version on leader epochs are told.
const EPOCH_FROM: i16 = 4;
/// What one batch may decompress to while a timestamp is looked for in it.
const MAX_DECOMPRESSED: usize = 256 * 1024 * 1024;

impl Handle for ListOffsetsRequest {
    async fn handle(self, cx: &Context<'_>) -> Answer<ListOffsetsResponse> {
        let committed = self.isolation_level == READ_COMMITTED;
        let answer = |topic: &ListOffsetsTopic| {
            let partitions = topic.partitions.iter();
            ListOffsetsTopicResponse {
                name: topic.name.clone(),
                partitions: partitions.map(|asked| one(cx, topic, asked, committed)).collect(),
            }
        };
        let topics = self.topics.iter().map(answer);
        Answer::Respond(ListOffsetsResponse { topics: topics.collect(), ..Default::default() })
    }

    fn names(&self, _: &State, partition: &TopicPartition) -> bool {
        let index = |asked: &ListOffsetsPartition| asked.partition_index == partition.partition;
        let named = |topic: &ListOffsetsTopic| {
            topic.name == partition.topic && topic.partitions.iter().any(index)
        };
        self.topics.iter().any(named)
    }

    fn throttle(response: &mut ListOffsetsResponse, ms: i32) {
        response.throttle_time_ms = ms;
    }
}

/// An offset with its time and epoch, each -1 where there is none.
#[derive(Debug, Clone, Copy)]
struct Found {
    timestamp: i64,
    offset: i64,
    epoch: i32,
}

impl Found {
    const NOTHING: Self = Self { timestamp: -1, offset: -1, epoch: -1 };
}

fn one(
    cx: &Context<'_>,
    topic: &ListOffsetsTopic,
    asked: &ListOffsetsPartition,
    committed: bool,
) -> ListOffsetsPartitionResponse {
    let index = asked.partition_index;
    let twice = topic.partitions.iter().filter(|other| other.partition_index == index).count() > 1;
    let found = cx.apply(Some((&topic.name, index)), || {
        if twice {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        let known = |&(timestamp, from)| timestamp == asked.timestamp && from <= cx.version;
        if asked.timestamp < 0 && !KNOWN_FROM.iter().any(known) {
            return Err(ErrorCode::UNSUPPORTED_VERSION);
        }
        cx.shared.with(|state| {
            let partition =
                state.partition(&topic.name, index).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
            partition.check_leader(cx.node, asked.current_leader_epoch)?;
            Ok(find(partition, asked.timestamp, committed))
        })
    });
    let (error_code, found) = match found {
        Ok(found) => (ErrorCode::NONE, found),
        Err(code) => (code, Found::NOTHING),
    };
    ListOffsetsPartitionResponse {
        partition_index: index,
        error_code,
        timestamp: found.timestamp,
        offset: found.offset,
        leader_epoch: if cx.version >= EPOCH_FROM { found.epoch } else { -1 },
    }
}

/// `committed` is for a reader with `isolation.level=read_committed`: nothing from the last stable offset on is found.
fn find(partition: &Partition, timestamp: i64, committed: bool) -> Found {
    let log = &partition.log;
    let end = if committed { partition.last_stable_offset() } else { partition.high_watermark() };
    let readable = |found: &Found| found.offset < end;
    match timestamp {
        LATEST => Found { timestamp: -1, offset: end, epoch: partition.leader_epoch },
        EARLIEST | EARLIEST_LOCAL => Found {
            timestamp: -1,
            offset: log.start_offset(),
            epoch: log.earliest_epoch().unwrap_or(-1),
        },
        // Nothing is tiered.
        LATEST_TIERED | EARLIEST_PENDING_UPLOAD => Found::NOTHING,
        MAX_TIMESTAMP => log
            .batch_of_max_timestamp()
            .and_then(|batch| first_record_at(batch, batch.max_timestamp, log.start_offset()))
            .filter(readable)
            .unwrap_or(Found::NOTHING),
        _ => log
            .batches()
            .filter(|batch| batch.max_timestamp >= timestamp)
            .find_map(|batch| first_record_at(batch, timestamp, log.start_offset()))
            .filter(readable)
            .unwrap_or(Found::NOTHING),
    }
}

/// The first record of a batch at or after a time and an offset.
fn first_record_at(batch: &LoggedBatch, timestamp: i64, from: i64) -> Option<Found> {
    let parsed = record::batches(batch.to_bytes()).next()?.ok()?;
    let records = parsed.records(MAX_DECOMPRESSED).ok()?;
    let epoch = batch.leader_epoch;
    records
        .iter()
        .map_while(Result::ok)
        .find(|record| record.timestamp >= timestamp && record.offset >= from)
        .map(|record| Found { timestamp: record.timestamp, offset: record.offset, epoch })
}
