//! The scenarios of the Java client's `SenderTest` in which batches run out of time, or the producer is closed; see
//! `java.rs`.

use super::java::Do::{After, Ends, Expiry, On, Send, Wire};
use super::java::{NOT_LEADER, OUT_OF_ORDER, play, quick};
use super::model::{AnswerLost, Answered, FATAL, RequestLost, TOO_LARGE};
use super::*;
use crate::error::SendError;

#[test]
fn expiry_of_unsent_batches_should_not_cause_unresolved_sequences() {
    let mut world = settled(quick());
    world.sender.handle_unreachable(BrokerId(0), lost(), world.now);
    world.send(0);
    world.now += MS(10_000);
    world.settle();
    assert_eq!(world.ends(), "-");
    world.send(0);
    world.settle();
    assert_eq!(world.stamps_on_the_wire(), "0:1");
    world.heal();
    world.check("unsent");
}

/// The Java client spares the bump when what came after has been written. Here it costs one round trip.
#[test]
fn expiry_of_first_batch_should_not_cause_unresolved_sequences_if_future_batches_succeed() {
    play(
        quick(),
        &[
            Send(0, 1),
            After(1_000),
            Send(0, 1),
            On(0, AnswerLost),
            Expiry,
            Ends("?."),
            Wire("0:2"),
            On(0, Answered),
            Ends("?+"),
            Send(0, 1),
            Wire("1:0"),
        ],
    );
}

#[test]
fn expiry_of_first_batch_should_cause_epoch_bump_if_future_batches_fail() {
    play(
        quick(),
        &[
            Send(0, 1),
            After(1_000),
            Send(0, 1),
            On(0, RequestLost),
            Expiry,
            Ends("?."),
            On(0, OUT_OF_ORDER),
            Wire("1:0"),
            On(0, Answered),
            Ends("?+"),
        ],
    );
}

#[test]
fn expiry_of_all_sent_batches_should_cause_unresolved_sequences() {
    play(
        quick(),
        &[Send(0, 1), On(0, RequestLost), Expiry, Ends("?"), Wire(""), Send(0, 1), Wire("1:0")],
    );
}

#[test]
fn no_double_deallocation() {
    let world = play(quick(), &[Send(0, 1), Expiry, Ends("?"), On(0, FATAL), Ends("?")]);
    assert_eq!(world.memory.available(), TOTAL);
}

#[test]
fn inflight_batches_expire_on_delivery_timeout() {
    // The broker has it after all: its numbers are used, and no bump is needed.
    play(
        quick(),
        &[Send(0, 1), Expiry, Ends("?"), Wire("0:1"), On(0, Answered), Send(0, 1), Wire("0:2")],
    );
}

#[test]
fn when_first_batch_expire_no_send_second_batch_if_guarantee_order() {
    play(
        SenderConfig { idempotent: false, max_in_flight: 1, ..quick() },
        &[
            Send(0, 1),
            After(1_000),
            Send(0, 1),
            Wire("-1:-1"),
            Expiry,
            Ends("?."),
            Wire("-1:-1"),
            On(0, RequestLost),
            Wire("-1:-1"),
            On(0, Answered),
            Ends("?+"),
        ],
    );
}

#[test]
fn expired_batch_does_not_retry() {
    play(quick(), &[Send(0, 1), Expiry, On(0, NOT_LEADER), Wire(""), After(100), Wire("")]);
}

#[test]
fn expired_batch_does_not_split_on_message_too_large() {
    play(quick(), &[Send(0, 2), Expiry, Ends("??"), On(0, TOO_LARGE), Wire("")]);
}

#[test]
fn force_close_with_incomplete_batches() {
    let mut world = settled(quick());
    (0..6).for_each(|_| {
        world.send(0);
        world.settle();
    });
    world.send(1);
    let failed = world.sender.fail_all(&DeliveryErrorKind::Closed, world.now);
    // One that the sender had not heard of yet.
    world.accumulator.close(SendError::Closed);
    world.collect();
    assert_eq!((world.ends(), failed), ("?????--".to_owned(), 6));
    assert!(world.sender.is_idle());
}
