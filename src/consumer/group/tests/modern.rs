//! The protocol of `group.protocol=consumer`, rule by rule.

use super::*;
use crate::protocol::messages::consumer_group_heartbeat::{
    Assignment as Target, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
    TopicPartitions,
};
use crate::types::TopicId;

fn config() -> GroupConfig {
    let protocol = MemberProtocol::Consumer { remote_assignor: Some("uniform".to_owned()) };
    GroupConfig { protocol, rack: Some("r".to_owned()), ..super::config(&[Eager]) }
}

/// The id of a topic whose name is a letter.
fn id(topic: &str) -> TopicId {
    TopicId([topic.as_bytes()[0]; 16])
}

fn shares(names: &str) -> Vec<TopicPartitions> {
    let mut shares = BTreeMap::<TopicId, Vec<i32>>::new();
    for partition in partitions(names) {
        shares.entry(id(&partition.topic)).or_default().push(partition.partition);
    }
    shares
        .into_iter()
        .map(|(topic_id, partitions)| TopicPartitions { topic_id, partitions })
        .collect()
}

fn answer(epoch: i32, names: Option<&str>) -> GroupResponse {
    GroupResponse::ConsumerGroupHeartbeat(ConsumerGroupHeartbeatResponse {
        member_epoch: epoch,
        heartbeat_interval_ms: 4_000,
        assignment: names.map(|names| Target { topic_partitions: shares(names) }),
        ..ConsumerGroupHeartbeatResponse::default()
    })
}

fn refused(error_code: ErrorCode) -> GroupResponse {
    GroupResponse::ConsumerGroupHeartbeat(ConsumerGroupHeartbeatResponse {
        error_code,
        error_message: Some("says the broker".to_owned()),
        ..ConsumerGroupHeartbeatResponse::default()
    })
}

impl Bench {
    fn beat(&mut self) -> (Sent, ConsumerGroupHeartbeatRequest) {
        let sent = self.only();
        let GroupRequest::ConsumerGroupHeartbeat(beat) = sent.request.clone() else {
            panic!("{sent:?}")
        };
        assert_eq!(sent.to, Destination::Coordinator(BrokerId(1)));
        (sent, beat)
    }

    fn names(&mut self, names: &[&str]) {
        let view = |name: &&str| {
            let view = TopicView { id: id(name), racks: vec![BTreeSet::new(); 9] };
            ((*name).to_owned(), view)
        };
        let topics = names.iter().map(view).collect();
        self.group.handle_topics(Arc::new(TopicsView { topics }));
        self.run();
    }
}

fn started(config: GroupConfig, subscription: GroupSubscription) -> Bench {
    let mut bench = Bench::new(config);
    bench.group.subscribe(subscription, bench.at);
    bench.names(&["t", "u"]);
    bench.nothing_sent();
    bench.user_polls();
    bench.coordinator_is(1);
    bench
}

/// A member at epoch 1 that owns these.
pub(super) fn member_with(names: &str) -> Bench {
    member_of(config(), names)
}

fn member_of(config: GroupConfig, names: &str) -> Bench {
    let mut bench = started(config, topics("t u"));
    let (sent, _) = bench.beat();
    bench.answer(&sent, answer(1, Some(names)));
    if !names.is_empty() {
        let (sent, beat) = bench.beat();
        assert_eq!(beat.topic_partitions, Some(shares(names)), "acknowledged");
        bench.answer(&sent, answer(1, None));
    }
    bench.assigned();
    bench.nothing_sent();
    bench
}

#[test]
fn a_member_joins_with_everything_and_then_says_only_what_is_new() {
    let mut bench = started(config(), topics("t u"));
    let (sent, join) = bench.beat();
    assert_eq!((join.member_epoch, join.member_id.len()), (0, 22));
    assert!(join.member_id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_'));
    assert_eq!(join.subscribed_topic_names, Some(vec!["t".to_owned(), "u".to_owned()]));
    assert_eq!((join.subscribed_topic_regex, join.rebalance_timeout_ms), (None, 300_000));
    assert_eq!(join.server_assignor.as_deref(), Some("uniform"));
    assert_eq!((join.rack_id.as_deref(), join.topic_partitions), (Some("r"), Some(Vec::new())));
    assert_eq!(bench.group.commit_as(), CommitAs::NoMember);
    bench.answer(&sent, answer(3, Some("t-0 t-1")));
    let me = bench.group.identity();
    assert_eq!((me.generation_id, &me.member_id), (3, &join.member_id));
    assert_eq!(bench.group.commit_as(), CommitAs::Committer(me));
    // Nobody else is to get them, whenever the user hears of it.
    let (sent, ack) = bench.beat();
    assert_eq!((ack.member_epoch, ack.topic_partitions), (3, Some(shares("t-0 t-1"))));
    assert_eq!((ack.subscribed_topic_names, ack.server_assignor, ack.rack_id), (None, None, None));
    assert_eq!(ack.rebalance_timeout_ms, -1);
    bench.answer(&sent, answer(3, None));
    bench.tells("assigned t-0 t-1 of t-0 t-1");
    bench.nothing_sent();
    for _ in 0..3 {
        assert_eq!(bench.wait(), SECONDS(4), "as the coordinator wants it");
        let (sent, beat) = bench.beat();
        assert_eq!((beat.topic_partitions, beat.subscribed_topic_names), (None, None));
        bench.answer(&sent, answer(3, None));
    }
    bench.group.subscribe(topics("t"), bench.at);
    bench.run();
    let (_, beat) = bench.beat();
    assert_eq!(beat.subscribed_topic_names, Some(vec!["t".to_owned()]));
    let stats = bench.group.stats().take();
    assert_eq!((stats.rebalance.count, stats.heartbeat.count, stats.heartbeats_sent), (1, 5, 6));
}

#[test]
fn the_target_is_reached_by_revoking_assigning_and_saying_so() {
    let mut bench = member_with("t-0 t-1");
    bench.wait();
    let (sent, _) = bench.beat();
    bench.answer(&sent, answer(2, Some("t-1 u-0")));
    let (sent, beat) = bench.beat();
    assert_eq!((beat.member_epoch, beat.topic_partitions), (2, Some(shares("t-0 t-1 u-0"))));
    let event = bench.group.take_event(bench.at);
    assert!(matches!(event, Some(MemberEvent::Revoked(names)) if text(&names) == "t-0"));
    // The coordinator changes its mind: what was not told yet never is.
    bench.answer(&sent, answer(2, Some("t-2 u-1")));
    let (sent, beat) = bench.beat();
    assert_eq!(beat.topic_partitions, Some(shares("t-0 t-1 t-2 u-1")));
    bench.answer(&sent, answer(2, None));
    // Heartbeats go on while the listener is at work.
    bench.wait();
    let (sent, beat) = bench.beat();
    assert_eq!(beat.topic_partitions, None);
    bench.answer(&sent, answer(2, None));
    bench.group.event_done(bench.at);
    bench.run();
    let (sent, beat) = bench.beat();
    assert_eq!(beat.topic_partitions, Some(shares("t-1 t-2 u-1")));
    bench.answer(&sent, answer(2, None));
    bench.tells("revoked t-1");
    let (sent, beat) = bench.beat();
    assert_eq!(beat.topic_partitions, Some(shares("t-2 u-1")));
    bench.answer(&sent, answer(3, None));
    bench.tells("assigned t-2 u-1 of t-2 u-1");
    bench.tells_nothing();
    bench.nothing_sent();
}

#[test]
fn topics_without_a_name_wait_for_it() {
    let mut bench = started(config(), topics("t v"));
    let (sent, _) = bench.beat();
    bench.answer(&sent, answer(1, Some("t-0 v-1")));
    assert_eq!(bench.resolve, [id("v")].into());
    bench.resolve.clear();
    assert!(bench.wait() <= MS(120));
    assert_eq!(bench.resolve, [id("v")].into(), "the broker asked may not have known it yet");
    let (sent, beat) = bench.beat();
    assert_eq!(beat.topic_partitions, Some(shares("t-0")));
    bench.answer(&sent, answer(1, None));
    bench.tells("assigned t-0 of t-0");
    bench.names(&["t", "u", "v"]);
    let (sent, beat) = bench.beat();
    assert_eq!(beat.topic_partitions, Some(shares("t-0 v-1")));
    bench.answer(&sent, answer(1, None));
    bench.tells("assigned v-1 of t-0 v-1");
    // A topic that metadata forgets is still the one that is owned.
    bench.names(&["t"]);
    bench.wait();
    let (sent, _) = bench.beat();
    bench.answer(&sent, answer(2, Some("v-1")));
    bench.nothing_sent();
    bench.tells("revoked t-0");
    let (sent, beat) = bench.beat();
    assert_eq!(beat.topic_partitions, Some(shares("v-1")));
    bench.answer(&sent, answer(2, None));
    bench.tells("assigned  of v-1");
}

#[test]
fn a_fenced_member_loses_all_and_joins_under_the_same_id() {
    let mut bench = member_with("t-0");
    let id = bench.group.identity().member_id;
    bench.wait();
    let (sent, _) = bench.beat();
    bench.answer(&sent, refused(ErrorCode::FENCED_MEMBER_EPOCH));
    assert_eq!(bench.group.commit_as(), CommitAs::NoMember);
    bench.pass(SECONDS(5));
    bench.nothing_sent();
    bench.tells("lost t-0");
    let (sent, beat) = bench.beat();
    assert_eq!((beat.member_epoch, &beat.member_id), (0, &id));
    assert_eq!(beat.topic_partitions, Some(Vec::new()));
    // Again: not at once any more.
    bench.answer(&sent, refused(ErrorCode::FENCED_MEMBER_EPOCH));
    bench.nothing_sent();
    assert!(bench.wait() >= MS(80));
    bench.beat();
}

#[test]
fn an_assignment_that_was_not_told_yet_is_lost_without_a_trace() {
    let mut bench = started(config(), topics("t u"));
    let (sent, _) = bench.beat();
    bench.answer(&sent, answer(1, Some("t-0")));
    let (sent, _) = bench.beat();
    bench.answer(&sent, refused(ErrorCode::UNKNOWN_MEMBER_ID));
    bench.tells_nothing();
    let (_, beat) = bench.beat();
    assert_eq!(beat.member_epoch, 0);
}

#[test]
fn a_coordinator_that_makes_the_ids_is_listened_to() {
    let mut bench = started(config(), topics("t"));
    let (sent, _) = bench.beat();
    let GroupResponse::ConsumerGroupHeartbeat(response) = answer(1, Some("")) else {
        unreachable!()
    };
    let response =
        ConsumerGroupHeartbeatResponse { member_id: Some("given".to_owned()), ..response };
    bench.answer(&sent, GroupResponse::ConsumerGroupHeartbeat(response));
    bench.tells("assigned  of ");
    assert_eq!(bench.group.identity().member_id, "given");
}

#[test]
fn leaving_is_an_epoch() {
    let fixed = || GroupConfig { instance_id: Some("i".to_owned()), ..config() };
    for (config, mode, expected) in [
        (config(), LeaveMode::Default, Some(-1)),
        (config(), LeaveMode::Remain, None),
        (fixed(), LeaveMode::Default, Some(-2)),
        (fixed(), LeaveMode::Remain, Some(-2)),
        (fixed(), LeaveMode::Leave, Some(-1)),
    ] {
        let mut bench = member_of(config, "t-0");
        bench.group.leave(mode, "closed", bench.at);
        bench.run();
        bench.nothing_sent();
        bench.tells("revoked t-0");
        if let Some(epoch) = expected {
            let (sent, beat) = bench.beat();
            assert_eq!((beat.member_epoch, beat.topic_partitions), (epoch, None));
            assert!(!bench.group.is_out());
            bench.answer(&sent, answer(epoch, None));
        }
        bench.nothing_sent();
        assert!(bench.group.is_out(), "{mode:?}: {:?}", bench.group);
        assert_eq!(bench.group.next_deadline(), None);
    }
}

#[test]
fn leaving_waits_for_the_heartbeat_under_way() {
    let mut bench = member_with("");
    bench.wait();
    let (sent, _) = bench.beat();
    bench.group.unsubscribe(bench.at);
    bench.run();
    bench.nothing_sent();
    bench.answer(&sent, answer(5, Some("t-3")));
    let (sent, beat) = bench.beat();
    assert_eq!(beat.member_epoch, -1);
    bench.answer(&sent, answer(-1, None));
    bench.tells_nothing();
    bench.group.subscribe(topics("u"), bench.at);
    bench.run();
    bench.nothing_sent();
    bench.user_polls();
    let (_, beat) = bench.beat();
    assert_eq!(beat.member_epoch, 0);
}

#[test]
fn a_user_that_does_not_poll_loses_its_place_and_gets_another_by_polling() {
    for (instance, epoch) in [(None, -1), (Some("i".to_owned()), -2)] {
        let mut bench = member_of(GroupConfig { instance_id: instance, ..config() }, "t-0");
        let start = bench.at;
        loop {
            bench.wait();
            let (sent, beat) = bench.beat();
            bench.answer(&sent, answer(1, None));
            if beat.member_epoch < 0 {
                assert_eq!((beat.member_epoch, bench.at - start), (epoch, SECONDS(300)));
                break;
            }
        }
        bench.pass(SECONDS(1000));
        bench.nothing_sent();
        bench.user_polls();
        bench.tells("lost t-0");
        let (_, beat) = bench.beat();
        assert_eq!(beat.member_epoch, 0);
    }
}

#[test]
fn after_a_failure_everything_is_said_again_to_whoever_coordinates() {
    let mut bench = member_with("t-0");
    bench.wait();
    let (sent, _) = bench.beat();
    bench.fail(&sent, disconnected());
    bench.coordinator_is(1);
    bench.nothing_sent();
    assert!(bench.wait() <= MS(120));
    let (sent, beat) = bench.beat();
    assert_eq!((beat.member_epoch, beat.topic_partitions), (1, Some(shares("t-0"))));
    assert!(beat.subscribed_topic_names.is_some() && beat.rebalance_timeout_ms > 0);
    bench.answer(&sent, answer(1, None));
    bench.tells_nothing();

    // Without back-off if it only moved.
    bench.wait();
    let (sent, _) = bench.beat();
    bench.answer(&sent, refused(ErrorCode::NOT_COORDINATOR));
    bench.coordinator_is(1);
    let (_, beat) = bench.beat();
    assert_eq!(beat.topic_partitions, Some(shares("t-0")));
}

#[test]
fn a_regular_expression_is_sent_and_taken_back() {
    let regex = || GroupSubscription::BrokerRegex("t.*".to_owned());
    let mut bench = started(config(), regex());
    let (sent, beat) = bench.beat();
    assert_eq!(beat.subscribed_topic_regex.as_deref(), Some("t.*"));
    assert_eq!(beat.subscribed_topic_names, Some(Vec::new()));
    bench.answer(&sent, answer(1, Some("t-0")));
    let (sent, beat) = bench.beat();
    assert_eq!(beat.subscribed_topic_regex, None);
    bench.answer(&sent, answer(1, None));
    bench.tells("assigned t-0 of t-0");
    bench.group.subscribe(topics("u"), bench.at);
    bench.run();
    let (_, beat) = bench.beat();
    assert_eq!(beat.subscribed_topic_regex.as_deref(), Some(""));
    assert_eq!(beat.subscribed_topic_names, Some(vec!["u".to_owned()]));

    let mut bench = started(config(), regex());
    let (sent, _) = bench.beat();
    bench.answer(&sent, refused(ErrorCode::INVALID_REGULAR_EXPRESSION));
    let error = bench.failure();
    assert!(error.is_fatal() && error.to_string().contains("says the broker"), "{error}");

    // A broker of v0 has no field for it.
    let mut bench = started(config(), regex());
    let (sent, _) = bench.beat();
    let peer = Peer::new(None, "h", 1);
    let cause = "SubscribedTopicRegex".into();
    bench.fail(&sent, ClientError::Encode { api: "ConsumerGroupHeartbeat", peer, cause });
    assert!(matches!(bench.failure(), GroupError::UnsupportedRegex { .. }));
}

#[test]
fn a_broker_without_the_protocol_is_an_error_that_says_what_to_change() {
    let mut bench = started(config(), topics("t"));
    let (sent, _) = bench.beat();
    bench.answer(&sent, refused(ErrorCode::UNSUPPORTED_VERSION));
    let error = bench.failure();
    assert!(error.to_string().contains("group.protocol=classic"), "{error}");
    bench.user_polls();
    bench.nothing_sent();
    assert!(matches!(bench.failure(), GroupError::Unsupported { .. }));
}

#[test]
fn odd_answers_do_no_harm() {
    let mut bench = started(config(), topics("t"));
    let (sent, _) = bench.beat();
    // A member's epoch is above 0.
    bench.answer(&sent, answer(-7, Some("t-0")));
    bench.tells_nothing();
    assert!(bench.wait() >= MS(80));
    let (sent, _) = bench.beat();
    let GroupResponse::ConsumerGroupHeartbeat(response) = answer(1, Some("t-0")) else {
        unreachable!()
    };
    let mut target = shares("t-0");
    target[0].partitions.extend([-4, 0, 0]);
    target.push(TopicPartitions { topic_id: id("u"), partitions: Vec::new() });
    let response = ConsumerGroupHeartbeatResponse {
        heartbeat_interval_ms: -1,
        assignment: Some(Target { topic_partitions: target }),
        ..response
    };
    bench.answer(&sent, GroupResponse::ConsumerGroupHeartbeat(response));
    let (sent, beat) = bench.beat();
    assert_eq!(beat.topic_partitions, Some(shares("t-0")));
    bench.answer(&sent, answer(1, None));
    bench.tells("assigned t-0 of t-0");
    assert_eq!(bench.wait(), SECONDS(4));
    bench.beat();
}

#[test]
fn a_commit_that_was_refused_brings_the_next_heartbeat_forward() {
    let mut bench = member_with("t-0");
    let me = bench.group.identity();
    bench.group.commit_refused(ErrorCode::OFFSET_METADATA_TOO_LARGE, &me, bench.at);
    bench.run();
    bench.nothing_sent();
    bench.group.commit_refused(ErrorCode::STALE_MEMBER_EPOCH, &me, bench.at);
    bench.run();
    let (sent, _) = bench.beat();
    bench.answer(&sent, answer(2, None));
    assert_eq!(bench.group.identity().generation_id, 2);
}
