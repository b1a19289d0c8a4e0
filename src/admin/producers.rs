//! DescribeProducers: who writes to partitions, told by their leaders (KIP-664).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::ledger::{Next, Trouble};
use super::model::ProducerState;
use super::question::{Answers, Question};
use crate::client::{Client, ClusterSnapshot};
use crate::error::{AdminError, ClientError};
use crate::protocol::messages::describe_producers::{
    DescribeProducersRequest, DescribeProducersResponse, ProducerState as Described, TopicRequest,
};
use crate::types::{BrokerId, TopicPartition};

const API: &str = "DescribeProducers";

/// Who writes.
#[derive(Debug)]
pub(super) struct Producers;

fn subject(partition: &TopicPartition) -> Arc<str> {
    format!("partition {partition}").into()
}

impl Question for Producers {
    type Key = TopicPartition;
    type Value = Vec<ProducerState>;
    type Request = DescribeProducersRequest;

    const AT_MOST: usize = usize::MAX;

    fn subject(&self, partition: &TopicPartition) -> Arc<str> {
        subject(partition)
    }

    /// Waits until all their topics were answered for, but not until all have a leader.
    async fn locate(
        &self,
        client: &Client,
        partitions: &BTreeSet<TopicPartition>,
    ) -> Answers<TopicPartition, BrokerId> {
        let topics: BTreeSet<&str> = partitions.iter().map(|it| &*it.topic).collect();
        let snapshot = client.metadata();
        let start = snapshot.generation();
        for topic in &topics {
            client.track(topic);
        }
        if topics.iter().any(|topic| snapshot.topic(topic).is_none()) {
            client.request_refresh();
        }
        loop {
            let changed = client.changed();
            let snapshot = client.metadata();
            let told = |topic: &&str| {
                snapshot.topic(topic).is_some() || snapshot.is_answered_since(topic, start)
            };
            // A client that is closed has no more news.
            if topics.iter().all(told) || changed.await.is_err() {
                return partitions.iter().map(|it| (it.clone(), leader(&snapshot, it))).collect();
            }
        }
    }

    fn request(
        &self,
        _: BrokerId,
        partitions: &[TopicPartition],
        _: i16,
    ) -> Result<DescribeProducersRequest, AdminError> {
        let by_topic = partitions.chunk_by(|a, b| a.topic == b.topic).filter_map(|partitions| {
            let name = partitions.first()?.topic.clone();
            let partition_indexes = partitions.iter().map(|it| it.partition).collect();
            Some(TopicRequest { name, partition_indexes })
        });
        Ok(DescribeProducersRequest { topics: by_topic.collect() })
    }

    fn read(
        &self,
        _: BrokerId,
        _: &[TopicPartition],
        response: DescribeProducersResponse,
    ) -> Answers<TopicPartition, Vec<ProducerState>> {
        let mut answers = Vec::new();
        for topic in response.topics {
            for it in topic.partitions {
                let partition = TopicPartition::new(&topic.name, it.partition_index);
                let told = if it.error_code.is_ok() {
                    Ok(it.active_producers.iter().map(state).collect())
                } else {
                    let (subject, message) = (subject(&partition), it.error_message.as_deref());
                    Err(Trouble::refused(API, subject, it.error_code, message))
                };
                answers.push((partition, told));
            }
        }
        answers
    }
}

/// Who leads a partition, as far as is known.
fn leader(snapshot: &ClusterSnapshot, partition: &TopicPartition) -> Result<BrokerId, Trouble> {
    let topic = &*partition.topic;
    let Some(view) = snapshot.topic(topic) else {
        return Err(match snapshot.trouble(topic) {
            Some(trouble) => Trouble::refused("Metadata", subject(partition), trouble.code, None),
            None => Trouble::client(subject(partition), &Arc::new(ClientError::Closed)),
        });
    };
    view.touch();
    let at = usize::try_from(partition.partition).ok();
    let found = at.and_then(|at| view.partitions.get(at)).and_then(|found| found.leader);
    found.ok_or_else(|| {
        let cause = Arc::new(ClientError::NoLeader { partition: partition.clone() });
        let error = AdminError::Client { subject: subject(partition), cause };
        Trouble { error, next: Next::Elsewhere, stale: true }
    })
}

fn state(told: &Described) -> ProducerState {
    ProducerState {
        producer_id: told.producer_id,
        producer_epoch: told.producer_epoch,
        last_sequence: Some(told.last_sequence).filter(|sequence| *sequence >= 0),
        last_timestamp: Some(told.last_timestamp).filter(|ms| *ms >= 0),
        coordinator_epoch: Some(told.coordinator_epoch).filter(|epoch| *epoch >= 0),
        current_transaction_start_offset: Some(told.current_txn_start_offset)
            .filter(|offset| *offset >= 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;
    use crate::protocol::messages::describe_producers::{PartitionResponse, TopicResponse};

    #[test]
    fn each_topic_is_named_once() {
        let asked = [("a", 0), ("a", 3), ("b", 1)].map(|(topic, n)| TopicPartition::new(topic, n));
        let request = Producers.request(BrokerId(1), &asked, 0).unwrap();
        let topics: Vec<_> =
            request.topics.iter().map(|it| (&*it.name, &*it.partition_indexes)).collect();
        assert_eq!(topics, [("a", &[0, 3][..]), ("b", &[1])]);
    }

    #[test]
    fn what_is_below_zero_is_not_there() {
        let none = Described { producer_id: 4, coordinator_epoch: -1, ..Default::default() };
        let all = Described {
            producer_id: 5,
            producer_epoch: 1,
            last_sequence: 0,
            last_timestamp: 0,
            coordinator_epoch: 0,
            current_txn_start_offset: 0,
        };
        let told = PartitionResponse { active_producers: vec![none, all], ..Default::default() };
        let refused = PartitionResponse {
            partition_index: 1,
            error_code: ErrorCode::TOPIC_AUTHORIZATION_FAILED,
            error_message: Some("no".to_owned()),
            ..Default::default()
        };
        let topics = vec![TopicResponse { name: "t".to_owned(), partitions: vec![told, refused] }];
        let response = DescribeProducersResponse { topics, throttle_time_ms: 0 };
        let read = Producers.read(BrokerId(1), &[], response);
        let [none, all] = &read[0].1.as_ref().unwrap()[..] else { panic!("{read:?}") };
        assert_eq!((none.last_sequence, none.last_timestamp), (None, None));
        assert_eq!((none.coordinator_epoch, none.current_transaction_start_offset), (None, None));
        assert_eq!((all.last_sequence, all.last_timestamp), (Some(0), Some(0)));
        assert_eq!(
            (all.coordinator_epoch, all.current_transaction_start_offset),
            (Some(0), Some(0))
        );
        let refused = read[1].1.as_ref().unwrap_err();
        assert_eq!(refused.next, Next::Never);
        let said = refused.error.to_string();
        assert!(said.contains("t-1") && said.contains("(no)") && said.contains("READ"), "{said}");
    }
}
