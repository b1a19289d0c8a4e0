//! The commands that change what is in a log without a client.

use super::Cluster;
use crate::broker::error::ClusterError;
use crate::broker::partition::Partition;
use crate::error::ErrorCode;
use crate::record::RecordError;
use crate::types::{BrokerId, TopicPartition};

impl Cluster {
    /// Changes a partition and wakes those who wait for it.
    fn change_partition<T>(
        &self,
        topic: &str,
        partition: i32,
        change: impl FnOnce(&mut Partition) -> T,
    ) -> Result<T, ClusterError> {
        self.handle.shared.change(|state| match state.partition_mut(topic, partition) {
            Some(partition) => Ok(change(partition)),
            None => Err(ClusterError::UnknownPartition(TopicPartition::new(topic, partition))),
        })
    }

    /// Moves the start of a partition's log up to `before`, as DeleteRecords and retention do.
    ///
    /// # Errors
    /// [`ClusterError::UnknownPartition`].
    pub fn delete_records(
        &self,
        topic: &str,
        partition: i32,
        before: i64,
    ) -> Result<(), ClusterError> {
        self.change_partition(topic, partition, |partition| partition.delete_before(before))
    }

    /// Takes from a partition the records from `offset` on, as an unclean leader election does: a replica that never had
    /// them leads in a new epoch, whatever was acknowledged. Gives where the log ends now, which is before `offset` if a
    /// batch began there. A partition without a leader stays so.
    ///
    /// The new leader knows of idempotent producers what is in its log. Consumers that had read further find out by
    /// OffsetForLeaderEpoch and by `diverging_epoch` (KIP-320).
    ///
    /// # Errors
    /// [`ClusterError::UnknownPartition`].
    pub fn elect_uncleanly(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
    ) -> Result<i64, ClusterError> {
        let partition = TopicPartition::new(topic, partition);
        let elected = self.handle.shared.change(|state| state.elect_uncleanly(&partition, offset));
        elected.ok_or(ClusterError::UnknownPartition(partition))
    }

    /// Makes a follower copy nothing more from its leader: it falls out of the ISR, and serves what it has to consumers
    /// that are sent to it. It does nothing to a leader, or a node without a replica.
    ///
    /// # Errors
    /// [`ClusterError::UnknownPartition`].
    pub fn hold_replica(
        &self,
        topic: &str,
        partition: i32,
        node: BrokerId,
    ) -> Result<(), ClusterError> {
        self.change_partition(topic, partition, |partition| partition.hold(node))
    }

    /// Lets the followers of a partition that were held catch up.
    ///
    /// # Errors
    /// [`ClusterError::UnknownPartition`].
    pub fn release_replicas(&self, topic: &str, partition: i32) -> Result<(), ClusterError> {
        let live = self.state(|state| state.live().map(|(id, _)| id).collect());
        self.change_partition(topic, partition, |partition| partition.release(&live))
    }

    /// Makes a node forget its fetch sessions, as if others had taken their places: the next fetch of each gets
    /// `FETCH_SESSION_ID_NOT_FOUND`.
    ///
    /// # Errors
    /// [`ClusterError::UnknownNode`].
    pub fn evict_fetch_sessions(&self, node: BrokerId) -> Result<(), ClusterError> {
        self.state(|state| match state.fetch_sessions.get_mut(&node) {
            Some(sessions) => {
                sessions.clear();
                Ok(())
            }
            None => Err(ClusterError::UnknownNode(node)),
        })
    }

    /// Compacts all partitions of a topic, whatever its `cleanup.policy`: of each key the last record stays, records
    /// without key and those of aborted transactions go. Offsets stay what they are, so that gaps and empty batches are
    /// left. The newest batch of a partition, and what is behind its last stable offset, are left alone.
    ///
    /// # Errors
    /// [`ClusterError::Refused`] if there is no such topic, or if a batch cannot be read because its codec was not built
    /// in.
    pub fn compact(&self, topic: &str) -> Result<(), ClusterError> {
        self.handle.shared.change(|state| {
            let partitions = state.partitions_mut(topic);
            let refuse = |code, message| ClusterError::Refused { code, message };
            let Some(partitions) = partitions else {
                let code = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
                return Err(refuse(code, format!("no topic {topic}")));
            };
            let unreadable =
                |error: RecordError| refuse(ErrorCode::CORRUPT_MESSAGE, error.to_string());
            partitions.iter_mut().try_for_each(|partition| partition.compact()).map_err(unreadable)
        })
    }

    /// Forgets the sequences of all producers of a partition that have no transaction open there, as after
    /// `producer.id.expiration.ms`.
    ///
    /// # Errors
    /// [`ClusterError::UnknownPartition`].
    pub fn forget_producers(&self, topic: &str, partition: i32) -> Result<(), ClusterError> {
        self.change_partition(topic, partition, |partition| partition.producers.forget())
    }
}
