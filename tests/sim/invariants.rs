//! What must hold after every run, each with its name; the numbers are those of the list of invariants that the crate
//! keeps. Each checker looks at the whole run: what the senders were told, what left the client, what is in the logs.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use bytes::Bytes;
use milena::broker::StoredRecord;
use milena::protocol::ApiKey;
use milena::{DeliveryErrorKind, Persistence, ProducerIdentity};

use crate::harness::Run;
use crate::history::{Content, End, History, Sent, Waits};
use crate::wire::Passed;

pub(crate) const RECOVERS: &str = "I15 soon after the faults everything is acknowledged";
pub(crate) const MEMORY_IS_BACK: &str = "I7 the memory of records is given back";
pub(crate) const ENDS_IN_TIME: &str = "I17 flush and close end in time";
const COMES_TO_ITS_END: &str = "the run comes to its end";

/// Something that should not have happened: which invariant, and what.
pub(crate) type Violation = (&'static str, String);

/// How often things happened: a sweep where one of them never does tests too little.
pub(crate) type Tally = BTreeMap<&'static str, usize>;

/// What the checkers need to know of the scenario.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    pub(crate) topic: &'static str,
    pub(crate) idempotent: bool,
    /// Whether one request is in flight at a time, which keeps order even without idempotence.
    pub(crate) one_in_flight: bool,
    pub(crate) delivery_timeout: Duration,
    pub(crate) retry_backoff: Duration,
    /// Whether retries may run out before the delivery time-out does.
    pub(crate) few_retries: bool,
    pub(crate) nodes: usize,
}

/// A run with its logs, as the checkers look at it.
pub(crate) struct Facts {
    terms: Terms,
    run: Run,
    sent: Vec<Sent>,
    logs: Vec<Vec<StoredRecord>>,
}

type Checker = (&'static str, fn(&Facts) -> Vec<String>);

/// The invariants of a producer.
pub(crate) const PRODUCER: &[Checker] = &[
    ("I1 acknowledged means written, at that place, with those bytes", acknowledged_is_written),
    ("I1 nothing is written twice", nothing_is_doubled),
    ("I1 nothing is written that was not sent", nothing_is_made_up),
    ("I2 what is said not to be written is not", not_written_stays_out),
    ("I3 the records of a partition keep their order", order_is_kept),
    ("I3 callbacks of a partition come in the order of the records", callbacks_keep_order),
    ("I4 a sequence belongs to the same bytes for ever", sequences_keep_their_bytes),
    ("I7 each send ends once, and in time", sends_end_once_in_time),
    ("no failure without a reason", failures_have_a_reason),
    ("I15 requests do not storm", no_storm),
];

/// How far virtual time may go past a deadline: timers and the network count in milliseconds.
const SLACK: Duration = Duration::from_millis(10);

/// All that is broken in a run, and a count of what there was to break.
pub(crate) fn check(run: Run, terms: Terms, checkers: &[Checker]) -> (Vec<Violation>, Tally) {
    let mut violations = run.history.take_broken();
    violations.extend(run.stuck.iter().map(|why| (COMES_TO_ITS_END, why.clone())));
    let partitions = run.cluster.partitions(terms.topic).unwrap_or(0);
    let partitions = 0..i32::try_from(partitions).expect("a few");
    let logs = partitions.map(|p| run.cluster.records(terms.topic, p)).collect();
    let facts = Facts { sent: run.history.records(), logs, terms, run };
    for (name, checker) in checkers {
        violations.extend(checker(&facts).into_iter().map(|detail| (*name, detail)));
    }
    (violations, facts.tally())
}

impl Facts {
    fn tally(&self) -> Tally {
        let ends = || self.sent.iter().flat_map(|sent| &sent.ends).map(|(_, end)| end);
        let failed = |how| {
            let so = |end: &&End| matches!(end, End::Failed(e) if e.persistence() == how);
            ends().filter(so).count()
        };
        let passed = self.run.wire.passed();
        let too_large = passed.iter().filter(|p| matches!(p, Passed::TooLarge(_))).count();
        let batches = self.run.wire.requests();
        let batches = batches.iter().flat_map(|request| &request.batches);
        let stamps: Vec<_> =
            batches.map(|b| (b.producer, b.partition, b.base_sequence, b.bytes.len())).collect();
        let different: BTreeSet<_> = stamps.iter().map(|stamp| format!("{stamp:?}")).collect();
        Tally::from([
            ("acknowledged", ends().filter(|end| matches!(end, End::Written { .. })).count()),
            ("failed, not written", failed(Persistence::NotWritten)),
            ("failed, maybe written", failed(Persistence::MaybeWritten)),
            ("not accepted", self.sent.iter().filter(|sent| sent.accepted.is_none()).count()),
            ("batches", stamps.len()),
            ("batches too large", too_large),
            ("batches sent again", stamps.len() - different.len()),
            ("batches of later epochs", stamps.iter().filter(|s| s.0.epoch > 0).count()),
            ("connections", self.run.wire.connects().len()),
        ])
    }

    /// Each record of the logs, with its partition and its number.
    fn stored(&self) -> impl Iterator<Item = (i32, Option<usize>, &StoredRecord)> {
        (0..).zip(&self.logs).flat_map(|(partition, log)| {
            log.iter().map(move |r| (partition, History::number_of(r.value.as_deref()), r))
        })
    }

    fn copies(&self) -> HashMap<usize, usize> {
        let mut copies = HashMap::new();
        for number in self.stored().filter_map(|(_, number, _)| number) {
            *copies.entry(number).or_default() += 1;
        }
        copies
    }
}

fn content_of(stored: &StoredRecord, partition: i32) -> Content {
    Content {
        partition,
        timestamp: stored.timestamp,
        key: stored.key.clone(),
        value: stored.value.clone().unwrap_or_default(),
        headers: stored.headers.clone(),
    }
}

fn acknowledged_is_written(facts: &Facts) -> Vec<String> {
    let copies = facts.copies();
    let mut wrong = Vec::new();
    for (number, sent) in facts.sent.iter().enumerate() {
        for (_, end) in &sent.ends {
            let End::Written { partition, offset } = end else { continue };
            if !copies.contains_key(&number) {
                wrong.push(format!("record {number}, told to be at {offset:?}, is nowhere"));
            }
            // Where it was written by an attempt long ago is not known.
            let Some(offset) = offset else { continue };
            let log = usize::try_from(*partition).ok().and_then(|p| facts.logs.get(p));
            let there = log.and_then(|log| log.iter().find(|record| record.offset == *offset));
            if there.map(|there| content_of(there, *partition)).as_ref() != Some(&sent.content) {
                wrong.push(format!(
                    "record {number} is not at {partition}:{offset}, but {:?}",
                    there.and_then(|there| History::number_of(there.value.as_deref()))
                ));
            }
        }
    }
    wrong
}

fn nothing_is_doubled(facts: &Facts) -> Vec<String> {
    if !facts.terms.idempotent {
        return Vec::new();
    }
    let mut doubled: Vec<_> =
        facts.copies().into_iter().filter(|&(_, copies)| copies > 1).collect();
    doubled.sort_unstable();
    let told = |(number, copies)| format!("record {number} is there {copies} times");
    doubled.into_iter().map(told).collect()
}

fn nothing_is_made_up(facts: &Facts) -> Vec<String> {
    let made_up = |&(partition, number, stored): &(i32, Option<usize>, &StoredRecord)| {
        let sent = number.and_then(|number| facts.sent.get(number));
        sent.is_none_or(|sent| sent.content != content_of(stored, partition))
    };
    let told = |(partition, number, stored): (i32, Option<usize>, &StoredRecord)| {
        format!("{partition}:{} ({number:?}) is not as it was sent: {stored:?}", stored.offset)
    };
    facts.stored().filter(made_up).map(told).collect()
}

fn not_written_stays_out(facts: &Facts) -> Vec<String> {
    let copies = facts.copies();
    let unwritten = facts.sent.iter().enumerate().filter(|(_, sent)| sent.is_known_unwritten());
    let there = unwritten.filter(|(number, _)| copies.contains_key(number));
    let told = |(number, sent): (usize, &Sent)| match sent.ends.first() {
        Some((_, End::Failed(error))) => format!("record {number} is in the log: {error}"),
        _ => format!("record {number} was never accepted, and is in the log"),
    };
    there.map(told).collect()
}

fn order_is_kept(facts: &Facts) -> Vec<String> {
    if !facts.terms.idempotent && !facts.terms.one_in_flight {
        return Vec::new();
    }
    let mut wrong = Vec::new();
    for (partition, log) in facts.logs.iter().enumerate() {
        let mut seen = BTreeSet::new();
        let mut newest: BTreeMap<u64, (usize, usize)> = BTreeMap::new();
        for number in log.iter().filter_map(|record| History::number_of(record.value.as_deref())) {
            // Without idempotence a retry may double records; the first copies stand in order.
            let Some(sent) = facts.sent.get(number).filter(|_| seen.insert(number)) else {
                continue;
            };
            let Some((_, place)) = sent.accepted else { continue };
            if let Some((before, of)) = newest.insert(sent.producer, (place, number))
                && place < before
            {
                wrong.push(format!("partition {partition}: record {number} stands behind {of}"));
            }
        }
    }
    wrong
}

fn callbacks_keep_order(facts: &Facts) -> Vec<String> {
    let with_callback = |sent: &&Sent| sent.waits == Waits::Callback;
    let mut calls: Vec<_> = facts.sent.iter().filter(with_callback).collect();
    calls.sort_by_key(|sent| sent.told);
    let mut newest: BTreeMap<(u64, i32), usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for sent in calls {
        let Some((_, place)) = sent.accepted else { continue };
        let line = (sent.producer, sent.content.partition);
        let before = newest.insert(line, place);
        if before.is_some_and(|before| place < before) {
            wrong.push(format!("partition {}: {:?}", sent.content.partition, sent.ends));
        }
    }
    wrong
}

/// Also across batches: the numbers of two different batches do not overlap.
fn sequences_keep_their_bytes(facts: &Facts) -> Vec<String> {
    type Line = (ProducerIdentity, i32);
    let id = facts.run.cluster.topic_id(facts.terms.topic);
    let mut lines: HashMap<Line, BTreeMap<i32, (i32, Bytes)>> = HashMap::new();
    let mut wrong = Vec::new();
    let mut batches = Vec::new();
    for passed in facts.run.wire.passed() {
        match passed {
            Passed::Request(request) => batches.extend(request.batches.into_iter().map(Ok)),
            Passed::TooLarge(batch) => batches.push(Err(batch)),
        }
    }
    for batch in batches {
        let batch = match batch {
            Ok(batch) if batch.producer == ProducerIdentity::NONE => continue,
            Ok(batch) => batch,
            Err(refused) => {
                // Its fate is known, so its numbers may go to its halves.
                let line = lines.entry((refused.producer, refused.partition)).or_default();
                line.remove(&refused.base_sequence);
                continue;
            }
        };
        let (name, by_id) = &batch.topic;
        if name != facts.terms.topic && Some(*by_id) != id {
            continue;
        }
        let known = lines.entry((batch.producer, batch.partition)).or_default();
        let (first, end) = (batch.base_sequence, batch.base_sequence.saturating_add(batch.count));
        let what = format!("{}:{first} of {:?}", batch.partition, batch.producer);
        match known.get(&first) {
            Some((_, bytes)) if *bytes == batch.bytes => {}
            Some(_) => wrong.push(format!("{what} was sent with different bytes")),
            None => {
                let before = known.range(..first).next_back();
                let after = known.range(first..).next();
                if before.is_some_and(|(_, (before_end, _))| *before_end > first)
                    || after.is_some_and(|(&after, _)| end > after)
                {
                    wrong.push(format!("{what} overlaps with another batch"));
                }
                known.insert(first, (end, batch.bytes));
            }
        }
    }
    wrong
}

fn sends_end_once_in_time(facts: &Facts) -> Vec<String> {
    let mut wrong = Vec::new();
    for (number, sent) in facts.sent.iter().enumerate() {
        let Some((accepted, _)) = sent.accepted.filter(|_| sent.waits != Waits::Nobody) else {
            continue;
        };
        if sent.ends.len() != 1 {
            wrong.push(format!("record {number} ended {} times", sent.ends.len()));
        }
        for (at, end) in &sent.ends {
            if *at > accepted + facts.terms.delivery_timeout + SLACK {
                wrong.push(format!("record {number} ended {:?} late: {end:?}", *at - accepted));
            }
        }
    }
    wrong
}

/// No code that ends a producer is in the plans.
fn failures_have_a_reason(facts: &Facts) -> Vec<String> {
    let failures = facts.sent.iter().enumerate().flat_map(|(number, sent)| {
        sent.ends.iter().filter_map(move |(_, end)| match end {
            End::Failed(error) => Some((number, error)),
            End::Written { .. } => None,
        })
    });
    let bad = failures.filter(|(_, error)| match error.kind() {
        DeliveryErrorKind::Fatal(_) | DeliveryErrorKind::Compression { .. } => true,
        DeliveryErrorKind::Disconnected => !facts.terms.few_retries,
        _ => false,
    });
    bad.map(|(number, error)| format!("record {number}: {error}")).collect()
}

/// In no second more requests than the back-offs allow, with room for several reasons at a time.
fn no_storm(facts: &Facts) -> Vec<String> {
    let requests = facts.run.wire.requests();
    let mut wrong = Vec::new();
    let mut limit = |what: &str, times: Vec<Duration>, most: usize| {
        let busiest = times.iter().enumerate().map(|(at, time)| {
            let second = times[at..].iter().take_while(|t| **t < *time + Duration::from_secs(1));
            (second.count(), *time)
        });
        if let Some((count, at)) = busiest.max()
            && count > most
        {
            wrong.push(format!("{count} times {what} in the second from {at:?}"));
        }
    };
    let times = |api| requests.iter().filter(move |r| r.api == api).map(|r| r.at).collect();
    // The fastest that a rule without growth may repeat something.
    let fastest = 1 + 1_000 / facts.terms.retry_backoff.mul_f64(0.8).as_millis().max(1) as usize;
    limit("Metadata", times(ApiKey::METADATA), fastest);
    limit("InitProducerId", times(ApiKey::INIT_PRODUCER_ID), fastest);
    // The addresses of `bootstrap.servers` have back-offs of their own.
    limit("connect", facts.run.wire.connects(), facts.terms.nodes * 2 * fastest);
    let mut attempts: HashMap<(ProducerIdentity, i32, i32), Vec<Duration>> = HashMap::new();
    for request in &requests {
        for batch in request.batches.iter().filter(|b| b.producer != ProducerIdentity::NONE) {
            let key = (batch.producer, batch.partition, batch.base_sequence);
            attempts.entry(key).or_default().push(request.at);
        }
    }
    for ((_, partition, sequence), times) in attempts {
        limit(&format!("batch {partition}:{sequence}"), times, fastest);
    }
    wrong.sort_unstable();
    wrong
}
