//! The producer on several threads, in real time: appends, flushes, a close and the end of the runtime race each other,
//! and still each record has exactly one end.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use milena::broker::{Cluster, Fault};
use milena::{DeliveryErrorKind, ErrorCode, ProducerRecord, SendError};

use crate::support::{SECOND, cluster, producer, values};

const TASKS: usize = 4;
const EACH: usize = 2_000;
const PARTITIONS: i32 = 3;

/// How often each value is in the log.
fn copies(cluster: &Cluster) -> HashMap<String, usize> {
    let mut copies = HashMap::new();
    for value in (0..PARTITIONS).flat_map(|partition| values(cluster, "t", partition)) {
        *copies.entry(value).or_default() += 1;
    }
    copies
}

const SMALL: [(&str, &str); 3] =
    [("batch.size", "500"), ("linger.ms", "1"), ("buffer.memory", "50000")];

/// A flush returns after the ends, callbacks included, of all that the same task has sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn flushes_and_callbacks_among_other_senders() {
    let cluster = cluster(|c| c).await;
    cluster.create_topic(("t", PARTITIONS as usize)).unwrap();
    let producer = producer(&cluster, &SMALL);
    let tasks = (0..TASKS).map(|task| {
        let producer = producer.clone();
        tokio::spawn(async move {
            let called = Arc::new(AtomicUsize::new(0));
            for i in 0..EACH {
                let (value, called_back) = (format!("{task}-{i}"), Arc::clone(&called));
                let callback = move |result: Result<_, _>| {
                    called_back.fetch_add(usize::from(result.is_ok()), Ordering::Relaxed);
                };
                producer.send_with(&ProducerRecord::new("t", &value), callback).await.unwrap();
                if i % 97 == task {
                    producer.flush().await;
                    assert_eq!(called.load(Ordering::Relaxed), i + 1);
                }
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    producer.close(10 * SECOND).await.unwrap();
    let copies = copies(&cluster);
    assert_eq!(copies.len(), TASKS * EACH);
    assert!(copies.values().all(|&n| n == 1));
}

/// Batches are compressed by those who fill them, while the task takes what is due.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn compressing_senders_and_a_task_that_takes_what_is_due() {
    for (codec, linger, acks) in [("lz4", "0", "all"), ("snappy", "1", "all"), ("lz4", "0", "0")] {
        let cluster = cluster(|c| c).await;
        cluster.create_topic(("t", PARTITIONS as usize)).unwrap();
        let properties = [
            ("compression.type", codec),
            ("linger.ms", linger),
            ("acks", acks),
            ("enable.idempotence", if acks == "all" { "true" } else { "false" }),
            ("batch.size", "500"),
            ("buffer.memory", "4000"),
        ];
        let producer = producer(&cluster, &properties);
        let tasks = (0..TASKS).map(|task| {
            let producer = producer.clone();
            tokio::spawn(async move {
                for i in 0..EACH {
                    let value = format!("{task}-{i}");
                    drop(producer.send(&ProducerRecord::new("t", &value)).await.unwrap());
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        producer.close(60 * SECOND).await.unwrap();
        // With acks=0 the node may have to read some of it still.
        let all = async {
            while (0..PARTITIONS).map(|p| cluster.records("t", p).len()).sum::<usize>()
                < TASKS * EACH
            {
                tokio::task::yield_now().await;
            }
        };
        let arrived = tokio::time::timeout(60 * SECOND, all).await;
        let copies = copies(&cluster);
        assert!(arrived.is_ok(), "{codec}, linger {linger}, acks {acks}: {}", copies.len());
        assert!(copies.len() == TASKS * EACH && copies.values().all(|&n| n == 1));
    }
}

/// A close in the middle of sends: what was accepted before is in the log, or says that it may be or is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_close_among_senders() {
    for round in 0..20u32 {
        let cluster = cluster(|c| c).await;
        cluster.create_topic(("t", PARTITIONS as usize)).unwrap();
        let producer = producer(&cluster, &SMALL);
        producer.partitions_for("t").await.unwrap();
        let retriable = ErrorCode::NOT_ENOUGH_REPLICAS;
        cluster.inject(Fault::error(milena::broker::ApiKey::PRODUCE, retriable).after(round));
        let tasks = (0..TASKS).map(|task| {
            let producer = producer.clone();
            tokio::spawn(async move {
                let mut accepted = Vec::new();
                for i in 0..EACH {
                    let value = format!("{task}-{i}");
                    match producer.send(&ProducerRecord::new("t", &value)).await {
                        Ok(delivery) => accepted.push((value, delivery)),
                        Err(SendError::Closed) => break,
                        Err(other) => panic!("{other}"),
                    }
                }
                accepted
            })
        });
        let tasks: Vec<_> = tasks.collect();
        tokio::time::sleep(Duration::from_micros(u64::from(round) * 500)).await;
        // Whether all made it in time is not the question here.
        let _ = producer.close(10 * SECOND).await;
        let mut acknowledged = 0;
        let (mut ends, log) = (Vec::new(), copies(&cluster));
        for task in tasks {
            for (value, delivery) in task.await.unwrap() {
                let end = tokio::time::timeout(10 * SECOND, delivery).await.expect("an end");
                ends.push((value, end));
            }
        }
        for (value, end) in ends {
            let copies = log.get(&value).copied().unwrap_or_default();
            match end {
                Ok(_) => {
                    acknowledged += 1;
                    assert_eq!(copies, 1, "round {round}: {value}");
                }
                Err(error) => {
                    assert_eq!(error.kind(), &DeliveryErrorKind::Closed, "round {round}: {error}");
                    assert_eq!(copies, 0, "round {round}: {value}: {error}");
                }
            }
        }
        assert_eq!(log.len(), acknowledged, "round {round}");
    }
}

/// The runtime ends under the producer: deliveries end as well, and later sends are refused.
#[test]
fn the_end_of_the_runtime_ends_the_records() {
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (first, second) = (runtime(), runtime());
    let (producer, delivery) = first.block_on(async {
        let cluster = cluster(|c| c).await;
        let producer = producer(&cluster, &[("linger.ms", "60000")]);
        producer.partitions_for("t").await.unwrap();
        let delivery = producer.send(&ProducerRecord::new("t", "x")).await.unwrap();
        (producer, delivery)
    });
    drop(first);
    second.block_on(async {
        let error = tokio::time::timeout(10 * SECOND, delivery).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), &DeliveryErrorKind::Closed);
        let error = producer.send(&ProducerRecord::new("t", "y")).await.unwrap_err();
        assert!(matches!(error, SendError::Closed), "{error}");
        producer.flush().await;
        producer.close(SECOND).await.unwrap();
    });
}
