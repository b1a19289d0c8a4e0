//! The order in which members have their turn.

use std::collections::BTreeMap;

use super::MemberSubscription;

/// Static members first, in order of `group.instance.id`, which outlives their member ids (KIP-345);
/// then the others, in order of member id.
pub(super) fn in_turn(
    subscriptions: &BTreeMap<String, MemberSubscription>,
) -> Vec<(&String, &MemberSubscription)> {
    let mut members: Vec<_> = subscriptions.iter().collect();
    members.sort_by_key(|(_, wants)| {
        let instance = wants.group_instance_id.as_deref();
        (instance.is_none(), instance)
    });
    members
}
