//! Groups and their offsets as a user meets them: members share partitions, commit, come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use milena::assignor::{Assignment, Assignor, ClusterTopics, MemberSubscription, RangeAssignor};
use milena::broker::{ApiKey, Cluster, TopicSpec};
use milena::{
    ClientError, CommitError, Consumer, ConsumerConfig, ConsumerError, ConsumerGroupMetadata,
    ConsumerHandle, LeaveMode, OffsetAndMetadata, RebalanceListener, StartAt, SubscriptionPattern,
    TopicPartition,
};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

use crate::support::{SECOND, cluster, flat, in_memory, read, reader, seeded_reader, tp, write};

const MS: fn(u64) -> Duration = Duration::from_millis;

/// A member of the group `g` that begins at the beginning.
fn member(cluster: &Cluster, properties: &[(&str, &str)]) -> Consumer {
    let usual = [("group.id", "g"), ("auto.offset.reset", "earliest")];
    // No two members of a group are alike: those of the new protocol make their ids by the seed.
    seeded_reader(cluster, &[&usual, properties].concat(), MEMBERS.fetch_add(1, Ordering::Relaxed))
}

static MEMBERS: AtomicU64 = AtomicU64::new(1);

const BY_HAND: (&str, &str) = ("enable.auto.commit", "false");

/// What a listener was told, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Told {
    Assigned(Vec<TopicPartition>),
    Revoked(Vec<TopicPartition>),
    Lost(Vec<TopicPartition>),
}

#[derive(Debug, Clone, Default)]
struct Diary(Arc<Mutex<Vec<Told>>>);

impl RebalanceListener for Diary {
    async fn on_partitions_assigned(&mut self, _: &ConsumerHandle, partitions: &[TopicPartition]) {
        self.0.lock().push(Told::Assigned(partitions.to_vec()));
    }

    async fn on_partitions_revoked(&mut self, _: &ConsumerHandle, partitions: &[TopicPartition]) {
        self.0.lock().push(Told::Revoked(partitions.to_vec()));
    }

    async fn on_partitions_lost(&mut self, _: &ConsumerHandle, partitions: &[TopicPartition]) {
        self.0.lock().push(Told::Lost(partitions.to_vec()));
    }
}

/// Polls all of them, in turns, until `done` says so of their assignments.
async fn until(members: &mut [&mut Consumer], done: impl Fn(&[BTreeSet<TopicPartition>]) -> bool) {
    let began = Instant::now();
    loop {
        let assignments: Vec<BTreeSet<_>> =
            members.iter().map(|member| member.assignment().into_iter().collect()).collect();
        if done(&assignments) {
            return;
        }
        assert!(began.elapsed() < 60 * SECOND, "still {assignments:?}");
        for member in &mut *members {
            member.poll(MS(20)).await.unwrap();
        }
    }
}

/// Whether these are all `count` partitions of the topic, each once, and nobody has none.
fn shared(assignments: &[BTreeSet<TopicPartition>], topic: &str, count: usize) -> bool {
    let all: BTreeSet<_> = assignments.iter().flatten().cloned().collect();
    let sum: usize = assignments.iter().map(BTreeSet::len).sum();
    let expected: BTreeSet<_> = (0..count as i32).map(|n| tp(topic, n)).collect();
    all == expected && sum == count && assignments.iter().all(|of_one| !of_one.is_empty())
}

#[tokio::test(start_paused = true)]
async fn a_group_goes_on_behind_what_it_committed() {
    let cluster = cluster(|it| it).await;
    cluster.create_topic("t").unwrap();
    write(&cluster, "t", 0, &["a", "b", "c"]).await;
    let mut first = member(&cluster, &[BY_HAND]);
    first.subscribe(["t"]).unwrap();
    assert_eq!(read(&mut first, 3).await.len(), 3);
    let two = [(tp("t", 0), OffsetAndMetadata::new(2).with_metadata("half done"))];
    first.commit_offsets(two.clone()).await.unwrap();
    let committed = first.committed([tp("t", 0), tp("t", 7)]).await.unwrap();
    assert_eq!(committed[&tp("t", 0)].as_ref(), Some(&two[0].1));
    assert_eq!(committed[&tp("t", 7)], None);
    assert!(first.close(10 * SECOND).await);

    let mut second = member(&cluster, &[BY_HAND]);
    second.subscribe(["t"]).unwrap();
    assert_eq!(read(&mut second, 1).await, [(0, 2, "c".to_owned())]);
    assert_eq!(second.current_lag(&tp("t", 0)), Some(0));
    second.commit().await.unwrap();
    let committed = second.committed([tp("t", 0)]).await.unwrap();
    assert_eq!(committed[&tp("t", 0)].as_ref().map(|offset| offset.offset), Some(3));
    assert!(second.close(10 * SECOND).await);
}

#[tokio::test(start_paused = true)]
async fn members_share_the_partitions_and_take_over_from_those_that_leave() {
    for strategy in ["range", "roundrobin", "sticky", "cooperative-sticky"] {
        let cluster = cluster(|it| it.nodes(3)).await;
        cluster.create_topic(TopicSpec::new("t").partitions(6)).unwrap();
        let properties = [("partition.assignment.strategy", strategy)];
        let mut members: Vec<_> = (0..3).map(|_| member(&cluster, &properties)).collect();
        for (count, _) in (1..).zip(0..3) {
            members[count - 1].subscribe(["t"]).unwrap();
            let mut joined: Vec<_> = members[..count].iter_mut().collect();
            until(&mut joined, |assignments| shared(assignments, "t", 6)).await;
        }
        assert!(members.remove(1).close(10 * SECOND).await, "{strategy}");
        let mut left: Vec<_> = members.iter_mut().collect();
        until(&mut left, |assignments| shared(assignments, "t", 6)).await;
        for member in members {
            assert!(member.close(10 * SECOND).await, "{strategy}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_listener_is_told_in_order_and_what_it_commits_counts() {
    let cluster = cluster(|it| it).await;
    cluster.create_topic(TopicSpec::new("t").partitions(2)).unwrap();
    let (diary, other) = (Diary::default(), Diary::default());
    let mut first = member(&cluster, &[]);
    first.subscribe_with(["t"], diary.clone()).unwrap();
    until(&mut [&mut first], |all| shared(all, "t", 2)).await;
    let mut second = member(&cluster, &[]);
    second.subscribe_with(["t"], other.clone()).unwrap();
    until(&mut [&mut first, &mut second], |all| shared(all, "t", 2)).await;
    let mine = first.assignment();
    assert!(first.close(10 * SECOND).await);
    let both = vec![tp("t", 0), tp("t", 1)];
    let expected = [
        Told::Assigned(both.clone()),
        Told::Revoked(both),
        Told::Assigned(mine.clone()),
        Told::Revoked(mine),
    ];
    assert_eq!(*diary.0.lock(), expected);
    assert_eq!(*other.0.lock(), [Told::Assigned(second.assignment())]);
}

#[tokio::test(start_paused = true)]
async fn positions_are_committed_every_interval_and_on_close() {
    let cluster = cluster(|it| it).await;
    cluster.create_topic("t").unwrap();
    write(&cluster, "t", 0, &["a", "b"]).await;
    let mut first = member(&cluster, &[("auto.commit.interval.ms", "1000")]);
    first.subscribe(["t"]).unwrap();
    read(&mut first, 2).await;
    let offset = |cluster: &Cluster| {
        cluster.group("g").unwrap().offsets.get(&tp("t", 0)).map(|committed| committed.offset)
    };
    assert_eq!(offset(&cluster), None, "what the user may still be working on is not committed");
    // Nothing comes, but the poll that waits commits what those before it handed out.
    assert!(first.poll(3 * SECOND).await.unwrap().is_empty());
    assert_eq!(offset(&cluster), Some(2));
    write(&cluster, "t", 0, &["c"]).await;
    assert_eq!(read(&mut first, 1).await.len(), 1);
    assert_eq!(offset(&cluster), Some(2));
    assert!(first.close(10 * SECOND).await);
    assert_eq!(offset(&cluster), Some(3));
}

#[tokio::test(start_paused = true)]
async fn who_does_not_poll_in_time_loses_its_partitions_and_comes_back() {
    let cluster = cluster(|it| it).await;
    cluster.create_topic("t").unwrap();
    write(&cluster, "t", 0, &["a"]).await;
    let diary = Diary::default();
    let mut slow = member(
        &cluster,
        &[BY_HAND, ("max.poll.interval.ms", "20000"), ("session.timeout.ms", "10000")],
    );
    slow.subscribe_with(["t"], diary.clone()).unwrap();
    read(&mut slow, 1).await;
    tokio::time::sleep(30 * SECOND).await;
    let group = cluster.group("g").unwrap();
    assert!(group.members.is_empty(), "{group:?}");
    let error = slow.commit().await.unwrap_err();
    assert!(!error.is_retriable() && !error.maybe_committed(), "{error}");
    // The record comes again: nothing was committed.
    assert_eq!(read(&mut slow, 1).await, [(0, 0, "a".to_owned())]);
    let t0 = vec![tp("t", 0)];
    let expected = [Told::Assigned(t0.clone()), Told::Lost(t0.clone()), Told::Assigned(t0)];
    assert_eq!(*diary.0.lock(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_pattern_takes_in_topics_that_appear_and_partitions_that_are_added() {
    let cluster = cluster(|it| it).await;
    cluster.create_topic("orders-eu").unwrap();
    cluster.create_topic("other").unwrap();
    let mut consumer = member(&cluster, &[("metadata.max.age.ms", "200")]);
    let pattern = SubscriptionPattern::new("orders-.*").unwrap();
    consumer.subscribe_pattern(&pattern, Diary::default()).unwrap();
    let is = |names: &[(&str, i32)]| {
        let expected: BTreeSet<_> = names.iter().map(|(topic, n)| tp(topic, *n)).collect();
        move |all: &[BTreeSet<TopicPartition>]| all[0] == expected
    };
    until(&mut [&mut consumer], is(&[("orders-eu", 0)])).await;
    cluster.create_topic("orders-us").unwrap();
    until(&mut [&mut consumer], is(&[("orders-eu", 0), ("orders-us", 0)])).await;
    cluster.add_partitions("orders-us", 2).unwrap();
    until(&mut [&mut consumer], is(&[("orders-eu", 0), ("orders-us", 0), ("orders-us", 1)])).await;
    cluster.delete_topic("orders-eu").unwrap();
    until(&mut [&mut consumer], is(&[("orders-us", 0), ("orders-us", 1)])).await;
    assert!(consumer.subscription().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_commit_in_the_middle_of_a_rebalance_is_refused() {
    let cluster = cluster(|it| it).await;
    cluster.create_topic(TopicSpec::new("t").partitions(3)).unwrap();
    let quick = [BY_HAND, ("heartbeat.interval.ms", "100")];
    let [mut first, mut second, mut third] = [0; 3].map(|_| member(&cluster, &quick));
    first.subscribe(["t"]).unwrap();
    second.subscribe(["t"]).unwrap();
    until(&mut [&mut first, &mut second], |all| shared(all, "t", 3)).await;
    // A third one joins, and the first one with it; the second does not poll, so that all wait for it.
    third.subscribe(["t"]).unwrap();
    third.poll(MS(20)).await.unwrap();
    while !first.assignment().is_empty() {
        first.poll(MS(20)).await.unwrap();
    }
    let error = first.commit_offsets([(tp("t", 0), OffsetAndMetadata::new(0))]).await.unwrap_err();
    assert!(matches!(error, CommitError::RebalanceInProgress { .. }), "{error}");
    assert!(error.is_retriable() && !error.maybe_committed(), "{error}");
    // The one that has not given up its partitions yet still may.
    second.commit().await.unwrap();
    until(&mut [&mut first, &mut second, &mut third], |all| shared(all, "t", 3)).await;
    first.commit().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn commits_without_waiting_are_told_in_order_and_from_other_tasks() {
    let cluster = cluster(|it| it).await;
    cluster.create_topic("t").unwrap();
    write(&cluster, "t", 0, &["a"; 20]).await;
    let mut consumer = member(&cluster, &[BY_HAND]);
    consumer.subscribe(["t"]).unwrap();
    read(&mut consumer, 20).await;
    let (told, mut ends) = tokio::sync::mpsc::unbounded_channel();
    let handle = consumer.handle();
    let worker = tokio::spawn(async move {
        for offset in 1..=20 {
            let (told, offsets) = (told.clone(), [(tp("t", 0), OffsetAndMetadata::new(offset))]);
            handle.commit_offsets_async(offsets, move |result| {
                told.send(result.unwrap()[&tp("t", 0)].offset).unwrap();
            });
        }
    });
    worker.await.unwrap();
    for offset in 1..=20 {
        assert_eq!(timeout(10 * SECOND, ends.recv()).await.unwrap(), Some(offset));
    }
    assert_eq!(cluster.group("g").unwrap().offsets[&tp("t", 0)].offset, 20);
    let handle = consumer.handle();
    drop(consumer);
    let error = handle.commit_offsets([(tp("t", 0), OffsetAndMetadata::new(3))]).await.unwrap_err();
    assert!(error.is_fatal() && !error.maybe_committed(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_gives_back_what_was_not_taken() {
    let cluster = cluster(|it| it).await;
    cluster.create_topic("t").unwrap();
    write(&cluster, "t", 0, &["a", "b", "c", "d"]).await;
    let mut consumer = member(&cluster, &[]);
    consumer.subscribe(["t"]).unwrap();
    let mut stream = consumer.stream();
    for value in [b"a", b"b"] {
        let record = timeout(10 * SECOND, stream.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(record.value.as_deref(), Some(&value[..]));
    }
    drop(stream);
    assert_eq!(consumer.position(&tp("t", 0)), Some(2));
    let rest: Vec<_> = read(&mut consumer, 2).await.into_iter().map(|(_, _, v)| v).collect();
    assert_eq!(rest, ["c", "d"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_paused_is_kept_until_it_is_resumed() {
    let cluster = cluster(|it| it).await;
    cluster.create_topic(TopicSpec::new("t").partitions(2)).unwrap();
    write(&cluster, "t", 0, &["a", "b"]).await;
    let mut consumer = member(&cluster, &[]);
    consumer.subscribe(["t"]).unwrap();
    until(&mut [&mut consumer], |all| shared(all, "t", 2)).await;
    consumer.seek(&tp("t", 0), StartAt::Earliest).unwrap();
    consumer.pause([&tp("t", 0)]).unwrap();
    assert_eq!(consumer.paused(), [tp("t", 0)]);
    write(&cluster, "t", 1, &["x"]).await;
    assert_eq!(read(&mut consumer, 1).await, [(1, 0, "x".to_owned())]);
    assert!(flat(&consumer.poll(MS(100)).await.unwrap()).is_empty());
    consumer.resume([&tp("t", 0)]).unwrap();
    assert_eq!(read(&mut consumer, 2).await.len(), 2);
    let error = consumer.pause([&tp("t", 5)]).unwrap_err();
    assert!(matches!(error, ConsumerError::NotAssigned { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_group_outlives_the_move_of_its_coordinator() {
    let cluster = cluster(|it| it.nodes(3)).await;
    cluster.create_topic(TopicSpec::new("t").partitions(4)).unwrap();
    let mut consumer = member(&cluster, &[BY_HAND]);
    consumer.subscribe(["t"]).unwrap();
    until(&mut [&mut consumer], |all| shared(all, "t", 4)).await;
    for round in 0..3 {
        let coordinator = cluster.coordinator("g").unwrap();
        let next = cluster.nodes().into_iter().find(|node| *node != coordinator).unwrap();
        cluster.move_coordinator("g", next).unwrap();
        write(&cluster, "t", 0, &["x"]).await;
        assert_eq!(read(&mut consumer, 1).await.len(), 1);
        consumer.commit().await.unwrap();
        let committed = cluster.group("g").unwrap().offsets[&tp("t", 0)].offset;
        assert_eq!(committed, round + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn ways_to_get_partitions_exclude_each_other() {
    let cluster = cluster(|it| it).await;
    cluster.create_topic("t").unwrap();
    let mut alone = reader(&cluster, &[]);
    assert!(matches!(alone.subscribe(["t"]), Err(ConsumerError::NoGroup)));
    assert!(matches!(alone.committed([tp("t", 0)]).await, Err(ConsumerError::NoGroup)));
    assert!(alone.commit().await.unwrap_err().is_fatal());
    assert!(alone.group_metadata().is_none());

    let mut consumer = member(&cluster, &[]);
    assert!(matches!(consumer.poll(MS(1)).await, Err(ConsumerError::NothingAssigned)));
    assert!(matches!(consumer.subscribe(["a b"]), Err(ConsumerError::InvalidTopic { .. })));
    consumer.assign([(tp("t", 0), StartAt::Committed)]).unwrap();
    assert!(matches!(consumer.subscribe(["t"]), Err(ConsumerError::Assigned)));
    write(&cluster, "t", 0, &["a"]).await;
    assert_eq!(read(&mut consumer, 1).await.len(), 1);
    // A group is also a place to keep offsets for those who assign partitions themselves.
    consumer.commit().await.unwrap();
    consumer.unsubscribe().await;
    consumer.subscribe(["t"]).unwrap();
    let refused = consumer.assign([(tp("t", 0), StartAt::Earliest)]);
    assert!(matches!(refused, Err(ConsumerError::Subscribed)));
    until(&mut [&mut consumer], |all| shared(all, "t", 1)).await;
    let positions = BTreeMap::from([(tp("t", 0), 1)]);
    assert_eq!(
        consumer.position(&tp("t", 0)).into_iter().collect::<Vec<_>>(),
        [positions[&tp("t", 0)]]
    );
    let metadata = consumer.group_metadata().unwrap();
    assert!(metadata.is_member() && metadata.group_id == "g", "{metadata:?}");
    consumer.unsubscribe().await;
    assert!(consumer.assignment().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_static_member_comes_back_to_its_partitions_without_a_rebalance() {
    let cluster = cluster(|it| it).await;
    cluster.create_topic(TopicSpec::new("t").partitions(2)).unwrap();
    let fixed = |name| member(&cluster, &[("group.instance.id", name)]);
    let (mut first, mut second) = (fixed("one"), fixed("two"));
    first.subscribe(["t"]).unwrap();
    second.subscribe(["t"]).unwrap();
    until(&mut [&mut first, &mut second], |all| shared(all, "t", 2)).await;
    let before = cluster.group("g").unwrap();
    let mine = first.assignment();
    assert!(first.close(10 * SECOND).await);
    let mut again = fixed("one");
    again.subscribe(["t"]).unwrap();
    until(&mut [&mut again, &mut second], |all| shared(all, "t", 2)).await;
    assert_eq!(again.assignment(), mine);
    assert_eq!(cluster.group("g").unwrap().generation, before.generation);
    // Told to leave, it does.
    assert!(again.close_with(10 * SECOND, LeaveMode::Leave).await);
    assert_eq!(cluster.group("g").unwrap().members.len(), 1);
    until(&mut [&mut second], |all| shared(all, "t", 2)).await;
}

#[tokio::test(start_paused = true)]
async fn members_of_the_new_protocol_share_the_partitions() {
    let cluster = cluster(|it| it.nodes(3)).await;
    cluster.create_topic(TopicSpec::new("t").partitions(6)).unwrap();
    let properties = [("group.protocol", "consumer"), BY_HAND];
    let mut members: Vec<_> = (0..3).map(|_| member(&cluster, &properties)).collect();
    for count in 1..=3 {
        members[count - 1].subscribe(["t"]).unwrap();
        let mut joined: Vec<_> = members[..count].iter_mut().collect();
        until(&mut joined, |assignments| shared(assignments, "t", 6)).await;
    }
    write(&cluster, "t", 0, &["a"]).await;
    let owner = members.iter().position(|member| member.assignment().contains(&tp("t", 0)));
    let mut owner = members.remove(owner.unwrap());
    assert_eq!(read(&mut owner, 1).await, [(0, 0, "a".to_owned())]);
    owner.commit().await.unwrap();
    assert!(owner.close(10 * SECOND).await);
    let mut left: Vec<_> = members.iter_mut().collect();
    until(&mut left, |assignments| shared(assignments, "t", 6)).await;
    assert_eq!(cluster.group("g").unwrap().offsets[&tp("t", 0)].offset, 1);
    for member in members {
        assert!(member.close(10 * SECOND).await);
    }
}

#[tokio::test(start_paused = true)]
async fn the_broker_evaluates_patterns_in_the_new_protocol() {
    let cluster = cluster(|it| it).await;
    cluster.create_topic("orders-eu").unwrap();
    cluster.create_topic("other").unwrap();
    let properties = [("group.protocol", "consumer"), ("metadata.max.age.ms", "200")];
    let mut consumer = member(&cluster, &properties);
    let pattern = SubscriptionPattern::new("orders-.*").unwrap();
    consumer.subscribe_pattern(&pattern, Diary::default()).unwrap();
    until(&mut [&mut consumer], |all| all[0] == BTreeSet::from([tp("orders-eu", 0)])).await;
    cluster.create_topic("orders-us").unwrap();
    let both = BTreeSet::from([tp("orders-eu", 0), tp("orders-us", 0)]);
    until(&mut [&mut consumer], |all| all[0] == both).await;
}

#[tokio::test(start_paused = true)]
async fn records_are_found_by_their_time() {
    let cluster = cluster(|it| it).await;
    cluster.create_topic("t").unwrap();
    let writer = crate::support::producer(&cluster, &[("linger.ms", "0")]);
    for at in [1_000, 2_000, 3_000] {
        let record = milena::ProducerRecord::new("t", "x").timestamp(at);
        writer.send_and_wait(&record).await.unwrap();
    }
    let mut consumer = member(&cluster, &[]);
    let times = [(tp("t", 0), 1_500)];
    let found = consumer.offsets_for_times(times, 10 * SECOND).await.unwrap();
    let found = found[&tp("t", 0)].unwrap();
    assert_eq!((found.offset, found.timestamp), (1, 2_000));
    let late = consumer.offsets_for_times([(tp("t", 0), 9_000)], 10 * SECOND).await.unwrap();
    assert_eq!(late[&tp("t", 0)], None);
    consumer.assign([(tp("t", 0), StartAt::Timestamp(2_500))]).unwrap();
    assert_eq!(read(&mut consumer, 1).await[0].1, 2);
}

#[tokio::test(start_paused = true)]
async fn what_a_member_does_shows_in_its_metrics() {
    let cluster = cluster(|it| it).await;
    cluster.create_topic("t").unwrap();
    write(&cluster, "t", 0, &["a", "b", "c"]).await;
    let mut consumer = member(&cluster, &[BY_HAND, ("max.poll.records", "2")]);
    consumer.subscribe(["t"]).unwrap();
    read(&mut consumer, 2).await;
    consumer.commit().await.unwrap();
    let metrics = consumer.metrics();
    let value = |group: &str, name: &str, tags: &[(&str, &str)]| {
        metrics.get(group, name, tags).and_then(|metric| metric.value().as_f64())
    };
    let partition = [("partition", "0"), ("topic", "t")];
    assert_eq!(value("consumer-fetch-manager-metrics", "records-lag", &partition), Some(1.0));
    assert_eq!(value("consumer-fetch-manager-metrics", "records-lead", &partition), Some(2.0));
    assert_eq!(value("consumer-fetch-manager-metrics", "records-consumed-total", &[]), Some(2.0));
    assert_eq!(value("consumer-coordinator-metrics", "commit-total", &[]), Some(1.0));
    assert_eq!(value("consumer-coordinator-metrics", "rebalance-total", &[]), Some(1.0));
    assert_eq!(value("consumer-coordinator-metrics", "assigned-partitions", &[]), Some(1.0));
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_waits_does_not_commit_without_end() {
    let cluster = cluster(|it| it).await;
    cluster.create_topic("t").unwrap();
    write(&cluster, "t", 0, &["a"]).await;
    let mut consumer = member(&cluster, &[("auto.commit.interval.ms", "0")]);
    consumer.subscribe(["t"]).unwrap();
    read(&mut consumer, 1).await;
    for _ in 0..3 {
        assert!(consumer.poll(10 * SECOND).await.unwrap().is_empty());
    }
    assert_eq!(cluster.group("g").unwrap().offsets[&tp("t", 0)].offset, 1);
    // Where it began, and how far it came.
    assert!(cluster.requests(ApiKey::OFFSET_COMMIT) <= 2);
}

#[tokio::test(start_paused = true)]
async fn what_was_assigned_by_hand_is_committed_before_it_is_replaced() {
    let cluster = cluster(|it| it).await;
    cluster.create_topic(TopicSpec::new("t").partitions(2)).unwrap();
    write(&cluster, "t", 0, &["a"]).await;
    write(&cluster, "t", 1, &["b"]).await;
    let mut consumer = member(&cluster, &[]);
    consumer.assign([(tp("t", 0), StartAt::Committed)]).unwrap();
    read(&mut consumer, 1).await;
    consumer.assign([(tp("t", 1), StartAt::Committed)]).unwrap();
    read(&mut consumer, 1).await;
    assert_eq!(cluster.group("g").unwrap().offsets[&tp("t", 0)].offset, 1);
    consumer.unsubscribe().await;
    assert_eq!(cluster.group("g").unwrap().offsets[&tp("t", 1)].offset, 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_handle_asks_after_the_end_is_answered() {
    let cluster = cluster(|it| it).await;
    cluster.create_topic("t").unwrap();
    let mut consumer = member(&cluster, &[]);
    consumer.subscribe(["t"]).unwrap();
    let handle = consumer.handle();
    // There is nothing to commit, and nobody to commit it as: that is no failure.
    assert!(consumer.close(10 * SECOND).await);
    let error = handle.committed([tp("t", 0)]).await.unwrap_err();
    assert!(
        matches!(error, ConsumerError::Committed { cause: ClientError::Closed, .. }),
        "{error}"
    );
}

/// Panics where it is told to, and is `range` otherwise.
#[derive(Debug)]
struct Clumsy(&'static str);

impl Clumsy {
    fn may(&self, at: &str) {
        assert_ne!(self.0, at, "a user's bug");
    }
}

impl Assignor for Clumsy {
    fn name(&self) -> &str {
        "clumsy"
    }

    fn subscription_user_data(&self, _: &BTreeSet<String>) -> Option<Bytes> {
        self.may("user data");
        None
    }

    fn assign(
        &self,
        cluster: &ClusterTopics,
        members: &BTreeMap<String, MemberSubscription>,
    ) -> BTreeMap<String, Assignment> {
        self.may("assign");
        RangeAssignor.assign(cluster, members)
    }

    fn on_assignment(&self, _: &Assignment, _: &ConsumerGroupMetadata) {
        self.may("assignment");
    }
}

#[tokio::test(start_paused = true)]
async fn an_assignor_that_panics_does_not_end_the_consumer() {
    for (at, fails) in [("user data", true), ("assign", true), ("assignment", false)] {
        let cluster = cluster(|it| it).await;
        cluster.create_topic("t").unwrap();
        let config = ConsumerConfig::builder()
            .bootstrap_servers(cluster.bootstrap_servers())
            .group_id("g")
            .build()
            .unwrap();
        let builder = Consumer::builder(config).connector(in_memory(&cluster));
        let mut consumer = builder.assignor(Clumsy(at)).seed(1).build();
        consumer.subscribe(["t"]).unwrap();
        if fails {
            let error = timeout(60 * SECOND, async {
                loop {
                    if let Err(error) = consumer.poll(SECOND).await {
                        return error;
                    }
                }
            });
            let error = error.await.unwrap().to_string();
            assert!(error.contains("clumsy") && error.contains("panicked"), "{error}");
        } else {
            until(&mut [&mut consumer], |all| shared(all, "t", 1)).await;
        }
        // What is asked is still answered.
        consumer.committed([tp("t", 0)]).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn another_pattern_takes_effect_without_news_of_topics() {
    let cluster = cluster(|it| it).await;
    cluster.create_topic("a").unwrap();
    cluster.create_topic("b").unwrap();
    let mut consumer = member(&cluster, &[]);
    let began = Instant::now();
    for topic in ["a", "b", "a"] {
        let pattern = SubscriptionPattern::new(topic).unwrap();
        consumer.subscribe_pattern(&pattern, Diary::default()).unwrap();
        until(&mut [&mut consumer], |all| all[0] == BTreeSet::from([tp(topic, 0)])).await;
    }
    assert!(began.elapsed() < 30 * SECOND, "{:?}", began.elapsed());
}
