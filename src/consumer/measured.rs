//! What a consumer measures where bytes come in and records go out: it counts what is there, per batch,
//! and changes nothing.

use std::collections::BTreeMap;

use super::metrics::{PartitionFacts, TopicFacts};
use super::records::Records;
use crate::protocol::messages::fetch::FetchResponse;
use crate::record;
use crate::types::{TopicId, TopicPartition};

/// What a response has of each topic, by the headers of its batches. Newer versions give the ids of
/// topics, whose names `name` knows.
pub(crate) fn topics<'a>(
    response: &'a FetchResponse,
    name: impl Fn(TopicId) -> Option<&'a str>,
) -> impl Iterator<Item = TopicFacts<'a>> {
    let mut facts: BTreeMap<&str, TopicFacts<'_>> = BTreeMap::new();
    for topic in &response.responses {
        let named = Some(topic.topic.as_str()).filter(|_| topic.topic_id.is_zero());
        let Some(topic_name) = named.or_else(|| name(topic.topic_id)) else { continue };
        for bytes in topic.partitions.iter().filter_map(|partition| partition.records.as_ref()) {
            if bytes.is_empty() {
                continue;
            }
            let none = TopicFacts { topic: topic_name, bytes: 0, records: 0 };
            let facts = facts.entry(topic_name).or_insert(none);
            facts.bytes += bytes.len();
            // A batch that cannot be read is told of when it is to be handed out.
            let batches = record::batches(bytes.clone()).map_while(Result::ok);
            let counts = batches.map(|batch| usize::try_from(batch.header().count).unwrap_or(0));
            facts.records += counts.sum::<usize>();
        }
    }
    facts.into_values()
}

/// What a poll hands out of each partition. `lag` and `lead` say how many records lie behind its new
/// position and before it, as far as is known.
pub(crate) fn partitions<'a>(
    records: &'a Records,
    lag: impl Fn(&TopicPartition) -> Option<i64>,
    lead: impl Fn(&TopicPartition) -> Option<i64>,
) -> impl Iterator<Item = PartitionFacts<'a>> {
    records.partitions().map(move |records| {
        let partition = records.partition();
        PartitionFacts {
            partition,
            records: records.len(),
            bytes: records.bytes(),
            lag: lag(partition),
            lead: lead(partition),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::{Bytes, BytesMut};

    use super::*;
    use crate::consumer::records::BatchRecords;
    use crate::protocol::messages::fetch::{FetchPartitionData, FetchableTopicResponse};
    use crate::record::{BatchBuilder, Codec};
    use crate::types::{Compression, ProducerIdentity, TimestampType};

    const ID: TopicId = TopicId([3; 16]);

    fn batch(values: usize) -> Bytes {
        let mut builder = BatchBuilder::new(BytesMut::new());
        for _ in 0..values {
            builder.append(1_000, None, Some(b"value"), &[]).unwrap();
        }
        let mut sealed = builder.seal(Codec::new(Compression::None)).unwrap();
        sealed.stamp(ProducerIdentity::NONE, -1, false);
        Bytes::copy_from_slice(&sealed.bytes())
    }

    fn topic(name: &str, topic_id: TopicId, records: &[Bytes]) -> FetchableTopicResponse {
        let partitions = records.iter().map(|bytes| FetchPartitionData {
            records: Some(bytes.clone()),
            ..FetchPartitionData::default()
        });
        FetchableTopicResponse {
            topic: name.to_owned(),
            topic_id,
            partitions: partitions.collect(),
        }
    }

    #[test]
    fn batches_of_a_response_are_counted_by_topic() {
        let two = Bytes::from([&batch(2)[..], &batch(3)[..]].concat());
        let cut = batch(4).slice(..70);
        let response = FetchResponse {
            responses: vec![
                topic("orders", TopicId::ZERO, &[two.clone(), batch(1), Bytes::new()]),
                topic("", ID, std::slice::from_ref(&cut)),
                topic("", TopicId([4; 16]), &[batch(1)]),
                topic("empty", TopicId::ZERO, &[Bytes::new()]),
            ],
            ..FetchResponse::default()
        };
        let name = |id| (id == ID).then_some("payments");
        let facts: Vec<_> = topics(&response, name).collect();
        let orders = two.len() + batch(1).len();
        assert_eq!(
            facts,
            [
                TopicFacts { topic: "orders", bytes: orders, records: 6 },
                // It was cut off.
                TopicFacts { topic: "payments", bytes: cut.len(), records: 0 },
            ]
        );
    }

    #[test]
    fn what_a_poll_hands_out_is_counted_by_partition() {
        let read = record::batches(batch(4)).next().unwrap().unwrap().records(1000).unwrap();
        let all = read.payload().len();
        let name = Arc::new(TopicPartition::new("orders", 3));
        // The first two of the batch lie before the position.
        let batch = BatchRecords {
            records: read,
            from: 2,
            count: 2,
            timestamp_type: TimestampType::CreateTime,
            leader_epoch: -1,
        };
        let mut records = Records::default();
        records.add(&name, vec![batch], 4);
        let facts: Vec<_> = partitions(&records, |_| Some(9), |_| None).collect();
        let expected = PartitionFacts {
            partition: &name,
            records: 2,
            bytes: all / 2,
            lag: Some(9),
            lead: None,
        };
        assert_eq!(facts, [expected]);
    }
}
