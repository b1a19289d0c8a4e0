//! What the tests of client bugs have in common: a cluster, a producer whose wire is tapped, and a list of all records
//! with their ends, which is held against the logs.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use milena::broker::{Cluster, ClusterBuilder, TopicSpec};
use milena::{
    DeliveryError, Persistence, Producer, ProducerConfig, ProducerRecord, RecordMetadata,
};
use parking_lot::Mutex;

use crate::support::{self, values};
use crate::tap::Tap;

pub(crate) const MS: fn(u64) -> Duration = Duration::from_millis;

/// Each record is a batch of its own, and leaves at once.
pub(crate) const EACH_ALONE: [(&str, &str); 2] = [("batch.size", "1"), ("linger.ms", "0")];

pub(crate) type End = Result<RecordMetadata, DeliveryError>;

/// See the module. Records go to topic `t`.
pub(crate) struct Bench {
    pub(crate) cluster: Cluster,
    pub(crate) tap: Tap,
    pub(crate) producer: Producer,
    /// Whether brokers find batches too large, so that they are sent in halves.
    pub(crate) splits: bool,
    /// The partition of each record; its number is its value.
    partitions: Mutex<Vec<i32>>,
    /// In the order of the callbacks.
    ends: Arc<Mutex<Vec<(usize, End)>>>,
}

impl Bench {
    /// A topic of so many partitions on so many nodes, and a producer that knows it.
    pub(crate) async fn new(nodes: usize, partitions: usize, properties: &[(&str, &str)]) -> Self {
        let topic = TopicSpec::new("t").partitions(partitions);
        Self::with(|cluster| cluster.nodes(nodes), topic, properties).await
    }

    pub(crate) async fn with(
        build: impl FnOnce(ClusterBuilder) -> ClusterBuilder,
        topic: TopicSpec,
        properties: &[(&str, &str)],
    ) -> Self {
        let cluster = support::cluster(build).await;
        cluster.create_topic(topic).unwrap();
        let bench = Self::on(cluster, properties);
        bench.producer.partitions_for("t").await.unwrap();
        bench
    }

    /// A producer that knows nothing yet.
    pub(crate) fn on(cluster: Cluster, properties: &[(&str, &str)]) -> Self {
        let tap = Tap::default();
        let config = ProducerConfig::builder()
            .bootstrap_servers(cluster.bootstrap_servers())
            .properties(EACH_ALONE)
            .properties(properties.iter().copied())
            .build()
            .unwrap();
        let producer = Producer::builder(config).connector(tap.connector(&cluster)).seed(1).build();
        let (partitions, ends) = (Mutex::default(), Arc::default());
        Self { cluster, tap, producer, splits: false, partitions, ends }
    }

    /// Sends the next record and gives its number. With room in the buffer nothing else runs meanwhile.
    pub(crate) async fn send(&self, partition: i32) -> usize {
        let number = self.partitions.lock().len();
        self.partitions.lock().push(partition);
        let (value, ends) = (number.to_string(), Arc::clone(&self.ends));
        let record = ProducerRecord::new("t", &value).partition(partition);
        let told = move |end| ends.lock().push((number, end));
        self.producer.send_with(&record, told).await.unwrap();
        number
    }

    pub(crate) async fn send_many(&self, partition: i32, count: usize) {
        for _ in 0..count {
            self.send(partition).await;
        }
    }

    /// Sends a record to each of the first partitions and waits, so that the brokers know the producer.
    pub(crate) async fn settle(&self, partitions: i32) {
        for partition in 0..partitions {
            self.send(partition).await;
        }
        self.producer.flush().await;
    }

    /// How the record ended, if it has.
    pub(crate) fn end(&self, number: usize) -> Option<End> {
        let ends = self.ends.lock();
        ends.iter().find(|(of, _)| *of == number).map(|(_, end)| end.clone())
    }

    pub(crate) fn error(&self, number: usize) -> DeliveryError {
        self.end(number).expect("an end").unwrap_err()
    }

    pub(crate) fn offset(&self, number: usize) -> Option<i64> {
        self.end(number).expect("an end").unwrap().offset()
    }

    /// The records that have ended, in the order in which that was told.
    pub(crate) fn ended(&self) -> Vec<usize> {
        self.ends.lock().iter().map(|(number, _)| *number).collect()
    }

    /// Waits for all ends, closes, and holds every record against the logs; gives the values of each partition.
    pub(crate) async fn check(self) -> Vec<Vec<String>> {
        self.producer.flush().await;
        self.check_memory().await;
        self.producer.close(support::SECOND).await.unwrap();
        let partitions = self.partitions.into_inner();
        let ends = std::mem::take(&mut *self.ends.lock());
        let logs: Vec<_> = (0..self.cluster.partitions("t").unwrap())
            .map(|partition| values(&self.cluster, "t", i32::try_from(partition).unwrap()))
            .collect();
        let mut copies: HashMap<&String, usize> = HashMap::new();
        logs.iter().flatten().for_each(|value| *copies.entry(value).or_default() += 1);
        assert!(copies.values().all(|&copies| copies == 1), "doubled: {logs:?}");
        let mut last: HashMap<i32, usize> = HashMap::new();
        for (number, end) in &ends {
            let partition = partitions[*number];
            let before = last.insert(partition, *number);
            assert!(before < Some(*number), "{number} was told after {before:?}");
            let stored = copies.contains_key(&number.to_string());
            match end {
                Ok(metadata) => {
                    let log = &logs[usize::try_from(partition).unwrap()];
                    let start = self.cluster.offsets("t", partition).unwrap().start;
                    let offset = metadata.offset().filter(|&offset| offset >= start);
                    let there = offset.map(|offset| &log[usize::try_from(offset - start).unwrap()]);
                    let right = there.is_none_or(|value| *value == number.to_string());
                    assert!(right, "{number} is not at {offset:?}: {there:?}");
                    let deleted = metadata.offset().is_some_and(|offset| offset < start);
                    assert!(stored || deleted, "{number} was acknowledged and is not there");
                }
                Err(error) if error.persistence() == Persistence::NotWritten => {
                    assert!(!stored, "{number} is there: {error}");
                }
                Err(_) => {}
            }
        }
        assert_eq!(ends.len(), partitions.len(), "each record ends once");
        for log in &logs {
            let numbers: Vec<usize> = log.iter().map(|value| value.parse().unwrap()).collect();
            assert!(numbers.is_sorted(), "order: {numbers:?}");
        }
        self.tap.check_stamps(self.splits);
        logs
    }

    /// Makes sure that all memory is back, at the latest when the last request has timed out.
    pub(crate) async fn check_memory(&self) {
        let (mut free, mut total) = self.memory();
        let deadline = tokio::time::Instant::now() + 60 * support::SECOND;
        // Nothing tells when memory is given back; the clock is virtual.
        while free != total && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(MS(10)).await;
            (free, total) = self.memory();
        }
        assert_eq!(free, total, "memory was lost or given back twice");
    }

    /// Bytes of `buffer.memory` that are free, and all there are.
    pub(crate) fn memory(&self) -> (usize, usize) {
        let text = format!("{:?}", self.producer);
        let field = |name: &str| {
            let (_, rest) = text.split_once(name).expect("the field");
            rest.split(',').next().unwrap().trim().parse().unwrap()
        };
        (field("buffer_available:"), field("buffer_memory:"))
    }
}

/// The number of each record's value in a list like that of a log.
pub(crate) fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}
