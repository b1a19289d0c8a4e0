//! The one table of what an error code of a coordinator means for a transaction.
//!
//! | code | verdict |
//! |---|---|
//! | NONE | done |
//! | NOT_COORDINATOR, COORDINATOR_NOT_AVAILABLE; REQUEST_TIMED_OUT of offsets | find the coordinator, then again |
//! | CONCURRENT_TRANSACTIONS | again, soon: the markers of the one before are being written |
//! | any other retriable code | again, after the back-off |
//! | PRODUCER_FENCED, INVALID_PRODUCER_EPOCH | fatal: a producer with a newer epoch has taken over, or the time-out has |
//! | TRANSACTIONAL_ID_AUTHORIZATION_FAILED, CLUSTER_AUTHORIZATION_FAILED | fatal |
//! | UNKNOWN_PRODUCER_ID, INVALID_PRODUCER_ID_MAPPING | abort, and be initialised anew (KIP-360) |
//! | TRANSACTION_ABORTABLE (KIP-890) | abort |
//! | of partitions and offsets: what concerns topics, groups and members | abort |
//! | INVALID_TXN_STATE, and any other code | fatal |
//!
//! One thing is not in it: where a commit has been asked for before, and may have been carried out, what would abort is
//! fatal.

use crate::error::ErrorCode;

/// Which request was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Api {
    InitProducerId,
    AddPartitions,
    AddOffsets,
    CommitOffsets,
    End,
}

impl Api {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::InitProducerId => "InitProducerId",
            Self::AddPartitions => "AddPartitionsToTxn",
            Self::AddOffsets => "AddOffsetsToTxn",
            Self::CommitOffsets => "TxnOffsetCommit",
            Self::End => "EndTxn",
        }
    }
}

/// What follows, the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    Done,
    /// Ask again after a pause.
    Retry,
    /// Ask again after a short pause.
    RetrySoon,
    /// Ask again when the coordinator was found anew.
    Relocate,
    Abort,
    /// The coordinator knows nothing of the producer id: there is no transaction to be ended.
    AbortAnew,
    Fatal,
}

pub(super) fn classify(api: Api, code: ErrorCode, can_bump: bool) -> Verdict {
    match code {
        ErrorCode::NONE => Verdict::Done,
        ErrorCode::NOT_COORDINATOR | ErrorCode::COORDINATOR_NOT_AVAILABLE => Verdict::Relocate,
        ErrorCode::REQUEST_TIMED_OUT if api == Api::CommitOffsets => Verdict::Relocate,
        ErrorCode::CONCURRENT_TRANSACTIONS => Verdict::RetrySoon,
        ErrorCode::UNKNOWN_PRODUCER_ID | ErrorCode::INVALID_PRODUCER_ID_MAPPING
            if can_bump && matches!(api, Api::AddPartitions | Api::AddOffsets | Api::End) =>
        {
            Verdict::AbortAnew
        }
        ErrorCode::TRANSACTION_ABORTABLE if api != Api::InitProducerId => Verdict::Abort,
        ErrorCode::TOPIC_AUTHORIZATION_FAILED
        | ErrorCode::OPERATION_NOT_ATTEMPTED
        | ErrorCode::INVALID_TOPIC_EXCEPTION
            if api == Api::AddPartitions =>
        {
            Verdict::Abort
        }
        ErrorCode::GROUP_AUTHORIZATION_FAILED | ErrorCode::INVALID_GROUP_ID
            if matches!(api, Api::AddOffsets | Api::CommitOffsets) =>
        {
            Verdict::Abort
        }
        ErrorCode::UNKNOWN_MEMBER_ID
        | ErrorCode::ILLEGAL_GENERATION
        | ErrorCode::STALE_MEMBER_EPOCH
        | ErrorCode::FENCED_INSTANCE_ID
        | ErrorCode::TOPIC_AUTHORIZATION_FAILED
        | ErrorCode::OFFSET_METADATA_TOO_LARGE
        | ErrorCode::INVALID_COMMIT_OFFSET_SIZE
            if api == Api::CommitOffsets =>
        {
            Verdict::Abort
        }
        code if code.is_retriable() => Verdict::Retry,
        _ => Verdict::Fatal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const APIS: [Api; 5] =
        [Api::InitProducerId, Api::AddPartitions, Api::AddOffsets, Api::CommitOffsets, Api::End];

    #[test]
    fn the_table() {
        use ErrorCode as E;
        use Verdict::{Abort, AbortAnew, Fatal, Relocate, Retry, RetrySoon};
        let all = |verdict| [verdict; 5];
        for (code, expected) in [
            (E::NONE, all(Verdict::Done)),
            (E::NOT_COORDINATOR, all(Relocate)),
            (E::COORDINATOR_NOT_AVAILABLE, all(Relocate)),
            (E::COORDINATOR_LOAD_IN_PROGRESS, all(Retry)),
            (E::REQUEST_TIMED_OUT, [Retry, Retry, Retry, Relocate, Retry]),
            (E::CONCURRENT_TRANSACTIONS, all(RetrySoon)),
            (E::UNKNOWN_TOPIC_OR_PARTITION, all(Retry)),
            (E::PRODUCER_FENCED, all(Fatal)),
            (E::INVALID_PRODUCER_EPOCH, all(Fatal)),
            (E::TRANSACTIONAL_ID_AUTHORIZATION_FAILED, all(Fatal)),
            (E::CLUSTER_AUTHORIZATION_FAILED, all(Fatal)),
            (E::INVALID_TXN_STATE, all(Fatal)),
            (E::UNKNOWN_SERVER_ERROR, all(Fatal)),
            (E::INVALID_TRANSACTION_TIMEOUT, all(Fatal)),
            (E::INVALID_PRODUCER_ID_MAPPING, [Fatal, AbortAnew, AbortAnew, Fatal, AbortAnew]),
            (E::UNKNOWN_PRODUCER_ID, [Fatal, AbortAnew, AbortAnew, Fatal, AbortAnew]),
            (E::TRANSACTION_ABORTABLE, [Fatal, Abort, Abort, Abort, Abort]),
            (E::TOPIC_AUTHORIZATION_FAILED, [Fatal, Abort, Fatal, Abort, Fatal]),
            (E::OPERATION_NOT_ATTEMPTED, [Fatal, Abort, Fatal, Fatal, Fatal]),
            (E::GROUP_AUTHORIZATION_FAILED, [Fatal, Fatal, Abort, Abort, Fatal]),
            (E::ILLEGAL_GENERATION, [Fatal, Fatal, Fatal, Abort, Fatal]),
            (E::UNKNOWN_MEMBER_ID, [Fatal, Fatal, Fatal, Abort, Fatal]),
            (E::STALE_MEMBER_EPOCH, [Fatal, Fatal, Fatal, Abort, Fatal]),
            (E::FENCED_INSTANCE_ID, [Fatal, Fatal, Fatal, Abort, Fatal]),
            (E::OFFSET_METADATA_TOO_LARGE, [Fatal, Fatal, Fatal, Abort, Fatal]),
        ] {
            let verdicts = APIS.map(|api| classify(api, code, true));
            assert_eq!(verdicts, expected, "{code}");
        }
    }

    /// Nothing but NONE ever counts as done: a commit is told to be one only then (rows 36 and 38 of the bug list).
    #[test]
    fn only_none_is_done() {
        let codes = ErrorCode::ALL.iter().copied().chain([ErrorCode::new(9_999)]);
        for code in codes.filter(|code| !code.is_ok()) {
            for api in APIS {
                assert_ne!(classify(api, code, true), Verdict::Done, "{api:?} {code}");
            }
        }
    }

    #[test]
    fn a_lost_id_is_fatal_for_brokers_that_cannot_raise_epochs() {
        for api in APIS {
            let code = ErrorCode::INVALID_PRODUCER_ID_MAPPING;
            assert_eq!(classify(api, code, false), Verdict::Fatal);
        }
    }
}
