//! Answers to a reader that are well-formed and wrong: other partitions, offsets that cannot be,
//! leaders that are none, old records, or none at all without end.

use std::time::Duration;

use milena::broker::ApiKey;
use milena::protocol::messages::fetch::{
    FetchLeaderIdAndEpoch, FetchNodeEndpoint, FetchPartitionData, FetchRequest, FetchResponse,
    FetchableTopicResponse,
};
use milena::protocol::messages::list_offsets::{
    ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
};
use milena::{ClientError, ConsumerError, ErrorCode, StartAt, TopicId};
use tokio::time::Instant;

use crate::harness::{MIB, all, run};
use crate::server::{Reply, Server, TOPIC};
use crate::session::{SOON, partition, producer, produces_again, read, reader, reads_again, says};

/// At most about this many requests in the longest time-out.
const EFFORT: usize = 160;
const NOT_LEADER: ErrorCode = ErrorCode::NOT_LEADER_OR_FOLLOWER;

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
    assert!(matches!(error, ConsumerError::Lookup { .. }), "{case}: {error}");
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
        assert!(
            matches!(error, ConsumerError::OffsetOutOfRange { offset: i64::MAX, .. }),
            "{error}"
        );
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
        let ConsumerError::Lookup { cause: ClientError::NoAnswerYet { .. }, .. } = &error else {
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
