use super::*;

const SPREAD: Placement = Placement::Spread { partitions: None, replicas: None };

fn cluster(nodes: i32) -> State {
    let node = |id| {
        let node = Node { host: format!("broker-{id}"), port: 9092, rack: None, running: true };
        (BrokerId(id), node)
    };
    let defaults = Defaults {
        partitions: 3,
        replication_factor: nodes.clamp(1, 3) as usize,
        auto_create: true,
        first_producer_epoch: 0,
        fetch_session_slots: 10,
        rack_aware: false,
        topic: TopicConfig::default(),
        groups: crate::broker::group::GroupSettings::default(),
        transactions: crate::broker::txn::TransactionSettings::default(),
    };
    State::new((1..=nodes).map(node).collect(), defaults, 1)
}

fn with_topic(nodes: i32) -> State {
    let mut state = cluster(nodes);
    state.create_topic("t", &SPREAD, TopicConfig::default(), false).unwrap();
    state
}

fn refused<T: std::fmt::Debug>(result: Result<T, Refusal>) -> ErrorCode {
    result.unwrap_err().code
}

fn leaders(state: &State) -> Vec<Option<i32>> {
    let topic = state.topic("t").unwrap();
    topic.partitions.iter().map(|partition| partition.leader.map(|node| node.0)).collect()
}

#[test]
fn topics_spread_over_the_nodes() {
    let state = with_topic(3);
    assert_eq!(leaders(&state), [Some(1), Some(2), Some(3)]);
    let replicas = &state.partition("t", 1).unwrap().replicas;
    assert_eq!(*replicas, [BrokerId(2), BrokerId(3), BrokerId(1)]);
    let id = state.topic("t").unwrap().id;
    assert!(!id.is_zero());
    assert_eq!(state.name_of(id), Some("t"));
    assert!(state.partition("t", 3).is_none() && state.partition("t", -1).is_none());
}

#[test]
fn the_seed_decides_the_ids() {
    let id = |state: State| (state.topic("t").unwrap().id, state.cluster_id);
    assert_eq!(id(with_topic(1)), id(with_topic(1)));
}

#[test]
fn topics_that_kafka_refuses_are_refused() {
    let mut state = with_topic(2);
    let mut create = |name: &str, placement: Placement| {
        refused(state.create_topic(name, &placement, TopicConfig::default(), false))
    };
    let spread = |partitions, replicas| Placement::Spread {
        partitions: Some(partitions),
        replicas: Some(replicas),
    };
    let manual = |nodes: &[&[i32]]| {
        Placement::Manual(nodes.iter().map(|n| n.iter().copied().map(BrokerId).collect()).collect())
    };
    assert_eq!(create("a b", SPREAD), ErrorCode::INVALID_TOPIC_EXCEPTION);
    assert_eq!(create("t", SPREAD), ErrorCode::TOPIC_ALREADY_EXISTS);
    assert_eq!(create("u", spread(0, 1)), ErrorCode::INVALID_PARTITIONS);
    assert_eq!(create("u", spread(usize::MAX / 2, 1)), ErrorCode::INVALID_PARTITIONS);
    assert_eq!(create("u", spread(1, 3)), ErrorCode::INVALID_REPLICATION_FACTOR);
    assert_eq!(create("u", spread(1, 0)), ErrorCode::INVALID_REPLICATION_FACTOR);
    for nodes in [&[&[1, 2][..], &[1]][..], &[&[1, 1]], &[&[]], &[&[3]]] {
        assert_eq!(create("u", manual(nodes)), ErrorCode::INVALID_REPLICA_ASSIGNMENT, "{nodes:?}");
    }
    assert!(state.topic("u").is_none());
    state.create_topic("a.b", &SPREAD, TopicConfig::default(), false).unwrap();
    let collides = state.create_topic("a_b", &SPREAD, TopicConfig::default(), false);
    assert_eq!(refused(collides), ErrorCode::INVALID_TOPIC_EXCEPTION);
}

#[test]
fn validation_creates_nothing() {
    let mut state = cluster(1);
    state.create_topic("t", &SPREAD, TopicConfig::default(), true).unwrap();
    assert!(state.topic("t").is_none());
    state.create_topic("t", &SPREAD, TopicConfig::default(), false).unwrap();
    state.create_partitions("t", 9, None, true).unwrap();
    assert_eq!(leaders(&state).len(), 3);
}

#[test]
fn partitions_are_added_but_never_taken_away() {
    let mut state = with_topic(2);
    state.create_partitions("t", 5, None, false).unwrap();
    assert_eq!(leaders(&state), [Some(1), Some(2), Some(1), Some(2), Some(1)]);
    for count in [5, 4, 0, -1] {
        let result = state.create_partitions("t", count, None, false);
        assert_eq!(refused(result), ErrorCode::INVALID_PARTITIONS, "{count}");
    }
    let by_hand = [vec![BrokerId(2), BrokerId(1)]];
    let wrong = state.create_partitions("t", 7, Some(&by_hand), false);
    assert_eq!(refused(wrong), ErrorCode::INVALID_REPLICA_ASSIGNMENT);
    state.create_partitions("t", 6, Some(&by_hand), false).unwrap();
    assert_eq!(leaders(&state)[5], Some(2));
    let unknown = state.create_partitions("u", 7, None, false);
    assert_eq!(refused(unknown), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
}

#[test]
fn a_topic_made_again_has_another_id() {
    let mut state = with_topic(1);
    let old = state.delete_topic("t").unwrap();
    assert_eq!((state.delete_topic("t"), state.name_of(old)), (None, None));
    let new = state.create_topic("t", &SPREAD, TopicConfig::default(), false).unwrap();
    assert_ne!(old, new);
}

#[test]
fn a_stopped_node_hands_its_partitions_over() {
    let mut state = with_topic(3);
    assert!(state.node_stopped(BrokerId(1)));
    assert!(!state.node_stopped(BrokerId(1)), "it is stopped already");
    assert_eq!(leaders(&state), [Some(2), Some(2), Some(3)]);
    assert_eq!(state.live().map(|(id, _)| id.0).collect::<Vec<_>>(), [2, 3]);
    assert!(state.node_started(BrokerId(1)));
    assert!(!state.node_started(BrokerId(1)) && !state.node_started(BrokerId(9)));
    assert_eq!(leaders(&state), [Some(2), Some(2), Some(3)], "it leads nothing for now");
    let changed = Event::LeaderChanged {
        partition: TopicPartition::new("t", 0),
        leader: Some(BrokerId(2)),
        epoch: 1,
    };
    assert!(state.events.to_vec().contains(&changed));
}

#[test]
fn leaders_move_on_command() {
    let mut state = with_topic(3);
    let t0 = TopicPartition::new("t", 0);
    state.move_leader(&t0, BrokerId(3)).unwrap();
    assert_eq!(leaders(&state)[0], Some(3));
    assert_eq!(state.partition("t", 0).unwrap().leader_epoch, 1);
    state.node_stopped(BrokerId(2));
    let refuse = |result| refused::<()>(result);
    assert_eq!(refuse(state.move_leader(&t0, BrokerId(2))), ErrorCode::BROKER_NOT_AVAILABLE);
    let unknown = TopicPartition::new("t", 7);
    let result = state.move_leader(&unknown, BrokerId(1));
    assert_eq!(refuse(result), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
}

#[test]
fn a_partition_may_move_to_a_node_that_had_no_replica() {
    let mut state = cluster(2);
    let single = Placement::Spread { partitions: Some(1), replicas: Some(1) };
    state.create_topic("t", &single, TopicConfig::default(), false).unwrap();
    state.move_leader(&TopicPartition::new("t", 0), BrokerId(2)).unwrap();
    let partition = state.partition("t", 0).unwrap();
    assert_eq!((partition.leader, &partition.replicas), (Some(BrokerId(2)), &vec![BrokerId(2)]));
    assert_eq!(partition.isr, [BrokerId(2)]);
}

#[test]
fn producer_ids_are_never_given_twice() {
    let mut state = cluster(1);
    let ids = [0; 3].map(|_| state.new_producer().id);
    assert_eq!(ids, [0, 1, 2]);
}
