//! Where the coordinator of a group or of a transactional id is, as far as is known: what to ask, what an answer says, and
//! when to ask again. Pure: it says when to ask, and is told the answer; whom it is for, and what is asked of the
//! coordinator, it does not know.
//!
//! ```text
//!   Unknown ──ask──► Asking ──found──► Known ──lost──► Unknown
//!      ▲ pause          │
//!      └──── not found ◄┴─ refused, which is told
//! ```

use std::fmt;
use std::sync::Arc;

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
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Group(name) | Self::Transaction(name) => name,
        }
    }

    /// The request for it in a version.
    pub(crate) fn request(&self, version: i16) -> FindCoordinatorRequest {
        match self {
            Self::Group(name) => CoordinatorType::Group.request([name], version),
            Self::Transaction(name) => CoordinatorType::Transaction.request([name], version),
        }
    }
}

/// Of what it is the coordinator.
#[derive(Debug, Clone, Copy)]
pub(crate) enum CoordinatorType {
    Group,
    Transaction,
}

impl CoordinatorType {
    /// From this version on several keys can be asked for (KIP-699).
    const LIST_FROM: i16 = 4;

    /// The request for some in a version; in an old one it is about the first of them.
    pub(crate) fn request<'a>(
        self,
        names: impl IntoIterator<Item = &'a String>,
        version: i16,
    ) -> FindCoordinatorRequest {
        let key_type = match self {
            Self::Group => 0,
            Self::Transaction => 1,
        };
        let mut names = names.into_iter().cloned();
        if version < Self::LIST_FROM {
            let key = names.next().unwrap_or_default();
            FindCoordinatorRequest { key, key_type, ..Default::default() }
        } else {
            let coordinator_keys = names.collect();
            FindCoordinatorRequest { coordinator_keys, key_type, ..Default::default() }
        }
    }
}

/// Who the coordinator is, or why that is not said: a code, which is not `NONE`, and what the broker adds to it.
pub(crate) type Found<'a> = Result<BrokerId, (ErrorCode, Option<&'a str>)>;

/// What an answer says of each key. That of an old version names none: it is about the one that was asked for.
pub(crate) fn found<'a>(
    response: &'a FindCoordinatorResponse,
    asked: &'a str,
) -> impl Iterator<Item = (&'a str, Found<'a>)> {
    let FindCoordinatorResponse { coordinators, error_code, node_id, error_message, .. } = response;
    let only = (asked, *error_code, *node_id, error_message);
    let only = coordinators.is_empty().then_some(only);
    let listed =
        coordinators.iter().map(|it| (&*it.key, it.error_code, it.node_id, &it.error_message));
    only.into_iter().chain(listed).map(|(key, code, node, message)| {
        let message = message.as_deref().filter(|text| !text.is_empty());
        let found = match code {
            ErrorCode::NONE if node >= 0 => Ok(BrokerId(node)),
            ErrorCode::NONE => Err((ErrorCode::COORDINATOR_NOT_AVAILABLE, message)),
            code => Err((code, message)),
        };
        (key, found)
    })
}

/// Why there is none to be had, for a reason that does not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoCoordinator {
    Refused {
        code: ErrorCode,
        /// What the broker adds to it.
        message: Option<Arc<str>>,
    },
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

    /// The question has ended. Whatever the answer, if it names none the next question comes after a pause.
    pub(crate) fn answered(
        &mut self,
        result: Result<&FindCoordinatorResponse, &ClientError>,
        now: Instant,
    ) -> Result<(), NoCoordinator> {
        if self.state != State::Asking {
            return Ok(());
        }
        self.state = State::Unknown;
        let own = self.key.name();
        let answer = match result {
            Ok(response) => found(response, own).find(|(key, _)| *key == own),
            Err(error @ (ClientError::UnsupportedVersion { .. } | ClientError::Encode { .. })) => {
                self.put_off(now);
                return Err(NoCoordinator::Unsupported(error.clone()));
            }
            Err(error) => {
                tracing::debug!(key = ?self.key, %error, "cannot ask for the coordinator");
                None
            }
        };
        match answer {
            Some((_, Ok(broker))) => {
                tracing::info!(key = ?self.key, broker = broker.0, "found the coordinator");
                self.state = State::Known(broker);
            }
            Some((_, Err((code, message)))) if !code.is_retriable() => {
                let message = message.map(Into::into);
                self.put_off(now);
                return Err(NoCoordinator::Refused { code, message });
            }
            Some(_) | None => self.put_off(now),
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
            tracing::info!(key = ?self.key, state = ?self.state, "the coordinator is lost");
            self.state = State::Unknown;
            // One that has been of use is looked for at once.
            self.retry_at = self.failures.checked_sub(1).map(|before| now + self.pause(before));
            self.failures = self.failures.saturating_add(1);
        }
    }

    fn put_off(&mut self, now: Instant) {
        self.retry_at = Some(now + self.pause(self.failures));
        self.failures = self.failures.saturating_add(1);
    }

    fn pause(&mut self, failures: u32) -> Duration {
        self.backoff.wait(failures, self.random.f64())
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

    fn named(key: &str, node_id: i32, error_code: ErrorCode) -> FindCoordinatorResponse {
        let entry = Entry { key: key.to_owned(), node_id, error_code, ..Default::default() };
        FindCoordinatorResponse { coordinators: vec![entry], ..Default::default() }
    }

    #[test]
    fn is_asked_for_once_and_again_after_a_pause() {
        let (mut coordinator, now) = (fresh(), Instant::now());
        assert!(coordinator.ask(now) && !coordinator.ask(now));
        let none = named("t", -1, ErrorCode::COORDINATOR_NOT_AVAILABLE);
        assert_eq!(coordinator.answered(Ok(&none), now), Ok(()));
        assert!(!coordinator.ask(now));
        let later = coordinator.retry_at().unwrap();
        assert!(coordinator.ask(later));
        assert_eq!(coordinator.answered(Ok(&named("other", 2, ErrorCode::NONE)), later), Ok(()));
        assert_eq!(coordinator.known(), None, "that was somebody else's");
        let later = coordinator.retry_at().unwrap();
        assert!(coordinator.ask(later));
        assert_eq!(coordinator.answered(Ok(&named("t", 2, ErrorCode::NONE)), later), Ok(()));
        assert_eq!(coordinator.known(), Some(BrokerId(2)));
    }

    #[test]
    fn one_that_was_of_use_is_looked_for_at_once() {
        let (mut coordinator, now) = (fresh(), Instant::now());
        assert!(coordinator.ask(now));
        coordinator.answered(Ok(&named("t", 2, ErrorCode::NONE)), now).unwrap();
        coordinator.heard();
        coordinator.lost(now);
        assert!(coordinator.ask(now));
        coordinator.answered(Ok(&named("t", 2, ErrorCode::NONE)), now).unwrap();
        coordinator.lost(now);
        assert!(!coordinator.ask(now), "it never answered");
    }

    #[test]
    fn a_refusal_that_does_not_pass_is_told() {
        let (mut coordinator, now) = (fresh(), Instant::now());
        assert!(coordinator.ask(now));
        let code = ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
        let told = coordinator.answered(Ok(&named("t", -1, code)), now);
        assert_eq!(told, Err(NoCoordinator::Refused { code, message: None }));
        assert!(!coordinator.ask(now), "nor is it asked for in a loop");
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
        let both = ["a".to_owned(), "b".to_owned()];
        for version in 1..=FindCoordinatorRequest::VERSIONS.max {
            let request = CoordinatorType::Transaction.request(&both, version);
            request.encode(&mut Writer::new(), version).unwrap();
            let listed = version >= CoordinatorType::LIST_FROM;
            let keys = (request.key.as_str(), request.coordinator_keys.as_slice());
            assert_eq!(keys, if listed { ("", &both[..]) } else { ("a", &[][..]) }, "{version}");
        }
    }

    /// Whatever comes, in any order: one question at a time, and whoever may not ask knows what it waits for.
    #[test]
    fn random_events_leave_one_question_or_a_reason_for_none() {
        for seed in 0..300 {
            let mut dice = fastrand::Rng::with_seed(seed);
            let backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(500));
            let key = CoordinatorKey::Group("g".to_owned());
            let (mut coordinator, mut now) = (Coordinator::new(key, backoff, seed), Instant::now());
            let mut asked = false;
            for _ in 0..200 {
                match dice.u8(0..6) {
                    0 if asked => {
                        let codes = if dice.bool() { ErrorCode::ALL } else { &[ErrorCode::NONE] };
                        let code = *dice.choice(codes).unwrap();
                        let answer = named("g", dice.i32(-1..3), code);
                        let told = coordinator.answered(Ok(&answer), now);
                        assert_eq!(told.is_err(), !code.is_ok() && !code.is_retriable(), "{code}");
                        asked = false;
                    }
                    1 if asked => {
                        let told = coordinator.answered(Err(&ClientError::Closed), now);
                        assert_eq!((told, coordinator.known()), (Ok(()), None));
                        asked = false;
                    }
                    2 => coordinator.heard(),
                    3 => coordinator.lost(now),
                    4 => now += Duration::from_millis(dice.u64(0..700)),
                    _ if coordinator.ask(now) => {
                        assert!(!asked && coordinator.known().is_none(), "seed {seed}");
                        asked = true;
                    }
                    _ => {
                        let waits = coordinator.retry_at().is_some_and(|at| at > now);
                        assert!(asked || waits || coordinator.known().is_some(), "seed {seed}");
                    }
                }
                let pause = coordinator.retry_at().map(|at| at.saturating_duration_since(now));
                assert!(pause.is_none_or(|pause| pause <= Duration::from_millis(500)));
            }
        }
    }
}
