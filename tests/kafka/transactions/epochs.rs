//! What brokers write down of our transactions: by the first version of the protocol a producer keeps its epoch, and by
//! the second (KIP-890) each transaction has the next one.

use milena::{ProducerRecord, TransactionalProducer};

use crate::cluster::Cluster;
use crate::in_process_transactions::{COMMITTED, read, stable_end, values};
use crate::ours;
use crate::runner::Kafka;

tests![epochs_in_the_log, each_version_of_transactions_and_an_upgrade_under_way[since(4, 0)],];

/// Commits two records, aborts two, commits nothing, and commits two.
async fn write(producer: &mut TransactionalProducer, topic: &str) {
    for round in ["first", "aborted", "empty", "last"] {
        let transaction = producer.begin().await.unwrap();
        if round != "empty" {
            for _ in 0..2 {
                drop(transaction.send(&ProducerRecord::new(topic, round)).await.unwrap());
            }
        }
        if round == "aborted" {
            // What is not written yet would be dropped.
            transaction.flush().await;
            transaction.abort().await.unwrap();
        } else {
            transaction.commit().await.unwrap();
        }
    }
}

/// Writes with a new producer, and holds the log against the version of transactions.
async fn written(kafka: &Kafka, cluster: &Cluster, version: u16) {
    let bootstrap = cluster.bootstrap();
    let topic = kafka.topic(cluster, "epochs", 1).await;
    let id = kafka.fresh("epochs");
    let mut producer = ours::transactional(&bootstrap, &id, &[]).await.unwrap();
    write(&mut producer, &topic).await;
    ours::close_transactional(producer).await;
    stable_end(kafka, &bootstrap, (&topic, 0)).await;

    let batches = cluster.stored_batches(1, &topic, 0).unwrap();
    let id = batches[0].producer_id;
    assert!(batches.iter().all(|batch| batch.is_transactional() && batch.producer_id == id));
    let shape = batches.iter().map(|batch| {
        let sequence = (!batch.is_control()).then_some(batch.base_sequence);
        (batch.producer_epoch, sequence, batch.count)
    });
    // An empty transaction is no word to anybody.
    let expected = match version {
        0 | 1 => [
            (0, Some(0), 2),
            (0, None, 1),
            (0, Some(2), 2),
            (0, None, 1),
            (0, Some(4), 2),
            (0, None, 1),
        ],
        _ => [
            (0, Some(0), 2),
            (1, None, 1),
            (1, Some(0), 2),
            (2, None, 1),
            (2, Some(0), 2),
            (3, None, 1),
        ],
    };
    assert_eq!(shape.collect::<Vec<_>>(), expected, "version {version}: {batches:?}");
    let seen = read(kafka, &bootstrap, (&topic, 0), COMMITTED).await;
    assert_eq!(values(&seen), ["first", "first", "last", "last"]);
}

/// By the version that the release has by itself.
async fn epochs_in_the_log(kafka: Kafka) {
    let version = if kafka.release().at_least(4, 0) { 2 } else { 0 };
    written(&kafka, kafka.shared().await, version).await;
}

/// A producer that was there from the start goes on through it.
async fn each_version_of_transactions_and_an_upgrade_under_way(kafka: Kafka) {
    const FEATURE: &str = "transaction.version";
    let cluster = kafka.cluster().feature(FEATURE, 0).start().await.unwrap();
    let bootstrap = cluster.bootstrap();
    let topic = kafka.topic(&cluster, "upgraded", 1).await;
    let mut elder = ours::transactional(&bootstrap, &kafka.fresh("elder"), &[]).await.unwrap();
    for version in 0..=2 {
        if version > 0 {
            kafka.release().raise_feature(&bootstrap, FEATURE, version).await.unwrap();
        }
        written(&kafka, &cluster, version).await;
        write(&mut elder, &topic).await;
    }
    ours::close_transactional(elder).await;
    stable_end(&kafka, &bootstrap, (&topic, 0)).await;
    let seen = read(&kafka, &bootstrap, (&topic, 0), COMMITTED).await;
    assert_eq!(values(&seen), ["first", "first", "last", "last"].repeat(3));
}
