//! A member's next step to its target: give up, wait until it is given up, take.

use std::collections::{BTreeMap, BTreeSet};

use super::{ConsumerGroup, Member, Progress, Slot, Turn};
use crate::time::deadline;
use crate::types::TopicId;

impl ConsumerGroup {
    /// Leads a member a step on, if one can be made. `owned` is what the member says it owns, if it says so; `wanted`
    /// are the topics that it is subscribed to.
    pub(super) fn reconcile(
        &mut self,
        turn: &Turn<'_>,
        id: &str,
        owned: Option<&BTreeSet<Slot>>,
        wanted: &BTreeSet<TopicId>,
    ) {
        let taken: BTreeSet<Slot> = self.members.values().flat_map(Member::held).collect();
        let target_epoch = self.target_epoch;
        let Some(member) = self.members.get_mut(id) else { return };
        if member.is_at(target_epoch) {
            return;
        }
        let before = (member.epoch, member.progress, member.assigned.clone());
        let gives_up = |revoking: &BTreeMap<Slot, i32>| {
            owned.is_some_and(|owned| revoking.keys().all(|slot| !owned.contains(slot)))
        };
        if member.progress == Progress::Unrevoked && !gives_up(&member.revoking) {
            // It waits; what it does not want any more goes the same way.
            let (assigned, dropped) = split(&member.assigned, |(topic, _)| wanted.contains(topic));
            member.assigned = assigned;
            member.revoking.extend(dropped);
        } else {
            next_step(member, target_epoch, wanted, &taken, gives_up);
        }
        if before == (member.epoch, member.progress, member.assigned.clone()) {
            return;
        }
        let revokes = member.progress == Progress::Unrevoked;
        member.revoke_by = revokes.then(|| deadline(turn.now, member.rebalance_timeout));
    }
}

fn split(
    slots: &BTreeMap<Slot, i32>,
    stays: impl Fn(&Slot) -> bool,
) -> (BTreeMap<Slot, i32>, BTreeMap<Slot, i32>) {
    slots.iter().partition(|(slot, _)| stays(slot))
}

fn next_step(
    member: &mut Member,
    target_epoch: i32,
    wanted: &BTreeSet<TopicId>,
    taken: &BTreeSet<Slot>,
    gives_up: impl Fn(&BTreeMap<Slot, i32>) -> bool,
) {
    let target = member.target.iter().filter(|(topic, _)| wanted.contains(topic));
    let target: BTreeSet<Slot> = target.copied().collect();
    let (mut assigned, revoking) = split(&member.assigned, |slot| target.contains(slot));
    if !revoking.is_empty() && !gives_up(&revoking) {
        // The epoch stays until it has given them up.
        member.previous_epoch = member.epoch;
        (member.assigned, member.revoking) = (assigned, revoking);
        member.progress = Progress::Unrevoked;
        return;
    }
    let missing: Vec<Slot> =
        target.into_iter().filter(|slot| !assigned.contains_key(slot)).collect();
    let is_taken = |slot: &&Slot| taken.contains(*slot);
    let unreleased = missing.iter().any(|slot| is_taken(&slot));
    assigned.extend(missing.iter().filter(|s| !is_taken(s)).map(|&slot| (slot, target_epoch)));
    member.enter_epoch(target_epoch);
    (member.assigned, member.revoking) = (assigned, BTreeMap::new());
    member.progress = if unreleased { Progress::Unreleased } else { Progress::Stable };
}
