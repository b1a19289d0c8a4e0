//! Kafka's Java clients and tools against `milena::broker`: the cluster that our own tests and our users' tests rest on
//! must be one for them too.

use milena::broker::Cluster;

use crate::oracle::{Record, StoredRecord};
use crate::ours;
use crate::runner::Kafka;
use crate::samples::{CODECS, numbered, shapes};
use crate::tools::PerfTest;

tests![every_codec_keeps_every_byte, producer_performance, console_consumer];

async fn every_codec_keeps_every_byte(kafka: Kafka) {
    let cluster = Cluster::builder().nodes(3).start().await.unwrap();
    let bootstrap = cluster.bootstrap_servers();
    let (oracle, written) = (kafka.oracle(), shapes());
    for codec in CODECS {
        let topic = format!("bytes-{codec}");
        oracle.create_topic(&bootstrap, &topic, 1, 3, &[]).await.unwrap();
        let properties = [("compression.type", codec), ("linger.ms", "1000"), ("acks", "all")];

        let placed = oracle.produce(&bootstrap, &topic, &written, &properties).await.unwrap();
        let read = oracle.consume(&bootstrap, &topic, 0, 0, &[]).await.unwrap();

        assert!(placed.into_iter().eq(read.iter().map(|stored| (0, stored.offset))), "{codec}");
        let read: Vec<Record> = read.into_iter().map(|stored| stored.record).collect();
        assert_eq!(read, written, "{codec}");
    }
}

/// What the issue asks for: 100,000 records, idempotent, acknowledged by all.
async fn producer_performance(kafka: Kafka) {
    let cluster = Cluster::builder().nodes(3).start().await.unwrap();
    let bootstrap = cluster.bootstrap_servers();
    kafka.oracle().create_topic(&bootstrap, "perf", 3, 3, &[]).await.unwrap();
    let properties = &[("acks", "all"), ("enable.idempotence", "true")];
    let test = PerfTest { topic: "perf", records: 100_000, size: 100, properties };

    kafka.release().producer_performance(&bootstrap, test).await.unwrap();

    let mut count = 0;
    for partition in 0..3 {
        for batch in cluster.batches("perf", partition) {
            assert!(batch.producer.id >= 0, "not idempotent: {batch:?}");
        }
        let records = cluster.records("perf", partition);
        let whole = |value: &[u8]| value.len() == 100 && value.iter().all(u8::is_ascii_uppercase);
        assert!(records.iter().all(|record| record.value.as_deref().is_some_and(whole)));
        count += records.len();
        let read = ours::read_to_end(&bootstrap, "perf", partition, 0, &[]).await;
        let same = |(ours, theirs): (&StoredRecord, &milena::broker::StoredRecord)| {
            ours.offset == theirs.offset && ours.record.value.as_deref() == theirs.value.as_deref()
        };
        assert!(read.len() == records.len() && read.iter().zip(&records).all(same));
    }
    assert_eq!(count, 100_000);
}

async fn console_consumer(kafka: Kafka) {
    let cluster = Cluster::builder().start().await.unwrap();
    let bootstrap = cluster.bootstrap_servers();
    cluster.create_topic("console").unwrap();
    let records: Vec<Record> = (0..3).map(|number| numbered(0, number)).collect();
    kafka.oracle().produce(&bootstrap, "console", &records, &[]).await.unwrap();

    let lines = kafka.release().console_consumer(&bootstrap, "console", 3).await.unwrap();

    assert_eq!(lines, [0, 1, 2].map(|number| format!("NO_HEADERS\tnull\trecord {number}")));
}
