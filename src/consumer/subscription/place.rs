//! Where reading of a partition is: how far it has come, or what has to be asked before it can begin.

use crate::config::OffsetReset;
use crate::time::Duration;
use crate::types::OffsetAndMetadata;

/// Where reading of a partition starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StartAt {
    /// Where the group's committed offset says; without one, as `auto.offset.reset` has it.
    Committed,
    /// The first record that the log holds.
    Earliest,
    /// After the last record there is when the broker is asked, which is after this was said and
    /// before a poll gives records. With `isolation.level=read_committed` open transactions are
    /// still to come (the last stable offset).
    Latest,
    /// The record with this offset, or the first after it where there is none (compaction). Not
    /// negative.
    Offset(i64),
    /// The first record whose timestamp, in milliseconds since 1970-01-01T00:00Z, is this or a later
    /// one; as [`StartAt::Latest`] if there is none. Before 1970 it is 1970.
    Timestamp(i64),
}

/// A place in a log whose offset the leader knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound {
    Earliest,
    Latest,
    /// The first record of this time, or a later one. Not negative.
    Timestamp(i64),
}

impl Bound {
    /// What ListOffsets calls it.
    pub(crate) fn timestamp(self) -> i64 {
        match self {
            Self::Earliest => -2,
            Self::Latest => -1,
            // What is below 0 has meanings of its own.
            Self::Timestamp(at) => at.max(0),
        }
    }

    /// Where `auto.offset.reset` leads, with the time as it is; `None` says that nothing is reset.
    pub(crate) fn of_reset(reset: OffsetReset, millis: i64) -> Option<Self> {
        match reset {
            OffsetReset::Earliest => Some(Self::Earliest),
            OffsetReset::Latest => Some(Self::Latest),
            OffsetReset::ByDuration(ago) => Some(Self::Timestamp(before(millis, ago))),
            OffsetReset::None => None,
        }
    }
}

fn before(millis: i64, ago: Duration) -> i64 {
    let ago = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
    millis.saturating_sub(ago).max(0)
}

/// An offset, with the epoch of the leader that appended the record before it, if that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) offset: i64,
    pub(crate) epoch: Option<i32>,
}

impl Position {
    /// As answers have it: -1 is no epoch.
    pub(crate) fn new(offset: i64, epoch: i32) -> Self {
        Self { offset, epoch: Some(epoch).filter(|epoch| *epoch >= 0) }
    }
}

impl From<Position> for OffsetAndMetadata {
    fn from(position: Position) -> Self {
        Self::new(position.offset).with_leader_epoch(position.epoch)
    }
}

/// How far a partition has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Not yet: what the group has committed has to be asked for.
    Committed,
    /// Not yet: the leader has to say where that is.
    Unknown(Bound),
    At {
        /// The next offset to be handed out.
        position: Position,
        /// The next offset to be fetched: ahead of the position by what is buffered.
        fetch: Position,
    },
}

impl Place {
    pub(crate) fn at(position: Position) -> Self {
        Self::At { position, fetch: position }
    }

    pub(crate) fn position(self) -> Option<Position> {
        match self {
            Self::Committed | Self::Unknown(_) => None,
            Self::At { position, .. } => Some(position),
        }
    }

    /// What the position will be when all that is buffered has been handed out.
    pub(crate) fn fetch(self) -> Option<Position> {
        match self {
            Self::Committed | Self::Unknown(_) => None,
            Self::At { fetch, .. } => Some(fetch),
        }
    }
}

impl From<StartAt> for Place {
    fn from(start: StartAt) -> Self {
        match start {
            StartAt::Committed => Self::Committed,
            StartAt::Earliest => Self::Unknown(Bound::Earliest),
            StartAt::Latest => Self::Unknown(Bound::Latest),
            StartAt::Timestamp(at) => Self::Unknown(Bound::Timestamp(at)),
            StartAt::Offset(offset) => Self::at(Position { offset, epoch: None }),
        }
    }
}

/// The epoch is what the place is held against before anything is fetched from there.
impl From<&OffsetAndMetadata> for Place {
    fn from(committed: &OffsetAndMetadata) -> Self {
        let epoch = committed.leader_epoch.filter(|epoch| *epoch >= 0);
        Self::at(Position { offset: committed.offset, epoch })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_leads_to_a_bound_or_nowhere() {
        let of = |reset| Bound::of_reset(reset, 10_000);
        assert_eq!(of(OffsetReset::Earliest), Some(Bound::Earliest));
        assert_eq!(of(OffsetReset::Latest), Some(Bound::Latest));
        assert_eq!(of(OffsetReset::None), None);
        let ago = |millis| of(OffsetReset::ByDuration(Duration::from_millis(millis)));
        assert_eq!(ago(4_000), Some(Bound::Timestamp(6_000)));
        assert_eq!(ago(u64::MAX), Some(Bound::Timestamp(0)), "as long as there is time");
    }

    #[test]
    fn times_are_never_taken_for_the_names_of_bounds() {
        let timestamps = [Bound::Earliest, Bound::Latest, Bound::Timestamp(-2)];
        assert_eq!(timestamps.map(Bound::timestamp), [-2, -1, 0]);
    }
}
