//! Look-ups of what is committed.

use super::*;
use crate::protocol::messages::offset_fetch::{
    OffsetFetchResponse, OffsetFetchResponseGroup, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopics,
};

/// An answer by partition: offset, epoch and code.
fn said(fetch: &Fetch, of: impl Fn(i32) -> (i64, i32, ErrorCode)) -> OffsetFetchResponse {
    let request = fetch.at(9).groups.remove(0);
    let topics = request.topics.unwrap().into_iter().map(|topic| OffsetFetchResponseTopics {
        partitions: topic
            .partition_indexes
            .iter()
            .map(|index| {
                let (committed_offset, committed_leader_epoch, error_code) = of(*index);
                OffsetFetchResponsePartitions {
                    partition_index: *index,
                    committed_offset,
                    committed_leader_epoch,
                    metadata: Some("half".to_owned()),
                    error_code,
                }
            })
            .collect(),
        name: topic.name,
        topic_id: TopicId::ZERO,
    });
    let group = OffsetFetchResponseGroup {
        group_id: request.group_id,
        topics: topics.collect(),
        error_code: ErrorCode::NONE,
    };
    OffsetFetchResponse { groups: vec![group], ..OffsetFetchResponse::default() }
}

fn of_group(error_code: ErrorCode) -> OffsetFetchResponse {
    let group = OffsetFetchResponseGroup {
        group_id: "billing".to_owned(),
        error_code,
        ..OffsetFetchResponseGroup::default()
    };
    OffsetFetchResponse { groups: vec![group], ..OffsetFetchResponse::default() }
}

impl Bench {
    fn asked(&mut self) -> (u64, Fetch) {
        let mut seen = self.poll();
        assert_eq!(seen.fetches.len(), 1);
        seen.fetches.remove(0)
    }

    fn say(&mut self, token: u64, response: OffsetFetchResponse) {
        self.offsets.handle_fetch(token, Ok(response), &self.view, self.now);
    }
}

fn asked_of(fetch: &Fetch) -> Vec<i32> {
    let topics = fetch.at(9).groups.remove(0).topics.unwrap();
    topics.into_iter().flat_map(|topic| topic.partition_indexes).collect()
}

#[test]
fn what_is_committed_is_found_and_what_is_not_is_none() {
    let mut bench = Bench::classic();
    let both = bench.lookup(&[0, 1]);
    let one = bench.lookup(&[1]);
    let nothing = bench.lookup(&[]);
    // All in one request, by the classic protocol as no member.
    let (token, fetch) = bench.asked();
    assert_eq!(asked_of(&fetch), [0, 1]);
    let group = fetch.at(9).groups.remove(0);
    assert_eq!((&*group.group_id, group.member_id, group.member_epoch), ("billing", None, -1));
    bench.say(
        token,
        said(&fetch, |partition| {
            if partition == 0 { (42, 7, ErrorCode::NONE) } else { (-1, -1, ErrorCode::NONE) }
        }),
    );
    let seen = bench.poll();
    let at_42 = OffsetAndMetadata::new(42).with_leader_epoch(7).with_metadata("half");
    assert_eq!(seen.found[&both], Ok(Committed::from([(tp(0), Some(at_42)), (tp(1), None)])));
    assert_eq!(seen.found[&one], Ok(Committed::from([(tp(1), None)])));
    assert!(!seen.found.contains_key(&nothing), "it was found before");
    assert_eq!(bench.offsets.next_deadline(), None);
}

#[test]
fn who_asks_for_nothing_is_told_at_once() {
    let mut bench = Bench::classic();
    let id = bench.lookup(&[]);
    let seen = bench.poll();
    assert_eq!(seen.found[&id], Ok(Committed::new()));
    assert!(seen.fetches.is_empty() && seen.finds == 0);
}

/// KIP-447: a transaction that commits the offset is still open.
#[test]
fn what_is_unstable_is_waited_for_and_asked_again_alone() {
    let mut bench = Bench::classic();
    let id = bench.lookup(&[0, 1]);
    let (token, fetch) = bench.asked();
    assert!(
        fetch.at(9).require_stable && fetch.at(7).require_stable && !fetch.at(6).require_stable
    );
    bench.say(
        token,
        said(&fetch, |partition| match partition {
            0 => (1, -1, ErrorCode::NONE),
            _ => (-1, -1, ErrorCode::UNSTABLE_OFFSET_COMMIT),
        }),
    );
    let seen = bench.poll();
    assert!(seen.found.is_empty() && seen.fetches.is_empty() && seen.lost.is_empty());
    // Others do not wait for it.
    let other = bench.lookup(&[2]);
    let (token, fetch) = bench.asked();
    assert_eq!(asked_of(&fetch), [2]);
    bench.say(token, said(&fetch, |_| (3, -1, ErrorCode::NONE)));
    assert!(bench.poll().found[&other].is_ok());
    bench.pause();
    let (token, fetch) = bench.asked();
    assert_eq!(asked_of(&fetch), [1]);
    bench.say(token, said(&fetch, |_| (2, -1, ErrorCode::NONE)));
    assert_eq!(bench.poll().found[&id].as_ref().unwrap().len(), 2);
}

#[test]
fn codes_of_the_group_and_of_a_partition_do_what_the_table_says() {
    for code in ErrorCode::ALL.iter().copied().filter(|code| !code.is_ok()) {
        for whole in [true, false] {
            let mut bench = Bench::classic();
            let id = bench.lookup(&[0]);
            let (token, fetch) = bench.asked();
            bench.say(token, if whole { of_group(code) } else { said(&fetch, |_| (-1, -1, code)) });
            let seen = bench.poll();
            use classify::Verdict::*;
            let verdict = classify::of_lookup(code);
            // As no member there is no other epoch to ask with.
            let ends = match verdict {
                Refused | Overtaken | Fenced | FencedInstance | Unauthorized | Done => true,
                NewEpoch | Again { .. } => whole,
                Wait | Find => false,
            };
            let expected = ClientError::Broker {
                code,
                api: "OffsetFetch",
                subject: Some(if whole { "billing" } else { "orders-0" }.into()),
                message: None,
            };
            assert_eq!(seen.found.get(&id), ends.then_some(&Err(expected)), "{code} {whole}");
            assert_eq!(seen.lost.len(), usize::from(verdict == Find), "{code}");
            let refresh = !whole && verdict == Again { refresh: true };
            assert_eq!(seen.refreshes, usize::from(refresh), "{code}");
            assert!(seen.refused.is_empty() && seen.fetches.is_empty());
            bench.pause();
            assert_eq!(bench.poll().fetches.len(), usize::from(!ends), "{code}");
        }
    }
}

#[test]
fn a_member_of_the_new_protocol_asks_as_such() {
    let mut bench = Bench::new(GroupProtocol::Consumer);
    let id = bench.lookup(&[0]);
    let (token, fetch) = bench.asked();
    let group = fetch.at(9).groups.remove(0);
    assert_eq!((group.member_id.as_deref(), group.member_epoch), (Some("member-1"), 3));
    bench.say(token, of_group(ErrorCode::STALE_MEMBER_EPOCH));
    bench.view.commit_as = member(4);
    let seen = bench.poll();
    assert!(seen.refused.is_empty() && seen.found.is_empty());
    bench.pause();
    let (token, fetch) = bench.asked();
    assert_eq!(fetch.at(9).groups[0].member_epoch, 4);
    bench.say(token, of_group(ErrorCode::UNKNOWN_MEMBER_ID));
    let seen = bench.poll();
    assert_eq!(seen.refused, [ErrorCode::UNKNOWN_MEMBER_ID]);
    // Out of the group it asks as nobody.
    bench.view.commit_as = CommitAs::NoMember;
    bench.pause();
    let (token, fetch) = bench.asked();
    assert_eq!(fetch.at(9).groups[0].member_id, None);
    bench.say(token, said(&fetch, |_| (5, -1, ErrorCode::NONE)));
    assert!(bench.poll().found[&id].is_ok());
}

#[test]
fn a_lost_connection_is_one_lost_coordinator_and_the_deadline_tells_the_cause() {
    let mut bench = Bench::classic();
    let id = bench.lookup(&[0]);
    let (token, _) = bench.asked();
    bench.offsets.handle_fetch(token, Err(lost(true)), &bench.view, bench.now);
    let seen = bench.poll();
    assert_eq!((seen.lost, seen.found.len()), (vec![1], 0));
    bench.view.coordinator = None;
    bench.pause();
    assert_eq!(bench.poll().finds, 1);
    bench.now += MS(59_000);
    assert_eq!(bench.poll().found[&id], Err(lost(true)));
    // Nothing was ever sent.
    let id = bench.lookup(&[0]);
    bench.now += MS(60_000);
    match &bench.poll().found[&id] {
        Err(ClientError::Broker { code, api, .. }) => {
            assert_eq!((*code, *api), (ErrorCode::COORDINATOR_NOT_AVAILABLE, "FindCoordinator"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_answer_without_the_group_or_the_partition_is_an_error() {
    let mut bench = Bench::classic();
    let id = bench.lookup(&[0]);
    let (token, fetch) = bench.asked();
    let mut answer = said(&fetch, |_| (5, -1, ErrorCode::NONE));
    answer.groups[0].group_id = "other".to_owned();
    bench.say(token, answer);
    assert!(bench.poll().found[&id].is_err());
    // Of an older version: one group, and its code.
    let id = bench.lookup(&[0]);
    let (token, _) = bench.asked();
    let code = ErrorCode::GROUP_AUTHORIZATION_FAILED;
    bench.say(token, OffsetFetchResponse { error_code: code, ..OffsetFetchResponse::default() });
    assert!(bench.poll().found[&id].is_err());
}
