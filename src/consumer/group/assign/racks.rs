//! When it pays to look at racks (KIP-881).

use std::collections::BTreeSet;

/// Whether members may be matched with replicas in their racks: some member has a rack that some
/// replica has too, and not every partition has replicas in all of the racks.
pub(super) fn are_worth_matching<'a>(
    of_members: impl IntoIterator<Item = &'a str>,
    of_partitions: impl Iterator<Item = &'a BTreeSet<String>> + Clone,
) -> bool {
    let all: BTreeSet<_> = of_partitions.clone().flatten().map(String::as_str).collect();
    let shared = of_members.into_iter().any(|rack| all.contains(rack));
    shared && !of_partitions.map(BTreeSet::len).all(|racks| racks == all.len())
}
