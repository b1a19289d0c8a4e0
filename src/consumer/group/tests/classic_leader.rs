//! The classic protocol: what the leader of a group assigns, and by which protocol.

use super::*;

#[test]
fn the_leader_assigns_when_the_topics_of_all_members_are_known() {
    let mut bench = Bench::new(config(&[Eager]));
    bench.group.subscribe(topics("t"), bench.at);
    bench.know(&[("t", 2)]);
    bench.user_polls();
    bench.coordinator_is(1);
    let (sent, join) = bench.join_request();
    let other = MemberSubscription::new(["v", "gone"]);
    let other = ConsumerProtocolSubscription::from(&other);
    let members = [
        ("me", join.protocols[0].metadata.clone()),
        ("other", other.to_bytes().unwrap()),
        ("broken", Bytes::from_static(b"\0\0\x7f")),
    ];
    let members = members.map(|(id, metadata)| JoinGroupResponseMember {
        member_id: id.to_owned(),
        metadata,
        ..JoinGroupResponseMember::default()
    });
    let GroupResponse::JoinGroup(response) = joined(1, "me", "me") else { unreachable!() };
    let response = JoinGroupResponse { members: members.to_vec(), ..response };
    bench.answer(&sent, GroupResponse::JoinGroup(response));
    assert_eq!(bench.tracked, ["gone", "t", "v"].map(str::to_owned).into());
    bench.nothing_sent();
    bench.know(&[("t", 2), ("v", 1), ("gone", 0)]);
    let (sent, sync) = bench.sync_request();
    let read = |assignment: &Bytes| {
        let wire = ConsumerProtocolAssignment::from_bytes(assignment.clone()).unwrap();
        text(&Assignment::from(wire).partitions)
    };
    let given: BTreeMap<_, _> = sync
        .assignments
        .iter()
        .map(|given| (given.member_id.as_str(), read(&given.assignment)))
        .collect();
    let expected = [("broken", ""), ("me", "t-0 t-1"), ("other", "v-0")];
    assert_eq!(given, expected.map(|(id, share)| (id, share.to_owned())).into());
    bench.answer(&sent, synced("t-0 t-1"));
    bench.tells("assigned t-0 t-1 of t-0 t-1");

    // A topic of another member grows, which is for the leader to see.
    bench.know(&[("t", 2), ("v", 1), ("gone", 0), ("w", 9)]);
    bench.nothing_sent();
    bench.know(&[("t", 2), ("v", 2), ("gone", 0)]);
    bench.tells("revoked t-0 t-1");
    let (_, join) = bench.join_request();
    let reason = "the partitions of the group's topics have changed";
    assert_eq!(join.reason.as_deref(), Some(reason));
}

#[test]
fn the_leader_of_a_returning_static_member_may_skip_the_assignment() {
    let mut bench = Bench::new(config(&[Eager]));
    bench.group.subscribe(topics("t"), bench.at);
    bench.know(&[("t", 2)]);
    bench.user_polls();
    bench.coordinator_is(1);
    let (sent, join) = bench.join_request();
    let GroupResponse::JoinGroup(response) = joined(1, "me", "me") else { unreachable!() };
    let me = JoinGroupResponseMember {
        member_id: "me".to_owned(),
        metadata: join.protocols[0].metadata.clone(),
        ..JoinGroupResponseMember::default()
    };
    let response = JoinGroupResponse { skip_assignment: true, members: vec![me], ..response };
    bench.answer(&sent, GroupResponse::JoinGroup(response));
    let (sent, sync) = bench.sync_request();
    assert!(sync.assignments.is_empty());
    bench.answer(&sent, synced("t-0 t-1"));
    bench.tells("assigned t-0 t-1 of t-0 t-1");
    // It still keeps watch.
    bench.know(&[("t", 3)]);
    bench.tells("revoked t-0 t-1");
}

#[test]
fn the_leader_does_not_wait_for_ever_for_topics() {
    let mut bench = Bench::new(config(&[Eager]));
    bench.group.subscribe(topics("t"), bench.at);
    bench.user_polls();
    bench.coordinator_is(1);
    let (sent, _) = bench.join_request();
    bench.answer(&sent, joined_alone(1));
    assert_eq!(bench.wait(), SECONDS(3));
    bench.heartbeat(ErrorCode::NONE);
    assert_eq!(bench.wait(), SECONDS(2));
    let (sent, _) = bench.sync_request();
    bench.answer(&sent, synced(""));
    bench.tells("assigned  of ");
    bench.know(&[("t", 1)]);
    let (_, join) = bench.join_request();
    assert!(join.reason.is_some_and(|reason| reason.contains("topics have changed")));
}

#[test]
fn all_assignors_have_to_share_a_rebalance_protocol() {
    let with = |protocols: &[&'static [RebalanceProtocol]]| {
        let assignors = protocols.iter().zip(["a", "b"]);
        let assignors: Vec<Arc<dyn Assignor>> = assignors
            .map(|(protocols, name)| Arc::new(Greedy(name, protocols)) as Arc<dyn Assignor>)
            .collect();
        let protocol = MemberProtocol::Classic {
            assignors,
            session_timeout: SECONDS(45),
            heartbeat_interval: SECONDS(3),
        };
        Group::new(GroupConfig { protocol, ..config(&[]) }, 1)
    };
    let error = with(&[&[Eager], &[Cooperative]]).unwrap_err();
    assert!(error.to_string().contains("a, b"), "{error}");
    assert!(with(&[]).is_err());
    let mixed = with(&[&[Eager], &[Cooperative, Eager]]).unwrap();
    assert!(format!("{mixed:?}").contains("Eager"), "{mixed:?}");
    let cooperative = with(&[&[Cooperative, Eager], &[Cooperative]]).unwrap();
    assert!(format!("{cooperative:?}").contains("Cooperative"), "{cooperative:?}");
}

/// Whatever an assignor says.
#[test]
fn a_cooperative_leader_deals_out_nothing_that_another_member_owns() {
    let mut bench = Bench::new(config(&[Cooperative]));
    bench.group.subscribe(topics("t"), bench.at);
    bench.know(&[("t", 4)]);
    bench.user_polls();
    bench.coordinator_is(1);
    let (sent, _) = bench.join_request();
    let member = |id: &str, owned: &str, generation| {
        let said = MemberSubscription {
            owned_partitions: partitions(owned),
            generation_id: generation,
            ..MemberSubscription::new(["t"])
        };
        JoinGroupResponseMember {
            member_id: id.to_owned(),
            metadata: ConsumerProtocolSubscription::from(&said).to_bytes().unwrap(),
            ..JoinGroupResponseMember::default()
        }
    };
    // `old` has slept through a generation, and claims what it owned before.
    let members = vec![
        member("me", "t-0", Some(5)),
        member("new", "t-1", Some(5)),
        member("old", "t-0 t-2", Some(4)),
    ];
    let GroupResponse::JoinGroup(response) = joined(6, "me", "me") else { unreachable!() };
    bench.answer(&sent, GroupResponse::JoinGroup(JoinGroupResponse { members, ..response }));
    let (_, sync) = bench.sync_request();
    let mine = sync.assignments.iter().find(|given| given.member_id == "me").unwrap();
    let wire = ConsumerProtocolAssignment::from_bytes(mine.assignment.clone()).unwrap();
    assert_eq!(text(&Assignment::from(wire).partitions), "t-0 t-3");
}
