//! What all connections of a cluster share: its state behind one lock, its clock, and what wakes those who wait.

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::state::State;
use crate::time::{Duration, Instant, deadline};

/// The wall clock, derived from tokio's: under paused or simulated time the two go together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    started: Instant,
    started_at_ms: i64,
}

impl Clock {
    /// A clock that shows `started_at_ms` (milliseconds since the epoch) now.
    pub(crate) fn starting_at(started_at_ms: i64) -> Self {
        Self { started: Instant::now(), started_at_ms }
    }

    /// Milliseconds since the epoch.
    pub(crate) fn now_ms(&self) -> i64 {
        let elapsed = Instant::now().saturating_duration_since(self.started).as_millis();
        self.started_at_ms.saturating_add(i64::try_from(elapsed).unwrap_or(i64::MAX))
    }
}

/// See the module's docs.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    pub(crate) clock: Clock,
    /// `socket.request.max.bytes`
    pub(crate) max_request_bytes: usize,
    /// Whether the records of each batch are looked at.
    pub(crate) validate_records: bool,
    /// A log grew, or its leader is another: fetches that wait look again.
    pub(crate) changed: Notify,
    /// A group changed: those that wait for it look again.
    pub(crate) groups: Notify,
    /// A request was received.
    pub(crate) received: Notify,
}

impl Shared {
    pub(crate) fn new(
        state: State,
        clock: Clock,
        max_request_bytes: usize,
        validate_records: bool,
    ) -> Self {
        Self {
            state: Mutex::new(state),
            clock,
            max_request_bytes,
            validate_records,
            changed: Notify::new(),
            groups: Notify::new(),
            received: Notify::new(),
        }
    }

    /// Looks at the state, or changes what no one waits for.
    pub(crate) fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock())
    }

    /// Changes the state, with what becomes of transactions by that, and wakes those who wait.
    pub(crate) fn change<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        let result = self.with(|state| {
            let result = f(state);
            if state.transactions.is_unsettled() {
                state.settle_transactions(self.clock.now_ms());
            }
            result
        });
        self.changed.notify_waiters();
        self.groups.notify_waiters();
        result
    }

    /// Does what time has brought to transactions.
    pub(crate) fn settle_transactions(&self) {
        let settle = |state: &mut State| {
            state.transactions.is_unsettled() && state.settle_transactions(self.clock.now_ms())
        };
        if self.with(settle) {
            self.changed.notify_waiters();
            self.groups.notify_waiters();
        }
    }

    /// When time will bring something to transactions.
    pub(crate) fn next_settlement(&self) -> Option<Instant> {
        let now = self.clock.now_ms();
        let at = self.with(|state| state.transactions.next_deadline(now))?;
        let wait = Duration::from_millis(at.saturating_sub(now).unsigned_abs());
        Some(deadline(Instant::now(), wait))
    }

    /// Does what time has brought to a group.
    pub(crate) fn advance_group(&self, name: &str) {
        if self.with(|state| state.groups.advance(Instant::now(), name)) {
            self.groups.notify_waiters();
        }
    }

    /// Waits until `changed`, a notification of [`Shared::groups`], or until time changes the group.
    pub(crate) async fn group_changes(&self, name: &str, changed: impl Future<Output = ()>) {
        match self.with(|state| state.groups.next_deadline(name)) {
            // Either way the next look decides.
            Some(deadline) => drop(tokio::time::timeout_at(deadline, changed).await),
            None => changed.await,
        }
    }

    /// Changes groups at the present time, and wakes those who wait for one.
    pub(crate) fn change_groups<T>(&self, f: impl FnOnce(&mut State, Instant) -> T) -> T {
        let result = self.with(|state| f(state, Instant::now()));
        self.groups.notify_waiters();
        result
    }
}
