//! How a batch or an offset comes into a transaction: by itself with version 2, else it must have been added before
//! (`AddPartitionsToTxnManager`, KIP-890). The version of the request decides which, and which error its client knows.

use super::{Parts, Transactions};
use crate::error::ErrorCode;
use crate::types::ProducerIdentity;

/// What a request's version says of the transaction that it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Enrollment {
    /// Version 2: what comes is made part of the transaction.
    Implicit,
    /// It was added before, or is refused.
    Verified {
        /// Whether the client knows `TRANSACTION_ABORTABLE`.
        abortable: bool,
    },
}

impl Enrollment {
    pub(crate) fn of_produce(version: i16) -> Self {
        Self::from_versions(version, 12)
    }

    pub(crate) fn of_offsets(version: i16) -> Self {
        Self::from_versions(version, 5)
    }

    fn from_versions(version: i16, implicit_from: i16) -> Self {
        if version >= implicit_from {
            Self::Implicit
        } else {
            Self::Verified { abortable: version == implicit_from - 1 }
        }
    }

    /// What a producer of batches is told: clients that know but the older versions do not look for another coordinator.
    pub(crate) fn produce_error(self, code: ErrorCode) -> ErrorCode {
        match code {
            ErrorCode::CONCURRENT_TRANSACTIONS if self == Self::Implicit => code,
            ErrorCode::CONCURRENT_TRANSACTIONS | ErrorCode::NOT_COORDINATOR => {
                ErrorCode::NOT_ENOUGH_REPLICAS
            }
            _ => code,
        }
    }
}

impl Transactions {
    /// Makes something part of a transaction, or finds that it is.
    pub(crate) fn enroll(
        &mut self,
        (id, producer): (&str, ProducerIdentity),
        parts: Parts,
        how: Enrollment,
        now: i64,
    ) -> Result<(), ErrorCode> {
        let enrolled = match how {
            Enrollment::Implicit => self.add(id, producer, parts, now),
            Enrollment::Verified { .. } => self.verify(id, producer, &parts),
        };
        enrolled.map_err(|code| match code {
            ErrorCode::PRODUCER_FENCED => ErrorCode::INVALID_PRODUCER_EPOCH,
            ErrorCode::TRANSACTION_ABORTABLE
                if how == (Enrollment::Verified { abortable: false }) =>
            {
                ErrorCode::INVALID_TXN_STATE
            }
            _ => code,
        })
    }
}
