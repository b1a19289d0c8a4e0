//! What an answer changes in the snapshot, and what of it is not believed: older epochs, leaders
//! that are no brokers, partitions that went away, numbers and names that cannot be. By chance at
//! the end: no series of answers leads back.

use super::*;
use crate::client::metadata::Trouble;
use crate::client::metadata::merge::NoBrokers;
use crate::error::ErrorCode;

fn failing(error_code: ErrorCode) -> MetadataResponseTopic {
    MetadataResponseTopic { error_code, ..topic(vec![]) }
}

#[test]
fn an_older_epoch_is_not_believed() {
    let mut world = World::new();
    world.answer(topic(vec![partition(0, 1, 5), partition(1, 2, 5)]));
    // Partition 0 is behind, partition 1 is ahead.
    let merged = world.answer(topic(vec![partition(0, 2, 4), partition(1, 3, 6)]));
    assert_eq!((world.leader(0), world.leader(1)), (Some((1, 5)), Some((3, 6))));
    assert!(merged.changed && merged.doubts.first.is_empty(), "{:?}", merged.doubts);
}

#[test]
fn an_unknown_epoch_is_taken_and_does_not_open_the_door_for_an_older_one() {
    let mut world = World::new();
    world.answer(topic(vec![partition(0, 1, 5)]));
    world.answer(topic(vec![partition(0, 2, -1)]));
    assert_eq!(world.leader(0), Some((2, -1)));
    world.answer(topic(vec![partition(0, 3, 4)]));
    assert_eq!(world.leader(0), Some((2, -1)));
    world.answer(topic(vec![partition(0, 3, 5)]));
    assert_eq!(world.leader(0), Some((3, 5)));
}

#[test]
fn a_topic_that_was_made_again_starts_anew() {
    let mut world = World::new();
    world.answer(topic(vec![partition(0, 1, 9), partition(1, 1, 9)]));
    let again =
        MetadataResponseTopic { topic_id: TopicId([2; 16]), ..topic(vec![partition(0, 2, 0)]) };
    let merged = world.answer(again);
    assert_eq!((world.leader(0), world.leader(1)), (Some((2, 0)), None));
    assert_eq!(world.snapshot.topic("t").unwrap().id, TopicId([2; 16]));
    assert!(merged.doubts.first.is_empty() && merged.changed);
}

#[test]
fn an_id_that_a_broker_does_not_tell_is_not_forgotten() {
    let mut world = World::new();
    world.answer(topic(vec![partition(0, 1, 9)]));
    let silent =
        MetadataResponseTopic { topic_id: TopicId::ZERO, ..topic(vec![partition(0, 2, 8)]) };
    world.answer(silent);
    assert_eq!(world.leader(0), Some((1, 9)));
    assert_eq!(world.snapshot.topic("t").unwrap().id, TopicId([1; 16]));
}

#[test]
fn another_cluster_is_believed_from_scratch() {
    let mut world = World::new();
    world.answer(topic(vec![partition(0, 1, 9), partition(1, 1, 9)]));
    let mut other = response(vec![topic(vec![partition(0, 2, 0)])]);
    other.cluster_id = Some("other".to_owned());
    let merged = world.merge(&other);
    assert_eq!((world.leader(0), world.leader(1)), (Some((2, 0)), None));
    assert_eq!(
        (world.snapshot.cluster_id.as_deref(), merged.doubts.first.len()),
        (Some("other"), 1)
    );
    // A broker that tells no id is of the same cluster.
    world.merge(&MetadataResponse { cluster_id: None, ..other });
    assert_eq!(world.snapshot.cluster_id.as_deref(), Some("other"));
}

#[test]
fn a_topic_that_is_not_known_for_a_while_keeps_its_view() {
    let mut world = World::new();
    world.answer(topic(vec![partition(0, 1, 5)]));
    let view = world.snapshot.topic("t").unwrap().clone();
    let code = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
    let merged = world.answer(failing(code));
    let since = world.now;
    assert!(!merged.settled && merged.changed);
    // The same again is no change, and does not move the time.
    let merged = world.answer(failing(code));
    assert!(!merged.settled && !merged.changed);
    assert_eq!(world.snapshot.trouble("t"), Some(Trouble { code, since }));
    assert!(Arc::ptr_eq(world.snapshot.topic("t").unwrap(), &view));
    // An answer that leaves the topic out says the same.
    world.merge(&response(vec![]));
    assert_eq!(world.snapshot.trouble("t"), Some(Trouble { code, since }));
    let merged = world.answer(topic(vec![partition(0, 1, 5)]));
    assert!(merged.settled && merged.changed);
    assert_eq!(world.snapshot.trouble("t"), None);
    assert!(Arc::ptr_eq(world.snapshot.topic("t").unwrap(), &view));
}

#[test]
fn a_refusal_is_settled_and_a_topic_without_partitions_is_not() {
    let mut world = World::new();
    assert!(world.answer(failing(ErrorCode::TOPIC_AUTHORIZATION_FAILED)).settled);
    assert!(!world.answer(topic(vec![])).settled);
    let trouble = world.snapshot.trouble("t").unwrap();
    assert_eq!(trouble.code, ErrorCode::LEADER_NOT_AVAILABLE);
    assert!(world.snapshot.topic("t").is_none());
}

#[test]
fn a_partition_without_a_leader_is_a_state_with_a_time() {
    let mut world = World::new();
    world.answer(topic(vec![partition(0, 1, 5), partition(1, 2, 5)]));
    assert!(!world.answer(topic(vec![partition(0, -1, 6), partition(1, 2, 5)])).settled);
    let since = world.now;
    world.answer(topic(vec![partition(0, -1, 7), partition(1, 2, 5)]));
    let found = world.snapshot.topic("t").unwrap().partitions[0].clone();
    assert_eq!((found.leader, found.leaderless_since), (None, Some(since)));
    assert_eq!(world.leader(1), Some((2, 5)));
    assert!(world.answer(topic(vec![partition(0, 3, 8), partition(1, 2, 5)])).settled);
    assert_eq!(world.snapshot.topic("t").unwrap().partitions[0].clone().leaderless_since, None);
}

#[test]
fn a_leader_that_is_no_broker_is_no_leader() {
    let mut world = World::new();
    let merged = world.answer(topic(vec![partition(0, 7, 5)]));
    assert_eq!(world.leader(0), None);
    assert!(!merged.settled && merged.doubts.first[0].contains("leader 7"), "{:?}", merged.doubts);
}

#[test]
fn partitions_do_not_go_away() {
    let mut world = World::new();
    world.answer(topic(vec![partition(0, 1, 5), partition(1, 2, 5)]));
    let merged = world.answer(topic(vec![partition(0, 1, 6)]));
    assert_eq!((world.leader(0), world.leader(1)), (Some((1, 6)), Some((2, 5))));
    assert!(merged.doubts.first[0].contains("are kept"), "{:?}", merged.doubts);
    world.answer(topic((0..4).map(|n| partition(n, 3, 7)).collect()));
    assert_eq!(world.snapshot.topic("t").unwrap().partitions.len(), 4);
}

#[test]
fn partition_numbers_that_cannot_be_cost_no_memory() {
    let mut world = World::new();
    let numbers = [i32::MAX, -1, 0, 0, 1_000_000_000];
    let merged = world.answer(topic(numbers.map(|n| partition(n, 1, 5)).to_vec()));
    let partitions = &world.snapshot.topic("t").unwrap().partitions;
    assert_eq!((partitions.len(), partitions[0].leader), (5, Some(BrokerId(1))));
    assert!(partitions[1..].iter().all(|partition| partition.leader.is_none()));
    assert_eq!(merged.doubts.first.len(), 4, "{:?}", merged.doubts);
}

#[test]
fn brokers_that_cannot_be_are_passed_over() {
    let mut world = World::new();
    let mut bad = response(vec![topic(vec![partition(0, 1, 5)])]);
    bad.brokers.extend([
        broker(-2),
        MetadataResponseBroker { host: String::new(), ..broker(10) },
        MetadataResponseBroker { host: "a\nb".to_owned(), ..broker(11) },
        MetadataResponseBroker { port: 0, ..broker(12) },
        MetadataResponseBroker { port: 65_536, ..broker(13) },
        MetadataResponseBroker { host: "elsewhere".to_owned(), ..broker(1) },
    ]);
    let merged = world.merge(&bad);
    let ids: Vec<_> = world.snapshot.brokers().map(|node| node.id.0).collect();
    assert_eq!(ids, [1, 2, 3]);
    assert_eq!(world.snapshot.broker(BrokerId(1)).unwrap().host, "host1");
    assert_eq!(merged.doubts.first.len(), 6, "{:?}", merged.doubts);
}

#[test]
fn an_answer_without_brokers_changes_nothing() {
    let world = World::new();
    let empty = MetadataResponse { brokers: vec![broker(-1)], ..response(vec![]) };
    let merged = merge(&world.snapshot, &empty, &world.asked, |_| true, world.now);
    assert_eq!(merged.unwrap_err(), NoBrokers);
}

#[test]
fn topics_that_nobody_asked_for_or_uses_any_more_are_left_out() {
    let mut world = World::new();
    let other =
        MetadataResponseTopic { name: Some("other".to_owned()), ..topic(vec![partition(0, 1, 1)]) };
    let nameless = MetadataResponseTopic { name: None, ..other.clone() };
    let merged = world.merge(&response(vec![topic(vec![partition(0, 1, 1)]), other, nameless]));
    assert_eq!(merged.doubts.first.len(), 2, "{:?}", merged.doubts);
    assert!(world.snapshot.topic("other").is_none() && world.snapshot.topic("t").is_some());
    let answer = response(vec![]);
    let later = merge(&world.snapshot, &answer, &BTreeMap::new(), |_| false, world.now).unwrap();
    assert!(later.snapshot.topic("t").is_none() && later.settled && later.changed);
    let kept = merge(&world.snapshot, &answer, &BTreeMap::new(), |_| true, world.now).unwrap();
    assert!(kept.snapshot.topic("t").is_some() && !kept.changed);
}

#[test]
fn of_many_doubts_a_few_are_kept() {
    let mut world = World::new();
    let other = |n: i32| MetadataResponseTopic {
        name: Some(format!("other\n{n}")),
        ..topic(vec![partition(0, 1, 1)])
    };
    let topics = (0..300_000).map(other).chain([topic(vec![partition(0, 1, 1)])]);
    let merged = world.merge(&response(topics.collect()));
    assert_eq!(world.leader(0), Some((1, 1)));
    assert_eq!((merged.doubts.first.len(), merged.doubts.more), (16, 300_000 - 16));
    assert_eq!(merged.doubts.first[1], r#"topic "other\n1" was not asked for"#);
}

#[test]
fn the_controller_has_to_be_a_broker() {
    let mut world = World::new();
    world.merge(&MetadataResponse { controller_id: 2, ..response(vec![]) });
    assert_eq!(world.snapshot.controller, Some(BrokerId(2)));
    world.merge(&MetadataResponse { controller_id: 9, ..response(vec![]) });
    assert_eq!(world.snapshot.controller, None);
}

/// Whatever is answered: no epoch goes down, no partition goes away, every leader is a broker.
#[test]
fn no_series_of_answers_leads_back() {
    for seed in 0..300 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut world = World::new();
        let (mut ids, mut count) = ([TopicId::ZERO; 2], 0);
        let mut newest = BTreeMap::new();
        for _ in 0..30 {
            let partitions = (0..random.usize(0..6))
                .map(|_| partition(random.i32(-1..6), random.i32(-2..5), random.i32(-2..20)))
                .collect();
            let topic = MetadataResponseTopic {
                topic_id: TopicId([random.u8(0..3); 16]),
                error_code: ErrorCode::new(*random.choice(&[0, 0, 0, 3, 5, 29]).unwrap()),
                ..topic(partitions)
            };
            let brokers = (0..random.usize(1..5)).map(|_| broker(random.i32(-1..5))).collect();
            let answer = MetadataResponse { brokers, ..response(vec![topic]) };
            let Ok(merged) = merge(&world.snapshot, &answer, &world.asked, |_| true, world.now)
            else {
                continue;
            };
            world.snapshot = merged.snapshot;
            let Some(view) = world.snapshot.topic("t") else { continue };
            ids = [ids[1], view.id];
            if ids[0] != ids[1] && !ids[0].is_zero() {
                newest.clear();
                count = 0;
            }
            assert!(view.partitions.len() >= count, "seed {seed}");
            count = view.partitions.len();
            for (n, partition) in view.partitions.iter().enumerate() {
                let before = newest.insert(n, partition.newest_epoch).unwrap_or(-1);
                assert!(partition.newest_epoch >= before, "seed {seed}");
                assert!(partition.leader_epoch <= partition.newest_epoch, "seed {seed}");
                let led = partition.leader.is_some();
                assert_eq!(led, partition.leaderless_since.is_none(), "seed {seed}");
            }
        }
    }
}
