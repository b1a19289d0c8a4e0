//! Members of a group whose brokers lie: batches that cannot be read, members that are rejected, assignments of what
//! there is not. Each is told, or comes to nothing; no position moves past what was not delivered, what the member can
//! read it reads on, and it stays in its group or comes back to it.

use std::time::Duration;

use bytes::Bytes;
use milena::broker::ApiKey;
use milena::protocol::messages::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, TopicPartitions,
};
use milena::protocol::messages::fetch::{AbortedTransaction, FetchRequest, FetchResponse};
use milena::protocol::messages::heartbeat::HeartbeatRequest;
use milena::protocol::messages::join_group::JoinGroupRequest;
use milena::protocol::messages::offset_commit::OffsetCommitRequest;
use milena::protocol::messages::sync_group::SyncGroupRequest;
use milena::{
    CommitError, Consumer, ConsumerConfig, ConsumerError, ErrorCode, GroupError, OffsetReset,
    TopicId, TopicPartition,
};
use tokio::time::Instant;

use crate::batches::{bomb_of, plain_with};
use crate::harness::{MIB, all, run};
use crate::server::{Exchange, Reply, Server, TOPIC};
use crate::session::{COMMON, partition};

const OTHER: &str = "refunds";
const SECOND: Duration = Duration::from_secs(1);
const REJECTED: ErrorCode = ErrorCode::UNKNOWN_MEMBER_ID;

fn other() -> TopicPartition {
    TopicPartition::new(OTHER, 0)
}

/// A server with both topics.
async fn server() -> Server {
    let server = Server::start().await;
    server.cluster.create_topic(OTHER).unwrap();
    server
}

fn member(server: &Server, properties: &[(&str, &str)]) -> Consumer {
    let mut consumer = unsubscribed(server, properties);
    consumer.subscribe([TOPIC, OTHER]).unwrap();
    consumer
}

fn unsubscribed(server: &Server, properties: &[(&str, &str)]) -> Consumer {
    let config = ConsumerConfig::builder()
        .bootstrap_servers(server.cluster.bootstrap_servers())
        .properties(COMMON)
        .properties([("group.id", "g"), ("enable.auto.commit", "false")])
        .properties(properties.iter().copied())
        .fetch_max_bytes(900_000)
        .auto_offset_reset(OffsetReset::Earliest)
        .build()
        .unwrap();
    Consumer::builder(config).connector(server.connector()).seed(1).build()
}

const CLASSIC: &[(&str, &str)] =
    &[("session.timeout.ms", "6000"), ("heartbeat.interval.ms", "1000")];
const MODERN: &[(&str, &str)] = &[("group.protocol", "consumer")];
const COMMITTED: &[(&str, &str)] = &[("isolation.level", "read_committed")];

fn write(server: &Server, topic: &str) {
    server.cluster.writer().write(topic, 0, ["value"]).unwrap();
}

/// What came of polling for some time.
#[derive(Debug, Default)]
struct Polled {
    records: Vec<(TopicPartition, i64)>,
    errors: Vec<ConsumerError>,
}

impl Polled {
    /// The offsets that came of a partition, in their order.
    fn of(&self, partition: &TopicPartition) -> Vec<i64> {
        let of = self.records.iter().filter(|(name, _)| name == partition);
        of.map(|(_, offset)| *offset).collect()
    }
}

async fn poll_for(consumer: &mut Consumer, time: Duration) -> Polled {
    let mut polled = Polled::default();
    let start = Instant::now();
    while start.elapsed() < time {
        match consumer.poll(SECOND / 2).await {
            Ok(records) => polled.records.extend(records.iter().map(|record| {
                (TopicPartition::new(record.topic, record.partition), record.offset)
            })),
            Err(error) => {
                polled.errors.push(error);
                // As one does who tries again.
                tokio::time::sleep(SECOND / 10).await;
            }
        }
    }
    polled
}

/// Polls until so many records of a partition have come; nothing may be wrong any more.
async fn reads(case: &str, consumer: &mut Consumer, partition: &TopicPartition, offsets: &[i64]) {
    let mut came = Vec::new();
    let start = Instant::now();
    while came.len() < offsets.len() {
        assert!(start.elapsed() < 60 * SECOND, "{case}: of {partition} only {came:?} came");
        let polled = poll_for(consumer, SECOND).await;
        // What has lasted for long is told by the next poll, although it is over.
        let told = |error: &ConsumerError| !matches!(error, ConsumerError::Unavailable { .. });
        assert!(!polled.errors.iter().any(told), "{case}: {:?}", polled.errors);
        came.extend(polled.of(partition));
    }
    assert_eq!(came, offsets, "{case}");
}

// ---- what is fetched --------------------------------------------------------------------------

/// Puts a lie wherever the truth is.
fn in_place_of(truth: &Bytes, lie: Vec<u8>) -> impl FnMut(&mut FetchResponse) + use<> {
    let (truth, lie) = (truth.clone(), Bytes::from(lie));
    move |response| {
        for data in response.responses.iter_mut().flat_map(|topic| &mut topic.partitions) {
            let lies = data.records.as_ref() == Some(&truth);
            data.records = if lies { Some(lie.clone()) } else { data.records.take() };
        }
    }
}

/// A name, and bytes in place of the truth.
type Unreadable = (&'static str, fn() -> Vec<u8>);

const UNREADABLE: &[Unreadable] = &[
    ("a CRC that does not match", || plain_with(|bytes| bytes[20] ^= 1)),
    ("a length that lies", || plain_with(|bytes| bytes[8..12].copy_from_slice(&[0x7f; 4]))),
    ("a count that lies", || lying(|header| header.count = i32::MAX)),
    ("an offset that does not fit", || lying(|header| header.last_offset_delta = -1)),
    ("an unknown magic", || plain_with(|bytes| bytes[16] = 9)),
    ("a bomb", bomb_of),
];

fn lying(edit: impl FnOnce(&mut milena::record::BatchHeader)) -> Vec<u8> {
    plain_with(|bytes| {
        let mut header = milena::record::BatchHeader::parse(bytes).unwrap();
        edit(&mut header);
        header.write(bytes).unwrap();
    })
}

#[test]
fn a_member_that_cannot_read_a_batch_stays_and_reads_the_rest() {
    let protocols = [CLASSIC, MODERN].into_iter();
    let cases =
        protocols.flat_map(|protocol| UNREADABLE.iter().map(move |wrong| (wrong, protocol)));
    all(
        cases,
        |((name, _), protocol)| format!("{name}, {}", protocol[0].0),
        |case, ((_, bytes), protocol)| run(case, 9 * MIB, unreadable(case, bytes(), protocol)),
    );
}

async fn unreadable(case: &str, bytes: Vec<u8>, protocol: &[(&str, &str)]) {
    let server = server().await;
    write(&server, TOPIC);
    let truth = server.cluster.batches(TOPIC, 0).remove(0).bytes;
    server.edit::<FetchRequest>(in_place_of(&truth, bytes));
    let mut consumer = member(&server, protocol);
    poll_for(&mut consumer, 5 * SECOND).await;
    let joined = server.cluster.group("g").unwrap();

    // Longer than sessions are.
    let (mut errors, mut came) = (Vec::new(), Vec::new());
    for _ in 0..10 {
        write(&server, OTHER);
        let polled = poll_for(&mut consumer, 6 * SECOND).await;
        assert_eq!(polled.of(&partition()), [], "{case}");
        came.extend(polled.of(&other()));
        errors.extend(polled.errors);
        assert_eq!(consumer.position(&partition()), Some(0), "{case}");
    }
    assert_eq!(came, (0..10).collect::<Vec<_>>(), "{case}: the other partition");
    assert!(!errors.is_empty(), "{case}: nothing was told");
    for error in &errors {
        let ConsumerError::InvalidBatch { partition: at, .. } = error else {
            panic!("{case}: {error}")
        };
        assert_eq!(*at, partition(), "{case}");
    }
    consumer.commit().await.unwrap();
    let now = server.cluster.group("g").unwrap();
    assert_eq!((now.generation, now.members.len()), (joined.generation, 1), "{case}");
    assert_eq!(now.offsets.get(&partition()).map_or(0, |at| at.offset), 0, "{case}");
    assert_eq!(now.offsets[&other()].offset, 10, "{case}");

    server.behave();
    reads(case, &mut consumer, &partition(), &[0]).await;
    assert!(consumer.close(10 * SECOND).await, "{case}");
}

#[test]
fn an_aborted_index_of_producers_that_nobody_knows_hides_nothing() {
    let case = "unknown producers";
    run(case, 2 * MIB, async {
        let server = server().await;
        let mut transactions = server.cluster.writer();
        for record in ["first", "second"] {
            // In no transaction, and in one that commits.
            write(&server, TOPIC);
            transactions.begin().unwrap();
            transactions.write(TOPIC, 0, [record]).unwrap();
            transactions.commit().unwrap();
        }
        let entry = |producer_id, first_offset| AbortedTransaction { producer_id, first_offset };
        let index = vec![
            entry(99_999, 0),
            entry(-1, 0),
            entry(i64::MIN, i64::MAX),
            entry(i64::MAX, i64::MIN),
            entry(99_999, 0),
        ];
        server.edit::<FetchRequest>(move |response| {
            for data in response.responses.iter_mut().flat_map(|topic| &mut topic.partitions) {
                data.aborted_transactions = Some(index.clone());
            }
        });
        let mut consumer = member(&server, &[CLASSIC, COMMITTED].concat());
        reads(case, &mut consumer, &partition(), &[0, 1, 3, 4]).await;
        let end = server.cluster.offsets(TOPIC, 0).unwrap().end;
        assert_eq!(consumer.position(&partition()), Some(end));
    });
}

// ---- what the coordinator says ----------------------------------------------------------------

/// Which answers reject a member, of which protocol.
type Rejection =
    (&'static str, fn(&Exchange<'_>) -> Reply, &'static [(&'static str, &'static str)]);

const REJECTIONS: &[Rejection] = &[
    ("JoinGroup", reject_join, CLASSIC),
    ("JoinGroup that asks for an id without end", ask_for_an_id, CLASSIC),
    ("SyncGroup", reject_sync, CLASSIC),
    ("Heartbeat", reject_heartbeat, CLASSIC),
    ("ConsumerGroupHeartbeat", reject_consumer, MODERN),
];

fn reject_join(exchange: &Exchange<'_>) -> Reply {
    exchange.edited_if::<JoinGroupRequest>(|response| response.error_code = REJECTED)
}

fn ask_for_an_id(exchange: &Exchange<'_>) -> Reply {
    exchange.edited_if::<JoinGroupRequest>(|response| {
        response.error_code = ErrorCode::MEMBER_ID_REQUIRED;
        response.member_id = "another".to_owned();
    })
}

fn reject_sync(exchange: &Exchange<'_>) -> Reply {
    exchange.edited_if::<SyncGroupRequest>(|response| response.error_code = REJECTED)
}

fn reject_heartbeat(exchange: &Exchange<'_>) -> Reply {
    exchange.edited_if::<HeartbeatRequest>(|response| response.error_code = REJECTED)
}

fn reject_consumer(exchange: &Exchange<'_>) -> Reply {
    exchange.edited_if::<ConsumerGroupHeartbeatRequest>(|response| response.error_code = REJECTED)
}

/// Nothing is lost, nothing is asked for in a circle, and the member comes back.
#[test]
fn a_member_that_is_rejected_comes_back() {
    all(
        REJECTIONS,
        |(name, ..)| (*name).to_owned(),
        |case, &(_, reject, protocol)| {
            run(case, 2 * MIB, async {
                let server = server().await;
                write(&server, TOPIC);
                server.tamper(reject);
                let mut consumer = member(&server, protocol);
                let before = server.effort();
                let polled = poll_for(&mut consumer, 60 * SECOND).await;
                let effort = server.effort() - before;
                assert!(effort <= 600, "{case}: {effort} requests in a minute");
                assert!(polled.errors.is_empty(), "{case}: it passes by itself: {polled:?}");
                // What came before it was rejected comes again: nothing was committed.
                server.behave();
                tokio::time::sleep(12 * SECOND).await;
                write(&server, OTHER);
                reads(case, &mut consumer, &other(), &[0]).await;
                consumer.commit().await.unwrap();
                let group = server.cluster.group("g").unwrap();
                assert_eq!(group.offsets[&partition()].offset, 1, "{case}: {group:?}");
                assert_eq!(group.members.len(), 1, "{case}: {group:?}");
            });
        },
    );
}

#[test]
fn a_commit_of_a_member_that_is_rejected_is_told_and_the_records_come_again() {
    all(
        [CLASSIC, MODERN],
        |protocol| protocol[0].0.to_owned(),
        |case, protocol| {
            run(case, 2 * MIB, async {
                let server = server().await;
                write(&server, TOPIC);
                let mut consumer = member(&server, protocol);
                reads(case, &mut consumer, &partition(), &[0]).await;
                // The member is not there any more: neither for its commits nor for its heartbeats.
                server.tamper(|exchange| match exchange.api {
                    ApiKey::OFFSET_COMMIT => exchange.edited::<OffsetCommitRequest>(|response| {
                        let topics = response.topics.iter_mut();
                        topics.flat_map(|topic| &mut topic.partitions).for_each(|partition| {
                            partition.error_code = REJECTED;
                        });
                    }),
                    ApiKey::HEARTBEAT => reject_heartbeat(exchange),
                    ApiKey::CONSUMER_GROUP_HEARTBEAT => reject_consumer(exchange),
                    _ => Reply::True,
                });
                let offsets = [(partition(), milena::OffsetAndMetadata::new(77))];
                let error = consumer.commit_offsets(offsets).await.unwrap_err();
                let CommitError::Fenced { code: Some(REJECTED), .. } = error else {
                    panic!("{case}: {error}")
                };
                poll_for(&mut consumer, 8 * SECOND).await;
                server.behave();
                // It goes on, as somebody else, and what it does commit counts.
                write(&server, OTHER);
                reads(case, &mut consumer, &other(), &[0]).await;
                consumer.commit().await.unwrap();
                let group = server.cluster.group("g").unwrap();
                assert_eq!(group.offsets[&other()].offset, 1, "{case}");
            });
        },
    );
}

/// As a leader writes it: version, topics with their partitions, user data.
fn assignment(topics: &[(&str, &[i32])]) -> Vec<u8> {
    let mut bytes = vec![0, 0];
    bytes.extend_from_slice(&(topics.len() as i32).to_be_bytes());
    for (topic, partitions) in topics {
        bytes.extend_from_slice(&(topic.len() as i16).to_be_bytes());
        bytes.extend_from_slice(topic.as_bytes());
        bytes.extend_from_slice(&(partitions.len() as i32).to_be_bytes());
        partitions.iter().for_each(|n| bytes.extend_from_slice(&n.to_be_bytes()));
    }
    bytes.extend_from_slice(&(-1i32).to_be_bytes());
    bytes
}

/// What the member is assigned, and whether that is an error or is asked for again.
type Odd = (&'static str, fn() -> Vec<u8>, bool);

const ASSIGNMENTS: &[Odd] = &[
    ("a topic that there is not", || assignment(&[("nobody", &[0]), (TOPIC, &[0])]), false),
    ("a topic without a name", || assignment(&[("", &[0])]), false),
    ("a partition before the first", || assignment(&[(TOPIC, &[-1])]), true),
    ("more topics than there are bytes", || vec![0, 0, 0x7f, 0xff, 0xff, 0xff], true),
    (
        "more partitions than there are bytes",
        || {
            let mut bytes = assignment(&[(TOPIC, &[0])]);
            let at = bytes.len() - 12;
            bytes[at..at + 4].copy_from_slice(&i32::MAX.to_be_bytes());
            bytes
        },
        true,
    ),
    ("half of an assignment", || assignment(&[(TOPIC, &[0])])[..9].to_vec(), true),
    ("ones", || vec![0xff; 50], true),
];

#[test]
fn an_assignment_that_cannot_be_is_not_taken() {
    all(
        ASSIGNMENTS,
        |(name, ..)| (*name).to_owned(),
        |case, &(_, bytes, fails)| {
            run(case, 2 * MIB, async {
                let server = server().await;
                write(&server, TOPIC);
                write(&server, OTHER);
                let bytes = Bytes::from(bytes());
                server
                    .edit::<SyncGroupRequest>(move |response| response.assignment = bytes.clone());
                let mut consumer = member(&server, CLASSIC);
                let polled = poll_for(&mut consumer, 20 * SECOND).await;
                assert_eq!(polled.records, [], "{case}");
                assert_eq!(consumer.assignment(), [], "{case}");
                assert_eq!(!polled.errors.is_empty(), fails, "{case}: {:?}", polled.errors);
                for error in &polled.errors {
                    let ConsumerError::Group(GroupError::InvalidAssignment { .. }) = error else {
                        panic!("{case}: {error}")
                    };
                }
                assert!(server.effort() <= 600, "{case}: {} requests", server.effort());
                server.behave();
                reads(case, &mut consumer, &partition(), &[0]).await;
            });
        },
    );
}

/// Who leads the group may know more partitions; that one of them is not there is told, and the others are read.
#[test]
fn a_partition_that_there_is_not_is_told_and_the_others_are_read() {
    let case = "a partition that there is not";
    run(case, 2 * MIB, async {
        let server = server().await;
        write(&server, TOPIC);
        let bytes = Bytes::from(assignment(&[(TOPIC, &[0, 7])]));
        server.edit::<SyncGroupRequest>(move |response| response.assignment = bytes.clone());
        let mut consumer = member(&server, CLASSIC);
        let polled = poll_for(&mut consumer, 30 * SECOND).await;
        assert_eq!(polled.of(&partition()), [0]);
        assert!(!polled.errors.is_empty());
        for error in &polled.errors {
            assert_eq!(error.partition(), Some(&TopicPartition::new(TOPIC, 7)), "{error}");
            assert!(matches!(error, ConsumerError::Unavailable { .. }), "{error}");
        }
        assert!(server.effort() <= 600, "{} requests", server.effort());
    });
}

#[test]
fn topics_that_only_the_new_coordinator_knows_are_waited_for_and_the_others_are_read() {
    let case = "topic ids that nobody knows";
    run(case, 2 * MIB, async {
        let server = server().await;
        write(&server, TOPIC);
        server.edit::<ConsumerGroupHeartbeatRequest>(|response| {
            if let Some(target) = &mut response.assignment {
                let partitions = vec![0, 1, i32::MAX];
                let topic_id = TopicId([9; 16]);
                target.topic_partitions.push(TopicPartitions { topic_id, partitions });
            }
        });
        let mut consumer = member(&server, MODERN);
        let polled = poll_for(&mut consumer, 60 * SECOND).await;
        assert_eq!(polled.of(&partition()), [0]);
        assert!(polled.errors.is_empty(), "{polled:?}");
        assert_eq!(consumer.assignment(), [partition(), other()]);
        assert!(server.effort() <= 600, "{} requests in a minute", server.effort());
        assert_eq!(server.cluster.group("g").unwrap().members.len(), 1);
        consumer.commit().await.unwrap();
    });
}
