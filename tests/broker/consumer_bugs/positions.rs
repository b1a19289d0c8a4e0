//! Rows 57, 58 and 67: where a consumer goes on, after elections, truncations, seeks and pauses.

use milena::broker::{ApiKey, Fault, TopicSpec};
use milena::{BrokerId, ConsumerError, ErrorCode, StartAt};

use crate::support::{SECOND, cluster, read, reader, tp, write};

/// The leader changes twice at once, and whoever is asked where the epoch ended is behind, ahead, silent, or gone.
#[tokio::test(start_paused = true)]
async fn row_57_librdkafka_4433_a_position_that_cannot_be_validated_at_once_is_neither_lost_nor_stuck()
 {
    const API: ApiKey = ApiKey::OFFSET_FOR_LEADER_EPOCH;
    let error = |code| Fault::error(API, code).times(3);
    for fault in [
        error(ErrorCode::NOT_LEADER_OR_FOLLOWER),
        error(ErrorCode::FENCED_LEADER_EPOCH),
        error(ErrorCode::UNKNOWN_LEADER_EPOCH),
        error(ErrorCode::LEADER_NOT_AVAILABLE),
        error(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        error(ErrorCode::OFFSET_NOT_AVAILABLE),
        Fault::close_before(API).times(3),
        Fault::close_after(API).times(3),
        Fault::drop_response(API),
    ] {
        let cluster = cluster(|it| it.nodes(3).default_replication_factor(3)).await;
        cluster.create_topic("t").unwrap();
        write(&cluster, "t", 0, &["a", "b"]).await;
        let properties = [("auto.offset.reset", "none"), ("request.timeout.ms", "2000")];
        let mut reader = reader(&cluster, &properties);
        reader.assign([(tp("t", 0), StartAt::Earliest)]).unwrap();
        read(&mut reader, 2).await;
        let (leader, _) = cluster.leader("t", 0).unwrap();
        let others: Vec<_> = (1..=3).map(BrokerId).filter(|node| *node != leader).collect();
        cluster.inject(fault.clone());
        for (round, to) in [others[0], others[1], leader, others[0]].into_iter().enumerate() {
            cluster.move_leader("t", 0, to).unwrap();
            // The second time without a chance to look in between.
            if round % 2 == 1 {
                write(&cluster, "t", 0, &["c"]).await;
                let offset = reader.position(&tp("t", 0)).unwrap();
                assert_eq!(read(&mut reader, 1).await, [(0, offset, "c".to_owned())], "{fault:?}");
            }
        }
    }
}

/// What does not pass is told, and the position stays until it does.
#[tokio::test(start_paused = true)]
async fn row_57_librdkafka_4447_a_validation_that_is_refused_for_good_resets_nothing() {
    let cluster = cluster(|it| it.nodes(2).default_replication_factor(2)).await;
    cluster.create_topic("t").unwrap();
    write(&cluster, "t", 0, &["a", "b"]).await;
    let mut reader = reader(&cluster, &[("auto.offset.reset", "earliest")]);
    reader.assign([(tp("t", 0), StartAt::Earliest)]).unwrap();
    read(&mut reader, 2).await;
    let refused = ErrorCode::TOPIC_AUTHORIZATION_FAILED;
    cluster.inject(Fault::error(ApiKey::OFFSET_FOR_LEADER_EPOCH, refused).always());
    let (leader, _) = cluster.leader("t", 0).unwrap();
    cluster.move_leader("t", 0, BrokerId(3 - leader.0)).unwrap();
    write(&cluster, "t", 0, &["c"]).await;
    for _ in 0..3 {
        let error = reader.poll(60 * SECOND).await.unwrap_err();
        let ConsumerError::Refused { offset: Some(2), .. } = error else { panic!("{error:?}") };
        assert_eq!(reader.position(&tp("t", 0)), Some(2));
    }
    cluster.clear_faults();
    assert_eq!(read(&mut reader, 1).await, [(0, 2, "c".to_owned())]);
}

/// What was committed is of a log that was cut off since: it is found out before anything is read from there.
#[tokio::test(start_paused = true)]
async fn row_58_kafka_20507_a_committed_offset_is_held_against_the_log() {
    let group = [("group.id", "g"), ("enable.auto.commit", "false")];
    for (reset, by_hand) in [("none", true), ("earliest", true), ("earliest", false)] {
        let cluster = cluster(|it| it).await;
        cluster.create_topic("t").unwrap();
        write(&cluster, "t", 0, &["a", "b", "c", "d"]).await;
        let mut first =
            reader(&cluster, &[&group[..], &[("auto.offset.reset", "earliest")]].concat());
        first.subscribe(["t"]).unwrap();
        read(&mut first, 4).await;
        first.commit().await.unwrap();
        assert!(first.close(10 * SECOND).await);
        // The offset is within the log as it is now, and its record another.
        assert_eq!(cluster.elect_uncleanly("t", 0, 2).unwrap(), 2);
        write(&cluster, "t", 0, &["C", "D", "E"]).await;

        let mut second = reader(&cluster, &[&group[..], &[("auto.offset.reset", reset)]].concat());
        if by_hand {
            second.assign([(tp("t", 0), StartAt::Committed)]).unwrap();
        } else {
            second.subscribe(["t"]).unwrap();
        }
        if reset == "none" {
            let error = second.poll(10 * SECOND).await.unwrap_err();
            let ConsumerError::LogTruncation { position, divergent: Some(divergent), .. } = &error
            else {
                panic!("{error:?}")
            };
            assert_eq!((position.offset, divergent.offset), (4, 2));
            second.seek(&tp("t", 0), StartAt::Offset(divergent.offset)).unwrap();
        }
        let values: Vec<_> = read(&mut second, 3).await.into_iter().map(|(.., v)| v).collect();
        assert_eq!(values, ["C", "D", "E"], "{reset}: not from the start, and nothing is left out");
    }
}

/// Pauses, seeks, resets and resumptions in any order: what comes next is where the last seek has led.
#[tokio::test(start_paused = true)]
async fn row_67_kafka_4547_what_a_paused_partition_is_told_holds_when_it_is_resumed() {
    let cluster = cluster(|it| it.nodes(2)).await;
    cluster.create_topic(TopicSpec::new("t").partitions(2)).unwrap();
    for partition in 0..2 {
        let values: Vec<String> = (0..10).map(|n| n.to_string()).collect();
        write(&cluster, "t", partition, &values.iter().map(String::as_str).collect::<Vec<_>>())
            .await;
    }
    for seed in 0..150 {
        let mut dice = fastrand::Rng::with_seed(seed);
        let records = dice.usize(1..5).to_string();
        let mut reader = reader(&cluster, &[("max.poll.records", &records)]);
        reader.assign((0..2).map(|n| (tp("t", n), StartAt::Earliest))).unwrap();
        let (mut next, mut paused) = ([0; 2], [false; 2]);
        for _ in 0..dice.usize(3..25) {
            let n = dice.usize(0..2);
            let partition = tp("t", n as i32);
            match dice.u8(0..7) {
                0 => {
                    reader.pause([&partition]).unwrap();
                    paused[n] = true;
                }
                1 => {
                    reader.resume([&partition]).unwrap();
                    paused[n] = false;
                }
                2 => {
                    next[n] = dice.i64(0..10);
                    reader.seek(&partition, StartAt::Offset(next[n])).unwrap();
                }
                3 => {
                    next[n] = 0;
                    reader.seek(&partition, StartAt::Earliest).unwrap();
                }
                // Both stay assigned, as after a rebalance that moves neither.
                4 => tokio::time::sleep(SECOND / 10).await,
                _ => {
                    for record in &reader.poll(SECOND / 20).await.unwrap() {
                        let n = record.partition as usize;
                        assert!(!paused[n], "seed {seed}: {n} is paused");
                        assert_eq!(record.offset, next[n], "seed {seed}: of {n}");
                        next[n] += 1;
                    }
                }
            }
        }
        reader.resume([&tp("t", 0), &tp("t", 1)]).unwrap();
        let left = next.iter().map(|next| 10 - *next as usize).sum();
        for (partition, offset, _) in read(&mut reader, left).await {
            assert_eq!(offset, next[partition as usize], "seed {seed}: of {partition}");
            next[partition as usize] += 1;
        }
    }
}
