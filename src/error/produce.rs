//! What a send can end in: refused before it was buffered ([`SendError`]), or accepted and then not delivered
//! ([`DeliveryError`]). The second says whether the record may be in the log all the same. [`ProduceError`] is either.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::AbortableError;
use crate::error::ClientError;
use crate::error::ErrorCode;
use crate::error::SerializationError;
use crate::types::TopicPartition;

/// Why a record was not accepted. Nothing of it was buffered, and it will not be sent.
///
/// | what to do | errors |
/// |---|---|
/// | correct the record | `InvalidTopic`, `InvalidPartition`, `InvalidTimestamp`, `Serialization`, `RecordTooLarge` |
/// | send again later, or slower ([`is_retriable`](Self::is_retriable)) | `BufferFull`, `MetadataTimeout`, `PartitionTimeout` |
/// | correct the partitioner | `InvalidPartition`, `PartitionerPanicked` |
/// | ask who runs the cluster | `Metadata`: the topic may not be seen, or not be written to |
/// | abort the transaction, and begin another | `Transaction` |
/// | make a new producer ([`is_fatal`](Self::is_fatal)) | `Closed`, `Fatal` |
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The topic's name cannot exist: empty, `.`, `..`, longer than 249 characters, or with a character other than
    /// letters, digits, `.`, `_` and `-`.
    #[error(
        "{topic:?} is not a legal topic name: use 1 to 249 of a-z, A-Z, 0-9, '.', '_' and '-', but not '.' or '..'"
    )]
    InvalidTopic {
        /// The name as it was given.
        topic: String,
    },
    /// The record names a partition that no topic can have, or the producer's [`Partitioner`](crate::Partitioner) chose
    /// one that the topic does not have.
    #[error(
        "topic {topic} has no partition {partition}: {}partitions are numbered from 0",
        count.map(|count| format!("it has {count}, and ")).unwrap_or_default()
    )]
    InvalidPartition {
        /// The topic.
        topic: String,
        /// The partition asked for.
        partition: i32,
        /// How many partitions the topic has; `None` if the number is negative and the topic need not be known.
        count: Option<usize>,
    },
    /// A serializer failed, or panicked.
    #[error(transparent)]
    Serialization(SerializationError),
    /// The producer's [`Partitioner`](crate::Partitioner) panicked on the record. The producer is unharmed.
    #[error("the partitioner panicked on a record for topic {topic}: {message}")]
    PartitionerPanicked {
        /// The topic.
        topic: String,
        /// What the panic said, if it was text.
        message: String,
    },
    /// The record's timestamp is negative.
    #[error("timestamp {timestamp} is negative: give milliseconds since 1970-01-01T00:00Z")]
    InvalidTimestamp {
        /// The timestamp as it was given.
        timestamp: i64,
    },
    /// The record is larger than a request, or than all memory for records, may ever be.
    #[error(
        "the record is {size} bytes when serialized, more than {property}={max}: make it smaller or raise {property}"
    )]
    RecordTooLarge {
        /// Serialized size in bytes, batch header included.
        size: usize,
        /// The value of the property that it exceeds, in bytes.
        max: usize,
        /// `max.request.size` or `buffer.memory`.
        property: &'static str,
    },
    /// `max.block.ms` passed while other records held all of `buffer.memory`. Send slower, or again later.
    #[error(
        "Failed to allocate {needed} bytes within the configured max blocking time {} ms. \
         Total memory: {total} bytes. Available memory: {available} bytes.",
        waited.as_millis()
    )]
    BufferFull {
        /// Bytes that the record's batch needed.
        needed: usize,
        /// How long the send may wait (`max.block.ms`; zero for `try_send`).
        waited: Duration,
        /// `buffer.memory` in bytes.
        total: usize,
        /// Bytes that were free when the send gave up.
        available: usize,
    },
    /// `max.block.ms` passed and the topic's partitions are still not known.
    #[error("Topic {topic} not present in metadata after {} ms.{}", waited.as_millis(), cause(last))]
    MetadataTimeout {
        /// The topic.
        topic: String,
        /// How long the send waited (`max.block.ms`; zero for `try_send`).
        waited: Duration,
        /// What the brokers, or the attempts to reach one, last answered.
        last: Option<Box<ClientError>>,
    },
    /// `max.block.ms` passed, and the topic still has no partition of the number that the record names. Partitions that
    /// are added to a topic show when its metadata are fetched next; the send asked for that.
    #[error(
        "Partition {partition} of topic {topic} with partition count {count} is not present in metadata after {} ms.",
        waited.as_millis()
    )]
    PartitionTimeout {
        /// The topic.
        topic: String,
        /// The partition asked for.
        partition: i32,
        /// How many partitions the topic has.
        count: usize,
        /// How long the send waited (`max.block.ms`; zero for `try_send`).
        waited: Duration,
    },
    /// The topic's partitions are not known, and the reason will not go away by waiting.
    #[error("metadata of topic {topic} cannot be had: {cause}")]
    Metadata {
        /// The topic.
        topic: String,
        /// The reason.
        cause: Box<ClientError>,
    },
    /// The producer was closed, or is closing. Make a new one.
    #[error("the producer is closed")]
    Closed,
    /// An earlier error ended this producer: close it and make a new one.
    #[error("the producer can send no more, because of an earlier error: {0}")]
    Fatal(FatalError),
    /// An earlier error ended the transaction: abort it, begin another and send its records again.
    #[error("the transaction takes no more records: {0}")]
    Transaction(AbortableError),
}

impl SendError {
    /// Whether the same record may be accepted when it is sent again later.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::BufferFull { .. }
            | Self::MetadataTimeout { .. }
            | Self::PartitionTimeout { .. } => true,
            Self::Metadata { cause, .. } => cause.is_retriable(),
            Self::InvalidTopic { .. }
            | Self::InvalidPartition { .. }
            | Self::PartitionerPanicked { .. }
            | Self::InvalidTimestamp { .. }
            | Self::Serialization(_)
            | Self::RecordTooLarge { .. }
            | Self::Closed
            | Self::Transaction(_)
            | Self::Fatal(_) => false,
        }
    }

    /// Whether the producer itself is of no more use.
    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::Closed | Self::Fatal(_))
    }
}

fn cause(last: &Option<Box<ClientError>>) -> String {
    last.as_ref().map(|e| format!(" Last error: {e}")).unwrap_or_default()
}

/// A producer's close ran out of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the producer was closed, but within {timeout:?} {batches} batch(es) of records had not ended and failed{}; \
     give close more time, or flush first",
    if *transaction { ", and the end of its transaction is left to the coordinator" } else { "" }
)]
#[non_exhaustive]
pub struct CloseError {
    /// How long the close had.
    pub timeout: Duration,
    /// How many batches failed for it; their deliveries and callbacks tell which records.
    pub batches: usize,
    /// Whether the end of a transaction was not known yet: of one whose commit had timed out, or that was aborted. The
    /// coordinator ends it, at the latest after `transaction.timeout.ms`.
    pub transaction: bool,
}

/// An error after which an idempotent producer must not write again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the broker refused the producer: {code}: {}", explain(*code))]
#[non_exhaustive]
pub struct FatalError {
    /// What the broker said.
    pub code: ErrorCode,
}

fn explain(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::UNSUPPORTED_VERSION => "The brokers do not offer idempotence or transactions.",
        code => code.description(),
    }
}

/// Whether a record that failed may be in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Persistence {
    /// It is not in the log and never will be: sending it again makes no duplicate.
    NotWritten,
    /// It may have been written: a request that carried it was not answered, or not with a refusal.
    MaybeWritten,
}

/// Why an accepted record was not acknowledged. Cheap to clone.
///
/// What to do depends on three things:
/// - [`persistence`](Self::persistence): after `NotWritten` the record can be sent again, or kept for later, without
///   making a duplicate; after `MaybeWritten` that is for the application to decide.
/// - [`is_retriable`](Self::is_retriable): whether sending it again may succeed as things are. The producer has tried
///   as long as `retries` and `delivery.timeout.ms` allow.
/// - [`is_fatal`](Self::is_fatal): whether the producer is of no more use. Close it and make a new one.
///
/// The classes of errors can be matched on:
///
/// ```
/// use milena::{Cause, DeliveryError, DeliveryErrorKind, ErrorCode};
///
/// fn class(error: &DeliveryError) -> &'static str {
///     match (error.kind(), error.last_error()) {
///         (DeliveryErrorKind::TimedOut { .. }, Some(Cause::Broker(code, _)))
///             if code.refreshes_metadata() => "time-out during a leader election",
///         (DeliveryErrorKind::TimedOut { .. }, _) => "time-out",
///         (DeliveryErrorKind::Refused(ErrorCode::MESSAGE_TOO_LARGE), _) => "broker's size limit",
///         (DeliveryErrorKind::Refused(ErrorCode::TOPIC_AUTHORIZATION_FAILED), _) => "not allowed",
///         (DeliveryErrorKind::Fatal(_), _) => "make a new producer",
///         _ => "other",
///     }
/// }
/// # let _ = class;
/// ```
#[derive(Clone)]
pub struct DeliveryError(Arc<Failure>);

#[derive(Debug)]
struct Failure {
    topic_partition: TopicPartition,
    kind: DeliveryErrorKind,
    persistence: Persistence,
    attempts: u32,
    elapsed: Duration,
    last: Option<Cause>,
}

/// What ended the record.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeliveryErrorKind {
    /// `delivery.timeout.ms` passed. Send again if the record is still wanted.
    TimedOut {
        /// How many records expired together with it.
        records: usize,
    },
    /// The broker refused it, with an error that is not retriable or after the last of `retries`.
    Refused(ErrorCode),
    /// The connection failed, and no retry was left.
    Disconnected,
    /// The leader cannot be sent the batch; [`DeliveryError::last_error`] says why, such as that it speaks no version
    /// that this client does.
    Unsendable,
    /// The batch could not be compressed.
    Compression {
        /// What the codec said.
        reason: String,
    },
    /// The producer was closed, with a time-out, before the record was acknowledged.
    Closed,
    /// The transaction that it belongs to was aborted: nobody who reads committed records will see it.
    Aborted,
    /// The producer ended by a fatal error: close it and make a new one.
    Fatal(FatalError),
}

/// The last thing that went wrong with a batch before it ended.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Cause {
    /// A broker's answer.
    Broker(ErrorCode, Option<String>),
    /// The way to the broker.
    Client(ClientError),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broker(code, None) => fmt::Display::fmt(code, f),
            Self::Broker(code, Some(message)) => write!(f, "{code} ({message})"),
            Self::Client(error) => fmt::Display::fmt(error, f),
        }
    }
}

/// What a batch has been through when it fails.
#[derive(Debug, Clone)]
pub(crate) struct History {
    pub(crate) attempts: u32,
    pub(crate) elapsed: Duration,
    pub(crate) last: Option<Cause>,
}

impl DeliveryError {
    pub(crate) fn new(
        topic_partition: TopicPartition,
        kind: DeliveryErrorKind,
        persistence: Persistence,
        history: History,
    ) -> Self {
        let History { attempts, elapsed, last } = history;
        Self(Arc::new(Failure { topic_partition, kind, persistence, attempts, elapsed, last }))
    }

    /// Where the record was going.
    pub fn topic_partition(&self) -> &TopicPartition {
        &self.0.topic_partition
    }

    /// What ended it.
    pub fn kind(&self) -> &DeliveryErrorKind {
        &self.0.kind
    }

    /// Whether it may be in the log.
    pub fn persistence(&self) -> Persistence {
        self.0.persistence
    }

    /// How often its batch was sent.
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// How long after its batch was begun it ended.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed
    }

    /// The last thing that went wrong before, if anything was heard.
    pub fn last_error(&self) -> Option<&Cause> {
        self.0.last.as_ref()
    }

    /// The broker's error code that ended it, or that came last before it ended.
    pub fn code(&self) -> Option<ErrorCode> {
        match (&self.0.kind, &self.0.last) {
            (DeliveryErrorKind::Refused(code), _)
            | (DeliveryErrorKind::Fatal(FatalError { code }), _)
            | (_, Some(Cause::Broker(code, _))) => Some(*code),
            _ => None,
        }
    }

    /// Whether the same record may be delivered when it is sent again.
    pub fn is_retriable(&self) -> bool {
        match &self.0.kind {
            DeliveryErrorKind::TimedOut { .. } | DeliveryErrorKind::Disconnected => true,
            DeliveryErrorKind::Refused(code) => code.is_retriable(),
            DeliveryErrorKind::Unsendable
            | DeliveryErrorKind::Compression { .. }
            | DeliveryErrorKind::Closed
            | DeliveryErrorKind::Aborted
            | DeliveryErrorKind::Fatal(_) => false,
        }
    }

    /// Whether the producer itself is of no more use.
    pub fn is_fatal(&self) -> bool {
        matches!(self.0.kind, DeliveryErrorKind::Fatal(_))
    }
}

impl fmt::Debug for DeliveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeliveryError")
            .field("topic_partition", &self.0.topic_partition)
            .field("kind", &self.0.kind)
            .field("persistence", &self.0.persistence)
            .field("attempts", &self.0.attempts)
            .field("elapsed", &self.0.elapsed)
            .field("last", &self.0.last)
            .finish()
    }
}

impl fmt::Display for DeliveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tp = &self.0.topic_partition;
        match &self.0.kind {
            DeliveryErrorKind::TimedOut { records } => write!(
                f,
                "Expiring {records} record(s) for {tp}:{} ms has passed since batch creation",
                self.0.elapsed.as_millis()
            )?,
            DeliveryErrorKind::Refused(code) => write!(f, "{tp} refused the record: {code}")?,
            DeliveryErrorKind::Disconnected => write!(f, "the leader of {tp} disconnected")?,
            DeliveryErrorKind::Unsendable => {
                write!(f, "the leader of {tp} cannot be sent the record")?
            }
            DeliveryErrorKind::Compression { reason } => {
                write!(f, "the batch for {tp} could not be compressed: {reason}")?;
            }
            DeliveryErrorKind::Closed => {
                write!(f, "the producer was closed before {tp} acknowledged the record")?;
            }
            DeliveryErrorKind::Aborted => {
                write!(f, "the transaction was aborted before {tp} acknowledged the record")?;
            }
            DeliveryErrorKind::Fatal(error) => write!(f, "{tp}: {error}; make a new producer")?,
        }
        match (&self.0.kind, &self.0.last) {
            // Said already, but for the broker's own words.
            (DeliveryErrorKind::Refused(code), Some(Cause::Broker(last, message)))
                if code == last =>
            {
                if let Some(message) = message {
                    write!(f, ": {message}")?;
                }
            }
            (_, Some(last)) => write!(f, "; last error: {last}")?,
            (_, None) => {}
        }
        let written = match self.0.persistence {
            Persistence::NotWritten => "the record was not written",
            Persistence::MaybeWritten => "the record may have been written",
        };
        write!(f, " ({written}; {} attempt(s))", self.0.attempts)
    }
}

impl std::error::Error for DeliveryError {}

/// Why a record did not reach the log, wherever that was decided: what
/// [`Producer::send_and_wait`](crate::Producer::send_and_wait) ends in, and what interceptors are told.
#[derive(Debug, Clone, thiserror::Error)]
#[error(transparent)]
pub enum ProduceError {
    /// Before sending: nothing was buffered.
    Send(#[from] SendError),
    /// While sending.
    Delivery(#[from] DeliveryError),
}

impl ProduceError {
    /// Whether the record may be in the log.
    pub fn persistence(&self) -> Persistence {
        match self {
            Self::Send(_) => Persistence::NotWritten,
            Self::Delivery(error) => error.persistence(),
        }
    }

    /// Whether sending the same record again may succeed.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Send(error) => error.is_retriable(),
            Self::Delivery(error) => error.is_retriable(),
        }
    }

    /// Whether the producer itself is of no more use.
    pub fn is_fatal(&self) -> bool {
        match self {
            Self::Send(error) => error.is_fatal(),
            Self::Delivery(error) => error.is_fatal(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(kind: DeliveryErrorKind, last: Option<Cause>) -> DeliveryError {
        let history = History { attempts: 3, elapsed: Duration::from_millis(120_038), last };
        DeliveryError::new(TopicPartition::new("cpu0", 0), kind, Persistence::MaybeWritten, history)
    }

    /// The texts that operators know from Java's client.
    /// It is moved with each delivery, which has 40 bytes.
    #[test]
    fn a_send_error_is_small() {
        assert!(size_of::<SendError>() <= 56, "{}", size_of::<SendError>());
    }

    #[test]
    fn texts_are_those_of_the_java_client() {
        let waited = Duration::from_secs(60);
        let full = SendError::BufferFull {
            needed: 943_805,
            waited,
            total: 33_554_432,
            available: 521_257,
        };
        assert_eq!(
            full.to_string(),
            "Failed to allocate 943805 bytes within the configured max blocking time 60000 ms. \
             Total memory: 33554432 bytes. Available memory: 521257 bytes."
        );
        let topic = || "x".to_owned();
        let unknown = SendError::MetadataTimeout { topic: topic(), waited, last: None };
        assert_eq!(unknown.to_string(), "Topic x not present in metadata after 60000 ms.");
        let few = SendError::PartitionTimeout { topic: topic(), partition: 7, count: 3, waited };
        assert_eq!(
            few.to_string(),
            "Partition 7 of topic x with partition count 3 is not present in metadata after 60000 ms."
        );
        let code = ErrorCode::NOT_LEADER_OR_FOLLOWER;
        let last = Some(Cause::Broker(code, None));
        let expired = failed(DeliveryErrorKind::TimedOut { records: 15 }, last);
        assert_eq!(
            expired.to_string(),
            "Expiring 15 record(s) for cpu0-0:120038 ms has passed since batch creation; \
             last error: NOT_LEADER_OR_FOLLOWER (the record may have been written; 3 attempt(s))"
        );
        assert_eq!(expired.code(), Some(code));
    }

    #[test]
    fn a_code_is_told_wherever_it_came_from() {
        let code = ErrorCode::MESSAGE_TOO_LARGE;
        assert_eq!(failed(DeliveryErrorKind::Refused(code), None).code(), Some(code));
        let fatal = FatalError { code: ErrorCode::INVALID_PRODUCER_EPOCH };
        let other = Some(Cause::Broker(code, None));
        let error = failed(DeliveryErrorKind::Fatal(fatal.clone()), other);
        assert_eq!((error.code(), error.is_fatal()), (Some(fatal.code), true));
        let unheard = Some(Cause::Client(ClientError::Closed));
        assert_eq!(failed(DeliveryErrorKind::Disconnected, unheard).code(), None);
    }

    /// What to do next is the same whichever of the two errors it is in.
    #[test]
    fn either_error_says_what_to_do() {
        let sent = ProduceError::from(SendError::Closed);
        assert_eq!(sent.persistence(), Persistence::NotWritten);
        assert!(sent.is_fatal() && !sent.is_retriable());
        let lost = ProduceError::from(failed(DeliveryErrorKind::Disconnected, None));
        assert_eq!(lost.persistence(), Persistence::MaybeWritten);
        assert!(!lost.is_fatal() && lost.is_retriable());
        let cause = ClientError::Closed;
        let hidden = SendError::Metadata { topic: "x".to_owned(), cause: Box::new(cause) };
        assert!(!hidden.is_retriable() && !hidden.is_fatal());
    }
}
