//! ConsumerGroupHeartbeat: all that a member of the new group protocol has to say.

use super::{Answer, Context, Handle};
use crate::broker::group::Refused;
use crate::broker::state::State;
use crate::protocol::messages::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
};
use crate::types::TopicPartition;

impl Handle for ConsumerGroupHeartbeatRequest {
    async fn handle(self, cx: &Context<'_>) -> Answer<ConsumerGroupHeartbeatResponse> {
        let group = self.group_id.clone();
        let from = (cx.version, cx.client_id.unwrap_or_default());
        let told = cx.coordinate(&group, |state, now| state.consumer_heartbeat(now, from, self));
        Answer::Respond(told.unwrap_or_else(|Refused { code, message }| {
            ConsumerGroupHeartbeatResponse {
                error_code: code,
                error_message: Some(message),
                ..Default::default()
            }
        }))
    }

    fn names(&self, _: &State, _: &TopicPartition) -> bool {
        false
    }
}
