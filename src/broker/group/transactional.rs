//! Offsets that a transaction commits (TxnOffsetCommit): who may, and what becomes of them at its end (KIP-98, KIP-447).

use super::{CommittedOffset, Groups, Identity, Members, Slot};
use crate::error::ErrorCode;
use crate::time::Instant;
use crate::types::TopicPartition;

impl Groups {
    /// Whether `who` may commit offsets within a transaction. One that is no member makes the group if there is none.
    pub(crate) fn may_commit_in_transaction(
        &mut self,
        now: Instant,
        group: &str,
        who: Identity<'_>,
    ) -> Result<(), ErrorCode> {
        if group.is_empty() {
            return Err(ErrorCode::INVALID_GROUP_ID);
        }
        if who.generation < 0 {
            self.groups.entry(group.to_owned()).or_default();
        }
        let may = self.turn(now, group, |group, _| match &group.members {
            Members::Classic(group) => group.may_commit_in_transaction(who),
            Members::Consumer(group) => group.may_commit_in_transaction(who),
        });
        may.unwrap_or(Err(ErrorCode::ILLEGAL_GENERATION)).map_err(as_generation)
    }

    /// Stores an offset of a group that is there, as part of a producer's transaction, if `who` may do so for this
    /// partition.
    pub(crate) fn commit_in_transaction(
        &mut self,
        (group, who): (&str, Identity<'_>),
        producer_id: i64,
        (to, slot): (TopicPartition, Slot),
        committed: CommittedOffset,
    ) -> Result<(), ErrorCode> {
        self.may_commit_to(group, slot, who).map_err(as_generation)?;
        if let Some(group) = self.groups.get_mut(group) {
            group.offsets.store_pending(producer_id, to, committed);
        }
        Ok(())
    }

    /// A producer's transaction has ended, and its offsets count or do not.
    pub(crate) fn end_transaction(&mut self, group: &str, producer_id: i64, committed: bool) {
        if let Some(group) = self.groups.get_mut(group) {
            group.offsets.end_transaction(producer_id, committed);
        }
    }
}

/// Producers do not know the epochs of members.
fn as_generation(code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::STALE_MEMBER_EPOCH => ErrorCode::ILLEGAL_GENERATION,
        _ => code,
    }
}
