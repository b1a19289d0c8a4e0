//! The one table of Kafka's error codes: number, name, what kind of answer it calls for, meaning.
//!
//! It states how a code is classed in general. What a producer does with a batch depends on more
//! (sequences, attempts, transactions) and is decided there.

use std::fmt;

/// An error code of Kafka's protocol, as brokers answer it.
///
/// A code that is newer than this table keeps its number, and is neither retriable nor fatal.
///
/// Displays as Kafka's name for it, such as `NOT_LEADER_OR_FOLLOWER`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ErrorCode(i16);

/// What a code calls for. As in the Java client, a retriable code outlasts no time-out, and in a
/// transaction every code that is neither retried nor fatal forces an abort.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Nothing: the request had its effect.
    Settled,
    /// Try again.
    Retry,
    /// Try again with newer metadata (Kafka's `InvalidMetadataException`).
    Refresh,
    /// Fail the operation; abort the transaction that it belongs to.
    Abort,
    /// Give the producer up.
    Fatal,
}

macro_rules! error_codes {
    ($($number:literal $name:ident $class:ident $text:literal;)*) => {
        impl ErrorCode {
            $(
                #[doc = $text]
                pub const $name: Self = Self($number);
            )*

            /// Every code in the table, in order of number.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            const fn entry(self) -> Option<(&'static str, Class, &'static str)> {
                match self.0 {
                    $($number => Some((stringify!($name), class!($class), $text)),)*
                    _ => None,
                }
            }
        }
    };
}

macro_rules! class {
    (settled) => {
        Class::Settled
    };
    (retry) => {
        Class::Retry
    };
    (refresh) => {
        Class::Refresh
    };
    (abort) => {
        Class::Abort
    };
    (fatal) => {
        Class::Fatal
    };
}

impl ErrorCode {
    /// The code of a number, whether it is in the table or not.
    pub const fn new(number: i16) -> Self {
        Self(number)
    }

    /// The number on the wire; 0 is no error.
    pub const fn code(self) -> i16 {
        self.0
    }

    /// Kafka's name, or `"UNKNOWN_ERROR_CODE"` for a number that is not in the table.
    pub const fn name(self) -> &'static str {
        match self.entry() {
            Some((name, _, _)) => name,
            None => "UNKNOWN_ERROR_CODE",
        }
    }

    /// What the code means, in a sentence.
    pub const fn description(self) -> &'static str {
        match self.entry() {
            Some((_, _, text)) => text,
            None => "The broker answered with an error code that this client does not know.",
        }
    }

    /// Whether it is in the table.
    pub const fn is_known(self) -> bool {
        self.entry().is_some()
    }

    /// Whether this is [`ErrorCode::NONE`].
    pub const fn is_ok(self) -> bool {
        self.0 == 0
    }

    /// Whether the same request may succeed later (Kafka's `RetriableException`).
    pub const fn is_retriable(self) -> bool {
        matches!(self.class(), Class::Retry | Class::Refresh)
    }

    /// Whether the client's metadata is out of date (Kafka's `InvalidMetadataException`); such a
    /// code is retriable.
    pub const fn refreshes_metadata(self) -> bool {
        matches!(self.class(), Class::Refresh)
    }

    /// Whether a transaction in which a batch ends with this code has to be aborted, after which
    /// its producer may go on.
    pub const fn is_abortable(self) -> bool {
        matches!(self.class(), Class::Abort)
    }

    /// Whether a producer that keeps an identity (idempotent or transactional) cannot go on after
    /// this code.
    pub const fn is_fatal(self) -> bool {
        matches!(self.class(), Class::Fatal)
    }

    const fn class(self) -> Class {
        match self.entry() {
            Some((_, class, _)) => class,
            None => Class::Abort,
        }
    }
}

impl From<i16> for ErrorCode {
    fn from(number: i16) -> Self {
        Self(number)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.entry() {
            Some((name, _, _)) => f.write_str(name),
            None => write!(f, "{}({})", self.name(), self.0),
        }
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

error_codes! {
    -1 UNKNOWN_SERVER_ERROR abort "The broker failed in a way that has no code of its own; its log says more.";
    0 NONE settled "No error.";
    1 OFFSET_OUT_OF_RANGE abort "The offset lies outside what the partition's log still holds.";
    2 CORRUPT_MESSAGE retry "A record batch has a wrong CRC or size, or a null key in a compacted topic.";
    3 UNKNOWN_TOPIC_OR_PARTITION refresh "The broker does not know the topic or partition.";
    4 INVALID_FETCH_SIZE abort "The size asked for in a fetch is not valid.";
    5 LEADER_NOT_AVAILABLE refresh "The partition has no leader at the moment.";
    6 NOT_LEADER_OR_FOLLOWER refresh "The broker is not the partition's leader, or no replica of it.";
    7 REQUEST_TIMED_OUT retry "The broker did not finish within the request's time.";
    8 BROKER_NOT_AVAILABLE abort "The broker is not available.";
    9 REPLICA_NOT_AVAILABLE refresh "The broker does not hold the replica that was asked for.";
    10 MESSAGE_TOO_LARGE abort "A record batch is larger than the topic's `max.message.bytes`.";
    11 STALE_CONTROLLER_EPOCH abort "The controller has moved to another broker.";
    12 OFFSET_METADATA_TOO_LARGE abort "The text committed with an offset is too long.";
    13 NETWORK_EXCEPTION refresh "The connection ended before the response arrived.";
    14 COORDINATOR_LOAD_IN_PROGRESS retry "The coordinator is still reading its state.";
    15 COORDINATOR_NOT_AVAILABLE retry "There is no coordinator at the moment.";
    16 NOT_COORDINATOR retry "The broker is not the coordinator for this group or transactional id.";
    17 INVALID_TOPIC_EXCEPTION abort "The topic's name is not valid, or the topic may not be used this way.";
    18 RECORD_LIST_TOO_LARGE abort "A record batch is larger than the broker's log segments.";
    19 NOT_ENOUGH_REPLICAS retry "Fewer replicas are in sync than `min.insync.replicas`; nothing was written.";
    20 NOT_ENOUGH_REPLICAS_AFTER_APPEND retry "Written, but to fewer in-sync replicas than `min.insync.replicas`.";
    21 INVALID_REQUIRED_ACKS abort "`acks` has a value that the broker does not accept.";
    22 ILLEGAL_GENERATION abort "The group has moved on to another generation.";
    23 INCONSISTENT_GROUP_PROTOCOL abort "The member shares no protocol with the rest of its group.";
    24 INVALID_GROUP_ID abort "The group id is not valid.";
    25 UNKNOWN_MEMBER_ID abort "The coordinator does not know this member of the group.";
    26 INVALID_SESSION_TIMEOUT abort "The session time-out lies outside the broker's limits.";
    27 REBALANCE_IN_PROGRESS abort "The group is rebalancing; the member has to join again.";
    28 INVALID_COMMIT_OFFSET_SIZE abort "The offsets to commit take too much room.";
    29 TOPIC_AUTHORIZATION_FAILED abort "Not authorised for the topic.";
    30 GROUP_AUTHORIZATION_FAILED abort "Not authorised for the group.";
    31 CLUSTER_AUTHORIZATION_FAILED fatal "Not authorised for this operation on the cluster.";
    32 INVALID_TIMESTAMP abort "A record's timestamp lies outside what the topic accepts.";
    33 UNSUPPORTED_SASL_MECHANISM abort "The broker does not have this SASL mechanism.";
    34 ILLEGAL_SASL_STATE abort "The request does not fit the state of the SASL exchange.";
    35 UNSUPPORTED_VERSION fatal "The broker does not support this version of the request.";
    36 TOPIC_ALREADY_EXISTS abort "A topic of this name exists already.";
    37 INVALID_PARTITIONS abort "The number of partitions is below 1.";
    38 INVALID_REPLICATION_FACTOR abort "The replication factor is below 1 or above the number of brokers.";
    39 INVALID_REPLICA_ASSIGNMENT abort "The assignment of replicas to brokers is not valid.";
    40 INVALID_CONFIG abort "A configuration is not valid.";
    41 NOT_CONTROLLER retry "The broker is not the controller.";
    42 INVALID_REQUEST abort "The request contradicts itself or the protocol; the broker's log may say more.";
    43 UNSUPPORTED_FOR_MESSAGE_FORMAT abort "The topic's message format is too old for this request.";
    44 POLICY_VIOLATION abort "The cluster's policy forbids this.";
    45 OUT_OF_ORDER_SEQUENCE_NUMBER abort "The batch's sequence is not the next one expected of its producer.";
    46 DUPLICATE_SEQUENCE_NUMBER settled "The batch was written before; its offset is no longer known.";
    47 INVALID_PRODUCER_EPOCH abort "A producer with a newer epoch has taken over.";
    48 INVALID_TXN_STATE abort "The transaction is not in a state that allows this.";
    49 INVALID_PRODUCER_ID_MAPPING fatal "The producer id does not belong to this transactional id any more.";
    50 INVALID_TRANSACTION_TIMEOUT abort "The transaction time-out exceeds the broker's `transaction.max.timeout.ms`.";
    51 CONCURRENT_TRANSACTIONS retry "The transaction before this one is still being completed.";
    52 TRANSACTION_COORDINATOR_FENCED abort "A newer transaction coordinator has taken over.";
    53 TRANSACTIONAL_ID_AUTHORIZATION_FAILED fatal "Not authorised for the transactional id.";
    54 SECURITY_DISABLED abort "The cluster has no security features switched on.";
    55 OPERATION_NOT_ATTEMPTED abort "Not attempted, since another part of the same request failed.";
    56 KAFKA_STORAGE_ERROR refresh "The broker's disk failed for this partition.";
    57 LOG_DIR_NOT_FOUND abort "The broker has no such log directory.";
    58 SASL_AUTHENTICATION_FAILED abort "The credentials were refused.";
    59 UNKNOWN_PRODUCER_ID abort "The broker has no state for this producer id any more.";
    60 REASSIGNMENT_IN_PROGRESS abort "The partition is being reassigned.";
    61 DELEGATION_TOKEN_AUTH_DISABLED abort "Delegation tokens are switched off.";
    62 DELEGATION_TOKEN_NOT_FOUND abort "There is no such delegation token.";
    63 DELEGATION_TOKEN_OWNER_MISMATCH abort "The principal is neither owner nor renewer of the delegation token.";
    64 DELEGATION_TOKEN_REQUEST_NOT_ALLOWED abort "This connection's authentication does not allow delegation token requests.";
    65 DELEGATION_TOKEN_AUTHORIZATION_FAILED abort "Not authorised for the delegation token.";
    66 DELEGATION_TOKEN_EXPIRED abort "The delegation token has expired.";
    67 INVALID_PRINCIPAL_TYPE abort "The type of principal is not supported.";
    68 NON_EMPTY_GROUP abort "The group still has members.";
    69 GROUP_ID_NOT_FOUND abort "There is no such group.";
    70 FETCH_SESSION_ID_NOT_FOUND retry "The broker has dropped the fetch session.";
    71 INVALID_FETCH_SESSION_EPOCH retry "The fetch session is at another epoch.";
    72 LISTENER_NOT_FOUND refresh "The leader has no address on this listener.";
    73 TOPIC_DELETION_DISABLED abort "The broker does not allow topics to be deleted.";
    74 FENCED_LEADER_EPOCH refresh "The broker knows a newer leader epoch than the request.";
    75 UNKNOWN_LEADER_EPOCH retry "The request knows a newer leader epoch than the broker.";
    76 UNSUPPORTED_COMPRESSION_TYPE abort "The requester's version cannot read this compression type.";
    77 STALE_BROKER_EPOCH abort "A broker used an old epoch of its own.";
    78 OFFSET_NOT_AVAILABLE retry "A new leader does not know its high watermark yet.";
    79 MEMBER_ID_REQUIRED abort "The member has to join again with the id it was given.";
    80 PREFERRED_LEADER_NOT_AVAILABLE refresh "The preferred leader is not available.";
    81 GROUP_MAX_SIZE_REACHED abort "The group has as many members as the broker allows.";
    82 FENCED_INSTANCE_ID abort "Another member uses this `group.instance.id`.";
    83 ELIGIBLE_LEADERS_NOT_AVAILABLE refresh "No replica that may lead is available.";
    84 ELECTION_NOT_NEEDED refresh "The partition has the leader it should have.";
    85 NO_REASSIGNMENT_IN_PROGRESS abort "No reassignment is going on.";
    86 GROUP_SUBSCRIBED_TO_TOPIC abort "The group is subscribed to the topic.";
    87 INVALID_RECORD abort "The broker refused a record as not valid.";
    88 UNSTABLE_OFFSET_COMMIT retry "A transaction that commits these offsets is still open.";
    89 THROTTLING_QUOTA_EXCEEDED retry "The quota is used up for now.";
    90 PRODUCER_FENCED fatal "Another producer with this transactional id has taken over.";
    91 RESOURCE_NOT_FOUND abort "There is no such resource.";
    92 DUPLICATE_RESOURCE abort "The resource exists already.";
    93 UNACCEPTABLE_CREDENTIAL abort "The credentials do not meet the requirements.";
    94 INCONSISTENT_VOTER_SET abort "The controllers disagree about who votes.";
    95 INVALID_UPDATE_VERSION abort "The version to update to is not valid.";
    96 FEATURE_UPDATE_FAILED abort "The feature could not be updated.";
    97 PRINCIPAL_DESERIALIZATION_FAILURE abort "The forwarded principal could not be read.";
    98 SNAPSHOT_NOT_FOUND abort "There is no such snapshot.";
    99 POSITION_OUT_OF_RANGE abort "The position lies outside the snapshot.";
    100 UNKNOWN_TOPIC_ID refresh "The broker does not know the topic id.";
    101 DUPLICATE_BROKER_REGISTRATION abort "The broker id is in use by another broker.";
    102 BROKER_ID_NOT_REGISTERED abort "The broker id is not registered.";
    103 INCONSISTENT_TOPIC_ID refresh "The log belongs to another topic id than the request names.";
    104 INCONSISTENT_CLUSTER_ID abort "The request is meant for another cluster.";
    105 TRANSACTIONAL_ID_NOT_FOUND abort "There is no such transactional id.";
    106 FETCH_SESSION_TOPIC_ID_ERROR retry "The fetch session mixes topic names and topic ids.";
    107 INELIGIBLE_REPLICA abort "The replica may not join those in sync.";
    108 NEW_LEADER_ELECTED abort "The request led to another leader.";
    109 OFFSET_MOVED_TO_TIERED_STORAGE abort "The offset is only in tiered storage now.";
    110 FENCED_MEMBER_EPOCH abort "The member's epoch is not the one the coordinator knows.";
    111 UNRELEASED_INSTANCE_ID abort "The member that used this `group.instance.id` has not left yet.";
    112 UNSUPPORTED_ASSIGNOR abort "The group does not support this assignor.";
    113 STALE_MEMBER_EPOCH abort "The member has to take up its new epoch and try again.";
    114 MISMATCHED_ENDPOINT_TYPE abort "The request went to a broker's address instead of a controller's, or the reverse.";
    115 UNSUPPORTED_ENDPOINT_TYPE abort "The type of address is not supported.";
    116 UNKNOWN_CONTROLLER_ID abort "The controller id is not known.";
    117 UNKNOWN_SUBSCRIPTION_ID abort "The telemetry subscription is out of date.";
    118 TELEMETRY_TOO_LARGE abort "The telemetry takes more bytes than the broker accepts.";
    119 INVALID_REGISTRATION abort "The controller does not accept the registration.";
    120 TRANSACTION_ABORTABLE abort "The transaction has to be aborted; the producer may go on.";
    121 INVALID_RECORD_STATE abort "The record is in a state that does not allow its acknowledgement.";
    122 SHARE_SESSION_NOT_FOUND retry "The broker has dropped the share session.";
    123 INVALID_SHARE_SESSION_EPOCH retry "The share session is at another epoch.";
    124 FENCED_STATE_EPOCH abort "The share coordinator knows a newer epoch of the state.";
    125 INVALID_VOTER_KEY abort "The voter is not the one addressed.";
    126 DUPLICATE_VOTER abort "The voter exists already.";
    127 VOTER_NOT_FOUND abort "There is no such voter.";
    128 INVALID_REGULAR_EXPRESSION abort "The regular expression is not valid.";
    129 REBOOTSTRAP_REQUIRED abort "The client has to start again from its bootstrap servers.";
    130 STREAMS_INVALID_TOPOLOGY abort "The topology is not valid.";
    131 STREAMS_INVALID_TOPOLOGY_EPOCH abort "The topology's epoch is not valid.";
    132 STREAMS_TOPOLOGY_FENCED abort "The topology's epoch is out of date.";
    133 SHARE_SESSION_LIMIT_REACHED retry "The broker has as many share sessions as it allows.";
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::ErrorCode;

    #[test]
    fn the_table_is_in_order_and_names_are_unique() {
        let numbers: Vec<i16> = ErrorCode::ALL.iter().map(|code| code.code()).collect();
        assert_eq!(numbers, (-1..=133).collect::<Vec<i16>>());
        let names: HashSet<_> = ErrorCode::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(names.len(), ErrorCode::ALL.len());
    }

    #[test]
    fn codes_are_classed_as_in_the_java_client() {
        // Name, retriable, refreshes metadata, abortable, fatal.
        for (code, classes) in [
            (ErrorCode::NONE, [false, false, false, false]),
            (ErrorCode::DUPLICATE_SEQUENCE_NUMBER, [false, false, false, false]),
            (ErrorCode::NOT_ENOUGH_REPLICAS, [true, false, false, false]),
            (ErrorCode::NOT_COORDINATOR, [true, false, false, false]),
            (ErrorCode::NOT_LEADER_OR_FOLLOWER, [true, true, false, false]),
            (ErrorCode::UNKNOWN_TOPIC_ID, [true, true, false, false]),
            (ErrorCode::TRANSACTION_ABORTABLE, [false, false, true, false]),
            (ErrorCode::TOPIC_AUTHORIZATION_FAILED, [false, false, true, false]),
            (ErrorCode::INVALID_PRODUCER_EPOCH, [false, false, true, false]),
            (ErrorCode::PRODUCER_FENCED, [false, false, false, true]),
            (ErrorCode::CLUSTER_AUTHORIZATION_FAILED, [false, false, false, true]),
            (ErrorCode::new(30_000), [false, false, true, false]),
        ] {
            let is = [
                code.is_retriable(),
                code.refreshes_metadata(),
                code.is_abortable(),
                code.is_fatal(),
            ];
            assert_eq!(is, classes, "{code}");
        }
        let retriable = ErrorCode::ALL.iter().filter(|code| code.is_retriable()).count();
        let refreshing = ErrorCode::ALL.iter().filter(|code| code.refreshes_metadata()).count();
        let fatal: Vec<i16> =
            ErrorCode::ALL.iter().filter(|code| code.is_fatal()).map(|code| code.code()).collect();
        assert_eq!((retriable, refreshing), (32, 13));
        assert_eq!(fatal, [31, 35, 49, 53, 90]);
    }

    #[test]
    fn a_code_displays_as_its_name() {
        assert_eq!(ErrorCode::NOT_LEADER_OR_FOLLOWER.to_string(), "NOT_LEADER_OR_FOLLOWER");
        assert_eq!(ErrorCode::new(999).to_string(), "UNKNOWN_ERROR_CODE(999)");
        assert_eq!(ErrorCode::default(), ErrorCode::NONE);
    }
}
