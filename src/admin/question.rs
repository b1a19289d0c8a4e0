//! From a question to answers: finds out whom to ask, asks all of them at once, and again until all
//! is settled or time is up. It has no opinion of its own: [`Ledger`] has, and the questions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::stream::{FuturesUnordered, StreamExt};

use super::ledger::{Ledger, Trouble};
use crate::client::Client;
use crate::error::{AdminError, ClientError};
use crate::protocol::Request;
use crate::time::{Backoff, Instant};
use crate::types::BrokerId;

/// What is said of each.
pub(super) type Answers<K, T> = Vec<(K, Result<T, Trouble>)>;

/// Something that brokers are asked about some keys.
pub(super) trait Question {
    type Key: Ord + Clone;
    type Value;
    type Request: Request;

    /// About how many keys one request can be.
    const AT_MOST: usize;

    /// What a key is called in errors.
    fn subject(&self, key: &Self::Key) -> Arc<str>;

    /// Finds out whom to ask. Nothing is said of those for which that is not known.
    async fn locate(
        &self,
        client: &Client,
        keys: &BTreeSet<Self::Key>,
    ) -> Answers<Self::Key, BrokerId>;

    /// The request in the version that a broker speaks.
    fn request(
        &self,
        broker: BrokerId,
        keys: &[Self::Key],
        version: i16,
    ) -> Result<Self::Request, AdminError>;

    /// What the answer says of each.
    fn read(
        &self,
        broker: BrokerId,
        keys: &[Self::Key],
        response: <Self::Request as Request>::Response,
    ) -> Answers<Self::Key, Self::Value>;
}

/// How long a call may last, and the chances that it takes.
#[derive(Debug)]
pub(super) struct Bounds {
    pub(super) began: Instant,
    pub(super) deadline: Instant,
    pub(super) random: fastrand::Rng,
}

/// Asks until there is an answer to each, or until the deadline. Cancel safe.
pub(super) async fn ask<Q: Question>(
    client: &Client,
    question: &Q,
    keys: impl IntoIterator<Item = Q::Key>,
    mut bounds: Bounds,
) -> BTreeMap<Q::Key, Result<Q::Value, AdminError>> {
    let Bounds { began, deadline, .. } = bounds;
    let mut ledger = Ledger::new(keys);
    if !ledger.is_settled()
        && let Err(cause) = client.brokers(false, deadline).await
    {
        let cause = Arc::new(cause);
        for key in ledger.nowhere() {
            let subject = question.subject(&key);
            let error = AdminError::Client { subject, cause: Arc::clone(&cause) };
            ledger.answered(&key, Err(Trouble::never(error)));
        }
    }
    let config = client.config();
    let backoff = Backoff::new(config.retry_backoff(), config.retry_backoff_max());
    let work = async {
        let mut failures = 0;
        while !ledger.is_settled() {
            if failures > 0 {
                tokio::time::sleep(backoff.wait(failures - 1, bounds.random.f64())).await;
            }
            failures += 1;
            locate(client, question, &mut ledger).await;
            ask_brokers(client, question, &mut ledger).await;
        }
    };
    // Cut short, it leaves in the ledger how far it came.
    let _ = tokio::time::timeout_at(deadline, work).await;
    ledger.end(began.elapsed(), |key| question.subject(key))
}

async fn locate<Q: Question>(client: &Client, question: &Q, ledger: &mut Ledger<Q::Key, Q::Value>) {
    let nowhere = ledger.nowhere();
    if nowhere.is_empty() {
        return;
    }
    for (key, found) in question.locate(client, &nowhere).await {
        refresh_if_stale(client, &found);
        ledger.placed(&key, found);
    }
}

async fn ask_brokers<Q: Question>(
    client: &Client,
    question: &Q,
    ledger: &mut Ledger<Q::Key, Q::Value>,
) {
    let requests = ledger.requests();
    let mut calls = FuturesUnordered::new();
    for (broker, keys) in &requests {
        for keys in keys.chunks(Q::AT_MOST) {
            calls.push(ask_broker(client, question, *broker, keys));
        }
    }
    while let Some(answers) = calls.next().await {
        for (key, answer) in answers {
            refresh_if_stale(client, &answer);
            ledger.answered(&key, answer);
        }
    }
}

fn refresh_if_stale<T>(client: &Client, answer: &Result<T, Trouble>) {
    if let Err(Trouble { error, stale, next }) = answer {
        tracing::debug!(?next, "{error}");
        if *stale {
            client.request_refresh();
        }
    }
}

/// What a broker says of some keys, or why it does not.
async fn ask_broker<Q: Question>(
    client: &Client,
    question: &Q,
    broker: BrokerId,
    keys: &[Q::Key],
) -> Answers<Q::Key, Q::Value> {
    let all = |trouble: &dyn Fn(&Q::Key) -> Trouble| {
        keys.iter().map(|key| (key.clone(), Err(trouble(key)))).collect()
    };
    match call(client, question, broker, keys).await {
        Ok(Ok(response)) => question.read(broker, keys, response),
        Ok(Err(error)) => all(&|_| Trouble::never(error.clone())),
        Err(cause) => {
            let cause = Arc::new(cause);
            all(&|key| Trouble::client(question.subject(key), &cause))
        }
    }
}

async fn call<Q: Question>(
    client: &Client,
    question: &Q,
    broker: BrokerId,
    keys: &[Q::Key],
) -> Result<Result<<Q::Request as Request>::Response, AdminError>, ClientError> {
    let connection = client.connect(broker).await?;
    let version = connection.version::<Q::Request>()?;
    match question.request(broker, keys, version) {
        Ok(request) => {
            let timeout = client.config().request_timeout();
            connection.call_at(&request, version, timeout).await.map(Ok)
        }
        Err(error) => Ok(Err(error)),
    }
}
