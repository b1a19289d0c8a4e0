//! Rows 28, 29, 31: linger after flushes, and whose turn it is.

use std::collections::BTreeSet;

use milena::broker::{ApiKey, Fault, TopicSpec};
use milena::{BrokerId, ErrorCode};

use super::bench::{Bench, MS, numbers};
use crate::support::SECOND;

/// A flush that was counted and never counted off turned linger off for ever: batches of one record.
#[tokio::test(start_paused = true)]
async fn row_28_kafka_12870_linger_is_back_after_each_flush() {
    let bench = Bench::new(1, 1, &[("batch.size", "16384"), ("linger.ms", "1000")]).await;
    bench.settle(1).await;
    // One that was given up while it waited, and one whose records failed.
    bench.cluster.inject(Fault::delay_response(ApiKey::PRODUCE, 5 * SECOND));
    bench.send(0).await;
    assert!(tokio::time::timeout(SECOND, bench.producer.flush()).await.is_err());
    bench.cluster.inject(Fault::error(ApiKey::PRODUCE, ErrorCode::INVALID_RECORD));
    bench.send(0).await;
    bench.producer.flush().await;
    assert!(bench.error(2).to_string().contains("INVALID_RECORD"));
    bench.tap.clear();
    for _ in 0..40 {
        bench.send(0).await;
        tokio::time::sleep(MS(90)).await;
    }
    tokio::time::sleep(SECOND).await;
    let counts: Vec<_> = bench.tap.sent().iter().map(|batch| batch.count).collect();
    assert!(counts.len() <= 4 && counts.iter().sum::<i32>() == 40, "{counts:?}");
    bench.check().await;
}

/// Where draining begins was one number for all brokers, so that some partitions never had their turn.
#[tokio::test(start_paused = true)]
async fn row_29_kafka_13834_each_partition_has_its_turn() {
    const PARTITIONS: i32 = 100;
    // A request takes two batches or so.
    let properties = [
        ("max.request.size", "200"),
        ("max.in.flight.requests.per.connection", "1"),
        ("metadata.max.age.ms", "50"),
    ];
    let bench = Bench::new(2, PARTITIONS as usize, &properties).await;
    bench.settle(PARTITIONS).await;
    bench.tap.clear();
    for _ in 0..6 {
        for partition in 0..PARTITIONS {
            bench.send(partition).await;
        }
    }
    // While the answers of one broker are slow, the other one's partitions must not take the turns of its own.
    let slow = Fault::delay_response(ApiKey::PRODUCE, MS(3));
    bench.cluster.inject(slow.on_node(BrokerId(2)).always());
    bench.producer.flush().await;
    for node in [1, 2].map(BrokerId) {
        let sent: Vec<_> = bench.tap.sent().into_iter().filter(|b| b.node == node).collect();
        assert_eq!(sent.len(), 6 * 50);
        // Nobody has a third turn before each has had the first, and so on.
        for turns in 0..5 {
            let until = (turns + 2) * 50;
            let seen: Vec<_> = sent[..until].iter().map(|batch| batch.partition).collect();
            let behind: BTreeSet<_> = (0..PARTITIONS)
                .filter(|p| p % 2 == node.0 - 1)
                .filter(|p| seen.iter().filter(|seen| *seen == p).count() <= turns)
                .collect();
            assert!(behind.is_empty(), "after {until} batches to {node}: {behind:?}");
        }
    }
    bench.check().await;
}

/// Even with one request in flight a retry was put behind newer records.
#[tokio::test(start_paused = true)]
async fn row_31_librdkafka_1092_one_in_flight_keeps_order_without_idempotence() {
    for fault in [
        Fault::error(ApiKey::PRODUCE, ErrorCode::NOT_ENOUGH_REPLICAS),
        Fault::error(ApiKey::PRODUCE, ErrorCode::NOT_LEADER_OR_FOLLOWER),
        Fault::close_before(ApiKey::PRODUCE),
    ] {
        let properties = [
            ("enable.idempotence", "false"),
            ("max.in.flight.requests.per.connection", "1"),
            ("retry.backoff.ms", "20"),
            ("reconnect.backoff.ms", "10"),
        ];
        let bench = Bench::with(|c| c, TopicSpec::new("t"), &properties).await;
        bench.settle(1).await;
        // Of the requests that the faults before let pass, each second one: every third of all, retries among them.
        for _ in 0..15 {
            bench.cluster.inject(fault.clone().after(2));
        }
        bench.send_many(0, 20).await;
        for _ in 0..20 {
            bench.send(0).await;
            tokio::time::sleep(MS(5)).await;
        }
        bench.producer.flush().await;
        assert_eq!(bench.cluster.pending_faults(), 0);
        assert_eq!(bench.check().await, [numbers(0..41)], "{fault:?}");
    }
}
