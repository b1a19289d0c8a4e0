//! What the tests of all assignors share: groups in a few words.

mod properties;
mod tables;

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::protocol::consumer_protocol::StickyUserData;

type Members = BTreeMap<String, MemberSubscription>;
type Assignments = BTreeMap<String, Assignment>;

/// The generation of what members had, unless a test says otherwise.
const GENERATION: i32 = 5;

fn assignors() -> [Box<dyn Assignor>; 4] {
    [
        Box::new(RangeAssignor),
        Box::new(RoundRobinAssignor),
        Box::new(StickyAssignor::new()),
        Box::new(CooperativeStickyAssignor::new()),
    ]
}

fn sticky_ones() -> [Box<dyn Assignor>; 2] {
    [Box::new(StickyAssignor::new()), Box::new(CooperativeStickyAssignor::new())]
}

/// `"t1:3 t2:2"`.
fn cluster(topics: &str) -> ClusterTopics {
    ClusterTopics::from_counts(topics.split_whitespace().map(|topic| {
        let (name, count) = topic.split_once(':').expect("name:count");
        (name, count.parse().expect("a count"))
    }))
}

/// The same with so many replicas of each partition, on brokers in turn, one in each of `racks`.
fn racked(topics: &str, replicas: usize, racks: &str) -> ClusterTopics {
    let racks: Vec<_> = racks.split_whitespace().collect();
    let (mut racked, mut next) = (ClusterTopics::new(), 0);
    for (topic, count) in cluster(topics).topics() {
        let rack = |broker: usize| racks[broker % racks.len()].to_owned();
        let of = |n| (n..n + replicas).map(rack).collect();
        racked.insert(topic, (next..next + count).map(of).collect());
        next += count;
    }
    racked
}

/// One for each line: `id[#instance][@rack] [generation]: topics [< partitions it had]`.
fn members(lines: &[&str]) -> Members {
    lines.iter().map(|line| member(line)).collect()
}

fn member(line: &str) -> (String, MemberSubscription) {
    let (who, what) = line.split_once(':').expect("who: what");
    let (topics, had) = what.split_once('<').unwrap_or((what, ""));
    let (who, generation) = who.split_once(' ').unwrap_or((who, ""));
    let (who, rack) = who.split_once('@').unwrap_or((who, ""));
    let (id, instance) = who.split_once('#').unwrap_or((who, ""));
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let mut member = MemberSubscription {
        rack_id: some(rack),
        group_instance_id: some(instance),
        ..MemberSubscription::new(topics.split_whitespace())
    };
    if what.contains('<') {
        hold(&mut member, partitions(had), generation.parse().unwrap_or(GENERATION));
    }
    (id.to_owned(), member)
}

/// Has the member say, in the ways of both sticky assignors, what it had.
fn hold(member: &mut MemberSubscription, had: Vec<TopicPartition>, generation: i32) {
    let data = StickyUserData { previous_assignment: by_topic(&had), generation };
    member.user_data = Some(data.to_bytes().expect("short names"));
    member.generation_id = (generation >= 0).then_some(generation);
    member.owned_partitions = had;
}

/// `"t1-0 t1-1"`.
fn partitions(list: &str) -> Vec<TopicPartition> {
    let partition = |name: &str| {
        let (topic, number) = name.rsplit_once('-').expect("topic-number");
        TopicPartition::new(topic, number.parse().expect("a number"))
    };
    list.split_whitespace().map(partition).collect()
}

/// What each member gets, in order of member id, as [`partitions`] reads it.
fn shown(assignments: &Assignments) -> Vec<String> {
    let show = |assignment: &Assignment| {
        let mut partitions = assignment.partitions.clone();
        partitions.sort();
        partitions.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    assignments.values().map(show).collect()
}

/// What members say when they join the next time: what they were assigned.
fn next(members: &Members, assignments: &Assignments) -> Members {
    let mut members = members.clone();
    for (id, member) in &mut members {
        let had = assignments.get(id).map_or(Vec::new(), |given| given.partitions.clone());
        hold(member, had, member.generation_id.unwrap_or(GENERATION) + 1);
    }
    members
}

/// How many it may take to settle. What is withheld is remembered nowhere, so that with racks the next
/// plan may be another one: of 600,000 random groups none took more than five.
const ROUNDS: usize = 10;

/// Assigns until nobody has to give anything up, as a group does, and checks that no partition is
/// with two members meanwhile.
fn settle(assignor: &dyn Assignor, cluster: &ClusterTopics, members: &Members) -> Assignments {
    let mut members = members.clone();
    for _ in 0..ROUNDS {
        let assignments = assignor.assign(cluster, &members);
        if !assignor.supported_protocols().contains(&RebalanceProtocol::Cooperative) {
            return assignments;
        }
        let lost = |(id, member): (&String, &MemberSubscription)| {
            let kept: BTreeSet<_> = assignments[id].partitions.iter().collect();
            let had = member.owned_partitions.iter();
            had.filter(|partition| !kept.contains(partition)).cloned().collect::<Vec<_>>()
        };
        let lost: BTreeSet<_> = members.iter().flat_map(lost).collect();
        if lost.is_empty() {
            return assignments;
        }
        for (id, given) in &assignments {
            let had: BTreeSet<_> = members[id].owned_partitions.iter().collect();
            let both = given.partitions.iter().find(|new| !had.contains(new) && lost.contains(new));
            assert_eq!(both, None, "{id} gets what another still has\n{members:?}");
        }
        members = next(&members, &assignments);
    }
    panic!("{} does not settle\n{members:?}", assignor.name());
}

/// Checks that each partition that somebody wants is with one of those, and returns how many each
/// member has.
fn check_complete(
    cluster: &ClusterTopics,
    members: &Members,
    assignments: &Assignments,
) -> BTreeMap<String, usize> {
    assert!(assignments.keys().eq(members.keys()), "not the members: {assignments:?}");
    let mut left: BTreeSet<_> = cluster
        .topics()
        .filter(|(topic, _)| members.values().any(|member| member.topics.contains(*topic)))
        .flat_map(|(topic, _)| cluster.partitions(topic))
        .collect();
    for (id, assignment) in assignments {
        for partition in &assignment.partitions {
            assert!(members[id].topics.contains(&partition.topic), "{id} gets {partition}");
            assert!(left.remove(partition), "{partition} is there twice, or not at all");
        }
    }
    assert!(left.is_empty(), "nobody gets {left:?}");
    assignments.iter().map(|(id, given)| (id.clone(), given.partitions.len())).collect()
}

/// Checks that no member could take over a partition from one with two more.
fn check_balanced(members: &Members, assignments: &Assignments) {
    for (id, owner) in assignments {
        for partition in &owner.partitions {
            let better = assignments.iter().find(|(other, given)| {
                members[*other].topics.contains(&partition.topic)
                    && given.partitions.len() + 1 < owner.partitions.len()
            });
            assert!(better.is_none(), "{partition} should not be {id}'s: {:?}", shown(assignments));
        }
    }
}

/// The partitions that were with one member, and are with another though it is still there.
fn moved(before: &Assignments, after: &Assignments) -> usize {
    let lost = |(id, had): (&String, &Assignment)| {
        let now: BTreeSet<_> = match after.get(id) {
            Some(given) => given.partitions.iter().collect(),
            None => return 0,
        };
        had.partitions.iter().filter(|partition| !now.contains(partition)).count()
    };
    before.iter().map(lost).sum()
}

#[test]
fn subscriptions_and_assignments_cross_the_wire() {
    let owned = ["b-1", "a-0", "b-0"]
        .map(|name| TopicPartition::new(&name[..1], name[2..].parse().unwrap()));
    let mut subscription = MemberSubscription {
        user_data: Some(Bytes::from_static(b"data")),
        owned_partitions: owned.to_vec(),
        generation_id: Some(3),
        rack_id: Some("rack".into()),
        ..MemberSubscription::new(["b", "a"])
    };
    let bytes = ConsumerProtocolSubscription::from(&subscription).to_bytes().unwrap();
    let back = ConsumerProtocolSubscription::from_bytes(bytes).unwrap();
    assert_eq!(back.topics, ["a", "b"]);
    subscription.owned_partitions.sort();
    assert_eq!(MemberSubscription::from(back), subscription);

    let assignment = Assignment::new(owned.to_vec()).with_user_data(Bytes::from_static(b"x"));
    let bytes = ConsumerProtocolAssignment::from(&assignment).to_bytes().unwrap();
    let back = Assignment::from(ConsumerProtocolAssignment::from_bytes(bytes).unwrap());
    assert_eq!(back.user_data, assignment.user_data);
    // Topics stand together.
    let names: Vec<_> = back.partitions.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["b-1", "b-0", "a-0"]);
}

/// Java takes these for what they are not there to say.
#[test]
fn a_rack_without_a_name_and_a_generation_below_0_are_none() {
    let wire = ConsumerProtocolSubscription { rack_id: Some(String::new()), ..Default::default() };
    assert_eq!(MemberSubscription::from(wire), MemberSubscription::default());
}

#[test]
fn a_topic_without_partitions_is_unknown() {
    let cluster = ClusterTopics::from_counts([("b", 1), ("a", 2), ("none", 0)]);
    assert_eq!(cluster.topics().collect::<Vec<_>>(), [("a", 2), ("b", 1)]);
    assert_eq!((cluster.partition_count("a"), cluster.partition_count("other")), (2, 0));
    assert_eq!(cluster.partitions("b").collect::<Vec<_>>(), [TopicPartition::new("b", 0)]);
    assert_eq!(cluster.racks("other"), []);
}
