//! Why a call of an administrator failed, for one of the things that it was about.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{ClientError, ErrorCode};
use crate::types::BrokerId;

/// Why an [`Admin`](crate::admin::Admin) could not do, or tell, what it was asked to about one
/// transactional id, partition or broker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// A broker refused.
    #[error("{api} was refused for {subject}: {code} ({}){}", Said(*code, message), Advice(*code))]
    #[non_exhaustive]
    Refused {
        /// What was asked, such as `DescribeTransactions`.
        api: &'static str,
        /// What it was about, such as `transactional id 'billing'`.
        subject: Arc<str>,
        /// Kafka's code.
        code: ErrorCode,
        /// The broker's own words, if it sent any.
        message: Option<Arc<str>>,
    },
    /// No broker could be asked, for a reason that does not pass, or because none was found in time.
    #[error("cannot ask about {subject}: {cause}")]
    #[non_exhaustive]
    Client {
        /// What it was about.
        subject: Arc<str>,
        /// What stood in the way.
        cause: Arc<ClientError>,
    },
    /// It took longer than `default.api.timeout.ms`. What was to be done may still happen.
    #[error(
        "no answer about {subject} within {waited:?}{}{}; check that its brokers are up, or raise \
         default.api.timeout.ms",
        broker.map_or_else(String::new, |id| format!(", in the end from broker {id}")),
        last.as_ref().map_or_else(String::new, |last| format!("; before that: {last}"))
    )]
    #[non_exhaustive]
    TimedOut {
        /// What it was about.
        subject: Arc<str>,
        /// How long.
        waited: Duration,
        /// The broker that was to answer; `None` if it was not known which.
        broker: Option<BrokerId>,
        /// Why the last attempt failed, if there was one.
        last: Option<Arc<AdminError>>,
    },
    /// A broker is too old for a part of a filter. It was not asked.
    #[error(
        "{subject} cannot filter transactions by {filter}, which came with {since}; leave it out, \
         and choose among the results"
    )]
    #[non_exhaustive]
    UnsupportedFilter {
        /// The broker.
        subject: Arc<str>,
        /// Which part: `duration` or `pattern`.
        filter: &'static str,
        /// Since when brokers have it.
        since: &'static str,
    },
    /// An empty text was given for a transactional id.
    #[error("a transactional id is not empty; give what the producer has as transactional.id")]
    EmptyTransactionalId,
}

impl AdminError {
    /// Whether the same call may succeed later.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Refused { code, .. } => code.is_retriable(),
            Self::Client { cause, .. } => cause.is_retriable(),
            Self::TimedOut { .. } => true,
            Self::UnsupportedFilter { .. } | Self::EmptyTransactionalId => false,
        }
    }

    /// The broker's code, if a broker refused. Of a call that took too long, the last one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            Self::TimedOut { last, .. } => last.as_ref()?.code(),
            _ => None,
        }
    }
}

/// What a code means: in the broker's words, or else in those of the table.
struct Said<'a>(ErrorCode, &'a Option<Arc<str>>);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.1.as_deref().unwrap_or(self.0.description()))
    }
}

/// What to do about a code.
struct Advice(ErrorCode);

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let advice = match self.0 {
            ErrorCode::TRANSACTIONAL_ID_NOT_FOUND => {
                "; no producer has used it, or not for the brokers' transactional.id.expiration.ms"
            }
            ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED => {
                "; it takes the DESCRIBE permission on the transactional id, and to fence, WRITE"
            }
            ErrorCode::CLUSTER_AUTHORIZATION_FAILED => {
                "; it takes the DESCRIBE permission on the cluster"
            }
            ErrorCode::TOPIC_AUTHORIZATION_FAILED => "; it takes the READ permission on the topic",
            ErrorCode::INVALID_TRANSACTION_TIMEOUT => {
                "; producers are fenced with request.timeout.ms as the time-out of transactions: \
                 set it to no more than the brokers' transaction.max.timeout.ms"
            }
            ErrorCode::INVALID_REGULAR_EXPRESSION => "; patterns are in the syntax of RE2",
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => "; check the name and the number",
            code if code.is_retriable() => "; try again",
            _ => return Ok(()),
        };
        f.write_str(advice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_says_what_where_and_what_to_do() {
        let refused = |code| AdminError::Refused {
            api: "DescribeTransactions",
            subject: "transactional id 'x'".into(),
            code,
            message: None,
        };
        let unknown = refused(ErrorCode::TRANSACTIONAL_ID_NOT_FOUND);
        let said = unknown.to_string();
        for part in ["DescribeTransactions", "'x'", "TRANSACTIONAL_ID_NOT_FOUND", "expiration"] {
            assert!(said.contains(part), "{said}");
        }
        assert!(!unknown.is_retriable());
        let passing = refused(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS);
        assert!(passing.is_retriable() && passing.to_string().ends_with("try again"), "{passing}");

        let late = AdminError::TimedOut {
            subject: "partition t-0".into(),
            waited: Duration::from_secs(60),
            broker: Some(BrokerId(3)),
            last: Some(Arc::new(passing.clone())),
        };
        let said = late.to_string();
        for part in ["t-0", "60s", "broker 3", "COORDINATOR_LOAD", "default.api.timeout.ms"] {
            assert!(said.contains(part), "{said}");
        }
        assert_eq!((late.code(), late.is_retriable()), (passing.code(), true));
    }
}
