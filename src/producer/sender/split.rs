//! MESSAGE_TOO_LARGE: a batch of many records is made into two of half the records each, which stand in its place. The
//! broker refused the batch before appending it, so its numbers are free to be given to the halves, and what follows
//! keeps its own. Halving ends: a single record is refused for good (KAFKA-8350).

use crate::producer::sender::Sender;
use crate::producer::sender::window::Slot;
use crate::time::Instant;

impl Sender {
    /// Splits the batch at this place of the window; `false` if it cannot be.
    pub(super) fn split(&mut self, index: usize, at: usize, now: Instant) -> bool {
        let (codec, id) = (self.accumulator.codec(), self.accumulator.next_batch_id());
        let transactional = self.transactions.is_some();
        let Some(partition) = self.partitions.get_mut(index) else { return false };
        let Some(slot) = partition.window.get_mut(at) else { return false };
        let Some(rest) = slot.batch.split(codec, id) else { return false };
        let mut rest = Slot::new(rest, now);
        rest.stamp = slot.stamp.map(|stamp| stamp.after(slot.batch.count()));
        slot.restart(now);
        slot.write_stamp(transactional);
        rest.write_stamp(transactional);
        tracing::debug!(
            partition = %partition.queue.topic_partition(),
            "a batch was too large for the broker and is sent in halves; lower batch.size"
        );
        partition.window.insert(at + 1, rest);
        partition.queue.fill.too_large();
        self.metrics.split(now);
        true
    }
}
