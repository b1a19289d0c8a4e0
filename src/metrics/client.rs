//! What every client measures: its connections, what goes over them, and the time that takes. It is
//! told by the connections and knows none.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::snapshot::{Collector, MetricValue};
use super::table::{ClientKind, Definition, Group, sensors};
use super::window::{Kind, Tally, Windows};
use crate::time::{Duration, Instant};
use crate::types::BrokerId;

sensors! {
    /// All connections of a client together.
    pub(crate) struct ConnectionSensors in Group {
        producer: "producer-metrics",
        consumer: "consumer-metrics",
        admin: "admin-client-metrics",
    };

    /// One for each connection that is open or being opened.
    connections {
        "connection-count": Value = "How many connections are open or being opened.",
    }
    /// Each connection that was opened.
    created {
        "connection-creation-rate": Rate = "Connections opened per second.",
        "connection-creation-total": Total = "Connections opened.",
    }
    /// Each connection that ended, or could not be opened.
    closed {
        "connection-close-rate": Rate = "Connections per second that ended or could not be opened.",
        "connection-close-total": Total = "Connections that ended or could not be opened.",
    }
    /// Each connection that was authenticated.
    authenticated {
        "successful-authentication-rate": Rate = "Connections authenticated per second.",
        "successful-authentication-total": Total = "Connections authenticated.",
    }
    /// Each connection that was authenticated and cannot be again.
    authenticated_for_good {
        "successful-authentication-no-reauth-total": Total =
            "Connections authenticated to brokers that cannot do it again (before KIP-368).",
    }
    /// Each connection that was refused for who we are.
    not_authenticated {
        "failed-authentication-rate": Rate = "Authentications per second that failed.",
        "failed-authentication-total": Total = "Authentications that failed.",
    }
    /// Each open connection that was authenticated again.
    reauthenticated {
        "successful-reauthentication-rate": Rate = "Connections authenticated again, per second.",
        "successful-reauthentication-total": Total = "Connections authenticated again.",
    }
    /// Each open connection that failed to be authenticated again.
    not_reauthenticated {
        "failed-reauthentication-rate": Rate = "Renewed authentications per second that failed.",
        "failed-reauthentication-total": Total = "Renewed authentications that failed.",
    }
    /// How long authenticating an open connection again took.
    reauthentication {
        "reauthentication-latency-avg": Avg =
            "Average time in ms that authenticating an open connection again took.",
        "reauthentication-latency-max": Max =
            "Longest time in ms that authenticating an open connection again took.",
    }
    /// The bytes of each read and write.
    transferred {
        "network-io-rate": CountRate = "Reads and writes on all connections, per second.",
        "network-io-total": CountTotal = "Reads and writes on all connections.",
    }
    /// The bytes of each write.
    sent {
        "outgoing-byte-rate": Rate = "Bytes sent to all brokers, per second.",
        "outgoing-byte-total": Total = "Bytes sent to all brokers.",
    }
    /// The size of each request that was written.
    requests {
        "request-rate": CountRate = "Requests sent, per second.",
        "request-total": CountTotal = "Requests sent.",
        "request-size-avg": Avg = "Average size in bytes of requests sent.",
        "request-size-max": Max = "Size in bytes of the largest request sent.",
    }
    /// The bytes of each read.
    received {
        "incoming-byte-rate": Rate = "Bytes received from all brokers, per second.",
        "incoming-byte-total": Total = "Bytes received from all brokers.",
    }
    /// Each response.
    responses {
        "response-rate": CountRate = "Responses received, per second.",
        "response-total": CountTotal = "Responses received.",
    }
    /// How long no connection did I/O.
    waits {
        "select-rate": CountRate = "How often per second I/O was begun after none was going on.",
        "select-total": CountTotal = "How often I/O was begun after none was going on.",
        "io-wait-time-ns-avg": Avg = "Average time in ns that connections waited until there was I/O to do.",
        "io-wait-time-ns-total": Total = "Time in ns that connections waited until there was I/O to do.",
        "io-wait-ratio": Share = "The part of the time in which no connection did I/O.",
    }
    /// How long connections did I/O without a pause.
    io {
        "io-time-ns-avg": Avg = "Average time in ns that connections did I/O without a pause.",
        "io-time-ns-total": Total = "Time in ns in which connections did I/O.",
        "io-ratio": Share = "The part of the time in which connections did I/O.",
    }
}

sensors! {
    /// All connections to one broker.
    pub(crate) struct NodeSensors in Group {
        producer: "producer-node-metrics",
        consumer: "consumer-node-metrics",
        admin: "admin-client-node-metrics",
    }, by "node-id";

    /// The bytes of each write.
    sent {
        "outgoing-byte-rate": Rate = "Bytes sent to the broker, per second.",
        "outgoing-byte-total": Total = "Bytes sent to the broker.",
    }
    /// The size of each request that was written.
    requests {
        "request-rate": CountRate = "Requests sent to the broker, per second.",
        "request-total": CountTotal = "Requests sent to the broker.",
        "request-size-avg": Avg = "Average size in bytes of requests sent to the broker.",
        "request-size-max": Max = "Size in bytes of the largest request sent to the broker.",
    }
    /// The bytes of each read.
    received {
        "incoming-byte-rate": Rate = "Bytes received from the broker, per second.",
        "incoming-byte-total": Total = "Bytes received from the broker.",
    }
    /// Each response.
    responses {
        "response-rate": CountRate = "Responses received from the broker, per second.",
        "response-total": CountTotal = "Responses received from the broker.",
    }
    /// How long the client's main requests (Produce, Fetch) took, in ms.
    latency {
        "request-latency-avg": Avg = "Average time in ms from a request to its response.",
        "request-latency-max": Max = "Longest time in ms from a request to its response.",
    }
}

const APP_INFO: Group = Group::only("app-info");
const VERSION: Definition =
    Definition { name: "version", kind: Kind::Value, description: "The version of this client." };
const START_TIME: Definition = Definition {
    name: "start-time-ms",
    kind: Kind::Value,
    description: "When the client was started, in ms since 1970-01-01T00:00Z.",
};
const COUNT_GROUP: Group = Group::only("kafka-metrics-count");
const COUNT: Definition = Definition {
    name: "count",
    kind: Kind::Value,
    description: "How many metrics there are, with this one.",
};

/// What went over a connection in one of its turns.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    /// The bytes of each write.
    pub(crate) sent: Tally,
    /// The size of each request of which the last byte was written.
    pub(crate) requests: Tally,
    /// The bytes of each read.
    pub(crate) received: Tally,
    /// One for each response.
    pub(crate) responses: Tally,
}

/// The metrics of one client, shared by its connections.
#[derive(Debug)]
pub(crate) struct ClientMetrics {
    client: ClientKind,
    client_id: Arc<str>,
    windows: Windows,
    started: Instant,
    started_millis: i64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    all: ConnectionSensors,
    nodes: BTreeMap<BrokerId, NodeSensors>,
    connections: usize,
    /// How many connections are in a turn.
    busy: usize,
    /// When the first of them began, or the last one ended.
    since: Instant,
}

impl ClientMetrics {
    /// The client is started now, which is `millis` since 1970.
    pub(crate) fn new(
        client: ClientKind,
        client_id: &str,
        windows: Windows,
        now: Instant,
        millis: i64,
    ) -> Self {
        Self {
            client,
            client_id: client_id.into(),
            windows,
            started: now,
            started_millis: millis,
            state: Mutex::new(State {
                all: ConnectionSensors::new(windows),
                nodes: BTreeMap::new(),
                connections: 0,
                busy: 0,
                since: now,
            }),
        }
    }

    pub(crate) fn windows(&self) -> Windows {
        self.windows
    }

    /// When the client was started.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// A connection to a broker is about to be opened.
    pub(crate) fn connecting(&self, node: BrokerId) {
        let State { nodes, connections, .. } = &mut *self.state.lock();
        *connections += 1;
        nodes.entry(node).or_insert_with(|| NodeSensors::new(self.windows));
    }

    /// It is open.
    pub(crate) fn connected(&self, now: Instant) {
        self.state.lock().all.created.record(1.0, now);
    }

    /// It has ended, or was not opened; for want of an address, if not `reached`.
    pub(crate) fn closed(&self, reached: bool, now: Instant) {
        let State { all, connections, .. } = &mut *self.state.lock();
        *connections = connections.saturating_sub(1);
        if reached {
            all.closed.record(1.0, now);
        }
    }

    /// A connection begins a turn of reading and writing.
    pub(crate) fn turn_begins(&self, now: Instant) {
        let State { all, busy, since, .. } = &mut *self.state.lock();
        if *busy == 0 {
            all.waits.record_nanos(now.saturating_duration_since(*since), now);
            *since = now;
        }
        *busy += 1;
    }

    /// A connection to this broker ends its turn, in which this went over it.
    pub(crate) fn turn_ends(&self, node: BrokerId, traffic: &Traffic, now: Instant) {
        let State { all, nodes, busy, since, .. } = &mut *self.state.lock();
        *busy = busy.saturating_sub(1);
        if *busy == 0 {
            all.io.record_nanos(now.saturating_duration_since(*since), now);
            *since = now;
        }
        let Traffic { sent, requests, received, responses } = *traffic;
        all.transferred.record_all(sent, now);
        all.transferred.record_all(received, now);
        all.sent.record_all(sent, now);
        all.requests.record_all(requests, now);
        all.received.record_all(received, now);
        all.responses.record_all(responses, now);
        if let Some(node) = nodes.get_mut(&node) {
            node.sent.record_all(sent, now);
            node.requests.record_all(requests, now);
            node.received.record_all(received, now);
            node.responses.record_all(responses, now);
        }
    }

    /// A broker has answered one of the client's main requests.
    pub(crate) fn answered(&self, node: BrokerId, latency: Duration, now: Instant) {
        if let Some(node) = self.state.lock().nodes.get_mut(&node) {
            node.latency.record(millis(latency), now);
        }
    }

    /// Takes a snapshot; `own` tells the metrics that only this kind of client has.
    pub(crate) fn snapshot(
        &self,
        now: Instant,
        own: impl FnOnce(&mut Collector),
    ) -> super::Metrics {
        let mut to = Collector::new(self.client, Arc::clone(&self.client_id), now);
        {
            let State { all, nodes, connections, .. } = &mut *self.state.lock();
            all.connections.set(*connections as f64);
            all.read(&mut to);
            for (node, sensors) in nodes {
                sensors.read(&format!("node-{node}"), &mut to);
            }
        }
        own(&mut to);
        let version = MetricValue::Text(env!("CARGO_PKG_VERSION").to_owned());
        to.push(APP_INFO, &[], &VERSION, version);
        to.push(APP_INFO, &[], &START_TIME, MetricValue::Integer(self.started_millis));
        let count = to.len() + 1;
        to.push(COUNT_GROUP, &[], &COUNT, MetricValue::Number(count as f64));
        to.finish()
    }
}

/// The unit of Kafka's latencies.
pub(crate) fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    const MS: fn(u64) -> Duration = Duration::from_millis;
    const A: BrokerId = BrokerId(1);
    const B: BrokerId = BrokerId(-2);

    fn client(start: Instant) -> ClientMetrics {
        let windows = Windows { length: MS(30_000), count: 2 };
        ClientMetrics::new(ClientKind::Consumer, "c", windows, start, 1_234)
    }

    #[track_caller]
    fn value(metrics: &Metrics, name: &str) -> f64 {
        let metric = metrics.get("consumer-metrics", name, &[]);
        metric.and_then(|metric| metric.value().as_f64()).expect(name)
    }

    fn traffic(sent: &[f64], requests: &[f64], received: &[f64], responses: usize) -> Traffic {
        let mut traffic = Traffic::default();
        sent.iter().for_each(|bytes| traffic.sent.add(*bytes));
        requests.iter().for_each(|bytes| traffic.requests.add(*bytes));
        received.iter().for_each(|bytes| traffic.received.add(*bytes));
        (0..responses).for_each(|_| traffic.responses.add(1.0));
        traffic
    }

    #[test]
    fn turns_that_overlap_are_one_span_of_io() {
        let start = Instant::now();
        let at = |millis| start + MS(millis);
        let client = client(start);
        client.turn_begins(at(10));
        client.turn_begins(at(12));
        client.turn_ends(A, &Traffic::default(), at(15));
        client.turn_ends(B, &Traffic::default(), at(20));
        client.turn_begins(at(50));
        client.turn_ends(A, &Traffic::default(), at(52));
        let metrics = client.snapshot(at(52), |_| {});
        for (name, expected) in [
            ("select-total", 2.0),
            ("io-time-ns-total", 12e6),
            ("io-time-ns-avg", 6e6),
            ("io-wait-time-ns-total", 40e6),
            ("io-wait-time-ns-avg", 20e6),
        ] {
            assert!((value(&metrics, name) - expected).abs() < 1.0, "{name}");
        }
        // Where nothing is done for long, it is all of the time, not more.
        client.turn_begins(at(500_000));
        client.turn_ends(A, &Traffic::default(), at(500_000));
        let metrics = client.snapshot(at(500_000), |_| {});
        assert_eq!(value(&metrics, "io-wait-ratio"), 1.0);
    }

    #[test]
    fn traffic_counts_for_the_client_and_for_the_node() {
        let start = Instant::now();
        let client = client(start);
        client.connecting(A);
        client.connecting(B);
        client.turn_ends(A, &traffic(&[100.0, 50.0], &[120.0], &[], 0), start);
        client.turn_ends(B, &traffic(&[7.0], &[7.0], &[4.0, 5.0, 6.0], 2), start);
        let metrics = client.snapshot(start, |_| {});
        for (name, expected) in [
            ("network-io-total", 6.0),
            ("outgoing-byte-total", 157.0),
            ("outgoing-byte-rate", 157.0 / 30.0),
            ("request-total", 2.0),
            ("request-size-avg", 127.0 / 2.0),
            ("request-size-max", 120.0),
            ("incoming-byte-total", 15.0),
            ("response-total", 2.0),
            ("response-rate", 2.0 / 30.0),
        ] {
            assert!((value(&metrics, name) - expected).abs() < 1e-9, "{name}");
        }
        let of = |node, name| {
            let metric = metrics.get("consumer-node-metrics", name, &[("node-id", node)]);
            metric.and_then(|metric| metric.value().as_f64()).unwrap()
        };
        assert_eq!((of("node-1", "request-total"), of("node--2", "request-total")), (1.0, 1.0));
        assert_eq!(of("node-1", "outgoing-byte-total"), 150.0);
        assert_eq!(of("node--2", "incoming-byte-total"), 15.0);
        assert_eq!(of("node-1", "response-total"), 0.0);
    }

    #[test]
    fn what_has_no_address_is_not_closed_and_what_cannot_be_opened_is() {
        let start = Instant::now();
        let client = client(start);
        let count = || value(&client.snapshot(start, |_| {}), "connection-count");
        client.connecting(A);
        client.connecting(B);
        client.connecting(A);
        assert_eq!(count(), 3.0);
        client.connected(start);
        client.closed(true, start);
        client.closed(true, start);
        client.closed(false, start);
        assert_eq!(count(), 0.0);
        let metrics = client.snapshot(start, |_| {});
        assert_eq!(value(&metrics, "connection-creation-total"), 1.0);
        assert_eq!(value(&metrics, "connection-close-total"), 2.0);
        // Not connected to, so without sensors: nothing to tell, and nothing goes wrong.
        client.answered(BrokerId(9), MS(5), start);
        assert!(
            metrics
                .get("consumer-node-metrics", "request-total", &[("node-id", "node-9")])
                .is_none()
        );
    }

    #[test]
    fn the_client_says_who_it_is_and_how_much_it_tells() {
        let start = Instant::now();
        let client = client(start);
        let metrics = client.snapshot(start, |_| {});
        let started = metrics.get("app-info", "start-time-ms", &[]).unwrap();
        assert_eq!(started.value(), &MetricValue::Integer(1_234));
        assert_eq!(started.to_string(), "app-info:start-time-ms:{client-id=c}");
        let count = metrics.get("kafka-metrics-count", "count", &[]).unwrap().value().as_f64();
        assert_eq!(count, Some(metrics.len() as f64));
        client.connecting(A);
        assert_eq!(client.snapshot(start, |_| {}).len(), metrics.len() + 12);
    }
}
