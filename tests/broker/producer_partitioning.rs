//! P18: which partition a record goes to, on the whole stack: slow and stalled brokers, partitions that come and lose
//! their leader, keys that are ignored, round robin, and partitioners of the user's own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use milena::broker::{ApiKey, Cluster, Fault, TopicSpec};
use milena::{
    BrokerId, Partitioner, Producer, ProducerConfig, ProducerRecord, SendError, TopicPartitions,
};
use tokio::time::{Instant, interval};

use crate::support::{SECOND, cluster, in_memory, producer};

const MS: Duration = Duration::from_millis(1);
const PARTITIONS: usize = 6;
/// Batches of ten records or so, of which a hundred a second are filled at one record a millisecond.
const SMALL: [(&str, &str); 2] = [("batch.size", "1000"), ("linger.ms", "20")];

/// Three nodes, each of which leads two of the six partitions of `t`.
async fn three_nodes() -> Cluster {
    let cluster = cluster(|c| c.nodes(3)).await;
    cluster.create_topic(("t", PARTITIONS)).unwrap();
    for node in cluster.nodes() {
        assert_eq!(led_by(&cluster, node).count(), 2);
    }
    cluster
}

fn led_by(cluster: &Cluster, node: BrokerId) -> impl Iterator<Item = i32> {
    let leads = move |&p: &i32| cluster.leader("t", p).is_some_and(|(leader, _)| leader == node);
    (0..PARTITIONS as i32).filter(leads)
}

fn with(
    base: &[(&'static str, &'static str)],
    more: &[(&'static str, &'static str)],
) -> Vec<(&'static str, &'static str)> {
    base.iter().chain(more).copied().collect()
}

/// Sends one record of about a hundred bytes each millisecond; their values begin with `phase`.
async fn send_for(producer: &Producer, phase: &str, time: Duration) {
    let mut ticks = interval(MS);
    for _ in 0..time.as_millis() {
        ticks.tick().await;
        let value = format!("{phase:-<90}");
        drop(producer.send(&ProducerRecord::new("t", &value)).await.unwrap());
    }
}

/// The share of the node's partitions among the records whose values begin with `phase`.
fn share(cluster: &Cluster, node: BrokerId, phase: &str) -> f64 {
    let count = |partition: i32| {
        let records = cluster.records("t", partition);
        let of_phase = |value: &[u8]| value.starts_with(phase.as_bytes());
        records.iter().filter(|r| r.value.as_deref().is_some_and(of_phase)).count()
    };
    let all: usize = (0..PARTITIONS as i32).map(count).sum();
    assert!(all > 0, "no records of {phase}");
    led_by(cluster, node).map(count).sum::<usize>() as f64 / all as f64
}

const SLOW: BrokerId = BrokerId(2);

/// KIP-794: the queues for a slow broker are longer, so less is added to them. The broker takes five requests a second,
/// of two batches at most: a tenth of what is sent.
#[tokio::test(start_paused = true)]
async fn a_slow_broker_gets_less() {
    let mut shares = Vec::new();
    for adaptive in ["true", "false"] {
        let cluster = three_nodes().await;
        let properties = with(&SMALL, &[("partitioner.adaptive.partitioning.enable", adaptive)]);
        let producer = producer(&cluster, &properties);
        send_for(&producer, "before", 3 * SECOND).await;
        cluster.inject(Fault::delay_response(ApiKey::PRODUCE, 200 * MS).on_node(SLOW).always());
        send_for(&producer, "slow", 10 * SECOND).await;
        cluster.clear_faults();
        producer.flush().await;
        send_for(&producer, "after", 3 * SECOND).await;
        producer.close(60 * SECOND).await.unwrap();
        shares.push(["before", "slow", "after"].map(|phase| share(&cluster, SLOW, phase)));
    }
    for (shares, adaptive) in shares.iter().zip([true, false]) {
        let [before, slow, after] = shares;
        for healthy in [before, after] {
            assert!((0.25..0.42).contains(healthy), "adaptive {adaptive}: {shares:?}");
        }
        let expected = if adaptive { 0.05..0.2 } else { 0.28..0.39 };
        assert!(expected.contains(slow), "adaptive {adaptive}: {shares:?}");
    }
}

/// `partitioner.availability.timeout.ms`: a stalled broker gets nothing once it has left batches waiting for that long,
/// and its share again when it goes on.
#[tokio::test(start_paused = true)]
async fn a_stalled_broker_gets_nothing_until_it_goes_on() {
    for (timeout, expected) in [("500", 0.0..0.001), ("0", 0.25..0.42)] {
        let cluster = three_nodes().await;
        // Not adaptive, to see the one without the other.
        let availability = ("partitioner.availability.timeout.ms", timeout);
        let off = ("partitioner.adaptive.partitioning.enable", "false");
        let producer = producer(&cluster, &with(&SMALL, &[availability, off]));
        send_for(&producer, "before", 3 * SECOND).await;
        cluster.inject(Fault::delay_response(ApiKey::PRODUCE, 6 * SECOND).on_node(SLOW));
        // Until five batches are in flight, and half a second more.
        send_for(&producer, "stalling", SECOND).await;
        send_for(&producer, "stalled", 4 * SECOND).await;
        send_for(&producer, "waking", 2 * SECOND).await;
        send_for(&producer, "after", 3 * SECOND).await;
        producer.close(60 * SECOND).await.unwrap();
        let shares = ["before", "stalled", "after"].map(|phase| share(&cluster, SLOW, phase));
        let [before, stalled, after] = shares;
        assert!((0.25..0.42).contains(&before) && (0.25..0.42).contains(&after), "{shares:?}");
        assert!(expected.contains(&stalled), "timeout {timeout}: {shares:?}");
    }
}

/// The same when so little is sent that one batch waits at a time: no window is full, and no connection either.
#[tokio::test(start_paused = true)]
async fn a_stalled_broker_is_noticed_by_a_trickle() {
    let cluster = three_nodes().await;
    let properties = [("partitioner.availability.timeout.ms", "500"), ("linger.ms", "0")];
    let producer = producer(&cluster, &properties);
    producer.partitions_for("t").await.unwrap();
    cluster.inject(Fault::delay_response(ApiKey::PRODUCE, 20 * SECOND).on_node(SLOW));
    let started = Instant::now();
    let mut ticks = interval(50 * MS);
    let mut deliveries = Vec::new();
    let value = "x".repeat(5_000);
    while started.elapsed() < 15 * SECOND {
        ticks.tick().await;
        let delivery = producer.send(&ProducerRecord::new("t", &value)).await.unwrap();
        deliveries.push((started.elapsed(), delivery));
    }
    let slow: Vec<_> = led_by(&cluster, SLOW).collect();
    let mut last = Duration::ZERO;
    for (at, delivery) in deliveries {
        if slow.contains(&delivery.await.unwrap().partition()) {
            last = at;
        }
    }
    assert!((MS..5 * SECOND).contains(&last), "the last record for it was sent after {last:?}");
}

/// P18, C5: partitions that are added are used within `metadata.max.age.ms`, whoever chooses.
#[tokio::test(start_paused = true)]
async fn partitions_added_while_running_are_used() {
    const ROUND_ROBIN: &str = "org.apache.kafka.clients.producer.RoundRobinPartitioner";
    for class in ["", ROUND_ROBIN] {
        let cluster = cluster(|c| c.nodes(2)).await;
        cluster.create_topic(("t", 2)).unwrap();
        let properties = [
            ("partitioner.class", class),
            ("metadata.max.age.ms", "1000"),
            ("batch.size", "1"),
            ("linger.ms", "0"),
        ];
        let producer = producer(&cluster, &properties);
        let send = async || {
            tokio::time::advance(5 * MS).await;
            let delivery = producer.send(&ProducerRecord::new("t", "x")).await.unwrap();
            delivery.await.unwrap().partition()
        };
        for _ in 0..100 {
            assert!(send().await < 2);
        }
        cluster.add_partitions("t", 6).unwrap();
        let grown = Instant::now();
        while send().await < 2 {
            assert!(grown.elapsed() < 1200 * MS, "{class}: not used for {:?}", grown.elapsed());
        }
        let mut counts = [0; 6];
        for _ in 0..300 {
            counts[usize::try_from(send().await).unwrap()] += 1;
        }
        assert!(counts.iter().all(|&n| n >= 25), "{class}: {counts:?}");
        let keyed = ProducerRecord::new("t", "x").key("abc");
        if class.is_empty() {
            assert_eq!(producer.send(&keyed).await.unwrap().await.unwrap().partition(), 3);
        }
    }
}

/// Records without a key go where there is a leader.
#[tokio::test(start_paused = true)]
async fn partitions_without_a_leader_are_left_out() {
    let cluster = cluster(|c| c.nodes(3)).await;
    let alone = TopicSpec::new("t").partitions(PARTITIONS).replication_factor(1);
    cluster.create_topic(alone).unwrap();
    let lost: Vec<_> = led_by(&cluster, SLOW).collect();
    assert_eq!(lost.len(), 2);
    let producer = producer(&cluster, &with(&SMALL, &[("delivery.timeout.ms", "40000")]));
    send_for(&producer, "before", SECOND).await;
    producer.flush().await;
    cluster.stop_node(SLOW).await.unwrap();
    // The first to find out are records for it; then the metadata say so.
    send_for(&producer, "finding out", SECOND).await;
    let mut ends = Vec::new();
    for _ in 0..2_000 {
        let record = ProducerRecord::new("t", "0123456789");
        ends.push(producer.send(&record).await.unwrap());
    }
    for end in ends {
        let partition = end.await.unwrap().partition();
        assert!(!lost.contains(&partition), "{partition}");
    }
}

/// `partitioner.ignore.keys`, and the class that Java once had for it.
#[tokio::test(start_paused = true)]
async fn keys_are_ignored_if_asked_for() {
    let sticky = "org.apache.kafka.clients.producer.UniformStickyPartitioner";
    let default = "org.apache.kafka.clients.producer.internals.DefaultPartitioner";
    for (property, partitions) in [
        (("partitioner.ignore.keys", "false"), 1),
        (("partitioner.ignore.keys", "true"), PARTITIONS),
        (("partitioner.class", sticky), PARTITIONS),
        (("partitioner.class", default), 1),
    ] {
        let cluster = three_nodes().await;
        let producer = producer(&cluster, &with(&SMALL, &[property]));
        for _ in 0..1_000 {
            let record = ProducerRecord::new("t", "0123456789").key("abc");
            drop(producer.send(&record).await.unwrap());
        }
        producer.flush().await;
        let used = (0..PARTITIONS as i32).filter(|&p| !cluster.records("t", p).is_empty());
        assert_eq!(used.count(), partitions, "{property:?}");
    }
}

/// Each partition in turn, also when each record begins a batch (KAFKA-9965) and when each has to wait for memory.
#[tokio::test(start_paused = true)]
async fn round_robin_is_even() {
    let class = ("partitioner.class", "org.apache.kafka.clients.producer.RoundRobinPartitioner");
    for (more, wait) in [
        (&[("batch.size", "16384")][..], false),
        (&[("batch.size", "1")], false),
        (&[("batch.size", "1"), ("buffer.memory", "150")], true),
    ] {
        let cluster = three_nodes().await;
        let producer = producer(&cluster, &with(&[class, ("linger.ms", "0")], more));
        producer.partitions_for("t").await.unwrap();
        let mut refused = 0;
        for n in 0..600 {
            let record = ProducerRecord::new("t", "x").key("key");
            // One that was refused must not have taken a turn.
            refused += usize::from(n % 3 == 0 && producer.try_send(&record).is_err());
            drop(producer.send(&record).await.unwrap());
        }
        producer.flush().await;
        assert_eq!(refused > 100, wait, "{refused} of 200 were refused");
        let counts: Vec<_> =
            (0..PARTITIONS as i32).map(|p| cluster.records("t", p).len()).collect();
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        assert!(most - least <= 1, "{more:?}: {counts:?}");
        assert_eq!(counts.iter().sum::<usize>(), 800 - refused);
    }
}

/// Goes by the number in the value, and panics if there is none.
#[derive(Debug, Default)]
struct ByNumber {
    asked: Arc<AtomicUsize>,
}

impl Partitioner for ByNumber {
    fn partition(&self, record: &ProducerRecord<'_>, topic: &TopicPartitions<'_>) -> i32 {
        self.asked.fetch_add(1, Ordering::Relaxed);
        assert_eq!((topic.count(), topic.available().len()), (PARTITIONS, PARTITIONS));
        let value = record.value_bytes().unwrap_or_default();
        std::str::from_utf8(value).unwrap().trim().parse().expect("a number")
    }
}

fn with_partitioner(
    cluster: &Cluster,
    properties: &[(&str, &str)],
    partitioner: impl Partitioner,
) -> Producer {
    let config = ProducerConfig::builder()
        .bootstrap_servers(cluster.bootstrap_servers())
        .properties(properties.iter().copied());
    let builder = Producer::builder(config.build().unwrap()).connector(in_memory(cluster)).seed(1);
    builder.partitioner(partitioner).build()
}

/// A partitioner of the user's own decides, is asked once for each record, and cannot harm the producer.
#[tokio::test(start_paused = true)]
async fn a_partitioner_of_the_users_own() {
    let cluster = three_nodes().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let partitioner = ByNumber { asked: Arc::clone(&asked) };
    let properties = [("batch.size", "1"), ("buffer.memory", "150"), ("linger.ms", "0")];
    let producer = with_partitioner(&cluster, &properties, partitioner);
    let mut deliveries = Vec::new();
    for n in 0..60_i32 {
        let partition = n % PARTITIONS as i32;
        let value = partition.to_string();
        let record = ProducerRecord::new("t", &value).key("key");
        deliveries.push((partition, producer.send(&record).await.unwrap()));
    }
    assert_eq!(asked.load(Ordering::Relaxed), 60, "memory was short, and none was asked twice");
    for (partition, delivery) in deliveries {
        assert_eq!(delivery.await.unwrap().partition(), partition);
    }
    for (value, number) in [("6", 6), ("-1", -1), ("2147483647", i32::MAX)] {
        let error = producer.send(&ProducerRecord::new("t", value)).await.unwrap_err();
        assert!(
            matches!(&error, SendError::InvalidPartition { partition, count, .. }
                if (*partition, *count) == (number, Some(PARTITIONS))),
            "{error}"
        );
    }
    let error = producer.send(&ProducerRecord::new("t", "many")).await.unwrap_err();
    let at_once = producer.try_send(&ProducerRecord::new("t", "")).unwrap_err();
    for error in [error, at_once] {
        let said = error.to_string();
        assert!(matches!(error, SendError::PartitionerPanicked { .. }), "{said}");
        assert!(said.contains("a number") && said.contains("topic t"), "{said}");
    }
    // It is not asked if the record says so itself; and all goes on.
    let before = asked.load(Ordering::Relaxed);
    let named = ProducerRecord::new("t", "many").partition(5);
    assert_eq!(producer.send(&named).await.unwrap().await.unwrap().partition(), 5);
    assert_eq!(asked.load(Ordering::Relaxed), before);
    let delivery = producer.send(&ProducerRecord::new("t", "4")).await.unwrap();
    assert_eq!(delivery.await.unwrap().partition(), 4);
    producer.close(SECOND).await.unwrap();
}
