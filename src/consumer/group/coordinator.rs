//! Where the group's coordinator is, for all who need it: the member, and who commits offsets. It knows
//! neither, and leaves to [`Coordinator`] what an answer says and when to ask again; its own are who
//! wants it, whose news of it count, and what the user is told.
//!
//! ```text
//!               want               answer
//!   Unknown ──────────► Asking ─────────────► Known ──► lost: NOT_COORDINATOR, COORDINATOR_NOT_AVAILABLE,
//!      ▲ back-off          │                             a disconnect, a time-out ──► Unknown
//!      └─── failure ◄──────┴─ refused: the refusal stands until the back-off is over
//! ```
//!
//! Each answer makes a new version. Whoever has something under way notes the version, and takes an
//! answer, or the loss of the coordinator, only if it is still the current one: an error that an earlier
//! coordinator answers late does not drive away its successor.

use std::fmt;
use std::sync::Arc;

use super::request::{Destination, GroupRequest, GroupResponse, Outbox};
use crate::client::{Coordinator, CoordinatorKey, NoCoordinator};
use crate::error::{ClientError, ErrorCode, GroupError};
use crate::time::{Backoff, Duration, Instant};
use crate::types::BrokerId;

/// A coordinator that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Located {
    pub(crate) broker: BrokerId,
    /// That of the answer that named it.
    pub(crate) version: u64,
}

/// See the module.
pub(crate) struct GroupCoordinator {
    coordinator: Coordinator,
    request_timeout: Duration,
    wanted: bool,
    /// The token of the question under way.
    asked: Option<u64>,
    version: u64,
    refusal: Option<GroupError>,
}

impl GroupCoordinator {
    pub(super) fn new(
        group_id: String,
        backoff: Backoff,
        request_timeout: Duration,
        seed: u64,
    ) -> Self {
        let coordinator = Coordinator::new(CoordinatorKey::Group(group_id), backoff, seed);
        Self { coordinator, request_timeout, wanted: false, asked: None, version: 0, refusal: None }
    }

    /// The coordinator, if it is known.
    pub(crate) fn known(&self) -> Option<Located> {
        let version = self.version;
        self.coordinator.known().map(|broker| Located { broker, version })
    }

    /// The coordinator; if it is not known, it is looked for from now on.
    pub(crate) fn want(&mut self) -> Option<Located> {
        let known = self.known();
        self.wanted |= known.is_none();
        known
    }

    /// Why there is none for the user, for as long as the next attempt is put off.
    pub(crate) fn refusal(&self) -> Option<&GroupError> {
        self.refusal.as_ref()
    }

    /// The coordinator has answered as one.
    pub(crate) fn heard(&mut self, version: u64) {
        if self.is_current(version) {
            self.coordinator.heard();
        }
    }

    /// The coordinator of this version is not to be reached, or is none any more. Whether that was
    /// news.
    pub(crate) fn lost(&mut self, version: u64, at: Instant) -> bool {
        let current = self.is_current(version);
        if current {
            self.coordinator.lost(at);
        }
        current
    }

    fn is_current(&self, version: u64) -> bool {
        self.known().is_some_and(|known| known.version == version)
    }

    pub(super) fn poll(&mut self, outbox: &mut Outbox, at: Instant) {
        if self.coordinator.retry_at().is_none_or(|retry_at| retry_at <= at) {
            self.refusal = None;
        }
        if self.wanted && self.coordinator.ask(at) {
            let request = GroupRequest::FindCoordinator(self.coordinator.key().clone());
            self.asked = Some(outbox.send(Destination::Any, request, self.request_timeout));
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.coordinator.retry_at().filter(|_| self.wanted || self.refusal.is_some())
    }

    /// Takes an answer, if it is the one that is waited for. Whoever still wants the coordinator after
    /// one that names none says so again.
    pub(super) fn handle(
        &mut self,
        token: u64,
        result: &Result<GroupResponse, ClientError>,
        at: Instant,
    ) -> bool {
        if self.asked.take_if(|asked| *asked == token).is_none() {
            return false;
        }
        let response = match result {
            Ok(GroupResponse::FindCoordinator(response)) => Ok(response),
            Ok(_) => Err(&ClientError::Closed),
            Err(error) => Err(error),
        };
        self.wanted = false;
        self.version += 1;
        self.refusal = self.coordinator.answered(response, at).err().map(|why| self.refused(why));
        true
    }

    fn refused(&self, why: NoCoordinator) -> GroupError {
        let group = self.coordinator.key().name().to_owned();
        match why {
            NoCoordinator::Unsupported(error) => {
                GroupError::Unsupported { group, what: "groups", cause: Some(Arc::new(error)) }
            }
            NoCoordinator::Refused { code, message } => match code {
                ErrorCode::GROUP_AUTHORIZATION_FAILED => GroupError::Unauthorized { group },
                ErrorCode::INVALID_GROUP_ID => GroupError::InvalidGroupId { group },
                _ => GroupError::Refused { group, api: "FindCoordinator", code, message },
            },
        }
    }
}

impl fmt::Debug for GroupCoordinator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "coordinator of {:?} (version {})", self.coordinator, self.version)
    }
}
