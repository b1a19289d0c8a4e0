//! Rows 33 to 47: transactions. Rows 43, 44 and 47 are held by the pure tests in `producer::txn` as well; row 46 is in
//! `transactions::old_brokers`, row 48 in `transactions::moves`, row 49 in `transactions::endings`.

use milena::broker::{ApiKey, Cluster, Fault, TransactionState};
use milena::{
    ConsumerGroupMetadata, DeliveryErrorKind, ErrorCode, OffsetAndMetadata, ProducerRecord,
    SendError, Transaction, TransactionError, TransactionalProducer,
};

use crate::support::{SECOND, tp, values};
use crate::transactions::stage::{
    ID, MS, VERSIONS, all_committed, cluster, producer, put, state, to, try_producer,
};

async fn offsets(transaction: &Transaction<'_>, offset: i64) -> Result<(), TransactionError> {
    let offsets = [(tp("b", 0), OffsetAndMetadata::new(offset))];
    transaction.send_offsets(&ConsumerGroupMetadata::no_member("g"), offsets).await
}

/// A transaction of one record.
async fn write(producer: &mut TransactionalProducer, value: &str) -> Result<(), TransactionError> {
    let transaction = producer.begin().await?;
    drop(transaction.send(&to("a", 0, value)).await);
    transaction.commit().await
}

fn abortable(result: Result<(), TransactionError>, context: &str) {
    assert!(matches!(result, Err(TransactionError::Abortable(_))), "{context}: {result:?}");
}

const QUICK: [(&str, &str); 3] = [
    ("request.timeout.ms", "1000"),
    ("delivery.timeout.ms", "20000"),
    ("transaction.timeout.ms", "600000"),
];

/// A request was delayed in the network, asked again and answered; then it arrived, in the middle of a later transaction: it
/// joined or ended that one.
#[tokio::test(start_paused = true)]
async fn row_33_kafka_14402_a_delayed_request_meets_no_later_transaction() {
    for version in VERSIONS {
        for api in [
            ApiKey::PRODUCE,
            ApiKey::ADD_PARTITIONS_TO_TXN,
            ApiKey::ADD_OFFSETS_TO_TXN,
            ApiKey::TXN_OFFSET_COMMIT,
            ApiKey::END_TXN,
        ] {
            for commits in [true, false] {
                let context = format!("version {version}, {api}, {commits}");
                let cluster = cluster(version, |it| it).await;
                let mut producer = producer(&cluster, &QUICK).await;
                write(&mut producer, "first").await.unwrap();
                cluster.inject(Fault::delay_request(api, 30 * SECOND));
                let transaction = producer.begin().await.unwrap();
                put(&transaction, "a", 0, "second").await;
                offsets(&transaction, 1).await.unwrap();
                transaction.flush().await;
                if commits {
                    transaction.commit().await.unwrap();
                } else {
                    transaction.abort().await.unwrap();
                }
                let transaction = producer.begin().await.unwrap();
                transaction.send_and_wait(&to("a", 0, "third")).await.unwrap();
                offsets(&transaction, 2).await.unwrap();
                tokio::time::sleep(60 * SECOND).await;
                assert_eq!(state(&cluster), TransactionState::Ongoing, "{context}");
                transaction.send_and_wait(&to("a", 0, "fourth")).await.unwrap();
                transaction.commit().await.unwrap_or_else(|error| panic!("{context}: {error}"));
                let (all, visible): (&[_], &[_]) = if commits {
                    (
                        &["first", "second", "third", "fourth"],
                        &["first", "fourth", "second", "third"],
                    )
                } else {
                    (&["first", "second", "third", "fourth"], &["first", "fourth", "third"])
                };
                assert_eq!(values(&cluster, "a", 0), all, "{context}");
                assert_eq!(all_committed(&cluster, "a").await, visible, "{context}");
                assert_eq!(cluster.group("g").unwrap().offsets[&tp("b", 0)].offset, 2, "{context}");
            }
        }
    }
}

/// A batch expired while its request was still on the way: it arrived behind the marker of the abort.
#[tokio::test(start_paused = true)]
async fn row_34_kafka_14053_a_batch_that_expired_does_not_land_behind_the_marker() {
    let expires = [("delivery.timeout.ms", "1000"), ("linger.ms", "0")];
    for version in VERSIONS {
        let cluster = cluster(version, |it| it).await;
        let properties = [&QUICK[..], &expires].concat();
        let mut producer = producer(&cluster, &properties).await;
        write(&mut producer, "first").await.unwrap();
        cluster.inject(Fault::delay_request(ApiKey::PRODUCE, 30 * SECOND));
        abortable(write(&mut producer, "second").await, "it expired");
        let transaction = producer.begin().await.unwrap();
        transaction.send_and_wait(&to("a", 0, "third")).await.unwrap();
        tokio::time::sleep(60 * SECOND).await;
        transaction.commit().await.unwrap();
        assert_eq!(values(&cluster, "a", 0), ["first", "third"], "{version}");
        assert_eq!(all_committed(&cluster, "a").await, ["first", "third"], "{version}");
    }
}

/// A number out of order had the producer initialised amid the transaction, which began another one without a word: the
/// commit was of its second half.
#[tokio::test(start_paused = true)]
async fn row_35_librdkafka_3575_a_number_out_of_order_does_not_halve_a_transaction() {
    for version in VERSIONS {
        for code in [ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, ErrorCode::UNKNOWN_PRODUCER_ID] {
            let cluster = cluster(version, |it| it).await;
            let mut producer = producer(&cluster, &[]).await;
            let transaction = producer.begin().await.unwrap();
            transaction.send_and_wait(&to("a", 0, "half")).await.unwrap();
            cluster.inject(Fault::error(ApiKey::PRODUCE, code));
            transaction.send_and_wait(&to("a", 0, "refused")).await.unwrap_err();
            let error = transaction.send(&to("a", 0, "late")).await.unwrap_err();
            assert!(matches!(error, SendError::Transaction(_)), "{error}");
            assert_eq!(cluster.requests(ApiKey::INIT_PRODUCER_ID), 1, "not before its end");
            abortable(transaction.commit().await, "half of it is missing");
            write(&mut producer, "whole").await.unwrap();
            assert_eq!(all_committed(&cluster, "a").await, ["whole"], "{version} {code}");
        }
    }
}

/// The error of an EndTxn was not passed on, or taken for a commit: offsets went on without the records.
#[tokio::test(start_paused = true)]
async fn row_36_and_38_librdkafka_franz_go_a_refused_end_is_no_commit() {
    for version in VERSIONS {
        let codes = ErrorCode::ALL.iter().copied().chain([ErrorCode::new(9_999)]);
        for code in codes.filter(|code| !code.is_ok()) {
            let cluster = cluster(version, |it| it).await;
            let mut producer = producer(&cluster, &[("max.block.ms", "5000")]).await;
            cluster.inject(Fault::error(ApiKey::END_TXN, code).times(2));
            let transaction = producer.begin().await.unwrap();
            put(&transaction, "a", 0, "x").await;
            offsets(&transaction, 1).await.unwrap();
            let result = transaction.commit().await;
            drop(producer);
            // Whatever was told, it holds when a successor has ended what was left.
            try_producer(&cluster, &[]).await.unwrap();
            let visible = all_committed(&cluster, "a").await.len();
            let stored = cluster.group("g").is_some_and(|group| !group.offsets.is_empty());
            assert_eq!(stored, visible == 1, "{version} {code}");
            match result {
                Ok(()) => assert!(visible == 1 && code.is_retriable(), "{version} {code}"),
                Err(TransactionError::Abortable(_) | TransactionError::Fatal(_)) => {
                    assert_eq!(visible, 0, "{version} {code}");
                }
                Err(error) => panic!("{version} {code}: {error}"),
            }
        }
    }
}

/// The cluster was gone before any partition was part of the transaction: its records timed out, and the commit was told to
/// have been one.
#[tokio::test(start_paused = true)]
async fn row_37_librdkafka_records_that_time_out_are_not_committed() {
    for version in VERSIONS {
        let cluster = cluster(version, |it| it.nodes(3)).await;
        let expires = [("delivery.timeout.ms", "3000"), ("request.timeout.ms", "1000")];
        let mut producer = producer(&cluster, &expires).await;
        write(&mut producer, "first").await.unwrap();
        let transaction = producer.begin().await.unwrap();
        for node in cluster.nodes() {
            cluster.stop_node(node).await.unwrap();
        }
        let delivery = transaction.send(&to("a", 0, "lost")).await.unwrap();
        abortable(transaction.commit().await, "it was not delivered");
        let error = delivery.await.unwrap_err();
        assert!(matches!(error.kind(), DeliveryErrorKind::TimedOut { .. }), "{error}");
        for node in cluster.nodes() {
            cluster.restart_node(node).await.unwrap();
        }
        write(&mut producer, "second").await.unwrap();
        assert_eq!(all_committed(&cluster, "a").await, ["first", "second"], "{version}");
    }
}

/// The partitioner moved on when a batch was full, and the partition that was added was another than the one that was
/// written to. Brokers refuse what was not added.
#[tokio::test(start_paused = true)]
async fn row_39_kafka_13782_only_what_was_added_is_written_to() {
    let cluster = cluster(1, |it| it.nodes(3)).await;
    let mut producer = producer(&cluster, &[("batch.size", "100"), ("linger.ms", "0")]).await;
    let mut expected = Vec::new();
    for round in 0..12 {
        let transaction = producer.begin().await.unwrap();
        for number in 0..round * 3 {
            let value = format!("{round:02} {number:02}");
            drop(transaction.send(&ProducerRecord::new("a", &value)).await.unwrap());
            expected.extend((round % 2 == 0).then_some(value));
        }
        if round % 2 == 0 {
            transaction.commit().await.unwrap();
        } else {
            transaction.abort().await.unwrap();
        }
    }
    assert_eq!(all_committed(&cluster, "a").await, expected);
}

/// Calls blocked for ever, or could not be made again after a time-out.
#[tokio::test(start_paused = true)]
async fn row_40_kafka_13412_each_call_times_out_and_can_be_made_again() {
    let impatient = [("max.block.ms", "1000"), ("request.timeout.ms", "3000")];
    let timed_out = |result: Result<(), TransactionError>| {
        assert!(matches!(result, Err(TransactionError::TimedOut(_))), "{result:?}");
    };
    for version in VERSIONS {
        let cluster = cluster(version, |it| it).await;
        let silence = |api| cluster.inject(Fault::drop_response(api));
        silence(ApiKey::INIT_PRODUCER_ID);
        timed_out(try_producer(&cluster, &impatient).await.map(drop));
        let mut producer = producer(&cluster, &impatient).await;
        silence(ApiKey::END_TXN);
        let transaction = producer.begin().await.unwrap();
        transaction.send_and_wait(&to("a", 0, "void")).await.unwrap();
        timed_out(transaction.abort().await);
        timed_out(producer.begin().await.map(drop));
        let mut tries = 0;
        let transaction = loop {
            tries += 1;
            assert!(tries < 10, "it never begins");
            // A guard would keep the producer borrowed beyond the loop.
            if producer.settle().await.is_ok() {
                break producer.begin().await.unwrap();
            }
        };
        silence(ApiKey::TXN_OFFSET_COMMIT);
        put(&transaction, "a", 0, "x").await;
        timed_out(offsets(&transaction, 1).await);
        silence(ApiKey::END_TXN);
        timed_out(transaction.commit().await);
        while producer.settle().await.is_err() {
            tries += 1;
            assert!(tries < 20, "it never ends");
        }
        write(&mut producer, "y").await.unwrap();
        assert_eq!(all_committed(&cluster, "a").await, ["x", "y"], "{version}");
        assert_eq!(cluster.group("g").unwrap().offsets[&tp("b", 0)].offset, 1);
    }
}

/// A record that was too large was refused at once, and the rest committed without it; and a commit of nothing failed.
#[tokio::test(start_paused = true)]
async fn row_41_kafka_9279_a_record_that_was_refused_fails_the_commit() {
    for version in VERSIONS {
        let cluster = cluster(version, |it| it).await;
        let small = [("max.request.size", "1000"), ("batch.size", "1000")];
        let mut producer = producer(&cluster, &small).await;
        let large = "x".repeat(2000);
        for before in [false, true] {
            let transaction = producer.begin().await.unwrap();
            if before {
                transaction.send_and_wait(&to("a", 0, "before")).await.unwrap();
            }
            transaction.send(&to("a", 0, &large)).await.unwrap_err();
            let refused = transaction.send(&to("a", 0, "after")).await.unwrap_err();
            assert!(matches!(refused, SendError::Transaction(_)), "{refused}");
            abortable(transaction.commit().await, "a record is missing");
            producer.begin().await.unwrap().commit().await.unwrap();
        }
        assert!(all_committed(&cluster, "a").await.is_empty());
    }
}

/// What an abort found waiting was sent after it.
#[tokio::test(start_paused = true)]
async fn row_42_kafka_5251_nothing_is_sent_after_an_abort() {
    for version in VERSIONS {
        let cluster = cluster(version, |it| it).await;
        let mut producer = producer(&cluster, &[("linger.ms", "0")]).await;
        producer_knows(&mut producer).await;
        cluster.inject(Fault::delay_response(ApiKey::ADD_PARTITIONS_TO_TXN, SECOND));
        cluster.inject(Fault::delay_response(ApiKey::PRODUCE, SECOND));
        let transaction = producer.begin().await.unwrap();
        // The first is on its way; the others wait for it, or for their partition.
        let last = if version == 1 { 1 } else { 0 };
        for partition in [0, 0, 0, last] {
            put(&transaction, "a", partition, "void").await;
            tokio::time::sleep(MS(5)).await;
        }
        let produced = cluster.requests(ApiKey::PRODUCE);
        let added = cluster.requests(ApiKey::ADD_PARTITIONS_TO_TXN);
        transaction.abort().await.unwrap();
        tokio::time::sleep(60 * SECOND).await;
        assert_eq!(cluster.requests(ApiKey::PRODUCE), produced, "{version}");
        assert_eq!(cluster.requests(ApiKey::ADD_PARTITIONS_TO_TXN), added, "{version}");
        assert_eq!(cluster.requests(ApiKey::END_TXN), 1);
        assert!(all_committed(&cluster, "a").await.is_empty());
        write(&mut producer, "next").await.unwrap();
        assert_eq!(all_committed(&cluster, "a").await, ["next"]);
    }
}

async fn producer_knows(producer: &mut TransactionalProducer) {
    producer.partitions_for("a").await.unwrap();
}

/// Epochs come to their end: the next id comes with the answer to EndTxn, or to InitProducerId.
#[tokio::test(start_paused = true)]
async fn row_45_kafka_19367_epochs_that_are_used_up() {
    for version in VERSIONS {
        for restarts in [false, true] {
            let build = |it: milena::broker::ClusterBuilder| it.first_producer_epoch(32_755);
            let cluster: Cluster = cluster(version, build).await;
            let mut writer = producer(&cluster, &[]).await;
            let first = cluster.transaction(ID).unwrap().producer;
            let mut expected = Vec::new();
            for round in 10..40 {
                let value = round.to_string();
                let transaction = writer.begin().await.unwrap();
                transaction.send_and_wait(&to("a", 0, &value)).await.unwrap();
                if round % 3 == 0 {
                    transaction.abort().await.unwrap();
                } else {
                    transaction.commit().await.unwrap();
                    expected.push(value);
                }
                // An empty one, too.
                writer.begin().await.unwrap().abort().await.unwrap();
                if restarts {
                    writer = producer(&cluster, &[]).await;
                }
            }
            assert_eq!(all_committed(&cluster, "a").await, expected, "{version} {restarts}");
            let last = cluster.transaction(ID).unwrap().producer;
            assert_eq!(last.id != first.id, version == 2 || restarts, "{version} {last:?}");
        }
    }
}
