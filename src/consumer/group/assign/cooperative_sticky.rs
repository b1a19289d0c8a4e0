//! `cooperative-sticky`: assigns as `sticky` does, in two steps where a partition changes hands.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI32, Ordering};

use bytes::Bytes;

use super::sticky::{self, Aim, Assigned, Claim};
use super::{Assignment, Assignor, ClusterTopics, MemberSubscription, RebalanceProtocol};
use crate::types::ConsumerGroupMetadata;

/// Assigns as [`StickyAssignor`](super::StickyAssignor) does, without that members stop reading while
/// the group rebalances (Kafka's `CooperativeStickyAssignor`, KIP-429).
///
/// A partition that another member still owns is left out of the assignment. Its owner sees that it
/// is not assigned it any more, gives it up and joins again; the rebalance that follows assigns it.
///
/// Where racks are told, partitions move nearer to members only if the group then comes to rest within
/// a few rebalances.
///
/// It can be used with [`RebalanceProtocol::Eager`] too, for the time in which a group changes over from
/// another assignor: first all members get both, then the other is taken away.
#[derive(Debug)]
pub struct CooperativeStickyAssignor {
    /// The generation of the last assignment; -1 before there was any.
    generation: AtomicI32,
}

impl CooperativeStickyAssignor {
    /// An assignor for one consumer, which was assigned nothing yet.
    pub fn new() -> Self {
        Self { generation: AtomicI32::new(-1) }
    }
}

impl Default for CooperativeStickyAssignor {
    fn default() -> Self {
        Self::new()
    }
}

impl Assignor for CooperativeStickyAssignor {
    fn name(&self) -> &str {
        "cooperative-sticky"
    }

    fn supported_protocols(&self) -> &[RebalanceProtocol] {
        &[RebalanceProtocol::Cooperative, RebalanceProtocol::Eager]
    }

    /// The generation, for leaders that do not find it in the subscription.
    fn subscription_user_data(&self, _topics: &BTreeSet<String>) -> Option<Bytes> {
        let generation = self.generation.load(Ordering::Relaxed);
        Some(Bytes::copy_from_slice(&generation.to_be_bytes()))
    }

    fn assign(
        &self,
        cluster: &ClusterTopics,
        subscriptions: &BTreeMap<String, MemberSubscription>,
    ) -> BTreeMap<String, Assignment> {
        let near = step(cluster, subscriptions, Aim::Near);
        if near.is_at_rest() || comes_to_rest(cluster, subscriptions, &near) {
            return near.assignments();
        }
        step(cluster, subscriptions, Aim::Rest).assignments()
    }

    fn on_assignment(&self, _assignment: &Assignment, metadata: &ConsumerGroupMetadata) {
        self.generation.store(metadata.generation_id, Ordering::Relaxed);
    }
}

/// How many rebalances may follow each other before an assignment stays as it is.
const FOLLOWING: u32 = 3;

/// The assignment of one rebalance, without what others still own.
fn step<'a>(
    cluster: &'a ClusterTopics,
    subscriptions: &'a BTreeMap<String, MemberSubscription>,
    aim: Aim,
) -> Assigned<'a> {
    let mut assigned = sticky::assign(cluster, subscriptions, owned, aim);
    assigned.withhold_owned();
    assigned
}

/// Whether the rebalances that follow an assignment come to an end. Not all do: what one gives to a
/// member that is nearer, or has less, the next may take back to make counts even, which a group of
/// Java's goes on with for ever.
fn comes_to_rest(
    cluster: &ClusterTopics,
    subscriptions: &BTreeMap<String, MemberSubscription>,
    assigned: &Assigned<'_>,
) -> bool {
    let mut members = subscriptions.clone();
    let mut assignments = assigned.assignments();
    let generation = members.values().filter_map(|member| member.generation_id).max().unwrap_or(0);
    for later in 1..=FOLLOWING {
        for (id, assignment) in assignments {
            if let Some(member) = members.get_mut(&id) {
                member.owned_partitions = assignment.partitions;
                member.generation_id = Some(generation.saturating_add_unsigned(later));
            }
        }
        let assigned = step(cluster, &members, Aim::Near);
        if assigned.is_at_rest() {
            return true;
        }
        assignments = assigned.assignments();
    }
    false
}

/// What a member owns. Members before the third version of the subscription tell the generation in
/// their user data.
fn owned(subscription: &MemberSubscription) -> Claim {
    let in_user_data = || {
        let data = subscription.user_data.as_ref()?;
        data.first_chunk().copied().map(i32::from_be_bytes)
    };
    Claim {
        partitions: subscription.owned_partitions.clone(),
        generation: subscription.generation_id.or_else(in_user_data),
    }
}
