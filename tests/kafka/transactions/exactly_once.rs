//! The crate's own loop against real Kafka: two workers copy a topic while the run of one is dropped in the middle of a
//! transaction, the other crashes in the middle of one, and the broker that coordinates its transactions is killed. Each
//! input comes out once, and in order.

use std::sync::Arc;

use milena::{
    ConsumerConfig, ExactlyOnce, ExactlyOnceBuilder, ProducerConfig, ProducerRecord, Progress,
    ProgressHandle, Records, SendError, Transaction,
};
use tokio::runtime;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Duration, sleep, timeout};

use super::copier::{Watcher, expected, fill};
use super::copies::{all_whole, bounce, newest, same, seen_by_java};
use crate::in_process_transactions::{COMMITTED, UNCOMMITTED, read, values};
use crate::oracle::Properties;
use crate::ours;
use crate::runner::Kafka;

tests![each_input_comes_out_once, each_input_comes_out_once_in_a_classic_group[since(4, 0)],];

const PARTITIONS: usize = 3;
const RECORDS: usize = 3000;
/// So few that each worker has a hundred transactions at least.
const PER_TRANSACTION: &str = "10";
const LIMIT: Duration = Duration::from_secs(120);

async fn each_input_comes_out_once(kafka: Kafka) {
    let mut cluster = kafka.trio().await;
    let topics = [
        kafka.topic(&cluster, "once-from", PARTITIONS).await,
        kafka.topic(&cluster, "once-to", PARTITIONS).await,
    ];
    let job = Job::new(cluster.bootstrap(), &topics, newest(&kafka));
    copied(&kafka, &job, async |id| {
        all_whole(&kafka, &mut cluster, [&job.from, &job.to]).await;
        let broker = transaction_coordinator(&kafka, &job.bootstrap, id).await;
        bounce(&mut cluster, broker, true).await;
        // The next test may bounce another one.
        all_whole(&kafka, &mut cluster, [&job.from, &job.to]).await;
    })
    .await;
}

/// Without what happens to brokers.
async fn each_input_comes_out_once_in_a_classic_group(kafka: Kafka) {
    let cluster = kafka.shared().await;
    let topics = [
        kafka.topic(cluster, "once-from", PARTITIONS).await,
        kafka.topic(cluster, "once-to", PARTITIONS).await,
    ];
    let job = Job::new(cluster.bootstrap(), &topics, "classic");
    copied(&kafka, &job, async |_| {}).await;
}

/// What workers do. Their group is named as the topic that they read.
#[derive(Debug, Clone)]
struct Job {
    bootstrap: String,
    from: String,
    to: String,
    protocol: &'static str,
}

impl Job {
    fn new(bootstrap: String, [from, to]: &[String; 2], protocol: &'static str) -> Self {
        Self { bootstrap, from: from.clone(), to: to.clone(), protocol }
    }

    fn builder(&self, id: &str) -> ExactlyOnceBuilder {
        let mut properties = vec![
            ("group.id", self.from.as_str()),
            ("group.protocol", self.protocol),
            ("enable.auto.commit", "false"),
            ("isolation.level", "read_committed"),
            ("auto.offset.reset", "earliest"),
            ("max.poll.records", PER_TRANSACTION),
        ];
        if self.protocol == "classic" {
            // The others wait so long for what belonged to one that has crashed.
            properties.extend([("session.timeout.ms", "6000"), ("heartbeat.interval.ms", "300")]);
        }
        let consumer = ConsumerConfig::builder().bootstrap_servers(&self.bootstrap);
        let producer = ProducerConfig::builder().bootstrap_servers(&self.bootstrap);
        let producer = producer.transactional_id(id).build_transactional().unwrap();
        ExactlyOnce::builder(consumer.properties(properties).build().unwrap(), producer)
            .topics([&self.from])
    }
}

/// What it is to do besides its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Work,
    Stop,
    Crash,
}

/// Where a worker and the test meet in the middle of a transaction.
#[derive(Debug, Default)]
struct Meeting {
    /// It is in one, all records of which are written, and goes no further.
    open: Notify,
    /// Its run is to be dropped, and then to begin anew.
    again: Notify,
}

/// A worker on a runtime of its own, so that nothing of it goes on after a crash.
#[derive(Debug)]
struct Worker {
    progress: ProgressHandle,
    meeting: Arc<Meeting>,
    word: watch::Sender<Word>,
    task: JoinHandle<()>,
}

impl Worker {
    /// Starts one that stays in its transaction of that number, from 1.
    async fn start(job: &Job, id: &str, stays_in: usize) -> Self {
        let (word, mut words) = watch::channel(Word::Work);
        let (started, progress) = oneshot::channel();
        let meeting = Arc::<Meeting>::default();
        let (job, id, meets) = (job.clone(), id.to_owned(), Arc::clone(&meeting));
        let task = spawn_blocking(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let stop = words.clone();
                tokio::select! {
                    biased;
                    // Or the test has failed, and nobody speaks to it any more.
                    _ = words.wait_for(|word| *word == Word::Crash) => {}
                    () = work(&job, &id, stays_in, &meets, started, stop) => {}
                }
            });
        });
        let progress = timeout(LIMIT, progress).await.expect("it starts").unwrap();
        Self { progress, meeting, word, task }
    }

    fn progress(&self) -> Progress {
        self.progress.get()
    }

    /// Waits until it is in the transaction in which it stays.
    async fn stays(&self) {
        let stays = timeout(LIMIT, self.meeting.open.notified()).await;
        assert!(stays.is_ok(), "it does not come so far: {:?}", self.progress());
    }

    /// Drops its run, and has it run again.
    fn run_again(&self) {
        self.meeting.again.notify_one();
    }

    /// How many records it has committed before it was gone from one moment to the next.
    async fn crash(self) -> u64 {
        self.word.send_replace(Word::Crash);
        self.task.await.unwrap();
        self.progress.get().records
    }

    /// What it has done before it was told to stop, and closed.
    async fn stop(self) -> Progress {
        self.word.send_replace(Word::Stop);
        timeout(LIMIT, self.task).await.expect("it closes").unwrap();
        self.progress.get()
    }
}

async fn work(
    job: &Job,
    id: &str,
    stays_in: usize,
    meeting: &Meeting,
    started: oneshot::Sender<ProgressHandle>,
    mut words: watch::Receiver<Word>,
) {
    let mut worker = job.builder(id).start().await.unwrap();
    started.send(worker.progress()).unwrap();
    let mut transactions = 0;
    loop {
        let stop = async {
            let _ = words.wait_for(|word| *word == Word::Stop).await;
        };
        let process = async |records: &Records, transaction: &Transaction<'_>| {
            copy(&job.to, records, transaction).await?;
            transactions += 1;
            if transactions == stays_in {
                transaction.flush().await;
                meeting.open.notify_one();
                std::future::pending::<()>().await;
            }
            Ok::<_, SendError>(())
        };
        tokio::select! {
            ended = worker.run_until(stop, process) => break ended.unwrap(),
            () = meeting.again.notified() => {}
        }
    }
    worker.close(LIMIT).await.unwrap();
}

/// Each record as it is, into the partition of the same number.
async fn copy(to: &str, records: &Records, transaction: &Transaction<'_>) -> Result<(), SendError> {
    for record in records {
        let copy = ProducerRecord::new(to, record.value.unwrap()).partition(record.partition);
        drop(transaction.send(&copy).await?);
    }
    Ok(())
}

/// A copy, with something that happens while the crashed worker, whose `transactional.id` that is told, is replaced.
async fn copied(kafka: &Kafka, job: &Job, meanwhile: impl AsyncFnOnce(&str)) {
    let java = kafka.fresh("java-watches");
    let properties: Properties<'_> =
        &[("group.id", &java), ("auto.offset.reset", "earliest"), COMMITTED[0]];
    kafka.oracle().join(&java, &job.bootstrap, &job.to, properties).await.unwrap();
    let watcher = Watcher::start(&job.bootstrap, &job.to, PARTITIONS);
    let [id, other_id] = [kafka.fresh("worker-a"), kafka.fresh("worker-b")];
    let crashes = Worker::start(job, &id, 10).await;
    let other = Worker::start(job, &other_id, 5).await;
    let share = |worker: &Worker| worker.progress().assigned.len();
    let shared = async {
        // Progress tells nobody: it has to be asked.
        while share(&crashes) == 0 || share(&other) == 0 || share(&crashes) + share(&other) < 3 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LIMIT, shared).await.expect("each gets something to do");
    fill(&job.bootstrap, &job.from, PARTITIONS, RECORDS).await;

    other.stays().await;
    other.run_again();
    crashes.stays().await;
    let mut committed = crashes.crash().await;
    assert!((1..=90).contains(&committed), "{committed} before the one that was open");
    let replaced = async { Worker::start(job, &id, 0).await };
    let (next, ()) = tokio::join!(replaced, meanwhile(&id));
    watcher.until(RECORDS, LIMIT).await;
    let other = other.stop().await;
    committed += other.records + next.stop().await.records;

    assert_eq!(committed, RECORDS as u64, "what they say");
    assert!(other.aborted > 0, "{other:?}");
    same(&watcher.stop().await, RECORDS, "what ours saw meanwhile");
    let java = seen_by_java(kafka, &java, (PARTITIONS, RECORDS)).await;
    same(&java, RECORDS, "what Java saw meanwhile");
    let oracle = kafka.oracle();
    let committed = oracle.committed(&job.bootstrap, &job.from).await.unwrap();
    let committed: usize = committed.values().map(|committed| committed.offset as usize).sum();
    assert_eq!(committed, RECORDS, "the group is at the end of its input");
    // Those who watched may have been stopped before something came again.
    let mut written = 0;
    for (partition, expected) in (0..).zip(expected(PARTITIONS, RECORDS)) {
        let ours =
            async |level| ours::read_to_end(&job.bootstrap, &job.to, partition, 0, level).await;
        let java = read(kafka, &job.bootstrap, (&job.to, partition), COMMITTED).await;
        assert_eq!(ours(COMMITTED).await, java, "{partition}");
        let expected = expected.into_iter().map(|number| format!("record {number}"));
        assert!(values(&java).into_iter().eq(expected), "{partition}: {:?}", values(&java));
        written += ours(UNCOMMITTED).await.len();
    }
    assert!(written >= RECORDS + 2, "{written}: what was open is nowhere");
    for topic in [&job.from, &job.to] {
        oracle.delete_topic(&job.bootstrap, topic).await.unwrap();
    }
}

/// The broker that leads the partition of Kafka's own topic where this `transactional.id` belongs.
async fn transaction_coordinator(kafka: &Kafka, bootstrap: &str, id: &str) -> i32 {
    let all = kafka.oracle().describe_topic(bootstrap, "__transaction_state").await.unwrap();
    // As Java hashes a text.
    let hash =
        id.bytes().fold(0_i32, |hash, byte| hash.wrapping_mul(31).wrapping_add(i32::from(byte)));
    all[hash.checked_abs().unwrap_or(0) as usize % all.len()].leader
}
