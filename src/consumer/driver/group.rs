//! The part of the consumer's task that concerns its group: it carries events to the
//! [`Membership`](crate::consumer::membership::Membership) and carries out what that wants.

use super::{Driver, Event};
use crate::consumer::coordination::{Answered, ask};
use crate::consumer::membership::{Todo, call};
use crate::time::{Instant, deadline};
use crate::types::TopicPartition;

impl Driver {
    /// Does what the member and its offsets want; says when to look again.
    pub(super) fn drive_group(&mut self) -> Option<Instant> {
        let shared = self.shared.clone();
        let membership = shared.membership.as_ref()?;
        let (todo, deadline) = {
            let mut membership = membership.lock();
            (membership.poll(&self.snapshot, Instant::now()), membership.next_deadline())
        };
        for todo in todo {
            self.carry_out(todo);
        }
        deadline
    }

    /// Tells the member of new metadata.
    pub(super) fn tell_group(&self) {
        if let Some(membership) = &self.shared.membership {
            membership.lock().handle_metadata(&self.snapshot, Instant::now());
        }
    }

    /// Takes up what came of a request.
    pub(super) fn handle_group(&self, answered: Answered, now: Instant) {
        let Some(membership) = &self.shared.membership else { return };
        let resolved = matches!(answered, Answered::Resolved(_));
        let mut membership = membership.lock();
        membership.handle(answered, now);
        let (group, commits) = membership.take_stats();
        self.shared.metrics.group(&group, &commits, now);
        if resolved {
            for name in membership.watch.names() {
                self.client.track(name);
            }
            membership.handle_metadata(&self.snapshot, now);
        }
    }

    /// Has it looked up what the group has committed. Without a group that is nothing.
    pub(super) fn look_up(&self, token: u64, partitions: Vec<TopicPartition>) {
        let now = Instant::now();
        match &self.shared.membership {
            Some(membership) => {
                let mut membership = membership.lock();
                let until = deadline(now, membership.api_timeout);
                let partitions = partitions.into_iter().collect();
                membership.lookup_for_fetcher(token, partitions, &self.snapshot, until);
            }
            None => {
                let none = partitions.into_iter().map(|partition| (partition, None)).collect();
                self.shared.fetcher.lock().handle_committed(token, Ok(none), now);
            }
        }
        // The next turn goes on with it.
        self.shared.changed.notify_one();
    }

    /// Tells those who still wait that nothing will come any more.
    pub(super) fn end_group(&self) {
        let Some(membership) = &self.shared.membership else { return };
        let todo = membership.lock().close(Instant::now());
        for todo in todo {
            self.carry_out(todo);
        }
    }

    fn carry_out(&self, todo: Todo) {
        match todo {
            Todo::Ask(asking) => {
                let asked = ask(self.client.clone(), asking);
                self.pending.push(Box::pin(async move { Event::Group(asked.await) }));
            }
            Todo::Track(topics) => topics.iter().for_each(|topic| self.client.track(topic)),
            Todo::RefreshMetadata => self.client.request_refresh(),
            Todo::Committed { token, result } => {
                self.shared.fetcher.lock().handle_committed(token, result, Instant::now());
                self.shared.changed.notify_one();
            }
            Todo::Call(callback, result) => call(callback, result),
            Todo::Intercept(offsets) => self.shared.interceptors.on_commit(&offsets),
        }
    }
}
