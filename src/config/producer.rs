//! The producer's table, and the rules between its properties. What the values do is the producer's
//! business.

use std::fmt;
use std::str::FromStr;

use super::builder::{ConfigBuilder, Configuration, Provided, Table, entry_points};
use super::common::ClientConfig;
use super::elsewhere::{self, Elsewhere};
use super::partitioner_class::PartitionerClass;
use super::property::{Row, properties};
use crate::error::ConfigError;
use crate::time::Duration;
use crate::types::{Compression, UnknownName};

/// The most requests in flight that a broker can check for order: it remembers five batches of each
/// producer.
const MAX_IN_FLIGHT_WITH_IDEMPOTENCE: usize = 5;

properties! {
    /// A producer's configuration, checked: Kafka's properties with the defaults of Kafka 4.
    ///
    /// ```
    /// use std::time::Duration;
    /// use milena::{Acks, ProducerConfig};
    ///
    /// let config = ProducerConfig::builder()
    ///     .bootstrap_servers("localhost:9092")
    ///     .linger(Duration::from_millis(20))
    ///     .set("compression.type", "lz4")
    ///     .build()?;
    /// assert_eq!(config.acks(), Acks::All);
    /// # Ok::<(), milena::ConfigError>(())
    /// ```
    pub struct ProducerConfig { client: ClientConfig = ClientConfig::defaults(), }
    setters { ConfigBuilder<ProducerConfig> } via std::convert::identity;

    /// Which replicas must have a record before it counts as sent: all in sync, the leader, or
    /// none. With `0` nothing is awaited, and a record's offset is unknown.
    "acks" => acks: Acks = Acks::All;

    /// The size in bytes up to which the records of a partition are gathered in one batch. 0 turns
    /// batching off. A record that is larger gets a batch of its own.
    "batch.size" => batch_size: usize = 16384, [0 ..= 2147483647];

    /// The memory in bytes for records that are not acknowledged yet. When it is used up, `send`
    /// waits for up to `max.block.ms`.
    "buffer.memory" => buffer_memory: usize = 33554432, [0 ..= 9223372036854775807];

    /// The level of gzip: 1 is the fastest, 9 the smallest, -1 zlib's own choice (KIP-390).
    "compression.gzip.level" => compression_gzip_level: i32 = -1, [1 ..= 9 or -1];

    /// The level of lz4 (KIP-390). The encoder here has a single level, so it has no effect at
    /// present.
    "compression.lz4.level" => compression_lz4_level: i32 = 9, [1 ..= 17];

    /// How batches are compressed.
    "compression.type" => compression_type: Compression = Compression::None;

    /// The level of zstd: higher is smaller and slower, negative ones are the fastest (KIP-390).
    "compression.zstd.level" => compression_zstd_level: i32 = 3, [-131072 ..= 22];

    /// How long a record may take from the end of `send` to its acknowledgement or failure, waiting
    /// and retries included (KIP-91). At least `linger.ms` + `request.timeout.ms`; raised to that
    /// if it was not set.
    "delivery.timeout.ms" => delivery_timeout: Duration = 120000, [0 ..= 2147483647];

    /// Whether the broker stores each batch once and in order however often it is sent (KIP-98,
    /// KIP-679). Needs `acks` all, at least one of `retries`, and at most five of
    /// `max.in.flight.requests.per.connection`; if it was not set, other `acks` or no `retries`
    /// switch it off.
    "enable.idempotence" => enable_idempotence: bool = true;

    /// How long a batch waits for more records before it is sent, unless it fills up earlier. 0
    /// sends as soon as the connection allows.
    "linger.ms" => linger: Duration = 5, [0 ..= 9223372036854775807];

    /// How long `send` may wait for metadata and for room in `buffer.memory`, together; and how
    /// long looking up partitions may take.
    "max.block.ms" => max_block: Duration = 60000, [0 ..= 9223372036854775807];

    /// How many requests may be unanswered on a connection. With more than one and without
    /// idempotence, a retry may change the order of records.
    "max.in.flight.requests.per.connection" => max_in_flight_requests_per_connection: usize =
        5, [1 ..= 2147483647];

    /// The size in bytes that neither a record (before compression) nor a request may exceed. The
    /// broker has a limit of its own for batches, `message.max.bytes`.
    "max.request.size" => max_request_size: usize = 1048576, [0 ..= 2147483647];

    /// Whether records without a key go less often to partitions whose broker is slow (KIP-794).
    "partitioner.adaptive.partitioning.enable" => partitioner_adaptive_partitioning_enable: bool =
        true;

    /// How long a partition's broker may take no batch before records without a key avoid the
    /// partition; 0 turns this off (KIP-794).
    "partitioner.availability.timeout.ms" => partitioner_availability_timeout: Duration =
        0, [0 ..= 9223372036854775807];

    /// How the partition of a record is chosen that does not name one: by its key or else adaptively,
    /// or round robin. Only Kafka's own classes can be named: one of your own is given to
    /// `ProducerBuilder::partitioner`, which overrides this.
    "partitioner.class" => partitioner_class: PartitionerClass = PartitionerClass::BuiltIn;

    /// Whether the partition is chosen as if records had no key (KIP-794).
    "partitioner.ignore.keys" => partitioner_ignore_keys: bool = false;

    /// How often a failed batch is sent again. `delivery.timeout.ms` ends retrying as well, and is
    /// the better way to limit it.
    "retries" => retries: u32 = 2147483647, [0 ..= 2147483647];

    /// How long a transaction may take before its coordinator aborts it and fences the producer; at most
    /// `transaction.max.timeout.ms` of the broker, 15 minutes by default.
    "transaction.timeout.ms" => transaction_timeout: Duration = 60000, [1 ..= 2147483647];

    /// The name under which producers that follow each other do one and the same work, each fencing the one before
    /// (KIP-98). Not empty. A configuration with it is made by
    /// [`build_transactional`](crate::config::ConfigBuilder::build_transactional).
    "transactional.id" => transactional_id: Option<String> as Option<&str> = None;
}

/// Which replicas must have a record before the broker acknowledges it (`acks`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Acks {
    /// `0`: none; the broker does not answer, and a lost record is not noticed.
    None,
    /// `1`: the leader; a record is lost if the leader fails before the others have it.
    Leader,
    /// `all` or `-1`: every replica in sync, and at least `min.insync.replicas` of them.
    #[default]
    All,
}

impl Acks {
    /// The number that stands for it in a Produce request.
    pub fn code(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Leader => 1,
            Self::All => -1,
        }
    }
}

impl fmt::Display for Acks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "0",
            Self::Leader => "1",
            Self::All => "all",
        })
    }
}

impl FromStr for Acks {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        match text {
            "0" => Ok(Self::None),
            "1" => Ok(Self::Leader),
            "-1" => Ok(Self::All),
            text if text.eq_ignore_ascii_case("all") => Ok(Self::All),
            _ => Err(UnknownName),
        }
    }
}

/// Properties of Java's producer that are in no table.
const ELSEWHERE: &[Elsewhere] = &[
    elsewhere::ignored(
        "interceptor.classes",
        "it names Java classes; interceptors are given in code, to `ProducerBuilder::interceptor`",
    ),
    elsewhere::ignored("key.serializer", elsewhere::SERDE),
    elsewhere::only(
        "transaction.two.phase.commit.enable",
        "false",
        "two-phase commit (KIP-939) is not available in this version",
    ),
    elsewhere::ignored("value.serializer", elsewhere::SERDE),
];

entry_points!(ProducerConfig);

impl ProducerConfig {
    /// The properties that all clients have: connections, time-outs, metadata.
    pub fn client(&self) -> &ClientConfig {
        &self.client
    }

    /// The level that goes with [`compression_type`](Self::compression_type); `None` if that has no
    /// levels.
    pub fn compression_level(&self) -> Option<i32> {
        match self.compression_type {
            Compression::None | Compression::Snappy => None,
            Compression::Gzip => Some(self.compression_gzip_level),
            Compression::Lz4 => Some(self.compression_lz4_level),
            Compression::Zstd => Some(self.compression_zstd_level),
        }
    }

    /// KIP-91: time to linger and for one request must fit in.
    fn settle_delivery_timeout(&mut self, provided: &Provided) -> Result<(), ConfigError> {
        const LONGEST: Duration = Duration::from_millis(i32::MAX as u64);
        let least = (self.linger + self.client.request_timeout()).min(LONGEST);
        if self.delivery_timeout >= least {
            return Ok(());
        }
        if provided.has("delivery.timeout.ms") {
            return Err(ConfigError::Conflict {
                property: "delivery.timeout.ms",
                value: self.delivery_timeout.as_millis().to_string(),
                other: "linger.ms + request.timeout.ms",
                other_value: least.as_millis().to_string(),
                rule: "the former must be at least the latter",
            });
        }
        tracing::warn!(
            "`delivery.timeout.ms` is raised to `linger.ms` + `request.timeout.ms` = {}",
            least.as_millis()
        );
        self.delivery_timeout = least;
        Ok(())
    }

    /// KIP-679, as Java: what the user asked for must hold; the default gives way to `acks` and
    /// `retries`, but not to too many requests in flight.
    fn settle_idempotence(&mut self, provided: &Provided) -> Result<(), ConfigError> {
        let transactional = self.transactional_id.is_some();
        if !self.enable_idempotence && transactional {
            return Err(ConfigError::Conflict {
                property: "enable.idempotence",
                value: "false".to_owned(),
                other: "transactional.id",
                other_value: self.transactional_id.clone().unwrap_or_default(),
                rule: "transactions need idempotence",
            });
        }
        if !self.enable_idempotence {
            return Ok(());
        }
        let conflict = |property, value: String, rule| ConfigError::Conflict {
            property,
            value,
            other: "enable.idempotence",
            other_value: "true".to_owned(),
            rule,
        };
        let asked_for = provided.has("enable.idempotence") || transactional;
        let mut off = None;
        if self.retries == 0 {
            off = Some(conflict("retries", "0".to_owned(), "at least 1 is needed"));
        } else if self.acks != Acks::All {
            off = Some(conflict("acks", self.acks.to_string(), "it must be all"));
        }
        match off {
            Some(error) if asked_for => return Err(error),
            _ => {}
        }
        if self.max_in_flight_requests_per_connection > MAX_IN_FLIGHT_WITH_IDEMPOTENCE {
            return Err(conflict(
                "max.in.flight.requests.per.connection",
                self.max_in_flight_requests_per_connection.to_string(),
                "it must be at most 5, or `enable.idempotence` must be set to false",
            ));
        }
        if let Some(reason) = off {
            tracing::info!("idempotence is switched off: {reason}");
            self.enable_idempotence = false;
        }
        Ok(())
    }

    fn settle_transactions(&self, provided: &mut Provided) -> Result<(), ConfigError> {
        match &self.transactional_id {
            Some(id) if id.is_empty() => Err(ConfigError::Invalid {
                property: "transactional.id",
                value: String::new(),
                allowed: "a text that is not empty".to_owned(),
            }),
            None if provided.has("transaction.timeout.ms") => {
                let reason = "it is for transactional producers only";
                provided.ignore("transaction.timeout.ms", reason);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A batch is allocated whole: one that cannot fit would make every `send` fail.
    fn settle_memory(&self) -> Result<(), ConfigError> {
        if self.batch_size <= self.buffer_memory {
            return Ok(());
        }
        Err(ConfigError::Conflict {
            property: "batch.size",
            value: self.batch_size.to_string(),
            other: "buffer.memory",
            other_value: self.buffer_memory.to_string(),
            rule: "the former must be at most the latter",
        })
    }

    /// A codec that was left out of the build is refused here rather than at the first batch.
    fn settle_compression(&self, provided: &mut Provided) -> Result<(), ConfigError> {
        if provided.has("compression.lz4.level") {
            provided.ignore("compression.lz4.level", "the lz4 encoder here has a single level");
        }
        let (available, feature) = match self.compression_type {
            Compression::None => return Ok(()),
            Compression::Gzip => (cfg!(feature = "gzip"), "gzip"),
            Compression::Snappy => (cfg!(feature = "snappy"), "snappy"),
            Compression::Lz4 => (cfg!(feature = "lz4"), "lz4"),
            Compression::Zstd => (cfg!(feature = "zstd"), "zstd"),
        };
        if available {
            return Ok(());
        }
        Err(ConfigError::NotSupported {
            property: "compression.type",
            reason: format!(
                "this build is without {feature}; turn on the cargo feature `{feature}`"
            ),
        })
    }
}

impl Table for ProducerConfig {
    const ELSEWHERE: &'static [&'static [Elsewhere]] = &[ELSEWHERE, elsewhere::COMMON];

    fn new() -> Self {
        Self::defaults()
    }

    fn rows() -> &'static [Row<Self>] {
        Self::ROWS
    }

    fn common(&self) -> &ClientConfig {
        &self.client
    }

    fn client_mut(&mut self) -> &mut ClientConfig {
        &mut self.client
    }

    fn settle(&mut self, provided: &mut Provided) -> Result<(), ConfigError> {
        self.client.settle_common(provided, "producer", None)?;
        self.settle_delivery_timeout(provided)?;
        self.settle_transactions(provided)?;
        self.settle_idempotence(provided)?;
        self.settle_memory()?;
        self.settle_compression(provided)
    }

    fn check_plain(&self) -> Result<(), ConfigError> {
        let Some(value) = self.transactional_id.clone() else { return Ok(()) };
        let allowed = "left out for a Producer; a TransactionalProducer has it, whose configuration is made by \
                       `build_transactional`"
            .to_owned();
        Err(ConfigError::Invalid { property: "transactional.id", value, allowed })
    }
}

/// The configuration of a [`TransactionalProducer`](crate::TransactionalProducer): that of a producer which has a
/// `transactional.id`, and with it idempotence.
///
/// ```
/// use milena::ProducerConfig;
///
/// let builder = || ProducerConfig::builder().bootstrap_servers("localhost:9092");
/// let config = builder().transactional_id("orders-0").build_transactional()?;
/// assert_eq!(config.transactional_id(), "orders-0");
///
/// // The two kinds of producers cannot be mixed up.
/// assert_eq!(builder().build_transactional().unwrap_err().property(), Some("transactional.id"));
/// let plain = builder().transactional_id("orders-0").build();
/// assert_eq!(plain.unwrap_err().property(), Some("transactional.id"));
/// # Ok::<(), milena::ConfigError>(())
/// ```
#[derive(Debug, Clone)]
pub struct TransactionalProducerConfig {
    producer: ProducerConfig,
    transactional_id: String,
}

impl TransactionalProducerConfig {
    /// Kafka's `transactional.id`.
    pub fn transactional_id(&self) -> &str {
        &self.transactional_id
    }

    /// All properties.
    pub fn producer(&self) -> &ProducerConfig {
        &self.producer
    }
}

impl ConfigBuilder<ProducerConfig> {
    /// As [`build`](Self::build), for a [`TransactionalProducer`](crate::TransactionalProducer).
    ///
    /// # Errors
    /// As [`build`](Self::build), and if `transactional.id` is not set, or `enable.idempotence`, `acks` or `retries` do not
    /// go with it.
    pub fn build_transactional(self) -> Result<TransactionalProducerConfig, ConfigError> {
        let producer = self.check()?;
        let transactional_id = producer.transactional_id.clone().ok_or_else(|| {
            let allowed = "a name for the work that transactions do, the same after a restart";
            ConfigError::Missing { property: "transactional.id", allowed: allowed.to_owned() }
        })?;
        Ok(TransactionalProducerConfig { producer, transactional_id })
    }
}

impl Configuration for ProducerConfig {}
