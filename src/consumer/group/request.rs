//! What a member asks of the world: the requests that it sends, the answers that it takes, and what
//! else its driver is to do. Decides nothing.

use std::collections::BTreeSet;

use crate::client::CoordinatorKey;
use crate::protocol::messages::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
};
use crate::protocol::messages::find_coordinator::FindCoordinatorResponse;
use crate::protocol::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use crate::protocol::messages::join_group::{JoinGroupRequest, JoinGroupResponse};
use crate::protocol::messages::leave_group::{
    LeaveGroupRequest, LeaveGroupResponse, MemberIdentity,
};
use crate::protocol::messages::sync_group::{SyncGroupRequest, SyncGroupResponse};
use crate::time::Duration;
use crate::types::{BrokerId, TopicId};

/// What the driver is to do.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    /// Send it, give it `timeout` from when it is on a connection, and tell by `handle_response` how
    /// that went.
    Send { token: u64, to: Destination, request: Box<GroupRequest>, timeout: Duration },
    /// Keep the metadata of these topics fresh, beyond those subscribed to: what all members of the
    /// group subscribe to. Replaces the list before it. Answered by `handle_topics`, which should name
    /// each of them, those that do not exist without partitions.
    Track(BTreeSet<String>),
    /// Find out what these topics are called; answered by `handle_topics`.
    Resolve(BTreeSet<TopicId>),
}

/// Whom a request goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Destination {
    /// Any broker.
    Any,
    /// This broker, on a connection that nothing else uses: brokers answer the requests of a
    /// connection one after the other, and a JoinGroup is answered when all members have joined.
    Coordinator(BrokerId),
}

/// A request of a member. Those that look different in older versions are made for the version
/// that the connection speaks.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum GroupRequest {
    FindCoordinator(CoordinatorKey),
    JoinGroup(JoinGroupRequest),
    SyncGroup(SyncGroupRequest),
    Heartbeat(HeartbeatRequest),
    LeaveGroup(LeaveGroup),
    ConsumerGroupHeartbeat(ConsumerGroupHeartbeatRequest),
}

/// The answer to a [`GroupRequest`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum GroupResponse {
    FindCoordinator(FindCoordinatorResponse),
    JoinGroup(JoinGroupResponse),
    SyncGroup(SyncGroupResponse),
    Heartbeat(HeartbeatResponse),
    LeaveGroup(LeaveGroupResponse),
    ConsumerGroupHeartbeat(ConsumerGroupHeartbeatResponse),
}

/// Leaves a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LeaveGroup {
    pub(crate) group_id: String,
    pub(crate) member_id: String,
    pub(crate) group_instance_id: Option<String>,
    pub(crate) reason: String,
}

impl LeaveGroup {
    /// The first version that takes several members at once (KIP-345).
    const LIST_FROM: i16 = 3;

    /// The request in a version.
    pub(crate) fn at(&self, version: i16) -> LeaveGroupRequest {
        let mut request =
            LeaveGroupRequest { group_id: self.group_id.clone(), ..LeaveGroupRequest::default() };
        if version < Self::LIST_FROM {
            request.member_id.clone_from(&self.member_id);
        } else {
            request.members.push(MemberIdentity {
                member_id: self.member_id.clone(),
                group_instance_id: self.group_instance_id.clone(),
                reason: Some(self.reason.clone()),
            });
        }
        request
    }
}

/// Collects actions, and gives each request its token.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    last_token: u64,
    actions: Vec<Action>,
}

impl Outbox {
    /// Queues a request; its token.
    pub(super) fn send(
        &mut self,
        to: Destination,
        request: GroupRequest,
        timeout: Duration,
    ) -> u64 {
        self.last_token += 1;
        let token = self.last_token;
        let request = Box::new(request);
        self.actions.push(Action::Send { token, to, request, timeout });
        token
    }

    pub(super) fn push(&mut self, action: Action) {
        self.actions.push(action);
    }

    pub(super) fn take(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }
}
