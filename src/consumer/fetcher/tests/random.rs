//! Seeds of faults: random logs, leaders that move, answers that fail, are damaged, come late or
//! come to an older position. Whatever happens, from wherever the user last sought to, each
//! record of the log comes once and in order.

use super::*;
use crate::protocol::messages::fetch::FetchTopic;
use crate::protocol::messages::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};

const PARTITIONS: i32 = 3;
const NODES: i32 = 3;

/// What is at a log's offsets.
#[derive(Default)]
struct Log {
    batches: Vec<(i64, Bytes)>,
    records: Vec<(i64, Vec<u8>)>,
    end: i64,
}

impl Log {
    /// Appends a random batch, after a gap or not.
    fn append(&mut self, random: &mut fastrand::Rng) {
        if random.u8(..8) == 0 {
            self.end += random.i64(1..20);
        }
        let base = self.end;
        let mut records = Vec::new();
        let bytes = match random.u8(..8) {
            0 => {
                self.end += 1;
                marker(base)
            }
            1 | 2 => {
                let last = base + random.i64(0..8);
                self.end = last + 1;
                for offset in base..=last {
                    if random.bool() {
                        records.push((offset, value(offset, random)));
                    }
                }
                let kept: Vec<_> =
                    records.iter().map(|(offset, value)| (*offset, &value[..])).collect();
                compacted(base, last, &kept)
            }
            kind => {
                let count = random.i64(1..10);
                self.end += count;
                records.extend((base..base + count).map(|offset| (offset, value(offset, random))));
                let values: Vec<_> = records.iter().map(|(_, value)| &value[..]).collect();
                let codecs = [Compression::None, Compression::Lz4, Compression::Zstd];
                batch(base, &values, codecs[usize::from(kind) % 3])
            }
        };
        self.records.extend(records);
        self.batches.push((self.end - 1, bytes));
    }

    /// What a broker answers: from the batch with the offset, cut at the limit, the first batch
    /// whole.
    fn read(&self, offset: i64, limit: usize) -> Bytes {
        let mut bytes = Vec::new();
        for (last, batch) in &self.batches {
            if *last >= offset && bytes.len() < limit.max(1) {
                bytes.extend_from_slice(batch);
            }
        }
        let first = self.batches.iter().find(|(last, _)| *last >= offset);
        bytes.truncate(limit.max(first.map_or(0, |(_, batch)| batch.len())));
        bytes.into()
    }
}

fn value(offset: i64, random: &mut fastrand::Rng) -> Vec<u8> {
    let mut value = offset.to_be_bytes().to_vec();
    value.resize(8 + random.usize(..200), random.u8(..));
    value
}

/// A fetch session as a broker keeps it (KIP-227).
struct BrokerSession {
    id: i32,
    epoch: i32,
    partitions: BTreeMap<i32, FetchPartition>,
}

/// The cluster, what is under way to it, and what the user has seen.
struct World {
    random: fastrand::Rng,
    bench: Bench,
    logs: Vec<Log>,
    leaders: Vec<i32>,
    under_way: Vec<Action>,
    /// What each broker remembers of its fetch session.
    sessions: BTreeMap<i32, BrokerSession>,
    last_session: i32,
    /// Paused by the user.
    paused: Vec<bool>,
    /// Of each partition, the next record (by number) that has to come.
    next: Vec<usize>,
    faults: bool,
    /// Errors that came after the last fault.
    late_errors: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let starts: Vec<_> = (0..PARTITIONS).map(|number| (number, StartAt::Earliest)).collect();
        let config = FetchConfig {
            max_bytes: random.usize(..6_000),
            partition_max_bytes: random.usize(..3_000),
            max_poll_records: random.usize(1..30),
            ..config()
        };
        let bench = Bench::new(config, &starts);
        let leaders: Vec<_> = starts.iter().map(|_| random.i32(1..=NODES)).collect();
        let logs = starts
            .iter()
            .map(|_| {
                let mut log = Log::default();
                (0..random.usize(..30)).for_each(|_| log.append(&mut random));
                log
            })
            .collect();
        let next = vec![0; starts.len()];
        Self {
            random,
            bench,
            logs,
            leaders,
            under_way: Vec::new(),
            sessions: BTreeMap::new(),
            last_session: 0,
            paused: vec![false; next.len()],
            next,
            faults: true,
            late_errors: 0,
        }
    }

    fn step(&mut self) {
        match self.random.u8(..18) {
            16 => self.pause(),
            17 if self.faults => {
                // It forgets, or restarts.
                self.sessions.remove(&self.random.i32(1..=NODES));
            }
            0 if self.faults => self.seek(),
            1 if self.faults => {
                let number = self.random.usize(..self.leaders.len());
                self.leaders[number] = self.random.i32(1..=NODES);
            }
            2 if self.faults => {
                let number = self.random.usize(..self.logs.len());
                self.logs[number].append(&mut self.random);
            }
            3..=6 => self.bench.now += MS(self.random.u64(..40)),
            7..=9 => self.take(),
            _ => {
                let actions = self.bench.poll();
                self.under_way.extend(actions);
                if !self.under_way.is_empty() {
                    let at = self.random.usize(..self.under_way.len());
                    let action = self.under_way.swap_remove(at);
                    self.carry_out(action);
                }
            }
        }
    }

    fn seek(&mut self) {
        let number = self.random.usize(..self.logs.len());
        let log = &self.logs[number];
        let offset = self.random.i64(0..=log.end);
        let name = tp(i32::try_from(number).unwrap());
        self.bench.fetcher.lock().seek(&name, StartAt::Offset(offset));
        self.next[number] = log.records.partition_point(|(at, _)| *at < offset);
    }

    fn pause(&mut self) {
        let number = self.random.usize(..self.logs.len());
        let name = tp(i32::try_from(number).unwrap());
        let pause = self.faults && self.random.bool();
        self.paused[number] = pause;
        let mut fetcher = self.bench.fetcher.lock();
        if pause { fetcher.pause([&name]) } else { fetcher.resume([&name]) }
    }

    /// What the user gets, held against the logs.
    fn take(&mut self) {
        let records = match self.bench.collect() {
            None => return,
            Some(Ok(records)) => records,
            Some(Err(error)) => {
                assert!(error.partition().is_some());
                self.late_errors += usize::from(!self.faults);
                return;
            }
        };
        for part in records.partitions() {
            let number = usize::try_from(part.partition().partition).unwrap();
            assert!(!self.paused[number]);
            for record in part {
                let expected = &self.logs[number].records[self.next[number]];
                assert_eq!((record.offset, record.value), (expected.0, Some(&expected.1[..])));
                self.next[number] += 1;
            }
            assert_eq!(self.bench.position(part.partition().partition), Some(part.next_offset()));
        }
    }

    fn lookup(&self) -> impl Fn(&TopicPartition) -> Option<Leadership> + use<> {
        let leaders = self.leaders.clone();
        move |name| led_by(leaders[usize::try_from(name.partition).unwrap()])
    }

    fn carry_out(&mut self, action: Action) {
        let now = self.bench.now;
        let fails = self.faults && self.random.u8(..10) == 0;
        let failure = ClientError::UnknownBroker { id: BrokerId(1) };
        match action {
            Action::Track(topic) => {
                let lookup = self.lookup();
                let mut fetcher = self.bench.fetcher.lock();
                if fails {
                    fetcher.handle_topic(&topic, Err(failure), now);
                } else {
                    fetcher.handle_metadata(lookup, now);
                    fetcher.handle_topic(&topic, Ok(()), now);
                }
            }
            Action::RefreshMetadata | Action::LeaderHint(_) => {
                let absent = self.faults && self.random.u8(..10) == 0;
                let lookup = self.lookup();
                let lookup = |name: &TopicPartition| lookup(name).filter(|_| !absent);
                self.bench.fetcher.lock().handle_metadata(lookup, now);
            }
            Action::Committed { token, partitions } => {
                let none = partitions.into_iter().map(|name| (name, None)).collect();
                let result = if fails { Err(failure) } else { Ok(none) };
                self.bench.fetcher.lock().handle_committed(token, result, now);
            }
            Action::ListOffsets { token, node, request } => {
                let result = if fails { Err(failure) } else { Ok(self.list(node, &request)) };
                self.bench.fetcher.lock().handle_offsets(token, result, now);
            }
            Action::OffsetForLeaderEpoch { token, node, request } => {
                let result =
                    if fails { Err(failure) } else { Ok(Some(self.epochs(node, &request))) };
                self.bench.fetcher.lock().handle_epochs(token, result, now);
            }
            Action::Fetch { token, node, request, .. } => {
                let result = if fails {
                    Err(failure)
                } else {
                    let response = self.in_session(node, &request);
                    // Some of the frames are large, for no reason.
                    Ok(Fetched { response, frame_len: self.random.usize(..20_000) })
                };
                self.bench.fetcher.lock().handle_fetched(token, result, now);
            }
        }
    }

    fn list(&mut self, node: BrokerId, request: &ListOffsetsRequest) -> ListOffsetsResponse {
        let mut response = ListOffsetsResponse::default();
        for asked in request.topics.iter().flat_map(|topic| &topic.partitions) {
            let number = asked.partition_index;
            let code = self.code(node, number);
            response.topics.extend(listed(number, code, 0).topics);
        }
        response
    }

    /// The logs never change behind what was read.
    fn epochs(
        &mut self,
        node: BrokerId,
        request: &OffsetForLeaderEpochRequest,
    ) -> OffsetForLeaderEpochResponse {
        let mut response = OffsetForLeaderEpochResponse::default();
        for topic in &request.topics {
            let partitions = topic.partitions.iter().map(|asked| EpochEndOffset {
                error_code: self.code(node, asked.partition),
                partition: asked.partition,
                leader_epoch: asked.leader_epoch,
                end_offset: i64::MAX,
            });
            let partitions = partitions.collect();
            let topic = topic.topic.clone();
            response.topics.push(OffsetForLeaderTopicResult { topic, partitions });
        }
        response
    }

    /// As a broker keeps sessions, some of the time.
    fn in_session(&mut self, node: BrokerId, request: &FetchRequest) -> FetchResponse {
        let refuse = |error_code| FetchResponse { error_code, ..FetchResponse::default() };
        let named = request.topics.iter().flat_map(|topic| &topic.partitions);
        if request.session_epoch == 0 {
            self.sessions.remove(&node.0);
            if self.random.u8(..4) > 0 {
                self.last_session += 1;
                let partitions = named.map(|asked| (asked.partition, asked.clone())).collect();
                let session = BrokerSession { id: self.last_session, epoch: 1, partitions };
                self.sessions.insert(node.0, session);
            }
            let session_id = self.sessions.get(&node.0).map_or(0, |session| session.id);
            return FetchResponse { session_id, ..self.serve(node, request) };
        }
        let Some(session) = self.sessions.get_mut(&node.0) else {
            return refuse(ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
        };
        if session.id != request.session_id {
            return refuse(ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
        }
        if session.epoch != request.session_epoch {
            return refuse(ErrorCode::INVALID_FETCH_SESSION_EPOCH);
        }
        session.epoch += 1;
        for gone in request.forgotten_topics_data.iter().flat_map(|topic| &topic.partitions) {
            assert!(session.partitions.remove(gone).is_some(), "{gone} was not remembered");
        }
        session.partitions.extend(named.map(|asked| (asked.partition, asked.clone())));
        let partitions = session.partitions.values().cloned().collect();
        let session_id = session.id;
        let all = FetchRequest {
            topics: vec![FetchTopic { partitions, ..FetchTopic::default() }],
            ..request.clone()
        };
        let mut response = self.serve(node, &all);
        for topic in &mut response.responses {
            topic.partitions.retain(|data| {
                !data.error_code.is_ok() || data.records.as_ref().is_some_and(|it| !it.is_empty())
            });
        }
        FetchResponse { session_id, ..response }
    }

    fn serve(&mut self, node: BrokerId, request: &FetchRequest) -> FetchResponse {
        let mut room = usize::try_from(request.max_bytes).unwrap();
        let mut parts = Vec::new();
        let mut first = true;
        for asked in request.topics.iter().flat_map(|topic| &topic.partitions) {
            if self.faults && self.random.u8(..20) == 0 {
                continue; // left out
            }
            let error_code = self.code(node, asked.partition);
            let log = &self.logs[usize::try_from(asked.partition).unwrap()];
            let limit = room.min(usize::try_from(asked.partition_max_bytes).unwrap());
            let mut bytes = log.read(asked.fetch_offset, limit);
            // Only the first batch of an answer may be more than the limits allow.
            if !first && bytes.len() > limit {
                bytes.clear();
            }
            first &= bytes.is_empty();
            if self.faults && self.random.u8(..12) == 0 && bytes.len() > HEADER_LEN {
                let mut damaged = bytes.to_vec();
                let first = BatchHeader::parse(&damaged).unwrap().size();
                let at = self.random.usize(21..first);
                damaged[at] ^= 1 << self.random.u8(..8);
                bytes = damaged.into();
            }
            room = room.saturating_sub(bytes.len());
            parts.push(FetchPartitionData {
                partition_index: asked.partition,
                error_code,
                records: error_code.is_ok().then_some(bytes),
                ..FetchPartitionData::default()
            });
        }
        response(parts)
    }

    fn code(&mut self, node: BrokerId, number: i32) -> ErrorCode {
        if node.0 != self.leaders[usize::try_from(number).unwrap()] {
            return ErrorCode::NOT_LEADER_OR_FOLLOWER;
        }
        let codes = [
            ErrorCode::OFFSET_OUT_OF_RANGE,
            ErrorCode::UNKNOWN_LEADER_EPOCH,
            ErrorCode::KAFKA_STORAGE_ERROR,
            ErrorCode::TOPIC_AUTHORIZATION_FAILED,
            ErrorCode::UNKNOWN_SERVER_ERROR,
        ];
        match self.random.usize(..60) {
            at if self.faults && at < codes.len() => codes[at],
            _ => ErrorCode::NONE,
        }
    }

    /// Of each partition, how many records have come and how many there are.
    fn progress(&self) -> Vec<(usize, usize)> {
        self.next.iter().zip(&self.logs).map(|(next, log)| (*next, log.records.len())).collect()
    }

    fn is_done(&self) -> bool {
        let ends = self.logs.iter().zip(0..).all(|(log, number)| {
            // A gap at the end of a log is not there for any reader.
            let end = log.batches.last().map_or(0, |(last, _)| last + 1);
            self.bench.position(number).is_some_and(|position| position >= end)
        });
        ends && self.progress().iter().all(|(next, all)| next == all)
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}, {:?}", self.progress(), self.bench.fetcher.lock())
    }
}

#[test]
fn every_record_comes_once_and_in_order_whatever_happens() {
    for seed in 0..100 {
        let result = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            for _ in 0..600 {
                world.step();
            }
            world.faults = false;
            (0..PARTITIONS).for_each(|number| world.bench.fetcher.lock().resume([&tp(number)]));
            world.paused.fill(false);
            let mut steps = 0;
            while !world.is_done() {
                world.step();
                steps += 1;
                assert!(steps < 20_000, "it stands still: {world:?}");
            }
            // What was damaged or refused before may have been waiting, in the queue or in an answer.
            assert!(world.late_errors <= 6, "{} errors without a fault", world.late_errors);
        });
        assert!(result.is_ok(), "seed {seed}");
    }
}
