//! JoinGroup, SyncGroup, Heartbeat and LeaveGroup: the way of a member's requests to its group, and back when the group
//! is ready.

use std::pin::pin;

use super::{Answer, Context, Handle};
use crate::broker::group::{self, Groups, Ticket};
use crate::broker::shared::Shared;
use crate::broker::state::State;
use crate::error::ErrorCode;
use crate::protocol::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use crate::protocol::messages::join_group::{JoinGroupRequest, JoinGroupResponse};
use crate::protocol::messages::leave_group::{
    LeaveGroupRequest, LeaveGroupResponse, MemberIdentity,
};
use crate::protocol::messages::sync_group::{SyncGroupRequest, SyncGroupResponse};
use crate::time::Instant;
use crate::types::TopicPartition;

/// From this version of JoinGroup on the protocol's name may be null.
const NULL_PROTOCOL_FROM: i16 = 7;
/// From this version of SyncGroup on the protocol has to be named (KIP-559).
const PROTOCOL_FROM: i16 = 5;
/// From this version of LeaveGroup on several may leave at once (KIP-345).
const SEVERAL_FROM: i16 = 3;

impl Context<'_> {
    /// Applies something at a group's coordinator, if this node is it and no fault is in the way.
    pub(super) fn coordinate<T, E: From<ErrorCode>>(
        &self,
        group: &str,
        apply: impl FnOnce(&mut State, Instant) -> Result<T, E>,
    ) -> Result<T, E> {
        self.apply(None, || {
            self.shared.change_groups(|state, now| {
                state.groups.check_node(self.node, group)?;
                apply(state, now)
            })
        })
    }

    /// As [`Context::coordinate`], for what is answered when the group is ready.
    async fn park(
        &self,
        group: &str,
        enter: impl FnOnce(&mut Groups, Instant) -> Ticket,
    ) -> Result<group::Answer, ErrorCode> {
        let enter = |state: &mut State, now| Ok::<_, ErrorCode>(enter(&mut state.groups, now));
        let ticket = self.coordinate(group, enter)?;
        let parked = Parked { shared: self.shared, ticket };
        loop {
            // Listen before looking: an answer in between must not be missed.
            let mut changed = pin!(self.shared.groups.notified());
            changed.as_mut().enable();
            self.shared.advance_group(group);
            if let Some(answer) = self.shared.with(|state| state.groups.take_answer(parked.ticket))
            {
                return Ok(answer);
            }
            self.shared.group_changes(group, changed).await;
        }
    }
}

/// A request that waits, for as long as its handler does.
struct Parked<'a> {
    shared: &'a Shared,
    ticket: Ticket,
}

impl Drop for Parked<'_> {
    fn drop(&mut self) {
        self.shared.with(|state| state.groups.abandon(self.ticket));
    }
}

impl Handle for JoinGroupRequest {
    async fn handle(self, cx: &Context<'_>) -> Answer<JoinGroupResponse> {
        let (group, member_id) = (self.group_id.clone(), self.member_id.clone());
        let client_id = cx.client_id.unwrap_or_default();
        let joined = cx.park(&group, |groups, now| groups.join(now, cx.version, client_id, self));
        let mut response = match joined.await {
            Ok(group::Answer::Join(response)) => response,
            Ok(group::Answer::Sync(_)) => return Answer::Close("a wrong answer".to_owned()),
            Err(error_code) => JoinGroupResponse { error_code, member_id, ..Default::default() },
        };
        if cx.version < NULL_PROTOCOL_FROM {
            response.protocol_name.get_or_insert_default();
        }
        Answer::Respond(response)
    }

    fn names(&self, _: &State, _: &TopicPartition) -> bool {
        false
    }
}

impl Handle for SyncGroupRequest {
    async fn handle(self, cx: &Context<'_>) -> Answer<SyncGroupResponse> {
        let refused = |error_code| SyncGroupResponse { error_code, ..Default::default() };
        let named = self.protocol_type.is_some() && self.protocol_name.is_some();
        if cx.version >= PROTOCOL_FROM && !named {
            return Answer::Respond(refused(ErrorCode::INCONSISTENT_GROUP_PROTOCOL));
        }
        let synced = cx.park(&self.group_id, |groups, now| groups.sync(now, &self)).await;
        Answer::Respond(match synced {
            Ok(group::Answer::Sync(response)) => response,
            Ok(group::Answer::Join(_)) => return Answer::Close("a wrong answer".to_owned()),
            Err(code) => refused(code),
        })
    }

    fn names(&self, _: &State, _: &TopicPartition) -> bool {
        false
    }
}

impl Handle for HeartbeatRequest {
    async fn handle(self, cx: &Context<'_>) -> Answer<HeartbeatResponse> {
        let told = cx.coordinate(&self.group_id, |state, now| state.groups.heartbeat(now, &self));
        let error_code = told.err().unwrap_or(ErrorCode::NONE);
        Answer::Respond(HeartbeatResponse { error_code, ..Default::default() })
    }

    fn names(&self, _: &State, _: &TopicPartition) -> bool {
        false
    }
}

impl Handle for LeaveGroupRequest {
    async fn handle(self, cx: &Context<'_>) -> Answer<LeaveGroupResponse> {
        let several = cx.version >= SEVERAL_FROM;
        let alone = [MemberIdentity { member_id: self.member_id, ..Default::default() }];
        let leaving = if several { &self.members[..] } else { &alone };
        let left = cx.coordinate(&self.group_id, |state, now| {
            state.groups.leave(now, &self.group_id, leaving)
        });
        let refused = |error_code| LeaveGroupResponse { error_code, ..Default::default() };
        Answer::Respond(match left {
            Ok(members) if several => LeaveGroupResponse { members, ..Default::default() },
            Ok(members) => refused(members.first().map_or(ErrorCode::NONE, |one| one.error_code)),
            Err(code) => refused(code),
        })
    }

    fn names(&self, _: &State, _: &TopicPartition) -> bool {
        false
    }
}
