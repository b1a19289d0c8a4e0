//! What a transaction comes to when something goes wrong.

use super::*;

/// Rows 36 and 38: whatever code EndTxn is answered with, only NONE is told as a commit.
#[test]
fn a_commit_is_told_only_when_the_coordinator_says_so() {
    let codes = ErrorCode::ALL.iter().copied().chain([ErrorCode::new(9_999)]);
    for code in codes.filter(|code| !code.is_ok()) {
        for support in [ONE, TWO] {
            let mut world = World::open(support);
            world.write(0);
            world.finish(true, 2);
            assert!(world.answer_end(code));
            let ended = world.ended();
            assert!(!matches!(ended[..], [(_, Ok(_)), ..]), "{code}: {ended:?}");
            if ended.is_empty() {
                assert!(code.is_retriable(), "{code}");
            }
        }
    }
}

#[test]
fn an_unknown_outcome_is_asked_for_until_it_is_known() {
    let mut world = World::open(ONE);
    world.write(0);
    world.finish(true, 2);
    for _ in 0..5 {
        let ask = world.ask();
        assert!(matches!(&ask.request, TxnRequest::End(end, _) if end.committed));
        world.lose(&ask);
        world.wait(MS(150));
        world.answer_coordinator();
    }
    assert!(world.ended().is_empty());
    assert!(world.answer_end(ErrorCode::NONE));
    assert!(matches!(world.ended()[..], [(2, Ok(Some(TransactionOutcome::Committed)))]));
}

/// Row 33: with version 1 a request that was not answered may arrive in the next transaction, unless the epoch has changed.
#[test]
fn after_an_unanswered_request_of_version_1_the_epoch_is_raised() {
    for support in [ONE, TWO] {
        let mut world = World::open(support);
        world.write(0);
        world.finish(true, 2);
        let ask = world.ask();
        world.lose(&ask);
        world.answer_coordinator();
        world.answer_end(ErrorCode::NONE);
        assert_eq!(world.ended().len(), 1, "the commit need not wait for it");
        world.machine.begin(3);
        if support == ONE {
            let raised = ProducerIdentity { epoch: 4, ..ID };
            let ask = world.answer_init(ErrorCode::NONE, raised);
            let TxnRequest::InitProducerId(request) = ask.request else { panic!("init") };
            assert_eq!((request.producer_id, request.producer_epoch), (ID.id, ID.epoch));
        }
        world.poll();
        assert!(matches!(world.ended()[..], [(3, Ok(_))]));
        assert_eq!(world.machine.identity().unwrap().epoch, 4);
    }
}

#[test]
fn after_lost_numbers_the_epoch_is_raised_or_the_producer_ends() {
    for (support, raises) in [(ONE, true), (Support { init_producer_id: 2, ..ONE }, false)] {
        let mut world = World::open(support);
        world.write(0);
        world.machine.lose_numbers();
        world.finish(false, 2);
        world.answer_end(ErrorCode::NONE);
        world.ended();
        world.machine.begin(3);
        if raises {
            world.answer_init(ErrorCode::NONE, ProducerIdentity { epoch: 4, ..ID });
            assert!(matches!(world.ended()[..], [(3, Ok(_))]));
        } else {
            assert!(matches!(world.ended()[..], [(3, Err(TransactionError::Fatal(_)))]));
        }
    }
}

/// Rows 35 and 37: a transaction in which something failed cannot be committed, and can be aborted.
#[test]
fn a_doomed_transaction_is_aborted_whatever_is_asked() {
    for commit in [true, false] {
        for support in [ONE, TWO] {
            let mut world = World::open(support);
            world.write(0);
            world.machine.doom(AbortCause::Send(crate::error::SendError::Closed), world.now);
            world.offsets(2);
            assert!(is_abortable(&world.ended()[0].1));
            world.finish(commit, 3);
            assert_eq!(world.ended().first().is_some_and(|ended| is_abortable(&ended.1)), commit);
            assert!(!world.answer_end(ErrorCode::NONE), "it asks for an abort");
            world.begin(4);
            assert!(!world.machine.is_doomed() && world.doom.get().is_none());
        }
    }
}

/// Row 41: a record that was not accepted, which only its sender knows.
#[test]
fn a_commit_hears_of_records_that_were_not_accepted() {
    let mut world = World::open(TWO);
    world.doom.set(AbortableError::new(AbortCause::Send(crate::error::SendError::Closed)));
    world.finish(true, 2);
    assert!(is_abortable(&world.ended()[0].1));
    world.begin(3);
}

#[test]
fn a_batch_that_fails_while_the_commit_waits_for_it_turns_it_into_an_abort() {
    let mut world = World::open(TWO);
    world.write(0);
    world.quiet = false;
    world.finish(true, 2);
    world.idle();
    world.machine.doom(AbortCause::Aborted, world.now);
    assert!(is_abortable(&world.ended()[0].1));
    world.quiet = true;
    assert!(!world.answer_end(ErrorCode::NONE));
}

#[test]
fn a_fenced_producer_asks_for_nothing_more() {
    for code in [ErrorCode::PRODUCER_FENCED, ErrorCode::INVALID_PRODUCER_EPOCH] {
        let mut world = World::open(ONE);
        assert!(!world.enrol(0));
        world.answer_partitions(code);
        assert_eq!(world.machine.fatal().unwrap().code, code);
        world.finish(true, 2);
        world.machine.begin(3);
        world.offsets(4);
        world.wait(MS(100_000));
        world.idle();
        let ended = world.ended();
        assert_eq!(ended.len(), 3);
        assert!(ended.iter().all(|(_, e)| matches!(e, Err(TransactionError::Fatal(_)))));
        assert!(world.machine.is_settled());
    }
}

#[test]
fn offsets_of_a_member_that_was_replaced_doom_the_transaction() {
    for code in
        [ErrorCode::ILLEGAL_GENERATION, ErrorCode::UNKNOWN_MEMBER_ID, ErrorCode::FENCED_INSTANCE_ID]
    {
        let mut world = World::open(TWO);
        world.offsets(2);
        world.answer_coordinator();
        world.answer_offsets(code);
        let ended = world.ended();
        let Err(TransactionError::Abortable(error)) = &ended[0].1 else { panic!("{ended:?}") };
        assert_eq!(error.code(), Some(code));
        world.finish(true, 3);
        assert!(is_abortable(&world.ended()[0].1));
        assert!(!world.answer_end(ErrorCode::NONE));
    }
}

#[test]
fn a_partition_that_is_refused_dooms_and_the_others_do_not_hide_it() {
    let mut world = World::open(ONE);
    assert!(!world.enrol(0) && !world.enrol(1));
    let ask = world.ask();
    let result = |partition_index, partition_error_code| AddPartitionsToTxnPartitionResult {
        partition_index,
        partition_error_code,
    };
    let results_by_partition = vec![
        result(0, ErrorCode::TOPIC_AUTHORIZATION_FAILED),
        result(1, ErrorCode::OPERATION_NOT_ATTEMPTED),
    ];
    let topic = AddPartitionsToTxnTopicResult { name: "x".to_owned(), results_by_partition };
    let response = AddPartitionsToTxnResponse {
        results_by_topic_v3_and_below: vec![topic],
        ..Default::default()
    };
    world.tell(ask.token, TxnResponse::AddPartitions(response));
    let code = world.doom.get().unwrap().code();
    assert_eq!(code, Some(ErrorCode::TOPIC_AUTHORIZATION_FAILED));
    world.finish(false, 2);
    world.idle();
    assert!(matches!(world.ended()[..], [(2, Ok(_))]), "the coordinator has no transaction");
}

/// A lost AddPartitionsToTxn may have begun the transaction: it is asked again before the abort, and at last the abort asks
/// for the end of what may not be there.
#[test]
fn an_abort_learns_whether_there_is_something_to_abort() {
    let mut world = World::open(ONE);
    assert!(!world.enrol(0));
    let ask = world.ask();
    world.lose(&ask);
    world.finish(false, 2);
    world.answer_coordinator();
    let ask = world.ask();
    assert!(matches!(ask.request, TxnRequest::AddPartitions(_)), "first what is not known");
    world.lose(&ask);
    world.wait(MS(1_100));
    world.answer_coordinator();
    assert!(!world.answer_end(ErrorCode::INVALID_TXN_STATE));
    assert!(matches!(world.ended()[..], [(2, Ok(Some(TransactionOutcome::Aborted)))]));
    world.machine.begin(3);
    world.answer_init(ErrorCode::NONE, ProducerIdentity { epoch: 4, ..ID });
    assert!(matches!(world.ended()[..], [(3, Ok(_))]));
}

/// It was on the way of being connected when the abort came, and was never sent.
#[test]
fn an_abort_does_not_wait_for_what_was_never_sent() {
    let mut world = World::open(ONE);
    assert!(!world.enrol(0));
    let ask = world.ask();
    world.finish(false, 2);
    world.machine.handle(ask.token, Err(lost(false)), world.now);
    world.idle();
    assert!(matches!(world.ended()[..], [(2, Ok(Some(TransactionOutcome::Aborted)))]));
    world.begin(3);
}

/// The first request to commit was carried out, and its answer lost: what the coordinator says of the second is no reason to
/// tell that nothing of it will be visible.
#[test]
fn what_may_be_committed_is_not_told_as_aborted() {
    for code in [ErrorCode::TRANSACTION_ABORTABLE, ErrorCode::INVALID_PRODUCER_ID_MAPPING] {
        let mut world = World::open(ONE);
        world.write(0);
        world.finish(true, 2);
        let ask = world.ask();
        world.lose(&ask);
        world.answer_coordinator();
        assert!(world.answer_end(code));
        assert!(matches!(world.ended()[..], [(2, Err(TransactionError::Fatal(_)))]), "{code}");
    }
}

/// The offsets that wanted to know the coordinator are gone with their transaction: what is answered concerns no other.
#[test]
fn a_group_that_may_not_be_looked_up_dooms_only_its_own() {
    let mut world = World::open(TWO);
    world.offsets(2);
    let ask = world.ask();
    world.finish(false, 3);
    world.begin(4);
    let group = ConsumerGroupMetadata::no_member("other");
    let offsets = [(TopicPartition::new("in", 0), OffsetAndMetadata::new(5))];
    world.machine.send_offsets(5, group, offsets.into());
    let error_code = ErrorCode::GROUP_AUTHORIZATION_FAILED;
    let entry = Entry { key: "g".to_owned(), error_code, ..Default::default() };
    let response = FindCoordinatorResponse { coordinators: vec![entry], ..Default::default() };
    world.tell(ask.token, TxnResponse::FindCoordinator(response));
    assert!(!world.machine.is_doomed());
    world.answer_coordinator();
    world.answer_offsets(ErrorCode::NONE);
    assert!(matches!(world.ended()[..], [(5, Ok(_))]));
}

#[test]
fn an_id_that_the_coordinator_forgot_is_made_anew() {
    let mut world = World::open(ONE);
    assert!(!world.enrol(0));
    world.answer_partitions(ErrorCode::INVALID_PRODUCER_ID_MAPPING);
    world.finish(true, 2);
    assert!(is_abortable(&world.ended()[0].1));
    world.machine.begin(3);
    let other = ProducerIdentity { id: 9, epoch: 0 };
    world.answer_init(ErrorCode::NONE, other);
    assert!(matches!(world.ended()[..], [(3, Ok(_))]));
    assert_eq!(world.machine.identity(), Some(other));
}

/// Row 44.
#[test]
fn initialising_goes_on_after_codes_that_pass() {
    let mut world = World::open(ONE);
    world.machine.lose_numbers();
    world.write(0);
    world.finish(false, 2);
    world.answer_end(ErrorCode::NONE);
    for code in [
        ErrorCode::REQUEST_TIMED_OUT,
        ErrorCode::CONCURRENT_TRANSACTIONS,
        ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
    ] {
        world.answer_init(code, ProducerIdentity::NONE);
        world.wait(MS(150));
    }
    world.answer_init(ErrorCode::NONE, ProducerIdentity { epoch: 4, ..ID });
    world.ended();
    world.begin(3);
}

/// Row 47: an answer to a request of which nobody wants to know any more changes nothing.
#[test]
fn late_answers_are_ignored() {
    let mut world = World::open(TWO);
    world.write(0);
    world.finish(true, 2);
    let ask = world.ask();
    world.lose(&ask);
    world.answer_coordinator();
    let response =
        EndTxnResponse { error_code: ErrorCode::INVALID_TXN_STATE, ..Default::default() };
    world.tell(ask.token, TxnResponse::End(response));
    assert!(world.machine.fatal().is_none());
    assert!(world.answer_end(ErrorCode::NONE));
    world.begin(3);
}

/// Row 45: with version 2, whoever aborts while the markers of the transaction before are being written is told to wait, and
/// does. One that is told to be fenced is: to ask InitProducerId whether that is true would abort the transaction of whoever
/// took over.
#[test]
fn an_abort_waits_for_the_markers_of_the_one_before() {
    let mut world = World::open(TWO);
    world.machine.sent();
    world.finish(false, 2);
    assert!(!world.answer_end(ErrorCode::CONCURRENT_TRANSACTIONS));
    assert!(world.ended().is_empty());
    world.wait(MS(20));
    assert!(!world.answer_end(ErrorCode::PRODUCER_FENCED));
    assert!(matches!(world.ended()[..], [(2, Err(TransactionError::Fatal(_)))]));
    world.machine.begin(3);
    world.idle();
}
