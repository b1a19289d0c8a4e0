//! What must hold of what is in the log in the end.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use milena::broker::Cluster;
use milena::record::{EndTxnMarker, batches};

use super::ledger::{Told, Transaction, Value};
use super::setting::{INPUT, OUTPUT, Setting};
use super::{ALL_OR_NOTHING, AS_TOLD, IN_ORDER, NOTHING_LACKS, ONCE};
use crate::invariants::{Tally, Violation};

/// What one who reads committed records would see of a partition, in order.
fn visible(cluster: &Cluster, partition: i32) -> Vec<Value> {
    // Records by their place, and whether they are of a transaction that is open.
    let mut all: Vec<(Value, bool)> = Vec::new();
    let mut open: HashMap<i64, Vec<usize>> = HashMap::new();
    for stored in cluster.batches(OUTPUT, partition) {
        let batch = batches(stored.bytes).next().expect("a batch").expect("a sound batch");
        let records = batch.records(1 << 20).expect("sound records");
        let producer = stored.producer.id;
        for record in &records {
            let record = record.expect("a sound record");
            if !stored.control {
                open.entry(producer).or_default().push(all.len());
                all.push((Value::of(record.value.expect("a value")), false));
                continue;
            }
            let marker = EndTxnMarker::parse(&record).expect("a marker").expect("of a transaction");
            for at in open.remove(&producer).unwrap_or_default() {
                all[at].1 = marker.committed;
            }
        }
    }
    all.into_iter().filter(|(_, visible)| *visible).map(|(value, _)| value).collect()
}

/// See the module.
pub(super) fn check(
    cluster: &Cluster,
    setting: &Setting,
    transactions: &BTreeMap<u64, Transaction>,
) -> (Vec<Violation>, Tally) {
    let mut broken: Vec<Violation> = Vec::new();
    let logs: Vec<Vec<Value>> =
        (0..setting.outputs as i32).map(|partition| visible(cluster, partition)).collect();
    let mut seen: BTreeMap<u64, Vec<(i32, Value)>> = BTreeMap::new();
    for (partition, log) in (0..).zip(&logs) {
        for value in log {
            seen.entry(value.transaction).or_default().push((partition, *value));
        }
        broken.extend(disorder(partition, log));
    }
    for (number, transaction) in transactions {
        let seen = seen.get(number).map_or(&[][..], Vec::as_slice);
        broken.extend(judge(*number, transaction, seen));
    }
    if setting.copies {
        broken.extend(copies(cluster, setting, &logs));
    }
    let told = |told| transactions.values().filter(|t| t.told == told).count();
    let tally = Tally::from([
        ("transactions committed", told(Told::Committed)),
        ("transactions aborted", told(Told::Aborted)),
        ("transactions of unknown end", told(Told::Unknown)),
        ("records visible", logs.iter().map(Vec::len).sum()),
    ]);
    (broken, tally)
}

fn judge(number: u64, transaction: &Transaction, seen: &[(i32, Value)]) -> Option<Violation> {
    let Transaction { who, accepted, lacks, told } = transaction;
    let (sent, found): (BTreeSet<_>, BTreeSet<_>) =
        (accepted.iter().collect(), seen.iter().collect());
    let what = format!(
        "{number} of {who}, told {told:?}: {} of {} records are visible{}",
        seen.len(),
        accepted.len(),
        if *lacks { ", and some were not accepted" } else { "" }
    );
    let whole = seen.len() == accepted.len() && sent == found;
    let invariant = match (told, seen.is_empty()) {
        _ if !whole && !seen.is_empty() => ALL_OR_NOTHING,
        (Told::Committed, _) if *lacks => NOTHING_LACKS,
        (_, false) if *lacks => NOTHING_LACKS,
        (Told::Committed, _) if !whole => AS_TOLD,
        (Told::Aborted, false) => AS_TOLD,
        _ => return None,
    };
    Some((invariant, what))
}

/// Records of one transaction that stand before others that were sent earlier.
fn disorder(partition: i32, log: &[Value]) -> Option<Violation> {
    let mut last: HashMap<u64, u64> = HashMap::new();
    let late = log.iter().find(|value| {
        let before = last.insert(value.transaction, value.number);
        before.is_some_and(|before| before >= value.number)
    })?;
    Some((IN_ORDER, format!("{late:?} in {OUTPUT}-{partition}")))
}

fn copies(cluster: &Cluster, setting: &Setting, logs: &[Vec<Value>]) -> Vec<Violation> {
    let mut broken = Vec::new();
    for input in 0..setting.inputs as i32 {
        let log = &logs[(input % setting.outputs as i32) as usize];
        let offsets = log.iter().filter(|value| value.from.0 == input).map(|value| value.from.1);
        let offsets: Vec<i64> = offsets.collect();
        let end = cluster.offsets(INPUT, input).expect("a partition").end;
        let first = (0..end).zip(&offsets).find(|(wanted, found)| wanted != *found);
        if first.is_some() || offsets.len() as i64 != end {
            let what = format!("{INPUT}-{input}: {} of {end}, first {first:?}", offsets.len());
            broken.push((ONCE, what));
        }
    }
    broken
}
