//! OffsetFetch: the committed offsets of groups, of given partitions or of all.
//!
//! Before version 8 of one group, from there on of several; both are answered in the form of the newer ones and put into
//! the older form if need be. Who wants what is stable (KIP-447) waits for transactions that are open.

use super::{Answer, Context, Handle};
use crate::broker::group::{CommittedOffset, Group};
use crate::broker::state::State;
use crate::error::ErrorCode;
use crate::protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics, OffsetFetchResponse,
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use crate::time::Instant;
use crate::types::TopicPartition;

/// From this version on several groups are asked for at once (KIP-709).
const SEVERAL_FROM: i16 = 8;
/// From this version on topics are named by id.
const BY_ID_FROM: i16 = 10;
/// From this version on an error of the group has a place of its own.
const GROUP_ERROR_FROM: i16 = 2;

impl Handle for OffsetFetchRequest {
    async fn handle(self, cx: &Context<'_>) -> Answer<OffsetFetchResponse> {
        if cx.version >= SEVERAL_FROM {
            let stable = self.require_stable;
            let groups = self.groups.iter().map(|asked| of_group(cx, asked, stable)).collect();
            return Answer::Respond(OffsetFetchResponse { groups, ..Default::default() });
        }
        let topics = self.topics.map(|topics| {
            let asked = topics.into_iter().map(|topic| OffsetFetchRequestTopics {
                name: topic.name,
                partition_indexes: topic.partition_indexes,
                ..Default::default()
            });
            asked.collect()
        });
        let asked =
            OffsetFetchRequestGroup { group_id: self.group_id, topics, ..Default::default() };
        Answer::Respond(older_form(cx.version, of_group(cx, &asked, self.require_stable), &asked))
    }

    fn names(&self, state: &State, partition: &TopicPartition) -> bool {
        let older = self.topics.iter().flatten().map(|t| (t.name.as_str(), &t.partition_indexes));
        let topics = self.groups.iter().flat_map(|group| group.topics.iter().flatten());
        let newer =
            topics.map(|t| (state.name_of(t.topic_id).unwrap_or(&t.name), &t.partition_indexes));
        older.chain(newer).any(|(name, indexes)| {
            name == partition.topic && indexes.contains(&partition.partition)
        })
    }
}

fn of_group(
    cx: &Context<'_>,
    asked: &OffsetFetchRequestGroup,
    stable: bool,
) -> OffsetFetchResponseGroup {
    let group_id = asked.group_id.clone();
    let told = cx.shared.change_groups(|state, now| {
        may_fetch(cx, state, now, asked)?;
        Ok(match &asked.topics {
            Some(topics) => {
                let of_group = state.groups.get(&group_id);
                topics.iter().map(|topic| of_topic(cx, state, (of_group, stable), topic)).collect()
            }
            None => of_all(cx, state, &group_id, stable),
        })
    });
    match told {
        Ok(topics) => OffsetFetchResponseGroup { group_id, topics, ..Default::default() },
        Err(error_code) => OffsetFetchResponseGroup { group_id, error_code, ..Default::default() },
    }
}

/// An error of the group as a whole; a fault without a partition counts as one.
fn may_fetch(
    cx: &Context<'_>,
    state: &mut State,
    now: Instant,
    asked: &OffsetFetchRequestGroup,
) -> Result<(), ErrorCode> {
    let check = |state: &mut State| {
        state.groups.check_node(cx.node, &asked.group_id)?;
        state.groups.may_fetch(now, asked)
    };
    if cx.concerns_partition() { check(state) } else { cx.apply(None, || check(state)) }
}

fn of_topic(
    cx: &Context<'_>,
    state: &State,
    (group, stable): (Option<&Group>, bool),
    asked: &OffsetFetchRequestTopics,
) -> OffsetFetchResponseTopics {
    let by_id = cx.version >= BY_ID_FROM;
    let name = if by_id { state.name_of(asked.topic_id) } else { Some(asked.name.as_str()) };
    let one = |&index: &i32| {
        let committed = cx.apply(name.map(|name| (name, index)), || {
            let name = name.ok_or(ErrorCode::UNKNOWN_TOPIC_ID)?;
            let Some(group) = group else { return Ok(None) };
            check_stable(group, (name, index), stable)?;
            Ok(group.offsets.get(name, index))
        });
        shown(index, committed)
    };
    OffsetFetchResponseTopics {
        name: asked.name.clone(),
        topic_id: asked.topic_id,
        partitions: asked.partition_indexes.iter().map(one).collect(),
    }
}

fn check_stable(group: &Group, (topic, index): (&str, i32), stable: bool) -> Result<(), ErrorCode> {
    if stable && group.offsets.is_unstable(topic, index) {
        Err(ErrorCode::UNSTABLE_OFFSET_COMMIT)
    } else {
        Ok(())
    }
}

fn of_all(
    cx: &Context<'_>,
    state: &State,
    group: &str,
    stable: bool,
) -> Vec<OffsetFetchResponseTopics> {
    let Some(group) = state.groups.get(group) else { return Vec::new() };
    let known = group.offsets.iter().filter_map(|(topic, offsets)| {
        let topic_id = state.topic(topic)?.id;
        let shown = |(&index, committed)| {
            let committed = cx.apply(Some((topic, index)), || {
                check_stable(group, (topic, index), stable).map(|()| Some(committed))
            });
            shown(index, committed)
        };
        let partitions = offsets.iter().map(shown).collect();
        Some(OffsetFetchResponseTopics { name: topic.to_owned(), topic_id, partitions })
    });
    known.collect()
}

fn shown(
    partition_index: i32,
    committed: Result<Option<&CommittedOffset>, ErrorCode>,
) -> OffsetFetchResponsePartitions {
    match committed {
        Ok(Some(committed)) => OffsetFetchResponsePartitions {
            partition_index,
            committed_offset: committed.offset,
            committed_leader_epoch: committed.leader_epoch.unwrap_or(-1),
            metadata: Some(committed.metadata.clone()),
            ..Default::default()
        },
        Ok(None) => nothing(partition_index, ErrorCode::NONE),
        Err(code) => nothing(partition_index, code),
    }
}

fn nothing(partition_index: i32, error_code: ErrorCode) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: -1,
        error_code,
        ..Default::default()
    }
}

fn older_form(
    version: i16,
    group: OffsetFetchResponseGroup,
    asked: &OffsetFetchRequestGroup,
) -> OffsetFetchResponse {
    let OffsetFetchResponseGroup { topics, error_code, .. } = group;
    let topics = if version < GROUP_ERROR_FROM && !error_code.is_ok() {
        let failed = asked.topics.iter().flatten().map(|topic| OffsetFetchResponseTopics {
            name: topic.name.clone(),
            partitions: topic.partition_indexes.iter().map(|&i| nothing(i, error_code)).collect(),
            ..Default::default()
        });
        failed.collect()
    } else {
        topics
    };
    let older = |partition: OffsetFetchResponsePartitions| OffsetFetchResponsePartition {
        partition_index: partition.partition_index,
        committed_offset: partition.committed_offset,
        committed_leader_epoch: partition.committed_leader_epoch,
        metadata: partition.metadata,
        error_code: partition.error_code,
    };
    let topics = topics.into_iter().map(|topic| OffsetFetchResponseTopic {
        name: topic.name,
        partitions: topic.partitions.into_iter().map(older).collect(),
    });
    OffsetFetchResponse { topics: topics.collect(), error_code, ..Default::default() }
}
