//! Which node coordinates a group: the leader of the partition of `__consumer_offsets` that the group's name falls on.
//!
//! The partitions are placed over the nodes in turn. One whose node stops goes to the next that runs, and stays there
//! when the node is back, as leaders of other partitions do here. A group's state is the cluster's, so that it moves with
//! its partition.

use std::collections::BTreeSet;

use crate::types::BrokerId;

/// `offsets.topic.num.partitions`
const PARTITIONS: u32 = 50;

/// See the module.
#[derive(Debug)]
pub(crate) struct Placement {
    /// The leader of each partition; `None` while no node runs.
    leaders: Vec<Option<BrokerId>>,
}

impl Placement {
    pub(super) fn over(nodes: &[BrokerId]) -> Self {
        let leaders = nodes.iter().copied().map(Some).cycle().take(PARTITIONS as usize).collect();
        Self { leaders }
    }

    pub(crate) fn coordinator(&self, group: &str) -> Option<BrokerId> {
        self.leaders.get(partition_of(group)).copied().flatten()
    }

    /// Whether two groups always share a coordinator.
    pub(super) fn same(group: &str, other: &str) -> bool {
        partition_of(group) == partition_of(other)
    }

    pub(super) fn move_to(&mut self, group: &str, node: BrokerId) {
        if let Some(leader) = self.leaders.get_mut(partition_of(group)) {
            *leader = Some(node);
        }
    }

    /// Gives what a stopped node had to those that run, the next one first.
    pub(super) fn node_stopped(&mut self, stopped: BrokerId, running: &BTreeSet<BrokerId>) {
        let after = running.range(stopped..).chain(running).next().copied();
        for leader in self.leaders.iter_mut().filter(|leader| **leader == Some(stopped)) {
            *leader = after;
        }
    }

    /// Gives a node what nobody has.
    pub(super) fn node_started(&mut self, node: BrokerId) {
        for leader in &mut self.leaders {
            leader.get_or_insert(node);
        }
    }
}

/// As in Java: `Utils.abs(groupId.hashCode()) % partitions`.
fn partition_of(group: &str) -> usize {
    let hash = group
        .encode_utf16()
        .fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    let positive = hash.checked_abs().unwrap_or(0).unsigned_abs();
    (positive % PARTITIONS) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From `jshell`: `Math.abs("…".hashCode()) % 50`; the last has the hash `Integer.MIN_VALUE`.
    #[test]
    fn a_group_falls_on_the_same_partition_as_in_kafka() {
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
        placement.node_started(one);
        assert_eq!(placement.coordinator(&group), Some(one));
    }
}
