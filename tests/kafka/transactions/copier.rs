//! Our `transactional_message_copier` as a program that can be killed, replaced and suspended, and who watches the topic
//! that it writes to.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use milena::{StartAt, TopicPartition};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Duration, timeout};

use crate::ours;
use crate::program::{Line, Program, text};
use crate::samples::numbered;

const POLL: Duration = Duration::from_millis(200);

/// The numbers of the records of each partition, in the order of their offsets.
pub(crate) type Contents = Vec<Vec<usize>>;

/// A record as it was seen: partition, offset and value.
pub(crate) type Seen = (i32, i64, Vec<u8>);

/// What copiers do. Their group is named as the topic that they read.
#[derive(Debug)]
pub(crate) struct Job<'a> {
    pub(crate) bootstrap: &'a str,
    pub(crate) from: &'a str,
    pub(crate) to: &'a str,
    pub(crate) per_transaction: usize,
    pub(crate) options: String,
}

/// A copier with a `transactional.id` of its own.
#[derive(Debug)]
pub(crate) struct Copier {
    id: String,
    program: Program,
    /// What those before it were sure to have copied.
    before: usize,
}

impl Copier {
    pub(crate) async fn start(job: &Job<'_>, id: &str) -> Self {
        let Job { bootstrap, from, to, per_transaction, options } = job;
        let arguments = format!(
            "--broker-list {bootstrap} --transactional-id {id} --consumer-group {from} \
             --input-topic {from} --input-partition 0 --output-topic {to} \
             --transaction-size {per_transaction} --transaction-timeout 30000 {options}"
        );
        let program = Program::example("transactional_message_copier", &arguments).await;
        Self { id: id.to_owned(), program, before: 0 }
    }

    /// Whether it has not ended by itself yet.
    pub(crate) fn is_at_work(&mut self) -> bool {
        self.program.is_running()
    }

    /// Kills it (SIGKILL), and then starts another with its `transactional.id`.
    pub(crate) async fn replace(&mut self, job: &Job<'_>) {
        self.before += processed(&self.program.kill().await);
        self.program = Self::start(job, &self.id).await.program;
    }

    pub(crate) fn program(&self) -> &Program {
        &self.program
    }

    /// Waits until it says that it has copied this many.
    pub(crate) async fn until_processed(&mut self, count: usize, within: Duration) {
        self.program.until(within, |lines| processed(lines) >= count).await;
    }

    /// How many it has copied by what it said last.
    pub(crate) fn processed(&self) -> usize {
        processed(&self.program.lines())
    }

    /// Waits until it has ended by itself, and in order; how many records it and those before it say to have copied.
    pub(crate) async fn ended(self, within: Duration) -> usize {
        let lines = self.program.succeeded(within).await;
        let last = events(&lines).pop().unwrap();
        let done = last["stage"] == "ShutdownComplete" && last["remaining"] == 0;
        assert!(done, "{}", text(&lines));
        self.before + processed(&lines)
    }

    /// Waits until it has ended by itself because of a failure, and gives what it wrote.
    pub(crate) async fn failed(self, within: Duration) -> String {
        let (status, lines) = self.program.ended(within).await;
        assert_eq!(status.code(), Some(1), "{}", text(&lines));
        text(&lines)
    }
}

/// The lines of JSON among those that it wrote. The last one of a process that was killed may end half-way.
fn events(lines: &[Line]) -> Vec<Value> {
    lines.iter().filter_map(|line| serde_json::from_str(&line.text).ok()).collect()
}

fn processed(lines: &[Line]) -> usize {
    let last = events(lines).pop();
    last.map_or(0, |last| usize::try_from(last["totalProcessed"].as_u64().unwrap()).unwrap())
}

/// Writes numbered records to the partitions in turn.
pub(crate) async fn fill(bootstrap: &str, topic: &str, partitions: usize, records: usize) {
    let producer = ours::producer(bootstrap, &[("acks", "all")]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = i64::try_from(now.as_millis()).unwrap();
    let record = |number: usize| {
        let mut record = numbered((number % partitions) as i32, number);
        // Recent, or a broker that looks for what is too old to be kept deletes it.
        record.timestamp = now;
        // A key is one of a partition.
        record.key = Some(format!("key {}", number % (100 * partitions)).into_bytes());
        record
    };
    let records: Vec<_> = (0..records).map(record).collect();
    ours::send_all(&producer, topic, &records).await;
    ours::close(producer).await;
}

/// What it writes, and what a copy must hold.
pub(crate) fn expected(partitions: usize, records: usize) -> Contents {
    (0..partitions).map(|first| (first..records).step_by(partitions).collect()).collect()
}

/// What was seen, by partition. Offsets only rise.
pub(crate) fn in_order(partitions: usize, seen: Vec<Seen>) -> Contents {
    let mut contents = vec![Vec::new(); partitions];
    let mut last = vec![-1; partitions];
    for (partition, offset, value) in seen {
        let at = usize::try_from(partition).unwrap();
        assert!(offset > last[at], "{partition}: {offset} was seen after {}", last[at]);
        last[at] = offset;
        let value = std::str::from_utf8(&value).unwrap();
        contents[at].push(value.strip_prefix("record ").unwrap().parse().unwrap());
    }
    contents
}

/// A consumer of ours that reads what is committed to a topic while it is being written.
#[derive(Debug)]
pub(crate) struct Watcher {
    seen: Arc<Mutex<Vec<Seen>>>,
    count: watch::Receiver<usize>,
    stop: watch::Sender<bool>,
    partitions: usize,
    task: JoinHandle<()>,
}

impl Watcher {
    pub(crate) fn start(bootstrap: &str, topic: &str, partitions: usize) -> Self {
        let mut reader = ours::reader(bootstrap, &[("isolation.level", "read_committed")]);
        let all = (0..partitions).map(|at| TopicPartition::new(topic, at as i32));
        reader.assign(all.map(|at| (at, StartAt::Offset(0)))).unwrap();
        let seen: Arc<Mutex<Vec<_>>> = Arc::default();
        let (counter, count) = watch::channel(0);
        let (stop, stopped) = watch::channel(false);
        let all = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            while !*stopped.borrow() {
                let records = reader.poll(POLL).await.unwrap();
                let row = |record: milena::ConsumerRecord<'_>| {
                    (record.partition, record.offset, record.value.unwrap().to_vec())
                };
                all.lock().extend(records.iter().map(row));
                counter.send_modify(|count| *count += records.len());
            }
            ours::close_reader(reader).await;
        });
        Self { seen, count, stop, partitions, task }
    }

    /// How many records it has seen.
    pub(crate) fn count(&self) -> usize {
        *self.count.borrow()
    }

    /// Waits until it has seen so many.
    pub(crate) async fn until(&self, records: usize, within: Duration) {
        let mut count = self.count.clone();
        let waited = timeout(within, count.wait_for(|count| *count >= records)).await;
        let good = matches!(waited, Ok(Ok(_)));
        drop(waited);
        assert!(good, "{} of {records} records in {within:?}", self.count());
    }

    /// What it has seen.
    pub(crate) async fn stop(self) -> Contents {
        self.stop.send_replace(true);
        self.task.await.unwrap();
        in_order(self.partitions, std::mem::take(&mut *self.seen.lock()))
    }
}
