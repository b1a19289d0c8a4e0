//! Answers that are well-formed and wrong: about partitions that were not asked for, without those
//! that were, with offsets and ids that cannot be, with leaders that are none.

use std::time::Duration;

use milena::broker::ApiKey;
use milena::protocol::messages::fetch::{
    FetchLeaderIdAndEpoch, FetchNodeEndpoint, FetchPartitionData, FetchRequest, FetchResponse,
    FetchableTopicResponse,
};
use milena::protocol::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use milena::protocol::messages::list_offsets::{
    ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
};
use milena::protocol::messages::produce::{
    PartitionProduceResponse, ProduceLeaderIdAndEpoch, ProduceNodeEndpoint, ProduceRequest,
    ProduceResponse, TopicProduceResponse,
};
use milena::{
    Cause, ClientError, DeliveryErrorKind, ErrorCode, Persistence, ProducerRecord, ReadError,
    SendError, StartAt, TopicId,
};
use tokio::time::Instant;

use crate::harness::{MIB, all, run};
use crate::server::{Reply, Server, TOPIC};
use crate::session::{
    SOON, Unsent, partition, produce, producer, produces_again, read, reader, reads_again, says,
};

/// At most about this many requests in the longest time-out.
const EFFORT: usize = 160;

// ---- Produce ----------------------------------------------------------------------------------

type EditProduced = fn(&mut ProduceResponse);

fn produced(response: &mut ProduceResponse) -> &mut PartitionProduceResponse {
    &mut response.responses[0].partition_responses[0]
}

fn refused(response: &mut ProduceResponse, code: ErrorCode) {
    let answer = produced(response);
    (answer.error_code, answer.base_offset) = (code, -1);
}

/// The record is in the log; nonsense beside that does not matter.
const PRODUCED: &[(&str, EditProduced, Option<i64>)] = &[
    (
        "an answer for a partition that was not sent",
        |response| {
            let other = PartitionProduceResponse {
                index: 9,
                error_code: ErrorCode::UNKNOWN_SERVER_ERROR,
                ..PartitionProduceResponse::default()
            };
            response.responses[0].partition_responses.insert(0, other);
        },
        Some(0),
    ),
    (
        "an answer for a topic that was not sent",
        |response| {
            let mut other = response.responses[0].clone();
            other.topic_id = TopicId([7; 16]);
            other.partition_responses[0].error_code = ErrorCode::UNKNOWN_SERVER_ERROR;
            response.responses.insert(0, other);
        },
        Some(0),
    ),
    (
        "a second answer for the same partition",
        |response| {
            let mut again = produced(response).clone();
            again.error_code = ErrorCode::CLUSTER_AUTHORIZATION_FAILED;
            response.responses[0].partition_responses.push(again);
        },
        Some(0),
    ),
    ("no offset", |response| produced(response).base_offset = -1, None),
    ("a negative offset", |response| produced(response).base_offset = i64::MIN, None),
    ("an offset without one after it", |r| produced(r).base_offset = i64::MAX, Some(i64::MAX)),
    ("a time that cannot be", |r| produced(r).log_append_time_ms = i64::MIN, Some(0)),
    (
        "a leader that is none, although it was written",
        |response| {
            produced(response).current_leader =
                ProduceLeaderIdAndEpoch { leader_id: 99, leader_epoch: i32::MAX };
        },
        Some(0),
    ),
];

#[test]
fn nonsense_beside_an_acknowledgement_is_passed_over() {
    all(
        PRODUCED,
        |(name, ..)| (*name).to_owned(),
        |case, &(_, edit, offset)| run(case, MIB, acknowledges(case, edit, offset)),
    );
}

async fn acknowledges(case: &str, edit: EditProduced, offset: Option<i64>) {
    let server = Server::start().await;
    server.edit::<ProduceRequest>(edit);
    let producer = producer(&server);
    // Two records in one batch, so that the second one's offset has to be computed.
    let record = ProducerRecord::new(TOPIC, "value").partition(0);
    let first = producer.send(&record).await.unwrap();
    let second = producer.send(&record).await.unwrap();
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    assert_eq!(first.offset(), offset, "{case}");
    assert_eq!(second.offset(), offset.map(|offset| offset.saturating_add(1)), "{case}");
    assert_eq!(server.cluster.records(TOPIC, 0).len(), 2, "{case}");
    server.behave();
    produces_again(case, &producer).await;
}

struct Refusal {
    name: &'static str,
    edit: EditProduced,
    kind: DeliveryErrorKind,
    persistence: Persistence,
    code: ErrorCode,
    says: &'static [&'static str],
}

const NOT_LEADER: ErrorCode = ErrorCode::NOT_LEADER_OR_FOLLOWER;
const TIMED_OUT: DeliveryErrorKind = DeliveryErrorKind::TimedOut { records: 1 };

const REFUSALS: &[Refusal] = &[
    Refusal {
        name: "no answer for the partition",
        edit: |response| response.responses[0].partition_responses.clear(),
        kind: TIMED_OUT,
        persistence: Persistence::MaybeWritten,
        code: ErrorCode::UNKNOWN_SERVER_ERROR,
        says: &["the answer says nothing of this partition"],
    },
    Refusal {
        name: "no answer at all",
        edit: |response| response.responses.clear(),
        kind: TIMED_OUT,
        persistence: Persistence::MaybeWritten,
        code: ErrorCode::UNKNOWN_SERVER_ERROR,
        says: &["the answer says nothing of this partition"],
    },
    Refusal {
        name: "an answer for another partition instead",
        edit: |response| produced(response).index = -1,
        kind: TIMED_OUT,
        persistence: Persistence::MaybeWritten,
        code: ErrorCode::UNKNOWN_SERVER_ERROR,
        says: &["the answer says nothing of this partition"],
    },
    Refusal {
        name: "an answer for another topic instead",
        edit: |response| {
            response.responses[0] = TopicProduceResponse {
                topic_id: TopicId([7; 16]),
                ..response.responses[0].clone()
            };
        },
        kind: TIMED_OUT,
        persistence: Persistence::MaybeWritten,
        code: ErrorCode::UNKNOWN_SERVER_ERROR,
        says: &["the answer says nothing of this partition"],
    },
    Refusal {
        name: "an error that nobody knows",
        edit: |response| refused(response, ErrorCode::new(9999)),
        kind: DeliveryErrorKind::Refused(ErrorCode::new(9999)),
        persistence: Persistence::MaybeWritten,
        code: ErrorCode::new(9999),
        says: &["UNKNOWN_ERROR_CODE(9999)"],
    },
    Refusal {
        name: "a sequence that is never right",
        edit: |response| refused(response, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER),
        kind: TIMED_OUT,
        persistence: Persistence::NotWritten,
        code: ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
        says: &["OUT_OF_ORDER_SEQUENCE_NUMBER"],
    },
    Refusal {
        name: "a producer that is never known",
        edit: |response| refused(response, ErrorCode::UNKNOWN_PRODUCER_ID),
        kind: TIMED_OUT,
        persistence: Persistence::NotWritten,
        code: ErrorCode::UNKNOWN_PRODUCER_ID,
        says: &["UNKNOWN_PRODUCER_ID"],
    },
    Refusal {
        name: "a batch of one record that is too large",
        edit: |response| refused(response, ErrorCode::MESSAGE_TOO_LARGE),
        kind: DeliveryErrorKind::Refused(ErrorCode::MESSAGE_TOO_LARGE),
        persistence: Persistence::NotWritten,
        code: ErrorCode::MESSAGE_TOO_LARGE,
        says: &["MESSAGE_TOO_LARGE"],
    },
    Refusal {
        name: "a leader that is none of the brokers",
        edit: |response| {
            refused(response, NOT_LEADER);
            produced(response).current_leader =
                ProduceLeaderIdAndEpoch { leader_id: 99, leader_epoch: 1000 };
        },
        kind: TIMED_OUT,
        persistence: Persistence::MaybeWritten,
        code: NOT_LEADER,
        says: &["NOT_LEADER_OR_FOLLOWER"],
    },
    Refusal {
        name: "a leader at an address that cannot be",
        edit: |response| {
            refused(response, NOT_LEADER);
            produced(response).current_leader =
                ProduceLeaderIdAndEpoch { leader_id: 99, leader_epoch: 1000 };
            let (host, rack) = (String::new(), None);
            response.node_endpoints =
                vec![ProduceNodeEndpoint { node_id: 99, host, port: -1, rack }];
        },
        kind: TIMED_OUT,
        persistence: Persistence::MaybeWritten,
        code: NOT_LEADER,
        says: &["NOT_LEADER_OR_FOLLOWER"],
    },
];

#[test]
fn an_answer_to_produce_that_cannot_be_is_told() {
    let name = |refusal: &&Refusal| refusal.name.to_owned();
    all(REFUSALS, name, |case, refusal| run(case, MIB, refuses(case, refusal)));
}

async fn refuses(case: &str, refusal: &Refusal) {
    let server = Server::start().await;
    server.edit::<ProduceRequest>(refusal.edit);
    let producer = producer(&server);
    let unsent = produce(&producer).await.expect_err(case);
    says(case, &unsent.text(), &[TOPIC]);
    says(case, &unsent.text(), refusal.says);
    let Unsent::Undelivered(error) = &unsent else { panic!("{case}: {unsent:?}") };
    assert_eq!(error.kind(), &refusal.kind, "{case}: {error}");
    assert_eq!(error.persistence(), refusal.persistence, "{case}: {error}");
    let Some(Cause::Broker(code, _)) = error.last_error() else { panic!("{case}: {error}") };
    assert_eq!(*code, refusal.code, "{case}: {error}");
    assert!(server.effort() <= EFFORT, "{case}: {} requests", server.effort());
    server.behave();
    produces_again(case, &producer).await;
}

/// A broker that has it in for its clients: each answer names another leader in a later epoch, and
/// all of them are itself.
#[test]
fn leaders_that_pass_a_batch_on_for_ever_are_not_followed_without_a_pause() {
    let case = "passed on";
    run(case, MIB, async {
        let server = Server::start().await;
        let mut leader_epoch = 1;
        server.edit::<ProduceRequest>(move |response| {
            leader_epoch += 1;
            let leader_id = 2 + leader_epoch % 2;
            refused(response, NOT_LEADER);
            produced(response).current_leader = ProduceLeaderIdAndEpoch { leader_id, leader_epoch };
            let host = "broker-1.milena.internal".to_owned();
            let endpoint = ProduceNodeEndpoint { node_id: leader_id, host, port: 9092, rack: None };
            response.node_endpoints = vec![endpoint];
        });
        let producer = producer(&server);
        let unsent = produce(&producer).await.expect_err(case);
        says(case, &unsent.text(), &[TOPIC, "NOT_LEADER_OR_FOLLOWER"]);
        assert!(server.effort() <= EFFORT, "{case}: {} requests", server.effort());
    });
}

// ---- InitProducerId ---------------------------------------------------------------------------

type EditGiven = fn(&mut InitProducerIdResponse);

#[test]
fn an_id_that_is_none_is_not_used() {
    let cases: [(&str, EditGiven); 3] = [
        ("a negative id", |response| response.producer_id = -1),
        ("a negative epoch", |response| response.producer_epoch = -1),
        ("neither", |response| *response = InitProducerIdResponse::default()),
    ];
    all(
        cases,
        |(name, _)| (*name).to_owned(),
        |case, (_, edit)| {
            run(case, MIB, async {
                let server = Server::start().await;
                server.edit::<InitProducerIdRequest>(edit);
                let producer = producer(&server);
                let unsent = produce(&producer).await.expect_err(case);
                says(case, &unsent.text(), &[TOPIC, "InitProducerId", "no producer id"]);
                let Unsent::Undelivered(error) = &unsent else { panic!("{case}: {unsent:?}") };
                assert_eq!(error.persistence(), Persistence::NotWritten, "{case}");
                assert!(server.cluster.records(TOPIC, 0).is_empty(), "{case}");
                assert!(server.effort() <= EFFORT, "{case}: {} requests", server.effort());
                server.behave();
                produces_again(case, &producer).await;
            });
        },
    );
}

#[test]
fn a_refusal_of_the_producer_is_told_at_once_and_ends_it() {
    let case = "no permission";
    run(case, MIB, async {
        let server = Server::start().await;
        let code = ErrorCode::CLUSTER_AUTHORIZATION_FAILED;
        server.edit::<InitProducerIdRequest>(move |response| response.error_code = code);
        let producer = producer(&server);
        let start = Instant::now();
        let unsent = produce(&producer).await.expect_err(case);
        assert!(start.elapsed() <= 10 * SOON, "{:?}", start.elapsed());
        let Unsent::Undelivered(error) = &unsent else { panic!("{unsent:?}") };
        assert!(error.is_fatal() && error.persistence() == Persistence::NotWritten, "{error}");
        says(case, &unsent.text(), &[TOPIC, "CLUSTER_AUTHORIZATION_FAILED", "make a new producer"]);
        let refused = produce(&producer).await.expect_err(case);
        assert!(matches!(refused, Unsent::Refused(SendError::Fatal(_))), "{refused:?}");
    });
}

// ---- ListOffsets ------------------------------------------------------------------------------

fn listed(response: &mut ListOffsetsResponse) -> &mut ListOffsetsPartitionResponse {
    &mut response.topics[0].partitions[0]
}

type EditListed = fn(&mut ListOffsetsResponse);

const LISTED: &[(&str, EditListed, &str)] = &[
    ("no offset", |response| listed(response).offset = -1, "it named no offset"),
    ("a negative offset", |response| listed(response).offset = i64::MIN, "it named no offset"),
    (
        "another partition",
        |response| listed(response).partition_index = 4,
        "the answer says nothing of this partition",
    ),
    (
        "another topic",
        |response| response.topics[0].name = "else".to_owned(),
        "the answer says nothing of this partition",
    ),
    ("no topics", |response| response.topics.clear(), "the answer says nothing of this partition"),
    (
        "an error that nobody knows",
        |response| listed(response).error_code = ErrorCode::new(9999),
        "UNKNOWN_ERROR_CODE(9999)",
    ),
];

#[test]
fn an_answer_to_list_offsets_that_cannot_be_is_told() {
    all(
        LISTED,
        |(name, ..)| (*name).to_owned(),
        |case, &(_, edit, part)| run(case, MIB, lists(case, edit, part)),
    );
}

async fn lists(case: &str, edit: EditListed, part: &str) {
    let server = Server::start().await;
    produces_again(case, &producer(&server)).await;
    server.edit::<ListOffsetsRequest>(edit);
    let mut reader = reader(&server);
    let error = read(&mut reader).await.expect_err(case);
    says(case, &error.to_string(), &[TOPIC, "ListOffsets", part]);
    let start = Instant::now();
    let looked_up = reader.end_offsets([partition()], Duration::from_secs(3)).await;
    let error = looked_up.expect_err(case);
    assert!(start.elapsed() <= Duration::from_secs(3) + SOON, "{case}: {:?}", start.elapsed());
    assert!(matches!(error, ReadError::Lookup { .. }), "{case}: {error}");
    says(case, &error.to_string(), &[TOPIC, "cannot look up the offsets"]);
    assert!(server.effort() <= EFFORT, "{case}: {} requests", server.effort());
    server.behave();
    reads_again(case, &mut reader).await;
    let ends = reader.end_offsets([partition()], Duration::from_secs(3)).await.unwrap();
    assert_eq!(ends[&partition()], 1, "{case}");
}

#[test]
fn an_offset_far_beyond_the_end_is_told_by_the_fetch_that_follows() {
    let case = "an offset far beyond the end";
    run(case, MIB, async {
        let server = Server::start().await;
        produces_again(case, &producer(&server)).await;
        server.edit::<ListOffsetsRequest>(|response| listed(response).offset = i64::MAX);
        let mut reader = reader(&server);
        let error = read(&mut reader).await.unwrap_err();
        assert!(matches!(error, ReadError::OffsetOutOfRange { offset: i64::MAX, .. }), "{error}");
        says(case, &error.to_string(), &[TOPIC, "9223372036854775807", "seek to an offset"]);
        server.behave();
        reader.seek(&partition(), StartAt::Earliest).unwrap();
        reads_again(case, &mut reader).await;
    });
}

/// A time-out of the user's that is shorter than the request's.
#[test]
fn a_look_up_without_an_answer_names_who_did_not_give_it() {
    let case = "no answer to ListOffsets";
    run(case, MIB, async {
        let server = Server::start().await;
        server.tamper_with(ApiKey::LIST_OFFSETS, |_| Reply::Silence);
        let reader = reader(&server);
        let limit = Duration::from_secs(1);
        let error = reader.beginning_offsets([partition()], limit).await.unwrap_err();
        let ReadError::Lookup { cause: ClientError::NoAnswerYet { .. }, .. } = &error else {
            panic!("{error}");
        };
        let broker = "broker 1 (broker-1.milena.internal:9092)";
        says(case, &error.to_string(), &[TOPIC, broker, "check that"]);
    });
}

// ---- Fetch ------------------------------------------------------------------------------------

type EditFetched = fn(&mut FetchResponse);

fn fetched(response: &mut FetchResponse) -> Option<&mut FetchPartitionData> {
    response.responses.first_mut()?.partitions.first_mut()
}

/// The records are there; nonsense beside them does not matter.
const FETCHED: &[(&str, EditFetched)] = &[
    ("a partition that was not asked for", |response| {
        let Some(data) = fetched(response).cloned() else { return };
        let other = FetchPartitionData { partition_index: 3, ..data };
        response.responses[0].partitions.insert(0, other);
    }),
    ("a topic that was not asked for", |response| {
        let Some(data) = fetched(response).cloned() else { return };
        let topic_id = TopicId([7; 16]);
        let other =
            FetchableTopicResponse { topic: String::new(), topic_id, partitions: vec![data] };
        response.responses.insert(0, other);
    }),
    ("the same partition again", |response| {
        let Some(data) = fetched(response).cloned() else { return };
        response.responses[0].partitions.extend([data.clone(), data]);
    }),
    ("offsets of the log that cannot be", |response| {
        let Some(data) = fetched(response) else { return };
        (data.high_watermark, data.log_start_offset) = (i64::MIN, i64::MAX);
        data.last_stable_offset = -7;
    }),
    ("a session that was not asked for", |response| response.session_id = 77),
    ("a leader that is none, although there are records", |response| {
        let Some(data) = fetched(response) else { return };
        data.current_leader = FetchLeaderIdAndEpoch { leader_id: 99, leader_epoch: i32::MAX };
        data.preferred_read_replica = 99;
    }),
];

#[test]
fn nonsense_beside_records_is_passed_over() {
    all(
        FETCHED,
        |(name, _)| (*name).to_owned(),
        |case, &(_, edit)| {
            run(case, MIB, async {
                let server = Server::start().await;
                produces_again(case, &producer(&server)).await;
                server.edit::<FetchRequest>(edit);
                let mut reader = reader(&server);
                assert_eq!(read(&mut reader).await.unwrap(), 1, "{case}");
                produces_again(case, &producer(&server)).await;
                assert_eq!(read(&mut reader).await.unwrap(), 1, "{case}");
                assert!(server.effort() <= 40, "{case}: {} requests", server.effort());
            });
        },
    );
}

const UNFETCHED: &[(&str, EditFetched, &str)] = &[
    (
        "no answer for the partition",
        |response| response.responses.iter_mut().for_each(|topic| topic.partitions.clear()),
        "the answer says nothing of this partition",
    ),
    (
        "no answer at all",
        |response| response.responses.clear(),
        "the answer says nothing of this partition",
    ),
    (
        "an error of a session",
        |response| response.error_code = ErrorCode::FETCH_SESSION_ID_NOT_FOUND,
        "FETCH_SESSION_ID_NOT_FOUND",
    ),
    (
        "an error that nobody knows",
        |response| response.error_code = ErrorCode::new(9999),
        "UNKNOWN_ERROR_CODE(9999)",
    ),
    (
        "an error of the partition that nobody knows",
        |response| fetched(response).into_iter().for_each(|d| d.error_code = ErrorCode::new(9999)),
        "UNKNOWN_ERROR_CODE(9999)",
    ),
];

#[test]
fn an_answer_to_fetch_that_cannot_be_is_told() {
    all(
        UNFETCHED,
        |(name, ..)| (*name).to_owned(),
        |case, &(_, edit, part)| {
            run(case, MIB, async {
                let server = Server::start().await;
                produces_again(case, &producer(&server)).await;
                server.edit::<FetchRequest>(edit);
                let mut reader = reader(&server);
                let error = read(&mut reader).await.expect_err(case);
                says(case, &error.to_string(), &[TOPIC, "Fetch", part]);
                assert!(server.effort() <= EFFORT, "{case}: {} requests", server.effort());
            });
        },
    );
}

/// As its like for Produce.
#[test]
fn leaders_that_pass_a_reader_on_for_ever_are_not_followed_without_a_pause() {
    let case = "passed on";
    run(case, MIB, async {
        let server = Server::start().await;
        produces_again(case, &producer(&server)).await;
        let mut leader_epoch = 1;
        server.edit::<FetchRequest>(move |response| {
            leader_epoch += 1;
            let leader_id = 2 + leader_epoch % 2;
            let Some(data) = fetched(response) else { return };
            (data.error_code, data.records) = (NOT_LEADER, None);
            data.current_leader = FetchLeaderIdAndEpoch { leader_id, leader_epoch };
            let host = "broker-1.milena.internal".to_owned();
            let endpoint = FetchNodeEndpoint { node_id: leader_id, host, port: 9092, rack: None };
            response.node_endpoints = vec![endpoint];
        });
        let mut reader = reader(&server);
        let error = read(&mut reader).await.unwrap_err();
        says(case, &error.to_string(), &[TOPIC, "Fetch", "NOT_LEADER_OR_FOLLOWER"]);
        assert!(server.effort() <= EFFORT, "{} requests", server.effort());
    });
}

/// Records from before the position, for ever.
#[test]
fn records_that_were_not_asked_for_are_not_handed_out() {
    let case = "old records";
    run(case, MIB, async {
        let server = Server::start().await;
        let producer = producer(&server);
        for _ in 0..2 {
            produces_again(case, &producer).await;
        }
        let first = server.cluster.batches(TOPIC, 0).remove(0);
        server.edit::<FetchRequest>(move |response| {
            let records = first.bytes.clone();
            fetched(response).into_iter().for_each(|data| data.records = Some(records.clone()));
        });
        let mut reader = reader(&server);
        reader.seek(&partition(), StartAt::Offset(1)).unwrap();
        let error = read(&mut reader).await.unwrap_err();
        says(case, &error.to_string(), &[TOPIC, "only records from before the offset asked for"]);
        assert!(server.effort() <= EFFORT, "{} requests", server.effort());
        server.behave();
        reads_again(case, &mut reader).await;
        assert_eq!(reader.position(&partition()), Some(2));
    });
}

/// A broker that has no records is to keep the fetch for `fetch.max.wait.ms`; this one answers at
/// once.
#[test]
fn empty_answers_that_come_too_early_make_no_busy_loop() {
    let case = "empty answers";
    run(case, MIB, async {
        let server = Server::start().await;
        let producer = producer(&server);
        produces_again(case, &producer).await;
        server.edit::<FetchRequest>(|response| {
            fetched(response).into_iter().for_each(|data| data.records = None);
        });
        let mut reader = reader(&server);
        let records = reader.poll(Duration::from_secs(10)).await.unwrap();
        assert!(records.is_empty());
        assert!(server.effort() <= 600, "{} requests in 10 s", server.effort());
        server.behave();
        reads_again(case, &mut reader).await;
    });
}
