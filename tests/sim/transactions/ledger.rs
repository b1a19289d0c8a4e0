//! What the workers did in which transaction, and what they were told of its end. It judges nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// A record of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Value {
    pub(super) transaction: u64,
    /// As which record of the transaction it was sent.
    pub(super) number: u64,
    /// The partition and offset of the input that it was copied from.
    pub(super) from: (i32, i64),
}

impl Value {
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = self.transaction.to_be_bytes().to_vec();
        bytes.extend(self.number.to_be_bytes());
        bytes.extend(self.from.0.to_be_bytes());
        bytes.extend(self.from.1.to_be_bytes());
        bytes
    }

    pub(super) fn of(bytes: &[u8]) -> Self {
        let eight = |at: usize| *bytes[at..].first_chunk::<8>().expect("a value of ours");
        Self {
            transaction: u64::from_be_bytes(eight(0)),
            number: u64::from_be_bytes(eight(8)),
            from: (
                i32::from_be_bytes(*bytes[16..].first_chunk().expect("a value of ours")),
                i64::from_be_bytes(eight(20)),
            ),
        }
    }
}

/// What was told of a transaction's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Committed,
    Aborted,
    /// Nobody was there to be told, or it was an error that leaves it open.
    Unknown,
}

#[derive(Debug, Clone)]
pub(super) struct Transaction {
    pub(super) who: String,
    /// Accepted records, with the partition that they were for.
    pub(super) accepted: Vec<(i32, Value)>,
    /// Whether a record was not accepted.
    pub(super) lacks: bool,
    pub(super) told: Told,
}

#[derive(Debug, Default)]
struct State {
    transactions: BTreeMap<u64, Transaction>,
    /// The workers that have committed since the faults were over.
    done: Vec<usize>,
    over: bool,
    /// How many workers are gone.
    gone: usize,
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger(Arc<Mutex<State>>);

impl Ledger {
    /// A transaction has begun; its number.
    pub(super) fn begin(&self, who: &str) -> u64 {
        let mut state = self.0.lock();
        let number = state.transactions.len() as u64;
        let who = who.to_owned();
        let begun = Transaction { who, accepted: Vec::new(), lacks: false, told: Told::Unknown };
        state.transactions.insert(number, begun);
        number
    }

    pub(super) fn accepted(&self, partition: i32, value: Value) {
        self.with(value.transaction, |transaction| transaction.accepted.push((partition, value)));
    }

    pub(super) fn lacks(&self, transaction: u64) {
        self.with(transaction, |transaction| transaction.lacks = true);
    }

    pub(super) fn told(&self, transaction: u64, told: Told) {
        self.with(transaction, |transaction| transaction.told = told);
    }

    fn with(&self, number: u64, change: impl FnOnce(&mut Transaction)) {
        change(self.0.lock().transactions.get_mut(&number).expect("it has begun"));
    }

    pub(super) fn is_done(&self, worker: usize) {
        let mut state = self.0.lock();
        if !state.done.contains(&worker) {
            state.done.push(worker);
        }
    }

    pub(super) fn done(&self) -> usize {
        self.0.lock().done.len()
    }

    pub(super) fn end(&self) {
        self.0.lock().over = true;
    }

    pub(super) fn is_over(&self) -> bool {
        self.0.lock().over
    }

    pub(super) fn is_gone(&self) {
        self.0.lock().gone += 1;
    }

    pub(super) fn gone(&self) -> usize {
        self.0.lock().gone
    }

    pub(super) fn transactions(&self) -> BTreeMap<u64, Transaction> {
        self.0.lock().transactions.clone()
    }
}
