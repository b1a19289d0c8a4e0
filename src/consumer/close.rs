//! The end of a consumer: what it still owes is done first, and all of it within a time-out.

use super::group::LeaveMode;
use super::{Consumer, Subscribed};
use crate::time::{Duration, Instant, deadline};

impl Consumer {
    /// Ends the consumer, within `timeout`: commits positions with `enable.auto.commit`, tells the
    /// listener that the partitions are revoked, leaves the group (a static member stays in it), and
    /// ends the task and its connections. Says whether all that was done by then.
    ///
    /// # Cancel safety
    /// If it is dropped, the task and the connections end all the same; the rest may be left undone,
    /// as if the consumer had been dropped.
    pub async fn close(self, timeout: Duration) -> bool {
        // Boxed, since it is large, and seldom called.
        Box::pin(self.end(timeout, LeaveMode::Default)).await
    }

    /// As [`close`](Self::close), and says whether to leave the group (KIP-1092).
    ///
    /// # Cancel safety
    /// As that of [`close`](Self::close).
    pub async fn close_with(self, timeout: Duration, mode: LeaveMode) -> bool {
        Box::pin(self.end(timeout, mode)).await
    }

    async fn end(mut self, timeout: Duration, mode: LeaveMode) -> bool {
        let deadline = deadline(Instant::now(), timeout);
        let left = tokio::time::timeout_at(deadline, self.leave(mode)).await.unwrap_or(false);
        drop(self.open.take());
        let ended = match self.task.take() {
            // An error says that the task has ended as well.
            Some(task) => tokio::time::timeout_at(deadline, task).await.is_ok(),
            None => true,
        };
        // The connections end in any case.
        self.handle.client.close(deadline).await && ended && left
    }

    /// Gives up partitions and membership; whether what had to be committed was.
    async fn leave(&mut self, mode: LeaveMode) -> bool {
        if self.handle.shared.membership.is_none() {
            return true;
        }
        // A member commits when its partitions are revoked.
        let committed = self.handle.auto_commit_now().await;
        // An unsubscribe that was dropped has left something to be told.
        if self.subscribed != Subscribed::Not || self.event.is_some() {
            self.handle.leave(mode, "the consumer is being closed");
            while !self.handle.is_out() {
                // What went wrong with the membership does not matter any more.
                let _ = self.rebalance().await;
                self.handle.shared.arrived.notified().await;
            }
        }
        committed
    }
}
