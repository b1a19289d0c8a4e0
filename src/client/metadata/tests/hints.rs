//! Leaders that brokers hint at in other answers: which are news, and what snapshot they make.

use super::*;
use crate::client::metadata::LeaderHint;
use crate::client::metadata::merge::apply_hints;
use crate::client::metadata::snapshot::BrokerNode;
use crate::types::TopicPartition;

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
