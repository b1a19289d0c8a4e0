//! Why a batch was not committed, until it is known whether to tell the application. What follows is decided in `decide`.

use super::decide::Trouble;
use crate::error::{AbortCause, AbortableError, ErrorCode, ExactlyOnceError, TransactionError};
use crate::producer::Transaction;
use crate::time::Duration;

/// Why a batch was not committed.
pub(super) enum Failure<E> {
    Transaction(TransactionError),
    Processing(E),
    TooSlow(Duration),
}

impl<E> Failure<E> {
    /// The closure's error may come from the transaction, whose trouble then is what counts.
    pub(super) fn of_closure(error: E, transaction: &Transaction<'_>) -> Self {
        match transaction.trouble() {
            Some(cause) if Trouble::of(&cause) != Trouble::Lasting => Self::Transaction(cause),
            _ => Self::Processing(error),
        }
    }

    pub(super) fn trouble(&self) -> Trouble {
        match self {
            Self::Transaction(error) => Trouble::of(error),
            Self::Processing(_) | Self::TooSlow(_) => Trouble::Processing,
        }
    }

    pub(super) fn into_error(self) -> ExactlyOnceError<E> {
        match self {
            Self::Transaction(error) => ExactlyOnceError::Transaction(error),
            Self::Processing(error) => ExactlyOnceError::Processing(error),
            Self::TooSlow(limit) => ExactlyOnceError::TooSlow { limit },
        }
    }
}

/// What is aborted before its coordinator does so.
pub(super) fn overdue() -> TransactionError {
    TransactionError::Abortable(AbortableError::new(AbortCause::Aborted))
}

/// What the coordinator would say to a member that it has put out of the group.
pub(super) fn expelled() -> TransactionError {
    let (api, code) = ("TxnOffsetCommit", ErrorCode::UNKNOWN_MEMBER_ID);
    let cause = AbortCause::Refused { api, subject: "the consumer's group".to_owned(), code };
    TransactionError::Abortable(AbortableError::new(cause))
}
