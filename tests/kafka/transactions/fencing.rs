//! Two producers with one `transactional.id`, of ours and of Java's: the newer one ends what the elder has open, and the
//! elder is told so. And transactions that take too long, or would be allowed to.

use milena::{ErrorCode, ProducerRecord, TransactionError, TransactionalProducer};

use crate::in_process_transactions::{COMMITTED, UNCOMMITTED, read, stable_end, values};
use crate::oracle::Step;
use crate::ours;
use crate::runner::Kafka;
use crate::samples::numbered;

tests![
    ours_is_fenced_by_ours,
    ours_is_fenced_by_java,
    java_is_fenced_by_ours,
    a_transaction_that_takes_too_long_is_aborted,
    a_timeout_that_is_too_long_is_refused,
];

/// What brokers say to one that was fenced.
fn fenced(error: &TransactionError) -> bool {
    let codes = [ErrorCode::PRODUCER_FENCED, ErrorCode::INVALID_PRODUCER_EPOCH];
    matches!(error, TransactionError::Fatal(error) if codes.contains(&error.code))
}

/// A broker that refuses a record for its epoch does not say whether the producer is fenced. The abort that this calls for
/// finds out.
async fn ends_fenced(producer: &mut TransactionalProducer, told: TransactionError) {
    assert!(told.is_abortable() || fenced(&told), "{told}");
    let refused = producer.begin().await.map(drop).unwrap_err();
    assert!(fenced(&refused), "{refused}, after {told}");
}

async fn ours_is_fenced_by_ours(kafka: Kafka) {
    let cluster = kafka.shared().await;
    let bootstrap = &cluster.bootstrap();
    let (topic, id) = (kafka.topic(cluster, "fenced", 1).await, kafka.fresh("fenced"));
    let record = |text| ProducerRecord::new(&topic, text);
    let mut elder = ours::transactional(bootstrap, &id, &[]).await.unwrap();
    let open = elder.begin().await.unwrap();
    open.send_and_wait(&record("elder")).await.unwrap();

    let mut younger = ours::transactional(bootstrap, &id, &[]).await.unwrap();
    let transaction = younger.begin().await.unwrap();
    drop(transaction.send(&record("younger")).await.unwrap());
    let refused = open.commit().await.unwrap_err();
    assert!(fenced(&refused), "{refused}");
    let refused = elder.begin().await.map(drop).unwrap_err();
    assert!(fenced(&refused), "{refused}");
    transaction.commit().await.unwrap();

    // One that finds out by a record that it sends.
    let mut youngest = ours::transactional(bootstrap, &id, &[]).await.unwrap();
    let transaction = younger.begin().await.unwrap();
    transaction.send_and_wait(&record("too late")).await.unwrap_err();
    let told = transaction.commit().await.unwrap_err();
    ends_fenced(&mut younger, told).await;
    let transaction = youngest.begin().await.unwrap();
    drop(transaction.send(&record("youngest")).await.unwrap());
    transaction.commit().await.unwrap();
    ours::close_transactional(youngest).await;

    stable_end(&kafka, bootstrap, (&topic, 0)).await;
    let seen = read(&kafka, bootstrap, (&topic, 0), COMMITTED).await;
    assert_eq!(values(&seen), ["younger", "youngest"]);
}

async fn ours_is_fenced_by_java(kafka: Kafka) {
    let cluster = kafka.shared().await;
    let (bootstrap, oracle) = (&cluster.bootstrap(), kafka.oracle());
    let (topic, id) = (kafka.topic(cluster, "by-java", 1).await, kafka.fresh("by-java"));
    let mut elder = ours::transactional(bootstrap, &id, &[]).await.unwrap();
    let open = elder.begin().await.unwrap();
    open.send_and_wait(&ProducerRecord::new(&topic, "ours")).await.unwrap();

    let java = numbered(0, 1);
    let steps = [Step::Begin(&id), Step::Send(Some(&id), &java), Step::Commit(&id)];
    oracle.run_script(bootstrap, &topic, &steps, &[]).await.unwrap();

    let sent = open.send_and_wait(&ProducerRecord::new(&topic, "too late")).await;
    assert!(sent.is_err(), "{sent:?}");
    let told = open.commit().await.unwrap_err();
    ends_fenced(&mut elder, told).await;
    oracle.run_script(bootstrap, &topic, &[Step::Close(&id)], &[]).await.unwrap();
    stable_end(&kafka, bootstrap, (&topic, 0)).await;
    let seen = read(&kafka, bootstrap, (&topic, 0), COMMITTED).await;
    assert_eq!(values(&seen), ["record 1"]);
}

async fn java_is_fenced_by_ours(kafka: Kafka) {
    let cluster = kafka.shared().await;
    let (bootstrap, oracle) = (&cluster.bootstrap(), kafka.oracle());
    let (topic, id) = (kafka.topic(cluster, "java", 1).await, kafka.fresh("java"));
    let record = numbered(0, 1);
    let steps = [Step::Begin(&id), Step::Send(Some(&id), &record)];
    oracle.run_script(bootstrap, &topic, &steps, &[]).await.unwrap();

    let mut ours = ours::transactional(bootstrap, &id, &[]).await.unwrap();
    let transaction = ours.begin().await.unwrap();
    drop(transaction.send(&ProducerRecord::new(&topic, "ours")).await.unwrap());
    let refused = oracle.run_script(bootstrap, &topic, &[Step::Commit(&id)], &[]).await;
    let refused = refused.unwrap_err();
    assert!(refused.says("ProducerFenced") || refused.says("InvalidProducerEpoch"), "{refused}");
    transaction.commit().await.unwrap();
    ours::close_transactional(ours).await;

    stable_end(&kafka, bootstrap, (&topic, 0)).await;
    assert_eq!(values(&read(&kafka, bootstrap, (&topic, 0), COMMITTED).await), ["ours"]);
}

/// The broker has aborted it, and says so to whoever goes on with it, each in another way. By the first version of
/// transactions the producer is fenced by that. By the second it goes on after an abort.
async fn a_transaction_that_takes_too_long_is_aborted(kafka: Kafka) {
    const WAYS: [&str; 3] = ["commit", "send", "abort"];
    let second = kafka.release().at_least(4, 0);
    let cluster = kafka.shared().await;
    let bootstrap = &cluster.bootstrap();
    let topic = kafka.topic(cluster, "too-long", 1).await;
    let record = |text| ProducerRecord::new(&topic, text);
    let mut producers = Vec::new();
    for _ in WAYS {
        let short = [("transaction.timeout.ms", "3000")];
        let id = kafka.fresh("too-long");
        producers.push(ours::transactional(bootstrap, &id, &short).await.unwrap());
    }
    let mut transactions = Vec::new();
    for (producer, way) in producers.iter_mut().zip(WAYS) {
        let transaction = producer.begin().await.unwrap();
        transaction.send_and_wait(&record(way)).await.unwrap();
        transactions.push(transaction);
    }
    let end = stable_end(&kafka, bootstrap, (&topic, 0)).await;
    assert_eq!(end, 2 * WAYS.len() as i64, "a marker for each");

    let mut told = Vec::new();
    for (transaction, way) in transactions.into_iter().zip(WAYS) {
        if way == "send" {
            let sent = transaction.send_and_wait(&record("too late")).await;
            assert!(sent.is_err(), "{sent:?}");
        }
        told.push(if way == "abort" {
            transaction.abort().await
        } else {
            transaction.commit().await
        });
    }
    for ((mut producer, told), way) in producers.into_iter().zip(told).zip(WAYS) {
        match (way, second, told) {
            (_, false, Err(told)) => ends_fenced(&mut producer, told).await,
            ("commit", true, Err(TransactionError::Fatal(error))) => {
                assert_eq!(error.code, ErrorCode::INVALID_TXN_STATE);
            }
            ("abort", true, Ok(())) | ("send", true, Err(TransactionError::Abortable(_))) => {
                let transaction = producer.begin().await.unwrap();
                drop(transaction.send(&record("again")).await.unwrap());
                transaction.commit().await.unwrap();
            }
            (_, _, told) => panic!("{way}: {told:?}"),
        }
    }
    stable_end(&kafka, bootstrap, (&topic, 0)).await;
    let seen = values(&read(&kafka, bootstrap, (&topic, 0), COMMITTED).await);
    assert_eq!(seen, if second { vec!["again"; 2] } else { vec![] });
    let written = values(&read(&kafka, bootstrap, (&topic, 0), UNCOMMITTED).await);
    assert_eq!(written, [&WAYS[..], &vec!["again"; seen.len()]].concat());
}

async fn a_timeout_that_is_too_long_is_refused(kafka: Kafka) {
    let cluster = kafka.shared().await;
    let most = 15 * 60 * 1000;
    for (timeout, good) in [(most, true), (most + 1, false)] {
        let timeout = timeout.to_string();
        let properties = [("transaction.timeout.ms", timeout.as_str())];
        let id = kafka.fresh("patient");
        let made = ours::transactional(&cluster.bootstrap(), &id, &properties).await;
        match made {
            Ok(producer) if good => ours::close_transactional(producer).await,
            Err(TransactionError::Fatal(error)) if !good => {
                assert_eq!(error.code, ErrorCode::INVALID_TRANSACTION_TIMEOUT);
            }
            other => panic!("{timeout}: {other:?}"),
        }
    }
}
