//! The sender with transactions: what waits for the coordinator, what is dropped, and what is sent again.

use super::*;
use crate::client::CoordinatorKey;
use crate::error::{AbortCause, TransactionError, TransactionOutcome};
use crate::producer::txn::tests::{ONE, TWO};
use crate::producer::txn::{Ended, Support, TransactionConfig, TxnRequest, TxnResponse};
use crate::protocol::messages::add_partitions_to_txn::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResponse, AddPartitionsToTxnTopicResult,
};
use crate::protocol::messages::end_txn::EndTxnResponse;
use crate::protocol::messages::find_coordinator::{Coordinator as Entry, FindCoordinatorResponse};
use crate::protocol::messages::init_producer_id::InitProducerIdResponse;

const LEADER: BrokerId = BrokerId(0);

/// A sender whose coordinator answers when it is told to.
struct Stage {
    world: World,
    support: Support,
    epoch: i16,
    ended: Vec<Ended>,
    last_operation: u64,
}

impl Stage {
    /// In a transaction; partition 0 is led by broker 0, and knows nothing of the producer.
    fn new(support: Support) -> Self {
        let mut world = World::new(SenderConfig { linger: Duration::ZERO, ..config() }, 3, 1);
        let transactions = TransactionConfig {
            transactional_id: "t".to_owned(),
            timeout: MS(60_000),
            request_timeout: MS(1_000),
            retry_backoff: Backoff::new(MS(20), MS(100)),
        };
        world.sender.transact(Transactions::new(transactions, Arc::default(), 1));
        let mut stage = Self { world, support, epoch: 2, ended: Vec::new(), last_operation: 0 };
        stage.begin();
        stage
    }

    fn operation(&mut self) -> u64 {
        self.last_operation += 1;
        self.last_operation
    }

    fn begin(&mut self) {
        let operation = self.operation();
        self.world.sender.handle_begin(operation);
        self.coordinate();
        assert!(self.end_of(operation).expect("it began").is_ok());
    }

    fn finish(&mut self, commit: bool) -> u64 {
        let operation = self.operation();
        self.world.sender.handle_finish(commit, Some(operation), self.world.now);
        operation
    }

    /// How an operation ended, if it has.
    fn end_of(
        &mut self,
        operation: u64,
    ) -> Option<Result<Option<TransactionOutcome>, TransactionError>> {
        self.ended.extend(self.world.sender.take_ended());
        let at = self.ended.iter().position(|(of, _)| *of == operation)?;
        Some(self.ended.remove(at).1)
    }

    /// What is asked of the coordinators now.
    fn asks(&mut self) -> Vec<&'static str> {
        while self.world.step() {}
        let name = |ask: &Ask| match ask.request {
            TxnRequest::FindCoordinator(_) => "find",
            TxnRequest::InitProducerId(_) => "init",
            TxnRequest::AddPartitions(_) => "add",
            TxnRequest::AddOffsets(_) => "add offsets",
            TxnRequest::CommitOffsets(..) => "offsets",
            TxnRequest::End(ref end, _) if end.committed => "commit",
            TxnRequest::End(..) => "abort",
        };
        self.world.asks.iter().map(name).collect()
    }

    /// Answers what is asked until nothing is; gives what that was.
    fn coordinate(&mut self) -> Vec<&'static str> {
        let mut asked = Vec::new();
        loop {
            let asks = self.asks();
            if asks.is_empty() {
                return asked;
            }
            asked.extend(asks);
            for ask in std::mem::take(&mut self.world.asks) {
                let response = self.response(&ask.request);
                let answer = Ok((response, self.support));
                self.world.sender.handle_coordinator(ask.token, answer, self.world.now);
            }
        }
    }

    fn response(&mut self, request: &TxnRequest) -> TxnResponse {
        let two = self.support == TWO;
        match request {
            TxnRequest::FindCoordinator(key) => {
                let (CoordinatorKey::Group(key) | CoordinatorKey::Transaction(key)) = key.clone();
                let coordinators = vec![Entry { key, node_id: 2, ..Default::default() }];
                TxnResponse::FindCoordinator(FindCoordinatorResponse {
                    coordinators,
                    ..Default::default()
                })
            }
            TxnRequest::InitProducerId(_) => {
                self.epoch += 1;
                TxnResponse::InitProducerId(InitProducerIdResponse {
                    producer_id: 7,
                    producer_epoch: self.epoch,
                    ..Default::default()
                })
            }
            TxnRequest::AddPartitions(request) => {
                let topics = request.v3_and_below_topics.iter();
                let results = topics.map(|topic| AddPartitionsToTxnTopicResult {
                    name: topic.name.clone(),
                    results_by_partition: topic
                        .partitions
                        .iter()
                        .map(|&partition_index| AddPartitionsToTxnPartitionResult {
                            partition_index,
                            ..Default::default()
                        })
                        .collect(),
                });
                TxnResponse::AddPartitions(AddPartitionsToTxnResponse {
                    results_by_topic_v3_and_below: results.collect(),
                    ..Default::default()
                })
            }
            TxnRequest::End(..) => {
                self.epoch += i16::from(two);
                let (producer_id, producer_epoch) = if two { (7, self.epoch) } else { (-1, -1) };
                TxnResponse::End(EndTxnResponse {
                    producer_id,
                    producer_epoch,
                    ..Default::default()
                })
            }
            other => panic!("no offsets here: {other:?}"),
        }
    }

    /// A batch of one record for partition 0 that is sent and acknowledged.
    fn write(&mut self) {
        self.world.send(0);
        self.coordinate();
        self.world.answer(LEADER, None);
        self.world.step();
    }

    fn on_wire(&self) -> usize {
        self.world.wire.values().map(VecDeque::len).sum()
    }

    fn result(&self, record: usize) -> &Result<RecordMetadata, DeliveryError> {
        self.world.sent[record].result.as_ref().expect("an end")
    }
}

fn abortable(result: Option<Result<Option<TransactionOutcome>, TransactionError>>) -> AbortCause {
    match result {
        Some(Err(TransactionError::Abortable(error))) => error.cause().clone(),
        other => panic!("not abortable: {other:?}"),
    }
}

/// IsSendToPartitionAllowed*: nothing goes to a partition that is not part of the transaction.
#[test]
fn a_partition_is_added_before_it_is_written_to() {
    let mut stage = Stage::new(ONE);
    stage.world.send(0);
    assert_eq!(stage.asks(), ["add"]);
    assert_eq!(stage.on_wire(), 0);
    // Another one waits for its turn.
    stage.world.send(1);
    assert_eq!(stage.asks(), ["add"]);
    assert_eq!(stage.coordinate(), ["add", "add"]);
    assert_eq!(stage.on_wire(), 2);
    for node in [BrokerId(0), BrokerId(1)] {
        stage.world.answer(node, None);
    }
    let end = stage.finish(true);
    assert_eq!(stage.coordinate(), ["commit"]);
    assert!(matches!(stage.end_of(end), Some(Ok(Some(TransactionOutcome::Committed)))));
    // In the next one it is not part any more.
    stage.begin();
    stage.world.send(0);
    assert_eq!(stage.asks(), ["add"]);
}

#[test]
fn with_version_2_writing_adds() {
    let mut stage = Stage::new(TWO);
    stage.world.send(0);
    assert!(stage.asks().is_empty());
    assert_eq!(stage.on_wire(), 1);
    let produce = &stage.world.wire[&LEADER][0];
    assert_eq!(produce.request.transactional_id.as_deref(), Some("t"));
    assert!(*produce.versions.start() >= 12, "older ones do not add");
}

/// KIP-890: a broker that makes sure of one request with something new refuses it when the next comes.
#[test]
fn one_request_at_a_time_makes_a_broker_verify() {
    let mut stage = Stage::new(TWO);
    // Partitions 0 and 2 are led by one broker, 1 by another.
    for partition in [0, 1] {
        stage.world.send(partition);
        stage.asks();
    }
    stage.world.send(0);
    stage.world.send(2);
    stage.asks();
    assert_eq!(stage.on_wire(), 2, "one for each broker");
    stage.world.answer(LEADER, None);
    stage.asks();
    // What comes next for partition 0 needs no verification, but leaves with what does.
    assert_eq!(stage.on_wire(), 2);
    stage.world.send(0);
    stage.asks();
    assert_eq!(stage.on_wire(), 3, "the broker has written to partition 0 in this transaction");
    stage.world.answer(LEADER, Some(ErrorCode::NOT_ENOUGH_REPLICAS));
    for _ in 0..6 {
        stage.world.now += MS(200);
        stage.asks();
        stage.world.answer(LEADER, None);
    }
    stage.world.answer(BrokerId(1), None);
    let end = stage.finish(true);
    assert_eq!(stage.coordinate(), ["commit"]);
    assert!(stage.end_of(end).expect("an end").is_ok());
    // In the next transaction all is new again.
    stage.begin();
    stage.world.send(0);
    stage.asks();
    stage.world.send(0);
    stage.asks();
    assert_eq!(stage.on_wire(), 1);
}

/// FailIfNotReadyForSend*: outside of a transaction nothing leaves, whatever is there.
#[test]
fn nothing_is_sent_outside_of_a_transaction() {
    for support in [ONE, TWO] {
        let mut stage = Stage::new(support);
        stage.write();
        let end = stage.finish(true);
        stage.coordinate();
        assert!(stage.end_of(end).expect("an end").is_ok());
        stage.world.send(0);
        assert!(stage.coordinate().is_empty());
        assert_eq!(stage.on_wire(), 0);
    }
}

#[test]
fn a_commit_waits_for_all_batches() {
    for support in [ONE, TWO] {
        let mut stage = Stage::new(support);
        stage.write();
        for _ in 0..3 {
            stage.world.send(0);
            stage.coordinate();
        }
        let end = stage.finish(true);
        assert!(stage.asks().is_empty());
        stage.world.answer(LEADER, Some(ErrorCode::NOT_ENOUGH_REPLICAS));
        assert!(stage.asks().is_empty(), "it is sent again");
        for _ in 0..10 {
            stage.world.now += MS(200);
            while stage.world.step() {}
            stage.world.answer(LEADER, None);
        }
        assert_eq!(stage.coordinate(), ["commit"]);
        assert!(matches!(stage.end_of(end), Some(Ok(_))));
        assert_eq!(stage.world.logs[&0].records.len(), 4);
    }
}

/// What was not sent is dropped, what was is waited for, and the first cause is told.
#[test]
fn one_that_fails_dooms_the_rest() {
    for support in [ONE, TWO] {
        let mut stage = Stage::new(support);
        stage.write();
        for _ in 0..7 {
            stage.world.send(0);
            while stage.world.step() {}
        }
        assert_eq!(stage.on_wire(), 5);
        stage.world.answer(LEADER, Some(ErrorCode::INVALID_RECORD));
        assert!(stage.asks().is_empty());
        assert_eq!(stage.on_wire(), 4, "nothing more goes out");
        let aborted = |stage: &Stage, record| {
            let error = stage.result(record).as_ref().unwrap_err();
            matches!(error.kind(), DeliveryErrorKind::Aborted)
        };
        let operation = stage.finish(true);
        while stage.world.step() {}
        let cause = abortable(stage.end_of(operation));
        assert!(matches!(cause, AbortCause::Delivery(_)), "{cause}");
        assert!(stage.asks().is_empty(), "the others are on their way");
        for _ in 0..4 {
            stage.world.answer(LEADER, Some(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));
        }
        let asked = stage.coordinate();
        let expected: &[_] = if support == ONE { &["abort", "init"] } else { &["abort"] };
        assert_eq!(asked, expected, "numbers were lost");
        assert!(stage.result(0).is_ok());
        assert!((6..8).all(|record| aborted(&stage, record)));
        assert_eq!(stage.world.memory.available(), TOTAL);
        stage.begin();
        stage.write();
        assert!(stage.result(8).is_ok());
        let epoch = stage.epoch;
        assert_eq!(stage.world.logs[&0].identity, Some(ProducerIdentity { id: 7, epoch }));
    }
}

/// What may have been written is sent again before the abort with version 1, where a late copy could meet the next
/// transaction; the same bytes, as `World` sees to.
#[test]
fn what_may_have_been_written_is_learnt_before_an_abort() {
    for (support, again) in [(ONE, true), (TWO, false)] {
        for applied in [0, 1] {
            let mut stage = Stage::new(support);
            stage.write();
            stage.world.send(0);
            stage.coordinate();
            stage.world.disconnect(LEADER, applied);
            let end = stage.finish(false);
            stage.world.now += MS(200);
            let asks = stage.asks();
            assert_eq!(stage.on_wire(), usize::from(again));
            assert_eq!(asks.is_empty(), again);
            stage.world.answer(LEADER, None);
            assert_eq!(stage.coordinate(), ["abort"], "and the epoch may stay");
            assert!(matches!(stage.end_of(end), Some(Ok(Some(TransactionOutcome::Aborted)))));
        }
    }
}

/// But not for ever, and then the epoch is raised.
#[test]
fn a_fate_that_stays_unknown_raises_the_epoch() {
    let mut stage = Stage::new(ONE);
    stage.write();
    stage.world.send(0);
    stage.coordinate();
    stage.world.disconnect(LEADER, 0);
    stage.finish(false);
    for _ in 0..20 {
        stage.world.now += MS(100);
        if stage.asks() == ["abort"] {
            break;
        }
        stage.world.disconnect(LEADER, 0);
    }
    assert_eq!(stage.coordinate(), ["abort", "init"]);
    stage.begin();
    stage.write();
    assert_eq!(stage.world.logs[&0].identity.unwrap().epoch, stage.epoch);
}

/// BumpTransactionalEpochOn*: the epoch is not the sender's to raise, and not before the transaction has ended.
#[test]
fn a_number_out_of_order_aborts_and_raises_the_epoch_afterwards() {
    for code in [ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, ErrorCode::UNKNOWN_PRODUCER_ID] {
        let mut stage = Stage::new(ONE);
        stage.write();
        stage.world.send(0);
        stage.coordinate();
        stage.world.answer(LEADER, Some(code));
        assert!(stage.coordinate().is_empty(), "nothing is initialised within it");
        assert!(stage.result(1).is_err());
        let end = stage.finish(true);
        assert_eq!(stage.coordinate(), ["abort", "init"]);
        abortable(stage.end_of(end));
    }
}

/// TransitionToAbortableErrorOnBatchExpiry.
#[test]
fn a_batch_that_expires_aborts() {
    for sent in [false, true] {
        let mut stage = Stage::new(ONE);
        stage.write();
        stage.world.send(0);
        if sent {
            stage.coordinate();
        } else {
            // Nobody leads the partition.
            stage.world.sender.handle_metadata(|_, _| Some(Leadership::UNKNOWN));
        }
        stage.world.now += MS(10_000);
        let end = stage.finish(true);
        while stage.world.step() {
            stage.world.sender.handle_metadata(|_, _| Some(Leadership::UNKNOWN));
        }
        let AbortCause::Delivery(error) = abortable(stage.end_of(end)) else { panic!("another") };
        assert!(matches!(error.kind(), DeliveryErrorKind::TimedOut { .. }), "{error}");
        assert_eq!(stage.asks().is_empty(), sent, "its request is still out");
        if sent {
            stage.world.disconnect(LEADER, 0);
        }
        let expected: &[_] = if sent { &["abort", "init"] } else { &["abort"] };
        assert_eq!(stage.coordinate(), expected);
    }
}

/// ProducerFenced, InvalidProducerEpoch: the one ends the producer, the other the transaction.
#[test]
fn after_a_fatal_answer_nothing_is_sent() {
    for support in [ONE, TWO] {
        for (code, fatal) in [
            (ErrorCode::PRODUCER_FENCED, true),
            (ErrorCode::INVALID_PRODUCER_ID_MAPPING, true),
            (ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED, true),
            (ErrorCode::INVALID_PRODUCER_EPOCH, false),
            (ErrorCode::INVALID_TXN_STATE, false),
            (ErrorCode::TRANSACTION_ABORTABLE, false),
        ] {
            let mut stage = Stage::new(support);
            stage.write();
            stage.world.send(0);
            stage.coordinate();
            stage.world.send(0);
            stage.world.answer(LEADER, Some(code));
            if !fatal {
                stage.world.send(1);
            }
            let (end, mut asked) = (stage.finish(true), Vec::new());
            for _ in 0..50 {
                asked.extend(stage.coordinate());
                while let Some(produce) = stage.world.pop(LEADER) {
                    let response = stage.world.apply(&produce, None);
                    let now = stage.world.now;
                    stage.world.sender.handle_produced(produce.token, Ok(response), now);
                }
                stage.world.now += MS(1_000);
            }
            assert_eq!(asked.is_empty(), fatal, "{code}: {asked:?}");
            match stage.end_of(end) {
                Some(Err(TransactionError::Fatal(error))) if fatal => assert_eq!(error.code, code),
                Some(Err(TransactionError::Abortable(_))) if !fatal => {}
                other => panic!("{code}: {other:?}"),
            }
            assert!(stage.world.sent[1..].iter().all(|sent| matches!(sent.result, Some(Err(_)))));
            assert_eq!(stage.world.memory.available(), TOTAL);
            assert!(!stage.world.logs.contains_key(&1), "{code}: nothing was sent after it");
        }
    }
}
