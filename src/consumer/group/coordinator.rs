//! Where the group's coordinator is. Shared by the member and by who commits offsets; it knows
//! neither.
//!
//! ```text
//!               want               answer
//!   Unknown ──────────► Asking ─────────────► Known ──► lost: NOT_COORDINATOR, COORDINATOR_NOT_AVAILABLE,
//!      ▲ back-off          │                             a disconnect, a time-out ──► Unknown
//!      └─── failure ◄──────┴─ refused ──► Refused (until the back-off is over)
//! ```
//!
//! Each time that one is found counts as a new version. Whoever has something under way notes the
//! version, and takes an answer, or the loss of the coordinator, only if it is still the current one:
//! an error that an earlier coordinator answers late does not drive away its successor.

use std::fmt;
use std::sync::Arc;

use super::request::{Destination, FindCoordinator, GroupRequest, GroupResponse, Outbox};
use crate::error::{ClientError, ErrorCode, GroupError};
use crate::protocol::messages::find_coordinator::FindCoordinatorResponse;
use crate::time::{Backoff, Duration, Instant};
use crate::types::BrokerId;

/// A coordinator that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Located {
    pub(crate) broker: BrokerId,
    /// Counts how often one was found.
    pub(crate) version: u64,
}

#[derive(Debug)]
enum State {
    Unknown,
    Asking { token: u64 },
    Known(BrokerId),
    Refused(GroupError),
}

/// See the module.
pub(crate) struct Coordinator {
    group_id: String,
    backoff: Backoff,
    request_timeout: Duration,
    state: State,
    version: u64,
    /// How often in a row one was not found, or was lost before it had been of use.
    failures: u32,
    /// Not asked before then.
    retry_at: Option<Instant>,
    wanted: bool,
    random: fastrand::Rng,
}

impl Coordinator {
    pub(super) fn new(
        group_id: String,
        backoff: Backoff,
        request_timeout: Duration,
        seed: u64,
    ) -> Self {
        Self {
            group_id,
            backoff,
            request_timeout,
            state: State::Unknown,
            version: 0,
            failures: 0,
            retry_at: None,
            wanted: false,
            random: fastrand::Rng::with_seed(seed),
        }
    }

    /// The coordinator, if it is known.
    pub(crate) fn known(&self) -> Option<Located> {
        match self.state {
            State::Known(broker) => Some(Located { broker, version: self.version }),
            _ => None,
        }
    }

    /// The coordinator; if it is not known, it is looked for from now on.
    pub(crate) fn want(&mut self) -> Option<Located> {
        let known = self.known();
        self.wanted |= known.is_none();
        known
    }

    /// Why there is none for the user, for as long as the next attempt is put off.
    pub(crate) fn refusal(&self) -> Option<&GroupError> {
        match &self.state {
            State::Refused(error) => Some(error),
            _ => None,
        }
    }

    /// The coordinator has answered as one.
    pub(crate) fn heard(&mut self, version: u64) {
        if self.known().is_some_and(|known| known.version == version) {
            self.failures = 0;
        }
    }

    /// The coordinator of this version is not to be reached, or is none any more. Whether that was
    /// news.
    pub(crate) fn lost(&mut self, version: u64, at: Instant) -> bool {
        let current = self.known().is_some_and(|known| known.version == version);
        if current {
            tracing::info!(group = %self.group_id, state = ?self.state, "the coordinator is lost");
            self.state = State::Unknown;
            // One that has been of use is looked for at once.
            self.retry_at =
                self.failures.checked_sub(1).map(|before| at + self.pause_after(before));
            self.failures = self.failures.saturating_add(1);
        }
        current
    }

    fn pause_after(&mut self, failures: u32) -> Duration {
        self.backoff.wait(failures, self.random.f64())
    }

    pub(super) fn poll(&mut self, outbox: &mut Outbox, at: Instant) {
        let due = self.retry_at.is_none_or(|retry_at| retry_at <= at);
        if !due {
            return;
        }
        if matches!(self.state, State::Refused(_)) {
            self.state = State::Unknown;
        }
        if self.wanted && matches!(self.state, State::Unknown) {
            let request = FindCoordinator { group_id: self.group_id.clone() };
            let request = GroupRequest::FindCoordinator(request);
            let token = outbox.send(Destination::Any, request, self.request_timeout);
            self.state = State::Asking { token };
            self.retry_at = None;
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.retry_at.filter(|_| self.wanted || self.refusal().is_some())
    }

    /// Takes an answer, if it is the one that is waited for.
    pub(super) fn handle(
        &mut self,
        token: u64,
        result: &Result<GroupResponse, ClientError>,
        at: Instant,
    ) -> bool {
        if !matches!(self.state, State::Asking { token: asked } if asked == token) {
            return false;
        }
        match result {
            Ok(GroupResponse::FindCoordinator(response)) => self.answered(response, at),
            Ok(_) => self.not_found(at),
            Err(error) if error.is_retriable() || *error == ClientError::Closed => {
                tracing::debug!(group = %self.group_id, %error, "cannot ask for the coordinator");
                self.not_found(at);
            }
            Err(error) => {
                let what = "groups";
                let cause = Some(Arc::new(error.clone()));
                let group = self.group_id.clone();
                self.refused(GroupError::Unsupported { group, what, cause }, at);
            }
        }
        true
    }

    fn answered(&mut self, response: &FindCoordinatorResponse, at: Instant) {
        let own = |key: &str| key == self.group_id;
        let (code, node, message) = match &response.coordinators[..] {
            [] => (response.error_code, response.node_id, &response.error_message),
            listed => match listed.iter().find(|entry| own(&entry.key)) {
                Some(entry) => (entry.error_code, entry.node_id, &entry.error_message),
                None => return self.not_found(at),
            },
        };
        if code.is_ok() && node >= 0 {
            tracing::info!(group = %self.group_id, broker = node, "found the coordinator");
            self.state = State::Known(BrokerId(node));
            self.version += 1;
            self.wanted = false;
        } else if code.is_ok() || code.is_retriable() {
            self.not_found(at);
        } else {
            let group = self.group_id.clone();
            let error = match code {
                ErrorCode::GROUP_AUTHORIZATION_FAILED => GroupError::Unauthorized { group },
                ErrorCode::INVALID_GROUP_ID => GroupError::InvalidGroupId { group },
                _ => GroupError::Refused {
                    group,
                    api: "FindCoordinator",
                    code,
                    message: message.as_deref().filter(|text| !text.is_empty()).map(Into::into),
                },
            };
            self.refused(error, at);
        }
    }

    /// Whoever still wants it says so again.
    fn not_found(&mut self, at: Instant) {
        self.state = State::Unknown;
        self.wanted = false;
        self.put_off(at);
    }

    fn refused(&mut self, error: GroupError, at: Instant) {
        self.state = State::Refused(error);
        self.wanted = false;
        self.put_off(at);
    }

    fn put_off(&mut self, at: Instant) {
        self.retry_at = Some(at + self.pause_after(self.failures));
        self.failures = self.failures.saturating_add(1);
    }
}

impl fmt::Debug for Coordinator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "coordinator {:?} (version {})", self.state, self.version)
    }
}
