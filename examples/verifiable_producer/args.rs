//! The options of Kafka's tool, and the configuration that they make.

use std::error::Error;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Parser;
use milena::ProducerConfig;

use crate::cli::{self, Outcome};

/// This tool produces increasing integers to the specified topic and prints JSON metadata to stdout on each "send"
/// request, making externally visible which messages have been acked and which have not.
#[derive(Parser, Debug)]
#[command(name = "verifiable_producer", allow_negative_numbers = true)]
pub(crate) struct Options {
    /// Produce messages to this topic.
    #[arg(long)]
    pub(crate) topic: String,
    /// The servers to connect to, as HOST1:PORT1,HOST2:PORT2; formerly --broker-list.
    #[arg(long, alias = "broker-list")]
    bootstrap_server: String,
    /// Produce this many messages; -1 for as many as come until the process is told to end.
    #[arg(long, default_value_t = -1)]
    max_messages: i64,
    /// At most about so many messages per second, if it is not negative.
    #[arg(long, default_value_t = -1)]
    pub(crate) throughput: i64,
    /// Acks required on each produced message: 0, 1 or -1.
    #[arg(long, default_value = "-1", value_parser = ["0", "1", "-1"])]
    acks: String,
    /// (DEPRECATED) As --command-config.
    #[arg(long = "producer.config", value_name = "CONFIG-FILE")]
    producer_config: Option<PathBuf>,
    /// A file of producer properties, which win over --bootstrap-server and --acks.
    #[arg(long, value_name = "CONFIG-FILE")]
    command_config: Option<PathBuf>,
    /// The timestamp of the first message, in milliseconds since the epoch.
    #[arg(long, default_value_t = -1)]
    message_create_time: i64,
    /// Each value has this before it, with a dot between.
    #[arg(long)]
    pub(crate) value_prefix: Option<i32>,
    /// Keys count from 0 up to this number, exclusive, and again from 0.
    #[arg(long)]
    pub(crate) repeating_keys: Option<i32>,
}

/// Reads the command line, whose first word is the program.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Outcome<Options> {
    cli::parse(args, |options: Options| {
        if options.producer_config.is_some() && options.command_config.is_some() {
            return Err(
                "Options --producer.config and --command-config are mutually exclusive.".to_owned()
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

    /// The timestamp of the first message, if it is not the time of its send. Kafka's tool has only -1 for that; other
    /// negative ones fail at the first message.
    pub(crate) fn create_time(&self) -> Option<i64> {
        (self.message_create_time != -1).then_some(self.message_create_time)
    }

    /// What to say about an option that has a newer name.
    pub(crate) fn notice(&self) -> Option<&'static str> {
        self.producer_config.as_ref().map(|_| {
            "Option --producer.config has been deprecated and will be removed in a future version. Use --command-config \
             instead."
        })
    }

    fn file(&self) -> Option<&Path> {
        self.producer_config.as_deref().or(self.command_config.as_deref())
    }

    /// The options, then the file, which wins. Failed sends are not tried again unless the file says so, as what is to be
    /// seen is what becomes of each; hence idempotence is off by itself.
    pub(crate) fn config(&self) -> Result<ProducerConfig, Box<dyn Error>> {
        let mut builder = ProducerConfig::builder()
            .bootstrap_servers(&self.bootstrap_server)
            .set("acks", &self.acks)
            .set("retries", "0");
        if let Some(file) = self.file() {
            builder = builder.properties_file(file)?;
        }
        Ok(builder.build()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "--topic t --bootstrap-server h:1";

    fn parse_line(line: &str) -> Outcome<Options> {
        parse(std::iter::once("tool").chain(line.split_whitespace()).map(OsString::from))
    }

    fn options(line: &str) -> Options {
        match parse_line(line) {
            Outcome::Run(options) => *options,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn defaults_are_those_of_kafkas_tool() {
        let options = options(GOOD);
        assert_eq!((options.count(), options.create_time(), options.throughput), (None, None, -1));
        let config = options.config().unwrap();
        let get = |name| config.get(name).unwrap();
        assert_eq!([get("acks"), get("retries"), get("bootstrap.servers")], ["all", "0", "h:1"]);
        assert_eq!(get("enable.idempotence"), "false");
    }

    #[test]
    fn old_names_and_negative_numbers() {
        let options = options(
            "--topic t --broker-list a:1,b:2 --max-messages -1 --acks 1 --throughput 5 --value-prefix -3 \
             --repeating-keys 4 --message-create-time 1000",
        );
        assert_eq!((options.count(), options.create_time()), (None, Some(1000)));
        assert_eq!((options.value_prefix, options.repeating_keys), (Some(-3), Some(4)));
        assert_eq!(options.config().unwrap().get("bootstrap.servers").unwrap(), "a:1,b:2");
    }

    #[test]
    fn the_file_wins_and_its_old_option_is_noticed() {
        let name = format!("verifiable-producer-{}.properties", std::process::id());
        let file = std::env::temp_dir().join(name);
        std::fs::write(&file, "retries=3\nacks=0\nbootstrap.servers=f:1\nlinger.ms=9\n").unwrap();
        for (option, noticed) in [("--command-config", false), ("--producer.config", true)] {
            let options = options(&format!("{GOOD} {option} {}", file.display()));
            assert_eq!(options.notice().is_some(), noticed);
            let config = options.config().unwrap();
            let get = |name| config.get(name).unwrap();
            assert_eq!([get("retries"), get("acks"), get("linger.ms")], ["3", "0", "9"]);
            assert_eq!(get("bootstrap.servers"), "f:1");
        }
        std::fs::remove_file(&file).unwrap();
        let missing = options(&format!("{GOOD} --command-config {}", file.display()));
        assert!(missing.config().unwrap_err().to_string().contains("verifiable-producer-"));
    }

    #[test]
    fn refuses_what_kafkas_tool_refuses() {
        for (line, expected) in [
            ("--topic t", "--bootstrap-server"),
            ("--bootstrap-server h:1", "--topic"),
            (&format!("{GOOD} --acks 2"), "possible values: 0, 1, -1"),
            (&format!("{GOOD} --max-messages x"), "--max-messages"),
            (&format!("{GOOD} --producer.config a --command-config b"), "mutually exclusive"),
        ] {
            let Outcome::Refused(text) = parse_line(line) else { panic!("{line} is taken") };
            assert!(text.contains(expected), "{line}: {text}");
        }
        for line in ["", "--help"] {
            assert!(matches!(parse_line(line), Outcome::Help(text) if text.contains("--acks")));
        }
    }
}
