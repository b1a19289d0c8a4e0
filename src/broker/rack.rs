//! Which replica a consumer should read from, by its rack: Kafka's `RackAwareReplicaSelector` (KIP-392), over the
//! replicas that `ReplicaManager.findPreferredReadReplica` lets it choose from. It does not know what the consumer does
//! about it.

use std::collections::BTreeMap;

use super::partition::Partition;
use super::state::Node;
use crate::types::BrokerId;

/// The replica in `rack` that a consumer at `offset` is sent to; `None` if it should stay with the leader.
pub(crate) fn preferred_replica(
    partition: &Partition,
    nodes: &BTreeMap<BrokerId, Node>,
    rack: &str,
    offset: i64,
) -> Option<BrokerId> {
    let leader = partition.leader?;
    let in_rack = |replica: &BrokerId| {
        let node = nodes.get(replica);
        node.is_some_and(|node| node.running && node.rack.as_deref() == Some(rack))
    };
    let log = &partition.log;
    let has_offset = (log.start_offset()..=log.end_offset()).contains(&offset);
    if rack.is_empty() || !has_offset || in_rack(&leader) {
        return None;
    }
    // Of those that are in step, Kafka takes the one with the greatest id.
    partition.isr.iter().copied().filter(in_rack).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_in_the_readers_rack_is_preferred_unless_the_leader_is_there() {
        let racks = [(1, "a"), (2, "b"), (3, "b"), (4, "c"), (5, "")];
        let node = |&(id, rack): &(i32, &str)| {
            let rack = Some(rack.to_owned()).filter(|rack| !rack.is_empty());
            let running = id != 4;
            (BrokerId(id), Node { host: String::new(), port: 0, rack, running })
        };
        let nodes: BTreeMap<_, _> = racks.iter().map(node).collect();
        let ids: Vec<_> = nodes.keys().copied().collect();
        let mut partition = Partition::new(ids.clone(), ids);
        let prefer = |partition: &Partition, rack: &str, offset| {
            preferred_replica(partition, &nodes, rack, offset).map(|node| node.0)
        };
        for (rack, offset, expected) in [
            ("a", 0, None),
            ("b", 0, Some(3)),
            ("b", 1, None),
            ("c", 0, None),
            ("d", 0, None),
            ("", 0, None),
        ] {
            assert_eq!(prefer(&partition, rack, offset), expected, "{rack:?} at {offset}");
        }
        partition.isr.retain(|node| node.0 != 3);
        assert_eq!(prefer(&partition, "b", 0), Some(2), "only those in sync");
        partition.lead(None);
        assert_eq!(prefer(&partition, "b", 0), None);
    }
}
