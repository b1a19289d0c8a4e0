//! The options, old names and new, and the rules among them. Messages and exit codes are those of Kafka's tool.

use std::error::Error;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser};
use milena::ProducerConfig;

use crate::cli::{self, Outcome};
use crate::payload::Source;
use crate::renamed::{one_of, property};

/// This tool is used to verify the producer performance, with the options and the output of Kafka's
/// kafka-producer-perf-test.
#[derive(Parser, Debug)]
#[command(name = "producer_perf", allow_negative_numbers = true)]
struct Options {
    /// The server(s) to connect to; wins over bootstrap.servers in the properties.
    #[arg(long)]
    bootstrap_server: Option<String>,
    /// Produce records to this topic.
    #[arg(long)]
    topic: String,
    /// Number of records to produce.
    #[arg(long)]
    num_records: i64,
    #[command(flatten)]
    payload: PayloadOptions,
    /// What separates the values in --payload-file: literal text, with \n, \r, \t and \\.
    #[arg(long, default_value = "\\n")]
    payload_delimiter: String,
    /// At most about so many records per second; -1 for as many as possible.
    #[arg(long)]
    throughput: f64,
    /// (DEPRECATED) As --command-property.
    #[arg(long, value_name = "NAME=VALUE", num_args = 1..)]
    producer_props: Option<Vec<String>>,
    /// Producer properties; they win over those of --command-config.
    #[arg(long, value_name = "NAME=VALUE", num_args = 1..)]
    command_property: Option<Vec<String>>,
    /// (DEPRECATED) As --command-config.
    #[arg(long = "producer.config", value_name = "FILE")]
    producer_config: Option<PathBuf>,
    /// A file of producer properties.
    #[arg(long, value_name = "FILE")]
    command_config: Option<PathBuf>,
    /// Print out metrics at the end of the test.
    #[arg(long)]
    print_metrics: bool,
    /// The transactional id to use (not supported yet).
    #[arg(long)]
    transactional_id: Option<String>,
    /// The longest duration of a transaction (not supported yet).
    #[arg(long)]
    transaction_duration_ms: Option<i64>,
    /// Records at the start that the steady-state statistics leave out.
    #[arg(long, default_value_t = 0)]
    warmup_records: i64,
    /// Milliseconds between two lines of progress.
    #[arg(long, default_value_t = 5000)]
    reporting_interval: i64,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct PayloadOptions {
    /// Bytes of a record's value, which are random letters.
    #[arg(long)]
    record_size: Option<i32>,
    /// File of values, in UTF-8; a random one is taken for each record.
    #[arg(long)]
    payload_file: Option<PathBuf>,
    /// The value is the record's number.
    #[arg(long)]
    payload_monotonic: bool,
}

/// What to do, after the rules were checked.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) topic: String,
    /// At least 1.
    pub(crate) records: u64,
    /// Below `records`.
    pub(crate) warmup: u64,
    pub(crate) payload: Source,
    /// Records per second; negative for as many as possible, never zero.
    pub(crate) throughput: f64,
    /// Milliseconds, at least 1.
    pub(crate) interval: i64,
    pub(crate) print_metrics: bool,
    bootstrap_server: Option<String>,
    properties: Vec<(String, String)>,
    file: Option<PathBuf>,
    notices: Vec<String>,
}

/// Reads the command line, whose first word is the program.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Outcome<Run> {
    cli::parse(args, check)
}

fn check(options: Options) -> Result<Run, String> {
    check_values(&options)?;
    let positive = |value: i64, name: &str| {
        u64::try_from(value)
            .ok()
            .filter(|value| *value > 0)
            .ok_or(format!("{name} should be greater than zero."))
    };
    let records = positive(options.num_records, "--num-records")?;
    let warmup = u64::try_from(options.warmup_records).unwrap_or(0);
    if warmup >= records {
        return Err("The value for --warmup-records must be strictly fewer than the number of records in the test, \
                    --num-records."
            .to_owned());
    }
    positive(options.reporting_interval, "--reporting-interval")?;
    let payload = match options.payload {
        PayloadOptions { record_size: Some(size), .. } => {
            let size = positive(size.into(), "--record-size")?;
            Source::Random { size: usize::try_from(size).map_err(|error| error.to_string())? }
        }
        PayloadOptions { payload_file: Some(path), .. } => {
            Source::File { path, delimiter: delimiter(&options.payload_delimiter)? }
        }
        _ => Source::Monotonic,
    };
    let mut notices = Vec::new();
    let properties = one_of(
        ("--command-property", options.command_property),
        ("--producer-props", options.producer_props),
        &mut notices,
    )?;
    let file = one_of(
        ("--command-config", options.command_config),
        ("--producer.config", options.producer_config),
        &mut notices,
    )?;
    if options.bootstrap_server.is_none() && properties.is_none() && file.is_none() {
        return Err("At least one of --bootstrap-server, --command-property, --producer-props, --producer.config or \
                    --command-config must be specified."
            .to_owned());
    }
    let properties =
        properties.unwrap_or_default().iter().map(|p| property(p)).collect::<Result<_, _>>()?;
    Ok(Run {
        topic: options.topic,
        records,
        warmup,
        payload,
        throughput: options.throughput,
        interval: options.reporting_interval,
        print_metrics: options.print_metrics,
        bootstrap_server: options.bootstrap_server,
        properties,
        file,
        notices,
    })
}

/// What is not there yet, and what no value may be.
fn check_values(options: &Options) -> Result<(), String> {
    if options.transaction_duration_ms.is_some_and(|duration| duration <= 0) {
        return Err("--transaction-duration-ms should be greater than zero.".to_owned());
    }
    if options.transactional_id.is_some() || options.transaction_duration_ms.is_some() {
        return Err("transactions are not supported yet: leave out --transactional-id and \
                    --transaction-duration-ms."
            .to_owned());
    }
    if options.throughput == 0.0 || options.throughput.is_nan() {
        return Err(
            "--throughput should be a rate, or -1 for as many records as possible.".to_owned()
        );
    }
    Ok(())
}

/// Java's tool takes a regular expression; this one its literal ones.
fn delimiter(text: &str) -> Result<String, String> {
    let mut literal = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        literal.push(match c {
            '\\' => match chars.next() {
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some(escaped) if escaped.is_ascii_punctuation() => escaped,
                _ => return Err(not_literal(text)),
            },
            '.' | '*' | '+' | '?' | '|' | '^' | '$' | '(' | '[' | '{' => {
                return Err(not_literal(text));
            }
            plain => plain,
        });
    }
    if literal.is_empty() { Err(not_literal(text)) } else { Ok(literal) }
}

fn not_literal(text: &str) -> String {
    format!(
        "--payload-delimiter {text:?} is not literal text: regular expressions are not supported, put \\ before \
         characters that are special in them."
    )
}

impl Run {
    /// What to say about options that have newer names.
    pub(crate) fn deprecated(&self) -> &[String] {
        &self.notices
    }

    /// The configuration: the file, then single properties, then --bootstrap-server; the last wins.
    pub(crate) fn config(&self) -> Result<ProducerConfig, Box<dyn Error>> {
        let mut builder = ProducerConfig::builder().set("client.id", "perf-producer-client");
        if let Some(file) = &self.file {
            builder = builder.properties_file(file)?;
        }
        builder = builder.properties(self.properties.iter().map(|(name, value)| (name, value)));
        if let Some(servers) = &self.bootstrap_server {
            builder = builder.set("bootstrap.servers", servers);
        }
        Ok(builder.build()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "--topic t --num-records 10 --record-size 5 --throughput -1 --bootstrap-server h:1";

    fn parse_line(line: &str) -> Outcome<Run> {
        parse(std::iter::once("perf").chain(line.split_whitespace()).map(OsString::from))
    }

    fn run(line: &str) -> Run {
        match parse_line(line) {
            Outcome::Run(run) => *run,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn refusal(line: &str) -> String {
        match parse_line(line) {
            Outcome::Refused(text) => text,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn nothing_and_help_print_the_options() {
        for line in ["", "--help"] {
            let Outcome::Help(text) = parse_line(line) else { panic!("{line:?} is no help") };
            assert!(
                text.contains("--producer.config") && text.contains("--command-config"),
                "{text}"
            );
        }
    }

    #[test]
    fn old_and_new_names_mean_the_same() {
        let start = "--topic t --num-records 10 --payload-monotonic --throughput 5.5";
        for (name, notices) in [("--producer-props", 1), ("--command-property", 0)] {
            let run = run(&format!("{start} {name} bootstrap.servers=a:1 linger.ms=7 acks=1"));
            assert_eq!(run.deprecated().len(), notices);
            assert!((run.throughput - 5.5).abs() < f64::EPSILON);
            let config = run.config().unwrap();
            assert_eq!(config.linger().as_millis(), 7);
            assert_eq!(config.get("client.id").as_deref(), Some("perf-producer-client"));
            assert_eq!(config.get("bootstrap.servers").as_deref(), Some("a:1"));
        }
    }

    #[test]
    fn the_file_gives_way_to_properties_and_those_to_the_bootstrap_server() {
        let file =
            std::env::temp_dir().join(format!("producer-perf-{}.properties", std::process::id()));
        std::fs::write(&file, "bootstrap.servers=a:1\nlinger.ms=3\nbatch.size=99\nclient.id=me\n")
            .unwrap();
        for name in ["--command-config", "--producer.config"] {
            let path = file.display();
            let line = format!(
                "{GOOD} {name} {path} --command-property linger.ms=4 bootstrap.servers=b:1"
            );
            let config = run(&line).config().unwrap();
            let get = |name| config.get(name).unwrap();
            assert_eq!(get("bootstrap.servers"), "h:1");
            assert_eq!([get("linger.ms"), get("batch.size"), get("client.id")], ["4", "99", "me"]);
        }
        std::fs::remove_file(&file).unwrap();
    }

    #[test]
    fn refuses_what_kafkas_tool_refuses() {
        let cases = [
            ("--topic t", "--num-records"),
            (&format!("{GOOD} --payload-monotonic"), "cannot be used with"),
            (
                "--topic t --num-records 1 --throughput 1 --bootstrap-server h:1",
                "--payload-monotonic",
            ),
            (&GOOD.replace("10", "0"), "--num-records should be greater than zero."),
            (&GOOD.replace("10", "-1"), "--num-records should be greater than zero."),
            (&GOOD.replace("size 5", "size 0"), "--record-size should be greater than zero."),
            (&format!("{GOOD} --warmup-records 10"), "must be strictly fewer"),
            (&format!("{GOOD} --reporting-interval 0"), "--reporting-interval should be"),
            (&format!("{GOOD} --transaction-duration-ms 0"), "should be greater than zero."),
            (&GOOD.replace("--bootstrap-server h:1", ""), "At least one of --bootstrap-server"),
            (&format!("{GOOD} --producer-props a=b --command-property c=d"), "together"),
            (&format!("{GOOD} --producer.config a --command-config b"), "together"),
            (&format!("{GOOD} --command-property a=b=c"), "Invalid property: a"),
            (&format!("{GOOD} --command-property a="), "Invalid property: a"),
            (&format!("{GOOD} --command-property a"), "Invalid property: a"),
        ];
        for (line, expected) in cases {
            let text = refusal(line);
            assert!(text.contains(expected), "{line}: {text}");
        }
    }

    #[test]
    fn says_what_is_not_there_yet() {
        for option in ["--transactional-id x", "--transaction-duration-ms 100"] {
            let text = refusal(&format!("{GOOD} {option}"));
            assert!(text.contains("not supported yet"), "{text}");
        }
        let error =
            run(&format!("{GOOD} --command-property transactional.id=x")).config().unwrap_err();
        assert!(error.to_string().contains("transactional.id"), "{error}");
        assert!(refusal(&GOOD.replace("-1", "0")).contains("--throughput"));
    }

    #[test]
    fn a_delimiter_is_literal() {
        assert_eq!(delimiter("\\n").unwrap(), "\n");
        assert_eq!(delimiter("\\|\\|,").unwrap(), "||,");
        for refused in ["", "a|b", "\\s", "[,;]", "a+", "\\"] {
            assert!(delimiter(refused).unwrap_err().contains("not literal"), "{refused}");
        }
    }
}
