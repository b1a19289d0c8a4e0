//! The sender against a model of brokers, by hand-made events. The model appends as Kafka does; the checks are the
//! invariants of an idempotent producer.

mod accumulator;
mod client_bugs;
mod drain;
mod ending;
mod expiry;
mod idempotence;
mod java;
mod java_expiry;
mod model;
mod retry;
mod seeds;
mod split;
mod stall;
mod transactions;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Display;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use parking_lot::Mutex;

use super::*;
use crate::error::DeliveryError;
use crate::producer::accumulator::Begin;
use crate::producer::batch::Append;
use crate::producer::delivery::Delivery;
use crate::producer::memory::Memory;
use crate::producer::record::ProducerRecord;
use crate::producer::record_metadata::{RecordFacts, RecordMetadata};
use crate::protocol::messages::produce::{PartitionProduceResponse, TopicProduceResponse};
use crate::record::{Codec, RecordBatch, batches};
use crate::types::{TopicId, TopicPartition};

const MS: fn(u64) -> Duration = Duration::from_millis;
const TOTAL: usize = 1 << 20;

fn config() -> SenderConfig {
    SenderConfig {
        idempotent: true,
        acks: -1,
        max_in_flight: 5,
        max_request_size: 1 << 20,
        request_timeout: MS(1_000),
        delivery_timeout: MS(10_000),
        linger: MS(5),
        retries: u32::MAX,
        retry_backoff: Backoff::new(MS(20), MS(100)),
    }
}

/// What a broker keeps of one partition.
#[derive(Default)]
struct Log {
    records: Vec<u32>,
    identity: Option<ProducerIdentity>,
    next_sequence: i32,
    /// (base sequence, count, base offset) of the last five batches.
    recent: VecDeque<(i32, i32, i64)>,
}

impl Log {
    fn append(&mut self, bytes: &Bytes) -> (ErrorCode, i64) {
        let batch = batches(bytes.clone()).next().unwrap().unwrap();
        batch.verify_crc().unwrap();
        let header = batch.header();
        if header.producer != ProducerIdentity::NONE {
            let known = self.identity.filter(|known| known.id == header.producer.id);
            if known.is_some_and(|known| known.epoch > header.producer.epoch) {
                return (ErrorCode::INVALID_PRODUCER_EPOCH, -1);
            }
            if self.identity == Some(header.producer) {
                let same =
                    |r: &&(i32, i32, i64)| r.0 == header.base_sequence && r.1 == header.count;
                if let Some(&(_, _, offset)) = self.recent.iter().find(same) {
                    return (ErrorCode::NONE, offset);
                }
                if header.base_sequence != self.next_sequence {
                    return (ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1);
                }
            } else if known.is_some() && header.base_sequence != 0 {
                return (ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1);
            } else {
                // Without state any first sequence is taken, as Kafka does.
                self.identity = Some(header.producer);
                self.recent.clear();
            }
            self.next_sequence = header.base_sequence.wrapping_add(header.count) & i32::MAX;
        }
        let offset = i64::try_from(self.records.len()).unwrap();
        self.recent.push_back((header.base_sequence, header.count, offset));
        if self.recent.len() > 5 {
            self.recent.pop_front();
        }
        let records = batch.records(TOTAL).unwrap();
        let values = records.iter().map(|record| record.unwrap().value.unwrap());
        self.records.extend(values.map(|v| u32::from_be_bytes(*v.first_chunk().unwrap())));
        (ErrorCode::NONE, offset)
    }
}

/// One record that was sent.
struct Sent {
    partition: i32,
    value: u32,
    delivery: Delivery,
    result: Option<Result<RecordMetadata, DeliveryError>>,
}

struct World {
    now: Instant,
    sender: Sender,
    accumulator: Arc<Accumulator>,
    memory: Arc<Memory>,
    logs: BTreeMap<i32, Log>,
    leaders: Vec<BrokerId>,
    epoch: i32,
    topic_id: TopicId,
    wire: BTreeMap<BrokerId, VecDeque<Produce>>,
    /// Of coordinators; there are none without transactions.
    asks: Vec<Ask>,
    unanswered_id: bool,
    next_id: i64,
    sent: Vec<Sent>,
    next_value: u32,
    /// The values whose records' callbacks have run, with their partitions.
    ended: Arc<Mutex<Vec<(i32, u32)>>>,
    /// What was sent under each partition, identity and base sequence.
    stamped: HashMap<(i32, ProducerIdentity, i32), Bytes>,
}

impl World {
    fn new(config: SenderConfig, partitions: i32, seed: u64) -> Self {
        let memory = Arc::new(Memory::new(TOTAL, 256));
        let accumulator = Arc::new(Accumulator::new(Arc::clone(&memory), 256, Codec::NONE, seed));
        accumulator.update_topic("t", (0..partitions).map(|p| Some(BrokerId(p % 2)))).unwrap();
        Self {
            now: Instant::now(),
            sender: Sender::new(
                config,
                Arc::clone(&accumulator),
                ProducerMetrics::unwatched(),
                seed,
            ),
            accumulator,
            memory,
            logs: BTreeMap::new(),
            leaders: (0..partitions).map(|p| BrokerId(p % 2)).collect(),
            epoch: 1,
            topic_id: TopicId([1; 16]),
            wire: BTreeMap::new(),
            asks: Vec::new(),
            unanswered_id: false,
            next_id: 9,
            sent: Vec::new(),
            next_value: 0,
            ended: Arc::default(),
            stamped: HashMap::new(),
        }
    }

    fn leadership(&self, partition: i32) -> Leadership {
        Leadership {
            leader: Some(self.leaders[usize::try_from(partition).unwrap()]),
            epoch: self.epoch,
            topic_id: self.topic_id,
        }
    }

    fn send(&mut self, partition: i32) {
        self.send_value(partition, &[]);
    }

    /// `tail` makes the record longer.
    fn send_value(&mut self, partition: i32, tail: &[u8]) {
        let value = self.next_value;
        self.next_value += 1;
        let bytes = [&value.to_be_bytes(), tail].concat();
        let record = ProducerRecord::new("t", &bytes);
        let queue =
            &self.accumulator.topic("t").unwrap().partitions[partition.unsigned_abs() as usize];
        let ended = Arc::clone(&self.ended);
        let callback = move |_| ended.lock().push((partition, value));
        let (accumulator, callback) = (&self.accumulator, &mut Some(callback));
        let taken = match accumulator.append(queue, &record, 1, callback) {
            Append::Taken(taken) => taken,
            _ => {
                let _ = accumulator.append_or_seal(queue, &record, 1, callback);
                let begin = Begin { room: None, now: self.now };
                accumulator.begin(queue, &record, 1, callback, begin).unwrap()
            }
        };
        let delivery = Delivery::new(
            taken.completion,
            RecordFacts::new(taken.index, 1, record.key, record.value),
        );
        self.sent.push(Sent { partition, value, delivery, result: None });
    }

    /// Does what the sender asks for, if there is anything; requests stay on the wire.
    fn step(&mut self) -> bool {
        for queue in self.accumulator.take_unseen() {
            let leadership = self.leadership(queue.partition);
            self.sender.handle_queue(queue, leadership);
        }
        let actions = self.sender.poll(self.now);
        let busy = !actions.is_empty();
        for action in actions {
            match action {
                Action::AskCoordinator(ask) => self.asks.push(ask),
                Action::Connect(node) => self.sender.handle_connected(node),
                Action::RefreshMetadata => self.tell_metadata(),
                Action::InitProducerId => self.unanswered_id = true,
                Action::Produce(produce) => {
                    self.note_stamps(&produce);
                    self.wire.entry(produce.node).or_default().push_back(produce);
                }
                Action::LeaderHint(_) | Action::Fatal(_) => {}
            }
        }
        self.collect();
        busy
    }

    /// Numbers that may have left are those of the same bytes for ever.
    fn note_stamps(&mut self, produce: &Produce) {
        let topics = produce.request.topic_data.iter();
        for data in topics.flat_map(|topic| &topic.partition_data) {
            let bytes = data.records.clone().unwrap();
            let batch = batches(bytes.clone()).next().unwrap().unwrap();
            let header = batch.header();
            if header.producer == ProducerIdentity::NONE {
                continue;
            }
            let stamp = (data.index, header.producer, header.base_sequence);
            let first = self.stamped.entry(stamp).or_insert_with(|| bytes.clone());
            assert_eq!(*first, bytes, "{stamp:?} was other bytes before");
        }
    }

    fn tell_metadata(&mut self) {
        let known: Vec<_> =
            (0..self.leaders.len()).map(|p| self.leadership(i32::try_from(p).unwrap())).collect();
        self.sender
            .handle_metadata(|_, partition| known.get(usize::try_from(partition).ok()?).copied());
    }

    fn give_id(&mut self) {
        self.unanswered_id = false;
        let identity = ProducerIdentity { id: self.next_id, epoch: 0 };
        self.next_id += 1;
        self.sender.handle_producer_id(Ok(identity), self.now);
    }

    /// The first request to the broker is carried out, or refused with a code for each batch.
    fn apply(&mut self, produce: &Produce, refuse: Option<ErrorCode>) -> ProduceResponse {
        let mut responses = Vec::new();
        for topic in &produce.request.topic_data {
            let mut partition_responses = Vec::new();
            for data in &topic.partition_data {
                let leads = self.leaders[usize::try_from(data.index).unwrap()] == produce.node;
                let refuse = refuse.or((!leads).then_some(ErrorCode::NOT_LEADER_OR_FOLLOWER));
                if refuse == Some(ErrorCode::MESSAGE_TOO_LARGE) {
                    // Before anything else was looked at: the halves may have the numbers.
                    let bytes = data.records.clone().unwrap();
                    let batch = batches(bytes).next().unwrap().unwrap();
                    let header = batch.header();
                    self.stamped.remove(&(data.index, header.producer, header.base_sequence));
                }
                let log = self.logs.entry(data.index).or_default();
                let (error_code, base_offset) = match refuse {
                    Some(code) => (code, -1),
                    None => log.append(data.records.as_ref().unwrap()),
                };
                partition_responses.push(PartitionProduceResponse {
                    index: data.index,
                    error_code,
                    base_offset,
                    ..PartitionProduceResponse::default()
                });
            }
            let name = topic.name.clone();
            responses.push(TopicProduceResponse {
                name,
                partition_responses,
                ..TopicProduceResponse::default()
            });
        }
        ProduceResponse { responses, ..ProduceResponse::default() }
    }

    fn pop(&mut self, node: BrokerId) -> Option<Produce> {
        self.wire.get_mut(&node)?.pop_front()
    }

    fn answer(&mut self, node: BrokerId, refuse: Option<ErrorCode>) {
        if let Some(produce) = self.pop(node) {
            let response = self.apply(&produce, refuse);
            self.sender.handle_produced(produce.token, Ok(response), self.now);
        }
    }

    /// The connection breaks after the broker carried out the first `applied` requests.
    fn disconnect(&mut self, node: BrokerId, applied: usize) {
        let mut at = 0;
        while let Some(produce) = self.pop(node) {
            if at < applied {
                self.apply(&produce, None);
            }
            at += 1;
            self.sender.handle_produced(produce.token, Err(lost()), self.now);
        }
    }

    fn collect(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        for sent in self.sent.iter_mut().filter(|sent| sent.result.is_none()) {
            if let Poll::Ready(result) = Pin::new(&mut sent.delivery).poll(&mut cx) {
                sent.result = Some(result);
            }
        }
    }

    /// Answers everything, without faults, until all has ended.
    fn heal(&mut self) {
        self.heal_refusing(|_| false);
    }

    /// As `heal`, but such batches are too large for the broker.
    fn heal_refusing(&mut self, too_large: impl Fn(&RecordBatch) -> bool) {
        for _ in 0..10_000 {
            self.step();
            if self.unanswered_id {
                self.give_id();
            }
            for node in [BrokerId(0), BrokerId(1)] {
                let next = self.wire.get(&node).and_then(VecDeque::front);
                let refuse = next.is_some_and(|produce| {
                    let topics = produce.request.topic_data.iter();
                    let mut data = topics.flat_map(|topic| &topic.partition_data);
                    data.any(|data| {
                        let bytes = data.records.clone().unwrap();
                        too_large(&batches(bytes).next().unwrap().unwrap())
                    })
                });
                self.answer(node, refuse.then_some(ErrorCode::MESSAGE_TOO_LARGE));
            }
            if self.sender.is_idle() && self.wire.values().all(VecDeque::is_empty) {
                self.collect();
                return;
            }
            self.now += MS(5);
        }
        panic!("never idle: {:#?}", self.sender);
    }

    fn check(&self, context: impl Display) {
        let mut copies = HashMap::new();
        for value in self.logs.values().flat_map(|log| &log.records) {
            *copies.entry(value).or_insert(0) += 1;
        }
        for sent in &self.sent {
            let result = sent.result.as_ref().unwrap_or_else(|| panic!("{context}: no end"));
            let log = &self.logs.get(&sent.partition);
            let records = log.map(|log| &log.records[..]).unwrap_or_default();
            let copies = copies.get(&sent.value).copied().unwrap_or(0);
            assert!(copies <= 1, "{context}: {} is there {copies} times", sent.value);
            match result {
                Ok(metadata) => match metadata.offset() {
                    Some(offset) => {
                        let at = usize::try_from(offset).unwrap();
                        assert_eq!(records.get(at), Some(&sent.value), "{context}");
                    }
                    None => assert_eq!(copies, 1, "{context}: written somewhere"),
                },
                Err(error) if error.persistence() == Persistence::NotWritten => {
                    assert_eq!(copies, 0, "{context}: {error}, and it is there");
                }
                Err(_) => {}
            }
        }
        let ended = self.ended.lock();
        assert_eq!(ended.len(), self.sent.len(), "{context}: each ends once");
        for partition in self.sent.iter().map(|sent| sent.partition) {
            let ends = ended.iter().filter(|(of, _)| *of == partition).map(|(_, value)| value);
            assert!(ends.is_sorted(), "{context}: ends of partition {partition}: {ended:?}");
        }
        for (partition, log) in &self.logs {
            let sorted = log.records.is_sorted();
            assert!(sorted, "{context}: order of partition {partition}: {:?}", log.records);
        }
        assert_eq!(self.memory.available(), TOTAL, "{context}: memory");
    }
}

fn lost() -> ClientError {
    ClientError::RequestTimeout {
        api: "Produce",
        peer: crate::error::Peer::new(Some(BrokerId(0)), "broker", 9092),
        after: MS(1_000),
        maybe_written: true,
    }
}

fn settled(config: SenderConfig) -> World {
    let mut world = World::new(config, 2, 1);
    world.send(0);
    world.send(1);
    world.heal();
    world
}

/// Sends one batch of one record: the next record starts another.
fn send_batch(world: &mut World, partition: i32) {
    world.send(partition);
    world.now += MS(5);
    world.step();
}
