//! Building the examples, running them, and clusters for them to talk to.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use milena::broker::{Cluster, TopicSpec};
use serde_json::Value;
use tokio::process::Command;

/// No run takes nearly as long.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A cluster of one node, with a topic.
pub(crate) async fn cluster(topic: &str, partitions: usize) -> Cluster {
    let cluster = Cluster::builder().start().await.unwrap();
    cluster.create_topic(TopicSpec::new(topic).partitions(partitions)).unwrap();
    cluster
}

/// The program of an example, to run with these arguments.
pub(crate) fn example<S: AsRef<str>>(name: &str, args: impl IntoIterator<Item = S>) -> Command {
    static BUILT: OnceLock<BTreeMap<String, PathBuf>> = OnceLock::new();
    let built = BUILT.get_or_init(build);
    let mut command = Command::new(built.get(name).unwrap_or_else(|| panic!("no example {name}")));
    command
        .args(args.into_iter().map(|arg| arg.as_ref().to_owned()))
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// `cargo test` has built them already, unless it was told to build this test only; cargo knows where they are.
fn build() -> BTreeMap<String, PathBuf> {
    let mut cargo = std::process::Command::new(env!("CARGO"));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    cargo.args(["build", "--examples", "--message-format=json-render-diagnostics"]);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let output = cargo.output().unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the examples cannot be built: {complaints}");
    let messages = String::from_utf8(output.stdout).unwrap();
    let built = messages.lines().filter_map(|line| {
        let message: Value = serde_json::from_str(line).unwrap();
        let executable = message["executable"].as_str()?;
        Some((message["target"]["name"].as_str()?.to_owned(), PathBuf::from(executable)))
    });
    built.collect()
}

/// What a program printed.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    #[track_caller]
    pub(crate) fn succeeded(self) -> Self {
        assert_eq!(self.code, Some(0), "\n{}\n{}", self.out, self.err);
        self
    }
}

/// Runs to the end.
pub(crate) async fn run<S: AsRef<str>>(name: &str, args: impl IntoIterator<Item = S>) -> Ran {
    let output = example(name, args).output();
    ran(&tokio::time::timeout(LIMIT, output).await.expect("it ends in time").unwrap())
}

pub(crate) fn ran(output: &Output) -> Ran {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    Ran { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

/// A folder of one test, gone at its end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    /// Writes a file, and gives its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// The lines of a file.
    pub(crate) fn lines(&self, name: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.0.join(name)).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.join(name).exists()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
