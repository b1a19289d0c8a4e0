//! What users may do when a group gives them partitions or takes them away. When it is called is the
//! business of `rebalance`.

use std::future::{Future, ready};

use futures_util::future::BoxFuture;

use super::handle::ConsumerHandle;
use crate::types::TopicPartition;

/// Told of the partitions that a consumer gets and loses as its group rebalances (Kafka's
/// `ConsumerRebalanceListener`).
///
/// It is called within [`Consumer::poll`](crate::Consumer::poll), and when the consumer unsubscribes or
/// is closed, never at another time, so that no record is handed out meanwhile; until it is done, the rebalance waits, up to
/// `max.poll.interval.ms`. Through the handle that it is given it can commit, seek, pause and look
/// at positions.
///
/// ```
/// use milena::{ConsumerHandle, RebalanceListener, TopicPartition};
///
/// /// Stores what it has worked out before somebody else goes on with the partitions.
/// struct Totals;
///
/// impl RebalanceListener for Totals {
///     async fn on_partitions_revoked(
///         &mut self,
///         consumer: &ConsumerHandle,
///         partitions: &[TopicPartition],
///     ) {
///         // ... store the totals of `partitions`, then say how far they go.
///         if let Err(error) = consumer.commit().await {
///             eprintln!("{} partitions given up without a commit: {error}", partitions.len());
///         }
///     }
/// }
/// ```
///
/// # Cancel safety
/// If the future of a poll is dropped while the listener runs, the next poll calls it again, with the
/// same partitions.
pub trait RebalanceListener: Send {
    /// The consumer has got these partitions, in addition to those that it had. Nothing of them has
    /// been handed out yet: they start at the group's committed offset, or by `auto.offset.reset`, unless
    /// this seeks elsewhere.
    ///
    /// Called at the end of each rebalance, also if nothing is new; then `partitions` is empty.
    fn on_partitions_assigned(
        &mut self,
        consumer: &ConsumerHandle,
        partitions: &[TopicPartition],
    ) -> impl Future<Output = ()> + Send {
        let _ = (consumer, partitions);
        ready(())
    }

    /// The consumer is about to give up these partitions, to another member or because it leaves. It
    /// still owns them: this is the time to commit what was done. With `enable.auto.commit` the
    /// positions were committed just before.
    fn on_partitions_revoked(
        &mut self,
        consumer: &ConsumerHandle,
        partitions: &[TopicPartition],
    ) -> impl Future<Output = ()> + Send {
        let _ = (consumer, partitions);
        ready(())
    }

    /// The consumer has lost these partitions without being asked: it was too slow to poll or to send
    /// heartbeats, and others may own them already. It cannot commit for them any more.
    ///
    /// By default this is [`on_partitions_revoked`](Self::on_partitions_revoked).
    fn on_partitions_lost(
        &mut self,
        consumer: &ConsumerHandle,
        partitions: &[TopicPartition],
    ) -> impl Future<Output = ()> + Send {
        self.on_partitions_revoked(consumer, partitions)
    }
}

/// For consumers that do not want to be told.
#[derive(Debug, Clone, Copy)]
pub(super) struct NoListener;

impl RebalanceListener for NoListener {}

/// A listener whose type is not known.
pub(super) trait AnyListener: Send {
    fn assigned<'a>(
        &'a mut self,
        consumer: &'a ConsumerHandle,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, ()>;

    fn revoked<'a>(
        &'a mut self,
        consumer: &'a ConsumerHandle,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, ()>;

    fn lost<'a>(
        &'a mut self,
        consumer: &'a ConsumerHandle,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, ()>;
}

impl<L: RebalanceListener> AnyListener for L {
    fn assigned<'a>(
        &'a mut self,
        consumer: &'a ConsumerHandle,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, ()> {
        Box::pin(self.on_partitions_assigned(consumer, partitions))
    }

    fn revoked<'a>(
        &'a mut self,
        consumer: &'a ConsumerHandle,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, ()> {
        Box::pin(self.on_partitions_revoked(consumer, partitions))
    }

    fn lost<'a>(
        &'a mut self,
        consumer: &'a ConsumerHandle,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, ()> {
        Box::pin(self.on_partitions_lost(consumer, partitions))
    }
}
