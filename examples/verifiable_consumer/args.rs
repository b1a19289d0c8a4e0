//! The options of Kafka's tool, and the configuration that they make.

use std::error::Error;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::Parser;
use milena::ConsumerConfig;

use crate::cli::{self, Outcome};

/// This tool consumes messages from a specific topic and emits consumer events (e.g. group rebalances, received messages,
/// and offsets committed) as JSON objects to STDOUT.
#[derive(Parser, Debug)]
#[command(name = "verifiable_consumer", allow_negative_numbers = true)]
pub(crate) struct Options {
    /// The servers to connect to, as HOST1:PORT1,HOST2:PORT2.
    #[arg(long)]
    bootstrap_server: String,
    /// Consumes messages from this topic.
    #[arg(long)]
    pub(crate) topic: String,
    /// The group protocol: classic or consumer.
    #[arg(long, default_value = "classic")]
    group_protocol: String,
    /// The assignor of the brokers; only with --group-protocol consumer.
    #[arg(long)]
    group_remote_assignor: Option<String>,
    /// The group that the members share.
    #[arg(long)]
    group_id: String,
    /// A name that this member keeps over restarts.
    #[arg(long)]
    group_instance_id: Option<String>,
    /// Consume this many messages; -1 for as many as come until the process is told to end.
    #[arg(long, default_value_t = -1)]
    max_messages: i64,
    /// The session time-out, in milliseconds; only with --group-protocol classic.
    #[arg(long, default_value_t = 30_000)]
    session_timeout: u32,
    /// Print each record.
    #[arg(long)]
    pub(crate) verbose: bool,
    /// Have the consumer commit by itself.
    #[arg(long)]
    pub(crate) enable_autocommit: bool,
    /// Where to begin without a committed offset: earliest, latest or none.
    #[arg(long, default_value = "earliest")]
    reset_policy: String,
    /// How partitions are shared out, by Java's class or by the assignor's name; only with --group-protocol classic.
    #[arg(long, default_value = "org.apache.kafka.clients.consumer.RangeAssignor")]
    assignment_strategy: String,
    /// (DEPRECATED) As --command-config.
    #[arg(long = "consumer.config", value_name = "CONFIG-FILE")]
    consumer_config: Option<PathBuf>,
    /// A file of consumer properties; the options above win over it.
    #[arg(long, value_name = "CONFIG-FILE")]
    command_config: Option<PathBuf>,
}

/// Reads the command line, whose first word is the program.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Outcome<Options> {
    cli::parse(args, |options: Options| {
        if options.consumer_config.is_some() && options.command_config.is_some() {
            return Err(
                "Options --consumer.config and --command-config are mutually exclusive.".to_owned()
            );
        }
        Ok(options)
    })
}

impl Options {
    /// How many messages, if there is an end.
    pub(crate) fn count(&self) -> Option<u64> {
        u64::try_from(self.max_messages).ok()
    }

    /// What to say about an option that has a newer name.
    pub(crate) fn notice(&self) -> Option<&'static str> {
        self.consumer_config.as_ref().map(|_| {
            "Option --consumer.config has been deprecated and will be removed in a future version. Use --command-config \
             instead."
        })
    }

    /// The file, then the options, which win.
    pub(crate) fn config(&self) -> Result<ConsumerConfig, Box<dyn Error>> {
        let mut builder = ConsumerConfig::builder();
        if let Some(file) = self.consumer_config.as_ref().or(self.command_config.as_ref()) {
            builder = builder.properties_file(file)?;
        }
        builder = builder
            .set("bootstrap.servers", &self.bootstrap_server)
            .set("group.id", &self.group_id)
            .set("enable.auto.commit", self.enable_autocommit.to_string())
            .set("auto.offset.reset", &self.reset_policy);
        if let Some(instance) = &self.group_instance_id {
            builder = builder.set("group.instance.id", instance);
        }
        // The two protocols have different properties, and refuse those of the other.
        if self.group_protocol.eq_ignore_ascii_case("consumer") {
            builder = builder.set("group.protocol", "consumer");
            if let Some(assignor) = &self.group_remote_assignor {
                builder = builder.set("group.remote.assignor", assignor);
            }
        } else {
            builder = builder
                .set("group.protocol", &self.group_protocol)
                .set("session.timeout.ms", self.session_timeout.to_string())
                .set("partition.assignment.strategy", &self.assignment_strategy);
        }
        Ok(builder.build()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "--topic t --bootstrap-server h:1 --group-id g";

    fn parse_line(line: &str) -> Outcome<Options> {
        parse(std::iter::once("tool").chain(line.split_whitespace()).map(OsString::from))
    }

    fn config(line: &str) -> ConsumerConfig {
        match parse_line(line) {
            Outcome::Run(options) => options.config().unwrap(),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn defaults_are_those_of_kafkas_tool() {
        let config = config(GOOD);
        let get = |name| config.get(name).unwrap();
        assert_eq!([get("group.id"), get("bootstrap.servers")], ["g", "h:1"]);
        assert_eq!([get("enable.auto.commit"), get("auto.offset.reset")], ["false", "earliest"]);
        assert_eq!([get("session.timeout.ms"), get("group.protocol")], ["30000", "classic"]);
        assert_eq!(get("partition.assignment.strategy"), "range");
    }

    #[test]
    fn each_protocol_gets_its_own_options() {
        let new =
            "--group-protocol CONSUMER --group-remote-assignor uniform --session-timeout 7000";
        let new = config(&format!("{GOOD} {new}"));
        let get = |name| new.get(name).unwrap();
        assert_eq!([get("group.protocol"), get("group.remote.assignor")], ["consumer", "uniform"]);
        let old = "--assignment-strategy cooperative-sticky --session-timeout 7000 --enable-autocommit \
                   --group-instance-id i --reset-policy latest";
        let old = config(&format!("{GOOD} {old}"));
        let get = |name| old.get(name).unwrap();
        assert_eq!([get("session.timeout.ms"), get("group.instance.id")], ["7000", "i"]);
        assert_eq!(get("partition.assignment.strategy"), "cooperative-sticky");
        assert_eq!([get("enable.auto.commit"), get("auto.offset.reset")], ["true", "latest"]);
    }

    #[test]
    fn the_file_gives_way_to_the_options() {
        let file = std::env::temp_dir().join(format!("verifiable-consumer-{}", std::process::id()));
        std::fs::write(&file, "group.id=other\nmax.poll.records=7\n").unwrap();
        for name in ["--consumer.config", "--command-config"] {
            let config = config(&format!("{GOOD} {name} {}", file.display()));
            assert_eq!(config.get("group.id").unwrap(), "g");
            assert_eq!(config.get("max.poll.records").unwrap(), "7");
        }
        std::fs::remove_file(&file).unwrap();
    }

    #[test]
    fn refuses_what_does_not_go_together() {
        let both = format!("{GOOD} --consumer.config a --command-config b");
        for (line, expected) in [(both.as_str(), "mutually exclusive"), ("--topic t", "--group-id")]
        {
            match parse_line(line) {
                Outcome::Refused(text) => assert!(text.contains(expected), "{text}"),
                other => panic!("{line}: {other:?}"),
            }
        }
    }
}
