//! Rows 59, 60 and 63: what a group has committed is what was done, and by whom it was to be done.

use std::collections::BTreeMap;
use std::time::Duration;

use milena::broker::{ApiKey, Cluster, Fault, TopicSpec};
use milena::{CommitError, Consumer, OffsetAndMetadata};

use crate::support::{SECOND, cluster, read, seeded_reader, tp, write};

fn member(cluster: &Cluster, seed: u64, properties: &[(&str, &str)]) -> Consumer {
    let usual = [("group.id", "g"), ("auto.offset.reset", "earliest")];
    let mut consumer = seeded_reader(cluster, &[&usual, properties].concat(), seed);
    consumer.subscribe(["t"]).unwrap();
    consumer
}

/// Members come and go while records are fetched: each that gives partitions up has committed all that it was given.
#[tokio::test(start_paused = true)]
async fn row_59_kafka_14196_nothing_comes_twice_when_partitions_move_in_order() {
    let range = [("partition.assignment.strategy", "range"), HEARTBEAT];
    let cooperative = [("partition.assignment.strategy", "cooperative-sticky"), HEARTBEAT];
    let consumer = [("group.protocol", "consumer")];
    for protocol in [&range[..], &cooperative, &consumer] {
        let came = members_come_and_go(protocol).await;
        assert_eq!(came.len(), PARTITIONS as usize, "{protocol:?}");
        for (partition, offsets) in came {
            let all = offsets.iter().copied().eq(0..EACH);
            assert!(all, "{protocol:?}, {partition}: {offsets:?}");
        }
    }
}

const HEARTBEAT: (&str, &str) = ("heartbeat.interval.ms", "300");
const PARTITIONS: i32 = 4;
/// Records of each partition.
const EACH: i64 = 260;

/// The offsets of each partition, in the order in which members were given them.
async fn members_come_and_go(protocol: &[(&str, &str)]) -> BTreeMap<i32, Vec<i64>> {
    // What a new member of the new protocol waits for is told in heartbeats.
    let quick = Duration::from_millis(300);
    let cluster = cluster(|it| it.nodes(2).group_consumer_heartbeat_interval(quick)).await;
    cluster.create_topic(TopicSpec::new("t").partitions(PARTITIONS as usize)).unwrap();
    // By intervals nothing is committed.
    let never = [("auto.commit.interval.ms", "1000000"), ("max.poll.records", "3")];
    let properties = [&never[..], protocol].concat();
    let mut writer = cluster.writer();
    let mut members: Vec<Consumer> = Vec::new();
    let mut came: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
    for step in 0..600 {
        match step {
            0 | 40 | 80 | 200 => members.push(member(&cluster, step + 1, &properties)),
            140 | 250 => assert!(members.remove(0).close(10 * SECOND).await),
            _ => {}
        }
        if step < EACH as u64 {
            for partition in 0..PARTITIONS {
                writer.write("t", partition, ["x"]).unwrap();
            }
        }
        for member in &mut members {
            for record in &member.poll(Duration::from_millis(30)).await.unwrap() {
                came.entry(record.partition).or_default().push(record.offset);
            }
        }
    }
    came
}

/// It was away for too long: another goes on in its place, and what it still wants to commit takes nothing back.
#[tokio::test(start_paused = true)]
async fn row_60_librdkafka_2782_who_has_lost_a_partition_does_not_commit_it() {
    for protocol in [("group.protocol", "classic"), ("group.protocol", "consumer")] {
        let cluster = cluster(|it| it).await;
        cluster.create_topic("t").unwrap();
        write(&cluster, "t", 0, &["a", "b", "c"]).await;
        let slow = [("max.poll.interval.ms", "20000"), ("enable.auto.commit", "false"), protocol];
        let mut first = member(&cluster, 1, &slow);
        read(&mut first, 2).await;
        let handle = first.handle();
        tokio::time::sleep(30 * SECOND).await;
        let mut second = member(&cluster, 2, &slow);
        assert_eq!(read(&mut second, 3).await.len(), 3);
        second.commit().await.unwrap();

        let offsets = || [(tp("t", 0), OffsetAndMetadata::new(1))];
        for _ in 0..2 {
            let error = handle.commit_offsets(offsets()).await.unwrap_err();
            assert!(matches!(error, CommitError::Fenced { .. }), "{error}");
            assert!(!error.maybe_committed() && !error.is_retriable(), "{error}");
        }
        let error = first.commit().await.unwrap_err();
        assert!(matches!(error, CommitError::Fenced { .. }), "{error}");
        assert_eq!(cluster.group("g").unwrap().offsets[&tp("t", 0)].offset, 3, "{protocol:?}");
        // It hears of it, becomes a member again, and has nothing left of what it had.
        assert!(first.poll(SECOND).await.unwrap().is_empty());
        first.close(10 * SECOND).await;
        assert_eq!(cluster.group("g").unwrap().offsets[&tp("t", 0)].offset, 3, "{protocol:?}");
    }
}

/// The first commit is on its way for long, or is lost and sent again: it does not end behind the second.
#[tokio::test(start_paused = true)]
async fn row_63_franz_go_1_21_a_commit_that_is_late_does_not_take_the_group_back() {
    const API: ApiKey = ApiKey::OFFSET_COMMIT;
    for fault in [
        Fault::delay_request(API, 3 * SECOND),
        Fault::delay_response(API, 3 * SECOND),
        Fault::drop_response(API),
        Fault::close_before(API),
        Fault::close_after(API),
        Fault::error(API, milena::ErrorCode::COORDINATOR_LOAD_IN_PROGRESS),
        Fault::error_after(API, milena::ErrorCode::REQUEST_TIMED_OUT),
    ] {
        let cluster = cluster(|it| it).await;
        cluster.create_topic("t").unwrap();
        write(&cluster, "t", 0, &["a"; 9]).await;
        let by_hand = [("enable.auto.commit", "false"), ("request.timeout.ms", "5000")];
        let mut consumer = member(&cluster, 1, &by_hand);
        read(&mut consumer, 9).await;
        cluster.inject(fault.clone());
        let (told, mut ends) = tokio::sync::mpsc::unbounded_channel();
        for offset in [1, 5, 9] {
            let told = told.clone();
            let offsets = [(tp("t", 0), OffsetAndMetadata::new(offset))];
            consumer.commit_offsets_async(offsets, move |result| {
                told.send((offset, result.is_ok())).unwrap();
            });
        }
        drop(told);
        let mut order = Vec::new();
        while let Some(end) = ends.recv().await {
            order.push(end);
            // Whatever has been told is not behind what the group has.
            let committed = cluster.group("g").unwrap().offsets[&tp("t", 0)].offset;
            assert!(!end.1 || committed >= end.0, "{fault:?}: {end:?}, {committed}");
        }
        assert_eq!(order, [(1, true), (5, true), (9, true)], "{fault:?}");
        tokio::time::sleep(10 * SECOND).await;
        assert_eq!(cluster.group("g").unwrap().offsets[&tp("t", 0)].offset, 9, "{fault:?}");
    }
}
