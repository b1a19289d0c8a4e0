//! What happens to topics and replicas while records go out: too few in sync, no leader for a while, no topic, and a topic
//! that is deleted and made again.

use milena::broker::{ApiKey, Fault, TopicSpec};
use milena::{
    BrokerId, Cause, ClientError, DeliveryErrorKind, ErrorCode, Persistence, ProducerRecord,
    SendError,
};

use super::bench::{Bench, MS, numbers};
use crate::support::{SECOND, cluster, values};

const NOT_ENOUGH: ErrorCode = ErrorCode::NOT_ENOUGH_REPLICAS;

/// A topic on three nodes that wants two in sync; gives those that do not lead it.
async fn replicated(properties: &[(&str, &str)]) -> (Bench, Vec<BrokerId>) {
    let spec = TopicSpec::new("t").partitions(1).replication_factor(3);
    // The setting is the brokers'.
    let build =
        |c: milena::broker::ClusterBuilder| c.nodes(3).topic_config("min.insync.replicas", "2");
    let bench = Bench::with(build, spec, properties).await;
    bench.settle(1).await;
    let (leader, _) = bench.cluster.leader("t", 0).unwrap();
    let others = bench.cluster.nodes().into_iter().filter(|&node| node != leader).collect();
    (bench, others)
}

/// P5: too few replicas in sync: nothing is appended, and all is sent again until they are back.
#[tokio::test(start_paused = true)]
async fn min_insync_replicas_unmet_and_met_again() {
    let (bench, others) = replicated(&[("delivery.timeout.ms", "60000")]).await;
    bench.cluster.stop_node(others[0]).await.unwrap();
    bench.send(0).await;
    bench.producer.flush().await;
    assert_eq!(bench.offset(1), Some(1), "two are enough");
    bench.cluster.stop_node(others[1]).await.unwrap();
    bench.send_many(0, 5).await;
    let requests = bench.cluster.requests(ApiKey::PRODUCE);
    bench.cluster.received(ApiKey::PRODUCE, requests + 12).await;
    assert_eq!(values(&bench.cluster, "t", 0), ["0", "1"], "refused before the append");
    bench.cluster.restart_node(others[0]).await.unwrap();
    let stamps = |epoch| bench.tap.sent().iter().all(|batch| batch.producer.epoch == epoch);
    bench.producer.flush().await;
    assert!(stamps(0), "no number was lost");
    assert_eq!(bench.check().await, [numbers(0..7)]);
}

/// P5: with `acks=1` the leader alone is enough.
#[tokio::test(start_paused = true)]
async fn min_insync_replicas_is_for_acks_all() {
    let (bench, others) = replicated(&[("acks", "1"), ("enable.idempotence", "false")]).await;
    for node in others {
        bench.cluster.stop_node(node).await.unwrap();
    }
    bench.send(0).await;
    assert_eq!(bench.check().await, [numbers(0..2)]);
}

/// P5, P7: if they do not come back, the records expire and name the refusal; nothing of them is written.
#[tokio::test(start_paused = true)]
async fn min_insync_replicas_never_met() {
    let (bench, others) =
        replicated(&[("delivery.timeout.ms", "5000"), ("request.timeout.ms", "2000")]).await;
    for node in &others {
        bench.cluster.stop_node(*node).await.unwrap();
    }
    let started = tokio::time::Instant::now();
    bench.send_many(0, 3).await;
    bench.producer.flush().await;
    assert_eq!(started.elapsed(), 5 * SECOND);
    for number in 1..4 {
        let error = bench.error(number);
        assert_eq!(error.kind(), &DeliveryErrorKind::TimedOut { records: 1 });
        assert_eq!(error.persistence(), Persistence::NotWritten);
        let named =
            matches!(error.last_error(), Some(Cause::Broker(code, _)) if *code == NOT_ENOUGH);
        assert!(named, "{error}");
    }
    bench.cluster.restart_node(others[0]).await.unwrap();
    bench.send(0).await;
    assert_eq!(bench.check().await, [["0", "4"]]);
}

/// P5: replicas that go away after the append: the records are there, once, though they were sent again.
#[tokio::test(start_paused = true)]
async fn replicas_that_are_lost_after_the_append() {
    let (bench, _) = replicated(&[]).await;
    let after = ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND;
    bench.cluster.inject(Fault::error_after(ApiKey::PRODUCE, after).times(7));
    bench.send_many(0, 4).await;
    bench.producer.flush().await;
    assert_eq!((bench.offset(1), bench.offset(4)), (Some(1), Some(4)));
    assert_eq!(bench.check().await, [numbers(0..5)]);
}

/// One metadata answer without a leader stopped a partition for good (librdkafka 5430, row 70).
#[tokio::test(start_paused = true)]
async fn a_partition_without_a_leader_for_a_while() {
    let spec = TopicSpec::new("t").partitions(2).replication_factor(1);
    let properties = [("delivery.timeout.ms", "20000"), ("request.timeout.ms", "1000")];
    let bench = Bench::with(|c| c.nodes(2), spec, &properties).await;
    bench.settle(2).await;
    bench.cluster.stop_node(BrokerId(2)).await.unwrap();
    assert_eq!(bench.cluster.leader("t", 1), None);
    bench.send_many(1, 4).await;
    bench.send_many(0, 4).await;
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(bench.ended().len(), 6, "the other partition goes on");
    bench.cluster.restart_node(BrokerId(2)).await.unwrap();
    let started = tokio::time::Instant::now();
    bench.producer.flush().await;
    assert!(started.elapsed() < 3 * SECOND, "{:?}", started.elapsed());
    assert!((0..10).all(|number| bench.end(number).unwrap().is_ok()));
    // And for longer than a record may wait.
    bench.cluster.stop_node(BrokerId(2)).await.unwrap();
    bench.send(1).await;
    bench.producer.flush().await;
    let number = bench.send(1).await;
    bench.producer.flush().await;
    let error = bench.error(number);
    assert_eq!(error.persistence(), Persistence::NotWritten);
    let leaderless = |cause: &Cause| matches!(cause, Cause::Client(ClientError::NoLeader { .. }));
    assert!(error.last_error().is_some_and(leaderless), "{error}");
    bench.cluster.restart_node(BrokerId(2)).await.unwrap();
    bench.send(1).await;
    bench.check().await;
}

/// P6: without automatic creation an unknown topic is refused before anything is buffered, and other topics are unharmed.
#[tokio::test(start_paused = true)]
async fn an_unknown_topic_without_automatic_creation() {
    let bench = Bench::with(
        |c| c.auto_create_topics(false),
        TopicSpec::new("t"),
        &[("max.block.ms", "2000")],
    )
    .await;
    bench.settle(1).await;
    let free = bench.memory();
    let record = ProducerRecord::new("missing", "x");
    let (error, ()) = tokio::join!(bench.producer.send(&record), async {
        for _ in 0..10 {
            bench.send(0).await;
            tokio::time::sleep(MS(100)).await;
        }
    });
    let error = error.unwrap_err();
    assert!(matches!(&error, SendError::MetadataTimeout { topic, .. } if topic == "missing"));
    assert_eq!(bench.memory(), free);
    assert_eq!(bench.cluster.topic_id("missing"), None);
    assert_eq!(bench.check().await, [numbers(0..11)]);
}

/// A topic that is deleted and made again while records go out is another one: what is acknowledged for the new one is in
/// the new one, once and in order, and the producer goes on with it (Kafka 13488, franz-go 908).
#[tokio::test(start_paused = true)]
async fn a_topic_deleted_and_made_again_while_sending() {
    for seed in 0..60 {
        let mut dice = fastrand::Rng::with_seed(seed);
        let cluster = cluster(|c| c.nodes(2).auto_create_topics(false)).await;
        let spec = || TopicSpec::new("t").partitions(2).replication_factor(2);
        cluster.create_topic(spec()).unwrap();
        let properties = [
            ("metadata.max.age.ms", "300"),
            ("request.timeout.ms", "1000"),
            ("delivery.timeout.ms", "20000"),
            ("retry.backoff.ms", "50"),
        ];
        let bench = Bench::on(cluster.clone(), &properties);
        bench.producer.partitions_for("t").await.unwrap();
        bench.settle(2).await;
        for round in 0..3 {
            let before = bench.send(0).await;
            bench.send_many(0, dice.usize(0..6)).await;
            bench.send_many(1, dice.usize(0..6)).await;
            // Answers and requests get lost around it, so that fates are to be found out.
            match dice.u8(0..4) {
                0 => cluster.inject(Fault::close_after(ApiKey::PRODUCE).after(dice.u32(0..4))),
                1 => cluster.inject(Fault::close_before(ApiKey::PRODUCE).after(dice.u32(0..4))),
                2 => cluster.inject(Fault::drop_response(ApiKey::PRODUCE).after(dice.u32(0..4))),
                _ => {}
            }
            tokio::time::sleep(MS(dice.u64(0..3))).await;
            cluster.delete_topic("t").unwrap();
            if dice.bool() {
                tokio::time::sleep(MS(dice.u64(0..1_500))).await;
            }
            let id = cluster.create_topic(spec()).unwrap();
            if dice.bool() {
                cluster.move_leader("t", 0, BrokerId(dice.i32(1..3))).unwrap();
            }
            let refused = ErrorCode::NOT_LEADER_OR_FOLLOWER;
            cluster.inject(Fault::error(ApiKey::PRODUCE, refused).after(dice.u32(0..3)));
            bench.send_many(0, dice.usize(0..6)).await;
            tokio::time::sleep(5 * SECOND).await;
            cluster.clear_faults();
            let first = bench.send(0).await;
            bench.send_many(1, 3).await;
            bench.send_many(0, 5).await;
            bench.producer.flush().await;
            let context = format!("seed {seed}, round {round}");
            for number in before..first + 9 {
                let end = bench.end(number).unwrap();
                assert!(end.is_ok(), "{context}: {number}: {end:?}");
            }
            assert_eq!(cluster.topic_id("t"), Some(id));
            let logs = [values(&cluster, "t", 0), values(&cluster, "t", 1)];
            for log in &logs {
                let numbers: Vec<usize> = log.iter().map(|value| value.parse().unwrap()).collect();
                assert!(numbers.is_sorted_by(|a, b| a < b), "{context}: {numbers:?}");
            }
            // What was sent after the topic was there again is in it, where it was said to be.
            for number in first..first + 9 {
                let log = &logs[usize::from((first + 1..first + 4).contains(&number))];
                let at = log.iter().position(|value| *value == number.to_string());
                let at = at.and_then(|at| i64::try_from(at).ok());
                assert_eq!(bench.offset(number), at, "{context}: {number} in {log:?}");
            }
        }
        bench.producer.close(SECOND).await.unwrap();
        bench.check_memory().await;
    }
}
