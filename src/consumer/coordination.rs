//! Requests to the coordinator of a group, and their answers. It decides nothing: whom to ask for what,
//! and what an answer means, is known in `group` and `offsets`.

use std::collections::{BTreeMap, BTreeSet};

use super::group::{Destination, GroupRequest, GroupResponse};
use super::offsets::OffsetsRequest;
use crate::client::Client;
use crate::error::ClientError;
use crate::protocol::Request;
use crate::protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use crate::protocol::messages::offset_commit::OffsetCommitResponse;
use crate::protocol::messages::offset_fetch::OffsetFetchResponse;
use crate::time::Duration;
use crate::types::{BrokerId, TopicId};

/// What came of a request.
pub(super) enum Answered {
    Member(u64, Result<GroupResponse, ClientError>),
    Commit(u64, Result<OffsetCommitResponse, ClientError>),
    Fetch(u64, Result<OffsetFetchResponse, ClientError>),
    Resolved(Result<BTreeMap<TopicId, String>, ClientError>),
}

/// A request that is to be sent.
pub(super) enum Asking {
    Member { token: u64, to: Destination, request: Box<GroupRequest>, timeout: Duration },
    Offsets { token: u64, to: BrokerId, request: OffsetsRequest },
    Resolve(BTreeSet<TopicId>),
}

/// Sends a request and waits for the answer.
pub(super) async fn ask(client: Client, asking: Asking) -> Answered {
    match asking {
        Asking::Member { token, to, request, timeout } => {
            Answered::Member(token, ask_as_member(&client, to, *request, timeout).await)
        }
        Asking::Offsets { token, to, request } => {
            ask_for_offsets(&client, token, to, request).await
        }
        Asking::Resolve(ids) => Answered::Resolved(resolve(&client, ids).await),
    }
}

async fn ask_as_member(
    client: &Client,
    to: Destination,
    request: GroupRequest,
    timeout: Duration,
) -> Result<GroupResponse, ClientError> {
    let ask = Ask { client, to, timeout };
    match request {
        GroupRequest::FindCoordinator(key) => {
            ask.call(|version| key.request(version)).await.map(GroupResponse::FindCoordinator)
        }
        GroupRequest::JoinGroup(request) => {
            ask.call(|_| request.clone()).await.map(GroupResponse::JoinGroup)
        }
        GroupRequest::SyncGroup(request) => {
            ask.call(|_| request.clone()).await.map(GroupResponse::SyncGroup)
        }
        GroupRequest::Heartbeat(request) => {
            ask.call(|_| request.clone()).await.map(GroupResponse::Heartbeat)
        }
        GroupRequest::LeaveGroup(leave) => {
            ask.call(|version| leave.at(version)).await.map(GroupResponse::LeaveGroup)
        }
        GroupRequest::ConsumerGroupHeartbeat(request) => {
            ask.call(|_| request.clone()).await.map(GroupResponse::ConsumerGroupHeartbeat)
        }
    }
}

async fn ask_for_offsets(
    client: &Client,
    token: u64,
    to: BrokerId,
    request: OffsetsRequest,
) -> Answered {
    let (to, timeout) = (Destination::Coordinator(to), client.config().request_timeout());
    let ask = Ask { client, to, timeout };
    match request {
        OffsetsRequest::Commit(commit) => {
            let request = |version| commit.at(version);
            Answered::Commit(token, ask.call_up_to(commit.highest(), request).await)
        }
        OffsetsRequest::Fetch(fetch) => {
            let request = |version| fetch.at(version);
            Answered::Fetch(token, ask.call_up_to(fetch.highest(), request).await)
        }
    }
}

/// What topics are called, as far as a broker knows them.
async fn resolve(
    client: &Client,
    ids: BTreeSet<TopicId>,
) -> Result<BTreeMap<TopicId, String>, ClientError> {
    let topics = ids.iter().map(|id| MetadataRequestTopic { topic_id: *id, name: None });
    let request = MetadataRequest {
        topics: Some(topics.collect()),
        allow_auto_topic_creation: false,
        ..MetadataRequest::default()
    };
    let response = client.call_any_once(|_| request.clone()).await?;
    let topics = response.topics.into_iter().filter(|topic| ids.contains(&topic.topic_id));
    Ok(topics.filter_map(|topic| Some((topic.topic_id, topic.name?))).collect())
}

struct Ask<'a> {
    client: &'a Client,
    to: Destination,
    /// From when it is connected.
    timeout: Duration,
}

impl Ask<'_> {
    /// Sends a request as it is in the version that the broker speaks.
    async fn call<R: Request>(
        &self,
        request: impl Fn(i16) -> R,
    ) -> Result<R::Response, ClientError> {
        self.call_up_to(i16::MAX, request).await
    }

    async fn call_up_to<R: Request>(
        &self,
        highest: i16,
        request: impl Fn(i16) -> R,
    ) -> Result<R::Response, ClientError> {
        let result = match self.to {
            Destination::Any => self.client.call_any_once(request).await,
            Destination::Coordinator(node) => {
                self.client.call_coordinator(node, highest, request, self.timeout).await
            }
        };
        if result.as_ref().is_err_and(ClientError::refreshes_metadata) {
            self.client.request_refresh();
        }
        result
    }
}
