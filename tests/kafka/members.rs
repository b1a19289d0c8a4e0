//! Members of groups that are Kafka's own consumers, and what they tell of what they get. One warm process serves all
//! tests; `java/Members.java` is its other half and tells the protocol.

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use milena::TopicPartition;
use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::sync::mpsc;

use crate::jvm::Jvm;
use crate::oracle::Properties;
use crate::release::Release;
use crate::trouble::Trouble;

/// What a member tells. Times are in milliseconds since 1970, by the clock of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// It owns these from then on, beside those that it owned.
    Assigned(u64, Vec<TopicPartition>),
    /// It owned these up to then, and has committed what it was given of them.
    Revoked(u64, Vec<TopicPartition>),
    /// It does not own these any more, and did not know.
    Lost(u64, Vec<TopicPartition>),
    /// It was given the records at these offsets.
    Records(TopicPartition, Vec<i64>),
    /// It ended by itself.
    Failed(String),
    Stopped,
}

/// Where the events of a member go, by its name.
type Listeners = Arc<Mutex<HashMap<String, mpsc::UnboundedSender<Event>>>>;

/// The members of one release.
#[derive(Debug)]
pub(crate) struct Members {
    input: tokio::sync::Mutex<ChildStdin>,
    listeners: Listeners,
    _jvm: Jvm,
}

impl Members {
    /// Starts the process; its log goes to `folder`.
    pub(crate) fn start(release: &Release, folder: &Path) -> Result<Self, Trouble> {
        let mut command = release.java("Members", "256m");
        command.stdout(Stdio::piped());
        let jvm = Jvm::spawn(command, &folder.join("members.log"));
        let mut jvm = jvm.map_err(|e| format!("starting java: {e}"))?;
        let (input, output) = jvm.take_stdio().ok_or("the helper has no pipes")?;
        let listeners = Listeners::default();
        tokio::spawn(hand_out(output, listeners.clone()));
        Ok(Self { input: tokio::sync::Mutex::new(input), listeners, _jvm: jvm })
    }

    /// Starts a member: it subscribes to topics, or to a pattern that starts with `^`, and commits what it is given each
    /// time before it polls again. Its name must be new; its events come until it has stopped or failed.
    pub(crate) async fn join(
        &self,
        name: &str,
        bootstrap: &str,
        topics: &str,
        properties: Properties<'_>,
    ) -> Result<mpsc::UnboundedReceiver<Event>, Trouble> {
        let (events, listener) = mpsc::unbounded_channel();
        let before = self.listeners.lock().insert(name.to_owned(), events);
        assert!(before.is_none(), "there is a member {name} already");
        let properties = properties.iter().map(|(name, value)| format!("\t{name}={value}"));
        let properties: String = properties.collect();
        self.say(&format!("start\t{name}\t{bootstrap}\t{topics}{properties}\n")).await?;
        Ok(listener)
    }

    /// Has a member close; `Stopped` tells when that is done.
    pub(crate) async fn leave(&self, name: &str) -> Result<(), Trouble> {
        self.say(&format!("stop\t{name}\n")).await
    }

    async fn say(&self, line: &str) -> Result<(), Trouble> {
        let said = self.input.lock().await.write_all(line.as_bytes()).await;
        Ok(said.map_err(|e| format!("to java: {e}"))?)
    }
}

/// Hands events out until the process ends or cannot be understood, which ends all listeners.
async fn hand_out(output: ChildStdout, listeners: Listeners) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let Some((name, event)) = parse(&line) else {
            eprintln!("the helper said {line:?}");
            break;
        };
        // Whoever does not listen any more has seen enough.
        if let Some(listener) = listeners.lock().get(name) {
            let _ = listener.send(event);
        }
    }
    listeners.lock().clear();
}

fn parse(line: &str) -> Option<(&str, Event)> {
    let mut fields = line.split('\t');
    let (kind, name) = (fields.next()?, fields.next()?);
    let event = match kind {
        "records" => {
            let at = partition(fields.next()?)?;
            Event::Records(at, fields.map(|offset| offset.parse().ok()).collect::<Option<_>>()?)
        }
        "failed" => Event::Failed(fields.next()?.to_owned()),
        "stopped" => Event::Stopped,
        moved => {
            let time = fields.next()?.parse().ok()?;
            let partitions = fields.map(partition).collect::<Option<_>>()?;
            match moved {
                "assigned" => Event::Assigned(time, partitions),
                "revoked" => Event::Revoked(time, partitions),
                "lost" => Event::Lost(time, partitions),
                _ => return None,
            }
        }
    };
    Some((name, event))
}

fn partition(text: &str) -> Option<TopicPartition> {
    let (topic, number) = text.rsplit_once('-')?;
    Some(TopicPartition::new(topic, number.parse().ok()?))
}
