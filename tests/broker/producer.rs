//! Producer rows without faults: P1 to P6, P9 to P11, P13, P17, P18.

use std::sync::Arc;
use std::time::Duration;

use milena::broker::{ApiKey, TopicSpec};
use milena::{
    Compression, Header, Producer, ProducerConfig, ProducerRecord, SendError, TimestampType,
};
use parking_lot::Mutex;

use crate::support::{SECOND, cluster, in_memory, producer, values};

/// P1: metadata say where the record is and what was written.
#[tokio::test(start_paused = true)]
async fn a_delivery_gives_the_metadata() {
    let cluster = cluster(|c| c).await;
    cluster.create_topic(("t", 2)).unwrap();
    let producer = producer(&cluster, &[]);
    let headers = [Header::new("a", b"1"), Header { key: "b", value: None }];
    let record = ProducerRecord::new("t", "value").key("key").partition(1).timestamp(77);
    let metadata = producer.send(&record.headers(&headers)).await.unwrap().await.unwrap();
    assert_eq!((metadata.topic(), metadata.partition()), ("t", 1));
    assert_eq!((metadata.offset(), metadata.timestamp()), (Some(0), 77));
    assert_eq!(metadata.serialized_key_size(), Some(3));
    assert_eq!(metadata.serialized_value_size(), Some(5));
    let stored = &cluster.records("t", 1)[0];
    assert_eq!(stored.key.as_deref(), Some(&b"key"[..]));
    assert_eq!(stored.timestamp, 77);
    assert_eq!(stored.headers[0], ("a".to_owned(), Some(b"1".to_vec().into())));
    assert_eq!(stored.headers[1], ("b".to_owned(), None));
}

/// P2: a null value is a tombstone; an empty one is not.
#[tokio::test(start_paused = true)]
async fn nulls_and_empties_stay_apart() {
    let cluster = cluster(|c| c).await;
    let producer = producer(&cluster, &[]);
    for record in [
        ProducerRecord::tombstone("t").key("k"),
        ProducerRecord::new("t", "").key(""),
        ProducerRecord::tombstone("t"),
    ] {
        producer.send(&record).await.unwrap().await.unwrap();
    }
    let stored = cluster.records("t", 0);
    let parts: Vec<_> = stored.iter().map(|r| (r.key.as_deref(), r.value.as_deref())).collect();
    assert_eq!(parts, [(Some(&b"k"[..]), None), (Some(&b""[..]), Some(&b""[..])), (None, None)]);
}

/// P3: callbacks come in the order of the sends, with metadata, and a callback that panics harms nobody.
#[tokio::test(start_paused = true)]
async fn callbacks_in_order_past_one_that_panics() {
    let cluster = cluster(|c| c).await;
    let producer = producer(&cluster, &[]);
    let seen = Arc::new(Mutex::new(Vec::new()));
    for i in 0..500 {
        let seen = Arc::clone(&seen);
        let value = i.to_string();
        let callback = move |result: Result<milena::RecordMetadata, _>| {
            assert_ne!(i, 250, "a user's bug");
            seen.lock().push(result.unwrap().offset().unwrap());
        };
        producer.send_with(&ProducerRecord::new("t", &value), callback).await.unwrap();
    }
    producer.flush().await;
    let expected: Vec<i64> = (0..500).filter(|&i| i != 250).collect();
    assert_eq!(*seen.lock(), expected);
    assert_eq!(values(&cluster, "t", 0).len(), 500);
}

/// P5: with acks=0 nothing is awaited and the offset is not known.
#[tokio::test(start_paused = true)]
async fn acks_none_and_one() {
    let cluster = cluster(|c| c).await;
    for (acks, offset) in [("0", None), ("1", Some(1))] {
        let producer = producer(&cluster, &[("acks", acks), ("enable.idempotence", "false")]);
        let delivery = producer.send(&ProducerRecord::new("t", acks)).await.unwrap();
        assert_eq!(delivery.await.unwrap().offset(), offset, "acks={acks}");
        producer.close(SECOND).await.unwrap();
        cluster.received(ApiKey::PRODUCE, if acks == "0" { 1 } else { 2 }).await;
    }
    assert_eq!(values(&cluster, "t", 0), ["0", "1"]);
}

/// P9: a batch leaves when linger is over, and not before; a full one does not wait.
#[tokio::test(start_paused = true)]
async fn linger_and_full_batches() {
    let cluster = cluster(|c| c).await;
    let producer = producer(&cluster, &[("linger.ms", "1000"), ("batch.size", "1000")]);
    producer.send(&ProducerRecord::new("t", "first")).await.unwrap().await.unwrap();
    let started = tokio::time::Instant::now();
    let lingering = producer.send(&ProducerRecord::new("t", "alone")).await.unwrap();
    lingering.await.unwrap();
    assert_eq!(started.elapsed(), SECOND);

    let started = tokio::time::Instant::now();
    let value = "x".repeat(400);
    let full = producer.send(&ProducerRecord::new("t", &value)).await.unwrap();
    drop(producer.send(&ProducerRecord::new("t", &value)).await.unwrap());
    drop(producer.send(&ProducerRecord::new("t", &value)).await.unwrap());
    full.await.unwrap();
    assert!(started.elapsed() < SECOND / 10, "{:?}", started.elapsed());
    let batches = cluster.batches("t", 0);
    assert_eq!(batches[2].last_offset - batches[2].base_offset, 1, "two fit in a batch");
}

/// P9: a full batch leaves although the records that follow go to another partition.
#[tokio::test(start_paused = true)]
async fn a_full_batch_does_not_linger_when_others_take_its_turn() {
    let cluster = cluster(|c| c).await;
    cluster.create_topic(("t", 3)).unwrap();
    let producer = producer(&cluster, &[("linger.ms", "60000"), ("batch.size", "1000")]);
    let value = "x".repeat(300);
    let mut deliveries = Vec::new();
    for _ in 0..30 {
        deliveries.push(producer.send(&ProducerRecord::new("t", &value)).await.unwrap());
    }
    let started = tokio::time::Instant::now();
    // The last batch has room still.
    for delivery in deliveries.into_iter().take(27) {
        delivery.await.unwrap();
    }
    assert!(started.elapsed() < SECOND, "{:?}", started.elapsed());
}

/// P9: a record larger than a batch gets its own; one larger than a request is refused before it is buffered.
#[tokio::test(start_paused = true)]
async fn large_records() {
    let cluster = cluster(|c| c).await;
    let producer = producer(&cluster, &[("batch.size", "100"), ("max.request.size", "5000")]);
    for size in [10, 4_000, 10] {
        drop(producer.send(&ProducerRecord::new("t", &vec![b'x'; size])).await.unwrap());
    }
    producer.flush().await;
    let sizes: Vec<_> =
        cluster.records("t", 0).iter().map(|r| r.value.as_ref().unwrap().len()).collect();
    assert_eq!(sizes, [10, 4_000, 10]);
    assert_eq!(cluster.batches("t", 0).len(), 3);

    let error = producer.send(&ProducerRecord::new("t", &vec![b'x'; 5_000])).await.unwrap_err();
    match error {
        SendError::RecordTooLarge { size, max: 5_000, property: "max.request.size" } => {
            assert!((5_061..5_120).contains(&size), "{size}");
        }
        other => panic!("{other}"),
    }
}

/// P6: without room a send waits `max.block.ms` and then says what it lacked; memory comes back with the answers.
#[tokio::test(start_paused = true)]
async fn a_full_buffer_is_an_error_and_then_room_again() {
    let cluster = cluster(|c| c).await;
    let producer = producer(
        &cluster,
        &[("buffer.memory", "4000"), ("batch.size", "1000"), ("max.block.ms", "500")],
    );
    producer.send(&ProducerRecord::new("t", "0")).await.unwrap().await.unwrap();
    let stall = Duration::from_secs(20);
    cluster.inject(milena::broker::Fault::delay_response(ApiKey::PRODUCE, stall));
    let value = "x".repeat(900);
    let mut deliveries = Vec::new();
    let error = loop {
        match producer.send(&ProducerRecord::new("t", &value)).await {
            Ok(delivery) => deliveries.push(delivery),
            Err(error) => break error,
        }
    };
    assert_eq!(deliveries.len(), 4);
    assert_eq!(
        error.to_string(),
        "Failed to allocate 1000 bytes within the configured max blocking time 500 ms. \
         Total memory: 4000 bytes. Available memory: 0 bytes."
    );
    let error = producer.try_send(&ProducerRecord::new("t", &value)).unwrap_err();
    assert!(matches!(error, SendError::BufferFull { waited: Duration::ZERO, .. }), "{error}");
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    producer.send(&ProducerRecord::new("t", &value)).await.unwrap().await.unwrap();
}

/// P6: `max.block.ms` bounds the wait for metadata.
#[tokio::test(start_paused = true)]
async fn an_unknown_topic_is_an_error_after_max_block() {
    let cluster = cluster(|c| c.auto_create_topics(false)).await;
    let producer = producer(&cluster, &[("max.block.ms", "3000")]);
    let started = tokio::time::Instant::now();
    let error = producer.send(&ProducerRecord::new("missing", "x")).await.unwrap_err();
    assert_eq!(started.elapsed(), 3 * SECOND);
    let text = error.to_string();
    assert!(text.starts_with("Topic missing not present in metadata after 3000 ms."), "{text}");
    assert!(text.contains("UNKNOWN_TOPIC_OR_PARTITION"), "{text}");
    let error = producer.partitions_for("missing").await.unwrap_err();
    assert!(matches!(error, SendError::MetadataTimeout { .. }), "{error}");
    // Made in the meantime, it is found.
    cluster.create_topic(("missing", 4)).unwrap();
    assert_eq!(producer.partitions_for("missing").await.unwrap(), 4);
}

/// P11: what each codec writes is what was sent.
#[tokio::test(start_paused = true)]
async fn every_codec() {
    let cluster = cluster(|c| c).await;
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let properties =
            [("compression.type", codec), ("batch.size", "2000"), ("linger.ms", "100")];
        let producer = producer(&cluster, &properties);
        for i in 0..200 {
            let value = format!("value {i} value value");
            let record = ProducerRecord::new(codec, &value).partition(0);
            drop(producer.send(&record).await.unwrap());
        }
        producer.flush().await;
        let expected: Vec<_> = (0..200).map(|i| format!("value {i} value value")).collect();
        assert_eq!(values(&cluster, codec, 0), expected);
        let batches = cluster.batches(codec, 0);
        assert!(batches.len() > 1 && batches.len() < 20, "{codec}: {}", batches.len());
        let compression: Compression = codec.parse().unwrap();
        let bits = batches[0].bytes[22] & 7;
        assert_eq!(bits, compression as u8, "{codec}");
        producer.close(SECOND).await.unwrap();
    }
}

/// P11: a topic that keeps the broker's time says so.
#[tokio::test(start_paused = true)]
async fn log_append_time() {
    let cluster = cluster(|c| c.start_time_ms(1_000_000)).await;
    let spec = TopicSpec::new("t").config("message.timestamp.type", "LogAppendTime");
    cluster.create_topic(spec).unwrap();
    let producer = producer(&cluster, &[]);
    let delivery = producer.send(&ProducerRecord::new("t", "x").timestamp(5)).await.unwrap();
    let timestamp = delivery.await.unwrap().timestamp();
    let stored = &cluster.records("t", 0)[0];
    assert_eq!(stored.timestamp_type, TimestampType::LogAppendTime);
    assert_eq!(stored.timestamp, timestamp);
    assert!(timestamp >= 1_000_000);
}

/// P18: keys go where Java's default partitioner sends them; keyless records stick, and reach all partitions.
#[tokio::test(start_paused = true)]
async fn partitioning() {
    let cluster = cluster(|c| c).await;
    cluster.create_topic(("t", 6)).unwrap();
    let producer = producer(&cluster, &[("batch.size", "300")]);
    // toPositive(murmur2(key)) % 6, by Kafka's own Utils.
    for (key, partition) in [("21", 0), ("foobar", 0), ("abc", 3)] {
        let record = ProducerRecord::new("t", "x").key(key);
        let metadata = producer.send(&record).await.unwrap().await.unwrap();
        assert_eq!(metadata.partition(), partition, "{key}");
    }
    for i in 0..600 {
        let value = format!("a value of some bytes {i}");
        drop(producer.send(&ProducerRecord::new("t", &value)).await.unwrap());
    }
    producer.flush().await;
    for partition in 0..6 {
        let (records, batches) = (cluster.records("t", partition), cluster.batches("t", partition));
        assert!(records.len() > 20, "partition {partition} got {}", records.len());
        assert!(records.len() > 3 * batches.len(), "partition {partition} sticks");
    }
}

/// P17: a flush ends what was accepted before it without waiting for linger.
#[tokio::test(start_paused = true)]
async fn flush_overrides_linger() {
    let cluster = cluster(|c| c).await;
    let producer = producer(&cluster, &[("linger.ms", "10000")]);
    let delivery = producer.send(&ProducerRecord::new("t", "x")).await.unwrap();
    let started = tokio::time::Instant::now();
    producer.flush().await;
    assert!(started.elapsed() < SECOND, "{:?}", started.elapsed());
    assert_eq!(values(&cluster, "t", 0), ["x"]);
    delivery.await.unwrap();
    // With nothing to flush it returns at once.
    producer.flush().await;
}

/// P17: closing sends what waits; then nothing is accepted.
#[tokio::test(start_paused = true)]
async fn close_sends_what_was_accepted() {
    let cluster = cluster(|c| c).await;
    let producer = producer(&cluster, &[("linger.ms", "10000")]);
    let delivery = producer.send(&ProducerRecord::new("t", "x")).await.unwrap();
    let clone = producer.clone();
    producer.close(SECOND).await.unwrap();
    delivery.await.unwrap();
    let error = clone.send(&ProducerRecord::new("t", "y")).await.unwrap_err();
    assert!(matches!(error, SendError::Closed), "{error}");
    clone.flush().await;
    clone.close(SECOND).await.unwrap();
    assert_eq!(values(&cluster, "t", 0), ["x"]);
}

/// P17: dropping the last handle sends in the background.
#[tokio::test(start_paused = true)]
async fn drop_sends_what_was_accepted() {
    let cluster = cluster(|c| c).await;
    let producer = producer(&cluster, &[("linger.ms", "10000")]);
    producer.partitions_for("t").await.unwrap();
    let delivery = producer.send(&ProducerRecord::new("t", "x")).await.unwrap();
    drop(producer);
    delivery.await.unwrap();
    assert_eq!(values(&cluster, "t", 0), ["x"]);
}

/// P4: one of several bootstrap addresses is enough, and `client.id` is what the broker sees.
#[tokio::test(start_paused = true)]
async fn bootstrap_survives_addresses_that_are_down() {
    let cluster = cluster(|c| c.nodes(3)).await;
    let config = ProducerConfig::builder()
        .bootstrap_servers(format!("nobody:1,{},nobody:2", cluster.bootstrap_servers()))
        .client_id("tester")
        .build()
        .unwrap();
    let producer = Producer::builder(config).connector(in_memory(&cluster)).build();
    producer.send(&ProducerRecord::new("t", "x")).await.unwrap().await.unwrap();
}

/// P14: a new producer is another one to the broker.
#[tokio::test(start_paused = true)]
async fn a_restarted_producer_has_a_new_id() {
    let cluster = cluster(|c| c).await;
    for _ in 0..2 {
        let producer = producer(&cluster, &[]);
        producer.send(&ProducerRecord::new("t", "x")).await.unwrap().await.unwrap();
        producer.close(SECOND).await.unwrap();
    }
    let batches = cluster.batches("t", 0);
    assert_ne!(batches[0].producer.id, batches[1].producer.id);
    assert_eq!(values(&cluster, "t", 0), ["x", "x"]);
}
