//! OffsetForLeaderEpoch: where an epoch of a leader ended, by which a consumer finds out that what it read is gone
//! (KIP-320).

use super::{Answer, Context, Handle};
use crate::broker::state::State;
use crate::error::ErrorCode;
use crate::protocol::messages::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
    OffsetForLeaderPartition, OffsetForLeaderTopic, OffsetForLeaderTopicResult,
};
use crate::types::TopicPartition;

impl Handle for OffsetForLeaderEpochRequest {
    async fn handle(self, cx: &Context<'_>) -> Answer<OffsetForLeaderEpochResponse> {
        let one = |topic: &OffsetForLeaderTopic| OffsetForLeaderTopicResult {
            topic: topic.topic.clone(),
            partitions: topic.partitions.iter().map(|asked| end(cx, &topic.topic, asked)).collect(),
        };
        let topics = self.topics.iter().map(one).collect();
        Answer::Respond(OffsetForLeaderEpochResponse { topics, ..Default::default() })
    }

    fn names(&self, _: &State, partition: &TopicPartition) -> bool {
        let index = |asked: &OffsetForLeaderPartition| asked.partition == partition.partition;
        self.topics
            .iter()
            .any(|topic| topic.topic == partition.topic && topic.partitions.iter().any(index))
    }

    fn throttle(response: &mut OffsetForLeaderEpochResponse, ms: i32) {
        response.throttle_time_ms = ms;
    }
}

fn end(cx: &Context<'_>, topic: &str, asked: &OffsetForLeaderPartition) -> EpochEndOffset {
    let found = cx.apply(Some((topic, asked.partition)), || {
        cx.shared.with(|state| {
            let partition = state
                .partition(topic, asked.partition)
                .ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
            partition.check_leader(cx.node, asked.current_leader_epoch)?;
            Ok(partition.log.end_of_epoch(asked.leader_epoch))
        })
    });
    let (error_code, found) = match found {
        Ok(found) => (ErrorCode::NONE, found),
        Err(code) => (code, None),
    };
    // An epoch that is not known is no error: both numbers are undefined then.
    let (leader_epoch, end_offset) = found.unwrap_or((-1, -1));
    EpochEndOffset { error_code, partition: asked.partition, leader_epoch, end_offset }
}
