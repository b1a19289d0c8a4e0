//! ConsumerGroupHeartbeat: whether a request makes sense, who it is from, and what it changes.

use std::collections::{BTreeMap, BTreeSet};

use super::{Assignor, ConsumerGroup, LEAVE, LEAVE_FOR_NOW, Member, Slot, TopicView, Turn};
use crate::broker::group::Refused;
use crate::error::ErrorCode;
use crate::protocol::messages::consumer_group_heartbeat::{
    Assignment, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, TopicPartitions,
};
use crate::time::{Duration, deadline};
use crate::types::TopicId;

/// From this version on members make their own ids (KIP-1082).
const OWN_ID_FROM: i16 = 1;

/// A ConsumerGroupHeartbeat and what the coordinator adds.
#[derive(Debug)]
pub(in crate::broker::group) struct Heartbeat<'a> {
    pub(in crate::broker::group) client_id: &'a str,
    /// The id of a member that has none.
    pub(in crate::broker::group) unique: String,
    pub(in crate::broker::group) request: ConsumerGroupHeartbeatRequest,
}

/// Whether a request makes sense by itself.
pub(in crate::broker::group) fn check(
    version: i16,
    request: &ConsumerGroupHeartbeatRequest,
) -> Result<(), Refused> {
    let invalid = |message: &str| Err(Refused::new(ErrorCode::INVALID_REQUEST, message));
    let joins = request.member_epoch == 0;
    let leaves_for_now = request.member_epoch == LEAVE_FOR_NOW;
    let is_empty = |text: &Option<String>| text.as_deref() == Some("");
    if request.group_id.is_empty() {
        return invalid("GroupId can't be empty.");
    }
    if is_empty(&request.instance_id) {
        return invalid("InstanceId can't be empty.");
    }
    if is_empty(&request.rack_id) {
        return invalid("RackId can't be empty.");
    }
    if request.member_id.is_empty() && (version >= OWN_ID_FROM || !joins) {
        return invalid("MemberId can't be empty.");
    }
    if request.member_epoch < LEAVE_FOR_NOW {
        return invalid("MemberEpoch is invalid.");
    }
    if leaves_for_now && request.instance_id.is_none() {
        return invalid("InstanceId can't be null.");
    }
    if joins && request.rebalance_timeout_ms == -1 {
        return invalid("RebalanceTimeoutMs must be provided in first request.");
    }
    if joins && request.topic_partitions.as_ref().is_none_or(|owned| !owned.is_empty()) {
        return invalid("TopicPartitions must be empty when (re-)joining.");
    }
    let subscribes =
        request.subscribed_topic_names.is_some() || request.subscribed_topic_regex.is_some();
    if joins && !subscribes {
        return invalid(
            "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.",
        );
    }
    match request.server_assignor.as_deref() {
        Some(name) if Assignor::named(name).is_none() => {
            let known = Assignor::NAMES;
            let message =
                format!("ServerAssignor {name} is not supported. Supported assignors: {known}.");
            Err(Refused::new(ErrorCode::UNSUPPORTED_ASSIGNOR, message))
        }
        _ => Ok(()),
    }
}

impl ConsumerGroup {
    /// Applies a request that [`check`] let pass.
    pub(in crate::broker::group) fn heartbeat(
        &mut self,
        turn: &Turn<'_>,
        heartbeat: Heartbeat<'_>,
        topics: &dyn TopicView,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refused> {
        let request = &heartbeat.request;
        if request.member_epoch == LEAVE || request.member_epoch == LEAVE_FOR_NOW {
            return self.leave(request);
        }
        if self.members.len() >= turn.settings.max_size
            && !self.members.contains_key(&request.member_id)
        {
            let message = "The consumer group has reached its maximum capacity.";
            return Err(Refused::new(ErrorCode::GROUP_MAX_SIZE_REACHED, message));
        }
        let owned = request.topic_partitions.as_ref().map(|owned| slots(owned));
        let mut member = self.identify(&heartbeat, owned.as_ref())?;
        let before = member.assigned.clone();
        let is_full = request.member_epoch == 0
            || (request.rebalance_timeout_ms != -1
                && request.subscribed_topic_names.is_some()
                && owned.is_some());
        let id = member.id.clone();
        let resubscribed = update(&mut member, heartbeat)?;
        member.session_ends = Some(deadline(turn.now, turn.settings.consumer_session_timeout));
        let wanted: BTreeSet<TopicId> = member.subscription.resolve(topics).into_keys().collect();
        self.replace(member);
        self.follow_topics(topics, resubscribed);
        self.reconcile(turn, &id, owned.as_ref(), &wanted);
        let interval = turn.settings.consumer_heartbeat_interval.as_millis();
        let Some(member) = self.members.get(&id) else {
            return Err(Refused::new(ErrorCode::UNKNOWN_MEMBER_ID, "The member is gone."));
        };
        let changed = !member.assigned.keys().eq(before.keys());
        Ok(ConsumerGroupHeartbeatResponse {
            member_id: Some(id),
            member_epoch: member.epoch,
            heartbeat_interval_ms: i32::try_from(interval).unwrap_or(i32::MAX),
            assignment: (is_full || changed).then(|| assignment(&member.assigned)),
            ..Default::default()
        })
    }

    /// The member that a request is from, known or new, as it was.
    fn identify(
        &self,
        heartbeat: &Heartbeat<'_>,
        owned: Option<&BTreeSet<Slot>>,
    ) -> Result<Member, Refused> {
        let request = &heartbeat.request;
        let joins = request.member_epoch == 0;
        let id = match request.member_id.as_str() {
            "" => &heartbeat.unique,
            id => id,
        };
        let known = match request.instance_id.as_deref() {
            None => self.members.get(id),
            Some(instance) => match self.static_member(instance) {
                Some(member) if member.id == id => Some(member),
                Some(other) if !joins => return Err(fenced_by(other, id, instance)),
                Some(other) if other.epoch != LEAVE_FOR_NOW => {
                    let message = format!(
                        "Static member {id} with instance id {instance} cannot join the group because \
                         the instance id is owned by {} member.",
                        other.id
                    );
                    return Err(Refused::new(ErrorCode::UNRELEASED_INSTANCE_ID, message));
                }
                Some(left) => {
                    let (epoch, previous_epoch) = (0, 0);
                    return Ok(Member { id: id.to_owned(), epoch, previous_epoch, ..left.clone() });
                }
                None => None,
            },
        };
        match known {
            Some(member) => {
                check_epoch(member, request.member_epoch, owned)?;
                Ok(member.clone())
            }
            None if joins => Ok(Member::new(id.to_owned())),
            None => {
                let message = format!("Member {id} is not a member of the group.");
                Err(Refused::new(ErrorCode::UNKNOWN_MEMBER_ID, message))
            }
        }
    }

    /// Puts a member in, in place of one with the same instance id.
    fn replace(&mut self, member: Member) {
        if let Some(instance) = &member.instance_id {
            self.members.retain(|id, other| {
                *id == member.id || other.instance_id.as_ref() != Some(instance)
            });
        }
        self.members.insert(member.id.clone(), member);
    }

    /// Brings the group to what its members want and the cluster has.
    fn follow_topics(&mut self, topics: &dyn TopicView, resubscribed: bool) {
        let mut found = BTreeMap::new();
        for member in self.members.values() {
            found.extend(member.subscription.resolve(topics));
        }
        // Whoever was fenced has bumped the epoch already.
        let settled = self.epoch == self.target_epoch;
        if resubscribed || self.epoch == 0 || (found != self.topics && settled) {
            self.epoch += 1;
        }
        self.topics = found;
        if self.epoch > self.target_epoch {
            self.assign(topics);
        }
    }

    fn leave(
        &mut self,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refused> {
        let unknown = || Refused::new(ErrorCode::UNKNOWN_MEMBER_ID, "There is no such member.");
        let id = &request.member_id;
        if let Some(instance) = request.instance_id.as_deref() {
            let member = self.static_member(instance).ok_or_else(unknown)?;
            if member.id != *id {
                return Err(fenced_by(member, id, instance));
            }
        }
        let member = self.members.get_mut(id).ok_or_else(unknown)?;
        if request.member_epoch == LEAVE_FOR_NOW {
            // What it owns is kept for it until its session ends.
            member.epoch = LEAVE_FOR_NOW;
            member.revoking = BTreeMap::new();
            member.revoke_by = None;
        } else {
            self.fence(id);
        }
        Ok(ConsumerGroupHeartbeatResponse {
            member_id: Some(id.clone()),
            member_epoch: request.member_epoch,
            ..Default::default()
        })
    }
}

fn fenced_by(member: &Member, id: &str, instance: &str) -> Refused {
    let message = format!(
        "Static member {id} with instance id {instance} was fenced by member {}.",
        member.id
    );
    Refused::new(ErrorCode::FENCED_INSTANCE_ID, message)
}

/// A member may be one step behind if it has not heard of the last one, and owns nothing beyond it.
fn check_epoch(member: &Member, epoch: i32, owned: Option<&BTreeSet<Slot>>) -> Result<(), Refused> {
    let within = owned.is_some_and(|owned| owned.iter().all(|s| member.assigned.contains_key(s)));
    if epoch == 0 || epoch == member.epoch || (epoch == member.previous_epoch && within) {
        return Ok(());
    }
    let than = if epoch > member.epoch { "greater" } else { "smaller" };
    let message = format!(
        "The consumer group member has a {than} member epoch ({epoch}) than the one known by the group \
         coordinator ({}). The member must abandon all its partitions and rejoin.",
        member.epoch
    );
    Err(Refused::new(ErrorCode::FENCED_MEMBER_EPOCH, message))
}

/// Takes over what a member says of itself. Gives whether it wants other topics than before.
fn update(member: &mut Member, heartbeat: Heartbeat<'_>) -> Result<bool, Refused> {
    let Heartbeat { client_id, request, .. } = heartbeat;
    let before = member.subscription.clone();
    if let Some(names) = request.subscribed_topic_names {
        member.subscription.set_names(names);
    }
    if let Some(pattern) = &request.subscribed_topic_regex {
        member.subscription.set_pattern(pattern).map_err(|error| {
            let message = format!("SubscribedTopicRegex `{pattern}` is not valid: {}", error.0);
            Refused::new(ErrorCode::INVALID_REGULAR_EXPRESSION, message)
        })?;
    }
    if let Some(name) = &request.server_assignor {
        member.assignor = Assignor::named(name);
    }
    if let Ok(ms) = u64::try_from(request.rebalance_timeout_ms) {
        member.rebalance_timeout = Duration::from_millis(ms);
    }
    member.instance_id = request.instance_id.or(member.instance_id.take());
    member.rack_id = request.rack_id.or(member.rack_id.take());
    client_id.clone_into(&mut member.client_id);
    Ok(member.subscription != before)
}

fn slots(topics: &[TopicPartitions]) -> BTreeSet<Slot> {
    let each = |topic: &TopicPartitions| {
        let id = topic.topic_id;
        topic.partitions.clone().into_iter().map(move |partition| (id, partition))
    };
    topics.iter().flat_map(each).collect()
}

fn assignment(assigned: &BTreeMap<Slot, i32>) -> Assignment {
    let mut topic_partitions: Vec<TopicPartitions> = Vec::new();
    for &(topic_id, partition) in assigned.keys() {
        match topic_partitions.last_mut() {
            Some(last) if last.topic_id == topic_id => last.partitions.push(partition),
            _ => topic_partitions.push(TopicPartitions { topic_id, partitions: vec![partition] }),
        }
    }
    Assignment { topic_partitions }
}
