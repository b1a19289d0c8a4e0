//! Members that come back, leave, commit, and move with their group.

use super::*;

/// A static member of a stable group, with the id it has, and the generation.
fn with_static(world: &mut World) -> (Vec<String>, i32) {
    world.stable(&[static_member("one"), static_member("two")])
}

#[test]
fn a_static_member_that_is_back_goes_on_without_a_rebalance() {
    // (which member, version) -> (leader as told, members told, skip)
    for (n, version) in [(0, 9), (0, 8), (1, 9), (1, 8)] {
        let mut world = World::new();
        let (ids, generation) = with_static(&mut world);
        let instance = ["one", "two"][n];
        let back = world.join_now(&Who { version, ..static_member(instance) });
        assert_eq!((back.error_code, back.generation_id), (ErrorCode::NONE, generation));
        assert_ne!(back.member_id, ids[n]);
        assert!(back.member_id.starts_with(instance));
        let leads = n == 0 && version == 9;
        assert_eq!(back.skip_assignment, leads);
        assert_eq!(back.members.len(), if leads { 2 } else { 0 });
        let leader = if leads { &back.member_id } else { &ids[0] };
        assert_eq!(&back.leader, leader, "before version 9 it must not assign anew");
        let ticket = world.sync(&back.member_id, generation, &[]);
        assert_eq!(world.synced(ticket), Some(Ok(Bytes::copy_from_slice(ids[n].as_bytes()))));
        assert_eq!(world.heartbeat(&ids[1 - n], generation), Ok(()), "the other notices nothing");
        // The one that it replaces is out.
        assert_eq!(world.heartbeat(&ids[n], generation), Err(ErrorCode::UNKNOWN_MEMBER_ID));
        let fenced = Who { instance: Some(instance), ..who(&ids[n]) };
        assert_eq!(world.join_now(&fenced).error_code, ErrorCode::FENCED_INSTANCE_ID);
        let left = world.leave(&[(&ids[n], Some(instance))]);
        assert_eq!(left, [ErrorCode::FENCED_INSTANCE_ID]);
    }
}

#[test]
fn a_static_member_that_would_change_the_protocol_begins_a_rebalance() {
    let mut world = World::new();
    let protocols = vec![("range", "r"), ("sticky", "s")];
    let member = |instance| Who { protocols: protocols.clone(), ..static_member(instance) };
    let (ids, generation) = world.stable(&[member("one"), member("two")]);
    let back = world.join(&Who { protocols: vec![("sticky", "s")], ..static_member("two") });
    assert_eq!(world.joined(back), None);
    assert_eq!(world.heartbeat(&ids[0], generation), Err(ErrorCode::REBALANCE_IN_PROGRESS));
}

#[test]
fn a_static_member_fences_the_requests_of_the_one_before() {
    let mut world = World::new();
    let (ids, generation) = with_static(&mut world);
    let waits =
        world.join(&Who { protocols: vec![("range", "new")], ..static_with_id("one", &ids[0]) });
    assert_eq!(world.joined(waits), None, "the second is missing");
    let back = world.join(&static_member("one"));
    assert_eq!(world.joined(waits).unwrap().error_code, ErrorCode::FENCED_INSTANCE_ID);
    world.join(&static_with_id("two", &ids[1]));
    let back = world.joined(back).unwrap();
    assert_eq!((back.generation_id, &back.leader), (generation + 1, &back.member_id));
    // While the leader thinks, another incarnation makes what it thinks of obsolete.
    let syncs = world.sync(&ids[1], generation + 1, &[]);
    world.join(&static_member("two"));
    assert_eq!(world.synced(syncs), Some(Err(ErrorCode::FENCED_INSTANCE_ID)));
    let assigns = world.sync(&back.member_id, generation + 1, &[]);
    assert_eq!(world.synced(assigns), Some(Err(ErrorCode::REBALANCE_IN_PROGRESS)));
}

fn static_with_id(instance: &'static str, id: &str) -> Who {
    Who { instance: Some(instance), ..who(id) }
}

#[test]
fn a_static_member_that_does_not_join_again_stays_until_its_session_ends() {
    let mut world = World::new();
    let (ids, generation) = with_static(&mut world);
    let first = world.join(&static_with_id("one", &ids[0]));
    for _ in 0..REBALANCE / 5_000 {
        let _ = world.heartbeat(&ids[1], generation);
        world.pass(ms(5_000));
    }
    assert_eq!(world.joined(first).unwrap().members.len(), 2);
    assert_eq!(world.heartbeat(&ids[1], generation), Err(ErrorCode::ILLEGAL_GENERATION));
}

#[test]
fn several_leave_at_once_each_with_its_own_result() {
    let mut world = World::new();
    let members = [newcomer(), static_member("one"), static_member("two"), newcomer()];
    let (ids, generation) = world.stable(&members);
    let pending = world.join_now(&who("")).member_id;
    let left = world.leave(&[
        (&ids[1], None),
        ("", Some("two")),
        ("", Some("three")),
        ("nobody", None),
        (&pending, None),
        ("", None),
    ]);
    let (ok, unknown) = (ErrorCode::NONE, ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(left, [ok, ok, unknown, unknown, ok, unknown]);
    assert_eq!(world.member_ids(), [ids[0].clone(), ids[3].clone()]);
    assert_eq!(world.heartbeat(&ids[0], generation), Err(ErrorCode::REBALANCE_IN_PROGRESS));
    // The last one that is waited for leaves: the rest goes on.
    let first = world.join(&who(&ids[0]));
    assert_eq!(world.leave(&[(&ids[3], None)]), [ok]);
    assert_eq!(world.joined(first).unwrap().members.len(), 1);
}

#[test]
fn a_member_that_leaves_is_told_so_where_it_waits() {
    let mut world = World::new();
    let (ids, generation) = world.stable(&[newcomer(), newcomer()]);
    let joins = world.join(&who(&ids[0]));
    world.leave(&[(&ids[0], None)]);
    assert_eq!(world.joined(joins).unwrap().error_code, ErrorCode::UNKNOWN_MEMBER_ID);
    world.join(&who(&ids[1]));
    let third = world.join(&newcomer());
    world.join(&who(&ids[1]));
    let third = world.joined(third).unwrap();
    let syncs = world.sync(&third.member_id, generation + 2, &[]);
    world.leave(&[(&third.member_id, None)]);
    assert_eq!(world.synced(syncs), Some(Err(ErrorCode::UNKNOWN_MEMBER_ID)));
}

#[test]
fn a_request_that_is_sent_again_takes_the_place_of_the_first() {
    let mut world = World::new();
    let (ids, generation) = world.stable(&[newcomer(), newcomer()]);
    let [first, again] = [0; 2].map(|_| world.join(&who(&ids[0])));
    assert_eq!(world.joined(first).unwrap().error_code, ErrorCode::REBALANCE_IN_PROGRESS);
    assert_eq!(world.joined(again), None);
    world.join(&who(&ids[1]));
    assert_eq!(world.joined(again).unwrap().generation_id, generation + 1);
    let [first, again] = [0; 2].map(|_| world.sync(&ids[1], generation + 1, &[]));
    assert_eq!(world.synced(first), Some(Err(ErrorCode::REBALANCE_IN_PROGRESS)));
    assert_eq!(world.synced(again), None);
}

#[test]
fn offsets_are_committed_by_members_and_by_anyone_if_there_are_none() {
    let mut world = World::new();
    assert_eq!(world.may_commit(-1, ""), Ok(()), "it makes the group");
    assert_eq!(world.show().state, "Empty");
    let (ids, generation) = world.stable(&[newcomer()]);
    assert_eq!(world.may_commit(-1, ""), Err(ErrorCode::UNKNOWN_MEMBER_ID));
    assert_eq!(world.may_commit(generation, &ids[0]), Ok(()));
    // A commit keeps the session alive.
    for _ in 0..3 {
        world.pass(ms(SESSION as u64 - 1));
        assert_eq!(world.may_commit(generation, &ids[0]), Ok(()));
    }
    let second = world.join(&newcomer());
    assert_eq!(world.may_commit(generation, &ids[0]), Ok(()), "before it joins again");
    world.join(&who(&ids[0]));
    world.joined(second).unwrap();
    let late = world.may_commit(generation, &ids[0]);
    assert_eq!(late, Err(ErrorCode::ILLEGAL_GENERATION));
    let early = world.may_commit(generation + 1, &ids[0]);
    assert_eq!(early, Err(ErrorCode::REBALANCE_IN_PROGRESS), "before the assignment is there");
    let who = Identity { generation: 1, member_id: "x", instance_id: None };
    let older = world.groups.may_commit(world.now, 8, "unknown", who);
    assert_eq!(older, Err(ErrorCode::ILLEGAL_GENERATION));
}

#[test]
fn another_coordinator_begins_with_what_was_written() {
    let mut world = World::new();
    let from = world.groups.placement.coordinator(GROUP).unwrap();
    let to = BrokerId(3 - from.0);
    let (ids, generation) = world.stable(&[newcomer(), newcomer()]);
    let third = world.join(&newcomer());
    let first = world.join(&who(&ids[0]));
    let pending = world.join_now(&who("")).member_id;
    world.groups.move_coordinator(GROUP, to);
    assert_eq!(world.groups.check_node(from, GROUP), Err(ErrorCode::NOT_COORDINATOR));
    assert_eq!(world.groups.check_node(to, GROUP), Ok(()));
    for ticket in [third, first] {
        assert_eq!(world.joined(ticket).unwrap().error_code, ErrorCode::NOT_COORDINATOR);
    }
    assert_eq!(world.member_ids(), ids, "the rebalance never was");
    assert_eq!(world.join_now(&who(&pending)).error_code, ErrorCode::UNKNOWN_MEMBER_ID);
    // Their sessions begin anew when the coordinator does.
    assert_eq!(world.heartbeat(&ids[0], generation), Ok(()));
    world.pass(ms(SESSION as u64 - 1));
    assert_eq!(world.heartbeat(&ids[0], generation), Ok(()));
    world.pass(ms(1));
    assert_eq!(world.member_ids(), ids[..1], "the second was silent");
    let ticket = world.join(&newcomer());
    world.groups.node_stopped(to, &[from].into());
    assert_eq!(world.joined(ticket).unwrap().error_code, ErrorCode::NOT_COORDINATOR);
    assert_eq!(world.groups.check_node(from, GROUP), Ok(()));
}

#[test]
fn a_group_that_never_was_stable_moves_empty() {
    let mut world = World::new();
    let ticket = world.join(&newcomer());
    let id = world.joined(ticket).unwrap().member_id;
    let sync = world.sync("nobody", 1, &[]);
    world.synced(sync);
    let to = BrokerId(3 - world.groups.placement.coordinator(GROUP).unwrap().0);
    world.groups.move_coordinator(GROUP, to);
    assert_eq!((world.show().state.as_str(), world.show().generation), ("Empty", 0));
    assert_eq!(world.join_now(&who(&id)).error_code, ErrorCode::UNKNOWN_MEMBER_ID);
}
