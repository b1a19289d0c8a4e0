//! The consumer's table, and the rules between its properties. What the values do is the consumer's
//! business.

use super::builder::{ConfigBuilder, Configuration, Provided, Table, entry_points};
use super::choices::{AssignmentStrategy, GroupProtocol, IsolationLevel};
use super::common::ClientConfig;
use super::elsewhere::{self, Elsewhere};
use super::offset_reset::OffsetReset;
use super::property::{Row, properties};
use crate::error::ConfigError;
use crate::time::Duration;

/// What a Fetch response has besides the records, at the least that librdkafka allows for.
const FETCH_OVERHEAD: usize = 512;

/// The longest `group.instance.id` that brokers accept.
const MAX_INSTANCE_ID: usize = 249;

properties! {
    /// A consumer's configuration, checked: Kafka's properties with the defaults of Kafka 4.
    ///
    /// ```
    /// use std::time::Duration;
    /// use milena::{ConsumerConfig, OffsetReset};
    ///
    /// let config = ConsumerConfig::builder()
    ///     .bootstrap_servers("localhost:9092")
    ///     .group_id("billing")
    ///     .auto_offset_reset(OffsetReset::Earliest)
    ///     .set("isolation.level", "read_committed")
    ///     .build()?;
    /// assert!(config.enable_auto_commit());
    /// assert_eq!(config.session_timeout(), Duration::from_secs(45));
    /// # Ok::<(), milena::ConfigError>(())
    /// ```
    pub struct ConsumerConfig { client: ClientConfig = ClientConfig::defaults(), }
    setters { ConfigBuilder<ConsumerConfig> } via std::convert::identity;

    /// Whether the brokers may create a topic because it is subscribed to or assigned, if they are
    /// set to (`auto.create.topics.enable`; KIP-361).
    "allow.auto.create.topics" => allow_auto_create_topics: bool = true;

    /// How often a poll commits offsets by itself, if `enable.auto.commit` is on; with 0 every poll
    /// does.
    "auto.commit.interval.ms" => auto_commit_interval: Duration = 5000, [0 ..= 2147483647];

    /// Where to read a partition from if the group has committed no offset for it, or the log does
    /// not hold the offset: `earliest`, `latest`, `none` (an error), or `by_duration:` and an ISO
    /// 8601 duration, so long ago (KIP-1106).
    "auto.offset.reset" => auto_offset_reset: OffsetReset = OffsetReset::Latest;

    /// Whether the CRC of every batch is checked. Without it, corruption on the way or on disk goes
    /// unnoticed.
    "check.crcs" => check_crcs: bool = true;

    /// Where this client is, as brokers say it of themselves in `broker.rack`: it then fetches from
    /// a replica nearby, if the brokers choose one (KIP-392). Empty, it does not.
    "client.rack" => client_rack: String as &str = "";

    /// How long a call may take that is given no time-out of its own (KIP-266).
    "default.api.timeout.ms" => default_api_timeout: Duration = 60000, [0 ..= 2147483647];

    /// Whether offsets are committed in the background of `poll`, on revocation and on close. Needs
    /// a `group.id`; without one it is off unless it was set.
    "enable.auto.commit" => enable_auto_commit: bool = true;

    /// Whether a subscription by pattern leaves out Kafka's internal topics, such as
    /// `__consumer_offsets`.
    "exclude.internal.topics" => exclude_internal_topics: bool = true;

    /// The most bytes of records that a response should have, over all partitions; a first batch
    /// that is larger comes all the same (KIP-74).
    "fetch.max.bytes" => fetch_max_bytes: usize = 52428800, [0 ..= 2147483647];

    /// How long the broker may wait for `fetch.min.bytes` before it answers with less.
    "fetch.max.wait.ms" => fetch_max_wait: Duration = 500, [0 ..= 2147483647];

    /// How many bytes of records the broker waits for, up to `fetch.max.wait.ms`.
    "fetch.min.bytes" => fetch_min_bytes: usize = 1, [0 ..= 2147483647];

    /// The group that shares the partitions out among its members, and for which offsets are
    /// committed. Without one, partitions are assigned by the application, and nothing is committed.
    "group.id" => group_id: Option<String> as Option<&str> = None;

    /// The name under which this member comes back after a restart without a rebalance, if it does
    /// within `session.timeout.ms` (KIP-345). No two members of a group may have the same. At most
    /// 249 of: letters and digits of ASCII, `.`, `_`, `-`.
    "group.instance.id" => group_instance_id: Option<String> as Option<&str> = None;

    /// By which protocol the group shares out its partitions: `classic`, or `consumer` (KIP-848).
    "group.protocol" => group_protocol: GroupProtocol = GroupProtocol::Classic;

    /// The assignor that the coordinator shall use, for `group.protocol=consumer` only: `uniform`,
    /// `range`, or one of the brokers' own. Without one the coordinator chooses.
    "group.remote.assignor" => group_remote_assignor: Option<String> as Option<&str> = None;

    /// How often a member of a classic group tells the coordinator that it is there. Below
    /// `session.timeout.ms`, and usually a third of it at most. Not for `group.protocol=consumer`,
    /// where the group's own setting holds.
    "heartbeat.interval.ms" => heartbeat_interval: Duration = 3000, [1 ..= 2147483647];

    /// Which records of transactions are read: `read_uncommitted`, all; `read_committed`, those of
    /// committed ones only, and nothing from the first open transaction on (KIP-98).
    "isolation.level" => isolation_level: IsolationLevel = IsolationLevel::ReadUncommitted;

    /// The most bytes of records that a response should have of one partition; a first batch that
    /// is larger comes all the same (KIP-74).
    "max.partition.fetch.bytes" => max_partition_fetch_bytes: usize = 1048576, [0 ..= 2147483647];

    /// The longest time between two polls; after it the member leaves its group, so that others take
    /// over its partitions (KIP-62). It is also how long members of a classic group may take to
    /// rejoin.
    "max.poll.interval.ms" => max_poll_interval: Duration = 300000, [1 ..= 2147483647];

    /// The most records that one poll hands out (KIP-41).
    "max.poll.records" => max_poll_records: usize = 500, [1 ..= 2147483647];

    /// The ways to share out partitions that this member of a classic group knows, the preferred one
    /// first: names (`range`, `roundrobin`, `sticky`, `cooperative-sticky`) or Java's names of the
    /// classes, separated by commas. Not for `group.protocol=consumer`.
    "partition.assignment.strategy" => partition_assignment_strategy: Vec<AssignmentStrategy>
        as &[AssignmentStrategy] =
        [AssignmentStrategy::Range, AssignmentStrategy::CooperativeSticky];

    /// How long the coordinator of a classic group goes without a heartbeat before it takes the
    /// member for dead; within the brokers' `group.min.session.timeout.ms` and
    /// `group.max.session.timeout.ms`. Not for `group.protocol=consumer`, where the group's own
    /// setting holds.
    "session.timeout.ms" => session_timeout: Duration = 45000, [1 ..= 2147483647];
}

const SHARE: &str = "it is for share groups (KIP-932), which this client has not";

/// Properties of Java's consumer that are in no table.
pub(super) const ELSEWHERE: &[Elsewhere] = &[
    elsewhere::ignored(
        "interceptor.classes",
        "it names Java classes; interceptors are given in code, to `ConsumerBuilder::interceptor`",
    ),
    elsewhere::ignored("key.deserializer", elsewhere::SERDE),
    elsewhere::refused("share.acknowledgement.mode", SHARE),
    elsewhere::refused("share.acquire.mode", SHARE),
    elsewhere::ignored("value.deserializer", elsewhere::SERDE),
];

entry_points!(ConsumerConfig);

impl ConsumerConfig {
    /// The properties that all clients have: connections, time-outs, metadata.
    pub fn client(&self) -> &ClientConfig {
        &self.client
    }

    /// As Java: `consumer-<group.id>-<group.instance.id, or a number>`, and here without the group
    /// if there is none.
    fn settle_client(&mut self, provided: &Provided) -> Result<(), ConfigError> {
        let kind = match &self.group_id {
            Some(group) => format!("consumer-{group}"),
            None => "consumer".to_owned(),
        };
        self.client.settle_common(provided, &kind, self.group_instance_id.as_deref())
    }

    /// The rule of brokers and of Java's `JoinGroupRequest.validateGroupInstanceId`.
    fn check_instance_id(&self) -> Result<(), ConfigError> {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        match self.group_instance_id.as_deref() {
            Some(id)
                if matches!(id, "." | "..")
                    || id.len() > MAX_INSTANCE_ID
                    || !id.chars().all(legal) =>
            {
                Err(ConfigError::Invalid {
                    property: "group.instance.id",
                    value: id.to_owned(),
                    allowed: format!(
                        "at most {MAX_INSTANCE_ID} letters and digits of ASCII, `.`, `_` and `-`, \
                         and neither `.` nor `..`"
                    ),
                })
            }
            _ => Ok(()),
        }
    }

    /// KIP-289: without a group the default gives way, and what was asked for is refused.
    fn settle_auto_commit(&mut self, provided: &Provided) -> Result<(), ConfigError> {
        if self.group_id.is_some() || !self.enable_auto_commit {
            return Ok(());
        }
        if provided.has("enable.auto.commit") {
            return Err(ConfigError::Conflict {
                property: "enable.auto.commit",
                value: "true".to_owned(),
                other: "group.id",
                other_value: "(not set)".to_owned(),
                rule: "offsets are committed for a group: set `group.id`, or \
                       `enable.auto.commit` to false",
            });
        }
        self.enable_auto_commit = false;
        Ok(())
    }

    /// Properties of one protocol are refused with the other, as in Java (KIP-848).
    fn check_protocol(&self, provided: &Provided) -> Result<(), ConfigError> {
        let (others, rule): (&[&'static str], _) = match self.group_protocol {
            GroupProtocol::Classic => (
                &["group.remote.assignor"],
                "it is for `group.protocol` = consumer only; here `partition.assignment.strategy` \
                 is what says how partitions are shared out",
            ),
            GroupProtocol::Consumer => (
                &["partition.assignment.strategy", "heartbeat.interval.ms", "session.timeout.ms"],
                "it is for `group.protocol` = classic only; with consumer, the brokers and the \
                 group's own settings there (`group.consumer.*`, `consumer.*`) decide",
            ),
        };
        match others.iter().find(|name| provided.has(name)) {
            None => Ok(()),
            Some(&property) => Err(ConfigError::Conflict {
                property,
                value: self.get(property).unwrap_or_default(),
                other: "group.protocol",
                other_value: self.group_protocol.to_string(),
                rule,
            }),
        }
    }

    /// The coordinator must not give a member up between two of its heartbeats. As in Java, only a
    /// classic group is held to it.
    fn check_heartbeat(&self) -> Result<(), ConfigError> {
        let classic = self.group_id.is_some() && self.group_protocol == GroupProtocol::Classic;
        if !classic || self.heartbeat_interval < self.session_timeout {
            return Ok(());
        }
        Err(ConfigError::Conflict {
            property: "heartbeat.interval.ms",
            value: self.heartbeat_interval.as_millis().to_string(),
            other: "session.timeout.ms",
            other_value: self.session_timeout.as_millis().to_string(),
            rule: "the former must be below the latter, and should be a third of it at most",
        })
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
        self.check_instance_id()?;
        self.settle_client(provided)?;
        self.settle_auto_commit(provided)?;
        self.check_protocol(provided)?;
        self.check_heartbeat()?;
        // A response of the size that is asked for must not close its connection.
        self.client.make_room_for(self.fetch_max_bytes.saturating_add(FETCH_OVERHEAD), provided)
    }
}

impl Configuration for ConsumerConfig {}
