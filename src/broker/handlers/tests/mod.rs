//! Each API over an in-memory stream, with real frames.

mod fetch;
mod group_admin;
mod groups;
mod list_offsets;
mod metadata;
mod offset_for_leader_epoch;
mod offsets;
mod produce;
mod sessions;
mod topics;
mod transactions;
mod txn;
mod txn_markers;
mod txn_offsets;
mod txn_told;

use crate::broker::Event;
use crate::broker::testing::{in_memory, one_node, several_nodes};
use crate::error::ErrorCode;
use crate::protocol::ApiKey;
use crate::protocol::messages::api_versions::ApiVersionsRequest;
use crate::protocol::messages::find_coordinator::FindCoordinatorRequest;
use crate::protocol::messages::init_producer_id::InitProducerIdRequest;
use crate::types::BrokerId;

use super::super::testing::RawClient;

fn who() -> ApiVersionsRequest {
    ApiVersionsRequest {
        client_software_name: "raw-client".to_owned(),
        client_software_version: "1.0".to_owned(),
    }
}

#[tokio::test]
async fn every_version_of_api_versions_tells_the_same() {
    let (cluster, mut client) = one_node().await;
    for version in 0..=4 {
        let response = client.call(&who(), version).await;
        assert_eq!(response.error_code, ErrorCode::NONE);
        assert_eq!(response.api_keys.len(), super::SERVED.len(), "version {version}");
        let features: Vec<_> =
            response.finalized_features.iter().map(|f| f.name.as_str()).collect();
        let levels: Vec<_> =
            response.finalized_features.iter().map(|f| f.max_version_level).collect();
        let told = if version >= 3 { 2 } else { 0 };
        assert_eq!(features, ["group.version", "transaction.version"][..told], "{version}");
        assert_eq!(levels, [1, 2][..told]);
        assert_eq!(response.supported_features.len(), if version >= 4 { 2 } else { 0 });
        let produce = &response.api_keys[0];
        assert_eq!((produce.api_key, produce.min_version, produce.max_version), (0, 0, 13));
    }
    let identified = Event::ClientIdentified {
        node: BrokerId(1),
        client_id: Some("raw".to_owned()),
        software_name: "raw-client".to_owned(),
        software_version: "1.0".to_owned(),
    };
    assert!(cluster.events().contains(&identified));
}

#[tokio::test]
async fn a_newer_api_versions_is_answered_in_version_0() {
    let (_cluster, mut client) = one_node().await;
    // Version 9 with whatever it may hold.
    client.send_bytes(&[0, 18, 0, 9, 0, 0, 0, 1, 0, 1, b'x', 0, 1, 2, 3]).await;
    let response = client.receive::<ApiVersionsRequest>(0).await;
    assert_eq!(response.error_code, ErrorCode::UNSUPPORTED_VERSION);
    let known: Vec<_> =
        response.api_keys.iter().map(|a| (a.api_key, a.min_version, a.max_version)).collect();
    assert_eq!(known, [(ApiKey::API_VERSIONS.0, 0, 4)]);
}

#[tokio::test]
async fn a_client_without_a_proper_name_is_refused() {
    let (_cluster, mut client) = one_node().await;
    for name in ["", "-a", "a-", "a b"] {
        let request = ApiVersionsRequest { client_software_name: name.to_owned(), ..who() };
        let response = client.call(&request, 3).await;
        assert_eq!(response.error_code, ErrorCode::INVALID_REQUEST, "{name:?}");
    }
}

#[tokio::test]
async fn producer_ids_are_new_each_time() {
    let (_cluster, mut client) = one_node().await;
    let none = InitProducerIdRequest { transactional_id: None, ..Default::default() };
    for (version, expected) in [(0, 0), (5, 1)] {
        let response = client.call(&none, version).await;
        assert_eq!(response.error_code, ErrorCode::NONE);
        assert_eq!((response.producer_id, response.producer_epoch), (expected, 0));
    }
    let bump = InitProducerIdRequest { producer_id: 1, producer_epoch: 0, ..none.clone() };
    let response = client.call(&bump, 4).await;
    assert_eq!((response.producer_id, response.producer_epoch), (2, 0), "as Kafka does");
}

#[tokio::test]
async fn producer_ids_that_cannot_be_given_are_refused() {
    let (_cluster, mut client) = one_node().await;
    let init = |id: Option<&str>, producer_id, producer_epoch| InitProducerIdRequest {
        transactional_id: id.map(str::to_owned),
        producer_id,
        producer_epoch,
        ..Default::default()
    };
    for (request, expected) in [
        (init(None, 3, -1), ErrorCode::INVALID_REQUEST),
        (init(None, -1, 3), ErrorCode::INVALID_REQUEST),
        (init(Some(""), -1, -1), ErrorCode::INVALID_REQUEST),
        (init(Some("tx"), 3, -1), ErrorCode::INVALID_REQUEST),
        (init(Some("tx"), -1, -1), ErrorCode::INVALID_TRANSACTION_TIMEOUT),
    ] {
        let response = client.call(&request, 5).await;
        assert_eq!(response.error_code, expected, "{request:?}");
        assert_eq!((response.producer_id, response.producer_epoch), (-1, -1));
    }
}

#[tokio::test]
async fn a_coordinator_is_a_running_node_and_stays_the_same() {
    let cluster = several_nodes(3).await;
    let mut client = RawClient::connect(&cluster, 1);
    let keys: Vec<String> = (0..9).map(|n| format!("group-{n}")).collect();
    let batched = FindCoordinatorRequest { coordinator_keys: keys.clone(), ..Default::default() };
    let before = client.call(&batched, 6).await.coordinators;
    for (key, found) in keys.iter().zip(&before) {
        let single = FindCoordinatorRequest { key: key.clone(), ..Default::default() };
        let response = client.call(&single, 2).await;
        assert_eq!((response.node_id, &response.host), (found.node_id, &found.host));
        assert_eq!(found.host, format!("broker-{}.milena.internal", found.node_id));
    }
    assert!((1..=3).all(|id| before.iter().any(|found| found.node_id == id)), "all take part");
    cluster.stop_node(BrokerId(2)).await.unwrap();
    for (found, old) in client.call(&batched, 6).await.coordinators.iter().zip(&before) {
        assert_ne!(found.node_id, 2);
        assert!(found.node_id == old.node_id || old.node_id == 2);
    }
    let unknown = FindCoordinatorRequest { key_type: 7, ..batched };
    let response = client.call(&unknown, 4).await;
    assert_eq!(response.coordinators[0].error_code, ErrorCode::INVALID_REQUEST);
}

#[tokio::test]
async fn what_is_not_served_closes_the_connection() {
    let cluster = in_memory().start().await.unwrap();
    for (what, request) in [
        ("an API that is not served", [0, 11, 0, 5, 0, 0, 0, 1, 0xFF, 0xFF]),
        ("an API that does not exist", [0x7F, 0xFF, 0, 0, 0, 0, 0, 1, 0xFF, 0xFF]),
        ("a version from the future", [0, 3, 0, 99, 0, 0, 0, 1, 0xFF, 0xFF]),
        ("a version from the past", [0, 0, 0, 2, 0, 0, 0, 1, 0xFF, 0xFF]),
    ] {
        let mut client = RawClient::connect(&cluster, 1);
        client.send_bytes(&request).await;
        assert!(client.is_closed().await, "{what}");
    }
}
