//! `roundrobin`: all partitions in a row, dealt out to the members in turn.
//!
//! Knows neither racks nor what members had before.

use std::collections::{BTreeMap, BTreeSet};

use super::order::in_turn;
use super::{Assignment, Assignor, ClusterTopics, MemberSubscription};

/// Deals out the partitions one by one, by topic and number, to the members in turn (Kafka's
/// `RoundRobinAssignor`).
///
/// If all members subscribe to the same topics, their counts differ by at most one; otherwise a
/// member that does not want a partition is passed over. A change of the group may move any
/// partition. Static members take their turns in order of `group.instance.id`, so a restart moves
/// nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct RoundRobinAssignor;

impl Assignor for RoundRobinAssignor {
    fn name(&self) -> &str {
        "roundrobin"
    }

    fn assign(
        &self,
        cluster: &ClusterTopics,
        subscriptions: &BTreeMap<String, MemberSubscription>,
    ) -> BTreeMap<String, Assignment> {
        let mut assignments: BTreeMap<_, _> =
            subscriptions.keys().map(|member| (member.clone(), Assignment::default())).collect();
        let members = in_turn(subscriptions);
        let topics: BTreeSet<_> = members.iter().flat_map(|(_, wants)| &wants.topics).collect();
        let mut turn = 0;
        for partition in topics.into_iter().flat_map(|topic| cluster.partitions(topic)) {
            let (later, sooner) = members.split_at(turn);
            let mut round = sooner.iter().chain(later).zip(turn..);
            let next = round.find(|((_, wants), _)| wants.topics.contains(&partition.topic));
            let Some(((member, _), place)) = next else { continue };
            turn = (place + 1) % members.len();
            assignments.entry((*member).clone()).or_default().partitions.push(partition);
        }
        assignments
    }
}
