//! From a configuration to a running consumer: the parts are made and wired here.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::Consumer;
use super::driver::{Driver, Shared};
use super::fetcher::{Checks, FetchConfig, Fetcher};
use super::group::assign::{
    Assignor, CooperativeStickyAssignor, RangeAssignor, RoundRobinAssignor, StickyAssignor,
};
use super::group::{Group, GroupConfig, MemberProtocol};
use super::handle::ConsumerHandle;
use super::interceptor::{ConsumerInterceptor, ConsumerInterceptors};
use super::membership::Membership;
use super::metrics::ConsumerMetrics;
use super::offsets::{AutoCommit, Offsets, OffsetsConfig};
use super::watch::Watch;
use crate::client::Client;
use crate::config::{AssignmentStrategy, ConsumerConfig, GroupProtocol};
use crate::error::GroupError;
use crate::metrics::ClientKind;
use crate::net::Connect;
use crate::time::{Backoff, Instant, SystemClock};

/// Builds a [`Consumer`] with parts other than the usual ones.
#[derive(Debug)]
pub struct ConsumerBuilder {
    config: ConsumerConfig,
    connector: Option<Arc<dyn Connect>>,
    assignors: Vec<Arc<dyn Assignor>>,
    interceptors: ConsumerInterceptors,
    seed: Option<u64>,
}

impl ConsumerBuilder {
    pub(crate) fn new(config: ConsumerConfig) -> Self {
        Self {
            config,
            connector: None,
            assignors: Vec::new(),
            interceptors: ConsumerInterceptors::default(),
            seed: None,
        }
    }

    /// How connections are opened; TCP if it is not set. For tests, simulations and tunnels.
    #[must_use]
    pub fn connector(mut self, connector: impl Connect) -> Self {
        self.connector = Some(Arc::new(connector));
        self
    }

    /// Adds an assignor of the application's own, for a classic group. Once one is given they take the
    /// place of those of `partition.assignment.strategy`, the one given first being preferred.
    #[must_use]
    pub fn assignor(mut self, assignor: impl Assignor) -> Self {
        self.assignors.push(Arc::new(assignor));
        self
    }

    /// Adds an interceptor, which sees records before the application does. Several are called in the
    /// order in which they are given.
    #[must_use]
    pub fn interceptor(mut self, interceptor: impl ConsumerInterceptor) -> Self {
        self.interceptors.add(interceptor);
        self
    }

    /// Makes the jitter of back-offs repeatable, and the ids that a member makes for itself.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Starts the consumer's task on the current tokio runtime. It does not wait for a connection: a
    /// cluster that cannot be reached shows in `poll`.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn build(self) -> Consumer {
        let Self { config, connector, mut assignors, interceptors, seed } = self;
        if assignors.is_empty() {
            assignors = config.partition_assignment_strategy().iter().map(built_in).collect();
        }
        let may_create = config.allow_auto_create_topics();
        let client = Client::start(config.client(), connector, may_create, ClientKind::Consumer);
        let seed = seed.unwrap_or_else(|| fastrand::u64(..));
        let mut random = fastrand::Rng::with_seed(seed);
        let (membership, refused) = match membership(&config, assignors, &mut random) {
            Ok(membership) => (membership.map(Mutex::new), None),
            Err(error) => (None, Some(error)),
        };
        let shared = Arc::new(Shared {
            fetcher: Mutex::new(Fetcher::new(fetch_config(&config), random.u64(..))),
            membership,
            metrics: ConsumerMetrics::new(client.metrics().clone()),
            interceptors,
            changed: Notify::new(),
            arrived: Notify::new(),
        });
        let (open, closed) = oneshot::channel();
        let driver = Driver::new(shared.clone(), client.clone(), config.fetch_max_wait());
        let task = tokio::spawn(driver.run(closed));
        Consumer::wire(ConsumerHandle { shared, client }, refused, open, task)
    }
}

/// The consumer's side of its group; `None` without `group.id`.
fn membership(
    config: &ConsumerConfig,
    assignors: Vec<Arc<dyn Assignor>>,
    random: &mut fastrand::Rng,
) -> Result<Option<Membership>, GroupError> {
    let Some(group_id) = config.group_id().map(str::to_owned) else { return Ok(None) };
    let client = config.client();
    let backoff = Backoff::new(client.retry_backoff(), client.retry_backoff_max());
    let protocol = match config.group_protocol() {
        GroupProtocol::Classic => MemberProtocol::Classic {
            assignors,
            session_timeout: config.session_timeout(),
            heartbeat_interval: config.heartbeat_interval(),
        },
        GroupProtocol::Consumer => MemberProtocol::Consumer {
            remote_assignor: config.group_remote_assignor().map(str::to_owned),
        },
    };
    let group = GroupConfig {
        group_id: group_id.clone(),
        instance_id: config.group_instance_id().map(str::to_owned),
        rack: Some(config.client_rack().to_owned()).filter(|rack| !rack.is_empty()),
        protocol,
        max_poll_interval: config.max_poll_interval(),
        request_timeout: client.request_timeout(),
        backoff,
    };
    let offsets = OffsetsConfig { group_id, protocol: config.group_protocol(), backoff };
    let auto_commit = config.enable_auto_commit().then(|| {
        AutoCommit::new(config.auto_commit_interval(), client.retry_backoff(), Instant::now())
    });
    let watch = Watch { exclude_internal: config.exclude_internal_topics(), ..Watch::default() };
    let by_broker = config.group_protocol() == GroupProtocol::Consumer;
    Ok(Some(Membership::new(
        Group::new(group, random.u64(..))?,
        Offsets::new(offsets, random.u64(..)),
        auto_commit,
        watch,
        (by_broker, config.default_api_timeout()),
    )))
}

fn built_in(strategy: &AssignmentStrategy) -> Arc<dyn Assignor> {
    match strategy {
        AssignmentStrategy::Range => Arc::new(RangeAssignor),
        AssignmentStrategy::RoundRobin => Arc::new(RoundRobinAssignor),
        AssignmentStrategy::Sticky => Arc::new(StickyAssignor::default()),
        AssignmentStrategy::CooperativeSticky => Arc::new(CooperativeStickyAssignor::default()),
    }
}

fn fetch_config(config: &ConsumerConfig) -> FetchConfig {
    let client = config.client();
    FetchConfig {
        max_bytes: config.fetch_max_bytes(),
        partition_max_bytes: config.max_partition_fetch_bytes(),
        min_bytes: config.fetch_min_bytes(),
        max_wait: config.fetch_max_wait(),
        isolation: config.isolation_level(),
        reset: config.auto_offset_reset(),
        clock: Arc::new(SystemClock),
        rack: config.client_rack().to_owned(),
        replica_age: client.metadata_max_age(),
        checks: Checks {
            crcs: config.check_crcs(),
            max_decompressed: client.receive_message_max_bytes(),
        },
        backoff: Backoff::new(client.retry_backoff(), client.retry_backoff_max()),
        max_poll_records: config.max_poll_records(),
        // As long as a fetch may take: one that waits for records is no trouble.
        patience: client.request_timeout().saturating_add(config.fetch_max_wait()),
    }
}
