//! Versions of APIs: how a connection learns them from brokers of any age, which one a request is
//! sent in, and the error when none will do.

use super::*;
use crate::error::{ErrorCode, VersionSpan};
use crate::net::testing::{all_apis, apis_with};
use crate::protocol::messages::api_versions::{
    ApiVersion, ApiVersionsRequest, ApiVersionsResponse,
};
use crate::protocol::messages::find_coordinator::{
    FindCoordinatorRequest, FindCoordinatorResponse,
};
use std::sync::Arc;

async fn negotiate(
    answers: Vec<ApiVersionsResponse>,
) -> (Result<Arc<Connection>, ClientError>, Vec<i16>) {
    let (ours, theirs) = tokio::io::duplex(ROOM);
    let mut broker = FakeBroker::new(theirs);
    let settings = settings();
    tokio::join!(open_over(ours, &settings), async {
        let mut versions = Vec::new();
        for response in answers {
            let mut request = broker.expect().await;
            versions.push(request.version);
            // A broker answers a version it does not have in version 0.
            if response.error_code == ErrorCode::UNSUPPORTED_VERSION {
                request.version = 0;
            } else if request.version >= 3 {
                let said = request.read::<ApiVersionsRequest>();
                assert_eq!(said.client_software_name, "milena");
                assert_eq!(said.client_software_version, env!("CARGO_PKG_VERSION"));
            }
            broker.answer(&request, &response).await;
        }
        versions
    })
}

fn refusal(api_keys: Vec<ApiVersion>) -> ApiVersionsResponse {
    let error_code = ErrorCode::UNSUPPORTED_VERSION;
    ApiVersionsResponse { error_code, api_keys, ..Default::default() }
}

fn own(min_version: i16, max_version: i16) -> Vec<ApiVersion> {
    vec![ApiVersion { api_key: ApiKey::API_VERSIONS.0, min_version, max_version }]
}

#[tokio::test(start_paused = true)]
async fn the_newest_version_is_tried_first() {
    let (connection, versions) = negotiate(vec![all_apis()]).await;
    assert_eq!(versions, [4]);
    assert_eq!(connection.unwrap().version::<MetadataRequest>(), Ok(13));
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_refuses_says_what_it_has() {
    let (connection, versions) = negotiate(vec![refusal(own(0, 3)), all_apis()]).await;
    assert!(connection.is_ok());
    assert_eq!(versions, [4, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_refuses_without_a_word_gets_version_0() {
    let (connection, versions) = negotiate(vec![refusal(vec![]), all_apis()]).await;
    assert!(connection.is_ok());
    assert_eq!(versions, [4, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_refuses_for_ever_is_given_up() {
    for (answers, tried) in [
        (vec![refusal(vec![]), refusal(vec![])], vec![4, 0]),
        (vec![refusal(own(5, 7))], vec![4]),
        (vec![refusal(own(0, 4))], vec![4]),
        (vec![refusal(own(0, 3)), refusal(own(0, 3))], vec![4, 3]),
    ] {
        let (connection, versions) = negotiate(answers).await;
        let error = connection.unwrap_err();
        assert!(
            matches!(error, ClientError::UnsupportedVersion { api: "ApiVersions", .. }),
            "{error:?}"
        );
        assert_eq!(versions, tried);
    }
}

#[tokio::test(start_paused = true)]
async fn another_error_code_is_told() {
    let response = ApiVersionsResponse {
        error_code: ErrorCode::CLUSTER_AUTHORIZATION_FAILED,
        ..Default::default()
    };
    let error = negotiate(vec![response]).await.0.unwrap_err();
    let code = ErrorCode::CLUSTER_AUTHORIZATION_FAILED;
    let (api, subject, message) = ("ApiVersions", Some(peer().to_string().into()), None);
    assert_eq!(error, ClientError::Broker { code, api, subject, message });
}

#[tokio::test(start_paused = true)]
async fn the_version_is_the_highest_that_both_speak() {
    let apis = apis_with(ApiKey::METADATA, 4, 9);
    let connection = negotiate(vec![apis]).await.0.unwrap();
    assert_eq!(connection.version::<MetadataRequest>(), Ok(9));
    assert_eq!(connection.version_up_to::<MetadataRequest>(6), Ok(6));
    let (api, broker) = ("Metadata", Some(VersionSpan { min: 4, max: 9 }));
    let client = VersionSpan { min: 0, max: 3 };
    assert_eq!(
        connection.version_up_to::<MetadataRequest>(3),
        Err(ClientError::UnsupportedVersion { api, peer: peer(), broker, client })
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_without_a_shared_version_says_what_each_side_has() {
    let apis = apis_with(ApiKey::METADATA, 90, 99);
    let connection = negotiate(vec![apis]).await.0.unwrap();
    let error = connection.call(&metadata(), TIMEOUT).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("Metadata") && text.contains("90 to 99"), "{text}");
    assert!(!error.is_retriable() && !error.maybe_written());

    let mut apis = all_apis();
    apis.api_keys.retain(|api| api.api_key != ApiKey::METADATA.0);
    let connection = negotiate(vec![apis]).await.0.unwrap();
    let text = connection.call(&metadata(), TIMEOUT).await.unwrap_err().to_string();
    assert!(text.contains("the broker has none"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn what_a_version_cannot_carry_is_an_error_and_leaves_the_connection_alone() {
    let apis = apis_with(ApiKey::FIND_COORDINATOR, 0, 2);
    let (ours, theirs) = tokio::io::duplex(ROOM);
    let mut broker = FakeBroker::new(theirs);
    let settings = settings();
    let (connection, ()) = tokio::join!(open_over(ours, &settings), async {
        let request = broker.expect().await;
        broker.answer(&request, &apis).await;
    });
    let connection = connection.unwrap();
    let batched = FindCoordinatorRequest {
        coordinator_keys: vec!["group".to_owned()],
        ..FindCoordinatorRequest::default()
    };
    let error = connection.call(&batched, TIMEOUT).await.unwrap_err();
    assert!(matches!(&error, ClientError::Encode { api: "FindCoordinator", .. }), "{error:?}");
    let plain = FindCoordinatorRequest { key: "group".to_owned(), ..Default::default() };
    let call = connection.call(&plain, TIMEOUT);
    let request = broker.expect().await;
    let response = FindCoordinatorResponse { node_id: 3, ..Default::default() };
    broker.answer(&request, &response).await;
    assert_eq!(call.await.unwrap().node_id, 3);
}
