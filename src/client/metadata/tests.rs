//! The pure parts: what an answer changes, and when the next one is asked for.

use super::merge::{Merged, NoBrokers, apply_hints, merge};
use super::refresh::{Refresh, Times};
use super::snapshot::{BrokerNode, ClusterSnapshot, Usage};
use super::{LeaderHint, Trouble};
use crate::error::ErrorCode;
use crate::protocol::messages::metadata::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use crate::time::{Backoff, Duration, Instant};
use crate::types::{BrokerId, TopicId, TopicPartition};
use std::collections::BTreeMap;
use std::sync::Arc;

fn broker(node_id: i32) -> MetadataResponseBroker {
    let host = format!("host{node_id}");
    MetadataResponseBroker { node_id, host, port: 9092, rack: None }
}

fn partition(partition_index: i32, leader_id: i32, leader_epoch: i32) -> MetadataResponsePartition {
    let replica_nodes = vec![1, 2];
    MetadataResponsePartition {
        partition_index,
        leader_id,
        leader_epoch,
        replica_nodes,
        ..MetadataResponsePartition::default()
    }
}

fn topic(partitions: Vec<MetadataResponsePartition>) -> MetadataResponseTopic {
    let (name, topic_id) = (Some("t".to_owned()), TopicId([1; 16]));
    MetadataResponseTopic { name, topic_id, partitions, ..MetadataResponseTopic::default() }
}

fn failing(error_code: ErrorCode) -> MetadataResponseTopic {
    MetadataResponseTopic { error_code, ..topic(vec![]) }
}

fn response(topics: Vec<MetadataResponseTopic>) -> MetadataResponse {
    let brokers = vec![broker(1), broker(2), broker(3)];
    let cluster_id = Some("cluster".to_owned());
    MetadataResponse { brokers, topics, cluster_id, ..MetadataResponse::default() }
}

/// A snapshot under a series of answers about the topic `t`.
struct World {
    now: Instant,
    snapshot: ClusterSnapshot,
    asked: BTreeMap<Arc<str>, Usage>,
}

impl World {
    fn new() -> Self {
        let asked = BTreeMap::from([(Arc::from("t"), Usage::default())]);
        Self { now: Instant::now(), snapshot: ClusterSnapshot::default(), asked }
    }

    fn merge(&mut self, response: &MetadataResponse) -> Merged {
        self.now += Duration::from_secs(1);
        let merged = merge(&self.snapshot, response, &self.asked, |_| true, self.now).unwrap();
        assert_eq!(merged.snapshot.generation(), self.snapshot.generation() + 1);
        self.snapshot = merged.snapshot.clone();
        merged
    }

    fn answer(&mut self, topic: MetadataResponseTopic) -> Merged {
        self.merge(&response(vec![topic]))
    }

    fn leader(&self, partition: usize) -> Option<(i32, i32)> {
        leader(&self.snapshot, partition)
    }
}

fn leader(snapshot: &ClusterSnapshot, partition: usize) -> Option<(i32, i32)> {
    let partition = &snapshot.topic("t")?.partitions.get(partition)?;
    Some((partition.leader?.0, partition.leader_epoch))
}

mod merging {
    use super::*;

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
        assert!(
            !merged.settled && merged.doubts.first[0].contains("leader 7"),
            "{:?}",
            merged.doubts
        );
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
        let other = MetadataResponseTopic {
            name: Some("other".to_owned()),
            ..topic(vec![partition(0, 1, 1)])
        };
        let nameless = MetadataResponseTopic { name: None, ..other.clone() };
        let merged = world.merge(&response(vec![topic(vec![partition(0, 1, 1)]), other, nameless]));
        assert_eq!(merged.doubts.first.len(), 2, "{:?}", merged.doubts);
        assert!(world.snapshot.topic("other").is_none() && world.snapshot.topic("t").is_some());
        let answer = response(vec![]);
        let later =
            merge(&world.snapshot, &answer, &BTreeMap::new(), |_| false, world.now).unwrap();
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
}

mod hints {
    use super::*;

    fn hint(leader: i32, epoch: i32, endpoint: Option<BrokerNode>) -> LeaderHint {
        let partition = TopicPartition::new("t", 0);
        LeaderHint { partition, leader: BrokerId(leader), epoch, endpoint }
    }

    fn node(id: i32, host: &str) -> BrokerNode {
        BrokerNode { id: BrokerId(id), host: host.to_owned(), port: 9092, rack: None }
    }

    #[test]
    fn a_newer_leader_is_taken_and_an_older_answer_does_not_undo_it() {
        let mut world = World::new();
        world.answer(topic(vec![partition(0, 1, 5)]));
        world.snapshot = apply_hints(&world.snapshot, &[hint(2, 6, None)]).0.unwrap();
        assert_eq!(world.leader(0), Some((2, 6)));
        world.answer(topic(vec![partition(0, 1, 5)]));
        assert_eq!(world.leader(0), Some((2, 6)));
    }

    #[test]
    fn no_news_and_nonsense_change_nothing() {
        let mut world = World::new();
        world.answer(topic(vec![partition(0, 1, 5)]));
        let of = |name: &str, partition| LeaderHint {
            partition: TopicPartition::new(name, partition),
            ..hint(2, 9, None)
        };
        let useless = [
            hint(2, 5, None),
            hint(2, -1, None),
            hint(9, 6, None),
            hint(-1, 6, None),
            hint(9, 6, Some(node(8, "host8"))),
            hint(9, 6, Some(node(9, ""))),
            hint(9, 6, Some(node(9, "a\nb"))),
            of("unknown", 0),
            of("t", 7),
            of("t", -1),
        ];
        for hint in useless {
            let (snapshot, all) = apply_hints(&world.snapshot, std::slice::from_ref(&hint));
            assert!(snapshot.is_none() && !all, "{hint:?}");
        }
    }

    #[test]
    fn a_new_broker_comes_with_its_address() {
        let mut world = World::new();
        world.answer(topic(vec![partition(0, 1, 5)]));
        let hint = hint(9, 6, Some(node(9, "host9")));
        let snapshot = apply_hints(&world.snapshot, &[hint]).0.unwrap();
        assert_eq!(leader(&snapshot, 0), Some((9, 6)));
        assert_eq!(snapshot.broker(BrokerId(9)).unwrap().host, "host9");
        assert_eq!(snapshot.brokers().len(), 4);
    }

    #[test]
    fn the_hints_of_an_answer_make_one_snapshot() {
        let mut world = World::new();
        world.answer(topic((0..4).map(|n| partition(n, 1, 5)).collect()));
        let of = |number, epoch| {
            let partition = TopicPartition::new("t", number);
            LeaderHint { partition, ..hint(9, epoch, Some(node(9, "host9"))) }
        };
        let (snapshot, all) = apply_hints(&world.snapshot, &[of(0, 6), of(1, 7), of(3, 8)]);
        let snapshot = snapshot.unwrap();
        assert!(all);
        assert_eq!(snapshot.generation(), world.snapshot.generation() + 1);
        let leaders: Vec<_> = (0..4).map(|n| leader(&snapshot, n).unwrap()).collect();
        assert_eq!(leaders, [(9, 6), (9, 7), (1, 5), (9, 8)]);
        assert_eq!(world.leader(0), Some((1, 5)), "the old one is as it was");

        // The second is older than the first, and the third is known.
        let (later, all) = apply_hints(&snapshot, &[of(0, 10), of(0, 9), of(1, 7)]);
        assert_eq!((leader(&later.unwrap(), 0), all), (Some((9, 10)), false));
    }
}

mod refreshing {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;
    /// The middle of the jitter.
    const HALF: f64 = 0.5;

    fn times() -> Times {
        Times {
            max_age: MS(300_000),
            max_idle: MS(300_000),
            backoff: Backoff::new(MS(100), MS(1000)),
            rebootstrap_trigger: MS(300_000),
        }
    }

    /// After a first fetch, at the time when the back-off is over.
    fn fetched() -> (Refresh, Instant) {
        let now = Instant::now();
        let mut refresh = Refresh::new(times());
        let plan = refresh.begin(now);
        refresh.succeeded(&plan, true, true, now, HALF);
        (refresh, now)
    }

    #[test]
    fn the_first_fetch_is_due_at_once_and_the_next_after_its_age() {
        let now = Instant::now();
        let mut refresh = Refresh::new(times());
        assert_eq!(refresh.due(now), Some(now));
        let plan = refresh.begin(now);
        assert_eq!(refresh.due(now), None);
        refresh.succeeded(&plan, true, true, now, HALF);
        assert_eq!(refresh.due(now), Some(now + MS(300_000)));
    }

    #[test]
    fn a_request_is_served_after_the_back_off() {
        let (mut refresh, now) = fetched();
        refresh.request();
        assert_eq!(refresh.due(now), Some(now + MS(100)));
        assert_eq!(refresh.due(now + MS(500)), Some(now + MS(500)));
    }

    #[test]
    fn a_request_during_a_fetch_is_another_fetch() {
        let (mut refresh, now) = fetched();
        refresh.request();
        let plan = refresh.begin(now);
        refresh.request();
        refresh.succeeded(&plan, true, true, now, HALF);
        assert_eq!(refresh.due(now), Some(now + MS(100)));
    }

    #[test]
    fn a_new_topic_does_not_wait_and_is_asked_for_alone() {
        let (mut refresh, now) = fetched();
        refresh.track("a", now);
        assert_eq!(refresh.due(now), Some(now));
        let plan = refresh.begin(now);
        assert_eq!(plan.topics.keys().map(|name| &**name).collect::<Vec<_>>(), ["a"]);
        // One that comes while a fetch runs does not wait either.
        refresh.track("b", now);
        refresh.succeeded(&plan, true, true, now, HALF);
        assert_eq!(refresh.due(now), Some(now));
        let plan = refresh.begin(now);
        assert_eq!(plan.topics.keys().map(|name| &**name).collect::<Vec<_>>(), ["b"]);
        refresh.succeeded(&plan, true, true, now, HALF);
        // A fetch of a part does not make the rest younger.
        let due = refresh.due(now).unwrap();
        assert_eq!(due, now + MS(300_000));
        assert_eq!(refresh.begin(due - MS(1)).topics.len(), 2);
    }

    #[test]
    fn failures_back_off_and_a_success_starts_anew() {
        let (mut refresh, mut now) = fetched();
        refresh.request();
        let mut waits = Vec::new();
        for _ in 0..6 {
            let plan = refresh.begin(now);
            refresh.failed(&plan, now, now, HALF);
            let due = refresh.due(now).unwrap();
            waits.push((due - now).as_millis());
            now = due;
        }
        assert_eq!(waits, [100, 200, 400, 800, 1000, 1000]);
        // New topics do not help a cluster that cannot be reached.
        let plan = refresh.begin(now);
        refresh.failed(&plan, now, now, HALF);
        refresh.track("a", now);
        assert_eq!(refresh.due(now), Some(now + MS(1000)));
        let plan = refresh.begin(now);
        assert_eq!(plan.topics.len(), 1);
        refresh.succeeded(&plan, true, true, now, HALF);
        refresh.request();
        assert_eq!(refresh.due(now), Some(now + MS(100)));
    }

    #[test]
    fn what_is_left_open_is_asked_for_again_ever_more_slowly() {
        let (mut refresh, mut now) = fetched();
        refresh.track("a", now);
        let mut waits = Vec::new();
        for _ in 0..6 {
            let plan = refresh.begin(now);
            refresh.succeeded(&plan, false, waits.is_empty(), now, HALF);
            let due = refresh.due(now).unwrap();
            waits.push((due - now).as_millis());
            now = due;
        }
        assert_eq!(waits, [100, 200, 400, 800, 1000, 1000]);
        let plan = refresh.begin(now);
        refresh.succeeded(&plan, true, true, now, HALF);
        assert_eq!(refresh.due(now), Some(now + MS(300_000)));
    }

    #[test]
    fn topics_that_are_not_used_are_forgotten() {
        let (mut refresh, start) = fetched();
        refresh.track("used", start);
        refresh.track("asked", start);
        refresh.track("idle", start);
        let plan = refresh.begin(start);
        refresh.succeeded(&plan, true, true, start, HALF);
        plan.topics["used"].note();
        refresh.track("asked", start + MS(200_000));
        let now = start + MS(300_000);
        let plan = refresh.begin(now);
        assert_eq!(plan.topics.keys().map(|name| &**name).collect::<Vec<_>>(), ["asked", "used"]);
        assert!(!refresh.is_tracked("idle"));
        refresh.succeeded(&plan, true, true, now, HALF);
        // A use counts once.
        let plan = refresh.begin(now + MS(300_000));
        assert!(plan.topics.is_empty());
    }

    #[test]
    fn all_topics_come_and_go_with_the_cluster() {
        let (mut refresh, start) = fetched();
        refresh.track("named", start);
        refresh.follow_all(true);
        let plan = refresh.begin(start);
        assert!(plan.all);
        let found = refresh.discovered(["a", "b"].into_iter(), start);
        assert_eq!(found.keys().map(|name| &**name).collect::<Vec<_>>(), ["a", "b", "named"]);
        refresh.succeeded(&plan, true, true, start, HALF);
        // They do not have to be used to stay, but they have to exist.
        let now = start + MS(300_000);
        refresh.track("named", now);
        assert!(refresh.begin(now).all && refresh.is_tracked("a"));
        refresh.discovered(["b"].into_iter(), now);
        assert!(!refresh.is_tracked("a"));
        // What somebody has named stays without the others.
        refresh.track("b", now);
        refresh.discovered(["c"].into_iter(), now);
        refresh.follow_all(false);
        assert!(refresh.is_tracked("b") && refresh.is_tracked("named"));
        assert!(!refresh.is_tracked("c"));
    }

    #[test]
    fn hope_ends_after_failing_for_long_enough() {
        let (mut refresh, start) = fetched();
        let mut now = start + MS(1000);
        for _ in 0..3 {
            assert!(!refresh.is_hopeless(now));
            let plan = refresh.begin(now);
            refresh.failed(&plan, now, now + MS(100_000), HALF);
            now += MS(100_000);
        }
        // Counted from the beginning of the first fetch that failed.
        assert!(refresh.is_hopeless(now));
        refresh.restarted(now);
        assert!(!refresh.is_hopeless(now + MS(299_999)));
        assert!(refresh.is_hopeless(now + MS(300_000)));
        let plan = refresh.begin(now);
        refresh.succeeded(&plan, true, true, now, HALF);
        assert!(!refresh.is_hopeless(now + MS(900_000)));
    }

    #[test]
    fn an_endless_age_is_never_reached() {
        let now = Instant::now();
        let mut refresh = Refresh::new(Times { max_age: Duration::MAX, ..times() });
        let plan = refresh.begin(now);
        refresh.succeeded(&plan, true, true, now, HALF);
        assert_eq!(refresh.due(now), None);
        refresh.request();
        assert!(refresh.due(now).is_some());
    }
}
