//! EndTxn: commits or aborts a transaction. It is answered when that is certain; the markers come later.

use super::{Answer, Context, Handle};
use crate::broker::state::State;
use crate::broker::txn::Ending;
use crate::error::ErrorCode;
use crate::protocol::messages::end_txn::{EndTxnRequest, EndTxnResponse};
use crate::types::{ProducerIdentity, TopicPartition};

/// From this version on the client knows `PRODUCER_FENCED`.
const FENCED_FROM: i16 = 2;
/// This version is transaction version 2.
const BUMPS_FROM: i16 = 5;

impl Context<'_> {
    /// Applies something at the coordinator of a transactional id, if this node is it and no fault is in the way. A
    /// client of a version below `fenced_from` is told of being fenced in the older way.
    pub(super) fn coordinate_transaction<T>(
        &self,
        id: &str,
        fenced_from: i16,
        apply: impl FnOnce(&mut State, i64) -> Result<T, ErrorCode>,
    ) -> Result<T, ErrorCode> {
        let applied = self.apply(None, || {
            self.shared.change(|state| {
                // Who has no coordinator is told by it, wherever that is.
                if !id.is_empty() {
                    state.transactions.check_node(self.node, id)?;
                }
                apply(state, self.shared.clock.now_ms())
            })
        });
        applied.map_err(|code| match code {
            ErrorCode::PRODUCER_FENCED if self.version < fenced_from => {
                ErrorCode::INVALID_PRODUCER_EPOCH
            }
            _ => code,
        })
    }
}

impl Handle for EndTxnRequest {
    async fn handle(self, cx: &Context<'_>) -> Answer<EndTxnResponse> {
        let id = &self.transactional_id;
        let ending = Ending {
            producer: ProducerIdentity { id: self.producer_id, epoch: self.producer_epoch },
            committed: self.committed,
            bumps: cx.version >= BUMPS_FROM,
        };
        let ended = cx.coordinate_transaction(id, FENCED_FROM, |state, now| {
            state.transactions.end(id, ending, now)
        });
        Answer::Respond(match ended {
            Ok(ProducerIdentity { id, epoch }) => {
                EndTxnResponse { producer_id: id, producer_epoch: epoch, ..Default::default() }
            }
            Err(error_code) => EndTxnResponse { error_code, ..Default::default() },
        })
    }

    fn names(&self, _: &State, _: &TopicPartition) -> bool {
        false
    }

    fn throttle(response: &mut EndTxnResponse, ms: i32) {
        response.throttle_time_ms = ms;
    }
}
