//! What a client counts and measures, under the names of Kafka's Java client.
//!
//! | file | what it decides |
//! |---|---|
//! | `window` | what a sensor tells of the values that went into it, and for how long they count |
//! | `table` | how metrics are declared: name, group, tag, kind and description, once each |
//! | `client` | what every client measures: connections, requests, bytes, time of I/O |
//! | `snapshot` | how users see metrics |
//!
//! Nothing here has a clock; times are handed in. Values go in per batch, per request, per turn of
//! a connection, and never per record. Where a meaning is not quite Java's:
//!
//! - `io-*` and `select-*`: there is no thread for I/O. All connection tasks of the client together
//!   stand for it: while any of them reads or writes it does I/O, else it waits; each beginning of
//!   I/O is a *select*.
//! - `metadata-age` is the age of the client until there is metadata (in Java, the time since 1970).
//! - `produce-throttle-time-*` is about Produce requests only (in Java, all requests).
//! - `record-size-*` is about bytes in the batch (in Java, an upper bound that is computed before).
//! - Times in milliseconds have decimals.
//! - `metrics.recording.level` changes nothing: as in Java, no metric of a producer is above `INFO`.
//!
//! Java's metrics that are not here, and why:
//!
//! | metric | reason |
//! |---|---|
//! | `producer-metrics:txn-*-time-ns-total` | there are no transactions yet |
//! | `app-info:commit-id` | a crate from a registry does not know it |
//!
//! Authentication is measured when there is some: without SASL, its metrics are 0 as in Java.

mod client;
mod snapshot;
mod table;
mod window;

pub(crate) use client::{ClientMetrics, Traffic, millis};
pub(crate) use snapshot::Collector;
pub use snapshot::{Metric, MetricValue, Metrics};
pub(crate) use table::{ClientKind, Definition, Group, Telling, sensors};
pub(crate) use window::{Kind, Sensor, Tally, Windows};
