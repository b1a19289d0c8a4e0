//! SyncGroup, Heartbeat, LeaveGroup, and whether an OffsetCommit may be: what members do between two rounds.

use bytes::Bytes;

use super::{Answer, ClassicGroup, Phase, Ticket, Turn};
use crate::error::ErrorCode;
use crate::protocol::messages::heartbeat::HeartbeatRequest;
use crate::protocol::messages::leave_group::{MemberIdentity, MemberResponse};
use crate::protocol::messages::sync_group::{
    SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse,
};
use crate::time::Instant;

/// Who asks, in a generation or epoch; -1 and no ids if it is no member.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Identity<'a> {
    pub(crate) generation: i32,
    pub(crate) member_id: &'a str,
    pub(crate) instance_id: Option<&'a str>,
}

impl ClassicGroup {
    pub(in crate::broker::group) fn sync(
        &mut self,
        turn: &Turn<'_>,
        ticket: Ticket,
        request: &SyncGroupRequest,
    ) {
        if let Err(code) = self.may_sync(request) {
            return self.refuse_sync(ticket, code);
        }
        let id = &request.member_id;
        self.unsynced.remove(id);
        if self.unsynced.is_empty() {
            self.sync_timer = None;
        }
        let Some(member) = self.member_mut(id) else { return };
        if let Some(earlier) = member.syncing.replace(ticket) {
            // Its client gave up on that one, which Kafka leaves unanswered.
            self.refuse_sync(earlier, ErrorCode::REBALANCE_IN_PROGRESS);
        }
        if self.phase == Phase::Stable {
            self.give_out(id, Ok(()));
        } else if self.is_leader(id) {
            self.give_out_assignments(turn.now, Ok(&request.assignments));
            self.came_from = self.phase;
            self.phase = Phase::Stable;
            self.write_record();
        }
    }

    fn may_sync(&self, request: &SyncGroupRequest) -> Result<(), ErrorCode> {
        let differs = |asked: &Option<String>, has: &Option<String>| {
            asked.as_ref().zip(has.as_ref()).is_some_and(|(asked, has)| asked != has)
        };
        if self.is_empty() {
            return Err(ErrorCode::UNKNOWN_MEMBER_ID);
        }
        self.validate(&request.member_id, request.group_instance_id.as_deref())?;
        if request.generation_id != self.generation {
            return Err(ErrorCode::ILLEGAL_GENERATION);
        }
        if differs(&request.protocol_type, &self.protocol_type)
            || differs(&request.protocol_name, &self.protocol)
        {
            return Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        }
        if self.phase == Phase::PreparingRebalance {
            return Err(ErrorCode::REBALANCE_IN_PROGRESS);
        }
        Ok(())
    }

    /// Sets every member's assignment, to nothing if the leader left it out or there is an error, and answers those who
    /// wait for it.
    pub(super) fn give_out_assignments(
        &mut self,
        now: Instant,
        assigned: Result<&[SyncGroupRequestAssignment], ErrorCode>,
    ) {
        for member in &mut self.members {
            let own = assigned.unwrap_or_default().iter().rfind(|a| a.member_id == member.id);
            let own = own.map(|own| &own.assignment[..]).unwrap_or_default();
            // A copy, which does not keep the memory of the frame.
            member.assignment = Bytes::copy_from_slice(own);
        }
        let waiting = self.members.iter().filter(|member| member.syncing.is_some());
        let waiting: Vec<String> = waiting.map(|member| member.id.clone()).collect();
        for id in waiting {
            self.give_out(&id, assigned.map(|_| ()));
            self.heard_of(now, &id);
        }
    }

    fn give_out(&mut self, id: &str, result: Result<(), ErrorCode>) {
        let Some(member) = self.member_mut(id) else { return };
        let Some(ticket) = member.syncing.take() else { return };
        let assignment = member.assignment.clone();
        let response = match result {
            Ok(()) => SyncGroupResponse {
                protocol_type: self.protocol_type.clone(),
                protocol_name: self.protocol.clone(),
                assignment,
                ..Default::default()
            },
            Err(error_code) => {
                SyncGroupResponse { error_code, assignment: Bytes::new(), ..Default::default() }
            }
        };
        self.answers.push((ticket, Answer::Sync(response)));
    }

    pub(in crate::broker::group) fn heartbeat(
        &mut self,
        turn: &Turn<'_>,
        request: &HeartbeatRequest,
    ) -> Result<(), ErrorCode> {
        self.validate(&request.member_id, request.group_instance_id.as_deref())?;
        if request.generation_id != self.generation {
            return Err(ErrorCode::ILLEGAL_GENERATION);
        }
        self.heard_of(turn.now, &request.member_id);
        match self.phase {
            Phase::Empty => Err(ErrorCode::UNKNOWN_MEMBER_ID),
            Phase::PreparingRebalance => Err(ErrorCode::REBALANCE_IN_PROGRESS),
            Phase::CompletingRebalance | Phase::Stable => Ok(()),
        }
    }

    /// Takes members out, each by its id, or by its instance id alone as an administrator does.
    pub(in crate::broker::group) fn leave(
        &mut self,
        turn: &Turn<'_>,
        leaving: &[MemberIdentity],
    ) -> Vec<MemberResponse> {
        let mut responses = Vec::with_capacity(leaving.len());
        let mut anyone = false;
        for member in leaving {
            let left = self.id_of_leaving(member).map(|id| self.remove(&id));
            anyone |= left.is_ok();
            responses.push(MemberResponse {
                member_id: member.member_id.clone(),
                group_instance_id: member.group_instance_id.clone(),
                error_code: left.err().unwrap_or(ErrorCode::NONE),
            });
        }
        match self.phase {
            Phase::Stable | Phase::CompletingRebalance if anyone => self.rebalance_or_go_on(turn),
            Phase::PreparingRebalance if anyone => self.go_on_if_all_joined(turn),
            _ => {}
        }
        responses
    }

    fn id_of_leaving(&self, leaving: &MemberIdentity) -> Result<String, ErrorCode> {
        let instance = leaving.group_instance_id.as_deref();
        if leaving.member_id.is_empty() {
            let member = instance.and_then(|instance| self.member_of_instance(instance));
            return member.map(|member| member.id.clone()).ok_or(ErrorCode::UNKNOWN_MEMBER_ID);
        }
        if !self.is_pending(&leaving.member_id) {
            self.validate(&leaving.member_id, instance)?;
        }
        Ok(leaving.member_id.clone())
    }

    /// Whether offsets may be committed by `who`; a commit keeps a session alive as a heartbeat does.
    pub(in crate::broker::group) fn may_commit(
        &mut self,
        turn: &Turn<'_>,
        who: Identity<'_>,
    ) -> Result<(), ErrorCode> {
        let Identity { generation, member_id, instance_id } = who;
        if generation < 0 && self.is_empty() {
            return Ok(());
        }
        if generation < 0 && member_id.is_empty() && instance_id.is_none() {
            return Err(ErrorCode::UNKNOWN_MEMBER_ID);
        }
        self.validate(member_id, instance_id)?;
        if generation != self.generation {
            return Err(ErrorCode::ILLEGAL_GENERATION);
        }
        if self.phase == Phase::CompletingRebalance {
            return Err(ErrorCode::REBALANCE_IN_PROGRESS);
        }
        self.heard_of(turn.now, member_id);
        Ok(())
    }

    /// As [`ClassicGroup::may_commit`], as part of a transaction: older clients do not say who they are, and a rebalance
    /// under way is in nobody's way.
    pub(in crate::broker::group) fn may_commit_in_transaction(
        &self,
        who: Identity<'_>,
    ) -> Result<(), ErrorCode> {
        let Identity { generation, member_id, instance_id } = who;
        let is_unnamed = generation < 0 && member_id.is_empty() && instance_id.is_none();
        if is_unnamed || generation < 0 && self.is_empty() {
            return Ok(());
        }
        self.validate(member_id, instance_id)?;
        if generation == self.generation { Ok(()) } else { Err(ErrorCode::ILLEGAL_GENERATION) }
    }
}
