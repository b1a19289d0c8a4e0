//! A group with members of ours and of Java's, and a producer that writes to its topics all the while.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use milena::{
    CommitError, Consumer, ConsumerConfig, ConsumerHandle, RebalanceListener, SubscriptionPattern,
    TopicPartition,
};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Duration, MissedTickBehavior, interval};

use super::books::{Books, now};
use crate::members::Event;
use crate::oracle::{Properties, Record};
use crate::ours;
use crate::runner::Kafka;
use crate::samples::numbered;

const POLL: Duration = Duration::from_millis(100);
const CLOSE_LIMIT: Duration = Duration::from_secs(30);

/// Members commit after each poll, and hear of changes quickly.
const PROPERTIES: Properties<'static> = &[
    ("auto.offset.reset", "earliest"),
    ("enable.auto.commit", "false"),
    ("metadata.max.age.ms", "500"),
    ("max.poll.records", "20"),
];

/// What only the classic protocol has.
const CLASSIC: Properties<'static> =
    &[("session.timeout.ms", "10000"), ("heartbeat.interval.ms", "200")];

pub(crate) const CONSUMER_PROTOCOL: Properties<'static> = &[("group.protocol", "consumer")];

/// A group.
pub(crate) struct Team<'a> {
    kafka: &'a Kafka,
    bootstrap: String,
    pub(crate) group: String,
    /// Topics, comma separated, or a pattern that starts with `^`.
    topics: String,
    properties: Vec<(String, String)>,
    pub(crate) books: Arc<Books>,
    ours: BTreeMap<String, Ours>,
}

struct Ours {
    stop: oneshot::Sender<Leave>,
    task: JoinHandle<()>,
}

/// How one of our members ends.
#[derive(Debug, PartialEq, Eq)]
enum Leave {
    Close,
    /// Without a word to anybody.
    Crash,
}

impl<'a> Team<'a> {
    /// A group that does not exist yet, whose members have these properties too.
    pub(crate) fn new(
        kafka: &'a Kafka,
        bootstrap: &str,
        topics: &str,
        properties: Properties<'_>,
    ) -> Self {
        let group = kafka.fresh("group");
        let classic = !properties.contains(&CONSUMER_PROTOCOL[0]);
        let more = if classic { CLASSIC } else { &[] };
        let id = [("group.id", group.as_str())];
        let all = PROPERTIES.iter().chain(more).chain(properties).chain(&id);
        let properties = all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self {
            kafka,
            bootstrap: bootstrap.to_owned(),
            topics: topics.to_owned(),
            properties: properties.collect(),
            group: group.clone(),
            books: Arc::default(),
            ours: BTreeMap::new(),
        }
    }

    /// A name for a member that no other has.
    fn name(&self, whose: &str) -> String {
        self.kafka.fresh(&format!("{}-{whose}", self.group))
    }

    fn properties<'p>(&'p self, more: Properties<'p>) -> Vec<(&'p str, &'p str)> {
        let own = self.properties.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        own.chain(more.iter().copied()).collect()
    }

    /// Starts a member of ours; its name.
    pub(crate) fn ours(&mut self, more: Properties<'_>) -> String {
        let name = self.name("ours");
        let properties = [&self.properties(more)[..], &[("client.id", &name)]].concat();
        let servers = [("bootstrap.servers", self.bootstrap.as_str())];
        let config = ConsumerConfig::from_properties(servers.into_iter().chain(properties));
        let mut consumer = Consumer::new(config.unwrap());
        let listener = Told { name: name.clone(), books: self.books.clone() };
        if self.topics.starts_with('^') {
            let pattern = SubscriptionPattern::new(&self.topics).unwrap();
            consumer.subscribe_pattern(&pattern, listener).unwrap();
        } else {
            consumer.subscribe_with(self.topics.split(','), listener).unwrap();
        }
        self.books.join(&name);
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(live(consumer, name.clone(), self.books.clone(), stopped));
        self.ours.insert(name.clone(), Ours { stop, task });
        name
    }

    /// Starts a member of Java's; its name.
    pub(crate) async fn java(&mut self, more: Properties<'_>) -> String {
        let name = self.name("java");
        self.books.join(&name);
        let properties = [&self.properties(more)[..], &[("client.id", &name)]].concat();
        let members = self.kafka.members().await;
        let events = members.join(&name, &self.bootstrap, &self.topics, &properties).await;
        let (mut events, books, told) = (events.unwrap(), self.books.clone(), name.clone());
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                books.note(&told, event);
            }
        });
        name
    }

    /// Closes a member.
    pub(crate) async fn close(&mut self, name: &str) {
        match self.ours.remove(name) {
            Some(ours) => {
                // One that has failed does not listen any more, and the books tell.
                let _ = ours.stop.send(Leave::Close);
                ours.task.await.unwrap();
            }
            None => self.kafka.members().await.leave(name).await.unwrap(),
        }
        self.books.until_left(name).await;
    }

    /// One of our members is gone from one moment to the next.
    pub(crate) async fn crash(&mut self, name: &str) {
        let ours = self.ours.remove(name).unwrap();
        ours.stop.send(Leave::Crash).unwrap();
        ours.task.await.unwrap();
    }
}

/// Polls, writes down what it is given, commits, and polls again.
async fn live(
    mut consumer: Consumer,
    name: String,
    books: Arc<Books>,
    mut stopped: oneshot::Receiver<Leave>,
) {
    // One that is to close does so when everything is committed: while it joins anew, that has to wait.
    let mut committed = true;
    let leave = loop {
        if committed && let Ok(leave) = stopped.try_recv() {
            break leave;
        }
        let records = match consumer.poll(POLL).await {
            Ok(records) => records,
            Err(error) => return books.note(&name, Event::Failed(format!("{error:?}"))),
        };
        for part in records.partitions() {
            let offsets = part.iter().map(|record| record.offset).collect();
            books.note(&name, Event::Records(part.partition().clone(), offsets));
        }
        if records.is_empty() && committed {
            continue;
        }
        committed = match commit(&consumer, &books).await {
            Ok(()) => true,
            Err(error) if overtaken(&error) => false,
            Err(error) => return books.note(&name, Event::Failed(format!("commit: {error:?}"))),
        };
    };
    if leave == Leave::Crash {
        return books.crashed(&name);
    }
    let end = match consumer.close(CLOSE_LIMIT).await {
        true => Event::Stopped,
        false => Event::Failed("it did not close in order".to_owned()),
    };
    books.note(&name, end);
}

/// Whether a commit came while the group was, or is, rebalancing: what was not committed is given to somebody again, or
/// is committed after the rebalance.
fn overtaken(error: &CommitError) -> bool {
    matches!(error, CommitError::RebalanceInProgress { .. })
}

async fn commit(consumer: &ConsumerHandle, books: &Books) -> Result<(), CommitError> {
    let positions = consumer.positions();
    let offsets = || positions.iter().map(|(partition, position)| (partition, position.offset));
    books.committing(offsets());
    consumer.commit_offsets(positions.clone()).await?;
    books.committed(offsets());
    Ok(())
}

/// Writes down how the partitions of one of our members come and go.
struct Told {
    name: String,
    books: Arc<Books>,
}

impl RebalanceListener for Told {
    async fn on_partitions_assigned(&mut self, _: &ConsumerHandle, partitions: &[TopicPartition]) {
        self.books.note(&self.name, Event::Assigned(now(), partitions.to_vec()));
    }

    async fn on_partitions_revoked(
        &mut self,
        consumer: &ConsumerHandle,
        partitions: &[TopicPartition],
    ) {
        if !partitions.is_empty()
            && let Err(error) = commit(consumer, &self.books).await
            && !overtaken(&error)
        {
            self.books.note(&self.name, Event::Failed(format!("commit on revoke: {error:?}")));
        }
        self.books.note(&self.name, Event::Revoked(now(), partitions.to_vec()));
    }

    async fn on_partitions_lost(&mut self, _: &ConsumerHandle, partitions: &[TopicPartition]) {
        self.books.note(&self.name, Event::Lost(now(), partitions.to_vec()));
    }
}

/// All partitions of a topic.
pub(crate) fn all_of(topic: &str, partitions: usize) -> BTreeSet<TopicPartition> {
    (0..partitions).map(|number| TopicPartition::new(topic, number as i32)).collect()
}

/// Writes a record to each partition of a topic every few milliseconds, from its start until it is told to stop.
pub(crate) struct Feeder {
    partitions: Arc<AtomicI32>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<BTreeMap<TopicPartition, i64>>,
}

impl Feeder {
    pub(crate) fn start(bootstrap: &str, topic: &str, partitions: usize) -> Self {
        const EVERY: Duration = Duration::from_millis(10);
        const METADATA: (&str, &str) = ("metadata.max.age.ms", "500");
        let producer = ours::producer(bootstrap, &[("acks", "all"), METADATA]);
        let count = Arc::new(AtomicI32::new(partitions as i32));
        let (stop, mut stopped) = oneshot::channel();
        let (topic, partitions) = (topic.to_owned(), count.clone());
        let task = tokio::spawn(async move {
            let mut ticks = interval(EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut deliveries = Vec::new();
            while stopped.try_recv().is_err() {
                ticks.tick().await;
                for partition in 0..count.load(Ordering::Relaxed) {
                    let timestamp = now().try_into().unwrap();
                    let record = Record { timestamp, ..numbered(partition, deliveries.len()) };
                    deliveries.push(ours::send(&producer, &topic, &record).await);
                }
            }
            let mut ends = BTreeMap::new();
            for delivery in deliveries {
                let metadata = delivery.await.unwrap();
                let at = TopicPartition::new(&topic, metadata.partition());
                ends.insert(at, metadata.offset().unwrap() + 1);
            }
            ours::close(producer).await;
            ends
        });
        Self { partitions, stop, task }
    }

    /// From now on to so many partitions.
    pub(crate) fn grow(&self, partitions: usize) {
        self.partitions.store(partitions as i32, Ordering::Relaxed);
    }

    /// Where the logs end.
    pub(crate) async fn stop(self) -> BTreeMap<TopicPartition, i64> {
        self.stop.send(()).unwrap();
        self.task.await.unwrap()
    }
}
