//! The classic protocol: what a member is refused or told nonsense about, and what comes of it.

use super::*;

#[test]
fn a_fenced_member_stays_out_until_it_subscribes_anew() {
    let fixed = GroupConfig { instance_id: Some("i".to_owned()), ..config(&[Cooperative]) };
    let mut bench = Bench::member_with(fixed, "t-0");
    bench.wait();
    bench.heartbeat(ErrorCode::FENCED_INSTANCE_ID);
    bench.tells("lost t-0");
    for _ in 0..3 {
        let error = bench.failure();
        assert!(matches!(&error, GroupError::FencedInstanceId { instance, .. } if instance == "i"));
        assert!(error.is_fatal() && !error.is_retriable());
        bench.tells_nothing();
        bench.user_polls();
        bench.pass(SECONDS(60));
        bench.nothing_sent();
    }
    bench.group.subscribe(topics("t"), bench.at);
    bench.user_polls();
    bench.join_request();
    bench.tells_nothing();
}

#[test]
fn what_the_user_can_mend_is_tried_again_by_the_next_poll() {
    let mut bench = Bench::new(config(&[Eager]));
    bench.group.subscribe(topics("t"), bench.at);
    bench.user_polls();
    bench.coordinator_is(1);
    for code in [ErrorCode::GROUP_AUTHORIZATION_FAILED, ErrorCode::GROUP_MAX_SIZE_REACHED] {
        let (sent, _) = bench.join_request();
        bench.answer(&sent, join_error(code, ""));
        assert_eq!(bench.failure().code(), Some(code));
        bench.pass(SECONDS(10));
        bench.nothing_sent();
        bench.user_polls();
    }
    bench.join_request();
}

#[test]
fn what_a_broker_is_to_evaluate_takes_the_other_protocol() {
    let mut bench = Bench::new(config(&[Eager]));
    bench.group.subscribe(GroupSubscription::BrokerRegex("t.*".to_owned()), bench.at);
    bench.user_polls();
    assert!(matches!(bench.failure(), GroupError::UnsupportedRegex { .. }));
    bench.nothing_sent();
}

#[test]
fn refused_commits_say_something_of_the_membership_they_were_made_in() {
    let joins = |code, as_of: i32| {
        let mut bench = Bench::member_with(config(&[Eager]), "t-0");
        let me = bench.group.identity();
        let me = ConsumerGroupMetadata { generation_id: as_of, ..me };
        bench.group.commit_refused(code, &me, bench.at);
        bench.run();
        let told = bench.told();
        (told, bench.sent.pop_front().is_some())
    };
    assert_eq!(joins(ErrorCode::UNKNOWN_MEMBER_ID, 1), (Some("lost t-0".into()), true));
    assert_eq!(joins(ErrorCode::ILLEGAL_GENERATION, 1), (Some("lost t-0".into()), true));
    assert_eq!(joins(ErrorCode::REBALANCE_IN_PROGRESS, 1), (Some("revoked t-0".into()), true));
    assert_eq!(joins(ErrorCode::OFFSET_METADATA_TOO_LARGE, 1), (None, false));
    assert_eq!(joins(ErrorCode::UNKNOWN_MEMBER_ID, 0), (None, false), "of an earlier generation");
}

#[test]
fn answers_that_make_no_sense_are_told_and_the_group_is_not_left_spinning() {
    let bad_sync = |bytes: &'static [u8]| SyncGroupResponse {
        assignment: Bytes::from_static(bytes),
        ..SyncGroupResponse::default()
    };
    for (response, fails) in [
        (bad_sync(b"\0\0\0"), true),
        (bad_sync(b"\0\0\0\0\0\x01\0\x01t\0\0\0\x01\xff\xff\xff\xfe\xff\xff\xff\xff"), true),
        (bad_sync(b""), false),
        (SyncGroupResponse { protocol_name: Some("other".into()), ..bad_sync(b"") }, true),
        (SyncGroupResponse { protocol_type: Some("connect".into()), ..bad_sync(b"") }, true),
    ] {
        let mut bench = Bench::new(config(&[Eager]));
        bench.group.subscribe(topics("t"), bench.at);
        bench.user_polls();
        bench.coordinator_is(1);
        let (sent, _) = bench.join_request();
        bench.answer(&sent, joined(1, "me", "leader"));
        let (sent, _) = bench.sync_request();
        bench.answer(&sent, GroupResponse::SyncGroup(response.clone()));
        let told = bench.told().unwrap();
        assert_eq!(told.starts_with("failed"), fails, "{response:?}: {told}");
        assert_eq!(bench.group.next_deadline().is_none(), fails, "it waits for the user");
        bench.nothing_sent();
    }
    for response in [
        JoinGroupResponse { protocol_name: Some("other".into()), ..JoinGroupResponse::default() },
        JoinGroupResponse { protocol_type: Some("connect".into()), ..JoinGroupResponse::default() },
        JoinGroupResponse { protocol_name: Some("greedy".into()), ..JoinGroupResponse::default() },
    ] {
        let mut bench = Bench::new(config(&[Eager]));
        bench.group.subscribe(topics("t"), bench.at);
        bench.user_polls();
        bench.coordinator_is(1);
        let (sent, _) = bench.join_request();
        bench.answer(&sent, GroupResponse::JoinGroup(response));
        assert!(bench.told().unwrap().starts_with("failed"));
        bench.nothing_sent();
    }
}
