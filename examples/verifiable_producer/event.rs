//! The lines: one JSON object each, its properties in the order in which Kafka's tool prints them.

use serde_json::Value;

use crate::line::Line;

#[derive(Debug)]
pub(crate) enum Event<'a> {
    StartupComplete,
    SendSuccess {
        sent: &'a Sent,
        topic: &'a str,
        partition: i32,
        offset: i64,
    },
    /// `exception` is the name of a class of Java's.
    SendError {
        sent: &'a Sent,
        topic: &'a str,
        exception: &'a str,
        message: &'a str,
    },
    ShutdownComplete,
    ToolData {
        sent: u64,
        acked: u64,
        target_throughput: i64,
        avg_throughput: f64,
    },
}

/// What was in a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) key: Option<String>,
    pub(crate) value: String,
}

impl Event<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::StartupComplete => "startup_complete",
            Self::SendSuccess { .. } => "producer_send_success",
            Self::SendError { .. } => "producer_send_error",
            Self::ShutdownComplete => "shutdown_complete",
            Self::ToolData { .. } => "tool_data",
        }
    }

    fn properties(&self) -> Vec<(&'static str, Value)> {
        match *self {
            Self::StartupComplete | Self::ShutdownComplete => Vec::new(),
            Self::SendSuccess { sent, topic, partition, offset } => vec![
                ("key", sent.key.as_deref().into()),
                ("value", sent.value.as_str().into()),
                ("offset", offset.into()),
                ("topic", topic.into()),
                ("partition", partition.into()),
            ],
            Self::SendError { sent, topic, exception, message } => vec![
                ("topic", topic.into()),
                ("key", sent.key.as_deref().into()),
                ("value", sent.value.as_str().into()),
                ("exception", format!("class {exception}").into()),
                ("message", message.into()),
            ],
            Self::ToolData { sent, acked, target_throughput, avg_throughput } => vec![
                ("sent", sent.into()),
                ("acked", acked.into()),
                ("target_throughput", target_throughput.into()),
                ("avg_throughput", avg_throughput.into()),
            ],
        }
    }

    /// The line of an event that came about at this time, in milliseconds since the epoch.
    pub(crate) fn at(&self, timestamp: i64) -> Line {
        Line { timestamp, name: self.name(), properties: self.properties() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(key: Option<&str>) -> Sent {
        Sent { key: key.map(str::to_owned), value: "7.1".to_owned() }
    }

    /// What Kafka 4.3.1's tool printed.
    #[test]
    fn lines_are_those_of_kafkas_tool() {
        let (with, without) = (sent(Some("1")), sent(None));
        for (event, line) in [
            (Event::StartupComplete, r#"{"timestamp":1795264208280,"name":"startup_complete"}"#),
            (
                Event::SendSuccess { sent: &with, topic: "v", partition: 0, offset: 0 },
                r#"{"timestamp":1795264208280,"name":"producer_send_success","key":"1","value":"7.1","offset":0,"topic":"v","partition":0}"#,
            ),
            (
                Event::SendError {
                    sent: &without,
                    topic: "b@d",
                    exception: "org.apache.kafka.common.errors.InvalidTopicException",
                    message: "Invalid topics: [b@d]",
                },
                r#"{"timestamp":1795264208280,"name":"producer_send_error","topic":"b@d","key":null,"value":"7.1","exception":"class org.apache.kafka.common.errors.InvalidTopicException","message":"Invalid topics: [b@d]"}"#,
            ),
            (Event::ShutdownComplete, r#"{"timestamp":1795264208280,"name":"shutdown_complete"}"#),
            (
                Event::ToolData { sent: 2, acked: 0, target_throughput: -1, avg_throughput: 0.0 },
                r#"{"timestamp":1795264208280,"name":"tool_data","sent":2,"acked":0,"target_throughput":-1,"avg_throughput":0.0}"#,
            ),
        ] {
            assert_eq!(event.at(1_795_264_208_280).to_string(), line);
        }
    }

    #[test]
    fn texts_are_escaped() {
        let sent = Sent { key: None, value: "a\"b\n".to_owned() };
        let event = Event::SendSuccess { sent: &sent, topic: "t", partition: 0, offset: -1 };
        let line = event.at(0).to_string();
        let read: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["value"], "a\"b\n");
        assert_eq!(line.lines().count(), 1);
    }
}
