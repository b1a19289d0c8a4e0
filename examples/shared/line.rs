//! The lines of Kafka's verifiable clients: one JSON object each, its properties in the order in which those print them.

use std::fmt;
use std::io::{self, Write};

use serde_json::Value;

/// An event, and when it came about, in milliseconds since the epoch.
pub(crate) struct Line {
    pub(crate) timestamp: i64,
    pub(crate) name: &'static str,
    pub(crate) properties: Vec<(&'static str, Value)>,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{\"timestamp\":{},\"name\":\"{}\"", self.timestamp, self.name)?;
        for (name, value) in &self.properties {
            write!(f, ",\"{name}\":{value}")?;
        }
        f.write_str("}")
    }
}

/// Prints a line. Nobody who reads it is left when that fails, so there is nothing to go on for.
#[allow(clippy::print_stderr, reason = "it is where a tool says what is wrong")]
pub(crate) fn print(line: &Line) {
    if let Err(error) = writeln!(io::stdout(), "{line}") {
        eprintln!("standard output: {error}");
        std::process::exit(1);
    }
}
