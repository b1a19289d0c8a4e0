//! Who coordinates transactional ids: one question about all of them, to any broker. It remembers
//! nothing, since an administrator asks seldom: what is known to `client::Coordinator` from one question to the next is
//! in the `Ledger` here, for all ids of a call.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::ledger::Trouble;
use super::question::Answers;
use crate::client::{Client, CoordinatorType, found_coordinators};
use crate::error::ErrorCode;
use crate::protocol::messages::find_coordinator::FindCoordinatorResponse;
use crate::types::BrokerId;

const API: &str = "FindCoordinator";

/// What an id is called in errors.
pub(super) fn subject(id: &str) -> Arc<str> {
    format!("transactional id '{id}'").into()
}

/// Finds the coordinators of ids. Cancel safe.
pub(super) async fn locate(client: &Client, ids: &BTreeSet<String>) -> Answers<String, BrokerId> {
    let mut left = ids.clone();
    let mut answers = Vec::new();
    while let Some(first) = left.first().cloned() {
        let request = |version| CoordinatorType::Transaction.request(&left, version);
        match client.call_any_once(request).await {
            Ok(response) => {
                let found = read(&first, &response);
                let before = left.len();
                for (id, _) in &found {
                    left.remove(id);
                }
                answers.extend(found);
                // That of an old broker is about the first only. One about none must not be the
                // beginning of a circle.
                if left.len() == before {
                    left.remove(&first);
                    let trouble = refused(&first, UNANSWERED, None);
                    answers.push((first, Err(trouble)));
                }
            }
            Err(cause) => {
                let cause = Arc::new(cause);
                let trouble = |id: String| {
                    let trouble = Trouble::client(subject(&id), &cause);
                    (id, Err(trouble))
                };
                answers.extend(std::mem::take(&mut left).into_iter().map(trouble));
            }
        }
    }
    answers
}

/// What is taken for the answer to what was not answered.
const UNANSWERED: ErrorCode = ErrorCode::COORDINATOR_NOT_AVAILABLE;

fn refused(id: &str, code: ErrorCode, message: Option<&str>) -> Trouble {
    Trouble::refused(API, subject(id), code, message)
}

/// What the answer says; if it names no id, of the first.
fn read(first: &str, response: &FindCoordinatorResponse) -> Answers<String, BrokerId> {
    let answers = found_coordinators(response, first).map(|(id, found)| {
        (id.to_owned(), found.map_err(|(code, message)| refused(id, code, message)))
    });
    answers.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::ledger::Next;
    use crate::protocol::messages::find_coordinator::Coordinator;

    #[test]
    fn an_answer_is_about_one_or_about_several() {
        let one = FindCoordinatorResponse { node_id: 3, ..Default::default() };
        assert_eq!(read("a", &one), [("a".to_owned(), Ok(BrokerId(3)))]);

        let entry = |key: &str, node_id, error_code| Coordinator {
            key: key.to_owned(),
            node_id,
            error_code,
            ..Default::default()
        };
        let coordinators = vec![
            entry("a", 1, ErrorCode::NONE),
            entry("b", -1, ErrorCode::COORDINATOR_NOT_AVAILABLE),
            entry("c", -1, ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
            entry("d", -1, ErrorCode::NONE),
        ];
        let several = FindCoordinatorResponse { coordinators, ..Default::default() };
        let read = read("a", &several);
        let next = |n: usize| read[n].1.as_ref().map_err(|trouble| trouble.next).copied();
        assert_eq!(next(0), Ok(BrokerId(1)));
        assert_eq!(next(1), Err(Next::Elsewhere));
        assert_eq!(next(2), Err(Next::Never));
        assert_eq!(next(3), Err(Next::Elsewhere), "a coordinator without a number");
    }
}
