//! What the lines tell, with the names of Kafka's tool.

use milena::{ConsumerRecord, TopicPartition};
use serde_json::{Value, json};

use crate::line::Line;

#[derive(Debug)]
pub(crate) enum Event<'a> {
    StartupComplete,
    PartitionsAssigned(&'a [TopicPartition]),
    PartitionsRevoked(&'a [TopicPartition]),
    RecordsConsumed {
        count: usize,
        partitions: &'a [Consumed],
    },
    RecordData(&'a ConsumerRecord<'a>),
    /// `error` if the commit failed.
    OffsetsCommitted {
        offsets: &'a [(TopicPartition, i64)],
        error: Option<String>,
    },
    /// It was told to end, and will.
    ShutdownRequested,
    ShutdownComplete,
}

/// What was consumed of a partition at once: at least one record.
#[derive(Debug)]
pub(crate) struct Consumed {
    pub(crate) partition: TopicPartition,
    pub(crate) count: u64,
    pub(crate) min_offset: i64,
    pub(crate) max_offset: i64,
}

impl Event<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::StartupComplete => "startup_complete",
            Self::PartitionsAssigned(_) => "partitions_assigned",
            Self::PartitionsRevoked(_) => "partitions_revoked",
            Self::RecordsConsumed { .. } => "records_consumed",
            Self::RecordData(_) => "record_data",
            Self::OffsetsCommitted { .. } => "offsets_committed",
            Self::ShutdownRequested => "shutdown_requested",
            Self::ShutdownComplete => "shutdown_complete",
        }
    }

    fn properties(&self) -> Vec<(&'static str, Value)> {
        match self {
            Self::StartupComplete | Self::ShutdownRequested | Self::ShutdownComplete => Vec::new(),
            Self::PartitionsAssigned(partitions) | Self::PartitionsRevoked(partitions) => {
                let names = partitions.iter().map(|TopicPartition { topic, partition }| {
                    json!({"topic": topic, "partition": partition})
                });
                vec![("partitions", names.collect())]
            }
            Self::RecordsConsumed { count, partitions } => {
                let summary = |consumed: &Consumed| {
                    let Consumed { partition, count, min_offset, max_offset } = consumed;
                    let TopicPartition { topic, partition } = partition;
                    json!({"topic": topic, "partition": partition, "count": count,
                           "minOffset": min_offset, "maxOffset": max_offset})
                };
                let partitions = partitions.iter().map(summary).collect();
                vec![("count", (*count).into()), ("partitions", partitions)]
            }
            Self::RecordData(record) => vec![
                ("key", text(record.key)),
                ("value", text(record.value)),
                ("topic", record.topic.into()),
                ("partition", record.partition.into()),
                ("offset", record.offset.into()),
            ],
            Self::OffsetsCommitted { offsets, error } => {
                let offsets = offsets.iter().map(|(TopicPartition { topic, partition }, offset)| {
                    json!({"topic": topic, "partition": partition, "offset": offset})
                });
                let error = error.as_deref().map(|error| ("error", error.into()));
                let success = error.is_none();
                let offsets = ("offsets", offsets.collect());
                [offsets].into_iter().chain(error).chain([("success", success.into())]).collect()
            }
        }
    }

    /// The line of an event that came about at this time, in milliseconds since the epoch.
    pub(crate) fn at(&self, timestamp: i64) -> Line {
        Line { timestamp, name: self.name(), properties: self.properties() }
    }
}

fn text(bytes: Option<&[u8]>) -> Value {
    bytes.map(String::from_utf8_lossy).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_kafkas_tool() {
        let partition = TopicPartition::new("t", 1);
        let partitions = [partition.clone()];
        let consumed =
            [Consumed { partition: partition.clone(), count: 3, min_offset: 4, max_offset: 6 }];
        let offsets = [(partition, 7)];
        for (event, line) in [
            (Event::StartupComplete, r#"{"timestamp":1,"name":"startup_complete"}"#),
            (
                Event::PartitionsAssigned(&partitions),
                r#"{"timestamp":1,"name":"partitions_assigned","partitions":[{"partition":1,"topic":"t"}]}"#,
            ),
            (
                Event::PartitionsRevoked(&[]),
                r#"{"timestamp":1,"name":"partitions_revoked","partitions":[]}"#,
            ),
            (
                Event::RecordsConsumed { count: 3, partitions: &consumed },
                r#"{"timestamp":1,"name":"records_consumed","count":3,"partitions":[{"count":3,"maxOffset":6,"minOffset":4,"partition":1,"topic":"t"}]}"#,
            ),
            (
                Event::OffsetsCommitted { offsets: &offsets, error: None },
                r#"{"timestamp":1,"name":"offsets_committed","offsets":[{"offset":7,"partition":1,"topic":"t"}],"success":true}"#,
            ),
            (
                Event::OffsetsCommitted { offsets: &[], error: Some("no".into()) },
                r#"{"timestamp":1,"name":"offsets_committed","offsets":[],"error":"no","success":false}"#,
            ),
            (Event::ShutdownRequested, r#"{"timestamp":1,"name":"shutdown_requested"}"#),
            (Event::ShutdownComplete, r#"{"timestamp":1,"name":"shutdown_complete"}"#),
        ] {
            assert_eq!(event.at(1).to_string(), line);
        }
    }
}
