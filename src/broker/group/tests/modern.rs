//! The new protocol by events: what each heartbeat is told, and what a member has to do before another gets its share.

use super::*;
use crate::protocol::messages::consumer_group_heartbeat::TopicPartitions;
use crate::types::TopicId;

/// Topics whose id is made of their name.
#[derive(Default)]
pub(super) struct Topics(pub(super) BTreeMap<String, i32>);

pub(super) fn id_of(name: &str) -> TopicId {
    let mut id = [0; 16];
    id.iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from);
    TopicId(id)
}

impl TopicView for Topics {
    fn find(&self, name: &str) -> Option<(TopicId, i32)> {
        self.0.get(name).map(|&partitions| (id_of(name), partitions))
    }

    fn each(&self, show: &mut dyn FnMut(&str, TopicId, i32)) {
        for (name, &partitions) in &self.0 {
            show(name, id_of(name), partitions);
        }
    }
}

/// The groups, the topics, and the time.
struct Coordinator {
    world: World,
    topics: Topics,
}

/// A heartbeat that joins.
fn joining(id: &str) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: GROUP.to_owned(),
        member_id: id.to_owned(),
        rebalance_timeout_ms: REBALANCE,
        subscribed_topic_names: Some(vec!["t".to_owned()]),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    }
}

/// One that says nothing new, and with `owned` what the member owns of `t`.
fn beat(id: &str, epoch: i32, owned: Option<&[i32]>) -> ConsumerGroupHeartbeatRequest {
    let of_t = |partitions: &[i32]| {
        vec![TopicPartitions { topic_id: id_of("t"), partitions: partitions.to_vec() }]
    };
    ConsumerGroupHeartbeatRequest {
        group_id: GROUP.to_owned(),
        member_id: id.to_owned(),
        member_epoch: epoch,
        topic_partitions: owned.map(of_t),
        ..Default::default()
    }
}

/// What a member is told: its epoch, and the partitions of `t` if it is told those.
type Told = Result<(i32, Option<Vec<i32>>), ErrorCode>;

impl Coordinator {
    fn of_topic(partitions: i32) -> Self {
        let topics = Topics(BTreeMap::from([("t".to_owned(), partitions)]));
        Self { world: World::new(), topics }
    }

    fn ask(
        &mut self,
        version: i16,
        request: ConsumerGroupHeartbeatRequest,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refused> {
        let now = self.world.now;
        self.world.groups.consumer_heartbeat(now, (version, "client"), request, &self.topics)
    }

    fn send(&mut self, request: ConsumerGroupHeartbeatRequest) -> Told {
        let told = self.ask(1, request).map_err(|refused| refused.code)?;
        let flat =
            |topics: Vec<TopicPartitions>| topics.into_iter().flat_map(|t| t.partitions).collect();
        Ok((told.member_epoch, told.assignment.map(|given| flat(given.topic_partitions))))
    }

    fn state(&self) -> String {
        self.world.show().state
    }
}

#[test]
fn a_member_alone_has_everything_at_once() {
    let mut coordinator = Coordinator::of_topic(3);
    let told = coordinator.ask(1, joining("a")).unwrap();
    assert_eq!((told.member_id.as_deref(), told.member_epoch), (Some("a"), 1));
    assert_eq!(told.heartbeat_interval_ms, 5000);
    assert_eq!(told.assignment.unwrap().topic_partitions[0].partitions, [0, 1, 2]);
    assert_eq!(coordinator.send(beat("a", 1, None)), Ok((1, None)), "nothing new");
    assert_eq!(coordinator.state(), "Stable");
    let without_id = coordinator.ask(0, joining("")).unwrap().member_id.unwrap();
    assert_eq!(without_id.len(), 36, "before version 1 the coordinator makes an id: {without_id}");
}

#[test]
fn a_partition_is_given_only_after_it_was_given_up() {
    let mut coordinator = Coordinator::of_topic(4);
    coordinator.send(joining("a")).unwrap();
    // The second one is at the new epoch and waits.
    assert_eq!(coordinator.send(joining("b")), Ok((2, Some(vec![]))));
    assert_eq!(coordinator.state(), "Reconciling");
    // The first is told to give two up, and stays in its epoch until it has.
    let Ok((1, Some(keeps))) = coordinator.send(beat("a", 1, None)) else { panic!("to give up") };
    assert_eq!(keeps.len(), 2);
    assert_eq!(coordinator.send(beat("b", 2, None)), Ok((2, None)));
    assert_eq!(coordinator.send(beat("a", 1, None)), Ok((1, None)), "it says nothing of it");
    assert_eq!(coordinator.send(beat("a", 1, Some(&[0, 1, 2, 3]))), Ok((1, None)), "it owns all");
    assert_eq!(coordinator.send(beat("b", 2, None)), Ok((2, None)), "still not free");
    assert_eq!(coordinator.send(beat("a", 1, Some(&keeps))), Ok((2, None)));
    let Ok((2, Some(given))) = coordinator.send(beat("b", 2, None)) else { panic!("what is free") };
    let mut all = [keeps, given].concat();
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2, 3]);
    assert_eq!(coordinator.state(), "Stable");
}

#[test]
fn epochs_that_do_not_fit_are_fenced() {
    let mut coordinator = Coordinator::of_topic(2);
    coordinator.send(joining("a")).unwrap();
    coordinator.send(joining("b")).unwrap();
    coordinator.send(beat("a", 1, None)).unwrap();
    coordinator.send(beat("a", 1, Some(&[0]))).unwrap();
    for (id, epoch, owned, expected) in [
        ("a", 3, None, Err(ErrorCode::FENCED_MEMBER_EPOCH)),
        ("a", 1, Some(&[0][..]), Ok((2, None))),
        ("a", 1, Some(&[0, 1]), Err(ErrorCode::FENCED_MEMBER_EPOCH)),
        ("a", 1, None, Err(ErrorCode::FENCED_MEMBER_EPOCH)),
        ("x", 1, None, Err(ErrorCode::UNKNOWN_MEMBER_ID)),
    ] {
        let told = coordinator.send(beat(id, epoch, owned));
        assert_eq!(told, expected, "{id} {epoch} {owned:?}: its answer was lost, or it is another");
    }
    let mut other = beat("a", 1, None);
    other.group_id = "other".to_owned();
    assert_eq!(coordinator.send(other), Err(ErrorCode::GROUP_ID_NOT_FOUND));
    assert_eq!(coordinator.send(joining("a")), Ok((2, Some(vec![0]))), "it begins anew");
}

#[test]
fn who_does_not_give_up_in_time_is_fenced() {
    let mut coordinator = Coordinator::of_topic(2);
    coordinator.send(joining("a")).unwrap();
    coordinator.send(joining("b")).unwrap();
    coordinator.send(beat("a", 1, None)).unwrap();
    for _ in 0..REBALANCE / 10_000 {
        assert!(coordinator.send(beat("a", 1, None)).is_ok());
        assert!(coordinator.send(beat("b", 2, None)).is_ok());
        coordinator.world.pass(ms(10_000));
    }
    let fenced = coordinator.send(beat("a", 1, Some(&[0, 1])));
    assert_eq!(fenced, Err(ErrorCode::UNKNOWN_MEMBER_ID));
    assert_eq!(coordinator.send(beat("b", 2, None)), Ok((3, Some(vec![0, 1]))));
}

#[test]
fn who_is_silent_is_fenced_and_who_leaves_is_gone() {
    let mut coordinator = Coordinator::of_topic(2);
    coordinator.send(joining("a")).unwrap();
    coordinator.world.pass(ms(44_999));
    coordinator.send(joining("b")).unwrap();
    coordinator.world.pass(ms(1));
    assert_eq!(coordinator.world.member_ids(), ["b"]);
    assert_eq!(coordinator.send(beat("b", 2, None)), Ok((3, Some(vec![0, 1]))));
    assert_eq!(coordinator.send(beat("b", -1, None)), Ok((-1, None)));
    assert_eq!(coordinator.state(), "Empty");
    assert_eq!(coordinator.send(beat("b", -1, None)), Err(ErrorCode::UNKNOWN_MEMBER_ID));
}

fn with_instance(
    request: ConsumerGroupHeartbeatRequest,
    instance: &str,
) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest { instance_id: Some(instance.to_owned()), ..request }
}

#[test]
fn a_static_member_comes_back_to_what_it_had() {
    let mut coordinator = Coordinator::of_topic(2);
    coordinator.send(with_instance(joining("a"), "one")).unwrap();
    let early = coordinator.send(with_instance(joining("a2"), "one"));
    assert_eq!(early, Err(ErrorCode::UNRELEASED_INSTANCE_ID));
    let left = coordinator.send(with_instance(beat("a", -2, None), "one"));
    assert_eq!(left, Ok((-2, None)));
    let told = coordinator.send(joining("b"));
    assert_eq!(told, Ok((2, Some(vec![]))), "what the other had is kept for it");
    let back = coordinator.send(with_instance(joining("a2"), "one"));
    assert_eq!(back, Ok((2, Some(vec![0]))), "as far as that is still its own");
    assert_eq!(coordinator.world.member_ids(), ["a2", "b"]);
    let old = coordinator.send(with_instance(beat("a", 1, None), "one"));
    assert_eq!(old, Err(ErrorCode::FENCED_INSTANCE_ID));
    let old = coordinator.send(with_instance(beat("a", -1, None), "one"));
    assert_eq!(old, Err(ErrorCode::FENCED_INSTANCE_ID));
    let stranger = coordinator.send(with_instance(beat("a", 1, None), "two"));
    assert_eq!(stranger, Err(ErrorCode::UNKNOWN_MEMBER_ID));
    // One that is not back in time is out.
    coordinator.send(with_instance(beat("a2", -2, None), "one")).unwrap();
    for _ in 0..5 {
        coordinator.world.pass(ms(10_000));
        coordinator.send(beat("b", 2, None)).unwrap();
    }
    assert_eq!(coordinator.world.member_ids(), ["b"]);
}

#[test]
fn topics_that_come_grow_and_go_bump_the_epoch() {
    let mut coordinator = Coordinator::of_topic(1);
    coordinator.topics.0.clear();
    assert_eq!(coordinator.send(joining("a")), Ok((1, Some(vec![]))), "there is no such topic yet");
    coordinator.topics.0.insert("t".to_owned(), 1);
    assert_eq!(coordinator.send(beat("a", 1, None)), Ok((2, Some(vec![0]))));
    coordinator.topics.0.insert("t".to_owned(), 2);
    assert_eq!(coordinator.send(beat("a", 2, None)), Ok((3, Some(vec![0, 1]))));
    coordinator.topics.0.insert("u".to_owned(), 2);
    assert_eq!(coordinator.send(beat("a", 3, None)), Ok((3, None)), "nobody wants that one");
    coordinator.topics.0.remove("t");
    assert_eq!(coordinator.send(beat("a", 3, None)), Ok((3, Some(vec![]))));
    assert_eq!(coordinator.send(beat("a", 3, Some(&[]))), Ok((4, None)));
}

#[test]
fn subscriptions_change_and_may_be_patterns() {
    let mut coordinator = Coordinator::of_topic(1);
    coordinator.topics.0.insert("tt".to_owned(), 2);
    let pattern = |pattern: &str, request| ConsumerGroupHeartbeatRequest {
        subscribed_topic_names: Some(Vec::new()),
        subscribed_topic_regex: Some(pattern.to_owned()),
        ..request
    };
    let refused = coordinator.send(pattern("(", joining("a")));
    assert_eq!(refused, Err(ErrorCode::INVALID_REGULAR_EXPRESSION));
    assert!(coordinator.world.groups.get(GROUP).is_none(), "and there is no group");
    assert_eq!(coordinator.send(pattern("t", joining("a"))), Ok((1, Some(vec![0]))));
    let more = coordinator.send(pattern("t+", beat("a", 1, None)));
    assert_eq!(more, Ok((2, Some(vec![0, 0, 1]))));
    coordinator.topics.0.insert("ttt".to_owned(), 1);
    assert_eq!(coordinator.send(beat("a", 2, None)).unwrap().0, 3, "a new one that matches");
    let fewer = coordinator.send(pattern("", beat("a", 3, None)));
    assert_eq!(fewer, Ok((3, Some(vec![]))), "all is to be given up");
}

#[test]
fn groups_of_one_protocol_refuse_members_of_the_other() {
    let mut coordinator = Coordinator::of_topic(1);
    let (ids, generation) = coordinator.world.stable(&[newcomer()]);
    assert_eq!(coordinator.send(joining("a")), Err(ErrorCode::GROUP_ID_NOT_FOUND));
    assert_eq!(coordinator.send(beat("a", 1, None)), Err(ErrorCode::GROUP_ID_NOT_FOUND));
    assert_eq!(coordinator.world.heartbeat(&ids[0], generation), Ok(()));
    coordinator.world.leave(&[(&ids[0], None)]);
    assert_eq!(coordinator.send(joining("a")), Ok((1, Some(vec![0]))), "once it is empty");
    assert_eq!(coordinator.world.show().group_type, GroupType::Consumer);
    let unknown = ErrorCode::UNKNOWN_MEMBER_ID;
    let refused = coordinator.world.join_now(&newcomer());
    assert_eq!(refused.error_code, ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    let ticket = coordinator.world.sync("a", 1, &[]);
    assert_eq!(coordinator.world.synced(ticket), Some(Err(unknown)));
    assert_eq!(coordinator.world.heartbeat("a", 1), Err(unknown));
    assert_eq!(coordinator.world.leave(&[("a", None)]), [unknown]);
    coordinator.send(beat("a", -1, None)).unwrap();
    assert_eq!(coordinator.world.join_now(&newcomer()).generation_id, 1);
    assert_eq!(coordinator.world.show().group_type, GroupType::Classic);
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    type Change = fn(&mut ConsumerGroupHeartbeatRequest);
    let changes: [(i32, Change); 12] = [
        (0, |r| r.group_id.clear()),
        (0, |r| r.member_id.clear()),
        (0, |r| r.instance_id = Some(String::new())),
        (0, |r| r.rack_id = Some(String::new())),
        (0, |r| r.rebalance_timeout_ms = -1),
        (0, |r| r.topic_partitions = None),
        (0, |r| r.subscribed_topic_names = None),
        (0, |r| {
            let partitions = vec![0];
            r.topic_partitions = Some(vec![TopicPartitions { topic_id: id_of("t"), partitions }]);
        }),
        (1, |r| r.member_id.clear()),
        (-1, |r| r.member_id.clear()),
        (-2, |r| r.instance_id = None),
        (-3, |_| {}),
    ];
    for (n, (epoch, change)) in changes.into_iter().enumerate() {
        let mut coordinator = Coordinator::of_topic(1);
        let mut request = ConsumerGroupHeartbeatRequest { member_epoch: epoch, ..joining("a") };
        change(&mut request);
        assert_eq!(coordinator.send(request), Err(ErrorCode::INVALID_REQUEST), "{n}");
    }
    let mut coordinator = Coordinator::of_topic(1);
    let assignor = |name: &str| ConsumerGroupHeartbeatRequest {
        server_assignor: Some(name.to_owned()),
        ..joining("a")
    };
    assert_eq!(coordinator.send(assignor("sticky")), Err(ErrorCode::UNSUPPORTED_ASSIGNOR));
    coordinator.send(assignor("range")).unwrap();
    assert_eq!(coordinator.world.show().protocol.as_deref(), Some("range"));
}

#[test]
fn offsets_are_committed_in_an_epoch_of_the_member() {
    let mut coordinator = Coordinator::of_topic(2);
    coordinator.send(joining("a")).unwrap();
    coordinator.send(joining("b")).unwrap();
    coordinator.send(beat("a", 1, None)).unwrap();
    let (_, _) = coordinator.send(beat("a", 1, Some(&[0]))).unwrap();
    let (epoch, _) = coordinator.send(beat("b", 2, None)).unwrap();
    assert_eq!(epoch, 2);
    let ok = Ok(());
    let stale = Err(ErrorCode::STALE_MEMBER_EPOCH);
    // (version, member, epoch) -> may it at all, to t-0 and to t-1
    for (version, id, generation, at_all, to) in [
        (9, "a", 2, ok, [ok, ok]),
        (8, "a", 2, Err(ErrorCode::UNSUPPORTED_VERSION), [ok, ok]),
        // It has not heard of the new epoch, but has owned t-0 all the while.
        (9, "a", 1, ok, [ok, stale]),
        (9, "a", 3, stale, [ok, stale]),
        // It was given t-1 in its present epoch.
        (9, "b", 1, ok, [stale, stale]),
        (9, "x", 1, Err(ErrorCode::UNKNOWN_MEMBER_ID), [ok, ok]),
        (9, "", -1, Err(ErrorCode::UNKNOWN_MEMBER_ID), [ok, ok]),
    ] {
        let who = Identity { generation, member_id: id, instance_id: None };
        let case = format!("{version} {id} {generation}");
        let groups = &mut coordinator.world.groups;
        assert_eq!(groups.may_commit(coordinator.world.now, version, GROUP, who), at_all, "{case}");
        let may = [0, 1].map(|partition| groups.may_commit_to(GROUP, (id_of("t"), partition), who));
        assert_eq!(may, to, "{case}");
    }
    let mut fetch = |member_id: Option<&str>, member_epoch| {
        let group_id = GROUP.to_owned();
        let member_id = member_id.map(str::to_owned);
        let asked =
            OffsetFetchRequestGroup { group_id, member_id, member_epoch, ..Default::default() };
        coordinator.world.groups.may_fetch(coordinator.world.now, &asked)
    };
    assert_eq!([fetch(None, -1), fetch(Some("a"), 2), fetch(Some("a"), 1)], [ok, ok, stale]);
    assert_eq!(fetch(Some("x"), 1), Err(ErrorCode::UNKNOWN_MEMBER_ID));
}

#[test]
fn another_coordinator_goes_on_in_the_same_epochs() {
    let mut coordinator = Coordinator::of_topic(2);
    coordinator.send(joining("a")).unwrap();
    coordinator.send(joining("b")).unwrap();
    let Ok((1, Some(keeps))) = coordinator.send(beat("a", 1, None)) else { panic!("to give up") };
    let from = coordinator.world.groups.placement.coordinator(GROUP).unwrap();
    coordinator.world.pass(ms(44_000));
    coordinator.world.groups.move_coordinator(GROUP, BrokerId(3 - from.0));
    coordinator.world.pass(ms(44_000));
    assert_eq!(coordinator.world.member_ids(), ["a", "b"], "their sessions began anew");
    assert_eq!(coordinator.send(beat("a", 1, Some(&keeps))), Ok((2, None)));
    assert_eq!(coordinator.send(beat("b", 2, None)).unwrap().1.unwrap().len(), 1);
    coordinator.world.pass(ms(45_000));
    assert_eq!(coordinator.state(), "Empty");
}
