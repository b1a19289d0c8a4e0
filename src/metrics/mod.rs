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
//! a connection, and never per record. What differs from Java, and what is left out, is written
//! where users read it, at [`Metrics`].

mod client;
mod snapshot;
mod table;
mod window;

pub(crate) use client::{ClientMetrics, Traffic, millis};
pub(crate) use snapshot::Collector;
pub use snapshot::{Metric, MetricValue, Metrics};
pub(crate) use table::{ClientKind, Definition, Group, Telling, sensors};
pub(crate) use window::{Kind, Sensor, Tally, Windows};
