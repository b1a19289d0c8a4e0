//! What a log alone tells of its producers, for a leader that has nothing else (`ProducerStateManager` after a
//! truncation). It reads batches and decides nothing.

use super::log::Log;
use super::producer_state::{Appended, ProducerStates, Sequenced};
use crate::types::TimestampType;

/// The producers whose batches are in the log, each known by its last ones.
pub(crate) fn producers_of(log: &Log) -> ProducerStates {
    let mut producers = ProducerStates::default();
    for batch in log.batches() {
        // It was validated when it was appended, so that its header is sound.
        let Some(header) = batch.header().filter(|header| header.base_sequence >= 0) else {
            continue;
        };
        let count = header.last_offset_delta.saturating_add(1);
        let sequenced =
            Sequenced { producer: header.producer, sequence: header.base_sequence, count };
        let timestamp = match header.attributes.timestamp_type() {
            TimestampType::LogAppendTime => header.max_timestamp,
            TimestampType::CreateTime => -1,
        };
        producers.record(&sequenced, Appended { base_offset: batch.base_offset, timestamp });
    }
    producers
}
