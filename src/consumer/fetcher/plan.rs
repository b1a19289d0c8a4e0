//! What is to be done now, and when to look again. What to fetch is decided in `fetches`, where to
//! begin in `start`, and whether a position still holds in `validate`.

use super::node::Node;
use super::sent::{Asked, Sent};
use super::{Action, Fetcher};
use crate::consumer::subscription::{InFlight, Partition};
use crate::error::{ClientError, ConsumerError};
use crate::time::Instant;
use crate::types::TopicId;

impl Fetcher {
    /// What is to be done now.
    pub(crate) fn poll(&mut self, now: Instant) -> Vec<Action> {
        self.deadline = None;
        self.overdue = None;
        self.look_for_leaders(now);
        self.plan_committed(now);
        self.plan_lookups(now);
        self.plan_validations(now);
        self.plan_fetches(now);
        self.plan_wake_ups(now);
        std::mem::take(&mut self.actions)
    }

    /// When to poll again, if nothing happens before. As of the last poll.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn look_for_leaders(&mut self, now: Instant) {
        let mut recreated = Vec::new();
        let mut leaderless = Vec::new();
        for (slot, partition) in &mut self.partitions {
            if partition.halted || !partition.is_due(now) {
                continue;
            }
            if let (Some(is), Some(fetch)) = (partition.replaced_by(), partition.place.fetch()) {
                let name = (*partition.name).clone();
                let (offset, was) = (fetch.offset, partition.topic_id);
                let error = ConsumerError::TopicRecreated { partition: name, offset, was, is };
                recreated.push((*slot, error));
                continue;
            }
            match partition.leadership {
                None => {
                    let topic = &partition.name.topic;
                    if !self.tracking.contains(topic) {
                        self.tracking.insert(topic.clone());
                        self.actions.push(Action::Track(topic.clone()));
                    }
                    partition.wait_for_topic(now);
                }
                Some(leadership) if leadership.leader.is_none() => {
                    let partition = (*partition.name).clone();
                    leaderless.push((*slot, ClientError::NoLeader { partition }));
                }
                Some(_) => {}
            }
        }
        if !leaderless.is_empty() {
            self.actions.push(Action::RefreshMetadata);
        }
        let at = self.moment(now);
        for (slot, error) in recreated {
            self.halt(slot, error);
        }
        for (slot, error) in leaderless {
            self.fail(slot, error, at);
        }
    }

    /// Notes when the next back-off ends, and when a trouble will have lasted too long.
    fn plan_wake_ups(&mut self, now: Instant) {
        for from in self.nodes.values().filter_map(Node::waits_until) {
            self.deadline = earlier(self.deadline, Some(from).filter(|from| *from > now));
        }
        for partition in self.partitions.values() {
            // Then the leader is asked again.
            let recheck = partition.preferred.map(|preferred| preferred.until);
            self.deadline = earlier(self.deadline, recheck.filter(|at| *at > now));
            let Some(trouble) = &partition.trouble else { continue };
            let overdue = partition.overdue(self.config.patience).filter(|_| partition.tells());
            self.overdue = earlier(self.overdue, overdue);
            // What is overdue waits for the user, and is no reason to wake up.
            self.deadline = earlier(self.deadline, overdue.filter(|at| *at > now));
            let waits = !partition.halted && trouble.retry_at > now;
            self.deadline = earlier(self.deadline, waits.then_some(trouble.retry_at));
        }
    }

    pub(super) fn next_token(&mut self) -> u64 {
        self.last_token += 1;
        self.last_token
    }
}

/// What a request says of a partition, whatever it asks.
pub(super) struct Named {
    pub(super) partition: i32,
    pub(super) epoch: i32,
    pub(super) topic_id: TopicId,
}

/// Notes that a partition is being asked for.
pub(super) fn ask(
    partition: &mut Partition,
    slot: usize,
    offset: i64,
    token: u64,
    sent: &mut Sent,
) -> Named {
    partition.in_flight = Some(InFlight { token, leader: partition.leader() });
    let (epoch, topic_id) = partition
        .leadership
        .map_or_else(Default::default, |leadership| (leadership.epoch, leadership.topic_id));
    let follower = partition.leader() != Some(sent.node);
    let asked = Asked { slot, token, offset, epoch, follower };
    sent.add(&partition.name.topic, topic_id, partition.name.partition, asked);
    Named { partition: partition.name.partition, epoch, topic_id }
}

pub(super) fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
