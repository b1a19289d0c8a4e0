//! The end of a batch, shared by its records: [`Completion`] is set once, by whoever ends the batch, and each
//! [`Delivery`] is a reference to it and an index. Nothing here knows why a batch ended.

use std::future::Future;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use crate::error::DeliveryError;
use crate::producer::callbacks::Callbacks;
use crate::producer::record_metadata::{Place, RecordFacts, RecordMetadata};
use crate::types::TopicPartition;

/// How a batch ended.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    /// In the log from `base_offset` on (-1: not known). `log_append_time` is -1 unless the broker set it.
    Written {
        base_offset: i64,
        log_append_time: i64,
    },
    Failed(DeliveryError),
    /// The batch was split: how each part ended, with the index of its first record, in order.
    Parts(Vec<(u32, Outcome)>),
}

impl Outcome {
    /// Sent, or in the log, and it is not known where.
    pub(crate) const WRITTEN_SOMEWHERE: Self =
        Self::Written { base_offset: -1, log_append_time: -1 };

    /// The offset and the timestamp of a record of the batch, or its error.
    fn of(&self, facts: RecordFacts) -> Option<Result<(i64, i64), DeliveryError>> {
        let (mut outcome, mut index) = (self, facts.index);
        if let Self::Parts(parts) = outcome {
            let part = parts.iter().rfind(|(first, _)| *first <= index);
            let (first, part) = part.or(parts.first())?;
            (outcome, index) = (part, index.saturating_sub(*first));
        }
        match outcome {
            Self::Failed(error) => Some(Err(error.clone())),
            &Self::Written { base_offset, log_append_time } => {
                let offset =
                    if base_offset < 0 { -1 } else { base_offset.saturating_add(index.into()) };
                let timestamp = if log_append_time < 0 { facts.timestamp } else { log_append_time };
                Some(Ok((offset, timestamp)))
            }
            // Parts of parts stand in the one list.
            Self::Parts(_) => None,
        }
    }
}

/// The end of one batch, set once and read by any number of deliveries.
#[derive(Debug)]
pub(crate) struct Completion {
    topic: Arc<str>,
    partition: i32,
    outcome: OnceLock<Outcome>,
    wakers: Mutex<Vec<Waker>>,
}

impl Completion {
    pub(crate) fn new(topic: Arc<str>, partition: i32) -> Self {
        Self { topic, partition, outcome: OnceLock::new(), wakers: Mutex::new(Vec::new()) }
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.outcome.get().is_some()
    }

    pub(crate) fn topic_partition(&self) -> TopicPartition {
        TopicPartition::new(&*self.topic, self.partition)
    }

    /// Ends the batch: runs the callbacks in the records' order, then wakes all who wait, so that a flush returns after
    /// the callbacks. Only the first call counts; whether this was it is returned.
    pub(crate) fn complete(self: &Arc<Self>, outcome: Outcome, callbacks: Callbacks) -> bool {
        let panicked = callbacks.call(|facts| {
            let written = outcome.of(facts)?;
            let metadata = |(offset, timestamp)| {
                RecordMetadata::new(Arc::<Self>::clone(self), offset, timestamp, facts)
            };
            Some(written.map(metadata))
        });
        if panicked > 0 {
            tracing::error!(topic = %self.topic, partition = self.partition, panicked, "delivery callbacks panicked");
        }
        if self.outcome.set(outcome).is_err() {
            return false;
        }
        // A delivery that saw no outcome has its waker in the list before this lock, or sees the outcome after it.
        let wakers = std::mem::take(&mut *self.wakers.lock());
        wakers.into_iter().for_each(Waker::wake);
        true
    }

    /// Resolves when the batch has ended. Cancel-safe.
    pub(crate) async fn wait(self: Arc<Self>) {
        let facts = RecordFacts { index: 0, key_size: -1, value_size: -1, timestamp: -1 };
        // What became of it, its deliveries and callbacks are told.
        let _ = Delivery::new(self, facts).await;
    }
}

impl Place for Completion {
    fn topic(&self) -> &str {
        &self.topic
    }

    fn partition(&self) -> i32 {
        self.partition
    }
}

/// Where a batch tells its end: to its records, or to the batch that it was split from.
#[derive(Debug)]
pub(crate) enum End {
    Whole { completion: Arc<Completion>, callbacks: Callbacks },
    Part { of: Arc<Parts>, first: u32 },
}

/// What gathers the ends of a split batch's parts. The records are told when the last part ends, so that a flush does
/// not return before (KAFKA-19479).
#[derive(Debug)]
pub(crate) struct Parts {
    completion: Arc<Completion>,
    state: Mutex<Gathered>,
}

#[derive(Debug)]
struct Gathered {
    missing: usize,
    ended: Vec<(u32, Outcome)>,
    callbacks: Callbacks,
}

impl End {
    /// Makes two of it: one for the records before `at`, and one for those from there on.
    pub(crate) fn split(self, at: u32) -> (Self, Self) {
        let (of, first) = match self {
            Self::Whole { completion, callbacks } => {
                let state = Mutex::new(Gathered { missing: 1, ended: Vec::new(), callbacks });
                (Arc::new(Parts { completion, state }), 0)
            }
            Self::Part { of, first } => (of, first),
        };
        of.state.lock().missing += 1;
        (Self::Part { of: Arc::clone(&of), first }, Self::Part { of, first: first + at })
    }

    /// Tells how the batch ended. To be called once.
    pub(crate) fn tell(&mut self, outcome: Outcome) {
        match self {
            Self::Whole { completion, callbacks } => {
                completion.complete(outcome, std::mem::take(callbacks));
            }
            Self::Part { of, first } => {
                let mut state = of.state.lock();
                state.missing -= 1;
                state.ended.push((*first, outcome));
                if state.missing == 0 {
                    let mut ended = std::mem::take(&mut state.ended);
                    let callbacks = std::mem::take(&mut state.callbacks);
                    drop(state);
                    ended.sort_by_key(|(first, _)| *first);
                    of.completion.complete(Outcome::Parts(ended), callbacks);
                }
            }
        }
    }
}

/// The way to learn what became of a record that was sent.
///
/// Resolves to the record's metadata when the broker has acknowledged it, or to a [`DeliveryError`]; at the latest
/// `delivery.timeout.ms` after the send. Deliveries of one partition complete in the order of their sends.
///
/// Dropping it is fire and forget: the record is sent all the same. Awaiting is cancel-safe.
///
/// # Panics
/// If it is polled again after it has resolved.
#[must_use = "await it to learn whether the record was written; `drop` it to say that you don't want to know"]
#[derive(Debug)]
pub struct Delivery {
    /// Handed on to the metadata when it resolves.
    completion: Option<Arc<Completion>>,
    facts: RecordFacts,
    /// The place of its waker in the list, counted from 1.
    slot: Option<NonZeroU32>,
}

impl Delivery {
    #[inline]
    pub(crate) fn new(completion: Arc<Completion>, facts: RecordFacts) -> Self {
        Self { completion: Some(completion), facts, slot: None }
    }
}

impl Future for Delivery {
    type Output = Result<RecordMetadata, DeliveryError>;

    #[expect(clippy::expect_used, reason = "what a future does that is polled after its end")]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let completion = this.completion.take().expect("a delivery was polled after it resolved");
        let mut end = completion.outcome.get();
        if end.is_none() {
            let mut wakers = completion.wakers.lock();
            end = completion.outcome.get();
            if end.is_none() {
                this.slot = Some(wait_in(&mut wakers, this.slot, cx.waker()));
            }
        }
        match end.and_then(|outcome| outcome.of(this.facts)) {
            Some(Ok((offset, timestamp))) => {
                Poll::Ready(Ok(RecordMetadata::new(completion, offset, timestamp, this.facts)))
            }
            Some(Err(error)) => Poll::Ready(Err(error)),
            None => {
                this.completion = Some(completion);
                Poll::Pending
            }
        }
    }
}

/// Puts a waker into its place in the list, or at the end if it has none yet; gives the place.
fn wait_in(wakers: &mut Vec<Waker>, slot: Option<NonZeroU32>, waker: &Waker) -> NonZeroU32 {
    let place = slot.map(|slot| slot.get() as usize - 1);
    match (slot, place.and_then(|place| wakers.get_mut(place))) {
        (Some(slot), Some(known)) => {
            known.clone_from(waker);
            slot
        }
        _ => {
            wakers.push(waker.clone());
            // As many wait as a batch has records, which a u32 can count.
            u32::try_from(wakers.len()).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MAX)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn facts(index: u32) -> RecordFacts {
        RecordFacts { index, key_size: -1, value_size: 3, timestamp: 7 }
    }

    fn completion() -> Arc<Completion> {
        Arc::new(Completion::new("t".into(), 4))
    }

    #[tokio::test]
    async fn metadata_follow_from_the_batch_and_the_index() {
        let completion = completion();
        let delivery = Delivery::new(Arc::clone(&completion), facts(2));
        let waiting = tokio::spawn(delivery);
        tokio::task::yield_now().await;
        let written = Outcome::Written { base_offset: 40, log_append_time: -1 };
        assert!(completion.complete(written, Callbacks::default()));
        let metadata = waiting.await.unwrap().unwrap();
        assert_eq!((metadata.topic(), metadata.partition()), ("t", 4));
        assert_eq!((metadata.offset(), metadata.timestamp()), (Some(42), 7));
        assert_eq!(
            (metadata.serialized_key_size(), metadata.serialized_value_size()),
            (None, Some(3))
        );
    }

    #[tokio::test]
    async fn log_append_time_and_unknown_offset() {
        let completion = completion();
        let written = Outcome::Written { base_offset: -1, log_append_time: 99 };
        assert!(completion.complete(written, Callbacks::default()));
        let metadata = Delivery::new(completion, facts(2)).await.unwrap();
        assert_eq!((metadata.offset(), metadata.timestamp()), (None, 99));
    }

    #[test]
    fn ends_once_and_runs_callbacks_in_order_past_a_panic() {
        let completion = completion();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let calls = Arc::new(AtomicUsize::new(0));
        let mut callbacks = Callbacks::default();
        for index in 0..3 {
            let (seen, calls) = (Arc::clone(&seen), Arc::clone(&calls));
            callbacks.push(facts(index), move |result| {
                calls.fetch_add(1, Ordering::Relaxed);
                assert_ne!(index, 1, "a user's bug");
                seen.lock().push(result.unwrap().offset().unwrap());
            });
        }
        let written = Outcome::Written { base_offset: 10, log_append_time: -1 };
        assert!(completion.complete(written.clone(), callbacks));
        assert!(!completion.complete(written, Callbacks::default()));
        assert_eq!(calls.load(Ordering::Relaxed), 3);
        assert_eq!(*seen.lock(), [10, 12]);
    }

    #[test]
    fn polled_again_it_keeps_one_waker() {
        let completion = completion();
        let mut delivery = Delivery::new(Arc::clone(&completion), facts(0));
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..10 {
            assert!(Pin::new(&mut delivery).poll(&mut cx).is_pending());
        }
        assert_eq!(completion.wakers.lock().len(), 1);
    }
}
