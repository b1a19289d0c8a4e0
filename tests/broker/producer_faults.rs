//! Producer rows under faults: P7, P8, P12, P13, P16, P17.

use std::time::Duration;

use milena::broker::{ApiKey, Cluster, Fault, TopicSpec};
use milena::{
    BrokerId, Cause, CloseError, DeliveryErrorKind, ErrorCode, Persistence, Producer,
    ProducerRecord,
};

use crate::support::{SECOND, cluster, producer, values};

const N: usize = 300;

/// Sends `N` numbered records, and makes sure that each is acknowledged and there once, in order.
async fn all_arrive(cluster: &Cluster, producer: &Producer, topic: &str) {
    let mut deliveries = Vec::new();
    for i in 0..N {
        let value = i.to_string();
        let record = ProducerRecord::new(topic, &value).partition(0);
        deliveries.push(producer.send(&record).await.unwrap());
    }
    for (i, delivery) in deliveries.into_iter().enumerate() {
        delivery.await.unwrap_or_else(|error| panic!("record {i}: {error}"));
    }
    let expected: Vec<_> = (0..N).map(|i| i.to_string()).collect();
    assert_eq!(values(cluster, topic, 0), expected);
}

const SMALL: [(&str, &str); 3] =
    [("batch.size", "200"), ("linger.ms", "1"), ("request.timeout.ms", "2000")];

/// P13: lost answers, lost requests, refusals: each record once and in order.
#[tokio::test(start_paused = true)]
async fn faults_neither_lose_nor_double_nor_reorder() {
    for (name, fault) in [
        ("answer dropped", Fault::drop_response(ApiKey::PRODUCE)),
        ("closed after", Fault::close_after(ApiKey::PRODUCE)),
        ("closed before", Fault::close_before(ApiKey::PRODUCE)),
        ("not leader", Fault::error(ApiKey::PRODUCE, ErrorCode::NOT_LEADER_OR_FOLLOWER)),
        ("not enough", Fault::error(ApiKey::PRODUCE, ErrorCode::NOT_ENOUGH_REPLICAS)),
        (
            "not enough after",
            Fault::error_after(ApiKey::PRODUCE, ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND),
        ),
        ("timed out", Fault::error_after(ApiKey::PRODUCE, ErrorCode::REQUEST_TIMED_OUT)),
        ("out of order", Fault::error(ApiKey::PRODUCE, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER)),
        ("unknown id", Fault::error(ApiKey::PRODUCE, ErrorCode::UNKNOWN_PRODUCER_ID)),
    ] {
        for (after, times) in [(0, 1), (3, 1), (2, 4)] {
            let cluster = cluster(|c| c).await;
            let producer = producer(&cluster, &SMALL);
            cluster.inject(fault.clone().after(after).times(times));
            all_arrive(&cluster, &producer, "t").await;
            assert_eq!(cluster.pending_faults(), 0, "{name} did not strike");
            producer.close(SECOND).await.unwrap();
        }
    }
}

/// P8: a refusal that no retry can mend fails at once, with the code; the next record is unharmed.
#[tokio::test(start_paused = true)]
async fn a_refusal_fails_its_batch_only() {
    let cluster = cluster(|c| c).await;
    let producer = producer(&cluster, &SMALL);
    producer.send(&ProducerRecord::new("t", "0")).await.unwrap().await.unwrap();
    let code = ErrorCode::TOPIC_AUTHORIZATION_FAILED;
    cluster.inject(Fault::error(ApiKey::PRODUCE, code));
    let started = tokio::time::Instant::now();
    let delivery = producer.send(&ProducerRecord::new("t", "refused")).await.unwrap();
    let error = delivery.await.unwrap_err();
    assert!(started.elapsed() < SECOND / 10);
    assert_eq!(error.kind(), &DeliveryErrorKind::Refused(code));
    assert_eq!(error.persistence(), Persistence::NotWritten);
    assert_eq!(error.topic_partition().to_string(), "t-0");
    assert!(!error.is_retriable() && !error.is_fatal());
    all_arrive_after(&cluster, &producer, &["0"]).await;
}

async fn all_arrive_after(cluster: &Cluster, producer: &Producer, before: &[&str]) {
    for i in 0..20 {
        let value = i.to_string();
        let record = ProducerRecord::new("t", &value).partition(0);
        producer.send(&record).await.unwrap().await.unwrap();
    }
    let numbers = (0..20).map(|i| i.to_string());
    let expected: Vec<_> = before.iter().map(ToString::to_string).chain(numbers).collect();
    assert_eq!(values(cluster, "t", 0), expected);
}

/// P15: a batch over the topic's `max.message.bytes` is sent in halves, in order; a record over it fails alone.
#[tokio::test(start_paused = true)]
async fn batches_over_the_brokers_limit_are_split() {
    let cluster = cluster(|c| c).await;
    for codec in ["none", "lz4"] {
        let spec = TopicSpec::new(codec).config("max.message.bytes", "700");
        cluster.create_topic(spec).unwrap();
        let properties = [("batch.size", "8000"), ("linger.ms", "50"), ("compression.type", codec)];
        let producer = producer(&cluster, &properties);
        let mut deliveries = Vec::new();
        let large = noise(2_000);
        for i in 0..200 {
            let value = if i == 77 { large.clone() } else { format!("{i} {}", noise(40)) };
            let record = ProducerRecord::new(codec, &value).partition(0);
            deliveries.push((value.clone(), producer.send(&record).await.unwrap()));
        }
        producer.flush().await;
        let mut expected = Vec::new();
        for (i, (value, delivery)) in deliveries.into_iter().enumerate() {
            match delivery.await {
                Ok(metadata) => {
                    assert_eq!(metadata.offset(), Some(expected.len() as i64), "{codec} {i}");
                    expected.push(value);
                }
                Err(error) => {
                    assert_eq!(i, 77, "{codec}: {error}");
                    let refused = DeliveryErrorKind::Refused(ErrorCode::MESSAGE_TOO_LARGE);
                    assert_eq!(error.kind(), &refused);
                }
            }
        }
        assert_eq!(expected.len(), 199);
        assert_eq!(values(&cluster, codec, 0), expected, "{codec}");
    }
}

/// Text that does not compress away.
fn noise(len: usize) -> String {
    std::iter::repeat_with(fastrand::alphanumeric).take(len).collect()
}

/// P7: `delivery.timeout.ms` ends the wait, with the last error and whether it may be written.
#[tokio::test(start_paused = true)]
async fn delivery_timeout_in_retries_and_in_flight() {
    let cluster = cluster(|c| c).await;
    let properties =
        [("delivery.timeout.ms", "5000"), ("request.timeout.ms", "2000"), ("linger.ms", "0")];
    let producer = producer(&cluster, &properties);
    producer.send(&ProducerRecord::new("t", "0")).await.unwrap().await.unwrap();

    let code = ErrorCode::NOT_ENOUGH_REPLICAS;
    cluster.inject(Fault::error(ApiKey::PRODUCE, code).always());
    let started = tokio::time::Instant::now();
    let delivery = producer.send(&ProducerRecord::new("t", "1")).await.unwrap();
    let error = delivery.await.unwrap_err();
    assert_eq!(started.elapsed(), 5 * SECOND);
    assert_eq!(error.kind(), &DeliveryErrorKind::TimedOut { records: 1 });
    assert_eq!(error.persistence(), Persistence::NotWritten);
    assert!(matches!(error.last_error(), Some(Cause::Broker(c, _)) if *c == code), "{error}");
    assert!(error.attempts() > 3, "{}", error.attempts());
    let text = error.to_string();
    assert!(
        text.starts_with("Expiring 1 record(s) for t-0:5000 ms has passed since batch creation")
    );
    assert!(text.contains("NOT_ENOUGH_REPLICAS"), "{text}");
    cluster.clear_faults();

    // Appended, and never answered.
    cluster.inject(Fault::drop_response(ApiKey::PRODUCE).always());
    let delivery = producer.send(&ProducerRecord::new("t", "2")).await.unwrap();
    let error = delivery.await.unwrap_err();
    assert_eq!(error.persistence(), Persistence::MaybeWritten);
    assert!(matches!(error.last_error(), Some(Cause::Client(_))), "{error}");
    cluster.clear_faults();

    producer.send(&ProducerRecord::new("t", "3")).await.unwrap().await.unwrap();
    assert_eq!(values(&cluster, "t", 0), ["0", "2", "3"]);
}

/// P7, P17: with every broker down, records expire, `flush` and `close` end, and nothing hangs.
#[tokio::test(start_paused = true)]
async fn all_brokers_down() {
    let cluster = cluster(|c| c).await;
    let properties = [("delivery.timeout.ms", "5000"), ("request.timeout.ms", "2000")];
    let producer = producer(&cluster, &properties);
    producer.send(&ProducerRecord::new("t", "0")).await.unwrap().await.unwrap();
    cluster.stop_node(BrokerId(1)).await.unwrap();
    let delivery = producer.send(&ProducerRecord::new("t", "1")).await.unwrap();
    let started = tokio::time::Instant::now();
    producer.flush().await;
    assert!((4 * SECOND..=5 * SECOND).contains(&started.elapsed()), "{:?}", started.elapsed());
    let error = delivery.await.unwrap_err();
    assert!(matches!(error.last_error(), Some(Cause::Client(_))), "{error}");

    let delivery = producer.send(&ProducerRecord::new("t", "2")).await.unwrap();
    let started = tokio::time::Instant::now();
    let error = producer.close(SECOND).await.unwrap_err();
    assert_eq!(started.elapsed(), SECOND);
    assert!(matches!(error, CloseError { batches: 1, .. }), "{error}");
    let error = delivery.await.unwrap_err();
    assert_eq!(error.kind(), &DeliveryErrorKind::Closed);
}

/// P16: leaders move and nodes stop while records go out.
#[tokio::test(start_paused = true)]
async fn leaders_move_and_stop() {
    let cluster = cluster(|c| c.nodes(3)).await;
    let spec = TopicSpec::new("t").partitions(1).replication_factor(3);
    cluster.create_topic(spec).unwrap();
    let producer = producer(&cluster, &SMALL);
    let mover = tokio::spawn({
        let cluster = cluster.clone();
        async move {
            for round in 0..6u64 {
                let requests = cluster.requests(ApiKey::PRODUCE);
                cluster.received(ApiKey::PRODUCE, requests + 3).await;
                let (leader, _) = cluster.leader("t", 0).unwrap();
                if round % 2 == 0 {
                    let next = cluster.nodes().into_iter().find(|&node| node != leader).unwrap();
                    cluster.move_leader("t", 0, next).unwrap();
                } else {
                    cluster.stop_node(leader).await.unwrap();
                    tokio::time::sleep(Duration::from_millis(500)).await;
                    cluster.restart_node(leader).await.unwrap();
                }
            }
        }
    });
    all_arrive(&cluster, &producer, "t").await;
    // The mover waits for requests: keep them coming until it has made its rounds.
    while !mover.is_finished() {
        producer.send(&ProducerRecord::new("t", "more").partition(0)).await.unwrap().await.unwrap();
    }
    mover.await.unwrap();
}

/// A send that is dropped while it waits has accepted nothing.
#[tokio::test(start_paused = true)]
async fn a_cancelled_send_leaves_nothing() {
    let cluster = cluster(|c| c).await;
    let producer = producer(
        &cluster,
        &[("buffer.memory", "2000"), ("batch.size", "1000"), ("linger.ms", "0")],
    );
    producer.send(&ProducerRecord::new("t", "0")).await.unwrap().await.unwrap();
    cluster.inject(Fault::delay_response(ApiKey::PRODUCE, 10 * SECOND));
    let value = "x".repeat(900);
    let first = producer.send(&ProducerRecord::new("t", &value)).await.unwrap();
    let second = producer.send(&ProducerRecord::new("t", &value)).await.unwrap();
    let cancelled = "c".repeat(900);
    let record = ProducerRecord::new("t", &cancelled);
    assert!(tokio::time::timeout(SECOND, producer.send(&record)).await.is_err());
    first.await.unwrap();
    second.await.unwrap();
    producer.send(&ProducerRecord::new("t", "last")).await.unwrap().await.unwrap();
    let stored = values(&cluster, "t", 0);
    assert_eq!(stored.len(), 4);
    assert!(!stored.contains(&cancelled));
}
