//! What can go wrong while reading: which partition, at which offset, and what the reader may do.
//!
//! No position moves with an error: what was not handed out is asked for again.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use super::{ClientError, ErrorCode, GroupError};
use crate::types::{OffsetAndMetadata, TopicId, TopicPartition};

/// Why records could not be read.
///
/// Other partitions are not affected, and neither is the position of this one: after an error of
/// [`poll`](crate::Consumer::poll) the next polls try again. To go on past what cannot be read,
/// [`seek`](crate::ConsumerHandle::seek).
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConsumerError {
    /// There is nothing to read from. Subscribe to topics or assign partitions first.
    #[error("nothing is subscribed to and no partition assigned: call subscribe or assign first")]
    NothingAssigned,
    /// It takes a group, and the consumer has none.
    #[error("the consumer has no group: set group.id")]
    NoGroup,
    /// Partitions cannot be assigned while topics are subscribed to: the group assigns them.
    #[error("the consumer is subscribed to topics: unsubscribe before partitions are assigned")]
    Subscribed,
    /// Topics cannot be subscribed to while partitions are assigned by the application.
    #[error("partitions were assigned by assign: unsubscribe before topics are subscribed to")]
    Assigned,
    /// No topic can have this name.
    #[error(
        "{topic:?} is no name of a topic: 1 to 249 letters and digits of ASCII, `.`, `_` and `-`, \
         and neither `.` nor `..`"
    )]
    InvalidTopic {
        /// The name as it was given.
        topic: String,
    },
    /// What was given as a pattern is no regular expression.
    #[error("{pattern:?} is no regular expression: {cause}")]
    #[non_exhaustive]
    InvalidPattern {
        /// The pattern as it was given.
        pattern: Arc<str>,
        /// What is wrong with it.
        cause: Arc<str>,
    },
    /// The consumer is not, or no longer, a member of its group.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// What the group has committed could not be looked up.
    #[error("cannot look up committed offsets: {cause}")]
    #[non_exhaustive]
    Committed {
        /// What went wrong.
        #[source]
        cause: ClientError,
    },
    /// A partition was named that is not among those assigned.
    #[error("{partition} is not assigned to this consumer: assign it first")]
    NotAssigned {
        /// The partition.
        partition: TopicPartition,
    },
    /// A position was given that no record can have.
    #[error("{offset} is no offset to read {partition} from: offsets start at 0")]
    InvalidOffset {
        /// The partition.
        partition: TopicPartition,
        /// The offset as it was given.
        offset: i64,
    },
    /// The group has committed no offset for the partition, and `auto.offset.reset=none`: seek to an
    /// offset, to the beginning or to the end. Kafka: `NoOffsetForPartitionException`.
    #[error(
        "nothing is committed for {partition} and auto.offset.reset is none: seek to where to begin"
    )]
    NoOffset {
        /// The partition.
        partition: TopicPartition,
    },
    /// The log does not hold the offset: retention, compaction or a truncation removed it, or it
    /// lies beyond the end; and `auto.offset.reset=none`. Seek to an offset, to the beginning or to
    /// the end.
    #[error(
        "{partition} does not hold offset {offset}{}: its records were deleted, or were never \
         written; seek to an offset that it holds, to the beginning or to the end",
        range(*log_start, *high_watermark)
    )]
    #[non_exhaustive]
    OffsetOutOfRange {
        /// The partition.
        partition: TopicPartition,
        /// The offset that was asked for.
        offset: i64,
        /// The first offset that the log holds, if the broker said.
        log_start: Option<i64>,
        /// The offset after the last one that can be read, if the broker said.
        high_watermark: Option<i64>,
    },
    /// Records that were read are no longer in the log, or others are in their place: a leader was
    /// elected that did not have them (KIP-320); and `auto.offset.reset=none`. Seek to `divergent`, or
    /// to where to go on. Kafka: `LogTruncationException`.
    #[error(
        "the log of {partition} was truncated{}: records before the position {} are gone, or are \
         others now; seek to where to go on",
        divergent.as_ref().map_or_else(String::new, |from| format!(" from offset {}", from.offset)),
        position.offset
    )]
    #[non_exhaustive]
    LogTruncation {
        /// The partition.
        partition: TopicPartition,
        /// How far it was read, and the epoch of the last record.
        position: OffsetAndMetadata,
        /// The first offset that is known to be another now, if the leader can tell.
        divergent: Option<OffsetAndMetadata>,
    },
    /// The topic was deleted and made anew under its name: the position is one in the topic that is
    /// gone. Nothing of the new topic is read before a seek.
    #[error(
        "the topic of {partition} was deleted and created again (its id was {was} and is {is}): \
         offset {offset} of the old one means nothing in the new one; seek to where to go on"
    )]
    TopicRecreated {
        /// The partition.
        partition: TopicPartition,
        /// The position in the old topic.
        offset: i64,
        /// The id of the topic that was read.
        was: TopicId,
        /// The id of the topic that there is now.
        is: TopicId,
    },
    /// The broker sent bytes that are no valid record batch: corrupt, in a format from before Kafka
    /// 0.11, compressed with a codec that is not built in, or larger than allowed when
    /// decompressed. The next polls fetch it again; to leave it out, seek past it.
    #[error(
        "cannot read the batch of {partition} at offset {first}{}: {cause}{}",
        last.map_or_else(String::new, |last| format!(" to {last}")),
        last.map_or_else(
            || "; to leave it out, seek past it".to_owned(),
            |last| format!("; to leave it out, seek to {}", last.saturating_add(1))
        )
    )]
    #[non_exhaustive]
    InvalidBatch {
        /// The partition.
        partition: TopicPartition,
        /// The batch's first offset; the position, if that cannot be read.
        first: i64,
        /// The batch's last offset, if it can be read. It is only as good as the batch's header.
        last: Option<i64>,
        /// What is wrong with it.
        #[source]
        cause: Arc<dyn Error + Send + Sync>,
    },
    /// The partition cannot be read, and trying again is not likely to help: authorization, a topic
    /// that may not be read, a broker without a usable version, corruption in the broker's log.
    #[error(
        "{partition} cannot be read{}: {cause}",
        offset.map_or_else(String::new, |offset| format!(" at offset {offset}"))
    )]
    #[non_exhaustive]
    Refused {
        /// The partition.
        partition: TopicPartition,
        /// The position, if there is one yet.
        offset: Option<i64>,
        /// What the broker answered, or what stands in the way.
        #[source]
        cause: ClientError,
    },
    /// The partition could not be read for `request.timeout.ms` and `fetch.max.wait.ms` together: no
    /// broker can be reached, it has no leader, or the topic does not exist. The reader keeps
    /// trying, and tells again after another such time.
    #[error(
        "{partition} could not be read for {waited:?}{}; still trying: {cause}",
        offset.map_or_else(String::new, |offset| format!(" (position {offset})"))
    )]
    #[non_exhaustive]
    Unavailable {
        /// The partition.
        partition: TopicPartition,
        /// The position, if there is one yet.
        offset: Option<i64>,
        /// How long.
        waited: Duration,
        /// What went wrong last.
        #[source]
        cause: ClientError,
    },
    /// The offsets of a partition could not be looked up.
    #[error("cannot look up the offsets of {partition}: {cause}")]
    #[non_exhaustive]
    Lookup {
        /// The partition.
        partition: TopicPartition,
        /// What went wrong last.
        #[source]
        cause: ClientError,
    },
}

impl ConsumerError {
    /// The partition that it is about.
    pub fn partition(&self) -> Option<&TopicPartition> {
        match self {
            Self::NothingAssigned
            | Self::NoGroup
            | Self::Subscribed
            | Self::Assigned
            | Self::InvalidTopic { .. }
            | Self::InvalidPattern { .. }
            | Self::Group(_)
            | Self::Committed { .. } => None,
            Self::NotAssigned { partition }
            | Self::InvalidOffset { partition, .. }
            | Self::NoOffset { partition }
            | Self::OffsetOutOfRange { partition, .. }
            | Self::LogTruncation { partition, .. }
            | Self::TopicRecreated { partition, .. }
            | Self::InvalidBatch { partition, .. }
            | Self::Refused { partition, .. }
            | Self::Unavailable { partition, .. }
            | Self::Lookup { partition, .. } => Some(partition),
        }
    }

    /// The broker's error code, if that is what it comes from.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::OffsetOutOfRange { .. } => Some(ErrorCode::OFFSET_OUT_OF_RANGE),
            Self::Refused { cause, .. }
            | Self::Unavailable { cause, .. }
            | Self::Lookup { cause, .. } => match cause {
                ClientError::Broker { code, .. } => Some(*code),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether doing the same again may help, without anything being changed by the caller.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Unavailable { .. } => true,
            Self::Lookup { cause, .. } | Self::Refused { cause, .. } => cause.is_retriable(),
            _ => false,
        }
    }
}

fn range(log_start: Option<i64>, high_watermark: Option<i64>) -> String {
    match (log_start, high_watermark) {
        (Some(start), Some(end)) => format!(" (it holds {start} up to, but not with, {end})"),
        (Some(start), None) => format!(" (it begins at {start})"),
        (None, Some(end)) => format!(" (it ends before {end})"),
        (None, None) => String::new(),
    }
}
