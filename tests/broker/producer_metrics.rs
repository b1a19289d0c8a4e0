//! O2: the metrics of Java's producer, under their names and with their values. Time is tokio's paused clock, so waits
//! and latencies are exact.

use std::collections::BTreeSet;
use std::time::Duration;

use milena::broker::{ApiKey, Cluster, Fault, TopicSpec};
use milena::{BrokerId, ErrorCode, MetricValue, Metrics, Producer, ProducerRecord, SendError};

use crate::support::{SECOND, cluster, producer};

/// What a producer of Java's 4.3 has: group, then names, with the group's tag beside `client-id` behind the bar.
const JAVA: [(&str, &str); 5] = [
    ("app-info", "commit-id start-time-ms version"),
    ("kafka-metrics-count", "count"),
    (
        "producer-metrics",
        "batch-size-avg batch-size-max batch-split-rate batch-split-total buffer-available-bytes
        buffer-exhausted-rate buffer-exhausted-total buffer-total-bytes bufferpool-wait-ratio
        bufferpool-wait-time-ns-total compression-rate-avg connection-close-rate connection-close-total
        connection-count connection-creation-rate connection-creation-total failed-authentication-rate
        failed-authentication-total failed-reauthentication-rate failed-reauthentication-total flush-time-ns-total
        incoming-byte-rate incoming-byte-total io-ratio io-time-ns-avg io-time-ns-total io-wait-ratio
        io-wait-time-ns-avg io-wait-time-ns-total metadata-age metadata-wait-time-ns-total network-io-rate
        network-io-total outgoing-byte-rate outgoing-byte-total produce-throttle-time-avg produce-throttle-time-max
        reauthentication-latency-avg reauthentication-latency-max record-error-rate record-error-total
        record-queue-time-avg record-queue-time-max record-retry-rate record-retry-total record-send-rate
        record-send-total record-size-avg record-size-max records-per-request-avg request-latency-avg
        request-latency-max request-rate request-size-avg request-size-max request-total requests-in-flight
        response-rate response-total select-rate select-total successful-authentication-no-reauth-total
        successful-authentication-rate successful-authentication-total successful-reauthentication-rate
        successful-reauthentication-total txn-abort-time-ns-total txn-begin-time-ns-total txn-commit-time-ns-total
        txn-init-time-ns-total txn-prepare-time-ns-total txn-send-offsets-time-ns-total waiting-threads",
    ),
    (
        "producer-node-metrics",
        "incoming-byte-rate incoming-byte-total outgoing-byte-rate outgoing-byte-total request-latency-avg
        request-latency-max request-rate request-size-avg request-size-max request-total response-rate response-total
        | node-id",
    ),
    (
        "producer-topic-metrics",
        "byte-rate byte-total compression-rate record-error-rate record-error-total record-retry-rate
        record-retry-total record-send-rate record-send-total | topic",
    ),
];

/// What of it is left out, and why.
const LEFT_OUT: [(&str, &str, &str); 2] = [
    ("app-info", "commit-id", "a crate from a registry does not know it"),
    ("producer-metrics", "txn-prepare-time-ns-total", "two-phase commit (KIP-939) is not there"),
];

const ALL: &str = "producer-metrics";
const NODE: &str = "producer-node-metrics";
const TOPIC: &str = "producer-topic-metrics";

/// Answers to a snapshot.
trait Ask {
    fn of(&self, group: &str, name: &str, tags: &[(&str, &str)]) -> f64;

    fn all(&self, name: &str) -> f64 {
        self.of(ALL, name, &[])
    }

    fn topic(&self, topic: &str, name: &str) -> f64 {
        self.of(TOPIC, name, &[("topic", topic)])
    }

    fn nodes(&self, name: &str) -> Vec<f64>;
}

impl Ask for Metrics {
    #[track_caller]
    fn of(&self, group: &str, name: &str, tags: &[(&str, &str)]) -> f64 {
        let metric = self.get(group, name, tags);
        let metric = metric.unwrap_or_else(|| panic!("no {group}:{name} with {tags:?}"));
        metric.value().as_f64().unwrap()
    }

    fn nodes(&self, name: &str) -> Vec<f64> {
        let nodes = self.iter().filter(|metric| metric.group() == NODE && metric.name() == name);
        nodes.map(|metric| metric.value().as_f64().unwrap()).collect()
    }
}

#[track_caller]
fn close(got: f64, expected: f64) {
    assert!((got - expected).abs() <= 1e-6 * expected.abs().max(1e-9), "{got}, not {expected}");
}

async fn fill(producer: &Producer, topic: &str, records: usize, bytes: usize) {
    let value = "v".repeat(bytes);
    for _ in 0..records {
        let record = ProducerRecord::new(topic, &value).partition(0);
        drop(producer.send(&record).await.unwrap());
    }
    producer.flush().await;
}

/// The only batch of a partition.
fn only_batch(cluster: &Cluster, topic: &str) -> f64 {
    let batches = cluster.batches(topic, 0);
    assert_eq!(batches.len(), 1);
    batches[0].bytes.len() as f64
}

#[tokio::test(start_paused = true)]
async fn the_names_are_javas_without_those_left_out() {
    let cluster = cluster(|c| c).await;
    let producer = producer(&cluster, &[("client.id", "tester")]);
    fill(&producer, "t", 1, 1).await;
    let metrics = producer.metrics();

    let mut expected = BTreeSet::new();
    for (group, names) in JAVA {
        let (names, tag) = names.split_once('|').unwrap_or((names, ""));
        for name in names.split_whitespace() {
            assert!(expected.insert((group, name, tag.trim())), "{name} twice");
        }
    }
    assert_eq!(expected.len(), 3 + 1 + 73 + 12 + 9, "as many as Java has");
    for (group, name, reason) in LEFT_OUT {
        assert!(expected.remove(&(group, name, "")) && !reason.is_empty(), "{group}:{name}");
    }
    let mut found = BTreeSet::new();
    for metric in &metrics {
        let tags: Vec<_> = metric.tags().collect();
        assert_eq!(tags[0], ("client-id", "tester"), "{metric}");
        assert!(tags.len() <= 2 && !metric.description().is_empty(), "{metric}");
        found.insert((metric.group(), metric.name(), tags.get(1).map_or("", |tag| tag.0)));
        assert_eq!(metric.is_total(), metric.name().ends_with("-total"), "{metric}");
    }
    let missing: Vec<_> = expected.difference(&found).collect();
    let invented: Vec<_> = found.difference(&expected).collect();
    assert!(
        missing.is_empty() && invented.is_empty(),
        "missing {missing:?}, not Java's {invented:?}"
    );

    close(metrics.of("kafka-metrics-count", "count", &[]), metrics.len() as f64);
    let version = metrics.get("app-info", "version", &[("client-id", "tester")]).unwrap();
    assert_eq!(version.value(), &MetricValue::Text(env!("CARGO_PKG_VERSION").to_owned()));
    assert_eq!(version.to_string(), "app-info:version:{client-id=tester}");
    let rate = metrics.get(TOPIC, "byte-rate", &[("topic", "t")]).unwrap();
    assert_eq!(rate.to_string(), "producer-topic-metrics:byte-rate:{client-id=tester, topic=t}");
    let node = metrics.get(NODE, "request-total", &[("node-id", "node--1")]);
    assert!(node.is_some(), "a server of bootstrap.servers has an id below zero, as in Java");
    assert!(metrics.get(TOPIC, "byte-rate", &[]).is_none(), "a tag is missing");
    assert!(metrics.get(ALL, "request-total", &[("topic", "t")]).is_none(), "a tag too many");
    let printed: Vec<_> = metrics.iter().map(ToString::to_string).collect();
    assert!(printed.is_sorted());
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_is_counted_by_record_batch_request_topic_and_node() {
    let cluster = cluster(|c| c.nodes(3)).await;
    for (topic, node) in [("a", 1), ("b", 2)] {
        cluster.create_topic(TopicSpec::new(topic).partitions(1).replication_factor(3)).unwrap();
        cluster.move_leader(topic, 0, BrokerId(node)).unwrap();
    }
    let producer = producer(&cluster, &[("compression.type", "none")]);
    fill(&producer, "a", 10, 100).await;
    fill(&producer, "b", 5, 300).await;
    let metrics = producer.metrics();

    let (a, b) = (only_batch(&cluster, "a"), only_batch(&cluster, "b"));
    close(metrics.all("record-send-total"), 15.0);
    close(metrics.topic("a", "record-send-total"), 10.0);
    close(metrics.topic("b", "record-send-total"), 5.0);
    close(metrics.topic("a", "byte-total"), a);
    close(metrics.topic("b", "byte-total"), b);
    close(metrics.all("batch-size-max"), a.max(b));
    close(metrics.all("batch-size-avg"), (a + b) / 2.0);
    close(metrics.all("records-per-request-avg"), 7.5);
    close(metrics.all("compression-rate-avg"), 1.0);
    // Value, offset and timestamp deltas, null key, lengths, attributes, headers.
    close(metrics.all("record-size-max"), 300.0 + 9.0);
    close(metrics.all("record-size-avg"), ((100.0 + 9.0) + (300.0 + 9.0)) / 2.0);
    for name in
        ["record-error-total", "record-retry-total", "batch-split-total", "requests-in-flight"]
    {
        close(metrics.all(name), 0.0);
    }
    close(metrics.topic("a", "record-retry-total") + metrics.topic("b", "record-error-total"), 0.0);
    // Nothing is older than a window, and no time has passed; the window that is missing counts.
    close(metrics.all("record-send-rate"), 15.0 / 30.0);
    close(metrics.topic("b", "byte-rate"), b / 30.0);

    // Every request was answered: ApiVersions, Metadata, InitProducerId and two Produce at least.
    let requests = metrics.all("request-total");
    assert!(requests >= 8.0, "{requests}");
    close(metrics.all("response-total"), requests);
    close(metrics.all("outgoing-byte-total"), requests * metrics.all("request-size-avg"));
    assert!(metrics.all("request-size-max") > a.max(b));
    assert!(metrics.all("incoming-byte-total") > 0.0);
    for name in ["request-total", "response-total", "outgoing-byte-total", "incoming-byte-total"] {
        close(metrics.nodes(name).iter().sum(), metrics.all(name));
    }
    // The first server, and the two leaders.
    let nodes: BTreeSet<_> =
        metrics.iter().flat_map(|m| m.tags()).filter(|t| t.0 == "node-id").collect();
    assert!(nodes.contains(&("node-id", "node-1")) && nodes.contains(&("node-id", "node-2")));
    close(metrics.all("connection-creation-total"), nodes.len() as f64);
    // That to the first server was given up when the brokers were known.
    close(metrics.all("connection-close-total"), 1.0);
    close(metrics.all("connection-count"), nodes.len() as f64 - 1.0);
    assert!(metrics.all("network-io-total") >= 2.0 * requests);
    assert!(metrics.all("select-total") > 0.0);

    producer.close(SECOND).await.unwrap();
    let metrics = producer.metrics();
    close(metrics.all("connection-count"), 0.0);
    close(metrics.all("connection-close-total"), nodes.len() as f64);
    close(metrics.all("record-send-total"), 15.0);
}

#[tokio::test(start_paused = true)]
async fn times_are_measured() {
    let cluster = cluster(|c| c).await;
    cluster.create_topic(TopicSpec::new("t")).unwrap();
    let producer = producer(&cluster, &[("linger.ms", "20")]);
    cluster.inject(Fault::delay_response(ApiKey::METADATA, 2 * SECOND));
    fill(&producer, "t", 1, 1).await;
    let metrics = producer.metrics();
    close(metrics.all("metadata-wait-time-ns-total"), 2e9);
    close(metrics.all("metadata-age"), 0.0);
    // In virtual time, answers take none; the flush overrode linger.
    close(metrics.all("request-latency-max"), 0.0);
    close(metrics.all("flush-time-ns-total"), 0.0);

    producer.send(&ProducerRecord::new("t", "x")).await.unwrap().await.unwrap();
    close(producer.metrics().all("record-queue-time-max"), 20.0);
    cluster.inject(Fault::delay_response(ApiKey::PRODUCE, SECOND / 2));
    fill(&producer, "t", 1, 1).await;
    let metrics = producer.metrics();
    close(metrics.all("record-queue-time-avg"), 20.0 / 3.0);
    close(metrics.all("request-latency-max"), 500.0);
    close(metrics.all("request-latency-avg"), 500.0 / 3.0);
    close(metrics.of(NODE, "request-latency-max", &[("node-id", "node-1")]), 500.0);
    let bootstrap = metrics.of(NODE, "request-latency-max", &[("node-id", "node--1")]);
    assert!(bootstrap.is_nan(), "it got no Produce request: {bootstrap}");
    close(metrics.all("flush-time-ns-total"), 0.5e9);
    close(metrics.all("metadata-age"), 0.52);
    // Nothing took time but waiting, and there was nothing else to do in it.
    close(metrics.all("io-wait-time-ns-total"), 2.52e9);
    close(metrics.all("io-time-ns-total"), 0.0);

    tokio::time::sleep(100 * SECOND).await;
    let metrics = producer.metrics();
    assert!(metrics.all("request-latency-avg").is_nan(), "too long ago");
    close(metrics.all("record-send-rate"), 0.0);
    close(metrics.all("record-send-total"), 3.0);
    close(metrics.all("metadata-age"), 100.52);
}

#[tokio::test(start_paused = true)]
async fn a_rate_is_over_the_windows_of_the_configuration() {
    let cluster = cluster(|c| c).await;
    let windows = [("metrics.sample.window.ms", "1000"), ("metrics.num.samples", "3")];
    let producer = producer(&cluster, &windows);
    fill(&producer, "t", 6, 1).await;
    // Three windows: this one, and two that are missing.
    close(producer.metrics().all("record-send-rate"), 6.0 / 2.0);
    tokio::time::sleep(SECOND * 5 / 2).await;
    fill(&producer, "t", 4, 1).await;
    close(producer.metrics().all("record-send-rate"), 10.0 / 2.5);
    tokio::time::sleep(SECOND / 2).await;
    close(producer.metrics().all("record-send-rate"), 4.0 / 2.5);
    close(producer.metrics().all("record-send-total"), 10.0);
}

#[tokio::test(start_paused = true)]
async fn retries_are_counted_by_record_and_attempt() {
    let cluster = cluster(|c| c).await;
    let producer = producer(&cluster, &[]);
    fill(&producer, "t", 1, 1).await;
    cluster.inject(Fault::error(ApiKey::PRODUCE, ErrorCode::NOT_ENOUGH_REPLICAS).times(2));
    fill(&producer, "t", 10, 1).await;
    cluster.inject(Fault::error(ApiKey::PRODUCE, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));
    fill(&producer, "t", 5, 1).await;
    let metrics = producer.metrics();
    close(metrics.all("record-retry-total"), 25.0);
    close(metrics.topic("t", "record-retry-total"), 25.0);
    // As in Java, each attempt counts.
    close(metrics.all("record-send-total"), 1.0 + 30.0 + 10.0);
    close(metrics.all("record-error-total"), 0.0);
    assert!(metrics.all("record-retry-rate") > 0.0);
}

#[tokio::test(start_paused = true)]
async fn errors_are_counted_by_record() {
    let cluster = cluster(|c| c).await;
    let properties =
        [("delivery.timeout.ms", "5000"), ("request.timeout.ms", "2000"), ("max.block.ms", "100")];
    cluster.create_topic(TopicSpec::new("t")).unwrap();
    let producer = producer(&cluster, &properties);
    fill(&producer, "t", 1, 1).await;
    cluster.inject(Fault::error(ApiKey::PRODUCE, ErrorCode::TOPIC_AUTHORIZATION_FAILED));
    fill(&producer, "t", 7, 1).await;
    let metrics = producer.metrics();
    close(metrics.all("record-error-total"), 7.0);
    close(metrics.topic("t", "record-error-total"), 7.0);
    // A record that is not accepted is one of no topic, as in Java.
    let large = "x".repeat(2_000_000);
    producer.send(&ProducerRecord::new("t", &large)).await.unwrap_err();
    producer.try_send(&ProducerRecord::new("t", &large)).unwrap_err();
    let metrics = producer.metrics();
    close(metrics.all("record-error-total"), 9.0);
    close(metrics.topic("t", "record-error-total"), 7.0);

    // Those that expire, in flight and waiting.
    cluster.stop_node(BrokerId(1)).await.unwrap();
    fill(&producer, "t", 3, 1).await;
    let metrics = producer.metrics();
    close(metrics.all("record-error-total"), 12.0);
    close(metrics.topic("t", "record-error-total"), 10.0);
    // As in Java, what could not be opened counts as closed.
    assert!(metrics.all("connection-close-total") > metrics.all("connection-creation-total"));
    // Those that the end of the producer cuts off.
    drop(producer.send(&ProducerRecord::new("t", "x")).await.unwrap());
    producer.close(SECOND).await.unwrap_err();
    close(producer.metrics().all("record-error-total"), 13.0);
}

/// One that expired in flight has its end; that the request fails later is not another error.
#[tokio::test(start_paused = true)]
async fn a_record_fails_once() {
    let cluster = cluster(|c| c).await;
    let properties =
        [("delivery.timeout.ms", "3000"), ("request.timeout.ms", "2000"), ("linger.ms", "0")];
    let producer = producer(&cluster, &properties);
    fill(&producer, "t", 1, 1).await;
    cluster.inject(Fault::drop_response(ApiKey::PRODUCE).always());
    fill(&producer, "t", 4, 1).await;
    tokio::time::sleep(10 * SECOND).await;
    let metrics = producer.metrics();
    close(metrics.all("record-error-total"), 4.0);
    close(metrics.all("record-retry-total"), 4.0);
    close(metrics.all("requests-in-flight"), 0.0);
}

#[tokio::test(start_paused = true)]
async fn splits_are_counted() {
    let cluster = cluster(|c| c).await;
    cluster.create_topic(TopicSpec::new("t").config("max.message.bytes", "1000")).unwrap();
    let producer = producer(&cluster, &[("compression.type", "none")]);
    // Eight records in 1,700 bytes: halves fit.
    fill(&producer, "t", 8, 200).await;
    let metrics = producer.metrics();
    close(metrics.all("batch-split-total"), 1.0);
    close(metrics.all("record-retry-total"), 0.0);
    close(metrics.all("record-send-total"), 16.0);
    assert_eq!(cluster.records("t", 0).len(), 8);
}

#[tokio::test(start_paused = true)]
async fn compression_is_measured_by_topic() {
    let cluster = cluster(|c| c).await;
    let producer = producer(&cluster, &[("compression.type", "lz4")]);
    fill(&producer, "t", 100, 100).await;
    let metrics = producer.metrics();
    let ratio = metrics.topic("t", "compression-rate");
    assert!(ratio > 0.0 && ratio < 0.2, "{ratio} of what repeats itself");
    close(metrics.all("compression-rate-avg"), ratio);
    close(metrics.all("batch-size-max"), only_batch(&cluster, "t"));
}

#[tokio::test(start_paused = true)]
async fn memory_and_those_who_wait_for_it() {
    let cluster = cluster(|c| c).await;
    let properties = [
        ("buffer.memory", "2000"),
        ("batch.size", "1000"),
        ("linger.ms", "0"),
        ("max.block.ms", "3000"),
        ("metrics.num.samples", "1"),
    ];
    let producer = producer(&cluster, &properties);
    fill(&producer, "t", 1, 1).await;
    let metrics = producer.metrics();
    close(metrics.all("buffer-total-bytes"), 2000.0);
    close(metrics.all("buffer-available-bytes"), 2000.0);

    cluster.inject(Fault::delay_response(ApiKey::PRODUCE, 10 * SECOND));
    let value = "x".repeat(900);
    let record = ProducerRecord::new("t", &value);
    let held = [producer.send(&record).await.unwrap(), producer.send(&record).await.unwrap()];
    close(producer.metrics().all("buffer-available-bytes"), 0.0);
    let waiting = tokio::spawn({
        let (producer, value) = (producer.clone(), value.clone());
        async move { producer.send(&ProducerRecord::new("t", &value)).await.map(drop) }
    });
    tokio::time::sleep(SECOND).await;
    let metrics = producer.metrics();
    close(metrics.all("waiting-threads"), 1.0);
    assert!(metrics.all("requests-in-flight") >= 1.0);
    let refused = waiting.await.unwrap().unwrap_err();
    assert!(matches!(refused, SendError::BufferFull { .. }), "{refused}");
    producer.try_send(&record).unwrap_err();
    let metrics = producer.metrics();
    close(metrics.all("waiting-threads"), 0.0);
    close(metrics.all("buffer-exhausted-total"), 2.0);
    close(metrics.all("record-error-total"), 2.0);
    close(metrics.all("bufferpool-wait-time-ns-total"), 3e9);

    // A wait that is given up has been one.
    let wait = producer.send(&record);
    assert!(tokio::time::timeout(SECOND, wait).await.is_err());
    let metrics = producer.metrics();
    close(metrics.all("bufferpool-wait-time-ns-total"), 4e9);
    // The window began four seconds ago, when the metrics were first looked at.
    close(metrics.all("bufferpool-wait-ratio"), 1.0);
    close(metrics.all("buffer-exhausted-total"), 2.0);
    for held in held {
        held.await.unwrap();
    }
    close(producer.metrics().all("buffer-available-bytes"), 2000.0);
}

#[tokio::test(start_paused = true)]
async fn connections_come_and_go() {
    let cluster = cluster(|c| c).await;
    let producer = producer(&cluster, &[("connections.max.idle.ms", "60000")]);
    fill(&producer, "t", 1, 1).await;
    let before = producer.metrics();
    cluster.inject(Fault::close_before(ApiKey::PRODUCE));
    fill(&producer, "t", 2, 1).await;
    let metrics = producer.metrics();
    close(metrics.all("connection-creation-total") - before.all("connection-creation-total"), 1.0);
    close(metrics.all("connection-close-total") - before.all("connection-close-total"), 1.0);
    close(metrics.all("connection-count"), before.all("connection-count"));
    close(metrics.all("record-retry-total"), 2.0);
    // A request was lost with the connection: sent, and not answered.
    close(metrics.all("request-total") - metrics.all("response-total"), 1.0);
    // Without traffic, they are closed.
    tokio::time::sleep(Duration::from_secs(61)).await;
    close(producer.metrics().all("connection-count"), 0.0);
}
