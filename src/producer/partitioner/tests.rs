//! The scenarios of Java's `BuiltInPartitionerTest`, `RoundRobinPartitionerTest` and of the partitioner in
//! `RecordAccumulatorTest`, with queues' lengths made by hand; and what is not as in Java.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::draw::draw;
use super::{
    By, Partitioner, Partitioning, Queues, SlowBrokers, TopicPartitioner, TopicPartitions,
};
use crate::error::SendError;
use crate::producer::record::ProducerRecord;
use crate::types::BrokerId;

const BUILT_IN: Partitioning = Partitioning::BuiltIn { ignore_keys: false };
const SIZE: usize = 1000;

/// How many batches wait for each partition.
impl Queues for [usize] {
    fn count(&self) -> usize {
        self.len()
    }

    fn waiting(&self, partition: i32) -> usize {
        self[usize::try_from(partition).unwrap()]
    }
}

/// Partition `n` is led by broker `leaders[n]`; nobody is -1.
fn topic(leaders: &[i32]) -> (TopicPartitioner, Arc<SlowBrokers>) {
    let slow = Arc::new(SlowBrokers::default());
    let topic = TopicPartitioner::new(SIZE, true, Arc::clone(&slow), 7);
    lead(&topic, leaders);
    (topic, slow)
}

fn lead(topic: &TopicPartitioner, leaders: &[i32]) {
    topic.set_leaders(leaders.iter().map(|&id| Some(BrokerId(id)).filter(|_| id >= 0)));
}

fn place(topic: &TopicPartitioner, queues: &[usize]) -> i32 {
    let place = BUILT_IN.place(&ProducerRecord::new("t", "x"), topic, queues).unwrap();
    assert_eq!(place.by, By::Sticking);
    place.partition
}

/// Fills a batch of the partition that sticks, and says which it was.
fn fill(topic: &TopicPartitioner, queues: &[usize]) -> i32 {
    let partition = place(topic, queues);
    topic.appended(partition, SIZE, queues);
    topic.at_batch_end(partition, queues);
    partition
}

/// How often each partition gets one of `n` batches.
fn shares(topic: &TopicPartitioner, queues: &[usize], n: usize) -> Vec<usize> {
    let mut shares = vec![0; queues.len()];
    (0..n).for_each(|_| shares[usize::try_from(fill(topic, queues)).unwrap()] += 1);
    shares
}

/// As `shares`, of draws with the random numbers 0, 1, 2, ...
fn draws(choices: &[i32], queues: &[usize], n: u64) -> Vec<usize> {
    let mut shares = vec![0; queues.len()];
    for random in 0..n {
        let drawn = draw(choices.iter().copied(), -1, |p| queues.waiting(p), random).unwrap();
        shares[usize::try_from(drawn).unwrap()] += 1;
    }
    shares
}

/// `adaptivePartitionsTest` and the first half of `testAdaptiveBuiltInPartitioner`.
#[test]
fn the_longer_a_queue_the_less_often_it_is_drawn() {
    for (queues, weights) in [
        (&[5, 0, 3, 0, 1][..], &[1, 6, 3, 6, 5][..]),
        (&[1, 7, 2], &[7, 1, 6]),
        (&[0, 3, 1], &[4, 1, 3]),
        (&[9, 9], &[1, 1]),
        (&[0, 1_000_000], &[1_000_001, 1]),
    ] {
        let all: Vec<_> = (0..i32::try_from(queues.len()).unwrap()).collect();
        let cycle: usize = weights.iter().sum();
        let twice: Vec<_> = weights.iter().map(|weight| 2 * weight).collect();
        assert_eq!(draws(&all, queues, 2 * cycle as u64), twice, "{queues:?}");
    }
    assert_eq!(draws(&[0, 2], &[1, 7, 2], 6), [4, 0, 2], "only of the choices");
    assert_eq!(draws(&[1], &[1, 7, 2], 3), [0, 3, 0]);
    assert_eq!(draw([].into_iter(), 0, |_| 0, 1), None);
}

#[test]
fn of_equal_queues_another_is_drawn() {
    for random in 0..6 {
        let drawn = draw([0, 1, 2].into_iter(), 1, |_| 4, random).unwrap();
        assert_eq!(drawn, [0, 2][usize::try_from(random).unwrap() % 2]);
    }
    assert_eq!(draw([3].into_iter(), 3, |_| 4, 9), Some(3), "unless it is the only one");
}

#[test]
fn a_draw_survives_queues_that_change_meanwhile() {
    for random in 0..100 {
        let asked = Cell::new(0_usize);
        let growing = |partition: i32| {
            asked.set(asked.get() + 1);
            if asked.get() <= 3 { usize::try_from(partition).unwrap() } else { 1_000 }
        };
        assert!((0..3).contains(&draw(0..3, -1, growing, random).unwrap()));
    }
}

/// `testStickyPartitioning`: a partition is kept for a batch's worth of bytes.
#[test]
fn sticks_until_a_batch_is_full_and_reaches_all() {
    let (topic, _) = topic(&[0, 1, 2, 0]);
    let queues = &[0; 4][..];
    let mut seen = [0_usize; 4];
    for _ in 0..400 {
        let partition = place(&topic, queues);
        topic.appended(partition, SIZE / 2, queues);
        assert_eq!(topic.at_batch_end(partition, queues), partition, "half a batch's worth");
        topic.appended(partition, SIZE / 2, queues);
        assert_eq!(place(&topic, queues), partition, "it may have room");
        let next = topic.at_batch_end(partition, queues);
        assert_ne!(next, partition);
        assert_eq!(place(&topic, queues), next);
        seen[usize::try_from(partition).unwrap()] += 1;
    }
    assert!(seen.iter().all(|&n| (70..=130).contains(&n)), "{seen:?}");
    let one = &[0][..];
    assert_eq!((place(&topic, one), fill(&topic, one), fill(&topic, one)), (0, 0, 0));
}

/// `testBuiltInPartitionerFractionalBatches`: batches that linger sends when they are two thirds full stay whole.
#[test]
fn a_switch_leaves_no_fragment_behind() {
    let (topic, _) = topic(&[0, 1, 2]);
    let queues = &[0; 3][..];
    let mut before = None;
    let mut kept = 0;
    for _ in 0..30 {
        // Nothing waits: the last batch was sent, and a new one begins.
        let current = place(&topic, queues);
        let partition = topic.at_batch_end(current, queues);
        kept += usize::from(before.replace(partition) == Some(partition));
        for _ in 0..20 {
            topic.appended(partition, SIZE / 30, queues);
            assert_eq!(place(&topic, queues), partition, "in the middle of a batch");
        }
    }
    assert_eq!(kept, 15, "two batches for each");
}

#[test]
fn leaves_a_partition_that_never_fills_a_batch() {
    let (topic, _) = topic(&[0, 1, 2, 0]);
    let queues = &[0; 4][..];
    let partition = place(&topic, queues);
    topic.appended(partition, 2 * SIZE - 1, queues);
    assert_eq!(place(&topic, queues), partition);
    topic.appended(partition, 1, queues);
    assert_ne!(place(&topic, queues), partition);
}

/// `testUniformBuiltInPartitioner`: records that each fill a batch.
#[test]
fn a_record_as_large_as_a_batch_gets_a_partition_of_its_own() {
    let (topic, _) = topic(&[0, 1, 2]);
    let queues = &[1; 3][..];
    let mut last = place(&topic, queues);
    topic.appended(last, 60, queues);
    assert_eq!(topic.at_batch_end(last, queues), last, "a small record before: it stays for one");
    topic.appended(last, SIZE + 60, queues);
    for _ in 0..50 {
        let next = topic.at_batch_end(last, queues);
        assert_ne!(next, last);
        topic.appended(next, SIZE + 60, queues);
        last = next;
    }
}

/// `unavailablePartitionsTest`.
#[test]
fn avoids_partitions_without_a_leader_while_there_are_others() {
    let (a, _) = topic(&[0, -1, 2]);
    let shares = shares(&a, &[0; 3], 100);
    assert!(shares[0] > 20 && shares[1] == 0 && shares[2] > 20, "{shares:?}");
    let (b, _) = topic(&[-1, 0]);
    assert!((0..100).all(|_| fill(&b, &[0; 2]) == 1));
    let (c, _) = topic(&[-1]);
    assert_eq!((fill(&c, &[0]), fill(&c, &[0])), (0, 0));
}

#[test]
fn leaves_a_partition_at_once_that_loses_its_leader() {
    let (topic, _) = topic(&[-1, 1, -1, 2]);
    let queues = &[0; 4][..];
    let current = place(&topic, queues);
    assert!([1, 3].contains(&current));
    let other = 4 - current;
    let leaders: Vec<_> = (0..4).map(|at| if at == other { 0 } else { -1 }).collect();
    lead(&topic, &leaders);
    assert_eq!(place(&topic, queues), other);
    lead(&topic, &[-1; 4]);
    assert!((0..4).contains(&fill(&topic, queues)), "if nobody leads any, any will do");
}

/// The second half of `testAdaptiveBuiltInPartitioner`, with broker 0 leading the first two partitions.
#[test]
fn partitions_of_slow_brokers_are_left_out_until_they_are_not_slow() {
    let (topic, slow) = topic(&[0, 0, 1]);
    let queues = &[1, 7, 2][..];
    while place(&topic, queues) == 2 {
        fill(&topic, queues);
    }
    assert!(slow.set(vec![BrokerId(0)]));
    topic.avoid_slow();
    assert_eq!(place(&topic, queues), 2, "left at once");
    assert_eq!(shares(&topic, queues, 50), [0, 0, 50]);
    assert!(!slow.set(vec![BrokerId(0)]), "no news");
    // All are slow: that is no reason to prefer one.
    assert!(slow.set(vec![BrokerId(0), BrokerId(1)]));
    topic.avoid_slow();
    let all_slow = shares(&topic, queues, 1400);
    assert!(slow.set(Vec::new()));
    for shares in [all_slow, shares(&topic, queues, 1400)] {
        // 7 : 1 : 6 of 1400, within five standard deviations.
        let near = |share: usize, expected: usize, by: usize| share.abs_diff(expected) <= by;
        let [a, b, c] = shares[..] else { panic!("{shares:?}") };
        assert!(near(a, 700, 94) && near(b, 100, 49) && near(c, 600, 93), "{shares:?}");
    }
}

#[test]
fn queues_do_not_count_if_it_is_not_to_be_adaptive() {
    let topic = TopicPartitioner::new(SIZE, false, Arc::default(), 7);
    lead(&topic, &[0, 1, 2]);
    let shares = shares(&topic, &[0, 1_000, 3], 900);
    assert!(shares.iter().all(|share| share.abs_diff(300) <= 50), "{shares:?}");
}

#[test]
fn partitions_that_appear_later_are_used_by_those_who_know_them() {
    let (topic, _) = topic(&[0, 1]);
    let before = shares(&topic, &[0; 2], 10);
    assert_eq!(before.iter().sum::<usize>(), 10);
    lead(&topic, &[0, 1, 0, 1]);
    // A send that looked before sees two; nothing else may come to it.
    for _ in 0..100 {
        assert!((0..4).contains(&fill(&topic, &[0; 4])));
        assert!((0..2).contains(&fill(&topic, &[0; 2])));
    }
    let shares = shares(&topic, &[0; 4], 400);
    assert!(shares.iter().all(|&share| share > 70), "{shares:?}");
}

#[test]
fn keys_count_unless_they_are_to_be_ignored() {
    let (topic, _) = topic(&[0; 6]);
    let queues = &[0; 6][..];
    let keyed = ProducerRecord::new("t", "x").key("abc");
    let named = ProducerRecord::new("t", "x").partition(99);
    let at =
        |partitioning: &Partitioning, record| partitioning.place(record, &topic, queues).unwrap();
    assert_eq!((at(&BUILT_IN, &keyed).partition, at(&BUILT_IN, &keyed).by), (3, By::Choice));
    let ignoring = Partitioning::BuiltIn { ignore_keys: true };
    assert_eq!(
        (at(&ignoring, &keyed).partition, at(&ignoring, &keyed).by),
        (place(&topic, queues), By::Sticking)
    );
    for partitioning in [BUILT_IN, ignoring, Partitioning::RoundRobin] {
        let place = at(&partitioning, &named);
        assert_eq!((place.partition, place.by), (99, By::Choice), "the record says so itself");
    }
}

fn round_robin(topic: &TopicPartitioner, queues: &[usize]) -> i32 {
    let record = ProducerRecord::new("t", "x").key("key");
    let place = Partitioning::RoundRobin.place(&record, topic, queues).unwrap();
    assert_eq!(place.by, By::Turn);
    place.partition
}

/// `testRoundRobinWithUnavailablePartitions`.
#[test]
fn round_robin_takes_the_led_partitions_in_turn() {
    let (a, _) = topic(&[0, -1, 1]);
    let queues = &[0; 3][..];
    let turns: Vec<_> = (0..6).map(|_| round_robin(&a, queues)).collect();
    assert_eq!(turns, [0, 2, 0, 2, 0, 2]);
    let (nobody_leads, _) = topic(&[-1; 3]);
    let turns: Vec<_> = (0..6).map(|_| round_robin(&nobody_leads, queues)).collect();
    assert_eq!(turns, [0, 1, 2, 0, 1, 2]);
    lead(&nobody_leads, &[0; 4]);
    let turns: Vec<_> = (0..4).map(|_| round_robin(&nobody_leads, &[0; 4])).collect();
    assert_eq!(turns, [2, 3, 0, 1], "also those that came later");
    assert!((0..3).contains(&round_robin(&nobody_leads, queues)), "for one who knows of three");
}

/// `testRoundRobinWithKeyBytes`: each topic has its own turn.
#[test]
fn round_robin_goes_by_topic() {
    let ((a, _), (b, _)) = (topic(&[0, 1, 2]), topic(&[0]));
    let mut counts = [0; 3];
    for i in 0..30 {
        counts[usize::try_from(round_robin(&a, &[0; 3])).unwrap()] += 1;
        if i % 5 == 0 {
            assert_eq!(round_robin(&b, &[0]), 0);
        }
    }
    assert_eq!(counts, [10; 3]);
}

/// KAFKA-9965: records that needed a second try must not make others skip a partition.
#[test]
fn round_robin_skips_none_when_turns_are_given_back() {
    let (topic, _) = topic(&[0, 1, 2, 3]);
    let queues = &[0; 4][..];
    for turn in 0..40 {
        let first = round_robin(&topic, queues);
        topic.give_back_turn();
        assert_eq!(first, round_robin(&topic, queues));
        assert_eq!(first, turn % 4);
    }
}

/// Notes what it is asked, and answers with the first byte of the value.
#[derive(Debug, Default)]
struct FirstByte(Mutex<Vec<(usize, Vec<i32>, i32)>>);

impl Partitioner for FirstByte {
    fn partition(&self, record: &ProducerRecord<'_>, topic: &TopicPartitions<'_>) -> i32 {
        let asked = (topic.count(), topic.available().to_vec(), topic.for_key(b"abc"));
        self.0.lock().push(asked);
        match record.value_bytes() {
            Some([first, ..]) => i32::from(*first),
            Some([]) => panic!("empty {}", record.topic()),
            None => panic!("no value"),
        }
    }
}

#[test]
fn a_partitioner_of_the_users_is_asked_and_its_panics_are_caught() {
    let (topic, _) = topic(&[0, -1, 1, 0, 1, 0]);
    let partitioner = Arc::new(FirstByte::default());
    let custom = Partitioning::Custom(Arc::clone(&partitioner) as Arc<dyn Partitioner>);
    let ask = |record: ProducerRecord<'_>| custom.place(&record, &topic, &[0; 6][..]);
    let place = ask(ProducerRecord::new("t", &[4_u8])).unwrap();
    assert_eq!((place.partition, place.by), (4, By::Choice));
    assert_eq!(*partitioner.0.lock(), [(6, vec![0, 2, 3, 4, 5], 3)]);
    for (record, said) in
        [(ProducerRecord::new("t", ""), "empty t"), (ProducerRecord::tombstone("t"), "no value")]
    {
        match ask(record).unwrap_err() {
            SendError::PartitionerPanicked { topic, message } => {
                assert_eq!((topic.as_str(), message.as_str()), ("t", said));
            }
            error => panic!("{error}"),
        }
    }
    assert_eq!(ask(ProducerRecord::new("t", &[5_u8])).unwrap().partition, 5);
}

/// Whatever threads do to each other, each gets a partition that it knows.
#[test]
fn threads_get_partitions_that_they_know() {
    let (topic, slow) = topic(&[0, 1, 0]);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for count in [2, 3, 5] {
            let (topic, stop) = (&topic, &stop);
            scope.spawn(move || {
                let queues = vec![0; count];
                while !stop.load(Ordering::Relaxed) {
                    let partition = fill(topic, &queues);
                    assert!((0..count).contains(&usize::try_from(partition).unwrap()));
                }
            });
        }
        for round in 0..2_000 {
            lead(&topic, if round % 2 == 0 { &[0, 1, 0, 1, 0] } else { &[0, -1, 1] });
            slow.set(if round % 3 == 0 { vec![BrokerId(0)] } else { Vec::new() });
            topic.avoid_slow();
        }
        stop.store(true, Ordering::Relaxed);
    });
}
