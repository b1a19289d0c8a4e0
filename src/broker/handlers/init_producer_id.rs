//! InitProducerId: who an idempotent or transactional producer is.
//!
//! As in Kafka's `TransactionCoordinator`, a producer without a transactional id is given a new producer id each time,
//! whatever id and epoch it names: it bumps its epoch by itself (KIP-360). Its epoch is 0, unless a test wants another.
//! With a transactional id the coordinator decides; see [`Transaction`](crate::broker::txn).

use super::{Answer, Context, Handle};
use crate::broker::state::State;
use crate::broker::txn::Init;
use crate::error::ErrorCode;
use crate::protocol::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use crate::types::{ProducerIdentity, TopicPartition};

/// From this version on the client knows `PRODUCER_FENCED`.
const FENCED_FROM: i16 = 4;

impl Handle for InitProducerIdRequest {
    async fn handle(self, cx: &Context<'_>) -> Answer<InitProducerIdResponse> {
        let named = ProducerIdentity { id: self.producer_id, epoch: self.producer_epoch };
        let expected = match (named.id, named.epoch) {
            (-1, -1) => Ok(None),
            (-1, _) | (_, -1) => Err(ErrorCode::INVALID_REQUEST),
            _ => Ok(Some(named)),
        };
        let timeout_ms = self.transaction_timeout_ms;
        let result = match self.transactional_id.as_deref() {
            None => cx.apply(None, || expected.map(|_| cx.shared.with(State::new_producer))),
            Some(id) => cx.coordinate_transaction(id, FENCED_FROM, |state, now| {
                state.transactions.init(id, Init { timeout_ms, expected: expected? }, now)
            }),
        };
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
