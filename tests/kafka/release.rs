//! A Kafka release made ready to run: its jars, and the Java sources next to this file compiled against them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use tokio::process::Command;

use crate::cache;
use crate::trouble::Trouble;

const JAVA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka/java");

const SOURCES: [&str; 4] = ["Members", "Node", "Oracle", "Transactions"];

/// A log says when; and not, for every client and node, each property with its value.
const LOGGING: [(&str, &str); 7] = [
    ("showDateTime", "true"),
    ("dateTimeFormat", "HH:mm:ss.SSS"),
    ("log.kafka.server.KafkaConfig", "warn"),
    ("log.org.apache.kafka.clients.admin.AdminClientConfig", "warn"),
    ("log.org.apache.kafka.clients.consumer.ConsumerConfig", "warn"),
    ("log.org.apache.kafka.clients.producer.ProducerConfig", "warn"),
    ("log.org.apache.kafka.common.config.AbstractConfig", "warn"),
];

/// A release's number, such as 3.3.2.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(Vec<u32>);

impl FromStr for Version {
    type Err = Trouble;

    fn from_str(text: &str) -> Result<Self, Trouble> {
        let numbers: Result<Vec<u32>, _> = text.trim().split('.').map(str::parse).collect();
        match numbers {
            Ok(numbers) if numbers.len() == 3 => Ok(Self(numbers)),
            _ => Err(format!(
                "{text:?} is no release of Kafka: three numbers are wanted, such as 4.3.1"
            )
            .into()),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<String> = self.0.iter().map(u32::to_string).collect();
        f.write_str(&numbers.join("."))
    }
}

impl Version {
    /// Whether this is release `major.minor` or a newer one.
    pub(crate) fn at_least(&self, major: u32, minor: u32) -> bool {
        self.0.as_slice() >= [major, minor].as_slice()
    }
}

/// A release that is ready to run.
#[derive(Debug)]
pub(crate) struct Release {
    version: Version,
    class_path: String,
}

impl Release {
    /// Fetches the jars of `version` unless they are there, and compiles the helpers into `scratch`.
    pub(crate) async fn prepare(version: &Version, scratch: &Path) -> Result<Self, Trouble> {
        let jars = cache::jars(&version.to_string())?;
        let jars = format!("{}/*", jars.display());
        let classes = scratch.join("classes");
        compile(&jars, &classes).await?;
        Ok(Self { version: version.clone(), class_path: format!("{}:{jars}", classes.display()) })
    }

    /// Whether this is release `major.minor` or a newer one.
    pub(crate) fn at_least(&self, major: u32, minor: u32) -> bool {
        self.version.at_least(major, minor)
    }

    /// Java about to run a class of this release, with at most `heap` of memory (`256m`).
    pub(crate) fn java(&self, class: &str, heap: &str) -> Command {
        let mut command = Command::new(jdk_tool("java"));
        command
            .arg(format!("-Xmx{heap}"))
            // These processes are many and short-lived: what they need is a quick start.
            .args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
            .args(LOGGING.map(|(name, value)| format!("-Dorg.slf4j.simpleLogger.{name}={value}")))
            .args(["-cp", &self.class_path, class])
            .kill_on_drop(true);
        command
    }
}

async fn compile(jars: &str, classes: &Path) -> Result<(), Trouble> {
    let output = Command::new(jdk_tool("javac"))
        .args(["-cp", jars, "-d"])
        .arg(classes)
        .args(SOURCES.map(|name| format!("{JAVA}/{name}.java")))
        .output()
        .await
        .map_err(|e| {
            format!("running javac: {e}; tests against real Kafka need a JDK 17 or newer")
        })?;
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("javac failed:\n{}", String::from_utf8_lossy(&output.stderr)).into())
    }
}

fn jdk_tool(name: &str) -> PathBuf {
    match std::env::var_os("JAVA_HOME") {
        Some(home) => Path::new(&home).join("bin").join(name),
        None => name.into(),
    }
}
