//! Kafka's Java clients against real Kafka, without any code of this crate: what later tests hold our code against
//! must itself give back the bytes it was given.

use crate::oracle::Record;
use crate::runner::Kafka;
use crate::samples::{CODECS, shapes};
use crate::tools::PerfTest;

tests![every_codec_keeps_every_byte, errors_are_told, console_consumer, producer_performance];

async fn every_codec_keeps_every_byte(kafka: Kafka) {
    let cluster = kafka.shared().await;
    let bootstrap = cluster.bootstrap();
    let (oracle, written) = (kafka.oracle(), shapes());
    for codec in CODECS {
        let topic = kafka.topic(cluster, codec, 1).await;
        let properties = [("compression.type", codec), ("linger.ms", "1000"), ("acks", "all")];

        let placed = oracle.produce(&bootstrap, &topic, &written, &properties).await.unwrap();
        let read = oracle.consume(&bootstrap, &topic, 0, 0, &[]).await.unwrap();

        let stored = cluster.stored_batches(1, &topic, 0).unwrap();
        assert!(stored.iter().all(|batch| batch.codec() == codec), "{stored:?}");
        assert!(placed.into_iter().eq(read.iter().map(|stored| (0, stored.offset))), "{codec}");
        assert!(read.iter().all(|stored| stored.timestamp_type == "CreateTime"), "{codec}");
        let read: Vec<Record> = read.into_iter().map(|stored| stored.record).collect();
        assert_eq!(read, written, "{codec}");
    }
}

async fn errors_are_told(kafka: Kafka) {
    let cluster = kafka.shared().await;
    let bootstrap = cluster.bootstrap();
    let topic = kafka.topic(cluster, "once", 1).await;

    let again = kafka.oracle().create_topic(&bootstrap, &topic, 1, 1, &[]).await.unwrap_err();
    assert!(again.says("TopicExistsException"), "{again}");

    let mut record = shapes().remove(0);
    record.partition = 1;
    let properties = [("max.block.ms", "500")];
    let beyond = kafka.oracle().produce(&bootstrap, &topic, &[record], &properties).await;
    let beyond = beyond.unwrap_err();
    assert!(beyond.says("TimeoutException"), "{beyond}");
}

async fn console_consumer(kafka: Kafka) {
    let cluster = kafka.shared().await;
    let bootstrap = cluster.bootstrap();
    let topic = kafka.topic(cluster, "console", 1).await;
    let headers = vec![("from".to_owned(), Some(b"here".to_vec())), ("to".to_owned(), None)];
    let (key, value) = (Some(b"k".to_vec()), Some("zwölf".into()));
    let record = Record { partition: 0, timestamp: 0, key, value, headers };
    let nothing = Record { key: None, value: None, headers: vec![], ..record.clone() };
    kafka.oracle().produce(&bootstrap, &topic, &[record, nothing], &[]).await.unwrap();

    let lines = kafka.release().console_consumer(&bootstrap, &topic, 2).await.unwrap();

    let expected = ["from:here,to:null\tk\tzwölf", "NO_HEADERS\tnull\tnull"];
    assert_eq!(lines, expected);
}

async fn producer_performance(kafka: Kafka) {
    let cluster = kafka.shared().await;
    let bootstrap = cluster.bootstrap();
    let topic = kafka.topic(cluster, "perf", 2).await;
    let properties = &[("acks", "all"), ("enable.idempotence", "true")];
    let test = PerfTest { topic: &topic, records: 10_000, size: 100, properties };

    kafka.release().producer_performance(&bootstrap, test).await.unwrap();

    let mut stored = Vec::new();
    for partition in [0, 1] {
        stored.extend(cluster.stored_batches(1, &topic, partition).unwrap());
    }
    assert_eq!(stored.iter().map(|batch| batch.count).sum::<i32>(), 10_000);
    assert!(stored.iter().all(|batch| batch.producer_id >= 0), "not idempotent");
}
