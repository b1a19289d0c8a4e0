//! InitProducerId: a producer id for an idempotent producer.
//!
//! As in Kafka's `TransactionCoordinator`, a producer without a transactional id is given a new producer id each time,
//! whatever id and epoch it names: it bumps its epoch by itself (KIP-360). Its epoch is 0, unless a test wants another.
//! Transactions are not there yet; a transactional id is refused with `TRANSACTIONAL_ID_AUTHORIZATION_FAILED`, which no
//! client retries.

use super::{Answer, Context, Handle};
use crate::broker::state::State;
use crate::error::ErrorCode;
use crate::protocol::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use crate::types::{ProducerIdentity, TopicPartition};

impl Handle for InitProducerIdRequest {
    async fn handle(self, cx: &Context<'_>) -> Answer<InitProducerIdResponse> {
        let result = cx.apply(None, || {
            match (self.producer_id, self.producer_epoch) {
                (-1, -1) => {}
                (-1, _) | (_, -1) => return Err(ErrorCode::INVALID_REQUEST),
                _ => {}
            }
            match self.transactional_id.as_deref() {
                None => Ok(cx.shared.with(State::new_producer)),
                Some("") => Err(ErrorCode::INVALID_REQUEST),
                Some(_) => Err(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
            }
        });
        Answer::Respond(match result {
            Ok(ProducerIdentity { id, epoch }) => InitProducerIdResponse {
                producer_id: id,
                producer_epoch: epoch,
                ..Default::default()
            },
            Err(error_code) => InitProducerIdResponse {
                error_code,
                producer_id: -1,
                producer_epoch: -1,
                ..Default::default()
            },
        })
    }

    fn names(&self, _: &State, _: &TopicPartition) -> bool {
        false
    }

    fn throttle(response: &mut InitProducerIdResponse, ms: i32) {
        response.throttle_time_ms = ms;
    }
}
