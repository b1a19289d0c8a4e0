//! What goes wrong in a run, and when: a plan that follows from the seed, can be read, and can be cut down to the part
//! that matters. The harness carries it out.
//!
//! Each scenario says which [`Kind`]s can happen to it; a seed picks some of them (so that each is also seen without
//! the others), and then entries at random times. After `heals_at` nothing goes wrong any more.

use std::fmt;
use std::time::Duration;

use milena::broker::{ApiKey, Fault as BrokerFault};
use milena::{BrokerId, ErrorCode};

const MS: fn(u64) -> Duration = Duration::from_millis;

/// Something that goes wrong.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// Everything between the clients and a node is lost; open connections stay silent even when it is over.
    Partition(BrokerId),
    /// The same, for what goes to the node only.
    PartitionTo(BrokerId),
    /// The same, for what comes from it only.
    PartitionFrom(BrokerId),
    /// Everything between the clients and a node waits, and arrives when it is over.
    Hold(BrokerId),
    /// Whatever goes to or comes from a node may take this long.
    Slow(BrokerId, Duration),
    /// The connections to a node break after that many more bytes were sent.
    Cut(BrokerId, usize),
    /// A node is shut down: it closes its connections, and others take over.
    Stop(BrokerId),
    /// A node loses power: nobody is told that its connections are gone.
    Crash(BrokerId),
    /// Another node leads the partition.
    MoveLeader(&'static str, i32, BrokerId),
    /// A partition loses so many of its last offsets in an unclean election.
    Truncate(&'static str, i32, i64),
    /// So many of the first offsets of a partition are deleted.
    DeleteRecords(&'static str, i32, i64),
    /// A topic is compacted.
    Compact(&'static str),
    /// A node forgets its fetch sessions.
    EvictSessions(BrokerId),
    /// A node's replica of a partition copies nothing more until it is over.
    HoldReplica(&'static str, i32, BrokerId),
    /// Everything between a client, by its number, and all nodes is lost: it goes on, and nobody hears of it.
    Isolate(usize),
    /// Another node coordinates the group.
    MoveCoordinator(&'static str, BrokerId),
    /// Another node coordinates the transactions of a client, by its number.
    MoveTransactionCoordinator(usize, BrokerId),
    /// The brokers misbehave on command.
    Broker(BrokerFault),
}

/// A fault with its time.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) at: Duration,
    /// For those that last; the others are over at once.
    pub(crate) lasts: Duration,
    pub(crate) fault: Fault,
}

/// Everything that goes wrong in a run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// With their numbers, which stay when others are left out.
    pub(crate) entries: Vec<(usize, Entry)>,
    pub(crate) heals_at: Duration,
}

/// What faults can happen to.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    pub(crate) nodes: Vec<BrokerId>,
    pub(crate) topic: &'static str,
    pub(crate) partitions: i32,
    pub(crate) request_timeout: Duration,
    /// How many clients there are, where several are members of a group.
    pub(crate) members: usize,
    pub(crate) group: &'static str,
}

/// One sort of fault: how to make one.
pub(crate) type Kind = fn(&mut fastrand::Rng, &Scope) -> (Fault, Duration);

impl Plan {
    /// The plan that follows from `dice`: up to `most` faults of the `kinds` before `heals_at`.
    pub(crate) fn roll(
        dice: &mut fastrand::Rng,
        scope: &Scope,
        kinds: &[Kind],
        most: usize,
        heals_at: Duration,
    ) -> Self {
        let mut kinds = kinds.to_vec();
        dice.shuffle(&mut kinds);
        kinds.truncate(dice.usize(1..=kinds.len()));
        let mut entries: Vec<Entry> = (0..dice.usize(0..=most))
            .map(|_| {
                let at = MS(dice.u64(0..heals_at.as_millis() as u64));
                let (fault, lasts) = dice.choice(&kinds).expect("a kind")(dice, scope);
                Entry { at, lasts: lasts.min(heals_at - at), fault }
            })
            .collect();
        entries.sort_by_key(|entry| entry.at);
        Self { entries: entries.into_iter().enumerate().collect(), heals_at }
    }

    /// The same with only the entries of these numbers.
    pub(crate) fn keep(mut self, numbers: &[usize]) -> Self {
        self.entries.retain(|(number, _)| numbers.contains(number));
        self
    }

    pub(crate) fn numbers(&self) -> Vec<usize> {
        self.entries.iter().map(|&(number, _)| number).collect()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, Entry { at, lasts, fault }) in &self.entries {
            write!(f, "  {number:>3}  at {:>7.3}s  {fault:?}", at.as_secs_f64())?;
            if lasts.is_zero() { writeln!(f) } else { writeln!(f, " for {lasts:?}") }?;
        }
        write!(f, "       at {:>7.3}s  everything is healed", self.heals_at.as_secs_f64())
    }
}

fn node(dice: &mut fastrand::Rng, scope: &Scope) -> BrokerId {
    *dice.choice(&scope.nodes).expect("a node")
}

/// From a blink to longer than a request may take.
fn a_while(dice: &mut fastrand::Rng, scope: &Scope) -> Duration {
    let longest = scope.request_timeout.as_millis() as u64 * 2;
    MS(if dice.bool() { dice.u64(1..200) } else { dice.u64(200..longest) })
}

/// A fault of the broker for some requests of `api`, perhaps on one node or for one partition only.
fn on_requests(dice: &mut fastrand::Rng, scope: &Scope, mut fault: BrokerFault) -> Fault {
    if dice.bool() {
        fault = fault.on_node(node(dice, scope));
    }
    if dice.u8(0..4) == 0 {
        fault = fault.on_partition(scope.topic, dice.i32(0..scope.partitions));
    }
    let times = if dice.u8(0..5) == 0 { 40 } else { dice.u32(1..5) };
    Fault::Broker(fault.after(dice.u32(0..4)).times(times))
}

/// Which of the APIs of a producer; mostly the one that matters.
fn producer_api(dice: &mut fastrand::Rng) -> ApiKey {
    match dice.u8(0..10) {
        0 => ApiKey::METADATA,
        1 => ApiKey::INIT_PRODUCER_ID,
        2 => ApiKey::API_VERSIONS,
        _ => ApiKey::PRODUCE,
    }
}

/// Faults of the network.
pub(crate) const NETWORK: &[Kind] = &[
    |dice, scope| (Fault::Partition(node(dice, scope)), a_while(dice, scope)),
    |dice, scope| (Fault::PartitionTo(node(dice, scope)), a_while(dice, scope)),
    |dice, scope| (Fault::PartitionFrom(node(dice, scope)), a_while(dice, scope)),
    |dice, scope| (Fault::Hold(node(dice, scope)), a_while(dice, scope)),
    |dice, scope| {
        let slow = Fault::Slow(node(dice, scope), MS(dice.u64(10..800)));
        (slow, a_while(dice, scope))
    },
    |dice, scope| {
        let after = if dice.bool() { 0 } else { dice.usize(1..3_000) };
        (Fault::Cut(node(dice, scope), after), Duration::ZERO)
    },
];

/// Faults of nodes and leadership.
pub(crate) const NODES: &[Kind] = &[
    |dice, scope| (Fault::Stop(node(dice, scope)), a_while(dice, scope)),
    |dice, scope| (Fault::Crash(node(dice, scope)), a_while(dice, scope)),
    |dice, scope| {
        let partition = dice.i32(0..scope.partitions);
        (Fault::MoveLeader(scope.topic, partition, node(dice, scope)), Duration::ZERO)
    },
];

/// Answers that are lost, late or wrong, to a producer's requests.
pub(crate) const PRODUCER: &[Kind] = &[
    |dice, scope| {
        let fault = BrokerFault::drop_response(producer_api(dice));
        (on_requests(dice, scope, fault), Duration::ZERO)
    },
    |dice, scope| {
        let fault = BrokerFault::delay_response(producer_api(dice), a_while(dice, scope));
        (on_requests(dice, scope, fault), Duration::ZERO)
    },
    |dice, scope| {
        let fault = BrokerFault::delay_request(producer_api(dice), a_while(dice, scope));
        (on_requests(dice, scope, fault), Duration::ZERO)
    },
    |dice, scope| {
        let fault = BrokerFault::close_before(producer_api(dice));
        (on_requests(dice, scope, fault), Duration::ZERO)
    },
    |dice, scope| {
        let fault = BrokerFault::close_after(producer_api(dice));
        (on_requests(dice, scope, fault), Duration::ZERO)
    },
    // Refused before the append.
    |dice, scope| {
        let codes = [
            ErrorCode::NOT_LEADER_OR_FOLLOWER,
            ErrorCode::NOT_ENOUGH_REPLICAS,
            ErrorCode::LEADER_NOT_AVAILABLE,
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            ErrorCode::KAFKA_STORAGE_ERROR,
            ErrorCode::CORRUPT_MESSAGE,
            ErrorCode::INVALID_RECORD,
            ErrorCode::MESSAGE_TOO_LARGE,
        ];
        let code = *dice.choice(&codes).expect("a code");
        (on_requests(dice, scope, BrokerFault::error(ApiKey::PRODUCE, code)), Duration::ZERO)
    },
    // Appended, and then an error all the same.
    |dice, scope| {
        let codes = [
            ErrorCode::REQUEST_TIMED_OUT,
            ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
            ErrorCode::NOT_LEADER_OR_FOLLOWER,
            ErrorCode::UNKNOWN_SERVER_ERROR,
        ];
        let code = *dice.choice(&codes).expect("a code");
        (on_requests(dice, scope, BrokerFault::error_after(ApiKey::PRODUCE, code)), Duration::ZERO)
    },
    |dice, scope| {
        let (api, code) = match dice.u8(0..3) {
            0 => (ApiKey::INIT_PRODUCER_ID, ErrorCode::COORDINATOR_LOAD_IN_PROGRESS),
            1 => (ApiKey::METADATA, ErrorCode::LEADER_NOT_AVAILABLE),
            _ => (ApiKey::METADATA, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        };
        (on_requests(dice, scope, BrokerFault::error(api, code)), Duration::ZERO)
    },
];

/// Which of the APIs of a consumer; mostly the one that matters.
fn consumer_api(dice: &mut fastrand::Rng) -> ApiKey {
    match dice.u8(0..10) {
        0 => ApiKey::METADATA,
        1 => ApiKey::LIST_OFFSETS,
        2 => ApiKey::OFFSET_FOR_LEADER_EPOCH,
        3 => ApiKey::API_VERSIONS,
        _ => ApiKey::FETCH,
    }
}

/// Answers that are lost, late, empty or wrong, to a consumer's requests, and sessions that are forgotten.
pub(crate) const CONSUMER: &[Kind] = &[
    |dice, scope| {
        let fault = BrokerFault::drop_response(consumer_api(dice));
        (on_requests(dice, scope, fault), Duration::ZERO)
    },
    |dice, scope| {
        let fault = BrokerFault::delay_response(consumer_api(dice), a_while(dice, scope));
        (on_requests(dice, scope, fault), Duration::ZERO)
    },
    |dice, scope| {
        let fault = BrokerFault::close_before(consumer_api(dice));
        (on_requests(dice, scope, fault), Duration::ZERO)
    },
    |dice, scope| {
        let fault = BrokerFault::close_after(consumer_api(dice));
        (on_requests(dice, scope, fault), Duration::ZERO)
    },
    |dice, scope| {
        let fault = BrokerFault::throttle(ApiKey::FETCH, MS(dice.u64(1..400)));
        (on_requests(dice, scope, fault), Duration::ZERO)
    },
    |dice, scope| {
        let codes = [
            ErrorCode::NOT_LEADER_OR_FOLLOWER,
            ErrorCode::FENCED_LEADER_EPOCH,
            ErrorCode::UNKNOWN_LEADER_EPOCH,
            ErrorCode::LEADER_NOT_AVAILABLE,
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            ErrorCode::KAFKA_STORAGE_ERROR,
            ErrorCode::OFFSET_NOT_AVAILABLE,
            ErrorCode::FETCH_SESSION_ID_NOT_FOUND,
            ErrorCode::INVALID_FETCH_SESSION_EPOCH,
        ];
        let code = *dice.choice(&codes).expect("a code");
        (on_requests(dice, scope, BrokerFault::error(ApiKey::FETCH, code)), Duration::ZERO)
    },
    |dice, scope| {
        let codes = [
            ErrorCode::NOT_LEADER_OR_FOLLOWER,
            ErrorCode::OFFSET_NOT_AVAILABLE,
            ErrorCode::FENCED_LEADER_EPOCH,
        ];
        let code = *dice.choice(&codes).expect("a code");
        (on_requests(dice, scope, BrokerFault::error(ApiKey::LIST_OFFSETS, code)), Duration::ZERO)
    },
    |dice, scope| (Fault::EvictSessions(node(dice, scope)), Duration::ZERO),
];

/// What happens to logs that a consumer has to get over without a loss.
pub(crate) const LOGS: &[Kind] = &[
    |_, scope| (Fault::Compact(scope.topic), Duration::ZERO),
    |dice, scope| {
        let partition = dice.i32(0..scope.partitions);
        (Fault::DeleteRecords(scope.topic, partition, dice.i64(1..60)), Duration::ZERO)
    },
    |dice, scope| {
        let partition = dice.i32(0..scope.partitions);
        (Fault::HoldReplica(scope.topic, partition, node(dice, scope)), a_while(dice, scope))
    },
];

/// Elections that lose what was acknowledged.
pub(crate) const UNCLEAN: &[Kind] = &[|dice, scope| {
    let partition = dice.i32(0..scope.partitions);
    (Fault::Truncate(scope.topic, partition, dice.i64(1..30)), Duration::ZERO)
}];

/// Which of the APIs of a member.
fn member_api(dice: &mut fastrand::Rng) -> ApiKey {
    let apis = [
        ApiKey::FIND_COORDINATOR,
        ApiKey::JOIN_GROUP,
        ApiKey::SYNC_GROUP,
        ApiKey::HEARTBEAT,
        ApiKey::LEAVE_GROUP,
        ApiKey::CONSUMER_GROUP_HEARTBEAT,
        ApiKey::OFFSET_COMMIT,
        ApiKey::OFFSET_COMMIT,
        ApiKey::OFFSET_FETCH,
    ];
    *dice.choice(&apis).expect("an api")
}

/// A code that a coordinator may answer one of these requests with, and that a member gets over.
fn of_group(dice: &mut fastrand::Rng) -> (ApiKey, ErrorCode) {
    let api = member_api(dice);
    let absent = [
        ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
        ErrorCode::COORDINATOR_NOT_AVAILABLE,
        ErrorCode::NOT_COORDINATOR,
    ];
    let more: &[ErrorCode] = match api {
        ApiKey::JOIN_GROUP => &[ErrorCode::UNKNOWN_MEMBER_ID, ErrorCode::REBALANCE_IN_PROGRESS],
        ApiKey::SYNC_GROUP | ApiKey::HEARTBEAT => &[
            ErrorCode::UNKNOWN_MEMBER_ID,
            ErrorCode::ILLEGAL_GENERATION,
            ErrorCode::REBALANCE_IN_PROGRESS,
        ],
        ApiKey::CONSUMER_GROUP_HEARTBEAT => {
            &[ErrorCode::UNKNOWN_MEMBER_ID, ErrorCode::FENCED_MEMBER_EPOCH]
        }
        ApiKey::OFFSET_COMMIT => &[
            ErrorCode::UNKNOWN_MEMBER_ID,
            ErrorCode::REBALANCE_IN_PROGRESS,
            ErrorCode::REQUEST_TIMED_OUT,
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        ],
        ApiKey::OFFSET_FETCH => &[ErrorCode::UNSTABLE_OFFSET_COMMIT],
        _ => &[],
    };
    (api, *dice.choice([&absent, more].concat().as_slice()).expect("a code"))
}

/// What goes wrong with a coordinator and between it and the members.
pub(crate) const GROUP: &[Kind] = &[
    |dice, scope| {
        let longest = scope.request_timeout.as_millis() as u64 * 6;
        (Fault::Isolate(dice.usize(0..scope.members)), MS(dice.u64(100..longest)))
    },
    |dice, scope| (Fault::MoveCoordinator(scope.group, node(dice, scope)), Duration::ZERO),
    |dice, scope| {
        let fault = BrokerFault::drop_response(member_api(dice));
        (on_requests(dice, scope, fault), Duration::ZERO)
    },
    |dice, scope| {
        let fault = BrokerFault::delay_response(member_api(dice), a_while(dice, scope));
        (on_requests(dice, scope, fault), Duration::ZERO)
    },
    |dice, scope| {
        let fault = BrokerFault::delay_request(member_api(dice), a_while(dice, scope));
        (on_requests(dice, scope, fault), Duration::ZERO)
    },
    |dice, scope| {
        let fault = BrokerFault::close_before(member_api(dice));
        (on_requests(dice, scope, fault), Duration::ZERO)
    },
    |dice, scope| {
        let fault = BrokerFault::close_after(member_api(dice));
        (on_requests(dice, scope, fault), Duration::ZERO)
    },
    |dice, scope| {
        let (api, code) = of_group(dice);
        (on_requests(dice, scope, BrokerFault::error(api, code)), Duration::ZERO)
    },
    // Done, and then an error all the same.
    |dice, scope| {
        let (api, code) = of_group(dice);
        (on_requests(dice, scope, BrokerFault::error_after(api, code)), Duration::ZERO)
    },
];

/// Which of the APIs of transactions.
fn transaction_api(dice: &mut fastrand::Rng) -> ApiKey {
    let apis = [
        ApiKey::FIND_COORDINATOR,
        ApiKey::INIT_PRODUCER_ID,
        ApiKey::ADD_PARTITIONS_TO_TXN,
        ApiKey::ADD_OFFSETS_TO_TXN,
        ApiKey::TXN_OFFSET_COMMIT,
        ApiKey::END_TXN,
        ApiKey::END_TXN,
        ApiKey::PRODUCE,
    ];
    *dice.choice(&apis).expect("an api")
}

/// A code that may come in answer to one of these requests, and that a producer gets over.
fn of_transaction(dice: &mut fastrand::Rng) -> (ApiKey, ErrorCode) {
    let api = transaction_api(dice);
    let code = match api {
        ApiKey::PRODUCE => {
            let codes = [ErrorCode::NOT_LEADER_OR_FOLLOWER, ErrorCode::CONCURRENT_TRANSACTIONS];
            *dice.choice(&codes).expect("a code")
        }
        ApiKey::FIND_COORDINATOR => ErrorCode::COORDINATOR_NOT_AVAILABLE,
        _ => {
            let codes = [
                ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
                ErrorCode::COORDINATOR_NOT_AVAILABLE,
                ErrorCode::NOT_COORDINATOR,
                ErrorCode::REQUEST_TIMED_OUT,
            ];
            *dice.choice(&codes).expect("a code")
        }
    };
    (api, code)
}

/// What goes wrong with the coordinators of transactions and on the way to them.
pub(crate) const TRANSACTIONS: &[Kind] = &[
    |dice, scope| {
        let client = dice.usize(0..scope.members);
        (Fault::MoveTransactionCoordinator(client, node(dice, scope)), Duration::ZERO)
    },
    |dice, scope| {
        let fault = BrokerFault::drop_response(transaction_api(dice));
        (on_requests(dice, scope, fault), Duration::ZERO)
    },
    |dice, scope| {
        let fault = BrokerFault::delay_response(transaction_api(dice), a_while(dice, scope));
        (on_requests(dice, scope, fault), Duration::ZERO)
    },
    |dice, scope| {
        let fault = BrokerFault::delay_request(transaction_api(dice), a_while(dice, scope));
        (on_requests(dice, scope, fault), Duration::ZERO)
    },
    |dice, scope| {
        let fault = BrokerFault::close_before(transaction_api(dice));
        (on_requests(dice, scope, fault), Duration::ZERO)
    },
    |dice, scope| {
        let fault = BrokerFault::close_after(transaction_api(dice));
        (on_requests(dice, scope, fault), Duration::ZERO)
    },
    |dice, scope| {
        let (api, code) = of_transaction(dice);
        (on_requests(dice, scope, BrokerFault::error(api, code)), Duration::ZERO)
    },
    // Something that calls for an abort.
    |dice, scope| {
        let apis = [ApiKey::END_TXN, ApiKey::TXN_OFFSET_COMMIT, ApiKey::PRODUCE];
        let api = *dice.choice(&apis).expect("an api");
        let fault = BrokerFault::error(api, ErrorCode::TRANSACTION_ABORTABLE);
        (on_requests(dice, scope, fault), Duration::ZERO)
    },
];
