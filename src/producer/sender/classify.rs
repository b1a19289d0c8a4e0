//! The one table of how an attempt to send a batch can end and what follows. Pure: from what was heard and the batch's
//! situation to a verdict, which `resolve` carries out.
//!
//! | heard | verdict |
//! |---|---|
//! | NONE | written |
//! | DUPLICATE_SEQUENCE_NUMBER | written before, offset unknown |
//! | the request cannot be sent to this broker | fail |
//! | nothing (disconnect, time-out) | retry, maybe written |
//! | REQUEST_TIMED_OUT, NOT_ENOUGH_REPLICAS_AFTER_APPEND, KAFKA_STORAGE_ERROR, NOT_LEADER_OR_FOLLOWER with acks=all | retry, maybe written |
//! | any other retriable code | retry, not written |
//! | OUT_OF_ORDER_SEQUENCE_NUMBER, UNKNOWN_PRODUCER_ID behind an unacknowledged batch | retry, not written |
//! | the same at the head of the partition | bump the epoch, then retry; in a transaction fail |
//! | MESSAGE_TOO_LARGE for more than one record | split |
//! | CLUSTER_AUTHORIZATION_FAILED, PRODUCER_FENCED, INVALID_PRODUCER_ID_MAPPING, … | fatal |
//! | any other code | fail |

use crate::error::ErrorCode;

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    Answer(ErrorCode),
    /// The request may have reached the broker; no answer will come.
    Nothing,
    /// The request never left.
    NotSent,
    /// The request cannot be put in a form that the broker understands.
    Unsendable,
}

impl Heard {
    /// Whether the broker knows nothing of the topic.
    pub(crate) fn says_unknown_topic(self) -> bool {
        let unknown = [ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, ErrorCode::UNKNOWN_TOPIC_ID];
        matches!(self, Self::Answer(code) if unknown.contains(&code))
    }
}

/// What the verdict depends on beside that.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Situation {
    pub(crate) idempotent: bool,
    /// Whether it belongs to a transaction, whose epoch is not the sender's to raise.
    pub(crate) transactional: bool,
    pub(crate) acks_all: bool,
    /// Whether each earlier batch of the partition has been acknowledged.
    pub(crate) head: bool,
    pub(crate) retries_left: bool,
    /// Whether it holds more than one record, and nothing is against sending them in two batches.
    pub(crate) splittable: bool,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Written,
    /// By an earlier attempt, so long ago that the broker no longer knows where.
    WrittenEarlier,
    Retry {
        written: Written,
        refresh: bool,
    },
    /// It is to be sent in halves.
    Split,
    /// Its sequence will never be accepted: it gets another one under the next epoch.
    Bump,
    Fail {
        written: Written,
    },
    /// The producer must not write again.
    Fatal,
}

impl Verdict {
    /// Whether the same records are sent once more, whole.
    pub(crate) fn sends_again(self) -> bool {
        matches!(self, Self::Retry { .. } | Self::Bump)
    }
}

/// Whether an attempt left its records in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    No,
    Maybe,
    /// This answer also rules out that an earlier attempt did.
    Never,
}

pub(crate) fn classify(heard: Heard, situation: Situation) -> Verdict {
    let code = match heard {
        Heard::Answer(code) => code,
        Heard::Nothing => return retry(Written::Maybe, true, situation),
        Heard::NotSent => return retry(Written::No, true, situation),
        Heard::Unsendable => return Verdict::Fail { written: Written::No },
    };
    match code {
        ErrorCode::NONE => Verdict::Written,
        ErrorCode::DUPLICATE_SEQUENCE_NUMBER => Verdict::WrittenEarlier,
        ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER | ErrorCode::UNKNOWN_PRODUCER_ID
            if situation.idempotent =>
        {
            match (situation.retries_left, situation.head) {
                // A broker that has forgotten the producer knows nothing of earlier attempts.
                (false, _) if code == ErrorCode::UNKNOWN_PRODUCER_ID => {
                    Verdict::Fail { written: Written::No }
                }
                (false, _) => Verdict::Fail { written: Written::Never },
                // A new epoch would begin another transaction without the first part of this one.
                (true, true) if situation.transactional => {
                    Verdict::Fail { written: Written::Never }
                }
                (true, true) => Verdict::Bump,
                // The gap is an earlier batch that is being retried; this one follows it.
                (true, false) => Verdict::Retry { written: Written::Never, refresh: false },
            }
        }
        code if code.is_fatal() && situation.idempotent => Verdict::Fatal,
        ErrorCode::MESSAGE_TOO_LARGE if situation.splittable => Verdict::Split,
        code if code.is_retriable() => {
            retry(written_despite(code, situation), code.refreshes_metadata(), situation)
        }
        code => Verdict::Fail { written: written_despite(code, situation) },
    }
}

fn retry(written: Written, refresh: bool, situation: Situation) -> Verdict {
    if situation.retries_left {
        Verdict::Retry { written, refresh }
    } else {
        Verdict::Fail { written }
    }
}

/// Most refusals come before the append. These come, or may come, after it.
fn written_despite(code: ErrorCode, situation: Situation) -> Written {
    match code {
        ErrorCode::REQUEST_TIMED_OUT
        | ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND
        | ErrorCode::UNKNOWN_SERVER_ERROR
        // The disk may have failed after the append, while the leader waited for its followers.
        | ErrorCode::KAFKA_STORAGE_ERROR
        | ErrorCode::NETWORK_EXCEPTION => Written::Maybe,
        // A leader that loses its place while it waits for its followers answers so, after its own append.
        ErrorCode::NOT_LEADER_OR_FOLLOWER if situation.acks_all => Written::Maybe,
        // Kafka's clients take it for UNKNOWN_SERVER_ERROR.
        code if !code.is_known() => Written::Maybe,
        _ => Written::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: Situation = Situation {
        idempotent: true,
        transactional: false,
        acks_all: true,
        head: true,
        retries_left: true,
        splittable: false,
    };

    #[test]
    fn the_table() {
        use ErrorCode as E;
        let retry = |written, refresh| Verdict::Retry { written, refresh };
        let fail = |written| Verdict::Fail { written };
        let behind = Situation { head: false, ..ANY };
        let last = Situation { retries_left: false, ..ANY };
        let plain = Situation { idempotent: false, ..ANY };
        let many = Situation { splittable: true, ..ANY };
        let one = Situation { acks_all: false, ..plain };
        let txn = Situation { transactional: true, ..ANY };
        for (heard, situation, verdict) in [
            (Heard::Answer(E::NONE), ANY, Verdict::Written),
            (Heard::Answer(E::NONE), last, Verdict::Written),
            (Heard::Answer(E::DUPLICATE_SEQUENCE_NUMBER), ANY, Verdict::WrittenEarlier),
            (Heard::Nothing, ANY, retry(Written::Maybe, true)),
            (Heard::Nothing, last, fail(Written::Maybe)),
            (Heard::NotSent, ANY, retry(Written::No, true)),
            (Heard::NotSent, last, fail(Written::No)),
            (Heard::Unsendable, ANY, fail(Written::No)),
            (Heard::Answer(E::REQUEST_TIMED_OUT), ANY, retry(Written::Maybe, false)),
            (Heard::Answer(E::NOT_ENOUGH_REPLICAS), ANY, retry(Written::No, false)),
            (Heard::Answer(E::NOT_ENOUGH_REPLICAS), last, fail(Written::No)),
            (Heard::Answer(E::NOT_ENOUGH_REPLICAS_AFTER_APPEND), ANY, retry(Written::Maybe, false)),
            (Heard::Answer(E::KAFKA_STORAGE_ERROR), ANY, retry(Written::Maybe, true)),
            (Heard::Answer(E::NOT_LEADER_OR_FOLLOWER), ANY, retry(Written::Maybe, true)),
            (Heard::Answer(E::NOT_LEADER_OR_FOLLOWER), one, retry(Written::No, true)),
            (Heard::Answer(E::UNKNOWN_TOPIC_OR_PARTITION), ANY, retry(Written::No, true)),
            (Heard::Answer(E::OUT_OF_ORDER_SEQUENCE_NUMBER), ANY, Verdict::Bump),
            (Heard::Answer(E::OUT_OF_ORDER_SEQUENCE_NUMBER), behind, retry(Written::Never, false)),
            (Heard::Answer(E::OUT_OF_ORDER_SEQUENCE_NUMBER), last, fail(Written::Never)),
            (Heard::Answer(E::OUT_OF_ORDER_SEQUENCE_NUMBER), plain, fail(Written::No)),
            (Heard::Answer(E::OUT_OF_ORDER_SEQUENCE_NUMBER), txn, fail(Written::Never)),
            (Heard::Answer(E::UNKNOWN_PRODUCER_ID), txn, fail(Written::Never)),
            (Heard::Answer(E::INVALID_PRODUCER_EPOCH), txn, fail(Written::No)),
            (Heard::Answer(E::INVALID_TXN_STATE), txn, fail(Written::No)),
            (Heard::Answer(E::TRANSACTION_ABORTABLE), txn, fail(Written::No)),
            (Heard::Answer(E::CONCURRENT_TRANSACTIONS), txn, retry(Written::No, false)),
            (Heard::Answer(E::UNKNOWN_PRODUCER_ID), ANY, Verdict::Bump),
            (Heard::Answer(E::UNKNOWN_PRODUCER_ID), last, fail(Written::No)),
            (Heard::Answer(E::CLUSTER_AUTHORIZATION_FAILED), ANY, Verdict::Fatal),
            (Heard::Answer(E::CLUSTER_AUTHORIZATION_FAILED), plain, fail(Written::No)),
            (Heard::Answer(E::PRODUCER_FENCED), ANY, Verdict::Fatal),
            (Heard::Answer(E::TOPIC_AUTHORIZATION_FAILED), ANY, fail(Written::No)),
            (Heard::Answer(E::INVALID_RECORD), ANY, fail(Written::No)),
            (Heard::Answer(E::MESSAGE_TOO_LARGE), ANY, fail(Written::No)),
            (Heard::Answer(E::MESSAGE_TOO_LARGE), many, Verdict::Split),
            (Heard::Answer(E::RECORD_LIST_TOO_LARGE), many, fail(Written::No)),
            (Heard::Answer(E::UNKNOWN_SERVER_ERROR), ANY, fail(Written::Maybe)),
            (Heard::Answer(E::new(9999)), ANY, fail(Written::Maybe)),
        ] {
            assert_eq!(classify(heard, situation), verdict, "{heard:?} in {situation:?}");
        }
    }
}
