//! What was consumed by when, and the rows that tell it.

use std::sync::Arc;

use milena::{Clock, ConsumerHandle, RebalanceListener, SystemClock, TopicPartition};
use parking_lot::Mutex;

use crate::date::DateFormat;

const MIB: f64 = 1024.0 * 1024.0;

/// The header of the total, or of the rows of intervals.
pub(crate) fn header(detailed: bool) -> String {
    let times = if detailed { "time, threadId" } else { "start.time, end.time" };
    format!(
        "{times}, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms, fetch.time.ms, \
         fetch.MB.sec, fetch.nMsg.sec"
    )
}

/// How much was consumed by some time, in milliseconds since the epoch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Progress {
    pub(crate) at: i64,
    pub(crate) bytes: u64,
    pub(crate) records: u64,
}

/// The row of the whole run.
pub(crate) fn total(start: i64, end: Progress, rebalance: i64, dates: &DateFormat) -> String {
    let (took, fetch) = (end.at - start, end.at - start - rebalance);
    let (mib, records) = (end.bytes as f64 / MIB, end.records as f64);
    let seconds = |millis: i64| millis as f64 / 1000.0;
    format!(
        "{}, {}, {}, {}, {}, {}, {rebalance}, {fetch}, {}, {}",
        dates.format(start),
        dates.format(end.at),
        number(mib),
        number(mib / seconds(took)),
        end.records,
        number(records / seconds(took)),
        number(mib / seconds(fetch)),
        number(records / seconds(fetch)),
    )
}

/// The row of an interval: what was consumed in all, and how fast in the interval.
pub(crate) fn interval(
    last: Progress,
    now: Progress,
    rebalance: i64,
    dates: &DateFormat,
) -> String {
    let (took, fetch) = (now.at - last.at, now.at - last.at - rebalance);
    let mib = (now.bytes - last.bytes) as f64 / MIB;
    let records = (now.records - last.records) as f64;
    let per_second = |amount: f64, millis: i64| 1000.0 * amount / millis as f64;
    let fetched = |amount: f64| if fetch <= 0 { 0.0 } else { per_second(amount, fetch) };
    format!(
        "{}, 0, {}, {}, {}, {}, {rebalance}, {fetch}, {}, {}",
        dates.format(now.at),
        number(now.bytes as f64 / MIB),
        number(per_second(mib, took)),
        now.records,
        number(per_second(records, took)),
        number(fetched(mib)),
        number(fetched(records)),
    )
}

/// As Java prints it.
fn number(value: f64) -> String {
    if value.is_infinite() { "Infinity".to_owned() } else { format!("{value:.4}") }
}

/// How long the consumer had no partitions.
#[derive(Debug, Clone)]
pub(crate) struct Joins(Arc<Mutex<Joining>>);

#[derive(Debug)]
struct Joining {
    /// Since when there have been none, in milliseconds since the epoch.
    since: Option<i64>,
    assigned: usize,
    total: i64,
    of_interval: i64,
}

impl Joins {
    pub(crate) fn new(start: i64) -> Self {
        let joining = Joining { since: Some(start), assigned: 0, total: 0, of_interval: 0 };
        Self(Arc::new(Mutex::new(joining)))
    }

    pub(crate) fn total(&self) -> i64 {
        self.0.lock().total
    }

    /// The time within the interval that ends now.
    pub(crate) fn take_interval(&self) -> i64 {
        std::mem::take(&mut self.0.lock().of_interval)
    }

    fn assigned(&self, count: usize, now: i64) {
        let mut joining = self.0.lock();
        joining.assigned += count;
        if let Some(since) = joining.since.take_if(|_| count > 0) {
            joining.total += now - since;
            joining.of_interval += now - since;
        }
    }

    fn revoked(&self, count: usize, now: i64) {
        let mut joining = self.0.lock();
        joining.assigned = joining.assigned.saturating_sub(count);
        if joining.assigned == 0 {
            joining.since.get_or_insert(now);
        }
    }
}

impl RebalanceListener for Joins {
    async fn on_partitions_assigned(&mut self, _: &ConsumerHandle, partitions: &[TopicPartition]) {
        self.assigned(partitions.len(), SystemClock.now_millis());
    }

    async fn on_partitions_revoked(&mut self, _: &ConsumerHandle, partitions: &[TopicPartition]) {
        self.revoked(partitions.len(), SystemClock.now_millis());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_the_columns_of_their_header() {
        let dates = DateFormat::new("HH:mm:ss:SSS").unwrap();
        let at = |at, mib: u64, records| Progress { at, bytes: mib * 1024 * 1024, records };
        let row = total(1000, at(3000, 8, 400), 1000, &dates);
        assert_eq!(
            row,
            "00:00:01:000, 00:00:03:000, 8.0000, 4.0000, 400, 200.0000, 1000, 1000, 8.0000, 400.0000"
        );
        let row_of_interval = interval(at(1000, 2, 100), at(3000, 8, 400), 0, &dates);
        assert_eq!(
            row_of_interval,
            "00:00:03:000, 0, 8.0000, 3.0000, 400, 150.0000, 0, 2000, 3.0000, 150.0000"
        );
        for (row, detailed) in [(row, false), (row_of_interval, true)] {
            assert_eq!(row.split(", ").count(), header(detailed).split(", ").count());
        }
        let nothing = interval(at(1000, 0, 0), at(2000, 0, 0), 1000, &dates);
        assert!(nothing.ends_with("1000, 0, 0.0000, 0.0000"), "{nothing}");
        assert!(total(5, at(5, 1, 1), 0, &dates).contains("Infinity"));
    }

    #[test]
    fn rebalance_time_is_time_without_partitions() {
        let joins = Joins::new(100);
        joins.assigned(0, 150);
        joins.assigned(2, 300);
        assert_eq!((joins.total(), joins.take_interval(), joins.take_interval()), (200, 200, 0));
        // One of two is taken away, then both.
        joins.revoked(1, 400);
        joins.assigned(1, 450);
        joins.revoked(2, 500);
        joins.assigned(1, 530);
        assert_eq!((joins.total(), joins.take_interval()), (230, 30));
    }
}
