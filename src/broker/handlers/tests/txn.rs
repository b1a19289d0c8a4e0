//! Transactional ids over an in-memory stream, in both transaction versions: who may write, add and end, with what epoch.

use tokio::io::DuplexStream;

use super::fetch::{fetch, only};
use crate::broker::testing::{NOW, RawClient, build, in_memory, outcome, produce};
use crate::broker::{ApiKey, Cluster, ClusterBuilder, Fault, TransactionState};
use crate::error::ErrorCode;
use crate::protocol::messages::add_offsets_to_txn::AddOffsetsToTxnRequest;
use crate::protocol::messages::add_partitions_to_txn::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use crate::protocol::messages::end_txn::EndTxnRequest;
use crate::protocol::messages::fetch::FetchRequest;
use crate::protocol::messages::init_producer_id::InitProducerIdRequest;
use crate::protocol::messages::produce::ProduceRequest;
use crate::types::{Compression, ProducerIdentity, TopicPartition};

pub(super) const ID: &str = "tx";
const TIMEOUT_MS: i32 = 60_000;

/// A cluster with the topic `t`, and a producer that speaks by hand to the node that coordinates it.
pub(super) struct Tx {
    pub(super) cluster: Cluster,
    pub(super) client: RawClient<DuplexStream>,
    pub(super) own: ProducerIdentity,
}

impl Tx {
    pub(super) async fn begin(builder: ClusterBuilder) -> Self {
        let cluster = builder.start().await.unwrap();
        cluster.create_topic(("t", 3)).unwrap();
        let node = cluster.transaction_coordinator(ID).unwrap();
        let client = RawClient::connect(&cluster, node.0);
        let mut tx = Self { cluster, client, own: ProducerIdentity::NONE };
        tx.own = tx.init(-1, -1, 5).await.unwrap();
        tx
    }

    pub(super) async fn init(
        &mut self,
        producer_id: i64,
        producer_epoch: i16,
        version: i16,
    ) -> Result<ProducerIdentity, ErrorCode> {
        let request = InitProducerIdRequest {
            transactional_id: Some(ID.to_owned()),
            transaction_timeout_ms: TIMEOUT_MS,
            producer_id,
            producer_epoch,
        };
        let response = self.client.call(&request, version).await;
        if response.error_code.is_ok() {
            Ok(ProducerIdentity { id: response.producer_id, epoch: response.producer_epoch })
        } else {
            Err(response.error_code)
        }
    }

    pub(super) fn adding(&self, partitions: &[i32]) -> AddPartitionsToTxnRequest {
        let topic =
            AddPartitionsToTxnTopic { name: "t".to_owned(), partitions: partitions.to_vec() };
        AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: ID.to_owned(),
            v3_and_below_producer_id: self.own.id,
            v3_and_below_producer_epoch: self.own.epoch,
            v3_and_below_topics: vec![topic],
            ..Default::default()
        }
    }

    pub(super) async fn add(&mut self, partitions: &[i32], version: i16) -> Vec<ErrorCode> {
        let request = self.adding(partitions);
        let response = self.client.call(&request, version).await;
        let results = &response.results_by_topic_v3_and_below[0].results_by_partition;
        results.iter().map(|result| result.partition_error_code).collect()
    }

    pub(super) async fn add_offsets(&mut self, group: &str, version: i16) -> ErrorCode {
        let request = AddOffsetsToTxnRequest {
            transactional_id: ID.to_owned(),
            producer_id: self.own.id,
            producer_epoch: self.own.epoch,
            group_id: group.to_owned(),
        };
        self.client.call(&request, version).await.error_code
    }

    /// Sends one record to `t-partition`, and gives its offset.
    pub(super) async fn send(
        &mut self,
        partition: i32,
        sequence: i32,
        version: i16,
    ) -> Result<i64, ErrorCode> {
        let own = self.own;
        let records = [(NOW, None, "x")];
        let batch = build(&records, Compression::None, |batch| batch.stamp(own, sequence, true));
        let mut request = produce("t", partition, batch);
        request.transactional_id = Some(ID.to_owned());
        if version >= 13 {
            request.topic_data[0].topic_id = self.cluster.topic_id("t").unwrap();
            request.topic_data[0].name = String::new();
        }
        let response = self.client.call(&request, version).await;
        outcome(&response.responses[0].partition_responses[0])
    }

    /// Ends the transaction; the answer's producer is nobody before version 5.
    pub(super) async fn end(
        &mut self,
        committed: bool,
        version: i16,
    ) -> Result<ProducerIdentity, ErrorCode> {
        let request = EndTxnRequest {
            transactional_id: ID.to_owned(),
            producer_id: self.own.id,
            producer_epoch: self.own.epoch,
            committed,
        };
        let response = self.client.call(&request, version).await;
        if response.error_code.is_ok() {
            Ok(ProducerIdentity { id: response.producer_id, epoch: response.producer_epoch })
        } else {
            Err(response.error_code)
        }
    }

    pub(super) fn state(&self) -> TransactionState {
        self.cluster.transaction(ID).unwrap().state
    }

    /// The markers of `t-partition`: the epoch of each.
    pub(super) fn markers(&self, partition: i32) -> Vec<i16> {
        let batches = self.cluster.batches("t", partition);
        batches.iter().filter(|batch| batch.control).map(|batch| batch.producer.epoch).collect()
    }
}

pub(super) fn producer(id: i64, epoch: i16) -> ProducerIdentity {
    ProducerIdentity { id, epoch }
}

const NONE: ErrorCode = ErrorCode::NONE;

#[tokio::test]
async fn with_version_1_partitions_are_added_first_and_the_epoch_stays() {
    let mut tx = Tx::begin(in_memory().transaction_version(1)).await;
    assert_eq!(tx.own, producer(0, 0));
    let not_added = [ErrorCode::INVALID_TXN_STATE, ErrorCode::TRANSACTION_ABORTABLE];
    assert_eq!(tx.send(0, 0, 10).await, Err(not_added[0]));
    assert_eq!(tx.send(0, 0, 11).await, Err(not_added[1]));
    assert_eq!(tx.add(&[0, 1], 3).await, [NONE, NONE]);
    assert_eq!(tx.state(), TransactionState::Ongoing);
    assert_eq!(tx.send(0, 0, 11).await, Ok(0));
    assert_eq!(tx.send(0, 1, 10).await, Ok(1));
    assert_eq!(tx.send(2, 0, 11).await, Err(not_added[1]), "another partition");
    assert_eq!(tx.cluster.last_stable_offset("t", 0), Some(0));
    let open = tx.cluster.transaction(ID).unwrap();
    let expected = [0, 1].map(|partition| TopicPartition::new("t", partition));
    assert!(open.partitions.iter().eq(&expected));

    assert_eq!(tx.end(true, 4).await, Ok(ProducerIdentity::NONE));
    assert_eq!(tx.state(), TransactionState::CompleteCommit);
    assert_eq!(tx.end(true, 4).await, Ok(ProducerIdentity::NONE), "a retry");
    assert_eq!(tx.end(false, 4).await, Err(ErrorCode::INVALID_TXN_STATE));
    assert_eq!((tx.markers(0), tx.markers(1), tx.markers(2)), (vec![0], vec![0], vec![]));
    assert_eq!(tx.cluster.last_stable_offset("t", 0), Some(3));
    assert_eq!(tx.send(0, 2, 11).await, Err(not_added[1]), "the next begins with being added");

    assert_eq!(tx.add(&[0], 0).await, [NONE]);
    assert_eq!(tx.send(0, 2, 11).await, Ok(3), "the sequence goes on");
    assert_eq!(tx.end(false, 4).await, Ok(ProducerIdentity::NONE));
    let read = FetchRequest { isolation_level: 1, ..fetch(0) };
    let response = tx.client.call(&read, 12).await;
    let aborted = only(&response).aborted_transactions.clone().unwrap();
    assert_eq!((aborted.len(), aborted[0].first_offset), (1, 3));
}

#[tokio::test]
async fn with_version_2_batches_enroll_their_partition_and_each_end_bumps_the_epoch() {
    let mut tx = Tx::begin(in_memory()).await;
    let out_of_order = Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    assert_eq!(tx.send(1, 3, 12).await, out_of_order, "its state is not lost: it has none");
    for epoch in 0..3 {
        assert_eq!(tx.send(0, 0, 12).await, Ok(3 * i64::from(epoch)), "from sequence 0 on");
        assert_eq!(tx.send(0, 1, 13).await, Ok(3 * i64::from(epoch) + 1));
        assert_eq!(tx.end(epoch != 1, 5).await, Ok(producer(0, epoch + 1)));
        assert_eq!(tx.end(epoch != 1, 5).await, Ok(producer(0, epoch + 1)), "a retry");
        let zombie = ErrorCode::INVALID_PRODUCER_EPOCH;
        assert_eq!(tx.send(0, 2, 12).await, Err(zombie), "the epoch is over");
        tx.own.epoch += 1;
    }
    assert_eq!(tx.markers(0), [1, 2, 3], "a marker has the epoch that follows");
    assert_eq!(tx.end(true, 5).await, Err(ErrorCode::INVALID_TXN_STATE), "nothing to commit");
    assert_eq!(tx.end(false, 5).await, Ok(producer(0, 4)), "an abort of nothing is one");
    assert_eq!(tx.state(), TransactionState::CompleteAbort);
    assert_eq!(tx.markers(0).len(), 3);
}

#[tokio::test]
async fn a_batch_does_not_overtake_one_that_came_too_early() {
    let mut tx = Tx::begin(in_memory().transaction_version(1)).await;
    assert_eq!(tx.send(0, 0, 11).await, Err(ErrorCode::TRANSACTION_ABORTABLE));
    tx.add(&[0], 3).await;
    assert_eq!(tx.send(0, 1, 11).await, Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));
    assert_eq!(tx.send(0, 0, 11).await, Ok(0));
    assert_eq!(tx.send(0, 1, 11).await, Ok(1));
    tx.end(true, 4).await.unwrap();
    tx.add(&[0], 3).await;
    assert_eq!(tx.send(0, 2, 11).await, Ok(3), "the next transaction has nothing to do with it");
}

#[tokio::test]
async fn a_batch_outside_of_the_transaction_is_refused_inside_of_one() {
    let mut tx = Tx::begin(in_memory()).await;
    tx.send(0, 0, 12).await.unwrap();
    let own = tx.own;
    let records = [(NOW, None, "x")];
    let batch = build(&records, Compression::None, |batch| batch.stamp(own, 1, false));
    let request =
        ProduceRequest { transactional_id: Some(ID.to_owned()), ..produce("t", 0, batch) };
    let response = tx.client.call(&request, 12).await;
    let refused = outcome(&response.responses[0].partition_responses[0]);
    assert_eq!(refused, Err(ErrorCode::INVALID_TXN_STATE));
}

#[tokio::test]
async fn partitions_are_added_all_or_none() {
    let mut tx = Tx::begin(in_memory()).await;
    let (unknown, not_tried) =
        (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, ErrorCode::OPERATION_NOT_ATTEMPTED);
    assert_eq!(tx.add(&[0, 9, 1], 3).await, [not_tried, unknown, not_tried]);
    assert_eq!(tx.state(), TransactionState::Empty);
    let fault = Fault::error(ApiKey::ADD_PARTITIONS_TO_TXN, ErrorCode::TOPIC_AUTHORIZATION_FAILED);
    tx.cluster.inject(fault.on_partition("t", 1));
    let code = ErrorCode::TOPIC_AUTHORIZATION_FAILED;
    assert_eq!(tx.add(&[0, 1], 3).await, [not_tried, code]);
    let fault =
        Fault::error(ApiKey::ADD_PARTITIONS_TO_TXN, ErrorCode::COORDINATOR_LOAD_IN_PROGRESS);
    tx.cluster.inject(fault);
    assert_eq!(tx.add(&[0, 1], 3).await, [ErrorCode::COORDINATOR_LOAD_IN_PROGRESS; 2]);
    assert_eq!(tx.add(&[0, 1], 3).await, [NONE; 2]);
    tx.own.id = 7;
    assert_eq!(tx.add(&[0], 3).await, [ErrorCode::INVALID_PRODUCER_ID_MAPPING]);

    // As brokers ask among themselves.
    let topics = |partitions: &[i32]| {
        vec![AddPartitionsToTxnTopic { name: "t".to_owned(), partitions: partitions.to_vec() }]
    };
    let asked = |partitions: &[i32]| AddPartitionsToTxnTransaction {
        transactional_id: ID.to_owned(),
        verify_only: true,
        topics: topics(partitions),
        ..Default::default()
    };
    let request = AddPartitionsToTxnRequest {
        transactions: vec![asked(&[0, 1]), asked(&[2])],
        ..Default::default()
    };
    let response = tx.client.call(&request, 4).await;
    let codes = response.results_by_transaction.iter().map(|result| {
        let partitions = &result.topic_results[0].results_by_partition;
        partitions.iter().map(|partition| partition.partition_error_code).collect::<Vec<_>>()
    });
    let codes: Vec<_> = codes.collect();
    assert_eq!(codes, [vec![NONE; 2], vec![ErrorCode::TRANSACTION_ABORTABLE]]);
}

#[tokio::test]
async fn a_producer_that_is_fenced_is_told_in_the_words_of_its_version() {
    let mut tx = Tx::begin(in_memory().transaction_version(1)).await;
    let zombie = tx.own;
    assert_eq!(tx.init(-1, -1, 0).await, Ok(producer(0, 1)));
    let (newer, older) = (ErrorCode::PRODUCER_FENCED, ErrorCode::INVALID_PRODUCER_EPOCH);
    for (version, expected) in [(1, older), (2, newer), (3, newer)] {
        assert_eq!(tx.add(&[0], version).await, [expected], "{version}");
        assert_eq!(tx.add_offsets("g", version).await, expected, "{version}");
        assert_eq!(tx.end(true, version).await, Err(expected), "{version}");
    }
    for (version, expected) in [(3, older), (4, newer), (5, newer)] {
        assert_eq!(tx.init(zombie.id, zombie.epoch, version).await, Err(expected), "{version}");
    }
    assert_eq!(tx.init(0, 1, 3).await, Ok(producer(0, 2)), "who knows its epoch goes on");
    assert_eq!(tx.init(0, 1, 3).await, Ok(producer(0, 2)), "again");
    tx.own = producer(0, 2);
    tx.add(&[0], 3).await;
    assert_eq!(tx.send(0, 0, 11).await, Ok(0));
    assert_eq!(tx.init(-1, -1, 5).await, Err(ErrorCode::CONCURRENT_TRANSACTIONS));
    assert_eq!(tx.markers(0), [3], "what was open is aborted");
    assert_eq!(tx.init(-1, -1, 5).await, Ok(producer(0, 4)));
    assert_eq!(tx.send(0, 1, 11).await, Err(older));
}
