//! How transactions end whose end takes long, and how producers are closed meanwhile (row 49 of the bug list).

use milena::broker::{ApiKey, Cluster, Fault, TransactionState};
use milena::{TransactionError, TransactionOperation, TransactionOutcome, TransactionalProducer};
use tokio::time::{Instant, timeout};

use super::stage::{VERSIONS, all_committed, cluster, producer, put, state, to};
use crate::support::SECOND;

const IMPATIENT: [(&str, &str); 2] = [("max.block.ms", "1000"), ("request.timeout.ms", "3000")];

/// Waits for the end of the transaction, as long as that takes.
async fn settled(
    producer: &mut TransactionalProducer,
) -> Result<Option<TransactionOutcome>, TransactionError> {
    loop {
        match producer.settle().await {
            Err(TransactionError::TimedOut(error)) => {
                assert_eq!(error.operation, TransactionOperation::Settle);
            }
            other => return other,
        }
    }
}

/// The commit takes longer than `max.block.ms`: that is all that is told, and the truth later.
#[tokio::test(start_paused = true)]
async fn a_commit_that_times_out_is_settled_by_its_true_outcome() {
    let end = ApiKey::END_TXN;
    for version in VERSIONS {
        for fault in [
            Fault::drop_response(end),
            Fault::delay_request(end, 2 * SECOND),
            Fault::delay_request(end, 10 * SECOND),
            Fault::delay_response(end, 10 * SECOND),
            Fault::close_before(end).times(20),
            Fault::close_after(end).times(20),
        ] {
            let cluster = cluster(version, |it| it).await;
            let mut producer = producer(&cluster, &IMPATIENT).await;
            cluster.inject(fault.clone());
            let transaction = producer.begin().await.unwrap();
            put(&transaction, "a", 0, "x").await;
            match transaction.commit().await {
                Err(TransactionError::TimedOut(error)) => {
                    assert_eq!(error.operation, TransactionOperation::Commit);
                    assert_eq!(error.waited, SECOND);
                }
                other => panic!("{fault:?}: {other:?}"),
            }
            let outcome = settled(&mut producer).await.unwrap();
            assert_eq!(outcome, Some(TransactionOutcome::Committed), "{fault:?}");
            assert_eq!(settled(&mut producer).await.unwrap(), outcome, "as often as asked");
            let transaction = producer.begin().await.unwrap();
            put(&transaction, "a", 0, "y").await;
            transaction.commit().await.unwrap();
            // Copies of the request that come late end nothing.
            tokio::time::sleep(20 * SECOND).await;
            assert_eq!(all_committed(&cluster, "a").await, ["x", "y"], "{version} {fault:?}");
        }
    }
}

/// The coordinator has aborted it meanwhile, since it took too long.
#[tokio::test(start_paused = true)]
async fn a_commit_that_comes_too_late_is_not_told_as_one() {
    for version in VERSIONS {
        let cluster = cluster(version, |it| it).await;
        let properties = [&IMPATIENT[..], &[("transaction.timeout.ms", "4000")]].concat();
        let mut producer = producer(&cluster, &properties).await;
        cluster.inject(Fault::close_before(ApiKey::END_TXN).always());
        let transaction = producer.begin().await.unwrap();
        put(&transaction, "a", 0, "x").await;
        let error = transaction.commit().await.unwrap_err();
        assert!(matches!(error, TransactionError::TimedOut(_)), "{error}");
        tokio::time::sleep(5 * SECOND).await;
        assert_eq!(state(&cluster), TransactionState::CompleteAbort);
        cluster.clear_faults();
        let error = settled(&mut producer).await.unwrap_err();
        assert!(matches!(error, TransactionError::Fatal(_)), "{error}");
        assert!(all_committed(&cluster, "a").await.is_empty());
    }
}

/// Brings a producer into a state, in which the coordinator is then silent.
async fn bring(cluster: &Cluster, to_state: &str) -> TransactionalProducer {
    let mut producer = producer(cluster, &IMPATIENT).await;
    let end = ApiKey::END_TXN;
    match to_state {
        "ready" => {}
        "aborting" => {
            cluster.inject(Fault::drop_response(end).always());
            let transaction = producer.begin().await.unwrap();
            transaction.send_and_wait(&to("a", 0, "void")).await.unwrap();
            drop(transaction);
        }
        "committing" => {
            cluster.inject(Fault::drop_response(end).always());
            let transaction = producer.begin().await.unwrap();
            transaction.send_and_wait(&to("a", 0, "x")).await.unwrap();
            transaction.commit().await.unwrap_err();
        }
        "waiting for batches" => {
            cluster.inject(Fault::drop_response(ApiKey::PRODUCE).always());
            let transaction = producer.begin().await.unwrap();
            put(&transaction, "a", 0, "x").await;
            transaction.commit().await.unwrap_err();
        }
        "raising the epoch" => {
            // Version 1 does after an unanswered request.
            cluster.inject(Fault::close_after(end));
            cluster.inject(Fault::drop_response(ApiKey::INIT_PRODUCER_ID).always());
            let transaction = producer.begin().await.unwrap();
            transaction.send_and_wait(&to("a", 0, "x")).await.unwrap();
            transaction.commit().await.unwrap();
        }
        "fatal" => {
            cluster.inject(Fault::error(end, milena::ErrorCode::PRODUCER_FENCED));
            let transaction = producer.begin().await.unwrap();
            transaction.send_and_wait(&to("a", 0, "void")).await.unwrap();
            transaction.commit().await.unwrap_err();
        }
        other => panic!("{other}"),
    }
    producer
}

const STATES: [&str; 6] =
    ["ready", "aborting", "committing", "waiting for batches", "raising the epoch", "fatal"];

/// Row 49: a close ends in its time, in whatever state, and does not wait for what it need not.
#[tokio::test(start_paused = true)]
async fn row_49_kafka_5503_a_close_ends_in_time_in_each_state() {
    for version in VERSIONS {
        for name in STATES {
            let cluster = cluster(version, |it| it).await;
            let producer = bring(&cluster, name).await;
            let began = Instant::now();
            let _ = producer.close(2 * SECOND).await;
            let took = began.elapsed();
            assert!(took <= 2 * SECOND, "{version} {name}: {took:?}");
            if ["ready", "raising the epoch", "fatal"].contains(&name) {
                assert!(took < SECOND, "{version} {name}: {took:?}");
            }
        }
    }
}

/// Once the coordinator answers again, a close waits for it and tells nothing wrong.
#[tokio::test(start_paused = true)]
async fn a_close_waits_for_the_end_of_the_transaction() {
    for version in VERSIONS {
        for name in STATES {
            let cluster = cluster(version, |it| it).await;
            let producer = bring(&cluster, name).await;
            cluster.clear_faults();
            let closed = timeout(60 * SECOND, producer.close(60 * SECOND)).await.expect("in time");
            assert!(closed.is_ok(), "{version} {name}: {closed:?}");
            let visible = match name {
                "committing" | "waiting for batches" | "raising the epoch" => 1,
                "fatal" => continue,
                _ => 0,
            };
            assert_eq!(all_committed(&cluster, "a").await.len(), visible, "{version} {name}");
        }
    }
}
