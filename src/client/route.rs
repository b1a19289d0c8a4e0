//! Which broker a request goes to, and whether a failure is worth another try.
//!
//! Knows no particular request. Requests whose repetition could do harm do not belong here: what
//! may have been written is tried again.

use super::Client;
use super::metadata::TopicMetadata;
use crate::error::{ClientError, ErrorCode, Peer};
use crate::protocol::Request;
use crate::time::{Backoff, Instant, deadline};
use crate::types::{BrokerId, TopicPartition};
use futures_util::stream::{FuturesUnordered, StreamExt};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A partition that its leader is asked about.
#[derive(Debug)]
pub(crate) struct Led {
    pub(crate) partition: TopicPartition,
    /// The leader's epoch; -1 if it is not known.
    pub(crate) epoch: i32,
}

/// A partition of which nothing could be learnt.
#[derive(Debug)]
pub(crate) struct Unanswered {
    pub(crate) partition: TopicPartition,
    pub(crate) cause: ClientError,
}

/// What several partitions were asked for, and how far that is.
#[derive(Debug)]
struct Round<T> {
    missing: BTreeSet<TopicPartition>,
    found: BTreeMap<TopicPartition, T>,
    /// What an error, or the end of the time, is about.
    about: Option<TopicPartition>,
}

impl Client {
    /// Sends a request that any broker can answer, and tries others until `deadline` while
    /// connections fail.
    ///
    /// Error codes inside the answer are the caller's. Cancel safe.
    pub(crate) async fn call_any<R: Request>(
        &self,
        request: &R,
        deadline: Instant,
    ) -> Result<R::Response, ClientError> {
        let asked = Asked::default();
        let mut retry = Retry::new(self, deadline, &asked);
        loop {
            let attempt = self.ask_any(|_| request.clone(), &asked);
            if let Some(response) = retry.attempt(attempt).await? {
                return Ok(response);
            }
        }
    }

    /// Sends a request that any broker can answer, once, as it is in the version that the broker
    /// speaks.
    pub(crate) async fn call_any_once<R: Request>(
        &self,
        request: impl Fn(i16) -> R,
    ) -> Result<R::Response, ClientError> {
        self.ask_any(request, &Asked::default()).await
    }

    async fn ask_any<R: Request>(
        &self,
        request: impl Fn(i16) -> R,
        asked: &Asked,
    ) -> Result<R::Response, ClientError> {
        let connection = self.core().connect_any(|peer| *asked.lock() = Some(peer)).await?;
        let version = connection.version::<R>()?;
        let timeout = self.core().config.request_timeout();
        connection.call_at(&request(version), version, timeout).await
    }

    /// Asks the leaders of partitions, with one request to each, and asks again until `deadline` for
    /// those partitions for which connections fail or `read` finds an error that passes. `request`
    /// gets them in order.
    ///
    /// Fails as soon as one of them cannot be had. Cancel safe.
    pub(crate) async fn call_leaders<R: Request, T>(
        &self,
        partitions: BTreeSet<TopicPartition>,
        deadline: Instant,
        mut request: impl FnMut(&[Led]) -> R,
        read: impl Fn(R::Response) -> Vec<(TopicPartition, Result<T, ErrorCode>)>,
    ) -> Result<BTreeMap<TopicPartition, T>, Unanswered> {
        let asked = Asked::default();
        let mut retry = Retry::new(self, deadline, &asked);
        let mut round = Round { missing: partitions, found: BTreeMap::new(), about: None };
        while let Some(first) = round.missing.first().cloned() {
            round.about = None;
            let attempt = async {
                let by_leader = self.leaders(&mut round, deadline).await?;
                self.ask_leaders(by_leader, &mut round, &asked, &mut request, &read).await
            };
            if let Err(cause) = retry.attempt(attempt).await {
                return Err(Unanswered { partition: round.about.unwrap_or(first), cause });
            }
        }
        Ok(round.found)
    }

    /// Who leads the partitions that are missing. Those without a leader are left out.
    async fn leaders<T>(
        &self,
        round: &mut Round<T>,
        deadline: Instant,
    ) -> Result<BTreeMap<BrokerId, Vec<Led>>, ClientError> {
        let mut by_leader: BTreeMap<BrokerId, Vec<Led>> = BTreeMap::new();
        let snapshot = self.metadata();
        // All at once, so that they are fetched together.
        let unknown = round.missing.iter().map(|partition| &*partition.topic);
        for topic in unknown.filter(|topic| snapshot.topic(topic).is_none()) {
            self.track(topic);
        }
        let mut topic: Option<Arc<TopicMetadata>> = None;
        for partition in &round.missing {
            let topic = match &topic {
                Some(topic) if *topic.name == *partition.topic => topic,
                _ => {
                    round.about = Some(partition.clone());
                    topic.insert(self.topic(&partition.topic, deadline).await?)
                }
            };
            let at = usize::try_from(partition.partition).ok();
            let found = at.and_then(|at| topic.partitions.get(at));
            if let (Some(found), Some(leader)) = (found, found.and_then(|found| found.leader)) {
                let led = Led { partition: partition.clone(), epoch: found.leader_epoch };
                by_leader.entry(leader).or_default().push(led);
            }
        }
        round.about = None;
        Ok(by_leader)
    }

    /// Asks them all, and takes what is found out of the partitions that are missing. An error that
    /// may pass is told last.
    async fn ask_leaders<R: Request, T>(
        &self,
        by_leader: BTreeMap<BrokerId, Vec<Led>>,
        round: &mut Round<T>,
        asked: &Asked,
        request: &mut impl FnMut(&[Led]) -> R,
        read: &impl Fn(R::Response) -> Vec<(TopicPartition, Result<T, ErrorCode>)>,
    ) -> Result<(), ClientError> {
        let mut leaderless = round.missing.clone();
        let mut silent = BTreeMap::new();
        let mut calls = FuturesUnordered::new();
        for (leader, led) in by_leader {
            for Led { partition, .. } in &led {
                leaderless.remove(partition);
                silent.entry(leader).or_insert_with(|| partition.clone());
            }
            let request = request(&led);
            calls.push(async move { (leader, led, self.call(leader, &request).await) });
        }
        let mut passing = leaderless.pop_first().map(|partition| {
            let cause = ClientError::NoLeader { partition: partition.clone() };
            Unanswered { partition, cause }
        });
        loop {
            // Who is told of if time is up now.
            if let Some((leader, partition)) = silent.first_key_value() {
                *asked.lock() = self.peer(*leader);
                round.about = Some(partition.clone());
            }
            let Some((leader, led, response)) = calls.next().await else { break };
            silent.remove(&leader);
            let mut answers = response.map(|it| read(it).into_iter().collect::<BTreeMap<_, _>>());
            for Led { partition, .. } in led {
                let answer = match &mut answers {
                    Ok(answers) => answers
                        .remove(&partition)
                        .unwrap_or(Err(ErrorCode::UNKNOWN_SERVER_ERROR))
                        .map_err(|code| refused::<R>(code, &partition)),
                    Err(error) => Err(error.clone()),
                };
                match answer {
                    Ok(value) => {
                        round.missing.remove(&partition);
                        round.found.insert(partition, value);
                    }
                    Err(cause) if cause.is_retriable() => {
                        passing.get_or_insert(Unanswered { partition, cause });
                    }
                    Err(cause) => {
                        round.about = Some(partition);
                        return Err(cause);
                    }
                }
            }
        }
        let Some(Unanswered { partition, cause }) = passing else { return Ok(()) };
        round.about = Some(partition);
        Err(cause)
    }

    fn peer(&self, id: BrokerId) -> Option<Peer> {
        let node = self.metadata().broker(id).cloned()?;
        Some(Peer::new(Some(id), &node.host, node.port))
    }
}

fn refused<R: Request>(code: ErrorCode, partition: &TopicPartition) -> ClientError {
    ClientError::Broker {
        code,
        api: crate::net::api_name::<R>(),
        subject: Some(partition.to_string().into()),
        message: None,
    }
}

/// Whom the attempt under way asks, once that is known.
type Asked = Mutex<Option<Peer>>;

/// Attempts until a deadline, with `retry.backoff.ms` between them.
struct Retry<'a> {
    client: &'a Client,
    deadline: Instant,
    began: Instant,
    asked: &'a Asked,
    failures: u32,
    /// Why the last attempt failed, if there was one.
    last: Option<ClientError>,
}

impl<'a> Retry<'a> {
    fn new(client: &'a Client, deadline: Instant, asked: &'a Asked) -> Self {
        Self { client, deadline, began: Instant::now(), asked, failures: 0, last: None }
    }

    /// What is told when time is up in the middle of an attempt.
    fn cut_short(&self) -> ClientError {
        let waited = self.began.elapsed();
        match (&self.last, self.asked.lock().clone()) {
            (Some(last), _) => last.clone(),
            (None, Some(peer)) => ClientError::NoAnswerYet { peer, waited },
            (None, None) => ClientError::MetadataTimeout { topic: None, waited, last: None },
        }
    }

    /// Makes an attempt. `None` says that it failed, that another one may not, and that it is time
    /// for it.
    async fn attempt<T>(
        &mut self,
        attempt: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<Option<T>, ClientError> {
        let Ok(result) = tokio::time::timeout_at(self.deadline, attempt).await else {
            return Err(self.cut_short());
        };
        let error = match result {
            Ok(done) => return Ok(Some(done)),
            Err(error) if error.is_retriable() && !self.client.is_closed() => error,
            Err(error) => return Err(error),
        };
        if error.refreshes_metadata() {
            self.client.request_refresh();
        }
        let config = self.client.config();
        let backoff = Backoff::new(config.retry_backoff(), config.retry_backoff_max());
        let again = deadline(Instant::now(), backoff.wait(self.failures, fastrand::f64()));
        if again >= self.deadline {
            return Err(error);
        }
        self.failures += 1;
        self.last = Some(error);
        tokio::time::sleep_until(again).await;
        Ok(None)
    }
}
