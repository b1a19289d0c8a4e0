//! What a seed decides besides its faults: the cluster, what the workers do, and the times that they go by.

use std::time::Duration;

use milena::broker::ClusterBuilder;
use milena::{BrokerId, ConsumerConfig, ProducerConfig, TransactionalProducerConfig};

use crate::faults::{self, Plan, Scope};
use crate::settings::{connections, ms, one_of};

const MS: fn(u64) -> Duration = Duration::from_millis;

pub(super) const GROUP: &str = "g";
pub(super) const INPUT: &str = "in";
/// The faults of single partitions happen to it.
pub(super) const OUTPUT: &str = "out";

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) nodes: usize,
    pub(super) workers: usize,
    /// Whether they copy the input as members of a group, or write records of their own.
    pub(super) copies: bool,
    modern: bool,
    version: i16,
    marker_delay: Duration,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) input_records: u64,
    pub(super) longest_transaction: u64,
    /// How long a worker lives, on average and in milliseconds.
    pub(super) calm: u64,
    pub(super) transaction_timeout: Duration,
    pub(super) request_timeout: Duration,
    delivery_timeout: Duration,
    max_block: Duration,
    linger: Duration,
    batch_size: usize,
    retry_backoff: Duration,
    backoff_max: Duration,
    session_timeout: Duration,
    pub(super) heals_at: Duration,
}

impl Setting {
    fn roll(dice: &mut fastrand::Rng) -> Self {
        let request_timeout = MS(dice.u64(300..1_500));
        let retry_backoff = MS(dice.u64(10..100));
        Self {
            nodes: dice.usize(1..=3),
            workers: dice.usize(1..=2),
            copies: dice.bool(),
            modern: dice.u8(0..3) == 0,
            version: one_of(dice, &[0, 1, 2, 2]),
            marker_delay: MS(one_of(dice, &[0, 0, 5, 80])),
            inputs: dice.usize(1..=3),
            outputs: dice.usize(1..=3),
            input_records: dice.u64(100..400),
            longest_transaction: one_of(dice, &[2, 12, 60]),
            calm: one_of(dice, &[400, 1_500, 20_000]),
            transaction_timeout: MS(one_of(dice, &[60_000, 60_000, 60_000, 1_500])),
            request_timeout,
            delivery_timeout: request_timeout * dice.u32(2..6),
            max_block: MS(one_of(dice, &[300, 2_000, 60_000])),
            linger: MS(one_of(dice, &[0, 5, 50])),
            batch_size: one_of(dice, &[0, 200, 16_384]),
            retry_backoff,
            backoff_max: retry_backoff * dice.u32(1..8),
            session_timeout: MS(dice.u64(600..3_000)),
            heals_at: MS(dice.u64(1_500..5_000)),
        }
    }

    /// Whether the coordinator may abort a transaction that is open for long.
    pub(super) fn expires(&self) -> bool {
        self.transaction_timeout < MS(10_000)
    }

    /// Whether producers raise their epochs themselves, after transactions that lost sequence numbers.
    pub(super) fn raises_epochs(&self) -> bool {
        self.version < 2
    }

    /// Whether nothing in the cluster happens after a time of its own.
    pub(super) fn is_timeless(&self) -> bool {
        self.marker_delay.is_zero() && !self.expires() && !self.copies
    }

    /// The cluster of these settings.
    pub(super) fn cluster(&self, builder: ClusterBuilder) -> ClusterBuilder {
        builder
            .transaction_version(self.version)
            .transaction_marker_delay(self.marker_delay)
            .group_session_timeouts(MS(100), MS(60_000))
            .group_consumer_session_timeout(self.session_timeout)
            .group_consumer_heartbeat_interval(self.session_timeout / 4)
    }

    fn common(&self) -> impl Iterator<Item = (&'static str, String)> {
        let common = [
            ("request.timeout.ms", ms(self.request_timeout)),
            ("metadata.max.age.ms", "2000".to_owned()),
        ];
        let connections =
            connections(self.nodes, self.request_timeout, self.retry_backoff, self.backoff_max);
        connections.into_iter().chain(common)
    }

    pub(super) fn producer(&self, slot: usize) -> TransactionalProducerConfig {
        let properties = [
            ("transactional.id", format!("t-{slot}")),
            ("client.id", format!("worker-{slot}")),
            ("transaction.timeout.ms", ms(self.transaction_timeout)),
            ("delivery.timeout.ms", ms(self.delivery_timeout + self.linger)),
            ("max.block.ms", ms(self.max_block)),
            ("linger.ms", ms(self.linger)),
            ("batch.size", self.batch_size.to_string()),
        ];
        let builder = ProducerConfig::builder().properties(self.common()).properties(properties);
        builder.build_transactional().expect("a sound configuration")
    }

    pub(super) fn consumer(&self, name: &str) -> ConsumerConfig {
        let mut properties = vec![
            ("client.id", name.to_owned()),
            ("group.id", GROUP.to_owned()),
            ("auto.offset.reset", "earliest".to_owned()),
            ("enable.auto.commit", "false".to_owned()),
            ("isolation.level", "read_committed".to_owned()),
            ("max.poll.records", self.longest_transaction.to_string()),
            ("max.poll.interval.ms", "10000".to_owned()),
            ("fetch.max.wait.ms", "50".to_owned()),
            ("default.api.timeout.ms", ms(self.request_timeout * 3)),
        ];
        if self.modern {
            properties.push(("group.protocol", "consumer".to_owned()));
        } else {
            properties.push(("session.timeout.ms", ms(self.session_timeout)));
            properties.push(("heartbeat.interval.ms", ms(self.session_timeout / 4)));
        }
        let builder = ConsumerConfig::builder().properties(self.common()).properties(properties);
        builder.build().expect("a sound configuration")
    }

    /// How long after the faults it may take until everything is done: dead members and open transactions are given up,
    /// and each step may fail once more by its time-out.
    pub(super) fn recovery(&self) -> Duration {
        self.session_timeout * 3
            + self.request_timeout * 12
            + self.delivery_timeout * 2
            + self.backoff_max * 20
            + self.marker_delay * 400
            + self.linger * 200
            + MS(30_000)
    }

    fn scope(&self) -> Scope {
        Scope {
            nodes: (1..).map(BrokerId).take(self.nodes).collect(),
            topic: OUTPUT,
            partitions: self.outputs as i32,
            request_timeout: self.request_timeout,
            members: self.workers,
            group: GROUP,
        }
    }
}

/// What a seed means.
pub(super) fn roll(seed: u64) -> (Setting, Plan) {
    let mut dice = fastrand::Rng::with_seed(seed);
    let setting = Setting::roll(&mut dice.fork());
    let mut kinds =
        [faults::NETWORK, faults::NODES, faults::TRANSACTIONS, faults::TRANSACTIONS].concat();
    if setting.copies {
        kinds.extend(faults::GROUP);
        kinds.extend(faults::CONSUMER);
    } else {
        kinds.extend(faults::PRODUCER);
    }
    let plan = Plan::roll(&mut dice.fork(), &setting.scope(), &kinds, 16, setting.heals_at);
    (setting, plan)
}
