//! What can go wrong with a transaction. Each class calls for something else, so each is a variant of its own.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{ClientError, DeliveryError, ErrorCode, FatalError, SendError};

/// Why something was not done in a transaction, by what to do next.
///
/// | variant | the transaction | what to do |
/// |---|---|---|
/// | `TimedOut` | goes on as it was asked to | wait for its end, which `TransactionalProducer::settle` and `begin` do |
/// | `Abortable` | can only be aborted; `commit` has done so | begin another and do the work again |
/// | `Fatal` | ends at the coordinator, not by this producer | close the producer; make a new one if that is right |
/// | `InDoubt` | was to be committed, and how it ended has not been asked for | `settle`, then go by the outcome |
/// | `NoGroup` | is unharmed | give the metadata of a consumer that has a group |
/// | `Closed` | ends at the coordinator; if it was being committed, how is not known | make a new producer |
///
/// ```
/// use milena::TransactionError;
///
/// fn next(error: &TransactionError) -> &'static str {
///     match error {
///         TransactionError::TimedOut(_) => "settle, then go by the outcome",
///         TransactionError::Abortable(_) => "go back to the committed offsets and begin again",
///         TransactionError::Fatal(_) => "somebody else may have taken over: stop",
///         _ => "other",
///     }
/// }
/// # let _ = next;
/// ```
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TransactionError {
    /// `max.block.ms` passed. What was asked for goes on in the background.
    #[error(transparent)]
    TimedOut(TransactionTimeout),
    /// The transaction cannot be committed, and the producer can go on after its abort.
    #[error(transparent)]
    Abortable(AbortableError),
    /// The producer cannot go on.
    #[error(transparent)]
    Fatal(FatalError),
    /// A commit timed out, or its future was dropped, and nobody has asked yet how it ended. To begin another transaction
    /// now could do the same work twice.
    #[error(
        "how the last commit ended has not been asked for: call settle, and go on by the outcome"
    )]
    InDoubt,
    /// The offsets are those of no group (`group.id`), so they cannot be committed.
    #[error(
        "offsets can be part of a transaction only if their consumer has a group: set group.id"
    )]
    NoGroup,
    /// The producer is closed.
    #[error("the transactional producer is closed")]
    Closed,
}

impl TransactionError {
    /// Whether the transaction may still end well without anything being done again: wait for its end by `settle`.
    pub fn is_retriable(&self) -> bool {
        matches!(self, Self::TimedOut(_) | Self::InDoubt)
    }

    /// Whether the transaction is, or has to be, aborted, after which the producer can go on.
    pub fn is_abortable(&self) -> bool {
        matches!(self, Self::Abortable(_))
    }

    /// Whether the producer is of no more use.
    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::Fatal(_) | Self::Closed)
    }
}

/// Something about a transaction took longer than `max.block.ms`. It goes on in the background.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{operation} was not done within max.block.ms={} ms and goes on; {}",
    waited.as_millis(),
    match operation {
        TransactionOperation::Commit => "whether the transaction commits is not known yet: call settle to wait for it",
        _ => "call again to wait longer",
    }
)]
#[non_exhaustive]
pub struct TransactionTimeout {
    /// What took so long.
    pub operation: TransactionOperation,
    /// How long it had (`max.block.ms`).
    pub waited: Duration,
}

/// What is done with transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransactionOperation {
    /// Getting the producer id and fencing earlier producers (Kafka's `initTransactions`).
    Init,
    /// Beginning a transaction, for which the one before has to end.
    Begin,
    /// Making consumed offsets part of it (Kafka's `sendOffsetsToTransaction`).
    SendOffsets,
    /// Committing it.
    Commit,
    /// Aborting it.
    Abort,
    /// Waiting for the end of the one before.
    Settle,
}

impl std::fmt::Display for TransactionOperation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Init => "initialising transactions",
            Self::Begin => "beginning a transaction",
            Self::SendOffsets => "sending offsets to the transaction",
            Self::Commit => "committing the transaction",
            Self::Abort => "aborting the transaction",
            Self::Settle => "ending the transaction",
        })
    }
}

/// Why a transaction can only be aborted. Cheap to clone.
#[derive(Debug, Clone, thiserror::Error)]
#[error(
    "the transaction has to be aborted: {0}. Its records and offsets are void: begin another one and send them again"
)]
pub struct AbortableError(Arc<AbortCause>);

impl AbortableError {
    pub(crate) fn new(cause: AbortCause) -> Self {
        Self(Arc::new(cause))
    }

    /// What happened first.
    pub fn cause(&self) -> &AbortCause {
        &self.0
    }

    /// The broker's error code, if that was it.
    pub fn code(&self) -> Option<ErrorCode> {
        match self.cause() {
            AbortCause::Delivery(error) => error.code(),
            AbortCause::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }
}

/// What forces an abort.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AbortCause {
    /// A record of the transaction was not delivered.
    #[error("a record was not delivered: {0}")]
    Delivery(DeliveryError),
    /// A record of the transaction was not accepted.
    #[error("a record was not accepted: {0}")]
    Send(SendError),
    /// A coordinator refused something. `ILLEGAL_GENERATION`, `UNKNOWN_MEMBER_ID`, `FENCED_INSTANCE_ID` and
    /// `STALE_MEMBER_EPOCH` mean that a rebalance has given the consumer's partitions to others (KIP-447).
    #[error("{api} for {subject} was refused: {code}")]
    #[non_exhaustive]
    Refused {
        /// The API.
        api: &'static str,
        /// The partition, group or transactional id that it was about.
        subject: String,
        /// What the coordinator said.
        code: ErrorCode,
    },
    /// A coordinator cannot be asked for something, such as because it is too old.
    #[error("{api} cannot be asked for: {error}")]
    #[non_exhaustive]
    Client {
        /// The API.
        api: &'static str,
        /// Why.
        error: ClientError,
    },
    /// The sending of offsets was dropped, or timed out, before it had begun.
    #[error("offsets were not sent: that was dropped, or had no time")]
    OffsetsUnsent,
    /// The transaction was aborted by its user, or dropped.
    #[error("it was aborted")]
    Aborted,
}

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransactionOutcome {
    /// All of its records and offsets are visible.
    Committed,
    /// None of them ever will be.
    Aborted,
}
