//! Carries out, within a poll, what the group's member has for the user: partitions come and go, and
//! the listener is called. What happens when is decided by the member.
//!
//! | event | before the listener | after it |
//! |---|---|---|
//! | revoked | nothing more of them is handed out; auto-commit | they are given up |
//! | lost | nothing more of them is handed out | they are given up |
//! | assigned | they are taken up, at what the group has committed | |
//! | failed | | the poll fails |
//!
//! A poll that is dropped in the middle leaves the event where it is; the next one begins it anew.

use super::Consumer;
use super::driver;
use super::group::MemberEvent;
use super::subscription::StartAt;
use crate::error::ConsumerError;
use crate::time::Instant;
use crate::types::TopicPartition;

impl Consumer {
    /// Carries out all that there is now.
    pub(super) async fn rebalance(&mut self) -> Result<(), ConsumerError> {
        loop {
            if self.event.is_none() {
                let Some(membership) = &self.handle.shared.membership else { return Ok(()) };
                self.event = membership.lock().group.take_event(Instant::now());
            }
            let Some(event) = self.event.clone() else { return Ok(()) };
            // Boxed, since it is large, and seldom called.
            Box::pin(self.carry_out(event)).await?;
        }
    }

    async fn carry_out(&mut self, event: MemberEvent) -> Result<(), ConsumerError> {
        match event {
            MemberEvent::Failed(error) => {
                self.event = None;
                return Err(ConsumerError::Group(error));
            }
            MemberEvent::Revoked(partitions) => self.revoked(&partitions).await,
            MemberEvent::Lost(partitions) => self.lost(&partitions).await,
            MemberEvent::Assigned { added, all } => self.assigned(&added, all).await,
        }
        self.event = None;
        self.done();
        Ok(())
    }

    async fn revoked(&mut self, partitions: &[TopicPartition]) {
        tracing::info!(partitions = ?Names(partitions), "the group revokes partitions");
        self.handle.shared.fetcher.lock().mark_pending_revocation(partitions);
        self.handle.auto_commit_now().await;
        self.listener.get_mut().revoked(&self.handle, partitions).await;
        self.give_up(partitions);
    }

    async fn lost(&mut self, partitions: &[TopicPartition]) {
        tracing::warn!(partitions = ?Names(partitions), "the consumer has lost partitions");
        self.handle.shared.fetcher.lock().mark_pending_revocation(partitions);
        self.listener.get_mut().lost(&self.handle, partitions).await;
        self.give_up(partitions);
    }

    async fn assigned(&mut self, added: &[TopicPartition], all: Vec<TopicPartition>) {
        tracing::info!(added = ?Names(added), all = all.len(), "the group assigns partitions");
        {
            let mut fetcher = self.handle.shared.fetcher.lock();
            // Under the lock; see `Consumer::assign`.
            let snapshot = self.handle.client.metadata();
            let partitions = all.into_iter().map(|partition| (partition, StartAt::Committed));
            fetcher.assign(partitions, |name| driver::leadership(&snapshot, name));
        }
        self.listener.get_mut().assigned(&self.handle, added).await;
    }

    fn give_up(&self, partitions: &[TopicPartition]) {
        self.handle.shared.fetcher.lock().unassign(partitions);
        if let Some(membership) = &self.handle.shared.membership {
            membership.lock().revoked(partitions);
        }
    }

    fn done(&self) {
        if let Some(membership) = &self.handle.shared.membership {
            membership.lock().group.event_done(Instant::now());
        }
        self.handle.shared.changed.notify_one();
    }
}

/// Prints as `[a-0, a-1]`.
struct Names<'a>(&'a [TopicPartition]);

impl std::fmt::Debug for Names<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|name| format_args!("{name}").to_string()))
            .finish()
    }
}
