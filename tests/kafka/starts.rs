//! The harness itself: clusters start, lose nodes and get them back, and are gone when they are dropped.

use std::fs::File;
use std::io::Write;
use std::net::TcpListener;

use tokio::time::{Duration, timeout};

use crate::cluster::RENOUNCED;
use crate::oracle::PartitionInfo;
use crate::outages::whole;
use crate::probe;
use crate::runner::Kafka;

tests![
    one_node,
    three_nodes_fail_over,
    a_paused_node_is_silent,
    a_bad_property_is_told,
    a_taken_port_is_tried_again,
    a_node_with_a_known_death_is_started_again,
];

async fn one_node(kafka: Kafka) {
    let cluster =
        kafka.cluster().property("auto.create.topics.enable", true).start().await.unwrap();
    let bootstrap = cluster.bootstrap();
    let topic = kafka.topic(&cluster, "one", 2).await;

    let partitions = kafka.oracle().describe_topic(&bootstrap, &topic).await.unwrap();

    let alone = |partition| PartitionInfo { partition, leader: 1, replicas: vec![1], isr: vec![1] };
    assert_eq!(partitions, [alone(0), alone(1)]);
    let port = bootstrap.rsplit(':').next().unwrap().parse().unwrap();
    assert_eq!(probe::brokers(port).await.unwrap(), [1]);
    drop(cluster);
    assert!(probe::brokers(port).await.is_err(), "a dropped cluster still answers");
}

async fn three_nodes_fail_over(kafka: Kafka) {
    let mut cluster = kafka.trio().await;
    let topic = kafka.topic(&cluster, "three", 3).await;
    let bootstrap = cluster.bootstrap();
    let oracle = kafka.oracle();
    whole(&kafka, &mut cluster, &topic).await;

    cluster.kill(2).await.unwrap();
    cluster.sees_brokers(1, &[1, 3]).await.unwrap();
    let without_2 = |partition: &PartitionInfo| {
        [1, 3].contains(&partition.leader) && !partition.isr.contains(&2)
    };
    oracle
        .topic_becomes(&bootstrap, &topic, |partitions| partitions.iter().all(without_2))
        .await
        .unwrap();

    cluster.restart(2).await.unwrap();
    whole(&kafka, &mut cluster, &topic).await;
    cluster.stop(3).await.unwrap();
    cluster.sees_brokers(1, &[1, 2]).await.unwrap();
    cluster.restart(3).await.unwrap();
}

async fn a_paused_node_is_silent(kafka: Kafka) {
    let mut cluster = kafka.cluster().start().await.unwrap();
    let port = cluster.bootstrap().rsplit(':').next().unwrap().parse().unwrap();

    cluster.pause(1).await.unwrap();
    let silence = timeout(Duration::from_millis(500), probe::brokers(port)).await;
    assert!(silence.is_err(), "a suspended node answered: {silence:?}");

    cluster.resume(1).await.unwrap();
    cluster.sees_brokers(1, &[1]).await.unwrap();
}

async fn a_bad_property_is_told(kafka: Kafka) {
    let told = kafka.cluster().property("num.io.threads", "none").start().await.unwrap_err();

    assert!(told.says("node 1 ended"), "{told}");
    assert!(told.says("Invalid value none for configuration num.io.threads"), "{told}");
}

async fn a_taken_port_is_tried_again(kafka: Kafka) {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let listeners = format!("PLAINTEXT://127.0.0.1:0,CONTROLLER://{address}");
    let builder = kafka.cluster().property("listeners", listeners);

    // It never gets another one here; the point is that the harness knows the failure, and tries.
    let told = builder.start().await.unwrap_err();

    assert!(told.says("Address already in use"), "{told}");
    assert!(told.says("try-3"), "{told}");
}

async fn a_node_with_a_known_death_is_started_again(kafka: Kafka) {
    let mut cluster = kafka.cluster().start().await.unwrap();
    assert!(cluster.revive().await.unwrap().is_empty());

    // Its process goes on.
    let mut log = File::options().append(true).open(cluster.log(1).unwrap()).unwrap();
    writeln!(log, "{RENOUNCED}").unwrap();
    let known = !kafka.release().at_least(3, 5);
    let expected = if known { vec![1] } else { Vec::new() };
    assert_eq!(cluster.revive().await.unwrap(), expected);
    cluster.sees_brokers(1, &[1]).await.unwrap();

    // What it said before that is no reason for another end.
    assert!(cluster.revive().await.unwrap().is_empty());
    cluster.lose(1).await.unwrap();
    let told = cluster.revive().await.unwrap_err();
    assert!(told.says("node 1 has ended by itself"), "{told}");
}
