//! What a seed decides besides its faults: the cluster, the protocol of the group, and the times that its members go by.

use std::time::Duration;

use milena::broker::ClusterBuilder;
use milena::{BrokerId, ConsumerConfig};

use crate::faults::{self, Plan, Scope};
use crate::settings::{connections, ms, one_of};

const MS: fn(u64) -> Duration = Duration::from_millis;

pub(super) const GROUP: &str = "g";
/// The faults of single partitions happen to the first.
pub(super) const TOPICS: [&str; 2] = ["a", "b"];
/// Matches both, for those who subscribe by a pattern.
pub(super) const PATTERN: &str = "a|b";

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) nodes: usize,
    pub(super) members: usize,
    pub(super) partitions: [usize; 2],
    /// `group.protocol=consumer`, with this assignor; otherwise classic, with these.
    pub(super) modern: bool,
    assignors: &'static str,
    pub(super) by_pattern: bool,
    pub(super) is_static: bool,
    pub(super) auto_commit: bool,
    /// Whether members seek, which takes positions and commits back.
    pub(super) seeks: bool,
    /// Whether the subscription of members changes.
    pub(super) resubscribes: bool,
    pub(super) grows: bool,
    auto_commit_interval: Duration,
    session_timeout: Duration,
    heartbeat_interval: Duration,
    pub(super) max_poll_interval: Duration,
    rebalance_delay: Duration,
    max_poll_records: usize,
    partition_bytes: usize,
    max_wait: Duration,
    pub(super) request_timeout: Duration,
    api_timeout: Duration,
    retry_backoff: Duration,
    backoff_max: Duration,
    metadata_max_age: Duration,
    pub(super) longest_pause: u64,
    /// How long a member lives and does nothing odd, on average and in milliseconds.
    pub(super) calm: u64,
    pub(super) longest_batch: u64,
    pub(super) heals_at: Duration,
}

impl Setting {
    fn roll(dice: &mut fastrand::Rng) -> Self {
        let modern = dice.u8(0..5) < 2;
        let assignors = if modern {
            one_of(dice, &["", "uniform", "range"])
        } else {
            one_of(
                dice,
                &["range", "roundrobin", "sticky", "cooperative-sticky", "cooperative-sticky"],
            )
        };
        let request_timeout = MS(dice.u64(300..1_500));
        let session_timeout = MS(dice.u64(600..3_000));
        let retry_backoff = MS(dice.u64(20..150));
        Self {
            nodes: dice.usize(1..=3),
            members: dice.usize(2..=4),
            partitions: [dice.usize(1..=4), dice.usize(1..=3)],
            modern,
            assignors,
            by_pattern: dice.u8(0..5) == 0,
            is_static: dice.u8(0..4) == 0,
            auto_commit: dice.bool(),
            seeks: dice.u8(0..4) == 0,
            resubscribes: dice.u8(0..3) == 0,
            grows: dice.u8(0..3) == 0,
            auto_commit_interval: MS(one_of(dice, &[20, 200, 1_000])),
            session_timeout,
            heartbeat_interval: session_timeout / dice.u32(3..8),
            max_poll_interval: MS(dice.u64(700..3_000)),
            rebalance_delay: MS(one_of(dice, &[0, 0, 300])),
            max_poll_records: one_of(dice, &[1, 10, 500]),
            partition_bytes: one_of(dice, &[300, 1 << 20]),
            max_wait: MS(one_of(dice, &[0, 50, 300])),
            request_timeout,
            api_timeout: request_timeout * dice.u32(1..4),
            retry_backoff,
            backoff_max: retry_backoff * dice.u32(1..8),
            metadata_max_age: MS(one_of(dice, &[2_000, 500])),
            longest_pause: one_of(dice, &[5, 30, 150]),
            calm: one_of(dice, &[400, 1_200, 4_000]),
            longest_batch: dice.u64(1..8),
            heals_at: MS(dice.u64(2_000..6_000)),
        }
    }

    /// The cluster of these settings.
    pub(super) fn cluster(&self, builder: ClusterBuilder) -> ClusterBuilder {
        builder
            .group_initial_rebalance_delay(self.rebalance_delay)
            .group_session_timeouts(MS(100), MS(60_000))
            .group_consumer_session_timeout(self.session_timeout)
            .group_consumer_heartbeat_interval(self.heartbeat_interval)
    }

    /// The configuration of a member, the `slot`-th of the group and called `client_id`.
    pub(super) fn config(&self, slot: usize, client_id: String) -> ConsumerConfig {
        let mut properties = vec![
            ("client.id", client_id),
            ("group.id", GROUP.to_owned()),
            ("auto.offset.reset", "earliest".to_owned()),
            ("enable.auto.commit", self.auto_commit.to_string()),
            ("auto.commit.interval.ms", ms(self.auto_commit_interval)),
            ("max.poll.interval.ms", ms(self.max_poll_interval)),
            ("max.poll.records", self.max_poll_records.to_string()),
            ("max.partition.fetch.bytes", self.partition_bytes.to_string()),
            ("fetch.max.wait.ms", ms(self.max_wait)),
            ("request.timeout.ms", ms(self.request_timeout + self.max_wait)),
            ("default.api.timeout.ms", ms(self.api_timeout + self.max_wait)),
            ("metadata.max.age.ms", ms(self.metadata_max_age)),
        ];
        if self.is_static {
            properties.push(("group.instance.id", format!("instance-{slot}")));
        }
        if self.modern {
            properties.push(("group.protocol", "consumer".to_owned()));
            if !self.assignors.is_empty() {
                properties.push(("group.remote.assignor", self.assignors.to_owned()));
            }
        } else {
            properties.push(("partition.assignment.strategy", self.assignors.to_owned()));
            properties.push(("session.timeout.ms", ms(self.session_timeout)));
            properties.push(("heartbeat.interval.ms", ms(self.heartbeat_interval)));
        }
        let common =
            connections(self.nodes, self.request_timeout, self.retry_backoff, self.backoff_max);
        let builder = ConsumerConfig::builder().properties(common).properties(properties);
        builder.build().expect("a sound configuration")
    }

    /// How long after the faults the group may take to be at the end of everything: members that are no more are given up
    /// for dead, rebalances wait for those that do not come, a commit waits for its time; requests, connections,
    /// metadata and the back-offs in between.
    pub(super) fn recovery(&self) -> Duration {
        (self.session_timeout + self.max_poll_interval) * 3
            + (self.request_timeout + self.max_wait) * 5
            + self.api_timeout * 2
            + self.metadata_max_age * 2
            + self.backoff_max * 10
            + self.auto_commit_interval
            + MS(8_000)
    }

    fn scope(&self) -> Scope {
        Scope {
            nodes: (1..).map(BrokerId).take(self.nodes).collect(),
            topic: TOPICS[0],
            partitions: self.partitions[0] as i32,
            request_timeout: self.request_timeout,
            members: self.members,
            group: GROUP,
        }
    }
}

/// What a seed means.
pub(super) fn roll(seed: u64) -> (Setting, Plan) {
    let mut dice = fastrand::Rng::with_seed(seed);
    let setting = Setting::roll(&mut dice.fork());
    let kinds = [faults::NETWORK, faults::NODES, faults::CONSUMER, faults::GROUP, faults::GROUP];
    let kinds = kinds.concat();
    let plan = Plan::roll(&mut dice.fork(), &setting.scope(), &kinds, 16, setting.heals_at);
    (setting, plan)
}
