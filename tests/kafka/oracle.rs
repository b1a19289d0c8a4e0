//! Kafka's own Java clients, held against any cluster: what they wrote is what is to be read, and what they read is
//! what was written. One warm process serves all tests; `java/Oracle.java` is its other half and tells the protocol.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use milena::assignor::{Assignment, ClusterTopics, MemberSubscription};
use milena::protocol::consumer_protocol::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription,
};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::sync::Mutex;
use tokio::time::{Duration, Instant, sleep, timeout};

use crate::jvm::{self, Jvm};
use crate::release::Release;
use crate::trouble::Trouble;

/// Above the bounds that the helper has for itself.
const ANSWER_LIMIT: Duration = Duration::from_secs(90);
const ASK_EVERY: Duration = Duration::from_millis(100);

/// Properties of a Java client or a topic.
pub(crate) type Properties<'a> = &'a [(&'a str, &'a str)];

/// A header as bytes that anyone owns; its key is text by Kafka's rules.
pub(crate) type OwnedHeader = (String, Option<Vec<u8>>);

/// A record to be written or as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// The partition it is sent to or comes from; -1 leaves it to the partitioner.
    pub(crate) partition: i32,
    /// Milliseconds since 1970.
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<OwnedHeader>,
}

/// A record that was read, with what the broker added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredRecord {
    pub(crate) offset: i64,
    /// `CreateTime` or `LogAppendTime`.
    pub(crate) timestamp_type: String,
    pub(crate) leader_epoch: i32,
    pub(crate) record: Record,
}

/// A record that was read, and as much of its value as tells whether it is the one that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SkimmedRecord {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) key: Option<Vec<u8>>,
    /// The first eight bytes of the value.
    pub(crate) head: Vec<u8>,
    /// Bytes of the value.
    pub(crate) length: usize,
    /// The CRC-32C of the value.
    pub(crate) crc: u32,
}

/// A step of what several producers do one after the other. The ids are `transactional.id`s.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step<'a> {
    Begin(&'a str),
    Commit(&'a str),
    Abort(&'a str),
    /// By the producer of that id, or by one without transactions. Records in a row by the same one are a batch.
    Send(Option<&'a str>, &'a Record),
    /// Ends the producer; what it has not committed is aborted.
    Close(&'a str),
}

/// What a group has committed for a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) offset: i64,
    /// -1 if there is none.
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: String,
}

/// A partition as Metadata tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartitionInfo {
    pub(crate) partition: i32,
    /// -1 if there is none.
    pub(crate) leader: i32,
    pub(crate) replicas: Vec<i32>,
    pub(crate) isr: Vec<i32>,
}

/// The Java clients of one release.
#[derive(Debug)]
pub(crate) struct Oracle {
    talk: Mutex<Talk>,
    log: PathBuf,
}

#[derive(Debug)]
struct Talk {
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    _jvm: Jvm,
}

type Row = Vec<String>;

impl Oracle {
    /// Starts the process; its log goes to `folder`.
    pub(crate) fn start(release: &Release, folder: &Path) -> Result<Self, Trouble> {
        let log = folder.join("oracle.log");
        let mut command = release.java("Oracle", "512m");
        command.stdout(Stdio::piped());
        let mut jvm = Jvm::spawn(command, &log).map_err(|e| format!("starting java: {e}"))?;
        let (input, output) = jvm.take_stdio().ok_or("the helper has no pipes")?;
        let output = BufReader::new(output).lines();
        Ok(Self { talk: Mutex::new(Talk { input, output, _jvm: jvm }), log })
    }

    /// Creates a topic; returns when each of its partitions has a leader.
    pub(crate) async fn create_topic(
        &self,
        bootstrap: &str,
        topic: &str,
        partitions: usize,
        replication: usize,
        configs: Properties<'_>,
    ) -> Result<(), Trouble> {
        let command = format!("create\t{bootstrap}\t{topic}\t{partitions}\t{replication}");
        self.call(command, configs, "").await.map(drop)
    }

    /// Deletes a topic; returns when it is not known any more.
    pub(crate) async fn delete_topic(&self, bootstrap: &str, topic: &str) -> Result<(), Trouble> {
        self.call(format!("delete\t{bootstrap}\t{topic}"), &[], "").await.map(drop)
    }

    /// Lets producers of this client id write so many bytes per second to each broker, about.
    pub(crate) async fn limit_producers(
        &self,
        bootstrap: &str,
        client_id: &str,
        bytes_per_second: u32,
    ) -> Result<(), Trouble> {
        let command = format!("quota\t{bootstrap}\t{client_id}\t{bytes_per_second}");
        self.call(command, &[], "").await.map(drop)
    }

    /// The partitions of a topic, in order.
    pub(crate) async fn describe_topic(
        &self,
        bootstrap: &str,
        topic: &str,
    ) -> Result<Vec<PartitionInfo>, Trouble> {
        let rows = self.call(format!("describe\t{bootstrap}\t{topic}"), &[], "").await?;
        let infos = rows.iter().map(|row| partition_info(row).ok_or_else(|| malformed(row)));
        let mut infos = infos.collect::<Result<Vec<_>, _>>()?;
        infos.sort_by_key(|info| info.partition);
        Ok(infos)
    }

    /// Waits until the partitions of a topic are as `wanted` says, and tells them. News of topics and leaders takes its
    /// time from node to node, and any node may be the one that is asked.
    pub(crate) async fn topic_becomes(
        &self,
        bootstrap: &str,
        topic: &str,
        wanted: impl Fn(&[PartitionInfo]) -> bool,
    ) -> Result<Vec<PartitionInfo>, Trouble> {
        let deadline = Instant::now() + ANSWER_LIMIT;
        loop {
            let told = self.describe_topic(bootstrap, topic).await;
            match told {
                Ok(infos) if wanted(&infos) => return Ok(infos),
                told if Instant::now() > deadline => {
                    return Err(format!("{topic} is still not as it should: {told:?}").into());
                }
                // Kafka tells nobody: it has to be asked.
                _ => sleep(ASK_EVERY).await,
            }
        }
    }

    /// Writes records with a producer that has these properties, flushes, and tells each one's partition and offset.
    pub(crate) async fn produce(
        &self,
        bootstrap: &str,
        topic: &str,
        records: &[Record],
        properties: Properties<'_>,
    ) -> Result<Vec<(i32, i64)>, Trouble> {
        let command = format!("produce\t{bootstrap}\t{topic}\t{}", records.len());
        let lines: String = records.iter().map(record_line).collect();
        let rows = self.call(command, properties, &lines).await?;
        let placed = |row: &Row| number(row, 0).zip(number(row, 1));
        rows.iter().map(|row| placed(row).ok_or_else(|| malformed(row))).collect()
    }

    /// Reads a partition from `offset` to its present end with a consumer that has these properties.
    pub(crate) async fn consume(
        &self,
        bootstrap: &str,
        topic: &str,
        partition: i32,
        offset: i64,
        properties: Properties<'_>,
    ) -> Result<Vec<StoredRecord>, Trouble> {
        let command = format!("consume\t{bootstrap}\t{topic}\t{partition}\t{offset}");
        let rows = self.call(command, properties, "").await?;
        rows.iter().map(|row| stored_record(row).ok_or_else(|| malformed(row))).collect()
    }

    /// Reads a partition of records with values from its start to its present end, without keeping the values.
    pub(crate) async fn skim(
        &self,
        bootstrap: &str,
        topic: &str,
        partition: i32,
    ) -> Result<Vec<SkimmedRecord>, Trouble> {
        let command = format!("skim\t{bootstrap}\t{topic}\t{partition}\t0");
        let rows = self.call(command, &[], "").await?;
        rows.iter().map(|row| skimmed(partition, row).ok_or_else(|| malformed(row))).collect()
    }

    /// What Java's assignor of this name makes of a group.
    pub(crate) async fn assign(
        &self,
        assignor: &str,
        cluster: &ClusterTopics,
        members: &BTreeMap<String, MemberSubscription>,
    ) -> Result<BTreeMap<String, Assignment>, Trouble> {
        let mut lines = String::new();
        for (topic, _) in cluster.topics() {
            let racks = cluster
                .racks(topic)
                .iter()
                .map(|racks| racks.iter().map(String::as_str).collect::<Vec<_>>().join(","));
            lines.push_str(
                &[topic.to_owned()].into_iter().chain(racks).collect::<Vec<_>>().join("\t"),
            );
            lines.push('\n');
        }
        for (id, member) in members {
            let bytes = ConsumerProtocolSubscription::from(member).to_bytes();
            let bytes = hex(&bytes.map_err(|error| error.to_string())?);
            let instance = member.group_instance_id.as_deref().unwrap_or_default();
            lines.push_str(&format!("{id}\t{instance}\t{bytes}\n"));
        }
        let command =
            format!("assign\t{assignor}\t{}\t{}", cluster.topics().count(), members.len());
        let rows = self.call(command, &[], &lines).await?;
        let assignment = |row: &Row| {
            let bytes = unhex(row.get(1)?)?;
            let read = ConsumerProtocolAssignment::from_bytes(bytes.into()).ok()?;
            Some((row.first()?.clone(), Assignment::from(read)))
        };
        rows.iter().map(|row| assignment(row).ok_or_else(|| malformed(row))).collect()
    }

    /// What a Java member with the sticky assignor says of its last assignment.
    pub(crate) async fn sticky_user_data(
        &self,
        generation: i32,
        assignment: &Assignment,
    ) -> Result<Vec<u8>, Trouble> {
        let bytes = ConsumerProtocolAssignment::from(assignment).to_bytes();
        let bytes = hex(&bytes.map_err(|error| error.to_string())?);
        let rows = self.call(format!("userdata\t{generation}\t{bytes}"), &[], "").await?;
        let row = rows.into_iter().next().ok_or("no row")?;
        row.first().and_then(|bytes| unhex(bytes)).ok_or_else(|| malformed(&row))
    }

    /// Starts a consumer that subscribes to a topic with these properties, and polls until [`Oracle::leave`].
    pub(crate) async fn join(
        &self,
        name: &str,
        bootstrap: &str,
        topic: &str,
        properties: Properties<'_>,
    ) -> Result<(), Trouble> {
        let command = format!("member\t{name}\t{bootstrap}\t{topic}");
        self.call(command, properties, "").await.map(drop)
    }

    /// What such a consumer was handed since this was last asked: partition, offset and value.
    pub(crate) async fn seen(&self, name: &str) -> Result<Vec<(i32, i64, Vec<u8>)>, Trouble> {
        let rows = self.call(format!("seen\t{name}"), &[], "").await?;
        let seen = |row: &Row| Some((number(row, 0)?, number(row, 1)?, unhex(row.get(2)?)?));
        rows.iter().map(|row| seen(row).ok_or_else(|| malformed(row))).collect()
    }

    /// Closes such a consumer.
    pub(crate) async fn leave(&self, name: &str) -> Result<(), Trouble> {
        self.call(format!("leave\t{name}"), &[], "").await.map(drop)
    }

    /// Takes the steps one after the other, each when the one before has been acknowledged. The properties are those of
    /// all producers on this cluster, and count only the first time.
    pub(crate) async fn run_script(
        &self,
        bootstrap: &str,
        topic: &str,
        steps: &[Step<'_>],
        properties: Properties<'_>,
    ) -> Result<(), Trouble> {
        let command = format!("script\t{bootstrap}\t{topic}\t{}", steps.len());
        let lines: String = steps.iter().map(step_line).collect();
        self.call(command, properties, &lines).await.map(drop)
    }

    /// The end of a partition for a consumer with these properties, and its position when it has read to it.
    pub(crate) async fn end(
        &self,
        bootstrap: &str,
        topic: &str,
        partition: i32,
        properties: Properties<'_>,
    ) -> Result<(i64, i64), Trouble> {
        let command = format!("end\t{bootstrap}\t{topic}\t{partition}");
        let rows = self.call(command, properties, "").await?;
        let row = rows.first().ok_or("no end was told")?;
        number(row, 0).zip(number(row, 1)).ok_or_else(|| malformed(row))
    }

    /// Gives a topic more partitions, so many in all.
    pub(crate) async fn grow_topic(
        &self,
        bootstrap: &str,
        topic: &str,
        partitions: usize,
    ) -> Result<(), Trouble> {
        self.call(format!("grow\t{bootstrap}\t{topic}\t{partitions}"), &[], "").await.map(drop)
    }

    /// What a group has committed, by topic and partition.
    pub(crate) async fn committed(
        &self,
        bootstrap: &str,
        group: &str,
    ) -> Result<BTreeMap<(String, i32), Committed>, Trouble> {
        let rows = self.call(format!("committed\t{bootstrap}\t{group}"), &[], "").await?;
        rows.iter().map(|row| committed(row).ok_or_else(|| malformed(row))).collect()
    }

    /// The broker that coordinates a group.
    pub(crate) async fn coordinator(&self, bootstrap: &str, group: &str) -> Result<i32, Trouble> {
        let rows = self.call(format!("coordinator\t{bootstrap}\t{group}"), &[], "").await?;
        let row = rows.first().ok_or("no coordinator was told")?;
        number(row, 0).ok_or_else(|| malformed(row))
    }

    async fn call(
        &self,
        mut command: String,
        properties: Properties<'_>,
        more: &str,
    ) -> Result<Vec<Row>, Trouble> {
        for (name, value) in properties {
            // Writing to a String does not fail.
            let _ = write!(command, "\t{name}={value}");
        }
        command.push('\n');
        command.push_str(more);
        let mut talk = self.talk.lock().await;
        match timeout(ANSWER_LIMIT, talk.exchange(&command)).await {
            Ok(Ok(rows)) => Ok(rows),
            Ok(Err(told)) => Err(told),
            Err(_) => {
                Err(format!("no answer in {ANSWER_LIMIT:?}\n{}", jvm::tail(&self.log)).into())
            }
        }
    }
}

impl Talk {
    async fn exchange(&mut self, command: &str) -> Result<Vec<Row>, Trouble> {
        self.input.write_all(command.as_bytes()).await.map_err(|e| format!("to java: {e}"))?;
        let mut rows = Vec::new();
        loop {
            let line = self.output.next_line().await.map_err(|e| format!("from java: {e}"))?;
            let line = line.ok_or("the helper's process has ended; see its log")?;
            let mut fields = line.split('\t').map(str::to_owned);
            match fields.next().as_deref() {
                Some("row") => rows.push(fields.collect()),
                Some("ok") => return Ok(rows),
                Some("error") => return Err(fields.collect::<String>().into()),
                _ => return Err(format!("the helper said {line:?}").into()),
            }
        }
    }
}

fn malformed(row: &Row) -> Trouble {
    format!("the helper's row is not understood: {row:?}").into()
}

fn record_line(record: &Record) -> String {
    let Record { partition, timestamp, key, value, headers } = record;
    let mut line = format!("{partition}\t{timestamp}\t{}\t{}", field(key), field(value));
    for (key, value) in headers {
        line.push_str(&format!("\t{}\t{}", hex(key.as_bytes()), field(value)));
    }
    line.push('\n');
    line
}

fn step_line(step: &Step<'_>) -> String {
    match step {
        Step::Begin(id) => format!("begin\t{id}\n"),
        Step::Commit(id) => format!("commit\t{id}\n"),
        Step::Abort(id) => format!("abort\t{id}\n"),
        Step::Close(id) => format!("close\t{id}\n"),
        Step::Send(id, record) => format!("send\t{}\t{}", id.unwrap_or("-"), record_line(record)),
    }
}

fn committed(row: &Row) -> Option<((String, i32), Committed)> {
    let metadata = row.get(4)?.clone();
    let committed = Committed { offset: number(row, 2)?, leader_epoch: number(row, 3)?, metadata };
    Some(((row.first()?.clone(), number(row, 1)?), committed))
}

fn stored_record(row: &Row) -> Option<StoredRecord> {
    let headers = row.get(7..)?.chunks(2).map(|pair| {
        let [key, value] = pair else { return None };
        Some((String::from_utf8(unhex(key)?).ok()?, bytes(value)?))
    });
    let record = Record {
        partition: number(row, 3)?,
        timestamp: number(row, 4)?,
        key: bytes(row.get(5)?)?,
        value: bytes(row.get(6)?)?,
        headers: headers.collect::<Option<_>>()?,
    };
    Some(StoredRecord {
        offset: number(row, 0)?,
        timestamp_type: row.get(1)?.clone(),
        leader_epoch: number(row, 2)?,
        record,
    })
}

fn skimmed(partition: i32, row: &Row) -> Option<SkimmedRecord> {
    Some(SkimmedRecord {
        partition,
        offset: number(row, 0)?,
        key: bytes(row.get(1)?)?,
        head: unhex(row.get(2)?)?,
        length: number(row, 3)?,
        crc: number(row, 4)?,
    })
}

fn partition_info(row: &Row) -> Option<PartitionInfo> {
    let ids = |text: &String| -> Option<Vec<i32>> {
        text.split(',').filter(|id| !id.is_empty()).map(|id| id.parse().ok()).collect()
    };
    Some(PartitionInfo {
        partition: number(row, 0)?,
        leader: number(row, 1)?,
        replicas: ids(row.get(2)?)?,
        isr: ids(row.get(3)?)?,
    })
}

fn number<N: std::str::FromStr>(row: &Row, at: usize) -> Option<N> {
    row.get(at)?.parse().ok()
}

fn field(bytes: &Option<Vec<u8>>) -> String {
    bytes.as_deref().map_or_else(|| "-".into(), hex)
}

/// The outer option is for malformed text, the inner one for null.
fn bytes(field: &str) -> Option<Option<Vec<u8>>> {
    if field == "-" { Some(None) } else { unhex(field).map(Some) }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect()
}
