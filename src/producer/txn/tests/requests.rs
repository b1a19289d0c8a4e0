//! Which requests go out, in which order, and how few.

use super::*;

#[test]
fn version_1_adds_partitions_and_groups_and_keeps_the_epoch() {
    let mut world = World::open(ONE);
    assert!(!world.enrol(1) && !world.enrol(0));
    assert_eq!(world.answer_partitions(ErrorCode::NONE), [("x".to_owned(), vec![0, 1])]);
    assert!(world.enrol(0) && world.enrol(1));
    world.machine.sent();
    world.offsets(2);
    world.answer_add_offsets(ErrorCode::NONE);
    world.answer_coordinator();
    let TxnRequest::CommitOffsets(_, versions) = world.answer_offsets(ErrorCode::NONE).request
    else {
        panic!("offsets");
    };
    assert_eq!(versions, 0..=4);
    assert!(matches!(world.ended()[..], [(2, Ok(_))]));
    world.offsets(3);
    world.answer_offsets(ErrorCode::NONE);
    assert!(matches!(world.ended()[..], [(3, Ok(_))]), "the group was added already");
    world.finish(true, 4);
    assert!(world.answer_end(ErrorCode::NONE));
    assert!(matches!(world.ended()[..], [(4, Ok(Some(TransactionOutcome::Committed)))]));
    world.begin(5);
    assert_eq!(world.machine.identity(), Some(ID));
    assert!(!world.enrol(0), "it belonged to the transaction before");
}

#[test]
fn version_2_needs_no_request_but_the_last_and_gets_the_next_epoch_with_it() {
    let mut world = World::open(TWO);
    assert!(world.enrol(0));
    world.machine.sent();
    world.idle();
    world.finish(true, 2);
    let ask = world.ask();
    assert!(matches!(ask.request, TxnRequest::End(_, i16::MAX)));
    world.asks.push(ask);
    assert!(world.answer_end(ErrorCode::NONE));
    world.begin(3);
    assert_eq!(world.machine.identity(), Some(ProducerIdentity { id: 7, epoch: 4 }));
}

/// Row 46 of the bug list: the feature alone is not enough.
#[test]
fn version_2_is_spoken_only_with_all_of_its_parts() {
    let two = |change: fn(&mut Support)| {
        let mut support = TWO;
        change(&mut support);
        support.version() == TransactionVersion::Two
    };
    assert!(two(|_| {}));
    assert!(!two(|s| s.feature = 1));
    assert!(!two(|s| s.produce = 11));
    assert!(!two(|s| s.commit_offsets = 4));
    assert!(!two(|s| s.end = 4));
}

#[test]
fn an_empty_transaction_ends_without_a_request() {
    for support in [ONE, TWO] {
        for (commit, outcome) in
            [(true, TransactionOutcome::Committed), (false, TransactionOutcome::Aborted)]
        {
            let mut world = World::open(support);
            world.finish(commit, 2);
            world.idle();
            assert!(matches!(world.ended()[..], [(2, Ok(Some(o)))] if o == outcome));
            world.begin(3);
        }
    }
}

#[test]
fn the_end_waits_for_batches_and_for_offsets() {
    let mut world = World::open(TWO);
    world.write(0);
    world.offsets(2);
    world.answer_coordinator();
    world.finish(true, 3);
    let offsets = world.ask();
    world.asks.push(offsets);
    world.quiet = false;
    world.answer_offsets(ErrorCode::NONE);
    world.idle();
    world.quiet = true;
    assert!(world.answer_end(ErrorCode::NONE));
}

/// Row 42: what was to be asked for before the abort is not asked after it.
#[test]
fn an_abort_asks_for_nothing_but_the_end() {
    let mut world = World::open(ONE);
    world.write(0);
    assert!(!world.enrol(1));
    world.offsets(2);
    world.finish(false, 3);
    assert!(is_abortable(&world.ended()[0].1), "the offsets");
    assert!(!world.enrol(2));
    assert!(!world.answer_end(ErrorCode::NONE));
    assert!(matches!(world.ended()[..], [(3, Ok(Some(TransactionOutcome::Aborted)))]));
    world.idle();
}

#[test]
fn markers_of_the_one_before_are_waited_for_in_milliseconds() {
    let mut world = World::open(ONE);
    assert!(!world.enrol(0));
    for _ in 0..20 {
        world.answer_partitions(ErrorCode::CONCURRENT_TRANSACTIONS);
        let pause = world.machine.next_deadline().unwrap() - world.now;
        assert!(pause <= MS(20), "{pause:?}");
        world.wait(pause);
    }
    world.answer_partitions(ErrorCode::NONE);
    assert!(world.enrol(0));
}

#[test]
fn a_coordinator_that_has_moved_is_found_again() {
    let mut world = World::open(ONE);
    assert!(!world.enrol(0));
    world.answer_partitions(ErrorCode::NOT_COORDINATOR);
    world.answer_coordinator();
    world.answer_partitions(ErrorCode::NONE);
    assert!(world.enrol(0));
}

/// Row 48: the coordinator of a group is gone from the cluster.
#[test]
fn the_coordinator_of_a_group_is_found_again() {
    let mut world = World::open(TWO);
    world.offsets(2);
    world.answer_coordinator();
    let ask = world.ask();
    let gone = ClientError::UnknownBroker { id: BrokerId(2) };
    world.machine.handle(ask.token, Err(gone), world.now);
    world.wait(MS(150));
    world.answer_coordinator();
    world.answer_offsets(ErrorCode::NONE);
    assert!(matches!(world.ended()[..], [(2, Ok(_))]));
}

#[test]
fn only_offsets_that_were_not_stored_are_sent_again() {
    let mut world = World::open(TWO);
    let group = ConsumerGroupMetadata::no_member("g");
    let offsets = [0, 1].map(|p| (TopicPartition::new("in", p), OffsetAndMetadata::new(5)));
    world.machine.send_offsets(2, group, offsets.into());
    world.answer_coordinator();
    let ask = world.ask();
    let partition = |partition_index, error_code| TxnOffsetCommitResponsePartition {
        partition_index,
        error_code,
    };
    let code = ErrorCode::COORDINATOR_LOAD_IN_PROGRESS;
    let partitions = vec![partition(0, ErrorCode::NONE), partition(1, code)];
    let topics = vec![TxnOffsetCommitResponseTopic { name: "in".to_owned(), partitions }];
    let response = TxnOffsetCommitResponse { topics, ..Default::default() };
    world.tell(ask.token, TxnResponse::CommitOffsets(response));
    world.wait(MS(150));
    let ask = world.answer_offsets(ErrorCode::NONE);
    let TxnRequest::CommitOffsets(request, _) = ask.request else { panic!("offsets") };
    assert_eq!(request.topics[0].partitions.len(), 1);
    assert_eq!(request.topics[0].partitions[0].partition_index, 1);
}

/// A broker keeps one question of a producer to the coordinator: what makes it ask goes there one at a time.
#[test]
fn what_a_broker_has_to_verify_goes_there_alone() {
    let (coordinator, other) = (BrokerId(2), BrokerId(3));
    let mut world = World::open(TWO);
    world.machine.start_verifying(coordinator);
    world.machine.start_verifying(other);
    world.offsets(2);
    world.answer_coordinator();
    world.idle();
    world.machine.stop_verifying(coordinator);
    world.answer_offsets(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS);
    assert!(!world.machine.is_verifying(coordinator));
    world.wait(MS(200));
    let ask = world.ask();
    assert!(world.machine.is_verifying(coordinator) && world.machine.is_verifying(other));
    world.lose(&ask);
    assert!(!world.machine.is_verifying(coordinator), "no answer will come");
}

#[test]
fn nothing_waits_for_brokers_that_do_not_verify() {
    let mut world = World::open(ONE);
    world.machine.start_verifying(BrokerId(2));
    assert!(!world.machine.is_verifying(BrokerId(2)));
    // From 3.6 on they do, by either version of the protocol.
    let mut world = World::open(Support { add_partitions: 4, ..ONE });
    world.machine.start_verifying(BrokerId(2));
    assert!(world.machine.is_verifying(BrokerId(2)));
}
