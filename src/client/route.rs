//! Which broker a request goes to, and whether a failure is worth another try.
//!
//! Knows no particular request. Requests whose repetition could do harm do not belong here: what
//! may have been written is tried again.

use super::Client;
use super::metadata::PartitionMetadata;
use crate::error::{ClientError, ErrorCode, Peer};
use crate::net::Connection;
use crate::protocol::Request;
use crate::time::{Backoff, Instant, deadline};
use crate::types::TopicPartition;
use parking_lot::Mutex;
use std::sync::Arc;

/// What a request to the leader of a partition may need to know.
#[derive(Debug)]
pub(crate) struct Leader {
    pub(crate) partition: PartitionMetadata,
    /// The connection that the request will go over, for the versions and features of the broker.
    pub(crate) connection: Arc<Connection>,
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
            let attempt = self.ask_any(request, &asked);
            if let Some(response) = retry.attempt(attempt).await? {
                return Ok(response);
            }
        }
    }

    async fn ask_any<R: Request>(
        &self,
        request: &R,
        asked: &Asked,
    ) -> Result<R::Response, ClientError> {
        let connection = self.core().connect_any(|peer| *asked.lock() = Some(peer)).await?;
        connection.call(request, self.core().config.request_timeout()).await
    }

    /// Sends a request to the leader of a partition, and tries again until `deadline` while
    /// connections fail or `code` finds an error in the answer that passes.
    ///
    /// The request is made anew for each attempt. Cancel safe.
    pub(crate) async fn call_leader<R: Request>(
        &self,
        partition: &TopicPartition,
        deadline: Instant,
        mut request: impl FnMut(&Leader) -> R,
        code: impl Fn(&R::Response) -> ErrorCode,
    ) -> Result<R::Response, ClientError> {
        let asked = Asked::default();
        let mut retry = Retry::new(self, deadline, &asked);
        loop {
            let attempt = async {
                let leader = self.leader(partition, deadline, &asked).await?;
                self.ask_leader(&leader, partition, &mut request, &code).await
            };
            if let Some(response) = retry.attempt(attempt).await? {
                return Ok(response);
            }
        }
    }

    async fn ask_leader<R: Request>(
        &self,
        leader: &Leader,
        partition: &TopicPartition,
        request: &mut impl FnMut(&Leader) -> R,
        code: &impl Fn(&R::Response) -> ErrorCode,
    ) -> Result<R::Response, ClientError> {
        let timeout = self.core().config.request_timeout();
        let response = leader.connection.call(&request(leader), timeout).await?;
        match code(&response) {
            code if code.is_ok() => Ok(response),
            code => Err(ClientError::Broker {
                code,
                api: crate::net::api_name::<R>(),
                subject: Some(partition.to_string().into()),
                message: None,
            }),
        }
    }

    async fn leader(
        &self,
        partition: &TopicPartition,
        deadline: Instant,
        asked: &Asked,
    ) -> Result<Leader, ClientError> {
        let topic = self.topic(&partition.topic, deadline).await?;
        let at = usize::try_from(partition.partition).ok();
        let found = at.and_then(|at| topic.partitions.get(at));
        let (Some(found), Some(id)) = (found, found.and_then(|found| found.leader)) else {
            return Err(ClientError::NoLeader { partition: partition.clone() });
        };
        let node = self.metadata().broker(id).cloned();
        *asked.lock() = node.map(|node| Peer::new(Some(id), &node.host, node.port));
        let connection = self.connect(id).await?;
        Ok(Leader { partition: found.clone(), connection })
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
