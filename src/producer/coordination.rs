//! Requests to the coordinators of transactions and groups, and their answers. It decides nothing: whom to ask for what,
//! and what an answer means, is known in `txn`.

use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::client::Client;
use crate::error::ClientError;
use crate::net::Connection;
use crate::producer::txn::{
    Ask, Destination, LAST_ADD_PARTITIONS, Support, TxnRequest, TxnResponse,
};
use crate::protocol::Request;
use crate::protocol::messages::add_partitions_to_txn::AddPartitionsToTxnRequest;
use crate::protocol::messages::end_txn::EndTxnRequest;
use crate::protocol::messages::init_producer_id::InitProducerIdRequest;
use crate::protocol::messages::produce::ProduceRequest;
use crate::protocol::messages::txn_offset_commit::TxnOffsetCommitRequest;
use crate::time::Duration;

/// Sends a request and waits for its answer; with it comes what the broker can do.
pub(super) async fn ask(client: Client, ask: Ask) -> Result<(TxnResponse, Support), ClientError> {
    let Ask { to, request, timeout, .. } = ask;
    let result = match to {
        Destination::Any => ask_any(&client, request).await.map(|found| (found, Support::NONE)),
        Destination::Coordinator(broker) => match client.coordinator(broker).await {
            Ok(connection) => ask_coordinator(&connection, request, timeout)
                .await
                .map(|response| (response, support(&connection))),
            Err(error) => Err(error),
        },
    };
    if result.as_ref().is_err_and(ClientError::refreshes_metadata) {
        client.request_refresh();
    }
    result
}

async fn ask_any(client: &Client, request: TxnRequest) -> Result<TxnResponse, ClientError> {
    match request {
        TxnRequest::FindCoordinator(key) => {
            let response = client.call_any_once(|version| key.request(version)).await?;
            Ok(TxnResponse::FindCoordinator(response))
        }
        // The others are for coordinators.
        _ => Err(ClientError::Closed),
    }
}

async fn ask_coordinator(
    connection: &Arc<Connection>,
    request: TxnRequest,
    timeout: Duration,
) -> Result<TxnResponse, ClientError> {
    let to = To { connection, timeout };
    Ok(match request {
        TxnRequest::InitProducerId(request) => {
            TxnResponse::InitProducerId(to.call(&request, i16::MAX).await?)
        }
        TxnRequest::AddPartitions(request) => {
            TxnResponse::AddPartitions(to.call(&request, LAST_ADD_PARTITIONS).await?)
        }
        TxnRequest::AddOffsets(request) => {
            TxnResponse::AddOffsets(to.call(&request, i16::MAX).await?)
        }
        TxnRequest::CommitOffsets(request, versions) => {
            TxnResponse::CommitOffsets(to.call_within(&request, versions).await?)
        }
        TxnRequest::End(request, highest) => TxnResponse::End(to.call(&request, highest).await?),
        // Any broker answers that, and only such a one is asked.
        TxnRequest::FindCoordinator(_) => return Err(ClientError::Closed),
    })
}

struct To<'a> {
    connection: &'a Connection,
    timeout: Duration,
}

impl To<'_> {
    async fn call<R: Request>(
        &self,
        request: &R,
        highest: i16,
    ) -> Result<R::Response, ClientError> {
        self.call_within(request, i16::MIN..=highest).await
    }

    async fn call_within<R: Request>(
        &self,
        request: &R,
        versions: RangeInclusive<i16>,
    ) -> Result<R::Response, ClientError> {
        let version = self.connection.version_within::<R>(versions)?;
        self.connection.call_at(request, version, self.timeout).await
    }
}

/// What the broker at the other end can do.
fn support(connection: &Connection) -> Support {
    Support {
        feature: connection.finalized_feature("transaction.version").unwrap_or(-1),
        produce: connection.version::<ProduceRequest>().unwrap_or(-1),
        init_producer_id: connection.version::<InitProducerIdRequest>().unwrap_or(-1),
        add_partitions: connection.version::<AddPartitionsToTxnRequest>().unwrap_or(-1),
        commit_offsets: connection.version::<TxnOffsetCommitRequest>().unwrap_or(-1),
        end: connection.version::<EndTxnRequest>().unwrap_or(-1),
    }
}
