//! What ends a membership in a group, or keeps a consumer from becoming a member: which rule of the
//! broker or of the configuration was hit, and what to change.
//!
//! What passes by itself is no error here: a coordinator that moves, a rebalance, a member that the
//! coordinator has forgotten. Those are dealt with in the group's machine.

use std::sync::Arc;
use std::time::Duration;

use super::{ClientError, ErrorCode};

/// Why a consumer is not, or no longer, a member of its group.
///
/// After one that is not [fatal](GroupError::is_fatal) the next poll tries again. After a fatal one
/// every poll says the same, until the consumer subscribes anew.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum GroupError {
    /// Another consumer with the same `group.instance.id` has taken this one's place.
    #[error(
        "group '{group}': another consumer joined with the group.instance.id '{instance}' of this \
         one and took its place; give each running consumer an id of its own"
    )]
    #[non_exhaustive]
    FencedInstanceId {
        /// `group.id`.
        group: String,
        /// `group.instance.id`.
        instance: String,
    },
    /// The member that used this `group.instance.id` last has not left the group yet
    /// (`group.protocol=consumer`).
    #[error(
        "group '{group}': the group.instance.id '{instance}' is still in use by another member; \
         close that consumer, or wait for its session to end"
    )]
    #[non_exhaustive]
    UnreleasedInstanceId {
        /// `group.id`.
        group: String,
        /// `group.instance.id`.
        instance: String,
    },
    /// The members of the group have no assignor in common with this one, or the group's members are
    /// no consumers.
    #[error(
        "group '{group}' cannot take a member with {offered}: its members use other assignors, or \
         are no consumers; configure an assignor that all of them have \
         (partition.assignment.strategy)"
    )]
    #[non_exhaustive]
    InconsistentProtocol {
        /// `group.id`.
        group: String,
        /// What this member offered, or what the coordinator chose.
        offered: String,
    },
    /// The assignors of `partition.assignment.strategy` cannot be used together.
    #[error(
        "the assignors {assignors} of partition.assignment.strategy have no rebalance protocol in \
         common; use either those that are only eager or those that are only cooperative"
    )]
    #[non_exhaustive]
    IncompatibleAssignors {
        /// Their names.
        assignors: String,
    },
    /// An assignor failed to make what is sent to the group.
    #[error("group '{group}': the assignor '{assignor}' failed: {cause}")]
    #[non_exhaustive]
    Assignor {
        /// `group.id`.
        group: String,
        /// Its name.
        assignor: String,
        /// What went wrong.
        cause: Arc<str>,
    },
    /// The member may not use the group.
    #[error("not authorised for group '{group}': it takes the READ permission on the group")]
    #[non_exhaustive]
    Unauthorized {
        /// `group.id`.
        group: String,
    },
    /// The broker refuses to describe a topic that is subscribed to; the membership goes on without
    /// it (`group.protocol=consumer`).
    #[error(
        "group '{group}': not authorised for a topic that is subscribed to{}",
        message.as_ref().map_or_else(String::new, |message| format!(": {message}"))
    )]
    #[non_exhaustive]
    UnauthorizedTopic {
        /// `group.id`.
        group: String,
        /// The broker's own words, if it sent any.
        message: Option<Arc<str>>,
    },
    /// The group has as many members as the broker allows.
    #[error(
        "group '{group}' has as many members as the broker allows (group.max.size, \
         group.consumer.max.size)"
    )]
    #[non_exhaustive]
    MaxSizeReached {
        /// `group.id`.
        group: String,
    },
    /// `session.timeout.ms` is outside of what the broker allows.
    #[error(
        "group '{group}': the broker does not allow session.timeout.ms={}; keep it within the \
         broker's group.min.session.timeout.ms and group.max.session.timeout.ms",
        timeout.as_millis()
    )]
    #[non_exhaustive]
    InvalidSessionTimeout {
        /// `group.id`.
        group: String,
        /// What was asked for.
        timeout: Duration,
    },
    /// `group.id` is none that the broker accepts.
    #[error("'{group}' is no group.id that the broker accepts")]
    #[non_exhaustive]
    InvalidGroupId {
        /// `group.id`.
        group: String,
    },
    /// The broker does not have the assignor of `group.remote.assignor`.
    #[error(
        "group '{group}': the broker does not have {}; see its group.consumer.assignors",
        assignor.as_ref().map_or_else(
            || "the assignor".to_owned(),
            |assignor| format!("the assignor '{assignor}' (group.remote.assignor)")
        )
    )]
    #[non_exhaustive]
    UnsupportedAssignor {
        /// `group.id`.
        group: String,
        /// `group.remote.assignor`.
        assignor: Option<String>,
    },
    /// The broker cannot read the regular expression that was subscribed to.
    #[error(
        "group '{group}': '{pattern}' is no regular expression that the broker can read, which has \
         to be in the syntax of RE2{}",
        message.as_ref().map_or_else(String::new, |message| format!(": {message}"))
    )]
    #[non_exhaustive]
    InvalidRegex {
        /// `group.id`.
        group: String,
        /// The regular expression.
        pattern: String,
        /// The broker's own words, if it sent any.
        message: Option<Arc<str>>,
    },
    /// A regular expression for the broker was subscribed to, and the broker, or the group's
    /// protocol, has no such subscriptions.
    #[error(
        "group '{group}': '{pattern}' cannot be evaluated by the broker: that takes \
         group.protocol=consumer and brokers of 4.0 or later; with group.protocol=classic the \
         client evaluates it"
    )]
    #[non_exhaustive]
    UnsupportedRegex {
        /// `group.id`.
        group: String,
        /// The regular expression.
        pattern: String,
    },
    /// The broker does not have the protocol that the member was configured to use.
    #[error(
        "group '{group}': the broker does not support {what}{}",
        cause.as_ref().map_or_else(String::new, |cause| format!(": {cause}"))
    )]
    #[non_exhaustive]
    Unsupported {
        /// `group.id`.
        group: String,
        /// What takes which release, and which property asks for it.
        what: &'static str,
        /// What the client or the broker said.
        cause: Option<Arc<ClientError>>,
    },
    /// The assignment that the group's leader made for this member cannot be read.
    #[error("group '{group}': the assignment from the group's leader cannot be read: {cause}")]
    #[non_exhaustive]
    InvalidAssignment {
        /// `group.id`.
        group: String,
        /// Where and why.
        cause: Arc<str>,
    },
    /// The coordinator answered with an error that it should not give here.
    #[error(
        "group '{group}': {api} failed: {code}{}",
        message.as_ref().map_or_else(String::new, |message| format!(" ({message})"))
    )]
    #[non_exhaustive]
    Refused {
        /// `group.id`.
        group: String,
        /// The request.
        api: &'static str,
        /// Kafka's code.
        code: ErrorCode,
        /// The broker's own words, if it sent any.
        message: Option<Arc<str>>,
    },
}

impl GroupError {
    /// Whether the membership is over for good: nothing is tried again before the consumer subscribes
    /// anew.
    pub fn is_fatal(&self) -> bool {
        !matches!(
            self,
            Self::Unauthorized { .. }
                | Self::UnauthorizedTopic { .. }
                | Self::MaxSizeReached { .. }
                | Self::Assignor { .. }
                | Self::InvalidAssignment { .. }
                | Self::Refused { .. }
        )
    }

    /// Whether the next poll may succeed although nobody changes anything.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::MaxSizeReached { .. } | Self::InvalidAssignment { .. } => true,
            Self::Refused { code, .. } => code.is_retriable(),
            _ => false,
        }
    }

    /// The broker's error code, if that is what it comes from.
    pub fn code(&self) -> Option<ErrorCode> {
        Some(match self {
            Self::FencedInstanceId { .. } => ErrorCode::FENCED_INSTANCE_ID,
            Self::UnreleasedInstanceId { .. } => ErrorCode::UNRELEASED_INSTANCE_ID,
            Self::InconsistentProtocol { .. } => ErrorCode::INCONSISTENT_GROUP_PROTOCOL,
            Self::Unauthorized { .. } => ErrorCode::GROUP_AUTHORIZATION_FAILED,
            Self::UnauthorizedTopic { .. } => ErrorCode::TOPIC_AUTHORIZATION_FAILED,
            Self::MaxSizeReached { .. } => ErrorCode::GROUP_MAX_SIZE_REACHED,
            Self::InvalidSessionTimeout { .. } => ErrorCode::INVALID_SESSION_TIMEOUT,
            Self::InvalidGroupId { .. } => ErrorCode::INVALID_GROUP_ID,
            Self::UnsupportedAssignor { .. } => ErrorCode::UNSUPPORTED_ASSIGNOR,
            Self::InvalidRegex { .. } => ErrorCode::INVALID_REGULAR_EXPRESSION,
            Self::Unsupported { .. } => ErrorCode::UNSUPPORTED_VERSION,
            Self::Refused { code, .. } => *code,
            Self::IncompatibleAssignors { .. }
            | Self::Assignor { .. }
            | Self::UnsupportedRegex { .. }
            | Self::InvalidAssignment { .. } => return None,
        })
    }
}
