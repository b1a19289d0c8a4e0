//! Our producer writes to real Kafka, and Kafka's Java clients read it back (and our reader, where a node is missing);
//! what is on the broker's disk tells the rest.

use std::collections::VecDeque;

use milena::Producer;
use tokio::sync::Notify;

use crate::cluster::Cluster;
use crate::oracle::{Record, StoredRecord};
use crate::ours;
use crate::runner::Kafka;
use crate::samples::{CODECS, numbered, shapes};

tests![
    every_codec_keeps_every_byte,
    keys_fall_where_java_puts_them,
    a_frozen_broker_stores_each_record_once,
];

async fn every_codec_keeps_every_byte(kafka: Kafka) {
    let cluster = kafka.shared().await;
    let bootstrap = cluster.bootstrap();
    let written = shapes();
    for codec in CODECS {
        let topic = kafka.topic(cluster, codec, 1).await;
        let properties = [("compression.type", codec), ("linger.ms", "1000")];

        let producer = ours::producer(&bootstrap, &properties);
        let placed = ours::send_all(&producer, &topic, &written).await;
        ours::close(producer).await;
        let read = kafka.oracle().consume(&bootstrap, &topic, 0, 0, &[]).await.unwrap();

        let stored = cluster.stored_batches(1, &topic, 0).unwrap();
        assert!(stored.iter().all(|batch| batch.codec() == codec), "{stored:?}");
        assert!(stored.iter().all(|batch| batch.producer_id >= 0), "not idempotent: {stored:?}");
        assert!(placed.into_iter().eq(read.iter().map(|stored| (0, stored.offset))), "{codec}");
        let read: Vec<Record> = read.into_iter().map(|stored| stored.record).collect();
        assert_eq!(read, written, "{codec}");
    }
}

async fn keys_fall_where_java_puts_them(kafka: Kafka) {
    let cluster = kafka.shared().await;
    let bootstrap = cluster.bootstrap();
    let ours = kafka.topic(cluster, "keys-ours", 7).await;
    let java = kafka.topic(cluster, "keys-java", 7).await;
    let every_byte: Vec<u8> = (0..=255).rev().collect();
    let keyed = |length: usize| Record {
        partition: -1,
        key: Some(every_byte[..length].to_vec()),
        ..numbered(0, length)
    };
    let records: Vec<Record> = (0..=256).map(keyed).collect();

    let producer = ours::producer(&bootstrap, &[]);
    let by_us = ours::send_all(&producer, &ours, &records).await;
    ours::close(producer).await;
    let by_java = kafka.oracle().produce(&bootstrap, &java, &records, &[]).await.unwrap();

    assert_eq!(by_us, by_java);
}

/// The broker stops in the middle of things for longer than a request may take. It has the requests, and appends them
/// when it goes on; by then the client has sent them again.
async fn a_frozen_broker_stores_each_record_once(kafka: Kafka) {
    let mut cluster = kafka.cluster().start().await.unwrap();
    let topic = kafka.topic(&cluster, "frozen", 1).await;
    let records: Vec<Record> = (0..20_000).map(|number| numbered(0, number)).collect();
    let producer = ours::producer(&cluster.bootstrap(), &[("request.timeout.ms", "1000")]);
    let under_way = Notify::new();

    let freeze = async {
        under_way.notified().await;
        cluster.pause(1).await.unwrap();
        // As long as the broker's pause is what the test is about, there is nothing to wait for.
        tokio::time::sleep(tokio::time::Duration::from_millis(2500)).await;
        cluster.resume(1).await.unwrap();
    };
    tokio::join!(send_paced(&producer, &topic, &records, &under_way), freeze);

    ours::close(producer).await;
    assert_stored_once(&kafka, &cluster, &topic, &[records]).await;
}

/// Sends all records, with some hundreds of them awaiting their acknowledgement at any time, and tells when it is a
/// third through.
async fn send_paced(producer: &Producer, topic: &str, records: &[Record], third: &Notify) {
    let mut unacknowledged = VecDeque::new();
    for (number, record) in records.iter().enumerate() {
        if number == records.len() / 3 {
            third.notify_one();
        }
        unacknowledged.push_back(ours::send(producer, topic, record).await);
        if unacknowledged.len() > 500 {
            let oldest = unacknowledged.pop_front().unwrap();
            oldest.await.unwrap();
        }
    }
    for delivery in unacknowledged {
        delivery.await.unwrap();
    }
}

/// Each partition holds exactly these records, in this order, at the offsets from 0 on.
async fn assert_stored_once(
    kafka: &Kafka,
    cluster: &Cluster,
    topic: &str,
    expected: &[Vec<Record>],
) {
    let bootstrap = cluster.bootstrap();
    for (partition, expected) in (0..).zip(expected) {
        let read = kafka.oracle().consume(&bootstrap, topic, partition, 0, &[]).await.unwrap();
        // Not `assert_eq!`: what differs from what was sent is told below.
        let by_us = ours::read_to_end(&bootstrap, topic, partition, 0, &[]).await;
        assert!(
            by_us == read,
            "our reader and Java's read otherwise: {} and {}",
            by_us.len(),
            read.len()
        );
        let same = |(at, stored): (usize, &StoredRecord)| {
            usize::try_from(stored.offset) == Ok(at) && expected.get(at) == Some(&stored.record)
        };
        let good = read.iter().enumerate().take_while(|&pair| same(pair)).count();
        assert_eq!(
            (good, read.len()),
            (expected.len(), expected.len()),
            "partition {partition} differs from offset {good} on, from {:?}",
            read.get(good)
        );
    }
}
