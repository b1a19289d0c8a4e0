//! OffsetCommit: the offsets of a group, partition by partition.

use super::{Answer, Context, Handle};
use crate::broker::group::{CommittedOffset, Identity};
use crate::broker::state::State;
use crate::error::ErrorCode;
use crate::protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
    OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use crate::time::Instant;
use crate::types::TopicPartition;

/// From this version on topics are named by id.
const BY_ID_FROM: i16 = 10;

impl Handle for OffsetCommitRequest {
    async fn handle(self, cx: &Context<'_>) -> Answer<OffsetCommitResponse> {
        let topics = cx.shared.change_groups(|state, now| {
            let who = Identity {
                generation: self.generation_id_or_member_epoch,
                member_id: &self.member_id,
                instance_id: self.group_instance_id.as_deref(),
            };
            let may = may_commit(cx, state, now, &self.group_id, who);
            let committer = may.map(|()| Committer { group: &self.group_id, who });
            self.topics.into_iter().map(|topic| commit(cx, state, committer, topic)).collect()
        });
        Answer::Respond(OffsetCommitResponse { topics, ..Default::default() })
    }

    fn names(&self, state: &State, partition: &TopicPartition) -> bool {
        let index = |p: &OffsetCommitRequestPartition| p.partition_index == partition.partition;
        self.topics.iter().any(|topic| {
            let name = state.name_of(topic.topic_id).unwrap_or(&topic.name);
            name == partition.topic && topic.partitions.iter().any(index)
        })
    }
}

/// Who commits, and may.
#[derive(Debug, Clone, Copy)]
struct Committer<'a> {
    group: &'a str,
    who: Identity<'a>,
}

fn may_commit(
    cx: &Context<'_>,
    state: &mut State,
    now: Instant,
    group: &str,
    who: Identity<'_>,
) -> Result<(), ErrorCode> {
    state.groups.check_node(cx.node, group)?;
    state.groups.may_commit(now, cx.version, group, who)
}

fn commit(
    cx: &Context<'_>,
    state: &mut State,
    committer: Result<Committer<'_>, ErrorCode>,
    topic: OffsetCommitRequestTopic,
) -> OffsetCommitResponseTopic {
    let OffsetCommitRequestTopic { name: asked, topic_id, partitions } = topic;
    let (name, unknown) = if cx.version >= BY_ID_FROM {
        (state.name_of(topic_id).map(str::to_owned), ErrorCode::UNKNOWN_TOPIC_ID)
    } else {
        (Some(asked.clone()), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
    };
    let partitions = partitions.into_iter().map(|partition| {
        let partition_index = partition.partition_index;
        let place = name.as_deref().map(|name| (name, partition_index));
        let stored = cx.apply(place, || {
            let (name, index) = place.ok_or(unknown)?;
            let topic = state.topic(name).filter(|_| state.partition(name, index).is_some());
            let topic_id = topic.ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?.id;
            let Committer { group, who } = committer?;
            state.groups.may_commit_to(group, (topic_id, index), who)?;
            let committed = CommittedOffset::new(
                partition.committed_offset,
                partition.committed_leader_epoch,
                partition.committed_metadata,
            )?;
            state.groups.commit(group, name, index, committed);
            Ok(())
        });
        let error_code = stored.err().unwrap_or(ErrorCode::NONE);
        OffsetCommitResponsePartition { partition_index, error_code }
    });
    OffsetCommitResponseTopic { partitions: partitions.collect(), name: asked, topic_id }
}
