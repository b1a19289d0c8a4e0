//! What a producer measures beside its connections: batches and records on their way, the memory
//! they take, and the time that users wait. It is told of them with the time, and decides nothing.
//!
//! All is told per batch or per request; the hot path of a record has no part in it.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use crate::metrics::{ClientMetrics, Group, Metrics, Tally, millis, sensors};
use crate::time::{Duration, Instant};
use crate::types::BrokerId;

sensors! {
    /// Of all records together.
    pub(crate) struct ProducerSensors in Group::only("producer-metrics");

    /// The bytes of each batch that was sent.
    batch_size {
        "batch-size-avg": Avg = "Average size in bytes of batches sent, compressed.",
        "batch-size-max": Max = "Size in bytes of the largest batch sent, compressed.",
    }
    /// The compressed part of each batch that was sent.
    compression {
        "compression-rate-avg": Avg =
            "Average size of batches sent, compressed, as a part of their size before.",
    }
    /// How long each batch that was sent had been there, in ms.
    queue_time {
        "record-queue-time-avg": Avg = "Average time in ms from a batch's first record to its sending.",
        "record-queue-time-max": Max = "Longest time in ms from a batch's first record to its sending.",
    }
    /// The largest record of each batch that was sent, in bytes.
    record_size {
        "record-size-avg": Avg = "Average over batches of their largest record's size in bytes.",
        "record-size-max": Max = "Size in bytes of the largest record sent.",
    }
    /// The records of each request that was sent.
    records {
        "record-send-rate": Rate = "Records sent per second, retries included.",
        "record-send-total": Total = "Records sent, retries included.",
        "records-per-request-avg": Avg = "Average number of records in a request.",
    }
    /// How long each Produce request took, in ms.
    latency {
        "request-latency-avg": Avg = "Average time in ms from a Produce request to its response.",
        "request-latency-max": Max = "Longest time in ms from a Produce request to its response.",
    }
    /// For how long each response to Produce says that the broker was held back, in ms.
    throttle {
        "produce-throttle-time-avg": Avg = "Average time in ms for which a broker throttled a request.",
        "produce-throttle-time-max": Max = "Longest time in ms for which a broker throttled a request.",
    }
    /// The records of each batch that is to be sent again.
    retries {
        "record-retry-rate": Rate = "Records per second that are to be sent again.",
        "record-retry-total": Total = "Records that were to be sent again.",
    }
    /// The records of each batch that failed, and each record that was not accepted.
    errors {
        "record-error-rate": Rate = "Records per second that failed.",
        "record-error-total": Total = "Records that failed.",
    }
    /// Each batch that was split, as the broker found it too large.
    splits {
        "batch-split-rate": Rate = "Batches per second that were split.",
        "batch-split-total": Total = "Batches that were split.",
    }
    /// How long each wait for memory took.
    memory_wait {
        "bufferpool-wait-ratio": Ratio =
            "The part of the time in which senders waited for memory, added up over senders.",
        "bufferpool-wait-time-ns-total": Total = "Time in ns that senders waited for memory.",
    }
    /// Each record for which there was no memory in time.
    exhausted {
        "buffer-exhausted-rate": Rate = "Records per second refused for want of memory.",
        "buffer-exhausted-total": Total = "Records refused for want of memory.",
    }
    /// How long each flush took.
    flush {
        "flush-time-ns-total": Total = "Time in ns spent in flush.",
    }
    /// How long each initialisation of transactions took.
    txn_init {
        "txn-init-time-ns-total": Total = "Time in ns spent in initialising transactions.",
    }
    /// How long each begin of a transaction took.
    txn_begin {
        "txn-begin-time-ns-total": Total = "Time in ns spent in beginning transactions.",
    }
    /// How long each sending of offsets to a transaction took.
    txn_send_offsets {
        "txn-send-offsets-time-ns-total": Total =
            "Time in ns spent in sending offsets to transactions.",
    }
    /// How long each commit took.
    txn_commit {
        "txn-commit-time-ns-total": Total = "Time in ns spent in committing transactions.",
    }
    /// How long each abort took.
    txn_abort {
        "txn-abort-time-ns-total": Total = "Time in ns spent in aborting transactions.",
    }
    /// How long each wait for a topic's metadata took.
    metadata_wait {
        "metadata-wait-time-ns-total": Total = "Time in ns that senders waited for metadata.",
    }
    /// See [`State`].
    buffer_total {
        "buffer-total-bytes": Value = "`buffer.memory`, in bytes.",
    }
    /// See [`State`].
    buffer_available {
        "buffer-available-bytes": Value = "Bytes of `buffer.memory` that are free.",
    }
    /// See [`State`].
    waiting {
        "waiting-threads": Value = "How many senders wait for memory.",
    }
    /// See [`State`].
    in_flight {
        "requests-in-flight": Value = "Requests that were sent and are not answered.",
    }
    /// See [`State`].
    metadata_age {
        "metadata-age": Value = "The age in seconds of the metadata.",
    }
}

sensors! {
    /// Of the records of one topic.
    pub(crate) struct TopicSensors in Group::only("producer-topic-metrics"), by "topic";

    /// The records of each batch that was sent.
    records {
        "record-send-rate": Rate = "Records of the topic sent per second, retries included.",
        "record-send-total": Total = "Records of the topic sent, retries included.",
    }
    /// The bytes of each batch that was sent.
    bytes {
        "byte-rate": Rate = "Bytes of the topic's batches sent per second, compressed.",
        "byte-total": Total = "Bytes of the topic's batches sent, compressed.",
    }
    /// The compressed part of each batch that was sent.
    compression {
        "compression-rate": Avg =
            "Average size of the topic's batches, compressed, as a part of their size before.",
    }
    /// The records of each batch that is to be sent again.
    retries {
        "record-retry-rate": Rate = "Records of the topic per second that are to be sent again.",
        "record-retry-total": Total = "Records of the topic that were to be sent again.",
    }
    /// The records of each batch that failed.
    errors {
        "record-error-rate": Rate = "Records of the topic per second that failed.",
        "record-error-total": Total = "Records of the topic that failed.",
    }
}

/// A batch that is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchFacts<'a> {
    pub(crate) topic: &'a Arc<str>,
    pub(crate) records: u32,
    pub(crate) bytes: usize,
    /// The part that compression left of its records.
    pub(crate) compression: f64,
    pub(crate) largest_record: u32,
    pub(crate) created: Instant,
}

/// What is not measured as it happens but looked at when a snapshot is taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct State {
    pub(crate) buffer_total: usize,
    pub(crate) buffer_available: usize,
    pub(crate) waiting: usize,
    pub(crate) in_flight: usize,
    pub(crate) metadata_age: Duration,
}

/// The metrics of one producer.
#[derive(Debug)]
pub(crate) struct ProducerMetrics {
    client: Arc<ClientMetrics>,
    own: Mutex<Own>,
}

#[derive(Debug)]
struct Own {
    all: ProducerSensors,
    topics: HashMap<Arc<str>, TopicSensors, RandomState>,
}

impl ProducerMetrics {
    /// `client` has those of the connections.
    pub(crate) fn new(client: Arc<ClientMetrics>) -> Self {
        let all = ProducerSensors::new(client.windows());
        Self { client, own: Mutex::new(Own { all, topics: HashMap::default() }) }
    }

    /// Metrics that nobody looks at.
    #[cfg(test)]
    pub(crate) fn unwatched() -> Arc<Self> {
        use crate::metrics::{ClientKind, Windows};
        let windows = Windows { length: Duration::from_secs(30), count: 2 };
        let client = ClientMetrics::new(ClientKind::Producer, "", windows, Instant::now(), 0);
        Arc::new(Self::new(Arc::new(client)))
    }

    /// A request with these batches is sent.
    pub(crate) fn sent<'a>(&self, batches: impl Iterator<Item = BatchFacts<'a>>, now: Instant) {
        let Own { all, topics } = &mut *self.own.lock();
        let (mut sizes, mut ratios) = (Tally::NONE, Tally::NONE);
        let (mut ages, mut largest) = (Tally::NONE, Tally::NONE);
        let mut records = 0.0;
        for batch in batches {
            if !topics.contains_key(batch.topic) {
                let sensors = TopicSensors::new(self.client.windows());
                topics.insert(Arc::clone(batch.topic), sensors);
            }
            let bytes = batch.bytes as f64;
            if let Some(topic) = topics.get_mut(batch.topic) {
                topic.records.record(batch.records.into(), now);
                topic.bytes.record(bytes, now);
                topic.compression.record(batch.compression, now);
            }
            sizes.add(bytes);
            ratios.add(batch.compression);
            ages.add(millis(now.saturating_duration_since(batch.created)));
            largest.add(batch.largest_record.into());
            records += f64::from(batch.records);
        }
        all.batch_size.record_all(sizes, now);
        all.compression.record_all(ratios, now);
        all.queue_time.record_all(ages, now);
        all.record_size.record_all(largest, now);
        all.records.record(records, now);
    }

    /// A Produce request was answered.
    pub(crate) fn answered(
        &self,
        node: BrokerId,
        latency: Duration,
        throttle_ms: i32,
        now: Instant,
    ) {
        self.client.answered(node, latency, now);
        let all = &mut self.own.lock().all;
        all.latency.record(millis(latency), now);
        all.throttle.record(throttle_ms.into(), now);
    }

    /// A batch is to be sent again.
    pub(crate) fn retried(&self, topic: &str, records: u32, now: Instant) {
        let Own { all, topics } = &mut *self.own.lock();
        all.retries.record(records.into(), now);
        if let Some(topic) = topics.get_mut(topic) {
            topic.retries.record(records.into(), now);
        }
    }

    /// A batch has failed.
    pub(crate) fn failed(&self, topic: &str, records: u32, now: Instant) {
        let Own { all, topics } = &mut *self.own.lock();
        all.errors.record(records.into(), now);
        if let Some(topic) = topics.get_mut(topic) {
            topic.errors.record(records.into(), now);
        }
    }

    /// A record was not accepted; for want of memory, if so.
    pub(crate) fn refused(&self, for_memory: bool, now: Instant) {
        let all = &mut self.own.lock().all;
        all.errors.record(1.0, now);
        if for_memory {
            all.exhausted.record(1.0, now);
        }
    }

    /// A batch was split.
    pub(crate) fn split(&self, now: Instant) {
        self.own.lock().all.splits.record(1.0, now);
    }

    /// A sender has waited for memory.
    pub(crate) fn waited_for_memory(&self, began: Instant, now: Instant) {
        let span = now.saturating_duration_since(began);
        self.own.lock().all.memory_wait.record_nanos(span, now);
    }

    /// A sender has waited for a topic's metadata, and got them.
    pub(crate) fn waited_for_metadata(&self, began: Instant, now: Instant) {
        let span = now.saturating_duration_since(began);
        self.own.lock().all.metadata_wait.record_nanos(span, now);
    }

    /// A flush has ended.
    pub(crate) fn flushed(&self, began: Instant, now: Instant) {
        let span = now.saturating_duration_since(began);
        self.own.lock().all.flush.record_nanos(span, now);
    }

    /// An initialisation of transactions has ended.
    pub(crate) fn initialised_transactions(&self, began: Instant, now: Instant) {
        let span = now.saturating_duration_since(began);
        self.own.lock().all.txn_init.record_nanos(span, now);
    }

    /// The begin of a transaction has ended.
    pub(crate) fn began_transaction(&self, began: Instant, now: Instant) {
        let span = now.saturating_duration_since(began);
        self.own.lock().all.txn_begin.record_nanos(span, now);
    }

    /// A sending of offsets to a transaction has ended.
    pub(crate) fn sent_offsets(&self, began: Instant, now: Instant) {
        let span = now.saturating_duration_since(began);
        self.own.lock().all.txn_send_offsets.record_nanos(span, now);
    }

    /// A commit has ended.
    pub(crate) fn committed(&self, began: Instant, now: Instant) {
        let span = now.saturating_duration_since(began);
        self.own.lock().all.txn_commit.record_nanos(span, now);
    }

    /// An abort has ended.
    pub(crate) fn aborted(&self, began: Instant, now: Instant) {
        let span = now.saturating_duration_since(began);
        self.own.lock().all.txn_abort.record_nanos(span, now);
    }

    /// All metrics of the producer and its connections.
    pub(crate) fn snapshot(&self, state: State, now: Instant) -> Metrics {
        self.client.snapshot(now, |to| {
            let Own { all, topics } = &mut *self.own.lock();
            all.buffer_total.set(state.buffer_total as f64);
            all.buffer_available.set(state.buffer_available as f64);
            all.waiting.set(state.waiting as f64);
            all.in_flight.set(state.in_flight as f64);
            all.metadata_age.set(state.metadata_age.as_secs_f64());
            all.read(to);
            for (topic, sensors) in topics {
                sensors.read(topic, to);
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{ClientKind, Windows};

    const MS: fn(u64) -> Duration = Duration::from_millis;
    const STATE: State = State {
        buffer_total: 100,
        buffer_available: 60,
        waiting: 3,
        in_flight: 2,
        metadata_age: Duration::from_millis(1_500),
    };

    struct Bed {
        start: Instant,
        metrics: ProducerMetrics,
    }

    impl Bed {
        fn new() -> Self {
            let (start, windows) = (Instant::now(), Windows { length: MS(30_000), count: 2 });
            let client = ClientMetrics::new(ClientKind::Producer, "p", windows, start, 0);
            client.connecting(BrokerId(1));
            Self { start, metrics: ProducerMetrics::new(Arc::new(client)) }
        }

        #[track_caller]
        fn expect(&self, at: u64, expected: &[(&str, f64)]) {
            let metrics = self.metrics.snapshot(STATE, self.start + MS(at));
            for (name, expected) in expected {
                let metric = metrics.get("producer-metrics", name, &[]).expect(name);
                let got = metric.value().as_f64().expect(name);
                assert!((got - expected).abs() < 1e-9, "{name} is {got}, not {expected}");
            }
        }
    }

    #[test]
    fn requests_are_told_by_batch_and_as_a_whole() {
        let bed = Bed::new();
        let (a, b) = (Arc::from("a"), Arc::from("b"));
        let facts = |topic, records, bytes, compression, largest_record| BatchFacts {
            topic,
            records,
            bytes,
            compression,
            largest_record,
            created: bed.start,
        };
        let first = [facts(&a, 10, 500, 0.5, 70), facts(&b, 1, 100, 1.0, 30)];
        bed.metrics.sent(first.into_iter(), bed.start + MS(4));
        bed.metrics.sent([facts(&a, 4, 300, 0.75, 60)].into_iter(), bed.start + MS(10));
        bed.metrics.retried("a", 10, bed.start + MS(10));
        bed.metrics.failed("b", 1, bed.start + MS(10));
        // A topic of which nothing was sent has no metrics.
        bed.metrics.failed("c", 2, bed.start + MS(10));
        bed.expect(
            10,
            &[
                ("batch-size-avg", 300.0),
                ("batch-size-max", 500.0),
                ("compression-rate-avg", 0.75),
                ("record-queue-time-avg", 6.0),
                ("record-queue-time-max", 10.0),
                ("record-size-avg", 160.0 / 3.0),
                ("record-size-max", 70.0),
                ("record-send-total", 15.0),
                ("records-per-request-avg", 7.5),
                ("record-retry-total", 10.0),
                ("record-error-total", 3.0),
                ("record-error-rate", 3.0 / 30.0),
            ],
        );
        let metrics = bed.metrics.snapshot(STATE, bed.start);
        let of = |topic, name| {
            let metric = metrics.get("producer-topic-metrics", name, &[("topic", topic)])?;
            metric.value().as_f64()
        };
        assert_eq!(of("a", "byte-total"), Some(800.0));
        assert_eq!(of("a", "compression-rate"), Some(0.625));
        assert_eq!(of("a", "record-retry-total"), Some(10.0));
        assert_eq!(of("b", "record-error-total"), Some(1.0));
        assert_eq!(of("c", "record-error-total"), None);
    }

    #[test]
    fn answers_tell_latency_and_throttling() {
        let bed = Bed::new();
        bed.metrics.answered(BrokerId(1), MS(20), 0, bed.start);
        bed.metrics.answered(BrokerId(1), MS(40), 900, bed.start);
        bed.expect(
            0,
            &[
                ("request-latency-avg", 30.0),
                ("request-latency-max", 40.0),
                ("produce-throttle-time-avg", 450.0),
                ("produce-throttle-time-max", 900.0),
            ],
        );
        let metrics = bed.metrics.snapshot(STATE, bed.start);
        let node = [("node-id", "node-1")];
        let latency = metrics.get("producer-node-metrics", "request-latency-max", &node);
        assert_eq!(latency.and_then(|latency| latency.value().as_f64()), Some(40.0));
    }

    #[test]
    fn waits_and_state() {
        let bed = Bed::new();
        let at = |millis| bed.start + MS(millis);
        bed.metrics.waited_for_memory(at(0), at(15_000));
        bed.metrics.waited_for_memory(at(5_000), at(15_000));
        bed.metrics.waited_for_metadata(at(0), at(7));
        bed.metrics.flushed(at(1), at(4));
        bed.metrics.refused(true, at(15_000));
        bed.metrics.refused(false, at(15_000));
        bed.metrics.split(at(15_000));
        bed.expect(
            15_000,
            &[
                ("bufferpool-wait-time-ns-total", 25e9),
                ("bufferpool-wait-ratio", 25.0 / 30.0),
                ("metadata-wait-time-ns-total", 7e6),
                ("flush-time-ns-total", 3e6),
                ("buffer-exhausted-total", 1.0),
                ("record-error-total", 2.0),
                ("batch-split-total", 1.0),
                ("batch-split-rate", 1.0 / 30.0),
                ("buffer-total-bytes", 100.0),
                ("buffer-available-bytes", 60.0),
                ("waiting-threads", 3.0),
                ("requests-in-flight", 2.0),
                ("metadata-age", 1.5),
            ],
        );
    }
}
