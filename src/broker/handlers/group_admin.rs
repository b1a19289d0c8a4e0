//! ListGroups, DescribeGroups, ConsumerGroupDescribe, DeleteGroups and OffsetDelete: what tools ask of groups and do to
//! them. Nobody is unauthorized here, and the operations that one is authorized for are not told.

use super::{Answer, Context, Handle};
use crate::broker::group::Refused;
use crate::broker::state::State;
use crate::error::ErrorCode;
use crate::protocol::messages::consumer_group_describe::{
    self, ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse,
};
use crate::protocol::messages::delete_groups::{
    DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse,
};
use crate::protocol::messages::describe_groups::{
    self, DescribeGroupsRequest, DescribeGroupsResponse,
};
use crate::protocol::messages::list_groups::{ListGroupsRequest, ListGroupsResponse};
use crate::protocol::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestTopic, OffsetDeleteResponse,
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use crate::types::TopicPartition;

impl Handle for ListGroupsRequest {
    async fn handle(self, cx: &Context<'_>) -> Answer<ListGroupsResponse> {
        let listed = cx.apply(None, || {
            let (states, types) = (&self.states_filter, &self.types_filter);
            cx.shared.change_groups(|state, now| Ok(state.groups.list(now, cx.node, states, types)))
        });
        Answer::Respond(match listed {
            Ok(groups) => ListGroupsResponse { groups, ..Default::default() },
            Err(error_code) => ListGroupsResponse { error_code, ..Default::default() },
        })
    }

    fn names(&self, _: &State, _: &TopicPartition) -> bool {
        false
    }
}

impl Handle for DescribeGroupsRequest {
    async fn handle(self, cx: &Context<'_>) -> Answer<DescribeGroupsResponse> {
        let one = |group: &String| {
            let described = cx.coordinate(group, |state, now| {
                Ok(state.groups.describe_classic(now, cx.version, group))
            });
            described.unwrap_or_else(|error_code| describe_groups::DescribedGroup {
                error_code,
                group_id: group.clone(),
                ..Default::default()
            })
        };
        let groups = self.groups.iter().map(one).collect();
        Answer::Respond(DescribeGroupsResponse { groups, ..Default::default() })
    }

    fn names(&self, _: &State, _: &TopicPartition) -> bool {
        false
    }
}

impl Handle for ConsumerGroupDescribeRequest {
    async fn handle(self, cx: &Context<'_>) -> Answer<ConsumerGroupDescribeResponse> {
        let one = |group: &String| {
            let described = cx.coordinate(group, |state, now| {
                if group.is_empty() {
                    return Err(ErrorCode::INVALID_GROUP_ID.into());
                }
                state.describe_consumer_group(now, group)
            });
            described.unwrap_or_else(|Refused { code, message }| {
                consumer_group_describe::DescribedGroup {
                    error_code: code,
                    error_message: Some(message),
                    group_id: group.clone(),
                    ..Default::default()
                }
            })
        };
        let groups = self.group_ids.iter().map(one).collect();
        Answer::Respond(ConsumerGroupDescribeResponse { groups, ..Default::default() })
    }

    fn names(&self, _: &State, _: &TopicPartition) -> bool {
        false
    }
}

impl Handle for DeleteGroupsRequest {
    async fn handle(self, cx: &Context<'_>) -> Answer<DeleteGroupsResponse> {
        let one = |group_id: String| {
            let deleted =
                cx.coordinate(&group_id, |state, now| state.groups.delete(now, &group_id));
            let error_code = deleted.err().unwrap_or(ErrorCode::NONE);
            DeletableGroupResult { group_id, error_code }
        };
        let results = self.groups_names.into_iter().map(one).collect();
        Answer::Respond(DeleteGroupsResponse { results, ..Default::default() })
    }

    fn names(&self, _: &State, _: &TopicPartition) -> bool {
        false
    }
}

impl Handle for OffsetDeleteRequest {
    async fn handle(self, cx: &Context<'_>) -> Answer<OffsetDeleteResponse> {
        let group = &self.group_id;
        let may = |state: &mut State, now| state.groups.may_delete_offsets(now, group);
        if let Err(error_code) = cx.coordinate(group, may) {
            return Answer::Respond(OffsetDeleteResponse { error_code, ..Default::default() });
        }
        let topics = self.topics.iter().map(|topic| delete_offsets(cx, group, topic)).collect();
        Answer::Respond(OffsetDeleteResponse { topics, ..Default::default() })
    }

    fn names(&self, _: &State, partition: &TopicPartition) -> bool {
        let of_topic = |topic: &OffsetDeleteRequestTopic| {
            let index = |named: &i32| *named == partition.partition;
            topic.name == partition.topic
                && topic.partitions.iter().map(|named| named.partition_index).any(|i| index(&i))
        };
        self.topics.iter().any(of_topic)
    }
}

fn delete_offsets(
    cx: &Context<'_>,
    group: &str,
    topic: &OffsetDeleteRequestTopic,
) -> OffsetDeleteResponseTopic {
    let name = topic.name.as_str();
    let one = |index: i32| {
        let deleted = cx.apply(Some((name, index)), || {
            cx.shared.change_groups(|state, _| {
                if state.partition_mut(name, index).is_none() {
                    return Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
                }
                state.groups.delete_offset(group, name, index)
            })
        });
        let error_code = deleted.err().unwrap_or(ErrorCode::NONE);
        OffsetDeleteResponsePartition { partition_index: index, error_code }
    };
    let partitions = topic.partitions.iter().map(|named| one(named.partition_index)).collect();
    OffsetDeleteResponseTopic { name: name.to_owned(), partitions }
}
