//! Members that join, sync, leave and fall silent at random: what must hold after each event, whatever happened.

use std::collections::HashMap;

use super::*;

/// What a member believes, and what it waits for.
#[derive(Debug, Default)]
struct Peer {
    id: String,
    instance: Option<&'static str>,
    generation: i32,
    leads: bool,
    others: Vec<String>,
    joining: Option<Ticket>,
    syncing: Option<Ticket>,
}

#[derive(Default)]
struct Facts {
    /// The leader of each generation.
    leaders: HashMap<i32, String>,
    /// What each generation's leader assigned to whom.
    assigned: HashMap<(i32, String), Bytes>,
}

impl Facts {
    fn joined(&mut self, peer: &mut Peer, response: JoinGroupResponse) {
        peer.joining = None;
        match response.error_code {
            ErrorCode::NONE => {}
            ErrorCode::MEMBER_ID_REQUIRED => return peer.id = response.member_id,
            ErrorCode::REBALANCE_IN_PROGRESS | ErrorCode::NOT_COORDINATOR => return,
            ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::FENCED_INSTANCE_ID => {
                return peer.id.clear();
            }
            other => panic!("{other} to a JoinGroup of {peer:?}"),
        }
        let generation = response.generation_id;
        peer.generation = generation;
        peer.id = response.member_id;
        peer.leads = response.leader == peer.id;
        peer.others = response.members.into_iter().map(|member| member.member_id).collect();
        if !response.skip_assignment && peer.instance.is_none() {
            let leader = self.leaders.entry(generation).or_insert_with(|| response.leader.clone());
            let is_static = leader.starts_with("static") || response.leader.starts_with("static");
            assert!(*leader == response.leader || is_static, "two lead generation {generation}");
        }
    }

    fn synced(&self, peer: &mut Peer, answer: Result<Bytes, ErrorCode>) {
        peer.syncing = None;
        match answer {
            Ok(bytes) if peer.instance.is_none() => {
                let own = self.assigned.get(&(peer.generation, peer.id.clone()));
                assert_eq!(Some(&bytes), own, "{peer:?} got what nobody gave it");
            }
            Ok(_) => {}
            Err(ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::FENCED_INSTANCE_ID) => peer.id.clear(),
            Err(ErrorCode::REBALANCE_IN_PROGRESS | ErrorCode::NOT_COORDINATOR) => {}
            Err(ErrorCode::ILLEGAL_GENERATION) => {}
            Err(other) => panic!("{other} to a SyncGroup of {peer:?}"),
        }
    }
}

/// Lets a peer do one thing that its state allows.
fn act(world: &mut World, facts: &mut Facts, peer: &mut Peer, rng: &mut fastrand::Rng) {
    if peer.joining.is_some() || peer.syncing.is_some() {
        return;
    }
    match rng.u32(0..10) {
        0..4 => {
            let version = if rng.bool() { 9 } else { 3 };
            let me = Who { version, instance: peer.instance, ..who(&peer.id) };
            let version = if peer.instance.is_some() { 9 } else { version };
            peer.joining = Some(world.join(&Who { version, ..me }));
        }
        4..7 if !peer.id.is_empty() => {
            let stamp = format!("{}-{}", peer.generation, rng.u32(..));
            let given: Vec<_> =
                peer.others.iter().map(|id| (id.clone(), format!("{id} {stamp}"))).collect();
            let given: Vec<_> = given.iter().map(|(id, a)| (id.as_str(), a.as_str())).collect();
            let completing = world.show().state == "CompletingRebalance";
            let same = world.show().generation == peer.generation;
            let leads = world.show().leader.as_deref() == Some(&peer.id);
            if leads && completing && same && world.member_ids().contains(&peer.id) {
                for (id, assignment) in &given {
                    let bytes = Bytes::copy_from_slice(assignment.as_bytes());
                    facts.assigned.insert((peer.generation, (*id).to_owned()), bytes);
                }
            }
            peer.syncing = Some(world.sync(&peer.id, peer.generation, &given));
        }
        7 => drop(world.leave(&[(&peer.id, peer.instance)])),
        _ => drop(world.heartbeat(&peer.id, peer.generation)),
    }
}

fn run(seed: u64) {
    let rng = &mut fastrand::Rng::with_seed(seed);
    let delay = ms([0, 3000][rng.usize(0..2)]);
    let settings = GroupSettings { initial_rebalance_delay: delay, ..Default::default() };
    let mut world = World::with(settings);
    let mut facts = Facts::default();
    let instances = [None, None, None, Some("static-a"), Some("static-b")];
    let mut peers = instances.map(|instance| Peer { instance, ..Peer::default() });
    // The group is there from the start.
    world.may_commit(-1, "").unwrap();
    for _ in 0..400 {
        let before = world.show().generation;
        let n = rng.usize(0..peers.len());
        act(&mut world, &mut facts, &mut peers[n], rng);
        let mut moved = false;
        collect(&mut world, &mut facts, &mut peers);
        match rng.u32(0..100) {
            0..10 => world.pass(ms(rng.u64(0..SESSION as u64))),
            // Nobody is heard of.
            10 => world.pass(ms(rng.u64(0..REBALANCE as u64 * 2))),
            11 => {
                let to = BrokerId(3 - world.groups.placement.coordinator(GROUP).unwrap().0);
                world.groups.move_coordinator(GROUP, to);
                moved = true;
                // Generations that were never written come again.
                facts.leaders.clear();
            }
            _ => {}
        }
        collect(&mut world, &mut facts, &mut peers);
        let after = world.show();
        assert!(after.generation >= before || moved, "generations do not go back");
        let leads = |id: &String| after.members.iter().any(|member| member.id == *id);
        assert!(after.leader.as_ref().is_none_or(leads), "who leads is a member");
        assert_eq!(after.leader.is_none(), after.members.is_empty(), "one leads");
    }
    // Left alone, every request is answered, and at the end nobody is a member.
    for _ in 0..2 {
        world.pass(ms(REBALANCE as u64 * 20));
    }
    collect(&mut world, &mut facts, &mut peers);
    assert!(world.groups.parked.is_empty(), "forgotten: {:?} of {peers:?}", world.groups.parked);
    assert_eq!(world.show().state, "Empty");
    assert_eq!(world.groups.next_deadline(GROUP), None);
}

fn collect(world: &mut World, facts: &mut Facts, peers: &mut [Peer]) {
    for peer in peers {
        if let Some(response) = peer.joining.and_then(|ticket| world.joined(ticket)) {
            facts.joined(peer, response);
        }
        if let Some(answer) = peer.syncing.and_then(|ticket| world.synced(ticket)) {
            facts.synced(peer, answer);
        }
    }
}

#[test]
fn whatever_members_do_the_group_holds_together() {
    for seed in 0..300 {
        run(seed);
    }
}
