//! What a log alone tells of its producers and their transactions, for a leader that has nothing else
//! (`ProducerStateManager` after a truncation). It reads batches and decides nothing.

use super::log::{Log, LoggedBatch};
use super::producer_state::{Appended, ProducerStates, Sequenced};
use super::stable::Stability;
use crate::record::{self, EndTxnMarker};
use crate::types::TimestampType;

/// A marker is a hundred bytes.
const MAX_MARKER: usize = 4096;

/// The producers whose batches are in the log, and the transactions that are open or were aborted in it.
pub(crate) fn recover(log: &Log) -> (ProducerStates, Stability) {
    let (mut producers, mut stability) = Default::default();
    for batch in log.batches() {
        replay(batch, &mut producers, &mut stability);
    }
    (producers, stability)
}

fn replay(batch: &LoggedBatch, producers: &mut ProducerStates, stability: &mut Stability) {
    // It was validated when it was appended, so that its header is sound.
    let Some(header) = batch.header().filter(|header| header.producer.id >= 0) else { return };
    let producer = header.producer;
    if header.attributes.is_control() {
        if let Some(marker) = marker_of(batch)
            && let Some(first) =
                producers.end(producer, marker.coordinator_epoch, batch.max_timestamp)
        {
            stability.end(first, batch.last_offset, marker.committed);
        }
        return;
    }
    let sequenced = Sequenced {
        producer,
        sequence: header.base_sequence,
        count: header.last_offset_delta.saturating_add(1),
        transactional: header.attributes.is_transactional(),
    };
    let timestamp = match header.attributes.timestamp_type() {
        TimestampType::LogAppendTime => header.max_timestamp,
        TimestampType::CreateTime => -1,
    };
    let appended = Appended { base_offset: batch.base_offset, timestamp };
    if producers.record(&sequenced, appended, batch.max_timestamp) {
        stability.begin(producer.id, batch.base_offset);
    }
}

/// The marker in a control batch; `None` if compaction left nothing of it.
fn marker_of(batch: &LoggedBatch) -> Option<EndTxnMarker> {
    let batch = record::batches(batch.to_bytes()).next()?.ok()?;
    let records = batch.records(MAX_MARKER).ok()?;
    let record = records.iter().next()?.ok()?;
    EndTxnMarker::parse(&record).ok()?
}
