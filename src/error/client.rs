//! What can go wrong between the client and its cluster: names, connections, answers, metadata.
//!
//! Knows nothing of records. What a failure means for a record that was in the request is decided
//! above, with the help of [`ClientError::maybe_written`].

use super::ErrorCode;
use crate::types::{BrokerId, TopicPartition};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// A server that the client talks to, or tries to.
///
/// Displays as `broker 1 (host:9092)`, or `bootstrap server host:9092` while its broker id is not
/// known.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Peer(Arc<Named>);

#[derive(PartialEq, Eq, Hash)]
struct Named {
    id: Option<BrokerId>,
    host: String,
    port: u16,
}

impl Peer {
    pub(crate) fn new(id: Option<BrokerId>, host: &str, port: u16) -> Self {
        Self(Arc::new(Named { id, host: host.to_owned(), port }))
    }

    /// Its number in the cluster; `None` for an address from `bootstrap.servers`.
    pub fn id(&self) -> Option<BrokerId> {
        self.0.id
    }

    /// Its host, as in `bootstrap.servers` or as the broker advertises it.
    pub fn host(&self) -> &str {
        &self.0.host
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.0.port
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An IPv6 address would run into its port.
        let (open, close) = if self.host().contains(':') { ("[", "]") } else { ("", "") };
        let (host, port) = (self.host(), self.port());
        match self.id() {
            Some(id) => write!(f, "broker {id} ({open}{host}{close}:{port})"),
            None => write!(f, "bootstrap server {open}{host}{close}:{port}"),
        }
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The versions of an API that one side speaks, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VersionSpan {
    /// The lowest.
    pub min: i16,
    /// The highest.
    pub max: i16,
}

impl fmt::Display for VersionSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.min, self.max)
    }
}

/// Why a connection ended while a request was waiting on it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// The broker closed it, or something between did. It does so too when it refuses what it was
    /// sent.
    ClosedByPeer,
    /// As [`DisconnectReason::ClosedByPeer`], in the middle of an answer.
    ClosedMidResponse,
    /// As [`DisconnectReason::ClosedByPeer`], before it had answered anything. A listener that
    /// expects TLS or SASL does so.
    ClosedBeforeFirstAnswer,
    /// Reading or writing failed.
    Io {
        /// The kind of failure.
        kind: io::ErrorKind,
        /// The system's words for it.
        cause: Arc<str>,
    },
    /// A request on it took longer than it may; all behind it waited for the same answer.
    RequestTimedOut {
        /// The API of that request.
        api: &'static str,
        /// How long it had.
        after: Duration,
    },
    /// It had not been used for `connections.max.idle.ms`.
    Idle,
    /// What the broker sent could not be understood; the text says how.
    Protocol(Arc<str>),
    /// The client closed it.
    ClosedByClient,
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClosedByPeer => f.write_str("the other side closed the connection"),
            Self::ClosedMidResponse => {
                f.write_str("the other side closed the connection in the middle of a response")
            }
            Self::ClosedBeforeFirstAnswer => f.write_str(
                "the other side closed the connection without answering an ApiVersions request; \
                 check that the port is a Kafka listener without TLS and SASL",
            ),
            Self::Io { cause, .. } => write!(f, "{cause}"),
            Self::RequestTimedOut { api, after } => {
                write!(f, "the {api} request before it was not answered within {after:?}")
            }
            Self::Idle => f.write_str("the connection was idle for connections.max.idle.ms"),
            Self::Protocol(text) => f.write_str(text),
            Self::ClosedByClient => f.write_str("the client closed the connection"),
        }
    }
}

/// A failure between the client and its cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// A host name could not be resolved.
    #[error(
        "cannot resolve the name of {peer}: {cause}; check bootstrap.servers, the broker's \
         advertised.listeners, and DNS"
    )]
    #[non_exhaustive]
    Resolve {
        /// Whose name it is.
        peer: Peer,
        /// The resolver's words.
        cause: Arc<str>,
    },
    /// No address of a server accepted a connection.
    #[error("cannot connect to {peer}: {cause}; check that a broker listens there")]
    #[non_exhaustive]
    Connect {
        /// The server.
        peer: Peer,
        /// The kind of failure, such as [`io::ErrorKind::ConnectionRefused`].
        kind: io::ErrorKind,
        /// The system's words for each address.
        cause: Arc<str>,
    },
    /// A connection was not set up in time.
    #[error(
        "{peer} did not accept a connection within {after:?}; check the network and firewalls, or \
         raise socket.connection.setup.timeout.ms"
    )]
    #[non_exhaustive]
    SetupTimeout {
        /// The server.
        peer: Peer,
        /// How long it had (`socket.connection.setup.timeout.ms`, growing with failures).
        after: Duration,
    },
    /// The connection ended before the answer came.
    #[error(
        "lost the connection to {peer}: {reason}; the request {}",
        if *maybe_written { "may have been carried out" } else { "had not been sent" }
    )]
    #[non_exhaustive]
    Disconnected {
        /// The server.
        peer: Peer,
        /// Why it ended.
        reason: DisconnectReason,
        /// Whether any byte of the request may have left. If not, the broker has not seen it.
        maybe_written: bool,
    },
    /// The broker did not answer in time. The connection is closed.
    #[error(
        "{peer} did not answer a {api} request within {after:?}; it {}. Check the broker's load, \
         or raise request.timeout.ms",
        if *maybe_written { "may have been carried out" } else { "had not been sent" }
    )]
    #[non_exhaustive]
    RequestTimeout {
        /// The API of the request.
        api: &'static str,
        /// The server.
        peer: Peer,
        /// How long it had.
        after: Duration,
        /// Whether any byte of the request may have left.
        maybe_written: bool,
    },
    /// The broker and this client have no version of an API in common.
    #[error(
        "{peer} and this client share no version of {api}: the broker has {}, the client speaks \
         {client}; use a broker of 2.1 or later, or another release of this crate",
        broker.map_or_else(|| "none".to_owned(), |span| span.to_string())
    )]
    #[non_exhaustive]
    UnsupportedVersion {
        /// The API.
        api: &'static str,
        /// The server.
        peer: Peer,
        /// What the broker has; `None` if it does not have the API at all.
        broker: Option<VersionSpan>,
        /// What this client has.
        client: VersionSpan,
    },
    /// The server answers in another protocol.
    #[error(
        "{peer} answered in {protocol}, not in Kafka's protocol; check the port, and whether the \
         listener expects TLS"
    )]
    #[non_exhaustive]
    NotKafka {
        /// The server.
        peer: Peer,
        /// What it seems to speak: `HTTP`, `TLS`, `SSH`.
        protocol: &'static str,
    },
    /// The server announced an answer larger than accepted. The connection is closed.
    #[error(
        "{peer} announced a response of {len} bytes, and at most {max} are accepted; if it is a \
         Kafka broker, raise receive.message.max.bytes"
    )]
    #[non_exhaustive]
    FrameTooLarge {
        /// The server.
        peer: Peer,
        /// The announced length.
        len: u64,
        /// The limit: `receive.message.max.bytes`, less before the server has shown that it speaks
        /// Kafka.
        max: u64,
    },
    /// The server answered a request that was not its turn. The connection is closed.
    #[error(
        "{peer} answered request {got}, and {} was due; the connection cannot be trusted and was \
         closed",
        expected.map_or_else(|| "none".to_owned(), |id| format!("request {id}"))
    )]
    #[non_exhaustive]
    CorrelationMismatch {
        /// The server.
        peer: Peer,
        /// The request whose answer was due, if any.
        expected: Option<i32>,
        /// The request that the answer names.
        got: i32,
    },
    /// An answer could not be understood. The connection is closed.
    #[error("cannot understand what {peer} sent: {cause}; the connection was closed")]
    #[non_exhaustive]
    Decode {
        /// The server.
        peer: Peer,
        /// Where and what.
        cause: Arc<str>,
    },
    /// A request cannot be written in the version that the broker speaks.
    #[error("cannot write a {api} request for {peer}: {cause}")]
    #[non_exhaustive]
    Encode {
        /// The API.
        api: &'static str,
        /// The server.
        peer: Peer,
        /// Which field and why.
        cause: Arc<str>,
    },
    /// The broker answered with an error code.
    #[error(
        "{api} failed{}: {code}{}",
        subject.as_ref().map_or_else(String::new, |subject| format!(" for {subject}")),
        message.as_ref().map_or_else(String::new, |message| format!(" ({message})"))
    )]
    #[non_exhaustive]
    Broker {
        /// Kafka's code.
        code: ErrorCode,
        /// The API that answered so.
        api: &'static str,
        /// What the code is about, such as the topic.
        subject: Option<Arc<str>>,
        /// The broker's own words, if it sent any.
        message: Option<Arc<str>>,
    },
    /// The metadata of a topic, or of the cluster, did not come in time.
    #[error(
        "no metadata of {} within {waited:?}; {}",
        topic.as_ref().map_or_else(|| "the cluster".to_owned(), |topic| format!("topic '{topic}'")),
        last.as_ref().map_or_else(
            || "no broker has answered yet".to_owned(),
            |last| format!("last error: {last}")
        )
    )]
    #[non_exhaustive]
    MetadataTimeout {
        /// The topic; `None` if the cluster as a whole was waited for.
        topic: Option<Arc<str>>,
        /// How long.
        waited: Duration,
        /// What went wrong last: an error code for the topic, or why no broker could be asked.
        last: Option<Arc<ClientError>>,
    },
    /// A server has been asked and has not answered yet: what a wait that was shorter than the
    /// time-outs of connections and requests ends in.
    #[error(
        "{peer} has neither answered nor refused for {waited:?}; check that it is a Kafka broker \
         and can be reached"
    )]
    #[non_exhaustive]
    NoAnswerYet {
        /// The server.
        peer: Peer,
        /// How long ago it was asked.
        waited: Duration,
    },
    /// A broker is not in the metadata (any more).
    #[error("broker {id} is not in the cluster's metadata; it may have been removed")]
    UnknownBroker {
        /// The broker.
        id: BrokerId,
    },
    /// A partition is not in its topic's metadata, or has no leader at the moment.
    #[error("partition {partition} has no known leader; check that its brokers are up")]
    NoLeader {
        /// The partition.
        partition: TopicPartition,
    },
    /// The client was closed.
    #[error("the client is closed")]
    Closed,
}

impl ClientError {
    /// Whether trying again may help: the failure lies in a connection, or the broker's code says
    /// so.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::UnsupportedVersion { .. } | Self::Encode { .. } | Self::Closed => false,
            Self::Broker { code, .. } => code.is_retriable(),
            _ => true,
        }
    }

    /// Whether the broker may have carried out the request that failed.
    ///
    /// `false` only if no byte of it left, or if the broker refused it by an error code; what such
    /// a code says of records in the request is for the producer to judge.
    pub fn maybe_written(&self) -> bool {
        match self {
            Self::Disconnected { maybe_written, .. }
            | Self::RequestTimeout { maybe_written, .. } => *maybe_written,
            // The request may have been what was not answered.
            Self::NoAnswerYet { .. }
            | Self::NotKafka { .. }
            | Self::FrameTooLarge { .. }
            | Self::CorrelationMismatch { .. }
            | Self::Decode { .. } => true,
            _ => false,
        }
    }

    /// Whether the failure suggests that the cluster has changed, so that metadata should be
    /// fetched.
    pub(crate) fn refreshes_metadata(&self) -> bool {
        match self {
            Self::Broker { code, .. } => code.refreshes_metadata(),
            Self::UnsupportedVersion { .. } | Self::Encode { .. } | Self::Closed => false,
            _ => true,
        }
    }
}
