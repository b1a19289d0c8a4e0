//! What a commit of offsets ends in if not in success: a rebalance overtook it, the broker refused it,
//! or there was no answer in time. Each says whether offsets of it may be committed all the same.

use std::time::Duration;

use super::{ClientError, ErrorCode};
use crate::types::TopicPartition;

/// Why offsets were not committed, or may not have been.
///
/// | what to do | errors |
/// |---|---|
/// | poll, then commit again what is still assigned ([`is_retriable`](Self::is_retriable)) | `RebalanceInProgress` |
/// | poll, and go on: the partitions are, or will be, read again from the last commit by whoever has them | `Fenced` |
/// | commit again, unless it matters no more ([`is_retriable`](Self::is_retriable)) | `TimedOut` |
/// | correct the offsets, the metadata text or the permissions | `InvalidOffset`, `Refused`, `Unauthorized` |
/// | close the consumer ([`is_fatal`](Self::is_fatal)) | `FencedInstanceId`, `NoGroup`, `Failed` |
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The consumer has no group.
    #[error("there is no group to commit offsets for: set group.id")]
    NoGroup,
    /// An offset was given that no record can have. Nothing was committed.
    #[error("{offset} cannot be committed for {partition}: offsets start at 0")]
    InvalidOffset {
        /// The partition.
        partition: TopicPartition,
        /// The offset as it was given.
        offset: i64,
    },
    /// The group is sharing out its partitions anew, or took one of these partitions away.
    #[error(
        "a rebalance of group '{group}' overtook the commit, {}; poll until it is over, then commit \
         what is still assigned",
        fate(*maybe_committed)
    )]
    #[non_exhaustive]
    RebalanceInProgress {
        /// `group.id`.
        group: String,
        /// Whether offsets of the commit may be committed all the same.
        maybe_committed: bool,
    },
    /// The group goes on without the member that committed: it was away for too long, or the group
    /// has come to another generation. Its partitions belong to others, or soon will (Java's
    /// `CommitFailedException`).
    #[error(
        "this consumer is not, or no longer, the member of group '{group}' that the commit is \
         from{}, and {}; its partitions may be read by others by now. If it is for polls that come \
         too late, raise max.poll.interval.ms or lower max.poll.records",
        code.map_or_else(String::new, |code| format!(" ({code})")),
        fate(*maybe_committed)
    )]
    #[non_exhaustive]
    Fenced {
        /// `group.id`.
        group: String,
        /// What the coordinator answered; `None` if it was not asked.
        code: Option<ErrorCode>,
        /// Whether offsets of the commit may be committed all the same.
        maybe_committed: bool,
    },
    /// Another consumer with the same `group.instance.id` has taken this one's place (KIP-345).
    #[error(
        "another consumer of group '{group}' has the group.instance.id '{instance}' and took the \
         place of this one; {}. Give each running consumer an id of its own",
        fate(*maybe_committed)
    )]
    #[non_exhaustive]
    FencedInstanceId {
        /// `group.id`.
        group: String,
        /// `group.instance.id`.
        instance: String,
        /// Whether offsets of the commit may be committed all the same.
        maybe_committed: bool,
    },
    /// The consumer may not commit for the group.
    #[error(
        "not authorised to commit for group '{group}', which takes the READ permission on the \
         group; {}",
        fate(*maybe_committed)
    )]
    #[non_exhaustive]
    Unauthorized {
        /// `group.id`.
        group: String,
        /// Whether offsets of the commit may be committed all the same.
        maybe_committed: bool,
    },
    /// The coordinator refused the offsets of some partitions: no permission for the topic, a text
    /// that is too long, ... The others of the commit are committed.
    #[error("the offsets of {} are not committed{}", list(failed), doubt(*maybe_committed))]
    #[non_exhaustive]
    Refused {
        /// The partitions that were refused, and why.
        failed: Vec<(TopicPartition, ErrorCode)>,
        /// Whether the offsets of those may be committed all the same.
        maybe_committed: bool,
    },
    /// The request cannot be carried out at all: the broker has no version of it that this client
    /// speaks, or the consumer was closed.
    #[error("offsets cannot be committed: {cause}; {}", fate(*maybe_committed))]
    #[non_exhaustive]
    Failed {
        /// What stands in the way.
        #[source]
        cause: ClientError,
        /// Whether offsets of the commit may be committed all the same.
        maybe_committed: bool,
    },
    /// The commit was not confirmed in time, retries included.
    #[error(
        "the commit was not confirmed within {waited:?}, and {}{}",
        fate(*maybe_committed),
        cause.as_ref().map_or_else(String::new, |cause| format!("; last: {cause}"))
    )]
    #[non_exhaustive]
    TimedOut {
        /// How long it had.
        waited: Duration,
        /// Whether offsets of the commit may be committed all the same.
        maybe_committed: bool,
        /// What went wrong last; `None` if nothing did, and the answer is still to come.
        #[source]
        cause: Option<ClientError>,
    },
}

impl CommitError {
    /// Whether offsets of the commit may be committed all the same. If not, they certainly are not;
    /// for [`CommitError::Refused`] this is about the partitions that it names.
    pub fn maybe_committed(&self) -> bool {
        match self {
            Self::NoGroup | Self::InvalidOffset { .. } => false,
            Self::RebalanceInProgress { maybe_committed, .. }
            | Self::Fenced { maybe_committed, .. }
            | Self::FencedInstanceId { maybe_committed, .. }
            | Self::Unauthorized { maybe_committed, .. }
            | Self::Refused { maybe_committed, .. }
            | Self::Failed { maybe_committed, .. }
            | Self::TimedOut { maybe_committed, .. } => *maybe_committed,
        }
    }

    /// Whether the same commit may succeed later, after a poll, for partitions that are then still
    /// assigned.
    pub fn is_retriable(&self) -> bool {
        matches!(self, Self::RebalanceInProgress { .. } | Self::TimedOut { .. })
    }

    /// Whether no commit of this consumer can succeed.
    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::NoGroup | Self::FencedInstanceId { .. } | Self::Failed { .. })
    }

    /// The broker's error code, if that is what it comes from; the first one, if there are several.
    pub fn code(&self) -> Option<ErrorCode> {
        let of = |cause: &ClientError| match cause {
            ClientError::Broker { code, .. } => Some(*code),
            _ => None,
        };
        match self {
            Self::NoGroup | Self::InvalidOffset { .. } | Self::RebalanceInProgress { .. } => None,
            Self::Fenced { code, .. } => *code,
            Self::FencedInstanceId { .. } => Some(ErrorCode::FENCED_INSTANCE_ID),
            Self::Unauthorized { .. } => Some(ErrorCode::GROUP_AUTHORIZATION_FAILED),
            Self::Refused { failed, .. } => failed.first().map(|(_, code)| *code),
            Self::Failed { cause, .. } => of(cause),
            Self::TimedOut { cause, .. } => cause.as_ref().and_then(of),
        }
    }
}

fn fate(maybe_committed: bool) -> &'static str {
    if maybe_committed {
        "its offsets may be committed all the same"
    } else {
        "none of its offsets is committed"
    }
}

fn doubt(maybe_committed: bool) -> &'static str {
    if maybe_committed { ", as far as is known" } else { "" }
}

/// The first few, and how many more.
fn list(failed: &[(TopicPartition, ErrorCode)]) -> String {
    const SHOWN: usize = 5;
    let shown = failed.iter().take(SHOWN);
    let mut text: Vec<_> = shown.map(|(partition, code)| format!("{partition} ({code})")).collect();
    if let Some(more) = failed.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        text.push(format!("{more} more"));
    }
    text.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_says_what_became_of_the_offsets() {
        let group = || "billing".to_owned();
        let failed = |count| {
            let code = ErrorCode::OFFSET_METADATA_TOO_LARGE;
            (0..count).map(|n| (TopicPartition::new("orders", n), code)).collect()
        };
        for maybe in [true, false] {
            let instance = "host-1".to_owned();
            let code = Some(ErrorCode::UNKNOWN_MEMBER_ID);
            let maybe_committed = maybe;
            let waited = Duration::from_secs(60);
            for (error, says, retriable, fatal, code) in [
                (
                    CommitError::RebalanceInProgress { group: group(), maybe_committed },
                    "poll until it is over",
                    true,
                    false,
                    None,
                ),
                (
                    CommitError::Fenced { group: group(), code, maybe_committed },
                    "max.poll.interval.ms",
                    false,
                    false,
                    code,
                ),
                (
                    CommitError::FencedInstanceId { group: group(), instance, maybe_committed },
                    "'host-1'",
                    false,
                    true,
                    Some(ErrorCode::FENCED_INSTANCE_ID),
                ),
                (
                    CommitError::Unauthorized { group: group(), maybe_committed },
                    "READ",
                    false,
                    false,
                    Some(ErrorCode::GROUP_AUTHORIZATION_FAILED),
                ),
                (
                    CommitError::Failed { cause: ClientError::Closed, maybe_committed },
                    "closed",
                    false,
                    true,
                    None,
                ),
                (
                    CommitError::TimedOut { waited, maybe_committed, cause: None },
                    "within 60s",
                    true,
                    false,
                    None,
                ),
            ] {
                let text = error.to_string();
                assert!(text.contains(says), "{text}");
                assert_eq!(text.contains("may be committed all the same"), maybe, "{text}");
                assert_eq!(text.contains("none of its offsets is committed"), !maybe, "{text}");
                assert_eq!(error.maybe_committed(), maybe);
                assert_eq!((error.is_retriable(), error.is_fatal()), (retriable, fatal), "{text}");
                assert_eq!(error.code(), code, "{text}");
            }
            let refused = CommitError::Refused { failed: failed(7), maybe_committed };
            let text = refused.to_string();
            assert!(text.contains("orders-4 (OFFSET_METADATA_TOO_LARGE), 2 more"), "{text}");
            assert_eq!(text.contains("as far as is known"), maybe);
            assert_eq!(refused.code(), Some(ErrorCode::OFFSET_METADATA_TOO_LARGE));
        }
        let text = CommitError::Refused { failed: failed(5), maybe_committed: false }.to_string();
        assert!(text.ends_with("orders-4 (OFFSET_METADATA_TOO_LARGE) are not committed"), "{text}");
        assert!(!CommitError::NoGroup.maybe_committed() && CommitError::NoGroup.is_fatal());
    }
}
