//! Which tests run, against which releases, and what they share: the Java clients and a cluster of one node for each
//! release, started when the first test wants them and stopped after the last, or after a test that failed.

use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs};

use futures_util::FutureExt;
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::Runtime;
use tokio::sync::{Mutex, MutexGuard, OnceCell};
use tokio::time::{Duration, timeout};

use crate::cluster::{Builder, Cluster};
use crate::jvm;
use crate::members::Members;
use crate::oracle::Oracle;
use crate::release::{Release, Version};
use crate::trouble::Trouble;

/// Tests run against these unless `MILENA_KAFKA` names others.
const RELEASES: &str = "3.3.2,4.3.1";
const TEST_LIMIT: Duration = Duration::from_secs(180);
const LONG_TEST_LIMIT: Duration = Duration::from_secs(15 * 60);

/// One test; `tests!` makes it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Test {
    name: &'static str,
    body: fn(Kafka) -> Pin<Box<dyn Future<Output = ()>>>,
    since: (u32, u32),
    long: bool,
}

impl Test {
    pub(crate) const fn new(
        name: &'static str,
        body: fn(Kafka) -> Pin<Box<dyn Future<Output = ()>>>,
    ) -> Self {
        Self { name, body, since: (0, 0), long: false }
    }

    /// Leaves out releases before this one: what they would show, the test has shown with the newer ones.
    pub(crate) const fn since(mut self, major: u32, minor: u32) -> Self {
        self.since = (major, minor);
        self
    }

    /// It takes minutes, and runs only if it is asked for with `--ignored`.
    pub(crate) const fn long(mut self) -> Self {
        self.long = true;
        self
    }

    fn limit(&self) -> Duration {
        if self.long { LONG_TEST_LIMIT } else { TEST_LIMIT }
    }
}

/// Lists the tests of a file, each an `async fn(Kafka)`, as its `TESTS`; what is to hold for one follows in brackets.
macro_rules! tests {
    ($($name:ident $([$($rule:ident($($argument:literal),*)),+])?),+ $(,)?) => {
        pub(crate) const TESTS: &[$crate::runner::Test] = &[$($crate::runner::Test::new(
            concat!(module_path!(), "::", stringify!($name)),
            |kafka| Box::pin($name(kafka)),
        )$($(.$rule($($argument),*))+)?),+];
    };
}

/// What a test gets: a release of Kafka, ready to run.
#[derive(Debug, Clone)]
pub(crate) struct Kafka(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    release: Arc<Release>,
    oracle: Oracle,
    members: OnceCell<Members>,
    shared: OnceCell<Cluster>,
    trio: OnceCell<Mutex<Cluster>>,
    folder: PathBuf,
    names: AtomicUsize,
}

impl Kafka {
    async fn prepare(version: &Version, folder: PathBuf) -> Result<Self, Trouble> {
        fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        let release = Arc::new(Release::prepare(version, &folder).await?);
        let oracle = Oracle::start(&release, &folder)?;
        let (members, shared, trio) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
        let names = AtomicUsize::new(0);
        Ok(Self(Arc::new(Inner { release, oracle, members, shared, trio, folder, names })))
    }

    /// The release, for its command-line tools.
    pub(crate) fn release(&self) -> &Release {
        &self.0.release
    }

    /// The Java clients of the release.
    pub(crate) fn oracle(&self) -> &Oracle {
        &self.0.oracle
    }

    /// Members of groups that are Java consumers of the release.
    pub(crate) async fn members(&self) -> &Members {
        let start = async || Members::start(&self.0.release, &self.0.folder);
        self.0.members.get_or_try_init(start).await.unwrap()
    }

    /// The cluster of one node that tests share. Use topics of your own, and leave the node running.
    pub(crate) async fn shared(&self) -> &Cluster {
        let start = || Builder::new(self.0.release.clone(), self.0.folder.join("shared")).start();
        self.0.shared.get_or_try_init(start).await.unwrap()
    }

    /// The cluster of three nodes that tests share, of which two must be in sync. Do with its nodes what you like, and
    /// leave all of them running.
    pub(crate) async fn trio(&self) -> MutexGuard<'_, Cluster> {
        let start = || async {
            let builder = Builder::new(self.0.release.clone(), self.0.folder.join("trio"))
                .nodes(3)
                .property("min.insync.replicas", 2)
                .property("broker.heartbeat.interval.ms", 500)
                .property("broker.session.timeout.ms", 4000)
                // Large loads are deleted again, and do not fill the disk until then.
                .property("log.segment.delete.delay.ms", 500)
                .property("log.retention.check.interval.ms", 1000);
            builder.start().await.map(Mutex::new)
        };
        let mut trio = self.0.trio.get_or_try_init(start).await.unwrap().lock().await;
        trio.revive().await.unwrap();
        trio
    }

    /// A cluster of the test's own, to be set up and started.
    pub(crate) fn cluster(&self) -> Builder {
        let folder = self.own().join(self.fresh("cluster"));
        Builder::new(self.0.release.clone(), folder)
    }

    /// Creates a topic with a name that no other test has, on as many nodes as there are, up to three.
    pub(crate) async fn topic(&self, cluster: &Cluster, name: &str, partitions: usize) -> String {
        let topic = self.fresh(name);
        let (bootstrap, replication) = (cluster.bootstrap(), cluster.replication());
        self.0.oracle.create_topic(&bootstrap, &topic, partitions, replication, &[]).await.unwrap();
        topic
    }

    /// A file that a test may write.
    pub(crate) fn scratch(&self, name: &str) -> PathBuf {
        self.0.folder.join(self.fresh(name))
    }

    /// A name that no other test has.
    pub(crate) fn fresh(&self, name: &str) -> String {
        format!("{name}-{}", self.0.names.fetch_add(1, Ordering::Relaxed))
    }

    /// The files of the clusters that a test started for itself.
    fn own(&self) -> PathBuf {
        self.0.folder.join("own")
    }
}

/// Runs the tests as `cargo test` does, one after the other, since they share a machine and a cluster.
pub(crate) fn run(suites: &[&[Test]]) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let asked = env::var("MILENA_KAFKA").unwrap_or_default();
    let (ignored, releases) = match asked.as_str() {
        "" | "0" => (true, RELEASES),
        "1" => (false, RELEASES),
        named => (false, named),
    };
    let versions: Result<Vec<Version>, _> = releases.split(',').map(str::parse).collect();
    let versions = match versions {
        Ok(versions) => versions,
        Err(told) => {
            eprintln!("MILENA_KAFKA={asked}: {told}");
            return ExitCode::FAILURE;
        }
    };
    let stage = Arc::new(Stage::new());
    let mut trials = Vec::new();
    for version in versions {
        for test in suites.iter().copied().flatten() {
            if !version.at_least(test.since.0, test.since.1) {
                continue;
            }
            let name = format!("{}::{version}", test.name.trim_start_matches("kafka::"));
            let (stage, version, test) = (stage.clone(), version.clone(), *test);
            let trial = Trial::test(name, move || stage.play(&version, test));
            let kind = match (ignored, test.long) {
                (true, _) => "needs Java: set MILENA_KAFKA=1",
                (false, true) => "takes minutes: name it after --ignored",
                (false, false) => "",
            };
            trials.push(trial.with_kind(kind).with_ignored_flag(ignored || test.long));
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    stage.clear(!conclusion.has_failed());
    conclusion.exit_code()
}

/// Where the tests of one release after the other are played.
struct Stage {
    runtime: Runtime,
    folder: PathBuf,
    set: parking_lot::Mutex<Set>,
}

#[derive(Default)]
struct Set {
    /// How many there have been: a failure wants a new one.
    count: usize,
    current: Option<(Version, Result<Kafka, Trouble>)>,
}

impl Stage {
    fn new() -> Self {
        let folder = format!("kafka-{}", std::process::id());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
        Self { runtime: Runtime::new().unwrap(), folder, set: parking_lot::Mutex::default() }
    }

    fn play(&self, version: &Version, test: Test) -> Result<(), Failed> {
        let kafka = self.kafka(version)?;
        let body = async { timeout(test.limit(), (test.body)(kafka.clone())).await };
        let outcome = self.runtime.block_on(AssertUnwindSafe(body).catch_unwind());
        let message = match outcome {
            Ok(Ok(())) => {
                // Nobody needs them, and they would add up.
                let _ = fs::remove_dir_all(kafka.own());
                return Ok(());
            }
            Ok(Err(_)) => format!("not done in {:?}", test.limit()),
            // The hook for panics has told where.
            Err(panic) => said(panic.as_ref()),
        };
        let mut message = format!("{message}\n\nAll files: {}\n", kafka.0.folder.display());
        for log in logs(&kafka.0.folder) {
            message.push_str(&jvm::tail(&log));
        }
        drop(kafka);
        // Who knows what state they are in.
        self.set.lock().current = None;
        Err(message.into())
    }

    /// What is ready for this release. A release that cannot be made ready fails all its tests, but is tried only once.
    fn kafka(&self, version: &Version) -> Result<Kafka, Trouble> {
        let mut set = self.set.lock();
        if let Some((ready, kafka)) = &set.current
            && ready == version
        {
            return kafka.clone();
        }
        set.current = None;
        set.count += 1;
        let folder = self.folder.join(format!("{version}-{}", set.count));
        let kafka = self.runtime.block_on(Kafka::prepare(version, folder));
        set.current = Some((version.clone(), kafka.clone()));
        kafka
    }

    /// Stops what runs. Files are kept if something failed.
    fn clear(&self, remove: bool) {
        self.set.lock().current = None;
        if remove {
            // They are not there if nothing ran.
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words").to_owned()
}

/// The logs of all processes below a folder; Kafka's segments have the same ending.
fn logs(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "data") {
                found.extend(logs(&path));
            }
        } else if path.extension().is_some_and(|extension| extension == "log") {
            found.push(path);
        }
    }
    found.sort();
    found
}
