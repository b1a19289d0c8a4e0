//! How fast records go from `send` to the log and back to their deliveries: one producer, one sending task, an
//! in-process cluster of one node, TCP over loopback. Items are records; the cluster shares the machine's cores.
//!
//! `cargo bench --bench end_to_end`

#![allow(clippy::expect_used)] // a bench that fails is to stop

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use milena::broker::{Cluster, TopicSpec};
use milena::{Producer, ProducerConfig, ProducerRecord};
use tokio::runtime::Runtime;

const TOPIC: &str = "bench";
const PARTITIONS: usize = 6;
/// Bytes of a record's value.
const SIZES: [usize; 2] = [100, 1024];
/// Bytes of values that an iteration sends, several times `buffer.memory`: it measures a flow, not how fast memory
/// fills.
const VOLUME: usize = 100 * 1024 * 1024;

fn main() {
    divan::main();
}

struct Bed {
    runtime: Runtime,
    producer: Producer,
    // Stops when it is dropped.
    _cluster: Cluster,
}

impl Bed {
    fn new() -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let (producer, cluster) = runtime.block_on(async {
            let cluster = Cluster::builder()
                .validate_records(false)
                // Old batches go, or the log of all iterations would fill the memory.
                .topic_config("retention.bytes", "1000000")
                .start()
                .await
                .expect("a cluster");
            cluster.create_topic(TopicSpec::new(TOPIC).partitions(PARTITIONS)).expect("a topic");
            let servers = cluster.bootstrap_servers();
            let config = ProducerConfig::from_properties([("bootstrap.servers", servers)]);
            let producer = Producer::new(config.expect("a configuration"));
            // The connection, the metadata and the producer id.
            let first = producer.send(&ProducerRecord::new(TOPIC, "first")).await;
            first.expect("room").await.expect("a delivery");
            (producer, cluster)
        });
        Self { runtime, producer, _cluster: cluster }
    }

    /// Measures sending and all acknowledgements of `VOLUME` bytes in values of `size`.
    fn measure<F>(&self, bencher: Bencher<'_, '_>, size: usize, send_all: F)
    where
        F: AsyncFn(&Producer, &ProducerRecord<'_>, usize),
    {
        let value = vec![b'x'; size];
        let record = ProducerRecord::new(TOPIC, &value);
        let count = VOLUME / size;
        bencher
            .counter(ItemsCount::new(count))
            .counter(BytesCount::new(count * size))
            .bench_local(|| self.runtime.block_on(send_all(&self.producer, &record, count)));
    }
}

/// Deliveries are dropped; a flush at the end waits for the last.
#[divan::bench(args = SIZES, sample_count = 10, sample_size = 1)]
fn fire_and_forget(bencher: Bencher<'_, '_>, size: usize) {
    Bed::new().measure(bencher, size, async |producer, record, count| {
        for _ in 0..count {
            drop(producer.send(record).await.expect("room"));
        }
        producer.flush().await;
    });
}

/// Every delivery is awaited, after all are sent.
#[divan::bench(args = SIZES, sample_count = 10, sample_size = 1)]
fn awaited(bencher: Bencher<'_, '_>, size: usize) {
    Bed::new().measure(bencher, size, async |producer, record, count| {
        let mut deliveries = Vec::with_capacity(count);
        for _ in 0..count {
            deliveries.push(producer.send(record).await.expect("room"));
        }
        for delivery in deliveries {
            delivery.await.expect("a delivery");
        }
    });
}

/// Every record has a callback.
#[divan::bench(args = SIZES, sample_count = 10, sample_size = 1)]
fn callback(bencher: Bencher<'_, '_>, size: usize) {
    Bed::new().measure(bencher, size, async |producer, record, count| {
        for _ in 0..count {
            let sent = producer.send_with(record, |end| drop(end.expect("a delivery"))).await;
            sent.expect("room");
        }
        producer.flush().await;
    });
}
