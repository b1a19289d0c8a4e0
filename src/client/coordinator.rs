//! Where the coordinator of a group or of a transactional id is, as far as is known. Pure: it says when to ask, and is
//! told the answer; whom it is for, and what is asked of the coordinator, it does not know.
//!
//! ```text
//!   Unknown ──ask──► Asking ──found──► Known ──lost──► Unknown
//!      ▲ pause          │
//!      └──── not found ◄┘
//! ```

use std::fmt;

use crate::error::{ClientError, ErrorCode};
use crate::protocol::messages::find_coordinator::{
    FindCoordinatorRequest, FindCoordinatorResponse,
};
use crate::time::{Backoff, Duration, Instant};
use crate::types::BrokerId;

/// Whose coordinator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CoordinatorKey {
    Group(String),
    Transaction(String),
}

impl CoordinatorKey {
    fn name(&self) -> &str {
        match self {
            Self::Group(name) | Self::Transaction(name) => name,
        }
    }

    /// The request for it in a version: from 4 on several keys can be asked for (KIP-699).
    pub(crate) fn request(&self, version: i16) -> FindCoordinatorRequest {
        let key_type = match self {
            Self::Group(_) => 0,
            Self::Transaction(_) => 1,
        };
        let name = self.name().to_owned();
        if version < 4 {
            FindCoordinatorRequest { key: name, key_type, ..Default::default() }
        } else {
            FindCoordinatorRequest { coordinator_keys: vec![name], key_type, ..Default::default() }
        }
    }
}

/// Why there is none to be had, for a reason that does not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoCoordinator {
    Refused(ErrorCode),
    Unsupported(ClientError),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Unknown,
    Asking,
    Known(BrokerId),
}

/// See the module.
pub(crate) struct Coordinator {
    key: CoordinatorKey,
    state: State,
    backoff: Backoff,
    /// How often in a row one was not found, or was lost before it had answered.
    failures: u32,
    retry_at: Option<Instant>,
    random: fastrand::Rng,
}

impl Coordinator {
    /// `seed` decides the jitter of its pauses.
    pub(crate) fn new(key: CoordinatorKey, backoff: Backoff, seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        Self { key, state: State::Unknown, backoff, failures: 0, retry_at: None, random }
    }

    pub(crate) fn key(&self) -> &CoordinatorKey {
        &self.key
    }

    pub(crate) fn known(&self) -> Option<BrokerId> {
        match self.state {
            State::Known(broker) => Some(broker),
            State::Unknown | State::Asking => None,
        }
    }

    /// Whether it is to be asked for now; then it counts as asked.
    pub(crate) fn ask(&mut self, now: Instant) -> bool {
        let ask = self.state == State::Unknown && self.retry_at.is_none_or(|at| at <= now);
        if ask {
            self.state = State::Asking;
            self.retry_at = None;
        }
        ask
    }

    /// When it may be asked for next, if it may not now.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// The question has ended.
    pub(crate) fn answered(
        &mut self,
        result: Result<&FindCoordinatorResponse, &ClientError>,
        now: Instant,
    ) -> Result<(), NoCoordinator> {
        if self.state != State::Asking {
            return Ok(());
        }
        self.state = State::Unknown;
        let response = match result {
            Ok(response) => response,
            Err(error @ (ClientError::UnsupportedVersion { .. } | ClientError::Encode { .. })) => {
                return Err(NoCoordinator::Unsupported(error.clone()));
            }
            Err(_) => {
                self.put_off(now);
                return Ok(());
            }
        };
        let listed = response.coordinators.iter().find(|entry| entry.key == self.key.name());
        let (code, node) = match listed {
            Some(entry) => (entry.error_code, entry.node_id),
            None if response.coordinators.is_empty() => (response.error_code, response.node_id),
            None => (ErrorCode::COORDINATOR_NOT_AVAILABLE, -1),
        };
        if code.is_ok() && node >= 0 {
            tracing::debug!(key = ?self.key, broker = node, "found the coordinator");
            self.state = State::Known(BrokerId(node));
        } else if code.is_ok() || code.is_retriable() {
            self.put_off(now);
        } else {
            return Err(NoCoordinator::Refused(code));
        }
        Ok(())
    }

    /// It has answered as a coordinator does.
    pub(crate) fn heard(&mut self) {
        self.failures = 0;
    }

    /// It is not to be reached, or is none any more.
    pub(crate) fn lost(&mut self, now: Instant) {
        if matches!(self.state, State::Known(_)) {
            tracing::debug!(key = ?self.key, state = ?self.state, "the coordinator is lost");
            self.state = State::Unknown;
            // One that has been of use is looked for at once.
            if self.failures > 0 {
                self.put_off(now);
            } else {
                self.failures = 1;
            }
        }
    }

    fn put_off(&mut self, now: Instant) {
        let wait: Duration = self.backoff.wait(self.failures, self.random.f64());
        self.failures = self.failures.saturating_add(1);
        self.retry_at = Some(now + wait);
    }
}

impl fmt::Debug for Coordinator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {:?}", self.key, self.state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::messages::find_coordinator::Coordinator as Entry;

    fn fresh() -> Coordinator {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(100));
        Coordinator::new(CoordinatorKey::Transaction("t".to_owned()), backoff, 0)
    }

    fn found(key: &str, node_id: i32, error_code: ErrorCode) -> FindCoordinatorResponse {
        let entry = Entry { key: key.to_owned(), node_id, error_code, ..Default::default() };
        FindCoordinatorResponse { coordinators: vec![entry], ..Default::default() }
    }

    #[test]
    fn is_asked_for_once_and_again_after_a_pause() {
        let (mut coordinator, now) = (fresh(), Instant::now());
        assert!(coordinator.ask(now) && !coordinator.ask(now));
        let none = found("t", -1, ErrorCode::COORDINATOR_NOT_AVAILABLE);
        assert_eq!(coordinator.answered(Ok(&none), now), Ok(()));
        assert!(!coordinator.ask(now));
        let later = coordinator.retry_at().unwrap();
        assert!(coordinator.ask(later));
        assert_eq!(coordinator.answered(Ok(&found("other", 2, ErrorCode::NONE)), later), Ok(()));
        assert_eq!(coordinator.known(), None, "that was somebody else's");
        let later = coordinator.retry_at().unwrap();
        assert!(coordinator.ask(later));
        assert_eq!(coordinator.answered(Ok(&found("t", 2, ErrorCode::NONE)), later), Ok(()));
        assert_eq!(coordinator.known(), Some(BrokerId(2)));
    }

    #[test]
    fn one_that_was_of_use_is_looked_for_at_once() {
        let (mut coordinator, now) = (fresh(), Instant::now());
        assert!(coordinator.ask(now));
        coordinator.answered(Ok(&found("t", 2, ErrorCode::NONE)), now).unwrap();
        coordinator.heard();
        coordinator.lost(now);
        assert!(coordinator.ask(now));
        coordinator.answered(Ok(&found("t", 2, ErrorCode::NONE)), now).unwrap();
        coordinator.lost(now);
        assert!(!coordinator.ask(now), "it never answered");
    }

    #[test]
    fn a_refusal_that_does_not_pass_is_told() {
        let (mut coordinator, now) = (fresh(), Instant::now());
        assert!(coordinator.ask(now));
        let code = ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
        let told = coordinator.answered(Ok(&found("t", -1, code)), now);
        assert_eq!(told, Err(NoCoordinator::Refused(code)));
    }

    #[test]
    fn the_request_of_each_version_encodes() {
        use crate::protocol::{Message, Writer};
        for key in [CoordinatorKey::Group("g".into()), CoordinatorKey::Transaction("t".into())] {
            let lowest = if matches!(key, CoordinatorKey::Group(_)) { 0 } else { 1 };
            for version in lowest..=FindCoordinatorRequest::VERSIONS.max {
                key.request(version).encode(&mut Writer::new(), version).unwrap();
            }
        }
    }
}
