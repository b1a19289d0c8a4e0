//! Which node coordinates a group or a transactional id: the leader of the partition of `__consumer_offsets` or
//! `__transaction_state` that its name falls on.
//!
//! The partitions are placed over the nodes in turn. One whose node stops goes to the next that runs, and stays there
//! when the node is back, as leaders of other partitions do here. What a coordinator knows is the cluster's, so that it
//! moves with its partition. This file knows names and nodes only.

use std::collections::BTreeSet;

use crate::types::BrokerId;

/// `offsets.topic.num.partitions`, `transaction.state.log.num.partitions`
const PARTITIONS: i32 = 50;

/// Who leads a partition; nobody while no node runs.
#[derive(Debug, Clone, Copy)]
struct Leadership {
    leader: Option<BrokerId>,
    /// How often the leader changed.
    epoch: i32,
}

impl Leadership {
    fn pass_to(&mut self, leader: Option<BrokerId>) {
        *self = Self { leader, epoch: self.epoch.saturating_add(1) };
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Placement {
    partitions: Vec<Leadership>,
}

impl Placement {
    pub(crate) fn over(nodes: &[BrokerId]) -> Self {
        let leaders = nodes.iter().map(|&node| Leadership { leader: Some(node), epoch: 0 });
        Self { partitions: leaders.cycle().take(PARTITIONS.unsigned_abs() as usize).collect() }
    }

    pub(crate) fn coordinator(&self, key: &str) -> Option<BrokerId> {
        self.of(key)?.leader
    }

    /// The epoch of a key's coordinator: it rises with each change.
    pub(crate) fn epoch(&self, key: &str) -> i32 {
        self.of(key).map_or(0, |partition| partition.epoch)
    }

    fn of(&self, key: &str) -> Option<&Leadership> {
        self.partitions.get(usize::try_from(partition_of(key)).ok()?)
    }

    /// Whether two keys always share a coordinator.
    pub(crate) fn same(key: &str, other: &str) -> bool {
        partition_of(key) == partition_of(other)
    }

    pub(crate) fn move_to(&mut self, key: &str, node: BrokerId) {
        let index = usize::try_from(partition_of(key)).unwrap_or(0);
        if let Some(partition) = self.partitions.get_mut(index) {
            partition.pass_to(Some(node));
        }
    }

    /// Gives what a stopped node had to those that run, the next one first.
    pub(crate) fn node_stopped(&mut self, stopped: BrokerId, running: &BTreeSet<BrokerId>) {
        let after = running.range(stopped..).chain(running).next().copied();
        for partition in self.partitions.iter_mut().filter(|p| p.leader == Some(stopped)) {
            partition.pass_to(after);
        }
    }

    /// Gives a node what nobody has.
    pub(crate) fn node_started(&mut self, node: BrokerId) {
        for partition in self.partitions.iter_mut().filter(|p| p.leader.is_none()) {
            partition.pass_to(Some(node));
        }
    }
}

/// As in Java: `Utils.abs(key.hashCode()) % partitions`.
pub(crate) fn partition_of(key: &str) -> i32 {
    let hash = key
        .encode_utf16()
        .fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    hash.checked_abs().unwrap_or(0) % PARTITIONS
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From `jshell`: `Math.abs("…".hashCode()) % 50`; the last has the hash `Integer.MIN_VALUE`.
    #[test]
    fn a_key_falls_on_the_same_partition_as_in_kafka() {
        for (group, expected) in
            [("", 0), ("a", 47), ("my-group", 12), ("größe", 7), ("polygenelubricants", 0)]
        {
            assert_eq!(partition_of(group), expected, "{group}");
        }
    }

    #[test]
    fn a_group_stays_where_it_is_until_its_node_stops() {
        let [one, two, three] = [1, 2, 3].map(BrokerId);
        let mut placement = Placement::over(&[one, two, three]);
        let group =
            (0..).map(|n| format!("g{n}")).find(|g| placement.coordinator(g) == Some(three));
        let group = group.unwrap();
        placement.node_stopped(three, &[one, two].into());
        assert_eq!(placement.coordinator(&group), Some(one));
        placement.node_started(three);
        assert_eq!(placement.coordinator(&group), Some(one), "it does not move back");
        placement.move_to(&group, two);
        assert_eq!(placement.coordinator(&group), Some(two));
        placement.node_stopped(two, &BTreeSet::new());
        assert_eq!(placement.coordinator(&group), None);
        assert_eq!(placement.epoch(&group), 3);
        placement.node_started(one);
        assert_eq!(placement.coordinator(&group), Some(one));
    }
}
