//! Clusters and clients for the tests.

use std::time::Duration;

use milena::broker::{Cluster, ClusterBuilder, StoredRecord};
use milena::net::{Connect, Transport, connect_fn};
use milena::{
    Consumer, ConsumerConfig, Producer, ProducerConfig, ProducerRecord, Records, TopicPartition,
};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// An in-memory cluster of one node unless `build` says otherwise.
pub(crate) async fn cluster(build: impl FnOnce(ClusterBuilder) -> ClusterBuilder) -> Cluster {
    build(Cluster::builder().in_memory().seed(1)).start().await.unwrap()
}

/// Connects to the cluster's nodes without a network.
pub(crate) fn in_memory(cluster: &Cluster) -> impl Connect + use<> {
    let cluster = cluster.clone();
    connect_fn(move |host, port| {
        let stream = cluster.connect(&host, port);
        async move { Ok(Box::new(stream?) as Box<dyn Transport>) }
    })
}

/// A producer for the cluster with these properties.
pub(crate) fn producer(cluster: &Cluster, properties: &[(&str, &str)]) -> Producer {
    let config = ProducerConfig::builder()
        .bootstrap_servers(cluster.bootstrap_servers())
        .properties(properties.iter().copied())
        .build()
        .unwrap();
    Producer::builder(config).connector(in_memory(cluster)).seed(1).build()
}

/// The values of a partition as text, in order.
pub(crate) fn values(cluster: &Cluster, topic: &str, partition: i32) -> Vec<String> {
    let records = cluster.records(topic, partition);
    records.iter().map(|record: &StoredRecord| text(record.value.as_deref())).collect()
}

fn text(bytes: Option<&[u8]>) -> String {
    String::from_utf8(bytes.expect("a value").to_vec()).unwrap()
}

/// A reader of the cluster with these properties.
pub(crate) fn reader(cluster: &Cluster, properties: &[(&str, &str)]) -> Consumer {
    seeded_reader(cluster, properties, 1)
}

/// The same with a seed of its own: members of a group of the new protocol make their ids from it.
pub(crate) fn seeded_reader(cluster: &Cluster, properties: &[(&str, &str)], seed: u64) -> Consumer {
    let config = ConsumerConfig::builder()
        .bootstrap_servers(cluster.bootstrap_servers())
        .properties(properties.iter().copied())
        .build()
        .unwrap();
    Consumer::builder(config).connector(in_memory(cluster)).seed(seed).build()
}

pub(crate) fn tp(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition::new(topic, partition)
}

/// Partition, offset and value of each record.
pub(crate) fn flat(records: &Records) -> Vec<(i32, i64, String)> {
    records.iter().map(|record| (record.partition, record.offset, text(record.value))).collect()
}

/// Polls until there are `count` records.
pub(crate) async fn read(reader: &mut Consumer, count: usize) -> Vec<(i32, i64, String)> {
    let mut all = Vec::new();
    while all.len() < count {
        let records = reader.poll(10 * SECOND).await.unwrap();
        assert!(!records.is_empty(), "only {} of {count} records came", all.len());
        all.extend(flat(&records));
    }
    all
}

/// Sends values to a partition, one batch each, and waits for them.
pub(crate) async fn write(cluster: &Cluster, topic: &str, partition: i32, values: &[&str]) {
    let producer = producer(cluster, &[("linger.ms", "0")]);
    for value in values {
        let record = ProducerRecord::new(topic, *value).partition(partition);
        producer.send(&record).await.unwrap().await.unwrap();
    }
    producer.close(SECOND).await.unwrap();
}
