//! The assignors of the coordinator: from subscriptions and what members have to what they are to have.
//!
//! `range` gives each member a contiguous range of each topic, the same ones of all topics if it can. `uniform` gives as
//! many partitions to each as to the others as far as subscriptions let it, and moves no more than that takes.

use std::collections::{BTreeMap, BTreeSet};

use super::{ConsumerGroup, Slot, TopicView};
use crate::types::TopicId;

/// What `group.consumer.assignors` has by default, the first of which is taken if members do not care.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Assignor {
    Range,
    Uniform,
}

impl Assignor {
    pub(super) const NAMES: &'static str = "uniform, range";

    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "range" => Some(Self::Range),
            "uniform" => Some(Self::Uniform),
            _ => None,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::Uniform => "uniform",
        }
    }
}

/// A member as assignors see it.
#[derive(Debug)]
struct Candidate {
    id: String,
    topics: BTreeSet<TopicId>,
    has: BTreeSet<Slot>,
}

impl ConsumerGroup {
    /// Computes what each member is to have, at the group's epoch.
    pub(super) fn assign(&mut self, topics: &dyn TopicView) {
        let mut candidates: Vec<_> = self.members.values().collect();
        // Static members first, in an order that outlives their ids.
        candidates.sort_by_key(|m| (m.instance_id.is_none(), m.instance_id.clone(), m.id.clone()));
        let candidates = candidates.into_iter().map(|member| Candidate {
            id: member.id.clone(),
            topics: member.subscription.resolve(topics).into_keys().collect(),
            has: member.target.clone(),
        });
        let candidates: Vec<Candidate> = candidates.collect();
        let given = match self.assignor() {
            Assignor::Range => range(&candidates, &self.topics),
            Assignor::Uniform => uniform(&candidates, &self.topics),
        };
        for (candidate, slots) in candidates.iter().zip(given) {
            if let Some(member) = self.members.get_mut(&candidate.id) {
                member.target = slots;
            }
        }
        self.target_epoch = self.epoch;
    }
}

fn range(members: &[Candidate], topics: &BTreeMap<TopicId, i32>) -> Vec<BTreeSet<Slot>> {
    let mut given = vec![BTreeSet::new(); members.len()];
    for (&topic, &partitions) in topics {
        let subscribed = members.iter().zip(&mut given).filter(|(m, _)| m.topics.contains(&topic));
        let mut readers: Vec<_> = subscribed.map(|(_, slots)| slots).collect();
        let count = i32::try_from(readers.len()).unwrap_or(i32::MAX).max(1);
        let (each, extra) = (partitions / count, partitions % count);
        let mut next = 0;
        for (n, slots) in (0..).zip(&mut readers) {
            let end = next + each + i32::from(n < extra);
            slots.extend((next..end).map(|partition| (topic, partition)));
            next = end;
        }
    }
    given
}

fn uniform(members: &[Candidate], topics: &BTreeMap<TopicId, i32>) -> Vec<BTreeSet<Slot>> {
    let mut owners: BTreeMap<Slot, Option<usize>> = BTreeMap::new();
    for (&topic, &partitions) in topics {
        owners.extend((0..partitions).map(|partition| ((topic, partition), None)));
    }
    let mut loads = vec![0_usize; members.len()];
    for (n, (member, load)) in members.iter().zip(&mut loads).enumerate() {
        for slot in member.has.iter().filter(|(topic, _)| member.topics.contains(topic)) {
            if let Some(owner @ None) = owners.get_mut(slot) {
                *owner = Some(n);
                *load += 1;
            }
        }
    }
    let load_of = |loads: &[usize], n: usize| loads.get(n).copied().unwrap_or(0);
    let least = |loads: &[usize], topic: TopicId| {
        let readers = members.iter().enumerate().filter(|(_, m)| m.topics.contains(&topic));
        readers.map(|(n, _)| n).min_by_key(|&n| load_of(loads, n))
    };
    let give = |loads: &mut Vec<usize>, to: usize, owner: &mut Option<usize>| {
        if let Some(load) = owner.replace(to).and_then(|from| loads.get_mut(from)) {
            *load -= 1;
        }
        if let Some(load) = loads.get_mut(to) {
            *load += 1;
        }
    };
    for (&(topic, _), owner) in owners.iter_mut().filter(|(_, owner)| owner.is_none()) {
        if let Some(to) = least(&loads, topic) {
            give(&mut loads, to, owner);
        }
    }
    let mut balanced = false;
    while !balanced {
        balanced = true;
        for (&(topic, _), owner) in owners.iter_mut().rev() {
            let Some((to, from)) = least(&loads, topic).zip(*owner) else { continue };
            // Each move narrows the gap between two members, so that there is an end to it.
            if load_of(&loads, from) >= load_of(&loads, to) + 2 {
                give(&mut loads, to, owner);
                balanced = false;
            }
        }
    }
    let mut given = vec![BTreeSet::new(); members.len()];
    for (slot, owner) in owners {
        if let Some(slots) = owner.and_then(|owner| given.get_mut(owner)) {
            slots.insert(slot);
        }
    }
    given
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: TopicId = TopicId([1; 16]);
    const U: TopicId = TopicId([2; 16]);

    fn candidate(id: &str, topics: &[TopicId], has: &[Slot]) -> Candidate {
        let topics = topics.iter().copied().collect();
        Candidate { id: id.to_owned(), topics, has: has.iter().copied().collect() }
    }

    #[test]
    fn ranges_are_contiguous_and_alike_over_topics() {
        let both = [T, U];
        let members = [candidate("a", &both, &[]), candidate("b", &both, &[])];
        let given = range(&members, &BTreeMap::from([(T, 3), (U, 3)]));
        assert_eq!(given[0], BTreeSet::from([(T, 0), (T, 1), (U, 0), (U, 1)]));
        assert_eq!(given[1], BTreeSet::from([(T, 2), (U, 2)]));
        let members = [candidate("a", &[T], &[]), candidate("b", &both, &[])];
        let given = range(&members, &BTreeMap::from([(T, 1), (U, 2)]));
        assert_eq!(given[1], BTreeSet::from([(U, 0), (U, 1)]), "a has the only one of T");
    }

    #[test]
    fn uniform_gives_as_many_to_each_and_moves_little() {
        let slots =
            |partitions: std::ops::Range<i32>| partitions.map(|p| (T, p)).collect::<Vec<_>>();
        let members = [
            candidate("a", &[T], &slots(0..3)),
            candidate("b", &[T], &slots(3..6)),
            candidate("c", &[T], &[]),
        ];
        let given = uniform(&members, &BTreeMap::from([(T, 7)]));
        let counts: Vec<usize> = given.iter().map(BTreeSet::len).collect();
        assert_eq!(counts.iter().sum::<usize>(), 7);
        assert!(counts.iter().all(|count| (2..=3).contains(count)), "{counts:?}");
        let kept = members.iter().zip(&given).map(|(m, g)| m.has.intersection(g).count());
        assert_eq!(
            kept.sum::<usize>(),
            5,
            "one of six moves, and the new one is the other: {given:?}"
        );
    }

    #[test]
    fn uniform_gives_nobody_what_they_do_not_want() {
        let members = [candidate("a", &[T], &[(U, 0)]), candidate("b", &[T, U], &[])];
        let given = uniform(&members, &BTreeMap::from([(T, 4), (U, 4)]));
        assert_eq!(given[0].iter().filter(|(topic, _)| *topic == U).count(), 0);
        assert_eq!((given[0].len(), given[1].len()), (4, 4));
    }

    #[test]
    fn what_a_member_has_of_a_topic_that_is_gone_is_dropped() {
        let members = [candidate("a", &[T], &[(T, 0), (T, 5), (U, 0)])];
        assert_eq!(uniform(&members, &BTreeMap::from([(T, 2)]))[0], [(T, 0), (T, 1)].into());
        assert_eq!(uniform(&[], &BTreeMap::from([(T, 2)])), Vec::<BTreeSet<Slot>>::new());
    }
}
