//! Control records: the markers that end a transaction in a partition. It reads and writes them;
//! what they mean for the records before them is for the reader of the partition.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::compress::Codec;
use super::decode::Record;
use super::encode::BatchBuilder;
use super::error::RecordError;
use super::header::HEADER_LEN;
use crate::types::ProducerIdentity;

/// The version of key and value that is written.
const VERSION: i16 = 0;
const KEY_LEN: usize = 4;
const VALUE_LEN: usize = 6;
/// Room for a batch with one marker.
const BATCH_LEN: usize = HEADER_LEN + 17;

/// What kind of control record one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ControlType {
    /// Ends a transaction; its records are void.
    Abort,
    /// Ends a transaction; its records count.
    Commit,
    /// One that a client skips, such as those of KRaft.
    Other(i16),
}

impl ControlType {
    /// Reads the kind from a control record's key. Versions to come are read as the one known, as
    /// Kafka does.
    ///
    /// # Errors
    /// [`RecordError::Control`] if the key is null, too short or of a negative version.
    pub fn parse(key: Option<&[u8]>) -> Result<Self, RecordError> {
        let mut key =
            key.filter(|key| key.len() >= KEY_LEN).ok_or(RecordError::Control { part: "key" })?;
        if key.get_i16() < 0 {
            return Err(RecordError::Control { part: "key" });
        }
        Ok(match key.get_i16() {
            0 => Self::Abort,
            1 => Self::Commit,
            other => Self::Other(other),
        })
    }

    fn id(self) -> i16 {
        match self {
            Self::Abort => 0,
            Self::Commit => 1,
            Self::Other(id) => id,
        }
    }
}

/// The marker that a coordinator writes to each partition of a transaction at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EndTxnMarker {
    /// Whether the transaction was committed; it was aborted otherwise.
    pub committed: bool,
    /// The epoch of the transaction coordinator that wrote it.
    pub coordinator_epoch: i32,
}

impl EndTxnMarker {
    /// Reads a record of a control batch; `None` if it is another kind of control record.
    ///
    /// # Errors
    /// [`RecordError::Control`] if its key, or a marker's value, is malformed.
    pub fn parse(record: &Record<'_>) -> Result<Option<Self>, RecordError> {
        let committed = match ControlType::parse(record.key)? {
            ControlType::Commit => true,
            ControlType::Abort => false,
            ControlType::Other(_) => return Ok(None),
        };
        let mut value = record
            .value
            .filter(|value| value.len() >= VALUE_LEN)
            .ok_or(RecordError::Control { part: "value" })?;
        if value.get_i16() < 0 {
            return Err(RecordError::Control { part: "value" });
        }
        Ok(Some(Self { committed, coordinator_epoch: value.get_i32() }))
    }

    /// A control batch with this marker, for the log of a partition; its base offset is 0.
    /// `timestamp` is in milliseconds since the epoch, `producer` the one whose transaction ends.
    ///
    /// # Errors
    /// None that can be met: a batch of one marker always fits.
    pub fn to_batch(
        self,
        timestamp: i64,
        producer: ProducerIdentity,
    ) -> Result<Bytes, RecordError> {
        let kind = if self.committed { ControlType::Commit } else { ControlType::Abort };
        let mut key = [0; KEY_LEN];
        let mut buf = &mut key[..];
        buf.put_i16(VERSION);
        buf.put_i16(kind.id());
        let mut value = [0; VALUE_LEN];
        let mut buf = &mut value[..];
        buf.put_i16(VERSION);
        buf.put_i32(self.coordinator_epoch);

        let mut builder = BatchBuilder::new(BytesMut::with_capacity(BATCH_LEN));
        builder
            .append(timestamp, Some(&key), Some(&value), &[])
            .map_err(|full| RecordError::BatchSize { count: 1, bytes: full.needed })?;
        let mut batch = builder.seal(Codec::NONE)?;
        batch.stamp_control(producer);
        Ok(batch.bytes())
    }
}
