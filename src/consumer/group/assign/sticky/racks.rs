//! Who is in which rack, where it pays to know (KIP-881).

use std::collections::{BTreeMap, BTreeSet};

use super::super::racks::are_worth_matching;
use super::super::{ClusterTopics, MemberSubscription};
use super::numbered::Numbered;

/// The racks of members and of replicas.
pub(super) struct Racks<'a> {
    of_member: Vec<Option<&'a str>>,
    of_partition: Vec<&'a BTreeSet<String>>,
    members: BTreeMap<&'a str, usize>,
}

impl<'a> Racks<'a> {
    /// `None` if it does not pay to look at racks.
    pub(super) fn of(
        group: &Numbered<'_>,
        cluster: &'a ClusterTopics,
        subscriptions: &'a BTreeMap<String, MemberSubscription>,
    ) -> Option<Self> {
        let of_member: Vec<_> =
            subscriptions.values().map(|subscription| subscription.rack_id.as_deref()).collect();
        let topics = (0..group.topic_count()).map(|topic| group.topic_name(topic));
        let of_partition: Vec<_> = topics.flat_map(|topic| cluster.racks(topic)).collect();
        let told = of_member.iter().copied().flatten();
        if !are_worth_matching(told.clone(), of_partition.iter().copied()) {
            return None;
        }
        let mut members = BTreeMap::new();
        told.for_each(|rack| *members.entry(rack).or_default() += 1);
        Some(Self { of_member, of_partition, members })
    }

    /// Whether a member has a rack, and no replica of the partition is in it.
    pub(super) fn are_apart(&self, member: usize, partition: usize) -> bool {
        self.of_member[member].is_some_and(|rack| !self.of_partition[partition].contains(rack))
    }

    /// Whether a member has a rack, and a replica of the partition is in it.
    pub(super) fn are_together(&self, member: usize, partition: usize) -> bool {
        self.of_member[member].is_some_and(|rack| self.of_partition[partition].contains(rack))
    }

    /// How many members are in the racks of a partition.
    pub(super) fn members_near(&self, partition: usize) -> usize {
        let racks = self.of_partition[partition].iter();
        racks.filter_map(|rack| self.members.get(rack.as_str())).sum()
    }
}
