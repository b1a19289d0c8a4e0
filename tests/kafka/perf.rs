//! Our `producer_perf` as a user runs it, a process of its own: its lines as they come, and what it takes of the machine,
//! as the system counts it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{OnceCell, watch};
use tokio::task::JoinHandle;
use tokio::time::{Duration, timeout};

use crate::trouble::Trouble;

/// The first one builds it, with little of a busy machine.
const BUILD_LIMIT: Duration = Duration::from_secs(170);
/// Of a core's time, as `/proc` counts it on every Linux.
const TICK: Duration = Duration::from_millis(10);

/// A running `producer_perf`. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Perf {
    child: Child,
    lines: Arc<Mutex<Vec<Line>>>,
    count: watch::Receiver<usize>,
    readers: [JoinHandle<()>; 2],
}

/// A line of its standard output or error.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) text: String,
}

impl Perf {
    /// Starts it with these arguments, separated by blanks.
    pub(crate) async fn start(arguments: &str) -> Self {
        let mut child = Command::new(program().await)
            .args(arguments.split_whitespace())
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = Arc::default();
        let (counter, count) = watch::channel(0);
        let out =
            tokio::spawn(read(child.stdout.take().unwrap(), Arc::clone(&lines), counter.clone()));
        let err = tokio::spawn(read(child.stderr.take().unwrap(), Arc::clone(&lines), counter));
        Self { child, lines, count, readers: [out, err] }
    }

    /// Runs it to its end, and gives all it wrote. That it says of itself that it failed is a failure.
    pub(crate) async fn run(arguments: &str, within: Duration) -> Vec<Line> {
        let (status, lines) = Self::start(arguments).await.ended(within).await;
        assert!(status.success(), "{status}\n{}", text(&lines));
        lines
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ended(mut self, within: Duration) -> (ExitStatus, Vec<Line>) {
        let Ok(status) = timeout(within, self.child.wait()).await else {
            panic!("producer_perf has not ended in {within:?}:\n{}", text(&self.lines()));
        };
        for reader in &mut self.readers {
            reader.await.unwrap();
        }
        (status.unwrap(), self.lines())
    }

    /// What it wrote so far.
    pub(crate) fn lines(&self) -> Vec<Line> {
        self.lines.lock().clone()
    }

    /// Waits until what it wrote is as `wanted`.
    pub(crate) async fn until(&mut self, within: Duration, wanted: impl Fn(&[Line]) -> bool) {
        let lines = Arc::clone(&self.lines);
        let waited = timeout(within, self.count.wait_for(|_| wanted(&lines.lock()))).await;
        let good = matches!(waited, Ok(Ok(_)));
        drop(waited);
        assert!(good, "not in {within:?}, or not before its end:\n{}", text(&self.lines()));
    }

    /// The time of a core that it has taken so far.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(self.proc("stat")).unwrap();
        // The name of the program, in parentheses, may hold anything.
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let field = |at: usize| -> u32 { fields.split(' ').nth(at).unwrap().parse().unwrap() };
        let (user, system) = (field(11), field(12));
        TICK * (user + system)
    }

    /// The most memory that it has had at a time, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(self.proc("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        kilobytes * 1024
    }

    fn proc(&self, file: &str) -> PathBuf {
        let id = self.child.id().expect("producer_perf is running");
        Path::new("/proc").join(id.to_string()).join(file)
    }
}

async fn read(
    from: impl AsyncRead + Unpin,
    lines: Arc<Mutex<Vec<Line>>>,
    count: watch::Sender<usize>,
) {
    let mut from = BufReader::new(from).lines();
    while let Some(text) = from.next_line().await.unwrap() {
        lines.lock().push(Line { text });
        count.send_modify(|count| *count += 1);
    }
}

/// All lines, for a failure to show.
pub(crate) fn text(lines: &[Line]) -> String {
    lines.iter().flat_map(|line| [line.text.as_str(), "\n"]).collect()
}

/// The lines that are as `pattern` says, each with the numbers in the places of its `{}`.
pub(crate) fn matching<'a>(lines: &'a [Line], pattern: &str) -> Vec<(&'a Line, Vec<f64>)> {
    lines.iter().filter_map(|line| Some((line, numbers(pattern, &line.text)?))).collect()
}

/// The numbers in the places where `pattern` has `{}`, if `text` starts like it; with `$` at its end, if it is like it.
pub(crate) fn numbers(pattern: &str, text: &str) -> Option<Vec<f64>> {
    let (pattern, whole) = match pattern.strip_suffix('$') {
        Some(pattern) => (pattern, true),
        None => (pattern, false),
    };
    let mut parts = pattern.split("{}");
    let mut rest = text.strip_prefix(parts.next()?)?;
    let mut numbers = Vec::new();
    for part in parts {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        // A full stop after a number is not of the number.
        let digits = rest[..digits].trim_end_matches('.').len();
        numbers.push(rest[..digits].parse().ok()?);
        rest = rest[digits..].strip_prefix(part)?;
    }
    (!whole || rest.is_empty()).then_some(numbers)
}

/// The numbers of the last line of a run: records, records/s, MB/s, average and maximum of the latency in ms, and four
/// percentiles.
pub(crate) fn totals(lines: &[Line]) -> Vec<f64> {
    let pattern = "{} records sent, {} records/sec ({} MB/sec), {} ms avg latency, {} ms max latency, \
                   {} ms 50th, {} ms 95th, {} ms 99th, {} ms 99.9th.$";
    let mut found = matching(lines, pattern);
    assert_eq!(found.len(), 1, "one line of totals is wanted:\n{}", text(lines));
    found.remove(0).1
}

/// Where it is, in the profile of this test; built once.
async fn program() -> &'static Path {
    static PROGRAM: OnceCell<PathBuf> = OnceCell::const_new();
    PROGRAM.get_or_init(|| async { build().await.unwrap() }).await
}

async fn build() -> Result<PathBuf, Trouble> {
    let mut command = Command::new(env!("CARGO"));
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["build", "--quiet", "--example", "producer_perf"])
        .arg("--message-format=json-render-diagnostics")
        .args((!cfg!(debug_assertions)).then_some("--release"))
        .kill_on_drop(true);
    let output = timeout(BUILD_LIMIT, command.output()).await.map_err(|e| e.to_string())?;
    let output = output.map_err(|e| format!("running cargo: {e}"))?;
    let told = String::from_utf8_lossy(&output.stdout);
    let messages = told.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut executables =
        messages.filter_map(|message| message["executable"].as_str().map(PathBuf::from));
    let executable = executables.next_back();
    match executable.filter(|_| output.status.success()) {
        Some(path) => Ok(path),
        None => {
            Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)).into())
        }
    }
}
