//! ByCommand that a test begins and ends by hand, with a [`Writer`](crate::broker::Writer): which are open, and which
//! partitions each has written to.
//!
//! It is what a partition's leader asks before it takes the first batch of such a transaction, and what tells where the
//! markers go at the end. It knows nothing of transactional ids.

use std::collections::{BTreeSet, HashMap};

use crate::error::ErrorCode;
use crate::types::{ProducerIdentity, TopicPartition};

#[derive(Debug)]
struct Ongoing {
    epoch: i16,
    partitions: BTreeSet<TopicPartition>,
}

/// See the module's docs.
#[derive(Debug, Default)]
pub(crate) struct ByCommand {
    by_producer: HashMap<i64, Ongoing>,
}

impl ByCommand {
    /// Whether the producer has a transaction.
    pub(crate) fn has(&self, producer_id: i64) -> bool {
        self.by_producer.contains_key(&producer_id)
    }

    /// Opens a transaction.
    ///
    /// # Errors
    /// `CONCURRENT_TRANSACTIONS` if the producer has one.
    pub(crate) fn begin(&mut self, producer: ProducerIdentity) -> Result<(), ErrorCode> {
        if self.by_producer.contains_key(&producer.id) {
            return Err(ErrorCode::CONCURRENT_TRANSACTIONS);
        }
        let ongoing = Ongoing { epoch: producer.epoch, partitions: BTreeSet::new() };
        self.by_producer.insert(producer.id, ongoing);
        Ok(())
    }

    /// Makes a partition part of the producer's transaction.
    ///
    /// # Errors
    /// `INVALID_TXN_STATE` if the producer has none, `INVALID_PRODUCER_EPOCH` if it has another epoch.
    pub(crate) fn enroll(
        &mut self,
        producer: ProducerIdentity,
        partition: TopicPartition,
    ) -> Result<(), ErrorCode> {
        let ongoing = self.by_producer.get_mut(&producer.id).ok_or(ErrorCode::INVALID_TXN_STATE)?;
        if ongoing.epoch != producer.epoch {
            return Err(ErrorCode::INVALID_PRODUCER_EPOCH);
        }
        ongoing.partitions.insert(partition);
        Ok(())
    }

    /// Ends the producer's transaction and gives the partitions that it wrote to, each of which is owed a marker.
    ///
    /// # Errors
    /// As [`ByCommand::enroll`].
    pub(crate) fn end(
        &mut self,
        producer: ProducerIdentity,
    ) -> Result<BTreeSet<TopicPartition>, ErrorCode> {
        match self.by_producer.get(&producer.id) {
            None => Err(ErrorCode::INVALID_TXN_STATE),
            Some(ongoing) if ongoing.epoch != producer.epoch => {
                Err(ErrorCode::INVALID_PRODUCER_EPOCH)
            }
            Some(_) => Ok(self
                .by_producer
                .remove(&producer.id)
                .map_or_else(BTreeSet::new, |o| o.partitions)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_enrolled_by_who_began() {
        let mut all = ByCommand::default();
        let producer = ProducerIdentity { id: 3, epoch: 1 };
        let older = ProducerIdentity { id: 3, epoch: 0 };
        let partition = TopicPartition::new("t", 0);
        let none = Err(ErrorCode::INVALID_TXN_STATE);
        assert_eq!(all.enroll(producer, partition.clone()), none);
        assert_eq!(all.begin(producer), Ok(()));
        assert_eq!(all.begin(producer), Err(ErrorCode::CONCURRENT_TRANSACTIONS));
        assert_eq!(all.enroll(producer, partition.clone()), Ok(()));
        assert_eq!(all.enroll(producer, partition.clone()), Ok(()), "again");
        let fenced = ErrorCode::INVALID_PRODUCER_EPOCH;
        assert_eq!(all.enroll(older, partition.clone()), Err(fenced));
        assert_eq!(all.end(older), Err(fenced));
        assert_eq!(all.end(producer), Ok([partition].into()));
        assert_eq!(all.end(producer), Err(ErrorCode::INVALID_TXN_STATE));
    }
}
