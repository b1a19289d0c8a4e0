//! What happened in a run: a journal of everything, in order, and the fate of each record as its sender was told it.
//! It judges nothing.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use milena::{DeliveryError, Persistence, RecordMetadata};
use parking_lot::Mutex;

/// The virtual time, on a host of the simulation.
pub(crate) fn now() -> Duration {
    turmoil::sim_elapsed().expect("on a simulated host")
}

/// One line for each thing that happened; equal runs have equal journals.
#[derive(Clone, Default)]
pub(crate) struct Journal(Arc<Mutex<Vec<(Duration, String)>>>);

impl Journal {
    /// Notes what happens now, on a host of the simulation.
    pub(crate) fn note(&self, what: impl fmt::Display) {
        self.note_at(now(), what);
    }

    pub(crate) fn note_at(&self, at: Duration, what: impl fmt::Display) {
        self.0.lock().push((at, what.to_string()));
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let line = |(at, what): &(Duration, String)| format!("{:>9.3}s  {what}", at.as_secs_f64());
        self.0.lock().iter().map(line).collect()
    }
}

/// What a sender handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) partition: i32,
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Bytes,
    pub(crate) headers: Vec<(String, Option<Bytes>)>,
}

/// How a send ended, as its delivery or callback told it.
#[derive(Debug, Clone)]
pub(crate) enum End {
    Written { partition: i32, offset: Option<i64> },
    Failed(DeliveryError),
}

/// Who is told of a record's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waits {
    Nobody,
    Delivery,
    Callback,
}

/// A record from the attempt to send it to its end.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    /// Which producer sent it: order is kept among its own records only.
    pub(crate) producer: u64,
    pub(crate) content: Content,
    /// When it was accepted, and as which of all records; `None` if it never was.
    pub(crate) accepted: Option<(Duration, usize)>,
    pub(crate) waits: Waits,
    pub(crate) ends: Vec<(Duration, End)>,
    /// As which of all ends the first of its own was told.
    pub(crate) told: Option<usize>,
}

impl Sent {
    /// Whether its sender was told that it is not in the log: refused, or failed as not written.
    pub(crate) fn is_known_unwritten(&self) -> bool {
        let unwritten = |end: &End| match end {
            End::Written { .. } => false,
            End::Failed(error) => error.persistence() == Persistence::NotWritten,
        };
        self.accepted.is_none() || self.ends.iter().any(|(_, end)| unwritten(end))
    }
}

#[derive(Default)]
struct Inner {
    sent: Vec<Sent>,
    accepted: usize,
    ends: usize,
    broken: Vec<(&'static str, String)>,
}

/// The records of a run. A record's number is its place in it, and stands at the front of its value.
#[derive(Clone)]
pub(crate) struct History {
    pub(crate) journal: Journal,
    inner: Arc<Mutex<Inner>>,
}

/// The length of a record's number in its value.
const NUMBER: usize = 8;

impl History {
    pub(crate) fn new(journal: Journal) -> Self {
        Self { journal, inner: Arc::default() }
    }

    /// Takes down a record that is about to be sent; its number goes in front of `content.value`.
    pub(crate) fn attempt(&self, producer: u64, mut content: Content) -> (usize, Content) {
        let mut inner = self.inner.lock();
        let number = inner.sent.len();
        let front = (number as u64).to_be_bytes();
        content.value = [&front[..NUMBER], &content.value[..]].concat().into();
        inner.sent.push(Sent {
            producer,
            content: content.clone(),
            accepted: None,
            waits: Waits::Nobody,
            ends: Vec::new(),
            told: None,
        });
        (number, content)
    }

    /// The number of the record with this value.
    pub(crate) fn number_of(value: Option<&[u8]>) -> Option<usize> {
        let front = value?.first_chunk::<NUMBER>()?;
        usize::try_from(u64::from_be_bytes(*front)).ok()
    }

    /// To be called as soon as `send` has returned, so that the order is that of the appends.
    pub(crate) fn accepted(&self, number: usize, waits: Waits) {
        self.journal.note(format_args!("record {number} accepted"));
        let mut inner = self.inner.lock();
        let place = inner.accepted;
        inner.accepted += 1;
        inner.sent[number].accepted = Some((now(), place));
        inner.sent[number].waits = waits;
    }

    pub(crate) fn refused(&self, number: usize, why: impl fmt::Display) {
        self.journal.note(format_args!("record {number} refused: {why}"));
    }

    pub(crate) fn ended(&self, number: usize, result: Result<RecordMetadata, DeliveryError>) {
        let end = match result {
            Ok(metadata) => {
                let (partition, offset) = (metadata.partition(), metadata.offset());
                self.journal
                    .note(format_args!("record {number} written to {partition} at {offset:?}"));
                End::Written { partition, offset }
            }
            Err(error) => {
                self.journal.note(format_args!("record {number} failed: {error}"));
                End::Failed(error)
            }
        };
        let mut inner = self.inner.lock();
        let place = inner.ends;
        inner.ends += 1;
        inner.sent[number].ends.push((now(), end));
        inner.sent[number].told.get_or_insert(place);
    }

    /// An invariant that the client's own workload found broken.
    pub(crate) fn broken(&self, invariant: &'static str, detail: impl fmt::Display) {
        self.inner.lock().broken.push((invariant, detail.to_string()));
    }

    pub(crate) fn take_broken(&self) -> Vec<(&'static str, String)> {
        std::mem::take(&mut self.inner.lock().broken)
    }

    pub(crate) fn records(&self) -> Vec<Sent> {
        self.inner.lock().sent.clone()
    }
}
