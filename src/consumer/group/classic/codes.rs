//! The tables of the classic protocol: what an error code means in the answer to each request.
//!
//! | code | JoinGroup | SyncGroup | Heartbeat | OffsetCommit |
//! |---|---|---|---|---|
//! | NOT_COORDINATOR, COORDINATOR_NOT_AVAILABLE | moved | moved | moved | - |
//! | UNKNOWN_MEMBER_ID | new member | new member | new member | new member |
//! | ILLEGAL_GENERATION | new generation | new generation | new generation | new generation |
//! | REBALANCE_IN_PROGRESS | join again | join again | join again | join again |
//! | MEMBER_ID_REQUIRED | take the id | fail | fail | - |
//! | FENCED_INSTANCE_ID | fail | fail | fail | fail |
//! | any other that is retriable | retry | retry | retry | - |
//! | any other, known or not | fail | fail | fail | - |
//!
//! LeaveGroup has no row: whatever the answer, the member is gone.

use crate::error::ErrorCode;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It worked.
    Done,
    /// Try again after a back-off.
    Retry,
    /// Look for the coordinator, then go on.
    Moved,
    /// Join again, with the same member id.
    Rejoin,
    /// What the member owned is lost; join again, with the same member id.
    NewGeneration,
    /// What the member owned is lost; join again as a new member.
    NewMember,
    /// Join again with the member id that the answer has (KIP-394).
    TakeId,
    /// Tell the user.
    Fail,
}

pub(super) fn join(code: ErrorCode) -> Verdict {
    match code {
        ErrorCode::MEMBER_ID_REQUIRED => Verdict::TakeId,
        code => common(code),
    }
}

pub(super) fn sync(code: ErrorCode) -> Verdict {
    common(code)
}

pub(super) fn heartbeat(code: ErrorCode) -> Verdict {
    common(code)
}

/// What a refused commit says of the membership, if anything.
pub(super) fn commit(code: ErrorCode) -> Option<Verdict> {
    let known = matches!(
        code,
        ErrorCode::UNKNOWN_MEMBER_ID
            | ErrorCode::ILLEGAL_GENERATION
            | ErrorCode::REBALANCE_IN_PROGRESS
            | ErrorCode::FENCED_INSTANCE_ID
    );
    known.then(|| common(code))
}

fn common(code: ErrorCode) -> Verdict {
    match code {
        ErrorCode::NONE => Verdict::Done,
        ErrorCode::NOT_COORDINATOR | ErrorCode::COORDINATOR_NOT_AVAILABLE => Verdict::Moved,
        ErrorCode::UNKNOWN_MEMBER_ID => Verdict::NewMember,
        ErrorCode::ILLEGAL_GENERATION => Verdict::NewGeneration,
        ErrorCode::REBALANCE_IN_PROGRESS => Verdict::Rejoin,
        code if code.is_retriable() => Verdict::Retry,
        _ => Verdict::Fail,
    }
}
