//! The table, row by row, and what failures in a row come to.

use super::*;
use crate::error::{FatalError, GroupError, SendError, TransactionOperation, TransactionTimeout};
use crate::types::TopicPartition;

const MS: fn(u64) -> Duration = Duration::from_millis;

fn abortable(cause: AbortCause) -> TransactionError {
    TransactionError::Abortable(AbortableError::new(cause))
}

fn refused(code: ErrorCode) -> TransactionError {
    let subject = "somebody".to_owned();
    abortable(AbortCause::Refused { api: "TxnOffsetCommit", subject, code })
}

#[test]
fn what_stands_in_the_way_of_a_transaction() {
    let (operation, waited) = (TransactionOperation::Commit, MS(60_000));
    let unsupported = || ClientError::Closed;
    let slow = SendError::BufferFull { needed: 10, waited: MS(1), total: 5, available: 0 };
    for (error, expected) in [
        (TransactionError::TimedOut(TransactionTimeout { operation, waited }), Trouble::Unknown),
        (TransactionError::Fatal(FatalError { code: ErrorCode::PRODUCER_FENCED }), Trouble::Fatal),
        (TransactionError::Closed, Trouble::Fatal),
        (TransactionError::NoGroup, Trouble::Lasting),
        (abortable(AbortCause::Aborted), Trouble::Passing),
        (abortable(AbortCause::Send(slow)), Trouble::Passing),
        (abortable(AbortCause::Send(SendError::Closed)), Trouble::Fatal),
        (
            abortable(AbortCause::Send(SendError::InvalidTopic { topic: "?".to_owned() })),
            Trouble::Lasting,
        ),
        (
            abortable(AbortCause::Client { api: "AddOffsetsToTxn", error: unsupported() }),
            Trouble::Lasting,
        ),
        (refused(ErrorCode::ILLEGAL_GENERATION), Trouble::Passing),
        (refused(ErrorCode::UNKNOWN_MEMBER_ID), Trouble::Passing),
        (refused(ErrorCode::STALE_MEMBER_EPOCH), Trouble::Passing),
        (refused(ErrorCode::FENCED_INSTANCE_ID), Trouble::Passing),
        (refused(ErrorCode::TRANSACTION_ABORTABLE), Trouble::Passing),
        (refused(ErrorCode::UNKNOWN_PRODUCER_ID), Trouble::Passing),
        (refused(ErrorCode::GROUP_AUTHORIZATION_FAILED), Trouble::Lasting),
        (refused(ErrorCode::TOPIC_AUTHORIZATION_FAILED), Trouble::Lasting),
        (refused(ErrorCode::OFFSET_METADATA_TOO_LARGE), Trouble::Lasting),
    ] {
        assert_eq!(Trouble::of(&error), expected, "{error}");
    }
}

#[test]
fn what_stands_in_the_way_of_reading() {
    let partition = TopicPartition::new("t", 0);
    let group = "g".to_owned();
    let instance = "i".to_owned();
    let denied = ClientError::Broker {
        code: ErrorCode::GROUP_AUTHORIZATION_FAILED,
        api: "OffsetFetch",
        subject: None,
        message: None,
    };
    let moved = ClientError::Broker {
        code: ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
        api: "OffsetFetch",
        subject: None,
        message: None,
    };
    let (passing, lasting) = (Trouble::Passing, Trouble::Lasting);
    for (error, expected) in [
        (ConsumerError::Committed { cause: moved }, passing),
        (ConsumerError::Committed { cause: denied }, lasting),
        (ConsumerError::Committed { cause: ClientError::Closed }, lasting),
        (GroupError::MaxSizeReached { group: group.clone() }.into(), passing),
        (GroupError::Unauthorized { group: group.clone() }.into(), lasting),
        (GroupError::FencedInstanceId { group, instance }.into(), lasting),
        (ConsumerError::NoOffset { partition }, lasting),
        (ConsumerError::NothingAssigned, lasting),
    ] {
        assert_eq!(Trouble::of_reading(&error), expected, "{error}");
    }
}

#[test]
fn waits_longer_after_each_failure_until_one_succeeds() {
    let mut failures = Failures::new(Backoff::new(MS(100), MS(1000)), 0);
    let mut waits = Vec::new();
    for _ in 0..6 {
        let Next::Again(wait) = failures.failed(Trouble::Passing, 0.5) else { panic!() };
        waits.push(wait.as_millis());
    }
    assert_eq!(waits, [100, 200, 400, 800, 1000, 1000]);
    failures.succeeded();
    assert_eq!(failures.failed(Trouble::Unknown, 0.5), Next::Again(MS(100)));
}

/// Whatever comes, a closure is run again as often as is allowed and no more, what lasts ends the loop, what passes never
/// does, and waits have a bound.
#[test]
fn random_failures() {
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let retries = random.u32(0..4);
        let mut failures = Failures::new(Backoff::new(MS(100), MS(1000)), retries);
        let mut of_closure = 0;
        for _ in 0..200 {
            if random.u8(0..4) == 0 {
                failures.succeeded();
                of_closure = 0;
                continue;
            }
            let troubles = [
                Trouble::Unknown,
                Trouble::Passing,
                Trouble::Processing,
                Trouble::Lasting,
                Trouble::Fatal,
            ];
            let trouble = troubles[random.usize(0..troubles.len())];
            let next = failures.failed(trouble, random.f64());
            let ends = match trouble {
                Trouble::Lasting | Trouble::Fatal => true,
                Trouble::Processing => of_closure == retries,
                Trouble::Unknown | Trouble::Passing => false,
            };
            assert_eq!(next == Next::End, ends, "seed {seed}: {failures:?}");
            match next {
                Next::End => of_closure = 0,
                Next::Again(wait) => {
                    assert!(wait <= MS(1000));
                    of_closure += u32::from(trouble == Trouble::Processing);
                }
            }
        }
    }
}

/// Reading and committing wait each for itself.
#[test]
fn a_poll_that_works_ends_the_waits_of_reading_only() {
    let mut failures = Failures::new(Backoff::new(MS(100), MS(1000)), 0);
    assert_eq!(failures.failed(Trouble::Passing, 0.5), Next::Again(MS(100)));
    assert_eq!(failures.failed_to_read(Trouble::Passing, 0.5), Next::Again(MS(100)));
    assert_eq!(failures.failed_to_read(Trouble::Passing, 0.5), Next::Again(MS(200)));
    failures.read();
    assert_eq!(failures.failed_to_read(Trouble::Passing, 0.5), Next::Again(MS(100)));
    assert_eq!(failures.failed(Trouble::Passing, 0.5), Next::Again(MS(200)));
    assert_eq!(failures.failed_to_read(Trouble::Lasting, 0.5), Next::End);
    assert_eq!(failures.failed(Trouble::Passing, 0.5), Next::Again(MS(100)));
}
