//! Random transactions in one partition, against a model that keeps every batch in a list and works out from it what a
//! `read_committed` reader may see. The reader here does as Kafka's clients do with what a fetch tells them.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::broker::log::ReadLimit;
use crate::broker::testing::{NOW, build};
use crate::record;
use crate::types::Compression;

#[derive(Debug, Clone, Copy)]
struct Batch {
    base: i64,
    last: i64,
    transaction: Option<usize>,
    marker: Option<bool>,
}

#[derive(Debug, Default)]
struct Model {
    batches: Vec<Batch>,
    start: i64,
}

impl Model {
    /// How each transaction with a marker ended.
    fn ended(&self) -> BTreeMap<usize, bool> {
        self.batches.iter().filter_map(|b| Some((b.transaction?, b.marker?))).collect()
    }

    fn last_stable_offset(&self, end: i64) -> i64 {
        let ended = self.ended();
        let open = |b: &&Batch| b.transaction.is_some_and(|t| !ended.contains_key(&t));
        self.batches.iter().find(open).map_or(end, |b| b.base.max(self.start))
    }

    /// The bases of the batches whose records a reader gets.
    fn visible(&self, from: i64, before: i64) -> Vec<i64> {
        let ended = self.ended();
        let counts = |b: &&Batch| {
            b.marker.is_none() && b.transaction.is_none_or(|t| ended.get(&t) == Some(&true))
        };
        let range = self.batches.iter().filter(|b| b.last >= from && b.last < before);
        range.filter(counts).map(|b| b.base).collect()
    }
}

#[derive(Debug)]
struct Producer {
    identity: ProducerIdentity,
    next: i32,
    open: Option<usize>,
}

struct World {
    partition: Partition,
    model: Model,
    producers: Vec<Producer>,
    transactions: usize,
    rng: fastrand::Rng,
}

impl World {
    fn new(seed: u64) -> Self {
        let identity = |id| ProducerIdentity { id, epoch: 0 };
        let producers =
            (0..4).map(|id| Producer { identity: identity(id), next: 0, open: None }).collect();
        Self {
            partition: Partition::new(vec![BrokerId(1)], vec![BrokerId(1)]),
            model: Model::default(),
            producers,
            transactions: 0,
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    fn write(&mut self, who: usize) {
        let producer = &mut self.producers[who];
        let transactional = producer.open.is_some() || self.rng.bool();
        if transactional && producer.open.is_none() {
            producer.open = Some(self.transactions);
            self.transactions += 1;
        }
        let count = self.rng.i32(1..4);
        let (identity, sequence) = (producer.identity, producer.next);
        let records: Vec<_> = (0..count).map(|_| (NOW, None, "v")).collect();
        let bytes = build(&records, Compression::None, |batch| {
            batch.stamp(identity, sequence, transactional);
        });
        producer.next += count;
        let valid = ValidBatch {
            batch: NewBatch { bytes, count, max_timestamp: NOW },
            sequenced: Some(Sequenced { producer: identity, sequence, count, transactional }),
            log_append_time: -1,
        };
        let appended = self.partition.append(valid, &TopicConfig::default()).unwrap();
        let base = appended.base_offset;
        let last = base + i64::from(count) - 1;
        self.model.batches.push(Batch { base, last, transaction: producer.open, marker: None });
    }

    fn end(&mut self, who: usize, committed: bool) {
        let producer = &mut self.producers[who];
        let marker = EndTxnMarker { committed, coordinator_epoch: 0 };
        let at = self.partition.write_marker(producer.identity, marker, NOW).unwrap();
        let transaction = producer.open.take();
        self.model.batches.push(Batch { base: at, last: at, transaction, marker: Some(committed) });
    }

    fn truncate(&mut self) {
        let range = self.partition.log.start_offset()..=self.partition.log.end_offset();
        let end = self.partition.elect_uncleanly(self.rng.i64(range));
        self.model.batches.retain(|b| b.last < end);
        assert_eq!(self.model.batches.last().map_or(self.model.start, |b| b.last + 1), end);
        self.check();
        let ended = self.model.ended();
        for who in 0..self.producers.len() {
            let producer = &mut self.producers[who];
            let id = producer.identity.id;
            // The coordinator ends what is open in the next epoch, in which the producer begins anew.
            producer.identity.epoch += 1;
            producer.next = 0;
            let first = self.partition.producers.open_at(id);
            let began = |b: &&Batch| Some(b.base) == first;
            producer.open = self.model.batches.iter().find(began).and_then(|b| b.transaction);
            assert!(producer.open.is_none_or(|t| !ended.contains_key(&t)));
            if producer.open.is_some() {
                self.end(who, false);
            }
        }
    }

    fn delete(&mut self) {
        let before = self.rng.i64(self.model.start..=self.partition.last_stable_offset());
        self.partition.delete_before(before);
        self.model.start = before;
        self.model.batches.retain(|b| b.last >= before);
    }

    fn check(&mut self) {
        let end = self.partition.high_watermark();
        let stable = self.partition.last_stable_offset();
        assert_eq!(stable, self.model.last_stable_offset(end), "{:?}", self.model);
        for _ in 0..3 {
            let from = self.rng.i64(self.model.start..=end);
            let max_bytes = self.rng.usize(1..600);
            let (read, end_of_read) = self.read_committed(from, max_bytes);
            let expected = self.model.visible(from, end_of_read.min(stable));
            assert_eq!(read, expected, "from {from}, {max_bytes} bytes: {:?}", self.model);
        }
    }

    /// What a consumer makes of a fetch: bases of the batches handed out, and where it goes on.
    fn read_committed(&self, from: i64, max_bytes: usize) -> (Vec<i64>, i64) {
        let before = self.partition.last_stable_offset();
        let limit = ReadLimit { before, max_bytes, at_least_one: true };
        let bytes = self.partition.log.read(from, limit).unwrap();
        let before = self.partition.log.end_of_read(from, bytes.len());
        let mut told: Vec<_> = self.partition.stability.aborted_in(from, before).copied().collect();
        told.sort_by_key(|aborted| std::cmp::Reverse(aborted.first_offset));
        let (mut aborting, mut visible, mut position) = (BTreeSet::new(), Vec::new(), from);
        for batch in record::batches(bytes) {
            let batch = batch.unwrap();
            let header = batch.header();
            while told.last().is_some_and(|a| a.first_offset <= header.last_offset()) {
                aborting.extend(told.pop().map(|a| a.producer_id));
            }
            position = header.last_offset() + 1;
            if header.attributes.is_control() {
                aborting.remove(&header.producer.id);
            } else if !header.attributes.is_transactional()
                || !aborting.contains(&header.producer.id)
            {
                visible.push(header.base_offset);
            }
        }
        (visible, position)
    }
}

#[test]
fn random_transactions_are_seen_when_and_only_when_committed() {
    for seed in 0..150 {
        let mut world = World::new(seed);
        for _ in 0..60 {
            let who = world.rng.usize(0..4);
            match world.rng.u8(0..20) {
                0 => world.truncate(),
                1 => world.delete(),
                2..=8 if world.producers[who].open.is_some() => {
                    let committed = world.rng.bool();
                    world.end(who, committed);
                }
                _ => world.write(who),
            }
            world.check();
        }
    }
}
