//! Rows 24, 25, 26, 27, 32: batches that are split, and the memory of all.

use std::collections::HashMap;

use futures_util::FutureExt;
use milena::broker::{ApiKey, Fault, StoredRecord, TopicSpec};
use milena::{DeliveryErrorKind, ErrorCode, Header, ProducerRecord};

use super::bench::Bench;
use crate::support::{SECOND, cluster, producer};

const TOO_LARGE: ErrorCode = ErrorCode::MESSAGE_TOO_LARGE;

fn limited(bytes: usize) -> TopicSpec {
    TopicSpec::new("t").config("max.message.bytes", bytes.to_string())
}

fn noise(dice: &mut fastrand::Rng, len: usize) -> Vec<u8> {
    std::iter::repeat_with(|| dice.u8(..)).take(len).collect()
}

/// The memory of a batch that was split, had expired or was aborted was given back twice, or never.
#[tokio::test(start_paused = true)]
async fn row_24_kafka_8325_memory_is_given_back_once_however_a_batch_ends() {
    let properties = [
        ("batch.size", "1000"),
        ("linger.ms", "20"),
        ("delivery.timeout.ms", "2000"),
        ("request.timeout.ms", "1000"),
        ("buffer.memory", "20000"),
    ];
    for codec in ["none", "lz4"] {
        let properties = [&properties[..], &[("compression.type", codec)]].concat();
        let mut bench = Bench::with(|c| c, limited(400), &properties).await;
        bench.splits = true;
        bench.settle(1).await;
        // Split, and split again.
        bench.send_many(0, 300).await;
        bench.producer.flush().await;
        assert!(bench.tap.sent().len() > 6, "{codec}");
        bench.check_memory().await;
        // Expired: in the queue, while they wait for a retry, in flight, and halves of all sorts.
        for fault in [
            Fault::error(ApiKey::PRODUCE, ErrorCode::NOT_ENOUGH_REPLICAS),
            Fault::drop_response(ApiKey::PRODUCE),
            Fault::error(ApiKey::PRODUCE, ErrorCode::NOT_ENOUGH_REPLICAS).after(2),
            Fault::drop_response(ApiKey::PRODUCE).after(2),
        ] {
            bench.cluster.inject(fault.always());
            bench.send_many(0, 300).await;
            bench.producer.flush().await;
            bench.cluster.clear_faults();
            bench.check_memory().await;
            bench.settle(1).await;
        }
        // Aborted by a close that does not wait, with requests on their way.
        bench.cluster.inject(Fault::delay_response(ApiKey::PRODUCE, 10 * SECOND));
        bench.send_many(0, 300).await;
        bench.cluster.received(ApiKey::PRODUCE, bench.cluster.requests(ApiKey::PRODUCE) + 1).await;
        bench.producer.close(std::time::Duration::ZERO).await.unwrap_err();
        bench.check_memory().await;
    }
}

/// A batch far over the broker's limit was split into parts as large as `batch.size`, which is no split, for ever.
#[tokio::test(start_paused = true)]
async fn row_25_kafka_8350_a_batch_of_8_mb_for_a_topic_that_takes_1_mb() {
    let cluster = cluster(|c| c).await;
    cluster.create_topic(limited(1 << 20)).unwrap();
    let producer = producer(
        &cluster,
        &[
            ("batch.size", "8388608"),
            ("max.request.size", "16777216"),
            ("buffer.memory", "67108864"),
            ("linger.ms", "1000"),
        ],
    );
    let mut deliveries = Vec::new();
    let large = vec![b'x'; 2 << 20];
    for number in 0..110_u8 {
        // One that can never be taken, among many.
        let value = if number == 77 { large.clone() } else { vec![number; 60_000] };
        deliveries.push(producer.send(&ProducerRecord::new("t", &value)).await.unwrap());
    }
    producer.flush().await;
    let mut expected = Vec::new();
    for (number, delivery) in (0..).zip(deliveries) {
        match delivery.await {
            Ok(_) => expected.push(number),
            Err(error) => {
                assert_eq!(number, 77);
                assert_eq!(error.kind(), &DeliveryErrorKind::Refused(TOO_LARGE));
            }
        }
    }
    assert_eq!(expected.len(), 109);
    let first = |record: StoredRecord| record.value.unwrap()[0];
    let stored: Vec<_> = cluster.records("t", 0).into_iter().map(first).collect();
    assert_eq!(stored, expected);
    assert!(cluster.requests(ApiKey::PRODUCE) < 60, "{}", cluster.requests(ApiKey::PRODUCE));
}

/// A flush returned when the batch that was split was done with, before its parts had been sent.
#[tokio::test(start_paused = true)]
async fn row_26_kafka_19479_a_flush_waits_for_all_parts_of_a_split_batch() {
    let properties = [("batch.size", "16384"), ("linger.ms", "60000")];
    let cluster = cluster(|c| c).await;
    cluster.create_topic(limited(150)).unwrap();
    let producer = producer(&cluster, &properties);
    producer.partitions_for("t").await.unwrap();
    for (round, late) in (1..).zip([0, 3, 6, 10]) {
        // The parts take their time, and some more than one attempt.
        cluster.inject(Fault::delay_response(ApiKey::PRODUCE, SECOND).after(late));
        let refuse = Fault::error(ApiKey::PRODUCE, ErrorCode::NOT_ENOUGH_REPLICAS);
        cluster.inject(refuse.after(late + 1).times(2));
        let mut deliveries = Vec::new();
        for number in 0..100 {
            let value = number.to_string();
            deliveries.push(producer.send(&ProducerRecord::new("t", &value)).await.unwrap());
        }
        producer.flush().await;
        assert_eq!(cluster.records("t", 0).len(), round * 100, "all are there");
        for (number, delivery) in deliveries.into_iter().enumerate() {
            let end = delivery.now_or_never();
            let end = end.unwrap_or_else(|| panic!("{number} has not ended after the flush"));
            end.unwrap_or_else(|error| panic!("{number}: {error}"));
        }
        assert_eq!(cluster.pending_faults(), 0);
    }
    assert!(cluster.batches("t", 0).len() > 20);
}

/// The parts of a split batch had lost their records' headers.
#[tokio::test(start_paused = true)]
async fn row_27_kafka_5700_a_split_keeps_every_part_of_a_record() {
    for (seed, codec) in (0..).zip(["none", "gzip", "snappy", "lz4", "zstd"]) {
        let mut dice = fastrand::Rng::with_seed(seed);
        let cluster = cluster(|c| c).await;
        cluster.create_topic(limited(600)).unwrap();
        let properties =
            [("batch.size", "16384"), ("linger.ms", "100"), ("compression.type", codec)];
        let producer = producer(&cluster, &properties);
        let mut expected = Vec::new();
        for number in 0..200 {
            let key = dice.bool().then(|| noise(&mut dice, number % 9));
            let value = (dice.u8(0..5) > 0).then(|| noise(&mut dice, number % 70));
            let timestamp = 1_767_225_600_000 + dice.i64(-1_000..1_000);
            let headers: Vec<_> = (0..dice.usize(0..4))
                .map(|n| (format!("h{n}"), dice.bool().then(|| noise(&mut dice, n * 3))))
                .collect();
            let borrowed: Vec<_> = headers
                .iter()
                .map(|(key, value)| Header { key, value: value.as_deref() })
                .collect();
            let mut record = match &value {
                Some(value) => ProducerRecord::new("t", value),
                None => ProducerRecord::tombstone("t"),
            };
            record = record.timestamp(timestamp).headers(&borrowed);
            if let Some(key) = &key {
                record = record.key(key);
            }
            drop(producer.send(&record).await.unwrap());
            expected.push((key, value, timestamp, headers));
        }
        producer.flush().await;
        let own = |bytes: Option<bytes::Bytes>| bytes.map(|bytes| bytes.to_vec());
        let stored = cluster.records("t", 0).into_iter();
        let stored: Vec<_> = stored
            .map(|r| {
                let headers = r.headers.into_iter().map(|(key, value)| (key, own(value))).collect();
                (own(r.key), own(r.value), r.timestamp, headers)
            })
            .collect();
        assert!(cluster.batches("t", 0).len() > 10, "{codec}: split");
        assert_eq!(stored, expected, "{codec}");
    }
}

/// How well the last batches could be compressed said nothing about the next, which came out too large.
#[tokio::test(start_paused = true)]
async fn row_32_kafka_3995_batches_that_compress_worse_than_the_last_ones_get_through() {
    for codec in ["gzip", "snappy", "lz4", "zstd"] {
        let cluster = cluster(|c| c).await;
        // A little more than a batch of what cannot be compressed.
        cluster.create_topic(limited(17_000)).unwrap();
        let properties = [("batch.size", "16384"), ("linger.ms", "5"), ("compression.type", codec)];
        let producer = producer(&cluster, &properties);
        let mut dice = fastrand::Rng::with_seed(32);
        let mut sent = HashMap::new();
        for round in 0..20_u32 {
            for number in 0..100_u32 {
                let body = if round % 2 == 0 { vec![0; 996] } else { noise(&mut dice, 996) };
                let value = [&(round * 100 + number).to_be_bytes(), &body[..]].concat();
                let delivery = producer.send(&ProducerRecord::new("t", &value)).await.unwrap();
                sent.insert(value, delivery);
            }
        }
        producer.flush().await;
        assert_eq!(sent.len(), 2_000);
        for delivery in sent.into_values() {
            delivery.await.unwrap_or_else(|error| panic!("{codec}: {error}"));
        }
        let numbers: Vec<_> = cluster
            .records("t", 0)
            .iter()
            .map(|r| u32::from_be_bytes(*r.value.as_ref().unwrap().first_chunk().unwrap()))
            .collect();
        assert_eq!(numbers, (0..2_000).collect::<Vec<_>>(), "{codec}");
        // At the worst each batch is refused once or twice.
        let (batches, requests) =
            (cluster.batches("t", 0).len(), cluster.requests(ApiKey::PRODUCE));
        assert!(requests as usize <= 3 * batches, "{codec}: {requests} for {batches}");
    }
}
