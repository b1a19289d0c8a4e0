//! `sticky`: as even as can be, and then as before as can be. Also what `cooperative-sticky` is made
//! of.
//!
//! | file | what it decides |
//! |---|---|
//! | `numbered` | nothing: members, topics and partitions by number |
//! | `claims` | who had which partition, where members disagree |
//! | `racks` | who is in which rack (KIP-881) |
//! | `even` | the assignment, if all members want the same topics |
//! | `general` | the assignment otherwise |
//!
//! What is done with partitions that change hands is not known here.

mod claims;
mod even;
mod general;
mod numbered;
mod racks;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Assignment, Assignor, ClusterTopics, MemberSubscription};
use crate::protocol::consumer_protocol::{StickyUserData, by_topic, one_by_one};
use crate::types::{ConsumerGroupMetadata, TopicPartition};
use claims::Previous;
use numbered::Numbered;
use racks::Racks;

pub(super) use claims::Claim;

/// Keeps what members have, and shares out the rest as evenly as can be (Kafka's `StickyAssignor`,
/// KIP-54).
///
/// If all members want the same topics, their counts differ by at most one. Otherwise a member that
/// has at least two partitions fewer than another could take none of those over. As long as that
/// allows, a partition stays where it was.
///
/// Members keep what they had in mind themselves and tell the leader, with the generation (KIP-341), in
/// the bytes of Java's assignor; so groups of both kinds stay sticky. They give up everything while
/// they join; see [`CooperativeStickyAssignor`](super::CooperativeStickyAssignor) for one that does
/// not need to. Where racks are told, a member that has partitions outside of its rack may lose them to
/// one in it (KIP-881).
#[derive(Debug, Default)]
pub struct StickyAssignor {
    last: Mutex<Option<Last>>,
}

/// What the member was assigned last.
#[derive(Debug)]
struct Last {
    partitions: Vec<TopicPartition>,
    generation: i32,
}

impl StickyAssignor {
    /// An assignor for one consumer, which was assigned nothing yet.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Assignor for StickyAssignor {
    fn name(&self) -> &str {
        "sticky"
    }

    fn subscription_user_data(&self, _topics: &BTreeSet<String>) -> Option<Bytes> {
        let last = self.last.lock();
        let Last { partitions, generation } = last.as_ref()?;
        let previous_assignment = by_topic(partitions);
        // It cannot be too long to be written: it was read.
        StickyUserData { previous_assignment, generation: *generation }.to_bytes().ok()
    }

    fn assign(
        &self,
        cluster: &ClusterTopics,
        subscriptions: &BTreeMap<String, MemberSubscription>,
    ) -> BTreeMap<String, Assignment> {
        assign(cluster, subscriptions, told, Aim::Near).assignments()
    }

    fn on_assignment(&self, assignment: &Assignment, metadata: &ConsumerGroupMetadata) {
        let partitions = assignment.partitions.clone();
        *self.last.lock() = Some(Last { partitions, generation: metadata.generation_id });
    }
}

/// What a member had, as it is told in its user data; nothing, if that is not to be read.
fn told(subscription: &MemberSubscription) -> Claim {
    let data = subscription.user_data.as_ref().filter(|data| !data.is_empty());
    match data.map(StickyUserData::from_bytes) {
        Some(Ok((data, generation))) => {
            Claim { partitions: one_by_one(&data.previous_assignment), generation }
        }
        Some(Err(_)) | None => Claim::default(),
    }
}

/// What an assignment is to achieve, beside that it is balanced and keeps what can be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aim {
    /// Members read from their own rack if they can: what is far from its owner may be given to a
    /// member near to it. As in Java.
    Near,
    /// A group that assigns in steps comes to rest: what is far stays, and what nobody has is spread so
    /// that as little else as possible has to move.
    Rest,
}

/// Assigns, given what each member claims to have had.
pub(super) fn assign<'a>(
    cluster: &'a ClusterTopics,
    subscriptions: &'a BTreeMap<String, MemberSubscription>,
    claim: impl Fn(&MemberSubscription) -> Claim,
    aim: Aim,
) -> Assigned<'a> {
    let group = Numbered::new(cluster, subscriptions);
    let claims: Vec<_> = subscriptions.values().map(claim).collect();
    let previous = Previous::of(&group, &claims);
    let racks = Racks::of(&group, cluster, subscriptions);
    let mut wants = subscriptions.values().map(|subscription| &subscription.topics);
    let first = wants.next();
    let owners = if wants.all(|topics| Some(topics) == first) {
        even::assign(&group, &previous.owners, racks.as_ref(), aim)
    } else {
        general::assign(&group, &previous, racks.as_ref(), aim)
    };
    Assigned { group, previous, owners }
}

/// What came out: the member that each partition goes to.
pub(super) struct Assigned<'a> {
    group: Numbered<'a>,
    previous: Previous,
    owners: Vec<Option<usize>>,
}

impl Assigned<'_> {
    /// Whether no member has to give up anything.
    pub(super) fn is_at_rest(&self) -> bool {
        let mut partitions = self.previous.claimants.iter().zip(&self.owners);
        partitions.all(|(claimants, owner)| claimants.iter().all(|member| Some(*member) == *owner))
    }

    pub(super) fn assignments(&self) -> BTreeMap<String, Assignment> {
        let members = self.group.members();
        let mut assignments: BTreeMap<_, _> =
            members.map(|member| (member.to_owned(), Assignment::default())).collect();
        for (partition, owner) in self.owners.iter().enumerate() {
            let Some(member) = owner else { continue };
            let member = self.group.member(*member).to_owned();
            let partition = self.group.partition(partition);
            assignments.entry(member).or_default().partitions.push(partition);
        }
        assignments
    }

    /// Takes away again what another member has not given up yet. A claim that a later generation
    /// has overruled does not count against the member that has it from there.
    pub(super) fn withhold_owned(&mut self) {
        for (partition, owner) in self.owners.iter_mut().enumerate() {
            if owner.is_some_and(|member| self.previous.has_to_wait(member, partition)) {
                *owner = None;
            }
        }
    }
}
