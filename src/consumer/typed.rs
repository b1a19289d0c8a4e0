//! Records of typed keys and values: hands the bytes of each record to deserializers, as it is iterated
//! over. What bytes mean is decided by those.

use std::fmt;

use crate::consumer::records::{
    ConsumerRecord, PartitionRecords, PartitionRecordsIter, RecordHeaders, Records, RecordsIter,
};
use crate::error::{RecordAt, RecordDeserializationError};
use crate::serialize::{DeserializeContext, Deserializer, HeaderList};
use crate::types::{RecordHeader, RecordPart, TopicPartition};

impl Records {
    /// The records with their keys and values as the deserializers read them, one by one, while this
    /// is iterated over; partition by partition, in order within each.
    ///
    /// A record that cannot be read is an error in its place, and the ones after it follow.
    ///
    /// ```
    /// use std::time::Duration;
    /// use milena::broker::Cluster;
    /// use milena::serialize::{LongDeserializer, StringDeserializer};
    /// use milena::{Consumer, ConsumerConfig, Producer, ProducerConfig, ProducerRecord, StartAt};
    /// use milena::TopicPartition;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let cluster = Cluster::builder().start().await?;
    /// cluster.create_topic("counts")?;
    /// # let servers = cluster.bootstrap_servers();
    /// # let producer = Producer::new(ProducerConfig::builder().bootstrap_servers(&servers).build()?);
    /// # let value = 17_i64.to_be_bytes();
    /// # producer.send_and_wait(&ProducerRecord::new("counts", &value).key("customer-42")).await?;
    /// let config = ConsumerConfig::builder().bootstrap_servers(&servers).build()?;
    /// let mut consumer = Consumer::new(config);
    /// consumer.assign([(TopicPartition::new("counts", 0), StartAt::Earliest)])?;
    ///
    /// let records = consumer.poll(Duration::from_secs(10)).await?;
    /// for record in records.deserialize(&StringDeserializer, &LongDeserializer) {
    ///     match record {
    ///         Ok(record) => println!("{:?} has {:?}", record.key, record.value),
    ///         Err(error) => eprintln!("left out: {error}"),
    ///     }
    /// }
    /// # let mut typed = records.deserialize(&StringDeserializer, &LongDeserializer);
    /// # let first = typed.next().unwrap()?;
    /// # assert_eq!((first.key, first.value), (Some("customer-42"), Some(17)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn deserialize<'a, K: Deserializer, V: Deserializer>(
        &'a self,
        key: &'a K,
        value: &'a V,
    ) -> TypedRecords<'a, RecordsIter<'a>, K, V> {
        TypedRecords { records: self.iter(), key, value }
    }
}

impl PartitionRecords {
    /// As [`Records::deserialize`], for the records of one partition.
    pub fn deserialize<'a, K: Deserializer, V: Deserializer>(
        &'a self,
        key: &'a K,
        value: &'a V,
    ) -> TypedRecords<'a, PartitionRecordsIter<'a>, K, V> {
        TypedRecords { records: self.iter(), key, value }
    }
}

impl<'a> ConsumerRecord<'a> {
    /// The record with its key and value as the deserializers read them.
    ///
    /// # Errors
    /// What a deserializer says, with the partition and the offset. If both fail it is the key's.
    pub fn deserialize<K: Deserializer, V: Deserializer>(
        self,
        key: &K,
        value: &V,
    ) -> Result<TypedConsumerRecord<'a, K::Data<'a>, V::Data<'a>>, RecordDeserializationError> {
        Ok(TypedConsumerRecord {
            key: self.read(RecordPart::Key, self.key, key)?,
            value: self.read(RecordPart::Value, self.value, value)?,
            record: self,
        })
    }

    fn read<D: Deserializer>(
        &self,
        part: RecordPart,
        bytes: Option<&'a [u8]>,
        deserializer: &D,
    ) -> Result<D::Data<'a>, RecordDeserializationError> {
        let context = DeserializeContext::new(self.topic, part).with_headers(&self.headers);
        deserializer.deserialize(&context, bytes).map_err(|cause| {
            let at = RecordAt {
                partition: TopicPartition::new(self.topic, self.partition),
                offset: self.offset,
                timestamp: self.timestamp,
                timestamp_type: self.timestamp_type,
            };
            RecordDeserializationError::new(at, part, bytes.map(<[u8]>::len), cause)
        })
    }
}

impl HeaderList for RecordHeaders<'_> {
    fn all(&self) -> Box<dyn Iterator<Item = RecordHeader<'_>> + '_> {
        Box::new(*self)
    }
}

/// A record whose key and value were read by deserializers; see [`Records::deserialize`].
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct TypedConsumerRecord<'a, K, V> {
    /// The key.
    pub key: K,
    /// The value.
    pub value: V,
    /// The record as it was fetched: where it is from, its timestamp, its headers, its bytes.
    pub record: ConsumerRecord<'a>,
}

/// Iterates over records and reads their keys and values; see [`Records::deserialize`].
pub struct TypedRecords<'a, I, K, V> {
    records: I,
    key: &'a K,
    value: &'a V,
}

impl<'a, I, K, V> Iterator for TypedRecords<'a, I, K, V>
where
    I: Iterator<Item = ConsumerRecord<'a>>,
    K: Deserializer,
    V: Deserializer,
{
    type Item =
        Result<TypedConsumerRecord<'a, K::Data<'a>, V::Data<'a>>, RecordDeserializationError>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.records.next()?.deserialize(self.key, self.value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.records.size_hint()
    }
}

impl<'a, I, K, V> ExactSizeIterator for TypedRecords<'a, I, K, V>
where
    I: ExactSizeIterator<Item = ConsumerRecord<'a>>,
    K: Deserializer,
    V: Deserializer,
{
}

impl<I: fmt::Debug, K, V> fmt::Debug for TypedRecords<'_, I, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedRecords").field("records", &self.records).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;
    use std::sync::Arc;

    use bytes::{Bytes, BytesMut};

    use super::*;
    use crate::consumer::records::BatchRecords;
    use crate::record::{self, BatchBuilder, Codec};
    use crate::serialize::{LongDeserializer, StringDeserializer, deserialize_with};
    use crate::types::{Compression, Header, ProducerIdentity, TimestampType};

    type Row<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

    /// Records of `orders-3` at offsets 0, 1, ... with a header that counts them.
    fn records(rows: &[Row<'_>]) -> Records {
        let mut builder = BatchBuilder::new(BytesMut::new());
        for (at, (key, value)) in rows.iter().enumerate() {
            let number = at.to_string();
            let headers = [Header::new("n", b"first"), Header::new("n", number.as_bytes())];
            builder.append(1_000 + at as i64, *key, *value, &headers).unwrap();
        }
        let mut sealed = builder.seal(Codec::new(Compression::None)).unwrap();
        sealed.stamp(ProducerIdentity::NONE, -1, false);
        let bytes = Bytes::copy_from_slice(&sealed.bytes());
        let batch = record::batches(bytes).next().unwrap().unwrap();
        let batch = BatchRecords {
            records: batch.records(10_000).unwrap(),
            from: 0,
            count: rows.len(),
            timestamp_type: TimestampType::CreateTime,
            leader_epoch: 2,
        };
        let mut records = Records::default();
        let name = Arc::new(TopicPartition::new("orders", 3));
        records.add(&name, vec![batch], rows.len() as i64);
        records
    }

    #[test]
    fn a_record_that_cannot_be_read_is_named_and_the_next_one_follows() {
        let one = 1_i64.to_be_bytes();
        let records = records(&[
            (Some(b"a"), Some(&one)),
            (Some(&[0xff]), Some(&one)),
            (Some(b"c"), Some(b"short")),
            (None, None),
        ]);
        let typed = records.deserialize(&StringDeserializer, &LongDeserializer);
        assert_eq!(typed.len(), 4);
        let typed: Vec<_> = typed.collect();
        let first = typed[0].as_ref().unwrap();
        assert_eq!((first.key, first.value, first.record.offset), (Some("a"), Some(1), 0));
        for (at, part, len, says) in [
            (1, RecordPart::Key, 1, "cannot deserialize the key"),
            (2, RecordPart::Value, 5, "cannot deserialize the value"),
        ] {
            let error = typed[at].as_ref().unwrap_err();
            let offset = at as i64;
            assert_eq!(*error.topic_partition(), TopicPartition::new("orders", 3));
            assert_eq!((error.offset(), error.next_offset()), (offset, offset + 1));
            assert_eq!(error.timestamp(), 1_000 + offset);
            assert_eq!(error.timestamp_type(), TimestampType::CreateTime);
            assert_eq!((error.part(), error.serialized_size()), (part, Some(len)));
            let text = error.to_string();
            assert!(text.starts_with(says) && text.contains("orders-3"), "{text}");
            assert!(text.contains(&format!("seek to {}", offset + 1)), "{text}");
            assert!(error.source().is_some());
        }
        let last = typed[3].as_ref().unwrap();
        assert_eq!((last.key, last.value), (None, None));
        // The same of one partition alone.
        let partition = records.partitions().next().unwrap();
        let typed = partition.deserialize(&StringDeserializer, &LongDeserializer);
        assert_eq!(typed.filter(Result::is_ok).count(), 2);
    }

    #[test]
    fn null_is_for_the_deserializer_to_judge() {
        let records = records(&[(None, None)]);
        let wanted = deserialize_with(|bytes: Option<&[u8]>| {
            bytes.map(<[u8]>::len).ok_or_else(|| "there must be something".into())
        });
        let error = records.deserialize(&StringDeserializer, &wanted).next().unwrap().unwrap_err();
        assert_eq!((error.part(), error.serialized_size()), (RecordPart::Value, None));
        assert!(error.to_string().contains("which is null: there must be something"), "{error}");
    }

    #[test]
    fn a_deserializer_may_look_at_the_headers() {
        struct ByHeader;
        impl Deserializer for ByHeader {
            type Data<'a> = (usize, String);

            fn deserialize<'a>(
                &self,
                context: &DeserializeContext<'_>,
                _bytes: Option<&'a [u8]>,
            ) -> Result<Self::Data<'a>, Box<dyn Error + Send + Sync>> {
                assert_eq!((context.topic, context.part), ("orders", RecordPart::Value));
                let last = context.last_header("n").and_then(|header| header.value);
                let last = String::from_utf8_lossy(last.ok_or("no header")?).into_owned();
                Ok((context.headers().count(), last))
            }
        }
        let records = records(&[(None, None), (None, None)]);
        let values = records.deserialize(&StringDeserializer, &ByHeader);
        let values: Vec<_> = values.map(|record| record.unwrap().value).collect();
        assert_eq!(values, [(2, "0".to_owned()), (2, "1".to_owned())]);
    }
}
