//! What can be done with a consumer beside polling, from any task: look at positions, move them,
//! commit them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::driver::Shared;
use super::group::LeaveMode;
use super::lookup::{Asked, Found, lookup};
use super::measured;
use super::membership::{self, CommitCallback, Committer};
use super::metrics::{PartitionState, State};
use super::records::Records;
use super::subscription::{Bound, StartAt};
use crate::client::{Client, Unanswered};
use crate::error::{ClientError, CommitError, ConsumerError, ErrorCode};
use crate::metrics::Metrics;
use crate::time::{Duration, Instant, deadline};
use crate::types::{ConsumerGroupMetadata, OffsetAndMetadata, OffsetAndTimestamp, TopicPartition};

/// A consumer without its polls, to be used from any task: a [`Consumer`](crate::Consumer) lends it
/// to its listener, and gives away clones, through which workers commit what they are done with.
///
/// A clone does not keep the consumer going. After its end, what asks brokers fails with
/// [`ClientError::Closed`](crate::ClientError::Closed).
#[derive(Clone)]
pub struct ConsumerHandle {
    pub(super) shared: Arc<Shared>,
    pub(super) client: Client,
}

impl ConsumerHandle {
    /// The assigned partitions: by the application in the order in which it gave them, or by the
    /// group.
    pub fn assignment(&self) -> Vec<TopicPartition> {
        self.shared.fetcher.lock().assignment().cloned().collect()
    }

    /// The offset of the next record that a poll hands out, as far as is known now; `None` if the
    /// partition is not assigned, or if it has to be asked for yet.
    pub fn position(&self, partition: &TopicPartition) -> Option<i64> {
        self.shared.fetcher.lock().position(partition).map(|position| position.offset)
    }

    /// The positions of all assigned partitions that have one, as they would be committed.
    pub fn positions(&self) -> BTreeMap<TopicPartition, OffsetAndMetadata> {
        let fetcher = self.shared.fetcher.lock();
        fetcher.positions().map(|(name, position)| (name.clone(), position.into())).collect()
    }

    /// Goes on reading an assigned partition from elsewhere. What was fetched of it and not handed
    /// out is dropped, and so are answers that are still on their way.
    ///
    /// # Errors
    /// [`ConsumerError::NotAssigned`]; [`ConsumerError::InvalidOffset`] if the offset is negative.
    pub fn seek(&self, partition: &TopicPartition, start: StartAt) -> Result<(), ConsumerError> {
        check_start(partition, start)?;
        if !self.shared.fetcher.lock().seek(partition, start) {
            return Err(ConsumerError::NotAssigned { partition: partition.clone() });
        }
        self.shared.changed.notify_one();
        Ok(())
    }

    /// Hands out no more records of these partitions, and fetches none, until they are
    /// [resumed](Self::resume). What has been fetched is kept. A pause ends with the assignment.
    ///
    /// # Errors
    /// [`ConsumerError::NotAssigned`] if one of them is not assigned; then none is paused.
    pub fn pause<'a>(
        &self,
        partitions: impl IntoIterator<Item = &'a TopicPartition>,
    ) -> Result<(), ConsumerError> {
        let partitions: Vec<_> = partitions.into_iter().collect();
        let mut fetcher = self.shared.fetcher.lock();
        if let Some(other) = partitions.iter().find(|partition| !fetcher.is_assigned(partition)) {
            return Err(ConsumerError::NotAssigned { partition: (*other).clone() });
        }
        fetcher.pause(partitions);
        Ok(())
    }

    /// Goes on with partitions that were paused.
    ///
    /// # Errors
    /// [`ConsumerError::NotAssigned`] if one of them is not assigned; then none is resumed.
    pub fn resume<'a>(
        &self,
        partitions: impl IntoIterator<Item = &'a TopicPartition>,
    ) -> Result<(), ConsumerError> {
        let partitions: Vec<_> = partitions.into_iter().collect();
        let mut fetcher = self.shared.fetcher.lock();
        if let Some(other) = partitions.iter().find(|partition| !fetcher.is_assigned(partition)) {
            return Err(ConsumerError::NotAssigned { partition: (*other).clone() });
        }
        fetcher.resume(partitions);
        drop(fetcher);
        self.shared.changed.notify_one();
        self.shared.arrived.notify_one();
        Ok(())
    }

    /// The partitions that are paused.
    pub fn paused(&self) -> Vec<TopicPartition> {
        self.shared.fetcher.lock().paused().cloned().collect()
    }

    /// How many offsets lie between the position and the end of what can be read of the partition,
    /// as the broker told with the last records (KIP-695); `None` as long as that is not known, or if
    /// the partition is not assigned. Asks nobody.
    pub fn current_lag(&self, partition: &TopicPartition) -> Option<i64> {
        self.shared.fetcher.lock().current_lag(partition)
    }

    /// The first offset of each partition's log, asked of the leaders, within `timeout`. The
    /// partitions need not be assigned.
    ///
    /// # Errors
    /// [`ConsumerError::Lookup`] for the first partition whose offset could not be had.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn beginning_offsets(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
        timeout: Duration,
    ) -> Result<BTreeMap<TopicPartition, i64>, ConsumerError> {
        self.lookup(partitions, Bound::Earliest, timeout).await
    }

    /// The offset after the last record of each partition that can be read, asked of the leaders,
    /// within `timeout`: the high watermark, or with `isolation.level=read_committed` the last stable
    /// offset. The partitions need not be assigned.
    ///
    /// # Errors
    /// [`ConsumerError::Lookup`] for the first partition whose offset could not be had.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn end_offsets(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
        timeout: Duration,
    ) -> Result<BTreeMap<TopicPartition, i64>, ConsumerError> {
        self.lookup(partitions, Bound::Latest, timeout).await
    }

    /// For each partition the first record whose timestamp, in milliseconds since 1970-01-01T00:00Z,
    /// is the one given or a later one, asked of the leaders, within `timeout`; `None` if there is
    /// none. The partitions need not be assigned.
    ///
    /// # Errors
    /// [`ConsumerError::Lookup`] for the first partition whose offset could not be had.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn offsets_for_times(
        &self,
        times: impl IntoIterator<Item = (TopicPartition, i64)>,
        timeout: Duration,
    ) -> Result<BTreeMap<TopicPartition, Option<OffsetAndTimestamp>>, ConsumerError> {
        let asked = times.into_iter().map(|(partition, at)| (partition, Bound::Timestamp(at)));
        self.find(asked.collect(), timeout).await
    }

    async fn lookup(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
        bound: Bound,
        timeout: Duration,
    ) -> Result<BTreeMap<TopicPartition, i64>, ConsumerError> {
        let asked = partitions.into_iter().map(|partition| (partition, bound)).collect();
        let found = self.find(asked, timeout).await?;
        let offsets = found.into_iter().map(|(partition, found)| match found {
            Some(found) => Ok((partition, found.offset)),
            None => {
                let cause = ClientError::Broker {
                    code: ErrorCode::OFFSET_NOT_AVAILABLE,
                    api: "ListOffsets",
                    subject: Some(partition.to_string().into()),
                    message: Some("the broker named no offset".into()),
                };
                Err(ConsumerError::Lookup { partition, cause })
            }
        });
        offsets.collect()
    }

    async fn find(&self, asked: Asked, timeout: Duration) -> Result<Found, ConsumerError> {
        let deadline = deadline(Instant::now(), timeout);
        let isolation = self.shared.fetcher.lock().isolation();
        // Boxed, since it is large, and seldom called.
        Box::pin(lookup(&self.client, &asked, isolation, deadline))
            .await
            .map_err(|Unanswered { partition, cause }| ConsumerError::Lookup { partition, cause })
    }
}

impl ConsumerHandle {
    /// Commits the positions of all assigned partitions: everything that polls have handed out, all
    /// that a [stream](crate::RecordStream) has fetched included, is done, and whoever reads the partitions next goes on behind it (Kafka's `commitSync`). Retries
    /// what passes, for `default.api.timeout.ms`.
    ///
    /// # Errors
    /// [`CommitError`], which says whether offsets may be committed all the same.
    ///
    /// # Cancel safety
    /// If it is dropped, the commit takes its course.
    pub async fn commit(&self) -> Result<(), CommitError> {
        self.commit_and_wait(|| self.positions(), Committer::Call).await
    }

    /// Commits these offsets: of each partition that of the next record to be read, one past the last
    /// that is done. They should be of partitions that are assigned.
    ///
    /// Commits take effect in the order in which they were begun, also those without waiting.
    ///
    /// # Errors
    /// As those of [`commit`](Self::commit).
    ///
    /// # Cancel safety
    /// If it is dropped, the commit takes its course.
    pub async fn commit_offsets(
        &self,
        offsets: impl IntoIterator<Item = (TopicPartition, OffsetAndMetadata)>,
    ) -> Result<(), CommitError> {
        let offsets = offsets.into_iter().collect();
        self.commit_and_wait(|| offsets, Committer::Call).await
    }

    async fn commit_and_wait(
        &self,
        offsets: impl FnOnce() -> BTreeMap<TopicPartition, OffsetAndMetadata>,
        committer: impl FnOnce(oneshot::Sender<Result<(), CommitError>>) -> Committer,
    ) -> Result<(), CommitError> {
        let (told, result) = oneshot::channel();
        let began = Instant::now();
        self.begin_commit(offsets, committer(told)).map_err(|(error, _)| error)?;
        // Without an answer, the task has ended.
        let gone = CommitError::Failed { cause: ClientError::Closed, maybe_committed: true };
        let result = result.await.unwrap_or(Err(gone));
        self.shared.metrics.commit_waited(began, Instant::now());
        result
    }

    /// As [`commit`](Self::commit), without waiting: `callback` is told how it ended (Kafka's
    /// `commitAsync`). It is called on the consumer's task, and must not block; at once if there is
    /// nothing to be tried. Commits take effect in their order; one that fails may be told before an
    /// earlier one.
    pub fn commit_async(
        &self,
        callback: impl FnOnce(Result<Arc<BTreeMap<TopicPartition, OffsetAndMetadata>>, CommitError>)
        + Send
        + 'static,
    ) {
        self.begin_with_callback(|| self.positions(), Box::new(callback));
    }

    /// As [`commit_offsets`](Self::commit_offsets), without waiting; see
    /// [`commit_async`](Self::commit_async).
    pub fn commit_offsets_async(
        &self,
        offsets: impl IntoIterator<Item = (TopicPartition, OffsetAndMetadata)>,
        callback: impl FnOnce(Result<Arc<BTreeMap<TopicPartition, OffsetAndMetadata>>, CommitError>)
        + Send
        + 'static,
    ) {
        let offsets = offsets.into_iter().collect();
        self.begin_with_callback(|| offsets, Box::new(callback));
    }

    fn begin_with_callback(
        &self,
        offsets: impl FnOnce() -> BTreeMap<TopicPartition, OffsetAndMetadata>,
        callback: CommitCallback,
    ) {
        if let Err((error, Committer::Callback(callback))) =
            self.begin_commit(offsets, Committer::Callback(callback))
        {
            membership::call(callback, Err(error));
        }
    }

    /// The offsets are read when the commit has its place among the others: so no older position
    /// follows a newer one.
    pub(super) fn begin_commit(
        &self,
        offsets: impl FnOnce() -> BTreeMap<TopicPartition, OffsetAndMetadata>,
        committer: Committer,
    ) -> Result<(), (CommitError, Committer)> {
        let Some(membership) = &self.shared.membership else {
            return Err((CommitError::NoGroup, committer));
        };
        if self.client.is_closed() {
            let error = CommitError::Failed { cause: ClientError::Closed, maybe_committed: false };
            return Err((error, committer));
        }
        let mut membership = membership.lock();
        let at = Instant::now();
        let until = deadline(at, membership.api_timeout);
        membership.commit(offsets(), committer, &self.client.metadata(), (at, until))?;
        drop(membership);
        self.shared.changed.notify_one();
        Ok(())
    }

    /// What the group has committed for these partitions, asked of its coordinator within
    /// `default.api.timeout.ms`; `None` where nothing is committed. The partitions need not be
    /// assigned.
    ///
    /// # Errors
    /// [`ConsumerError::NoGroup`]; [`ConsumerError::Committed`] with what went wrong.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn committed(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, Option<OffsetAndMetadata>>, ConsumerError> {
        let Some(membership) = &self.shared.membership else { return Err(ConsumerError::NoGroup) };
        let (told, result) = oneshot::channel();
        let began = Instant::now();
        {
            let mut membership = membership.lock();
            let until = deadline(Instant::now(), membership.api_timeout);
            let partitions = partitions.into_iter().collect();
            membership.lookup(partitions, told, &self.client.metadata(), until);
        }
        self.shared.changed.notify_one();
        let result = result.await.unwrap_or(Err(ClientError::Closed));
        self.shared.metrics.committed_waited(began, Instant::now());
        result.map_err(|cause| ConsumerError::Committed { cause })
    }

    /// What the consumer has counted and measured until now, under the names of Kafka's Java client; see
    /// [`Metrics`]. Also after the consumer was closed.
    ///
    /// The lag of each partition is `records-lag` of `consumer-fetch-manager-metrics`, as of the last
    /// poll that handed out records of it.
    pub fn metrics(&self) -> Metrics {
        let now = Instant::now();
        let fetcher = self.shared.fetcher.lock();
        let assigned =
            fetcher.sources().map(|(partition, replica)| PartitionState { partition, replica });
        let state = State { assigned: assigned.collect() };
        self.shared.metrics.snapshot(&state, now)
    }

    /// Who this consumer is in its group; `None` without a group. One that the group has expelled is still called what it was
    /// when it was given its partitions, so that a coordinator refuses the offsets of what it has read (KIP-447).
    pub fn group_metadata(&self) -> Option<ConsumerGroupMetadata> {
        Some(self.shared.membership.as_ref()?.lock().group.metadata())
    }

    /// Has the group share out its partitions anew, in the polls that follow (KIP-568). For what only
    /// the application knows has changed, such as the user data of an assignor. With
    /// `group.protocol=consumer` it does nothing: there the brokers decide.
    pub fn enforce_rebalance(&self, reason: &str) {
        if let Some(membership) = &self.shared.membership {
            membership.lock().group.enforce_rebalance(reason);
            self.shared.changed.notify_one();
        }
    }
}

/// For the polls of the consumer.
impl ConsumerHandle {
    /// Notes that a poll is under way, until the guard is dropped.
    pub(super) fn begin_poll(&self) -> Polling {
        self.shared.metrics.poll_begins(Instant::now());
        if let Some(membership) = &self.shared.membership
            && membership.lock().group.poll_begins(Instant::now())
        {
            self.shared.changed.notify_one();
        }
        Polling { shared: self.shared.clone() }
    }

    /// Shows records to the interceptors and counts them.
    pub(super) fn handed_out(&self, records: &Records) {
        self.shared.interceptors.on_consume(records);
        let fetcher = self.shared.fetcher.lock();
        let lag = |partition: &_| fetcher.current_lag(partition);
        let lead = |partition: &_| fetcher.current_lead(partition);
        let facts = measured::partitions(records, lag, lead);
        self.shared.metrics.handed_out(facts, Instant::now());
    }

    /// Commits what the polls before this one have handed out, if it is time for that; says when it
    /// will be.
    pub(super) fn auto_commit(&self) -> Option<Instant> {
        let mut membership = self.shared.membership.as_ref()?.lock();
        let (snapshot, at) = (self.client.metadata(), Instant::now());
        if membership.auto_commit(|| self.positions(), &snapshot, at) {
            self.shared.changed.notify_one();
        }
        membership.auto_commit_deadline()
    }

    /// Commits all positions, if that is done without being asked for; whether nothing failed.
    pub(super) async fn auto_commit_now(&self) -> bool {
        let Some(membership) = &self.shared.membership else { return true };
        if !membership.lock().commits_by_itself() {
            return true;
        }
        let result = self.commit_and_wait(|| self.positions(), Committer::Parting).await;
        membership.lock().restart_auto_commit(Instant::now());
        if let Err(error) = &result {
            tracing::warn!(%error, "auto-commit failed");
        }
        result.is_ok()
    }

    /// Commits all positions, if that is done without being asked for, without waiting: other
    /// partitions take the place of those that are assigned.
    pub(super) fn auto_commit_before_change(&self) {
        let Some(membership) = &self.shared.membership else { return };
        let by_itself = membership.lock().commits_by_itself();
        if by_itself
            && let Err((error, _)) = self.begin_commit(|| self.positions(), Committer::Later)
        {
            tracing::warn!(%error, "auto-commit failed");
        }
    }

    /// The consumer leaves its group for good.
    pub(super) fn leave(&self, mode: LeaveMode, reason: &str) {
        if let Some(membership) = &self.shared.membership {
            membership.lock().group.leave(mode, reason, Instant::now());
            self.shared.changed.notify_one();
        }
    }

    /// Whether nothing of a membership is left.
    pub(super) fn is_out(&self) -> bool {
        self.shared.membership.as_ref().is_none_or(|membership| membership.lock().group.is_out())
    }
}

/// A poll that is under way.
pub(super) struct Polling {
    shared: Arc<Shared>,
}

impl Drop for Polling {
    fn drop(&mut self) {
        self.shared.metrics.poll_ends(Instant::now());
        if let Some(membership) = &self.shared.membership {
            // The task looks at `max.poll.interval.ms` with each heartbeat.
            membership.lock().group.poll_ends(Instant::now());
        }
    }
}

pub(super) fn check_start(partition: &TopicPartition, start: StartAt) -> Result<(), ConsumerError> {
    match start {
        StartAt::Offset(offset) if offset < 0 => {
            Err(ConsumerError::InvalidOffset { partition: partition.clone(), offset })
        }
        _ => Ok(()),
    }
}

impl fmt::Debug for ConsumerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsumerHandle")
            .field("fetcher", &*self.shared.fetcher.lock())
            .finish_non_exhaustive()
    }
}
