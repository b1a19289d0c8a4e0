//! Random answers, losses and late copies, against a model of coordinators: what is told as committed was, what is told as
//! aborted never is, no request of one transaction ends another, and all comes to rest.

use std::collections::BTreeSet;

use super::*;
use crate::protocol::messages::end_txn::EndTxnRequest;

/// The transaction's coordinator and that of the group, by Kafka's rules. It knows in which transaction of the machine
/// each request was made.
#[derive(Debug)]
struct Model {
    two: bool,
    epoch: i16,
    last_epoch: i16,
    /// The one that is open.
    ongoing: Option<u64>,
    groups: BTreeSet<String>,
    /// How the last one ended.
    complete: Option<bool>,
    /// Those of which the coordinator has heard.
    touched: BTreeSet<u64>,
    committed: BTreeSet<u64>,
}

impl Model {
    fn check(&self, id: i64, epoch: i16) -> Result<(), ErrorCode> {
        match () {
            () if id != ID.id => Err(ErrorCode::INVALID_PRODUCER_ID_MAPPING),
            () if epoch != self.epoch => Err(ErrorCode::PRODUCER_FENCED),
            () => Ok(()),
        }
    }

    fn add(&mut self, serial: u64, id: i64, epoch: i16) -> Result<(), ErrorCode> {
        self.check(id, epoch)?;
        let open = *self.ongoing.get_or_insert(serial);
        assert_eq!(open, serial, "something of {serial} joins {open}");
        self.touched.insert(serial);
        Ok(())
    }

    fn settle(&mut self, committed: bool) {
        if let Some(serial) = self.ongoing.take() {
            self.committed.extend(committed.then_some(serial));
        }
        self.groups.clear();
        self.complete = Some(committed);
    }

    fn init(&mut self, id: i64, epoch: i16) -> Result<ProducerIdentity, ErrorCode> {
        if self.ongoing.is_some() {
            self.settle(false);
            (self.last_epoch, self.epoch) = (-1, self.epoch + 1);
            return Err(ErrorCode::CONCURRENT_TRANSACTIONS);
        }
        match (id, epoch) {
            (-1, -1) => (self.last_epoch, self.epoch) = (-1, self.epoch + 1),
            (_, epoch) if epoch == self.epoch => {
                (self.last_epoch, self.epoch) = (epoch, self.epoch + 1);
            }
            (_, epoch) if epoch == self.last_epoch => {}
            _ => return Err(ErrorCode::PRODUCER_FENCED),
        }
        self.complete = None;
        Ok(ProducerIdentity { id: ID.id, epoch: self.epoch })
    }

    fn end(&mut self, serial: u64, end: &EndTxnRequest) -> Result<(), ErrorCode> {
        let same_end = self.complete == Some(end.committed) && self.ongoing.is_none();
        if self.two && end.producer_epoch + 1 == self.epoch && same_end {
            return Ok(());
        }
        self.check(end.producer_id, end.producer_epoch)?;
        match self.ongoing {
            Some(open) => assert_eq!(open, serial, "the end of {serial} ends {open}"),
            None if same_end && !self.two => return Ok(()),
            None if self.two && !end.committed => {}
            None => return Err(ErrorCode::INVALID_TXN_STATE),
        }
        self.settle(end.committed);
        if self.two {
            (self.last_epoch, self.epoch) = (self.epoch, self.epoch + 1);
        }
        Ok(())
    }

    /// Carries the request out, and answers it.
    fn apply(&mut self, serial: u64, request: &TxnRequest) -> TxnResponse {
        self.answer(request, |model| match request {
            TxnRequest::FindCoordinator(_) | TxnRequest::InitProducerId(_) => Ok(()),
            TxnRequest::AddPartitions(request) => {
                let epoch = request.v3_and_below_producer_epoch;
                model.add(serial, request.v3_and_below_producer_id, epoch)
            }
            TxnRequest::AddOffsets(request) => {
                model.add(serial, request.producer_id, request.producer_epoch)?;
                model.groups.insert(request.group_id.clone());
                Ok(())
            }
            TxnRequest::CommitOffsets(request, _) if model.two => {
                model.add(serial, request.producer_id, request.producer_epoch)
            }
            TxnRequest::CommitOffsets(request, _) => {
                model.check(request.producer_id, request.producer_epoch)?;
                let added = model.groups.contains(&request.group_id);
                if added { Ok(()) } else { Err(ErrorCode::TRANSACTION_ABORTABLE) }
            }
            TxnRequest::End(request, _) => model.end(serial, request),
        })
    }

    /// The answer to a request, after `act`.
    fn answer(
        &mut self,
        request: &TxnRequest,
        act: impl FnOnce(&mut Self) -> Result<(), ErrorCode>,
    ) -> TxnResponse {
        let code = act(self).err().unwrap_or(ErrorCode::NONE);
        match request {
            TxnRequest::FindCoordinator(key) => {
                let (CoordinatorKey::Group(key) | CoordinatorKey::Transaction(key)) = key.clone();
                let entry = Entry { key, node_id: 2, error_code: code, ..Default::default() };
                let coordinators = vec![entry];
                let found = FindCoordinatorResponse { coordinators, ..Default::default() };
                TxnResponse::FindCoordinator(found)
            }
            TxnRequest::InitProducerId(request) => {
                let code = if code.is_ok() { Ok(()) } else { Err(code) };
                let given =
                    code.and_then(|()| self.init(request.producer_id, request.producer_epoch));
                let identity = given.unwrap_or(ProducerIdentity::NONE);
                TxnResponse::InitProducerId(InitProducerIdResponse {
                    error_code: given.err().unwrap_or(ErrorCode::NONE),
                    producer_id: identity.id,
                    producer_epoch: identity.epoch,
                    ..Default::default()
                })
            }
            TxnRequest::AddPartitions(request) => {
                let results = request.v3_and_below_topics.iter().map(|topic| {
                    let each = topic.partitions.iter().map(|&partition_index| {
                        let partition_error_code = code;
                        AddPartitionsToTxnPartitionResult { partition_index, partition_error_code }
                    });
                    let results_by_partition = each.collect();
                    AddPartitionsToTxnTopicResult { name: topic.name.clone(), results_by_partition }
                });
                TxnResponse::AddPartitions(AddPartitionsToTxnResponse {
                    results_by_topic_v3_and_below: results.collect(),
                    ..Default::default()
                })
            }
            TxnRequest::AddOffsets(_) => TxnResponse::AddOffsets(AddOffsetsToTxnResponse {
                error_code: code,
                ..Default::default()
            }),
            TxnRequest::CommitOffsets(request, _) => {
                let topics = request.topics.iter().map(|topic| {
                    let each = topic.partitions.iter().map(|partition| {
                        let partition_index = partition.partition_index;
                        TxnOffsetCommitResponsePartition { partition_index, error_code: code }
                    });
                    let partitions = each.collect();
                    TxnOffsetCommitResponseTopic { name: topic.name.clone(), partitions }
                });
                let topics = topics.collect();
                TxnResponse::CommitOffsets(TxnOffsetCommitResponse { topics, ..Default::default() })
            }
            TxnRequest::End(..) => {
                let told = self.two && code.is_ok();
                let (producer_id, producer_epoch) =
                    if told { (ID.id, self.epoch) } else { (-1, -1) };
                let error_code = code;
                TxnResponse::End(EndTxnResponse {
                    error_code,
                    producer_id,
                    producer_epoch,
                    ..Default::default()
                })
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waits {
    Begin,
    Settled,
    Offsets,
    End { commit: bool, serial: u64 },
}

/// A run: what the user, the network and the coordinators do is random.
struct Run {
    world: World,
    model: Model,
    random: fastrand::Rng,
    /// Copies that may still arrive, with the transaction that each was made in.
    late: Vec<(u64, TxnRequest)>,
    /// Who waits for what.
    waiting: Vec<(u64, Waits)>,
    last_operation: u64,
    /// Whether a guard is there, by which a transaction is ended.
    guarded: bool,
    /// Told as aborted.
    void: BTreeSet<u64>,
    commits: usize,
    faults: bool,
    context: String,
}

const OFTEN: [ErrorCode; 6] = [
    ErrorCode::CONCURRENT_TRANSACTIONS,
    ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
    ErrorCode::NOT_COORDINATOR,
    ErrorCode::COORDINATOR_NOT_AVAILABLE,
    ErrorCode::TRANSACTION_ABORTABLE,
    ErrorCode::ILLEGAL_GENERATION,
];

impl Run {
    fn new(seed: u64, support: Support) -> Self {
        let model = Model {
            two: support == TWO,
            epoch: ID.epoch,
            last_epoch: -1,
            ongoing: None,
            groups: BTreeSet::new(),
            complete: None,
            touched: BTreeSet::new(),
            committed: BTreeSet::new(),
        };
        Self {
            world: World::ready(support),
            model,
            random: fastrand::Rng::with_seed(seed),
            late: Vec::new(),
            waiting: Vec::new(),
            last_operation: 0,
            guarded: false,
            void: BTreeSet::new(),
            commits: 0,
            faults: true,
            context: format!("seed {seed}, {:?}", support.version()),
        }
    }

    fn operation(&mut self, waits: Waits) -> u64 {
        self.last_operation += 1;
        self.waiting.push((self.last_operation, waits));
        self.last_operation
    }

    /// What a user may do now.
    fn act(&mut self) {
        let serial = self.world.machine.serial();
        if !self.guarded {
            if self.waiting.iter().any(|(_, waits)| *waits == Waits::Begin) {
                return;
            }
            if self.random.u8(..4) > 0 {
                let operation = self.operation(Waits::Begin);
                self.world.machine.begin(operation);
            } else {
                let operation = self.operation(Waits::Settled);
                self.world.machine.settle(operation);
            }
            return;
        }
        match self.random.u8(..12) {
            0..=4 => self.write(serial),
            5..=7 => {
                let operation = self.operation(Waits::Offsets);
                let group = ConsumerGroupMetadata::no_member(["g", "h"][self.random.usize(..2)]);
                let offsets = [(TopicPartition::new("in", 0), OffsetAndMetadata::new(5))];
                self.world.machine.send_offsets(operation, group, offsets.into());
            }
            8 => self.world.machine.doom(AbortCause::Aborted, self.world.now),
            9 => self.world.quiet = self.random.bool(),
            _ => {
                let commit = self.random.u8(..3) > 0;
                let operation = match self.random.u8(..4) {
                    0 if !commit => None,
                    _ => Some(self.operation(Waits::End { commit, serial })),
                };
                self.world.machine.finish(commit, operation, self.world.now);
                self.guarded = false;
            }
        }
    }

    /// A batch goes to a partition, if it may, and is written.
    fn write(&mut self, serial: u64) {
        let machine = &mut self.world.machine;
        let Some(identity) = machine.identity().filter(|_| !machine.is_doomed()) else { return };
        if machine.enrol(TopicPartition::new("x", self.random.i32(..3))) {
            machine.sent();
            if self.model.two {
                let taken = self.model.add(serial, identity.id, identity.epoch);
                // The coordinator may have lost it by its time-out, and the answer may be lost.
                if taken.is_ok() && self.random.u8(..4) > 0 {
                    machine.written();
                }
            }
        }
    }

    /// One of the requests on their way ends, or a copy arrives late.
    fn carry(&mut self) {
        let serial = self.world.machine.serial();
        if self.faults && !self.late.is_empty() && self.random.u8(..4) == 0 {
            let (serial, request) = self.late.swap_remove(self.random.usize(..self.late.len()));
            self.model.apply(serial, &request);
        }
        if self.world.asks.is_empty() {
            return;
        }
        let ask = self.world.asks.swap_remove(self.random.usize(..self.world.asks.len()));
        let fault = if self.faults { self.random.u8(..20) } else { 19 };
        match fault {
            // Lost on its way back.
            0..=1 => {
                self.model.apply(serial, &ask.request);
                self.world.lose(&ask);
            }
            // Lost on its way there, for now or for good. A late InitProducerId fences whoever has been given an id since.
            2..=3 => {
                let init = matches!(ask.request, TxnRequest::InitProducerId(_));
                if !init || self.random.u8(..8) == 0 {
                    self.late.push((serial, ask.request.clone()));
                }
                self.world.lose(&ask);
            }
            4 => {
                self.world.machine.handle(ask.token, Err(lost(false)), self.world.now);
            }
            5..=7 => {
                let code = match self.random.u16(..40) {
                    0 => ErrorCode::ALL[self.random.usize(..ErrorCode::ALL.len())],
                    _ => OFTEN[self.random.usize(..OFTEN.len())],
                };
                if code.is_ok() {
                    return self.world.asks.push(ask);
                }
                let response = self.model.answer(&ask.request, |_| Err(code));
                self.world.tell(ask.token, response);
            }
            _ => {
                let response = self.model.apply(serial, &ask.request);
                self.world.tell(ask.token, response);
            }
        }
    }

    /// What has ended, each once.
    fn hear(&mut self) {
        let (ended, asks) = (self.world.machine.fatal().is_some(), self.world.asks.len());
        self.world.poll();
        assert!(!ended || self.world.asks.len() == asks, "{}: asked after the end", self.context);
        for (operation, result) in self.world.ended() {
            let context = format!("{}: {operation} {result:?} {:?}", self.context, self.model);
            let at = self.waiting.iter().position(|(waits, _)| *waits == operation);
            let (_, waits) = self.waiting.swap_remove(at.expect(&context));
            match (waits, result) {
                (Waits::Begin, result) => {
                    let fatal = matches!(result, Err(TransactionError::Fatal(_)));
                    assert!(result.is_ok() || fatal, "{context}");
                    self.guarded = result.is_ok();
                    self.world.quiet = true;
                }
                (Waits::Settled | Waits::Offsets, _) => {}
                (Waits::End { commit: true, serial }, Ok(Some(TransactionOutcome::Committed))) => {
                    let touched = self.model.touched.contains(&serial);
                    assert_eq!(touched, self.model.committed.contains(&serial), "{context}");
                    self.commits += 1;
                }
                (Waits::End { serial, .. }, Ok(Some(TransactionOutcome::Aborted)))
                | (Waits::End { serial, commit: true }, Err(TransactionError::Abortable(_))) => {
                    self.void.insert(serial);
                }
                (Waits::End { .. }, Err(TransactionError::Fatal(_))) => {}
                _ => panic!("{context}"),
            }
        }
        let told = self.void.intersection(&self.model.committed).next();
        assert_eq!(told, None, "{}: told as aborted {:?}", self.context, self.model);
    }

    /// All faults are over: everything ends, and nothing is asked any more.
    fn rest(&mut self) {
        self.faults = false;
        self.world.quiet = true;
        if self.guarded {
            let serial = self.world.machine.serial();
            let operation = self.operation(Waits::End { commit: true, serial });
            self.world.machine.finish(true, Some(operation), self.world.now);
            self.guarded = false;
        }
        for _ in 0..200 {
            self.hear();
            if self.guarded {
                self.world.machine.finish(false, None, self.world.now);
                self.guarded = false;
            }
            self.carry();
            self.world.wait(MS(50));
        }
        self.hear();
        let end = format!("{}: {:?} {:?}", self.context, self.world.machine, self.model);
        assert!(self.waiting.is_empty(), "{end}: {:?}", self.waiting);
        assert!(self.world.machine.is_settled() && self.world.asks.is_empty(), "{end}");
        assert!(self.world.machine.next_deadline().is_none_or(|at| at > self.world.now), "{end}");
        if self.world.machine.fatal().is_none() {
            assert_eq!(self.model.ongoing, None, "{end}: it hangs");
        }
    }
}

fn run(seed: u64, support: Support) -> Run {
    let mut run = Run::new(seed, support);
    for _ in 0..150 {
        match run.random.u8(..6) {
            0..=1 => run.act(),
            2..=4 => run.carry(),
            _ => run.world.wait(MS(run.random.u64(..300))),
        }
        run.hear();
    }
    run.rest();
    run
}

#[test]
fn whatever_coordinators_answer_and_the_network_loses() {
    let (mut commits, mut ends) = (0, 0);
    let seeds = 1_500;
    for seed in 0..seeds {
        for support in [ONE, TWO] {
            let run = run(seed, support);
            commits += run.commits;
            ends += u64::from(run.world.machine.fatal().is_some());
        }
    }
    assert!(commits > 1_000 && ends < seeds, "{commits} commits, {ends} producers ended");
}
