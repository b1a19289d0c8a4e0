//! Clusters and clients for the tests.

use std::time::Duration;

use milena::broker::{Cluster, ClusterBuilder, StoredRecord};
use milena::net::{Connect, Transport, connect_fn};
use milena::{Producer, ProducerConfig};

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
