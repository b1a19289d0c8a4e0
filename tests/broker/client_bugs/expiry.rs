//! Rows 6, 14, 18, 23, 30: `delivery.timeout.ms` while a batch is on its way.

use std::time::Duration;

use milena::broker::{ApiKey, Fault, TopicSpec};
use milena::{BrokerId, Delivery, DeliveryErrorKind, ErrorCode, Persistence, ProducerRecord};

use super::bench::{Bench, MS, numbers};
use crate::support::{SECOND, values};

const ONE: BrokerId = BrokerId(1);
const TIMED_OUT: DeliveryErrorKind = DeliveryErrorKind::TimedOut { records: 1 };

/// A record expires 2 s after its send; a second attempt is begun 0.4 to 0.6 s after it and may take 1.9 s, which leaves
/// some time in which the record has expired and its request has not.
const OVERLAP: [(&str, &str); 4] = [
    ("delivery.timeout.ms", "2000"),
    ("request.timeout.ms", "1900"),
    ("retry.backoff.ms", "500"),
    ("retry.backoff.max.ms", "500"),
];

/// Sends a record whose first attempt is refused, holds the answer to its second back and waits until it has expired.
async fn expired_in_flight(bench: &Bench) -> usize {
    bench.cluster.inject(Fault::error(ApiKey::PRODUCE, ErrorCode::NOT_ENOUGH_REPLICAS));
    let (received, number) = (bench.cluster.requests(ApiKey::PRODUCE), bench.send(0).await);
    bench.cluster.received(ApiKey::PRODUCE, received + 1).await;
    tokio::time::sleep(MS(1)).await;
    bench.tap.hold_answers(ONE);
    tokio::time::sleep(MS(2_049)).await;
    let error = bench.error(number);
    assert_eq!((error.kind(), error.persistence()), (&TIMED_OUT, Persistence::MaybeWritten));
    number
}

/// What was in flight was known by its number alone: a batch ended another one that had the same number in another epoch.
#[tokio::test(start_paused = true)]
async fn row_06_kafka_13794_the_same_number_in_two_epochs() {
    let bench = Bench::new(1, 1, &OVERLAP).await;
    bench.settle(1).await;
    // Number 1 of epoch 0 expires, is appended, and its answer never comes.
    bench.cluster.inject(Fault::drop_response(ApiKey::PRODUCE).after(1));
    let late = expired_in_flight(&bench).await;
    bench.tap.release();
    bench.send_many(0, 2).await;
    tokio::time::sleep(MS(100)).await;
    let epochs: Vec<_> = bench.tap.sent().iter().map(|batch| batch.producer.epoch).collect();
    assert!(epochs.iter().all(|&epoch| epoch == 0), "a request of epoch 0 is open: {epochs:?}");
    tokio::time::sleep(SECOND).await;
    bench.send_many(0, 3).await;
    bench.producer.flush().await;
    let sent = bench.tap.sent();
    let stamp = |epoch, sequence| {
        let same = |b: &&_| {
            let super::super::tap::Sent { producer, base_sequence, .. } = b;
            (producer.epoch, *base_sequence) == (epoch, sequence)
        };
        sent.iter().filter(same).count()
    };
    assert!(stamp(0, 1) == 2 && stamp(1, 1) == 1, "{sent:?}");
    assert_eq!(bench.ended().iter().filter(|&&number| number == late).count(), 1);
    assert_eq!(bench.check().await, [numbers(0..7)]);
}

/// After a time-out the next number was that behind the batch, also if it had not been written: out of order for ever.
#[tokio::test(start_paused = true)]
async fn row_14_librdkafka_4438_requests_or_answers_are_lost_by_half() {
    let properties = [
        ("delivery.timeout.ms", "1500"),
        ("request.timeout.ms", "500"),
        ("retry.backoff.ms", "20"),
        ("reconnect.backoff.ms", "20"),
    ];
    let (mut written, mut unwritten, mut unknown) = (0, 0, 0);
    for seed in 0..40 {
        let mut dice = fastrand::Rng::with_seed(seed);
        let bench = Bench::new(2, 3, &properties).await;
        bench.settle(3).await;
        for _ in 0..12 {
            let lost = match dice.u8(0..4) {
                0 => Fault::close_before(ApiKey::PRODUCE),
                1 => Fault::delay_request(ApiKey::PRODUCE, MS(dice.u64(400..1_700))),
                2 => Fault::close_after(ApiKey::PRODUCE),
                _ => Fault::drop_response(ApiKey::PRODUCE),
            };
            bench.cluster.inject(lost.after(dice.u32(0..3)).times(dice.u32(1..6)));
            bench.send_many(dice.i32(0..3), dice.usize(1..9)).await;
            tokio::time::sleep(MS(dice.u64(0..900))).await;
        }
        bench.cluster.clear_faults();
        tokio::time::sleep(3 * SECOND).await;
        let first = bench.ended().len();
        bench.send_many(0, 5).await;
        bench.send_many(1, 5).await;
        bench.producer.flush().await;
        for number in first..first + 10 {
            assert!(bench.offset(number).is_some(), "seed {seed}: it goes on");
        }
        for number in 0..first {
            match bench.end(number).unwrap() {
                Ok(_) => written += 1,
                Err(error) if error.persistence() == Persistence::NotWritten => unwritten += 1,
                Err(_) => unknown += 1,
            }
        }
        bench.check().await;
    }
    assert!(written > 400 && unwritten > 40 && unknown > 40, "{written} {unwritten} {unknown}");
}

/// A message timed out while it was in flight and left a gap, so that whatever followed was out of order.
#[tokio::test(start_paused = true)]
async fn row_18_librdkafka_2188_what_follows_an_expired_batch_is_taken() {
    for written in [true, false] {
        let bench = Bench::new(1, 1, &OVERLAP).await;
        bench.settle(1).await;
        if !written {
            // It gets to the broker, and no further.
            bench.cluster.inject(Fault::delay_request(ApiKey::PRODUCE, 60 * SECOND).after(1));
        }
        expired_in_flight(&bench).await;
        // Beside it, after it, and when its request has ended, too.
        bench.send_many(0, 3).await;
        bench.tap.release();
        bench.cluster.clear_faults();
        for _ in 0..10 {
            bench.send(0).await;
            tokio::time::sleep(MS(70)).await;
        }
        bench.producer.flush().await;
        let mut expected = numbers(0..15);
        if !written {
            expected.remove(1);
        }
        assert_eq!(bench.check().await, [expected], "written: {written}");
    }
}

/// Sends a record full of its mark, which fills a batch.
async fn marked(bench: &Bench, partition: i32, mark: u8) -> Delivery {
    let value = [mark; 900];
    let record = ProducerRecord::new("t", &value).partition(partition);
    bench.producer.send(&record).await.unwrap()
}

/// The buffer of a batch that expired in flight was filled with another topic's records while it was still being sent:
/// they landed in the wrong topic, under a CRC that fits (CVE-2026-35554).
#[tokio::test(start_paused = true)]
async fn row_23_kafka_19012_bytes_that_are_being_sent_are_nobody_elses() {
    let properties = [&OVERLAP[..], &[("batch.size", "1000"), ("buffer.memory", "4000")]].concat();
    let bench = Bench::with(|c| c.nodes(2), TopicSpec::new("t").partitions(2), &properties).await;
    bench.settle(2).await;
    bench.check_memory().await;
    bench.cluster.inject(Fault::error(ApiKey::PRODUCE, ErrorCode::NOT_ENOUGH_REPLICAS).times(2));
    let stalled = [marked(&bench, 0, b'a').await, marked(&bench, 0, b'a').await];
    tokio::time::sleep(MS(1)).await;
    assert_eq!(bench.cluster.pending_faults(), 0);
    // The broker takes nothing any more: what is sent to it stays in the client.
    bench.tap.hold_requests(ONE);
    tokio::time::sleep(MS(2_049)).await;
    for delivery in stalled {
        assert_eq!(delivery.await.unwrap_err().persistence(), Persistence::MaybeWritten);
    }
    assert_eq!(bench.memory(), (2_000, 4_000), "the requests still have it");
    // Whatever is free is filled with other records, over and over.
    for round in 0..20 {
        let (one, two) = (marked(&bench, 1, b'b').await, marked(&bench, 1, b'b').await);
        one.await.unwrap();
        two.await.unwrap();
        if round == 10 {
            bench.tap.release();
        }
    }
    tokio::time::sleep(2 * SECOND).await;
    for (partition, mark) in [(0, b'a'), (1, b'b')] {
        let records = bench.cluster.records("t", partition);
        let wrong = records.iter().skip(1).filter(|r| r.value.as_deref() != Some(&[mark; 900]));
        assert_eq!(wrong.count(), 0, "partition {partition}");
        assert_eq!(records.len(), if partition == 0 { 3 } else { 41 });
    }
    bench.check_memory().await;
}

/// A batch that expired was ended a second time by its answer, or was retried or split after it had ended.
#[tokio::test(start_paused = true)]
async fn row_30_kafka_9628_expiry_before_during_and_after_each_answer() {
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Answer {
        Written,
        Refused,
        TooLarge,
        Lost,
    }
    // When the answer to the second attempt comes, from the send on: after the record has expired, just then, or before.
    for answered in [2_200, 2_000, 1_900] {
        for answer in [Answer::Written, Answer::Refused, Answer::TooLarge, Answer::Lost] {
            let context = format!("{answer:?} at {answered} ms");
            let mut bench = Bench::new(1, 1, &OVERLAP).await;
            bench.splits = true;
            bench.settle(1).await;
            let refused = ErrorCode::NOT_ENOUGH_REPLICAS;
            bench.cluster.inject(Fault::error(ApiKey::PRODUCE, refused));
            match answer {
                Answer::Written => {}
                Answer::Refused => bench.cluster.inject(Fault::error(ApiKey::PRODUCE, refused)),
                Answer::TooLarge => {
                    let fault = Fault::error(ApiKey::PRODUCE, ErrorCode::MESSAGE_TOO_LARGE);
                    bench.cluster.inject(fault);
                }
                Answer::Lost => bench.cluster.inject(Fault::drop_response(ApiKey::PRODUCE)),
            }
            let started = tokio::time::Instant::now();
            let number = bench.send(0).await;
            tokio::time::sleep(MS(1)).await;
            bench.tap.hold_answers(ONE);
            tokio::time::sleep_until(started + MS(answered)).await;
            let sent = bench.tap.sent().len();
            bench.tap.release();
            bench.send_many(0, 3).await;
            tokio::time::sleep(Duration::from_secs(5)).await;
            let same = |b: &&super::super::tap::Sent| (b.producer.epoch, b.base_sequence) == (0, 1);
            let attempts = bench.tap.sent()[sent..].iter().filter(same).count();
            let end = bench.end(number).unwrap();
            match (&end, answer) {
                (Ok(_), Answer::Written) => assert!(answered <= 2_000, "{context}"),
                (Err(error), Answer::TooLarge) if answered < 2_000 => {
                    let kind = DeliveryErrorKind::Refused(ErrorCode::MESSAGE_TOO_LARGE);
                    assert_eq!(error.kind(), &kind, "{context}");
                }
                (Err(error), _) => assert_eq!(error.kind(), &TIMED_OUT, "{context}"),
                (Ok(_), _) => panic!("{context}: {end:?}"),
            }
            if answered > 2_000 {
                assert_eq!(attempts, 0, "{context}: it had expired");
            }
            let stored = values(&bench.cluster, "t", 0).contains(&number.to_string());
            assert_eq!(stored, matches!(answer, Answer::Written | Answer::Lost), "{context}");
            assert_eq!(bench.ended(), [0, 1, 2, 3, 4], "{context}: each once, in order");
            bench.check().await;
        }
    }
}
