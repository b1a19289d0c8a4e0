//! What becomes of a record that cannot be accepted at once: what is wrong with it however long it waits, the error that
//! it gets if it is not to wait, and the wait for what it lacks. That may be a partition that it names and its topic
//! does not have yet: topics grow, and metadata that were fetched before do not show it, so who names a partition is
//! asked to wait as for a topic, as in Java.

use crate::error::SendError;
use crate::producer::callbacks::Callback;
use crate::producer::delivery::Delivery;
use crate::producer::record::ProducerRecord;
use crate::producer::{Blocked, Inner};
use crate::time::{Duration, Instant, deadline};

impl Inner {
    /// Deals with what was in a record's way, and counts it if that cannot be done.
    pub(super) async fn wait(
        &self,
        record: &ProducerRecord<'_>,
        callback: &mut Option<impl Callback>,
        blocked: Blocked,
    ) -> Result<Delivery, SendError> {
        self.overcome(record, callback, blocked).await.map_err(|error| self.refused(error))
    }

    /// Waits for what is missing until `max.block.ms` is over, and starts again.
    async fn overcome(
        &self,
        record: &ProducerRecord<'_>,
        callback: &mut Option<impl Callback>,
        mut blocked: Blocked,
    ) -> Result<Delivery, SendError> {
        let deadline = deadline(Instant::now(), self.max_block);
        let mut record = *record;
        loop {
            let room = match blocked {
                Blocked::Refused(error) => return Err(error),
                Blocked::Metadata => {
                    self.await_topic(record.topic, deadline).await?;
                    None
                }
                Blocked::Partition { partition, .. } => {
                    self.await_partition(record.topic, partition, deadline).await?;
                    None
                }
                Blocked::Memory { needed, partition } => {
                    // What was chosen for it is not asked for again.
                    record.partition = record.partition.or(partition);
                    Some(self.await_memory(needed, deadline).await?)
                }
            };
            match self.start(&record, callback, room) {
                Ok(delivery) => return Ok(delivery),
                Err(next) => blocked = next,
            }
        }
    }

    /// [`Inner::start`], or the error that there is when nothing is waited for.
    pub(super) fn try_start(
        &self,
        record: &ProducerRecord<'_>,
        callback: &mut Option<impl Callback>,
    ) -> Result<Delivery, SendError> {
        let (topic, waited) = (record.topic, Duration::ZERO);
        let started = self.start(record, callback, None).map_err(|blocked| match blocked {
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
        });
        started.map_err(|error| self.refused(error))
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

/// What can be wrong with a record whose topic is not known yet, so that no time is lost in waiting for that.
pub(super) fn check_unknown(record: &ProducerRecord<'_>) -> Result<(), SendError> {
    check_topic(record.topic)?;
    if let Some(partition) = record.partition.filter(|&partition| partition < 0) {
        let topic = record.topic.to_owned();
        return Err(SendError::InvalidPartition { topic, partition, count: None });
    }
    match record.timestamp {
        Some(timestamp) if timestamp < 0 => Err(SendError::InvalidTimestamp { timestamp }),
        _ => Ok(()),
    }
}

/// Kafka's rule for topic names.
pub(super) fn check_topic(topic: &str) -> Result<(), SendError> {
    let legal = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
    let length = (1..=249).contains(&topic.len());
    if length && topic.bytes().all(legal) && topic != "." && topic != ".." {
        Ok(())
    } else {
        Err(SendError::InvalidTopic { topic: topic.to_owned() })
    }
}
