//! The command line: a command and options, every one of them `--name value`. Options that are not known are ignored, so
//! that clients of one comparison need not know each other's.

use std::collections::HashMap;
use std::str::FromStr;

#[derive(Debug)]
pub(crate) struct Args {
    command: String,
    options: HashMap<String, String>,
}

impl Args {
    /// Reads the words after the program's name.
    pub(crate) fn parse(words: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut words = words.into_iter().peekable();
        let command = words.next_if(|word| !word.starts_with("--")).unwrap_or("produce".to_owned());
        let mut options = HashMap::new();
        while let Some(word) = words.next() {
            let name = word.strip_prefix("--").ok_or(format!("unexpected argument {word:?}"))?;
            let value = words.next().ok_or(format!("--{name} needs a value"))?;
            options.insert(name.to_owned(), value);
        }
        Ok(Self { command, options })
    }

    pub(crate) fn command(&self) -> &str {
        &self.command
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    fn text(&self, name: &str, default: &str) -> String {
        self.get(name).unwrap_or(default).to_owned()
    }

    fn value<T: FromStr>(&self, name: &str, default: T) -> Result<T, String> {
        self.get(name).map_or(Ok(default), |text| number(name, text))
    }
}

/// The value of an option that is not any text.
pub(crate) fn number<T: FromStr>(name: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("--{name} cannot be {text:?}"))
}

/// What is done with each record's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Nothing; all that is known is that all have ended.
    Fire,
    Callback,
    /// A second task awaits a handle of each record.
    Future,
}

#[derive(Debug)]
pub(crate) struct ProduceArgs {
    pub(crate) bootstrap: String,
    pub(crate) topic: String,
    pub(crate) records: u64,
    pub(crate) warmup: u64,
    pub(crate) record_size: usize,
    pub(crate) mode: Mode,
    /// Records per second; `None` for as many as possible.
    pub(crate) rate: Option<f64>,
    /// How many different keys; 0 for none.
    pub(crate) keys: u64,
    /// Kafka's names and values.
    pub(crate) properties: Vec<(&'static str, String)>,
}

impl ProduceArgs {
    pub(crate) fn new(args: &Args) -> Result<Self, String> {
        let mode = match args.get("mode").unwrap_or("future") {
            "fire" => Mode::Fire,
            "callback" => Mode::Callback,
            "future" => Mode::Future,
            other => {
                return Err(format!("--mode cannot be {other:?}: fire, callback or future"));
            }
        };
        let rate: f64 = args.value("throughput", -1.0)?;
        Ok(Self {
            bootstrap: args.text("bootstrap", "127.0.0.1:9092"),
            topic: args.text("topic", "bench"),
            records: args.value("num-records", 1_000_000)?,
            warmup: args.value("warmup", 0)?,
            record_size: args.value("record-size", 100)?,
            mode,
            rate: (rate > 0.0).then_some(rate),
            keys: args.value("keys", 0)?,
            properties: producer_properties(args)?,
        })
    }

    /// Whether the latency of record `index` is taken: of each if they are paced, and otherwise of one in 16, so that
    /// reading the clock does not become the benchmark.
    pub(crate) fn samples(&self, index: u64) -> bool {
        self.rate.is_some() || index.is_multiple_of(16)
    }
}

/// Kafka's names and values.
fn producer_properties(args: &Args) -> Result<Vec<(&'static str, String)>, String> {
    let linger: f64 = args.value("linger-ms", 5.0)?;
    Ok(vec![
        ("acks", args.text("acks", "all")),
        ("linger.ms", format!("{linger:.0}")),
        ("batch.size", args.text("batch-size", "16384")),
        ("compression.type", args.text("compression", "none")),
        ("enable.idempotence", args.text("idempotence", "true")),
        ("max.in.flight.requests.per.connection", args.text("in-flight", "5")),
        ("buffer.memory", args.text("buffer-bytes", "67108864")),
        // Room for a large batch of each of several partitions.
        ("max.request.size", "4000000".to_owned()),
    ])
}

#[derive(Debug)]
pub(crate) struct ConsumeArgs {
    pub(crate) bootstrap: String,
    pub(crate) topic: String,
    pub(crate) partitions: i32,
    pub(crate) records: u64,
    /// Kafka's names and values.
    pub(crate) properties: Vec<(&'static str, String)>,
}

impl ConsumeArgs {
    pub(crate) fn new(args: &Args) -> Result<Self, String> {
        Ok(Self {
            bootstrap: args.text("bootstrap", "127.0.0.1:9092"),
            topic: args.text("topic", "bench"),
            partitions: args.value("partitions", 6)?,
            records: args.value("num-records", 1_000_000)?,
            properties: vec![
                ("max.partition.fetch.bytes", args.text("partition-fetch-bytes", "1048576")),
                ("fetch.max.bytes", args.text("fetch-max-bytes", "52428800")),
                ("check.crcs", args.text("check-crcs", "true")),
                ("receive.buffer.bytes", args.text("receive-buffer-bytes", "-1")),
            ],
        })
    }
}

#[derive(Debug)]
pub(crate) struct TransactArgs {
    pub(crate) bootstrap: String,
    pub(crate) topic: String,
    pub(crate) out_topic: String,
    pub(crate) records: u64,
    /// Records of a transaction, at least.
    pub(crate) size: u64,
    /// Kafka's names and values.
    pub(crate) producer: Vec<(&'static str, String)>,
    pub(crate) consumer: Vec<(&'static str, String)>,
}

impl TransactArgs {
    pub(crate) fn new(args: &Args) -> Result<Self, String> {
        let group = args.text("group", "bench-rpw");
        let size = args.value("txn-size", 1_000)?;
        let mut producer = producer_properties(args)?;
        producer.push(("transactional.id", format!("txn-{group}")));
        let consumer = vec![
            ("group.id", group),
            ("auto.offset.reset", "earliest".to_owned()),
            ("enable.auto.commit", "false".to_owned()),
            ("isolation.level", "read_committed".to_owned()),
            ("max.poll.records", size.to_string()),
        ];
        Ok(Self {
            bootstrap: args.text("bootstrap", "127.0.0.1:9092"),
            topic: args.text("topic", "bench"),
            out_topic: args.text("out-topic", "bench-out"),
            records: args.value("num-records", 200_000)?,
            size,
            producer,
            consumer,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, String> {
        Args::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_have_values_and_unknown_ones_are_ignored() {
        let args = parse(
            "produce --topic t --num-records 7 --throughput 1000 --nobody-knows 3 --linger-ms 5.0",
        );
        let args = ProduceArgs::new(&args.unwrap()).unwrap();
        assert_eq!((args.topic.as_str(), args.records, args.rate), ("t", 7, Some(1000.0)));
        assert_eq!(args.mode, Mode::Future);
        assert!(args.properties.contains(&("linger.ms", "5".to_owned())));
        assert!(args.samples(1), "paced");
    }

    #[test]
    fn unpaced_takes_one_latency_in_16() {
        let args = ProduceArgs::new(&parse("--throughput -1").unwrap()).unwrap();
        let taken: Vec<u64> = (0..40).filter(|index| args.samples(*index)).collect();
        assert_eq!(taken, [0, 16, 32]);
    }

    #[test]
    fn says_what_is_wrong() {
        assert!(parse("produce topic").unwrap_err().contains("\"topic\""));
        assert!(parse("--topic").unwrap_err().contains("--topic needs"));
        let mode = ProduceArgs::new(&parse("--mode base").unwrap()).unwrap_err();
        assert!(mode.contains("base"), "{mode}");
        let count = ConsumeArgs::new(&parse("consume --num-records x").unwrap()).unwrap_err();
        assert!(count.contains("--num-records"), "{count}");
    }
}
