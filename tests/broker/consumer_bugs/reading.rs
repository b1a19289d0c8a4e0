//! Rows 55, 64, 66 and 69 to 71: what is fetched, from whom, and that it goes on.

use std::time::Duration;

use milena::broker::{ApiKey, Cluster, Event, Fault, TopicSpec};
use milena::{BrokerId, Consumer, StartAt};
use tokio::time::Instant;

use crate::support::{SECOND, cluster, read, reader, tp, write};

const MS: fn(u64) -> Duration = Duration::from_millis;

/// Polls for values that are numbers, and expects those from `from` up to `to`, each once and in order.
async fn numbers(reader: &mut Consumer, from: usize, to: usize) {
    let values = read(reader, to - from).await.into_iter().map(|(.., value)| value);
    let expected = (from..to).map(|number| number.to_string());
    assert!(values.eq(expected), "from {from} to {to}");
}

async fn write_numbers(cluster: &Cluster, topic: &str, from: usize, to: usize) {
    let values: Vec<String> = (from..to).map(|number| number.to_string()).collect();
    write(cluster, topic, 0, &values.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

/// The last that was read is a marker, of which users see nothing: that it was passed is committed all the same.
#[tokio::test(start_paused = true)]
async fn row_55_librdkafka_4434_a_commit_right_after_a_marker_counts() {
    let group = [("group.id", "g"), ("enable.auto.commit", "false"), ("auto.offset.reset", "none")];
    for isolation in ["read_committed", "read_uncommitted"] {
        let cluster = cluster(|it| it).await;
        cluster.create_topic("t").unwrap();
        let mut writer = cluster.writer();
        for round in 0..3 {
            writer.begin().unwrap();
            writer.write("t", 0, ["a", "b"]).unwrap();
            if round == 1 {
                writer.abort().unwrap()
            } else {
                writer.commit().unwrap()
            };
        }
        let properties = [&group[..], &[("isolation.level", isolation)]].concat();
        let mut first = reader(&cluster, &properties);
        first.assign([(tp("t", 0), StartAt::Earliest)]).unwrap();
        while first.position(&tp("t", 0)) != Some(9) {
            first.poll(10 * SECOND).await.unwrap();
            // At each place on the way as well.
            first.commit().await.unwrap();
            let position = first.position(&tp("t", 0)).unwrap();
            assert_eq!(cluster.group("g").unwrap().offsets[&tp("t", 0)].offset, position);
        }
        let committed = cluster.group("g").unwrap().offsets[&tp("t", 0)].clone();
        assert_eq!((committed.offset, committed.leader_epoch), (9, Some(0)), "{isolation}");
        drop(first);

        write(&cluster, "t", 0, &["next"]).await;
        let mut second = reader(&cluster, &properties);
        second.assign([(tp("t", 0), StartAt::Committed)]).unwrap();
        assert_eq!(read(&mut second, 1).await, [(0, 9, "next".to_owned())], "{isolation}");
    }
}

/// How often a node was asked for records since the cluster has been told to note it.
fn fetches_of(cluster: &Cluster, wanted: BrokerId) -> usize {
    let struck =
        |event: &&Event| matches!(event, Event::FaultStruck { node, .. } if *node == wanted);
    cluster.events().iter().filter(struck).count()
}

/// The replica that is read from is asked about anew while it answers: what its last answer had is not asked for again.
#[tokio::test(start_paused = true)]
async fn row_64_franz_go_1_20_a_replica_that_is_asked_about_again_gives_nothing_twice() {
    let racks = |it: milena::broker::ClusterBuilder| {
        let it = it.nodes(2).default_replication_factor(2).rack_aware_fetching(true);
        it.rack(BrokerId(1), "a").rack(BrokerId(2), "b")
    };
    let cluster = cluster(racks).await;
    cluster.create_topic("t").unwrap();
    let (leader, _) = cluster.leader("t", 0).unwrap();
    let follower = BrokerId(3 - leader.0);
    for node in [leader, follower] {
        let noted = Fault::delay_request(ApiKey::FETCH, MS(1)).on_node(node);
        cluster.inject(noted.always());
    }
    let rack = if follower == BrokerId(1) { "a" } else { "b" };
    // It is asked about anew every 50 ms, in the middle of answers.
    let properties = [
        ("client.rack", rack),
        ("metadata.max.age.ms", "50"),
        ("max.partition.fetch.bytes", "300"),
    ];
    let mut reader = reader(&cluster, &properties);
    reader.assign([(tp("t", 0), StartAt::Earliest)]).unwrap();
    for round in 0..20 {
        write_numbers(&cluster, "t", round * 10, (round + 1) * 10).await;
        numbers(&mut reader, round * 10, (round + 1) * 10).await;
        tokio::time::sleep(MS(13)).await;
    }
    let asked = [leader, follower].map(|node| fetches_of(&cluster, node));
    assert!(asked.iter().all(|&count| count > 5), "leader and follower: {asked:?}");
}

/// Wherever a connection ends, no broker is left as if an answer of it were still to come.
#[tokio::test(start_paused = true)]
async fn row_66_kafka_8950_a_disconnect_at_any_step_leaves_nobody_waiting() {
    let closes: [fn(ApiKey) -> Fault; 2] = [Fault::close_before, Fault::close_after];
    for api in [ApiKey::FETCH, ApiKey::LIST_OFFSETS, ApiKey::METADATA, ApiKey::API_VERSIONS] {
        for (step, close) in (0..8).flat_map(|step| closes.map(|close| (step, close))) {
            let cluster = cluster(|it| it.nodes(2)).await;
            cluster.create_topic("t").unwrap();
            write_numbers(&cluster, "t", 0, 20).await;
            cluster.inject(close(api).after(step));
            let mut reader = reader(&cluster, &[("max.partition.fetch.bytes", "200")]);
            reader.assign([(tp("t", 0), StartAt::Earliest)]).unwrap();
            let start = Instant::now();
            numbers(&mut reader, 0, 20).await;
            write_numbers(&cluster, "t", 20, 21).await;
            numbers(&mut reader, 20, 21).await;
            // Neither a request's time-out nor the longest of back-offs was waited for.
            assert!(start.elapsed() < 5 * SECOND, "{api}, step {step}: {:?}", start.elapsed());
        }
    }
}

/// More brokers are asked at a time than that client could wait for, and the assignment changes under them.
#[tokio::test(start_paused = true)]
async fn row_69_franz_go_1_21_polls_go_on_when_fetches_of_many_brokers_are_dropped() {
    const NODES: i32 = 8;
    let cluster = cluster(|it| it.nodes(NODES as usize)).await;
    cluster.create_topic(TopicSpec::new("t").partitions(NODES as usize)).unwrap();
    let leaders: std::collections::BTreeSet<_> =
        (0..NODES).map(|partition| cluster.leader("t", partition).unwrap().0).collect();
    assert_eq!(leaders.len(), NODES as usize);
    let mut reader = reader(&cluster, &[]);
    for round in 0..4 {
        let all = (0..NODES).map(|partition| (tp("t", partition), StartAt::Latest));
        reader.assign(all).unwrap();
        // A fetch is under way to each, and nothing comes.
        assert!(reader.poll(SECOND).await.unwrap().is_empty());
        let some = (0..NODES).filter(|partition| partition % 2 == round % 2);
        reader.assign(some.map(|partition| (tp("t", partition), StartAt::Latest))).unwrap();
        assert!(reader.poll(SECOND).await.unwrap().is_empty());
        let start = Instant::now();
        write(&cluster, "t", round, &["x"]).await;
        let came = read(&mut reader, 1).await;
        assert_eq!(came[0].0, round);
        assert!(start.elapsed() < SECOND, "{:?}", start.elapsed());
    }
    let start = Instant::now();
    assert!(reader.close(10 * SECOND).await);
    assert!(start.elapsed() < SECOND, "{:?}", start.elapsed());
}

/// For one to six seconds metadata has no leader for any partition.
#[tokio::test(start_paused = true)]
async fn row_70_librdkafka_5430_without_leaders_for_a_while_all_is_read_on() {
    for seconds in 1..=6 {
        let cluster = cluster(|it| it.nodes(2)).await;
        cluster.create_topic(TopicSpec::new("t").partitions(2)).unwrap();
        let mut reader = reader(&cluster, &[]);
        let both = [(tp("t", 0), StartAt::Earliest), (tp("t", 1), StartAt::Earliest)];
        reader.assign(both).unwrap();
        write(&cluster, "t", 0, &["a"]).await;
        write(&cluster, "t", 1, &["b"]).await;
        read(&mut reader, 2).await;
        // Each is the only replica of one partition; one of them is always there to say so.
        for (down, partition) in [(BrokerId(1), 0), (BrokerId(2), 1)] {
            let of = (0..2).find(|&n| cluster.leader("t", n).is_some_and(|(at, _)| at == down));
            let partition = of.unwrap_or(partition);
            cluster.stop_node(down).await.unwrap();
            assert!(reader.poll(seconds * SECOND).await.unwrap().is_empty());
            cluster.restart_node(down).await.unwrap();
            write(&cluster, "t", partition, &["c"]).await;
            let start = Instant::now();
            assert_eq!(read(&mut reader, 1).await[0].0, partition);
            assert!(start.elapsed() <= 2 * SECOND, "after {seconds} s: {:?}", start.elapsed());
        }
    }
}

/// The leader is dead, and another one leads: it is found by the failure, not by the age of metadata.
#[tokio::test(start_paused = true)]
async fn row_71_librdkafka_1390_a_dead_leader_is_not_asked_on() {
    let cluster = cluster(|it| it.nodes(3).default_replication_factor(3)).await;
    cluster.create_topic("t").unwrap();
    let mut reader = reader(&cluster, &[]);
    reader.assign([(tp("t", 0), StartAt::Earliest)]).unwrap();
    for number in 0..6 {
        write_numbers(&cluster, "t", 2 * number, 2 * number + 1).await;
        numbers(&mut reader, 2 * number, 2 * number + 1).await;
        let (leader, _) = cluster.leader("t", 0).unwrap();
        cluster.stop_node(leader).await.unwrap();
        write_numbers(&cluster, "t", 2 * number + 1, 2 * number + 2).await;
        let start = Instant::now();
        numbers(&mut reader, 2 * number + 1, 2 * number + 2).await;
        assert!(start.elapsed() <= SECOND, "{:?}", start.elapsed());
        cluster.restart_node(leader).await.unwrap();
    }
}
