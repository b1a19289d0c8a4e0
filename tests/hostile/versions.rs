//! Brokers that share no version of an API with the client, or talk nonsense about their versions.

use milena::broker::ApiKey;
use milena::protocol::header::{decode_response, encode_response};
use milena::protocol::messages::api_versions::{
    ApiVersion, ApiVersionsRequest, ApiVersionsResponse,
};
use milena::{ClientError, ConsumerError, DeliveryErrorKind, ErrorCode};
use tokio::time::Instant;

use crate::harness::{MIB, all, run};
use crate::server::{Exchange, Reply, Server, TOPIC};
use crate::session::{
    SOON, Unsent, produce, producer, produces_again, read, read_cause, reader, reads_again, says,
};

/// What the broker says of its versions of an API.
#[derive(Debug, Clone, Copy)]
enum Claim {
    /// Only versions that are yet to come.
    Newer,
    /// Only versions of before Kafka 2.1.
    Older,
    None,
    /// From high to low.
    Reversed,
}

const CLAIMS: [Claim; 4] = [Claim::Newer, Claim::Older, Claim::None, Claim::Reversed];

impl Claim {
    fn make(self, api: ApiKey, response: &mut ApiVersionsResponse) {
        response.api_keys.retain(|entry| entry.api_key != api.0);
        let (min_version, max_version) = match self {
            Self::Newer => (90, 99),
            Self::Older => (-2, -1),
            Self::None => return,
            Self::Reversed => (5, 4),
        };
        response.api_keys.push(ApiVersion { api_key: api.0, min_version, max_version });
    }

    fn says(self) -> &'static str {
        match self {
            Self::Newer => "the broker has 90 to 99",
            Self::Older | Self::None | Self::Reversed => "the broker has none",
        }
    }
}

fn cases<const N: usize>(apis: [ApiKey; N]) -> impl Iterator<Item = (ApiKey, Claim)> {
    apis.into_iter().flat_map(|api| CLAIMS.into_iter().map(move |claim| (api, claim)))
}

fn name((api, claim): &(ApiKey, Claim)) -> String {
    format!("{claim:?} versions of {}", api.name().unwrap())
}

fn check(case: &str, api: ApiKey, claim: Claim, text: &str, cause: Option<&ClientError>) {
    let unsupported = cause.is_some_and(|cause| {
        matches!(cause, ClientError::UnsupportedVersion { api: a, .. } if Some(*a) == api.name())
    });
    assert!(unsupported, "{case}: {text}");
    let shares = format!("share no version of {}", api.name().unwrap());
    let way_out = "use a broker of 2.1 or later";
    says(case, text, &[TOPIC, "milena.internal:9092", &shares, claim.says(), way_out]);
}

#[test]
fn a_producer_says_which_api_has_no_shared_version() {
    let apis = [ApiKey::METADATA, ApiKey::INIT_PRODUCER_ID, ApiKey::PRODUCE];
    all(cases(apis), name, |case, (api, claim)| run(case, MIB, produces(case, api, claim)));
}

async fn produces(case: &str, api: ApiKey, claim: Claim) {
    let server = Server::start().await;
    server.edit::<ApiVersionsRequest>(move |response| claim.make(api, response));
    let producer = producer(&server);
    let start = Instant::now();
    let error = produce(&producer).await.expect_err(case);
    check(case, api, claim, &error.text(), error.cause());
    if api == ApiKey::PRODUCE {
        let Unsent::Undelivered(error) = &error else { panic!("{case}: {error:?}") };
        // Waiting would not help.
        assert_eq!(error.kind(), &DeliveryErrorKind::Unsendable, "{case}: {error}");
        assert!(start.elapsed() <= 10 * SOON, "{case}: it took {:?}", start.elapsed());
    }
    assert!(server.effort() <= 100, "{case}: {} requests", server.effort());
    // A broker that is upgraded closes its connections.
    server.behave();
    server.hang_up().await;
    produces_again(case, &producer).await;
}

#[test]
fn a_reader_says_which_api_has_no_shared_version() {
    let apis = [ApiKey::METADATA, ApiKey::LIST_OFFSETS, ApiKey::FETCH];
    all(cases(apis), name, |case, (api, claim)| run(case, MIB, reads(case, api, claim)));
}

async fn reads(case: &str, api: ApiKey, claim: Claim) {
    let server = Server::start().await;
    produces_again(case, &producer(&server)).await;
    let before = server.effort();
    server.edit::<ApiVersionsRequest>(move |response| claim.make(api, response));
    let mut reader = reader(&server);
    let start = Instant::now();
    let error = read(&mut reader).await.expect_err(case);
    check(case, api, claim, &error.to_string(), read_cause(&error));
    if api != ApiKey::METADATA {
        assert!(matches!(error, ConsumerError::Refused { .. }), "{case}: {error}");
        assert!(!error.is_retriable(), "{case}: {error}");
        assert!(start.elapsed() <= 10 * SOON, "{case}: it took {:?}", start.elapsed());
    }
    let effort = server.effort() - before;
    assert!(effort <= 100, "{case}: {effort} requests");
    server.behave();
    server.hang_up().await;
    reads_again(case, &mut reader).await;
}

/// What an answer to ApiVersions says, and what comes of it.
type Answer = (&'static str, fn(&mut ApiVersionsResponse), fn(&ClientError) -> bool, &'static str);

const ANSWERS: &[Answer] = &[
    (
        "refuses every version",
        |response| {
            *response = ApiVersionsResponse::default();
            response.error_code = ErrorCode::UNSUPPORTED_VERSION;
        },
        |error| matches!(error, ClientError::UnsupportedVersion { api: "ApiVersions", .. }),
        "share no version of ApiVersions",
    ),
    (
        "refuses the version that it says it has",
        |response| response.error_code = ErrorCode::UNSUPPORTED_VERSION,
        |error| matches!(error, ClientError::UnsupportedVersion { api: "ApiVersions", .. }),
        "share no version of ApiVersions",
    ),
    (
        "has another error",
        |response| response.error_code = ErrorCode::CLUSTER_AUTHORIZATION_FAILED,
        |error| {
            let code = ErrorCode::CLUSTER_AUTHORIZATION_FAILED;
            matches!(error, ClientError::Broker { code: c, .. } if *c == code)
        },
        "CLUSTER_AUTHORIZATION_FAILED",
    ),
    (
        "has no API at all",
        |response| response.api_keys.clear(),
        |error| matches!(error, ClientError::UnsupportedVersion { api: "Metadata", .. }),
        "the broker has none",
    ),
    (
        "has more APIs than there are",
        |response| {
            let api = |api_key| ApiVersion { api_key, min_version: 0, max_version: 1 };
            response.api_keys = (0..20_000).map(api).collect();
        },
        |error| matches!(error, ClientError::FrameTooLarge { max: 65_536, .. }),
        "at most 65536 are accepted",
    ),
];

#[test]
fn nonsense_about_versions_is_told() {
    let name = |answer: &&Answer| answer.0.to_owned();
    all(ANSWERS, name, |case, answer| run(case, MIB, answers(case, answer)));
}

fn answer(exchange: &Exchange<'_>, edit: fn(&mut ApiVersionsResponse)) -> Reply {
    let (_, mut response) =
        decode_response::<ApiVersionsRequest>(exchange.response.clone(), exchange.version).unwrap();
    edit(&mut response);
    // As brokers do that do not know the version of the request.
    let refused = response.error_code == ErrorCode::UNSUPPORTED_VERSION;
    let version = if refused { 0 } else { exchange.version };
    Reply::Raw(encode_response(exchange.correlation_id, version, &response).unwrap().concat())
}

async fn answers(case: &str, &(_, edit, expected, part): &Answer) {
    let server = Server::start().await;
    server.tamper_with(ApiKey::API_VERSIONS, move |exchange| answer(exchange, edit));
    let (producer, mut reader) = (producer(&server), reader(&server));
    let (unsent, unread) = tokio::join!(produce(&producer), read(&mut reader));
    let (unsent, unread) = (unsent.expect_err(case), unread.expect_err(case));
    for (text, cause) in
        [(unsent.text(), unsent.cause()), (unread.to_string(), read_cause(&unread))]
    {
        assert!(cause.is_some_and(expected), "{case}: {text}");
        says(case, &text, &[TOPIC, "milena.internal:9092", part]);
    }
    assert!(server.effort() <= 160, "{case}: {} requests", server.effort());
    server.behave();
    server.hang_up().await;
    produces_again(case, &producer).await;
    reads_again(case, &mut reader).await;
}
