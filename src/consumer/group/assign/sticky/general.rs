//! The assignment if members want different topics: moves single partitions until no move makes it
//! more even.
//!
//! ```text
//!   what it had ──► the rest to whoever has least ──► move: from a member to one with 2+ fewer
//!                   (near ones first)                 (first what is free, then anything)
//! ```
//!
//! Each move takes from a member with at least two more than the one it gives to, so the sum of the
//! squares of the counts falls with every move, and it ends.
//!
//! A cooperative group has to end too: what one rebalance withholds is free in the next, and must not
//! be dealt out in a way that takes something from yet another owner, for ever. So free partitions are
//! spread as well as is possible at all: at least as well as the rebalance before had meant to. What
//! owners have to give up after that makes the sum less than it was there.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Aim;
use super::claims::Previous;
use super::numbered::Numbered;
use super::racks::Racks;

/// The member that each partition goes to. Each topic has somebody that wants it.
pub(super) fn assign(
    group: &Numbered<'_>,
    previous: &Previous,
    racks: Option<&Racks<'_>>,
    aim: Aim,
) -> Vec<Option<usize>> {
    let mut topics: Vec<_> = (0..group.topic_count()).collect();
    // The fewer members can have a partition, the sooner it is looked at.
    topics.sort_by_key(|topic| group.subscribers(*topic).len());
    let all: Vec<_> = topics.iter().flat_map(|topic| group.partitions_of(*topic)).collect();

    let mut counts = vec![0; group.members().len()];
    let mut owners = vec![None; all.len()];
    let mut revoked = false;
    for (partition, owner) in previous.owners.iter().enumerate() {
        let Some(member) = *owner else { continue };
        let apart = || racks.is_some_and(|racks| racks.are_apart(member, partition));
        if (aim == Aim::Near && apart()) || !group.wants(member, group.topic_of(partition)) {
            revoked = true;
        } else {
            owners[partition] = Some(member);
            counts[member] += 1;
        }
    }
    let new: Vec<_> =
        all.iter().copied().filter(|partition| owners[*partition].is_none()).collect();
    for racks in racks.map(Some).into_iter().chain([None]) {
        for partition in &new {
            let can_have = group
                .subscribers(group.topic_of(*partition))
                .iter()
                .filter(|member| !racks.is_some_and(|racks| racks.are_apart(**member, *partition)));
            let owner = &mut owners[*partition];
            if owner.is_none()
                && let Some(member) = can_have.min_by_key(|member| counts[**member])
            {
                *owner = Some(*member);
                counts[*member] += 1;
            }
        }
    }

    let Some(owners) = owners.into_iter().collect::<Option<Vec<usize>>>() else {
        return Vec::new();
    };
    let mut balance = Balance::new(group, &previous.before, owners, counts);
    if !revoked {
        balance.improve(&new);
    }
    if aim == Aim::Rest {
        balance.spread(&new);
    }
    balance.improve(&all);
    balance.owners.into_iter().map(Some).collect()
}

/// An assignment that is being made more even.
struct Balance<'a> {
    group: &'a Numbered<'a>,
    before: &'a [Option<usize>],
    /// Those that several members want.
    topics: Vec<usize>,
    /// Who had each partition before the first move.
    at_first: Vec<usize>,
    owners: Vec<usize>,
    /// How many partitions each member has.
    counts: Vec<usize>,
    /// How many partitions of each topic each of its subscribers has.
    held: Vec<Vec<usize>>,
    /// The partitions of a topic that were moved from one member to another.
    moved: BTreeMap<(usize, usize, usize), BTreeSet<usize>>,
    /// The place in `topics` of one that was uneven when last looked at.
    uneven: usize,
}

impl<'a> Balance<'a> {
    fn new(
        group: &'a Numbered<'a>,
        before: &'a [Option<usize>],
        owners: Vec<usize>,
        counts: Vec<usize>,
    ) -> Self {
        let all = 0..group.topic_count();
        let none = |topic| vec![0; group.subscribers(topic).len()];
        let mut held: Vec<_> = all.clone().map(none).collect();
        for (partition, member) in owners.iter().enumerate() {
            let topic = group.topic_of(partition);
            if let Some(place) = group.place(*member, topic) {
                held[topic][place] += 1;
            }
        }
        Self {
            held,
            topics: all.filter(|topic| group.subscribers(*topic).len() > 1).collect(),
            group,
            before,
            at_first: owners.clone(),
            owners,
            counts,
            moved: BTreeMap::new(),
            uneven: 0,
        }
    }

    /// Moves partitions of a list for as long as that makes the assignment more even.
    fn improve(&mut self, list: &[usize]) {
        loop {
            let mut moved = false;
            if self.is_even() {
                return;
            }
            for partition in list {
                let Some(to) = self.better_owner(*partition) else { continue };
                self.move_one(*partition, to);
                moved = true;
                if self.is_even() {
                    return;
                }
            }
            if !moved {
                return;
            }
        }
    }

    /// Moves free partitions along chains of members until no chain is left that ends at a member
    /// with at least two fewer than the one it begins at: then no other way to deal out what is free
    /// is more even (an optimal semi-matching).
    fn spread(&mut self, free: &[usize]) {
        let mut held: Vec<BTreeMap<usize, Vec<usize>>> = vec![BTreeMap::new(); self.counts.len()];
        for partition in free {
            let topic = self.group.topic_of(*partition);
            held[self.owners[*partition]].entry(topic).or_default().push(*partition);
        }
        let mut members: Vec<_> = (0..self.counts.len()).collect();
        loop {
            members.sort_by_key(|member| std::cmp::Reverse(self.counts[*member]));
            let Some(chain) = members.iter().find_map(|member| self.chain(&held, *member)) else {
                return;
            };
            for (partition, to) in chain {
                let topic = self.group.topic_of(partition);
                if let Some(held) = held[self.owners[partition]].get_mut(&topic) {
                    held.retain(|other| *other != partition);
                }
                held[to].entry(topic).or_default().push(partition);
                self.give(partition, to);
            }
        }
    }

    /// The shortest chain of free partitions, each handed on to the next member, that makes the
    /// counts more even if it begins at this member.
    fn chain(
        &self,
        held: &[BTreeMap<usize, Vec<usize>>],
        first: usize,
    ) -> Option<Vec<(usize, usize)>> {
        let mut seen_topics = vec![false; self.group.topic_count()];
        // The partition that each member reached would get, and from whom.
        let mut reached: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
        let mut queue = VecDeque::from([first]);
        while let Some(member) = queue.pop_front() {
            for (topic, partitions) in &held[member] {
                let Some(partition) = partitions.last().filter(|_| !seen_topics[*topic]) else {
                    continue;
                };
                seen_topics[*topic] = true;
                for to in self.group.subscribers(*topic) {
                    if *to == first || reached.contains_key(to) {
                        continue;
                    }
                    reached.insert(*to, (*partition, member));
                    queue.push_back(*to);
                    if self.counts[*to] + 1 < self.counts[first] {
                        let link = |to: &usize| reached.get(to).copied();
                        let before = |(_, from): &(usize, usize)| link(from);
                        let links = std::iter::successors(link(to), before);
                        let ends = std::iter::once(*to).chain(links.clone().map(|(_, from)| from));
                        return Some(links.map(|(partition, _)| partition).zip(ends).collect());
                    }
                }
            }
        }
        None
    }

    /// The member that a partition would better go to: the one that had it before, or the one of
    /// those that want it that has the least.
    fn better_owner(&self, partition: usize) -> Option<usize> {
        let topic = self.group.topic_of(partition);
        let count = self.counts[self.owners[partition]];
        let has_2_fewer = |member: &usize| self.counts[*member] + 1 < count;
        let before = self.before[partition].filter(|member| self.group.wants(*member, topic));
        before.filter(has_2_fewer).or_else(|| self.least(topic).filter(has_2_fewer))
    }

    /// Of the members that want a topic, the one that has the least.
    fn least(&self, topic: usize) -> Option<usize> {
        let members = self.group.subscribers(topic).iter().copied();
        members.min_by_key(|member| self.counts[*member])
    }

    /// Whether no partition would better go to another member.
    fn is_even(&mut self) -> bool {
        let count = self.topics.len();
        for place in (self.uneven..count).chain(0..self.uneven) {
            let topic = self.topics[place];
            let least = self.least(topic).map_or(0, |member| self.counts[member]);
            let mut owners = self.group.subscribers(topic).iter().zip(&self.held[topic]);
            if owners.any(|(member, held)| *held > 0 && self.counts[*member] > least + 1) {
                self.uneven = place;
                return false;
            }
        }
        true
    }

    /// Moves a partition, or one of the same topic with the same effect on counts, so that no two
    /// members exchange partitions.
    fn move_one(&mut self, partition: usize, to: usize) {
        let (from, first) = (self.owners[partition], self.at_first[partition]);
        let topic = self.group.topic_of(partition);
        if let Some(back) = self.moved(topic, to, from) {
            self.give(back, to);
        } else if let Some(back) = self.moved(topic, to, first).filter(|_| first != from) {
            self.give(back, to);
            self.give(partition, first);
        } else {
            self.give(partition, to);
        }
    }

    /// A partition of a topic that was moved from one member to another.
    fn moved(&self, topic: usize, from: usize, to: usize) -> Option<usize> {
        self.moved.get(&(topic, from, to))?.first().copied()
    }

    fn give(&mut self, partition: usize, to: usize) {
        let topic = self.group.topic_of(partition);
        let (first, from) = (self.at_first[partition], self.owners[partition]);
        if let Some(moved) = self.moved.get_mut(&(topic, first, from)) {
            moved.remove(&partition);
        }
        if to != first {
            self.moved.entry((topic, first, to)).or_default().insert(partition);
        }
        self.owners[partition] = to;
        // The member that it goes to is one of those that want it, and so was the other.
        if let (Some(old), Some(new)) = (self.group.place(from, topic), self.group.place(to, topic))
        {
            self.held[topic][old] -= 1;
            self.held[topic][new] += 1;
        }
        self.counts[from] -= 1;
        self.counts[to] += 1;
    }
}
