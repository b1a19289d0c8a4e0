//! Records and transactions that a test puts into logs by hand, without a client. They pass the same checks as those of
//! a Produce request, save that any node's log will do.

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};

use super::Cluster;
use crate::broker::error::ClusterError;
use crate::broker::state::{Origin, Refusal, State};
use crate::broker::validate::{Rejected, Rules, validate};
use crate::error::ErrorCode;
use crate::record::{BatchBuilder, Codec, RecordError};
use crate::types::{Compression, ProducerIdentity, TopicPartition};

/// The newest Produce, whose rules hold for what is written by hand.
const PRODUCE_VERSION: i16 = 13;

/// A record for [`Writer::write`]: a value, `(key, value)`, or [`NewRecord::tombstone`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewRecord {
    key: Option<Bytes>,
    value: Option<Bytes>,
    timestamp: Option<i64>,
}

impl NewRecord {
    /// A key without a value, which compaction takes to mean that the key is gone.
    pub fn tombstone(key: impl Into<Bytes>) -> Self {
        Self { key: Some(key.into()), ..Self::default() }
    }

    /// Its time, in milliseconds since the epoch. Default: that of the writer when it is written.
    #[must_use]
    pub fn timestamp(self, ms: i64) -> Self {
        Self { timestamp: Some(ms), ..self }
    }
}

/// A record without a key.
impl From<&str> for NewRecord {
    fn from(value: &str) -> Self {
        Self { value: Some(Bytes::copy_from_slice(value.as_bytes())), ..Self::default() }
    }
}

/// A key and a value.
impl<K: AsRef<[u8]>, V: AsRef<[u8]>> From<(K, V)> for NewRecord {
    fn from((key, value): (K, V)) -> Self {
        let own = |bytes: &[u8]| Some(Bytes::copy_from_slice(bytes));
        Self { key: own(key.as_ref()), value: own(value.as_ref()), timestamp: None }
    }
}

/// Writes batches into logs as an idempotent or transactional producer would, one step at a time; made by
/// [`Cluster::writer`].
///
/// ```
/// use milena::broker::Cluster;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let cluster = Cluster::builder().start().await?;
/// cluster.create_topic("orders")?;
/// let mut writer = cluster.writer();
/// writer.write("orders", 0, ["not in a transaction"])?;
/// writer.begin()?;
/// writer.write("orders", 0, [("alice", "1 apple"), ("bob", "2 pears")])?;
/// writer.abort()?; // A marker in each partition that was written to: `read_committed` never sees the two.
/// # Ok(())
/// # }
/// ```
///
/// A writer that is dropped inside a transaction leaves it open: the last stable offset stays where it is.
#[derive(Debug)]
pub struct Writer {
    cluster: Cluster,
    producer: ProducerIdentity,
    codec: Codec,
    /// What its clock shows; `None` is the cluster's time.
    time: Option<i64>,
    /// The next sequence number in each partition.
    next: HashMap<TopicPartition, i32>,
    in_transaction: bool,
}

impl Cluster {
    /// A writer with a producer id of its own.
    pub fn writer(&self) -> Writer {
        Writer {
            cluster: self.clone(),
            producer: self.state(State::new_producer),
            codec: Codec::NONE,
            time: None,
            next: HashMap::new(),
            in_transaction: false,
        }
    }
}

impl Writer {
    /// Compresses what is written from now on.
    #[must_use]
    pub fn compression(self, compression: Compression) -> Self {
        Self { codec: Codec::new(compression), ..self }
    }

    /// Sets the time of what it writes from now on, markers included, in milliseconds since the epoch. Default: the
    /// cluster's time.
    pub fn set_time(&mut self, ms: i64) {
        self.time = Some(ms);
    }

    /// Under which id and epoch it writes. A client that produces under these while a transaction is open writes into
    /// that transaction.
    pub fn producer(&self) -> ProducerIdentity {
        self.producer
    }

    /// Opens a transaction.
    ///
    /// # Errors
    /// [`ClusterError::Refused`] with `CONCURRENT_TRANSACTIONS` if one is open.
    pub fn begin(&mut self) -> Result<(), ClusterError> {
        let producer = self.producer;
        self.cluster
            .state(|state| state.transactions.by_command.begin(producer))
            .map_err(refused)?;
        self.in_transaction = true;
        Ok(())
    }

    /// Appends one batch, as part of the transaction if one is open, and gives the offset of its first record.
    ///
    /// # Errors
    /// [`ClusterError::Refused`] with the code that a Produce request would get, or if there are no records.
    pub fn write<R: Into<NewRecord>>(
        &mut self,
        topic: &str,
        partition: i32,
        records: impl IntoIterator<Item = R>,
    ) -> Result<i64, ClusterError> {
        let shared = &self.cluster.handle.shared;
        let now = self.time.unwrap_or_else(|| shared.clock.now_ms());
        let to = TopicPartition::new(topic, partition);
        let sequence = self.next.get(&to).copied().unwrap_or(0);
        let mut builder = BatchBuilder::new(BytesMut::new());
        for record in records {
            let NewRecord { key, value, timestamp } = record.into();
            builder
                .append(timestamp.unwrap_or(now), key.as_deref(), value.as_deref(), &[])
                .map_err(|_| refused(ErrorCode::MESSAGE_TOO_LARGE))?;
        }
        let invalid = |_: RecordError| refused(ErrorCode::INVALID_RECORD);
        let mut batch = builder.seal(self.codec).map_err(invalid)?;
        batch.stamp(self.producer, sequence, self.in_transaction);
        let appended = shared.change(|state| {
            let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
            let config = &state.topic(topic).ok_or(unknown)?.config;
            let rules =
                Rules { config, version: PRODUCE_VERSION, now, records: true, transactional: true };
            let valid = validate(Some(batch.bytes()), rules)?;
            let origin = Origin { transactional_id: None, version: PRODUCE_VERSION, now };
            state.append(&to, valid, origin).map_err(Rejected::from)
        });
        let appended =
            appended.map_err(|Rejected { code, message, .. }| Refusal { code, message })?;
        self.next.insert(to, sequence.wrapping_add(batch.count()) & i32::MAX);
        Ok(appended.base_offset)
    }

    /// Commits the transaction: a marker goes to each partition that was written to.
    ///
    /// # Errors
    /// [`ClusterError::Refused`] with `INVALID_TXN_STATE` if none is open, or with the code with which a partition
    /// refused its marker.
    pub fn commit(&mut self) -> Result<(), ClusterError> {
        self.end(true)
    }

    /// Aborts the transaction; otherwise as [`Writer::commit`].
    ///
    /// # Errors
    /// As [`Writer::commit`].
    pub fn abort(&mut self) -> Result<(), ClusterError> {
        self.end(false)
    }

    fn end(&mut self, committed: bool) -> Result<(), ClusterError> {
        let shared = &self.cluster.handle.shared;
        let now = self.time.unwrap_or_else(|| shared.clock.now_ms());
        let producer = self.producer;
        self.in_transaction = false;
        shared.change(|state| state.end_by_command(producer, committed, now)).map_err(refused)
    }
}

fn refused(code: ErrorCode) -> ClusterError {
    ClusterError::Refused { code, message: code.description().to_owned() }
}
