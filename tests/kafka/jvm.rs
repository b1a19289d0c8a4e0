//! One Java process: started with its output going to a file, signalled by its id, and gone when its handle is dropped.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use tokio::process::{Child, ChildStdin, Command};
use tokio::time::Duration;

use crate::trouble::Trouble;

/// Lines at the end of a log that a failure shows, and the most lines before them that tell of errors.
const TAIL: usize = 40;
const ERRORS: usize = 10;

/// A running Java process.
#[derive(Debug)]
pub(crate) struct Jvm {
    child: Child,
    /// The process ends itself when this closes, which happens even if this one is killed. Waiting for a child closes
    /// the standard input that is left in it, hence it is kept apart.
    leash: Option<ChildStdin>,
    log: PathBuf,
    /// How long the log was when it started.
    before: usize,
}

impl Jvm {
    /// Starts `command` with its standard error, and its standard output unless the command says otherwise, appended
    /// to `log`.
    pub(crate) fn spawn(mut command: Command, log: &Path) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(log)?;
        let before = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
        command.stderr(file).stdin(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let leash = child.stdin.take();
        Ok(Self { child, leash, log: log.to_owned(), before })
    }

    /// Both ends of the talk with a process that answers on its standard output.
    pub(crate) fn take_stdio(&mut self) -> Option<(ChildStdin, tokio::process::ChildStdout)> {
        self.leash.take().zip(self.child.stdout.take())
    }

    /// Waits until the process ends.
    pub(crate) async fn exited(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Sends a signal by its name, such as `TERM` or `STOP`.
    pub(crate) async fn signal(&self, name: &str) -> Result<(), Trouble> {
        let id = self.child.id().ok_or("the process has ended already")?;
        let sent = Command::new("kill").args(["-s", name, &id.to_string()]).status().await;
        match sent {
            Ok(status) if status.success() => Ok(()),
            other => Err(format!("kill -s {name} {id}: {other:?}").into()),
        }
    }

    /// Kills the process and waits for its end.
    pub(crate) async fn kill(mut self) -> io::Result<()> {
        self.child.kill().await
    }

    /// Whether it has written this.
    pub(crate) fn said(&self, text: &str) -> bool {
        let log = fs::read(&self.log).unwrap_or_default();
        log.get(self.before..).is_some_and(|own| String::from_utf8_lossy(own).contains(text))
    }

    /// The file with its output.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }
}

/// A killed process is gone within milliseconds, a suspended one too; its files can be removed after that.
impl Drop for Jvm {
    fn drop(&mut self) {
        if self.child.id().is_none() || self.child.start_kill().is_err() {
            return;
        }
        for _ in 0..1000 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// What a failure shows of a log file.
pub(crate) fn tail(log: &Path) -> String {
    let text = match fs::read(log) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => format!("unreadable: {error}"),
    };
    format!("--- from {}:\n{}", log.display(), excerpt(&text))
}

/// What a failure shows of a log: its last lines, and the first errors before them.
pub(crate) fn excerpt(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let (before, last) = lines.split_at(lines.len().saturating_sub(TAIL));
    let is_error = |line: &&&str| line.contains(" ERROR ") || line.contains("Exception: ");
    let shown = before.iter().filter(is_error).take(ERRORS).chain(last);
    shown.flat_map(|line| [line, "\n"]).collect()
}
