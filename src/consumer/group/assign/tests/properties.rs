//! What holds for every group.

use super::*;
use crate::time::{Duration, Instant};
use fastrand::Rng;
use proptest::prelude::*;

/// Some topics, and members that want some of them or all.
struct Group {
    cluster: ClusterTopics,
    members: Members,
    rng: Rng,
    same_topics: bool,
    racks: bool,
}

impl Group {
    fn random(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let counts: Vec<_> =
            (0..rng.usize(1..6)).map(|n| format!("t{n}:{}", rng.usize(..9))).collect();
        let racks = rng.u8(..3) == 0;
        let cluster = match racks {
            true => racked(&counts.join(" "), rng.usize(1..3), "r0 r1 r2"),
            false => cluster(&counts.join(" ")),
        };
        let same_topics = rng.bool();
        let mut group = Self { cluster, members: Members::new(), rng, same_topics, racks };
        for _ in 0..group.rng.usize(1..8) {
            group.join();
        }
        group
    }

    fn join(&mut self) -> String {
        let Self { rng, members, .. } = self;
        let id = format!("m{}", rng.u16(..));
        let mut member = MemberSubscription::new(
            (0..6).map(|n| format!("t{n}")).filter(|_| self.same_topics || rng.bool()),
        );
        member.group_instance_id = (rng.u8(..4) == 0).then(|| format!("i{}", rng.u16(..)));
        member.rack_id = (self.racks && rng.u8(..5) > 0).then(|| format!("r{}", rng.u8(..4)));
        members.insert(id.clone(), member);
        id
    }

    /// Checks what an assignor gives, and has the members go on with it.
    fn rebalance(&mut self, assignor: &dyn Assignor) -> Assignments {
        let assignments = settle(assignor, &self.cluster, &self.members);
        check_complete(&self.cluster, &self.members, &assignments);
        self.members = next(&self.members, &assignments);
        assignments
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_assignment_is_complete_and_always_the_same(seed: u64) {
        for assignor in assignors() {
            let mut group = Group::random(seed);
            let again = settle(&*assignor, &group.cluster, &group.members);
            prop_assert_eq!(group.rebalance(&*assignor), again);
        }
    }

    /// Whoever has a partition could not rather give it to one with at least two fewer.
    #[test]
    fn sticky_assignments_are_balanced_through_joins_and_departures(seed: u64) {
        for assignor in sticky_ones() {
            let mut group = Group::random(seed);
            for _ in 0..4 {
                let assignments = group.rebalance(&*assignor);
                check_balanced(&group.members, &assignments);
                if group.rng.bool() {
                    group.join();
                } else if group.members.len() > 1 {
                    let leaving = group.rng.usize(..group.members.len());
                    let id = group.members.keys().nth(leaving).cloned().expect("counted");
                    group.members.remove(&id);
                }
            }
        }
    }

    #[test]
    fn round_robin_and_range_are_even(seed: u64) {
        let mut group = Group::random(seed);
        let topics: Vec<_> = group.cluster.topics().map(|(name, _)| name.to_owned()).collect();
        let range = group.rebalance(&RangeAssignor);
        for topic in topics {
            let counts = range.iter().filter(|(id, _)| group.members[*id].topics.contains(&topic));
            let counts = counts.map(|(_, given)| {
                given.partitions.iter().filter(|partition| partition.topic == topic).count()
            });
            let (least, most) = (counts.clone().min(), counts.max());
            prop_assert!(most.is_none_or(|most| most <= least.unwrap_or(0) + 1));
        }
        let in_turn = group.rebalance(&RoundRobinAssignor);
        let counts = check_complete(&group.cluster, &group.members, &in_turn);
        if group.same_topics {
            let (least, most) = (counts.values().min(), counts.values().max());
            prop_assert!(most <= least.map(|least| least + 1).as_ref());
        }
    }

    /// Without racks, nothing moves for nothing.
    #[test]
    fn sticky_moves_no_more_than_it_has_to(seed: u64) {
        for assignor in sticky_ones() {
            let mut group = Group::random(seed);
            if group.racks {
                continue;
            }
            let before = group.rebalance(&*assignor);
            prop_assert_eq!(&group.rebalance(&*assignor), &before, "nobody came or left");
            let joined = group.join();
            let after = group.rebalance(&*assignor);
            if group.same_topics {
                prop_assert_eq!(moved(&before, &after), after[&joined].partitions.len());
                group.members.remove(&joined);
                let left = group.rebalance(&*assignor);
                prop_assert_eq!(moved(&after, &left), 0, "the others lose nothing");
            }
        }
    }

    /// Stale claims, claims to what is not there, and claims of two to the same.
    #[test]
    fn wild_claims_do_no_harm(seed: u64) {
        for assignor in sticky_ones() {
            let mut group = Group::random(seed);
            for member in group.members.values_mut() {
                let rng = &mut group.rng;
                let claims = (0..rng.usize(..12))
                    .map(|_| TopicPartition::new(format!("t{}", rng.u8(..7)), rng.i32(-1..10)));
                let claims = claims.collect();
                hold(member, claims, rng.i32(-1..4));
            }
            let assignments = group.rebalance(&*assignor);
            check_balanced(&group.members, &assignments);
        }
    }
}

/// 100 members and 10,000 partitions: at first, and when all of them are with one member.
#[test]
fn large_groups_are_assigned_in_time() {
    // Members that want the same, that want most topics, and that share nothing but one large topic.
    for (topics, skipped) in [(100, 0), (100, 7), (1, 0), (1, 1)] {
        let names = || (0..topics).map(|n| format!("topic-{n}"));
        let own = (0..100).map(|n| (format!("own-{n}"), 1));
        let counts = names().map(|topic| (topic, 10_000 / topics)).chain(own);
        let cluster = ClusterTopics::from_counts(counts);
        let member = |n: usize| {
            let wants = names()
                .enumerate()
                .filter(|(topic, _)| skipped <= 1 || !(topic + n).is_multiple_of(skipped));
            let own = (skipped == 1).then(|| format!("own-{n}"));
            MemberSubscription::new(wants.map(|(_, topic)| topic).chain(own))
        };
        let fresh: Members = (0..100).map(|n| (format!("m{n:02}"), member(n))).collect();
        let mut one_has_all = fresh.clone();
        let mut first = one_has_all.first_entry().expect("100 of them");
        let all = first.get().topics.iter().flat_map(|topic| cluster.partitions(topic)).collect();
        hold(first.get_mut(), all, 1);
        for members in [fresh, one_has_all] {
            for assignor in assignors() {
                let start = Instant::now();
                let assignments = assignor.assign(&cluster, &members);
                let (took, name) = (start.elapsed(), assignor.name());
                let limit = Duration::from_secs(5);
                assert!(took < limit, "{name} took {took:?} for {topics} topics, {skipped}");
                if assignor.supported_protocols() == [RebalanceProtocol::Eager] {
                    check_complete(&cluster, &members, &assignments);
                }
            }
        }
    }
}
