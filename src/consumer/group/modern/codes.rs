//! The table of the new protocol: what an error code means in the answer to a heartbeat.
//!
//! | code | |
//! |---|---|
//! | NOT_COORDINATOR, COORDINATOR_NOT_AVAILABLE | moved: the next heartbeat goes to the new one at once |
//! | FENCED_MEMBER_EPOCH, UNKNOWN_MEMBER_ID | fenced: everything is lost; join with epoch 0 |
//! | TOPIC_AUTHORIZATION_FAILED | report: the user is told, the membership goes on |
//! | any other that is retriable | retry after a back-off |
//! | any other, known or not | fail |

use crate::error::ErrorCode;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Done,
    Retry,
    Moved,
    Fenced,
    Report,
    Fail,
}

pub(super) fn heartbeat(code: ErrorCode) -> Verdict {
    match code {
        ErrorCode::NONE => Verdict::Done,
        ErrorCode::NOT_COORDINATOR | ErrorCode::COORDINATOR_NOT_AVAILABLE => Verdict::Moved,
        ErrorCode::FENCED_MEMBER_EPOCH | ErrorCode::UNKNOWN_MEMBER_ID => Verdict::Fenced,
        ErrorCode::TOPIC_AUTHORIZATION_FAILED => Verdict::Report,
        code if code.is_retriable() => Verdict::Retry,
        _ => Verdict::Fail,
    }
}
