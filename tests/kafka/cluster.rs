//! A cluster of Kafka nodes on this machine that a test can kill, stop, suspend and bring back. Whatever is left of it
//! is killed when it is dropped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use futures_util::FutureExt;
use tokio::time::{Duration, sleep, timeout};

use crate::jvm::{self, Jvm};
use crate::release::Release;
use crate::segments::{self, StoredBatch};
use crate::settings::{self, Quorum, Settings};
use crate::trouble::Trouble;
use crate::{ports, probe};

const HEAP: &str = "256m";
const START_LIMIT: Duration = Duration::from_secs(90);
const STOP_LIMIT: Duration = Duration::from_secs(60);
const PROBE_EVERY: Duration = Duration::from_millis(50);
const PROBE_LIMIT: Duration = Duration::from_secs(2);
/// Starts that fail because somebody took a picked port are tried again, up to this often in all.
const PORT_TRIES: usize = 3;
const PORT_TAKEN: &str = "Address already in use";
/// What a controller may die of when it is no longer the leader, such as one that was suspended, before KAFKA-14946 was
/// mended in 3.5.
pub(crate) const RENOUNCED: &str =
    "org.apache.kafka.timeline.SnapshottableHashTable$HashTier.mergeFrom";

/// What a cluster is to be like.
#[derive(Debug)]
pub(crate) struct Builder {
    release: Arc<Release>,
    folder: PathBuf,
    nodes: usize,
    properties: Settings,
    features: Vec<String>,
}

/// A running cluster. Its nodes are numbered from 1, which are their broker ids.
#[derive(Debug)]
pub(crate) struct Cluster {
    release: Arc<Release>,
    nodes: Vec<Node>,
    _zookeeper: Option<Jvm>,
}

#[derive(Debug)]
struct Node {
    id: i32,
    port: u16,
    folder: PathBuf,
    jvm: Option<Jvm>,
}

impl Builder {
    /// A cluster of one node whose files go to `folder`.
    pub(crate) fn new(release: Arc<Release>, folder: PathBuf) -> Self {
        Self { release, folder, nodes: 1, properties: Settings::new(), features: Vec::new() }
    }

    /// The number of nodes.
    pub(crate) fn nodes(mut self, nodes: usize) -> Self {
        self.nodes = nodes;
        self
    }

    /// Sets a property of every node's `server.properties`, in place of the harness's or Kafka's default.
    pub(crate) fn property(mut self, name: &str, value: impl ToString) -> Self {
        self.properties.insert(name.into(), value.to_string());
        self
    }

    /// Starts with this level of a feature, such as `transaction.version`, and not with the release's own. Since 4.0.
    pub(crate) fn feature(mut self, name: &str, level: u16) -> Self {
        self.features.push(format!("{name}={level}"));
        self
    }

    /// Starts the nodes and returns when each of them knows all of them as live brokers.
    pub(crate) async fn start(self) -> Result<Cluster, Trouble> {
        let mut tries = 1;
        loop {
            let folder = self.folder.join(format!("try-{tries}"));
            match self.start_in(&folder).await {
                Err(told) if tries < PORT_TRIES && told.says(PORT_TAKEN) => tries += 1,
                started => return started,
            }
        }
    }

    async fn start_in(&self, folder: &Path) -> Result<Cluster, Trouble> {
        let mut ports = ports::free(2 * self.nodes);
        let brokers = ports.split_off(self.nodes);
        let (quorum, zookeeper) = if self.release.at_least(3, 3) {
            (Quorum::KRaft(ports), None)
        } else {
            let jvm = self.start_zookeeper(ports[0], &folder.join("zookeeper"))?;
            (Quorum::ZooKeeper(ports[0]), Some(jvm))
        };
        let mut format = vec![cluster_id()];
        format.extend(self.features.iter().flat_map(|level| ["--feature".into(), level.clone()]));
        let format = if zookeeper.is_none() { format } else { Vec::new() };
        let mut nodes = Vec::new();
        for (id, port) in (1..).zip(brokers) {
            let folder = folder.join(format!("node-{id}"));
            let mut settings = settings::node(id, self.nodes, port, &folder, &quorum);
            settings.extend(self.properties.clone());
            write_settings(&folder, &settings)?;
            let id = i32::try_from(id).map_err(|e| e.to_string())?;
            let mut node = Node { id, port, folder, jvm: None };
            node.spawn(&self.release, &format)?;
            nodes.push(node);
        }
        let all: Vec<i32> = nodes.iter().map(|node| node.id).collect();
        for node in &mut nodes {
            node.ready(&all).await?;
        }
        Ok(Cluster { release: self.release.clone(), nodes, _zookeeper: zookeeper })
    }

    fn start_zookeeper(&self, port: u16, folder: &Path) -> Result<Jvm, Trouble> {
        let file = write_settings(folder, &settings::zookeeper(port, folder))?;
        let mut command = self.release.java("Node", HEAP);
        command.arg("org.apache.zookeeper.server.ZooKeeperServerMain").arg(file);
        command.stdout(Stdio::null());
        let jvm = Jvm::spawn(command, &folder.join("zookeeper.log"));
        Ok(jvm.map_err(|e| format!("starting ZooKeeper: {e}"))?)
    }
}

impl Cluster {
    /// The addresses of all nodes, as `bootstrap.servers` takes them.
    pub(crate) fn bootstrap(&self) -> String {
        let addresses: Vec<String> =
            self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        addresses.join(",")
    }

    /// The address of node `id`.
    pub(crate) fn address(&self, id: i32) -> Result<String, Trouble> {
        let node = self.nodes.iter().find(|node| node.id == id).ok_or("there is no such node")?;
        Ok(format!("127.0.0.1:{}", node.port))
    }

    /// The ids of all nodes, running or not.
    pub(crate) fn ids(&self) -> Vec<i32> {
        self.nodes.iter().map(|node| node.id).collect()
    }

    /// The most replicas that a partition can have here, up to the usual three.
    pub(crate) fn replication(&self) -> usize {
        self.nodes.len().min(3)
    }

    /// The headers of the batches that node `id` has on its disk of a partition: what was really written.
    pub(crate) fn stored_batches(
        &self,
        id: i32,
        topic: &str,
        partition: i32,
    ) -> Result<Vec<StoredBatch>, Trouble> {
        let node = self.nodes.iter().find(|node| node.id == id).ok_or("there is no such node")?;
        segments::batches(&node.folder.join("data").join(format!("{topic}-{partition}")))
    }

    /// How many segments node `id` has of a partition.
    pub(crate) fn segments(&self, id: i32, topic: &str, partition: i32) -> Result<usize, Trouble> {
        let node = self.nodes.iter().find(|node| node.id == id).ok_or("there is no such node")?;
        Ok(segments::files(&node.folder.join("data").join(format!("{topic}-{partition}")))?.len())
    }

    /// Kills node `id` as a crash would (SIGKILL).
    pub(crate) async fn kill(&mut self, id: i32) -> Result<(), Trouble> {
        let jvm = self.node(id)?.take()?;
        Ok(jvm.kill().await.map_err(|e| format!("killing node {id}: {e}"))?)
    }

    /// Stops node `id` in order (SIGTERM): it hands over its partitions first if it can.
    pub(crate) async fn stop(&mut self, id: i32) -> Result<(), Trouble> {
        let mut jvm = self.node(id)?.take()?;
        jvm.signal("TERM").await?;
        match timeout(STOP_LIMIT, jvm.exited()).await {
            Ok(_) => Ok(()),
            Err(_) => {
                let tail = jvm::tail(jvm.log());
                Err(format!("node {id} did not stop in {STOP_LIMIT:?}\n{tail}").into())
            }
        }
    }

    /// Suspends node `id`: its connections stay open, and nothing is answered (SIGSTOP).
    pub(crate) async fn pause(&mut self, id: i32) -> Result<(), Trouble> {
        self.node(id)?.running()?.signal("STOP").await
    }

    /// Lets a suspended node go on.
    pub(crate) async fn resume(&mut self, id: i32) -> Result<(), Trouble> {
        self.node(id)?.running()?.signal("CONT").await
    }

    /// Starts a killed or stopped node again, on its port and files; returns when it serves and is a live broker.
    pub(crate) async fn restart(&mut self, id: i32) -> Result<(), Trouble> {
        self.restart_all(&[id]).await
    }

    /// The same for some nodes at once, which may need each other for a quorum.
    pub(crate) async fn restart_all(&mut self, ids: &[i32]) -> Result<(), Trouble> {
        let release = self.release.clone();
        for &id in ids {
            let node = self.node(id)?;
            if node.jvm.is_some() {
                return Err(format!("node {id} is still running: kill or stop it first").into());
            }
            node.spawn(&release, &[])?;
        }
        for &id in ids {
            self.node(id)?.ready(ids).await?;
        }
        Ok(())
    }

    /// Has node `id` end without the harness.
    pub(crate) async fn lose(&mut self, id: i32) -> Result<(), Trouble> {
        let jvm = self.node(id)?.running()?;
        jvm.signal("KILL").await?;
        jvm.exited().await.map_err(|e| e.to_string())?;
        Ok(())
    }

    /// Starts nodes again that have died of KAFKA-14946, of which their processes may not end, and tells which. That one
    /// has ended in any other way is a failure.
    pub(crate) async fn revive(&mut self) -> Result<Vec<i32>, Trouble> {
        let known = !self.release.at_least(3, 5);
        let mut dead = Vec::new();
        for node in &mut self.nodes {
            let Some(jvm) = &mut node.jvm else { continue };
            let (id, died) = (node.id, known && jvm.said(RENOUNCED));
            if !died && jvm.exited().now_or_never().is_some() {
                let tail = jvm::tail(jvm.log());
                return Err(format!("node {id} has ended by itself\n{tail}").into());
            }
            if died {
                eprintln!("node {id} has died of KAFKA-14946, and is started again");
                node.take()?.kill().await.map_err(|e| format!("killing node {id}: {e}"))?;
                dead.push(id);
            }
        }
        self.restart_all(&dead).await?;
        Ok(dead)
    }

    /// The log of node `id`.
    pub(crate) fn log(&mut self, id: i32) -> Result<PathBuf, Trouble> {
        Ok(self.node(id)?.running()?.log().to_owned())
    }

    /// Waits until node `id` takes exactly these brokers, in order of their ids, for live ones.
    pub(crate) async fn sees_brokers(&mut self, id: i32, brokers: &[i32]) -> Result<(), Trouble> {
        self.node(id)?.sees(|seen| seen == brokers).await
    }

    fn node(&mut self, id: i32) -> Result<&mut Node, Trouble> {
        let node = self.nodes.iter_mut().find(|node| node.id == id);
        node.ok_or_else(|| format!("there is no node {id}").into())
    }
}

impl Node {
    /// Starts the process; with a cluster id, and options of the tool for that, it makes its storage new.
    fn spawn(&mut self, release: &Release, format: &[String]) -> Result<(), Trouble> {
        let mut command = release.java("Node", HEAP);
        command.arg("kafka.Kafka").arg(self.folder.join(SETTINGS)).args(format);
        command.stdout(Stdio::null());
        let log = self.folder.join(format!("node-{}.log", self.id));
        let jvm =
            Jvm::spawn(command, &log).map_err(|e| format!("starting node {}: {e}", self.id))?;
        self.jvm = Some(jvm);
        Ok(())
    }

    fn running(&mut self) -> Result<&mut Jvm, Trouble> {
        let id = self.id;
        self.jvm.as_mut().ok_or_else(|| format!("node {id} is not running").into())
    }

    fn take(&mut self) -> Result<Jvm, Trouble> {
        let id = self.id;
        self.jvm.take().ok_or_else(|| format!("node {id} is not running").into())
    }

    /// Waits until the node serves and takes at least these brokers for live ones.
    async fn ready(&mut self, brokers: &[i32]) -> Result<(), Trouble> {
        self.sees(|seen| brokers.iter().all(|id| seen.contains(id))).await
    }

    async fn sees(&mut self, wanted: impl Fn(&[i32]) -> bool) -> Result<(), Trouble> {
        let (id, port) = (self.id, self.port);
        let jvm = self.running()?;
        let probed = async {
            loop {
                // Another process tells nobody when it is ready: it has to be asked now and then.
                if let Ok(Ok(mut seen)) = timeout(PROBE_LIMIT, probe::brokers(port)).await {
                    seen.sort_unstable();
                    if wanted(&seen) {
                        return;
                    }
                }
                sleep(PROBE_EVERY).await;
            }
        };
        let told = tokio::select! {
            status = jvm.exited() => format!("node {id} ended: {status:?}"),
            in_time = timeout(START_LIMIT, probed) => match in_time {
                Ok(()) => return Ok(()),
                Err(_) => format!("node {id} does not see the brokers it should in {START_LIMIT:?}"),
            },
        };
        Err(format!("{told}\n{}", jvm::tail(jvm.log())).into())
    }
}

const SETTINGS: &str = "server.properties";

fn write_settings(folder: &Path, settings: &Settings) -> Result<PathBuf, Trouble> {
    let file = folder.join(SETTINGS);
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(&file, settings::text(settings)))
        .map_err(|e| format!("writing {}: {e}", file.display()))?;
    Ok(file)
}

/// 16 random bytes in URL-safe base64, as Kafka writes a UUID.
fn cluster_id() -> String {
    let mut id: String = std::iter::repeat_with(fastrand::alphanumeric).take(21).collect();
    id.push('A'); // 22 digits are 132 bits: the last four must be 0
    id
}
