//! Transactions by hand-made answers of coordinators.

use super::*;
use crate::error::{ClientError, DisconnectReason, ErrorCode, Peer};
use crate::protocol::messages::add_offsets_to_txn::AddOffsetsToTxnResponse;
use crate::protocol::messages::add_partitions_to_txn::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResponse, AddPartitionsToTxnTopicResult,
};
use crate::protocol::messages::end_txn::EndTxnResponse;
use crate::protocol::messages::find_coordinator::{Coordinator as Entry, FindCoordinatorResponse};
use crate::protocol::messages::init_producer_id::InitProducerIdResponse;
use crate::protocol::messages::txn_offset_commit::{
    TxnOffsetCommitResponse, TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use crate::types::BrokerId;

mod endings;
mod requests;
mod seeds;

/// A coordinator of Kafka 3.3.
pub(crate) const ONE: Support = Support {
    feature: -1,
    produce: 9,
    init_producer_id: 4,
    add_partitions: 3,
    commit_offsets: 3,
    end: 3,
};
/// One of Kafka 4.
pub(crate) const TWO: Support = Support {
    feature: 2,
    produce: 13,
    init_producer_id: 5,
    add_partitions: 5,
    commit_offsets: 5,
    end: 5,
};
const ID: ProducerIdentity = ProducerIdentity { id: 7, epoch: 3 };
const MS: fn(u64) -> Duration = Duration::from_millis;

/// The machine, and what it is waiting for.
struct World {
    machine: Transactions,
    doom: Arc<Doom>,
    support: Support,
    now: Instant,
    asks: Vec<Ask>,
    quiet: bool,
}

impl World {
    /// Initialised.
    fn ready(support: Support) -> Self {
        let config = TransactionConfig {
            transactional_id: "t".to_owned(),
            timeout: MS(60_000),
            request_timeout: MS(1_000),
            retry_backoff: Backoff::new(MS(100), MS(100)),
        };
        let doom = Arc::<Doom>::default();
        let machine = Transactions::new(config, Arc::clone(&doom), 1);
        let (now, asks) = (Instant::now(), Vec::new());
        let mut world = Self { machine, doom, support, now, asks, quiet: true };
        world.machine.settle(0);
        world.answer_coordinator();
        world.answer_init(ErrorCode::NONE, ID);
        assert!(matches!(world.ended()[..], [(0, Ok(None))]));
        world
    }

    fn open(support: Support) -> Self {
        let mut world = Self::ready(support);
        world.begin(1);
        world
    }

    fn begin(&mut self, operation: u64) {
        self.machine.begin(operation);
        self.poll();
        let ended = self.ended();
        let began = |(of, result): &Ended| *of == operation && result.is_ok();
        assert!(ended.iter().any(began), "{ended:?}");
    }

    fn poll(&mut self) {
        self.asks.extend(self.machine.poll(self.quiet, self.now));
    }

    fn ended(&mut self) -> Vec<Ended> {
        self.machine.take_ended()
    }

    /// The only request that is out.
    fn ask(&mut self) -> Ask {
        self.poll();
        assert_eq!(self.asks.len(), 1, "{:?} {:?}", self.asks, self.machine);
        self.asks.remove(0)
    }

    fn idle(&mut self) {
        self.poll();
        assert!(self.asks.is_empty(), "{:?} {:?}", self.asks, self.machine);
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
    }

    fn tell(&mut self, token: u64, response: TxnResponse) {
        self.machine.handle(token, Ok((response, self.support)), self.now);
        self.poll();
    }

    /// The request is lost on its way there or back.
    fn lose(&mut self, ask: &Ask) {
        self.machine.handle(ask.token, Err(lost(true)), self.now);
        self.poll();
    }

    fn answer_coordinator(&mut self) {
        let ask = self.ask();
        let TxnRequest::FindCoordinator(key) = &ask.request else { panic!("{ask:?}") };
        let (CoordinatorKey::Group(key) | CoordinatorKey::Transaction(key)) = key.clone();
        let entry = Entry { key, node_id: 2, ..Default::default() };
        let response = FindCoordinatorResponse { coordinators: vec![entry], ..Default::default() };
        self.tell(ask.token, TxnResponse::FindCoordinator(response));
    }

    fn answer_init(&mut self, error_code: ErrorCode, identity: ProducerIdentity) -> Ask {
        let ask = self.ask();
        assert!(matches!(ask.request, TxnRequest::InitProducerId(_)), "{ask:?}");
        let ProducerIdentity { id: producer_id, epoch: producer_epoch } = identity;
        let response = InitProducerIdResponse {
            error_code,
            producer_id,
            producer_epoch,
            ..Default::default()
        };
        self.tell(ask.token, TxnResponse::InitProducerId(response));
        ask
    }

    /// Answers AddPartitionsToTxn with one code for all; says which partitions were asked for.
    fn answer_partitions(&mut self, code: ErrorCode) -> Vec<(String, Vec<i32>)> {
        let ask = self.ask();
        let TxnRequest::AddPartitions(request) = &ask.request else { panic!("{ask:?}") };
        let topics = &request.v3_and_below_topics;
        let results = topics.iter().map(|topic| AddPartitionsToTxnTopicResult {
            name: topic.name.clone(),
            results_by_partition: topic
                .partitions
                .iter()
                .map(|&partition_index| AddPartitionsToTxnPartitionResult {
                    partition_index,
                    partition_error_code: code,
                })
                .collect(),
        });
        let response = AddPartitionsToTxnResponse {
            results_by_topic_v3_and_below: results.collect(),
            ..Default::default()
        };
        let asked = topics.iter().map(|t| (t.name.clone(), t.partitions.clone())).collect();
        self.tell(ask.token, TxnResponse::AddPartitions(response));
        asked
    }

    fn answer_add_offsets(&mut self, error_code: ErrorCode) {
        let ask = self.ask();
        assert!(matches!(ask.request, TxnRequest::AddOffsets(_)), "{ask:?}");
        let response = AddOffsetsToTxnResponse { error_code, ..Default::default() };
        self.tell(ask.token, TxnResponse::AddOffsets(response));
    }

    fn answer_offsets(&mut self, code: ErrorCode) -> Ask {
        let ask = self.ask();
        let TxnRequest::CommitOffsets(request, _) = &ask.request else { panic!("{ask:?}") };
        let topics = request.topics.iter().map(|topic| TxnOffsetCommitResponseTopic {
            name: topic.name.clone(),
            partitions: topic
                .partitions
                .iter()
                .map(|partition| TxnOffsetCommitResponsePartition {
                    partition_index: partition.partition_index,
                    error_code: code,
                })
                .collect(),
        });
        let response = TxnOffsetCommitResponse { topics: topics.collect(), ..Default::default() };
        self.tell(ask.token, TxnResponse::CommitOffsets(response));
        ask
    }

    /// Answers EndTxn; says whether it was to commit.
    fn answer_end(&mut self, error_code: ErrorCode) -> bool {
        let ask = self.ask();
        let TxnRequest::End(request, _) = &ask.request else { panic!("{ask:?}") };
        let committed = request.committed;
        let next = request.producer_epoch + 1;
        let (producer_id, producer_epoch) =
            if self.support == TWO && error_code.is_ok() { (ID.id, next) } else { (-1, -1) };
        let response =
            EndTxnResponse { error_code, producer_id, producer_epoch, ..Default::default() };
        self.tell(ask.token, TxnResponse::End(response));
        committed
    }

    fn enrol(&mut self, partition: i32) -> bool {
        self.machine.enrol(TopicPartition::new("x", partition))
    }

    /// A batch of a partition is written.
    fn write(&mut self, partition: i32) {
        if !self.enrol(partition) {
            self.answer_partitions(ErrorCode::NONE);
        }
        assert!(self.enrol(partition));
        self.machine.sent();
        self.machine.written();
    }

    fn finish(&mut self, commit: bool, operation: u64) {
        self.machine.finish(commit, Some(operation), self.now);
    }

    fn offsets(&mut self, operation: u64) {
        let group = ConsumerGroupMetadata::no_member("g");
        let offsets = [(TopicPartition::new("in", 0), OffsetAndMetadata::new(5))];
        self.machine.send_offsets(operation, group, offsets.into());
    }
}

fn lost(maybe_written: bool) -> ClientError {
    let peer = Peer::new(Some(BrokerId(2)), "h", 1);
    ClientError::Disconnected { peer, reason: DisconnectReason::ClosedByPeer, maybe_written }
}

fn is_abortable(result: &Result<Option<TransactionOutcome>, TransactionError>) -> bool {
    matches!(result, Err(TransactionError::Abortable(_)))
}
