//! Brokers that talk nonsense about brokers, topics and partitions.

use milena::broker::ApiKey;
use milena::protocol::header::encode_response;
use milena::protocol::messages::api_versions::ApiVersionsRequest;
use milena::protocol::messages::metadata::{
    MetadataRequest, MetadataResponse, MetadataResponseBroker, MetadataResponsePartition,
    MetadataResponseTopic,
};
use milena::{ClientError, ErrorCode};

use crate::harness::{MIB, all, run};
use crate::server::{Exchange, Reply, Server, TOPIC};
use crate::session::{
    produce, producer, produces_again, read, read_cause, reader, reads_again, says,
};

type Edit = fn(&mut MetadataResponse);

fn topic(response: &mut MetadataResponse) -> Option<&mut MetadataResponseTopic> {
    response.topics.iter_mut().find(|topic| topic.name.as_deref() == Some(TOPIC))
}

fn broker(node_id: i32, host: &str, port: i32) -> MetadataResponseBroker {
    MetadataResponseBroker { node_id, host: host.to_owned(), port, rack: None }
}

fn each_partition(response: &mut MetadataResponse, edit: fn(&mut MetadataResponsePartition)) {
    topic(response).into_iter().flat_map(|topic| &mut topic.partitions).for_each(edit);
}

/// Nonsense beside what is true: it is passed over, and the session goes on.
const PASSED_OVER: &[(&str, Edit)] = &[
    ("a broker with a negative id", |response| {
        response.brokers.push(broker(-5, "evil.example", 9092));
    }),
    ("a broker that is listed again, elsewhere", |response| {
        response.brokers.push(broker(1, "evil.example", 9092));
    }),
    ("brokers that cannot be reached by their addresses", |response| {
        let more =
            [(7, "", 9092), (8, "a b", 9092), (9, "a\nb", 9092), (10, "c", 0), (11, "c", -1)];
        response.brokers.extend(more.map(|(id, host, port)| broker(id, host, port)));
        response.brokers.push(broker(12, "c", 65_536 + 9092));
    }),
    ("a controller that is none of the brokers", |response| response.controller_id = 77),
    ("topics that were not asked for", |response| {
        let topic = MetadataResponseTopic {
            name: Some("else".to_owned()),
            partitions: vec![MetadataResponsePartition::default(); 5_000],
            ..MetadataResponseTopic::default()
        };
        response.topics.push(topic);
        response.topics.push(MetadataResponseTopic { name: None, ..Default::default() });
    }),
    ("partitions with numbers that cannot be", |response| {
        let Some(topic) = topic(response) else { return };
        for partition_index in [-1, i32::MIN, i32::MAX, 1_000_000] {
            let partition = MetadataResponsePartition {
                partition_index,
                leader_id: 1,
                ..MetadataResponsePartition::default()
            };
            topic.partitions.push(partition);
        }
    }),
    ("a partition that is listed again, without a leader", |response| {
        let Some(topic) = topic(response) else { return };
        let again = topic.partitions[0].clone();
        topic.partitions.push(MetadataResponsePartition { leader_id: -1, ..again });
    }),
    ("replicas that are no brokers", |response| {
        each_partition(response, |partition| partition.replica_nodes = vec![-1, i32::MIN, 99]);
    }),
    ("a cluster id that is another each time", {
        |response| response.cluster_id = response.cluster_id.as_ref().map(|_| fastrand_text())
    }),
];

fn fastrand_text() -> String {
    std::iter::repeat_with(fastrand::alphanumeric).take(20).collect()
}

#[test]
fn nonsense_beside_the_truth_is_passed_over() {
    all(
        PASSED_OVER,
        |(name, _)| (*name).to_owned(),
        |case, (_, edit)| {
            run(case, 4 * MIB, async {
                let server = Server::start().await;
                server.edit::<MetadataRequest>(edit);
                produces_again(case, &producer(&server)).await;
                reads_again(case, &mut reader(&server)).await;
                assert!(server.effort() <= 60, "{case}: {} requests", server.effort());
            });
        },
    );
}

struct Wrong {
    name: &'static str,
    edit: Edit,
    expected: fn(&ClientError) -> bool,
    says: &'static [&'static str],
}

fn has_code(error: &ClientError, code: ErrorCode) -> bool {
    matches!(error, ClientError::Broker { code: c, .. } if *c == code)
}

fn no_brokers(error: &ClientError) -> bool {
    has_code(error, ErrorCode::BROKER_NOT_AVAILABLE)
}

const NAMES_NO_BROKER: &[&str] = &["names no broker", "broker-1.milena.internal:9092"];

const WRONG: &[Wrong] = &[
    Wrong {
        name: "no brokers",
        edit: |response| response.brokers.clear(),
        expected: no_brokers,
        says: NAMES_NO_BROKER,
    },
    Wrong {
        name: "only brokers with negative ids",
        edit: |response| response.brokers.iter_mut().for_each(|broker| broker.node_id = -3),
        expected: no_brokers,
        says: NAMES_NO_BROKER,
    },
    Wrong {
        name: "only brokers without a port",
        edit: |response| response.brokers.iter_mut().for_each(|broker| broker.port = 0),
        expected: no_brokers,
        says: NAMES_NO_BROKER,
    },
    Wrong {
        name: "brokers where there are none",
        edit: |response| {
            response.brokers.iter_mut().for_each(|broker| broker.host = "elsewhere".to_owned());
        },
        expected: |error| matches!(error, ClientError::Connect { .. }),
        says: &["cannot connect to broker 1 (elsewhere:9092)", "check that a broker listens there"],
    },
    Wrong {
        name: "an error for the cluster",
        edit: |response| response.error_code = ErrorCode::UNKNOWN_SERVER_ERROR,
        expected: |error| has_code(error, ErrorCode::UNKNOWN_SERVER_ERROR),
        says: &["broker-1.milena.internal:9092", "UNKNOWN_SERVER_ERROR"],
    },
    Wrong {
        name: "no word about the topic",
        edit: |response| response.topics.clear(),
        expected: |error| has_code(error, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        says: &["UNKNOWN_TOPIC_OR_PARTITION"],
    },
    Wrong {
        name: "a topic without partitions",
        edit: |response| topic(response).into_iter().for_each(|topic| topic.partitions.clear()),
        expected: |error| has_code(error, ErrorCode::LEADER_NOT_AVAILABLE),
        says: &["LEADER_NOT_AVAILABLE"],
    },
    Wrong {
        name: "a topic that may not be seen",
        edit: |response| {
            let Some(topic) = topic(response) else { return };
            topic.error_code = ErrorCode::TOPIC_AUTHORIZATION_FAILED;
        },
        expected: |error| has_code(error, ErrorCode::TOPIC_AUTHORIZATION_FAILED),
        says: &["TOPIC_AUTHORIZATION_FAILED"],
    },
    Wrong {
        name: "a topic with an error that nobody knows",
        edit: |response| {
            let Some(topic) = topic(response) else { return };
            topic.error_code = ErrorCode::new(9999);
        },
        expected: |error| has_code(error, ErrorCode::new(9999)),
        says: &["UNKNOWN_ERROR_CODE(9999)"],
    },
    Wrong {
        name: "a leader that is none of the brokers",
        edit: |response| each_partition(response, |partition| partition.leader_id = 99),
        expected: |error| matches!(error, ClientError::NoLeader { .. }),
        says: &["no known leader", "check that its brokers are up"],
    },
    Wrong {
        name: "a leader with a negative id",
        edit: |response| each_partition(response, |partition| partition.leader_id = i32::MIN),
        expected: |error| matches!(error, ClientError::NoLeader { .. }),
        says: &["no known leader"],
    },
    Wrong {
        name: "another partition in place of the one there is",
        edit: |response| each_partition(response, |partition| partition.partition_index = 7),
        expected: |error| matches!(error, ClientError::NoLeader { .. }),
        says: &["no known leader"],
    },
];

#[test]
fn what_cannot_be_is_told() {
    let name = |wrong: &&Wrong| wrong.name.to_owned();
    all(WRONG, name, |case, wrong| run(case, MIB, tells(case, wrong)));
}

async fn tells(case: &str, wrong: &Wrong) {
    let server = Server::start().await;
    server.edit::<MetadataRequest>(wrong.edit);
    let (producer, mut reader) = (producer(&server), reader(&server));
    let (unsent, unread) = tokio::join!(produce(&producer), read(&mut reader));
    let (unsent, unread) = (unsent.expect_err(case), unread.expect_err(case));
    for (text, cause) in
        [(unsent.text(), unsent.cause()), (unread.to_string(), read_cause(&unread))]
    {
        let cause = cause.unwrap_or_else(|| panic!("{case}: no cause: {text}"));
        assert!((wrong.expected)(cause), "{case}: {cause:?}");
        says(case, &text, &[TOPIC]);
        says(case, &text, wrong.says);
    }
    assert!(server.effort() <= 160, "{case}: {} requests", server.effort());
    server.behave();
    produces_again(case, &producer).await;
    reads_again(case, &mut reader).await;
}

/// The last version in which counts have four bytes.
const LAST_CLASSIC: i16 = 8;

/// A count in a response, found from the front or the back of its bytes.
type Place = fn(&mut Vec<u8>) -> &mut [u8];

const COUNTS: &[(&str, Place)] = &[
    // Length, correlation id, throttle time.
    ("brokers", |bytes| &mut bytes[12..16]),
    // Before the authorized operations of the topic and the cluster.
    ("partitions", |bytes| {
        let end = bytes.len() - 8;
        &mut bytes[end - 4..end]
    }),
];

/// Lengths that promise gigabytes: nothing is reserved on their word.
#[test]
fn counts_without_anything_behind_them_take_no_memory() {
    let cases = COUNTS.iter().flat_map(|(name, place)| {
        [i32::MAX, 1 << 28, 100_000].map(move |count| (*name, *place, count))
    });
    all(
        cases,
        |(name, _, count)| format!("{count} {name}"),
        |case, (_, place, count)| run(case, MIB, claims(case, place, count)),
    );
}

async fn claims(case: &str, place: Place, count: i32) {
    let server = Server::start().await;
    server.tamper(move |exchange| match exchange.api {
        ApiKey::API_VERSIONS => exchange.edited::<ApiVersionsRequest>(|response| {
            let apis = response.api_keys.iter_mut();
            for api in apis.filter(|api| api.api_key == ApiKey::METADATA.0) {
                api.max_version = LAST_CLASSIC;
            }
        }),
        ApiKey::METADATA => claim(exchange, place, count),
        _ => Reply::True,
    });
    let (producer, mut reader) = (producer(&server), reader(&server));
    let (unsent, unread) = tokio::join!(produce(&producer), read(&mut reader));
    let (unsent, unread) = (unsent.expect_err(case), unread.expect_err(case));
    for (text, cause) in
        [(unsent.text(), unsent.cause()), (unread.to_string(), read_cause(&unread))]
    {
        assert!(matches!(cause, Some(ClientError::Decode { .. })), "{case}: {text}");
        let elements = format!("{count} elements cannot fit");
        says(case, &text, &[TOPIC, "malformed MetadataResponse", &elements]);
    }
    server.behave();
    produces_again(case, &producer).await;
    reads_again(case, &mut reader).await;
}

fn claim(exchange: &Exchange<'_>, place: Place, count: i32) -> Reply {
    assert_eq!(exchange.version, LAST_CLASSIC);
    let topic = MetadataResponseTopic { name: Some(TOPIC.to_owned()), ..Default::default() };
    let response = MetadataResponse { topics: vec![topic], ..MetadataResponse::default() };
    let segments = encode_response(exchange.correlation_id, LAST_CLASSIC, &response).unwrap();
    let mut bytes = segments.concat();
    place(&mut bytes).copy_from_slice(&count.to_be_bytes());
    Reply::Raw(bytes)
}
