//! What a call is about, and how far it is with each: pure. What is asked, and how one finds out of
//! whom, it does not know.
//!
//! ```text
//!              placed              answered
//!   Nowhere ───────────► At broker ─────────► Done
//!      ▲  │                 │  ▲│
//!      │  └─ Never ─────────┼──┼┴─ Never ───► Failed
//!      └────── Elsewhere ◄──┘  └─ Again
//! ```
//!
//! Whoever is neither done nor failed when time is up has timed out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::error::{AdminError, ClientError, ErrorCode};
use crate::time::Duration;
use crate::types::BrokerId;

/// What to do after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Ask the same broker.
    Again,
    /// Find out whom to ask.
    Elsewhere,
    /// Give up.
    Never,
}

/// A failure, and what to do after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) error: AdminError,
    pub(super) next: Next,
    /// Whether metadata are to be fetched first.
    pub(super) stale: bool,
}

impl Trouble {
    /// A broker's code.
    ///
    /// | code | next |
    /// |---|---|
    /// | `NOT_COORDINATOR`, `COORDINATOR_NOT_AVAILABLE`; `NOT_LEADER_OR_FOLLOWER` and all that say the metadata are old | elsewhere |
    /// | `COORDINATOR_LOAD_IN_PROGRESS`, `CONCURRENT_TRANSACTIONS`, and all others that may pass | again |
    /// | the rest | never |
    pub(super) fn refused(
        api: &'static str,
        subject: Arc<str>,
        code: ErrorCode,
        message: Option<&str>,
    ) -> Self {
        let stale = code.refreshes_metadata();
        let moved =
            matches!(code, ErrorCode::NOT_COORDINATOR | ErrorCode::COORDINATOR_NOT_AVAILABLE);
        let next = match code {
            _ if stale || moved => Next::Elsewhere,
            code if code.is_retriable() => Next::Again,
            _ => Next::Never,
        };
        let message = message.filter(|text| !text.is_empty()).map(Into::into);
        Self { error: AdminError::Refused { api, subject, code, message }, next, stale }
    }

    /// A broker that could not be asked. If that may pass, another one may have its work by then.
    pub(super) fn client(subject: Arc<str>, cause: &Arc<ClientError>) -> Self {
        let next = if cause.is_retriable() { Next::Elsewhere } else { Next::Never };
        let stale = cause.refreshes_metadata();
        Self { error: AdminError::Client { subject, cause: Arc::clone(cause) }, next, stale }
    }

    /// A failure that does not pass.
    pub(super) fn never(error: AdminError) -> Self {
        Self { error, next: Next::Never, stale: false }
    }
}

/// What is not settled yet.
#[derive(Debug)]
struct Open {
    at: Option<BrokerId>,
    last: Option<AdminError>,
}

/// See the module.
pub(super) struct Ledger<K, V> {
    open: BTreeMap<K, Open>,
    settled: BTreeMap<K, Result<V, AdminError>>,
}

impl<K: Ord + Clone, V> Ledger<K, V> {
    pub(super) fn new(keys: impl IntoIterator<Item = K>) -> Self {
        let open = keys.into_iter().map(|key| (key, Open { at: None, last: None }));
        Self { open: open.collect(), settled: BTreeMap::new() }
    }

    pub(super) fn is_settled(&self) -> bool {
        self.open.is_empty()
    }

    /// Those for which a broker is to be found.
    pub(super) fn nowhere(&self) -> BTreeSet<K> {
        let nowhere = self.open.iter().filter(|(_, open)| open.at.is_none());
        nowhere.map(|(key, _)| key.clone()).collect()
    }

    /// Who is to be asked about what.
    pub(super) fn requests(&self) -> BTreeMap<BrokerId, Vec<K>> {
        let mut requests: BTreeMap<BrokerId, Vec<K>> = BTreeMap::new();
        for (key, open) in &self.open {
            if let Some(broker) = open.at {
                requests.entry(broker).or_default().push(key.clone());
            }
        }
        requests
    }

    /// A broker was found, or not.
    pub(super) fn placed(&mut self, key: &K, found: Result<BrokerId, Trouble>) {
        match found {
            Ok(broker) => {
                if let Some(open) = self.open.get_mut(key) {
                    open.at = Some(broker);
                }
            }
            Err(trouble) => self.failed(key, trouble),
        }
    }

    /// A broker has answered. What was not asked, or is settled, stays as it is.
    pub(super) fn answered(&mut self, key: &K, answer: Result<V, Trouble>) {
        match answer {
            Ok(value) => {
                if let Some((key, _)) = self.open.remove_entry(key) {
                    self.settled.insert(key, Ok(value));
                }
            }
            Err(trouble) => self.failed(key, trouble),
        }
    }

    fn failed(&mut self, key: &K, Trouble { error, next, .. }: Trouble) {
        let Some(open) = self.open.get_mut(key) else { return };
        match next {
            Next::Again => open.last = Some(error),
            Next::Elsewhere => *open = Open { at: None, last: Some(error) },
            Next::Never => {
                if let Some((key, _)) = self.open.remove_entry(key) {
                    self.settled.insert(key, Err(error));
                }
            }
        }
    }

    /// Time is up.
    pub(super) fn end(
        self,
        waited: Duration,
        subject: impl Fn(&K) -> Arc<str>,
    ) -> BTreeMap<K, Result<V, AdminError>> {
        let Self { open, mut settled } = self;
        settled.extend(open.into_iter().map(|(key, Open { at, last })| {
            let (subject, last) = (subject(&key), last.map(Arc::new));
            (key, Err(AdminError::TimedOut { subject, waited, broker: at, last }))
        }));
        settled
    }
}

impl<K: fmt::Debug, V> fmt::Debug for Ledger<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = self.open.iter().map(|(key, open)| (key, open.at));
        write!(f, "{} settled, open: {:?}", self.settled.len(), open.collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: BrokerId = BrokerId(1);
    const B: BrokerId = BrokerId(2);

    fn trouble(code: ErrorCode) -> Trouble {
        Trouble::refused("Api", "it".into(), code, None)
    }

    fn end(ledger: Ledger<u8, u8>) -> BTreeMap<u8, Result<u8, AdminError>> {
        ledger.end(Duration::ZERO, |key| key.to_string().into())
    }

    #[test]
    fn codes_say_what_is_next() {
        for (code, next, stale) in [
            (ErrorCode::NOT_COORDINATOR, Next::Elsewhere, false),
            (ErrorCode::COORDINATOR_NOT_AVAILABLE, Next::Elsewhere, false),
            (ErrorCode::NOT_LEADER_OR_FOLLOWER, Next::Elsewhere, true),
            (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, Next::Elsewhere, true),
            (ErrorCode::COORDINATOR_LOAD_IN_PROGRESS, Next::Again, false),
            (ErrorCode::CONCURRENT_TRANSACTIONS, Next::Again, false),
            (ErrorCode::TRANSACTIONAL_ID_NOT_FOUND, Next::Never, false),
            (ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED, Next::Never, false),
            (ErrorCode::new(9999), Next::Never, false),
        ] {
            let Trouble { next: got, stale: refresh, .. } = trouble(code);
            assert_eq!((got, refresh), (next, stale), "{code}");
        }
        let gone = Arc::new(ClientError::UnknownBroker { id: A });
        assert_eq!(Trouble::client("it".into(), &gone).next, Next::Elsewhere);
        let closed = Trouble::client("it".into(), &Arc::new(ClientError::Closed));
        assert_eq!((closed.next, closed.stale), (Next::Never, false));
    }

    #[test]
    fn each_goes_its_own_way() {
        let mut ledger: Ledger<u8, u8> = Ledger::new([1, 2, 3]);
        assert_eq!(ledger.nowhere().len(), 3);
        ledger.placed(&1, Ok(A));
        ledger.placed(&2, Ok(A));
        ledger.placed(&3, Err(trouble(ErrorCode::COORDINATOR_NOT_AVAILABLE)));
        assert_eq!(ledger.requests(), BTreeMap::from([(A, vec![1, 2])]));
        assert_eq!(format!("{ledger:?}").lines().count(), 1);

        ledger.answered(&1, Ok(10));
        ledger.answered(&2, Err(trouble(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS)));
        assert_eq!(ledger.requests(), BTreeMap::from([(A, vec![2])]), "again");
        ledger.answered(&2, Err(trouble(ErrorCode::NOT_COORDINATOR)));
        assert_eq!(ledger.nowhere(), BTreeSet::from([2, 3]), "elsewhere");
        ledger.placed(&2, Ok(B));
        ledger.placed(&3, Err(trouble(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED)));

        // Neither what is settled nor what was not asked is changed by a late answer.
        ledger.answered(&1, Ok(11));
        ledger.answered(&9, Ok(90));
        assert!(!ledger.is_settled());
        let told = end(ledger);
        assert_eq!(told[&1], Ok(10));
        match &told[&2] {
            Err(AdminError::TimedOut { broker: Some(B), last: Some(last), .. }) => {
                assert_eq!(last.code(), Some(ErrorCode::NOT_COORDINATOR));
            }
            other => panic!("{other:?}"),
        }
        assert!(!told[&3].as_ref().unwrap_err().is_retriable());
        assert_eq!(told.len(), 3);
    }

    /// Whatever happens, each key is at one place, and each is told of once.
    #[test]
    fn nothing_is_lost_or_told_twice() {
        let codes = [
            ErrorCode::NOT_COORDINATOR,
            ErrorCode::CONCURRENT_TRANSACTIONS,
            ErrorCode::TRANSACTIONAL_ID_NOT_FOUND,
        ];
        for seed in 0..200 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut ledger: Ledger<u8, u8> = Ledger::new(0..8);
            let mut first = BTreeMap::new();
            for step in 0..40 {
                let key = random.u8(..10);
                let failed = Err(trouble(codes[random.usize(..codes.len())]));
                match random.u8(..4) {
                    0 | 1 => ledger.placed(&key, Ok(BrokerId(random.i32(..3)))),
                    2 => ledger.answered(&key, failed),
                    _ => {
                        let open = ledger.open.contains_key(&key);
                        ledger.answered(&key, Ok(step));
                        if open {
                            first.insert(key, step);
                        }
                    }
                }
                let asked: usize = ledger.requests().values().map(Vec::len).sum();
                let open = ledger.nowhere().len() + asked;
                assert_eq!(open + ledger.settled.len(), 8, "seed {seed}: {ledger:?}");
                assert_eq!(ledger.is_settled(), open == 0);
            }
            let told = end(ledger);
            assert_eq!(told.keys().copied().collect::<Vec<_>>(), (0..8).collect::<Vec<_>>());
            for (key, value) in first {
                assert_eq!(told[&key], Ok(value), "seed {seed}");
            }
        }
    }
}
