//! What the machines of both protocols have in common: the configuration, where the coordinator is,
//! what the user owns, wants and does, and what is to be sent. The rules of a protocol are not known
//! here.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::coordinator::{GroupCoordinator, Located};
use super::ownership::Ownership;
use super::polls::Polls;
use super::request::{Destination, GroupRequest, GroupResponse, Outbox};
use super::stats::GroupStats;
use super::topics::TopicsView;
use super::{CommitAs, GroupConfig, GroupSubscription};
use crate::error::{ClientError, ErrorCode, GroupError};
use crate::time::{Duration, Instant};
use crate::types::ConsumerGroupMetadata;

/// The machine of a protocol.
pub(super) trait Machine: fmt::Debug + Send + Sync {
    /// The user has subscribed to something, which is in `shared`.
    fn subscribed(&mut self, shared: &mut Shared, at: Instant);

    /// The partitions are to be revoked, then the group is to be left.
    fn leave(&mut self, shared: &mut Shared, mode: LeaveMode, reason: &str, at: Instant);

    /// Whether there is neither a membership nor a request that ends it.
    fn is_out(&self) -> bool;

    /// Takes an answer, if it is one that is waited for.
    fn handle(
        &mut self,
        shared: &mut Shared,
        token: u64,
        result: Result<GroupResponse, ClientError>,
        at: Instant,
    );

    /// Does what is due.
    fn poll(&mut self, shared: &mut Shared, at: Instant);

    /// When something will be due.
    fn next_deadline(&self, shared: &Shared) -> Option<Instant>;

    fn identity(&self, shared: &Shared) -> ConsumerGroupMetadata;

    fn commit_as(&self, shared: &Shared) -> CommitAs;

    /// A commit of this member, as it is now, was refused.
    fn commit_refused(&mut self, shared: &mut Shared, code: ErrorCode, at: Instant);

    /// The user wants a rebalance.
    fn enforce_rebalance(&mut self, shared: &mut Shared, reason: &str);
}

/// Whether the membership may go on.
#[derive(Debug)]
pub(super) enum Standing {
    Good,
    /// Something failed; the next poll tries again.
    Paused,
    /// It is over for this reason, until the user subscribes anew.
    Over(GroupError),
}

/// What the user has subscribed to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Interest {
    /// Nothing.
    Nothing,
    /// These topics; `None` as long as it is not known which ones match a pattern.
    Topics { names: Option<BTreeSet<String>>, by_pattern: bool },
    /// What the broker finds to match.
    Regex(String),
}

/// A request under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flight {
    pub(super) token: u64,
    /// Of the coordinator that it went to.
    pub(super) version: u64,
    pub(super) since: Instant,
}

/// Whether a consumer that is closed leaves its group (Kafka's `GroupMembershipOperation`, KIP-1092).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum LeaveMode {
    /// Members with a `group.instance.id` stay until their session ends, others leave (Kafka's
    /// default).
    #[default]
    Default,
    /// Leave, whoever it is: the others take over at once.
    Leave,
    /// Stay until the session ends, whoever it is: for a restart that is soon over.
    Remain,
}

impl LeaveMode {
    /// Whether the coordinator is told that the member is gone for good.
    pub(super) fn tells(self, is_static: bool) -> bool {
        match self {
            Self::Default => !is_static,
            Self::Leave => true,
            Self::Remain => false,
        }
    }
}

/// See the module.
pub(super) struct Shared {
    pub(super) config: GroupConfig,
    pub(super) coordinator: GroupCoordinator,
    pub(super) ownership: Ownership,
    pub(super) polls: Polls,
    pub(super) interest: Interest,
    pub(super) standing: Standing,
    pub(super) topics: Arc<TopicsView>,
    pub(super) stats: GroupStats,
    pub(super) outbox: Outbox,
    pub(super) random: fastrand::Rng,
}

impl Shared {
    pub(super) fn new(config: GroupConfig, mut random: fastrand::Rng) -> Self {
        let coordinator = GroupCoordinator::new(
            config.group_id.clone(),
            config.backoff,
            config.request_timeout,
            random.u64(..),
        );
        Self {
            coordinator,
            ownership: Ownership::default(),
            polls: Polls::new(config.max_poll_interval),
            interest: Interest::Nothing,
            standing: Standing::Good,
            topics: Arc::default(),
            stats: GroupStats::default(),
            outbox: Outbox::default(),
            random,
            config,
        }
    }

    pub(super) fn subscribe(&mut self, subscription: GroupSubscription) {
        let interest = match subscription {
            GroupSubscription::Topics(names) => {
                Interest::Topics { names: Some(names), by_pattern: false }
            }
            GroupSubscription::Pattern => Interest::Topics { names: None, by_pattern: true },
            GroupSubscription::BrokerRegex(pattern) => Interest::Regex(pattern),
        };
        self.interest = interest;
        self.standing = Standing::Good;
        self.ownership.forget_failure();
    }

    /// Whether the user wants to be in the group, and looks after what it would be given.
    pub(super) fn wants_in(&self) -> bool {
        let known = match &self.interest {
            Interest::Nothing => false,
            Interest::Topics { names, .. } => names.is_some(),
            Interest::Regex(_) => true,
        };
        known && matches!(self.standing, Standing::Good) && self.polls.has_polled()
    }

    /// The user is told; a fatal failure ends all attempts.
    pub(super) fn fail(&mut self, error: GroupError) {
        tracing::error!(group = %self.config.group_id, %error, "the membership failed");
        self.ownership.report(error.clone());
        self.standing = if error.is_fatal() { Standing::Over(error) } else { Standing::Paused };
    }

    /// Tells the user why the coordinator cannot be found, once until the next poll. Whether there was
    /// something to tell.
    pub(super) fn report_refusal(&mut self) -> bool {
        let good = matches!(self.standing, Standing::Good);
        let refusal = self.coordinator.refusal().filter(|_| good).cloned();
        refusal.map(|error| self.fail(error)).is_some()
    }

    /// A poll begins: what failed before it is tried again, or told again.
    pub(super) fn poll_begins(&mut self, at: Instant) {
        self.polls.begins(at);
        match &self.standing {
            Standing::Good => {}
            Standing::Paused => self.standing = Standing::Good,
            Standing::Over(error) => self.ownership.report(error.clone()),
        }
    }

    /// When the user will have been away for too long.
    pub(super) fn poll_deadline(&self) -> Option<Instant> {
        self.polls.deadline(self.ownership.is_running())
    }

    /// Sends a request to the coordinator.
    pub(super) fn send(
        &mut self,
        to: Located,
        request: GroupRequest,
        timeout: Duration,
        since: Instant,
    ) -> Flight {
        let token = self.outbox.send(Destination::Coordinator(to.broker), request, timeout);
        Flight { token, version: to.version, since }
    }

    /// How long to wait after so many failures in a row, before this one.
    pub(super) fn pause(&mut self, failures: u32) -> Duration {
        self.config.backoff.wait(failures, self.random.f64())
    }

    pub(super) fn group(&self) -> String {
        self.config.group_id.clone()
    }

    /// What a code says that no machine can deal with.
    pub(super) fn refusal(
        &self,
        api: &'static str,
        code: ErrorCode,
        message: Option<&str>,
    ) -> GroupError {
        let group = self.group();
        let instance = self.config.instance_id.clone().unwrap_or_default();
        let message: Option<Arc<str>> = message.filter(|text| !text.is_empty()).map(Into::into);
        match code {
            ErrorCode::FENCED_INSTANCE_ID => GroupError::FencedInstanceId { group, instance },
            ErrorCode::UNRELEASED_INSTANCE_ID => {
                GroupError::UnreleasedInstanceId { group, instance }
            }
            ErrorCode::GROUP_AUTHORIZATION_FAILED => GroupError::Unauthorized { group },
            ErrorCode::GROUP_MAX_SIZE_REACHED => GroupError::MaxSizeReached { group },
            ErrorCode::INVALID_GROUP_ID => GroupError::InvalidGroupId { group },
            ErrorCode::TOPIC_AUTHORIZATION_FAILED => {
                GroupError::UnauthorizedTopic { group, message }
            }
            _ => GroupError::Refused { group, api, code, message },
        }
    }
}

/// One line.
impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { config, coordinator, ownership, interest, standing, .. } = self;
        let group = &config.group_id;
        write!(f, "group {group:?}, {coordinator:?}, {ownership:?}, {interest:?}, {standing:?}")
    }
}
