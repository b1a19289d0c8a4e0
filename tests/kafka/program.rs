//! A program as a user runs it, one of our examples or one of Kafka's tools: its lines as they come, and what it takes of
//! the machine, as the system counts it.

use std::collections::BTreeMap;
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

/// The first one builds them, with little of a busy machine.
const BUILD_LIMIT: Duration = Duration::from_secs(170);
/// Of a core's time, as `/proc` counts it on every Linux.
const TICK: Duration = Duration::from_millis(10);

/// A running program. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Program {
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

impl Program {
    /// Starts one of our examples with these arguments, separated by blanks.
    pub(crate) async fn example(name: &str, arguments: &str) -> Self {
        let mut command = Command::new(example(name).await);
        command.args(arguments.split_whitespace()).env_remove("RUST_LOG");
        Self::start(command)
    }

    /// Starts anything.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command
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

    /// Waits until it has ended by itself, and gives all it wrote. That it says of itself that it failed is a failure.
    pub(crate) async fn succeeded(self, within: Duration) -> Vec<Line> {
        let (status, lines) = self.ended(within).await;
        assert!(status.success(), "{status}\n{}", text(&lines));
        lines
    }

    /// Asks it to end, as Ctrl-C does.
    pub(crate) async fn interrupt(&self) {
        self.signal("INT").await;
    }

    /// Sends it a signal by its name, such as `STOP` or `CONT`.
    pub(crate) async fn signal(&self, name: &str) {
        let id = self.child.id().expect("it is running").to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status().await.unwrap();
        assert!(sent.success(), "kill -s {name} {id}: {sent}");
    }

    /// Whether it has not ended by itself yet.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Kills it as `kill -9` does, and gives all it wrote.
    pub(crate) async fn kill(&mut self) -> Vec<Line> {
        // One that has just ended by itself is as gone as one that was killed.
        let _ = self.child.kill().await;
        for reader in &mut self.readers {
            reader.await.unwrap();
        }
        self.lines()
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ended(mut self, within: Duration) -> (ExitStatus, Vec<Line>) {
        let Ok(status) = timeout(within, self.child.wait()).await else {
            panic!("it has not ended in {within:?}:\n{}", text(&self.lines()));
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
        let id = self.child.id().expect("it is running");
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

/// Where an example is, in the profile of this test. `cargo test` has built all of them already, unless it was told to
/// build this test only.
async fn example(name: &str) -> PathBuf {
    static BUILT: OnceCell<BTreeMap<String, PathBuf>> = OnceCell::const_new();
    let built = BUILT.get_or_init(|| async { build().await.unwrap() }).await;
    built.get(name).unwrap_or_else(|| panic!("no example {name}")).clone()
}

async fn build() -> Result<BTreeMap<String, PathBuf>, Trouble> {
    let mut command = Command::new(env!("CARGO"));
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["build", "--quiet", "--examples", "--message-format=json-render-diagnostics"])
        .args((!cfg!(debug_assertions)).then_some("--release"))
        .kill_on_drop(true);
    let output = timeout(BUILD_LIMIT, command.output()).await.map_err(|e| e.to_string())?;
    let output = output.map_err(|e| format!("running cargo: {e}"))?;
    if !output.status.success() {
        let complaints = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{}: {complaints}", output.status).into());
    }
    let told = String::from_utf8_lossy(&output.stdout);
    let messages = told.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let built = messages.filter_map(|message| {
        let executable = PathBuf::from(message["executable"].as_str()?);
        Some((message["target"]["name"].as_str()?.to_owned(), executable))
    });
    Ok(built.collect())
}
