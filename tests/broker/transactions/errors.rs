//! T7: each class of error, end to end: what the broker says, and what the producer then can do.

use milena::broker::{ApiKey, Cluster, Fault, TransactionState};
use milena::{
    ConsumerGroupMetadata, DeliveryErrorKind, ErrorCode, OffsetAndMetadata, TransactionError,
    TransactionalProducer,
};

use super::stage::{VERSIONS, all_committed, cluster, producer, put, state, to, try_producer};
use crate::support::{SECOND, tp};

/// What an error code comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// The transaction commits all the same.
    Passes,
    /// It is aborted, and the next one commits.
    Aborts,
    /// The producer is of no more use.
    Ends,
}

use Class::{Aborts, Ends, Passes};
use ErrorCode as E;

/// For all requests to a coordinator.
const COMMON: [(ErrorCode, Class); 7] = [
    (E::COORDINATOR_LOAD_IN_PROGRESS, Passes),
    (E::COORDINATOR_NOT_AVAILABLE, Passes),
    (E::NOT_COORDINATOR, Passes),
    (E::CONCURRENT_TRANSACTIONS, Passes),
    (E::PRODUCER_FENCED, Ends),
    (E::INVALID_PRODUCER_EPOCH, Ends),
    (E::TRANSACTIONAL_ID_AUTHORIZATION_FAILED, Ends),
];

const OWN: [(ApiKey, &[(ErrorCode, Class)]); 5] = [
    (
        ApiKey::ADD_PARTITIONS_TO_TXN,
        &[
            (E::UNKNOWN_TOPIC_OR_PARTITION, Passes),
            (E::TOPIC_AUTHORIZATION_FAILED, Aborts),
            (E::TRANSACTION_ABORTABLE, Aborts),
            (E::INVALID_PRODUCER_ID_MAPPING, Aborts),
            (E::UNKNOWN_PRODUCER_ID, Aborts),
            (E::INVALID_TXN_STATE, Ends),
            (E::UNKNOWN_SERVER_ERROR, Ends),
        ],
    ),
    (
        ApiKey::ADD_OFFSETS_TO_TXN,
        &[
            (E::GROUP_AUTHORIZATION_FAILED, Aborts),
            (E::TRANSACTION_ABORTABLE, Aborts),
            (E::INVALID_TXN_STATE, Ends),
        ],
    ),
    (
        ApiKey::TXN_OFFSET_COMMIT,
        &[
            (E::REQUEST_TIMED_OUT, Passes),
            (E::UNKNOWN_TOPIC_OR_PARTITION, Passes),
            (E::GROUP_AUTHORIZATION_FAILED, Aborts),
            (E::ILLEGAL_GENERATION, Aborts),
            (E::UNKNOWN_MEMBER_ID, Aborts),
            (E::FENCED_INSTANCE_ID, Aborts),
            (E::STALE_MEMBER_EPOCH, Aborts),
            (E::OFFSET_METADATA_TOO_LARGE, Aborts),
            (E::TRANSACTION_ABORTABLE, Aborts),
            (E::UNSUPPORTED_FOR_MESSAGE_FORMAT, Ends),
        ],
    ),
    (
        ApiKey::END_TXN,
        &[
            (E::REQUEST_TIMED_OUT, Passes),
            (E::TRANSACTION_ABORTABLE, Aborts),
            (E::INVALID_TXN_STATE, Ends),
            (E::UNKNOWN_SERVER_ERROR, Ends),
        ],
    ),
    (ApiKey::FIND_COORDINATOR, &[]),
];

const PRODUCE: [(ErrorCode, Class); 16] = [
    (E::NOT_LEADER_OR_FOLLOWER, Passes),
    (E::NOT_ENOUGH_REPLICAS, Passes),
    (E::REQUEST_TIMED_OUT, Passes),
    (E::UNKNOWN_TOPIC_OR_PARTITION, Passes),
    (E::CONCURRENT_TRANSACTIONS, Passes),
    (E::INVALID_PRODUCER_EPOCH, Aborts),
    (E::OUT_OF_ORDER_SEQUENCE_NUMBER, Aborts),
    (E::UNKNOWN_PRODUCER_ID, Aborts),
    (E::INVALID_TXN_STATE, Aborts),
    (E::TRANSACTION_ABORTABLE, Aborts),
    (E::TOPIC_AUTHORIZATION_FAILED, Aborts),
    (E::MESSAGE_TOO_LARGE, Aborts),
    (E::UNKNOWN_SERVER_ERROR, Aborts),
    (E::PRODUCER_FENCED, Ends),
    (E::INVALID_PRODUCER_ID_MAPPING, Ends),
    (E::TRANSACTIONAL_ID_AUTHORIZATION_FAILED, Ends),
];

/// A transaction with a record and offsets.
async fn work(producer: &mut TransactionalProducer, value: &str) -> Result<(), TransactionError> {
    let transaction = producer.begin().await?;
    drop(transaction.send(&to("a", 0, value)).await);
    let offsets = [(tp("a", 0), OffsetAndMetadata::new(5))];
    let group = ConsumerGroupMetadata::no_member("g");
    // What went wrong with them the commit says too.
    let _ = transaction.send_offsets(&group, offsets).await;
    transaction.commit().await
}

async fn check(version: i16, api: ApiKey, code: ErrorCode, class: Class) {
    let context = format!("version {version}, {api} {code}");
    let cluster = cluster(version, |it| it).await;
    let mut producer = producer(&cluster, &[]).await;
    cluster.inject(Fault::error(api, code));
    let result = work(&mut producer, "first").await;
    assert_eq!(cluster.pending_faults(), 0, "{context}: it was met");
    match (class, result) {
        (Passes, Ok(())) => {}
        (Aborts, Err(TransactionError::Abortable(error))) => {
            assert_eq!(error.code(), Some(code), "{context}");
        }
        (Ends, Err(TransactionError::Fatal(error))) => {
            assert_eq!(error.code, code, "{context}");
            silent(&cluster, &mut producer, &context).await;
            return;
        }
        (_, result) => panic!("{context}: {result:?}"),
    }
    work(&mut producer, "second").await.unwrap_or_else(|error| panic!("{context}: {error}"));
    let visible = all_committed(&cluster, "a").await;
    let expected: &[&str] = if class == Passes { &["first", "second"] } else { &["second"] };
    assert_eq!(visible, expected, "{context}");
}

/// After a fatal error nothing is sent, whatever is tried.
async fn silent(cluster: &Cluster, producer: &mut TransactionalProducer, context: &str) {
    let apis = [
        ApiKey::FIND_COORDINATOR,
        ApiKey::INIT_PRODUCER_ID,
        ApiKey::ADD_PARTITIONS_TO_TXN,
        ApiKey::ADD_OFFSETS_TO_TXN,
        ApiKey::TXN_OFFSET_COMMIT,
        ApiKey::PRODUCE,
        ApiKey::END_TXN,
    ];
    let sum = || apis.iter().map(|&api| cluster.requests(api)).sum::<u64>();
    let before = sum();
    for _ in 0..2 {
        let error = work(producer, "never").await.unwrap_err();
        assert!(error.is_fatal(), "{context}: {error}");
        producer.settle().await.unwrap_err();
        tokio::time::sleep(60 * SECOND).await;
    }
    assert_eq!(sum(), before, "{context}: it is silent");
}

#[tokio::test(start_paused = true)]
async fn t7_each_code_of_each_request_is_of_its_class() {
    for version in VERSIONS {
        for (api, own) in OWN {
            let adds = [ApiKey::ADD_PARTITIONS_TO_TXN, ApiKey::ADD_OFFSETS_TO_TXN].contains(&api);
            if adds && version == 2 || api == ApiKey::FIND_COORDINATOR {
                continue;
            }
            for &(code, class) in COMMON.iter().chain(own) {
                check(version, api, code, class).await;
            }
        }
        for (code, class) in PRODUCE {
            check(version, ApiKey::PRODUCE, code, class).await;
        }
        // That of the group is the one that is looked for within the transaction.
        for (code, class) in
            [(E::COORDINATOR_NOT_AVAILABLE, Passes), (E::GROUP_AUTHORIZATION_FAILED, Aborts)]
        {
            check(version, ApiKey::FIND_COORDINATOR, code, class).await;
        }
    }
}

/// Initialising goes on after what passes, and says what does not.
#[tokio::test(start_paused = true)]
async fn t7_initialising() {
    for version in VERSIONS {
        for (api, code, fatal) in [
            (ApiKey::FIND_COORDINATOR, E::COORDINATOR_NOT_AVAILABLE, false),
            (ApiKey::FIND_COORDINATOR, E::TRANSACTIONAL_ID_AUTHORIZATION_FAILED, true),
            (ApiKey::INIT_PRODUCER_ID, E::NOT_COORDINATOR, false),
            (ApiKey::INIT_PRODUCER_ID, E::COORDINATOR_LOAD_IN_PROGRESS, false),
            (ApiKey::INIT_PRODUCER_ID, E::CONCURRENT_TRANSACTIONS, false),
            (ApiKey::INIT_PRODUCER_ID, E::REQUEST_TIMED_OUT, false),
            (ApiKey::INIT_PRODUCER_ID, E::TRANSACTIONAL_ID_AUTHORIZATION_FAILED, true),
            (ApiKey::INIT_PRODUCER_ID, E::CLUSTER_AUTHORIZATION_FAILED, true),
            (ApiKey::INIT_PRODUCER_ID, E::PRODUCER_FENCED, true),
        ] {
            let cluster = cluster(version, |it| it).await;
            cluster.inject(Fault::error(api, code).times(3));
            match try_producer(&cluster, &[]).await {
                Ok(mut producer) => {
                    assert!(!fatal, "{api} {code}");
                    work(&mut producer, "x").await.unwrap();
                }
                Err(TransactionError::Fatal(error)) => {
                    assert!(fatal && error.code == code, "{api} {code}: {error}");
                }
                Err(error) => panic!("{api} {code}: {error}"),
            }
        }
    }
}

/// The coordinator aborts what takes too long. Kafka's word for that is that the producer is fenced, since a newer epoch
/// than its own was used for it; with version 2 one that aborts, too, may go on.
#[tokio::test(start_paused = true)]
async fn t7_a_transaction_that_took_too_long_is_aborted_and_its_producer_fenced() {
    for version in VERSIONS {
        for sends in [false, true] {
            let cluster = cluster(version, |it| it).await;
            let properties = [("transaction.timeout.ms", "5000")];
            let mut producer = producer(&cluster, &properties).await;
            let transaction = producer.begin().await.unwrap();
            transaction.send_and_wait(&to("a", 0, "late")).await.unwrap();
            tokio::time::sleep(6 * SECOND).await;
            assert_eq!(state(&cluster), TransactionState::CompleteAbort);
            if sends {
                let error =
                    transaction.send(&to("a", 0, "later")).await.unwrap().await.unwrap_err();
                let told = matches!(
                    error.kind(),
                    DeliveryErrorKind::Refused(E::INVALID_PRODUCER_EPOCH)
                        | DeliveryErrorKind::Fatal(_)
                );
                assert!(told, "{error}");
                transaction.commit().await.unwrap_err();
            } else {
                let error = transaction.commit().await.unwrap_err();
                assert!(matches!(error, TransactionError::Fatal(_)), "{version}: {error}");
            }
            if sends && version == 2 {
                // It has asked for the abort that the coordinator made, and goes on in the next epoch.
                work(&mut producer, "next").await.unwrap();
                assert_eq!(all_committed(&cluster, "a").await, ["next"]);
                continue;
            }
            let error = producer.begin().await.unwrap_err();
            assert!(matches!(error, TransactionError::Fatal(_)), "{version}: {error}");
            assert!(all_committed(&cluster, "a").await.is_empty());
        }
    }
}

/// Within its time a transaction may take long.
#[tokio::test(start_paused = true)]
async fn a_slow_transaction_within_its_time() {
    for version in VERSIONS {
        let cluster = cluster(version, |it| it).await;
        let mut producer = producer(&cluster, &[]).await;
        let transaction = producer.begin().await.unwrap();
        // It begins at the coordinator with the first record.
        tokio::time::sleep(120 * SECOND).await;
        for value in ["x", "y"] {
            put(&transaction, "a", 0, value).await;
            tokio::time::sleep(25 * SECOND).await;
        }
        transaction.commit().await.unwrap();
        assert_eq!(all_committed(&cluster, "a").await, ["x", "y"]);
    }
}

/// Markers take their time: neither the commit nor the next transaction stands still for it.
#[tokio::test(start_paused = true)]
async fn markers_that_are_being_written_are_waited_for_in_milliseconds() {
    for version in VERSIONS {
        let delay = super::stage::MS(50);
        let cluster = cluster(version, |it| it.transaction_marker_delay(delay)).await;
        let mut producer = producer(&cluster, &[("retry.backoff.ms", "1000")]).await;
        for round in 0..5 {
            let began = tokio::time::Instant::now();
            work(&mut producer, &round.to_string()).await.unwrap();
            let took = began.elapsed();
            assert!(took < 2 * delay, "{version}, {round}: {took:?}");
        }
        tokio::time::sleep(SECOND).await;
        assert_eq!(all_committed(&cluster, "a").await.len(), 5);
    }
}
