//! The options, old names and new, and the rules among them. Messages and exit codes are those of Kafka's tool.

use std::error::Error;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser};
use milena::ConsumerConfig;

use crate::cli::{self, Outcome};
use crate::date::DateFormat;
use crate::renamed::{one_of, property};

/// This tool is used to verify the consumer performance, with the options and the output of Kafka's
/// kafka-consumer-perf-test.
#[derive(Parser, Debug)]
#[command(name = "consumer_perf")]
struct Options {
    /// The server(s) to connect to.
    #[arg(long)]
    bootstrap_server: String,
    #[command(flatten)]
    what: What,
    /// (DEPRECATED) As --num-records.
    #[arg(long)]
    messages: Option<u64>,
    /// Stop after so many records.
    #[arg(long)]
    num_records: Option<u64>,
    /// The group to consume in; one of its own by default.
    #[arg(long)]
    group: Option<String>,
    /// The most bytes to fetch of a partition at once.
    #[arg(long, default_value_t = 1024 * 1024)]
    fetch_size: u32,
    /// Without a committed offset, start at the end of the log rather than at its beginning.
    #[arg(long)]
    from_latest: bool,
    /// The size of the TCP receive buffer.
    #[arg(long, default_value_t = 2 * 1024 * 1024)]
    socket_buffer_size: u32,
    /// Consumer properties; they win over those of --command-config.
    #[arg(long, value_name = "NAME=VALUE", num_args = 1..)]
    command_property: Option<Vec<String>>,
    /// (DEPRECATED) As --command-config.
    #[arg(long = "consumer.config", value_name = "FILE")]
    consumer_config: Option<PathBuf>,
    /// A file of consumer properties.
    #[arg(long, value_name = "FILE")]
    command_config: Option<PathBuf>,
    /// Milliseconds without a record after which to give up.
    #[arg(long, default_value_t = 10_000)]
    timeout: u32,
    /// Milliseconds between two lines of progress.
    #[arg(long, default_value_t = 5000)]
    reporting_interval: u32,
    /// Print a line for each interval instead of a total.
    #[arg(long)]
    show_detailed_stats: bool,
    /// How times are printed, as in java.text.SimpleDateFormat: y, M, d, H, m, s, S and what is no letter. In UTC.
    #[arg(long, default_value = "yyyy-MM-dd HH:mm:ss:SSS")]
    date_format: String,
    /// Print no header.
    #[arg(long)]
    hide_header: bool,
    /// Print out the metrics at the end.
    #[arg(long)]
    print_metrics: bool,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct What {
    /// The topic to consume from.
    #[arg(long)]
    topic: Option<String>,
    /// A regular expression of topics to consume from.
    #[arg(long)]
    include: Option<String>,
}

/// What to consume.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Topic(String),
    Pattern(String),
}

/// What to do, after the rules were checked.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) source: Source,
    pub(crate) records: u64,
    /// Milliseconds.
    pub(crate) timeout: u32,
    /// Milliseconds, at least 1.
    pub(crate) interval: u32,
    pub(crate) detailed: bool,
    pub(crate) dates: DateFormat,
    pub(crate) header: bool,
    pub(crate) print_metrics: bool,
    file: Option<PathBuf>,
    /// The options that are properties, then --command-property, which wins.
    properties: Vec<(String, String)>,
    notices: Vec<String>,
}

/// Reads the command line, whose first word is the program.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Outcome<Run> {
    cli::parse(args, check)
}

fn check(options: Options) -> Result<Run, String> {
    let mut notices = Vec::new();
    let records = one_of(
        ("--num-records", options.num_records),
        ("--messages", options.messages),
        &mut notices,
    )?;
    let file = one_of(
        ("--command-config", options.command_config),
        ("--consumer.config", options.consumer_config),
        &mut notices,
    )?;
    if options.reporting_interval == 0 {
        return Err("Reporting interval must be greater than 0.".to_owned());
    }
    let group =
        options.group.unwrap_or_else(|| format!("perf-consumer-{}", fastrand::u32(..100_000)));
    let reset = if options.from_latest { "latest" } else { "earliest" };
    let mut properties: Vec<_> = [
        ("bootstrap.servers", options.bootstrap_server),
        ("group.id", group),
        ("receive.buffer.bytes", options.socket_buffer_size.to_string()),
        ("max.partition.fetch.bytes", options.fetch_size.to_string()),
        ("auto.offset.reset", reset.to_owned()),
        ("check.crcs", "false".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    for text in options.command_property.unwrap_or_default() {
        properties.push(property(&text)?);
    }
    let What { topic, include } = options.what;
    Ok(Run {
        source: match topic {
            Some(topic) => Source::Topic(topic),
            None => Source::Pattern(include.unwrap_or_default()),
        },
        records: records.ok_or("--num-records is required.")?,
        timeout: options.timeout,
        interval: options.reporting_interval,
        detailed: options.show_detailed_stats,
        dates: DateFormat::new(&options.date_format)?,
        header: !options.hide_header,
        print_metrics: options.print_metrics,
        file,
        properties,
        notices,
    })
}

impl Run {
    /// What to say about options that have newer names.
    pub(crate) fn deprecated(&self) -> &[String] {
        &self.notices
    }

    /// The configuration: the file, then the options, then single properties; the last wins.
    pub(crate) fn config(&self) -> Result<ConsumerConfig, Box<dyn Error>> {
        let mut builder = ConsumerConfig::builder().set("client.id", "perf-consumer-client");
        if let Some(file) = &self.file {
            builder = builder.properties_file(file)?;
        }
        let properties = self.properties.iter().map(|(name, value)| (name, value));
        Ok(builder.properties(properties).build()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "--topic t --num-records 10 --bootstrap-server h:1";

    fn parse_line(line: &str) -> Outcome<Run> {
        parse(std::iter::once("perf").chain(line.split_whitespace()).map(OsString::from))
    }

    fn run(line: &str) -> Run {
        match parse_line(line) {
            Outcome::Run(run) => *run,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn defaults_are_those_of_kafkas_tool() {
        let run = run(GOOD);
        assert_eq!((run.records, run.timeout, run.interval), (10, 10_000, 5000));
        assert_eq!(
            (run.source, run.header, run.detailed),
            (Source::Topic("t".into()), true, false)
        );
        let config = parse_config(GOOD);
        let get = |name| config.get(name).unwrap();
        assert_eq!([get("client.id"), get("check.crcs")], ["perf-consumer-client", "false"]);
        assert_eq!(
            [get("receive.buffer.bytes"), get("auto.offset.reset")],
            ["2097152", "earliest"]
        );
        assert!(get("group.id").starts_with("perf-consumer-"));
    }

    fn parse_config(line: &str) -> ConsumerConfig {
        run(line).config().unwrap()
    }

    #[test]
    fn old_names_mean_the_same_and_properties_win() {
        let old = run("--include t.* --messages 7 --bootstrap-server h:1");
        assert_eq!((old.records, old.deprecated().len()), (7, 1));
        assert_eq!(old.source, Source::Pattern("t.*".into()));
        let line = format!(
            "{GOOD} --fetch-size 5 --from-latest --command-property fetch.min.bytes=9 client.id=me"
        );
        let config = parse_config(&line);
        let get = |name| config.get(name).unwrap();
        assert_eq!([get("max.partition.fetch.bytes"), get("auto.offset.reset")], ["5", "latest"]);
        assert_eq!([get("fetch.min.bytes"), get("client.id")], ["9", "me"]);
    }

    #[test]
    fn refuses_what_kafkas_tool_refuses() {
        for (line, expected) in [
            ("--topic t --num-records 1", "--bootstrap-server"),
            ("--topic t --bootstrap-server h:1", "--num-records is required"),
            (&format!("{GOOD} --messages 1"), "together"),
            (&format!("{GOOD} --include t"), "cannot be used with"),
            (&format!("{GOOD} --reporting-interval 0"), "must be greater than 0"),
            (&format!("{GOOD} --date-format EEE"), "--date-format"),
            (&format!("{GOOD} --command-property a"), "Invalid property: a"),
        ] {
            match parse_line(line) {
                Outcome::Refused(text) => assert!(text.contains(expected), "{line}: {text}"),
                other => panic!("{line}: {other:?}"),
            }
        }
    }
}
