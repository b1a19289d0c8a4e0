//! Responses whose bytes are wrong, at each stage of a session.

use milena::broker::ApiKey;
use milena::{ClientError, DisconnectReason, Persistence};

use crate::harness::{MIB, all, run};
use crate::server::{Exchange, Reply, Server, TOPIC};
use crate::session::{
    Unsent, produce, producer, produces_again, read, read_cause, reader, reads_again, says,
};

/// Something wrong with a response, and what the client has to make of it.
struct Wrong {
    name: &'static str,
    reply: fn(&Exchange<'_>) -> Reply,
    expected: fn(&ClientError) -> bool,
    /// What the error says beside where it happened.
    says: &'static [&'static str],
}

fn with_length(length: u32) -> Vec<u8> {
    length.to_be_bytes().to_vec()
}

const WRONG: &[Wrong] = &[
    Wrong {
        name: "no answer",
        reply: |_| Reply::Silence,
        expected: |error| {
            // A reader's patience is as long as a request's, so it may end a little before.
            let early = matches!(error, ClientError::NoAnswerYet { .. });
            early || matches!(error, ClientError::RequestTimeout { .. })
        },
        says: &["answer"],
    },
    Wrong {
        name: "closed in place of an answer",
        reply: |_| Reply::Last(Vec::new()),
        expected: |error| {
            use DisconnectReason::{ClosedBeforeFirstAnswer, ClosedByPeer};
            let reasons = [ClosedByPeer, ClosedBeforeFirstAnswer];
            matches!(error, ClientError::Disconnected { reason, .. } if reasons.contains(reason))
        },
        says: &["the other side closed the connection"],
    },
    Wrong {
        name: "cut off and closed",
        reply: |exchange| {
            let mut bytes = with_length(u32::try_from(exchange.response.len()).unwrap());
            bytes.extend_from_slice(&exchange.response[..exchange.response.len() / 2]);
            Reply::Last(bytes)
        },
        expected: |error| {
            let reason = DisconnectReason::ClosedMidResponse;
            matches!(error, ClientError::Disconnected { reason: r, .. } if *r == reason)
        },
        says: &["in the middle of a response"],
    },
    Wrong {
        name: "half of a response in a frame of its size",
        reply: |exchange| Reply::Frame(exchange.response[..exchange.response.len() / 2].to_vec()),
        expected: |error| matches!(error, ClientError::Decode { .. }),
        says: &["malformed", "left"],
    },
    Wrong {
        name: "more than a response in a frame",
        reply: |exchange| Reply::Frame([exchange.response, &b"more"[..]].concat()),
        expected: |error| matches!(error, ClientError::Decode { .. }),
        says: &["4 bytes are left over"],
    },
    Wrong {
        name: "an empty frame",
        reply: |_| Reply::Frame(Vec::new()),
        expected: |error| matches!(error, ClientError::Decode { .. }),
        says: &["4 bytes are needed and 0 are left"],
    },
    Wrong {
        name: "a frame of ones",
        reply: |exchange| {
            let ones = [0xff; 100];
            Reply::Frame([&exchange.correlation_id.to_be_bytes()[..], &ones].concat())
        },
        expected: |error| {
            let unknown = |code: i16| code == -1;
            match error {
                // UNKNOWN_SERVER_ERROR and rubbish behind it.
                ClientError::Broker { code, .. } => unknown(code.code()),
                error => matches!(error, ClientError::Decode { .. }),
            }
        },
        says: &[],
    },
    Wrong {
        name: "a length of 2^31-1",
        reply: |_| Reply::Raw(with_length(i32::MAX as u32)),
        expected: |error| matches!(error, ClientError::FrameTooLarge { len: 2_147_483_647, .. }),
        says: &["2147483647 bytes", "raise receive.message.max.bytes"],
    },
    Wrong {
        name: "a length of 1 GiB, and bytes",
        reply: |_| Reply::Raw([&with_length(1 << 30)[..], &[0; 30_000]].concat()),
        expected: |error| matches!(error, ClientError::FrameTooLarge { len: 1_073_741_824, .. }),
        says: &["1073741824 bytes", "raise receive.message.max.bytes"],
    },
    Wrong {
        name: "a length that is allowed, and little behind it",
        reply: |_| Reply::Raw([&with_length(900_000)[..], &[0; 100]].concat()),
        expected: |error| {
            use ClientError as E;
            let waited = matches!(error, E::RequestTimeout { .. } | E::NoAnswerYet { .. });
            // Before the server has shown that it speaks Kafka, less is allowed.
            waited || matches!(error, E::FrameTooLarge { max: 65_536, .. })
        },
        says: &[],
    },
    Wrong {
        name: "a negative length",
        reply: |_| Reply::Raw(with_length(u32::MAX)),
        expected: |error| matches!(error, ClientError::Decode { .. }),
        says: &["length -1 is negative"],
    },
    Wrong {
        name: "HTTP",
        reply: |_| Reply::Last(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        expected: |error| matches!(error, ClientError::NotKafka { protocol: "HTTP", .. }),
        says: &["answered in HTTP", "check the port"],
    },
    Wrong {
        name: "the answer to another request",
        reply: |exchange| {
            let other = exchange.correlation_id + 1;
            Reply::Frame([&other.to_be_bytes()[..], &exchange.response[4..]].concat())
        },
        expected: |error| matches!(error, ClientError::CorrelationMismatch { .. }),
        says: &["was due", "cannot be trusted"],
    },
    Wrong {
        name: "an answer to no request",
        reply: |exchange| {
            let none = i32::MIN;
            Reply::Frame([&none.to_be_bytes()[..], &exchange.response[4..]].concat())
        },
        expected: |error| matches!(error, ClientError::CorrelationMismatch { got: i32::MIN, .. }),
        says: &["was due", "cannot be trusted"],
    },
];

/// What one case may allocate: buffers for a few connections, and nothing that a length promises.
const MEMORY: usize = MIB;
/// Some eight a second for the longest time-out: each try may be a connection, ApiVersions, Metadata
/// and the request itself, and back-offs begin at a tenth of a second.
const EFFORT: usize = 160;

/// Each wrong thing at each of some stages.
fn at(stages: [ApiKey; 4]) -> impl Iterator<Item = (ApiKey, &'static Wrong)> {
    stages.into_iter().flat_map(|stage| WRONG.iter().map(move |wrong| (stage, wrong)))
}

fn name((stage, wrong): &(ApiKey, &Wrong)) -> String {
    format!("{} at {}", wrong.name, stage.name().unwrap())
}

#[test]
fn a_producer_says_what_is_wrong_at_each_stage() {
    use ApiKey as A;
    let stages = [A::API_VERSIONS, A::METADATA, A::INIT_PRODUCER_ID, A::PRODUCE];
    all(at(stages), name, |case, (stage, wrong)| run(case, MEMORY, produces(case, stage, wrong)));
}

async fn produces(case: &str, stage: ApiKey, wrong: &Wrong) {
    let server = Server::start().await;
    server.tamper_with(stage, wrong.reply);
    let producer = producer(&server);
    let error = produce(&producer).await.expect_err(case);
    let text = error.text();
    let cause = error.cause().unwrap_or_else(|| panic!("{case}: no cause: {text}"));
    assert!((wrong.expected)(cause), "{case}: {cause:?}");
    says(case, &text, &[TOPIC, "milena.internal:9092"]);
    says(case, &text, wrong.says);
    let persistence = match &error {
        Unsent::Refused(_) => None,
        Unsent::Undelivered(error) => Some(error.persistence()),
    };
    let expected = match stage {
        ApiKey::PRODUCE => Some(Persistence::MaybeWritten),
        ApiKey::INIT_PRODUCER_ID => Some(Persistence::NotWritten),
        _ => None,
    };
    assert_eq!(persistence, expected, "{case}: {text}");
    assert!(server.effort() <= EFFORT, "{case}: {} requests", server.effort());
    server.behave();
    produces_again(case, &producer).await;
}

#[test]
fn a_reader_says_what_is_wrong_at_each_stage() {
    use ApiKey as A;
    let stages = [A::API_VERSIONS, A::METADATA, A::LIST_OFFSETS, A::FETCH];
    all(at(stages), name, |case, (stage, wrong)| run(case, MEMORY, reads(case, stage, wrong)));
}

async fn reads(case: &str, stage: ApiKey, wrong: &Wrong) {
    let server = Server::start().await;
    let producer = producer(&server);
    produces_again(case, &producer).await;
    let before = server.effort();
    server.tamper_with(stage, wrong.reply);
    let mut reader = reader(&server);
    let error = read(&mut reader).await.expect_err(case);
    let text = error.to_string();
    let cause = read_cause(&error).unwrap_or_else(|| panic!("{case}: no cause: {text}"));
    assert!((wrong.expected)(cause), "{case}: {cause:?}");
    says(case, &text, &[TOPIC, "milena.internal:9092"]);
    says(case, &text, wrong.says);
    let effort = server.effort() - before;
    assert!(effort <= EFFORT, "{case}: {effort} requests");
    server.behave();
    reads_again(case, &mut reader).await;
}
