//! The options of Kafka's tool, and the configurations that they make.

use std::ffi::OsString;

use clap::Parser;
use milena::{ConfigError, ConsumerConfig, ProducerConfig, TransactionalProducerConfig};

use crate::cli::{self, Outcome};

/// This tool copies messages transactionally from an input partition to an output topic, committing the consumed offsets
/// along with the output messages.
#[derive(Parser, Debug)]
#[command(name = "transactional_message_copier", allow_negative_numbers = true)]
pub(crate) struct Options {
    /// Consume messages from this topic.
    #[arg(long)]
    pub(crate) input_topic: String,
    /// Consume messages from this partition of the input topic.
    #[arg(long)]
    pub(crate) input_partition: i32,
    /// Produce messages to this topic.
    #[arg(long)]
    pub(crate) output_topic: String,
    /// The brokers, as HOST1:PORT1,HOST2:PORT2.
    #[arg(long, visible_alias = "bootstrap-server")]
    broker_list: String,
    /// Process this many messages up to the end offset at the time this program was launched; -1 for all up to there.
    #[arg(long, default_value_t = -1)]
    max_messages: i64,
    /// The consumer group id to use for storing the consumer offsets.
    #[arg(long, default_value = "-1")]
    pub(crate) consumer_group: String,
    /// The number of messages to put in each transaction.
    #[arg(long, default_value_t = 200)]
    transaction_size: u32,
    /// The transaction time-out, in milliseconds.
    #[arg(long, default_value_t = 60_000)]
    transaction_timeout: u32,
    /// The transactional.id of the producer.
    #[arg(long)]
    pub(crate) transactional_id: String,
    /// Abort one in three transactions (for system testing).
    #[arg(long)]
    pub(crate) enable_random_aborts: bool,
    /// Subscribe to the input topic instead of reading one partition of it, which is then ignored.
    #[arg(long)]
    pub(crate) group_mode: bool,
    /// Commit the offsets as the member of the group that the consumer is (KIP-447).
    #[arg(long)]
    pub(crate) use_group_metadata: bool,
    /// The group protocol: classic or consumer. Kafka's tool does not have this option.
    #[arg(long, default_value = "classic")]
    group_protocol: String,
}

/// Reads the command line, whose first word is the program.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Outcome<Options> {
    cli::parse(args, Ok::<Options, String>)
}

impl Options {
    /// How many messages at most.
    pub(crate) fn limit(&self) -> i64 {
        if self.max_messages == -1 { i64::MAX } else { self.max_messages }
    }

    pub(crate) fn producer(&self) -> Result<TransactionalProducerConfig, ConfigError> {
        ProducerConfig::builder()
            .set("bootstrap.servers", &self.broker_list)
            .set("transactional.id", &self.transactional_id)
            .set("transaction.timeout.ms", self.transaction_timeout.to_string())
            // So small that a transaction has several batches on their way.
            .set("batch.size", "512")
            .set("max.in.flight.requests.per.connection", "5")
            .build_transactional()
    }

    pub(crate) fn consumer(&self) -> Result<ConsumerConfig, ConfigError> {
        let mut builder = ConsumerConfig::builder()
            .set("bootstrap.servers", &self.broker_list)
            .set("group.id", &self.consumer_group)
            .set("group.protocol", &self.group_protocol)
            .set("isolation.level", "read_committed")
            .set("max.poll.records", self.transaction_size.to_string())
            .set("enable.auto.commit", "false")
            .set("max.poll.interval.ms", "180000")
            .set("auto.offset.reset", "earliest");
        // With the other protocol these are the broker's.
        if !self.group_protocol.eq_ignore_ascii_case("consumer") {
            builder =
                builder.set("session.timeout.ms", "10000").set("heartbeat.interval.ms", "3000");
        }
        builder.build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "--broker-list h:1 --transactional-id t --input-topic in --input-partition 0 \
                        --output-topic out";

    fn options(line: &str) -> Result<Options, String> {
        match parse(std::iter::once("tool").chain(line.split_whitespace()).map(OsString::from)) {
            Outcome::Run(options) => Ok(*options),
            Outcome::Help(text) | Outcome::Refused(text) => Err(text),
        }
    }

    #[test]
    fn defaults_are_those_of_kafkas_tool() {
        let options = options(GOOD).unwrap();
        assert_eq!(options.limit(), i64::MAX);
        let flags = [options.enable_random_aborts, options.group_mode, options.use_group_metadata];
        assert_eq!(flags, [false; 3]);
        let (producer, consumer) = (options.producer().unwrap(), options.consumer().unwrap());
        let producer = |name| producer.producer().get(name).unwrap();
        assert_eq!([producer("transactional.id"), producer("batch.size")], ["t", "512"]);
        assert_eq!(producer("transaction.timeout.ms"), "60000");
        let consumer = |name| consumer.get(name).unwrap();
        assert_eq!([consumer("group.id"), consumer("max.poll.records")], ["-1", "200"]);
        assert_eq!(consumer("isolation.level"), "read_committed");
        assert_eq!(
            [consumer("session.timeout.ms"), consumer("enable.auto.commit")],
            ["10000", "false"]
        );
    }

    #[test]
    fn each_option_goes_where_it_belongs() {
        let more = "--max-messages 7 --consumer-group g --transaction-size 9 --transaction-timeout 5000 \
                    --enable-random-aborts --group-mode --use-group-metadata --group-protocol consumer";
        let options = options(&format!("{GOOD} {more}")).unwrap();
        assert_eq!(options.limit(), 7);
        let flags = [options.enable_random_aborts, options.group_mode, options.use_group_metadata];
        assert_eq!(flags, [true; 3]);
        let (producer, consumer) = (options.producer().unwrap(), options.consumer().unwrap());
        assert_eq!(producer.producer().get("transaction.timeout.ms").unwrap(), "5000");
        let consumer = |name| consumer.get(name).unwrap();
        assert_eq!([consumer("group.id"), consumer("max.poll.records")], ["g", "9"]);
        assert_eq!(consumer("group.protocol"), "consumer");
    }

    #[test]
    fn what_is_missing_is_named() {
        for (line, name) in [
            ("--broker-list h:1", "--input-topic"),
            (
                "--bootstrap-server h:1 --transactional-id t --input-topic i --output-topic o",
                "--input-partition",
            ),
        ] {
            assert!(options(line).unwrap_err().contains(name));
        }
    }
}
