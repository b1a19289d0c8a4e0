//! The metrics of a client as they were at one moment, for users.

use std::fmt;
use std::sync::Arc;

use super::table::{ClientKind, Definition, Group};
use super::window::Kind;
use crate::time::Instant;

/// The metrics of a client at one moment, in the order of their printed names.
///
/// Names, groups, tags and meanings are those of Kafka's Java client, so dashboards and alerts for
/// that one apply. Windowed metrics (`-avg`, `-max`, `-rate`, `-ratio`) are about the last
/// `metrics.num.samples` windows of `metrics.sample.window.ms` (by default, half a minute to a
/// minute); `-total` counts from the client's start. Averages and maxima of nothing are not a
/// number.
///
/// # What differs from Java
/// - `io-*` and `select-*`: there is no thread for I/O. All connections of the client together stand
///   for it: while any of them reads or writes it does I/O, else it waits; each beginning of I/O is
///   a *select*.
/// - `metadata-age` is the age of the client until there is metadata (in Java, the time since 1970).
/// - `produce-throttle-time-*` is about Produce requests (in Java, about all requests).
/// - `record-size-*` is about a record's bytes in its batch (in Java, about an upper bound of them
///   with a batch's header).
/// - `record-error-*` has all records that `send` refused (in Java, not those with an illegal topic,
///   partition or timestamp), and those that the end of the producer cut off.
/// - `fetch-size-*` and `records-per-request-avg` are about whole responses, compressed (in Java, about
///   what was handed out of each, decompressed); `bytes-consumed-*` is decompressed, as in Java.
/// - Times in milliseconds have decimals.
/// - `metrics.recording.level` changes nothing: as in Java, no metric here is above `INFO`.
/// - `txn-abort-time-ns-total` and `txn-commit-time-ns-total` have the waiting of
///   [`settle`](crate::TransactionalProducer::settle), too, by what came out.
/// - Left out are `txn-prepare-time-ns-total`, as there is no two-phase commit (KIP-939); `commit-id`,
///   which a crate from a registry does not know; and those of the queues between the threads of Java's newer
///   consumer (`application-event-*`, `background-event-*`, `unsent-requests-*`,
///   `time-between-network-thread-poll-*`), as there are no such queues. Metrics of authentication are
///   0 as long as there is none.
///
/// # Examples
/// A page for Prometheus:
///
/// ```
/// use std::fmt::Write;
/// use milena::Metrics;
///
/// fn page(metrics: &Metrics) -> String {
///     let mut page = String::new();
///     for metric in metrics {
///         let name = format!("kafka_{}_{}", metric.group(), metric.name()).replace('-', "_");
///         let tags: Vec<_> =
///             metric.tags().map(|(tag, is)| format!("{}={is:?}", tag.replace('-', "_"))).collect();
///         // Texts, such as the version, are not for Prometheus.
///         if let Some(value) = metric.value().as_f64() {
///             let kind = if metric.is_total() { "counter" } else { "gauge" };
///             let _ = writeln!(page, "# TYPE {name} {kind}\n{name}{{{}}} {value}", tags.join(","));
///         }
///     }
///     page
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Metrics {
    all: Vec<Metric>,
}

/// One metric: what it is called, what it tells, and its value.
///
/// Displayed as Kafka's tools do: `group:name:{tag=value, ...}`.
#[derive(Debug, Clone)]
pub struct Metric {
    group: &'static str,
    definition: &'static Definition,
    tags: Tags,
    value: MetricValue,
}

/// The value of a [`Metric`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum MetricValue {
    /// A measurement; not a number if there was nothing to measure.
    Number(f64),
    /// A whole number that is no measurement, such as a point in time.
    Integer(i64),
    /// A text, such as a version.
    Text(String),
}

/// `client-id`, and up to two more tags in most groups.
#[derive(Debug, Clone)]
struct Tags {
    client_id: Arc<str>,
    own: [Option<(&'static str, Arc<str>)>; 2],
}

const CLIENT_ID: &str = "client-id";

impl Tags {
    fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let own = self.own.iter().flatten().map(|(tag, value)| (*tag, &**value));
        std::iter::once((CLIENT_ID, &*self.client_id)).chain(own)
    }
}

impl Metrics {
    /// All metrics, in the order of their printed names.
    pub fn iter(&self) -> std::slice::Iter<'_, Metric> {
        self.all.iter()
    }

    /// How many there are.
    #[expect(clippy::len_without_is_empty, reason = "a client always has metrics")]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// The metric of this group and name with these tags, in any order; `client-id`, which all
    /// metrics of a client have, may be left out.
    pub fn get(&self, group: &str, name: &str, tags: &[(&str, &str)]) -> Option<&Metric> {
        self.all.iter().find(|metric| {
            let given = |tag: &(&str, &str)| tags.contains(tag);
            metric.group == group
                && metric.name() == name
                && tags.iter().all(|tag| metric.tags().any(|own| own == *tag))
                && metric.tags().all(|own| own.0 == CLIENT_ID || given(&own))
        })
    }
}

impl<'a> IntoIterator for &'a Metrics {
    type Item = &'a Metric;
    type IntoIter = std::slice::Iter<'a, Metric>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl Metric {
    /// Kafka's name, such as `record-send-rate`. Names repeat in other groups and with other tags.
    pub fn name(&self) -> &'static str {
        self.definition.name
    }

    /// The group, such as `producer-metrics`.
    pub fn group(&self) -> &'static str {
        self.group
    }

    /// What it tells, and in which unit.
    pub fn description(&self) -> &'static str {
        self.definition.description
    }

    /// The tags and their values, `client-id` first.
    pub fn tags(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.tags.iter()
    }

    /// The value at the moment of the snapshot.
    pub fn value(&self) -> &MetricValue {
        &self.value
    }

    /// Whether it only rises, as a Prometheus counter does.
    pub fn is_total(&self) -> bool {
        matches!(self.definition.kind, Kind::Total | Kind::CountTotal)
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{{", self.group, self.name())?;
        for (index, (tag, value)) in self.tags().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{tag}={value}")?;
        }
        f.write_str("}")
    }
}

impl MetricValue {
    /// The value as a number, unless it is a text.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Integer(number) => Some(*number as f64),
            Self::Text(_) => None,
        }
    }
}

impl From<f64> for MetricValue {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

/// Numbers as Kafka's tools print them, with three decimals; the rest as it is.
impl fmt::Display for MetricValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number:.3}"),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// A snapshot that is being taken.
#[derive(Debug)]
pub(crate) struct Collector {
    client: ClientKind,
    client_id: Arc<str>,
    now: Instant,
    all: Vec<Metric>,
}

impl Collector {
    pub(crate) const fn new(client: ClientKind, client_id: Arc<str>, now: Instant) -> Self {
        Self { client, client_id, now, all: Vec::new() }
    }

    /// When the snapshot is taken.
    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    pub(crate) fn push(
        &mut self,
        group: Group,
        tags: &[(&'static str, &str)],
        definition: &'static Definition,
        value: MetricValue,
    ) {
        let mut tags = tags.iter().map(|(tag, value)| (*tag, Arc::from(*value)));
        let own = [tags.next(), tags.next()];
        let tags = Tags { client_id: self.client_id.clone(), own };
        self.all.push(Metric { group: group.of(self.client), definition, tags, value });
    }

    /// How many there are so far.
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn finish(mut self) -> Metrics {
        self.all.sort_by_cached_key(Metric::to_string);
        Metrics { all: self.all }
    }
}
