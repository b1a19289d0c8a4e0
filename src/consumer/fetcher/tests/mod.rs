//! The fetcher by hand-made events: a model of a log serves it, and what comes out is held against
//! what the log holds.

mod asking;
mod assigned;
mod cuts;
mod failures;
mod handing_out;
mod hostile;
mod isolation;
mod positions;
mod random;
mod replicas;
mod sessions;
mod start;
mod topics;
mod validate;

use bytes::{BufMut, Bytes, BytesMut};
use parking_lot::Mutex;

use super::*;
use crate::consumer::collector::collect;
use crate::consumer::records::Records;
use crate::consumer::subscription::StartAt;
use crate::error::ErrorCode;
use crate::protocol::messages::fetch::{
    FetchPartition, FetchPartitionData, FetchResponse, FetchableTopicResponse,
};
use crate::protocol::messages::list_offsets::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use crate::record::{
    BatchBuilder, BatchHeader, Codec, EndTxnMarker, HEADER_LEN, set_base_offset, set_leader_epoch,
};
use crate::types::{Compression, ProducerIdentity, TopicId};

const MS: fn(u64) -> Duration = Duration::from_millis;

fn config() -> FetchConfig {
    FetchConfig {
        max_bytes: 64 * 1024,
        partition_max_bytes: 4 * 1024,
        min_bytes: 1,
        max_wait: MS(500),
        isolation: IsolationLevel::ReadUncommitted,
        reset: OffsetReset::None,
        clock: Arc::new(AtTenSeconds),
        rack: String::new(),
        replica_age: MS(300_000),
        checks: Checks { crcs: true, max_decompressed: 1 << 20 },
        max_poll_records: usize::MAX,
        backoff: Backoff::new(MS(10), MS(100)),
        patience: MS(30_000),
    }
}

/// Ten seconds after 1970 began.
#[derive(Debug)]
struct AtTenSeconds;

impl Clock for AtTenSeconds {
    fn now_millis(&self) -> i64 {
        10_000
    }
}

/// A batch of one record for each value, at consecutive offsets from `base`.
fn batch(base: i64, values: &[&[u8]], compression: Compression) -> Bytes {
    let mut builder = BatchBuilder::new(BytesMut::new());
    for (at, value) in (0..).zip(values) {
        builder.append(1_000 + at, Some(b"key"), Some(value), &[]).unwrap();
    }
    let mut sealed = builder.seal(Codec::new(compression)).unwrap();
    sealed.stamp(ProducerIdentity::NONE, -1, false);
    at(base, &sealed.bytes())
}

/// The marker of a transaction's end.
fn marker(base: i64) -> Bytes {
    let marker = EndTxnMarker { committed: true, coordinator_epoch: 0 };
    at(base, &marker.to_batch(1_000, ProducerIdentity { id: 7, epoch: 0 }).unwrap())
}

/// A batch as compaction leaves it: of the offsets from `base` to `last`, only some have records.
fn compacted(base: i64, last: i64, records: &[(i64, &[u8])]) -> Bytes {
    let mut bytes = batch(base, &[b"x"], Compression::None);
    let mut header = BatchHeader::parse(&bytes).unwrap();
    header.last_offset_delta = i32::try_from(last - base).unwrap();
    header.count = i32::try_from(records.len()).unwrap();
    let mut raw = BytesMut::zeroed(HEADER_LEN);
    for (offset, value) in records {
        let mut body = BytesMut::new();
        body.put_u8(0); // attributes
        varint(&mut body, 0); // timestamp delta
        varint(&mut body, offset - base);
        varint(&mut body, -1); // no key
        varint(&mut body, i64::try_from(value.len()).unwrap());
        body.put_slice(value);
        varint(&mut body, 0); // no headers
        varint(&mut raw, i64::try_from(body.len()).unwrap());
        raw.put_slice(&body);
    }
    header.write(&mut raw).unwrap();
    bytes = raw.freeze();
    at(base, &bytes)
}

fn varint(buf: &mut BytesMut, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        buf.put_u8((rest as u8) | 0x80);
        rest >>= 7;
    }
    buf.put_u8(rest as u8);
}

fn at(base: i64, batch: &[u8]) -> Bytes {
    let mut batch = batch.to_vec();
    set_base_offset(&mut batch, base).unwrap();
    set_leader_epoch(&mut batch, 3).unwrap();
    batch.into()
}

fn join(batches: &[Bytes]) -> Bytes {
    batches.concat().into()
}

fn tp(partition: i32) -> TopicPartition {
    TopicPartition::new("orders", partition)
}

const TOPIC_ID: TopicId = TopicId([5; 16]);

fn led_by(node: i32) -> Option<Leadership> {
    Some(Leadership { leader: Some(BrokerId(node)), epoch: 3, topic_id: TOPIC_ID })
}

/// A fetch that the fetcher wants sent.
struct Wanted {
    token: u64,
    node: BrokerId,
    request: FetchRequest,
}

impl Wanted {
    fn partitions(&self) -> Vec<&FetchPartition> {
        self.request.topics.iter().flat_map(|topic| &topic.partitions).collect()
    }

    fn partition(&self, number: i32) -> Option<&FetchPartition> {
        self.partitions().into_iter().find(|wanted| wanted.partition == number)
    }
}

/// A fetcher with partitions of one topic, all led by node 1.
struct Bench {
    fetcher: Mutex<Fetcher>,
    now: Instant,
}

impl Bench {
    fn new(config: FetchConfig, starts: &[(i32, StartAt)]) -> Self {
        let bench = Self { fetcher: Mutex::new(Fetcher::new(config, 1)), now: Instant::now() };
        let starts: Vec<_> = starts.iter().map(|(number, start)| (tp(*number), *start)).collect();
        bench.fetcher.lock().replace(starts, |_| led_by(1));
        bench
    }

    /// One partition, number 0, at offset 0.
    fn one() -> Self {
        Self::new(config(), &[(0, StartAt::Offset(0))])
    }

    fn poll(&self) -> Vec<Action> {
        self.fetcher.lock().poll(self.now)
    }

    /// The fetches that are wanted now, and nothing else.
    fn fetches(&self) -> Vec<Wanted> {
        let wanted = |action| match action {
            Action::Fetch { token, node, request, .. } => Wanted { token, node, request },
            other => panic!("only fetches were expected, and this came: {other:?}"),
        };
        self.poll().into_iter().map(wanted).collect()
    }

    /// The only fetch that is wanted now.
    fn fetch(&self) -> Wanted {
        let mut fetches = self.fetches();
        assert_eq!(fetches.len(), 1, "one fetch");
        fetches.remove(0)
    }

    fn answer(&self, wanted: &Wanted, response: FetchResponse) {
        self.answer_in(wanted, response, 0);
    }

    /// As [`Bench::answer`], in a frame of this length.
    fn answer_in(&self, wanted: &Wanted, response: FetchResponse, frame_len: usize) {
        let fetched = Fetched { response, frame_len };
        self.fetcher.lock().handle_fetched(wanted.token, Ok(fetched), self.now);
    }

    /// Answers a fetch with these bytes for these partitions.
    fn serve(&self, wanted: &Wanted, parts: &[(i32, Bytes)]) {
        self.answer(wanted, served(parts));
    }

    /// Serves the one partition of the one fetch that is wanted.
    fn deliver(&self, bytes: Bytes) {
        let wanted = self.fetch();
        self.serve(&wanted, &[(0, bytes)]);
    }

    /// As [`Bench::deliver`], if it is asked for from there.
    fn deliver_at(&self, offset: i64, bytes: Bytes) {
        let wanted = self.fetch();
        assert_eq!(wanted.partition(0).unwrap().fetch_offset, offset);
        self.serve(&wanted, &[(0, bytes)]);
    }

    fn collect(&self) -> Option<Result<Records, ConsumerError>> {
        collect(&self.fetcher, self.now).result
    }

    /// Offsets and values that are handed out now.
    fn collected(&self) -> Vec<(i64, Vec<u8>)> {
        let Some(records) = self.collect() else { return Vec::new() };
        flat(&records.expect("records, not an error"))
    }

    fn error(&self) -> ConsumerError {
        match self.collect() {
            Some(Err(error)) => error,
            other => panic!("an error was expected, and this came: {other:?}"),
        }
    }

    /// The only lookup of offsets that is wanted now, and the timestamps it asks for.
    fn lookup(&self) -> (u64, Vec<i64>) {
        let mut actions = self.poll();
        let Some(Action::ListOffsets { token, request, .. }) = actions.pop() else {
            panic!("a lookup was expected");
        };
        assert!(actions.is_empty(), "{actions:?}");
        let asked = request.topics.iter().flat_map(|topic| &topic.partitions);
        (token, asked.map(|asked| asked.timestamp).collect())
    }

    fn answer_lookup(&self, token: u64, offset: i64) {
        let answer = Ok(listed(0, ErrorCode::NONE, offset));
        self.fetcher.lock().handle_offsets(token, answer, self.now);
    }

    fn position(&self, number: i32) -> Option<i64> {
        self.fetcher.lock().position(&tp(number)).map(|position| position.offset)
    }
}

fn flat(records: &Records) -> Vec<(i64, Vec<u8>)> {
    let flat: Vec<_> =
        records.iter().map(|record| (record.offset, record.value.unwrap().to_vec())).collect();
    assert_eq!(flat.len(), records.len());
    flat
}

fn served(parts: &[(i32, Bytes)]) -> FetchResponse {
    response(parts.iter().map(|(partition_index, bytes)| FetchPartitionData {
        partition_index: *partition_index,
        records: Some(bytes.clone()),
        ..FetchPartitionData::default()
    }))
}

fn refused(number: i32, error_code: ErrorCode) -> FetchResponse {
    response([FetchPartitionData {
        partition_index: number,
        error_code,
        log_start_offset: 5,
        high_watermark: 9,
        ..FetchPartitionData::default()
    }])
}

fn response(partitions: impl IntoIterator<Item = FetchPartitionData>) -> FetchResponse {
    FetchResponse {
        responses: vec![FetchableTopicResponse {
            topic_id: TOPIC_ID,
            partitions: partitions.into_iter().collect(),
            ..FetchableTopicResponse::default()
        }],
        ..FetchResponse::default()
    }
}

fn listed(number: i32, error_code: ErrorCode, offset: i64) -> ListOffsetsResponse {
    ListOffsetsResponse {
        topics: vec![ListOffsetsTopicResponse {
            name: "orders".to_owned(),
            partitions: vec![ListOffsetsPartitionResponse {
                partition_index: number,
                error_code,
                offset,
                ..ListOffsetsPartitionResponse::default()
            }],
        }],
        ..ListOffsetsResponse::default()
    }
}

/// A fetch whose token is to be filled in.
fn bench_wanted() -> Wanted {
    Wanted { token: 0, node: BrokerId(1), request: FetchRequest::default() }
}
