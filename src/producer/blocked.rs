//! What becomes of a record that cannot be accepted at once: the error that it gets if it is not to wait, and the wait for
//! a partition that it names and its topic does not have yet. Topics grow, and metadata that were fetched before do not
//! show it: who names a partition is asked to wait as for a topic, as in Java.

use crate::error::SendError;
use crate::producer::delivery::{CallbackFn, Delivery};
use crate::producer::record::ProducerRecord;
use crate::producer::{Blocked, Inner};
use crate::time::{Duration, Instant};

impl Inner {
    /// [`Inner::start`], or the error that there is when nothing is waited for.
    pub(super) fn try_start(
        &self,
        record: &ProducerRecord<'_>,
        callback: &mut Option<CallbackFn>,
    ) -> Result<Delivery, SendError> {
        let (topic, waited) = (record.topic, Duration::ZERO);
        self.start(record, callback, None).map_err(|blocked| match blocked {
            Blocked::Refused(error) => error,
            Blocked::Memory { needed, .. } => self.buffer_full(needed, waited),
            Blocked::Partition { partition, count } => {
                self.client.request_refresh();
                SendError::PartitionTimeout { topic: topic.to_owned(), partition, count, waited }
            }
            Blocked::Metadata => {
                self.client.track(topic);
                SendError::MetadataTimeout { topic: topic.to_owned(), waited, last: None }
            }
        })
    }

    /// Asks for metadata until the topic has the partition, at the longest until `deadline`.
    pub(super) async fn await_partition(
        &self,
        topic: &str,
        partition: i32,
        deadline: Instant,
    ) -> Result<(), SendError> {
        loop {
            // Subscribed before looking, so that an answer between the two is not missed.
            let newer = self.client.changed();
            let count = self.await_topic(topic, deadline).await?;
            if usize::try_from(partition).is_ok_and(|partition| partition < count) {
                return Ok(());
            }
            self.client.request_refresh();
            match tokio::time::timeout_at(deadline, newer).await {
                Ok(Ok(())) => {}
                Ok(Err(_closed)) => return Err(SendError::Closed),
                Err(_) => {
                    let (topic, waited) = (topic.to_owned(), self.max_block);
                    return Err(SendError::PartitionTimeout { topic, partition, count, waited });
                }
            }
        }
    }
}
