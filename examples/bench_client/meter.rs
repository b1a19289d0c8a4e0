//! Time and CPU of the measured part, and the line of JSON that tells them.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use crate::histogram::Histogram;

/// What the process has used so far.
#[derive(Debug, Default, Clone, Copy)]
struct Usage {
    user: Duration,
    system: Duration,
    max_rss_kb: i64,
}

impl Usage {
    #[cfg(unix)]
    fn now() -> Self {
        use nix::sys::resource::{UsageWho, getrusage};
        let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return Self::default() };
        let duration = |time: nix::sys::time::TimeVal| {
            Duration::from_micros(time.tv_sec() as u64 * 1_000_000 + time.tv_usec() as u64)
        };
        Self {
            user: duration(usage.user_time()),
            system: duration(usage.system_time()),
            // Bytes on one system, kilobytes on the others.
            max_rss_kb: usage.max_rss() / if cfg!(target_os = "macos") { 1024 } else { 1 },
        }
    }

    /// Not known here; shown as zero.
    #[cfg(not(unix))]
    fn now() -> Self {
        Self::default()
    }
}

#[derive(Debug)]
pub(crate) struct Meter {
    start: Instant,
    before: Usage,
}

impl Meter {
    pub(crate) fn start() -> Self {
        let before = Usage::now();
        Self { start: Instant::now(), before }
    }

    pub(crate) fn stop(self, mode: &'static str, counts: Counts) -> Measured {
        let elapsed = self.start.elapsed();
        Measured { mode, counts, elapsed, before: self.before, after: Usage::now() }
    }
}

/// What came about meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) records: u64,
    /// Bytes of values.
    pub(crate) bytes: u64,
    pub(crate) errors: u64,
    pub(crate) latencies: Histogram,
}

/// The result; displays as one line of JSON.
#[derive(Debug)]
pub(crate) struct Measured {
    mode: &'static str,
    counts: Counts,
    elapsed: Duration,
    before: Usage,
    after: Usage,
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mode, counts, elapsed, before, after } = self;
        let seconds = elapsed.as_secs_f64();
        let latencies = &counts.latencies;
        let since = |before: Duration, after: Duration| after.saturating_sub(before).as_secs_f64();
        write!(f, "{{\"client\":\"milena\",\"version\":\"{}\",", env!("CARGO_PKG_VERSION"))?;
        write!(f, "\"mode\":\"{mode}\",\"records\":{},\"seconds\":{seconds:.4},", counts.records)?;
        write!(f, "\"rps\":{:.0},", counts.records as f64 / seconds)?;
        write!(f, "\"mb_s\":{:.2},", counts.bytes as f64 / 1e6 / seconds)?;
        write!(f, "\"lat_avg_ms\":{:.3},", latencies.average())?;
        for (name, part) in [("lat_p50_ms", 0.5), ("p99", 0.99), ("p999", 0.999)] {
            write!(f, "\"{name}\":{:.3},", latencies.quantile(part))?;
        }
        write!(f, "\"max\":{:.3},\"lat_samples\":{},", latencies.max(), latencies.count)?;
        write!(f, "\"errors\":{},", counts.errors)?;
        write!(f, "\"cpu_user_s\":{:.3},", since(before.user, after.user))?;
        write!(f, "\"cpu_sys_s\":{:.3},", since(before.system, after.system))?;
        write!(f, "\"proc_cpu_s\":{:.3},", (after.user + after.system).as_secs_f64())?;
        write!(f, "\"max_rss_kb\":{}}}", after.max_rss_kb)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_has_every_figure() {
        let mut latencies = Histogram::default();
        latencies.add(Duration::from_micros(63));
        let usage = |millis, max_rss_kb| Usage {
            user: Duration::from_millis(millis),
            system: Duration::from_millis(millis * 2),
            max_rss_kb,
        };
        let measured = Measured {
            mode: "fire",
            counts: Counts { records: 1000, bytes: 3_000_000, errors: 2, latencies },
            elapsed: Duration::from_millis(500),
            before: usage(10, 7),
            after: usage(30, 9),
        };
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(
            measured.to_string(),
            format!(
                "{{\"client\":\"milena\",\"version\":\"{version}\",\"mode\":\"fire\",\"records\":1000,\
                 \"seconds\":0.5000,\"rps\":2000,\"mb_s\":6.00,\"lat_avg_ms\":0.063,\"lat_p50_ms\":0.063,\
                 \"p99\":0.063,\"p999\":0.063,\"max\":0.063,\"lat_samples\":1,\"errors\":2,\
                 \"cpu_user_s\":0.020,\"cpu_sys_s\":0.040,\"proc_cpu_s\":0.090,\"max_rss_kb\":9}}"
            )
        );
    }

    #[cfg(unix)]
    #[test]
    fn cpu_and_memory_are_seen() {
        let before = Usage::now();
        assert!(before.max_rss_kb > 500, "{before:?}");
        let start = Instant::now();
        let mut spun = 0_u64;
        while start.elapsed() < Duration::from_millis(30) {
            spun = std::hint::black_box(spun + 1);
        }
        let after = Usage::now();
        assert!(after.user + after.system > before.user + before.system, "{before:?} {after:?}");
    }
}
