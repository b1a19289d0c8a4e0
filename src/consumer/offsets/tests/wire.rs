//! Both requests in every version, and names and ids of topics.

use super::*;
use crate::protocol::message::Message;
use crate::protocol::messages::offset_commit::OffsetCommitRequest;
use crate::protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchResponse, OffsetFetchResponseGroup,
    OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use crate::protocol::reader::Reader;
use crate::protocol::writer::Writer;

const ID: TopicId = TopicId([7; 16]);

/// What a broker reads of a request in a version.
fn over_the_wire<M: Message>(message: &M, version: i16) -> M {
    let mut writer = Writer::new();
    message.encode(&mut writer, version).unwrap();
    let (_, segments) = writer.into_segments();
    M::decode(&mut Reader::new(segments.concat().into()), version).unwrap()
}

fn commit(bench: &mut Bench, id: Option<TopicId>) -> (u64, Commit) {
    let offset = OffsetAndMetadata::new(5).with_leader_epoch(2).with_metadata("half");
    let offsets = OffsetMap::from([(tp(3), offset)]);
    let times = (bench.now, bench.now + MS(1000));
    let commit_as = bench.view.commit_as.clone();
    bench.offsets.commit(offsets, CommitKind::Async, &commit_as, |_| id, times).unwrap();
    bench.sent()
}

#[test]
fn a_commit_can_be_sent_in_every_version() {
    let mut bench = Bench::classic();
    let (_, commit) = commit(&mut bench, Some(ID));
    assert_eq!(commit.highest(), i16::MAX);
    for version in OffsetCommitRequest::VERSIONS.min..=OffsetCommitRequest::VERSIONS.max {
        let read = over_the_wire(&commit.at(version), version);
        assert_eq!((&*read.group_id, &*read.member_id), ("billing", "member-1"));
        assert_eq!(read.generation_id_or_member_epoch, 3);
        assert_eq!(read.group_instance_id.is_some(), version >= 7);
        let topic = &read.topics[0];
        let expected = if version >= 10 { ("", ID) } else { ("orders", TopicId::ZERO) };
        assert_eq!((&*topic.name, topic.topic_id), expected, "{version}");
        let partition = &topic.partitions[0];
        assert_eq!((partition.partition_index, partition.committed_offset), (3, 5));
        assert_eq!(partition.committed_leader_epoch, if version >= 6 { 2 } else { -1 });
        assert_eq!(partition.committed_metadata.as_deref(), Some("half"));
    }
}

#[test]
fn a_look_up_can_be_sent_in_every_version() {
    let mut bench = Bench::new(GroupProtocol::Consumer);
    bench.offsets.lookup(BTreeSet::from([tp(3)]), |_| Some(ID), bench.now + MS(1000));
    let (_, fetch) = bench.poll().fetches.remove(0);
    assert_eq!(fetch.highest(), i16::MAX);
    for version in OffsetFetchRequest::VERSIONS.min..=OffsetFetchRequest::VERSIONS.max {
        let read = over_the_wire(&fetch.at(version), version);
        assert_eq!(read.require_stable, version >= 7);
        if version < 8 {
            assert_eq!(read.group_id, "billing");
            let topic = &read.topics.unwrap()[0];
            assert_eq!((&*topic.name, &*topic.partition_indexes), ("orders", &[3][..]));
            continue;
        }
        let group = &read.groups[0];
        let member = if version >= 9 { (Some("member-1"), 3) } else { (None, -1) };
        assert_eq!((group.member_id.as_deref(), group.member_epoch), member);
        let topic = &group.topics.as_ref().unwrap()[0];
        let expected = if version >= 10 { ("", ID) } else { ("orders", TopicId::ZERO) };
        assert_eq!((&*topic.name, topic.topic_id), expected, "{version}");
        assert_eq!(topic.partition_indexes, [3]);
    }
}

#[test]
fn without_an_id_topics_are_named() {
    let mut bench = Bench::classic();
    for id in [None, Some(TopicId::ZERO)] {
        let sent = commit(&mut bench, id);
        assert_eq!(sent.1.highest(), 9);
        bench.answer(&sent, ErrorCode::NONE);
    }
    // Of two topics one without is enough.
    let both = OffsetMap::from([
        (tp(0), OffsetAndMetadata::new(1)),
        (TopicPartition::new("payments", 0), OffsetAndMetadata::new(1)),
    ]);
    let times = (bench.now, bench.now + MS(1000));
    let ids = |topic: &str| (topic == "orders").then_some(ID);
    let commit_as = bench.view.commit_as.clone();
    bench.offsets.commit(both, CommitKind::Auto, &commit_as, ids, times).unwrap();
    assert_eq!(bench.sent().1.highest(), 9);
    bench.offsets.lookup(BTreeSet::from([tp(0)]), |_| None, bench.now + MS(1000));
    assert_eq!(bench.poll().fetches[0].1.highest(), 9);
}

#[test]
fn answers_with_ids_are_understood() {
    let mut bench = Bench::classic();
    let (token, sent) = commit(&mut bench, Some(ID));
    let mut answer = response(&sent, |_, _| ErrorCode::NONE);
    answer.topics[0].topic_id = ID;
    let mut unknown = answer.topics[0].clone();
    answer.topics[0].name.clear();
    unknown.topic_id = TopicId([9; 16]);
    unknown.partitions[0].error_code = ErrorCode::ILLEGAL_GENERATION;
    answer.topics.insert(0, unknown);
    bench.offsets.handle_commit(token, Ok(answer), &bench.view, bench.now);
    assert!(bench.poll().ended.values().all(Result::is_ok));

    let id = bench.offsets.lookup(BTreeSet::from([tp(3)]), |_| Some(ID), bench.now + MS(1000));
    let (token, _) = bench.poll().fetches.remove(0);
    let partition = OffsetFetchResponsePartitions {
        partition_index: 3,
        committed_offset: 8,
        metadata: None,
        ..OffsetFetchResponsePartitions::default()
    };
    let topic = OffsetFetchResponseTopics {
        topic_id: ID,
        partitions: vec![partition],
        ..OffsetFetchResponseTopics::default()
    };
    let group = OffsetFetchResponseGroup {
        group_id: "billing".to_owned(),
        topics: vec![topic],
        ..OffsetFetchResponseGroup::default()
    };
    let answer = OffsetFetchResponse { groups: vec![group], ..OffsetFetchResponse::default() };
    bench.offsets.handle_fetch(token, Ok(answer), &bench.view, bench.now);
    let found = Committed::from([(tp(3), Some(OffsetAndMetadata::new(8)))]);
    assert_eq!(bench.poll().found[&id], Ok(found));
}

#[test]
fn answers_of_versions_for_one_group_are_understood() {
    let mut bench = Bench::classic();
    let id = bench.lookup(&[3]);
    let (token, _) = bench.poll().fetches.remove(0);
    let partition = OffsetFetchResponsePartition {
        partition_index: 3,
        committed_offset: 8,
        committed_leader_epoch: 4,
        ..OffsetFetchResponsePartition::default()
    };
    let topic = OffsetFetchResponseTopic { name: "orders".to_owned(), partitions: vec![partition] };
    let answer = OffsetFetchResponse { topics: vec![topic], ..OffsetFetchResponse::default() };
    bench.offsets.handle_fetch(token, Ok(answer), &bench.view, bench.now);
    let offset = OffsetAndMetadata::new(8).with_leader_epoch(4);
    assert_eq!(bench.poll().found[&id], Ok(Committed::from([(tp(3), Some(offset))])));
}
