//! Rounds of a group: joining, syncing, and what ends a round early.

use super::*;

#[test]
fn a_newcomer_comes_back_with_the_id_it_is_given() {
    let mut world = World::new();
    let refused = world.join_now(&who(""));
    assert_eq!(refused.error_code, ErrorCode::MEMBER_ID_REQUIRED);
    assert!(refused.member_id.starts_with("client-"), "{}", refused.member_id);
    let joined = world.join_now(&who(&refused.member_id));
    assert_eq!((joined.error_code, joined.generation_id), (ErrorCode::NONE, 1));
    assert_eq!((joined.leader, joined.member_id), (refused.member_id.clone(), refused.member_id));
    assert_eq!(joined.members.len(), 1);
    assert_eq!(joined.protocol_name.as_deref(), Some("range"));
    assert_eq!(World::new().join_now(&newcomer()).generation_id, 1, "at once before version 4");
}

#[test]
fn an_id_that_nobody_comes_back_with_is_forgotten() {
    let mut world = World::new();
    let id = world.join_now(&who("")).member_id;
    let (ids, generation) = world.stable(&[newcomer()]);
    assert_eq!(world.heartbeat(&ids[0], generation), Ok(()), "a first rebalance waits for nobody");
    world.pass(ms(SESSION as u64));
    assert_eq!(world.join_now(&who(&id)).error_code, ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn a_rebalance_waits_for_ids_that_were_given_out() {
    let mut world = World::new();
    let (ids, _) = world.stable(&[newcomer()]);
    let id = world.join_now(&who("")).member_id;
    let first = world.join(&who(&ids[0]));
    assert_eq!(world.joined(first), None, "the other is on its way");
    let second = world.join(&who(&id));
    assert_eq!(world.joined(first).unwrap().members.len(), 2);
    assert_eq!(world.joined(second).unwrap().members, []);
}

#[test]
fn the_second_member_makes_the_first_one_join_again() {
    let mut world = World::new();
    let (ids, generation) = world.stable(&[newcomer()]);
    assert_eq!(world.heartbeat(&ids[0], generation), Ok(()));
    let second = world.join(&newcomer());
    assert_eq!(world.joined(second), None);
    assert_eq!(world.heartbeat(&ids[0], generation), Err(ErrorCode::REBALANCE_IN_PROGRESS));
    let first = world.join(&who(&ids[0]));
    let (first, second) = (world.joined(first).unwrap(), world.joined(second).unwrap());
    assert_eq!((first.generation_id, second.generation_id), (generation + 1, generation + 1));
    assert_eq!((&first.leader, &second.leader), (&ids[0], &ids[0]));
    let told: Vec<_> = first.members.iter().map(|member| &member.member_id).collect();
    assert_eq!(told, [&ids[0], &second.member_id]);
}

#[test]
fn each_gets_what_the_leader_assigned_it() {
    let mut world = World::new();
    let (ids, generation) = world.stable(&[newcomer(), newcomer(), newcomer()]);
    for who_joins in &ids {
        world.join(&who(who_joins));
    }
    let generation = generation + 1;
    let waits = world.sync(&ids[2], generation, &[]);
    assert_eq!(world.synced(waits), None, "the leader is still thinking");
    let leader = world.sync(&ids[0], generation, &[(&ids[0], "zero"), (&ids[2], "two")]);
    assert_eq!(world.synced(leader), Some(Ok("zero".into())));
    assert_eq!(world.synced(waits), Some(Ok("two".into())));
    let late = world.sync(&ids[1], generation, &[]);
    assert_eq!(world.synced(late), Some(Ok(Bytes::new())), "the leader left it out");
}

#[test]
fn those_who_do_not_join_again_in_time_are_dropped() {
    let mut world = World::new();
    let (ids, generation) = world.stable(&[newcomer(), newcomer()]);
    let third = world.join(&newcomer());
    let second = world.join(&who(&ids[1]));
    for _ in 0..(REBALANCE / SESSION * 2) {
        assert_eq!(world.joined(third), None);
        // It is alive, but busy: with heartbeats alone it does not stay.
        assert_eq!(world.heartbeat(&ids[0], generation), Err(ErrorCode::REBALANCE_IN_PROGRESS));
        world.pass(ms(SESSION as u64 / 2));
    }
    let (second, third) = (world.joined(second).unwrap(), world.joined(third).unwrap());
    assert_eq!(second.leader, ids[1], "the leader is gone, so another leads");
    assert_eq!((second.members.len(), third.generation_id), (2, generation + 1));
    assert_eq!(world.heartbeat(&ids[0], generation), Err(ErrorCode::UNKNOWN_MEMBER_ID));
}

#[test]
fn those_who_do_not_sync_in_time_are_dropped() {
    let mut world = World::new();
    let (ids, generation) = world.stable(&[newcomer(), newcomer()]);
    world.join(&who(&ids[0]));
    world.join(&who(&ids[1]));
    let waits = world.sync(&ids[1], generation + 1, &[]);
    for _ in 0..(REBALANCE / SESSION * 2) {
        assert_eq!(world.heartbeat(&ids[0], generation + 1), Ok(()));
        world.pass(ms(SESSION as u64 / 2));
    }
    assert_eq!(world.synced(waits), Some(Err(ErrorCode::REBALANCE_IN_PROGRESS)));
    assert_eq!(world.member_ids(), ids[1..]);
    let again = world.join_now(&who(&ids[1]));
    assert_eq!((again.generation_id, again.leader), (generation + 2, ids[1].clone()));
}

#[test]
fn a_silent_member_is_dropped_and_the_others_rebalance() {
    let mut world = World::new();
    let (ids, generation) = world.stable(&[newcomer(), newcomer()]);
    world.pass(ms(SESSION as u64 - 1));
    assert_eq!(world.heartbeat(&ids[1], generation), Ok(()));
    world.pass(ms(1));
    assert_eq!(world.heartbeat(&ids[1], generation), Err(ErrorCode::REBALANCE_IN_PROGRESS));
    assert_eq!(world.member_ids(), ids[1..]);
    assert_eq!(world.join_now(&who(&ids[1])).generation_id, generation + 1);
    world.pass(ms(SESSION as u64 * 2));
    assert_eq!((world.show().state.as_str(), world.show().generation), ("Empty", generation + 2));
}

#[test]
fn a_member_that_waits_for_the_others_needs_no_heartbeat() {
    let mut world = World::new();
    let (ids, generation) = world.stable(&[newcomer(), newcomer()]);
    let first = world.join(&who(&ids[0]));
    for _ in 0..4 {
        world.pass(ms(SESSION as u64 / 2));
        let _ = world.heartbeat(&ids[1], generation);
    }
    assert_eq!(world.joined(first), None);
    world.join(&who(&ids[1]));
    assert_eq!(world.joined(first).unwrap().members.len(), 2);
}

#[test]
fn a_first_rebalance_waits_for_more_members_as_long_as_they_come() {
    let initial_rebalance_delay = ms(3000);
    let mut world = World::with(GroupSettings { initial_rebalance_delay, ..Default::default() });
    let tickets = [0, 2000, 2000, 4000].map(|pause| {
        world.pass(ms(pause));
        world.join(&newcomer())
    });
    // The last came at 8 s, within the delay that the second drew out to 6 s and the third to 9 s.
    world.pass(ms(3999));
    assert_eq!(tickets.map(|ticket| world.joined(ticket)), [const { None }; 4]);
    world.pass(ms(1));
    let joined = tickets.map(|ticket| world.joined(ticket).unwrap().generation_id);
    assert_eq!(joined, [1; 4]);
}

#[test]
fn the_protocol_with_the_most_votes_is_taken() {
    let with = |protocols: &[(&'static str, &'static str)]| Who {
        protocols: protocols.to_vec(),
        ..newcomer()
    };
    let mut world = World::new();
    let members = [
        with(&[("range", "r0"), ("sticky", "s0")]),
        with(&[("sticky", "s1"), ("range", "r1")]),
        with(&[("only-mine", "m2"), ("sticky", "s2"), ("range", "r2")]),
    ];
    let initial_rebalance_delay = ms(1);
    world.groups.settings = GroupSettings { initial_rebalance_delay, ..Default::default() };
    let tickets = members.each_ref().map(|member| world.join(member));
    world.pass(ms(2));
    let [first, ..] = tickets.map(|ticket| world.joined(ticket).unwrap());
    assert_eq!(first.protocol_name.as_deref(), Some("sticky"));
    let metadata: Vec<_> = first.members.iter().map(|member| &member.metadata[..]).collect();
    assert_eq!(metadata, [b"s0", b"s1", b"s2"]);
    let stranger = world.join_now(&with(&[("only-mine", "m")]));
    assert_eq!(stranger.error_code, ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    for protocols in [&[][..], &[("range", "")]] {
        let mut request = with(protocols);
        request.version = 3;
        let mut other = World::new();
        let code = other.join_now(&request).error_code;
        assert_eq!(code.is_ok(), !protocols.is_empty(), "{protocols:?}");
    }
}

#[test]
fn who_joins_again_is_told_the_generation_or_begins_another() {
    let other = |id: &str| Who { protocols: vec![("range", "changed")], ..who(id) };
    // (who joins again, with other metadata, once the group is stable) -> a rebalance?
    for (n, changed, stable, rebalances) in [
        (0, false, true, true),
        (1, false, true, false),
        (1, true, true, true),
        (0, false, false, false),
        (1, false, false, false),
        (0, true, false, true),
        (1, true, false, true),
    ] {
        let mut world = World::new();
        let (ids, mut generation) = world.stable(&[newcomer(), newcomer()]);
        if !stable {
            world.join(&who(&ids[0]));
            world.join(&who(&ids[1]));
            generation += 1;
        }
        let member = if changed { other(&ids[n]) } else { who(&ids[n]) };
        let ticket = world.join(&member);
        let told = world.joined(ticket).map(|told| (told.generation_id, told.members.len()));
        let members = if n == 0 { 2 } else { 0 };
        let case = format!("{n} {changed} {stable}");
        assert_eq!(told, (!rebalances).then_some((generation, members)), "{case}");
        assert_eq!(world.show().state == "PreparingRebalance", rebalances, "{case}");
    }
}

#[test]
fn requests_that_do_not_fit_are_refused() {
    let mut world = World::new();
    let sync = |world: &mut World, id: &str, generation| {
        let ticket = world.sync(id, generation, &[]);
        world.synced(ticket).unwrap().unwrap_err()
    };
    assert_eq!(sync(&mut world, "x", 1), ErrorCode::UNKNOWN_MEMBER_ID, "no group");
    assert_eq!(world.heartbeat("x", 1), Err(ErrorCode::UNKNOWN_MEMBER_ID));
    assert_eq!(world.leave(&[("x", None)]), [ErrorCode::UNKNOWN_MEMBER_ID]);
    assert_eq!(world.may_commit(1, "x"), Err(ErrorCode::GROUP_ID_NOT_FOUND));
    assert_eq!(world.join_now(&who("x")).error_code, ErrorCode::UNKNOWN_MEMBER_ID);
    let (ids, generation) = world.stable(&[newcomer()]);
    for (id, of, expected) in [
        ("x", generation, ErrorCode::UNKNOWN_MEMBER_ID),
        (&ids[0], generation - 1, ErrorCode::ILLEGAL_GENERATION),
        (&ids[0], generation + 1, ErrorCode::ILLEGAL_GENERATION),
    ] {
        assert_eq!(sync(&mut world, id, of), expected);
        assert_eq!(world.heartbeat(id, of), Err(expected));
        assert_eq!(world.may_commit(of, id), Err(expected));
    }
    let request = SyncGroupRequest {
        group_id: GROUP.to_owned(),
        generation_id: generation,
        member_id: ids[0].clone(),
        protocol_name: Some("sticky".to_owned()),
        ..Default::default()
    };
    let ticket = world.groups.sync(world.now, &request);
    assert_eq!(world.synced(ticket), Some(Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL)));
    for (group_id, session_timeout_ms, expected) in [
        ("", SESSION, ErrorCode::INVALID_GROUP_ID),
        (GROUP, 5_999, ErrorCode::INVALID_SESSION_TIMEOUT),
        (GROUP, 1_800_001, ErrorCode::INVALID_SESSION_TIMEOUT),
        (GROUP, -1, ErrorCode::INVALID_SESSION_TIMEOUT),
    ] {
        let group_id = group_id.to_owned();
        let request = JoinGroupRequest { group_id, session_timeout_ms, ..Default::default() };
        let ticket = world.groups.join(world.now, 9, "", request);
        assert_eq!(world.joined(ticket).unwrap().error_code, expected);
    }
}

#[test]
fn a_group_takes_no_more_members_than_it_may() {
    let mut world = World::with(GroupSettings { max_size: 1, ..Default::default() });
    let (ids, generation) = world.stable(&[newcomer()]);
    let refused = world.join_now(&newcomer());
    assert_eq!(refused.error_code, ErrorCode::GROUP_MAX_SIZE_REACHED);
    assert_eq!(world.heartbeat(&ids[0], generation), Ok(()));
}

#[test]
fn an_answer_that_nobody_takes_is_not_kept() {
    let mut world = World::new();
    let (ids, _) = world.stable(&[newcomer()]);
    let gone = world.join(&newcomer());
    world.groups.abandon(gone);
    let first = world.join(&who(&ids[0]));
    assert_eq!(world.joined(first).unwrap().members.len(), 2, "its request stands");
    assert!(world.groups.parked.is_empty());
}
