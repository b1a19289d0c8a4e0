//! Our assignors beside Java's, on groups drawn at random: the same where Java's depend on nothing but the group, and
//! otherwise as balanced, with as few moves.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use milena::TopicPartition;
use milena::assignor::{
    Assignment, Assignor, ClusterTopics, CooperativeStickyAssignor, MemberSubscription,
    RangeAssignor, RoundRobinAssignor, StickyAssignor,
};
use milena::protocol::consumer_protocol::{StickyUserData, by_topic, one_by_one};

use crate::runner::Kafka;

tests![same_assignments[since(4, 0)], same_user_data];

const GROUPS: u64 = 400;

type Members = BTreeMap<String, MemberSubscription>;
type Assignments = BTreeMap<String, Assignment>;

/// Where members want the same, which of them keep one more than others depends in Java on the order of a hash table.
/// With racks that makes a difference to what follows, so there only the sum over all groups is held against Java's.
async fn same_assignments(kafka: Kafka) {
    let (mut our_moves, mut java_moves) = (0, 0);
    for seed in 0..GROUPS {
        let mut rng = Rng::with_seed(seed);
        let racks = rng.u8(..3) == 0;
        let cluster = random_topics(&mut rng, racks);
        let same_topics = rng.bool();
        let mut members = Members::new();
        for _ in 0..rng.usize(1..12) {
            join(&mut members, &mut rng, same_topics, racks);
        }
        for assignor in [&RangeAssignor as &dyn Assignor, &RoundRobinAssignor] {
            let ours = assignor.assign(&cluster, &members);
            let java = kafka.oracle().assign(assignor.name(), &cluster, &members).await.unwrap();
            assert_eq!(sets(&ours), sets(&java), "seed {seed}, {}", assignor.name());
        }
        let sticky = [&StickyAssignor::new() as &dyn Assignor, &CooperativeStickyAssignor::new()];
        for assignor in sticky {
            let mut members = members.clone();
            for round in 0..3 {
                let ours = assignor.assign(&cluster, &members);
                let java = kafka.oracle().assign(assignor.name(), &cluster, &members).await;
                let java = java.unwrap();
                let case = format!("seed {seed}, {} in round {round}", assignor.name());
                if round == 0 || !same_topics && !racks {
                    assert_eq!(sets(&ours), sets(&java), "{case}");
                }
                let moves = (lost(&members, &ours), lost(&members, &java));
                if racks {
                    our_moves += moves.0;
                    java_moves += moves.1;
                } else {
                    assert_eq!(moves.0, moves.1, "{case}");
                }
                if assignor.name() == "sticky" || !racks {
                    assert_eq!(unevenness(&ours), unevenness(&java), "{case}");
                }
                hold(&mut members, &ours);
                if rng.bool() {
                    join(&mut members, &mut rng, same_topics, racks);
                } else if members.len() > 1 {
                    let leaving = members.keys().nth(rng.usize(..members.len())).cloned();
                    members.remove(&leaving.unwrap());
                }
            }
        }
    }
    assert!(our_moves * 100 <= java_moves * 101, "{our_moves} beside Java's {java_moves}");
}

/// Members of both kinds understand what the other says it had.
async fn same_user_data(kafka: Kafka) {
    let partitions = |topics: &[&str]| {
        let all =
            topics.iter().flat_map(|topic| (0..3).map(|n| TopicPartition::new(*topic, 2 - n)));
        Assignment::new(all.collect())
    };
    for assignment in [partitions(&[]), partitions(&["one"])] {
        let previous_assignment = by_topic(&assignment.partitions);
        let ours = StickyUserData { previous_assignment, generation: 7 }.to_bytes().unwrap();
        let java = kafka.oracle().sticky_user_data(7, &assignment).await.unwrap();
        assert_eq!(ours, java);
    }
    // The order of topics is that of a hash table.
    let assignment = partitions(&["one", "two", "three", "four"]);
    let java = kafka.oracle().sticky_user_data(7, &assignment).await.unwrap();
    let (read, generation) = StickyUserData::from_bytes(&java.into()).unwrap();
    let mut read = one_by_one(&read.previous_assignment);
    let mut expected = assignment.partitions;
    read.sort();
    expected.sort();
    assert_eq!((read, generation), (expected, Some(7)));
}

fn random_topics(rng: &mut Rng, racks: bool) -> ClusterTopics {
    let mut cluster = ClusterTopics::new();
    for topic in 0..rng.usize(1..7) {
        let replicas = if racks { rng.usize(1..3) } else { 0 };
        // Topics as large as others are cut alike.
        let count = if rng.bool() { 6 } else { rng.usize(..12) };
        let partition = |_| (0..replicas).map(|_| format!("r{}", rng.u8(..3))).collect();
        cluster.insert(format!("t{topic}"), (0..count).map(partition).collect());
    }
    cluster
}

fn join(members: &mut Members, rng: &mut Rng, same_topics: bool, racks: bool) {
    let wanted = (0..7).filter(|_| same_topics || rng.u8(..3) > 0).map(|topic| format!("t{topic}"));
    let mut member = MemberSubscription::new(wanted.collect::<Vec<_>>());
    member.group_instance_id = (rng.u8(..3) == 0).then(|| format!("i{}", rng.u16(..)));
    member.rack_id = (racks && rng.u8(..5) > 0).then(|| format!("r{}", rng.u8(..4)));
    members.insert(format!("m{}", rng.u16(..)), member);
}

/// What members say when they join the next time.
fn hold(members: &mut Members, assignments: &Assignments) {
    for (id, member) in members {
        let generation = member.generation_id.map_or(1, |generation| generation + 1);
        let partitions = assignments[id].partitions.clone();
        let data = StickyUserData { previous_assignment: by_topic(&partitions), generation };
        member.user_data = Some(data.to_bytes().unwrap());
        member.owned_partitions = partitions;
        member.generation_id = Some(generation);
    }
}

fn sets(assignments: &Assignments) -> BTreeMap<&str, BTreeSet<&TopicPartition>> {
    let sets = assignments.iter();
    sets.map(|(id, given)| (id.as_str(), given.partitions.iter().collect())).collect()
}

/// How uneven an assignment is, as Java measures it: the differences of all pairs of counts, added up.
fn unevenness(assignments: &Assignments) -> usize {
    let counts: Vec<_> = assignments.values().map(|given| given.partitions.len()).collect();
    counts.iter().flat_map(|a| counts.iter().map(|b| a.abs_diff(*b))).sum()
}

/// How many partitions members lose by an assignment.
fn lost(members: &Members, assignments: &Assignments) -> usize {
    let lost = |(id, member): (&String, &MemberSubscription)| {
        let kept: BTreeSet<_> = assignments[id].partitions.iter().collect();
        member.owned_partitions.iter().filter(|had| !kept.contains(had)).count()
    };
    members.iter().map(lost).sum()
}
