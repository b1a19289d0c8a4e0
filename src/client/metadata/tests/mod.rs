//! The pure parts: what an answer changes, and when the next one is asked for.

mod hints;
mod merging;
mod refreshing;

use super::merge::{Merged, merge};
use super::snapshot::{ClusterSnapshot, Usage};
use crate::protocol::messages::metadata::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use crate::time::{Duration, Instant};
use crate::types::{BrokerId, TopicId};
use std::collections::BTreeMap;
use std::sync::Arc;

fn broker(node_id: i32) -> MetadataResponseBroker {
    let host = format!("host{node_id}");
    MetadataResponseBroker { node_id, host, port: 9092, rack: None }
}

fn partition(partition_index: i32, leader_id: i32, leader_epoch: i32) -> MetadataResponsePartition {
    let replica_nodes = vec![1, 2];
    MetadataResponsePartition {
        partition_index,
        leader_id,
        leader_epoch,
        replica_nodes,
        ..MetadataResponsePartition::default()
    }
}

fn topic(partitions: Vec<MetadataResponsePartition>) -> MetadataResponseTopic {
    let (name, topic_id) = (Some("t".to_owned()), TopicId([1; 16]));
    MetadataResponseTopic { name, topic_id, partitions, ..MetadataResponseTopic::default() }
}

fn response(topics: Vec<MetadataResponseTopic>) -> MetadataResponse {
    let brokers = vec![broker(1), broker(2), broker(3)];
    let cluster_id = Some("cluster".to_owned());
    MetadataResponse { brokers, topics, cluster_id, ..MetadataResponse::default() }
}

/// A snapshot under a series of answers about the topic `t`.
struct World {
    now: Instant,
    snapshot: ClusterSnapshot,
    asked: BTreeMap<Arc<str>, Usage>,
}

impl World {
    fn new() -> Self {
        let asked = BTreeMap::from([(Arc::from("t"), Usage::default())]);
        Self { now: Instant::now(), snapshot: ClusterSnapshot::default(), asked }
    }

    fn merge(&mut self, response: &MetadataResponse) -> Merged {
        self.now += Duration::from_secs(1);
        let merged = merge(&self.snapshot, response, &self.asked, |_| true, self.now).unwrap();
        assert_eq!(merged.snapshot.generation(), self.snapshot.generation() + 1);
        self.snapshot = merged.snapshot.clone();
        merged
    }

    fn answer(&mut self, topic: MetadataResponseTopic) -> Merged {
        self.merge(&response(vec![topic]))
    }

    fn leader(&self, partition: usize) -> Option<(i32, i32)> {
        leader(&self.snapshot, partition)
    }
}

fn leader(snapshot: &ClusterSnapshot, partition: usize) -> Option<(i32, i32)> {
    let partition = &snapshot.topic("t")?.partitions.get(partition)?;
    Some((partition.leader?.0, partition.leader_epoch))
}
