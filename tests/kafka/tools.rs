//! Kafka's command-line tools, run as a user runs them against any cluster.

use std::process::Output;

use tokio::process::Command;
use tokio::time::{Duration, timeout};

use crate::jvm;
use crate::release::Release;
use crate::trouble::Trouble;

const LIMIT: Duration = Duration::from_secs(120);

/// What to write with `kafka-producer-perf-test`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PerfTest<'a> {
    pub(crate) topic: &'a str,
    pub(crate) records: u32,
    /// Bytes of a value.
    pub(crate) size: u32,
    pub(crate) properties: &'a [(&'a str, &'a str)],
}

/// What `TransactionalMessageCopier` copies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CopyTest<'a> {
    /// Its `transactional.id`.
    pub(crate) id: &'a str,
    pub(crate) group: &'a str,
    pub(crate) from: &'a str,
    pub(crate) partition: i32,
    pub(crate) to: &'a str,
    pub(crate) per_transaction: u32,
    /// Such as `--enable-random-aborts`.
    pub(crate) options: &'a [&'a str],
}

impl Release {
    /// Runs `ProducerPerformance` as fast as it goes, and returns its report. A record that was not acknowledged, or
    /// anything else that it complains of, is an error, though the tool itself ends with 0 then.
    pub(crate) async fn producer_performance(
        &self,
        bootstrap: &str,
        test: PerfTest<'_>,
    ) -> Result<String, Trouble> {
        self.producer_performance_with(bootstrap, test, &[]).await
    }

    /// As [`Release::producer_performance`], in transactions of a transactional id that are open for so long.
    pub(crate) async fn transactional_performance(
        &self,
        bootstrap: &str,
        test: PerfTest<'_>,
        (id, open_for): (&str, Duration),
    ) -> Result<String, Trouble> {
        let open_for = open_for.as_millis().to_string();
        let more = ["--transactional-id", id, "--transaction-duration-ms", &open_for];
        self.producer_performance_with(bootstrap, test, &more).await
    }

    async fn producer_performance_with(
        &self,
        bootstrap: &str,
        test: PerfTest<'_>,
        more: &[&str],
    ) -> Result<String, Trouble> {
        let mut command = self.java("org.apache.kafka.tools.ProducerPerformance", "512m");
        command
            .args(more)
            .args(["--topic", test.topic, "--throughput", "-1"])
            .args(["--num-records", &test.records.to_string()])
            .args(["--record-size", &test.size.to_string()])
            .args(["--producer-props", &format!("bootstrap.servers={bootstrap}")])
            .args(test.properties.iter().map(|(name, value)| format!("{name}={value}")));
        let (report, complaints) = run(command).await?;
        let total = format!("{} records sent", test.records);
        let complains = [&report, &complaints].iter().any(|text| text.contains("Exception"));
        if report.lines().any(|line| line.starts_with(&total)) && !complains {
            Ok(report)
        } else {
            Err(format!("ProducerPerformance:\n{report}{}", jvm::excerpt(&complaints)).into())
        }
    }

    /// Reads `count` records of a topic with `kafka-consumer-perf-test`; what it prints.
    pub(crate) async fn consumer_performance(
        &self,
        bootstrap: &str,
        topic: &str,
        count: usize,
    ) -> Result<String, Trouble> {
        let class = if self.at_least(3, 6) {
            "org.apache.kafka.tools.ConsumerPerformance"
        } else {
            "kafka.tools.ConsumerPerformance"
        };
        let number = if self.at_least(4, 2) { "--num-records" } else { "--messages" };
        let mut command = self.java(class, "256m");
        command.args(["--bootstrap-server", bootstrap, "--topic", topic]);
        command.args([number, &count.to_string()]);
        Ok(run(command).await?.0)
    }

    /// Runs `kafka-consumer-groups` with these arguments, separated by blanks; what it prints.
    pub(crate) async fn consumer_groups(
        &self,
        bootstrap: &str,
        arguments: &str,
    ) -> Result<String, Trouble> {
        let class = if self.at_least(3, 8) {
            "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
        } else {
            "kafka.admin.ConsumerGroupCommand"
        };
        let mut command = self.java(class, "256m");
        command.args(["--bootstrap-server", bootstrap]).args(arguments.split_whitespace());
        let (out, err) = run(command).await?;
        // What fails it says among what it logs; its exit code tells of wrong arguments only.
        let said = err.lines().filter(|line| !line.contains("] INFO "));
        Ok(said.fold(out + "\n", |text, line| text + line + "\n"))
    }

    /// Runs `kafka-features upgrade` for one feature. Since 3.9, with this class.
    pub(crate) async fn raise_feature(
        &self,
        bootstrap: &str,
        name: &str,
        level: u16,
    ) -> Result<(), Trouble> {
        let mut command = self.java("org.apache.kafka.tools.FeatureCommand", "256m");
        command.args(["--bootstrap-server", bootstrap, "upgrade", "--feature"]);
        command.arg(format!("{name}={level}"));
        run(command).await.map(drop)
    }

    /// Kafka's `VerifiableConsumer` about to join a group.
    pub(crate) fn verifiable_consumer(
        &self,
        bootstrap: &str,
        topic: &str,
        group: &str,
        more: &[&str],
    ) -> Command {
        let mut command = self.java("org.apache.kafka.tools.VerifiableConsumer", "256m");
        command.args(["--bootstrap-server", bootstrap, "--topic", topic, "--group-id", group]);
        command.args(more);
        command
    }

    /// Runs `TransactionalMessageCopier` until it has copied all that is there when it begins, and returns how many records
    /// it says those were.
    pub(crate) async fn message_copier(
        &self,
        bootstrap: &str,
        copy: CopyTest<'_>,
    ) -> Result<u64, Trouble> {
        let mut command = self.java("org.apache.kafka.tools.TransactionalMessageCopier", "256m");
        command
            .args(["--broker-list", bootstrap, "--transactional-id", copy.id])
            .args(["--input-topic", copy.from, "--input-partition", &copy.partition.to_string()])
            .args(["--output-topic", copy.to, "--consumer-group", copy.group])
            .args(["--transaction-size", &copy.per_transaction.to_string()])
            .args(copy.options);
        let (report, complaints) = run(command).await?;
        // {"transactionalId":"a","stage":"ShutdownComplete","time":"…","totalProcessed":100,…}
        let last = report.lines().rev().find(|line| line.contains("ShutdownComplete"));
        let total = last.and_then(|line| line.split("\"totalProcessed\":").nth(1));
        let total = total.and_then(|rest| rest.split(',').next()?.parse().ok());
        total.ok_or_else(|| {
            format!("TransactionalMessageCopier:\n{report}{}", jvm::excerpt(&complaints)).into()
        })
    }

    /// Reads the first `count` records of a topic's partition 0 with `kafka-console-consumer`, which prints a line for
    /// each: headers, key and value with tabs between.
    pub(crate) async fn console_consumer(
        &self,
        bootstrap: &str,
        topic: &str,
        count: usize,
    ) -> Result<Vec<String>, Trouble> {
        let whole = ["--partition", "0", "--offset", "earliest"];
        self.console(bootstrap, topic, count, &whole, &["headers=true", "key=true"]).await
    }

    /// Reads `count` records of a whole topic with `kafka-console-consumer`: partition, offset and key of each.
    pub(crate) async fn console_keys(
        &self,
        bootstrap: &str,
        topic: &str,
        count: usize,
    ) -> Result<Vec<(i32, i64, String)>, Trouble> {
        let print = ["partition=true", "offset=true", "key=true", "value=false"];
        let lines = self.console(bootstrap, topic, count, &["--from-beginning"], &print).await?;
        let parse = |line: &String| {
            let mut parts = line.split('\t');
            let partition = parts.next()?.strip_prefix("Partition:")?.parse().ok()?;
            let offset = parts.next()?.strip_prefix("Offset:")?.parse().ok()?;
            Some((partition, offset, parts.next()?.to_owned()))
        };
        let parsed = lines.iter().map(|line| {
            parse(line).ok_or_else(|| Trouble::from(format!("what is the line {line:?}?")))
        });
        parsed.collect()
    }

    async fn console(
        &self,
        bootstrap: &str,
        topic: &str,
        count: usize,
        from: &[&str],
        print: &[&str],
    ) -> Result<Vec<String>, Trouble> {
        let class = if self.at_least(3, 8) {
            "org.apache.kafka.tools.consumer.ConsoleConsumer"
        } else {
            "kafka.tools.ConsoleConsumer"
        };
        let property = if self.at_least(4, 2) { "--formatter-property" } else { "--property" };
        let mut command = self.java(class, "256m");
        command.args(["--bootstrap-server", bootstrap, "--topic", topic]).args(from).args([
            "--max-messages",
            &count.to_string(),
            "--timeout-ms",
            "30000",
        ]);
        for print in print {
            command.args([property, &format!("print.{print}")]);
        }
        let (lines, _log) = run(command).await?;
        Ok(lines.lines().map(str::to_owned).collect())
    }
}

/// What the tool wrote to its standard output and standard error.
async fn run(mut command: Command) -> Result<(String, String), Trouble> {
    let output = match timeout(LIMIT, command.output()).await {
        Ok(output) => output.map_err(|e| format!("starting java: {e}"))?,
        Err(_) => return Err(format!("not done in {LIMIT:?}: {command:?}").into()),
    };
    let Output { status, stdout, stderr } = output;
    let out = String::from_utf8_lossy(&stdout).into_owned();
    let err = String::from_utf8_lossy(&stderr).into_owned();
    if status.success() {
        Ok((out, err))
    } else {
        Err(format!("{status}:\n{out}{}", jvm::excerpt(&err)).into())
    }
}
