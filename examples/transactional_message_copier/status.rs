//! How far the copy is, and the lines that tell it.

use std::io::{self, Write};

use milena::{Clock, SystemClock};
use parking_lot::Mutex;
use serde_json::json;

use crate::date::DateFormat;

/// Shared by the loop and what listens to rebalances.
#[derive(Debug)]
pub(crate) struct Status {
    transactional_id: String,
    counts: Mutex<Counts>,
    /// What kept a rebalance from being counted.
    failure: Mutex<Option<milena::ConsumerError>>,
    time: DateFormat,
}

#[derive(Debug, Clone, Copy)]
struct Counts {
    total: i64,
    since_rebalance: i64,
    remaining: i64,
}

/// What a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    ProcessLoop,
    RebalanceComplete,
    ShutdownComplete,
}

impl Status {
    pub(crate) fn new(transactional_id: &str, remaining: i64) -> Result<Self, String> {
        Ok(Self {
            transactional_id: transactional_id.to_owned(),
            counts: Mutex::new(Counts { total: 0, since_rebalance: 0, remaining }),
            failure: Mutex::new(None),
            time: DateFormat::new("yyyy/MM/dd HH:mm:ss:SSS")?,
        })
    }

    pub(crate) fn remaining(&self) -> i64 {
        self.counts.lock().remaining
    }

    /// No more than this many are left.
    pub(crate) fn at_most(&self, remaining: i64) {
        let mut counts = self.counts.lock();
        counts.remaining = counts.remaining.min(remaining);
    }

    /// The partitions are others: this many are left in them.
    pub(crate) fn rebalanced(&self, remaining: i64) {
        let mut counts = self.counts.lock();
        *counts = Counts { since_rebalance: 0, remaining, ..*counts };
    }

    pub(crate) fn rebalance_failed(&self, error: milena::ConsumerError) {
        *self.failure.lock() = Some(error);
    }

    /// Whether that went well.
    pub(crate) fn check(&self) -> Result<(), milena::ConsumerError> {
        self.failure.lock().take().map_or(Ok(()), Err)
    }

    /// A transaction of this many was committed.
    pub(crate) fn committed(&self, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let mut counts = self.counts.lock();
        counts.total += count;
        counts.since_rebalance += count;
        counts.remaining -= count;
    }

    /// Prints a line. Nobody who reads it is left when that fails, so there is nothing to go on for.
    #[allow(clippy::print_stderr, reason = "it is where a tool says what is wrong")]
    pub(crate) fn print(&self, stage: Stage) {
        let line = self.line(stage, SystemClock.now_millis());
        if let Err(error) = writeln!(io::stdout(), "{line}") {
            eprintln!("standard output: {error}");
            std::process::exit(1);
        }
    }

    /// As Kafka's tool prints it, in the order of its properties.
    fn line(&self, stage: Stage, now: i64) -> String {
        let Counts { total, since_rebalance, remaining } = *self.counts.lock();
        let (id, time) = (json!(self.transactional_id), self.time.format(now));
        format!(
            "{{\"transactionalId\":{id},\"stage\":\"{stage:?}\",\"time\":\"{time}\",\"totalProcessed\":{total},\
             \"consumed\":{since_rebalance},\"remaining\":{remaining}}}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_kafkas_tool() {
        let status = Status::new("copier-\"1\"", 100).unwrap();
        status.committed(30);
        status.rebalanced(50);
        status.committed(20);
        status.at_most(31);
        let line = status.line(Stage::ProcessLoop, 951_827_696_789);
        assert_eq!(
            line,
            r#"{"transactionalId":"copier-\"1\"","stage":"ProcessLoop","time":"2000/02/29 12:34:56:789","totalProcessed":50,"consumed":20,"remaining":30}"#
        );
        assert!(status.line(Stage::ShutdownComplete, 0).contains(r#""stage":"ShutdownComplete""#));
        assert!(
            status.line(Stage::RebalanceComplete, 0).contains(r#""stage":"RebalanceComplete""#)
        );
    }
}
