//! Kafka's Java producer writes to real Kafka, and our reader reads exactly what Kafka's Java consumer reads.

use std::time::Duration;

use milena::{StartAt, TopicPartition};

use crate::oracle::{PartitionInfo, Record};
use crate::ours;
use crate::runner::Kafka;
use crate::samples::{CODECS, numbered, shapes};

tests![
    every_codec_keeps_every_byte,
    the_time_of_the_append_is_told,
    a_compacted_log_reads_as_in_java_from_every_offset,
    a_killed_leader_loses_and_doubles_nothing,
];

async fn every_codec_keeps_every_byte(kafka: Kafka) {
    let cluster = kafka.shared().await;
    let bootstrap = cluster.bootstrap();
    let written = shapes();
    for codec in CODECS {
        let topic = kafka.topic(cluster, codec, 1).await;
        let properties = [("compression.type", codec), ("linger.ms", "1000")];
        kafka.oracle().produce(&bootstrap, &topic, &written, &properties).await.unwrap();

        let read = ours::read_to_end(&bootstrap, &topic, 0, 0, &[]).await;

        let java = kafka.oracle().consume(&bootstrap, &topic, 0, 0, &[]).await.unwrap();
        assert_eq!(read, java, "{codec}");
        let read: Vec<Record> = read.into_iter().map(|stored| stored.record).collect();
        assert_eq!(read, written, "{codec}");
    }
}

async fn the_time_of_the_append_is_told(kafka: Kafka) {
    let bootstrap = kafka.shared().await.bootstrap();
    let configs = [("message.timestamp.type", "LogAppendTime")];
    let oracle = kafka.oracle();
    oracle.create_topic(&bootstrap, "append-time", 1, 1, &configs).await.unwrap();
    oracle.produce(&bootstrap, "append-time", &shapes(), &[]).await.unwrap();

    let read = ours::read_to_end(&bootstrap, "append-time", 0, 0, &[]).await;

    let java = oracle.consume(&bootstrap, "append-time", 0, 0, &[]).await.unwrap();
    assert!(read.iter().all(|stored| stored.timestamp_type == "LogAppendTime"));
    assert_eq!(read, java);
}

/// Compaction leaves gaps within batches, between them, and batches without records.
async fn a_compacted_log_reads_as_in_java_from_every_offset(kafka: Kafka) {
    const RECORDS: usize = 400;
    let cluster = kafka.cluster().property("log.cleaner.backoff.ms", 100).start().await.unwrap();
    let bootstrap = cluster.bootstrap();
    let configs = [
        ("cleanup.policy", "compact"),
        ("min.cleanable.dirty.ratio", "0.01"),
        // By the records' timestamps, which are a second apart.
        ("segment.ms", "20000"),
    ];
    let oracle = kafka.oracle();
    oracle.create_topic(&bootstrap, "compacted", 1, 1, &configs).await.unwrap();
    let record = |number: usize| Record {
        timestamp: 1_700_000_000_000 + i64::try_from(number).unwrap() * 1000,
        key: Some(format!("key {}", number * number % 37).into_bytes()),
        ..numbered(0, number)
    };
    let records: Vec<Record> = (0..RECORDS).map(record).collect();
    for (records, codec) in records.chunks(25).zip(["none", "zstd", "lz4"].into_iter().cycle()) {
        let properties = [("compression.type", codec), ("linger.ms", "100")];
        oracle.produce(&bootstrap, "compacted", records, &properties).await.unwrap();
    }
    let mut left = RECORDS;
    for _ in 0..300 {
        left = oracle.consume(&bootstrap, "compacted", 0, 0, &[]).await.unwrap().len();
        if left < RECORDS / 2 {
            break;
        }
        // The cleaner tells nobody when it is through.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(left < RECORDS / 2, "the log was not compacted: {left} records");

    for from in (0..=i64::try_from(RECORDS).unwrap()).step_by(23) {
        let consume = || oracle.consume(&bootstrap, "compacted", 0, from, &[]);
        let mut java = consume().await.unwrap();
        loop {
            let read = ours::read_to_end(&bootstrap, "compacted", 0, from, &[]).await;
            let before = std::mem::replace(&mut java, consume().await.unwrap());
            // The cleaner may go on; of what it did in between, each may have seen more or less.
            if before == java {
                assert_eq!(read, java, "from {from}");
                break;
            }
        }
    }
}

async fn a_killed_leader_loses_and_doubles_nothing(kafka: Kafka) {
    const RECORDS: usize = 20_000;
    // Its own: in the shared one, whose nodes were killed before, the new leader at times says OFFSET_OUT_OF_RANGE, which
    // a reader does not get over before it knows leader epochs.
    let mut cluster = kafka
        .cluster()
        .nodes(3)
        .property("broker.heartbeat.interval.ms", 500)
        .property("broker.session.timeout.ms", 4000)
        .start()
        .await
        .unwrap();
    let bootstrap = cluster.bootstrap();
    let topic = kafka.topic(&cluster, "killed", 1).await;
    let all_in_sync = |partitions: &[PartitionInfo]| partitions[0].isr.len() == 3;
    let leader =
        kafka.oracle().topic_becomes(&bootstrap, &topic, all_in_sync).await.unwrap()[0].leader;
    let records: Vec<Record> = (0..RECORDS).map(|number| numbered(0, number)).collect();
    let properties = [("acks", "all"), ("batch.size", "1000")];
    kafka.oracle().produce(&bootstrap, &topic, &records, &properties).await.unwrap();

    // So little at a time that the kill falls into the reading.
    let small = [("fetch.max.bytes", "4000"), ("max.partition.fetch.bytes", "2000")];
    let mut reader = ours::reader(&bootstrap, &small);
    reader.assign([(TopicPartition::new(&topic, 0), StartAt::Earliest)]).unwrap();
    let mut read = Vec::new();
    let mut killed = false;
    while read.len() < RECORDS {
        let polled = reader.poll(Duration::from_secs(30)).await.unwrap();
        assert!(!polled.is_empty(), "only {} records came", read.len());
        read.extend(polled.iter().map(|record| ours::stored(&record)));
        if !killed && read.len() > RECORDS / 3 {
            cluster.kill(leader).await.unwrap();
            killed = true;
        }
    }
    assert!(read.iter().zip(0..).all(|(stored, offset)| stored.offset == offset));
    let read: Vec<Record> = read.into_iter().map(|stored| stored.record).collect();
    assert!(read == records, "the bytes differ");
}
