//! The path of a record from `send` to the log allocates per batch, not per record: the rule that the speed of the
//! producer stands on. Counted on one thread that runs everything, the in-memory cluster included.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use allocation_counter::measure;
use milena::broker::{Cluster, TopicSpec};
use milena::net::{Transport, connect_fn};
use milena::serialize::{LongSerializer, UuidSerializer};
use milena::{Producer, ProducerConfig, ProducerRecord, TypedRecord};
use tokio::runtime::{Builder, Runtime};

const TOPIC: &str = "counted";
const PARTITIONS: i32 = 6;
/// They fit into `buffer.memory`, so that sends need not wait and nothing else runs between them.
const RECORDS: usize = 20_000;
const VALUE: [u8; 100] = [b'x'; 100];

struct Bed {
    runtime: Runtime,
    producer: Producer,
    cluster: Cluster,
}

impl Bed {
    /// A producer that has sent as much once, so that its pools and tables are as large as they get.
    fn new() -> Self {
        let runtime =
            Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let (producer, cluster) = runtime.block_on(async {
            let cluster = Cluster::builder().in_memory().start().await.unwrap();
            cluster.create_topic(TopicSpec::new(TOPIC).partitions(PARTITIONS as usize)).unwrap();
            let config = ProducerConfig::from_properties([
                ("bootstrap.servers", cluster.bootstrap_servers().as_str()),
                ("linger.ms", "5"),
            ]);
            let nodes = cluster.clone();
            let connector = connect_fn(move |host, port| {
                let stream = nodes.connect(&host, port);
                async move { Ok(Box::new(stream?) as Box<dyn Transport>) }
            });
            let producer = Producer::builder(config.unwrap()).connector(connector).seed(1).build();
            send_all(&producer).await;
            producer.flush().await;
            (producer, cluster)
        });
        Self { runtime, producer, cluster }
    }

    /// How many allocations `work` makes, and how many batches it wrote until a flush after it.
    fn count(&self, work: impl AsyncFnOnce(&Producer)) -> (usize, usize) {
        let before = self.batches();
        let info = measure(|| self.runtime.block_on(work(&self.producer)));
        self.runtime.block_on(self.producer.flush());
        let batches = self.batches() - before;
        assert!(batches > 50 && batches < RECORDS / 50, "{batches} batches tell nothing");
        (usize::try_from(info.count_total).unwrap(), batches)
    }

    fn batches(&self) -> usize {
        (0..PARTITIONS).map(|partition| self.cluster.batches(TOPIC, partition).len()).sum()
    }
}

async fn send_all(producer: &Producer) {
    for _ in 0..RECORDS {
        drop(producer.send(&ProducerRecord::new(TOPIC, &VALUE)).await.unwrap());
    }
}

#[test]
fn sending_allocates_per_batch() {
    let (allocations, batches) = Bed::new().count(send_all);
    assert!(allocations <= 4 * batches, "{allocations} for {RECORDS} records in {batches} batches");
}

#[test]
fn the_whole_way_allocates_per_batch() {
    let (allocations, batches) = Bed::new().count(async |producer| {
        send_all(producer).await;
        producer.flush().await;
    });
    assert!(
        allocations <= 40 * batches,
        "{allocations} for {RECORDS} records in {batches} batches"
    );
}

#[test]
fn awaiting_every_delivery_allocates_per_batch() {
    let bed = Bed::new();
    let mut deliveries = Vec::with_capacity(RECORDS);
    let (allocations, batches) = bed.count(async |producer| {
        for _ in 0..RECORDS {
            deliveries.push(producer.send(&ProducerRecord::new(TOPIC, &VALUE)).await.unwrap());
        }
        for delivery in deliveries.drain(..) {
            delivery.await.unwrap();
        }
    });
    assert!(
        allocations <= 40 * batches,
        "{allocations} for {RECORDS} records in {batches} batches"
    );
}

/// Serializers write to buffers that are used again.
#[test]
fn typed_records_allocate_per_batch() {
    let (allocations, batches) = Bed::new().count(async |producer| {
        let typed = producer.typed(UuidSerializer, LongSerializer);
        for i in 0..RECORDS as i64 {
            drop(typed.send(&TypedRecord::new(TOPIC, &i).key(&[7; 16])).await.unwrap());
        }
    });
    assert!(allocations <= 4 * batches, "{allocations} for {RECORDS} records in {batches} batches");
}

/// Callbacks share chunks of up to 64, also where two kinds of them take turns.
#[test]
fn callbacks_allocate_per_chunk() {
    let start = std::time::SystemTime::now();
    let (allocations, batches) = Bed::new().count(async move |producer| {
        for n in 0..RECORDS {
            let record = ProducerRecord::new(TOPIC, &VALUE);
            if n % 16 == 0 {
                producer.send_with(&record, move |end| drop((end, n))).await.unwrap();
            } else {
                let callback = move |end: Result<_, _>| drop(end.map(|_| start.elapsed()));
                producer.send_with(&record, callback).await.unwrap();
            }
        }
        producer.flush().await;
    });
    assert!(
        allocations <= 50 * batches,
        "{allocations} for {RECORDS} records in {batches} batches"
    );
}

/// The counter counts.
#[test]
fn an_allocation_per_record_would_be_seen() {
    let (allocations, batches) = Bed::new().count(async |producer| {
        for _ in 0..RECORDS {
            let value = VALUE.to_vec();
            drop(producer.send(&ProducerRecord::new(TOPIC, &value)).await.unwrap());
        }
    });
    assert!(allocations > RECORDS, "{allocations} for {RECORDS} records in {batches} batches");
}
