//! `range`: each topic cut into runs of neighbours, one for each member that wants it.
//!
//! Does not know what members had before.

use std::collections::{BTreeMap, BTreeSet};

use super::order::in_turn;
use super::{Assignment, Assignor, ClusterTopics, MemberSubscription, racks};
use crate::types::TopicPartition;

/// Gives each member a run of neighbouring partitions of each topic (Kafka's `RangeAssignor`).
///
/// Within a topic, counts differ by at most one; the first members have the larger share of every
/// topic. Topics with as many partitions and the same members are cut alike, so that what has the same
/// key goes to the same member. Members have their turn in order of member id, static ones before
/// them in order of `group.instance.id`.
///
/// Where members and replicas tell their racks, and not every rack has a replica of everything,
/// members get partitions with a replica in their rack as far as the shares allow (KIP-881); topics
/// that are cut alike stay so, even if that is farther to read. Replicas count whether they are in
/// sync or not.
#[derive(Debug, Clone, Copy, Default)]
pub struct RangeAssignor;

impl Assignor for RangeAssignor {
    fn name(&self) -> &str {
        "range"
    }

    fn assign(
        &self,
        cluster: &ClusterTopics,
        subscriptions: &BTreeMap<String, MemberSubscription>,
    ) -> BTreeMap<String, Assignment> {
        let members = in_turn(subscriptions);
        let mut topics: Vec<_> = cluster
            .topics()
            .map(|(topic, _)| Topic::new(topic, cluster.racks(topic), &members))
            .filter(|topic| !topic.members.is_empty())
            .collect();
        if topics.iter().any(|topic| topic.match_racks) {
            match_racks(&mut topics);
        }
        let mut assignments: BTreeMap<_, _> =
            subscriptions.keys().map(|member| (member.clone(), Assignment::default())).collect();
        for topic in &mut topics {
            topic.deal(|_, _, _| true);
            for (member, partition) in topic.dealt() {
                assignments.entry(member.to_owned()).or_default().partitions.push(partition);
            }
        }
        assignments
    }
}

/// A topic while it is dealt out. Members are counted by their place in `members`, partitions by
/// their number.
struct Topic<'a> {
    name: &'a str,
    /// Of each partition.
    racks: &'a [BTreeSet<String>],
    /// Those that want it, in turn, with their racks.
    members: Vec<(&'a str, Option<&'a str>)>,
    /// The member that each partition is given to.
    owners: Vec<Option<usize>>,
    /// How many partitions each member has.
    counts: Vec<usize>,
    /// What every member gets.
    share: usize,
    /// How many members may still get one more.
    extra: usize,
    match_racks: bool,
}

impl<'a> Topic<'a> {
    fn new(
        name: &'a str,
        racks: &'a [BTreeSet<String>],
        members: &[(&'a String, &'a MemberSubscription)],
    ) -> Self {
        let wanting = members.iter().filter(|(_, wants)| wants.topics.contains(name));
        let members: Vec<_> =
            wanting.map(|(member, wants)| (member.as_str(), wants.rack_id.as_deref())).collect();
        let of_members = members.iter().filter_map(|(_, rack)| *rack);
        Self {
            name,
            racks,
            match_racks: racks::are_worth_matching(of_members, racks.iter()),
            owners: vec![None; racks.len()],
            counts: vec![0; members.len()],
            share: racks.len().checked_div(members.len()).unwrap_or(0),
            extra: racks.len().checked_rem(members.len()).unwrap_or(0),
            members,
        }
    }

    /// Whether a member and a partition can be in the same rack, as far as is known.
    fn in_rack(&self, member: usize, partition: usize) -> bool {
        self.members[member].1.is_none_or(|rack| self.racks[partition].contains(rack))
    }

    /// How many more partitions a member may get.
    fn room(&self, member: usize) -> usize {
        (self.share + usize::from(self.extra > 0)).saturating_sub(self.counts[member])
    }

    fn give(&mut self, member: usize, partitions: &[usize]) {
        for partition in partitions {
            self.owners[*partition] = Some(member);
        }
        self.counts[member] += partitions.len();
        if self.counts[member] > self.share {
            self.extra -= 1;
        }
    }

    /// Gives each member in turn the first partitions that are left, and that it may have, until its
    /// share is full.
    fn deal(&mut self, may_have: impl Fn(&Self, usize, usize) -> bool) {
        for member in 0..self.members.len() {
            let left = (0..self.owners.len()).filter(|partition| {
                self.owners[*partition].is_none() && may_have(self, member, *partition)
            });
            let run: Vec<_> = left.take(self.room(member)).collect();
            if !run.is_empty() {
                self.give(member, &run);
            }
        }
    }

    fn dealt(&self) -> impl Iterator<Item = (&'a str, TopicPartition)> {
        self.owners.iter().zip(0..).filter_map(|(owner, partition)| {
            let (member, _) = self.members[(*owner)?];
            Some((member, TopicPartition::new(self.name, partition)))
        })
    }
}

/// Gives members what they can have within their racks.
fn match_racks(topics: &mut [Topic<'_>]) {
    let mut alike: BTreeMap<_, Vec<&mut Topic<'_>>> = BTreeMap::new();
    for topic in topics {
        alike.entry((topic.members.clone(), topic.racks.len())).or_default().push(topic);
    }
    for ((members, partitions), mut topics) in alike {
        match topics.as_mut_slice() {
            [topic] if topic.match_racks => topic.deal(Topic::in_rack),
            [_] => {}
            _ if members.iter().all(|(_, rack)| rack.is_none()) => {}
            topics => match_racks_alike(topics, members.len(), partitions),
        }
    }
}

/// Gives partitions of the same number in all topics to one member, if it is in the rack of all of
/// them and has room for them.
fn match_racks_alike(topics: &mut [&mut Topic<'_>], members: usize, partitions: usize) {
    for partition in 0..partitions {
        let fits = |member: &usize| {
            let mut topics = topics.iter();
            topics.all(|topic| topic.in_rack(*member, partition) && topic.room(*member) > 0)
        };
        if let Some(member) = (0..members).find(fits) {
            for topic in &mut *topics {
                topic.give(member, &[partition]);
            }
        }
    }
}
