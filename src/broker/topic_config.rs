//! A topic's name and configuration: what is legal, Kafka's defaults, and Kafka's names.
//!
//! Settings that shape how records are accepted or kept are parsed into fields. Those of Kafka that tune files,
//! replication or tiered storage are accepted without effect, since an in-memory log has none of these.

use crate::types::TimestampType;

/// `TopicConfig.MAX_MESSAGE_BYTES_CONFIG`'s default: 1 MiB of records and Kafka's 12 bytes of log overhead.
const DEFAULT_MAX_MESSAGE_BYTES: usize = 1024 * 1024 + 12;
/// One hour, the default since Kafka 4.0.
const DEFAULT_TIMESTAMP_AFTER_MAX_MS: i64 = 60 * 60 * 1000;
const MAX_NAME_LEN: usize = 249;

/// Kafka's names without an effect here.
const WITHOUT_EFFECT: [&str; 17] = [
    "delete.retention.ms",
    "file.delete.delay.ms",
    "flush.messages",
    "flush.ms",
    "follower.replication.throttled.replicas",
    "index.interval.bytes",
    "leader.replication.throttled.replicas",
    "max.compaction.lag.ms",
    "min.cleanable.dirty.ratio",
    "min.compaction.lag.ms",
    "preallocate",
    "retention.ms",
    "segment.bytes",
    "segment.index.bytes",
    "segment.jitter.ms",
    "segment.ms",
    "unclean.leader.election.enable",
];

/// Why a topic's name is not legal, in Kafka's words; `None` if it is.
pub(crate) fn illegal_name(name: &str) -> Option<&'static str> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    match name {
        "" => Some("the empty string is not allowed"),
        "." | ".." => Some("'.' and '..' are not allowed"),
        _ if name.len() > MAX_NAME_LEN => {
            Some("the name is longer than the maximum of 249 characters")
        }
        _ if !name.bytes().all(legal) => {
            Some("it contains a character other than ASCII alphanumerics, '.', '_' and '-'")
        }
        _ => None,
    }
}

/// The settings of a topic that have an effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicConfig {
    /// `min.insync.replicas`
    pub(crate) min_insync_replicas: usize,
    /// `max.message.bytes`: of a batch, header included.
    pub(crate) max_message_bytes: usize,
    /// `message.timestamp.type`
    pub(crate) timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`
    pub(crate) timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`
    pub(crate) timestamp_after_max_ms: i64,
    /// `cleanup.policy` contains `compact`: records must have keys. The log itself is compacted on command.
    pub(crate) compacted: bool,
    /// `retention.bytes`; `None` is -1, all are kept.
    pub(crate) retention_bytes: Option<usize>,
}

impl Default for TopicConfig {
    fn default() -> Self {
        Self {
            min_insync_replicas: 1,
            max_message_bytes: DEFAULT_MAX_MESSAGE_BYTES,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: DEFAULT_TIMESTAMP_AFTER_MAX_MS,
            compacted: false,
            retention_bytes: None,
        }
    }
}

impl TopicConfig {
    /// Sets one setting from Kafka's name and text; the error says what is wrong.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let invalid = || format!("Invalid value {value} for configuration {name}");
        let number = |least: i64| match value.trim().parse::<i64>() {
            Ok(number) if number >= least => Ok(number),
            _ => Err(format!("{}: expected a number of at least {least}", invalid())),
        };
        let size =
            |least: i64| number(least).and_then(|n| usize::try_from(n).map_err(|_| invalid()));
        match name {
            "min.insync.replicas" => self.min_insync_replicas = size(1)?,
            "max.message.bytes" => self.max_message_bytes = size(0)?,
            "message.timestamp.before.max.ms" => self.timestamp_before_max_ms = number(0)?,
            "message.timestamp.after.max.ms" => self.timestamp_after_max_ms = number(0)?,
            "retention.bytes" => self.retention_bytes = usize::try_from(number(-1)?).ok(),
            "message.timestamp.type" => {
                self.timestamp_type = match value {
                    "CreateTime" => TimestampType::CreateTime,
                    "LogAppendTime" => TimestampType::LogAppendTime,
                    _ => {
                        return Err(format!("{}: expected CreateTime or LogAppendTime", invalid()));
                    }
                }
            }
            "cleanup.policy" => {
                let mut policies = value.split(',').map(str::trim);
                if !policies.clone().all(|policy| matches!(policy, "delete" | "compact")) {
                    return Err(format!("{}: expected delete, compact or both", invalid()));
                }
                self.compacted = policies.any(|policy| policy == "compact");
            }
            "compression.type" if value == "producer" => {}
            "compression.type" => {
                return Err(format!("{}: this broker keeps the producer's compression", invalid()));
            }
            _ if WITHOUT_EFFECT.contains(&name) => {}
            _ => return Err(format!("Unknown topic config name: {name}")),
        }
        Ok(())
    }

    /// The settings with an effect by Kafka's names and in its text, sorted by name.
    pub(crate) fn entries(&self) -> [(&'static str, String); 7] {
        let timestamp_type = match self.timestamp_type {
            TimestampType::CreateTime => "CreateTime",
            TimestampType::LogAppendTime => "LogAppendTime",
        };
        let retention = self.retention_bytes.map_or("-1".to_owned(), |bytes| bytes.to_string());
        [
            ("cleanup.policy", if self.compacted { "compact" } else { "delete" }.to_owned()),
            ("max.message.bytes", self.max_message_bytes.to_string()),
            ("message.timestamp.after.max.ms", self.timestamp_after_max_ms.to_string()),
            ("message.timestamp.before.max.ms", self.timestamp_before_max_ms.to_string()),
            ("message.timestamp.type", timestamp_type.to_owned()),
            ("min.insync.replicas", self.min_insync_replicas.to_string()),
            ("retention.bytes", retention),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_judged_as_kafka_does() {
        for legal in ["t", "a.b_c-D9", "...", &"x".repeat(249)] {
            assert_eq!(illegal_name(legal), None, "{legal}");
        }
        for illegal in ["", ".", "..", "a b", "a/b", "käse", "a\0", &"x".repeat(250)] {
            assert!(illegal_name(illegal).is_some(), "{illegal}");
        }
    }

    #[test]
    fn settings_are_parsed_and_given_back() {
        let mut config = TopicConfig::default();
        let set = [
            ("cleanup.policy", "compact"),
            ("max.message.bytes", "1000"),
            ("message.timestamp.after.max.ms", "5"),
            ("message.timestamp.before.max.ms", "7"),
            ("message.timestamp.type", "LogAppendTime"),
            ("min.insync.replicas", "2"),
            ("retention.bytes", "4096"),
        ];
        for (name, value) in set {
            config.set(name, value).unwrap();
        }
        assert_eq!(config.entries(), set.map(|(name, value)| (name, value.to_owned())));
        config.set("retention.bytes", "-1").unwrap();
        assert_eq!(config.retention_bytes, None);
        config.set("cleanup.policy", "delete,compact").unwrap();
        assert!(config.compacted);
    }

    #[test]
    fn what_kafka_refuses_is_refused_and_changes_nothing() {
        let mut config = TopicConfig::default();
        for (name, value) in [
            ("min.insync.replicas", "0"),
            ("max.message.bytes", "many"),
            ("message.timestamp.type", "createtime"),
            ("cleanup.policy", "shred"),
            ("compression.type", "zstd"),
            ("retention.bytes", "-2"),
            ("linger.ms", "5"),
        ] {
            let error = config.set(name, value).unwrap_err();
            assert!(error.contains(name), "{error}");
        }
        assert_eq!(config, TopicConfig::default());
        config.set("segment.bytes", "1048576").unwrap();
        config.set("compression.type", "producer").unwrap();
        assert_eq!(config, TopicConfig::default());
    }
}
