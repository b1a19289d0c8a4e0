//! An assigned partition as its reader sees it: where it is, who leads it, what is in the way.
//!
//! It decides nothing about requests, and does not see records.

mod place;

use std::sync::Arc;

use crate::config::IsolationLevel;
use crate::error::ClientError;
use crate::time::{Backoff, Duration, Instant, deadline};
use crate::types::{BrokerId, TopicId, TopicPartition};

pub use place::StartAt;
pub(crate) use place::{Bound, Place, Position};

/// Who leads a partition, according to metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Leadership {
    /// `None` while nobody does.
    pub(crate) leader: Option<BrokerId>,
    /// -1 if it is not known.
    pub(crate) epoch: i32,
    /// [`TopicId::ZERO`] if the cluster has no ids.
    pub(crate) topic_id: TopicId,
}

impl Leadership {
    /// What is known of a topic that metadata does not have.
    const NONE: Self = Self { leader: None, epoch: -1, topic_id: TopicId::ZERO };
}

/// Why a partition is not read at the moment.
#[derive(Debug)]
pub(crate) struct Trouble {
    /// Since when; the user is told when it has lasted too long.
    pub(crate) since: Instant,
    /// Not before then is anything tried again.
    pub(crate) retry_at: Instant,
    /// What went wrong last; `None` while the topic is only waited for.
    pub(crate) cause: Option<ClientError>,
}

/// What a broker last said of a partition's log; `None` where it did not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LogEnds {
    /// The first offset that it holds.
    pub(crate) start: Option<i64>,
    /// After the last record that all replicas in sync have.
    pub(crate) high_watermark: Option<i64>,
    /// The first offset of the first open transaction; the high watermark if there is none.
    pub(crate) last_stable: Option<i64>,
}

impl LogEnds {
    /// The offset after the last record that can be read.
    pub(crate) fn end(&self, isolation: IsolationLevel) -> Option<i64> {
        match isolation {
            IsolationLevel::ReadUncommitted => self.high_watermark,
            IsolationLevel::ReadCommitted => self.last_stable,
        }
    }
}

/// An assigned partition.
#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) name: Arc<TopicPartition>,
    /// A number that no other position ever has: what was fetched for another is dropped.
    pub(crate) version: u64,
    pub(crate) place: Place,
    /// The topic whose offsets the place is in: a topic that is made anew under its name is another.
    /// [`TopicId::ZERO`] while it is not known.
    pub(crate) topic_id: TopicId,
    /// `None` while the topic is not in metadata.
    pub(crate) leadership: Option<Leadership>,
    /// The request whose answer is waited for.
    pub(crate) in_flight: Option<InFlight>,
    /// Bytes that were fetched and not handed out.
    pub(crate) buffered: usize,
    /// Whether what is buffered ends in an error, behind which nothing is fetched.
    pub(crate) halted: bool,
    /// By the user: nothing is fetched and nothing handed out, and what is buffered is kept.
    pub(crate) paused: bool,
    /// About to be given up: nothing is fetched and nothing handed out until then.
    pub(crate) revoking: bool,
    pub(crate) ends: LogEnds,
    /// The leader, with its epoch, that the place was held against.
    checked_by: Option<(BrokerId, i32)>,
    /// The replica to be read from in place of the leader.
    pub(crate) preferred: Option<Preferred>,
    pub(crate) doubt: Option<Doubt>,
    pub(crate) trouble: Option<Trouble>,
    /// Failures in a row, resets included: since the position moved, or nothing more was there to be
    /// read.
    pub(crate) failures: u32,
    /// After how many of them a new leader was last tried without a pause.
    hurried: Option<u32>,
}

/// The replica that the leader sends a reader to (KIP-392).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Preferred {
    pub(crate) node: BrokerId,
    /// Then the leader is asked again, which may know of a better one.
    pub(crate) until: Instant,
}

/// A leader says that it does not hold the offset, and is not believed yet: a new one may not have
/// caught up with what the old one has served.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Doubt {
    /// Whether it has still to be asked where its log begins.
    pub(crate) look_up: bool,
    /// How many times the offset lay beyond what the leader has.
    pub(crate) times: u32,
}

/// A request in which a partition was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InFlight {
    pub(crate) token: u64,
    /// Who led it; `None` if the answer does not depend on that.
    pub(crate) leader: Option<BrokerId>,
}

impl Partition {
    pub(crate) fn new(name: TopicPartition, version: u64, place: Place) -> Self {
        Self {
            name: Arc::new(name),
            version,
            place,
            topic_id: TopicId::ZERO,
            leadership: None,
            in_flight: None,
            buffered: 0,
            halted: false,
            paused: false,
            revoking: false,
            ends: LogEnds::default(),
            checked_by: None,
            preferred: None,
            doubt: None,
            trouble: None,
            failures: 0,
            hurried: None,
        }
    }

    /// Starts over from elsewhere; what is under way or buffered belongs to the old version.
    pub(crate) fn restart(&mut self, version: u64, place: Place) {
        self.version = version;
        self.place = place;
        self.in_flight = None;
        self.buffered = 0;
        self.halted = false;
        self.doubt = None;
    }

    /// Takes up what was asked for about where to begin.
    pub(crate) fn settle(&mut self, place: Place) {
        self.place = place;
        self.trouble = None;
        self.doubt = None;
        self.checked_by = None;
    }

    /// Whether the place has to be held against the log of the leader first: it has an epoch, and
    /// the leader, or its epoch, is another than before (KIP-320).
    pub(crate) fn needs_validation(&self) -> bool {
        let has_epoch = self.place.fetch().is_some_and(|fetch| fetch.epoch.is_some());
        let leader = self.known_leader();
        has_epoch && leader.is_some() && leader != self.checked_by
    }

    /// The place was held against the log of the leader of now, or nothing is known to do so.
    pub(crate) fn validated(&mut self) {
        self.checked_by = self.known_leader();
    }

    /// The place is to be held against the leader's log again.
    pub(crate) fn unvalidated(&mut self) {
        self.checked_by = None;
    }

    fn known_leader(&self) -> Option<(BrokerId, i32)> {
        let leadership = self.leadership.filter(|leadership| leadership.epoch >= 0)?;
        Some((leadership.leader?, leadership.epoch))
    }

    /// Whether something has to be asked about the place before anything is fetched from there.
    pub(crate) fn is_in_question(&self) -> bool {
        self.needs_validation() || self.doubt.is_some_and(|doubt| doubt.look_up)
    }

    /// Whom to fetch it from: the replica that the leader has named, as long as there is a leader.
    pub(crate) fn source(&self, now: Instant) -> Option<BrokerId> {
        let leader = self.leader()?;
        let preferred = self.preferred.filter(|preferred| preferred.until > now);
        Some(preferred.map_or(leader, |preferred| preferred.node))
    }

    /// As [`Partition::restart`], because the user wants it: what was wrong is forgotten, and the
    /// place is one in the topic as it is now.
    pub(crate) fn seek(&mut self, version: u64, place: Place) {
        self.restart(version, place);
        self.trouble = None;
        self.failures = 0;
        self.checked_by = None;
        self.topic_id = self.leadership.map_or(TopicId::ZERO, |leadership| leadership.topic_id);
    }

    pub(crate) fn leader(&self) -> Option<BrokerId> {
        self.leadership?.leader
    }

    /// Takes up who leads it now. A new leader is worth trying at once, even while an answer of the
    /// old one is waited for, which may never come.
    pub(crate) fn set_leadership(&mut self, leadership: Option<Leadership>, now: Instant) {
        if self.leadership == leadership {
            return;
        }
        self.leadership = leadership;
        self.preferred = None;
        let Leadership { leader, topic_id, .. } = leadership.unwrap_or(Leadership::NONE);
        let moved =
            |asked: InFlight| asked.leader.is_some_and(|of| leader.is_some_and(|is| is != of));
        if self.in_flight.is_some_and(moved) {
            self.in_flight = None;
        }
        if !topic_id.is_zero() && topic_id != self.topic_id {
            let first = self.topic_id.is_zero();
            if !first {
                // It was asked of a topic that is no more.
                self.in_flight = None;
            }
            // What is still to be asked is asked of the new one; an offset stays one of the old one.
            if first || !matches!(self.place, Place::At { .. }) {
                self.topic_id = topic_id;
            }
        }
        // Never twice in a row: brokers that name each other would keep it going for ever.
        let since = self.hurried.and_then(|hurried| self.failures.checked_sub(hurried));
        if let Some(trouble) = &mut self.trouble
            && trouble.retry_at > now
            && !matches!(since, Some(0 | 1))
        {
            self.hurried = Some(self.failures);
            trouble.retry_at = now;
        }
    }

    /// The id of the topic that has taken the place of the one that was read.
    pub(crate) fn replaced_by(&self) -> Option<TopicId> {
        let id = self.leadership?.topic_id;
        (!id.is_zero() && !self.topic_id.is_zero() && id != self.topic_id).then_some(id)
    }

    /// Whether its records may be asked for and handed out.
    pub(crate) fn is_wanted(&self) -> bool {
        !self.paused && !self.revoking
    }

    /// Whether the user is to know of its troubles.
    pub(crate) fn tells(&self) -> bool {
        !self.halted && self.is_wanted()
    }

    /// Whether it may be asked for now.
    pub(crate) fn is_free(&self, now: Instant) -> bool {
        self.in_flight.is_none() && !self.halted && self.is_due(now)
    }

    /// Whether it may be tried now, as far as earlier failures go.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.trouble.as_ref().is_none_or(|trouble| trouble.retry_at <= now)
    }

    /// Notes a failure; the next try waits, with `chance` in `0.0..1.0`.
    pub(crate) fn failed(
        &mut self,
        cause: ClientError,
        backoff: Backoff,
        now: Instant,
        chance: f64,
    ) {
        self.back_off(backoff, now, chance);
        if let Some(trouble) = &mut self.trouble {
            trouble.cause = Some(cause);
        }
    }

    /// Has the next try wait, after a failure that the user has been told.
    pub(crate) fn back_off(&mut self, backoff: Backoff, now: Instant, chance: f64) {
        self.wait_for_topic(now);
        if let Some(trouble) = &mut self.trouble {
            trouble.retry_at = deadline(now, backoff.wait(self.failures, chance));
        }
        self.failures = self.failures.saturating_add(1);
    }

    /// Notes since when it cannot be read, without a failure.
    pub(crate) fn wait_for_topic(&mut self, now: Instant) {
        self.trouble.get_or_insert(Trouble { since: now, retry_at: now, cause: None });
    }

    /// When its trouble will have lasted for `patience`.
    pub(crate) fn overdue(&self, patience: Duration) -> Option<Instant> {
        let trouble = self.trouble.as_ref()?;
        let untold = trouble.cause.is_some() || self.leadership.is_none();
        trouble.since.checked_add(patience).filter(|_| untold)
    }
}
