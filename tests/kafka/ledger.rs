//! What a test sent and how each record ended, held against what is in the log: whether each record ended once, each
//! acknowledged one is where it was said to be, none is there twice, and none that is said not to be.

use std::collections::HashMap;
use std::sync::Arc;

use milena::{DeliveryError, Persistence, Producer, ProducerRecord, RecordMetadata, SendError};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Duration, Instant, timeout};

use crate::oracle::{Oracle, SkimmedRecord};

/// The numbers of the records are theirs alone, counted from 0; the values tell them.
#[derive(Debug)]
pub(crate) struct Ledger {
    topic: String,
    size: usize,
    /// When each record was accepted, by its number; `None` if it was not.
    accepted: Mutex<Vec<Option<Instant>>>,
    ends: Arc<Mutex<Vec<End>>>,
    ended: watch::Sender<usize>,
}

/// How a record ended.
#[derive(Debug, Clone)]
pub(crate) struct End {
    pub(crate) number: usize,
    pub(crate) at: Instant,
    pub(crate) result: Result<RecordMetadata, DeliveryError>,
}

/// Where a record must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// There, once, at this partition and offset.
    At(i32, i64),
    /// There, or not, but not twice.
    Unsure,
    Absent,
}

impl End {
    /// Where the record is by what its producer was told.
    pub(crate) fn fate(&self) -> Fate {
        match &self.result {
            Ok(metadata) => match metadata.offset() {
                Some(offset) => Fate::At(metadata.partition(), offset),
                None => panic!("record {} is acknowledged without an offset", self.number),
            },
            Err(error) if error.persistence() == Persistence::NotWritten => Fate::Absent,
            Err(_) => Fate::Unsure,
        }
    }
}

impl Ledger {
    /// For records of `topic` with values of `size` bytes, at least eight.
    pub(crate) fn new(topic: &str, size: usize) -> Self {
        let (accepted, ends) = (Mutex::default(), Arc::default());
        Self { topic: topic.to_owned(), size, accepted, ends, ended: watch::Sender::new(0) }
    }

    /// Sends the next record. One that is refused keeps its number, and must not be in the log.
    pub(crate) async fn send(
        &self,
        producer: &Producer,
        key: Option<&[u8]>,
    ) -> Result<(), SendError> {
        let number = self.accepted.lock().len();
        let value = value(number, self.size);
        let mut record = ProducerRecord::new(&self.topic, &value);
        if let Some(key) = key {
            record = record.key(key);
        }
        self.accepted.lock().push(None);
        let (ends, ended) = (self.ends.clone(), self.ended.clone());
        let told = move |result| {
            ends.lock().push(End { number, at: Instant::now(), result });
            ended.send_modify(|count| *count += 1);
        };
        producer.send_with(&record, told).await?;
        self.accepted.lock()[number] = Some(Instant::now());
        Ok(())
    }

    /// How many records were given to `send`.
    pub(crate) fn sent(&self) -> usize {
        self.accepted.lock().len()
    }

    /// How many have ended.
    pub(crate) fn ended(&self) -> usize {
        *self.ended.borrow()
    }

    /// When `send` returned.
    pub(crate) fn accepted_at(&self, number: usize) -> Instant {
        self.accepted.lock()[number].unwrap()
    }

    /// The ends so far.
    pub(crate) fn ends(&self) -> Vec<End> {
        self.ends.lock().clone()
    }

    /// Waits until so many records have ended.
    pub(crate) async fn until_ended(&self, count: usize, within: Duration) {
        let mut ended = self.ended.subscribe();
        let waited = timeout(within, ended.wait_for(|ended| *ended >= count)).await;
        assert!(waited.is_ok(), "{} of {count} records ended in {within:?}", self.ended());
    }

    /// Waits until each accepted record has ended.
    pub(crate) async fn until_all_ended(&self, within: Duration) {
        let accepted = self.accepted.lock().iter().flatten().count();
        self.until_ended(accepted, within).await;
    }

    /// Holds the ends against the log as Kafka's own consumer reads it; `fate` says where a record must be.
    pub(crate) async fn audit(
        &self,
        oracle: &Oracle,
        bootstrap: &str,
        partitions: i32,
        fate: impl Fn(&End) -> Fate,
    ) {
        let mut log = Vec::new();
        for partition in 0..partitions {
            let read = oracle.skim(bootstrap, &self.topic, partition).await.unwrap();
            let in_order = read.windows(2).all(|two| number(&two[0]) < number(&two[1]));
            assert!(in_order, "partition {partition} is not in the order of the sends");
            log.extend(read);
        }
        let found = self.found(&log);
        let mut ends = vec![None; self.sent()];
        for end in self.ends.lock().iter() {
            let before = ends[end.number].replace(end.clone());
            assert!(before.is_none(), "record {} ended twice: {before:?}, {end:?}", end.number);
        }
        for ((number, accepted), end) in self.accepted.lock().iter().enumerate().zip(&ends) {
            let stored = found.get(&number).copied();
            let good = match (accepted, end.as_ref().map(&fate)) {
                (Some(_), Some(Fate::At(partition, offset))) => stored == Some((partition, offset)),
                (Some(_), Some(Fate::Unsure)) => true,
                (Some(_), Some(Fate::Absent)) | (None, None) => stored.is_none(),
                // Accepted and never ended, or ended without having been accepted.
                (Some(_), None) | (None, Some(_)) => false,
            };
            assert!(good, "record {number} is at {stored:?}, accepted {accepted:?}, {end:?}");
        }
    }

    /// Where in the log the records are, each unharmed, and none twice.
    fn found(&self, log: &[SkimmedRecord]) -> HashMap<usize, (i32, i64)> {
        let mut found = HashMap::new();
        for record in log {
            let number = number(record);
            let crc = crc32c::crc32c(&value(number, self.size));
            assert_eq!((record.length, record.crc), (self.size, crc), "the value of {number}");
            let twice = found.insert(number, (record.partition, record.offset));
            assert_eq!(twice, None, "record {number} is in the log twice: {record:?}");
        }
        found
    }
}

/// The number, and then as many bytes as are wanted, which differ from record to record.
fn value(number: usize, size: usize) -> Vec<u8> {
    let mut value = (number as u64).to_be_bytes().to_vec();
    value.resize(size, b'a' + (number % 26) as u8);
    value
}

fn number(record: &SkimmedRecord) -> usize {
    let head: [u8; 8] = record.head.as_slice().try_into().unwrap();
    usize::try_from(u64::from_be_bytes(head)).unwrap()
}
