//! FindCoordinator: which node coordinates a group, a transactional id or a share group.
//!
//! A group or transactional id belongs to whom its [`Placement`](crate::broker::placement) says. Any other key always
//! belongs to the same node while that one runs, and to the next running one after it otherwise.

use super::{Answer, Context, Handle, endpoint};
use crate::broker::state::State;
use crate::error::ErrorCode;
use crate::protocol::messages::find_coordinator::{
    Coordinator, FindCoordinatorRequest, FindCoordinatorResponse,
};
use crate::types::{BrokerId, TopicPartition};

/// Group, transaction, share group.
const KEY_TYPES: std::ops::RangeInclusive<i8> = 0..=2;
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
/// From this version on several keys are asked for at once (KIP-699).
const BATCHED_FROM: i16 = 4;

impl Handle for FindCoordinatorRequest {
    async fn handle(self, cx: &Context<'_>) -> Answer<FindCoordinatorResponse> {
        let find = |key: &str| {
            let found = cx.apply(None, || {
                if !KEY_TYPES.contains(&self.key_type) {
                    return Err(ErrorCode::INVALID_REQUEST);
                }
                cx.shared.with(|state| coordinator(state, self.key_type, key))
            });
            answer(key, found)
        };
        if cx.version >= BATCHED_FROM {
            let coordinators = self.coordinator_keys.iter().map(|key| find(key)).collect();
            return Answer::Respond(FindCoordinatorResponse { coordinators, ..Default::default() });
        }
        let Coordinator { node_id, host, port, error_code, error_message, .. } = find(&self.key);
        Answer::Respond(FindCoordinatorResponse {
            error_code,
            error_message,
            node_id,
            host,
            port,
            ..Default::default()
        })
    }

    fn names(&self, _: &State, _: &TopicPartition) -> bool {
        false
    }

    fn throttle(response: &mut FindCoordinatorResponse, ms: i32) {
        response.throttle_time_ms = ms;
    }
}

fn answer(key: &str, found: Result<(BrokerId, (String, i32)), ErrorCode>) -> Coordinator {
    let key = key.to_owned();
    match found {
        Ok((BrokerId(node_id), (host, port))) => {
            Coordinator { key, node_id, host, port, error_message: None, ..Default::default() }
        }
        Err(error_code) => Coordinator {
            key,
            node_id: -1,
            port: -1,
            error_code,
            error_message: Some(error_code.description().to_owned()),
            ..Default::default()
        },
    }
}

fn coordinator(
    state: &State,
    key_type: i8,
    key: &str,
) -> Result<(BrokerId, (String, i32)), ErrorCode> {
    let placement = match key_type {
        GROUP => Some(&state.groups.placement),
        TRANSACTION => Some(&state.transactions.placement),
        _ => None,
    };
    if let Some(placement) = placement {
        let id = placement.coordinator(key);
        let found = id.and_then(|id| Some((id, endpoint(state.nodes.get(&id)?))));
        return found.ok_or(ErrorCode::COORDINATOR_NOT_AVAILABLE);
    }
    let hash =
        key.bytes().fold(0_usize, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
    let first = hash % state.nodes.len().max(1);
    state
        .nodes
        .iter()
        .cycle()
        .skip(first)
        .take(state.nodes.len())
        .find(|(_, node)| node.running)
        .map(|(&id, node)| (id, endpoint(node)))
        .ok_or(ErrorCode::COORDINATOR_NOT_AVAILABLE)
}
