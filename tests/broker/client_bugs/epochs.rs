//! Rows 2, 3, 4, 5, 7, 12, 16, 22: what brokers forget, and the epoch bump that follows.

use milena::ErrorCode;
use milena::broker::{ApiKey, Fault, TopicSpec};

use super::bench::{Bench, MS, numbers};
use crate::support::SECOND;

const REFUSED: ErrorCode = ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER;

fn refuse(code: ErrorCode) -> Fault {
    Fault::error(ApiKey::PRODUCE, code)
}

/// The head of the log was deleted, and the broker's state with it: taken for loss, though nothing was lost.
#[tokio::test(start_paused = true)]
async fn row_02_kafka_5793_a_deleted_head_of_the_log_is_no_loss() {
    let bench = Bench::new(1, 1, &[]).await;
    bench.send_many(0, 4).await;
    bench.producer.flush().await;
    bench.cluster.delete_records("t", 0, 4).unwrap();
    bench.cluster.forget_producers("t", 0).unwrap();
    // As brokers before 2.5 do for whom they do not know, except from number 0 on.
    bench.cluster.inject(refuse(ErrorCode::UNKNOWN_PRODUCER_ID).times(3));
    bench.send_many(0, 3).await;
    bench.producer.flush().await;
    assert_eq!(bench.offset(4), Some(4));
    let last = bench.tap.sent().pop().unwrap();
    assert_eq!((last.producer.epoch, last.base_sequence), (1, 2));
    assert_eq!(bench.check().await, [numbers(4..7)]);
}

/// A broker forgot the producer of a quiet partition, and the producer could write no more.
#[tokio::test(start_paused = true)]
async fn row_03_kafka_7190_a_forgotten_producer_goes_on() {
    // Brokers since 2.5 take any number from whom they do not know.
    let bench = Bench::new(1, 2, &[]).await;
    bench.settle(2).await;
    bench.cluster.forget_producers("t", 0).unwrap();
    bench.send_many(0, 5).await;
    bench.send_many(1, 5).await;
    bench.producer.flush().await;
    assert!(bench.tap.sent().iter().all(|batch| batch.producer.epoch == 0));
    // Older ones refuse all but number 0, of one partition or several.
    for round in 1..4 {
        for partition in 0..round % 3 {
            bench.cluster.forget_producers("t", partition).unwrap();
            let unknown = refuse(ErrorCode::UNKNOWN_PRODUCER_ID).on_partition("t", partition);
            bench.cluster.inject(unknown.times(5));
        }
        bench.send_many(0, 5).await;
        bench.send_many(1, 5).await;
        bench.producer.flush().await;
        bench.cluster.clear_faults();
    }
    assert!(bench.tap.sent().last().unwrap().producer.epoch >= 2);
    let logs = bench.check().await;
    assert_eq!(logs.concat().len(), 42, "all are there");
}

/// After a bump only partitions with batches in flight began at 0 again: idle ones went on as under the epoch before.
#[tokio::test(start_paused = true)]
async fn row_04_kafka_12152_an_idle_partition_begins_at_0_under_a_new_epoch() {
    let bench = Bench::new(1, 2, &[]).await;
    bench.send_many(1, 4).await;
    bench.settle(2).await;
    bench.cluster.inject(refuse(REFUSED));
    bench.send(0).await;
    bench.producer.flush().await;
    bench.tap.clear();
    bench.send_many(1, 3).await;
    bench.producer.flush().await;
    let sent = bench.tap.sent_to(1);
    let stamps: Vec<_> = sent.iter().map(|b| (b.producer.epoch, b.base_sequence)).collect();
    assert_eq!(stamps, [(1, 0), (1, 1), (1, 2)], "taken at once");
    let logs = bench.check().await;
    assert_eq!(logs, [vec!["4", "6"], vec!["0", "1", "2", "3", "5", "7", "8", "9"]]);
}

/// What was numbered anew was taken from a heap, in any order; and batches of another producer id were numbered too.
#[tokio::test(start_paused = true)]
async fn row_05_kafka_8483_new_numbers_follow_the_order_of_the_queue() {
    for struck in 0..5 {
        let bench = Bench::new(1, 2, &[("retry.backoff.ms", "50")]).await;
        bench.settle(2).await;
        // Head or not: each that fails for good leaves a gap, so that all behind it get new numbers.
        bench.cluster.inject(refuse(ErrorCode::INVALID_RECORD).on_partition("t", 0).after(struck));
        bench.tap.clear();
        bench.send_many(0, 5).await;
        bench.send_many(1, 5).await;
        bench.send_many(0, 5).await;
        bench.producer.flush().await;
        for partition in [0, 1] {
            let mut next = 0;
            for batch in bench.tap.sent_to(partition).iter().filter(|b| b.producer.epoch == 1) {
                assert!(batch.base_sequence <= next, "partition {partition}: {batch:?}");
                next = next.max(batch.base_sequence + batch.count);
            }
        }
        assert!(bench.error(2 + struck as usize).to_string().contains("INVALID_RECORD"));
        let logs = bench.check().await;
        assert_eq!((logs[0].len(), logs[1].len()), (10, 6));
    }
}

/// The producer id was reset while batches with numbers sat in the queue, and the sender fell over them.
#[tokio::test(start_paused = true)]
async fn row_07_kafka_6015_a_new_id_while_batches_wait() {
    let last = |cluster: milena::broker::ClusterBuilder| cluster.first_producer_epoch(i16::MAX - 1);
    let bench = Bench::with(last, TopicSpec::new("t").partitions(2), &[]).await;
    bench.settle(2).await;
    bench.cluster.inject(refuse(REFUSED));
    bench
        .cluster
        .inject(Fault::error(ApiKey::INIT_PRODUCER_ID, ErrorCode::COORDINATOR_LOAD_IN_PROGRESS));
    bench.cluster.inject(Fault::delay_request(ApiKey::INIT_PRODUCER_ID, 3 * SECOND));
    bench.send_many(0, 5).await;
    bench.send_many(1, 2).await;
    bench.cluster.received(ApiKey::INIT_PRODUCER_ID, 3).await;
    bench.send_many(0, 5).await;
    bench.send_many(1, 5).await;
    bench.producer.flush().await;
    assert_eq!(bench.tap.sent().last().unwrap().producer.id, 1);
    let logs = bench.check().await;
    assert_eq!((logs[0].len(), logs[1].len()), (11, 8));
}

/// Epochs are 15 bits wide: past the last one the producer fenced itself.
#[tokio::test(start_paused = true)]
async fn row_12_librdkafka_3720_after_the_last_epoch_comes_a_new_id() {
    let high = |cluster: milena::broker::ClusterBuilder| cluster.first_producer_epoch(i16::MAX - 2);
    let bench = Bench::with(high, TopicSpec::new("t"), &[]).await;
    for _ in 0..6 {
        bench.send_many(0, 2).await;
        bench.producer.flush().await;
        bench.cluster.inject(refuse(REFUSED));
    }
    bench.cluster.clear_faults();
    let mut identities: Vec<_> =
        bench.cluster.batches("t", 0).iter().map(|b| (b.producer.id, b.producer.epoch)).collect();
    identities.dedup();
    let (before, last) = (i16::MAX - 2, i16::MAX - 1);
    let expected = [(0, before), (0, last), (1, before), (1, last), (2, before), (2, last)];
    assert_eq!(identities, expected);
    assert_eq!(bench.check().await, [numbers(0..12)]);
}

/// One partition's gap bumped the epoch while another's batch was written and unanswered: it was written once more.
#[tokio::test(start_paused = true)]
async fn row_16_librdkafka_4953_a_bump_waits_for_every_partition() {
    for lost in [
        Fault::close_after(ApiKey::PRODUCE),
        Fault::drop_response(ApiKey::PRODUCE),
        Fault::error_after(ApiKey::PRODUCE, ErrorCode::REQUEST_TIMED_OUT),
    ] {
        let bench = Bench::new(2, 2, &[("request.timeout.ms", "2000")]).await;
        bench.settle(2).await;
        bench.cluster.inject(lost.on_partition("t", 1));
        bench.cluster.inject(refuse(REFUSED).on_partition("t", 0));
        bench.send_many(1, 3).await;
        bench.send_many(0, 3).await;
        bench.producer.flush().await;
        assert_eq!(bench.cluster.pending_faults(), 0);
        assert_eq!(bench.offset(2), Some(1), "where its first attempt put it");
        let logs = bench.check().await;
        assert_eq!(logs, [vec!["0", "5", "6", "7"], vec!["1", "2", "3", "4"]]);
    }
}

/// A request was built with the producer id from before a bump that came between the reading of the id and the encoding.
#[tokio::test(start_paused = true)]
async fn row_22_franz_go_1_21_no_request_leaves_under_a_stale_epoch() {
    let mut bumps = 0;
    for seed in 0..20 {
        let mut dice = fastrand::Rng::with_seed(seed);
        let bench = Bench::new(2, 4, &[("retry.backoff.ms", "10")]).await;
        bench.settle(4).await;
        for _ in 0..30 {
            if dice.u8(0..4) == 0 {
                let strike = refuse(REFUSED).on_partition("t", dice.i32(0..4));
                bench.cluster.inject(strike.after(dice.u32(0..4)));
            }
            bench.send_many(dice.i32(0..4), dice.usize(1..8)).await;
            tokio::time::sleep(MS(dice.u64(0..6))).await;
        }
        bench.cluster.clear_faults();
        bench.producer.flush().await;
        bumps += bench.tap.sent().last().unwrap().producer.epoch;
        // That no epoch comes back is looked at there.
        bench.check().await;
    }
    assert!(bumps > 60, "{bumps}");
}
