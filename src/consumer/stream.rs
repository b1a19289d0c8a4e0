//! Records one by one, as a stream over polls. Which records there are, and when, is the poll's.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use futures_util::stream::Stream;

use super::Consumer;
use super::records::{OwnedRecord, Records};
use super::subscription::StartAt;
use crate::error::ConsumerError;
use crate::time::Duration;
use crate::types::TopicPartition;

/// How long a poll of the stream waits; without records in time it polls again.
const POLL: Duration = Duration::from_secs(1);

/// The records of a consumer, one after the other, each a copy of its own; see
/// [`Consumer::stream`].
///
/// It polls when all records of the poll before have been taken, so auto-commit covers no record
/// that was not taken. A commit of all positions does: from another task, while the stream is read,
/// commit the offset after the last record that is done
/// ([`ConsumerHandle::commit_offsets`](crate::ConsumerHandle::commit_offsets)). It never ends. An error is one item; the stream goes on after it, as polls
/// do.
///
/// Dropping the stream loses nothing: records that were fetched and not taken come again with the
/// next poll.
pub struct RecordStream<'a> {
    state: State<'a>,
    waiting: VecDeque<OwnedRecord>,
}

enum State<'a> {
    /// `None` only while it is being replaced.
    Idle(Option<&'a mut Consumer>),
    Polling(BoxFuture<'a, (&'a mut Consumer, Result<Records, ConsumerError>)>),
}

impl<'a> RecordStream<'a> {
    pub(super) fn new(consumer: &'a mut Consumer) -> Self {
        Self { state: State::Idle(Some(consumer)), waiting: VecDeque::new() }
    }
}

impl Stream for RecordStream<'_> {
    type Item = Result<OwnedRecord, ConsumerError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(record) = this.waiting.pop_front() {
                return Poll::Ready(Some(Ok(record)));
            }
            match &mut this.state {
                State::Idle(consumer) => {
                    let Some(consumer) = consumer.take() else { return Poll::Ready(None) };
                    this.state = State::Polling(Box::pin(async move {
                        let result = consumer.poll(POLL).await;
                        (consumer, result)
                    }));
                }
                State::Polling(poll) => {
                    let Poll::Ready((consumer, result)) = poll.as_mut().poll(cx) else {
                        return Poll::Pending;
                    };
                    this.state = State::Idle(Some(consumer));
                    match result {
                        Ok(records) => {
                            this.waiting.extend(records.iter().map(|record| record.to_owned()));
                        }
                        Err(error) => return Poll::Ready(Some(Err(error))),
                    }
                }
            }
        }
    }
}

impl Drop for RecordStream<'_> {
    fn drop(&mut self) {
        let State::Idle(Some(consumer)) = &self.state else { return };
        let mut first: BTreeMap<TopicPartition, i64> = BTreeMap::new();
        for record in &self.waiting {
            let partition = TopicPartition::new(record.topic.as_str(), record.partition);
            first.entry(partition).or_insert(record.offset);
        }
        for (partition, offset) in first {
            // One that was given up meanwhile is somebody else's now.
            let _ = consumer.seek(&partition, StartAt::Offset(offset));
        }
    }
}

impl fmt::Debug for RecordStream<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordStream").field("waiting", &self.waiting.len()).finish_non_exhaustive()
    }
}
