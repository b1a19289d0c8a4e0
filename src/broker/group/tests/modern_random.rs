//! Members of the new protocol that join, dawdle, leave, come back and fall silent while topics grow: nobody ever owns
//! what another owns, and left alone they have everything between them.

use super::modern::{Topics, id_of};
use super::*;
use crate::protocol::messages::consumer_group_heartbeat::TopicPartitions;

/// A client: what it owns and what it was told to own.
#[derive(Debug, Default)]
struct Peer {
    id: String,
    instance: Option<String>,
    epoch: i32,
    owned: BTreeSet<Slot>,
    told: BTreeSet<Slot>,
    /// It missed an answer, and so says everything again.
    in_doubt: bool,
}

impl Peer {
    fn owned(&self) -> Vec<TopicPartitions> {
        let each = |&(topic_id, partition): &Slot| TopicPartitions {
            topic_id,
            partitions: vec![partition],
        };
        self.owned.iter().map(each).collect()
    }

    /// Gives up what it is to give up, then takes what it is to take.
    fn act(&mut self) {
        if self.owned.is_subset(&self.told) {
            self.owned.clone_from(&self.told);
        } else {
            self.owned = self.owned.intersection(&self.told).copied().collect();
        }
    }

    fn lost(&mut self) {
        (self.epoch, self.owned, self.told) = (0, BTreeSet::new(), BTreeSet::new());
    }

    fn beat(&mut self, world: &mut World, topics: &Topics, lost_answer: bool) {
        let says_all = self.epoch == 0 || self.in_doubt;
        let request = ConsumerGroupHeartbeatRequest {
            group_id: GROUP.to_owned(),
            member_id: self.id.clone(),
            member_epoch: self.epoch,
            instance_id: self.instance.clone(),
            rebalance_timeout_ms: if says_all { REBALANCE } else { -1 },
            subscribed_topic_names: says_all.then(|| vec!["t1".to_owned(), "t2".to_owned()]),
            topic_partitions: Some(self.owned()),
            ..Default::default()
        };
        let told = world.groups.consumer_heartbeat(world.now, (1, "client"), request, topics);
        match told {
            _ if lost_answer => {
                // What it was told to take may have been taken back in that answer.
                self.told = self.told.intersection(&self.owned).copied().collect();
                self.in_doubt = true;
            }
            Ok(told) => {
                self.in_doubt = false;
                self.epoch = told.member_epoch;
                if let Some(given) = told.assignment {
                    let each = |topic: TopicPartitions| {
                        topic.partitions.into_iter().map(move |p| (topic.topic_id, p))
                    };
                    self.told = given.topic_partitions.into_iter().flat_map(each).collect();
                }
            }
            Err(refused) => {
                let code = refused.code;
                let fences = [
                    ErrorCode::UNKNOWN_MEMBER_ID,
                    ErrorCode::FENCED_MEMBER_EPOCH,
                    ErrorCode::UNRELEASED_INSTANCE_ID,
                    ErrorCode::GROUP_ID_NOT_FOUND,
                ];
                assert!(fences.contains(&code), "{code}: {}", refused.message);
                self.lost();
            }
        }
    }
}

/// Nobody of those whom the coordinator knows owns what another does, and the coordinator knows of all of it.
fn check(world: &World, peers: &[Peer]) {
    let Some(Members::Consumer(group)) = world.groups.get(GROUP).map(|group| &group.members) else {
        return;
    };
    let mut held = BTreeMap::new();
    for member in group.members() {
        for slot in member.held() {
            let before = held.insert(slot, &member.id);
            assert_eq!(before, None, "{slot:?} is held by {} too: {group:?}", member.id);
        }
    }
    for peer in peers.iter().filter(|peer| world.member_ids().contains(&peer.id)) {
        for slot in &peer.owned {
            assert_eq!(held.get(slot), Some(&&peer.id), "{peer:?} in {group:?}");
        }
    }
}

fn run(seed: u64) {
    let rng = &mut fastrand::Rng::with_seed(seed);
    let mut world = World::new();
    let mut topics = Topics(BTreeMap::from([("t1".to_owned(), 3), ("t2".to_owned(), 2)]));
    let mut peers: Vec<Peer> = (0..5)
        .map(|n| Peer {
            id: format!("m{n}"),
            instance: (n > 3).then(|| format!("i{n}")),
            ..Peer::default()
        })
        .collect();
    let mut epoch = 0;
    for step in 0..300 {
        let n = rng.usize(0..peers.len());
        let peer = &mut peers[n];
        match rng.u32(0..20) {
            0..12 => peer.beat(&mut world, &topics, false),
            12 => peer.beat(&mut world, &topics, true),
            13..17 => peer.act(),
            17 if peer.epoch > 0 => {
                let member_epoch = if peer.instance.is_some() { -2 } else { -1 };
                let request = ConsumerGroupHeartbeatRequest {
                    group_id: GROUP.to_owned(),
                    member_id: peer.id.clone(),
                    member_epoch,
                    instance_id: peer.instance.clone(),
                    ..Default::default()
                };
                let now = world.now;
                let _ = world.groups.consumer_heartbeat(now, (1, ""), request, &topics);
                peer.lost();
                peer.id = format!("m{n}-{step}");
            }
            18 if rng.u32(0..8) == 0 => {
                let node = world.groups.placement.coordinator(GROUP).unwrap();
                world.groups.move_coordinator(GROUP, BrokerId(3 - node.0));
            }
            19 if rng.u32(0..8) == 0 => {
                *topics.0.get_mut("t2").unwrap() += 1;
            }
            _ => world.pass(ms(rng.u64(0..12_000))),
        }
        check(&world, &peers);
        let now = world.groups.get(GROUP).map_or(0, |group| show(group, |_| None).generation);
        assert!(now >= epoch, "epochs do not go back");
        epoch = now;
    }
    // Left alone, they come to rest with everything between them. Those who are gone are out in time.
    for _ in 0..60 {
        for peer in &mut peers {
            peer.beat(&mut world, &topics, false);
            peer.act();
        }
        world.pass(ms(5_000));
        check(&world, &peers);
    }
    assert_eq!(world.show().state, "Stable", "{:?}", world.groups.get(GROUP));
    let mut all: Vec<Slot> = peers.iter().flat_map(|peer| peer.owned.iter().copied()).collect();
    all.sort();
    let wanted = topics.0.iter().flat_map(|(name, &n)| (0..n).map(move |p| (id_of(name), p)));
    assert!(all.into_iter().eq(wanted), "{peers:?}");
    let counts = peers.iter().map(|peer| peer.owned.len());
    assert!(counts.clone().max() <= counts.min().map(|least| least + 1), "{peers:?}");
}

#[test]
fn no_partition_has_two_owners_and_at_rest_none_is_without() {
    for seed in 0..100 {
        run(seed);
    }
}
