//! Batches come near `batch.size` on the wire, also when they are compressed.

use milena::ProducerRecord;
use milena::broker::TopicSpec;

use crate::support::{cluster, producer};

const BATCH_SIZE: usize = 4_096;

/// Half of it is noise, so that a record compresses to a little more than half.
fn value(dice: &mut fastrand::Rng) -> Vec<u8> {
    let mut value = vec![b'x'; 100];
    value.extend(std::iter::repeat_with(|| dice.u8(..)).take(100));
    value
}

#[tokio::test(start_paused = true)]
async fn compressed_batches_come_near_batch_size_on_the_wire() {
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let cluster = cluster(|c| c).await;
        cluster.create_topic(TopicSpec::new("t").partitions(1)).unwrap();
        let size = BATCH_SIZE.to_string();
        let properties =
            [("batch.size", &*size), ("linger.ms", "1000"), ("compression.type", codec)];
        let producer = producer(&cluster, &properties);
        let mut dice = fastrand::Rng::with_seed(5);
        for _ in 0..8_000 {
            drop(producer.send(&ProducerRecord::new("t", &value(&mut dice))).await.unwrap());
        }
        producer.flush().await;
        let batches = cluster.batches("t", 0);
        let late = &batches[batches.len() * 3 / 4..batches.len() - 1];
        let mean = late.iter().map(|batch| batch.bytes.len()).sum::<usize>() / late.len();
        assert!((BATCH_SIZE * 4 / 5..=BATCH_SIZE).contains(&mean), "{codec}: {mean}");
    }
}

/// `buffer.memory` counts records before compression while they are, and gives back what compression saves.
#[tokio::test(start_paused = true)]
async fn memory_is_bounded_and_comes_back() {
    let cluster = cluster(|c| c).await;
    cluster.create_topic(TopicSpec::new("t").partitions(3)).unwrap();
    let properties =
        [("batch.size", "4096"), ("buffer.memory", "32768"), ("compression.type", "lz4")];
    let producer = producer(&cluster, &properties);
    let available = || {
        let metrics = producer.metrics();
        metrics
            .get("producer-metrics", "buffer-available-bytes", &[])
            .unwrap()
            .value()
            .as_f64()
            .unwrap()
    };
    let total = available();
    for _ in 0..5_000 {
        drop(producer.send(&ProducerRecord::new("t", &[b'x'; 500])).await.unwrap());
        assert!(available() <= total);
    }
    producer.flush().await;
    assert_eq!(available(), total);
    let stored: usize = (0..3).map(|partition| cluster.records("t", partition).len()).sum();
    assert_eq!(stored, 5_000);
}
