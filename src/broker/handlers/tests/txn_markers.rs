//! What a transaction's end waits for: leaders and replicas for its markers, its time-out, its coordinator.

use std::time::Duration;

use super::fetch::{only, waiting};
use super::txn::{ID, Tx, producer};
use crate::broker::testing::{RawClient, in_memory};
use crate::broker::{TopicSpec, TransactionState};
use crate::error::ErrorCode;
use crate::protocol::messages::add_partitions_to_txn::AddPartitionsToTxnTopic;
use crate::protocol::messages::fetch::FetchRequest;
use crate::time::Instant;
use crate::types::{BrokerId, TopicPartition};

const NONE: ErrorCode = ErrorCode::NONE;

#[tokio::test]
async fn the_markers_wait_for_a_leader_and_so_does_the_producer() {
    let mut tx = Tx::begin(in_memory().nodes(2)).await;
    let coordinator = tx.cluster.transaction_coordinator(ID).unwrap();
    let other = BrokerId(3 - coordinator.0);
    let spec = TopicSpec::new("alone").partitions(2).replication_factor(1);
    tx.cluster.create_topic(spec).unwrap();
    let index = (0..2).find(|&p| tx.cluster.leader("alone", p).unwrap().0 == other).unwrap();
    let mut request = tx.adding(&[0]);
    let topic = AddPartitionsToTxnTopic { name: "alone".to_owned(), partitions: vec![index] };
    request.v3_and_below_topics.push(topic);
    tx.client.call(&request, 3).await;
    tx.cluster.stop_node(other).await.unwrap();

    assert_eq!(tx.end(true, 5).await, Ok(producer(0, 1)), "it is certain already");
    assert_eq!(tx.state(), TransactionState::PrepareCommit);
    let owed = tx.cluster.transaction(ID).unwrap().partitions;
    assert!(owed.iter().eq(&[TopicPartition::new("alone", index)]), "{owed:?}");
    let concurrent = ErrorCode::CONCURRENT_TRANSACTIONS;
    assert_eq!(tx.end(true, 5).await, Err(concurrent));
    assert_eq!(tx.end(false, 5).await, Err(concurrent));
    assert_eq!(tx.init(-1, -1, 5).await, Err(concurrent));
    tx.own.epoch = 1;
    assert_eq!(tx.add(&[0], 3).await, [concurrent]);
    assert_eq!(tx.add_offsets("g", 4).await, concurrent);
    let partition = (0..3).find(|&p| tx.cluster.leader("t", p).unwrap().0 == coordinator).unwrap();
    assert_eq!(tx.send(partition, 0, 12).await, Err(concurrent));
    assert_eq!(tx.send(partition, 0, 11).await, Err(ErrorCode::NOT_ENOUGH_REPLICAS));

    tx.cluster.restart_node(other).await.unwrap();
    assert_eq!(tx.state(), TransactionState::CompleteCommit);
    assert_eq!(tx.cluster.batches("alone", index).len(), 1);
    assert_eq!(tx.add(&[0], 3).await, [NONE]);
}

#[tokio::test]
async fn markers_need_replicas_in_sync_as_batches_do() {
    let builder = in_memory().nodes(2).topic_config("min.insync.replicas", "2");
    let mut tx = Tx::begin(builder).await;
    let coordinator = tx.cluster.transaction_coordinator(ID).unwrap();
    let index = (0..3).find(|&p| tx.cluster.leader("t", p).unwrap().0 == coordinator).unwrap();
    tx.send(index, 0, 12).await.unwrap();
    tx.cluster.hold_replica("t", index, BrokerId(3 - coordinator.0)).unwrap();
    tx.end(true, 5).await.unwrap();
    assert_eq!(tx.state(), TransactionState::PrepareCommit);
    tx.cluster.release_replicas("t", index).unwrap();
    assert_eq!(tx.state(), TransactionState::CompleteCommit);
}

impl Tx {
    /// Writes to a partition that the coordinator leads.
    async fn send_anywhere(&mut self) {
        let node = self.cluster.transaction_coordinator(ID).unwrap();
        let index = (0..3).find(|&p| self.cluster.leader("t", p).unwrap().0 == node).unwrap();
        assert_eq!(self.send(index, 0, 12).await, Ok(0));
    }
}

#[tokio::test]
async fn a_transactional_id_is_coordinated_by_one_node_and_moves_with_it() {
    let mut tx = Tx::begin(in_memory().nodes(3)).await;
    tx.send_anywhere().await;
    let first = tx.cluster.transaction_coordinator(ID).unwrap();
    let others: Vec<_> = tx.cluster.nodes().into_iter().filter(|&node| node != first).collect();
    let own = std::mem::replace(&mut tx.client, RawClient::connect(&tx.cluster, others[0].0));
    let not_here = ErrorCode::NOT_COORDINATOR;
    assert_eq!(tx.init(-1, -1, 5).await, Err(not_here));
    assert_eq!(tx.add(&[0], 3).await, [not_here]);
    assert_eq!(tx.add_offsets("g", 4).await, not_here);
    assert_eq!(tx.end(true, 5).await, Err(not_here));

    tx.cluster.move_transaction_coordinator(ID, others[0]).unwrap();
    assert_eq!(tx.cluster.transaction_coordinator(ID), Some(others[0]));
    assert_eq!(tx.state(), TransactionState::Ongoing, "it knows what the other did");
    let there = std::mem::replace(&mut tx.client, own);
    assert_eq!(tx.end(true, 5).await, Err(not_here));
    tx.client = there;
    tx.cluster.stop_node(others[0]).await.unwrap();
    let third = tx.cluster.transaction_coordinator(ID).unwrap();
    assert_ne!(third, others[0]);
    assert!(tx.cluster.move_transaction_coordinator(ID, others[0]).is_err(), "it does not run");
    tx.client = RawClient::connect(&tx.cluster, third.0);
    assert_eq!(tx.end(true, 5).await, Ok(producer(0, 1)));
    assert_eq!(tx.state(), TransactionState::CompleteCommit);
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_takes_too_long_is_aborted_and_who_waits_is_told() {
    let mut tx = Tx::begin(in_memory()).await;
    tx.send(0, 0, 12).await.unwrap();
    let began = Instant::now();
    let mut reader = RawClient::connect(&tx.cluster, 1);
    let read = FetchRequest { isolation_level: 1, ..waiting(0, 600_000, 1) };
    let response = reader.call(&read, 12).await;
    assert_eq!(only(&response).last_stable_offset, 2, "behind the marker");
    let took = began.elapsed();
    assert!((Duration::from_secs(60)..Duration::from_secs(61)).contains(&took), "{took:?}");
    assert_eq!(only(&response).aborted_transactions.as_ref().unwrap().len(), 1);
    assert_eq!(tx.state(), TransactionState::CompleteAbort);
    assert_eq!(tx.end(true, 5).await, Err(ErrorCode::INVALID_TXN_STATE));
    assert_eq!(tx.send(0, 1, 12).await, Err(ErrorCode::INVALID_PRODUCER_EPOCH));
    assert_eq!(tx.init(-1, -1, 5).await, Ok(producer(0, 2)));
}

#[tokio::test(start_paused = true)]
async fn markers_may_be_late() {
    let delay = Duration::from_millis(30);
    let mut tx = Tx::begin(in_memory().transaction_marker_delay(delay)).await;
    tx.send(0, 0, 12).await.unwrap();
    tx.own = tx.end(true, 5).await.unwrap();
    assert_eq!(tx.send(0, 0, 12).await, Err(ErrorCode::CONCURRENT_TRANSACTIONS));
    let began = Instant::now();
    let is_complete = |state| state == TransactionState::CompleteCommit;
    tx.cluster.transaction_is(ID, |transaction| is_complete(transaction.state)).await;
    assert_eq!(began.elapsed(), delay);
    assert_eq!(tx.send(0, 0, 12).await, Ok(2));
}
