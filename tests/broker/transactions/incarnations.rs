//! T1 and T2: producers with one `transactional.id` come one after the other.

use milena::broker::{ApiKey, TransactionState};
use milena::{ErrorCode, SendError, TransactionError};

use super::stage::{ID, VERSIONS, all_committed, cluster, producer, put, state, to};
use crate::support::values;

/// A fenced producer is told so in one of these ways.
fn is_fenced(error: &TransactionError) -> bool {
    let codes = [ErrorCode::PRODUCER_FENCED, ErrorCode::INVALID_PRODUCER_EPOCH];
    matches!(error, TransactionError::Fatal(error) if codes.contains(&error.code))
}

#[tokio::test(start_paused = true)]
async fn t1_the_next_one_keeps_the_id_and_raises_the_epoch() {
    for version in VERSIONS {
        let cluster = cluster(version, |it| it).await;
        let mut last = None;
        for round in 0..3 {
            let mut one = producer(&cluster, &[]).await;
            let identity = cluster.transaction(ID).unwrap().producer;
            assert!(last.is_none_or(|(id, epoch)| id == identity.id && epoch < identity.epoch));
            let transaction = one.begin().await.unwrap();
            put(&transaction, "a", 0, &round.to_string()).await;
            transaction.commit().await.unwrap();
            last = cluster.transaction(ID).map(|now| (now.producer.id, now.producer.epoch));
        }
        assert_eq!(all_committed(&cluster, "a").await, ["0", "1", "2"]);
    }
}

/// A producer crashed amid a transaction: the next one has it aborted before it begins.
#[tokio::test(start_paused = true)]
async fn t1_what_an_earlier_one_left_open_is_aborted() {
    for version in VERSIONS {
        let cluster = cluster(version, |it| it.nodes(3)).await;
        let mut crashed = producer(&cluster, &[]).await;
        let left = crashed.begin().await.unwrap();
        for partition in 0..3 {
            left.send_and_wait(&to("a", partition, "void")).await.unwrap();
        }
        assert_eq!(state(&cluster), TransactionState::Ongoing);
        let mut next = producer(&cluster, &[]).await;
        assert_eq!(state(&cluster), TransactionState::Empty);
        let transaction = next.begin().await.unwrap();
        put(&transaction, "a", 1, "next").await;
        transaction.commit().await.unwrap();
        assert_eq!(all_committed(&cluster, "a").await, ["next"]);
        assert!(is_fenced(&left.commit().await.unwrap_err()));
        assert_eq!(all_committed(&cluster, "a").await, ["next"]);
    }
}

/// A zombie, whatever it was about to do: it is told that it is fenced, writes nothing that counts, and goes silent.
#[tokio::test(start_paused = true)]
async fn t2_a_zombie_is_fenced() {
    for version in VERSIONS {
        for does in ["sends", "commits", "aborts", "begins"] {
            let cluster = cluster(version, |it| it).await;
            let mut zombie = producer(&cluster, &[]).await;
            let transaction = zombie.begin().await.unwrap();
            transaction.send_and_wait(&to("a", 0, "before")).await.unwrap();
            if does == "begins" {
                transaction.commit().await.unwrap();
                let transaction = zombie.begin().await.unwrap();
                let mut other = producer(&cluster, &[]).await;
                put(&transaction, "a", 0, "zombie").await;
                transaction.commit().await.unwrap_err();
                other.begin().await.unwrap().commit().await.unwrap();
            } else {
                let _other = producer(&cluster, &[]).await;
                match does {
                    "sends" => {
                        transaction.send_and_wait(&to("a", 0, "zombie")).await.unwrap_err();
                        let error = transaction.send(&to("a", 1, "zombie")).await.unwrap_err();
                        assert!(matches!(error, SendError::Transaction(_) | SendError::Fatal(_)));
                        transaction.commit().await.unwrap_err();
                    }
                    "commits" => assert!(is_fenced(&transaction.commit().await.unwrap_err())),
                    _ => assert!(is_fenced(&transaction.abort().await.unwrap_err())),
                }
            }
            let error = zombie.begin().await.unwrap_err();
            assert!(is_fenced(&error), "{version} {does}: {error}");
            let stored = values(&cluster, "a", 0);
            assert_eq!(stored, ["before"], "{version} {does}");
            let requests = cluster.requests(ApiKey::PRODUCE) + cluster.requests(ApiKey::END_TXN);
            assert!(is_fenced(&zombie.settle().await.unwrap_err()));
            zombie.begin().await.unwrap_err();
            let later = cluster.requests(ApiKey::PRODUCE) + cluster.requests(ApiKey::END_TXN);
            assert_eq!(requests, later, "it is silent");
            let visible = all_committed(&cluster, "a").await;
            assert_eq!(visible.is_empty(), does != "begins", "{visible:?}");
        }
    }
}
