//! Every metric of Kafka's tables, and what goes into each.

use std::collections::BTreeSet;

use super::*;
use crate::metrics::{ClientKind, MetricValue, Windows};

const MS: fn(u64) -> Duration = Duration::from_millis;

/// The groups that Java's consumer has beside those of connections, without the queues of its own
/// threads, which there are none of here.
const JAVA: &[(&str, &[&str], &str)] = &[
    (
        "consumer-metrics",
        &[],
        "commit-sync-time-ns-total committed-time-ns-total last-poll-seconds-ago \
         poll-idle-ratio-avg time-between-poll-avg time-between-poll-max",
    ),
    (
        "consumer-coordinator-metrics",
        &[],
        "assigned-partitions commit-latency-avg commit-latency-max commit-rate commit-total \
         failed-rebalance-rate-per-hour failed-rebalance-total heartbeat-rate \
         heartbeat-response-time-max heartbeat-total join-rate join-time-avg join-time-max \
         join-total last-heartbeat-seconds-ago last-rebalance-seconds-ago \
         partition-assigned-latency-avg partition-assigned-latency-max \
         partition-lost-latency-avg partition-lost-latency-max partition-revoked-latency-avg \
         partition-revoked-latency-max rebalance-latency-avg rebalance-latency-max \
         rebalance-latency-total rebalance-rate-per-hour rebalance-total sync-rate \
         sync-time-avg sync-time-max sync-total",
    ),
    (
        "consumer-fetch-manager-metrics",
        &[],
        "bytes-consumed-rate bytes-consumed-total fetch-latency-avg fetch-latency-max fetch-rate \
         fetch-size-avg fetch-size-max fetch-throttle-time-avg fetch-throttle-time-max \
         fetch-total records-consumed-rate records-consumed-total records-lag-max \
         records-lead-min records-per-request-avg",
    ),
    (
        "consumer-fetch-manager-metrics",
        &["topic"],
        "bytes-consumed-rate bytes-consumed-total fetch-size-avg fetch-size-max \
         records-consumed-rate records-consumed-total records-per-request-avg",
    ),
    (
        "consumer-fetch-manager-metrics",
        &["partition", "topic"],
        "preferred-read-replica records-lag records-lag-avg records-lag-max records-lead \
         records-lead-avg records-lead-min",
    ),
];

struct Bed {
    start: Instant,
    metrics: ConsumerMetrics,
    orders: TopicPartition,
}

impl Bed {
    fn new() -> Self {
        let (start, windows) = (Instant::now(), Windows { length: MS(30_000), count: 2 });
        let client = ClientMetrics::new(ClientKind::Consumer, "c", windows, start, 0);
        client.connecting(BrokerId(1));
        let metrics = ConsumerMetrics::new(Arc::new(client));
        Self { start, metrics, orders: TopicPartition::new("orders", 3) }
    }

    fn at(&self, millis: u64) -> Instant {
        self.start + MS(millis)
    }

    fn snapshot(&self, millis: u64) -> Metrics {
        let partition = &self.orders;
        let assigned = vec![PartitionState { partition, replica: Some(BrokerId(9)) }];
        self.metrics.snapshot(&State { assigned }, self.at(millis))
    }
}

fn value(metrics: &Metrics, group: &str, name: &str, tags: &[(&str, &str)]) -> f64 {
    let metric = metrics.get(group, name, tags).unwrap_or_else(|| panic!("{group}:{name}"));
    metric.value().as_f64().unwrap()
}

#[test]
fn every_metric_of_javas_consumer_is_there_under_its_name() {
    let bed = Bed::new();
    let facts = TopicFacts { topic: "orders", bytes: 10, records: 1 };
    bed.metrics.fetched(BrokerId(1), MS(1), 0, [facts].into_iter(), bed.at(1));
    let metrics = bed.snapshot(2);
    for (group, tags, names) in JAVA {
        let ours = metrics.iter().filter(|metric| {
            let own: Vec<_> = metric.tags().map(|(tag, _)| tag).skip(1).collect();
            metric.group() == *group && own == *tags
        });
        let ours: BTreeSet<_> = ours.map(|metric| metric.name()).collect();
        let java: BTreeSet<_> = names.split_whitespace().collect();
        let missing: Vec<_> = java.difference(&ours).collect();
        assert!(missing.is_empty(), "{group} {tags:?}: {missing:?}");
        // The group of connections has names of its own.
        let more: Vec<_> = ours.difference(&java).collect();
        assert!(*group == "consumer-metrics" || more.is_empty(), "{group} {tags:?}: {more:?}");
    }
    for metric in &metrics {
        assert!(metric.description().ends_with('.'), "{metric}");
        assert!(!matches!(metric.value(), MetricValue::Text(text) if text.is_empty()));
    }
    let partition = "consumer-fetch-manager-metrics:records-lag:{client-id=c, partition=3, \
                     topic=orders}";
    assert!(metrics.iter().any(|metric| metric.to_string() == partition));
}

#[test]
fn polls_are_timed_from_beginning_to_beginning() {
    let bed = Bed::new();
    let group = "consumer-metrics";
    assert_eq!(value(&bed.snapshot(0), group, "last-poll-seconds-ago", &[]), -1.0);
    for (begins, ends) in [(1000, 1000), (2000, 2500), (5000, 5000)] {
        bed.metrics.poll_begins(bed.at(begins));
        bed.metrics.poll_ends(bed.at(ends));
    }
    let metrics = bed.snapshot(9400);
    assert_eq!(value(&metrics, group, "last-poll-seconds-ago", &[]), 4.0);
    assert_eq!(value(&metrics, group, "time-between-poll-max", &[]), 3000.0);
    assert_eq!(value(&metrics, group, "time-between-poll-avg", &[]), 4000.0 / 3.0);
    // 500 ms of 1,500, nothing of 3,000; the first one is of no time.
    let idle = value(&metrics, group, "poll-idle-ratio-avg", &[]);
    assert!((idle - 1.0 / 6.0).abs() < 1e-9, "{idle}");
    bed.metrics.commit_waited(bed.at(0), bed.at(2));
    bed.metrics.committed_waited(bed.at(0), bed.at(3));
    let metrics = bed.snapshot(9400);
    assert_eq!(value(&metrics, group, "commit-sync-time-ns-total", &[]), 2e6);
    assert_eq!(value(&metrics, group, "committed-time-ns-total", &[]), 3e6);
}

#[test]
fn a_fetch_counts_in_all_and_by_topic() {
    let bed = Bed::new();
    let of = |topic, bytes, records| TopicFacts { topic, bytes, records };
    let both = [of("orders", 100, 3), of("payments", 50, 2)];
    bed.metrics.fetched(BrokerId(1), MS(20), 7, both.into_iter(), bed.at(10));
    bed.metrics.fetched(BrokerId(1), MS(40), 0, std::iter::empty(), bed.at(20));
    let metrics = bed.snapshot(30);
    let group = "consumer-fetch-manager-metrics";
    for (name, tags, expected) in [
        ("fetch-total", &[][..], 2.0),
        ("fetch-latency-avg", &[], 30.0),
        ("fetch-latency-max", &[], 40.0),
        ("fetch-throttle-time-max", &[], 7.0),
        ("fetch-throttle-time-avg", &[], 3.5),
        ("fetch-size-max", &[], 150.0),
        ("fetch-size-avg", &[], 75.0),
        ("records-per-request-avg", &[], 2.5),
        ("fetch-size-avg", &[("topic", "orders")], 100.0),
        ("records-per-request-avg", &[("topic", "payments")], 2.0),
    ] {
        assert_eq!(value(&metrics, group, name, tags), expected, "{name} {tags:?}");
    }
    assert_eq!(
        value(&metrics, "consumer-node-metrics", "request-latency-max", &[("node-id", "node-1")]),
        40.0
    );
}

#[test]
fn a_poll_tells_how_far_behind_partitions_are() {
    let bed = Bed::new();
    let other = TopicPartition::new("orders", 4);
    let facts =
        |partition, lag, lead| PartitionFacts { partition, records: 5, bytes: 70, lag, lead };
    let first = [facts(&bed.orders, Some(100), Some(20)), facts(&other, Some(7), None)];
    bed.metrics.handed_out(first.into_iter(), bed.at(10));
    bed.metrics.handed_out([facts(&bed.orders, Some(50), Some(70))].into_iter(), bed.at(20));
    let metrics = bed.snapshot(30);
    let group = "consumer-fetch-manager-metrics";
    let tags: &[(&str, &str)] = &[("topic", "orders"), ("partition", "3")];
    for (name, tags, expected) in [
        ("records-lag-max", &[][..], 100.0),
        ("records-lead-min", &[], 20.0),
        ("records-consumed-total", &[], 15.0),
        ("bytes-consumed-total", &[], 210.0),
        ("records-consumed-total", &[("topic", "orders")], 15.0),
        ("records-lag", tags, 50.0),
        ("records-lag-avg", tags, 75.0),
        ("records-lag-max", tags, 100.0),
        ("records-lead", tags, 70.0),
        ("records-lead-avg", tags, 45.0),
        ("records-lead-min", tags, 20.0),
        ("preferred-read-replica", tags, 9.0),
    ] {
        assert_eq!(value(&metrics, group, name, tags), expected, "{name} {tags:?}");
    }
    // What is not assigned is not told of.
    assert!(
        metrics.get(group, "records-lag", &[("topic", "orders"), ("partition", "4")]).is_none()
    );
    assert_eq!(value(&metrics, "consumer-coordinator-metrics", "assigned-partitions", &[]), 1.0);
    // Nor is it remembered when it comes back.
    bed.metrics.snapshot(&State::default(), bed.at(40));
    assert_eq!(value(&bed.snapshot(50), group, "records-lag", tags), 0.0);
}

#[test]
fn what_the_group_counted_goes_in_once() {
    let bed = Bed::new();
    let timing = |count, total, max| Timing { count, total: MS(total), max: MS(max) };
    let group = GroupStats {
        heartbeat: timing(4, 100, 60),
        join: timing(2, 30, 20),
        sync: timing(1, 5, 5),
        rebalance: timing(2, 500, 400),
        failed_rebalances: 3,
        assigned: timing(1, 8, 8),
        last_heartbeat: Some(bed.at(2000)),
        ..GroupStats::default()
    };
    let commits = CommitStats { answered: 2, latency_total: MS(30), latency_max: MS(25) };
    bed.metrics.group(&group, &commits, bed.at(3000));
    let metrics = bed.snapshot(5500);
    let of = "consumer-coordinator-metrics";
    for (name, expected) in [
        ("heartbeat-total", 4.0),
        ("heartbeat-response-time-max", 60.0),
        ("last-heartbeat-seconds-ago", 3.0),
        ("last-rebalance-seconds-ago", -1.0),
        ("join-total", 2.0),
        ("join-time-avg", 15.0),
        ("sync-time-max", 5.0),
        ("rebalance-total", 2.0),
        ("rebalance-latency-total", 500.0),
        ("rebalance-latency-avg", 250.0),
        ("failed-rebalance-total", 3.0),
        ("partition-assigned-latency-avg", 8.0),
        ("commit-total", 2.0),
        ("commit-latency-avg", 15.0),
        ("commit-latency-max", 25.0),
    ] {
        assert_eq!(value(&metrics, of, name, &[]), expected, "{name}");
    }
    // Two in a window and a bit: 32.5 s.
    let per_hour = value(&metrics, of, "rebalance-rate-per-hour", &[]);
    assert!((per_hour - 2.0 * 3600.0 / 32.5).abs() < 0.01, "{per_hour}");
    assert!(value(&metrics, of, "partition-lost-latency-avg", &[]).is_nan());
}
