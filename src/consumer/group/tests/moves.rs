//! Partitions that are on their way from one member to another when their owner is started again: a static
//! member comes back without them, without a rebalance, and does not know that it was to give them up.

use super::*;

/// Answers the JoinGroup of the leader, among members that own these.
fn leads(bench: &mut Bench, generation: i32, skip: bool, others: &[(&str, &str)]) {
    let (sent, join) = bench.join_request();
    let GroupResponse::JoinGroup(response) = joined(generation, "me", "me") else { unreachable!() };
    let member = |id: &str, metadata| JoinGroupResponseMember {
        member_id: id.to_owned(),
        metadata,
        ..JoinGroupResponseMember::default()
    };
    let mut members = vec![member("me", join.protocols[0].metadata.clone())];
    for (id, owned) in others {
        let mut subscription = MemberSubscription::new(["t"]);
        subscription.owned_partitions = partitions(owned);
        subscription.generation_id = Some(generation - 1);
        let wire = ConsumerProtocolSubscription::from(&subscription).to_bytes().unwrap();
        members.push(member(id, wire));
    }
    let response = JoinGroupResponse { skip_assignment: skip, members, ..response };
    bench.answer(&sent, GroupResponse::JoinGroup(response));
}

fn leader(protocols: &'static [RebalanceProtocol], skip: bool, others: &[(&str, &str)]) -> Bench {
    let mut bench = Bench::new(config(protocols));
    bench.group.subscribe(topics("t"), bench.at);
    bench.know(&[("t", 2)]);
    bench.user_polls();
    bench.coordinator_is(1);
    leads(&mut bench, 2, skip, others);
    let (sent, _) = bench.sync_request();
    bench.answer(&sent, synced("t-0"));
    bench.assigned();
    bench
}

/// How long it takes until the leader joins again by itself, while the user polls and the coordinator has no news, within
/// 20 minutes.
fn rejoins_after(bench: &mut Bench) -> Option<Duration> {
    let start = bench.at;
    while bench.at - start < SECONDS(1_200) {
        bench.user_polls();
        bench.wait();
        // Who gives up all it has says so first.
        let told = bench.told();
        assert!(told.is_none() || told.is_some_and(|told| told.starts_with("revoked")));
        let joins = |sent: &Sent| matches!(sent.request, GroupRequest::JoinGroup(_));
        if bench.sent.iter().any(joins) {
            return Some(bench.at - start);
        }
        if let Some(GroupRequest::Heartbeat(_)) = bench.sent.front().map(|sent| &sent.request) {
            bench.heartbeat(ErrorCode::NONE);
        }
    }
    None
}

/// "me" is the first and greedy, "you" has t-1.
#[test]
fn a_leader_rejoins_if_what_was_to_move_does_not() {
    let mut bench = leader(&[Cooperative], false, &[("you", "t-1")]);
    assert_eq!(rejoins_after(&mut bench), Some(SECONDS(300)));
    let (_, join) = bench.join_request_left();
    assert!(join.reason.is_some_and(|reason| reason.contains("nobody's")));
    // Its owner has come back without it.
    leads(&mut bench, 3, false, &[("you", "")]);
    let (sent, _) = bench.sync_request();
    bench.answer(&sent, synced("t-0 t-1"));
    bench.tells("assigned t-1 of t-0 t-1");
    assert_eq!(rejoins_after(&mut bench), None, "all is assigned");
}

/// It does not know what was on its way, once.
#[test]
fn a_leader_that_was_started_again_rejoins_after_the_time_of_a_rebalance() {
    let mut bench = leader(&[Cooperative], true, &[("you", "")]);
    assert_eq!(rejoins_after(&mut bench), Some(SECONDS(300)));
    leads(&mut bench, 3, false, &[("you", "")]);
    let (sent, _) = bench.sync_request();
    bench.answer(&sent, synced("t-0 t-1"));
    bench.tells("assigned t-1 of t-0 t-1");
    assert_eq!(rejoins_after(&mut bench), None);
}

#[test]
fn nothing_moves_where_everybody_keeps_what_it_has_or_all_is_given_up() {
    let mut bench = leader(&[Cooperative], false, &[]);
    assert_eq!(rejoins_after(&mut bench), None);
    let mut bench = leader(&[Eager], false, &[("you", "t-1")]);
    assert_eq!(rejoins_after(&mut bench), None);
}

/// A static leader that comes back to the generation that it left does not know what its members were given: a topic that
/// has grown since would be read in part only.
#[test]
fn a_leader_that_comes_back_deals_once_more() {
    let mut bench = leader(&[Eager], true, &[("you", "t-1")]);
    assert!(rejoins_after(&mut bench).is_some());
}

/// KIP-447: what an expelled member has read is not committed under nobody's name, which a coordinator lets through.
#[test]
fn an_expelled_member_keeps_the_name_under_which_it_read() {
    let mut bench = leader(&[Eager], false, &[]);
    let read_as = bench.group.metadata();
    assert!(read_as.is_member());
    bench.wait();
    bench.heartbeat(ErrorCode::UNKNOWN_MEMBER_ID);
    assert!(!bench.group.identity().is_member());
    assert_eq!(bench.group.metadata(), read_as);
    bench.group.unsubscribe(bench.at);
    assert!(!bench.group.metadata().is_member(), "who has left is nobody");
}
