//! JoinGroup: who may come in, who is called back, and whether that begins a rebalance.
//!
//! | who | group | what happens |
//! |---|---|---|
//! | without id | any | an id to come back with (v4 on, KIP-394), or a new member |
//! | without id, a known instance | Stable | takes the other's place, which is fenced; no rebalance if the protocol stays |
//! | without id, a known instance | rebalancing | takes the other's place and waits with the rest |
//! | with an id given out | any | a new member |
//! | member | Preparing | waits with the rest |
//! | member, same metadata | Completing | told the generation again |
//! | member, same metadata, no leader | Stable | told the generation again |
//! | leader, or other metadata | any | a rebalance |
//! | unknown | any | UNKNOWN_MEMBER_ID, or FENCED_INSTANCE_ID |

use super::{Answer, ClassicGroup, Member, Pending, Phase, Ticket, Turn, timeout};
use crate::error::ErrorCode;
use crate::protocol::messages::join_group::JoinGroupRequest;
use crate::time::{Duration, deadline};

/// From this version on a new member comes back with the id that it is given.
const ID_REQUIRED_FROM: i16 = 4;
/// From this version on a leader can be told that the assignment stays.
const SKIP_FROM: i16 = 9;
/// A new member knows no id to send heartbeats with: its JoinGroup waits no longer than this.
const NEW_MEMBER_JOIN_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// A JoinGroup and what the coordinator adds.
#[derive(Debug)]
pub(in crate::broker::group) struct Join<'a> {
    pub(in crate::broker::group) ticket: Ticket,
    pub(in crate::broker::group) version: i16,
    pub(in crate::broker::group) client_id: &'a str,
    /// What makes the id of a new member unlike any other.
    pub(in crate::broker::group) unique: String,
    pub(in crate::broker::group) request: JoinGroupRequest,
}

impl ClassicGroup {
    pub(in crate::broker::group) fn join(&mut self, turn: &Turn<'_>, mut join: Join<'_>) {
        let request = &mut join.request;
        if join.version == 0 {
            request.rebalance_timeout_ms = request.session_timeout_ms;
        }
        let id = request.member_id.clone();
        if !self.accepts(&id, turn.settings.max_size) {
            self.remove(&id);
            return self.refuse_join(join.ticket, "", ErrorCode::GROUP_MAX_SIZE_REACHED);
        }
        if !self.supports(&request.protocol_type, &request.protocols) {
            return self.refuse_join(join.ticket, &id, ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        }
        if id.is_empty() {
            self.join_newcomer(turn, join);
        } else if self.is_pending(&id) {
            if request.group_instance_id.is_some() {
                return self.refuse_join(join.ticket, &id, ErrorCode::UNKNOWN_SERVER_ERROR);
            }
            self.add(turn, id, join);
        } else {
            self.join_again(turn, &id, join);
        }
    }

    /// `group.max.size`: counted by those who wait while joining, by members otherwise.
    fn accepts(&self, id: &str, max: usize) -> bool {
        match self.phase {
            Phase::Empty => true,
            Phase::PreparingRebalance => {
                let waiting = self.members.iter().filter(|member| member.joining.is_some()).count();
                self.member(id).is_some_and(|member| member.joining.is_some()) || waiting < max
            }
            Phase::CompletingRebalance | Phase::Stable => {
                self.member(id).is_some() || self.members.len() < max
            }
        }
    }

    fn join_newcomer(&mut self, turn: &Turn<'_>, join: Join<'_>) {
        let request = &join.request;
        let instance = request.group_instance_id.as_deref();
        let id = format!("{}-{}", instance.unwrap_or(join.client_id), join.unique);
        let before = instance.and_then(|i| self.member_of_instance(i)).map(|old| old.id.clone());
        if let Some(old) = before {
            self.replace(turn, &old, id, join);
        } else if instance.is_none() && join.version >= ID_REQUIRED_FROM {
            let expires = deadline(turn.now, timeout(request.session_timeout_ms));
            self.pending.push(Pending { id: id.clone(), expires });
            self.refuse_join(join.ticket, &id, ErrorCode::MEMBER_ID_REQUIRED);
        } else {
            self.add(turn, id, join);
        }
    }

    fn add(&mut self, turn: &Turn<'_>, id: String, join: Join<'_>) {
        let Join { ticket, client_id, request, .. } = join;
        if self.phase == Phase::PreparingRebalance && self.came_from == Phase::Empty {
            self.new_member_added = true;
        }
        if self.members.is_empty() {
            self.protocol_type = Some(request.protocol_type);
        }
        self.pending.retain(|pending| pending.id != id);
        self.leader.get_or_insert_with(|| id.clone());
        self.members.push(Member {
            id,
            instance_id: request.group_instance_id,
            client_id: client_id.to_owned(),
            assignment: bytes::Bytes::new(),
            rebalance_timeout: timeout(request.rebalance_timeout_ms),
            session_timeout: timeout(request.session_timeout_ms),
            protocols: request.protocols,
            is_new: true,
            joining: Some(ticket),
            syncing: None,
            expires: Some(turn.now + NEW_MEMBER_JOIN_TIMEOUT),
        });
        self.rebalance_or_go_on(turn);
    }

    fn join_again(&mut self, turn: &Turn<'_>, id: &str, join: Join<'_>) {
        let request = &join.request;
        if let Err(code) = self.validate(id, request.group_instance_id.as_deref()) {
            return self.refuse_join(join.ticket, id, code);
        }
        let same = self.member(id).is_some_and(|member| member.protocols == request.protocols);
        let tell_again = match self.phase {
            Phase::Empty => {
                return self.refuse_join(join.ticket, id, ErrorCode::UNKNOWN_MEMBER_ID);
            }
            Phase::PreparingRebalance => false,
            Phase::CompletingRebalance => same,
            // The leader's wish is enough, since it may know of changed topics.
            Phase::Stable => same && !self.is_leader(id),
        };
        if tell_again {
            let response = self.joined(id, true);
            return self.answers.push((join.ticket, Answer::Join(response)));
        }
        self.update(id, join);
        self.rebalance_or_go_on(turn);
    }

    /// Takes over what a member says of itself, and lets it wait.
    fn update(&mut self, id: &str, join: Join<'_>) {
        let Join { ticket, request, .. } = join;
        let Some(member) = self.member_mut(id) else { return };
        member.protocols = request.protocols;
        member.rebalance_timeout = timeout(request.rebalance_timeout_ms);
        member.session_timeout = timeout(request.session_timeout_ms);
        // Its client gave up on an earlier one, which Kafka leaves unanswered.
        if let Some(earlier) = member.joining.replace(ticket) {
            self.refuse_join(earlier, id, ErrorCode::REBALANCE_IN_PROGRESS);
        }
    }

    /// A static member is back under a new id (KIP-345).
    fn replace(&mut self, turn: &Turn<'_>, old: &str, id: String, join: Join<'_>) {
        let (ticket, version) = (join.ticket, join.version);
        let led_by = self.leader.clone();
        let Some(member) = self.member_mut(old) else { return };
        let (joining, syncing) = (member.joining.take(), member.syncing.take());
        member.id.clone_from(&id);
        member.is_new = false;
        member.expires = Some(deadline(turn.now, member.session_timeout));
        if let Some(fenced) = joining {
            self.refuse_join(fenced, old, ErrorCode::FENCED_INSTANCE_ID);
        }
        if let Some(fenced) = syncing {
            self.refuse_sync(fenced, ErrorCode::FENCED_INSTANCE_ID);
        }
        if self.is_leader(old) {
            self.leader = Some(id.clone());
        }
        if self.unsynced.remove(old) {
            self.unsynced.insert(id.clone());
        }
        self.update(&id, join);
        match self.phase {
            Phase::Stable if self.elect_protocol() == self.protocol => {
                // Leader or not, it goes on with the assignment that its predecessor had.
                self.write_record();
                let mut response = self.joined(&id, version >= SKIP_FROM);
                if version >= SKIP_FROM {
                    response.skip_assignment = self.is_leader(&id);
                } else {
                    // It must not take itself for the leader: it would assign anew what stays as it is.
                    response.leader = led_by.unwrap_or_default();
                }
                if let Some(member) = self.member_mut(&id) {
                    member.joining = None;
                }
                self.answers.push((ticket, Answer::Join(response)));
            }
            // The leader may have been told the old id already, and would assign to nobody.
            Phase::Stable | Phase::CompletingRebalance => self.prepare_rebalance(turn),
            Phase::Empty | Phase::PreparingRebalance => self.go_on_if_all_joined(turn),
        }
    }
}
