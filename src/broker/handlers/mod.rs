//! One file per API: what a node answers. Here is the list of them, and the way of a request through it.
//!
//! ```text
//! frame -> header -> API and version served? -> request -> a fault? -> handler -> response -> frame
//!                          | no: close                       | error code: the handler puts it in place of its own
//! ```

mod add_to_txn;
mod api_versions;
mod consumer_group_heartbeat;
mod create_partitions;
mod create_topics;
mod delete_topics;
mod describe_producers;
mod end_txn;
mod fetch;
mod find_coordinator;
mod group_admin;
mod groups;
mod init_producer_id;
mod list_offsets;
mod metadata;
mod offset_commit;
mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
mod transactions;
mod txn_offset_commit;

use std::time::Duration;

use bytes::Bytes;

use super::events::Event;
use super::faults::{Action, Strike};
use super::shared::Shared;
use super::state::{Node, State};
use crate::error::ErrorCode;
use crate::protocol::header::{RequestHeader, decode_request_header, encode_response};
use crate::protocol::messages::{
    add_offsets_to_txn::AddOffsetsToTxnRequest, add_partitions_to_txn::AddPartitionsToTxnRequest,
    api_versions::ApiVersionsRequest, consumer_group_describe::ConsumerGroupDescribeRequest,
    consumer_group_heartbeat::ConsumerGroupHeartbeatRequest,
    create_partitions::CreatePartitionsRequest, create_topics::CreateTopicsRequest,
    delete_groups::DeleteGroupsRequest, delete_topics::DeleteTopicsRequest,
    describe_groups::DescribeGroupsRequest, describe_producers::DescribeProducersRequest,
    describe_transactions::DescribeTransactionsRequest, end_txn::EndTxnRequest,
    fetch::FetchRequest, find_coordinator::FindCoordinatorRequest, heartbeat::HeartbeatRequest,
    init_producer_id::InitProducerIdRequest, join_group::JoinGroupRequest,
    leave_group::LeaveGroupRequest, list_groups::ListGroupsRequest,
    list_offsets::ListOffsetsRequest, list_transactions::ListTransactionsRequest,
    metadata::MetadataRequest, offset_commit::OffsetCommitRequest,
    offset_delete::OffsetDeleteRequest, offset_fetch::OffsetFetchRequest,
    offset_for_leader_epoch::OffsetForLeaderEpochRequest, produce::ProduceRequest,
    sync_group::SyncGroupRequest, txn_offset_commit::TxnOffsetCommitRequest,
};
use crate::protocol::{ApiKey, Message, Reader, Request, VersionRange};
use crate::types::{BrokerId, TopicPartition};

/// Why a node closes a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Close(pub(crate) String);

/// What the connection does about a request.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    /// The response; `None` if the request has none.
    pub(crate) frame: Option<Vec<Bytes>>,
    /// How long the response waits.
    pub(crate) delay: Duration,
    /// Whether this response and all later ones are lost.
    pub(crate) mute: bool,
    /// How long the connection's next request waits when this is answered.
    pub(crate) pause: Duration,
}

/// What a handler has to say.
pub(super) enum Answer<R> {
    Respond(R),
    /// The request asked for no response.
    Silent,
    Close(String),
}

/// A request that this broker serves.
pub(super) trait Handle: Request {
    /// Applies the request and answers it. The error codes of a fault come by way of `cx`.
    fn handle(self, cx: &Context<'_>) -> impl Future<Output = Answer<Self::Response>> + Send;

    /// Whether the request names a partition; asked by faults.
    fn names(&self, state: &State, partition: &TopicPartition) -> bool;

    /// Writes `throttle_time_ms` into a response that has one.
    fn throttle(_response: &mut Self::Response, _ms: i32) {}
}

/// What a handler knows besides the request.
#[derive(Debug)]
pub(super) struct Context<'a> {
    pub(super) shared: &'a Shared,
    pub(super) node: BrokerId,
    pub(super) version: i16,
    pub(super) client_id: Option<&'a str>,
    strike: Option<Strike>,
}

impl Context<'_> {
    /// Applies something that concerns a partition, or all of the request if `None`, unless a fault is in the way.
    fn apply<T, E: From<ErrorCode>>(
        &self,
        partition: Option<(&str, i32)>,
        apply: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        if let Some(code) = self.injected(partition, false) {
            return Err(code.into());
        }
        let result = apply();
        match self.injected(partition, true) {
            Some(code) => Err(code.into()),
            None => result,
        }
    }

    /// The error code that a fault gives, in place of applying the request or after it.
    fn injected(&self, partition: Option<(&str, i32)>, after: bool) -> Option<ErrorCode> {
        let strike = self.strike.as_ref()?;
        let code = match strike.action {
            Action::Error(code) if !after => code,
            Action::ErrorAfter(code) if after => code,
            _ => return None,
        };
        let concerned = match (&strike.partition, partition) {
            (Some(only), Some((topic, index))) => only.topic == topic && only.partition == index,
            _ => true,
        };
        concerned.then_some(code)
    }

    /// Whether a fault struck that waited for a partition.
    fn concerns_partition(&self) -> bool {
        self.strike.as_ref().is_some_and(|strike| strike.partition.is_some())
    }

    /// Whether the client is over a quota.
    fn throttles(&self) -> bool {
        self.strike.as_ref().is_some_and(|strike| matches!(strike.action, Action::Throttle(_)))
    }

    /// As [`Context::apply`], for something that concerns a topic as a whole.
    fn apply_topic<T, E: From<ErrorCode>>(
        &self,
        topic: &str,
        apply: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let index = self.strike.as_ref().and_then(|strike| strike.partition.as_ref());
        let index = index.map_or(0, |only| only.partition);
        self.apply(Some((topic, index)), apply)
    }
}

/// The host and port of a node, as messages have them.
fn endpoint(node: &Node) -> (String, i32) {
    (node.host.clone(), i32::from(node.port))
}

macro_rules! served {
    ($($request:ident,)*) => {
        /// Every API that is served, with its versions.
        const SERVED: &[(ApiKey, VersionRange)] =
            &[$(($request::API, $request::VERSIONS)),*];

        async fn dispatch(
            shared: &Shared,
            node: BrokerId,
            header: &RequestHeader,
            body: Reader,
        ) -> Result<Reply, Close> {
            match header.api_key {
                $($request::API => serve::<$request>(shared, node, header, body).await,)*
                other => Err(Close(format!("{other} is not served"))),
            }
        }
    };
}

served! {
    ProduceRequest,
    FetchRequest,
    ListOffsetsRequest,
    MetadataRequest,
    OffsetCommitRequest,
    OffsetFetchRequest,
    FindCoordinatorRequest,
    JoinGroupRequest,
    HeartbeatRequest,
    LeaveGroupRequest,
    SyncGroupRequest,
    DescribeGroupsRequest,
    ListGroupsRequest,
    ApiVersionsRequest,
    CreateTopicsRequest,
    DeleteTopicsRequest,
    InitProducerIdRequest,
    OffsetForLeaderEpochRequest,
    CreatePartitionsRequest,
    DeleteGroupsRequest,
    OffsetDeleteRequest,
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupDescribeRequest,
    AddPartitionsToTxnRequest,
    AddOffsetsToTxnRequest,
    EndTxnRequest,
    TxnOffsetCommitRequest,
    DescribeProducersRequest,
    DescribeTransactionsRequest,
    ListTransactionsRequest,
}

/// Whether a request does nothing but read, and may wait for long.
pub(crate) fn only_reads(frame: &Bytes) -> bool {
    frame.starts_with(&ApiKey::FETCH.0.to_be_bytes())
}

/// Answers one frame that a node received.
pub(crate) async fn answer(shared: &Shared, node: BrokerId, frame: Bytes) -> Result<Reply, Close> {
    let mut reader = Reader::new(frame);
    let header = decode_request_header(&mut reader).map_err(|error| Close(error.to_string()))?;
    let RequestHeader { api_key, api_version, correlation_id, .. } = header;
    let served = SERVED.iter().find(|(api, _)| *api == api_key).map(|&(_, versions)| versions);
    match served {
        Some(versions) if versions.contains(api_version) => {}
        Some(_) if api_key == ApiKey::API_VERSIONS => {
            // The client cannot know better yet, so it is told instead of shown out (KIP-511).
            let frame = encode_response(correlation_id, 0, &api_versions::unsupported_version());
            return Ok(Reply { frame: Some(frame.map_err(cannot_encode)?), ..Reply::default() });
        }
        _ => return Err(Close(format!("{api_key} version {api_version} is not served"))),
    }
    dispatch(shared, node, &header, reader).await
}

async fn serve<R: Handle>(
    shared: &Shared,
    node: BrokerId,
    header: &RequestHeader,
    mut body: Reader,
) -> Result<Reply, Close> {
    let version = header.api_version;
    shared.settle_transactions();
    let request = R::decode(&mut body, version).map_err(|error| Close(error.to_string()))?;
    // The body shares the frame's memory, which nothing but stored records may hold on to.
    drop(body);
    let strike = receive(shared, node, &request);
    let action = strike.as_ref().map(|strike| strike.action);
    match action {
        Some(Action::CloseBefore) => return Err(Close("an injected fault".to_owned())),
        Some(Action::DelayRequest(delay)) => tokio::time::sleep(delay).await,
        _ => {}
    }
    let client_id = header.client_id.as_deref();
    let cx = Context { shared, node, version, client_id, strike };
    let answer = request.handle(&cx).await;
    let response = match answer {
        Answer::Close(reason) => return Err(Close(reason)),
        _ if action == Some(Action::CloseAfter) => {
            return Err(Close("an injected fault".to_owned()));
        }
        Answer::Silent => None,
        Answer::Respond(mut response) => {
            if let Some(Action::Throttle(time)) = action {
                R::throttle(&mut response, i32::try_from(time.as_millis()).unwrap_or(i32::MAX));
            }
            Some(response)
        }
    };
    let encode = |response| encode_response(header.correlation_id, version, &response);
    Ok(Reply {
        frame: response.map(encode).transpose().map_err(cannot_encode)?,
        delay: match action {
            Some(Action::DelayResponse(delay)) => delay,
            _ => Duration::ZERO,
        },
        mute: action == Some(Action::DropResponse),
        pause: match action {
            Some(Action::Throttle(time)) => time,
            _ => Duration::ZERO,
        },
    })
}

/// Counts a request and finds the fault that it meets.
fn receive<R: Handle>(shared: &Shared, node: BrokerId, request: &R) -> Option<Strike> {
    let strike = shared.with(|state| {
        *state.requests.entry(R::API).or_default() += 1;
        if state.faults.len() == 0 {
            return None;
        }
        let mut faults = std::mem::take(&mut state.faults);
        let strike = faults.strike(R::API, node, |partition| request.names(state, partition));
        state.faults = faults;
        if let Some(Strike { action, .. }) = strike {
            state.events.push(Event::FaultStruck { node, api: R::API, action });
        }
        strike
    });
    shared.received.notify_waiters();
    strike
}

#[expect(clippy::needless_pass_by_value, reason = "it is used as a function of map_err")]
fn cannot_encode(error: crate::protocol::EncodeError) -> Close {
    Close(error.to_string())
}

#[cfg(test)]
mod tests;
