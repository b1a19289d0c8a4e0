//! The sender against a model of brokers, by hand-made events: seeds of faults, and the cases that other clients got
//! wrong. The model appends as Kafka does; the checks are the invariants of an idempotent producer.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::*;
use crate::error::DeliveryError;
use crate::producer::accumulator::Begin;
use crate::producer::batch::Append;
use crate::producer::delivery::{Delivery, RecordFacts, RecordMetadata};
use crate::producer::memory::Memory;
use crate::producer::record::ProducerRecord;
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
    fn append(&mut self, bytes: &bytes::Bytes) -> (ErrorCode, i64) {
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
            self.next_sequence = header.base_sequence + header.count;
        }
        let offset = i64::try_from(self.records.len()).unwrap();
        self.recent.push_back((header.base_sequence, header.count, offset));
        if self.recent.len() > 5 {
            self.recent.pop_front();
        }
        let records = batch.records(TOTAL).unwrap();
        let values = records.iter().map(|record| record.unwrap().value.unwrap());
        self.records.extend(values.map(|v| u32::from_be_bytes(v.try_into().unwrap())));
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
    wire: BTreeMap<BrokerId, VecDeque<Produce>>,
    unanswered_id: bool,
    sent: Vec<Sent>,
    next_value: u32,
}

impl World {
    fn new(config: SenderConfig, partitions: i32, seed: u64) -> Self {
        let memory = Arc::new(Memory::new(TOTAL, 256));
        let accumulator = Arc::new(Accumulator::new(Arc::clone(&memory), 256, Codec::NONE, seed));
        accumulator.update_topic("t", (0..partitions).map(|_| true)).unwrap();
        Self {
            now: Instant::now(),
            sender: Sender::new(config, Arc::clone(&accumulator), seed),
            accumulator,
            memory,
            logs: BTreeMap::new(),
            leaders: (0..partitions).map(|p| BrokerId(p % 2)).collect(),
            epoch: 1,
            wire: BTreeMap::new(),
            unanswered_id: false,
            sent: Vec::new(),
            next_value: 0,
        }
    }

    fn leadership(&self, partition: i32) -> Leadership {
        Leadership {
            leader: Some(self.leaders[usize::try_from(partition).unwrap()]),
            epoch: self.epoch,
            topic_id: TopicId([1; 16]),
        }
    }

    fn send(&mut self, partition: i32) {
        let value = self.next_value;
        self.next_value += 1;
        let bytes = value.to_be_bytes();
        let record = ProducerRecord::new("t", &bytes);
        let queue =
            &self.accumulator.topic("t").unwrap().partitions[partition.unsigned_abs() as usize];
        let (accumulator, none) = (&self.accumulator, &mut None);
        let taken = match accumulator.append(queue, &record, 1, none) {
            Append::Taken(taken) => taken,
            _ => {
                accumulator.seal_last(queue);
                let begin = Begin { room: None, now: self.now };
                accumulator.begin(queue, &record, 1, none, begin).unwrap()
            }
        };
        let delivery = Delivery::new(
            taken.completion,
            RecordFacts::new(taken.index, 1, record.key, record.value),
        );
        self.sent.push(Sent { partition, value, delivery, result: None });
    }

    /// Does what the sender asks for; requests stay on the wire.
    fn step(&mut self) {
        for queue in self.accumulator.take_unseen() {
            let leadership = self.leadership(queue.partition);
            self.sender.handle_queue(queue, leadership);
        }
        for action in self.sender.poll(self.now) {
            match action {
                Action::Connect(node) => self.sender.handle_connected(node),
                Action::RefreshMetadata => self.tell_metadata(),
                Action::InitProducerId => self.unanswered_id = true,
                Action::Produce(produce) => {
                    self.wire.entry(produce.node).or_default().push_back(produce);
                }
                Action::LeaderHint(_) | Action::Fatal(_) => {}
            }
        }
        self.collect();
    }

    fn tell_metadata(&mut self) {
        let known: Vec<_> =
            (0..self.leaders.len()).map(|p| self.leadership(i32::try_from(p).unwrap())).collect();
        self.sender
            .handle_metadata(|_, partition| known.get(usize::try_from(partition).ok()?).copied());
    }

    fn give_id(&mut self) {
        self.unanswered_id = false;
        let identity = ProducerIdentity { id: 9, epoch: 0 };
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

    fn check(&self, context: &str) {
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
                Ok(metadata) => {
                    let offset = usize::try_from(metadata.offset().unwrap()).unwrap();
                    assert_eq!(records.get(offset), Some(&sent.value), "{context}");
                }
                Err(error) if error.persistence() == Persistence::NotWritten => {
                    assert_eq!(copies, 0, "{context}: {error}, and it is there");
                }
                Err(_) => {}
            }
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

/// Runs faults by chance for a while, then heals and checks.
fn run_seed(seed: u64, config: SenderConfig) -> World {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut world = World::new(config, 3, seed);
    for _ in 0..200 {
        for _ in 0..random.usize(0..6) {
            world.send(random.i32(0..3));
        }
        world.step();
        let node = BrokerId(random.i32(0..2));
        match random.u32(0..100) {
            0..=39 => world.answer(node, None),
            40..=49 if world.unanswered_id => world.give_id(),
            50..=56 => world.answer(node, Some(ErrorCode::NOT_ENOUGH_REPLICAS)),
            57..=60 => {
                // Appended, and then answered as if it might not have been.
                if let Some(produce) = world.pop(node) {
                    world.apply(&produce, None);
                    let after = Some(ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND);
                    let response = world.apply(&produce, after);
                    world.sender.handle_produced(produce.token, Ok(response), world.now);
                }
            }
            61..=68 => world.disconnect(node, random.usize(0..4)),
            69..=72 => {
                let partition = random.usize(0..3);
                world.leaders[partition] = BrokerId(random.i32(0..2));
                world.epoch += 1;
            }
            73..=74 => world.answer(node, Some(ErrorCode::INVALID_RECORD)),
            75 => world.answer(node, Some(ErrorCode::MESSAGE_TOO_LARGE)),
            76..=77 => world.now += MS(random.u64(0..4_000)),
            _ => world.now += MS(random.u64(0..10)),
        }
    }
    let (healed_at, sent) = (world.now, world.sent.len());
    for partition in 0..3 {
        world.send(partition);
    }
    world.heal();
    assert!(world.now - healed_at < MS(2_000), "seed {seed}: {:?}", world.now - healed_at);
    let fresh = &world.sent[sent..];
    assert!(fresh.iter().all(|sent| matches!(sent.result, Some(Ok(_)))), "seed {seed}");
    world
}

#[test]
fn seeds_of_faults_keep_every_invariant() {
    let (mut acknowledged, mut failed) = (0, 0);
    for seed in 0..300 {
        let world = run_seed(seed, config());
        world.check(&format!("seed {seed}"));
        let ok = world.sent.iter().filter(|sent| matches!(sent.result, Some(Ok(_)))).count();
        acknowledged += ok;
        failed += world.sent.len() - ok;
    }
    // The faults bite, and most records get through.
    assert!(failed > 1_000 && acknowledged > 5 * failed, "{acknowledged} and {failed}");
}

#[test]
fn without_idempotence_one_in_flight_keeps_order_and_every_record_ends() {
    let config = SenderConfig { idempotent: false, max_in_flight: 1, ..config() };
    for seed in 0..100 {
        let world = run_seed(seed, config.clone());
        assert!(world.sent.iter().all(|sent| sent.result.is_some()), "seed {seed}");
        assert_eq!(world.memory.available(), TOTAL, "seed {seed}");
        for log in world.logs.values() {
            // Retries may double records, but the first copies stand in order.
            let mut seen = HashSet::new();
            let firsts: Vec<_> = log.records.iter().filter(|value| seen.insert(**value)).collect();
            assert!(firsts.is_sorted(), "seed {seed}: {firsts:?}");
        }
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

#[test]
fn the_first_batch_of_a_partition_goes_alone() {
    let mut world = World::new(config(), 1, 1);
    world.send(0);
    world.step();
    world.give_id();
    world.now += MS(5);
    world.step();
    world.step();
    send_batch(&mut world, 0);
    assert_eq!(world.wire[&BrokerId(0)].len(), 1);
    world.answer(BrokerId(0), None);
    world.step();
    send_batch(&mut world, 0);
    send_batch(&mut world, 0);
    assert_eq!(world.wire[&BrokerId(0)].len(), 3);
    world.heal();
    world.check("first alone");
}

#[test]
fn five_in_flight_and_no_more() {
    let mut world = settled(config());
    for _ in 0..8 {
        send_batch(&mut world, 0);
    }
    assert_eq!(world.wire[&BrokerId(0)].len(), 5);
    world.heal();
    world.check("five");
    // What waited meanwhile went as one batch.
    assert_eq!(world.logs[&0].recent.back().unwrap().1, 3);
}

/// R1 loses its answer, R2 is acknowledged: R1 was written, and its retry says where.
#[test]
fn a_lost_answer_before_an_acknowledged_batch() {
    let mut world = settled(config());
    send_batch(&mut world, 0);
    send_batch(&mut world, 0);
    let first = world.pop(BrokerId(0)).unwrap();
    world.apply(&first, None);
    world.answer(BrokerId(0), None);
    world.step();
    assert!(world.sent[3].result.is_none(), "its turn comes after the first");
    world.sender.handle_produced(first.token, Err(lost()), world.now);
    world.heal();
    world.check("lost answer");
    assert_eq!(world.sent[2].result.as_ref().unwrap().as_ref().unwrap().offset(), Some(1));
    assert_eq!(world.sent[3].result.as_ref().unwrap().as_ref().unwrap().offset(), Some(2));
}

/// A batch that expires unanswered ends as *maybe written*, keeps its memory until the request ends, and the epoch
/// rises before anything else is sent.
#[test]
fn expiry_in_flight_then_an_epoch_bump() {
    let mut world = settled(config());
    send_batch(&mut world, 0);
    world.now += MS(10_000);
    world.step();
    let error = world.sent[2].result.clone().unwrap().unwrap_err();
    assert_eq!(error.persistence(), Persistence::MaybeWritten);
    assert!(error.to_string().starts_with("Expiring 1 record(s) for t-0:10005 ms"), "{error}");
    assert!(world.memory.available() < TOTAL, "the request still has the bytes");
    send_batch(&mut world, 1);
    world.disconnect(BrokerId(0), 0);
    assert_eq!(world.memory.available(), TOTAL - 256, "only the other batch's");
    send_batch(&mut world, 0);
    world.heal();
    world.check("expired");
    assert_eq!(world.logs[&0].identity, Some(ProducerIdentity { id: 9, epoch: 1 }));
    assert_eq!(world.logs[&0].next_sequence, 1);
}

/// A batch that expires before it was sent says what it waited for.
#[test]
fn expiry_in_the_queue_names_what_was_in_the_way() {
    let mut world = World::new(config(), 1, 1);
    world.send(0);
    world.step();
    world.sender.handle_producer_id(Err(Cause::Client(lost())), world.now);
    world.now += MS(10_000);
    world.step();
    let error = world.sent[0].result.clone().unwrap().unwrap_err();
    assert!(matches!(error.last_error(), Some(Cause::Client(cause)) if *cause == lost()));

    world.send(0);
    world.heal();
    world.sender.handle_metadata(|_, _| None);
    world.send(0);
    for queue in world.accumulator.take_unseen() {
        world.sender.handle_queue(queue, Leadership::UNKNOWN);
    }
    world.now += MS(10_000);
    world.sender.poll(world.now);
    world.collect();
    let error = world.sent[2].result.clone().unwrap().unwrap_err();
    let no_leader = ClientError::NoLeader { partition: TopicPartition::new("t", 0) };
    assert!(matches!(error.last_error(), Some(Cause::Client(cause)) if *cause == no_leader));
}

/// Out of order on one partition while another has a written but unanswered batch: the bump waits for that one's fate,
/// or it would be written twice (librdkafka 4953).
#[test]
fn a_bump_waits_for_every_partition() {
    let mut world = settled(config());
    send_batch(&mut world, 0);
    send_batch(&mut world, 1);
    world.logs.get_mut(&0).unwrap().next_sequence = 7;
    world.answer(BrokerId(0), None);
    world.disconnect(BrokerId(1), 1);
    world.heal();
    world.check("barrier");
    assert_eq!(world.logs[&1].records.len(), 2);
}

/// Too large: halved until it fits, in order and with the numbers of the whole, beside others in flight; the records are
/// told when the last part has ended.
#[test]
fn too_large_a_batch_is_halved_until_it_fits() {
    let mut world = settled(config());
    for _ in 0..7 {
        world.send(0);
    }
    send_batch(&mut world, 0);
    send_batch(&mut world, 0);
    world.answer(BrokerId(0), Some(ErrorCode::MESSAGE_TOO_LARGE));
    world.step();
    assert!(world.sent[2].result.is_none());
    world.heal_refusing(|batch| batch.header().count > 2);
    world.check("halved");
    assert_eq!(world.logs[&0].next_sequence, 10, "nothing was renumbered");
    assert_eq!(world.logs[&0].identity.unwrap().epoch, 0);

    // One record that is too large fails, and takes nothing with it.
    world.send(0);
    send_batch(&mut world, 0);
    let lonely = world.next_value - 1;
    world.heal_refusing(|batch| {
        let records = batch.records(TOTAL).unwrap();
        let values: Vec<_> = records.iter().map(|r| r.unwrap().value.unwrap().to_vec()).collect();
        values.contains(&lonely.to_be_bytes().to_vec())
    });
    world.check("one too large");
    let results = world.sent.iter().rev().take(2).map(|sent| sent.result.as_ref().unwrap().is_ok());
    assert_eq!(results.collect::<Vec<_>>(), [false, true]);
}

/// The head is out of order and the batch behind it loses its answer: its fate must still be found out, or the bump would
/// wait for it until it expires.
#[test]
fn a_bump_finds_out_the_fate_of_what_is_behind_the_head() {
    let mut world = settled(config());
    send_batch(&mut world, 0);
    send_batch(&mut world, 0);
    world.answer(BrokerId(0), Some(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));
    world.disconnect(BrokerId(0), 0);
    let started = world.now;
    world.heal();
    world.check("behind the head");
    assert!(world.sent.iter().all(|sent| matches!(sent.result, Some(Ok(_)))));
    assert!(world.now - started < MS(1_000), "{:?}", world.now - started);
}

/// An acknowledged batch is told when the one before it is given up, and nothing then wakes the sender without need.
#[test]
fn what_is_abandoned_holds_nobody_back() {
    let mut world = settled(config());
    send_batch(&mut world, 0);
    send_batch(&mut world, 0);
    world.answer(BrokerId(0), Some(ErrorCode::REQUEST_TIMED_OUT));
    let first_is_missing = world.pop(BrokerId(0)).unwrap();
    world.logs.get_mut(&0).unwrap().next_sequence = 2;
    let response = world.apply(&first_is_missing, None);
    world.sender.handle_produced(first_is_missing.token, Ok(response), world.now);
    world.now += MS(100);
    world.step();
    world.now += MS(10_000);
    world.step();
    assert!(world.sent[2].result.as_ref().unwrap().is_err());
    assert!(world.sent[3].result.as_ref().unwrap().is_ok());
    assert!(world.sender.is_idle(), "an answer that nobody waits for does not hold a close");
    assert!(world.sender.next_deadline().is_none_or(|at| at > world.now));
}

/// Halves of a first batch go one after the other, as the first batch itself does.
#[test]
fn halves_of_the_first_batch_go_alone() {
    let mut world = World::new(config(), 1, 1);
    for _ in 0..4 {
        world.send(0);
    }
    world.step();
    world.give_id();
    world.now += MS(5);
    world.step();
    world.step();
    world.answer(BrokerId(0), Some(ErrorCode::MESSAGE_TOO_LARGE));
    world.step();
    assert_eq!(world.wire[&BrokerId(0)].len(), 1);
    world.heal();
    world.check("halves");
}

/// Records that were appended by sends which had not seen the end yet end with the producer's error, too.
#[test]
fn after_a_fatal_error_nothing_is_sent() {
    let mut world = settled(config());
    send_batch(&mut world, 0);
    world.answer(BrokerId(0), Some(ErrorCode::CLUSTER_AUTHORIZATION_FAILED));
    send_batch(&mut world, 1);
    assert!(world.wire.values().all(VecDeque::is_empty));
    let error = world.sent[3].result.clone().unwrap().unwrap_err();
    assert!(error.is_fatal() && error.persistence() == Persistence::NotWritten, "{error}");
}

/// When each request takes one batch only, the partitions take turns.
#[test]
fn small_requests_are_fair() {
    let mut world = World::new(SenderConfig { max_request_size: 1, ..config() }, 6, 1);
    for partition in [0, 2, 4] {
        for _ in 0..40 {
            world.send(partition);
        }
    }
    let mut turns = Vec::new();
    for _ in 0..60 {
        world.now += MS(5);
        world.step();
        if world.unanswered_id {
            world.give_id();
        }
        if let Some(produce) = world.wire.get(&BrokerId(0)).and_then(VecDeque::front) {
            turns.push(produce.request.topic_data[0].partition_data[0].index);
            world.answer(BrokerId(0), None);
        }
    }
    let first: Vec<_> = turns.iter().take(9).copied().collect();
    for partition in [0, 2, 4] {
        let count = first.iter().filter(|&&p| p == partition).count();
        assert!((2..=4).contains(&count), "{turns:?}");
    }
}

#[test]
fn a_fatal_refusal_ends_everything() {
    let mut world = settled(config());
    send_batch(&mut world, 0);
    send_batch(&mut world, 0);
    world.answer(BrokerId(0), Some(ErrorCode::CLUSTER_AUTHORIZATION_FAILED));
    let actions = world.sender.poll(world.now);
    assert!(actions.iter().any(|action| matches!(action, Action::Fatal(_))), "{actions:?}");
    world.collect();
    for sent in &world.sent[2..] {
        assert!(sent.result.as_ref().unwrap().as_ref().unwrap_err().is_fatal());
    }
    assert!(world.sender.is_idle());
}

#[test]
fn retries_are_counted_and_back_off() {
    let mut world = settled(SenderConfig { retries: 2, ..config() });
    send_batch(&mut world, 0);
    for attempt in 1..=2 {
        world.answer(BrokerId(0), Some(ErrorCode::NOT_ENOUGH_REPLICAS));
        world.step();
        assert!(world.wire[&BrokerId(0)].is_empty(), "attempt {attempt} is not repeated at once");
        let wait = world.sender.next_deadline().unwrap() - world.now;
        assert!((MS(16)..=MS(50)).contains(&wait), "{wait:?}");
        world.now += wait;
        world.step();
        assert_eq!(world.wire[&BrokerId(0)].len(), 1);
    }
    world.answer(BrokerId(0), Some(ErrorCode::NOT_ENOUGH_REPLICAS));
    world.collect();
    let error = world.sent[2].result.clone().unwrap().unwrap_err();
    assert_eq!(error.kind(), &DeliveryErrorKind::Refused(ErrorCode::NOT_ENOUGH_REPLICAS));
    assert_eq!((error.attempts(), error.persistence()), (3, Persistence::NotWritten));
}

/// A connection that closed before the request got to it costs neither an attempt nor a back-off.
#[test]
fn an_unsent_request_goes_again_at_once() {
    let mut world = settled(SenderConfig { retries: 0, ..config() });
    send_batch(&mut world, 0);
    let produce = world.pop(BrokerId(0)).unwrap();
    world.sender.handle_unsent(produce.token, world.now);
    world.step();
    world.step();
    let again = world.pop(BrokerId(0)).unwrap();
    assert_eq!(again.request, produce.request, "the same bytes");
    let response = world.apply(&again, None);
    world.sender.handle_produced(again.token, Ok(response), world.now);
    world.collect();
    world.check("unsent");
}

/// KIP-219: a broker that throttles gets nothing until its time is over, and others are not held up.
#[test]
fn a_throttling_broker_is_left_alone() {
    let mut world = settled(config());
    send_batch(&mut world, 0);
    let produce = world.pop(BrokerId(0)).unwrap();
    let response = ProduceResponse { throttle_time_ms: 300, ..world.apply(&produce, None) };
    world.sender.handle_produced(produce.token, Ok(response), world.now);
    let until = world.now + MS(300);
    send_batch(&mut world, 0);
    send_batch(&mut world, 1);
    assert!(world.wire[&BrokerId(0)].is_empty());
    assert_eq!(world.wire[&BrokerId(1)].len(), 1);
    assert_eq!(world.sender.next_deadline(), Some(until));
    world.now = until;
    world.step();
    assert_eq!(world.wire[&BrokerId(0)].len(), 1);
}

#[test]
fn nothing_to_do_has_no_deadline() {
    let mut world = settled(config());
    world.step();
    assert_eq!(world.sender.next_deadline(), None);
    world.send(0);
    world.step();
    assert_eq!(world.sender.next_deadline(), Some(world.now + MS(5)), "linger");
}
