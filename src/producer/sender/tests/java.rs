//! The scenarios of the Java client's `SenderTest`, under their names, as tables of events. Those with transactions are
//! missing. Two things differ throughout: the first batch of a partition goes alone, so that each scenario begins after
//! one (sequence 0) was acknowledged; and the ends of a partition are told in order.

use super::model::{AnswerLost, Answered, Event, FATAL, Fate, Refused, TOO_LARGE};
use super::*;

/// A row of a table.
pub(super) enum Do {
    /// A batch of so many records to the partition, which leaves at once if it may.
    Send(i32, usize),
    /// What becomes of the request at this place of the wire.
    On(usize, Fate),
    /// Until the sender's next deadline.
    Pause,
    /// Milliseconds.
    After(u64),
    /// Until the oldest batch expires.
    Expiry,
    /// What must be on the wire: epoch and base sequence of each batch.
    Wire(&'static str),
    /// How each record must have ended: `+` written, `-` not written, `?` maybe written, `.` not yet.
    Ends(&'static str),
}

use Do::{After, Ends, Expiry, On, Pause, Send, Wire};

pub(super) const OUT_OF_ORDER: Fate = Refused(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
const UNKNOWN_PRODUCER: Fate = Refused(ErrorCode::UNKNOWN_PRODUCER_ID);
pub(super) const NOT_LEADER: Fate = Refused(ErrorCode::NOT_LEADER_OR_FOLLOWER);

pub(super) fn quick() -> SenderConfig {
    let retry_backoff = Backoff::new(MS(20), MS(20));
    SenderConfig { linger: Duration::ZERO, retry_backoff, ..config() }
}

/// Plays the rows, then heals and checks every invariant.
pub(super) fn play(config: SenderConfig, rows: &[Do]) -> World {
    let mut world = settled(config);
    world.settle();
    for (at, row) in rows.iter().enumerate() {
        match *row {
            Send(partition, records) => {
                (0..records).for_each(|_| world.send(partition));
                world.settle();
            }
            On(at, fate) => world.take(Event::Request(at, fate)),
            Pause => world.take(Event::Pause),
            After(millis) => {
                world.now += MS(millis);
                world.settle();
            }
            Expiry => world.take(Event::Expiry),
            Wire(expected) => assert_eq!(world.stamps_on_the_wire(), expected, "row {at}"),
            Ends(expected) => assert_eq!(world.ends(), expected, "row {at}"),
        }
    }
    world.heal();
    if world.sender.config.idempotent {
        world.check("healed");
    }
    world
}

impl World {
    pub(super) fn stamps_on_the_wire(&self) -> String {
        let topics = self.wire.values().flatten().flat_map(|produce| &produce.request.topic_data);
        let stamps = topics.flat_map(|topic| &topic.partition_data).map(|data| {
            let batch = batches(data.records.clone().unwrap()).next().unwrap().unwrap();
            let header = batch.header();
            format!("{}:{}", header.producer.epoch, header.base_sequence)
        });
        stamps.collect::<Vec<_>>().join(" ")
    }

    /// Without the two records of `settled`.
    pub(super) fn ends(&self) -> String {
        let ends = self.sent.iter().skip(2).map(|sent| match &sent.result {
            None => '.',
            Some(Ok(_)) => '+',
            Some(Err(error)) if error.persistence() == Persistence::NotWritten => '-',
            Some(Err(_)) => '?',
        });
        ends.collect()
    }
}

#[test]
fn idempotence_with_multiple_inflights_retried_in_order() {
    play(
        quick(),
        &[
            Send(0, 1),
            Send(0, 1),
            Send(0, 1),
            Wire("0:1 0:2 0:3"),
            On(0, Refused(ErrorCode::LEADER_NOT_AVAILABLE)),
            On(0, OUT_OF_ORDER),
            On(0, OUT_OF_ORDER),
            Wire(""),
            Pause,
            Wire("0:1 0:2 0:3"),
            On(0, Answered),
            On(0, Answered),
            On(0, Answered),
            Ends("+++"),
        ],
    );
}

#[test]
fn idempotence_with_multiple_inflights_where_first_fails_fatally_and_sequence_of_future_batches_is_adjusted()
 {
    play(
        quick(),
        &[
            Send(0, 1),
            Send(0, 1),
            On(0, FATAL),
            Ends("-."),
            Wire("0:2"),
            On(0, OUT_OF_ORDER),
            Wire("1:0"),
            On(0, Answered),
            Ends("-+"),
        ],
    );
}

#[test]
fn correct_handling_of_out_of_order_responses() {
    play(
        quick(),
        &[
            Send(0, 1),
            Send(0, 1),
            On(1, OUT_OF_ORDER),
            Wire("0:1"),
            On(0, NOT_LEADER),
            Ends(".."),
            Pause,
            Wire("0:1 0:2"),
            On(0, Answered),
            On(0, Answered),
            Ends("++"),
        ],
    );
}

#[test]
fn correct_handling_of_out_of_order_responses_when_second_succeeds() {
    let world = play(
        quick(),
        &[
            Send(0, 1),
            Send(0, 1),
            On(0, AnswerLost),
            On(0, Answered),
            // The second is known to be written; its end is told after the first's.
            Ends(".."),
            Pause,
            Wire("0:1"),
            On(0, Answered),
            Ends("++"),
        ],
    );
    assert_eq!(world.logs[&0].records, [0, 2, 3]);
}

#[test]
fn epoch_bump_on_out_of_order_sequence_for_next_batch() {
    play(
        quick(),
        &[
            Send(0, 1),
            Send(0, 1),
            On(0, Answered),
            On(0, OUT_OF_ORDER),
            Wire("1:0"),
            On(0, Answered),
            Send(0, 1),
            Wire("1:1"),
        ],
    );
}

#[test]
fn epoch_bump_on_out_of_order_sequence_for_next_batch_when_there_is_no_batch_in_flight() {
    play(
        quick(),
        &[
            Send(0, 1),
            Send(1, 1),
            On(1, Answered),
            On(0, OUT_OF_ORDER),
            Wire("1:0"),
            On(0, Answered),
            // The idle partition begins anew, too (KAFKA-12152).
            Send(1, 1),
            Wire("1:0"),
            On(0, Answered),
            Ends("+++"),
        ],
    );
}

#[test]
fn epoch_bump_on_out_of_order_sequence_for_next_batch_when_batch_in_flight_fails() {
    play(
        quick(),
        &[
            Send(0, 1),
            Send(0, 1),
            Send(0, 1),
            On(0, OUT_OF_ORDER),
            Wire("0:2 0:3"),
            On(0, FATAL),
            On(0, Refused(ErrorCode::NOT_ENOUGH_REPLICAS)),
            Wire("1:0"),
            On(0, Answered),
            Ends("+-."),
            Pause,
            Wire("1:1"),
            On(0, Answered),
            Ends("+-+"),
        ],
    );
}

/// A partition's epoch fails while a batch of another is on its way: that one is asked for under the old epoch.
#[test]
fn batches_drained_with_old_producer_id_should_succeed_on_subsequent_retry() {
    let world = play(
        quick(),
        &[
            Send(0, 1),
            Send(1, 1),
            On(0, OUT_OF_ORDER),
            Wire("0:1"),
            On(0, AnswerLost),
            Wire(""),
            Pause,
            Wire("0:1"),
            On(0, Answered),
            Wire("1:0"),
            Ends(".+"),
            On(0, Answered),
            Ends("++"),
        ],
    );
    assert_eq!(world.logs[&1].records, [1, 3]);
}

#[test]
fn correct_handling_of_duplicate_sequence_error() {
    let world = play(
        quick(),
        &[
            Send(0, 1),
            Send(0, 1),
            On(0, AnswerLost),
            On(0, Answered),
            Pause,
            On(0, Refused(ErrorCode::DUPLICATE_SEQUENCE_NUMBER)),
            Ends("++"),
        ],
    );
    let first = world.sent[2].result.as_ref().unwrap().as_ref().unwrap();
    assert_eq!(first.offset(), None, "the broker does not know it any more");
}

#[test]
fn idempotent_unknown_producer_handling_when_retention_limit_reached() {
    play(
        quick(),
        &[
            Send(0, 1),
            On(0, Answered),
            Send(0, 1),
            On(0, UNKNOWN_PRODUCER),
            Wire("1:0"),
            On(0, Answered),
            Ends("++"),
        ],
    );
}

/// The broker's log start offset would tell why it has no state; either way the batch is not in the log.
#[test]
fn unknown_producer_error_should_be_retried_when_log_start_offset_is_unknown() {
    play(quick(), &[Send(0, 1), On(0, UNKNOWN_PRODUCER), Wire("1:0"), On(0, Answered), Ends("+")]);
}

#[test]
fn unknown_producer_error_should_be_retried_for_future_batches_when_first_fails() {
    play(
        quick(),
        &[
            Send(0, 1),
            Send(0, 1),
            On(0, UNKNOWN_PRODUCER),
            Wire("0:2"),
            On(0, UNKNOWN_PRODUCER),
            Wire("1:0"),
            On(0, Answered),
            Pause,
            Wire("1:1"),
            On(0, Answered),
            Ends("++"),
        ],
    );
}

#[test]
fn should_raise_out_of_order_sequence_exception_to_user_if_log_was_not_truncated() {
    let config = SenderConfig { retries: 0, ..quick() };
    let world =
        play(config, &[Send(0, 1), On(0, OUT_OF_ORDER), Ends("-"), Send(0, 1), Wire("1:0")]);
    let error = world.sent[2].result.clone().unwrap().unwrap_err();
    let code = ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER;
    assert_eq!(error.kind(), &DeliveryErrorKind::Refused(code));
}

/// The last epoch is used up: the batch goes out again under another producer id.
#[test]
fn retry_when_producer_id_changes() {
    let mut world = World::new(quick(), 2, 1);
    world.sender.sequencer.ask();
    let last = ProducerIdentity { id: 3, epoch: i16::MAX - 1 };
    world.sender.sequencer.given(last);
    (0..2).for_each(|partition| world.send(partition));
    world.heal();
    world.send(0);
    world.settle();
    world.take(Event::Request(0, OUT_OF_ORDER));
    world.heal();
    world.check("another id");
    assert_eq!(world.logs[&0].identity, Some(ProducerIdentity { id: 9, epoch: 0 }));
}

#[test]
fn idempotent_split_batch_and_send() {
    play(
        quick(),
        &[
            Send(0, 2),
            Send(0, 1),
            On(0, TOO_LARGE),
            Wire("0:3 0:1 0:2"),
            On(1, Answered),
            On(1, Answered),
            On(0, Answered),
            Ends("+++"),
        ],
    );
}

#[test]
fn when_produce_response_returns_with_a_leadership_change_error_but_no_new_leader_information() {
    play(
        quick(),
        &[Send(0, 1), On(0, NOT_LEADER), Wire(""), After(19), Wire(""), Pause, Wire("0:1")],
    );
}

#[test]
fn when_produce_response_returns_with_a_leadership_change_error_and_new_leader_information() {
    let mut world = settled(quick());
    world.send(0);
    world.settle();
    let produce = world.pop(BrokerId(0)).unwrap();
    let refuse = Some(ErrorCode::NOT_LEADER_OR_FOLLOWER);
    let mut response = world.apply(&produce, refuse);
    let hint = &mut response.responses[0].partition_responses[0].current_leader;
    (hint.leader_id, hint.leader_epoch) = (1, 2);
    (world.leaders[0], world.epoch) = (BrokerId(1), 2);
    world.sender.handle_produced(produce.token, Ok(response), world.now);
    world.settle();
    assert_eq!(world.wire[&BrokerId(1)].len(), 1, "at once, and without metadata");
    world.heal();
    world.check("hint");
}
