//! More senders than `buffer.memory` has room for: what they wait for is shared, so that batches are full then, too.

use milena::ProducerRecord;

use crate::support::{cluster, producer};

const TASKS: usize = 400;
const EACH: usize = 25;
const PARTITIONS: i32 = 2;

/// One at a time they would each begin a batch with the memory that they waited for, and it would leave at once.
#[tokio::test(start_paused = true)]
async fn those_who_wait_for_memory_fill_batches_together() {
    // Room for a single batch, and for eight.
    for (linger, memory) in [("0", "2048"), ("5", "2048"), ("1000", "2048"), ("5", "16384")] {
        let cluster = cluster(|c| c).await;
        cluster.create_topic(("t", PARTITIONS as usize)).unwrap();
        let properties = [("batch.size", "2048"), ("buffer.memory", memory), ("linger.ms", linger)];
        let producer = producer(&cluster, &properties);
        let tasks = (0..TASKS).map(|_| {
            let producer = producer.clone();
            tokio::spawn(async move {
                for _ in 0..EACH {
                    drop(producer.send(&ProducerRecord::new("t", &[b'x'; 100])).await.unwrap());
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        producer.flush().await;
        let partitions = 0..PARTITIONS;
        let records: usize = partitions.clone().map(|p| cluster.records("t", p).len()).sum();
        let batches: usize = partitions.map(|p| cluster.batches("t", p).len()).sum();
        assert_eq!(records, TASKS * EACH);
        // Full ones hold 18 records.
        assert!(records >= 10 * batches, "linger {linger}: {batches} batches for {records}");
    }
}
