//! The table of properties that every client has: how to reach the cluster, and how patient to be
//! with it.
//!
//! Says nothing about records: what a producer or a consumer adds is in its own table.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use super::address::HostPort;
use super::builder::{ConfigBuilder, Configuration, Provided, Table, entry_points};
use super::elsewhere::{self, Elsewhere};
use super::notes::Notes;
use super::property::{Row, properties};
use super::value::Value;
use crate::error::ConfigError;
use crate::time::Duration;
use crate::types::UnknownName;

/// Tells the clients of one process apart where the user gave them no `client.id`.
static CLIENT_SEQUENCE: AtomicU64 = AtomicU64::new(1);

properties! {
    /// What every client is told about the cluster: addresses, connections, time-outs and metadata.
    ///
    /// Part of each client's own configuration, such as [`ProducerConfig`](super::ProducerConfig).
    pub struct ClientConfig { notes: Notes = Notes::default(), }
    setters { <C: Configuration> ConfigBuilder<C> } via Table::client_mut;

    /// Where to find the cluster at first: `host:port` entries separated by commas, an IPv6 address
    /// in brackets. Not all brokers need to be named, but more than one lets the client start while
    /// one is down. Required.
    "bootstrap.servers" => bootstrap_servers: Vec<HostPort> as &[HostPort] = [];

    /// The name by which brokers log and throttle this client. Unset, it is `producer-1`,
    /// `producer-2`, ... by the kind of client; of a consumer with a group,
    /// `consumer-<group.id>-<group.instance.id, or a number>`.
    "client.id" => client_id: String as &str = "";

    /// How long a connection may go unused before it is closed; `None` (in Kafka's text form, a
    /// negative number) keeps it open.
    "connections.max.idle.ms" => connections_max_idle: Option<Duration> =
        Some(Duration::from_millis(540000));

    /// How old metadata may get before it is fetched again without being asked for, so that new
    /// brokers and partitions are noticed.
    "metadata.max.age.ms" => metadata_max_age: Duration = 300000, [0 ..= 9223372036854775807];

    /// How long a topic stays among those whose metadata is fetched after its last use. Java has it
    /// for producers only (KIP-526).
    "metadata.max.idle.ms" => metadata_max_idle: Duration = 300000, [5000 ..= 9223372036854775807];

    /// How long metadata may stay unobtainable before the client starts over from
    /// `bootstrap.servers`, if `metadata.recovery.strategy` is `rebootstrap` (KIP-1102).
    "metadata.recovery.rebootstrap.trigger.ms" => metadata_recovery_rebootstrap_trigger: Duration =
        300000, [0 ..= 9223372036854775807];

    /// What to do when none of the known brokers can be reached: start over from
    /// `bootstrap.servers`, or keep trying those that are known (KIP-899).
    "metadata.recovery.strategy" => metadata_recovery_strategy: MetadataRecoveryStrategy =
        MetadataRecoveryStrategy::Rebootstrap;

    /// How many windows of `metrics.sample.window.ms` metrics look back.
    "metrics.num.samples" => metrics_num_samples: u32 = 2, [1 ..= 2147483647];

    /// Up to which level of detail metrics are recorded (KIP-105). As in Java, a producer's are all
    /// of the first level, so this changes nothing.
    "metrics.recording.level" => metrics_recording_level: MetricsRecordingLevel =
        MetricsRecordingLevel::Info;

    /// The window over which averages, maxima and rates are measured; a value counts until
    /// `metrics.num.samples` windows have passed.
    "metrics.sample.window.ms" => metrics_sample_window: Duration =
        30000, [0 ..= 9223372036854775807];

    /// The size in bytes of the socket's receive buffer (`SO_RCVBUF`); `None` (in Kafka's text
    /// form, -1) leaves it to the operating system. Consumers leave it by default, **unlike Java's**:
    /// 65536 keeps the system from growing it, at half the speed for twice the CPU with records of
    /// 1 KiB, and a distant broker sends no more than that in a round trip.
    "receive.buffer.bytes" => receive_buffer_bytes: Option<u32> = 32768, [-1 ..= 2147483647];

    /// The largest response in bytes that is accepted; a longer one closes the connection. **Not a
    /// property of the Java client**, which takes what comes: it has the name, the default and the
    /// range of librdkafka's.
    "receive.message.max.bytes" => receive_message_max_bytes: usize =
        100000000, [1000 ..= 2147483647];

    /// The longest wait before connecting again to a broker that keeps failing; up to it, the wait
    /// doubles with each failure, give or take 20 % (KIP-144). If only `reconnect.backoff.ms` is
    /// set, it is the longest wait too.
    "reconnect.backoff.max.ms" => reconnect_backoff_max: Duration =
        1000, [0 ..= 9223372036854775807];

    /// How long to wait before connecting again to a broker after the first failure.
    "reconnect.backoff.ms" => reconnect_backoff: Duration = 50, [0 ..= 9223372036854775807];

    /// How long to wait for the response to a request; then its connection is closed, and the
    /// request is sent again or fails.
    "request.timeout.ms" => request_timeout: Duration = 30000, [0 ..= 2147483647];

    /// The longest wait before a failed request is sent again; up to it, the wait doubles with each
    /// failure, give or take 20 % (KIP-580). If `retry.backoff.ms` is larger, this is the wait from
    /// the start.
    "retry.backoff.max.ms" => retry_backoff_max: Duration = 1000, [0 ..= 9223372036854775807];

    /// How long to wait before a request is sent again after its first failure.
    "retry.backoff.ms" => retry_backoff: Duration = 100, [0 ..= 9223372036854775807];

    /// The size in bytes of the socket's send buffer (`SO_SNDBUF`); `None` (in Kafka's text form,
    /// -1), the default, leaves it to the operating system, **unlike Java's** 131072: that keeps the
    /// system from growing it, which takes a tenth off a producer's speed, and no more than that
    /// leaves for a distant broker in a round trip.
    "send.buffer.bytes" => send_buffer_bytes: Option<u32> = -1, [-1 ..= 2147483647];

    /// The longest that setting up a connection may take; up to it, the allowance doubles with each
    /// failure, give or take 20 % (KIP-601).
    "socket.connection.setup.timeout.max.ms" => socket_connection_setup_timeout_max: Duration =
        30000, [1 ..= 9223372036854775807];

    /// How long setting up a connection may take, at first (KIP-601).
    "socket.connection.setup.timeout.ms" => socket_connection_setup_timeout: Duration =
        10000, [1 ..= 9223372036854775807];
}

/// What a client does when it has lost every broker it knew (`metadata.recovery.strategy`,
/// KIP-899).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum MetadataRecoveryStrategy {
    /// Keep trying the known brokers.
    None,
    /// Start over from `bootstrap.servers`.
    #[default]
    Rebootstrap,
}

impl fmt::Display for MetadataRecoveryStrategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Rebootstrap => "rebootstrap",
        })
    }
}

/// Kafka's names, in any case.
impl FromStr for MetadataRecoveryStrategy {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        match name.to_ascii_lowercase().as_str() {
            "none" => Ok(Self::None),
            "rebootstrap" => Ok(Self::Rebootstrap),
            _ => Err(UnknownName),
        }
    }
}

/// The level of detail up to which metrics are recorded (`metrics.recording.level`, KIP-105).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum MetricsRecordingLevel {
    /// What costs little.
    #[default]
    Info,
    /// What may cost more.
    Debug,
    /// Everything.
    Trace,
}

impl fmt::Display for MetricsRecordingLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Info => "INFO",
            Self::Debug => "DEBUG",
            Self::Trace => "TRACE",
        })
    }
}

/// Kafka's names, in capitals.
impl FromStr for MetricsRecordingLevel {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        match name {
            "INFO" => Ok(Self::Info),
            "DEBUG" => Ok(Self::Debug),
            "TRACE" => Ok(Self::Trace),
            _ => Err(UnknownName),
        }
    }
}

entry_points!(ClientConfig);

impl ClientConfig {
    /// The defaults of clients that read: the receive buffer may grow. (Java's have one of 65536.)
    pub(super) fn for_reading() -> Self {
        Self { receive_buffer_bytes: None, ..Self::defaults() }
    }

    /// Kafka's `AdminClientConfig` has shorter idle times. What it reads is small, and yet its
    /// receive buffer is left to the system as that of all who read.
    pub(super) fn for_administration() -> Self {
        let idle = Duration::from_secs(300);
        Self { connections_max_idle: Some(idle), ..Self::for_reading() }
    }

    /// Sees to it that a response with `fetch.max.bytes` of records, `needed` in all, is not too
    /// long.
    pub(super) fn make_room_for(
        &mut self,
        needed: usize,
        provided: &Provided,
    ) -> Result<(), ConfigError> {
        if self.receive_message_max_bytes < needed {
            if provided.has("receive.message.max.bytes") {
                return Err(ConfigError::Conflict {
                    property: "receive.message.max.bytes",
                    value: self.receive_message_max_bytes.to_string(),
                    other: "fetch.max.bytes + 512",
                    other_value: needed.to_string(),
                    rule: "the former must be at least the latter",
                });
            }
            self.receive_message_max_bytes = needed;
        }
        Ok(())
    }

    pub(super) fn notes(&self) -> &Notes {
        &self.notes
    }

    pub(super) fn keep(&mut self, notes: Notes) {
        self.notes = notes;
    }

    /// Names this client if the user did not, by its kind and what tells it apart from others of the
    /// kind (or else a number), and checks the rules between the common properties.
    pub(super) fn settle_common(
        &mut self,
        provided: &Provided,
        kind: &str,
        instance: Option<&str>,
    ) -> Result<(), ConfigError> {
        if self.bootstrap_servers.is_empty() {
            return Err(ConfigError::Missing {
                property: "bootstrap.servers",
                allowed: <Vec<HostPort> as Value>::EXPECTED.to_owned(),
            });
        }
        if !provided.has("client.id") {
            self.client_id = match instance {
                Some(instance) => format!("{kind}-{instance}"),
                None => format!("{kind}-{}", CLIENT_SEQUENCE.fetch_add(1, Ordering::Relaxed)),
            };
        }
        if provided.has("reconnect.backoff.ms") && !provided.has("reconnect.backoff.max.ms") {
            self.reconnect_backoff_max = self.reconnect_backoff;
        }
        warn_if_static(
            ("retry.backoff.ms", self.retry_backoff),
            ("retry.backoff.max.ms", self.retry_backoff_max),
        );
        warn_if_static(
            ("socket.connection.setup.timeout.ms", self.socket_connection_setup_timeout),
            ("socket.connection.setup.timeout.max.ms", self.socket_connection_setup_timeout_max),
        );
        Ok(())
    }
}

/// As Java does: a first wait above the longest one is legal, and means that the longest one is
/// always taken.
fn warn_if_static(first: (&'static str, Duration), longest: (&'static str, Duration)) {
    if first.1 > longest.1 {
        tracing::warn!(
            "`{}` = {} is above `{}` = {}: the latter is used from the start, without growth",
            first.0,
            first.1.as_millis(),
            longest.0,
            longest.1.as_millis(),
        );
    }
}

impl Table for ClientConfig {
    const ELSEWHERE: &'static [&'static [Elsewhere]] = &[elsewhere::COMMON];

    fn new() -> Self {
        Self::defaults()
    }

    fn rows() -> &'static [Row<Self>] {
        // The builder always looks at the common rows; this configuration adds none.
        &[]
    }

    fn common(&self) -> &ClientConfig {
        self
    }

    fn client_mut(&mut self) -> &mut ClientConfig {
        self
    }

    fn settle(&mut self, provided: &mut Provided) -> Result<(), ConfigError> {
        self.settle_common(provided, "client", None)
    }
}

impl Configuration for ClientConfig {}
