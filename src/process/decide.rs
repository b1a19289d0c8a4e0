//! What follows when a batch was not committed, or could not be read. It knows neither clock nor clients: it takes errors,
//! and says whether to go on.
//!
//! ```text
//!   poll ──► begin ──► closure ──► offsets, flush ──► commit ──► poll
//!              │          │              │              │ timed out
//!              └──────────┴──── fails ───┴──────────────┴─► settle ──► it was committed ──► poll
//!                                                             │
//!                                                             └─► aborted ──► back-off ──► rewind ──► poll
//! ```
//!
//! | trouble | from | next |
//! |---|---|---|
//! | `Unknown` | a time-out: what was asked for goes on | settle, and go by the outcome |
//! | `Passing` | elections, coordinators that move, rebalances, time-outs of records, lost producer state | again, after a back-off |
//! | `Processing` | the closure: its error, or too long | again, as often as is allowed |
//! | `Lasting` | permissions, what brokers refuse of a record or an offset, what they are too old for | end |
//! | `Fatal` | fenced, or closed | end |

use crate::error::{
    AbortCause, AbortableError, ClientError, ConsumerError, DeliveryErrorKind, ErrorCode,
    TransactionError,
};
use crate::time::{Backoff, Duration};

/// What stands in the way, by what to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    Unknown,
    Passing,
    Processing,
    Lasting,
    Fatal,
}

impl Trouble {
    pub(super) fn of(error: &TransactionError) -> Self {
        match error {
            TransactionError::TimedOut(_) | TransactionError::InDoubt => Self::Unknown,
            TransactionError::Abortable(error) => Self::of_abort(error),
            TransactionError::Fatal(_) | TransactionError::Closed => Self::Fatal,
            TransactionError::NoGroup => Self::Lasting,
        }
    }

    fn of_abort(error: &AbortableError) -> Self {
        let lasting = match error.cause() {
            AbortCause::Delivery(error) if error.is_fatal() => return Self::Fatal,
            AbortCause::Send(error) if error.is_fatal() => return Self::Fatal,
            AbortCause::Send(error) => !error.is_retriable(),
            AbortCause::Delivery(error) => match error.kind() {
                DeliveryErrorKind::Refused(code) => lasts(*code),
                DeliveryErrorKind::Unsendable | DeliveryErrorKind::Compression { .. } => true,
                _ => false,
            },
            AbortCause::Refused { code, .. } => lasts(*code),
            AbortCause::Client { error, .. } => !error.is_retriable(),
            AbortCause::Aborted | AbortCause::OffsetsUnsent => false,
        };
        if lasting { Self::Lasting } else { Self::Passing }
    }

    /// Of an error of a poll or of a look at what is committed.
    pub(super) fn of_reading(error: &ConsumerError) -> Self {
        let passes = match error {
            ConsumerError::Group(error) => !error.is_fatal() && error.is_retriable(),
            ConsumerError::Committed { cause } => {
                cause.is_retriable() && !matches!(cause, ClientError::Closed)
            }
            error => error.is_retriable(),
        };
        if passes { Self::Passing } else { Self::Lasting }
    }
}

/// Whether the same records, or the same offsets, would be refused again. What says something of the producer's state, of
/// the group or of the cluster is different after an abort.
fn lasts(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::TOPIC_AUTHORIZATION_FAILED
            | ErrorCode::GROUP_AUTHORIZATION_FAILED
            | ErrorCode::CLUSTER_AUTHORIZATION_FAILED
            | ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED
            | ErrorCode::MESSAGE_TOO_LARGE
            | ErrorCode::RECORD_LIST_TOO_LARGE
            | ErrorCode::INVALID_RECORD
            | ErrorCode::INVALID_TIMESTAMP
            | ErrorCode::INVALID_TOPIC_EXCEPTION
            | ErrorCode::INVALID_GROUP_ID
            | ErrorCode::INVALID_REQUIRED_ACKS
            | ErrorCode::INVALID_COMMIT_OFFSET_SIZE
            | ErrorCode::OFFSET_METADATA_TOO_LARGE
            | ErrorCode::POLICY_VIOLATION
            | ErrorCode::UNSUPPORTED_COMPRESSION_TYPE
            | ErrorCode::UNSUPPORTED_FOR_MESSAGE_FORMAT
            | ErrorCode::UNSUPPORTED_VERSION
    )
}

/// Counts failures, to wait longer after each, and to end when the closure has had its chances.
#[derive(Debug)]
pub(super) struct Failures {
    backoff: Backoff,
    /// How often a batch is tried again after the closure has failed.
    retries: u32,
    in_a_row: u32,
    of_closure: u32,
    of_reading: u32,
}

/// What follows a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// The same records again, after this long.
    Again(Duration),
    End,
}

impl Failures {
    pub(super) fn new(backoff: Backoff, retries: u32) -> Self {
        Self { backoff, retries, in_a_row: 0, of_closure: 0, of_reading: 0 }
    }

    /// Something failed; `chance`, in `0.0..1.0`, spreads the waits.
    pub(super) fn failed(&mut self, trouble: Trouble, chance: f64) -> Next {
        match trouble {
            Trouble::Lasting | Trouble::Fatal => return self.end(),
            Trouble::Processing if self.of_closure >= self.retries => return self.end(),
            Trouble::Processing => self.of_closure += 1,
            Trouble::Passing | Trouble::Unknown => {}
        }
        Next::Again(wait(self.backoff, &mut self.in_a_row, chance))
    }

    /// Nothing could be read.
    pub(super) fn failed_to_read(&mut self, trouble: Trouble, chance: f64) -> Next {
        match trouble {
            Trouble::Passing => Next::Again(wait(self.backoff, &mut self.of_reading, chance)),
            _ => self.end(),
        }
    }

    /// Something was read, or nothing is there to be.
    pub(super) fn read(&mut self) {
        self.of_reading = 0;
    }

    /// Whoever runs the loop anew after its end gets all chances anew.
    fn end(&mut self) -> Next {
        self.succeeded();
        Next::End
    }

    /// A transaction was committed.
    pub(super) fn succeeded(&mut self) {
        self.in_a_row = 0;
        self.of_closure = 0;
    }
}

fn wait(backoff: Backoff, failures: &mut u32, chance: f64) -> Duration {
    let wait = backoff.wait(*failures, chance);
    *failures = failures.saturating_add(1);
    wait
}

#[cfg(test)]
mod tests;
