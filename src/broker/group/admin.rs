//! What administrators ask of groups and do to them: which there are, what is known of each, and taking away groups or
//! offsets that nobody uses. The rules, codes and sentences are those of Kafka's `GroupMetadataManager`.

use super::{Groups, Members, Refused, TopicView};
use crate::error::ErrorCode;
use crate::protocol::messages::list_groups::ListedGroup;
use crate::protocol::messages::{consumer_group_describe, describe_groups};
use crate::time::Instant;
use crate::types::BrokerId;

/// From this version of DescribeGroups on a group that is not there is an error, and not one that is dead.
const NOT_FOUND_FROM: i16 = 6;

/// Kafka's names of the types of groups, and of the protocol type of those of the new protocol.
const CLASSIC: &str = "classic";
const CONSUMER: &str = "consumer";

impl Groups {
    /// The groups that a node coordinates, of these states and types if there are any of them; case does not matter.
    pub(crate) fn list(
        &mut self,
        now: Instant,
        node: BrokerId,
        states: &[String],
        types: &[String],
    ) -> Vec<ListedGroup> {
        let names =
            self.groups.keys().filter(|name| self.placement.coordinator(name) == Some(node));
        let names: Vec<String> = names.cloned().collect();
        for name in &names {
            self.advance(now, name);
        }
        let wanted = |filter: &[String], value: &str| {
            filter.is_empty()
                || filter.iter().any(|wanted| wanted.trim().eq_ignore_ascii_case(value))
        };
        let listed = names.into_iter().filter_map(|group_id| {
            let (group_type, protocol_type, group_state) =
                match &self.groups.get(&group_id)?.members {
                    Members::Classic(group) => {
                        (CLASSIC, group.protocol_type().to_owned(), group.phase().to_string())
                    }
                    Members::Consumer(group) => {
                        (CONSUMER, CONSUMER.to_owned(), group.state().to_owned())
                    }
                };
            let group_type = group_type.to_owned();
            Some(ListedGroup { group_id, protocol_type, group_state, group_type })
        });
        listed
            .filter(|group| wanted(states, &group.group_state) && wanted(types, &group.group_type))
            .collect()
    }

    /// A classic group.
    pub(crate) fn describe_classic(
        &mut self,
        now: Instant,
        version: i16,
        name: &str,
    ) -> describe_groups::DescribedGroup {
        self.advance(now, name);
        let why = match self.groups.get(name).map(|group| &group.members) {
            Some(Members::Classic(group)) => return group.describe(name),
            Some(Members::Consumer(_)) => "is not a classic group",
            None => "not found",
        };
        let told = version >= NOT_FOUND_FROM;
        describe_groups::DescribedGroup {
            group_id: name.to_owned(),
            group_state: "Dead".to_owned(),
            error_code: if told { ErrorCode::GROUP_ID_NOT_FOUND } else { ErrorCode::NONE },
            error_message: told.then(|| format!("Group {name} {why}.")),
            ..Default::default()
        }
    }

    /// A group of the new protocol.
    pub(crate) fn describe_consumer(
        &mut self,
        now: Instant,
        name: &str,
        topics: &dyn TopicView,
    ) -> Result<consumer_group_describe::DescribedGroup, Refused> {
        self.advance(now, name);
        let why = match self.groups.get(name).map(|group| &group.members) {
            Some(Members::Consumer(group)) => return Ok(group.describe(name, topics)),
            Some(Members::Classic(_)) => "is not a consumer group",
            None => "not found",
        };
        Err(Refused::new(ErrorCode::GROUP_ID_NOT_FOUND, format!("Group {name} {why}.")))
    }

    /// Deletes a group without members, with its offsets.
    pub(crate) fn delete(&mut self, now: Instant, name: &str) -> Result<(), ErrorCode> {
        self.advance(now, name);
        match self.groups.get(name).map(|group| group.members.is_empty()) {
            None => Err(ErrorCode::GROUP_ID_NOT_FOUND),
            Some(false) => Err(ErrorCode::NON_EMPTY_GROUP),
            Some(true) => {
                self.groups.remove(name);
                Ok(())
            }
        }
    }

    /// Whether offsets of a group may be deleted at all; [`Groups::delete_offset`] decides for each topic.
    pub(crate) fn may_delete_offsets(&mut self, now: Instant, name: &str) -> Result<(), ErrorCode> {
        self.advance(now, name);
        match self.groups.get(name).map(|group| &group.members) {
            None => Err(ErrorCode::GROUP_ID_NOT_FOUND),
            Some(Members::Classic(group)) if !group.is_of_consumers() => {
                Err(ErrorCode::NON_EMPTY_GROUP)
            }
            Some(_) => Ok(()),
        }
    }

    /// Forgets what a group has committed for a partition, unless a member reads the topic.
    pub(crate) fn delete_offset(
        &mut self,
        name: &str,
        topic: &str,
        partition: i32,
    ) -> Result<(), ErrorCode> {
        let group = self.groups.get_mut(name).ok_or(ErrorCode::GROUP_ID_NOT_FOUND)?;
        let is_read = match &group.members {
            Members::Classic(group) => group.reads(topic),
            Members::Consumer(group) => group.reads(topic),
        };
        if is_read {
            return Err(ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC);
        }
        group.offsets.forget(topic, partition);
        Ok(())
    }
}
