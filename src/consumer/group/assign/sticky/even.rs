//! The assignment if all members want the same topics: everybody gets the same share, or one more.
//!
//! ```text
//!   what it had ──► keep up to the share (some: one more) ──► by rack ──► by turns
//! ```
//!
//! So no partition moves but those above a share, and those of members that have left.

use std::collections::VecDeque;

use super::Aim;
use super::numbered::Numbered;
use super::racks::Racks;

/// The member that each partition goes to, given the one that had it.
pub(super) fn assign(
    group: &Numbered<'_>,
    previous: &[Option<usize>],
    racks: Option<&Racks<'_>>,
    aim: Aim,
) -> Vec<Option<usize>> {
    let (partitions, members) = (group.partition_count(), group.members().len());
    if members == 0 {
        return vec![None; partitions];
    }
    let mut deal = Deal {
        share: partitions / members,
        extra: partitions % members,
        counts: vec![0; members],
        owners: vec![None; partitions],
        below: Vec::new(),
        at_share: VecDeque::new(),
    };
    deal.keep(group, previous, racks.filter(|_| aim == Aim::Near));
    let mut left: Vec<_> =
        (0..partitions).filter(|partition| deal.owners[*partition].is_none()).collect();
    if let Some(racks) = racks {
        // Those that few members are near to first.
        left.sort_by_key(|partition| racks.members_near(*partition));
        deal.by_rack(&mut left, racks);
    }
    deal.by_turns(&left);
    deal.owners
}

/// An assignment under way. A member is in `below`, in `at_share`, or full.
struct Deal {
    /// What every member gets.
    share: usize,
    /// How many members may still get one more.
    extra: usize,
    counts: Vec<usize>,
    owners: Vec<Option<usize>>,
    /// Members that have less than their share.
    below: Vec<usize>,
    /// Members that have their share and may get one more; who is first there is first in turn.
    at_share: VecDeque<usize>,
}

impl Deal {
    fn give(&mut self, partition: usize, member: usize) {
        self.owners[partition] = Some(member);
        self.counts[member] += 1;
    }

    /// Leaves members what they had, up to their share, but for what is far, if racks are given. As
    /// many as may have one more are left that.
    fn keep(
        &mut self,
        group: &Numbered<'_>,
        previous: &[Option<usize>],
        racks: Option<&Racks<'_>>,
    ) {
        let mut had = vec![Vec::new(); self.counts.len()];
        for (partition, owner) in previous.iter().enumerate() {
            if let Some(member) = *owner
                && !racks.is_some_and(|racks| racks.are_apart(member, partition))
            {
                had[member].push(partition);
            }
        }
        for (member, mut had) in had.into_iter().enumerate() {
            had.sort_by_key(|partition| group.within_topic(*partition));
            let one_more = had.len() > self.share && self.extra > 0;
            self.extra -= usize::from(one_more);
            had.truncate(self.share + usize::from(one_more));
            for partition in &had {
                self.give(*partition, member);
            }
            if had.len() < self.share {
                self.below.push(member);
            } else if !one_more {
                self.at_share.push_back(member);
            }
        }
    }

    /// Gives partitions to members near to them: in turn to those below their share, else to the
    /// first that may get one more. What nobody near has room for is left.
    fn by_rack(&mut self, left: &mut Vec<usize>, racks: &Racks<'_>) {
        let mut turn = 0;
        left.retain(|partition| {
            let near = |member: &usize| racks.are_together(*member, *partition);
            let (later, sooner) = self.below.split_at(turn);
            if let Some(after) = sooner.iter().chain(later).position(near) {
                let place = (turn + after) % self.below.len();
                let member = self.below[place];
                self.give(*partition, member);
                let full = self.counts[member] == self.share;
                if full {
                    self.below.remove(place);
                    self.at_share.push_back(member);
                }
                turn = (place + usize::from(!full)).checked_rem(self.below.len()).unwrap_or(0);
                return false;
            }
            if let Some(member) = self.take_extra(near) {
                self.give(*partition, member);
                return false;
            }
            true
        });
    }

    /// Gives partitions in turn to members below their share, then to those that may get one more.
    fn by_turns(&mut self, left: &[usize]) {
        let mut turn = 0;
        for partition in left {
            if let Some(member) = self.below.get(turn).copied() {
                self.give(*partition, member);
                if self.counts[member] == self.share {
                    self.below.remove(turn);
                    self.at_share.push_back(member);
                } else {
                    turn += 1;
                }
                if turn >= self.below.len() {
                    turn = 0;
                }
            } else if let Some(member) = self.take_extra(|_| true) {
                self.give(*partition, member);
            }
        }
    }

    /// The first of those at their share that is fit for one more, if there is one to be had.
    fn take_extra(&mut self, fit: impl Fn(&usize) -> bool) -> Option<usize> {
        if self.extra == 0 {
            return None;
        }
        let place = self.at_share.iter().position(fit)?;
        self.extra -= 1;
        self.at_share.remove(place)
    }
}
