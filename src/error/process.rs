//! What ends the read-process-write loop, or keeps it from starting.

use std::time::Duration;

use super::{ConfigError, ConsumerError, TransactionError};

/// Why [`ExactlyOnce::run`](crate::ExactlyOnce::run) has ended. `E` is the error of the application's closure.
///
/// The transaction that was open is aborted, or will be: nothing of it will be visible. The exception is a fatal error of a
/// commit that was on its way, see [`TransactionError`].
///
/// | variant | what to do |
/// |---|---|
/// | `Processing`, `TooSlow` | correct what processes, or [run](crate::ExactlyOnce::run) again: it begins with the same records |
/// | `Consumer` | as [`ConsumerError`] says, such as a seek; then run again |
/// | `Transaction` | if it [is fatal](TransactionError::is_fatal), stop: somebody else may have taken over. Otherwise run again |
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ExactlyOnceError<E> {
    /// The closure failed, as often as is allowed.
    #[error("a batch could not be processed, and its transaction was aborted: {0}")]
    Processing(E),
    /// The closure took too long, as often as is allowed.
    #[error(
        "a batch was not processed within {limit:?}, and its transaction was aborted; lower max.poll.records, or raise the \
         time limit, and transaction.timeout.ms with it"
    )]
    #[non_exhaustive]
    TooSlow {
        /// How long it had.
        limit: Duration,
    },
    /// Records cannot be read, or the consumer is no member of its group any more.
    #[error(transparent)]
    Consumer(ConsumerError),
    /// No transaction can be committed.
    #[error(transparent)]
    Transaction(TransactionError),
}

impl<E> ExactlyOnceError<E> {
    /// Whether the producer is of no more use: it was fenced, or refused for good.
    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::Transaction(error) if error.is_fatal())
    }
}

/// Why an [`ExactlyOnce`](crate::ExactlyOnce) could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExactlyOnceStartError {
    /// The configurations do not go together, or break what exactly-once takes.
    #[error("exactly once is not possible with this configuration: {0}")]
    Config(#[source] ConfigError),
    /// The topics cannot be subscribed to.
    #[error(transparent)]
    Consumer(ConsumerError),
    /// Transactions could not be initialised.
    #[error(transparent)]
    Transaction(TransactionError),
}
