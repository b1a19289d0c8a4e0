//! Answers to a producer that are well-formed and wrong: about partitions that were not sent, without
//! those that were, with offsets and ids that cannot be, with leaders that are none.

use milena::protocol::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use milena::protocol::messages::produce::{
    PartitionProduceResponse, ProduceLeaderIdAndEpoch, ProduceNodeEndpoint, ProduceRequest,
    ProduceResponse, TopicProduceResponse,
};
use milena::{
    Cause, DeliveryErrorKind, ErrorCode, Persistence, ProducerRecord, SendError, TopicId,
};
use tokio::time::Instant;

use crate::harness::{MIB, all, run};
use crate::server::{Server, TOPIC};
use crate::session::{SOON, Unsent, produce, producer, produces_again, says};

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
