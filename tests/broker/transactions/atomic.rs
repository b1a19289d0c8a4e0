//! T3: all of a transaction is visible or nothing, over partitions, topics and brokers, however it is ended.

use milena::broker::{ApiKey, Fault, TransactionState};
use milena::{DeliveryErrorKind, ErrorCode, ProducerRecord, TransactionError, TransactionOutcome};
use tokio::time::Instant;

use super::stage::{ID, MS, VERSIONS, all_committed, cluster, committed, producer, put, state, to};
use crate::support::{SECOND, values};

/// Many batches to five partitions of two topics on three brokers.
#[tokio::test(start_paused = true)]
async fn t3_all_or_nothing_over_partitions_topics_and_brokers() {
    for version in VERSIONS {
        let cluster = cluster(version, |it| it.nodes(3)).await;
        let mut producer = producer(&cluster, &[("batch.size", "200"), ("linger.ms", "1")]).await;
        let mut expected = vec![Vec::new(); 3];
        for round in 0..6 {
            let commits = round % 3 != 1;
            let transaction = producer.begin().await.unwrap();
            for number in 0..200 {
                let value = format!("{round}-{number:03}");
                let partition = number % 3;
                put(&transaction, "a", partition, &value).await;
                put(&transaction, "b", number % 2, &value).await;
                if commits {
                    expected[usize::try_from(partition).unwrap()].push(value);
                }
            }
            transaction.flush().await;
            for (topic, partitions) in [("a", 3), ("b", 2)] {
                for partition in 0..partitions {
                    let end = cluster.offsets(topic, partition).unwrap().end;
                    let decided = cluster.last_stable_offset(topic, partition).unwrap();
                    assert!(decided < end, "{topic}-{partition} shows what is not committed");
                }
            }
            if commits {
                transaction.commit().await.unwrap();
            } else {
                transaction.abort().await.unwrap();
            }
            assert_eq!(committed(&cluster, "a").await, expected, "{version}, round {round}");
        }
        let mut both = expected.concat();
        both.sort();
        assert_eq!(all_committed(&cluster, "b").await, both);
        assert!(cluster.batches("a", 0).len() > 40, "of many batches");
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_sends_what_lingers() {
    for version in VERSIONS {
        let cluster = cluster(version, |it| it).await;
        let linger = [("linger.ms", "600000"), ("delivery.timeout.ms", "700000")];
        let mut producer = producer(&cluster, &linger).await;
        let transaction = producer.begin().await.unwrap();
        let delivery = transaction.send(&to("a", 0, "x")).await.unwrap();
        tokio::time::sleep(10 * SECOND).await;
        assert_eq!(cluster.requests(ApiKey::PRODUCE), 0);
        let began = Instant::now();
        transaction.commit().await.unwrap();
        assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
        assert_eq!(delivery.await.unwrap().offset(), Some(0));
        // The next one lingers again (KAFKA-12870).
        let transaction = producer.begin().await.unwrap();
        let delivery = transaction.send(&to("a", 0, "y")).await.unwrap();
        tokio::time::sleep(10 * SECOND).await;
        assert_eq!(cluster.requests(ApiKey::PRODUCE), 1);
        // And an abort sends nothing.
        transaction.abort().await.unwrap();
        let error = delivery.await.unwrap_err();
        assert!(matches!(error.kind(), DeliveryErrorKind::Aborted), "{error}");
        assert_eq!(values(&cluster, "a", 0), ["x"]);
        assert_eq!(all_committed(&cluster, "a").await, ["x"]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_transaction_needs_no_request() {
    for version in VERSIONS {
        let cluster = cluster(version, |it| it).await;
        let mut producer = producer(&cluster, &[]).await;
        assert_eq!(producer.settle().await.unwrap(), None);
        for _ in 0..3 {
            producer.begin().await.unwrap().commit().await.unwrap();
            assert_eq!(producer.settle().await.unwrap(), Some(TransactionOutcome::Committed));
            producer.begin().await.unwrap().abort().await.unwrap();
            assert_eq!(producer.settle().await.unwrap(), Some(TransactionOutcome::Aborted));
            drop(producer.begin().await.unwrap());
        }
        assert_eq!(cluster.requests(ApiKey::END_TXN), 0);
        assert_eq!(cluster.requests(ApiKey::INIT_PRODUCER_ID), 1);
        let transaction = producer.begin().await.unwrap();
        put(&transaction, "a", 0, "x").await;
        transaction.commit().await.unwrap();
        assert_eq!(all_committed(&cluster, "a").await, ["x"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_guard_that_is_dropped_aborts_and_the_next_begin_waits_for_that() {
    for version in VERSIONS {
        let cluster = cluster(version, |it| it).await;
        let mut producer = producer(&cluster, &[]).await;
        let transaction = producer.begin().await.unwrap();
        let written = transaction.send(&to("a", 0, "void")).await.unwrap();
        written.await.unwrap();
        let unsent = transaction.send(&to("a", 1, "void")).await.unwrap();
        cluster.inject(Fault::delay_response(ApiKey::END_TXN, 5 * SECOND));
        drop(transaction);
        let began = Instant::now();
        let transaction = producer.begin().await.unwrap();
        assert!(began.elapsed() >= 5 * SECOND, "{:?}", began.elapsed());
        unsent.await.unwrap_err();
        put(&transaction, "a", 0, "x").await;
        transaction.commit().await.unwrap();
        assert_eq!(all_committed(&cluster, "a").await, ["x"]);
    }
}

/// The task ends what is open when nobody holds the producer any more.
#[tokio::test(start_paused = true)]
async fn a_producer_that_is_dropped_aborts_what_was_open() {
    for version in VERSIONS {
        let cluster = cluster(version, |it| it).await;
        let mut producer = producer(&cluster, &[]).await;
        let transaction = producer.begin().await.unwrap();
        transaction.send_and_wait(&to("a", 0, "void")).await.unwrap();
        drop(transaction);
        drop(producer);
        let began = Instant::now();
        let ended = |it: &milena::broker::TransactionDescription| {
            it.state == TransactionState::CompleteAbort
        };
        cluster.transaction_is(ID, ended).await;
        assert!(began.elapsed() < SECOND, "not by its time-out");
        assert!(all_committed(&cluster, "a").await.is_empty());
    }
}

/// A batch that is too large for the broker goes in halves, within the transaction.
#[tokio::test(start_paused = true)]
async fn a_batch_that_is_split_stays_in_its_transaction() {
    for version in VERSIONS {
        let cluster = cluster(version, |it| it.topic_config("max.message.bytes", "500")).await;
        let mut producer = producer(&cluster, &[("linger.ms", "1000")]).await;
        let value = "x".repeat(100);
        let mut expected = Vec::new();
        for commits in [true, false, true] {
            let transaction = producer.begin().await.unwrap();
            for number in 10..40 {
                let value = format!("{number}{value}");
                put(&transaction, "a", 0, &value).await;
                expected.extend(commits.then_some(value));
            }
            if commits {
                transaction.commit().await.unwrap();
            } else {
                transaction.flush().await;
                transaction.abort().await.unwrap();
            }
        }
        assert_eq!(committed(&cluster, "a").await[0], expected, "{version}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_comes_into_being_within_a_transaction() {
    for version in VERSIONS {
        let cluster = cluster(version, |it| it.default_partitions(3)).await;
        let mut producer = producer(&cluster, &[]).await;
        for (name, commits) in [("new", true), ("newer", false)] {
            let transaction = producer.begin().await.unwrap();
            transaction.send_and_wait(&to("a", 0, name)).await.unwrap();
            for partition in 0..3 {
                put(&transaction, name, partition, "x").await;
            }
            if commits {
                transaction.commit().await.unwrap()
            } else {
                transaction.flush().await;
                transaction.abort().await.unwrap()
            }
            let count = if commits { 3 } else { 0 };
            assert_eq!(all_committed(&cluster, name).await.len(), count);
        }
        assert_eq!(all_committed(&cluster, "a").await, ["new"]);
    }
}

/// Hundreds of sends at a time, of which some wait for memory.
#[tokio::test(start_paused = true)]
async fn many_sends_at_a_time() {
    for version in VERSIONS {
        let cluster = cluster(version, |it| it.nodes(3)).await;
        let small = [("buffer.memory", "2000"), ("batch.size", "200"), ("linger.ms", "0")];
        let mut producer = producer(&cluster, &small).await;
        let texts: Vec<String> = (0..300).map(|number| format!("{number:03}")).collect();
        for commits in [false, true] {
            let transaction = producer.begin().await.unwrap();
            let sends = texts.iter().enumerate().map(|(number, text)| {
                let record = to("a", i32::try_from(number % 3).unwrap(), text);
                let transaction = &transaction;
                async move { transaction.send_and_wait(&record).await }
            });
            for sent in futures_util::future::join_all(sends).await {
                sent.unwrap();
            }
            if commits {
                transaction.commit().await.unwrap();
            } else {
                transaction.abort().await.unwrap();
            }
        }
        assert_eq!(all_committed(&cluster, "a").await, texts);
    }
}

/// One record that is not delivered dooms the rest: nothing more is taken, sent or committed, and all memory comes back.
#[tokio::test(start_paused = true)]
async fn when_all_is_doomed_nothing_is_held() {
    for version in VERSIONS {
        let cluster = cluster(version, |it| it).await;
        let small = [("buffer.memory", "2000"), ("batch.size", "200"), ("linger.ms", "0")];
        let mut producer = producer(&cluster, &small).await;
        let transaction = producer.begin().await.unwrap();
        let refusal = Fault::error(ApiKey::PRODUCE, ErrorCode::INVALID_RECORD);
        cluster.inject(refusal.on_partition("a", 0));
        let texts: Vec<String> = (0..300).map(|number| format!("{number:03}")).collect();
        let sends = texts.iter().enumerate().map(|(number, text)| {
            let record = to("a", i32::try_from(number % 3).unwrap(), text);
            let transaction = &transaction;
            async move { transaction.send_and_wait(&record).await }
        });
        let ends = tokio::time::timeout(10 * SECOND, futures_util::future::join_all(sends)).await;
        let failed = ends.expect("in time").iter().filter(|end| end.is_err()).count();
        assert!(failed > 250, "{failed}");
        let TransactionError::Abortable(error) = transaction.commit().await.unwrap_err() else {
            panic!("of another class");
        };
        assert_eq!(error.code(), Some(ErrorCode::INVALID_RECORD));
        let transaction = producer.begin().await.unwrap();
        // All of the memory can be had again.
        let large = "x".repeat(1500);
        drop(transaction.send(&ProducerRecord::new("b", &large)).await.unwrap());
        tokio::time::timeout(MS(100), transaction.commit()).await.expect("soon").unwrap();
        assert_eq!(all_committed(&cluster, "b").await, [large]);
        assert!(all_committed(&cluster, "a").await.is_empty());
        assert_eq!(state(&cluster), TransactionState::CompleteCommit);
    }
}
