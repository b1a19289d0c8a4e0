//! DescribeTransactions: how the transactions of ids stand, told by their coordinators (KIP-664).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::coordinators;
use super::ledger::Trouble;
use super::model::{TransactionDescription, TransactionState};
use super::question::{Answers, Question};
use crate::client::Client;
use crate::error::AdminError;
use crate::protocol::messages::describe_transactions::{
    DescribeTransactionsRequest, DescribeTransactionsResponse, TransactionState as Described,
};
use crate::time::Duration;
use crate::types::{BrokerId, ProducerIdentity, TopicPartition};

const API: &str = "DescribeTransactions";

/// How transactions stand.
#[derive(Debug)]
pub(super) struct Describe;

impl Question for Describe {
    type Key = String;
    type Value = TransactionDescription;
    type Request = DescribeTransactionsRequest;

    const AT_MOST: usize = usize::MAX;

    fn subject(&self, id: &String) -> Arc<str> {
        coordinators::subject(id)
    }

    async fn locate(&self, client: &Client, ids: &BTreeSet<String>) -> Answers<String, BrokerId> {
        coordinators::locate(client, ids).await
    }

    fn request(
        &self,
        _: BrokerId,
        ids: &[String],
        _: i16,
    ) -> Result<DescribeTransactionsRequest, AdminError> {
        Ok(DescribeTransactionsRequest { transactional_ids: ids.to_vec() })
    }

    fn read(
        &self,
        coordinator: BrokerId,
        _: &[String],
        response: DescribeTransactionsResponse,
    ) -> Answers<String, TransactionDescription> {
        let read = |it: Described| {
            let id = it.transactional_id.clone();
            let told = if it.error_code.is_ok() {
                Ok(description(coordinator, it))
            } else {
                Err(Trouble::refused(API, coordinators::subject(&id), it.error_code, None))
            };
            (id, told)
        };
        response.transaction_states.into_iter().map(read).collect()
    }
}

fn description(coordinator: BrokerId, told: Described) -> TransactionDescription {
    let partitions = told.topics.into_iter().flat_map(|it| {
        let topic = it.topic;
        it.partitions.into_iter().map(move |index| TopicPartition::new(&topic, index))
    });
    let timeout = u64::try_from(told.transaction_timeout_ms).unwrap_or(0);
    TransactionDescription {
        coordinator,
        state: TransactionState::answered(&told.transaction_state),
        producer: ProducerIdentity { id: told.producer_id, epoch: told.producer_epoch },
        transaction_timeout: Duration::from_millis(timeout),
        transaction_start_time: Some(told.transaction_start_time_ms).filter(|ms| *ms >= 0),
        partitions: partitions.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::ledger::Next;
    use crate::error::ErrorCode;
    use crate::protocol::messages::describe_transactions::TopicData;

    #[test]
    fn each_id_is_told_of_by_itself() {
        let topic = |topic: &str, partitions: &[i32]| TopicData {
            topic: topic.to_owned(),
            partitions: partitions.to_vec(),
        };
        let open = Described {
            transactional_id: "open".to_owned(),
            transaction_state: "Ongoing".to_owned(),
            transaction_timeout_ms: 60_000,
            transaction_start_time_ms: 12,
            producer_id: 7,
            producer_epoch: 3,
            topics: vec![topic("t", &[1, 0, 1]), topic("s", &[2])],
            ..Default::default()
        };
        let odd = Described {
            transactional_id: "odd".to_owned(),
            transaction_timeout_ms: -5,
            transaction_start_time_ms: -1,
            topics: Vec::new(),
            transaction_state: "Dreaming".to_owned(),
            ..open.clone()
        };
        let moved = Described {
            transactional_id: "moved".to_owned(),
            error_code: ErrorCode::NOT_COORDINATOR,
            ..Default::default()
        };
        let transaction_states = vec![open, odd, moved];
        let response = DescribeTransactionsResponse { transaction_states, throttle_time_ms: 0 };
        let read = Describe.read(BrokerId(2), &[], response);
        let names: Vec<_> = read.iter().map(|(id, _)| &**id).collect();
        assert_eq!(names, ["open", "odd", "moved"]);
        let open = read[0].1.as_ref().unwrap();
        assert_eq!((open.coordinator, open.state), (BrokerId(2), TransactionState::Ongoing));
        assert_eq!(open.producer, ProducerIdentity { id: 7, epoch: 3 });
        assert_eq!(open.transaction_start_time, Some(12));
        assert_eq!(open.transaction_timeout, Duration::from_secs(60));
        let partitions: Vec<_> = open.partitions.iter().map(ToString::to_string).collect();
        assert_eq!(partitions, ["s-2", "t-0", "t-1"]);
        let odd = read[1].1.as_ref().unwrap();
        assert_eq!(
            (odd.state, odd.transaction_timeout),
            (TransactionState::Unknown, Duration::ZERO)
        );
        assert_eq!(odd.transaction_start_time, None);
        assert_eq!(read[2].1.as_ref().unwrap_err().next, Next::Elsewhere);
    }
}
