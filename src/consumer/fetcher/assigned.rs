//! What the user, or the group on the user's behalf, wants read: which partitions, from where, which
//! of them not now, and how far each has come.
//!
//! It asks nobody anything. What was fetched, or is on its way, for another assignment or position
//! is dropped by the version that a partition gets with each change.

use std::collections::BTreeSet;

use super::Fetcher;
use crate::config::IsolationLevel;
use crate::consumer::subscription::{Leadership, Partition, Place, Position, StartAt};
use crate::types::{BrokerId, TopicPartition};

impl Fetcher {
    /// Makes these the assigned partitions. Those that are assigned already stay as they are, with
    /// position, buffer and pause; the others begin where they are told, and what is not named is
    /// given up. `lookup` tells what metadata knows.
    pub(crate) fn assign(
        &mut self,
        partitions: impl IntoIterator<Item = (TopicPartition, StartAt)>,
        lookup: impl Fn(&TopicPartition) -> Option<Leadership>,
    ) {
        let mut named = BTreeSet::new();
        for (name, start) in partitions {
            let slot = match self.index.get(&name) {
                Some(&slot) => slot,
                None => self.add(name, start.into(), &lookup),
            };
            named.insert(slot);
        }
        let gone: Vec<usize> =
            self.partitions.keys().copied().filter(|slot| !named.contains(slot)).collect();
        self.remove(&gone);
        let kept = self.partitions.iter_mut().filter(|(_, partition)| partition.revoking);
        let kept: Vec<usize> = kept
            .map(|(slot, partition)| {
                partition.revoking = false;
                *slot
            })
            .collect();
        for slot in kept {
            self.unpark(slot);
        }
    }

    /// As [`Fetcher::assign`], and those that stay start over from where they are told. If a
    /// partition is named twice, the last start holds.
    pub(crate) fn replace(
        &mut self,
        partitions: impl IntoIterator<Item = (TopicPartition, StartAt)>,
        lookup: impl Fn(&TopicPartition) -> Option<Leadership>,
    ) {
        let partitions: Vec<_> = partitions.into_iter().collect();
        self.assign(partitions.iter().cloned(), lookup);
        for (name, start) in partitions {
            self.seek(&name, start);
        }
    }

    /// Gives these up, and all that was fetched of them.
    pub(crate) fn unassign<'a>(
        &mut self,
        partitions: impl IntoIterator<Item = &'a TopicPartition>,
    ) {
        let gone = self.slots(partitions);
        self.remove(&gone);
    }

    /// The assigned partitions, in the order in which they were assigned.
    pub(crate) fn assignment(&self) -> impl Iterator<Item = &TopicPartition> {
        self.partitions.values().map(|partition| &*partition.name)
    }

    /// Whether a partition is assigned.
    pub(crate) fn is_assigned(&self, name: &TopicPartition) -> bool {
        self.index.contains_key(name)
    }

    /// Goes on from elsewhere; `false` if the partition is not assigned.
    pub(crate) fn seek(&mut self, name: &TopicPartition, place: impl Into<Place>) -> bool {
        let Some(&slot) = self.index.get(name) else { return false };
        let version = self.next_version();
        if let Some(partition) = self.partitions.get_mut(&slot) {
            partition.seek(version, place.into());
        }
        self.drop_waiting(&[slot]);
        true
    }

    /// Stops fetching partitions and handing them out, until [`Fetcher::resume`]. What is buffered is
    /// kept. Partitions that are not assigned are left out.
    pub(crate) fn pause<'a>(&mut self, partitions: impl IntoIterator<Item = &'a TopicPartition>) {
        for slot in self.slots(partitions) {
            if let Some(partition) = self.partitions.get_mut(&slot) {
                partition.paused = true;
            }
        }
    }

    /// Goes on with partitions that were paused, with what was buffered first.
    pub(crate) fn resume<'a>(&mut self, partitions: impl IntoIterator<Item = &'a TopicPartition>) {
        for slot in self.slots(partitions) {
            if let Some(partition) = self.partitions.get_mut(&slot) {
                partition.paused = false;
            }
            self.unpark(slot);
        }
    }

    /// The partitions that are paused.
    pub(crate) fn paused(&self) -> impl Iterator<Item = &TopicPartition> {
        let paused = self.partitions.values().filter(|partition| partition.paused);
        paused.map(|partition| &*partition.name)
    }

    /// Hands out nothing more of these, since they are about to be taken away: what were handed out
    /// now would be committed by nobody. Ends with [`Fetcher::assign`] for those that stay after all.
    pub(crate) fn mark_pending_revocation<'a>(
        &mut self,
        partitions: impl IntoIterator<Item = &'a TopicPartition>,
    ) {
        for slot in self.slots(partitions) {
            if let Some(partition) = self.partitions.get_mut(&slot) {
                partition.revoking = true;
            }
        }
    }

    /// The next offset to be handed out, and the epoch of the record before it; `None` if the
    /// partition is not assigned, or has to look it up yet.
    pub(crate) fn position(&self, name: &TopicPartition) -> Option<Position> {
        self.partitions.get(self.index.get(name)?)?.place.position()
    }

    /// The positions of all assigned partitions that have one: what a commit of all commits.
    pub(crate) fn positions(&self) -> impl Iterator<Item = (&TopicPartition, Position)> {
        self.partitions
            .values()
            .filter_map(|partition| Some((&*partition.name, partition.place.position()?)))
    }

    /// What may be read.
    pub(crate) fn isolation(&self) -> IsolationLevel {
        self.config.isolation
    }

    /// How many offsets there are from the position to the last one that can be read, as of the last
    /// answer of the broker; `None` as long as one of them is not known.
    pub(crate) fn current_lag(&self, name: &TopicPartition) -> Option<i64> {
        let partition = self.partitions.get(self.index.get(name)?)?;
        let end = partition.ends.end(self.config.isolation)?;
        Some(end.saturating_sub(partition.place.position()?.offset).max(0))
    }

    /// How many offsets there are from the first one that the log holds to the position, likewise.
    pub(crate) fn current_lead(&self, name: &TopicPartition) -> Option<i64> {
        let partition = self.partitions.get(self.index.get(name)?)?;
        let start = partition.ends.start?;
        Some(partition.place.position()?.offset.saturating_sub(start).max(0))
    }

    /// The assigned partitions, each with the replica that it is fetched from in place of the leader.
    pub(crate) fn sources(&self) -> impl Iterator<Item = (&TopicPartition, Option<BrokerId>)> {
        let node = |partition: &Partition| partition.preferred.map(|preferred| preferred.node);
        self.partitions.values().map(move |partition| (&*partition.name, node(partition)))
    }

    fn add(
        &mut self,
        name: TopicPartition,
        place: Place,
        lookup: &impl Fn(&TopicPartition) -> Option<Leadership>,
    ) -> usize {
        let version = self.next_version();
        self.last_slot += 1;
        let slot = self.last_slot;
        let mut partition = Partition::new(name, version, place);
        partition.leadership = lookup(&partition.name);
        // Where the user starts is a place in the topic as it is now.
        partition.seek(version, place);
        self.index.insert(partition.name.clone(), slot);
        self.partitions.insert(slot, partition);
        self.order.push(slot);
        slot
    }

    fn remove(&mut self, slots: &[usize]) {
        for slot in slots {
            if let Some(partition) = self.partitions.remove(slot) {
                self.index.remove(&partition.name);
            }
        }
        self.order.retain(|slot| self.partitions.contains_key(slot));
        self.drop_waiting(slots);
    }

    fn slots<'a>(&self, names: impl IntoIterator<Item = &'a TopicPartition>) -> Vec<usize> {
        names.into_iter().filter_map(|name| self.index.get(name)).copied().collect()
    }
}
