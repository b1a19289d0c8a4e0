//! ListTransactions: every broker is asked for those that it coordinates (KIP-664, KIP-994,
//! KIP-1152). A broker that has left the cluster is not waited for.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::ledger::Trouble;
use super::model::{TransactionFilter, TransactionListing, TransactionState};
use super::question::{Answers, Question};
use crate::client::Client;
use crate::error::{AdminError, ClientError};
use crate::protocol::messages::list_transactions::{
    ListTransactionsRequest, ListTransactionsResponse,
};
use crate::time::Duration;
use crate::types::BrokerId;

const API: &str = "ListTransactions";
/// The first versions that have these filters, and the releases of brokers that have them.
const DURATION_FROM: (i16, &str) = (1, "Kafka 3.8");
const PATTERN_FROM: (i16, &str) = (2, "Kafka 4.1");

/// Which transactions there are.
#[derive(Debug)]
pub(super) struct List<'a>(pub(super) &'a TransactionFilter);

fn subject(broker: BrokerId) -> Arc<str> {
    format!("broker {broker}").into()
}

impl Question for List<'_> {
    type Key = BrokerId;
    type Value = Vec<TransactionListing>;
    type Request = ListTransactionsRequest;

    const AT_MOST: usize = 1;

    fn subject(&self, broker: &BrokerId) -> Arc<str> {
        subject(*broker)
    }

    async fn locate(
        &self,
        client: &Client,
        brokers: &BTreeSet<BrokerId>,
    ) -> Answers<BrokerId, BrokerId> {
        let snapshot = client.metadata();
        let locate = |id: &BrokerId| {
            let gone = || {
                let cause = Arc::new(ClientError::UnknownBroker { id: *id });
                Trouble::never(AdminError::Client { subject: subject(*id), cause })
            };
            (*id, snapshot.broker(*id).map(|node| node.id).ok_or_else(gone))
        };
        brokers.iter().map(locate).collect()
    }

    fn request(
        &self,
        broker: BrokerId,
        _: &[BrokerId],
        version: i16,
    ) -> Result<ListTransactionsRequest, AdminError> {
        let TransactionFilter { states, producer_ids, longer_than, pattern } = self.0;
        let refused = |filter, since| {
            let subject = subject(broker);
            Err(AdminError::UnsupportedFilter { subject, filter, since })
        };
        if longer_than.is_some() && version < DURATION_FROM.0 {
            return refused("duration", DURATION_FROM.1);
        }
        if pattern.is_some() && version < PATTERN_FROM.0 {
            return refused("pattern", PATTERN_FROM.1);
        }
        let millis = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        Ok(ListTransactionsRequest {
            state_filters: states.iter().map(ToString::to_string).collect(),
            producer_id_filters: producer_ids.iter().copied().collect(),
            duration_filter: longer_than.map_or(-1, millis),
            transactional_id_pattern: pattern.clone(),
        })
    }

    fn read(
        &self,
        broker: BrokerId,
        keys: &[BrokerId],
        response: ListTransactionsResponse,
    ) -> Answers<BrokerId, Vec<TransactionListing>> {
        if !response.unknown_state_filters.is_empty() {
            let states = response.unknown_state_filters;
            tracing::warn!(%broker, ?states, "the broker has no such states of transactions");
        }
        let listed = if response.error_code.is_ok() {
            let listings = response.transaction_states.into_iter();
            Ok(listings
                .map(|it| TransactionListing {
                    state: TransactionState::answered(&it.transaction_state),
                    transactional_id: it.transactional_id,
                    producer_id: it.producer_id,
                })
                .collect::<Vec<_>>())
        } else {
            Err(Trouble::refused(API, subject(broker), response.error_code, None))
        };
        keys.iter().map(|key| (*key, listed.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Message, Writer};

    const A: BrokerId = BrokerId(1);

    #[test]
    fn what_a_version_cannot_ask_is_not_asked() {
        let long = TransactionFilter::new().longer_than(Duration::MAX);
        let named = TransactionFilter::new().transactional_id_pattern("a.*");
        let plain = TransactionFilter::new()
            .transactional_id_pattern("")
            .states([TransactionState::Ongoing])
            .producer_ids([7, 7, 5]);
        for (filter, from) in [(&long, 1), (&named, 2), (&plain, 0)] {
            for version in 0..=ListTransactionsRequest::VERSIONS.max {
                let request = List(filter).request(A, &[A], version);
                match request {
                    Ok(request) => {
                        assert!(version >= from, "{request:?} in {version}");
                        request.encode(&mut Writer::new(), version).unwrap();
                    }
                    Err(error) => {
                        assert!(version < from && !error.is_retriable(), "{error} in {version}");
                        assert!(error.to_string().contains("broker 1"), "{error}");
                    }
                }
            }
        }
        let request = List(&long).request(A, &[A], 2).unwrap();
        assert_eq!(request.duration_filter, i64::MAX);
        let request = List(&plain).request(A, &[A], 2).unwrap();
        assert_eq!(request.producer_id_filters, [5, 7]);
        assert_eq!(request.state_filters, ["Ongoing"]);
        assert_eq!((request.duration_filter, request.transactional_id_pattern), (-1, None));
    }
}
