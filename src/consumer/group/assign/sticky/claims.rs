//! Who had which partition before, where members say different things of it.
//!
//! Members that missed a rebalance claim what others were given meanwhile; the generation tells
//! (KIP-341). Where that does not tell either, nobody is believed.

use std::collections::BTreeSet;

use super::numbered::Numbered;
use crate::types::TopicPartition;

/// What a member says it had, and in which generation, if it says that.
#[derive(Debug, Default)]
pub(in super::super) struct Claim {
    pub(in super::super) partitions: Vec<TopicPartition>,
    pub(in super::super) generation: Option<i32>,
}

/// Who had each partition.
pub(super) struct Previous {
    /// The member that has claimed it in the latest generation, if only one does.
    pub(super) owners: Vec<Option<usize>>,
    /// The member that had it before a member of the group's present generation got it.
    pub(super) before: Vec<Option<usize>>,
    /// Who claims it at all.
    pub(super) claimants: Vec<BTreeSet<usize>>,
}

/// The latest claims to a partition.
#[derive(Clone, Copy)]
struct Latest {
    generation: i32,
    member: usize,
    disputed: bool,
    /// The generation and the member of the latest claim from an earlier generation.
    earlier: Option<(i32, usize)>,
}

impl Previous {
    /// Weighs claims, one for each member. Partitions that nobody wants any more do not count.
    pub(super) fn of(group: &Numbered<'_>, claims: &[Claim]) -> Self {
        let mut latest: Vec<Option<Latest>> = vec![None; group.partition_count()];
        let mut claimants = vec![BTreeSet::new(); group.partition_count()];
        let mut present = -1;
        for (claim, member) in claims.iter().zip(0..) {
            let generation = claim.generation.unwrap_or(-1);
            present = present.max(generation);
            for partition in claim.partitions.iter().filter_map(|name| group.number(name)) {
                if claimants[partition].insert(member) {
                    let latest = &mut latest[partition];
                    *latest = Some(Latest::with(*latest, generation, member));
                }
            }
        }
        let owner = |latest: Latest| (!latest.disputed).then_some(latest.member);
        let before = |latest: Latest| {
            let (_, member) = latest.earlier.filter(|_| latest.generation == present)?;
            Some(member)
        };
        Self {
            owners: latest.iter().map(|latest| latest.and_then(owner)).collect(),
            before: latest.iter().map(|latest| latest.and_then(before)).collect(),
            claimants,
        }
    }

    /// Whether a member cannot have a partition before another has given it up.
    pub(super) fn has_to_wait(&self, member: usize, partition: usize) -> bool {
        self.owners[partition] != Some(member)
            && self.claimants[partition].iter().any(|claimant| *claimant != member)
    }
}

impl Latest {
    fn with(latest: Option<Self>, generation: i32, member: usize) -> Self {
        let new = Self { generation, member, disputed: false, earlier: None };
        let Some(old) = latest else { return new };
        if generation > old.generation {
            return Self { earlier: Some((old.generation, old.member)), ..new };
        }
        if generation == old.generation {
            return Self { disputed: true, ..old };
        }
        let sooner = old.earlier.is_none_or(|(earlier, _)| generation > earlier);
        Self { earlier: if sooner { Some((generation, member)) } else { old.earlier }, ..old }
    }
}
