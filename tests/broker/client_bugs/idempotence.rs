//! Rows 1, 8, 9, 10, 13, 15, 17, 19, 20, 21: retries, lost answers and refusals, with sequence numbers.

use milena::broker::{ApiKey, Fault};
use milena::{BrokerId, DeliveryErrorKind, ErrorCode, Persistence, SendError};

use super::bench::{Bench, MS, numbers};
use crate::support::{SECOND, cluster};

const ONE: BrokerId = BrokerId(1);
const TWO: BrokerId = BrokerId(2);

fn refuse(code: ErrorCode) -> Fault {
    Fault::error(ApiKey::PRODUCE, code)
}

fn append_and_say(code: ErrorCode) -> Fault {
    Fault::error_after(ApiKey::PRODUCE, code)
}

/// With more than one batch in flight, one that failed made those behind it fail for good.
#[tokio::test(start_paused = true)]
async fn row_01_kafka_5494_any_of_five_in_flight_may_fail() {
    for fault in [
        refuse(ErrorCode::NOT_ENOUGH_REPLICAS),
        append_and_say(ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND),
        refuse(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER),
        Fault::close_before(ApiKey::PRODUCE),
        Fault::close_after(ApiKey::PRODUCE),
    ] {
        for failing in 1_u32..32 {
            let bench = Bench::new(1, 1, &[]).await;
            bench.settle(1).await;
            let mut passed = 0;
            for nth in 0..5 {
                if failing & (1 << nth) == 0 {
                    passed += 1;
                } else {
                    // It does not see those that are struck by the ones before it.
                    bench.cluster.inject(fault.clone().after(passed));
                }
            }
            bench.send_many(0, 5).await;
            bench.producer.flush().await;
            let in_flight: Vec<_> =
                bench.tap.sent()[1..6].iter().map(|b| b.base_sequence).collect();
            assert_eq!(in_flight, [1, 2, 3, 4, 5], "{fault:?}");
            assert_eq!(bench.cluster.pending_faults(), 0, "{fault:?} {failing:05b}");
            assert_eq!(bench.check().await, [numbers(0..6)], "{fault:?} {failing:05b}");
        }
    }
}

/// The fatal failure of a batch reset the numbers of one before it that was being retried, and had been written.
#[tokio::test(start_paused = true)]
async fn row_08_kafka_14034_a_failure_leaves_the_retry_before_it_alone() {
    for gone in [refuse(ErrorCode::INVALID_RECORD), append_and_say(ErrorCode::UNKNOWN_SERVER_ERROR)]
    {
        let bench = Bench::new(1, 1, &[]).await;
        bench.settle(1).await;
        bench.cluster.inject(append_and_say(ErrorCode::REQUEST_TIMED_OUT));
        bench.cluster.inject(gone);
        bench.send_many(0, 2).await;
        bench.producer.flush().await;
        assert_eq!(bench.offset(1), Some(1));
        assert!(!bench.error(2).is_retriable());
        let written = bench.error(2).persistence() == Persistence::MaybeWritten;
        bench.send_many(0, 3).await;
        let mut expected = numbers(0..6);
        if !written {
            expected.remove(2);
        }
        assert_eq!(bench.check().await, [expected]);
    }
}

/// A broker remembers five batches. A batch whose answer was lost must not fall out of them, or its retry is answered as
/// out of order and written once more.
#[tokio::test(start_paused = true)]
async fn row_09_kafka_9199_an_unanswered_batch_stays_among_the_five_that_a_broker_knows() {
    let properties = [("request.timeout.ms", "3000"), ("metadata.max.age.ms", "200")];
    let bench = Bench::new(2, 2, &properties).await;
    bench.settle(2).await;
    bench.tap.hold_answers(ONE);
    bench.send(0).await;
    bench.cluster.received(ApiKey::PRODUCE, 3).await;
    bench.cluster.move_leader("t", 0, TWO).unwrap();
    tokio::time::sleep(SECOND).await;
    bench.tap.clear();
    bench.send_many(0, 8).await;
    tokio::time::sleep(SECOND).await;
    let sent: Vec<_> = bench.tap.sent().iter().map(|b| (b.node, b.base_sequence)).collect();
    assert_eq!(sent, [2, 3, 4, 5].map(|sequence| (TWO, sequence)), "one is still unanswered");
    bench.producer.flush().await;
    assert_eq!(bench.offset(2), Some(1), "the broker knew it");
    assert_eq!(bench.check().await[0].len(), 10);
}

/// The first batch for a new partition is refused, and the second one taken by a broker without state: the first is lost.
#[tokio::test(start_paused = true)]
async fn row_10_kafka_15591_first_batch_goes_alone() {
    for fault in [
        refuse(ErrorCode::NOT_LEADER_OR_FOLLOWER),
        refuse(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        Fault::close_before(ApiKey::PRODUCE),
        append_and_say(ErrorCode::REQUEST_TIMED_OUT),
    ] {
        let bench = Bench::on(cluster(|c| c.default_partitions(2)).await, &[]);
        // The topic comes into being when it is asked for.
        bench.producer.partitions_for("t").await.unwrap();
        bench.cluster.inject(fault.clone().times(2));
        bench.send_many(0, 6).await;
        bench.producer.flush().await;
        let sent = bench.tap.sent();
        let alone: Vec<_> = sent.iter().take(4).map(|batch| batch.base_sequence).collect();
        assert_eq!(alone, [0, 0, 0, 1], "{fault:?}: retries of the first, then the second");
        // A broker that has forgotten the producer knows as little under a new epoch.
        bench.send(1).await;
        bench.producer.flush().await;
        bench.cluster.forget_producers("t", 1).unwrap();
        bench.cluster.inject(refuse(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));
        bench.send(0).await;
        bench.producer.flush().await;
        bench.cluster.inject(fault);
        bench.send_many(1, 5).await;
        let logs = bench.check().await;
        assert_eq!(logs[1], ["6", "8", "9", "10", "11", "12"]);
    }
}

/// A partition vanished from metadata for a while; its numbers began again at 0, and the broker took new records for
/// repeated ones: acknowledged, and lost.
#[tokio::test(start_paused = true)]
async fn row_13_librdkafka_3712_sequences_outlive_a_topics_absence_from_metadata() {
    for absent in ["refused", "leaderless", "idle"] {
        let properties = [("metadata.max.age.ms", "1000"), ("metadata.max.idle.ms", "5000")];
        let bench = Bench::new(2, 1, &properties).await;
        bench.send_many(0, 3).await;
        bench.producer.flush().await;
        match absent {
            "refused" => {
                let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
                bench.cluster.inject(Fault::error(ApiKey::METADATA, unknown).always());
                bench.cluster.inject(refuse(unknown).always());
            }
            "leaderless" => {
                for node in [ONE, TWO] {
                    bench.cluster.stop_node(node).await.unwrap();
                }
            }
            // Nobody sends to it for so long that the client no longer asks for it.
            _ => tokio::time::sleep(60 * SECOND).await,
        }
        bench.send_many(0, 3).await;
        tokio::time::sleep(10 * SECOND).await;
        bench.cluster.clear_faults();
        bench.cluster.restart_node(TWO).await.unwrap();
        bench.cluster.restart_node(ONE).await.unwrap();
        bench.send_many(0, 3).await;
        bench.producer.flush().await;
        let last = bench.tap.sent().pop().unwrap();
        assert_eq!((last.producer.epoch, last.base_sequence), (0, 8), "{absent}: they went on");
        assert_eq!(bench.check().await, [numbers(0..9)], "{absent}");
    }
}

/// A batch was put together anew for its retry, with other boundaries under the same number.
#[tokio::test(start_paused = true)]
async fn row_15_librdkafka_4736_a_retry_has_the_bytes_of_the_first_attempt() {
    for codec in ["none", "lz4"] {
        let properties = [("batch.size", "300"), ("linger.ms", "20"), ("compression.type", codec)];
        let bench = Bench::new(1, 1, &properties).await;
        bench.settle(1).await;
        for fault in [
            refuse(ErrorCode::NOT_ENOUGH_REPLICAS),
            Fault::close_after(ApiKey::PRODUCE),
            append_and_say(ErrorCode::REQUEST_TIMED_OUT),
        ] {
            bench.cluster.inject(fault.times(3));
            // What comes while a batch waits for its retry must not get into it.
            for _ in 0..20 {
                bench.send(0).await;
                tokio::time::sleep(MS(7)).await;
            }
        }
        bench.producer.flush().await;
        let sent = bench.tap.sent();
        let again = sent.iter().filter(|batch| {
            let same = |other: &&_| std::ptr::eq(*other, *batch);
            let first = sent.iter().find(|other| other.base_sequence == batch.base_sequence);
            !first.as_ref().is_some_and(same)
        });
        let larger = again.clone().filter(|batch| batch.count > 1).count();
        assert!(again.count() >= 9 && larger > 0, "{sent:?}");
        // The bytes are compared there.
        assert_eq!(bench.check().await, [numbers(0..61)]);
    }
}

/// The first of two lost its answer and the second was acknowledged: the first was taken for lost.
#[tokio::test(start_paused = true)]
async fn row_17_librdkafka_2081_an_acknowledged_batch_speaks_for_those_before_it() {
    let bench = Bench::new(1, 1, &[]).await;
    bench.settle(1).await;
    bench.cluster.inject(append_and_say(ErrorCode::REQUEST_TIMED_OUT));
    bench.send_many(0, 2).await;
    bench.cluster.received(ApiKey::PRODUCE, 3).await;
    tokio::time::sleep(MS(1)).await;
    assert_eq!(bench.ended(), [0], "the second is told after the first");
    bench.producer.flush().await;
    assert_eq!(bench.ended(), [0, 1, 2]);
    assert_eq!((bench.offset(1), bench.offset(2)), (Some(1), Some(2)));
    assert_eq!(bench.check().await, [numbers(0..3)]);
}

/// Though order was asked for without gaps, a record was delivered after one before it had failed for good. Here, as in
/// Java's producer, what follows a failure goes on, but only after the failure was told, and never after a fatal one.
#[tokio::test(start_paused = true)]
async fn row_19_librdkafka_2819_nothing_overtakes_a_failure() {
    let bench = Bench::new(1, 1, &[]).await;
    bench.settle(1).await;
    bench.cluster.inject(refuse(ErrorCode::INVALID_RECORD).after(1));
    bench.send_many(0, 4).await;
    bench.producer.flush().await;
    assert_eq!(bench.ended(), [0, 1, 2, 3, 4]);
    assert_eq!(bench.error(2).kind(), &DeliveryErrorKind::Refused(ErrorCode::INVALID_RECORD));
    let last = bench.tap.sent().pop().unwrap();
    assert_eq!((last.producer.epoch, last.base_sequence), (1, 1), "numbers without a gap");
    bench.cluster.inject(refuse(ErrorCode::PRODUCER_FENCED).after(1));
    bench.send_many(0, 4).await;
    bench.producer.flush().await;
    for number in 6..9 {
        assert!(bench.error(number).is_fatal(), "{number}");
    }
    let record = milena::ProducerRecord::new("t", "after");
    let error = bench.producer.send(&record).await.unwrap_err();
    assert!(matches!(error, SendError::Fatal(_)), "{error}");
    assert_eq!(bench.check().await, [["0", "1", "3", "4", "5"]]);
}

/// REQUEST_TIMED_OUT was taken for *not written*; giving up freed the number, and the next record was dropped as a
/// repetition.
#[tokio::test(start_paused = true)]
async fn row_20_franz_go_1217_a_timed_out_request_may_be_written() {
    let properties = [
        ("delivery.timeout.ms", "2000"),
        ("request.timeout.ms", "1000"),
        ("retry.backoff.ms", "300"),
    ];
    let bench = Bench::new(1, 1, &properties).await;
    bench.settle(1).await;
    bench.cluster.inject(append_and_say(ErrorCode::REQUEST_TIMED_OUT).always());
    bench.send(0).await;
    bench.producer.flush().await;
    let error = bench.error(1);
    assert_eq!(error.kind(), &DeliveryErrorKind::TimedOut { records: 1 });
    assert_eq!(error.persistence(), Persistence::MaybeWritten);
    assert!(error.attempts() > 2, "{error}");
    // One that nobody waits for any more is sent all the same.
    bench.cluster.clear_faults();
    bench.cluster.inject(append_and_say(ErrorCode::REQUEST_TIMED_OUT));
    let record = milena::ProducerRecord::new("t", "2");
    drop(bench.producer.send(&record).await.unwrap());
    bench.producer.flush().await;
    let stored = crate::support::values(&bench.cluster, "t", 0);
    assert_eq!(stored, ["0", "1", "2"]);
    let (number, last) = (bench.send(0).await, bench.tap.sent().pop().unwrap());
    bench.producer.flush().await;
    assert_eq!(bench.offset(number), Some(3), "after {last:?}");
}

/// A metadata error that came between the two halves of sending a request made the client lose count.
#[tokio::test(start_paused = true)]
async fn row_21_franz_go_781_metadata_errors_while_a_request_is_being_written() {
    let bench = Bench::new(2, 1, &[("metadata.max.age.ms", "100")]).await;
    bench.settle(1).await;
    bench.tap.hold_requests(ONE);
    bench.send_many(0, 5).await;
    let asked = bench.cluster.requests(ApiKey::METADATA);
    let unknown = Fault::error(ApiKey::METADATA, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    bench.cluster.inject(unknown.times(4).on_partition("t", 0));
    bench.cluster.received(ApiKey::METADATA, asked + 6).await;
    assert_eq!(bench.cluster.pending_faults(), 0);
    assert_eq!(bench.tap.sent().len(), 1, "nothing has left");
    bench.tap.release();
    bench.send_many(0, 3).await;
    bench.producer.flush().await;
    let sent = bench.tap.sent();
    let stamps: Vec<_> = sent.iter().map(|b| (b.producer.epoch, b.base_sequence)).collect();
    let expected: Vec<_> = (0..9).map(|sequence| (0, sequence)).collect();
    assert_eq!(stamps, expected, "each once, in order");
    assert_eq!(bench.check().await, [numbers(0..9)]);
}
