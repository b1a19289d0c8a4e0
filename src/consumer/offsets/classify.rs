//! The one table of what error codes of OffsetCommit and OffsetFetch call for. It knows neither the
//! queue nor the member: only what a code says.
//!
//! | code | commit | look-up | may be committed |
//! |---|---|---|---|
//! | NONE | done | done | is |
//! | COORDINATOR_LOAD_IN_PROGRESS | wait | wait | no |
//! | COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR, REQUEST_TIMED_OUT | find the coordinator | the same | maybe |
//! | UNKNOWN_TOPIC_OR_PARTITION | try again, newer metadata | fails | no |
//! | UNKNOWN_TOPIC_ID | try again, newer metadata | the same | no |
//! | UNSTABLE_OFFSET_COMMIT (KIP-447) | - | try again | - |
//! | STALE_MEMBER_EPOCH (KIP-848) | with the new epoch; classic: fenced | the same | no |
//! | REBALANCE_IN_PROGRESS | overtaken | - | no |
//! | ILLEGAL_GENERATION, UNKNOWN_MEMBER_ID, FENCED_MEMBER_EPOCH, GROUP_ID_NOT_FOUND | fenced | as the next member | no |
//! | FENCED_INSTANCE_ID | another has its place | fails | no |
//! | GROUP_AUTHORIZATION_FAILED | fails | fails | no |
//! | other retriable ones | wait | wait | maybe |
//! | TOPIC_AUTHORIZATION_FAILED, OFFSET_METADATA_TOO_LARGE, INVALID_COMMIT_OFFSET_SIZE, ... | the partition fails | fails | no |
//! | UNKNOWN_SERVER_ERROR, codes that are not known here | the partition fails | fails | maybe |
//!
//! *May be committed*: a coordinator answers the codes of the third row also after it has written the
//! offsets and could not make sure that enough replicas have them.

use crate::error::ErrorCode;

/// What a code calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Done,
    /// Ask again after a pause; the coordinator as a whole is busy.
    Wait,
    /// The broker is not the coordinator, or cannot be one now: find it, and ask again.
    Find,
    /// Only this partition has to be asked for again.
    Again {
        /// With newer metadata.
        refresh: bool,
    },
    /// Ask again as the member that it is then.
    NewEpoch,
    /// The group is rebalancing.
    Overtaken,
    /// The group goes on without this member.
    Fenced,
    /// Another member has the place of this one.
    FencedInstance,
    /// Not authorised for the group.
    Unauthorized,
    /// This partition cannot be committed, or looked up.
    Refused,
}

/// What a code in the answer to a commit calls for.
pub(super) fn of_commit(code: ErrorCode) -> Verdict {
    match code {
        ErrorCode::NONE => Verdict::Done,
        ErrorCode::COORDINATOR_NOT_AVAILABLE
        | ErrorCode::NOT_COORDINATOR
        | ErrorCode::REQUEST_TIMED_OUT => Verdict::Find,
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION | ErrorCode::UNKNOWN_TOPIC_ID => {
            Verdict::Again { refresh: true }
        }
        ErrorCode::STALE_MEMBER_EPOCH => Verdict::NewEpoch,
        ErrorCode::REBALANCE_IN_PROGRESS => Verdict::Overtaken,
        ErrorCode::ILLEGAL_GENERATION
        | ErrorCode::UNKNOWN_MEMBER_ID
        | ErrorCode::FENCED_MEMBER_EPOCH
        | ErrorCode::GROUP_ID_NOT_FOUND => Verdict::Fenced,
        ErrorCode::FENCED_INSTANCE_ID => Verdict::FencedInstance,
        ErrorCode::GROUP_AUTHORIZATION_FAILED => Verdict::Unauthorized,
        code if code.is_retriable() => Verdict::Wait,
        _ => Verdict::Refused,
    }
}

/// What a code in the answer to a look-up calls for, be it for the group or for a partition.
pub(super) fn of_lookup(code: ErrorCode) -> Verdict {
    match code {
        ErrorCode::UNSTABLE_OFFSET_COMMIT => Verdict::Again { refresh: false },
        // As in Java: whoever asks for a partition that is not there should hear of it.
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        | ErrorCode::REBALANCE_IN_PROGRESS
        | ErrorCode::FENCED_INSTANCE_ID
        | ErrorCode::GROUP_AUTHORIZATION_FAILED => Verdict::Refused,
        ErrorCode::ILLEGAL_GENERATION
        | ErrorCode::UNKNOWN_MEMBER_ID
        | ErrorCode::FENCED_MEMBER_EPOCH
        | ErrorCode::GROUP_ID_NOT_FOUND => Verdict::NewEpoch,
        code => of_commit(code),
    }
}

/// Whether the offset may be committed although the coordinator answered this.
pub(super) fn maybe_committed(code: ErrorCode) -> bool {
    match of_commit(code) {
        Verdict::Done | Verdict::Find => true,
        Verdict::Wait => code != ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
        Verdict::Refused => code == ErrorCode::UNKNOWN_SERVER_ERROR || !code.is_known(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of the module's table, for every code that Kafka has.
    #[test]
    fn every_code_has_its_row() {
        use Verdict::*;
        let (again, topic) = (Again { refresh: false }, Again { refresh: true });
        let table = [
            (ErrorCode::NONE, Done, Done, true),
            (ErrorCode::COORDINATOR_LOAD_IN_PROGRESS, Wait, Wait, false),
            (ErrorCode::COORDINATOR_NOT_AVAILABLE, Find, Find, true),
            (ErrorCode::NOT_COORDINATOR, Find, Find, true),
            (ErrorCode::REQUEST_TIMED_OUT, Find, Find, true),
            (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, topic, Refused, false),
            (ErrorCode::UNKNOWN_TOPIC_ID, topic, topic, false),
            (ErrorCode::UNSTABLE_OFFSET_COMMIT, Wait, again, true),
            (ErrorCode::STALE_MEMBER_EPOCH, NewEpoch, NewEpoch, false),
            (ErrorCode::REBALANCE_IN_PROGRESS, Overtaken, Refused, false),
            (ErrorCode::ILLEGAL_GENERATION, Fenced, NewEpoch, false),
            (ErrorCode::UNKNOWN_MEMBER_ID, Fenced, NewEpoch, false),
            (ErrorCode::FENCED_MEMBER_EPOCH, Fenced, NewEpoch, false),
            (ErrorCode::GROUP_ID_NOT_FOUND, Fenced, NewEpoch, false),
            (ErrorCode::FENCED_INSTANCE_ID, FencedInstance, Refused, false),
            (ErrorCode::GROUP_AUTHORIZATION_FAILED, Unauthorized, Refused, false),
            (ErrorCode::UNKNOWN_SERVER_ERROR, Refused, Refused, true),
            (ErrorCode::new(30_000), Refused, Refused, true),
            (ErrorCode::TOPIC_AUTHORIZATION_FAILED, Refused, Refused, false),
            (ErrorCode::OFFSET_METADATA_TOO_LARGE, Refused, Refused, false),
            (ErrorCode::INVALID_COMMIT_OFFSET_SIZE, Refused, Refused, false),
            (ErrorCode::INVALID_GROUP_ID, Refused, Refused, false),
        ];
        for (code, commit, lookup, maybe) in table {
            assert_eq!((of_commit(code), of_lookup(code)), (commit, lookup), "{code}");
            assert_eq!(maybe_committed(code), maybe, "{code}");
        }
        for code in ErrorCode::ALL.iter().filter(|code| table.iter().all(|row| row.0 != **code)) {
            let expected = if code.is_retriable() { Wait } else { Refused };
            assert_eq!((of_commit(*code), of_lookup(*code)), (expected, expected), "{code}");
            assert_eq!(maybe_committed(*code), code.is_retriable(), "{code}");
        }
    }
}
