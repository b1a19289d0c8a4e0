//! The figures of a run and the lines that tell them, as Kafka's tool counts and prints. Times are handed in, in
//! milliseconds.

/// So many latencies are kept at most, about; the others are left out evenly.
const MOST_SAMPLES: u64 = 500_000;

const PERCENTILES: [f64; 4] = [0.5, 0.95, 0.99, 0.999];

#[derive(Debug)]
pub(crate) struct Stats {
    start: i64,
    all: Sum,
    window_start: i64,
    window: Sum,
    interval: i64,
    /// Every so-manieth latency is kept.
    sampling: u64,
    latencies: Vec<u32>,
    steady_state: bool,
    silent: bool,
}

#[derive(Debug, Default, Clone, Copy)]
struct Sum {
    records: u64,
    bytes: u64,
    latency: u64,
    max_latency: u32,
}

impl Sum {
    fn add(&mut self, latency: u32, bytes: usize) {
        self.records += 1;
        self.bytes += bytes as u64;
        self.latency += u64::from(latency);
        self.max_latency = self.max_latency.max(latency);
    }

    fn average(&self) -> f64 {
        self.latency as f64 / self.records as f64
    }

    fn records_per_second(&self, elapsed: i64) -> f64 {
        1000.0 * self.records as f64 / elapsed as f64
    }

    fn megabytes_per_second(&self, elapsed: i64) -> f64 {
        1000.0 * self.bytes as f64 / elapsed as f64 / (1024.0 * 1024.0)
    }
}

impl Stats {
    /// For `records` (at least one) expected records, with a line after each `interval` milliseconds.
    pub(crate) fn new(records: u64, now: i64, interval: i64) -> Self {
        let sampling = records / records.min(MOST_SAMPLES);
        let kept = usize::try_from(records / sampling + 1).unwrap_or(0);
        Self {
            start: now,
            all: Sum::default(),
            window_start: now,
            window: Sum::default(),
            interval,
            sampling,
            latencies: Vec::with_capacity(kept),
            steady_state: false,
            silent: false,
        }
    }

    /// The same, named as those of the time after the warm-up.
    pub(crate) fn of_steady_state(self) -> Self {
        Self { steady_state: true, ..self }
    }

    /// Gives no more lines for intervals.
    pub(crate) fn silence(&mut self) {
        self.silent = true;
    }

    /// Counts a record, and gives what to print if an interval is over.
    pub(crate) fn record(&mut self, latency: u32, bytes: usize, now: i64) -> Option<String> {
        if self.all.records.is_multiple_of(self.sampling) {
            self.latencies.push(latency);
        }
        self.all.add(latency, bytes);
        self.window.add(latency, bytes);
        let elapsed = now - self.window_start;
        if elapsed < self.interval {
            return None;
        }
        let first = self.all.records == self.window.records;
        let window = std::mem::take(&mut self.window);
        self.window_start = now;
        let announcement = if self.steady_state && first { "In steady state.\n" } else { "" };
        (!self.silent).then(|| format!("{announcement}{}", interval_line(&window, elapsed)))
    }

    /// The last line.
    pub(crate) fn total(&mut self, now: i64) -> String {
        self.latencies.sort_unstable();
        let [p50, p95, p99, p999] = PERCENTILES.map(|p| percentile(&self.latencies, p));
        let elapsed = now - self.start;
        format!(
            "{}{} records sent, {} records/sec ({} MB/sec), {} ms avg latency, {} ms max latency, \
             {p50} ms 50th, {p95} ms 95th, {p99} ms 99th, {p999} ms 99.9th.",
            self.all.records,
            if self.steady_state { " steady state" } else { "" },
            decimal(self.all.records_per_second(elapsed), 6),
            decimal(self.all.megabytes_per_second(elapsed), 2),
            decimal(self.all.average(), 2),
            decimal(f64::from(self.all.max_latency), 2),
        )
    }
}

fn interval_line(window: &Sum, elapsed: i64) -> String {
    format!(
        "{} records sent, {} records/sec ({} MB/sec), {} ms avg latency, {} ms max latency.",
        window.records,
        decimal(window.records_per_second(elapsed), 1),
        decimal(window.megabytes_per_second(elapsed), 2),
        decimal(window.average(), 1),
        decimal(f64::from(window.max_latency), 1),
    )
}

/// The latency at `part` of the sorted ones, rounding down; 0 if there are none.
fn percentile(sorted: &[u32], part: f64) -> u32 {
    let index = (part * sorted.len() as f64) as usize;
    sorted.get(index).copied().unwrap_or(0)
}

/// As Java's `%.nf`.
fn decimal(value: f64, places: usize) -> String {
    if value.is_infinite() { "Infinity".to_owned() } else { format!("{value:.places$}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_at_the_index_rounded_down() {
        let sorted: Vec<u32> = (0..1000).collect();
        assert_eq!(PERCENTILES.map(|p| percentile(&sorted, p)), [500, 950, 990, 999]);
        assert_eq!(PERCENTILES.map(|p| percentile(&[7, 8, 9], p)), [8, 9, 9, 9]);
        assert_eq!(PERCENTILES.map(|p| percentile(&[7], p)), [7; 4]);
        assert_eq!(percentile(&[], 0.5), 0);
    }

    #[test]
    fn keeps_every_latency_up_to_half_a_million_and_then_every_nth() {
        for (records, sampling) in
            [(1, 1), (500_000, 1), (999_999, 1), (1_000_000, 2), (1_400_000, 2), (5_000_000, 10)]
        {
            assert_eq!(Stats::new(records, 0, 1).sampling, sampling, "{records}");
        }
        let mut stats = Stats::new(1_500_000, 0, i64::MAX);
        for latency in 0..10 {
            stats.record(latency, 1, 0);
        }
        assert_eq!(stats.latencies, [0, 3, 6, 9]);
    }

    #[test]
    fn tells_an_interval_and_begins_the_next() {
        let mut stats = Stats::new(10, 1000, 5000);
        assert_eq!(stats.record(3, 1_048_576, 5999), None);
        assert_eq!(
            stats.record(4, 1_048_576, 6000).unwrap(),
            "2 records sent, 0.4 records/sec (0.40 MB/sec), 3.5 ms avg latency, 4.0 ms max latency."
        );
        assert_eq!(stats.record(1, 0, 10_999), None);
        assert_eq!(
            stats.record(2, 0, 11_000).unwrap(),
            "2 records sent, 0.4 records/sec (0.00 MB/sec), 1.5 ms avg latency, 2.0 ms max latency."
        );
    }

    #[test]
    fn the_total_is_kafkas_line() {
        let mut stats = Stats::new(10, 1000, i64::MAX);
        for latency in [1, 2, 3, 4, 10] {
            stats.record(latency, 209_715, 1000);
        }
        assert_eq!(
            stats.total(3000),
            "5 records sent, 2.500000 records/sec (0.50 MB/sec), 4.00 ms avg latency, \
             10.00 ms max latency, 3 ms 50th, 10 ms 95th, 10 ms 99th, 10 ms 99.9th."
        );
    }

    /// As Java prints it, having seen no record acknowledged.
    #[test]
    fn the_total_of_nothing() {
        assert_eq!(
            Stats::new(2, 0, 1).total(300),
            "0 records sent, 0.000000 records/sec (0.00 MB/sec), NaN ms avg latency, \
             0.00 ms max latency, 0 ms 50th, 0 ms 95th, 0 ms 99th, 0 ms 99.9th."
        );
        let mut at_once = Stats::new(2, 0, 1000);
        at_once.record(0, 1, 0);
        assert!(
            at_once.total(0).starts_with("1 records sent, Infinity records/sec (Infinity MB/sec)")
        );
    }

    #[test]
    fn steady_state_is_announced_and_named_and_silences_the_whole() {
        let mut all = Stats::new(10, 0, 100);
        all.silence();
        assert_eq!(all.record(1, 1, 200), None);
        let mut steady = Stats::new(8, 0, 100).of_steady_state();
        let first = steady.record(1, 1, 100).unwrap();
        assert!(first.starts_with("In steady state.\n1 records sent, 10.0 records/sec"), "{first}");
        let second = steady.record(1, 1, 200).unwrap();
        assert!(second.starts_with("1 records sent"), "{second}");
        assert!(
            steady.total(200).starts_with("2 steady state records sent, 10.000000 records/sec")
        );
    }
}
