//! The table of the plain reader of assigned partitions, and its rules. It has no group, commits
//! nothing and is told where to start, so most of the consumer's properties have no meaning for it.

use super::builder::{ConfigBuilder, Configuration, Provided, Table, entry_points};
use super::common::ClientConfig;
use super::elsewhere::{self, Elsewhere};
use super::property::{Row, properties};
use crate::error::ConfigError;
use crate::time::Duration;

/// What a Fetch response has besides the records, at the least that librdkafka allows for.
const FETCH_OVERHEAD: usize = 512;

properties! {
    /// The configuration of a reader of assigned partitions: the properties of Kafka's consumer
    /// that concern fetching.
    pub struct ConsumerConfig { client: ClientConfig = ClientConfig::defaults(), }
    setters { ConfigBuilder<ConsumerConfig> } via std::convert::identity;

    /// Whether the brokers may create a topic because it is read from, if they are set to
    /// (`auto.create.topics.enable`). **Java's default is `true`**; here a mistyped name creates
    /// nothing unless it is asked for.
    "allow.auto.create.topics" => allow_auto_create_topics: bool = false;

    /// Whether the CRC of every batch is checked. Without it, corruption on the way or on disk goes
    /// unnoticed.
    "check.crcs" => check_crcs: bool = true;

    /// The most bytes of records that a response should have, over all partitions; a first batch
    /// that is larger comes all the same (KIP-74).
    "fetch.max.bytes" => fetch_max_bytes: usize = 52428800, [0 ..= 2147483647];

    /// How long the broker may wait for `fetch.min.bytes` before it answers with less.
    "fetch.max.wait.ms" => fetch_max_wait: Duration = 500, [0 ..= 2147483647];

    /// How many bytes of records the broker waits for, up to `fetch.max.wait.ms`.
    "fetch.min.bytes" => fetch_min_bytes: usize = 1, [0 ..= 2147483647];

    /// The most bytes of records that a response should have of one partition; a first batch that
    /// is larger comes all the same (KIP-74).
    "max.partition.fetch.bytes" => max_partition_fetch_bytes: usize = 1048576, [0 ..= 2147483647];
}

const GROUP: &str = "a reader of assigned partitions has no group and commits no offsets";
const POSITION: &str = "a reader is told in code where it starts";
const POLL: &str = "a reader hands out what was fetched, without a limit by count or time";

/// Properties of Java's consumer that are in no table.
pub(super) const ELSEWHERE: &[Elsewhere] = &[
    elsewhere::ignored("auto.commit.interval.ms", GROUP),
    elsewhere::ignored("auto.offset.reset", POSITION),
    elsewhere::ignored("client.rack", "records are read from the leader only"),
    elsewhere::ignored("default.api.timeout.ms", "time-outs are given in code"),
    elsewhere::ignored("enable.auto.commit", GROUP),
    elsewhere::ignored("exclude.internal.topics", GROUP),
    elsewhere::ignored("group.id", GROUP),
    elsewhere::ignored("group.instance.id", GROUP),
    elsewhere::ignored("group.protocol", GROUP),
    elsewhere::ignored("group.remote.assignor", GROUP),
    elsewhere::ignored("heartbeat.interval.ms", GROUP),
    elsewhere::ignored("interceptor.classes", elsewhere::JVM),
    elsewhere::only("isolation.level", "read_uncommitted", "only read_uncommitted is available"),
    elsewhere::ignored("key.deserializer", elsewhere::SERDE),
    elsewhere::ignored("max.poll.interval.ms", POLL),
    elsewhere::ignored("max.poll.records", POLL),
    elsewhere::ignored("partition.assignment.strategy", GROUP),
    elsewhere::ignored("session.timeout.ms", GROUP),
    elsewhere::ignored("share.acknowledgement.mode", GROUP),
    elsewhere::ignored("share.acquire.mode", GROUP),
    elsewhere::ignored("value.deserializer", elsewhere::SERDE),
];

entry_points!(ConsumerConfig);

impl ConsumerConfig {
    /// The properties that all clients have: connections, time-outs, metadata.
    pub fn client(&self) -> &ClientConfig {
        &self.client
    }
}

impl Table for ConsumerConfig {
    const ELSEWHERE: &'static [&'static [Elsewhere]] = &[ELSEWHERE, elsewhere::COMMON];

    fn new() -> Self {
        Self { client: ClientConfig::for_reading(), ..Self::defaults() }
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
        self.client.settle_common(provided, "reader")?;
        // A response of the size that is asked for must not close its connection.
        self.client.make_room_for(self.fetch_max_bytes.saturating_add(FETCH_OVERHEAD), provided)
    }
}

impl Configuration for ConsumerConfig {}
