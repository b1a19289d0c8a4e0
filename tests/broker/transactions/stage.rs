//! Clusters and transactional producers for the tests, and what a reader of committed records sees.

use std::time::Duration;

use milena::broker::{Cluster, ClusterBuilder, TopicSpec, TransactionState};
use milena::{
    ProducerConfig, ProducerRecord, StartAt, Transaction, TransactionError, TransactionalProducer,
    TransactionalProducerConfig,
};

use crate::support::{self, SECOND, flat, in_memory, reader, tp};

pub(crate) const MS: fn(u64) -> Duration = Duration::from_millis;

/// Those of the protocol: partitions are added first, or by writing to them.
pub(crate) const VERSIONS: [i16; 2] = [1, 2];

/// The `transactional.id` of all producers here.
pub(crate) const ID: &str = "t";

/// With topic `a` of three partitions and `b` of two.
pub(crate) async fn cluster(
    version: i16,
    build: impl FnOnce(ClusterBuilder) -> ClusterBuilder,
) -> Cluster {
    let cluster = support::cluster(|it| build(it.transaction_version(version))).await;
    cluster.create_topic(TopicSpec::new("a").partitions(3)).unwrap();
    cluster.create_topic(TopicSpec::new("b").partitions(2)).unwrap();
    cluster
}

pub(crate) fn config(
    cluster: &Cluster,
    properties: &[(&str, &str)],
) -> TransactionalProducerConfig {
    ProducerConfig::builder()
        .bootstrap_servers(cluster.bootstrap_servers())
        .transactional_id(ID)
        .properties(properties.iter().copied())
        .build_transactional()
        .unwrap()
}

pub(crate) async fn try_producer(
    cluster: &Cluster,
    properties: &[(&str, &str)],
) -> Result<TransactionalProducer, TransactionError> {
    let config = config(cluster, properties);
    TransactionalProducer::builder(config).connector(in_memory(cluster)).seed(1).init().await
}

pub(crate) async fn producer(
    cluster: &Cluster,
    properties: &[(&str, &str)],
) -> TransactionalProducer {
    try_producer(cluster, properties).await.unwrap()
}

pub(crate) fn to<'a>(topic: &'a str, partition: i32, value: &'a str) -> ProducerRecord<'a> {
    ProducerRecord::new(topic, value).partition(partition)
}

/// Sends a record and forgets it.
pub(crate) async fn put(transaction: &Transaction<'_>, topic: &str, partition: i32, value: &str) {
    drop(transaction.send(&to(topic, partition, value)).await.unwrap());
}

/// What a reader of committed records sees of a topic, partition by partition. Nothing may be left undecided.
pub(crate) async fn committed(cluster: &Cluster, topic: &str) -> Vec<Vec<String>> {
    let partitions: Vec<_> = (0..i32::try_from(cluster.partitions(topic).unwrap()).unwrap())
        .map(|partition| tp(topic, partition))
        .collect();
    let mut reader = reader(cluster, &[("isolation.level", "read_committed")]);
    reader.assign(partitions.iter().map(|it| (it.clone(), StartAt::Earliest))).unwrap();
    let mut values = vec![Vec::new(); partitions.len()];
    let deadline = tokio::time::Instant::now() + 120 * SECOND;
    while partitions.iter().any(|it| {
        let end = cluster.offsets(topic, it.partition).unwrap().end;
        reader.position(it).is_none_or(|position| position < end)
    }) {
        let records = reader.poll(SECOND).await.unwrap();
        for (partition, _, value) in flat(&records) {
            values[usize::try_from(partition).unwrap()].push(value);
        }
        let undecided = partitions.iter().map(|it| cluster.last_stable_offset(topic, it.partition));
        let in_time = tokio::time::Instant::now() < deadline;
        assert!(
            in_time,
            "a transaction hangs: {topic} is decided up to {:?}",
            undecided.collect::<Vec<_>>()
        );
    }
    values
}

/// The same without regard to partitions, in alphabetical order.
pub(crate) async fn all_committed(cluster: &Cluster, topic: &str) -> Vec<String> {
    let mut values = committed(cluster, topic).await.concat();
    values.sort();
    values
}

/// How the transaction of the producers here stands.
pub(crate) fn state(cluster: &Cluster) -> TransactionState {
    cluster.transaction(ID).expect("it is in use").state
}
